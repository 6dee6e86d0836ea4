"""Statuses of all runs in a home folder, cheap to look at again and again.

A file is read again only when its inode, size or modification time differs, so that a look at 500 runs costs 1000
calls of ``stat``. What is held is one small row for each run that is there.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from assay.base import files
from assay.base.errors import AssayError, IntegrityError
from assay.runs import artifacts as layout
from assay.runs.home import RUN_ID, Home, Status, behind, told, weakened_by

UNREADABLE = "UNREADABLE"
"""State of a run whose ``run_status.json`` is damaged."""
ABSENT = "NO STATUS"
"""State of a run directory without ``run_status.json``: claimed a moment ago, or being deleted."""

JUDGED = 4
"""So many sealed runs are read for their results at one look: each takes as long as a page of it."""
REMEMBERED = 1000
"""So many removed runs are remembered for viewers that have not heard of them yet."""

Stamp = tuple[int, int, int]
"""Inode, size and modification time of a file."""


@dataclass(frozen=True)
class Row:
    """One run as an onlooker sees it; ``kind`` and ``as_of`` come from its manifest, once that is written."""

    run_id: str
    profile: str
    state: str
    step: int
    stage: str
    started: str
    elapsed: float
    code: str = ""
    """Code of the error that ended the run."""
    what: str = ""
    hint: str = ""
    """What to do about it."""
    kind: str = ""
    as_of: str = ""
    weakened: str = ""
    """What stands behind VALID where rules are weaker than the canon's."""
    ruin: str = ""
    """What stands before that where books were ruined, as the seal says it."""
    cagr: float | None = None
    sharpe: float | None = None
    max_drawdown: float | None = None
    """Results of the headline's book; None until a sealed run was read for them, or where it has none."""
    evidence: str = ""
    book: str = ""
    """Words of the lights; PROCESS is the state."""

    @property
    def verdict(self) -> str:
        """State, the code of an error, what was ruined, and what was weakened."""
        return f"{self.state} {self.code}".rstrip() + (
            behind(self.ruin) + self.weakened if self.state == "VALID" else ""
        )

    def seconds(self, now: dt.datetime) -> float:
        """Seconds since the start; a running run's clock goes on between its writes."""
        if self.state == "RUNNING":
            return max(0.0, (now - dt.datetime.fromisoformat(self.started)).total_seconds())
        return self.elapsed


@dataclass(frozen=True)
class Update:
    """What changed since a viewer looked last."""

    mark: str
    """To be given back at the next look."""
    whole: bool
    """``rows`` are all rows there are, because the viewer's mark is unknown."""
    rows: list[Row]
    gone: list[str]
    """Runs that are not there any more."""

    def as_plain(self, now: dt.datetime) -> dict[str, Any]:
        """Return the update as JSON values, with the server's time."""
        rows = [asdict(row) for row in self.rows]
        return {"now": now.isoformat(), "mark": self.mark, "whole": self.whole, "rows": rows, "gone": self.gone}


@dataclass
class _Seen:
    """What is remembered of one run."""

    stamp: tuple[Stamp | None, Stamp | None]
    """Of status and ledger."""
    status: Status | None
    row: Row
    judged: bool = False


