"""What must hold for every pool: optimality, constraints, and indifference to order and scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_worlds import Pool, factor_returns, greatest, pools

from assay.risk.caps import Polytope
from assay.risk.covariance import Covariance
from assay.risk.optimizers import (
    Barbell,
    EqualWeight,
    Estimates,
    HierarchicalRiskParity,
    MaxSharpe,
    MinVariance,
    Optimizer,
    leaf_order,
)

ALL = (MinVariance, MaxSharpe, HierarchicalRiskParity, EqualWeight, Barbell)


def estimates(pool: Pool) -> Estimates:
    deviations = np.sqrt(np.diagonal(pool.covariance))
    correlation = pool.covariance / np.outer(deviations, deviations)
    covariance = Covariance(pool.covariance, 0.0, 0.0, float(np.linalg.cond(pool.covariance)))
    return Estimates(covariance, np.clip(correlation, -1, 1), pool.means, 0.0, np.sin(np.arange(len(pool.means))))


@settings(max_examples=120, deadline=None)
@given(pools())
def test_no_allowed_portfolio_varies_less_than_min_variance(pool: Pool) -> None:
    # For a convex objective w is optimal exactly if g'(s - w) >= 0 for every allowed s, g the gradient at w.
    weights = MinVariance(min_weight=0.0).allocate(estimates(pool), pool.polytope).weights
    gradient = 2 * pool.covariance @ weights
    could_fall = float(gradient @ weights) + greatest(-gradient, pool.polytope)
    assert could_fall <= 1e-8 * float(gradient @ weights)


@settings(max_examples=120, deadline=None)
@given(pools())
def test_no_allowed_portfolio_has_a_greater_ratio_than_max_sharpe(pool: Pool) -> None:
    # The ratio is pseudoconcave where the mean is positive, so the same condition on its gradient is sufficient.
    found = MaxSharpe(min_weight=0.0).allocate(estimates(pool), pool.polytope)
    if found.cash == 1.0:
        assert greatest(pool.means, pool.polytope) <= 1e-5 * np.abs(pool.means).max()
        assert [event.code for event in found.events] == ["NO_POSITIVE_EXPECTED_RETURN"]
        return
    weights = found.weights
    mean, variance = float(pool.means @ weights), float(weights @ pool.covariance @ weights)
    assert mean > 0
    gradient = pool.means / mean - pool.covariance @ weights / variance  # of the ratio's logarithm
    assert greatest(gradient, pool.polytope) - float(gradient @ weights) <= 1e-6


@settings(max_examples=100, deadline=None)
@given(pools(), st.sampled_from(ALL))
def test_constraints_hold(pool: Pool, kind: type[Optimizer]) -> None:
    found = kind().allocate(estimates(pool), pool.polytope)
    polytope, weights = pool.polytope, found.weights
    assert (weights >= 0).all()
    assert (weights <= polytope.upper).all()
    if found.cash < 1.0:
        assert (weights >= polytope.floor - 1e-6).all()
    assert (polytope.cluster_sums(weights) <= polytope.cluster_caps + 1e-12).all()
    assert math.fsum(weights) + found.cash == pytest.approx(1.0, abs=1e-12)
    assert math.fsum(weights) <= polytope.budget + 1e-12
    told = [event.values for event in found.events if event.code == "CAPS_BIND"]
    if found.solver.status != "ALL_CASH":
        assert math.fsum(weights) == pytest.approx(told[0]["held"] if told else polytope.budget, abs=1e-5)
        if kind in (MinVariance, MaxSharpe) or polytope.lower is not None:  # caps are constraints: they take nothing
            assert not told
        assert found.solver.status == "SOLVED"


@settings(max_examples=100, deadline=None)
@given(pools(), st.sampled_from(ALL), st.integers(0, 2**32 - 1))
def test_the_order_of_the_atoms_does_not_matter(pool: Pool, kind: type[Optimizer], seed: int) -> None:
    base = estimates(pool)
    order = np.random.default_rng(seed).permutation(len(pool.means))
    assert base.antifragility is not None
    moved = Estimates(
        Covariance(base.covariance.matrix[np.ix_(order, order)], 0.0, 0.0, 1.0),
        base.correlation[np.ix_(order, order)],
        base.means[order],
        0.0,
        base.antifragility[order],
    )
    p = pool.polytope
    floor = None if p.lower is None else p.lower[order]
    polytope = Polytope(p.upper[order], p.labels[order], p.cluster_caps, p.budget, floor)
    straight, turned = kind().allocate(base, p), kind().allocate(moved, polytope)
    if kind is HierarchicalRiskParity:
        # Named atoms are clustered in the order of their names, and so the book is one whatever the order they come in.
        names = tuple(f"coin {i:02d}" for i in np.random.default_rng(seed + 1).permutation(len(order)))
        named = kind().allocate(replace(base, names=names), p)
        renamed = kind().allocate(replace(moved, names=tuple(names[i] for i in order)), polytope)
        np.testing.assert_allclose(renamed.weights, named.weights[order], atol=1e-6)
    if kind in (HierarchicalRiskParity, Barbell):
        # SciPy puts the atom of the lower number first in a pair, which may move the middle of a bisection. Where the
        # leaves come in the same order, the weights must be the same.
        if order[leaf_order(moved.correlation)].tolist() != leaf_order(base.correlation).tolist():
            return
        if kind is Barbell or not p.active.all():
            return  # these make trees of parts
    np.testing.assert_allclose(turned.weights, straight.weights[order], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.integers(0, 2**32 - 1), st.sampled_from(ALL), st.floats(-3, 1))
def test_the_unit_of_returns_does_not_matter(atoms: int, seed: int, kind: type[Optimizer], exponent: float) -> None:
    returns = factor_returns(120, atoms, seed)
    cap = max(0.25, 1.5 / atoms)
    base = kind(atom_cap=cap).fit(returns)
    scaled = kind(atom_cap=cap).fit(returns * 10**exponent)
    np.testing.assert_allclose(scaled.weights_, base.weights_, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(pools(), st.floats(0.05, 1.0))
def test_a_smaller_budget_with_smaller_caps_is_the_same_portfolio(pool: Pool, factor: float) -> None:
    p = pool.polytope
    floor = None if p.lower is None else p.lower * factor
    smaller = Polytope(p.upper * factor, p.labels, p.cluster_caps * factor, p.budget * factor, floor)
    for kind in (MinVariance, MaxSharpe, HierarchicalRiskParity):
        whole, part = (kind(min_weight=0.0).allocate(estimates(pool), x).weights for x in (p, smaller))
        np.testing.assert_allclose(part, factor * whole, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(pools(), st.floats(-6.9, -1.0))
def test_a_hardly_positive_mean_still_has_an_answer(pool: Pool, exponent: float) -> None:
    # Shift the means until the best portfolio earns next to nothing: the convex program is at its worst there.
    best = greatest(pool.means, pool.polytope) / pool.polytope.budget
    means = pool.means - best
    means = means + 10**exponent * np.abs(means).max()
    shifted = Pool(pool.covariance, means, pool.polytope)
    found = MaxSharpe().allocate(estimates(shifted), pool.polytope)
    assert found.solver.status in {"SOLVED", "ALL_CASH"}
    if found.solver.status == "SOLVED":
        assert float(means @ found.weights) > -1e-5 * np.abs(means).max()
