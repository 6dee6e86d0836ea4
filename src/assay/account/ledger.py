"""The ledger of an account: ``account.jsonl``, one chained line for each event, a day written at once.

The chain is a run's (:mod:`assay.runs.verify`): each line holds the SHA-256 of the one before. What happens between two
days (a deposit that is asked for, a new epoch) is one line; a day is many lines that end with ``close_day`` and reach
the disk by one write. Lines of a day that has no end are an unfinished write: whoever opens the ledger next cuts them,
as a torn line is cut, and ``resume`` says how many bytes, and their hash. So a day is done or not, and never in part.

State is replayed from here; orders and reports beside it are copies that can be made again.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from assay.base import files
from assay.base.errors import DiskError, IntegrityError, InternalError, LedgerError, UsageError
from assay.runs.ledger import Clock, broken, chain_line, format_time, utc_now
from assay.runs.verify import FORMAT, Chain, Entry, Problem, newer, parse_line, read_chain

LEDGER = "account.jsonl"
GENESIS = "genesis"
CLOSE_DAY = "close_day"
CLOSE = "close"
ASKED = "asked"
EPOCH = "epoch"
ACCEPT = "accept"
RESUME = "resume"
BETWEEN = frozenset({GENESIS, RESUME, ASKED, EPOCH, ACCEPT, CLOSE})
"""Kinds of lines that stand between two days, each by itself."""
OF_A_DAY = frozenset(
    {
        "history_changed",
        "fill",
        "cancelled",
        "unfilled",
        "partial",
        "late_fill",
        "look",
        "liquidation",
        "borrow",
        "mark",
        "flow",
        "missed",
        "sleeve",
        "decision",
        "orders",
        "reconcile",
        CLOSE_DAY,
    }
)
"""Kinds of lines that a day is made of; each names its ``day``."""
KINDS = BETWEEN | OF_A_DAY
LOCKED = "ACCOUNT_LOCKED"
CLOSED = "ACCOUNT_CLOSED"
CHANGED = "LEDGER_CHANGED"

Event = tuple[str, Mapping[str, Any]]
"""Kind and body of a line that is to be written."""


@dataclass(frozen=True)
class ClosedDay:
    """A day that was done."""

    day: dt.date
    entries: tuple[Entry, ...]
    """Its events, without the line that ends it."""
    close: Entry

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of one kind, in order."""
        return [entry.body for entry in self.entries if entry.kind == kind]

    @property
    def simulated(self) -> bool:
        """Whether it was stepped through afterwards."""
        return self.close.body.get("simulated") is True


def content_of(events: Sequence[Event]) -> str:
    """Return the hash of a day's events: what was said, whenever it was written."""
    return files.content_hash_json([[kind, dict(body)] for kind, body in events])


def split(entries: Sequence[Entry]) -> tuple[list[ClosedDay], list[Entry]]:
    """Return the days that were done, and the lines of one that was not."""
    days: list[ClosedDay] = []
    begun: list[Entry] = []
    for entry in entries:
        if entry.kind == CLOSE_DAY:
            days.append(ClosedDay(dt.date.fromisoformat(entry.body["day"]), tuple(begun), entry))
            begun = []
        elif entry.kind in OF_A_DAY:
            begun.append(entry)
    return days, begun


