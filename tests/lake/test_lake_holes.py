"""A hole of the whole file, and rows that were refused, leave listings and ratings as they are."""

import datetime as dt

import polars as pl
import pytest

from assay.lake.ingest import ingest
from assay.lake.lake import Lake

START = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
COINS = ("BINANCE:BTCUSDT", *(f"BINANCE:{name}USDT" for name in ("ADA", "BNB", "ETH", "SOL", "XRP")))
DAYS = 150


def day(number):
    return pl.lit(START + dt.timedelta(days=number)).cast(pl.Datetime("ms", "UTC"))


def without(table, begin, end, symbols=COINS):
    hit = pl.col("symbol").is_in(symbols) & (pl.col("timestamp") >= day(begin)) & (pl.col("timestamp") < day(end))
    return table.filter(~hit)


def loaded(parquet, tmp_path, *tables, name="lake"):
    for table in tables:
        lake = Lake(tmp_path / name, parquet(table))
        report = ingest(lake)
    return lake.latest(), report


def rated(snapshot, symbol):
    return snapshot.ratings().filter(pl.col("symbol") == symbol).sort("open_time")


def test_a_hole_of_the_market_ends_no_listing(parquet, tmp_path, six_coins):
    snapshot, _ = loaded(parquet, tmp_path, without(six_coins, 100, 103))
    assert set(snapshot.bars()["listing"]) == {0}
    for symbol in COINS:
        ratings = rated(snapshot, symbol)
        assert ratings["listing"].max() == 0
        assert ratings["bar"].to_list() == list(range(DAYS - 3))
        assert ratings["recommend_all"][-40:].null_count() == 0


def test_days_that_one_coin_lacks_end_its_listing(parquet, tmp_path, six_coins):
    snapshot, _ = loaded(parquet, tmp_path, without(six_coins, 100, 103, COINS[1:2]))
    assert rated(snapshot, COINS[1])["bar"][-1] == DAYS - 104
    assert rated(snapshot, COINS[2])["listing"].max() == 0


def test_refused_rows_end_no_listing_until_there_are_more_than_ten(parquet, tmp_path, six_coins):
    def twice(end):
        hit = (pl.col("symbol") == COINS[3]) & (pl.col("timestamp") >= day(100)) & (pl.col("timestamp") < day(end))
        return pl.concat([six_coins, six_coins.filter(hit).with_columns(pl.col("open") * 1.0001)])

    snapshot, report = loaded(parquet, tmp_path, twice(110))
    assert report.quarantined == 20
    assert set(snapshot.bars()["listing"]) == {0}
    snapshot, report = loaded(parquet, tmp_path, twice(111), name="other")
    assert rated(snapshot, COINS[3])["listing"].max() == 1
    assert {finding.code: finding.names for finding in report.findings}["HOLE_TOO_LONG"] == [COINS[3]]


def test_what_was_taken_for_an_end_is_mended_when_the_others_come_back(parquet, tmp_path, six_coins):
    holed = without(six_coins, 100, 103)
    alone = without(holed, 103, DAYS, COINS[2:])  # two coins came back: nobody knows yet that all will
    step, _ = loaded(parquet, tmp_path, alone)
    assert step.bars()["listing"].max() == 1
    steps, _ = loaded(parquet, tmp_path, alone, holed, name="steps")
    once, _ = loaded(parquet, tmp_path, holed, name="once")
    assert steps.bars().equals(once.bars())
    assert steps.ratings().equals(once.ratings())


@pytest.mark.parametrize("cut", [101, 104, 120])
def test_days_after_a_hole_give_what_a_full_load_gives(parquet, tmp_path, six_coins, cut):
    holed = without(six_coins, 100, 103)
    steps, _ = loaded(parquet, tmp_path, without(holed, cut, DAYS), holed, name="steps")
    once, _ = loaded(parquet, tmp_path, holed, name="once")
    assert steps.bars().equals(once.bars())
    assert steps.ratings().equals(once.ratings())


def test_a_recorded_file_with_a_hole_keeps_every_listing(shared, tmp_path):
    path = shared.parent / "review" / "cases" / "market_hole3.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    lake = Lake(tmp_path / "lake", f"parquet:{path}")
    ingest(lake)
    hole = dt.datetime(2023, 11, 15, tzinfo=dt.UTC)
    around = lake.latest().bars(since=hole - dt.timedelta(days=1), until=hole + dt.timedelta(days=5))
    assert (around.group_by("symbol").agg(pl.col("listing").n_unique())["listing"] == 1).all()
