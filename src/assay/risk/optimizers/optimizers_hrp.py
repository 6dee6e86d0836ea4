"""Hierarchical risk parity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from assay.risk.caps import Polytope
from assay.risk.optimizers.base import Estimates, Optimizer, Placement

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class HierarchicalRiskParity(Optimizer):
    """Lopez de Prado's hierarchical risk parity on the atoms that may be held, moved as little as the caps demand.

    Distance sqrt((1 - rho) / 2) with rho the correlation of the returns, Ward linkage, leaves in the order that the
    linkage gives, recursive bisection with branches weighed by inverse variance in the shrunk covariance. An atom that
    does not vary is uncorrelated with all others. Lopez de Prado (2016), *Building diversified portfolios that
    outperform out of sample*, clusters by single linkage of distances between distances instead.

    Examples
    --------
    >>> calm, wild = np.tile([0.01, -0.01], 200), np.repeat([0.02, -0.02], 200)
    >>> HierarchicalRiskParity().fit(np.column_stack([calm, wild])).weights_.round(2).tolist()
    [0.8, 0.2]
    """

    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:
        """Weigh by risk parity, scale to the budget, project on the caps."""
        on = np.flatnonzero(polytope.active)
        weights = np.zeros(polytope.n_atoms)
        weights[on] = polytope.budget * risk_parity(estimates, on)
        weights, _, report = polytope.project(weights)
        return Placement(weights, report)


def risk_parity(estimates: Estimates, on: Integers) -> Floats:
    """Return hierarchical risk parity weights of the atoms ``on``, which sum to 1."""
    chosen = np.ix_(on, on)
    return recursive_bisection(estimates.covariance.risk[chosen], leaf_order(estimates.correlation[chosen]))


def leaf_order(correlation: Floats) -> Integers:
    """Return the order of the leaves, (n_atoms,), of the Ward linkage of sqrt((1 - rho) / 2).

    >>> leaf_order(np.array([[1.0, 0.0, 0.9], [0.0, 1.0, 0.0], [0.9, 0.0, 1.0]])).tolist()
    [1, 0, 2]
    """
    if len(correlation) == 1:
        return np.zeros(1, dtype=np.int64)
    distance = squareform(np.sqrt((1.0 - correlation) / 2.0), checks=False)
    return np.asarray(leaves_list(linkage(distance, method="ward")), dtype=np.int64)


def recursive_bisection(covariance: Floats, order: Integers) -> Floats:
    """Split the weight between the halves of an ordered list, again and again, by their inverse variances.

    Parameters
    ----------
    covariance : (n_atoms, n_atoms) array
        With a positive diagonal.
    order : (n_atoms,) int array
        Atoms, similar ones beside each other.

    Returns
    -------
    (n_atoms,) array
        Weights, in the order of the covariance, that sum to 1.

    Examples
    --------
    >>> recursive_bisection(np.diag([1.0, 4.0]), np.array([1, 0])).round(9).tolist()
    [0.8, 0.2]

    Notes
    -----
    Lopez de Prado (2016), snippet 3: a half's variance is that of its inverse-variance portfolio; the first half gets
    1 - v1 / (v1 + v2).
    """
    ordered = covariance[np.ix_(order, order)]
    inverse = 1.0 / np.diagonal(ordered)
    # Entries of the inverse-variance portfolio's variance, so that a half needs one sum over its own block.
    terms = inverse[:, None] * ordered * inverse
    shares = np.ones(len(order))
    parts = [(0, len(order))]
    while parts:
        begin, end = parts.pop()
        if end - begin < 2:
            continue
        middle = begin + (end - begin) // 2
        first = terms[begin:middle, begin:middle].sum() / inverse[begin:middle].sum() ** 2
        second = terms[middle:end, middle:end].sum() / inverse[middle:end].sum() ** 2
        share = 1.0 - first / (first + second)
        shares[begin:middle] *= share
        shares[middle:end] *= 1.0 - share
        parts += [(begin, middle), (middle, end)]
    weights = np.empty_like(shares)
    weights[order] = shares
    return weights
