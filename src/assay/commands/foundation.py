"""``assay ingest``, ``assay scan`` and ``assay ratings``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from assay import artifacts
from assay.commands import output
from assay.domain import INTERVALS, check_symbol, format_instant, parse_as_of
from assay.errors import UsageError
from assay.flow import lay_foundation
from assay.runs import Home

if TYPE_CHECKING:
    from assay.profile import Catalog


def ingest(home: Home, source: str, as_json: bool) -> None:
    """Load a source into its lake and print what was added, repaired and refused."""
    from assay.foundation.ingest import ingest as load
    from assay.foundation.lake import Lake
    from assay.foundation.sources import open_source

    opened = open_source(source)
    lake = Lake(home.path, opened)
    report = load(lake, opened, output.progress)
    if as_json:
        output.as_json(report.as_dict() | {"lake": str(lake.folder)})
        return
    output.line(f"lake: {lake.folder}")
    for key, value in report.as_dict().items():
        output.line(f"{key}: {value}")


def scan(home: Home, catalog: Catalog, source: str, as_of: str | None, as_json: bool) -> None:
    """Print the superset of a date."""
    found = lay_foundation(home, catalog, source, as_of)
    superset = found.superset
    if as_json:
        output.as_json(artifacts.as_plain(superset) | {"path": str(found.path)})
        return
    rows = [[c.scanner, c.universe, c.matched, c.kept] for c in superset.scanners]
    output.line(f"as of {format_instant(found.as_of)}, {found.source}, head {found.snapshot.head}")
    output.line(output.table(["scanner", "universe", "matched", "kept"], rows))
    output.line(f"unique atoms: {superset.unique_atoms}")
    output.line(f"merged quotes: {len(superset.merged_quotes)}")
    output.line(f"invalid records: {len(superset.invalid_records)}")
    for record in superset.invalid_records:
        output.line(f"  {record.symbol!r} ({record.scanner}): {record.reason}")
    output.line(f"superset: {found.path}")


def ratings(symbol: str, source: str, as_of: str | None, interval: str | None, as_json: bool) -> None:
    """Print ratings and votes of one symbol, computed from the source's bars."""
    import polars as pl

    from assay.foundation.ratings import explain
    from assay.foundation.sources import open_source

    check_symbol(symbol)
    if interval is not None and interval not in INTERVALS:
        raise UsageError(f"unknown interval {interval!r}", hint=f"one of {', '.join(INTERVALS)}")
    read = open_source(source).read()
    if interval not in (None, read.interval):
        raise UsageError(
            f"the source has {read.interval} bars, not {interval}", where=source, hint="leave --interval out"
        )
    bars = read.bars.filter(pl.col("symbol") == symbol)
    if bars.is_empty():
        raise UsageError("no bars of this symbol", where=f"{symbol} in {source}", hint="write it as BINANCE:BTCUSDT")
    opened: dt.datetime = bars["open_time"].max()  # type: ignore[assignment]  # the column's type is known
    explained = explain(bars, read.interval, parse_as_of(as_of) if as_of else opened + INTERVALS[read.interval])
    if as_json:
        output.as_json(explained.as_dict())
        return
    output.line(str(explained))
