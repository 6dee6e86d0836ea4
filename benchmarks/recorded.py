"""Bars for studies of years: the shared ones where they are, else the embedded sample."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.market.panel import Market
from assay.sources import open_source

FOLDER = Path(os.environ.get("ASSAY_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
BARS = FOLDER / "spot_daily_to_2024-06.parquet"


def market(days: int) -> tuple[Market, str]:
    """Return the last days of bars with their ratings, through a lake of its own, and what they are."""
    shared = BARS.is_file()
    source = open_source(f"parquet:{BARS}" if shared else "sample")
    with tempfile.TemporaryDirectory() as home:
        lake = Lake(Path(home), source)
        snapshot = lake.pin(ingest(lake, source, None).head)
        loaded = snapshot.market(snapshot.last_close(), days)
    what = f"the shared bars ({BARS.name})" if shared else f"the embedded sample, for {BARS.name} is absent"
    return loaded, f"{what}: {len(loaded.symbols)} symbols, {loaded.days[0]} to {loaded.days[-1]}"
