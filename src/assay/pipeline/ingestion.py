"""Phase 1, in order: scan, consolidate, bars, audit, ratings."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from assay.base.errors import SourceError, UsageError
from assay.lake.ingest import IngestReport, Progress
from assay.lake.ingest import ingest as load
from assay.lake.lake import Lake
from assay.market.health import missing_audit
from assay.pipeline.flow import lay_foundation, workforce
from assay.runs import documents as artifacts
from assay.runs.home import Home
from assay.screening.provider import Scanning
from assay.screening.reconcile import Reconciliation, reconcile
from assay.screening.recorded_scans import ScanBatch, judged
from assay.settings.model import SCAN_DAYS
from assay.sources import is_live
from assay.sources import opened as opened_source
from assay.sources.acceptance import IMPLAUSIBLE, NOTHING_ACCEPTED, Acceptance
from assay.sources.base import utc_now

if TYPE_CHECKING:
    from assay.lake.snapshot import Snapshot
    from assay.runs.documents import Drop, Finding, Superset
    from assay.settings import Catalog

Said = TypeVar("Said")


@dataclass(frozen=True)
class Phase:
    """What one pass of phase 1 did.

    Attributes
    ----------
    lake : Lake
        Where everything is.
    bars : IngestReport
        What the bars became.
    scan : ScanBatch or None
        What the screener said; None where it was not asked, or did not answer.
    scan_error : SourceError or None
        Why it did not answer, or why its answer does not count.
    superset : Superset or None
        All candidates at the last close; None where the screener was wanted for it and gave no answer.
    missing : list of Drop
        Candidates without bars or ratings, each with its cause.
    reconciliation : Reconciliation or None
        The screener's values beside ours.
    """

    lake: Lake
    bars: IngestReport
    scan: ScanBatch | None
    scan_error: SourceError | None
    superset: Superset | None
    missing: list[Drop]
    reconciliation: Reconciliation | None

    @property
    def findings(self) -> list[Finding]:
        """What the source showed, and rules of the screener that are not ours."""
        return [*self.bars.findings, *(self.reconciliation.rules() if self.reconciliation is not None else ())]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        told: dict[str, Any] = self.bars.as_dict() | {"lake": self.lake.storage.uri}
        told["findings"] = [finding.model_dump(mode="json") for finding in self.findings]
        if self.scan is not None and self.reconciliation is not None:
            told["scan"] = {answer.scanner: answer.total for answer in self.scan.answers}
            told["reconciliation"] = self.reconciliation.as_dict()
        if self.scan_error is not None:
            told["scan_error"] = self.scan_error.as_dict()
        if self.superset is not None:
            told["superset"] = counts(self.superset)
            told["missing"] = [artifacts.as_plain(drop) for drop in self.missing]
        return told


def counts(superset: Superset) -> dict[str, Any]:
    """Return what a superset holds, in numbers and in names of what cannot be used."""
    return {
        "as_of": superset.as_of,
        "provider": superset.provider,
        "unique_atoms": superset.unique_atoms,
        "invalid_records": [artifacts.as_plain(record) for record in superset.invalid_records],
    }


def bring_up(
    home: Home,
    catalog: Catalog,
    source: str,
    *,
    scan: bool,
    progress: Progress | None = None,
    clock: Callable[[], dt.datetime] = utc_now,
    accept: Acceptance = NOTHING_ACCEPTED,
) -> Phase:
    """Scan, load bars, audit and rate them, and consolidate the candidates.

    A screener that does not answer keeps no bar from being loaded: what it cost is in ``scan_error``.

    Parameters
    ----------
    home, catalog, source : Home, Catalog, str
        Where to, under which settings, from where.
    scan : bool
        Ask the screener, and keep what it says.
    progress : callable, optional
        Called with (stage, done, total).
    clock : callable
        The edge of time.
    accept : Acceptance, optional
        What the user accepts of source and screener though it would be refused.

    Raises
    ------
    SourceError
        If the source of the bars cannot be reached; a scan that was made before is kept.
    UsageError
        If a scan is wanted of a source that is not live.
    """
    opened = opened_source(source, catalog)
    if scan and not is_live(opened):
        raise UsageError(
            f"the screener answers as of now, and {opened.name} is no live source",
            where="--scan",
            hint="leave --scan out, or give --source binance",
        )
    tell = progress or (lambda _stage, _done, _total: None)
    scanning = Scanning(Lake(home.path, opened, home.lake_at), catalog.scanners(), catalog.scan(), clock, accept)
    lake = scanning.lake
    found, error = _ask(scanning, tell) if scan else (None, None)
    kept = found is not None and lake.latest_head() is not None
    if found is not None and kept:
        scanning.record(found)  # before the bars, so that a pair that only a scanner names is loaded too
    execution = catalog.execution()
    with workforce(execution.use or "serial", execution.workers, home) as executor:
        report = load(lake, opened, progress, executor, catalog.ratings().edition, accept)
    if found is not None and not kept:
        scanning.record(found)  # the first state of a lake is one with bars
    if found is not None:
        error = _failure(lambda: scanning.check(lake.latest(), found.as_of))[1]  # beside the bars of the same close
    elif accept.about(IMPLAUSIBLE) and judged(lake.latest(), lake.latest().last_close(), scanning.scanners):
        error = _failure(lambda: scanning.check(lake.latest(), lake.latest().last_close()))[1]
    report = replace(report, head=lake.latest().head)
    return _phase(home, catalog, scanning, report, found, error)


def _ask(scanning: Scanning, tell: Progress) -> tuple[ScanBatch | None, SourceError | None]:
    tell("scan", 0, 0)
    return _failure(scanning.ask)


def _failure(ask: Callable[[], Said]) -> tuple[Said | None, SourceError | None]:
    try:
        return ask(), None
    except SourceError as error:
        return None, error


def _phase(
    home: Home,
    catalog: Catalog,
    scanning: Scanning,
    report: IngestReport,
    found: ScanBatch | None,
    error: SourceError | None,
) -> Phase:
    settings, lake = catalog.scan(), scanning.lake
    compared = reconcile(found, lake.latest()) if found is not None else None
    strict = settings.provider != "ratings" and not settings.fallback
    if not is_live(lake.source) or (error is not None and strict and not scanning.in_force(lake.latest())):
        return Phase(lake, report, found, error, None, [], compared)
    foundation = lay_foundation(home, catalog, lake.source.name)
    superset = foundation.superset
    missing = missing_symbols(foundation.snapshot, foundation.as_of, superset)
    return Phase(lake, report, found, error, superset, missing, compared)


def missing_symbols(snapshot: Snapshot, as_of: dt.datetime, superset: Superset) -> list[Drop]:
    """Name every candidate without bars or ratings, and why."""
    market = snapshot.market(as_of, SCAN_DAYS)
    return missing_audit(market, superset.candidates, superset.merged_quotes, market.rejections())
