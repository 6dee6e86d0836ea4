"""Bars to rows: listings, what is rated, and the columns of the table."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from assay.base.domain import INTERVALS
from assay.base.errors import DataError, UsageError
from assay.ratings import RATING_SCHEMA, VOTES, label, listings, rate
from assay.ratings.indicators import STATE

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def at(steps: list[int], interval: str = "1d", symbol: str = "BINANCE:AUSDT") -> pl.DataFrame:
    times = [START + step * INTERVALS[interval] for step in steps]
    return pl.DataFrame({"symbol": symbol, "interval": interval, "open_time": times})


@pytest.mark.parametrize("interval", INTERVALS)
def test_three_missing_intervals_end_a_listing(interval):
    assert listings(at([0, 1, 4, 7, 11, 12, 99], interval)).to_list() == [0, 0, 0, 0, 1, 1, 2]


def test_listings_follow_rows_in_any_order_and_any_mix():
    mixed = pl.concat([at([9, 0, 5]), at([3, 0], symbol="BINANCE:BUSDT"), at([0, 4], "1h"), at([1], symbol="A:Z")])
    found = listings(mixed)
    assert found.to_list() == [2, 0, 1, 0, 0, 0, 1, 0]
    assert found.dtype == pl.Int32


def test_listings_of_nothing():
    assert listings(at([0]).clear()).to_list() == []


def test_listings_of_the_shared_bars(daily):
    """What the data's description says: a redenomination is a gap of three days or more; most symbols have none."""
    ends = daily.select("symbol", listings(daily)).group_by("symbol").agg(pl.col("listing").max())
    several = set(ends.filter(pl.col("listing") > 0)["symbol"])
    assert {f"BINANCE:{base}USDT" for base in ("BNX", "QUICK", "SUN", "COCOS")} <= several
    assert len(several) < 30


def test_a_bar_twice_is_refused():
    with pytest.raises(DataError, match="twice"):
        listings(at([0, 1, 1]))


def test_unknown_interval_is_refused():
    bars = at([0, 1]).with_columns(pl.lit("7m").alias("interval"))
    with pytest.raises(UsageError, match="unknown interval"):
        listings(bars)
    with pytest.raises(UsageError, match="unknown interval"):
        rate(bars, "7m")


def test_columns_are_the_schema(walks):
    found = rate(walks(1, 60, 3))
    assert dict(found.schema) == RATING_SCHEMA
    assert [name for name in found.columns if name.startswith("vote_")] == [f"vote_{name}" for name in VOTES]
    assert set(STATE) <= set(found.columns)


def test_empty_bars_give_an_empty_table(walks):
    assert dict(rate(walks(1, 5).clear()).schema) == RATING_SCHEMA
    assert rate(walks(1, 5), "1h").height == 0


FIRST_BAR = {
    **{f"{kind}_{n}": n - 1 for kind in ("sma", "ema") for n in (10, 20, 30, 50, 100, 200)},
    "ichimoku": 51,
    "vwma_20": 19,
    "hull_ma_9": 10,
    "rsi": 15,  # 14 changes, and a previous value
    "stochastic": 12,  # stochastic 8, D of the bar before
    "cci": 20,
    "adx": 27,
    "awesome": 34,
    "momentum": 11,
    "macd": 33,
    "stoch_rsi": 32,  # D of the bar before; without EMA 50 it is 0
    "williams_r": 14,
    "bull_bear": 13,  # the second EMA 13
    "ultimate": 28,
}
"""The first bar, from 0, on which the screener counts a vote: by its published script, and by hand from the windows."""


@pytest.mark.parametrize(("edition", "stochastic"), [("2026", 12), ("2021", 18)])
def test_each_vote_is_counted_from_the_screeners_bar_on(walks, edition, stochastic):
    found = rate(walks(5, 230), "1d", edition)
    assert set(FIRST_BAR) == set(VOTES)
    for name, first in {**FIRST_BAR, "stochastic": stochastic}.items():
        known = found[f"vote_{name}"].is_not_null()
        assert known.to_list() == [bar >= first for bar in range(230)], name
    assert found["recommend_ma"].is_not_null().arg_max() == 9
    assert found["recommend_other"].is_not_null().arg_max() == 11
    assert found["recommend_all"].is_not_null().arg_max() == 9  # one group is enough
    assert (found["edition"] == edition).all()


def test_short_listings_beside_long_ones(walks):
    """Every length from one bar on, side by side, gives what each gives alone."""
    lengths = [1, 2, 3, 8, 9, 10, 12, 14, 15, 19, 20, 27, 28, 33, 34, 52, 199, 200, 201, 300]
    bars = walks(9, 300, len(lengths))
    cut = pl.concat([part.head(n) for part, n in zip(bars.partition_by("symbol"), lengths, strict=True)])
    together = rate(cut)
    alone = pl.concat([rate(part) for part in cut.partition_by("symbol")])
    assert together.equals(alone)
    assert together.group_by("symbol", maintain_order=True).len()["len"].to_list() == lengths


