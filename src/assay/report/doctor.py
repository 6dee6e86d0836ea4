"""What is wrong in a home folder and in its lakes, and what to run: every check reads, none writes.

A lake is looked at as it lies on the disk, torn or not, so that nothing here goes through a writer. Each finding has a
severity: INTEGRITY where bytes are not what they should be, ACTION where somebody has to do something, NOTE where it is
only good to know.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import shutil
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from assay.base.domain import DAY, INTERVALS, UTC, format_instant
from assay.base.errors import DataError, DiskError, Exit, IntegrityError, LedgerError
from assay.lake import delta
from assay.lake.head import read_heads
from assay.lake.lake import Lake
from assay.lake.roots import LAKE_CHANGED, Roots
from assay.lake.snapshot import Snapshot
from assay.lake.storage import HEADS, LOCK, SOURCE, storage_of
from assay.market.health import symbol_health
from assay.market.holes import MARKET, REFUSED
from assay.market.kinds import UNKNOWN_GROUP, ListedKinds
from assay.market.panel import Market
from assay.market.universe import compiled_on
from assay.market.whole import refused_behind
from assay.ratings import RATING_SCHEMA, REVISION
from assay.report.account_health import Issue, Severity, account_issues
from assay.runs import registry
from assay.runs.artifacts import LEDGER, MANIFEST, STATUS
from assay.runs.home import Home, Status, process_started
from assay.screening.reconcile import Reconciliation, agreements
from assay.screening.recorded_scans import judged
from assay.sources import FILES
from assay.sources.acceptance import IMPLAUSIBLE

LIVE_KINDS_EXCLUDED = ("sample", *FILES)
"""Kinds of sources that do not go on."""
WINDOW = 500
"""Days of bars that symbols are audited over: what a decision may see."""
LATE = dt.timedelta(hours=6)
"""After a close, by when its bars should be in a lake that is kept up."""
OLD_SCAN = 2 * DAY
LEAST_EQUAL = 0.99
"""Share of the screener's values below which the difference is more than rounding or a late bar."""
ROOM = 1 << 30
"""Bytes that should be free: a re-rating writes the ratings of every symbol anew."""
FRESH = 60.0
"""Seconds within which a directory may be without a status."""
CLEAN = "assay clean"
VERDICTS = {Exit.OK: "HEALTHY", Exit.FAILED: "TO DO", Exit.INTEGRITY: "DAMAGED"}


class LakeCheckup:
    """What a lake looks like.

    Attributes
    ----------
    folder : Path
        The lake's.
    source : str
        As users write it.
    facts : dict
        Head, span, counts.
    issues : list of Issue
        In the order of the checks.
    agreements : list of Reconciliation
        The screener against the lake, one for each scanned instant.
    """

    def __init__(self, folder: Path, now: dt.datetime) -> None:
        self.folder, self.now = folder, now
        self.source = _source_name(folder)
        self.live = folder.name.rpartition("-")[0] not in LIVE_KINDS_EXCLUDED
        self.facts: dict[str, Any] = {}
        self.issues: list[Issue] = []
        self.agreements: list[Reconciliation] = []

    @cached_property
    def snapshot(self) -> Snapshot:
        """The last state; DataError if there is none."""
        heads = read_heads(self.folder)
        if not heads:
            raise DataError("the lake is empty", where=str(self.folder), hint=self.ingest())
        return Snapshot(self.folder, heads[-1], storage_of(self.folder))

    def ingest(self, more: str = "") -> str:
        """Return the command that fills this lake."""
        return f"assay ingest --source {self.source}{more}"

    def restore(self) -> str:
        """Return what to do where its bytes are lost."""
        return f"restore it from a copy, or move {self.folder} away and run: {self.ingest()}"

    def issue(self, severity: Severity, code: str, what: str, command: str = "", names: Sequence[str] = ()) -> Issue:
        """Return an issue of this lake."""
        return Issue(severity, code, self.folder.name, what, command, tuple(names))


