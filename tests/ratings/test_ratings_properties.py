"""What must hold for any bars."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ratings_bars import walk

from assay.ratings import VOTES, rate
from assay.ratings.averages import recursive_averages, whole
from assay.ratings.indicators import indicators
from assay.ratings.kernels import (
    hull_mean,
    mean_deviation,
    volume_weighted_mean,
    weighted_mean,
    window_extremes,
    window_means,
)
from assay.ratings.tape import tape
from assay.ratings.votes import EDITIONS, MA_VOTES, NO_VOTE, OTHER_VOTES, votes

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)

PRICES = ("open", "high", "low", "close")
WINDOWED = (
    *(name for name in MA_VOTES if not name.startswith("ema_")),
    *("stochastic", "cci", "awesome", "momentum", "williams_r", "ultimate"),
)
"""Votes that read windows alone."""


@few
@given(seeds, st.integers(1, 259))
def test_later_bars_change_nothing_before_them(seed, cut):
    bars = walk(seed, 260)
    assert rate(bars.head(cut)).equals(rate(bars).head(cut))


@few
@given(seeds, st.integers(1, 70))
def test_other_symbols_change_nothing(seed, others):
    """Up to more symbols than are computed at once, of any length, above and below in the alphabet."""
    bars = walk(seed, 90, others + 1)
    lengths = pl.int_range(pl.len()).over("symbol") < 20 + pl.col("symbol").hash(seed) % 70
    bars = bars.filter(lengths)
    one = f"BINANCE:C{others // 2:03d}USDT"
    alone = rate(bars.filter(pl.col("symbol") == one))
    assert alone.height > 0
    assert rate(bars).filter(pl.col("symbol") == one).equals(alone)


@few
@given(seeds)
def test_order_of_rows_changes_nothing(seed):
    bars = walk(seed, 50, 4)
    assert rate(bars.sample(fraction=1.0, shuffle=True, seed=seed % 1000)).equals(rate(bars))


@few
@given(seeds, st.integers(-20, 20), st.integers(-20, 20))
def test_scale_of_price_and_volume_changes_no_vote(seed, price, volume):
    """Powers of two scale without rounding: votes, ratings and oscillators are equal to the last bit."""
    bars = walk(seed, 260)
    scaled = bars.with_columns(pl.col(*PRICES) * 2.0**price, pl.col("volume") * 2.0**volume)
    unitless = ["^vote_.*$", "^recommend_.*$", "rsi", "adx", "plus_di", "minus_di", "stoch_k", "stoch_d"]
    assert rate(scaled).select(unitless).equals(rate(bars).select(unitless))


@few
@given(seeds, st.integers(1, 150))
def test_older_bars_change_only_what_remembers_them(seed, dropped):
    bars = walk(seed, 400)
    whole, short = rate(bars).tail(50), rate(bars.slice(dropped)).tail(50)
    assert short["bar"].min() >= 200
    names = [f"vote_{name}" for name in WINDOWED]
    assert short.select(names, "stoch_k", "stoch_d").equals(whole.select(names, "stoch_k", "stoch_d"))
    assert not short["ema_200"].equals(whole["ema_200"])


@few
@given(seeds)
def test_mirrored_prices_turn_every_vote(seed):
    """Prices with the opposite sign: what was bought is sold. Volume stays; edition 2021 has one vote unmirrored."""
    bars = walk(seed, 260)
    mirror = bars.with_columns(
        (-pl.col("open")).alias("open"),
        (-pl.col("low")).alias("high"),
        (-pl.col("high")).alias("low"),
        (-pl.col("close")).alias("close"),
    )
    for edition in EDITIONS:
        found, turned = rate(bars, "1d", edition), rate(mirror, "1d", edition)
        _turned(found, turned, set(VOTES) - ({"ichimoku"} if edition == "2021" else set()))


def _turned(found: pl.DataFrame, turned: pl.DataFrame, names: set[str]) -> None:
    for name in names:
        assert turned[f"vote_{name}"].equals(-found[f"vote_{name}"], check_names=False), name


@given(st.floats(1e-8, 1e6), st.floats(1e-3, 1e12))
@few
def test_a_price_that_does_not_move_has_no_opinion(price, spread):
    """Averages equal the price to the last bit; oscillators of nothing over nothing do not vote."""
    volume = np.random.default_rng(1).lognormal(0, 2, 250) * spread
    bars = walk(1, 250).with_columns(pl.lit(price).alias(name) for name in PRICES).with_columns(volume=volume)
    on = tape(bars, "1d")
    values = indicators(on, recursive_averages(on, whole(on)), slice(0, 250))
    silent = {"stochastic", "cci", "williams_r", "ultimate"}
    for edition in EDITIONS:
        cast = votes(values, edition)
        for name in MA_VOTES:
            assert cast[name][-1] == 0, name
        for name in OTHER_VOTES:
            assert cast[name][-1] == (NO_VOTE if name in silent else 0), name
    assert values["stoch_rsi_k"][-1] == 0  # a constant range


@few
@given(seeds, st.integers(40, 120))
def test_a_price_that_moved_no_more_has_a_stochastic_rsi_of_zero(seed, still):
    """RSI then keeps its value but for rounding, and rounding has no high and no low."""
    bars = walk(seed, 200)
    last = bars["close"][199 - still]
    quiet = pl.int_range(200) >= 200 - still
    bars = bars.with_columns(pl.when(quiet).then(last).otherwise(pl.col(name)).alias(name) for name in PRICES)
    assert rate(bars)["stoch_rsi_k"][-1] == 0


@few
@given(seeds, st.integers(1, 60))
def test_windows_depend_on_their_own_bars_alone(seed, window):
    """A huge value that has left the window leaves no trace, to the last bit."""
    random = np.random.default_rng(seed)
    clean = random.lognormal(0, 1, (120, 3))
    volume = random.lognormal(0, 1, (120, 3))
    spoilt = np.concatenate([np.full((7, 3), 1e300), np.full((5, 3), np.nan), clean])
    for kernel in (
        lambda x: window_means(x, [window, 2 * window])[window],
        lambda x: window_extremes(x, [window, 2 * window], np.minimum)[window],
        lambda x: weighted_mean(x, window),
        lambda x: hull_mean(x, window + 1),
        lambda x: mean_deviation(x, window_means(x, [window])[window], window),
        lambda x: volume_weighted_mean(x, np.concatenate([np.ones((12, 3)), volume])[-len(x) :], window),
    ):
        np.testing.assert_array_equal(kernel(spoilt)[12 + 2 * window :], kernel(clean)[2 * window :])


@few
@given(seeds, st.integers(1, 300))
def test_window_means_are_close_to_the_exact_mean(seed, window):
    values = np.random.default_rng(seed).lognormal(0, 3, (window + 5, 1))
    found = window_means(values, [window])[window][:, 0]
    for row in range(window - 1, window + 5):
        exact = math.fsum(values[row - window + 1 : row + 1, 0]) / window
        assert found[row] == pytest.approx(exact, rel=1e-14)


@given(st.integers(1, 40), st.integers(1, 40))
@few
def test_windows_longer_than_the_panel_are_empty(rows, window):
    values = np.random.default_rng(0).random((rows, 2))
    for found in (
        window_means(values, [window])[window],
        window_extremes(values, [window], np.maximum)[window],
        weighted_mean(values, window),
        mean_deviation(values, values, window),
    ):
        assert found.shape == values.shape
        assert np.isnan(found[: window - 1]).all()
        assert np.isfinite(found[window - 1 :]).all()