def test_bars_without_volume_exist_but_are_not_rated(walks):
    bars = walks(2, 120)
    quiet = pl.int_range(120).is_in([30, 31, 32, 33, 34])
    found = rate(bars.with_columns(pl.when(quiet).then(0.0).otherwise(pl.col("volume")).alias("volume")))
    gone = rate(bars.filter(pl.int_range(pl.len()).is_in([31, 32, 33]).not_()))
    assert found["listing"].to_list() == [0] * 115
    assert found["bar"].to_list() == list(range(115))
    assert gone["listing"].to_list() == [0] * 31 + [1] * 86  # the same days really missing end the listing
    assert gone["bar"].to_list() == [*range(31), *range(86)]


def test_a_listing_starts_anew(walks):
    bars = walks(4, 300)
    second = bars.slice(150)
    late = second.with_columns(pl.col("open_time").dt.offset_by("3d"))
    found = rate(pl.concat([bars.head(150), late]))
    alone = rate(second)
    skip = ["open_time", "listing"]
    assert found.filter(pl.col("listing") == 1).drop(skip).equals(alone.drop(skip))


@pytest.mark.parametrize("name", ["high", "low", "close"])
@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_prices_that_are_not_numbers_are_refused(walks, name, value):
    bars = walks(1, 30)
    faulty = bars.with_columns(pl.when(pl.int_range(30) == 7).then(pl.lit(value)).otherwise(pl.col(name)).alias(name))
    with pytest.raises(DataError, match=name):
        rate(faulty)


@pytest.fixture(scope="module")
def whole(daily) -> pl.DataFrame:
    return rate(daily)


def test_bounds_hold_on_all_shared_bars(whole):
    assert whole.height == 436_404
    votes = whole.select(pl.col("^vote_.*$"))
    assert votes.max().transpose().to_series().max() == 1
    assert votes.min().transpose().to_series().min() == -1
    for name in ("recommend_all", "recommend_ma", "recommend_other"):
        assert whole[name].is_between(-1, 1).all()
    for name in ("rsi", "adx", "plus_di", "minus_di", "stoch_k", "stoch_d", "stoch_rsi_k", "stoch_rsi_d"):
        assert whole[name].is_between(0, 100).all(), name
        assert not whole[name].is_nan().any()
    middle = pl.mean_horizontal("recommend_ma", "recommend_other")
    assert whole.select((pl.col("recommend_all") - middle).abs().max()).item() < 1e-15
    assert (whole["recommend_all"].is_null() == (whole["bar"] < 9)).all()


def test_group_ratings_are_means_of_their_votes(whole):
    later = whole.filter(pl.col("bar") >= 200)
    names = [f"vote_{name}" for name in VOTES]
    moving = later.select(pl.mean_horizontal(names[:15])).to_series() - later["recommend_ma"]
    other = later.select(pl.mean_horizontal(names[15:])).to_series() - later["recommend_other"]
    assert moving.abs().max() < 1e-15
    assert other.abs().max() < 1e-15


def test_every_vote_is_cast_both_ways_somewhere(daily, whole):
    old = rate(daily, "1d", "2021")
    for name in VOTES:
        cast = set(whole[f"vote_{name}"].drop_nulls().unique())
        assert cast == {0} if name == "ichimoku" else {-1, 1} <= cast <= {-1, 0, 1}, name
        assert {-1, 1} <= set(old[f"vote_{name}"].drop_nulls().unique()) <= {-1, 0, 1}, name
    assert 0 < old["vote_ichimoku"].abs().mean() < 0.01  # it is 0 nearly always


def test_editions_share_all_but_four_votes(daily, whole):
    old = rate(daily, "1d", "2021")
    differing = {name for name in whole.columns if not whole[name].equals(old[name])}
    votes = {f"vote_{name}" for name in ("ichimoku", "stochastic", "adx", "stoch_rsi")}
    assert differing == {"edition", *votes, "recommend_all", "recommend_ma", "recommend_other"}


@pytest.mark.parametrize(
    ("rating", "word"),
    [
        (1.0, "STRONG_BUY"),
        (0.51, "STRONG_BUY"),
        (0.5, "BUY"),
        (0.11, "BUY"),
        (0.1, "NEUTRAL"),
        (0.0, "NEUTRAL"),
        (-0.1, "NEUTRAL"),
        (-0.5, "SELL"),
        (-0.500001, "STRONG_SELL"),
        (None, "UNKNOWN"),
        (float("nan"), "UNKNOWN"),
    ],
)
def test_labels(rating, word):
    assert label(rating) == word
