"""Bring a lake up to its source: bars, then ratings, then one line that makes both visible.

What a source gives is compared with what the lake holds. New bars are appended and rated from where the ratings
stopped; bars that changed, were inserted or are gone make their symbols' ratings anew. The result is the same, value
by value, as a lake filled from nothing.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.artifacts import Finding
from assay.domain import INTERVALS, format_instant
from assay.errors import UsageError
from assay.foundation import delta
from assay.foundation.difference import Difference, compare, rerate, tails
from assay.foundation.lake import Change, Head, Lake
from assay.foundation.snapshot import Snapshot
from assay.foundation.tables import BARS

if TYPE_CHECKING:
    from assay.foundation.sources import Source, SourceRead

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total): ``read``, ``compare``, ``ratings``, ``write``; done and total count rows."""


@dataclass(frozen=True)
class IngestReport:
    """What one ingestion did.

    Attributes
    ----------
    head : int
        The lake's state now.
    changed : bool
        False where the source had nothing new: then nothing was written.
    source, interval : str
    rows, symbols : int
        Bars and symbols in the lake now.
    added, repaired, removed, quarantined : int
        Rows; repaired are those whose values changed.
    first_open, last_close : datetime
        Span of the bars.
    findings : tuple of Finding
        What a reader must know about the data.
    seconds : dict of str to float
        Duration of each stage, for the terminal; never compared and never part of an artifact.
    """

    head: int
    changed: bool
    source: str
    interval: str
    rows: int
    symbols: int
    added: int
    repaired: int
    removed: int
    quarantined: int
    first_open: dt.datetime
    last_close: dt.datetime
    findings: tuple[Finding, ...]
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values, without durations."""
        plain = asdict(self)
        del plain["seconds"]
        plain["findings"] = [finding.model_dump(mode="json") for finding in self.findings]
        plain["first_open"], plain["last_close"] = format_instant(self.first_open), format_instant(self.last_close)
        return plain


def ingest(lake: Lake, source: Source | None = None, progress: Progress | None = None) -> IngestReport:
    """Bring the lake up to its source; a second call without news writes nothing.

    The lake's lock is held from before the source is read, so that two writers never undo each other's work.

    Parameters
    ----------
    lake : Lake
        Where to.
    source : Source, optional
        The lake's own where None.
    progress : callable, optional
        See :data:`Progress`.

    Raises
    ------
    SourceError
        If the source cannot be read or holds no usable bar; the lake is untouched.
    UsageError
        If the source is another lake's.
    DiskError
        If a write did not succeed; readers see what they saw before.
    """
    source = source or lake.source
    if source.identity != lake.source.identity:
        raise UsageError(
            f"the lake belongs to {lake.source.name}, not to {source.name}",
            where=str(lake.folder),
            hint="each source has a lake of its own",
        )
    clock = _Clock(progress)
    with lake.locked():
        head = lake.latest_head()
        snapshot = Snapshot(lake.folder, head) if head is not None else None
        if (
            head is not None
            and snapshot is not None
            and head.fingerprint == source.fingerprint()
            and _is_rated(snapshot)
        ):
            return _report(head, clock)
        with clock.stage("read"):
            read = source.read()
        return _Ingestion(lake, snapshot, source, read, clock).run()


class _Clock:
    """Measures stages and tells their progress."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = progress or (lambda _stage, _done, _total: None)

    @contextmanager
    def stage(self, name: str, rows: int = 0) -> Iterator[None]:
        self._tell(name, 0, rows)
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
        self._tell(name, rows, rows)