class RunList:
    """The rows of all runs, and which of them changed when.

    Parameters
    ----------
    home : Home
        Need not exist yet.

    Attributes
    ----------
    fault : str
        Why the folder of runs cannot be listed; empty where it can.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.fault = ""
        self._epoch = secrets.token_hex(4)
        self._version = 0
        self._forgotten = 0
        self._seen: dict[str, _Seen] = {}
        self._changed: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        self._lock = threading.Lock()

    def refresh(self) -> bool:
        """Look at all runs again; return whether any changed, came or went."""
        with self._lock:
            names = self._names()
            version = self._version + 1
            changed = [name for name in names if self._look(name)]
            gone = [name for name in self._seen if name not in names]
            for name in changed:
                self._changed[name] = version
                self._gone.pop(name, None)
            for name in gone:
                del self._seen[name]
                self._changed.pop(name, None)
                self._gone[name] = version
            while len(self._gone) > REMEMBERED:
                self._forgotten = self._gone.pop(next(iter(self._gone)))
            if changed or gone:
                self._version = version
            return bool(changed or gone)

    def judge(self) -> None:
        """Read the results of a few sealed runs that were not read for them yet, those that began last first."""
        with self._lock:
            sealed = [seen for seen in self._seen.values() if seen.row.state == "VALID" and not seen.judged]
            waiting = sorted(sealed, key=lambda seen: seen.row.started, reverse=True)[:JUDGED]
            known = [(seen, seen.row.run_id) for seen in waiting]
        for seen, name in known:
            found = _results(self.home.runs / name)
            with self._lock:
                seen.judged = True
                if found and self._seen.get(name) is seen:
                    seen.row = replace(seen.row, **found)
                    self._version += 1
                    self._changed[name] = self._version

    def rows(self) -> list[Row]:
        """Return all rows as of the last look, the run that started last first."""
        with self._lock:
            rows = [seen.row for seen in self._seen.values()]
        return sorted(rows, key=lambda row: (row.started, row.run_id), reverse=True)

    def row(self, run_id: str) -> Row | None:
        """Return one row as of the last look."""
        with self._lock:
            seen = self._seen.get(run_id)
            return seen.row if seen else None

    @property
    def busy(self) -> bool:
        """Whether any run was going at the last look."""
        with self._lock:
            return any(seen.row.state == "RUNNING" for seen in self._seen.values())

    @property
    def mark(self) -> str:
        """Name of the list's present state."""
        return f"{self._epoch}-{self._version}"

    def since(self, mark: str) -> Update:
        """Return what changed after a mark; everything where the mark is not of this list or too old."""
        epoch, _, number = mark.partition("-")
        known = epoch == self._epoch and number.isdecimal() and len(number) < 19 and int(number) >= self._forgotten
        if not known:
            return Update(self.mark, True, self.rows(), [])
        version = int(number)
        with self._lock:
            rows = [self._seen[name].row for name, changed in self._changed.items() if changed > version]
            gone = [name for name, removed in self._gone.items() if removed > version]
            return Update(self.mark, False, rows, gone)

    def _names(self) -> set[str]:
        self.fault = ""
        try:
            with os.scandir(self.home.runs) as entries:
                return {
                    entry.name
                    for entry in entries
                    if RUN_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                }
        except FileNotFoundError:
            return set()
        except OSError as error:
            self.fault = f"the folder of runs cannot be listed: {error.strerror}"
            return set(self._seen)

    def _look(self, name: str) -> bool:
        folder = self.home.runs / name
        seen, before = self._seen.get(name), None
        stamp = stamp_of(folder / layout.STATUS), stamp_of(folder / layout.LEDGER)
        if seen is not None:
            before = seen.row
        if seen is None or seen.stamp != stamp:
            status, row = _read(folder)
            seen = _Seen(stamp, status, row)
            if before is not None:
                seen.row = replace(row, kind=before.kind, as_of=before.as_of, weakened=before.weakened)
            self._seen[name] = seen
        if not seen.row.kind:
            seen.row = _identified(folder, seen.row)
        if seen.status is not None and seen.row.state == "RUNNING":
            seen.row = replace(seen.row, state=seen.status.seen().state)
        return seen.row != before


def _identified(folder: Path, row: Row) -> Row:
    """Add what the manifest says; nothing where it is not written yet."""
    path = folder / layout.MANIFEST
    if not path.is_file():
        return row
    try:
        manifest = files.read_json(path)
    except IntegrityError:
        manifest = None
    if not isinstance(manifest, dict):
        return replace(row, kind="run")
    kind, as_of = str(manifest.get("kind") or "run"), str(manifest.get("as_of") or "")
    return replace(row, kind=kind, as_of=as_of, weakened=told(weakened_by(manifest)))


def _read(folder: Path) -> tuple[Status | None, Row]:
    """Read a status; a damaged one is a row that says so, since one bad file must not hide the other runs."""
    blank = Row(folder.name, "", UNREADABLE, 0, "", "", 0.0)
    if stamp_of(folder / layout.STATUS) is None:
        return None, replace(blank, state=ABSENT, stage="no run_status.json yet")
    try:
        status = Status.read(folder).backed(folder)
    except IntegrityError as error:
        return None, replace(blank, stage="run_status.json is damaged", what=error.what)
    reason = status.error or {}
    return status, Row(
        run_id=folder.name,
        profile=status.profile,
        state=status.state,
        step=status.step,
        stage=status.stage,
        started=status.started,
        elapsed=float(status.elapsed),
        code=str(reason.get("code", "")),
        what=str(reason.get("what", "")),
        hint=str(reason.get("hint", "")),
        ruin=status.ruin,
    )


def _results(folder: Path) -> dict[str, Any]:
    """Return what a run's own artifacts say of its headline; nothing where they say nothing."""
    # Only the page asks for it: a terminal that watches runs need not import what reads reports.
    from assay.report.glance import book_of, facts_of, headline_of, lights
    from assay.report.view import open_run

    try:
        view = open_run(folder)
        name = headline_of(view)
        own = view.statistics.get(name)
        if own is None:
            return {}
        _, evidence, book = lights(facts_of(view, name, book_of(view, name)))
    except (AssayError, OSError):
        return {}
    figures = {key: own.get(key) for key in ("cagr", "sharpe", "max_drawdown")}
    return figures | {"evidence": evidence.word, "book": book.word}


def stamp_of(path: Path) -> Stamp | None:
    """Return what tells one state of a file from another; None where there is no such file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
