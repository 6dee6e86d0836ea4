"""Bring a lake up to its source: bars, then ratings, then one line that makes both visible.

What a source gives is compared with what the lake holds. New bars are appended and rated from where the ratings
stopped; bars that changed, were inserted or are gone make their symbols' ratings anew. The result is the same, value
by value, as a lake filled from nothing.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from assay.base.domain import DEFAULT_EDITION, INTERVALS, format_instant
from assay.base.errors import SourceError, UsageError
from assay.executors import Executor, Serial
from assay.lake import delta, shards
from assay.lake.compare import BarDifference, compare, rerate, tails
from assay.lake.head import Head
from assay.lake.lake import Lake, TableChange, accepted, persistently
from assay.lake.snapshot import Snapshot
from assay.market.schema import BARS, ratings_table
from assay.ratings import RATING_SCHEMA, REVISION, rate
from assay.runs.documents import Finding
from assay.sources import is_live
from assay.sources.acceptance import NOTHING_ACCEPTED, Acceptance
from assay.sources.base import NOTHING, Held, Source, SourceRead
from assay.sources.files import ParquetSource

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total): ``read``, ``compare``, ``ratings``, ``write``, for which done and total count rows,
and ``fetch``, for which they count what a live source asks for."""

_GONE = "bars that were there before are gone from the source, and from the lake's new state"
_REVISED = "bars that the lake had have other values at the source now; the new ones hold, ratings were made again"


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What one ingestion did."""

    head: int
    """The lake's state now."""
    changed: bool = False
    """False where the source had nothing new: then nothing was written."""
    source: str
    interval: str
    rows: int
    """Bars in the lake now."""
    symbols: int
    added: int = 0
    """Bars, as in the next two counts."""
    repaired: int = 0
    """Their values changed."""
    removed: int = 0
    quarantined: int
    """Rows."""
    first_open: dt.datetime
    last_close: dt.datetime
    findings: tuple[Finding, ...]
    """What a reader must know about the data."""
    cost: dict[str, int] = field(default_factory=dict)
    """Requests, and their weight, that a live source was asked."""
    seconds: dict[str, float] = field(default_factory=dict, compare=False)
    """Duration of each stage, for the terminal; never compared and never part of an artifact."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values, without durations."""
        plain = asdict(self)
        del plain["seconds"]
        plain["findings"] = [finding.model_dump(mode="json") for finding in self.findings]
        plain["first_open"], plain["last_close"] = format_instant(self.first_open), format_instant(self.last_close)
        return plain


def ingest(
    lake: Lake,
    source: Source | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    edition: str = DEFAULT_EDITION,
    accept: Acceptance = NOTHING_ACCEPTED,
) -> IngestReport:
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
    executor : Executor, optional
        Where the shards of a large file are read and rated, see :mod:`assay.lake.shards`; here where None.
    edition : {"2026", "2021"}
        Rules by which the bars are rated; a lake that is rated by another edition is rated anew.
    accept : Acceptance, optional
        What the user accepts of the source though it would be refused.

    Raises
    ------
    SourceError
        If the source cannot be read or holds no usable bar; the lake is untouched, and one that was not there is not
        made.
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

    def work() -> IngestReport:
        with lake.locked():
            try:
                if lake.storage.folder is not None:
                    lake.introduce()
                return _ingest(lake, source, executor or Serial(), clock, edition, accept)
            except BaseException:  # whatever ends a first load, an interrupt too, leaves no empty lake
                lake.abandon()
                raise

    return persistently(work)


def rate_anew(lake: Lake, edition: str) -> Head:
    """Make the last state of a lake one that is rated by an edition, from the bars that the lake has.

    Ratings of another edition stay beside these for as long as the bars are the same, so that going back is a line.

    Raises
    ------
    DataError
        If the lake is empty.
    """

    def work() -> Head:
        with lake.locked():
            lake.storage.mend()
            snapshot = lake.latest()
            snapshot.prove()
            if _is_rated(snapshot, edition):
                return _with_roots(lake, snapshot.record)
            facts = {"edition": edition, "revision": REVISION}
            if _holds(snapshot, edition):
                return lake.commit([], upon=snapshot.head, **facts)
            rated = rate(snapshot.bars(), snapshot.interval, edition)
            # A former version's columns cannot stay beside these.
            scope = snapshot.interval if _has_columns(snapshot, edition) else None
            change = TableChange("ratings", rated, replace=True, interval=scope)
            return lake.commit([change], upon=snapshot.head, **facts)

    return persistently(work)


