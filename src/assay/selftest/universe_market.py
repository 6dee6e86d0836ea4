"""From a universe's raw bars to the panel that decisions read, by the code that ingests, rates and pins."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl

from assay.base.domain import DAY, UTC
from assay.lake.compare import compare
from assay.lake.head import Head
from assay.lake.snapshot import InMemorySnapshot
from assay.lake.storage import Folder
from assay.market.bars import Checked, check
from assay.market.panel import Market
from assay.market.schema import BARS, INSTRUMENTS
from assay.ratings import rate
from assay.selftest.universes import FIRST, Universe

NOW = dt.datetime(2025, 1, 1, tzinfo=UTC)
"""When the bars are read; all of them have closed by then."""


def market_of(raw: pl.DataFrame, universe: Universe) -> Market:
    """Judge, rate and lay out raw bars, as an ingestion and a pinned snapshot do.

    Raises
    ------
    SourceError
        If no row is usable, or the interval cannot be told.
    """
    checked = check(raw, where=str(universe), source="parquet", now=NOW)
    bars = compare(pl.DataFrame(schema=BARS), checked.bars, complete=True).bars
    tables = {"bars": bars, "ratings": rate(bars, checked.interval), "quarantine": checked.rejected}
    if "instruments" in universe.traits:
        tables["instruments"] = _instruments(bars["symbol"].unique().sort().to_list())
    nowhere = Path("universe")
    return InMemorySnapshot(nowhere, _head(checked), Folder(nowhere), tables).market()


def _head(checked: Checked) -> Head:
    opened: Any = checked.bars["open_time"]
    return Head(
        head=1,
        tables={},
        rows={},
        source="universe",
        fingerprint="",
        interval=checked.interval,
        first_open=opened.min(),
        last_close=opened.max() + DAY,
        symbols=checked.bars["symbol"].n_unique(),
        findings=[],
    )


def _instruments(symbols: list[str]) -> pl.DataFrame:
    """Return an exchange's table that lacks every third symbol."""
    listed = [symbol for i, symbol in enumerate(symbols) if i % 3 != 1]
    known = {symbol: quote for symbol in listed for quote in ("USDT", "USDC", "USD") if symbol.endswith(quote)}
    rows = {
        "symbol": list(known),
        "base": [symbol.partition(":")[2].removesuffix(quote) for symbol, quote in known.items()],
        "quote": list(known.values()),
        "status": ["TRADING"] * len(known),
        **{name: [0.01] * len(known) for name in ("tick_size", "step_size", "min_qty", "min_notional")},
        "margin_allowed": [True] * len(known),
        "valid_from": [FIRST] * len(known),
        "valid_to": [None] * len(known),
    }
    return pl.DataFrame(rows, schema=dict(INSTRUMENTS))