@dataclass(frozen=True)
class _Ingestion:
    """One ingestion, under the lock."""

    lake: Lake
    snapshot: Snapshot | None
    source: Source
    read: SourceRead
    clock: _Clock

    def run(self) -> IngestReport:
        base = self._base()
        old = base.bars() if base is not None else pl.DataFrame(schema=BARS)
        rows = self.read.bars.height
        with self.clock.stage("compare", rows):
            difference = compare(old, self.read.bars, complete=self.read.complete)
        with self.clock.stage("ratings", rows):
            changes = _first_load(difference, self.read) if base is None else self._update(base, difference)
        with self.clock.stage("write", rows):
            head = self.lake.commit([*changes, *self._side_changes()], **self._facts(difference))
        return _report(head, self.clock, difference)

    def _base(self) -> Snapshot | None:
        """Return the state that can be built upon: of the same interval, and rated by this version's columns."""
        snapshot = self.snapshot
        usable = snapshot is not None and snapshot.interval == self.read.interval and _is_rated(snapshot)
        return snapshot if usable else None

    def _update(self, base: Snapshot, difference: Difference) -> list[Change]:
        interval = self.read.interval
        tail = tails(difference)
        if difference.appends:
            previous = base.ratings(since=_time(tail["open_time"].min())) if tail.height else base.ratings().clear()
            _, new = rerate(difference, tail, previous, interval)
            changes = [Change("bars", difference.added), Change("ratings", new)]
            return [change for change in changes if change.rows.height]
        kept, new = rerate(difference, tail, base.ratings(), interval)
        scope = None if self.read.complete else interval
        return [
            Change("bars", difference.bars, replace=True, interval=scope),
            Change("ratings", pl.concat([kept, new.select(kept.columns)]), replace=True, interval=scope),
        ]

    def _side_changes(self) -> list[Change]:
        """Return what to write of quarantine and instruments."""
        changes = []
        held = self.snapshot.versions if self.snapshot is not None else {}
        rejected, instruments = self.read.rejected, self.read.instruments
        if rejected.height or (self.read.complete and "quarantine" in held):
            changes.append(Change("quarantine", rejected, replace=self.read.complete))
        if instruments is not None:
            changes.append(Change("instruments", instruments, replace=True))
        return changes

    def _facts(self, difference: Difference) -> dict[str, Any]:
        bars = difference.bars
        return {
            "source": self.source.name,
            "fingerprint": self.read.fingerprint,
            "interval": self.read.interval,
            "first_open": _time(bars["open_time"].min()),
            "last_close": _time(bars["open_time"].max()) + INTERVALS[self.read.interval],
            "symbols": bars["symbol"].n_unique(),
            "findings": [finding.model_dump() for finding in (*self.read.findings, *_vanished(difference))],
        }


def _first_load(difference: Difference, read: SourceRead) -> list[Change]:
    from assay.foundation.ratings import rate

    rated = rate(difference.bars, read.interval)
    return [Change("bars", difference.bars, replace=True), Change("ratings", rated, replace=True)]


def _is_rated(snapshot: Snapshot) -> bool:
    """Tell whether the ratings have the columns that this version of the package writes."""
    from assay.foundation.ratings import RATING_SCHEMA

    version = snapshot.versions.get("ratings")
    if version is None:
        return False
    return dict(delta.content(snapshot.folder / "ratings", version).schema) == dict(RATING_SCHEMA)


def _vanished(difference: Difference) -> list[Finding]:
    if not difference.removed:
        return []
    what = "bars that were there before are gone from the source, and from the lake's new state"
    return [Finding(code="VANISHED", what=what, count=difference.removed)]


def _time(value: Any) -> dt.datetime:
    assert isinstance(value, dt.datetime)
    return value


def _report(head: Head, clock: _Clock, difference: Difference | None = None) -> IngestReport:
    return IngestReport(
        head=head.head,
        changed=difference is not None,
        source=head.source,
        interval=head.interval,
        rows=head.rows["bars"],
        symbols=head.symbols,
        added=difference.added.height if difference else 0,
        repaired=difference.repaired if difference else 0,
        removed=difference.removed if difference else 0,
        quarantined=head.rows.get("quarantine", 0),
        first_open=head.first_open,
        last_close=head.last_close,
        findings=tuple(head.findings),
        seconds=clock.seconds,
    )
