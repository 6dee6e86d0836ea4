from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_worlds import factor_returns

from assay.risk.covariance import bayes_stein, estimate_covariance


@pytest.mark.parametrize(("rows", "atoms"), [(252, 25), (252, 2), (60, 5), (20, 30)])
def test_agrees_with_skfolio(rows: int, atoms: int) -> None:
    from skfolio.moments import LedoitWolf, ShrunkMu, ShrunkMuMethods

    returns = factor_returns(rows, atoms, seed=rows * atoms)
    oracle = ShrunkMu(method=ShrunkMuMethods.BAYES_STEIN, vol_weighted_target=True, covariance_estimator=LedoitWolf())
    oracle.fit(returns)
    means, shrinkage = bayes_stein(returns, estimate_covariance(returns, max_condition=np.inf).matrix)
    assert shrinkage == pytest.approx(1 - oracle.alpha_, rel=1e-9)
    np.testing.assert_allclose(means, 365 * oracle.mu_, rtol=1e-9)


def test_by_hand() -> None:
    # y = (0.01, 0.03), S = diag(1, 3) per day, T = 2. The minimum-variance weights are (3/4, 1/4), so y0 = 0.015.
    # The distance is 2 (0.005^2 / 1 + 0.015^2 / 3) = 2e-4 and the shrinkage 4 / (4 + 2e-4).
    returns = np.array([[0.00, 0.02], [0.02, 0.04]])
    means, shrinkage = bayes_stein(returns, 365 * np.diag([1.0, 3.0]))
    assert shrinkage == pytest.approx(4 / 4.0002)
    w = 4 / 4.0002
    np.testing.assert_allclose(means, 365 * np.array([(1 - w) * 0.01 + w * 0.015, (1 - w) * 0.03 + w * 0.015]))


def test_one_atom_keeps_its_mean() -> None:
    returns = np.array([[0.01], [0.02], [0.06]])
    means, _ = bayes_stein(returns, estimate_covariance(returns).matrix)
    assert means[0] == pytest.approx(365 * 0.03)


def test_without_variance_nothing_is_shrunk() -> None:
    means, shrinkage = bayes_stein(np.full((10, 2), [0.01, 0.02]), np.zeros((2, 2)))
    np.testing.assert_allclose(means, [3.65, 7.3])
    assert shrinkage == 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 60), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_order_is_kept_and_spread_falls(rows: int, atoms: int, seed: int) -> None:
    returns = factor_returns(rows, atoms, seed)
    means, shrinkage = bayes_stein(returns, estimate_covariance(returns).matrix)
    sample = 365 * returns.mean(axis=0)
    assert 0.0 < shrinkage <= 1.0
    assert np.ptp(means) <= np.ptp(sample) * (1 + 1e-9)
    np.testing.assert_allclose(np.diff(means), (1 - shrinkage) * np.diff(sample), atol=1e-9)
