"""The panel that decisions read: every value where it belongs, nothing that was not known."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from assay.base.domain import UTC
from assay.base.errors import DataError
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.market.panel import BAR_FIELDS, RATING_FIELDS

START = dt.datetime(2021, 1, 1, tzinfo=UTC)
DAY = dt.timedelta(days=1)
BTC, ETH = "BINANCE:BTCUSDT", "BINANCE:ETHUSDT"


def bar(symbol, day, close, quote_volume=None, volume=2.0):
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return {"symbol": symbol, "timestamp": START + day * DAY, **prices, "volume": volume, "quote_volume": quote_volume}


SMALL = [
    *(bar("BINANCE:B", day, 10.0 + day) for day in (0, 1, 2, 6, 7)),  # three days missing: another listing
    *(bar("BINANCE:a", day, 20.0 + day, quote_volume=7.0) for day in (1, 2, 4)),
    bar("BINANCE:Z", 0, 30.0),
]


@pytest.fixture
def small(tmp_path, parquet):
    lake = Lake(tmp_path / "home", parquet(pl.DataFrame(SMALL, infer_schema_length=None)))
    ingest(lake)
    return lake.latest()


def same(left, right, names=BAR_FIELDS + RATING_FIELDS):
    assert np.array_equal(left.days, right.days)
    assert left.symbols == right.symbols
    assert np.array_equal(left.listing, right.listing)
    for name in names:
        assert np.array_equal(left[name], right[name], equal_nan=True), name


def test_every_value_is_where_it_belongs(small):
    market = small.market()
    nan = np.nan
    assert market.symbols == ("BINANCE:B", "BINANCE:Z", "BINANCE:a")
    assert [str(day) for day in market.days] == [f"2021-01-0{day}" for day in range(1, 9)]
    close = [
        [10, 30, nan],
        [11, nan, 21],
        [12, nan, 22],
        [nan] * 3,
        [nan, nan, 24],
        [nan] * 3,
        [16, nan, nan],
        [17, nan, nan],
    ]
    assert np.array_equal(market["close"], close, equal_nan=True)
    assert np.array_equal(market["high"], np.array(close) + 1, equal_nan=True)
    assert np.array_equal(market["volume"], np.array(close) * 0 + 2, equal_nan=True)
    listing = [[0, 0, -1], [0, -1, 0], [0, -1, 0], [-1] * 3, [-1, -1, 0], [-1] * 3, [1, -1, -1], [1, -1, -1]]
    assert market.listing.tolist() == listing
    assert market.as_of == dt.datetime(2021, 1, 9, tzinfo=UTC)
    assert market.instruments is None


def test_value_traded_is_quote_volume_else_close_times_volume(small):
    traded = small.market()["value_traded"]
    assert traded[1].tolist()[2] == 7.0
    assert traded[1].tolist()[0] == 22.0
    assert np.isnan(traded[3]).all()


def test_the_fields_are_contiguous_and_complete(small):
    market = small.market()
    assert set(market.fields) == {*BAR_FIELDS, *RATING_FIELDS}
    for values in market.fields.values():
        assert values.flags["C_CONTIGUOUS"]
        assert (values.dtype, values.shape) == (np.float64, (8, 3))


def test_a_window_counts_calendar_days_and_keeps_the_listing(small):
    market = small.market(days=2)
    assert market.symbols == ("BINANCE:B",)
    assert [str(day) for day in market.days] == ["2021-01-07", "2021-01-08"]
    assert market.listing.tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("until", "last"),
    [
        (START + 3 * DAY, "2021-01-03"),
        (START + 3 * DAY + dt.timedelta(hours=23, minutes=59), "2021-01-03"),
        (START + 6 * DAY, "2021-01-06"),  # a day on which nothing traded is still a day
        (START + 99 * DAY, "2021-01-08"),
    ],
)
def test_a_bar_is_known_when_it_has_closed(small, until, last):
    market = small.market(until)
    assert str(market.days[-1]) == last
    assert market.as_of == until
    expected = [row for row in SMALL if row["timestamp"] + DAY <= until]
    assert np.isfinite(market["close"]).sum() == len(expected)


def test_before_the_first_close_there_is_no_market(small):
    with pytest.raises(DataError, match="no bar has closed by 2021-01-01T23:00:00Z"):
        small.market(START + dt.timedelta(hours=23))


def test_hourly_bars_make_no_daily_market(tmp_path, parquet):
    table = pl.DataFrame([bar("BINANCE:B", hour / 24, 10.0) for hour in range(5)], infer_schema_length=None)
    lake = Lake(tmp_path, parquet(table))
    ingest(lake)
    assert lake.latest().interval == "1h"
    with pytest.raises(DataError, match="daily"):
        lake.latest().market()


def test_ratings_lie_beside_their_bars(tmp_path, parquet, market_bars):
    quiet = (pl.col("symbol") == ETH) & (pl.col("timestamp") == START + 310 * DAY)
    table = market_bars.with_columns(pl.when(quiet).then(0.0).otherwise("volume").alias("volume"))
    lake = Lake(tmp_path / "home", parquet(table))
    ingest(lake)
    snapshot = lake.latest()
    market = snapshot.market(days=100)
    seen = {
        (day, symbol): tuple(market[name][i, j] for name in RATING_FIELDS)
        for i, day in enumerate(market.days.tolist())
        for j, symbol in enumerate(market.symbols)
    }
    ratings = snapshot.ratings(since=START + 220 * DAY, columns=["open_time", "symbol", *RATING_FIELDS])
    told = {(row[0].date(), row[1]): row[2:] for row in ratings.iter_rows()}
    assert len(told) == 299
    missing = ((START + 310 * DAY).date(), ETH)
    assert set(seen) - set(told) == {missing}
    assert np.isnan(seen.pop(missing)).all()
    assert seen == told


def test_an_earlier_instant_is_a_cut_of_a_later_market(tmp_path, parquet, market_bars):
    lake = Lake(tmp_path / "home", parquet(market_bars))
    ingest(lake)
    snapshot = lake.latest()
    until = START + 250 * DAY
    same(snapshot.market(until, 100), snapshot.market().until(until, 100))


def test_what_was_refused_later_is_not_there_yet(tmp_path, parquet, market_bars):
    bad = pl.col("timestamp").is_in([START + 100 * DAY, START + 200 * DAY]) & (pl.col("symbol") == ETH)
    lake = Lake(
        tmp_path / "home", parquet(market_bars.with_columns(pl.when(bad).then(0.0).otherwise("low").alias("low")))
    )
    ingest(lake)
    snapshot = lake.latest()
    assert snapshot.market().quarantine.height == 2
    assert snapshot.market(START + 101 * DAY).rejections() == {ETH: "NON_POSITIVE"}
    assert snapshot.market(START + 100 * DAY).quarantine.is_empty()


def test_reads_take_any_part(tmp_path, parquet, market_bars):
    lake = Lake(tmp_path / "home", parquet(market_bars))
    ingest(lake)
    snapshot = lake.latest()
    part = snapshot.bars(since=START + 10 * DAY, until=START + 20 * DAY, symbols=[BTC], columns=["close", "open_time"])
    assert part.columns == ["close", "open_time"]
    wanted = market_bars.filter(pl.col("symbol") == BTC)[10:20]
    assert part["close"].to_list() == wanted["close"].to_list()
    assert snapshot.bars(symbols=["BINANCE:NONE"]).is_empty()
    assert snapshot.ratings(symbols=[BTC], columns=["bar"])["bar"].to_list() == list(range(320))


def test_the_shared_bars_become_a_panel_like_polars_own_pivot(shared_lake):
    lake, _ = shared_lake
    market = lake.latest().market(dt.datetime(2024, 4, 1, tzinfo=UTC), 750)
    recorded = pl.read_parquet(lake.source.path)
    since, until = dt.datetime(2022, 3, 13, tzinfo=UTC), dt.datetime(2024, 3, 31, tzinfo=UTC)
    wide = (
        recorded.filter(pl.col("timestamp").is_between(since, until))
        .pivot(on="symbol", index="timestamp", values="close")
        .sort("timestamp")
    )
    assert market["close"].shape == (750, len(wide.columns) - 1)
    assert list(market.symbols) == sorted(wide.columns[1:])
    assert np.array_equal(market["close"], wide.select(market.symbols).to_numpy(), equal_nan=True)
    assert np.isfinite(market["recommend_all"][:, market.column(BTC)]).all()
