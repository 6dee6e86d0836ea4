from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_worlds import factor_returns
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf

from assay.base.errors import DataError
from assay.risk.covariance import estimate_covariance, ledoit_wolf
from assay.risk.optimizers import Estimates


@pytest.mark.parametrize(("rows", "atoms"), [(252, 25), (252, 3), (60, 4), (20, 40), (3, 12), (252, 2)])
def test_agrees_with_scikit_learn(rows: int, atoms: int) -> None:
    returns = factor_returns(rows, atoms, seed=rows + atoms)
    matrix, intensity = sklearn_ledoit_wolf(returns)
    ours = estimate_covariance(returns, max_condition=np.inf)
    assert ours.shrinkage == pytest.approx(intensity, abs=1e-12)
    assert ours.extra_shrinkage == 0.0
    np.testing.assert_allclose(ours.matrix, 365 * matrix, rtol=1e-10, atol=1e-14)
    assert ours.condition_number == pytest.approx(np.linalg.cond(matrix), rel=1e-8)


def test_agrees_with_scikit_learn_on_recorded_bars(shared) -> None:
    import polars as pl

    bars = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet", columns=["symbol", "timestamp", "close"])
    names = [f"BINANCE:{base}USDT" for base in ("BTC", "ETH", "BNB", "XRP", "ADA", "DOGE", "SOL", "LTC", "LINK", "TRX")]
    wide = bars.filter(pl.col("symbol").is_in(names)).pivot(on="symbol", index="timestamp", values="close")
    closes = wide.sort("timestamp").select(names).drop_nulls().tail(253).to_numpy()
    returns = closes[1:] / closes[:-1] - 1
    matrix, intensity = sklearn_ledoit_wolf(returns)
    ours = estimate_covariance(returns)
    assert ours.shrinkage == pytest.approx(intensity, abs=1e-12)
    np.testing.assert_allclose(ours.matrix, 365 * matrix, rtol=1e-10)


def test_one_atom_is_its_own_target() -> None:
    returns = np.array([[0.01], [0.03], [-0.01]])
    ours = estimate_covariance(returns)
    # variance with divisor 3 around the mean 0.01: (0 + 4 + 4) / 3 * 1e-4
    assert ours.matrix[0, 0] == pytest.approx(365 * 8e-4 / 3)
    assert (ours.shrinkage, ours.condition_number, ours.events) == (0.0, 1.0, ())


def test_nothing_varies() -> None:
    ours = estimate_covariance(np.full((252, 3), 0.1))  # 0.1 is not exact: the mean differs from it by rounding
    assert not ours.matrix.any()
    assert ours.condition_number == 1.0
    assert [event.code for event in ours.events] == ["ZERO_VARIANCE"]
    np.testing.assert_array_equal(ours.risk, np.eye(3))


def test_one_atom_of_several_does_not_vary() -> None:
    returns = factor_returns(252, 4, seed=1)
    returns[:, 2] = 0.1
    ours = estimate_covariance(returns)
    assert ours.condition_number < 15000
    assert np.linalg.eigvalsh(ours.matrix)[0] > 0


def test_ill_conditioned_matrices_are_shrunk_by_steps() -> None:
    # Twins over many rows: Ledoit and Wolf shrink by next to nothing and the matrix stays singular.
    rng = np.random.default_rng(3)
    common = rng.standard_normal((100_000, 1)) * 0.02
    returns = np.hstack([common, common + 1e-9 * rng.standard_normal((100_000, 1))])
    matrix, intensity = sklearn_ledoit_wolf(returns)
    assert np.linalg.cond(matrix) > 15000
    ours = estimate_covariance(returns)
    assert ours.extra_shrinkage == pytest.approx(0.01)
    assert [event.code for event in ours.events] == ["SHRINKAGE_RAISED"]
    total = intensity + 0.01
    sample = np.cov(returns.T, ddof=0)
    expected = 365 * ((1 - total) * sample + total * np.trace(sample) / 2 * np.eye(2))
    np.testing.assert_allclose(ours.matrix, expected, rtol=1e-10)
    assert ours.condition_number == pytest.approx(np.linalg.cond(expected), rel=1e-6)


def test_no_more_steps_than_needed_and_none_beyond_the_limit() -> None:
    returns = np.repeat(factor_returns(252, 1, seed=4), 2, axis=1)
    # Perfect twins: eigenvalues 2 m and 0 turn into 2 m (1 - s) + s m and s m, the condition into 2 / s - 1.
    base = estimate_covariance(returns, max_condition=1e30).shrinkage
    assert estimate_covariance(returns, max_condition=2 / (base + 0.035) - 1).extra_shrinkage == pytest.approx(0.04)
    stuck = estimate_covariance(returns, max_condition=1.0)
    assert stuck.extra_shrinkage == pytest.approx(0.10)
    assert "CONDITION_NUMBER_HIGH" in [event.code for event in stuck.events]


def test_a_singular_matrix_has_a_finite_condition_number() -> None:
    twins = np.repeat(np.tile([0.01, -0.01], 50)[:, None], 2, axis=1)
    ours = estimate_covariance(twins, most=0.0)
    assert 1e15 < ours.condition_number < np.inf


@pytest.mark.parametrize("shape", [(1, 3), (5, 0)])
def test_too_little_data_is_an_error(shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="two rows and an atom"):
        ledoit_wolf(np.zeros(shape))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_properties(rows: int, atoms: int, seed: int, exponent: float) -> None:
    returns = factor_returns(rows, atoms, seed)
    ours = estimate_covariance(returns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a single row or atom
        matrix, intensity = sklearn_ledoit_wolf(returns)
    assert ours.shrinkage == pytest.approx(intensity, abs=1e-9)
    assert 0.0 <= ours.shrinkage <= 1.0
    assert np.array_equal(ours.matrix, ours.matrix.T)
    if ours.extra_shrinkage == 0.0:
        np.testing.assert_allclose(ours.matrix, 365 * matrix, rtol=1e-8, atol=1e-12)
    scaled = estimate_covariance(returns * 10**exponent)
    np.testing.assert_allclose(scaled.matrix, ours.matrix * 10 ** (2 * exponent), rtol=1e-8)
    order = np.random.default_rng(seed).permutation(atoms)
    np.testing.assert_allclose(
        estimate_covariance(returns[:, order]).matrix, ours.matrix[np.ix_(order, order)], rtol=1e-8, atol=1e-14
    )


def test_estimates_hand_on_how_shrinkage_is_raised() -> None:
    rng = np.random.default_rng(9)
    common = rng.standard_normal((20_000, 1)) * 0.02
    twins = np.hstack([common, common + 1e-9 * rng.standard_normal((20_000, 1))])
    for step in (0.01, 0.03):
        found = Estimates.of(twins, step=step, max_condition=1000.0).covariance
        assert found.extra_shrinkage == pytest.approx(step)
