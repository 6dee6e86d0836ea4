"""The bootstrap against its theory: block lengths, and the spread of a mean of dependent days."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.backtest.bootstrap import block_indices, intervals


def test_blocks_wrap_and_have_geometric_length():
    """Neighbours follow each other except where a block begins: one in ten days, or by chance one in 997."""
    rows = block_indices(997, 400, 10.0, seed=1)
    follows = (rows[:, 1:] - rows[:, :-1]) % 997 == 1
    assert rows.min() >= 0
    assert rows.max() <= 996
    expected = 0.9 + 0.1 / 997
    error = math.sqrt(expected * (1 - expected) / follows.size)
    assert abs(follows.mean() - expected) < 4 * error
    assert (rows[:, :-1][follows] == 996).any()


def test_every_day_is_drawn_alike():
    counts = np.bincount(block_indices(50, 4000, 5.0, seed=2).ravel(), minlength=50)
    assert abs(counts / counts.mean() - 1.0).max() < 0.1


def test_blocks_of_one_are_independent_draws():
    rows = block_indices(100, 2000, 1.0, seed=3)
    follows = (rows[:, 1:] - rows[:, :-1]) % 100 == 1
    assert abs(follows.mean() - 0.01) < 0.002


def test_blocks_see_the_dependence_of_days():
    """Mean of an AR(1) record: the bootstrap variance is the estimate of Politis and Romano (1994), lemma 1."""
    rng = np.random.default_rng(4)
    days, mean_block = 300, 8.0
    series = np.zeros(days)
    for day in range(1, days):
        series[day] = 0.6 * series[day - 1] + rng.normal()
    centred = series - series.mean()
    p = 1 / mean_block
    lags = np.arange(1, days)
    circular = np.array([centred @ np.roll(centred, lag) for lag in range(days)]) / days
    weight = (1 - lags / days) * (1 - p) ** lags
    variance = (circular[0] + 2 * (weight * circular[1:]).sum()) / days
    means = series[block_indices(days, 40000, mean_block, seed=5)].mean(axis=1)
    assert means.var() == pytest.approx(variance, rel=0.03)


def test_equal_seeds_equal_intervals():
    returns = np.random.default_rng(6).normal(0.001, 0.02, 200)
    assert intervals(returns, seed=1) == intervals(returns, seed=1)
    assert intervals(returns, seed=1) != intervals(returns, seed=2)


def test_interval_of_a_sharpe_ratio_covers_as_often_as_it_says():
    """Independent normal days of known ratio: 90 % intervals hold it nine times in ten."""
    rng = np.random.default_rng(8)
    true = 0.05 * math.sqrt(365)
    covered = 0
    for seed in range(200):
        low, high = intervals(rng.normal(0.001, 0.02, 400), seed, level=0.9, samples=300, mean_block=1.0)["sharpe"]
        covered += low <= true <= high
    assert 0.83 <= covered / 200 <= 0.96


def test_drawdown_and_growth_have_their_signs():
    found = intervals(np.random.default_rng(9).normal(0.01, 0.02, 300), seed=0)
    assert found["max_drawdown"][0] < found["max_drawdown"][1] <= 0.0
    assert 0.0 < found["cagr"][0] < found["cagr"][1]


def test_what_is_undefined_is_none():
    assert intervals(np.zeros(19), seed=0) == {"sharpe": None, "cagr": None, "max_drawdown": None}
    assert intervals(np.zeros(50), seed=0)["sharpe"] is None
    assert intervals(np.r_[np.full(40, 0.01), -1.5], seed=0)["cagr"] is None
    assert intervals(np.full(20, 1e40), seed=0)["cagr"] is None


@pytest.mark.parametrize("arguments", [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.5)])
def test_nonsense_is_refused(arguments):
    with pytest.raises(ValueError):
        block_indices(*arguments, seed=0)
    with pytest.raises(ValueError):
        intervals(np.zeros(30), seed=0, level=1.0)
