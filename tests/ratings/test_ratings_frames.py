"""``assay.rate``: any bars in, the same kind of frame out, and what cannot be rated is refused by name."""

from __future__ import annotations

import datetime as dt

import naive_ratings
import numpy as np
import pandas as pd
import polars as pl
import pytest
from ratings_bars import walk

import assay
from assay.base.errors import DataError, UsageError
from assay.ratings import VOTES
from assay.ratings import rate as rate_bars

KEYS = ["symbol", "timestamp"]
RATINGS = ["recommend_all", "recommend_ma", "recommend_other"]
PRICES = ("open", "high", "low", "close", "volume")


def frame(bars: int = 120, symbols: int = 2, seed: int = 3) -> pl.DataFrame:
    made = walk(seed, bars, symbols).rename({"open_time": "timestamp"})
    return made.select("symbol", "timestamp", *PRICES)


def hourly(made: pl.DataFrame, every: str = "1h") -> pl.DataFrame:
    times = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 12, 1), every, time_zone="UTC", eager=True)
    n = made.height // made["symbol"].n_unique()
    return made.with_columns(pl.concat([times.head(n)] * made["symbol"].n_unique()).alias("timestamp"))


@pytest.mark.parametrize("edition", ["2026", "2021"])
def test_ratings_and_votes_are_those_of_the_plain_rules(edition):
    made = frame(260, 1)
    found = assay.rate(made, edition=edition, votes=True)
    plain = [made[name].to_list() for name in ("high", "low", "close", "volume")]
    _, cast, both, moving, other = naive_ratings.ratings(*plain, edition)
    for name in VOTES:
        assert found[f"vote_{name}"].to_list() == cast[name], name
    for name, expected in zip(RATINGS, (both, moving, other), strict=True):
        for mine, value in zip(found[name], expected, strict=True):
            assert mine == (None if value is None else pytest.approx(value, abs=1e-14)), name


def test_columns_are_the_promised_ones():
    found = assay.rate(frame())
    assert found.columns == [*KEYS, *RATINGS]
    assert assay.rate(frame(), votes=True).columns == [*KEYS, *RATINGS, *(f"vote_{name}" for name in VOTES)]
    assert isinstance(found, pl.DataFrame)


def test_rows_keep_their_order_and_their_keys():
    made = frame()
    shuffled = made.sample(fraction=1.0, shuffle=True, seed=5).with_columns(pl.lit(1).alias("other"))
    found = assay.rate(shuffled, votes=True)
    assert found.select(KEYS).equals(shuffled.select(KEYS))
    assert found.sort("symbol", "timestamp").equals(assay.rate(made, votes=True))


def test_the_default_is_the_screener_of_today():
    made = frame(300, 3)
    assert assay.rate(made).equals(assay.rate(made, "1d", "2026"))
    assert not assay.rate(made).equals(assay.rate(made, "1d", "2021"))


def test_pandas_in_pandas_out():
    made = frame()
    expected = assay.rate(made, votes=True)
    plain = pd.DataFrame({name: made[name].to_list() for name in made.columns}, index=range(1000, 1000 + made.height))
    found = assay.rate(plain, votes=True)
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == expected.columns
    assert found.index.equals(plain.index)
    assert found["timestamp"].dtype == plain["timestamp"].dtype
    for name in RATINGS:
        np.testing.assert_array_equal(found[name].to_numpy(), expected[name].to_numpy())
        assert found[name].isna().sum() == expected[name].null_count()
    for name in VOTES:
        values = [None if value is pd.NA else int(value) for value in found[f"vote_{name}"]]
        assert values == expected[f"vote_{name}"].to_list(), name


def test_pandas_with_naive_stamps_categories_and_whole_numbers():
    made = frame().with_columns(pl.col("volume").round().cast(pl.Int64))
    expected = assay.rate(made)
    plain = pd.DataFrame({name: made[name].to_list() for name in made.columns})
    plain["symbol"] = plain["symbol"].astype("category")
    plain["timestamp"] = plain["timestamp"].dt.tz_localize(None)
    for name in RATINGS:
        np.testing.assert_array_equal(assay.rate(plain)[name].to_numpy(), expected[name].to_numpy())


@pytest.mark.parametrize(
    "stamps",
    [
        pl.col("timestamp").dt.replace_time_zone(None),
        pl.col("timestamp").dt.convert_time_zone("Asia/Tokyo"),
        pl.col("timestamp").dt.epoch("ms"),
        pl.col("timestamp").cast(pl.Datetime("ns", "UTC")),
        pl.col("timestamp").dt.date(),
    ],
    ids=["naive", "Tokyo", "epoch", "nanoseconds", "dates"],
)
def test_time_stamps_may_be_written_in_many_ways(stamps):
    made = frame()
    given = made.with_columns(stamps.alias("timestamp"))
    found = assay.rate(given)
    assert found["timestamp"].equals(given["timestamp"])
    assert found.select(RATINGS).equals(assay.rate(made).select(RATINGS))


@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e6])
def test_epochs_of_another_unit_are_refused(factor):
    given = frame().with_columns((pl.col("timestamp").dt.epoch("ms") * factor).cast(pl.Int64))
    with pytest.raises(DataError, match="no epoch millisecond of the years 1980 to 2100"):
        assay.rate(given)


def test_bars_without_volume_are_neither_rated_nor_seen():
    made = frame(160, 1)
    quiet = pl.int_range(160).is_in([80, 81, 120])
    found = assay.rate(made.with_columns(pl.when(quiet).then(0.0).otherwise("volume").alias("volume")), votes=True)
    assert found.height == 160
    assert found.filter(quiet).select(pl.all().exclude(KEYS).is_null().all()).row(0) == (True,) * 29
    gone = assay.rate(made.filter(~quiet), votes=True)
    assert found.filter(~quiet).equals(gone)


