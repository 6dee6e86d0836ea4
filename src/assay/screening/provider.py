"""Who answers the scanners at an instant: our ratings, a recorded scan, or the screener itself while it is live."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from assay.base.domain import format_instant
from assay.base.errors import SourceError, UsageError
from assay.lake.head import Head
from assay.lake.lake import Lake
from assay.lake.snapshot import Snapshot
from assay.market.panel import Market
from assay.runs.documents import Candidate, Superset
from assay.screening.recorded_scans import (
    PROVIDER,
    ScanBatch,
    judged,
    recorded,
    scan_recorded,
    to_frame,
)
from assay.screening.scanner import ScanResult, scan
from assay.screening.superset import ScanProvider, consolidate, differs
from assay.screening.tradingview import ScreenerClient, last_close
from assay.settings.model import Scanner, ScanSettings
from assay.sources.acceptance import IMPLAUSIBLE, NOTHING_ACCEPTED, Acceptance, offer
from assay.sources.base import utc_now


@dataclass(frozen=True)
class Scanning:
    """How all scanners are answered in one lake, where scans are recorded; ``settings`` say by whom."""

    lake: Lake
    scanners: Mapping[str, Scanner]
    settings: ScanSettings
    clock: Callable[[], dt.datetime] = utc_now
    accept: Acceptance = NOTHING_ACCEPTED

    def ask(self) -> ScanBatch:
        """Ask the screener now; nothing is recorded.

        Raises
        ------
        SourceError
            If it has no whole, sound answer.
        """
        return ScreenerClient(self.settings.screener, self.clock).ask(self.scanners)

    def record(self, found: ScanBatch) -> Head:
        """Keep a batch in the lake, as a new state."""
        return self.lake.record("candidates", to_frame(found))

    def answerer(self, snapshot: Snapshot, as_of: dt.datetime) -> tuple[Snapshot, ScanProvider]:
        """Return who answers at an instant, and the state of the lake that holds the answer.

        A recorded scan of that instant is read, the last that can be true; where there is none and the instant is the
        last close, the screener is asked and its answer recorded.

        Raises
        ------
        UsageError
            If the screener was not recorded at that instant, which is past.
        SourceError
            If the screener does not answer, or what it answered cannot be true, and the settings allow no fallback.
        """
        if self.settings.provider != PROVIDER:
            return snapshot, ScanProvider()
        try:
            snapshot, found = self._answered(snapshot, as_of)
        except SourceError as error:
            if not self.settings.fallback:
                raise
            why = f"the screener gave no answer, our own ratings did: {error.code}: {error.what}"
            return snapshot, ScanProvider(asked=PROVIDER, fallback=why)
        return snapshot, ScanProvider(PROVIDER, partial(scan_recorded, found), asked=PROVIDER)

    def _answered(self, snapshot: Snapshot, as_of: dt.datetime) -> tuple[Snapshot, ScanBatch]:
        """Return the recorded answer of an instant, and the state that has it; ask where nothing was recorded."""
        if not judged(snapshot, as_of, self.scanners):
            self._refuse_the_past(as_of)
            snapshot = self.lake.pin(self.record(self.ask()).head)
        found = recorded(snapshot, as_of, self.scanners)
        if found is None or self.accept.about(IMPLAUSIBLE):
            snapshot = self.check(snapshot, as_of)
            found = recorded(snapshot, as_of, self.scanners)
        assert found is not None
        return snapshot, found

    def in_force(self, snapshot: Snapshot) -> bool:
        """Tell whether an answer that counts is recorded of the lake's last close."""
        return recorded(snapshot, snapshot.last_close(), self.scanners) is not None

    def check(self, snapshot: Snapshot, as_of: dt.datetime) -> Snapshot:
        """Refuse the last recorded answer of an instant if it cannot be true, unless the user accepts it.

        Returns
        -------
        Snapshot
            The state in which that answer counts; a new one where it was accepted.

        Raises
        ------
        SourceError
            ``SCREENER_IMPLAUSIBLE``; an earlier answer stays in force.
        """
        *_, (found, fault) = judged(snapshot, as_of, self.scanners)
        if fault is None:
            return snapshot
        if not self.accept.takes(IMPLAUSIBLE, found.digest, fault):
            raise SourceError(
                f"the screener's answer cannot be true and counts for nothing: {fault}",
                where=f"scan of {format_instant(as_of)}",
                hint="scan again later by: assay ingest --scan; or let our own ratings answer by scan.fallback=true; "
                + offer(f"ingest --source {self.lake.source.name}", IMPLAUSIBLE, found.digest),
                code=IMPLAUSIBLE,
            )
        used = [note for note in self.accept.used if note["code"] == IMPLAUSIBLE]
        return self.lake.pin(self.lake.accept(used, as_of).head)

    def _refuse_the_past(self, as_of: dt.datetime) -> None:
        now = last_close(self.clock())
        if as_of != now:
            raise UsageError(
                f"no scan of the screener was recorded for {format_instant(as_of)}, and it answers only as of now, "
                f"{format_instant(now)}",
                where="scan.provider=tradingview",
                hint="use scan.provider=ratings for that date, or bring the bars up to date with: assay ingest --scan",
                code="SCAN_NOT_RECORDED",
            )


def check_superset(
    superset: Superset, where: str, snapshot: Snapshot, market: Market, scanners: Mapping[str, Scanner]
) -> None:
    """Derive a superset again from the pinned lake, and refuse one that differs; the file is left as it is.

    Where the screener answered, its scan that the lake has on record is what the superset is derived from.

    Raises
    ------
    IntegrityError
        ``SUPERSET_DIFFERS``, with the first record or count that does.
    """
    ask = who_answered(superset.provider, snapshot, market, scanners)
    if ask is None:
        raise differs(where, "the pinned lake has no scan of the screener on record for it")
    results = [ask(market, name, scanner) for name, scanner in scanners.items()]
    provider, asked, fallback = superset.provider, superset.asked, superset.fallback
    derived = consolidate(market.as_of, snapshot.head, provider, results, superset.key, asked=asked, fallback=fallback)
    if superset != derived:
        raise differs(where, _first_difference(superset, derived))


def who_answered(
    provider: str, snapshot: Snapshot, market: Market, scanners: Mapping[str, Scanner]
) -> Callable[[Market, str, Scanner], ScanResult] | None:
    """Return what answers scanners again as a superset's provider did; None where its scan is not on record."""
    if provider != PROVIDER:
        return scan
    found = recorded(snapshot, market.as_of, scanners)
    return None if found is None else partial(scan_recorded, found)


def _first_difference(told: Superset, derived: Superset) -> str:
    left, right = (dict(_records(one.candidates)) for one in (told, derived))
    for atom in sorted(left.keys() | right.keys()):
        if atom not in right:
            return f"no scanner finds {' '.join(atom)} in the pinned lake"
        if atom not in left:
            return f"{' '.join(atom)}, which a scanner finds in the pinned lake, is not in it"
        if left[atom] != right[atom]:
            return f"{' '.join(atom)} is another record than the scanners find in the pinned lake"
    names = [name for name in Superset.model_fields if getattr(told, name) != getattr(derived, name)]
    return f"{names[0]} is not what the pinned lake gives"


def _records(candidates: list[Candidate]) -> list[tuple[tuple[str, str, str], Candidate]]:
    return [((one.symbol, one.logic, one.direction), one) for one in candidates]
