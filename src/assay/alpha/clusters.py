"""Clusters of atoms that move together.

Distances are correlation distances sqrt((1 - rho) / 2), averaged over several windows so that neither last week nor
last year decides alone; Ward's linkage, cut at a height.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import linkage

from assay.base.constants import Floats, Ints

UNCORRELATED = float(np.sqrt(0.5))
"""Distance of two atoms between which nothing is known."""


def correlation(rows: Floats, min_overlap: int | None = None) -> Floats:
    """Pairwise complete Pearson correlation.

    Parameters
    ----------
    rows : (n_days, n_atoms) array
        NaN where there is no observation.
    min_overlap : int, optional
        Rows that a pair must share; default half of ``n_days``, at least 3.

    Returns
    -------
    (n_atoms, n_atoms) array
        In [-1, 1], symmetric, ones on the diagonal. NaN off the diagonal where a pair shares too few rows. A pair of
        which one does not move over the shared rows is uncorrelated: 0.

    Examples
    --------
    >>> correlation(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [np.nan, 7.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    needed = max(3, len(rows) // 2) if min_overlap is None else min_overlap
    exists = ~np.isnan(rows)
    whole = bool(exists.all())
    centre = np.where(exists, rows, 0.0).sum(axis=0) / np.maximum(exists.sum(axis=0), 1)
    # Centred first: differences of large sums of squares would lose digits to a common mean.
    x = np.where(exists, rows - centre, 0.0)
    mask = exists.astype(np.float64)
    shared = np.full((rows.shape[1], rows.shape[1]), float(len(rows))) if whole else mask.T @ mask
    rows_of_pair = np.maximum(shared, 1.0)
    sums = x.T @ mask  # of the row's atom, over rows where the column's atom exists
    squares = (x * x).T @ mask
    variance = squares - sums * sums / rows_of_pair
    # What rounding alone can leave behind is no variance.
    peak = np.where(exists, np.abs(rows), 0.0).max(axis=0, initial=0.0)
    moves = variance > 1e-12 * squares + 1e-24 * (peak * peak)[:, None] * rows_of_pair
    moves &= moves.T
    covariance = x.T @ x - sums * sums.T / rows_of_pair
    rho = np.zeros_like(covariance)
    np.divide(covariance, np.sqrt(np.where(moves, variance * variance.T, 1.0)), out=rho, where=moves)
    rho = np.clip((rho + rho.T) / 2.0, -1.0, 1.0)
    rho[shared < needed] = np.nan
    np.fill_diagonal(rho, 1.0)
    return rho


def distances(streams: Floats, windows: Sequence[int] = (60, 120, 200)) -> Floats:
    """Correlation distance sqrt((1 - rho) / 2), averaged over windows.

    Parameters
    ----------
    streams : (n_days, n_atoms) array
        Synthetic returns per day; NaN where there is no observation.
    windows : sequence of int
        Lengths of the windows, in rows from the end; one that is longer than the table is the whole table.

    Returns
    -------
    (n_atoms, n_atoms) array
        In [0, 1], zeros on the diagonal. A window in which a pair shares fewer than half of the rows is left out of
        that pair's average; a pair without any window counts as uncorrelated.
    """
    n_atoms = streams.shape[1]
    total, used = np.zeros((n_atoms, n_atoms)), np.zeros((n_atoms, n_atoms))
    for window in windows:
        distance = np.sqrt((1.0 - correlation(streams[-window:])) / 2.0)
        known = ~np.isnan(distance)
        total += np.where(known, distance, 0.0)
        used += known
    result = np.full((n_atoms, n_atoms), UNCORRELATED)
    np.divide(total, used, out=result, where=used > 0)
    np.fill_diagonal(result, 0.0)
    return result


def cluster(
    streams: Floats,
    windows: Sequence[int] = (60, 120, 200),
    threshold: float = 0.45,
    max_clusters: int = 25,
) -> Ints:
    """Assign every atom to exactly one cluster.

    Parameters
    ----------
    streams : (n_days, n_atoms) array
        Synthetic returns per day; NaN where there is no observation.
    windows : sequence of int
        See :func:`distances`.
    threshold : float
        Height at which Ward's tree is cut.
    max_clusters : int
        Where the cut gives more clusters, the tree is cut higher, at the lowest height that gives no more than these.

    Returns
    -------
    (n_atoms,) int64 array
        Labels 1, 2, ..., in the order of the clusters' first members.

    Examples
    --------
    >>> up = np.array([0.1, -0.2, 0.3, -0.1])
    >>> cluster(np.stack([up, -up, 2 * up], axis=1))
    array([1, 2, 1])
    """
    n_atoms = streams.shape[1]
    if n_atoms < 2:
        return np.ones(n_atoms, dtype=np.int64)
    tree = linkage(distances(streams, windows)[np.triu_indices(n_atoms, 1)], method="ward")
    return _cut(tree, threshold, max_clusters)


def _cut(tree: Floats, height: float, max_clusters: int) -> Ints:
    """Cut a tree at a height, or where that leaves too many clusters at the lowest that does not.

    The clusters are those of SciPy's ``fcluster``, which first tests the tree that ``linkage`` has just made.
    """
    n_leaves = len(tree) + 1
    highest, over = [0.0] * n_leaves, list(range(2 * n_leaves - 1))
    joined = [(int(left), int(right), own) for left, right, own, _ in tree.tolist()]
    for left, right, own in joined:
        highest.append(max(own, highest[left], highest[right]))
    if max_clusters < n_leaves:  # each branch below the cut makes one cluster less
        height = max(height, sorted(highest[n_leaves:])[n_leaves - max_clusters - 1])
    for branch in range(len(over) - 1, n_leaves - 1, -1):
        if highest[branch] <= height or over[branch] != branch:
            left, right, _ = joined[branch - n_leaves]
            over[left] = over[right] = over[branch]
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(label, len(numbers) + 1) for label in over[:n_leaves]], dtype=np.int64)