def examine(folder: Path, now: dt.datetime) -> LakeCheckup:
    """Examine the lake in a folder.

    Parameters
    ----------
    folder : Path
        ``<home>/lake/<kind>-<sha8>``.
    now : datetime
        Bars are overdue by this clock.
    """
    lake = LakeCheckup(folder, now)
    for check in (_leftovers, _heads, _tables, _edition, _coverage, _universe, _health, _quarantine, _scans, _accepted):
        try:
            lake.issues.extend(check(lake))
            if any(issue.code == LAKE_CHANGED for issue in lake.issues):
                break  # what follows would read what must not be believed
        except DataError:
            break  # an empty lake: the first check has said so
        except IntegrityError as error:
            newer = error.code == "NEWER_FORMAT"  # nothing is damaged, and nothing to be moved away
            severity: Severity = "ACTION" if newer else "INTEGRITY"
            command = error.hint if newer else lake.restore()
            lake.issues.append(lake.issue(severity, error.code, str(error), command))
            break
        except DiskError as error:  # a bucket that does not answer says nothing of what is in it
            lake.issues.append(lake.issue("ACTION", error.code, error.what, error.hint))
            break
    return lake


def _source_name(folder: Path) -> str:
    """Return the source that fills a lake: who did the last time, else who made it, else what its folder is called."""
    try:
        heads = read_heads(folder)
        if heads:
            return heads[-1].source
    except (OSError, IntegrityError, DiskError):
        pass  # the checks tell it
    try:
        about = json.loads((folder / SOURCE).read_bytes())
        return str(about["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.name.rpartition("-")[0]


def _heads(lake: LakeCheckup) -> Iterator[Issue]:
    """Look for a torn last line, lines that nobody wrote, and a lake without a state."""
    path = lake.folder / HEADS
    data = path.read_bytes() if path.is_file() else b""
    torn = len(data) - (data.rfind(b"\n") + 1)
    if torn:
        what = f"the last line of {HEADS} is torn ({torn} bytes): a writer died, the line is no state"
        yield lake.issue("ACTION", "TORN_HEADS", what, lake.ingest())
    if not read_heads(lake.folder):
        what = f"nothing was ingested; if nothing shall be, {CLEAN} --yes removes it"
        yield lake.issue("ACTION", "EMPTY_LAKE", what, lake.ingest())
    record = lake.snapshot.record
    lake.facts.update(
        head=record.head,
        symbols=record.symbols,
        rows=dict(record.rows),
        first_open=format_instant(record.first_open),
        last_close=format_instant(record.last_close),
        edition=record.edition,
    )


def _tables(lake: LakeCheckup) -> Iterator[Issue]:
    """Compare every table with the version that the last state names, and open each of its files."""
    ahead: list[str] = []
    opened: set[str] = set()
    for table, version in sorted(lake.snapshot.versions.items()):
        path = storage_of(lake.folder).table(table)
        try:
            last = delta.current_version(path)
        except DiskError as error:
            yield lake.issue("INTEGRITY", "TABLE_DAMAGED", str(error), lake.restore())
            continue
        if last is None or last < version:
            what = f"table {table} ends at version {last}, the head names {version}"
            yield lake.issue("INTEGRITY", "TABLE_BEHIND", what, lake.restore())
            continue
        unreadable = yield from _files(lake, table, version)
        opened.update(unreadable)
        if last > version:
            ahead.append(f"{table} {last} > {version}")
    if ahead:
        what = "tables are ahead of the last head: a writer died before its commit; the next write leaves that out"
        yield lake.issue("NOTE", "TABLES_AHEAD", what, "", ahead)
    yield from _content(lake, opened)


def _content(lake: LakeCheckup, unreadable: Collection[str]) -> Iterator[Issue]:
    """Hash every file of the lake: those that the last state names, and those that earlier ones do."""
    found = dict.fromkeys([*lake.snapshot.changes(whole=True), *Roots(lake.snapshot.storage).strays()])
    for table in sorted({change.table for change in found}):
        changes = [change for change in found if change.table == table and change.file not in unreadable]
        symbols = sorted({symbol for change in changes for symbol in change.symbols})
        if changes:
            what = f"table {table} is not what was written: {changes[0]}"
            names = [*symbols, *(change.file for change in changes if change.file)]
            yield lake.issue("INTEGRITY", LAKE_CHANGED, what, lake.restore(), names)


def _files(lake: LakeCheckup, table: str, version: int) -> Generator[Issue, None, list[str]]:
    """Name the files of a table that cannot be opened, and return them."""
    content = delta.content(storage_of(lake.folder).table(table), version)
    bad: dict[str, str] = {}
    for file in content.files:
        try:
            pl.scan_parquet(file, glob=False, hive_partitioning=False).collect_schema()
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            bad[file.removeprefix(f"{content.place}/")] = f"{Path(file).name}: {str(error).splitlines()[0][:100]}"
    if bad:
        what = f"{len(bad)} of {len(content.files)} files of table {table} are missing or damaged"
        yield lake.issue("INTEGRITY", "TABLE_DAMAGED", what, lake.restore(), list(bad.values()))
    return list(bad)


def _leftovers(lake: LakeCheckup) -> Iterator[Issue]:
    """Look for files that a writer would have removed, unless one is at work."""
    yield from leftovers(lake.folder)
    if writer_at_work(lake.folder):
        yield lake.issue("NOTE", "WRITER_AT_WORK", "an ingestion holds the lake's lock; what it will add is not told")
        return
    spool = sorted(path.name for path in (lake.folder / "spool").glob("*") if path.is_file())
    if spool:
        what = (
            "bars were fetched and are not in the lake yet: an ingestion was cut off; the next one goes on from there"
        )
        yield lake.issue("ACTION", "SPOOL_LEFT", what, lake.ingest(), spool)


def leftovers(*folders: Path) -> Iterator[Issue]:
    """Look for temporary files of processes that are gone."""
    dead = tuple(str(path) for path in leftover_files(*folders))
    if dead:
        what = "temporary files are left of processes that died; they are of no use"
        yield Issue("ACTION", "LEFTOVER_FILES", folders[0].name, what, f"{CLEAN} --yes", dead)


def leftover_files(*folders: Path) -> list[Path]:
    """Return the temporary files below folders whose process is gone, sorted."""
    found = [path for folder in folders if folder.is_dir() for path in folder.rglob(".*.tmp") if path.is_file()]
    return sorted(path for path in found if not _has_owner(path))


def _has_owner(path: Path) -> bool:
    """Tell whether the process that a temporary file is named after is alive."""
    pid = path.name.removesuffix(".tmp").rpartition(".")[2]
    return pid.isdigit() and bool(process_started(int(pid)))


def writer_at_work(folder: Path) -> bool:
    """Tell whether somebody holds the lake's lock; it is tried in passing, and nobody has to wait for that."""
    try:
        with (folder / LOCK).open("rb") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _edition(lake: LakeCheckup) -> Iterator[Issue]:
    """Compare the rules by which the bars are rated with this package's."""
    record = lake.snapshot.record
    version = record.tables.get(record.ratings)
    if version is None:
        yield lake.issue("ACTION", "NO_RATINGS", "the lake has bars and no ratings", lake.ingest())
    elif record.revision != REVISION or _columns(lake.folder, record.ratings, version) != dict(RATING_SCHEMA):
        what = f"bars are rated by revision {record.revision} of the program's rules, this package has {REVISION}"
        yield lake.issue("ACTION", "RATINGS_OUTDATED", what, lake.ingest())


def _coverage(lake: LakeCheckup) -> Iterator[Issue]:
    """Look whether the bars reach up to now, in a lake whose source goes on."""
    if not lake.live:
        return
    length = INTERVALS[lake.snapshot.interval]
    last = lake.snapshot.last_close()
    due = (lake.now - LATE - last) // length
    if due >= 1:
        what = f"{due} bars of each symbol are due: the last one closed at {format_instant(last)}"
        yield lake.issue("ACTION", "LAKE_BEHIND", what, lake.ingest(" --scan"))
    failed = [name for item in lake.snapshot.record.findings if item.code == "SYMBOL_FAILED" for name in item.names]
    if failed:
        what = f"{len(failed)} symbols could not be fetched the last time"
        yield lake.issue("ACTION", "SYMBOL_FAILED", what, lake.ingest(), failed)


def _universe(lake: LakeCheckup) -> Iterator[Issue]:
    """Name pairs that began after the day of the list that tells coins from stablecoins and tokens."""
    if not lake.live:
        return
    since = max(lake.snapshot.first_open(), dt.datetime.combine(compiled_on(), dt.time(), UTC))
    keys = lake.snapshot.bars(columns=("symbol", "open_time"))
    newer = keys.group_by("symbol").agg(pl.col("open_time").min()).filter(pl.col("open_time") > since)["symbol"]
    if newer.len():
        what = f"{newer.len()} pairs began after {compiled_on()}, the day of the list of what is no coin: are they?"
        yield lake.issue("NOTE", "UNIVERSE_OLD", what, "", newer.sort().to_list())
    told = ListedKinds(lake.snapshot.instruments()).at(lake.now)
    unknown = [symbol for symbol, out in sorted(told.items()) if out.kind == UNKNOWN_GROUP]
    if unknown:
        what = (
            f"{len(unknown)} pairs are in a trade group that no well-known coin is in, and are left out: what are they?"
        )
        yield lake.issue("NOTE", "UNKNOWN_GROUP", what, "", unknown)


def _health(lake: LakeCheckup) -> Iterator[Issue]:
    """Audit every symbol of the last days; what is stale in a lake that goes on can be asked for again."""
    if lake.snapshot.interval != "1d":
        return
    market = lake.snapshot.market(days=WINDOW)
    health = symbol_health(market, market.symbols, market.rejections())
    counted: dict[str, list[str]] = {}
    for entry in health:
        counted.setdefault(entry.status, []).append(f"{entry.symbol}: {entry.cause}")
    lake.facts["health"] = {status: len(names) for status, names in sorted(counted.items())}
    meaning: dict[str, tuple[Severity, str, str]] = {
        "STALE": ("ACTION" if lake.live else "NOTE", "lack their last bar and are vetoed", lake.ingest()),
        "TOXIC": ("NOTE", "have bars that no market makes and are vetoed", ""),
        "DELISTED": ("NOTE", "have left the exchange", ""),
        "GAPS": ("NOTE", "have days without a bar; nothing is filled", ""),
    }
    for status, (severity, what, command) in meaning.items():
        names = counted.get(status, [])
        if names:
            told = f"{len(names)} of {len(health)} symbols {what}"
            yield lake.issue(severity, status, told, command if severity == "ACTION" else "", names)
    yield from _holes(lake, market)


def _holes(lake: LakeCheckup, market: Market) -> Iterator[Issue]:
    """Look for days that are missing and say nothing of a coin: somebody can fetch them, or mend their rows."""
    lacking = market.days[(market.holes == MARKET).any(axis=1)].astype(str).tolist()
    if lacking:
        what = f"{len(lacking)} days are missing for the whole market: the source lost them, no coin did"
        yield lake.issue(
            "ACTION", "MARKET_HOLE", what, f"load these days from elsewhere, then: {lake.ingest()}", lacking
        )
    refused = (market.holes == REFUSED).sum(axis=0)
    names = [f"{market.symbols[i]}: {refused[i]} days" for i in refused.nonzero()[0]]
    if names:
        what = f"{refused.sum()} days of {len(names)} coins are missing because their rows were refused"
        yield lake.issue("ACTION", "REFUSED_DAYS", what, f"mend these rows, then: {lake.ingest()}", names)
    behind = refused_behind(lake.snapshot.quarantine(), lake.snapshot.last_close() - DAY).drop_nulls("symbol")
    if not behind.is_empty():
        days = behind.group_by("symbol").agg(pl.col("open_time").n_unique()).sort("symbol")
        what = (
            f"rows of {days.height} coins behind the last bar were refused, so that the data end earlier than they do"
        )
        names = [f"{symbol}: {count} days" for symbol, count in days.iter_rows()]
        yield lake.issue("ACTION", "REFUSED_DAYS", what, f"mend these rows, then: {lake.ingest()}", names)


def _quarantine(lake: LakeCheckup) -> Iterator[Issue]:
    """Count refused rows by reason."""
    rows = lake.snapshot.quarantine()
    counted = rows.group_by("reason").len().sort("len", "reason", descending=[True, False])
    reasons = {str(reason): int(number) for reason, number in counted.iter_rows()}
    lake.facts["quarantine"] = reasons
    if reasons:
        names = [f"{reason}: {number}" for reason, number in reasons.items()]
        yield lake.issue("NOTE", "QUARANTINE", f"{rows.height} rows were refused; they are no bars", "", names)


def _scans(lake: LakeCheckup) -> Iterator[Issue]:
    """Look at the age of the last scan, and at how the screener agrees with the lake."""
    lake.agreements.extend(agreements(lake.snapshot))
    if not lake.agreements:
        if lake.live:
            command = lake.ingest(" --scan")
            yield lake.issue("NOTE", "NEVER_SCANNED", "the screener was never asked", command)
        return
    last = lake.agreements[-1]
    yield from _refused_scan(lake, last)
    lake.facts["last_scan"] = format_instant(last.scanned_at)
    age = lake.now - last.scanned_at
    if lake.live and age > OLD_SCAN:
        what = f"the last scan is {age / DAY:.0f} days old"
        yield lake.issue("ACTION", "SCAN_OLD", what, lake.ingest(" --scan"))
    finding = last.finding()
    if finding is not None:
        share = last.equal / last.compared
        severity: Severity = "ACTION" if share < LEAST_EQUAL else "NOTE"
        what = f"{last.compared - last.equal} of {last.compared} values of the last scan differ from the lake's"
        command = f"assay scan --source {lake.source}" if severity == "ACTION" else ""
        yield lake.issue(severity, finding.code, what, command, finding.names)
    for drifted, told in zip(last.drifts, last.rules(), strict=True):
        known = {cause.edition for cause in drifted.causes} - {""}
        command = lake.ingest(more=f" --set ratings.edition={known.pop()}") if len(known) == 1 else ""
        yield lake.issue("ACTION", told.code, f"{told.count} {told.what}", command, told.names)


def _refused_scan(lake: LakeCheckup, counting: Reconciliation) -> Iterator[Issue]:
    """Say of the last answer of the last scanned close that it cannot be true, and what counts instead."""
    found, fault = judged(lake.snapshot, counting.as_of)[-1]
    if fault is not None:
        other = counting.scanned_at != found.scanned_at
        instead = f"that of {format_instant(counting.scanned_at)} stays in force" if other else "no other is recorded"
        what = f"the screener's answer of {format_instant(found.scanned_at)} cannot be true: {fault}; {instead}"
        yield lake.issue("ACTION", IMPLAUSIBLE, what, lake.ingest(" --scan"))


def _accepted(lake: LakeCheckup) -> Iterator[Issue]:
    """Name what a user accepted of the source, while decisions rest on it."""
    for one in lake.snapshot.record.in_force(lake.snapshot.last_close()):
        yield lake.issue("NOTE", "ACCEPTED", one.said)


def _columns(folder: Path, table: str, version: int) -> dict[str, pl.DataType]:
    return dict(delta.content(storage_of(folder).table(table), version).schema)


# --- the home folder --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HomeCheckup:
    """What a home folder looks like: its lakes one by one, and all that was found."""

    lakes: list[LakeCheckup]
    issues: list[Issue]

    @property
    def exit_code(self) -> int:
        """0 where healthy, 1 where something is to be done, 3 for damage."""
        severities = {issue.severity for issue in self.issues}
        if "INTEGRITY" in severities:
            return int(Exit.INTEGRITY)
        return int(Exit.FAILED) if "ACTION" in severities else int(Exit.OK)

    @property
    def verdict(self) -> str:
        """HEALTHY, TO DO or DAMAGED."""
        return VERDICTS[Exit(self.exit_code)]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "lakes": [
                {
                    "folder": str(lake.folder),
                    "source": lake.source,
                    "facts": lake.facts,
                    "agreement": [entry.as_dict() for entry in lake.agreements],
                }
                for lake in self.lakes
            ],
            "findings": [asdict(issue) | {"names": list(issue.names)} for issue in self.issues],
        }


def examine_home(home: Home, source: str | None, now: dt.datetime) -> HomeCheckup:
    """Examine lakes (of one source, or all), runs, registry and disk."""
    lakes = [examine(folder, now) for folder in _lakes(home, source)]
    found = [issue for lake in lakes for issue in lake.issues]
    for check in (
        _no_lake(lakes, source),
        _runs(home),
        _registry(home),
        account_issues(home, now),
        leftovers(home.runs, home.flows, home.reports),
        _disk(home, lakes),
        _places(home),
    ):
        found += check
    return HomeCheckup(lakes, found)


def _lakes(home: Home, source: str | None) -> list[Path]:
    if source is not None:
        folder = Lake(home.path, source).folder
        return [folder] if folder.is_dir() else []
    return sorted(path for path in home.lake.iterdir() if path.is_dir()) if home.lake.is_dir() else []


def _no_lake(lakes: list[LakeCheckup], source: str | None) -> Iterator[Issue]:
    if not lakes:
        command = f"assay ingest --source {source or 'binance --scan'}"
        yield Issue("ACTION", "NO_LAKE", "lake/", "nothing was ingested into this home folder", command)


def _runs(home: Home) -> Iterator[Issue]:
    """Look for runs that died, and for directories that no run has come to."""
    entered = _registered(home)
    for name in home.run_ids():
        folder = home.runs / name
        if not (folder / STATUS).is_file():
            yield from _orphan(folder)
            continue
        try:
            status = Status.shown(folder)
        except IntegrityError as error:
            what = f"its status cannot be read: {error}"
            yield Issue("INTEGRITY", "RUN_UNREADABLE", name, what, f"assay verify {name}")
            continue
        resume = f"assay run {status.profile} --resume --run-id {name}"
        if status.state == "DEAD":
            what = f"its process is gone; it had come to {status.stage}"
            yield Issue("ACTION", "RUN_DEAD", name, what, resume if (folder / MANIFEST).is_file() else f"{CLEAN} --yes")
        elif status.state == "VALID" and name not in entered:
            yield Issue("ACTION", "RUN_NOT_ENTERED", name, "it is sealed and not in the registry", resume)
        elif status.state != "VALID" and Status.read(folder).state == "VALID":
            there = (folder / LEDGER).is_file()
            what = f"it says VALID and has no {'seal' if there else 'ledger'}"
            code = "RUN_NOT_SEALED" if there else "RUN_WITHOUT_LEDGER"
            yield Issue("INTEGRITY", code, name, what, f"assay verify {name}")


def _orphan(folder: Path) -> Iterator[Issue]:
    """Look at a directory without a status."""
    if is_orphan(folder):
        what = "the directory was claimed, and no run began in it"
        yield Issue("ACTION", "RUN_ORPHANED", folder.name, what, f"{CLEAN} --yes")


def is_orphan(folder: Path) -> bool:
    """Tell whether a directory without a status will have none: a run writes it within a moment."""
    return time.time() - folder.stat().st_mtime > FRESH


def _registered(home: Home) -> frozenset[str]:
    try:
        return frozenset(entry.run_id for entry in registry.entries(home.registry))
    except LedgerError:
        return frozenset(home.run_ids())  # what is wrong with the registry is told by its own check


def _registry(home: Home) -> Iterator[Issue]:
    if not home.registry.is_file():
        return
    try:
        registry.check(home.registry)
    except LedgerError as error:
        command = "restore runs/registry.jsonl from a copy; assay verify RUN tells which runs it touches"
        yield Issue("INTEGRITY", "REGISTRY", "runs/registry.jsonl", str(error), command)


def _disk(home: Home, lakes: list[LakeCheckup]) -> Iterator[Issue]:
    place = next((path for path in (home.path, *home.path.parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(place).free
    size = max((_size(lake.folder) for lake in lakes), default=0)
    if free < max(ROOM, 2 * size):
        what = f"{free / 1e9:.1f} GB are free, the largest lake has {size / 1e9:.1f} GB"
        yield Issue("ACTION", "DISK_SPACE", str(home.path), what, f"df -h {home.path}")


def _places(home: Home) -> Iterator[Issue]:
    """Look for places of the home into which no run can write."""
    for path in (home.path, home.lake, home.runs, home.flows, home.reports):
        wrong = "is no folder" if not path.is_dir() else "cannot be written" if not os.access(path, os.W_OK) else ""
        if wrong and (path.exists() or path.is_symlink()):
            yield Issue("ACTION", "DISK", str(path), f"it {wrong}", f"ls -ld {path}")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
