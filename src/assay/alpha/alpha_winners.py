"""Who is taken: the best of each cluster, and the one relaxation for clusters that have nobody."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def best_of_clusters(alpha: Floats, clusters: Ints, top_n: int) -> Ints:
    """Return the best atoms of each cluster, all together by descending alpha, ties by index; cluster 0 gives none.

    Examples
    --------
    >>> best_of_clusters(np.array([0.1, 0.9, 0.3, 0.9]), np.array([1, 1, 2, 0]), 1)
    array([1, 2])
    """
    taken: dict[int, int] = {}
    best = []
    for atom in np.argsort(-alpha, kind="stable").tolist():
        label = int(clusters[atom])
        if label and taken.get(label, 0) < top_n:
            taken[label] = taken.get(label, 0) + 1
            best.append(atom)
    return np.array(best, dtype=np.int64)


def restore(alpha: Floats, clusters: Ints, allowed: Bools, winners: Ints, missing: int) -> Ints:
    """Return the best allowed atom of each cluster without winners, by descending alpha, at most ``missing`` of them.

    Atoms under a safety veto are in cluster 0, which is never restored from.

    Examples
    --------
    >>> restore(np.array([0.5, 0.7, 0.6, 0.9]), np.array([1, 2, 2, 0]), np.array([True] * 4), np.array([0]), 5)
    array([1])
    """
    filled = {0, *clusters[winners].tolist()}
    found: list[int] = []
    for atom in np.argsort(-alpha, kind="stable").tolist():
        if len(found) >= missing:
            break
        label = int(clusters[atom])
        if allowed[atom] and label not in filled:
            filled.add(label)
            found.append(atom)
    return np.array(found, dtype=np.int64)
