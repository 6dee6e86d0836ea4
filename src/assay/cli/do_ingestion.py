"""Phase 1, in order: scan, consolidate, bars, audit, ratings; and ``assay ingest``, which is that."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from assay.base.errors import SourceError, UsageError
from assay.cli import do_output as output
from assay.lake.ingest import IngestReport, Progress
from assay.lake.ingest import ingest as load
from assay.lake.lake import Lake
from assay.market.health import missing_audit
from assay.pipeline.flow import lay_foundation, workforce
from assay.runs import documents as artifacts
from assay.runs.home import Home
from assay.screening.provider import Scanning
from assay.screening.reconcile import Reconciliation, reconcile
from assay.screening.recorded_scans import Round
from assay.sources import is_live, open_source
from assay.sources.base import utc_now

if TYPE_CHECKING:
    from assay.lake.snapshot import Snapshot
    from assay.runs.documents import Drop, Finding, Superset
    from assay.settings.model import SCAN_DAYS
from assay.settings import Catalog


@dataclass(frozen=True)
class Phase:
    """What one pass of phase 1 did.

    Attributes
    ----------
    lake : Lake
        Where everything is.
    bars : IngestReport
        What the bars became.
    scan : Round or None
        What the screener said; None where it was not asked, or did not answer.
    scan_error : SourceError or None
        Why it did not answer.
    superset : Superset or None
        All candidates at the last close; None where the screener was wanted for it and gave no answer.
    missing : list of Drop
        Candidates without bars or ratings, each with its cause.
    reconciliation : Reconciliation or None
        The screener's values beside ours.
    """

    lake: Lake
    bars: IngestReport
    scan: Round | None
    scan_error: SourceError | None
    superset: Superset | None
    missing: list[Drop]
    reconciliation: Reconciliation | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        told: dict[str, Any] = self.bars.as_dict() | {"lake": self.lake.storage.uri}
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

    Raises
    ------
    SourceError
        If the source of the bars cannot be reached; a scan that was made before is kept.
    UsageError
        If a scan is wanted of a source that is not live.
    """
    opened = open_source(source)
    if scan and not is_live(opened):
        raise UsageError(
            f"the screener answers as of now, and {opened.name} is no live source",
            where="--scan",
            hint="leave --scan out, or give --source binance",
        )
    tell = progress or (lambda _stage, _done, _total: None)
    scanning = Scanning(Lake(home.path, opened, home.lake_at), catalog.scanners(), catalog.scan(), clock)
    lake = scanning.lake
    found, error = _ask(scanning, tell) if scan else (None, None)
    kept = found is not None and lake.latest_head() is not None
    if found is not None and kept:
        scanning.record(found)  # before the bars, so that a pair that only a scanner names is loaded too
    execution = catalog.execution()
    with workforce(execution.use or "serial", execution.workers, home) as executor:
        report = load(lake, opened, progress, executor)
    if found is not None and not kept:
        scanning.record(found)  # the first state of a lake is one with bars
    report = replace(report, head=lake.latest().head)
    return _phase(home, catalog, lake, report, found, error)


def _ask(scanning: Scanning, tell: Progress) -> tuple[Round | None, SourceError | None]:
    tell("scan", 0, 0)
    try:
        return scanning.ask(), None
    except SourceError as error:
        return None, error


def _phase(
    home: Home, catalog: Catalog, lake: Lake, report: IngestReport, found: Round | None, error: SourceError | None
) -> Phase:
    settings = catalog.scan()
    compared = reconcile(found, lake.latest()) if found is not None else None
    if not is_live(lake.source) or (error is not None and settings.provider != "ratings" and not settings.fallback):
        return Phase(lake, report, found, error, None, [], compared)
    foundation = lay_foundation(home, catalog, lake.source.name)
    superset = foundation.superset
    missing = missing_symbols(foundation.snapshot, foundation.as_of, superset)
    return Phase(lake, report, found, error, superset, missing, compared)


