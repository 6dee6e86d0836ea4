"""What the trials are held to vary by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.backtest.statistics import null_sharpe_variance, trial_variance


@pytest.mark.parametrize("earlier", [2, 5, 19, 200])
def test_a_small_spread_counts_with_the_upper_end_of_its_interval(earlier: int):
    spread = 0.001
    expected = spread * (earlier - 1) / stats.chi2.ppf(0.05, earlier - 1)
    assert trial_variance(1096, earlier, spread) == pytest.approx(min(expected, 1 / 3), rel=1e-9)


@pytest.mark.parametrize(("earlier", "spread"), [(0, None), (1, 0.01), (19, None), (19, 5.0), (19, 0.3)])
def test_chance_counts_where_nothing_less_is_sure(earlier: int, spread: float | None):
    assert trial_variance(1096, earlier, spread) == pytest.approx(1 / 3)


@given(st.integers(2, 5000), st.integers(0, 500), st.floats(0.0, 100.0))
def test_never_above_chance_nor_below_what_was_measured(days: int, earlier: int, spread: float):
    variance = trial_variance(days, earlier, spread)
    chance = null_sharpe_variance(days)
    assert min(spread, chance) <= variance <= chance
