"""Small markets made of nothing but a seed, written as users would write them."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from assay.base.domain import UTC
from assay.lake.ingest import ingest
from assay.lake.lake import Lake

START = dt.datetime(2021, 1, 1, tzinfo=UTC)
SYMBOLS = ("BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BINANCE:日本USDT")


def make_bars(symbols=SYMBOLS, days=320, seed=7, start=START, step=dt.timedelta(days=1)):
    """Random walks with the columns of the shared bars, in order of symbol and time."""
    random = np.random.default_rng(seed)
    parts = []
    for symbol in symbols:
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.03, days)))
        open_ = close * np.exp(random.normal(0, 0.01, days))
        high = np.maximum(open_, close) * np.exp(random.exponential(0.01, days))
        low = np.minimum(open_, close) * np.exp(-random.exponential(0.01, days))
        volume = random.lognormal(10, 1, days)
        part = {
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "quote_volume": close * volume,
        }
        times = [start + step * day for day in range(days)]
        parts.append(pl.DataFrame({"symbol": [symbol] * days, "timestamp": times, **part}))
    stamp = pl.col("timestamp").cast(pl.Datetime("ms", "UTC"))
    return pl.concat(parts).with_columns(stamp)


@pytest.fixture(scope="session")
def market_bars():
    """Three symbols, 320 days."""
    return make_bars()


@pytest.fixture(scope="session")
def six_coins():
    """Six symbols, 150 days: enough for a hole to be the market's."""
    names = ("BTC", "ADA", "BNB", "ETH", "SOL", "XRP")
    return make_bars([f"BINANCE:{name}USDT" for name in names], days=150)


@pytest.fixture(scope="session")
def shared_lake(shared, tmp_path_factory):
    """The recorded bars in a lake, and the report of their ingestion."""
    lake = Lake(tmp_path_factory.mktemp("shared"), f"parquet:{shared / 'spot_daily_to_2024-06.parquet'}")
    return lake, ingest(lake)


@pytest.fixture
def parquet(tmp_path):
    """Write a table to the one file of this test and return the source's text."""

    def write(table):
        path = tmp_path / "bars.parquet"
        table.write_parquet(path)
        return f"parquet:{path}"

    return write
