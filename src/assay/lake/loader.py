"""The lake of an exchange: bars are brought up to date and what was stored is returned, or the facts alone are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assay.base.errors import UsageError
from assay.lake.ingest import IngestReport, ingest
from assay.lake.lake import Lake, TableChange, accepted
from assay.market.schema import KEYS, ORDER
from assay.runs.documents import Finding
from assay.sources import facts
from assay.sources.acceptance import NOTHING_ACCEPTED, Acceptance
from assay.sources.archive import ArchiveSource
from assay.sources.exchange import ExchangeSource


@dataclass(frozen=True)
class SyncResult:
    """What one synchronisation brought: counts and findings, and the bars that were added to the lake."""

    report: IngestReport
    bars: pl.DataFrame


class PersistentDataLoader:
    """Brings the lake of a live source up to date and returns what it stored; writes nothing beside the lake.

    Parameters
    ----------
    home : Path or str
        Folder that holds ``lake/``.
    source : ExchangeSource, ArchiveSource or str
        Such as ``binance``, ``archive`` or ``ccxt:kraken``.
    """

    def __init__(self, home: Path | str, source: ExchangeSource | ArchiveSource | str = "binance") -> None:
        self.lake = Lake(home, source)
        if not isinstance(self.lake.source, ExchangeSource | ArchiveSource):
            what = f"{self.lake.source.name} is no exchange"
            raise UsageError(what, where="source", hint="write binance, archive or ccxt:NAME")

    def sync(self, progress: Callable[[str, int, int], None] | None = None) -> SyncResult:
        """Fetch what the lake lacks, repair gaps, rate what is new.

        Raises
        ------
        SourceError
            As :meth:`assay.sources.exchange.ExchangeSource.read` says; the lake is untouched.
        """
        before = self.lake.latest_head()
        report = ingest(self.lake, progress=progress)
        bars = self.lake.pin(report.head).bars()
        if before is not None:
            old = self.lake.pin(before.head).bars(columns=("symbol", "open_time"))
            bars = bars.join(old, on=("symbol", "open_time"), how="anti", maintain_order="left")
        return SyncResult(report, bars)


@dataclass(frozen=True)
class Refreshed:
    """What came of a look at the facts alone."""

    head: int
    """The lake's state now."""
    changed: bool
    """False where every fact is as it was: then nothing was written."""
    pairs: int
    """Pairs that the exchange has."""
    findings: tuple[Finding, ...]
    """Pairs that changed their status, are gone or cannot be read."""


def keep_rates(lake: Lake, rates: pl.DataFrame) -> tuple[int, bool]:
    """Add rates of borrowing to a lake; a row of the same base, begin and knowledge takes the place of the former one.

    Returns
    -------
    head : int
        The lake's state now.
    changed : bool
        False where it had them all: then nothing was written.

    Raises
    ------
    DataError
        If the lake is empty: rates are kept beside bars.
    """
    with lake.locked():
        snapshot = lake.latest()
        held = snapshot.borrow()
        rows = rates if held is None else pl.concat([held, rates])
        table = rows.unique(KEYS["borrow"], keep="last", maintain_order=True).sort(ORDER["borrow"])
        if held is not None and table.equals(held):
            return snapshot.head, False
        return lake.commit([TableChange("borrow", table, replace=True)]).head, True


def refresh(lake: Lake, accept: Acceptance = NOTHING_ACCEPTED) -> Refreshed:
    """Ask for the pairs of a lake's exchange and bring its ``instruments`` up to date.

    Raises
    ------
    UsageError
        If the lake's source is no exchange.
    SourceError
        If the exchange cannot be reached, or gives only a part of its pairs.
    DataError
        If the lake is empty: facts are kept beside bars.
    """
    source = lake.source
    if not isinstance(source, ExchangeSource):
        what = f"{source.name} tells nothing of instruments"
        raise UsageError(what, where="--facts", hint="give --source binance or ccxt:NAME")
    with lake.locked():
        now, book, told = source.facts()
        snapshot = lake.latest()
        held = snapshot.instruments()
        with_bars = set(snapshot.bars(columns=("symbol",))["symbol"].unique())
        since = facts.valid_since(now, snapshot.last_close())
        table, findings = facts.merge(held, book, with_bars, since, lake.folder, facts.Judge(source.name, accept))
        changed = held is None or not table.equals(held)
        noted = accepted(snapshot.record, accept.used, snapshot.last_close())
        change = TableChange("instruments", table, replace=True)
        head = lake.commit([change], accepted=noted).head if changed else snapshot.head
    return Refreshed(head, changed, len(book.rules), (*told, *findings))