def _ingest(
    lake: Lake, source: Source, executor: Executor, clock: _Clock, edition: str, accept: Acceptance
) -> IngestReport:
    lake.storage.mend()
    head = lake.latest_head()
    snapshot = Snapshot(lake.folder, head, lake.storage) if head is not None else None
    if snapshot is not None:
        snapshot.prove()
    turned = snapshot is not None and snapshot.edition != edition and _may_turn(snapshot, edition)
    if turned:
        snapshot = Snapshot(lake.folder, rate_anew(lake, edition), lake.storage)
    if snapshot is not None and snapshot.record.fingerprint == source.fingerprint() and _is_rated(snapshot, edition):
        return _report(_with_roots(lake, snapshot.record), clock, changed=turned)
    if isinstance(source, ParquetSource) and source.is_plain and lake.storage.folder is not None:
        sharded = _by_shards(lake, snapshot, source, executor, clock, edition)
        if sharded is not None:
            return sharded
    with clock.stage("read"):
        read = source.read(_held(lake, snapshot, clock, accept) if is_live(source) else NOTHING)
    if snapshot is None and read.bars.is_empty():
        what = "the source lists no pair with bars in the quotes that scanners look at"
        raise SourceError(what, where=source.name, hint="check universe.quotes and the source", code="SOURCE_EMPTY")
    report = _Ingestion(lake, snapshot, source, read, clock, edition, accept).run()
    read.settle()
    return report


def _with_roots(lake: Lake, head: Head) -> Head:
    """Return a state that names the content of its tables: one of a former version is followed by one that does."""
    return head if head.roots else lake.commit([], upon=head.head)


def _held(lake: Lake, snapshot: Snapshot | None, clock: _Clock, accept: Acceptance) -> Held:
    """Return what a live source must know of the lake, to give what is new."""
    if snapshot is None:
        return Held(lake.folder, tell=clock.tell)
    scans = snapshot.candidates()
    last = None if scans is None else scans.filter(pl.col("as_of") == pl.col("as_of").max())
    return Held(
        lake.folder,
        version=str(snapshot.versions.get("bars")),
        last_close=snapshot.last_close(),
        keys=snapshot.bars(columns=("symbol", "open_time")),
        instruments=snapshot.instruments(),
        accept=accept,
        named=frozenset() if last is None else frozenset(last["symbol"].drop_nulls()),
        failed=frozenset(s for found in snapshot.record.findings if found.code == "SYMBOL_FAILED" for s in found.names),
        tell=clock.tell,
    )


