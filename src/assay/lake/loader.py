"""The loader of live data: the lake is brought up to date, and what was stored is returned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from assay.base.errors import UsageError
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.sources.archive import ArchiveSource
from assay.sources.exchange import ExchangeSource

if TYPE_CHECKING:
    from assay.lake.ingest import IngestReport


@dataclass(frozen=True)
class SyncResult:
    """What one synchronisation brought.

    Attributes
    ----------
    report : IngestReport
        Counts and findings.
    bars : DataFrame
        Bars that were added to the lake, in its columns.
    """

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
        if not isinstance(self.lake.source, ExchangeSource):
            raise UsageError(
                f"{self.lake.source.name} is no exchange", where="source", hint="write binance or ccxt:NAME"
            )

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
