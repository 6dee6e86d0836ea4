"""Pools of returns and caps for the tests of the risk room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from scipy.optimize import linprog

from assay.risk.caps import Polytope

Floats = npt.NDArray[np.float64]


def factor_returns(n_rows: int, n_atoms: int, seed: int, drift: float = 0.001) -> Floats:
    """Daily returns of coins that share three factors."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n_rows, 3)) @ rng.standard_normal((3, n_atoms)) * 0.02
    return common + rng.standard_normal((n_rows, n_atoms)) * 0.03 + rng.normal(drift, 0.003, n_atoms)


def random_covariance(n_atoms: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    loads = rng.standard_normal((n_atoms, 3))
    deviations = np.exp(rng.normal(0.0, 0.7, n_atoms))
    return (loads @ loads.T + np.diag(rng.uniform(0.1, 1.0, n_atoms))) * np.outer(deviations, deviations)


@dataclass(frozen=True)
class Pool:
    """A random problem: covariance, means and the weights that are allowed."""

    covariance: Floats
    means: Floats
    polytope: Polytope


@st.composite
def pools(draw: st.DrawFn, max_atoms: int = 20) -> Pool:
    """Random covariances, means and caps that leave room; some atoms are forbidden or have floors."""
    n = draw(st.integers(2, max_atoms))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(0, draw(st.integers(1, n)), n)
    upper = rng.uniform(0.05, 1.0, n) * (rng.random(n) < draw(st.sampled_from([1.0, 0.7])))
    upper[0] = max(upper[0], 0.2)
    caps = rng.uniform(0.2, 1.0, len(np.unique(labels)))
    loose = Polytope(upper, labels, caps, 0.0)
    budget = draw(st.sampled_from([0.1, 0.5, 0.9, 1.0])) * min(1.0, loose.max_budget)
    polytope = Polytope(upper, labels, caps, budget)
    if draw(st.booleans()):  # floors that some allowed weights keep
        polytope = Polytope(upper, labels, caps, budget, 0.5 * polytope.best(rng.random(n)))
    covariance = random_covariance(n, int(rng.integers(2**32)))
    return Pool(covariance, rng.normal(0.1, 0.5, n), polytope)


def greatest(values: Floats, polytope: Polytope) -> float:
    """Greatest ``values'w`` over the polytope, found by HiGHS and not by the code under test."""
    labels = np.unique(polytope.labels)
    found = linprog(
        -values,
        A_ub=np.array([(polytope.labels == label).astype(float) for label in labels]),
        b_ub=polytope.cluster_caps,
        A_eq=np.ones((1, polytope.n_atoms)),
        b_eq=[polytope.budget],
        bounds=np.column_stack([polytope.floor, polytope.upper]),
        method="highs",
    )
    assert found.status == 0, found.message
    return -float(found.fun)
