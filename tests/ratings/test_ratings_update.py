"""The daily update from a short tail gives the rows of the full computation, bit for bit."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assay.base.errors import DataError, UsageError
from assay.ratings import RATING_SCHEMA, extend, rate

SYMBOLS = (
    "BINANCE:BTCUSDT",
    "BINANCE:BNXUSDT",  # two listings: its redenomination
    "BINANCE:COCOSUSDT",
    "BINANCE:LUNAUSDT",
    "BINANCE:ICPUSDT",
    "BINANCE:FDUSDUSDT",  # younger than the longest window at most cuts
    "BINANCE:1000SATSUSDT",
)
FIRST, LAST = dt.date(2022, 6, 1), dt.date(2024, 6, 30)


def day(date: dt.date) -> dt.datetime:
    return dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def bars(daily) -> pl.DataFrame:
    """Real bars with holes of one to four days and days without volume."""
    chosen = daily.filter(pl.col("symbol").is_in(SYMBOLS))
    random = np.random.default_rng(7)
    holes = random.random(chosen.height) < 0.002
    long_holes = np.flatnonzero(random.random(chosen.height) < 0.0008)
    for length in range(4):
        holes[np.minimum(long_holes + length, chosen.height - 1)] = True
    quiet = pl.Series(random.random(chosen.height) < 0.004)
    volume = pl.when(quiet).then(0.0).otherwise(pl.col("volume"))
    return chosen.with_columns(volume.alias("volume")).filter(pl.Series(~holes))


@pytest.fixture(scope="module")
def full(bars) -> pl.DataFrame:
    return rate(bars)


def tail(bars: pl.DataFrame, cut: dt.datetime, rated: int = 260) -> pl.DataFrame:
    """Bars of each symbol from its ``rated``-th rated bar before the cut on."""
    before = bars.filter((pl.col("open_time") < cut) & (pl.col("volume") > 0))
    starts = before.group_by("symbol").agg(pl.col("open_time").tail(rated).min().alias("start"))
    kept = bars.join(starts, on="symbol", how="left").filter(
        pl.col("start").is_null() | (pl.col("open_time") >= pl.col("start"))
    )
    return kept.drop("start")


def before(full: pl.DataFrame, cut: dt.datetime, rows: int = 40) -> pl.DataFrame:
    return full.filter(pl.col("open_time") < cut).group_by("symbol", maintain_order=True).tail(rows)


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert expected.height > 0
    assert_frame_equal(found, expected, check_exact=True)


def test_the_bars_hold_what_the_test_is_about(bars, full):
    steps = bars.select((pl.col("open_time").diff().over("symbol") / pl.duration(days=1)).alias("step"))["step"]
    assert ((steps > 1) & (steps < 4)).sum() > 5
    assert full.group_by("symbol").agg(pl.col("listing").max())["listing"].max() >= 2
    assert (bars["volume"] == 0).sum() > 10


@pytest.mark.parametrize("seed", range(12))
def test_any_cut(bars, full, seed):
    span = (LAST - FIRST).days
    cut = day(FIRST) + dt.timedelta(days=int(np.random.default_rng(seed).integers(0, span)))
    found = extend(tail(bars, cut).sample(fraction=1.0, shuffle=True, seed=seed), before(full, cut))
    same(found, full.filter(pl.col("open_time") >= cut))


def test_cuts_around_each_new_listing_and_quiet_day(bars, full):
    restarts = full.filter((pl.col("bar") == 0) & (pl.col("listing") > 0))
    quiet = bars.filter(pl.col("volume") == 0)
    moments = pl.concat([restarts["open_time"], quiet["open_time"].head(6)]).unique().sort()
    assert len(moments) > 6
    for moment in moments:
        for cut in (moment, moment + dt.timedelta(days=1)):
            same(extend(tail(bars, cut), before(full, cut)), full.filter(pl.col("open_time") >= cut))


def test_day_by_day_for_two_months(bars, full):
    cut = dt.datetime(2023, 11, 25, tzinfo=dt.UTC)  # a symbol of the set is listed in this time
    known = full.filter(pl.col("open_time") < cut)
    for _ in range(60):
        end = cut + dt.timedelta(days=1)
        now = bars.filter(pl.col("open_time") < end)
        known = pl.concat([known, extend(tail(now, cut), known)])
        cut = end
    assert known.filter(pl.col("symbol") == "BINANCE:1000SATSUSDT").height > 0
    same(known.sort("symbol", "open_time"), full.filter(pl.col("open_time") < cut))


def test_the_other_edition_goes_on_from_its_own_rows_and_from_these(bars, full):
    """State is what both editions share: rows of one are enough for the other to go on from."""
    cut = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    old = rate(bars, "1d", "2021")
    expected = old.filter(pl.col("open_time") >= cut)
    same(extend(tail(bars, cut), before(old, cut), "1d", "2021"), expected)
    same(extend(tail(bars, cut), before(full, cut), "1d", "2021"), expected)
    with pytest.raises(UsageError, match="unknown edition"):
        extend(bars, full, "1d", "2020")


def test_nothing_new(bars, full):
    found = extend(bars, full)
    assert found.height == 0
    assert found.schema == RATING_SCHEMA


def test_no_previous_rows_is_a_full_computation(bars, full):
    same(extend(bars, full.clear()), full)


def test_symbols_differ_in_where_they_end(bars, full):
    """Each symbol has its own cut; one symbol is new."""
    random = np.random.default_rng(3)
    ends = {s: day(FIRST) + dt.timedelta(days=int(random.integers(0, 700))) for s in SYMBOLS[1:]}
    ends[SYMBOLS[0]] = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    cuts = pl.DataFrame({"symbol": list(ends), "cut": list(ends.values())}).with_columns(
        pl.col("cut").cast(pl.Datetime("us", "UTC"))
    )
    marked = full.join(cuts, on="symbol", maintain_order="left")
    known = marked.filter(pl.col("open_time") < pl.col("cut")).drop("cut")
    same(extend(bars, known), marked.filter(pl.col("open_time") >= pl.col("cut")).drop("cut"))


def test_repaired_bar_is_rated_again_and_all_after_it(bars, full):
    cut = dt.datetime(2024, 2, 1, tzinfo=dt.UTC)
    wrong = (pl.col("open_time") == cut) & (pl.col("symbol") == "BINANCE:BTCUSDT")
    faulty = rate(
        bars.with_columns(pl.when(wrong).then(pl.col("close") * 1.5).otherwise(pl.col("close")).alias("close"))
    )
    repaired = faulty.filter((pl.col("symbol") != "BINANCE:BTCUSDT") | (pl.col("open_time") < cut))
    expected = full.filter((pl.col("symbol") == "BINANCE:BTCUSDT") & (pl.col("open_time") >= cut))
    same(extend(tail(bars, cut), repaired), expected)
    only_that_row = faulty.filter((pl.col("symbol") != "BINANCE:BTCUSDT") | (pl.col("open_time") != cut))
    same(extend(tail(bars, cut), only_that_row), expected)


@pytest.mark.parametrize("volume", [0.0, 5.0])
def test_a_bar_that_comes_or_goes_moves_all_after_it(bars, volume):
    """A late bar, or one that turns out to have no volume, changes bar numbers: the rows after it are made anew."""
    symbol = "BINANCE:ICPUSDT"
    one = bars.filter(pl.col("symbol") == symbol)
    at = pl.col("open_time") == one.filter(pl.col("volume") > 0)["open_time"][-90]
    other = one.with_columns(pl.when(at).then(5.0 - volume).otherwise(pl.col("volume")).alias("volume"))
    mended = one.with_columns(pl.when(at).then(volume).otherwise(pl.col("volume")).alias("volume"))
    found = extend(mended, rate(other))
    expected = rate(mended)
    changed = expected.join(found.select("open_time"), on="open_time", how="semi")
    same(found, changed)
    assert found.height in (89, 90)


def test_too_short_a_tail_is_refused(bars, full):
    cut = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    one = bars.filter(pl.col("symbol") == "BINANCE:BTCUSDT")
    with pytest.raises(DataError, match="too few bars or ratings before"):
        extend(tail(one, cut, 150), before(full, cut))
    with pytest.raises(DataError, match="too few bars or ratings before"):
        extend(tail(one, cut), before(full, cut, 20))


def test_bars_that_do_not_meet_the_previous_rows_are_refused(bars, full):
    cut = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    late = bars.filter((pl.col("open_time") >= cut) & (pl.col("symbol") == "BINANCE:BTCUSDT"))
    with pytest.raises(DataError, match="no bar fits the previous ratings"):
        extend(late, before(full, cut))


def test_a_row_twice_is_refused(bars, full):
    with pytest.raises(DataError, match="two previous ratings"):
        extend(bars, pl.concat([full, full.tail(1)]))


def test_unknown_interval_is_refused(bars, full):
    with pytest.raises(UsageError, match="unknown interval"):
        extend(bars, full, "1y")


def test_other_intervals_are_left_alone(bars, full):
    cut = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    hours = bars.with_columns(pl.lit("1h").alias("interval"))
    rows = before(full, cut).with_columns(pl.lit("1h").alias("interval"), pl.lit(99, dtype=pl.Int32).alias("bar"))
    found = extend(pl.concat([hours, tail(bars, cut)]), pl.concat([before(full, cut), rows]))
    same(found, full.filter(pl.col("open_time") >= cut))