@contextmanager
def private() -> Iterator[None]:
    """Create files and folders that only their owner may read, in the block."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


class AccountLedger:
    """``account.jsonl`` opened by the one process that steps the account; it is locked until :meth:`close`.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "mine"
    >>> with AccountLedger.create(folder, {"account": "mine"}) as ledger:
    ...     _ = ledger.append("asked", {"amount": "100"})
    ...     mark = ("mark", {"day": "2024-01-01", "nav": "100"})
    ...     _ = ledger.append_day(dt.date(2024, 1, 1), [mark], {"simulated": False})
    ...     [entry.kind for entry in ledger.entries], ledger.last_day
    (['genesis', 'asked', 'mark', 'close_day'], datetime.date(2024, 1, 1))
    """

    def __init__(self, path: Path, stream: IO[bytes], clock: Clock, entries: list[Entry], size: int) -> None:
        self.path = path
        self._stream = stream
        self._clock = clock
        self._entries = entries
        self._size = size
        self._days, _ = split(entries)

    @classmethod
    def create(cls, folder: Path, body: Mapping[str, Any], *, clock: Clock = utc_now) -> Self:
        """Claim a name and begin its ledger; the genesis is there whole or not at all.

        A folder without a ledger is a creation that died: its name is free.

        Raises
        ------
        UsageError
            If there is such an account.
        """
        path = folder / LEDGER
        with private():
            files.make_folders(folder)
            with files.locked(folder.parent / ".lock"):
                if path.exists():
                    hint = "choose another name; list them with: assay account list"
                    raise UsageError(f"account {folder.name!r} exists", where=str(folder), hint=hint)
                files.write(path, chain_line([], format_time(clock()), GENESIS, {"format": FORMAT, **body}))
        return cls.open(folder, clock=clock)

    @classmethod
    def open(cls, folder: Path, *, clock: Clock = utc_now) -> Self:
        """Open an account's ledger to be written on; what was not finished is cut, which a ``resume`` line says.

        Raises
        ------
        UsageError
            If there is no such account, or another process is at work on it (``ACCOUNT_LOCKED``).
        LedgerError
            If anything else is wrong; the message names the line.
        """
        path = folder / LEDGER
        try:
            stream = path.open("r+b")
        except FileNotFoundError:
            hint = "list them with: assay account list"
            raise UsageError(f"no account {folder.name!r}", where=str(folder.parent), hint=hint) from None
        except OSError as error:
            raise DiskError(f"cannot open: {error.strerror}", where=str(path), hint="mend permissions") from error
        try:
            _lock(stream.fileno(), path)
            data = stream.read()
            chain = _whole(path, data)
            ledger = cls(path, stream, clock, chain.entries, len(data) - len(chain.torn))
            if ledger.is_closed:
                raise closed(path)
            ledger._cut(data)
        except BaseException:
            stream.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        self._stream.close()

    @property
    def entries(self) -> list[Entry]:
        """Every entry so far."""
        return list(self._entries)

    @property
    def days(self) -> list[ClosedDay]:
        """The days that were done."""
        return list(self._days)

    @property
    def genesis(self) -> Entry:
        """The first entry."""
        return self._entries[0]

    @property
    def head(self) -> str:
        """Hash of the last line."""
        return self._entries[-1].hash

    @property
    def last_day(self) -> dt.date | None:
        """The last day that was done."""
        return self._days[-1].day if self._days else None

    @property
    def is_closed(self) -> bool:
        """Whether the account was closed for good."""
        return any(entry.kind == CLOSE for entry in self._entries)

    def append(self, kind: str, body: Mapping[str, Any]) -> str:
        """Write one line that stands between two days, and return its hash."""
        if kind not in BETWEEN - {GENESIS}:
            raise InternalError(f"{kind!r} does not stand between days", where=str(self.path), hint="report this")
        return self._write([(kind, body)])

    def append_day(self, day: dt.date, events: Sequence[Event], close: Mapping[str, Any]) -> str:
        """Write a whole day, which is then done, and return the hash of the line that ends it.

        Raises
        ------
        InternalError
            If a line is of no kind of a day, or the day is not the one after the last: it would be done twice, or one
            left out.
        """
        last, named = self.last_day, {str(body.get("day")) for _, body in events}
        if (last is not None and day != last + dt.timedelta(days=1)) or named - {day.isoformat()}:
            what = f"{day} does not follow {last}, or a line of it names another day"
            raise InternalError(what, where=str(self.path), hint="report this")
        if not {kind for kind, _ in events} <= OF_A_DAY - {CLOSE_DAY}:
            raise InternalError("a line is of no kind of a day", where=str(self.path), hint="report this")
        end = {"day": day.isoformat(), "content": content_of(events), **close}
        return self._write([*events, (CLOSE_DAY, end)])

    def _write(self, events: Sequence[Event]) -> str:
        if self.is_closed:
            raise closed(self.path)
        self._check_place()
        time = max(format_time(self._clock()), self._entries[-1].time)
        made, lines = list(self._entries), []
        for kind, body in events:
            lines.append(chain_line(made, time, kind, body))
            made.append(parse_line(lines[-1][:-1], KINDS))
        data = b"".join(lines)
        try:
            files.append(self.path, data, len(lines))
        except BaseException:  # also an interrupt: half a day would end up in front of the next
            files.truncate(self.path, self._size)
            raise
        self._entries, self._size = made, self._size + len(data)
        self._days, _ = split(made)
        return self.head

    def _check_place(self) -> None:
        if self._stream.closed:
            raise InternalError("ledger is closed", where=str(self.path), hint="report this")
        held = os.fstat(self._stream.fileno())
        try:
            there = self.path.stat()
        except FileNotFoundError:
            raise LedgerError("ledger is gone", where=str(self.path), hint="restore it from a copy") from None
        if (there.st_dev, there.st_ino, there.st_size) != (held.st_dev, held.st_ino, self._size):
            what, hint = "ledger was changed by something else", "run: assay account verify"
            raise LedgerError(what, where=str(self.path), hint=hint, code=CHANGED)

    def _cut(self, data: bytes) -> None:
        """Cut a torn line and the lines of a day that has no end."""
        _, begun = split(self._entries)
        kept = self._entries[: len(self._entries) - len(begun)]
        if begun and self._entries[-len(begun) :] != begun:
            where = f"{self.path.name} line {begun[0].seq + 1}"
            raise broken(self.path, Problem("UNCLOSED", where, "a day has no end, and other lines follow it"))
        size = len(b"".join(line + b"\n" for line in data.split(b"\n")[: len(kept)]))
        if size == len(data):
            return
        self._entries, self._size = kept, size
        files.truncate(self.path, size)
        cut = {"bytes": len(data) - size, "lines": len(begun), "sha256": files.sha256(data[size:])}
        self.append(RESUME, {"reason": "a write was not finished", "cut": cut})


def _lock(descriptor: int, path: Path) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        what, hint = "another process works on this account", "wait until it ends"
        raise UsageError(what, where=str(path.parent), hint=hint, code=LOCKED) from None


def closed(path: Path) -> UsageError:
    """Return the refusal of anything that would change a closed account."""
    hint = "open another with: assay account new"
    return UsageError("the account is closed", where=str(path), hint=hint, code=CLOSED)


def _whole(path: Path, data: bytes) -> Chain:
    """Return the chain of a ledger; refuse one that is broken, lacks its genesis or is of a newer version."""
    chain = read_chain(data, path.name, KINDS)
    if chain.fault is not None:
        raise broken(path, chain.fault)
    if not chain.entries or chain.entries[0].kind != GENESIS:
        raise LedgerError("ledger has no genesis", where=f"{path} line 1", hint="restore it from a copy")
    if fault := newer(chain.entries[0].body):
        raise broken(path, Problem("NEWER_FORMAT", f"{path.name} line 1", fault))
    return chain


def read_account(folder: Path) -> list[Entry]:
    """Return the entries of an account up to the last day that was done; nothing is cut, and nobody need be waited for.

    Raises
    ------
    UsageError
        If there is no such account.
    LedgerError
        If a line is wrong; the message names it.
    """
    path = folder / LEDGER
    if not path.exists():
        hint = "list them with: assay account list"
        raise UsageError(f"no account {folder.name!r}", where=str(folder.parent), hint=hint)
    try:
        data = files.read(path, files.LARGEST_JSON)
    except IntegrityError as error:
        hint = "run: assay account verify"
        raise LedgerError(f"ledger cannot be read: {error.what}", where=str(path), hint=hint) from error
    entries = _whole(path, data).entries
    _, begun = split(entries)
    return entries[: len(entries) - len(begun)]