def test_no_rows_give_no_rows():
    empty = frame().clear()
    found = assay.rate(empty, votes=True)
    assert found.schema == assay.rate(frame(), votes=True).schema
    assert found.height == 0
    assert assay.rate(pd.DataFrame({name: [] for name in empty.columns})).shape == (0, 5)


def test_a_single_bar_is_too_young_for_a_rating():
    assert assay.rate(frame(1, 1)).select(RATINGS).row(0) == (None, None, None)


def test_other_intervals_are_rated_by_their_own_clock():
    made = hourly(frame(200, 2))
    found = assay.rate(made, "1h")
    assert found.select(RATINGS).equals(assay.rate(frame(200, 2)).select(RATINGS))


def test_the_lakes_table_says_the_same():
    bars = walk(9, 220, 3)
    table = rate_bars(bars)
    found = assay.rate(bars.rename({"open_time": "timestamp"}), votes=True)
    assert found.drop(KEYS).equals(table.select(found.drop(KEYS).columns))


# What is refused.


@pytest.mark.parametrize("name", ["symbol", "timestamp", "open", "high", "low", "close", "volume"])
def test_a_missing_column_is_named(name):
    with pytest.raises(DataError, match=f"no column {name}") as caught:
        assay.rate(frame().drop(name))
    assert "rename or add" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("symbol", None, "has no symbol"),
        ("timestamp", None, "has no time stamp"),
        ("close", None, "lacks a price"),
        ("close", float("nan"), "lacks a price"),
        ("high", float("inf"), "has a price that is not finite"),
        ("low", 0.0, "has a price that is not positive"),
        ("open", -1.0, "has a price that is not positive"),
        ("high", 1e-6, "has a high below its low"),
        ("volume", None, "lacks its volume"),
        ("volume", -5.0, "has a volume that cannot be"),
        ("volume", float("inf"), "has a volume that cannot be"),
    ],
)
def test_a_faulty_bar_is_named(name, value, what):
    made = frame(40, 1)
    faulty = made.with_columns(pl.when(pl.int_range(40) == 17).then(pl.lit(value)).otherwise(name).alias(name))
    with pytest.raises(DataError, match=what) as caught:
        assay.rate(faulty)
    assert caught.value.where == "row 17"


def test_a_bar_twice_is_named():
    made = frame(40, 1)
    with pytest.raises(DataError, match="BINANCE:C000USDT 2020-01-06 00:00 is there twice"):
        assay.rate(pl.concat([made, made.slice(5, 1)]))


def test_of_bars_that_are_there_twice_the_first_coins_is_named():
    """Not the earliest: whoever mends a file goes through it coin by coin."""
    made = frame(40, 2)
    with pytest.raises(DataError, match="BINANCE:C000USDT 2020-01-09 00:00 is there twice"):
        assay.rate(pl.concat([made.slice(45, 1), made, made.slice(8, 1)]))


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pl.col("close").cast(pl.String), "column close is String"),
        (pl.col("timestamp").cast(pl.String), "column timestamp is String"),
        (pl.col("timestamp").dt.epoch("ms").cast(pl.Float64), "column timestamp is Float64"),
        (pl.int_range(pl.len()).alias("symbol"), "column symbol is Int64"),
    ],
)
def test_a_column_of_another_type_is_named(column, what):
    with pytest.raises(DataError, match=what):
        assay.rate(frame().with_columns(column))


def test_mixed_values_in_pandas_are_refused():
    plain = pd.DataFrame(frame(30, 1).to_dict(as_series=False))
    plain["close"] = plain["close"].astype(object)
    plain.loc[3, "close"] = "12.5"
    with pytest.raises(DataError, match="column close"):
        assay.rate(plain)


def test_bars_of_another_interval_are_refused():
    hours = hourly(frame(100, 1))
    with pytest.raises(DataError, match=r"bars lie 1:00:00 apart, an interval of 1d is 1 day"):
        assay.rate(hours)
    with pytest.raises(DataError, match=r"an interval of 15m is 0:15:00"):
        assay.rate(hours, "15m")


@pytest.mark.parametrize("interval", ["9d", "1M", "", "1D"])
def test_an_unknown_interval_is_refused(interval):
    with pytest.raises(UsageError, match="unknown interval"):
        assay.rate(frame(), interval)


@pytest.mark.parametrize("edition", ["2020", "2024", "", "mixed", 2026])
def test_an_unknown_edition_is_refused(edition):
    with pytest.raises(UsageError, match="unknown edition"):
        assay.rate(frame(), edition=edition)


@pytest.mark.parametrize("thing", [frame().lazy(), {"symbol": ["a"]}, None, [1, 2]])
def test_what_is_no_frame_is_refused(thing):
    with pytest.raises(UsageError, match="is no table of bars"):
        assay.rate(thing)


def test_a_missing_day_or_two_does_not_end_a_listing_and_three_do():
    made = frame(200, 1)
    two = assay.rate(made.filter(~pl.int_range(200).is_in([150, 151])))
    three = assay.rate(made.filter(~pl.int_range(200).is_in([150, 151, 152])))
    assert two["recommend_all"][150] is not None
    assert three["recommend_all"][150:159].null_count() == 9
    late = dt.timedelta(days=3)
    assert three["timestamp"][150] - three["timestamp"][149] == late + dt.timedelta(days=1)
