"""``assay ingest --every``: phase 1 after each close, in one process, for as long as it is let.

Rounds are due at fixed instants, multiples of the period since 1970 plus a grace, whatever a round took: there is no
drift. A round that fails, or that lacks bars which are due, is tried again, later and later, and never past the next
instant; who refuses and says for how long is left alone for as long. A signal ends the schedule between two stages of a
round, before anything is written, or at once while it waits.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from assay.base.domain import DAY, UTC, format_instant
from assay.base.errors import AssayError, Exit, UsageError
from assay.cli import output

if TYPE_CHECKING:
    from assay.pipeline.ingestion import Phase
    from assay.runs.home import Home
    from assay.settings import Catalog
    from assay.settings.model import Schedule

LOCK = ".schedule.lock"
PATIENT = 3
"""Rounds that an account waits for bars that are due, before it goes on without them."""
WORDS = {"day": DAY, "hour": dt.timedelta(hours=1)}
UNITS = {"m": dt.timedelta(minutes=1), "h": dt.timedelta(hours=1), "d": DAY}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)

Work = Callable[[Callable[[], None]], dict[str, Any]]
"""One round; it calls what it is given wherever it may stop, and returns what it did."""


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked the schedule to end
    """The schedule was asked to end."""


class WallClock:
    """The clock of this machine, and the signals that end a schedule."""

    longest_nap = 60.0
    """Seconds; the clock may be set while we wait, and a sleeping machine wakes late."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.signal = 0

    def now(self) -> dt.datetime:
        """Return the instant, UTC."""
        return dt.datetime.now(UTC)

    def wait(self, until: dt.datetime) -> None:
        """Wait for an instant; raise :class:`Stopped` if asked to end meanwhile."""
        while (left := (until - self.now()).total_seconds()) > 0:
            self._stop.wait(min(left, self.longest_nap))
            self.check()
        self.check()

    def check(self) -> None:
        """Raise :class:`Stopped` after a signal."""
        if self._stop.is_set():
            raise Stopped

    def stop(self, number: int, _frame: FrameType | None = None) -> None:
        """Note a signal."""
        self.signal = number
        self._stop.set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as requests to end."""
        before = {number: signal.signal(number, self.stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def read_period(text: str) -> dt.timedelta:
    """Read ``day``, ``hour`` or an interval such as ``15m``, ``4h``, ``2d``.

    >>> read_period("4h")
    datetime.timedelta(seconds=14400)
    """
    found = re.fullmatch(r"([1-9]\d{0,3})([mhd])", text)
    if text in WORDS:
        return WORDS[text]
    if found is None:
        raise UsageError(f"cannot read {text!r} as a period", where="--every", hint="write day, hour, or 15m, 4h, 2d")
    return int(found[1]) * UNITS[found[2]]


def next_due(after: dt.datetime, period: dt.timedelta, grace: dt.timedelta) -> dt.datetime:
    """Return the first instant after another one at which a round is due.

    >>> close = dt.datetime(2024, 3, 1, tzinfo=UTC)
    >>> next_due(close, DAY, dt.timedelta(minutes=5)).isoformat()
    '2024-03-01T00:05:00+00:00'
    """
    rounds = math.floor((after - _EPOCH - grace) / period) + 1
    return _EPOCH + rounds * period + grace


@dataclass
class Scheduler:
    """Runs rounds until it is stopped, and tells each in one line."""

    period: dt.timedelta
    settings: Schedule
    work: Work
    clock: WallClock
    tell: Callable[[dict[str, Any]], None]
    failures: int = 0
    """Rounds in a row that failed."""
    late: int = 0
    """Rounds since the last regular one, with it, that went well and lack bars that are due."""
    again: bool = False
    """The present round comes before its time, only for what was late."""

    def run(self) -> None:
        """Work at once, then at every instant that is due; return when stopped."""
        try:
            while True:
                self.clock.wait(self._round())
        except Stopped:
            self.tell({"at": format_instant(self.clock.now()), "outcome": "stopped"})

    def _round(self) -> dt.datetime:
        """Do one round and return when the next one is due."""
        began = self.clock.now()
        told: dict[str, Any] = {"at": format_instant(began)}
        try:
            self.clock.check()
            did = self.work(self.clock.check)
        except UsageError:
            raise  # no repetition mends what was asked for
        except AssayError as error:
            did = _refused(error) | {"outcome": "failed"}
        failed = did.get("outcome") == "failed"
        self.failures = self.failures + 1 if failed else 0
        self.late = 0 if failed or did.get("complete", True) else 1 + self.late * self.again
        told |= {"outcome": "ok"} | did | ({"failures": self.failures} if failed else {})
        ended = self.clock.now()
        due = self._due(ended, did.get("retry_after", 0.0))
        self.tell(told | {"seconds": round((ended - began).total_seconds(), 1), "next": format_instant(due)})
        return due

    def _due(self, ended: dt.datetime, retry_after: float) -> dt.datetime:
        """Return when the next round is due; nobody is asked before it may be."""
        due = regular = next_due(ended, self.period, dt.timedelta(seconds=self.settings.grace))
        if times := self.failures or self.late:
            patience = min(self.settings.retry * 2.0 ** min(times - 1, 30), self.settings.retry_limit)
            due = min(due, ended + dt.timedelta(seconds=patience))
        self.again = self.late > 0 and due < regular
        return max(due, ended + dt.timedelta(seconds=retry_after))


def _refused(error: AssayError) -> dict[str, Any]:
    """Return what a round tells of an error."""
    after = {"retry_after": error.retry_after} if error.retry_after else {}
    return {"code": error.code, "what": str(error), **after}


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the lock of a home's schedule; refuse where another process holds it."""
    import fcntl

    path = home / LOCK
    home.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "another schedule works on this home folder",
                where=str(path),
                hint="stop it first, or choose another home folder",
                code="LOCKED",
            ) from None
        yield