def missing_symbols(snapshot: Snapshot, as_of: dt.datetime, superset: Superset) -> list[Drop]:
    """Name every candidate without bars or ratings, and why."""
    market = snapshot.market(as_of, SCAN_DAYS)
    return missing_audit(market, superset.candidates, superset.merged_quotes, market.rejections())


def ingest(home: Home, catalog: Catalog, source: str, scan: bool, as_json: bool) -> int:
    """Run phase 1 once and print what it did; return the exit code."""
    with output.telling(as_json) as tell:
        phase = bring_up(home, catalog, source, scan=scan, progress=tell)
    if as_json:
        output.as_json(phase.as_dict())
    else:
        _print(phase)
    if phase.scan_error is not None and not catalog.scan().fallback:
        output.note(f"error: {phase.scan_error.code}: {phase.scan_error}")
        return int(phase.scan_error.exit_code)
    return 0


def refresh_facts(home: Home, catalog: Catalog, source: str, as_json: bool) -> int:
    """Refresh the facts of instruments, then consolidate; print unique atoms and invalid records."""
    from assay.lake.refresh import refresh

    lake = Lake(home.path, open_source(source), home.lake_at)
    done = refresh(lake)
    foundation = lay_foundation(home, catalog, source)
    superset = foundation.superset
    missing = missing_symbols(foundation.snapshot, foundation.as_of, superset)
    if as_json:
        told: dict[str, Any] = {"head": foundation.snapshot.head, "changed": done.changed, "pairs": done.pairs}
        told |= {"findings": [artifacts.as_plain(finding) for finding in done.findings], "lake": lake.storage.uri}
        told |= {"superset": counts(superset), "missing": [artifacts.as_plain(drop) for drop in missing]}
        output.as_json(told)
        return 0
    output.line(f"instruments: {done.pairs} pairs, {'changed' if done.changed else 'as before'}, head {done.head}")
    _print_findings(done.findings)
    print_superset(superset, missing)
    return 0


def _print_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        output.line(f"finding {finding.code}: {finding.what} ({finding.count}){output.names(finding.names)}")


def _print(phase: Phase) -> None:
    output.line(f"lake: {phase.lake.storage.uri}")
    for key, value in phase.bars.as_dict().items():
        if key != "findings":
            output.line(f"{key}: {value}")
    _print_findings(phase.bars.findings)
    if phase.scan is not None:
        for answer in phase.scan.answers:
            output.line(f"scan {answer.scanner}: {answer.total} records")
    if phase.scan_error is not None:
        output.line(f"scan: no answer, {phase.scan_error.code}: {phase.scan_error.what}")
    print_reconciliation(phase.reconciliation)
    print_superset(phase.superset, phase.missing)


def print_superset(superset: Superset | None, missing: list[Drop]) -> None:
    """Print the counts of a superset, invalid records and missing symbols by name."""
    if superset is None:
        return
    output.line(f"superset as of {superset.as_of}, answered by {superset.provider}")
    if superset.fallback is not None:
        output.line(f"fallback: {superset.fallback}")
    output.line(f"unique atoms: {superset.unique_atoms}")
    output.line(f"invalid records: {len(superset.invalid_records)}")
    for record in superset.invalid_records:
        output.line(f"  {record.symbol!r} ({record.scanner}): {record.reason}")
    output.line(f"missing symbols: {len(missing)}")
    for drop in missing:
        output.line(f"  {drop.name}: {drop.reason}; {drop.detail}")


def print_reconciliation(compared: Reconciliation | None) -> None:
    """Print how the screener's closed bars agree with ours, and both values where they do not."""
    if compared is None:
        return
    output.line(f"screener against lake: {compared.equal} of {compared.compared} values agree")
    finding = compared.finding()
    for told in finding.names if finding is not None else ():
        output.line(f"  {told}")
    if compared.alone:
        output.line(f"  without a bar in the lake: {', '.join(compared.alone)}")
