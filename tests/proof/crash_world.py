"""A market small enough to be run a thousand times: seven coins that a seed made."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl

from assay.base.domain import UTC
from assay.pipeline.flow import lay_foundation
from assay.runs.home import Home
from assay.settings import load

LONG, MA_LONG = "binance_spot_rating_all_long", "binance_spot_rating_ma_long"
NAMES = ("BTC", "ETH", "SOL", "ADA", "XRP", "DOT", "LTC")
DAYS = 290
START = dt.datetime(2022, 1, 1, tzinfo=UTC)
WIDE = ("caps.atom=0.5",)
"""Settings of sleeves that walk 37 days, enough for a portfolio of them."""
SMALL = ("walk_forward.start=2022-09-28", "walk_forward.days=12", "caps.atom=0.5")


def make_bars(days=DAYS, seed=11, names=NAMES):
    random = np.random.default_rng(seed)
    parts = []
    for name in names:
        close = 100 * np.exp(np.cumsum(random.normal(0.001, 0.03, DAYS)))
        opened = close * np.exp(random.normal(0, 0.005, DAYS))
        high = np.maximum(opened, close) * np.exp(random.exponential(0.01, DAYS))
        low = np.minimum(opened, close) * np.exp(-random.exponential(0.01, DAYS))
        volume = random.lognormal(13, 0.3, DAYS)
        times = [START + dt.timedelta(days=day) for day in range(DAYS)]
        columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
        parts.append(
            pl.DataFrame(
                {
                    "symbol": [f"BINANCE:{name}USDT"] * DAYS,
                    "timestamp": times,
                    **columns,
                    "quote_volume": volume * close,
                }
            ).head(days)
        )
    return pl.concat(parts).with_columns(pl.col("timestamp").cast(pl.Datetime("ms", "UTC")))


def make_home(folder: Path, settings=SMALL) -> tuple[Home, str]:
    """A home whose lake holds the market; return it and the source."""
    path = folder / "bars.parquet"
    make_bars().write_parquet(path)
    home, source = Home(folder / "home"), f"parquet:{path}"
    lay_foundation(home, load(settings=settings), source)
    return home, source