class _Clock:
    """Measures stages and tells their progress."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self.tell = progress or (lambda _stage, _done, _total: None)

    @contextmanager
    def stage(self, name: str, rows: int = 0) -> Iterator[None]:
        self.tell(name, 0, rows)
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
        self.tell(name, rows, rows)


@dataclass(frozen=True)
class _Ingestion:
    """One ingestion of a whole reading, under the lock."""

    lake: Lake
    snapshot: Snapshot | None
    source: Source
    read: SourceRead
    clock: _Clock
    edition: str
    accept: Acceptance

    def run(self) -> IngestReport:
        read, base, rows = self.read, self._base(), self.read.bars.height
        with self.clock.stage("compare", rows):
            difference = compare(self._held(base), read.bars, self._quarantine(), complete=read.complete)
        side = self._side_changes()
        if base is not None and not read.complete and difference.since.is_empty() and not side:
            return _report(base.record, self.clock, findings=read.findings, cost=dict(read.cost))
        with self.clock.stage("ratings", rows):
            changes = self._first_load(difference) if base is None else self._update(base, difference)
        upon = self.snapshot.head if self.snapshot is not None else 0
        with self.clock.stage("write", rows):
            head = self.lake.commit([*changes, *side], upon=upon, **self._facts(difference))
        counts = {"added": difference.added.height, "repaired": difference.repaired, "removed": difference.removed}
        return _report(head, self.clock, changed=True, cost=dict(read.cost), **counts)

    def _base(self) -> Snapshot | None:
        """Return the state that can be built upon: of the same interval, and rated by this version's columns."""
        snapshot = self.snapshot
        usable = snapshot is not None and snapshot.interval == self.read.interval
        return snapshot if usable and snapshot is not None and _is_rated(snapshot, self.edition) else None

    def _held(self, base: Snapshot | None) -> pl.DataFrame:
        """Return the bars that the reading adds to; of a lake whose ratings alone are outdated, where it gives news."""
        snapshot = base if base is not None or self.read.complete else self.snapshot
        return snapshot.bars() if snapshot is not None else pl.DataFrame(schema=BARS)

    def _first_load(self, difference: BarDifference) -> list[TableChange]:
        rated = rate(difference.bars, self.read.interval, self.edition)
        return [TableChange("bars", difference.bars, replace=True), TableChange("ratings", rated, replace=True)]

    def _update(self, base: Snapshot, difference: BarDifference) -> list[TableChange]:
        interval = self.read.interval
        tail = tails(difference)
        if difference.appends:
            since: Any = tail["open_time"].min()
            previous = base.ratings(since=since) if tail.height else base.ratings().clear()
            _, new = rerate(difference, tail, previous, interval, self.edition)
            changes = [TableChange("bars", difference.added), TableChange("ratings", new)]
            return [change for change in changes if change.rows.height]
        kept, new = rerate(difference, tail, base.ratings(), interval, self.edition)
        scope = None if self.read.complete else interval
        return [
            TableChange("bars", difference.bars, replace=True, interval=scope),
            TableChange("ratings", pl.concat([kept, new.select(kept.columns)]), replace=True, interval=scope),
        ]

    def _side_changes(self) -> list[TableChange]:
        """Return what to write of quarantine and instruments."""
        changes = []
        held = self.snapshot.versions if self.snapshot is not None else {}
        rejected, instruments = self._rejected(), self.read.instruments
        if rejected.height or (self.read.complete and "quarantine" in held):
            changes.append(TableChange("quarantine", rejected, replace=self.read.complete))
        old = self.snapshot.instruments() if self.snapshot is not None else None
        if instruments is not None and not (old is not None and instruments.equals(old)):
            changes.append(TableChange("instruments", instruments, replace=True))
        return changes

    def _quarantine(self) -> pl.DataFrame:
        """Return every row that is refused, of the reading and of a lake that it adds to."""
        columns = ("symbol", "open_time")
        kept = self.snapshot if not self.read.complete else None
        held = [] if kept is None else [kept.quarantine().select(columns)]
        return pl.concat([*held, self.read.rejected.select(columns)])

    def _rejected(self) -> pl.DataFrame:
        """Return the rows for quarantine: of news, those that are not there yet, numbered on."""
        rejected = self.read.rejected
        if self.read.complete or self.snapshot is None or rejected.is_empty():
            return rejected
        there = self.snapshot.quarantine()
        following = 0 if there.is_empty() else there.select(pl.col("row").max()).item() + 1
        new = rejected.join(there, on=["symbol", "open_time", "reason", "raw"], how="anti")
        return new.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row") + following)

    def _facts(self, difference: BarDifference) -> dict[str, Any]:
        bars, read = difference.bars, self.read
        first_open: Any = bars["open_time"].min()
        last_open: Any = bars["open_time"].max()
        news = [
            *_finding("REVISED", _REVISED, 0 if read.complete else difference.repaired),
            *_finding("VANISHED", _GONE, difference.removed),
            *difference.findings,
        ]
        return _head_facts(self.source, read.interval, first_open, last_open, [*read.findings, *news]) | {
            "edition": self.edition,
            "accepted": accepted(
                self.snapshot.record if self.snapshot is not None else None,
                self.accept.used,
                last_open + INTERVALS[read.interval],
            ),
            "fingerprint": read.fingerprint,
            "symbols": bars["symbol"].n_unique(),
        }