def every(home: Home, catalog: Catalog, source: str, scan: bool, period: str, as_json: bool) -> int:
    """Run phase 1 on a schedule until a signal ends it; return the exit code."""
    clock = WallClock()

    def work(check: Callable[[], None]) -> dict[str, Any]:
        # Where only bars are late the screener has answered.
        return _work(home, catalog, source, scan and not scheduler.again, check)

    tell = _tell_json if as_json else _tell_text
    scheduler = Scheduler(read_period(period), catalog.schedule(), work, clock, tell)
    with alone(home.path), clock.listening():
        scheduler.run()
    return int(Exit.INTERRUPTED) if clock.signal == signal.SIGINT else int(Exit.OK)


def every_account(home: Home, catalog: Catalog, names: Sequence[str], period: str, as_json: bool) -> int:
    """Ingest and step accounts on a schedule until a signal ends it; one process does both, under one lock."""
    from assay.pipeline.accounts import account_folder, source_of

    sources = list(dict.fromkeys(source_of(account_folder(home, name)) for name in names))
    clock = WallClock()

    def work(check: Callable[[], None]) -> dict[str, Any]:
        rounds = {source: _bars(home, catalog, source, not scheduler.again, check) for source in sources}
        told: dict[str, Any] = {}
        for source in rounds:
            told |= rounds[source]
        told["complete"] = all(did.get("complete", True) for did in rounds.values())
        waits = {source for source, did in rounds.items() if not did.get("complete", True)}
        patient = waits if scheduler.late < PATIENT else set()
        found = {}
        for name in names:
            check()
            found[name] = _stepped(home, catalog, name, source_of(account_folder(home, name)) in patient)
        failed = {"outcome": "failed"} if any(one.startswith("FAILED") for one in found.values()) else {}
        return told | failed | {"accounts": found}

    scheduler = Scheduler(read_period(period), catalog.schedule(), work, clock, _tell_json if as_json else _tell_text)
    with alone(home.path), clock.listening():
        scheduler.run()
    return int(Exit.INTERRUPTED) if clock.signal == signal.SIGINT else int(Exit.OK)


def _bars(home: Home, catalog: Catalog, source: str, scan: bool, check: Callable[[], None]) -> dict[str, Any]:
    """Bring a live source up to date; a file is read when the account is stepped."""
    from assay.sources import is_live, open_source

    return _work(home, catalog, source, scan, check) if is_live(open_source(source)) else {}


def _stepped(home: Home, catalog: Catalog, name: str, wait: bool) -> str:
    """Step one account and say how it went; it waits for bars that are late."""
    from assay.pipeline.account_step import StepAsked
    from assay.pipeline.accounts import step_account

    if wait:
        return "WAITING for bars that are due"
    try:
        done = step_account(home, catalog, name, StepAsked())
    except AssayError as error:
        return f"FAILED {error.code}: {error}"
    return f"{done.outcome} {done.days[-1].day}"


def _work(home: Home, catalog: Catalog, source: str, scan: bool, check: Callable[[], None]) -> dict[str, Any]:
    """Do one round of phase 1; between its stages it may be stopped, and nothing has been written then."""
    from assay.pipeline.ingestion import bring_up

    def progress(_stage: str, _done: int, _total: int) -> None:
        check()

    return _did(bring_up(home, catalog, source, scan=scan, progress=progress), catalog.scan().fallback)


def _did(phase: Phase, fallback: bool) -> dict[str, Any]:
    from assay.sources.loading import INCOMPLETE

    bars = phase.bars
    findings = {finding.code: finding.count for finding in phase.findings}
    told: dict[str, Any] = {
        "head": bars.head,
        "last_close": format_instant(bars.last_close),
        "added": bars.added,
        "repaired": bars.repaired,
        "complete": INCOMPLETE.isdisjoint(findings),
        "findings": findings,
        **bars.cost,
    }
    if phase.superset is not None:
        told |= {"atoms": phase.superset.unique_atoms, "invalid": len(phase.superset.invalid_records)}
    if phase.reconciliation is not None:
        told |= {"compared": phase.reconciliation.compared, "agree": phase.reconciliation.equal}
    if phase.scan_error is not None:
        told |= _refused(phase.scan_error)
        told |= {} if fallback else {"outcome": "failed"}
    return told


def _tell_json(told: dict[str, Any]) -> None:
    output.line(json.dumps(told, ensure_ascii=False, allow_nan=False))


def _tell_text(told: dict[str, Any]) -> None:
    """Print a round as one line: instant, outcome, and the rest as name=value."""
    rest = " ".join(f"{name}={_plain(value)}" for name, value in told.items() if name not in ("at", "outcome"))
    output.line(f"{told['at']} {told['outcome']} {rest}".rstrip())


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}:{number}" for name, number in value.items()) or "none"
    text = str(value) if not isinstance(value, bool) else "yes" if value else "no"
    return json.dumps(text, ensure_ascii=False) if " " in text else text
