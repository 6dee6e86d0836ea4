"""Recorded bars as a market."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluation_markets import listings

from assay.base.domain import UTC
from assay.market.panel import BAR_FIELDS, RATING_FIELDS, Market

PRICES = ("open", "high", "low", "close")
collect_ignore = ["zipline_account.py"]
"""A search for doctests would import zipline, which takes long where it is there and fails where it is not."""


@pytest.fixture(scope="session")
def recorded(shared: Path) -> Market:
    """Recorded daily bars of all USDT pairs from 2021 to 2024-06 as a market without ratings."""
    bars = (
        pl.read_parquet(shared / "spot_daily_to_2024-06.parquet", columns=["symbol", "timestamp", *PRICES])
        .with_columns(pl.col("timestamp").dt.date().alias("day"))
        .filter(pl.col("day") >= dt.date(2020, 9, 1))
    )
    days = np.arange(np.datetime64(bars["day"].min()), np.datetime64(bars["day"].max()) + 1)
    symbols = tuple(sorted(bars["symbol"].unique()))
    row = (bars["day"].to_numpy().astype("datetime64[D]") - days[0]).astype(np.int64)
    index = {symbol: i for i, symbol in enumerate(symbols)}
    column = np.array([index[symbol] for symbol in bars["symbol"]])
    prices = {}
    for name in PRICES:
        prices[name] = np.full((len(days), len(symbols)), np.nan)
        prices[name][row, column] = bars[name].to_numpy()
    blank = np.full_like(prices["close"], np.nan)
    fields = dict.fromkeys((*BAR_FIELDS, *RATING_FIELDS), blank) | prices
    as_of = dt.datetime(2024, 7, 1, tzinfo=UTC)
    return Market(days, symbols, fields, listings(prices["close"]), as_of)
