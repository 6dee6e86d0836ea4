from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.risk.regime import name_regime, read_regime, rolling_volatility


def random_closes(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spread = np.exp(np.cumsum(rng.normal(0, 0.1, n))) * 0.03
    return 100 * np.cumprod(1 + np.tanh(rng.standard_normal(n) * spread) / 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(141, 600), st.integers(0, 2**32 - 1))
def test_inputs_agree_with_pandas(n: int, seed: int) -> None:
    closes = random_closes(n, seed)
    series = pd.Series(closes)
    volatility = series.pct_change(fill_method=None).rolling(20).std() * np.sqrt(365)
    percentile = volatility.dropna().tail(252).rank(pct=True).iloc[-1]
    fall = series.iloc[-1] / series.tail(60).max() - 1
    regime = read_regime(closes)
    assert regime.volatility == pytest.approx(volatility.iloc[-1], rel=1e-9)
    assert regime.percentile == pytest.approx(percentile, abs=1e-12)
    assert regime.fall == pytest.approx(fall, abs=1e-12)
    assert regime.values == min(252, n - 20)
    if percentile >= 0.95 and fall <= -0.20:
        expected = "CRISIS"
    elif percentile >= 0.80:
        expected = "TURBULENT"
    elif percentile <= 0.20:
        expected = "QUIET"
    else:
        expected = "NORMAL"
    assert regime.name == expected


@pytest.mark.parametrize(
    ("percentile", "fall", "name"),
    [
        (0.95, -0.20, "CRISIS"),
        (1.0, -0.5, "CRISIS"),
        (0.95, -0.19, "TURBULENT"),
        (0.949, -0.9, "TURBULENT"),
        (0.80, 0.0, "TURBULENT"),
        (0.799, 0.0, "NORMAL"),
        (0.201, -0.9, "NORMAL"),
        (0.20, -0.9, "QUIET"),
    ],
)
def test_thresholds(percentile: float, fall: float, name: str) -> None:
    assert name_regime(percentile, fall) == name


def test_a_fall_of_exactly_a_fifth_counts() -> None:
    closes = np.concatenate([np.tile([100.0, 99.9], 100), [100.0] * 30, [80.0]])
    regime = read_regime(closes)
    assert regime.fall == -0.2
    assert regime.name == "CRISIS"


def test_fewer_than_120_values_say_nothing() -> None:
    assert read_regime(random_closes(139, 1)).name == "NORMAL"
    regime = read_regime(random_closes(139, 1))
    assert (regime.percentile, regime.values) == (None, 119)
    assert [event.code for event in regime.events] == ["REGIME_UNKNOWN"]
    assert read_regime(random_closes(140, 1)).events == ()


@pytest.mark.parametrize("closes", [np.empty(0), np.array([1.0]), np.full(5, np.nan)])
def test_hardly_any_closes(closes: np.ndarray) -> None:
    regime = read_regime(closes)
    assert (regime.name, regime.volatility, regime.percentile) == ("NORMAL", None, None)
    assert [event.code for event in regime.events] == ["REGIME_UNKNOWN"]


def test_a_missing_bar_removes_the_windows_that_hold_it_and_no_others() -> None:
    closes = random_closes(300, 2)
    gap = closes.copy()
    gap[100] = np.nan
    whole, holed = rolling_volatility(closes), rolling_volatility(gap)
    # close 100 makes returns 99 and 100, which are in windows 80 to 100
    assert np.flatnonzero(np.isnan(holed)).tolist() == list(range(80, 101))
    np.testing.assert_array_equal(np.delete(holed, range(80, 101)), np.delete(whole, range(80, 101)))


def test_a_missing_last_bar_is_not_replaced() -> None:
    closes = random_closes(300, 2)
    closes[-1] = np.nan
    regime = read_regime(closes)
    assert (regime.name, regime.volatility, regime.fall) == ("NORMAL", None, None)
    assert regime.events


def test_a_constant_market_is_normal() -> None:
    regime = read_regime(np.full(400, 7.0))
    assert regime.name == "NORMAL"
    assert regime.percentile == pytest.approx(126.5 / 252)


def test_only_the_last_values_count() -> None:
    closes = random_closes(900, 5)
    recent = read_regime(closes[-272:])
    assert read_regime(closes).percentile == recent.percentile
    assert recent.values == 252
