"""Real and random bars in lake columns."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from ratings_bars import walk

from assay.ratings.tape import OPEN_TIME


@pytest.fixture(scope="session")
def daily(shared: Path) -> pl.DataFrame:
    """All shared daily bars in lake columns."""
    bars = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet")
    return bars.select(
        "symbol",
        pl.lit("1d").alias("interval"),
        pl.col("timestamp").cast(OPEN_TIME).alias("open_time"),
        *("open", "high", "low", "close", "volume", "quote_volume"),
        pl.lit("test").alias("source"),
    ).sort("symbol", "open_time")


@pytest.fixture(scope="session")
def walks() -> object:
    """The maker of random bars."""
    return walk
