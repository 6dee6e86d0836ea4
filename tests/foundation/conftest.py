"""Recorded bars as a market, built once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from foundation_markets import panel, shared_bars

from assay.market.panel import Market


@pytest.fixture(scope="session")
def recorded(shared: Path) -> Market:
    """Recorded daily bars of 2017 to 2024, without ratings."""
    return panel(shared_bars(shared), None)


@pytest.fixture(scope="session")
def rated(shared: Path) -> Market:
    """Recorded daily bars with Assay's ratings of them."""
    from assay.ratings import rate

    bars = shared_bars(shared).with_columns(
        pl.col("open_time").cast(pl.Datetime("us", "UTC")), pl.lit("1d").alias("interval")
    )
    return panel(bars, rate(bars.sort("open_time", "symbol")))
