"""``assay scan`` and ``assay ratings``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from assay.base.domain import INTERVALS, check_symbol, format_instant, parse_as_of
from assay.base.errors import DataError, UsageError
from assay.cli import do_output as output
from assay.pipeline.flow import lay_foundation
from assay.runs import documents as artifacts
from assay.runs.home import Home

if TYPE_CHECKING:
    import polars as pl

    from assay.settings import Catalog


def scan(home: Home, catalog: Catalog, source: str, as_of: str | None, as_json: bool) -> None:
    """Print the superset of a date, who is missing and why, and how a recorded scan agrees with the lake."""
    from assay.cli.do_ingestion import missing_symbols, print_reconciliation, print_superset
    from assay.screening.reconcile import reconcile
    from assay.screening.recorded_scans import recorded

    found = lay_foundation(home, catalog, source, as_of)
    superset = found.superset
    missing = missing_symbols(found.snapshot, found.as_of, superset)
    scanned = recorded(found.snapshot, found.as_of, catalog.scanners())
    compared = None if scanned is None else reconcile(scanned, found.snapshot)
    if as_json:
        more: dict[str, Any] = {"path": str(found.path), "missing": [artifacts.as_plain(drop) for drop in missing]}
        more["reconciliation"] = None if compared is None else compared.as_dict()
        output.as_json(artifacts.as_plain(superset) | more)
        return
    rows = [[c.scanner, c.universe, c.matched, c.kept] for c in superset.scanners]
    output.line(f"as of {format_instant(found.as_of)}, {found.source}, head {found.snapshot.head}")
    output.line(output.table(["scanner", "universe", "matched", "kept"], rows))
    output.line(f"merged quotes: {len(superset.merged_quotes)}")
    print_superset(superset, missing)
    print_reconciliation(compared)
    output.line(f"superset: {found.path}")


def ratings(home: Home, symbol: str, source: str, as_of: str | None, interval: str | None, as_json: bool) -> None:
    """Print ratings and votes of one symbol, computed from a file's bars, or from those that the lake has."""
    from assay.ratings import explain

    check_symbol(symbol)
    if interval is not None and interval not in INTERVALS:
        raise UsageError(f"unknown interval {interval!r}", hint=f"one of {', '.join(INTERVALS)}")
    bars, found = _bars(home, source, symbol)
    if interval not in (None, found):
        raise UsageError(f"the source has {found} bars, not {interval}", where=source, hint="leave --interval out")
    if bars.is_empty():
        raise UsageError("no bars of this symbol", where=f"{symbol} in {source}", hint="write it as BINANCE:BTCUSDT")
    opened: dt.datetime = bars["open_time"].max()  # type: ignore[assignment]  # the column's type is known
    explained = explain(bars, found, parse_as_of(as_of) if as_of else opened + INTERVALS[found])
    if as_json:
        output.as_json(explained.as_dict())
        return
    output.line(str(explained))


def _bars(home: Home, source: str, symbol: str) -> tuple[pl.DataFrame, str]:
    """Return a symbol's bars and their interval; a live source is not asked, its lake is."""
    from assay.lake.lake import Lake
    from assay.sources import is_live, open_source

    opened = open_source(source)
    if not is_live(opened):
        read = opened.read()
        return read.bars.filter(read.bars["symbol"] == symbol), read.interval
    lake = Lake(home.path, opened, home.lake_at)
    if lake.latest_head() is None:
        hint = f"run: assay ingest --source {opened.name}"
        raise DataError(f"nothing was ingested from {opened.name} yet", where=str(lake.folder), hint=hint)
    snapshot = lake.latest()
    return snapshot.bars(symbols=[symbol]), snapshot.interval
