"""Clusters of atoms that move together.

Distances are correlation distances sqrt((1 - rho) / 2), averaged over several windows so that neither last week nor
last year decides alone; Ward's linkage, cut at a height.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage

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
    centre = np.where(exists, rows, 0.0).sum(axis=0) / np.maximum(exists.sum(axis=0), 1)
    # Centred first: differences of large sums of squares would lose digits to a common mean.
    x = np.where(exists, rows - centre, 0.0)
    mask = exists.astype(np.float64)
    shared = mask.T @ mask
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
    labels = fcluster(tree, threshold, criterion="distance")
    if labels.max() > max_clusters:
        labels = fcluster(tree, max_clusters, criterion="maxclust")
    return _in_order(labels)


def _in_order(labels: npt.NDArray[np.integer]) -> Ints:
    """Return labels renumbered by first members; SciPy numbers them by the shape of the tree."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(1, len(first) + 1)
    return order[inverse]