def _by_shards(
    lake: Lake, snapshot: Snapshot | None, source: ParquetSource, executor: Executor, clock: _Clock, edition: str
) -> IngestReport | None:
    """Ingest a large file in which symbols lie together; None for any other, which is to be read whole."""
    cuts = shards.plan(source.path)
    if cuts is None:
        return None
    source.judge_coins()
    state, fingerprint = shards.state_of(source.path), source.fingerprint()
    total = sum(rows for _, rows in cuts)
    base = None if snapshot is None else snapshot.head
    first = shards.Shard(source.path, source.name, source.kind, 0, 0, source.clock(), lake.folder, base, "", edition)
    try:
        with clock.stage("ratings", total):
            found = shards.load(first, cuts, executor)
    except SourceError:
        return None
    if shards.state_of(source.path) != state:
        raise SourceError(
            "the file changed while it was read", where=source.name, hint="ingest again", code="SOURCE_CHANGED"
        )
    findings = [*found.findings, *_finding("VANISHED", _GONE, found.removed)]
    with clock.stage("write", total):
        versions = shards.commit(lake.folder, found)
        held = ({}, {}) if snapshot is None else (_lasting(snapshot.versions), _lasting(snapshot.record.rows))
        head = lake.commit(
            [],
            tables=held[0] | versions,
            rows=held[1] | {name: found.rows(name) for name in versions},
            edition=edition,
            fingerprint=fingerprint,
            symbols=found.symbols,
            **_head_facts(source, found.interval, found.first_open, found.last_open, findings),
        )
    return _report(head, clock, changed=True, added=found.added, repaired=found.repaired, removed=found.removed)


def _head_facts(
    source: Source, interval: str, first_open: dt.datetime, last_open: dt.datetime, findings: list[Finding]
) -> dict[str, Any]:
    return {
        "revision": REVISION,
        "source": source.name,
        "interval": interval,
        "first_open": first_open,
        "last_close": last_open + INTERVALS[interval],
        "findings": [finding.model_dump() for finding in findings],
    }


def _finding(code: str, what: str, count: int) -> list[Finding]:
    return [Finding(code=code, what=what, count=count)] if count else []


def _lasting(tables: Mapping[str, int]) -> dict[str, int]:
    """Leave out ratings: they are of the bars that were."""
    return {name: value for name, value in tables.items() if not name.startswith("ratings")}


def _is_rated(snapshot: Snapshot, edition: str) -> bool:
    """Tell whether the ratings have the columns, and are by the rules, of this version of the package."""
    return snapshot.edition == edition and _holds(snapshot, edition)


def _may_turn(snapshot: Snapshot, edition: str) -> bool:
    """Tell whether another edition's ratings are there, or are made in a moment from the bars that are."""
    small = snapshot.record.rows["bars"] <= shards.WHOLE_ROWS and snapshot.record.revision == REVISION
    return small or _holds(snapshot, edition)


def _holds(snapshot: Snapshot, edition: str) -> bool:
    """Tell whether the ratings of an edition, seen by readers of this state or not, are in the lake."""
    name = ratings_table(edition)
    return name in snapshot.versions and snapshot.record.revision == REVISION and _has_columns(snapshot, edition)


def _has_columns(snapshot: Snapshot, edition: str) -> bool:
    """Tell whether the ratings of an edition, where there are any, have the columns of this version of the package."""
    name = ratings_table(edition)
    version = snapshot.versions.get(name)
    if version is None:
        return True
    return dict(delta.content(snapshot.storage.table(name), version).schema) == dict(RATING_SCHEMA)


def _report(head: Head, clock: _Clock, **more: Any) -> IngestReport:
    of_head = {
        name: getattr(head, name) for name in ("head", "source", "interval", "symbols", "first_open", "last_close")
    }
    rows = {"rows": head.rows["bars"], "quarantined": head.rows.get("quarantine", 0)}
    return IngestReport(**of_head | rows | {"findings": tuple(head.findings), "seconds": clock.seconds} | more)
