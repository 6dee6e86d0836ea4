"""The ledger of a run: what was meant, what was done, and what was found, each line holding the hash of the one before.

The format is described in, and read by, :mod:`assay.runs.verify`; this module is its one writer.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import IO, Any, Literal, Self

from assay.base import files
from assay.base.domain import UTC
from assay.base.errors import DiskError, IntegrityError, InternalError, LedgerError, UsageError
from assay.runs.verify import FORMAT, LEDGER_KINDS, ZERO, Body, Chain, Entry, Problem, Story, parse_line, read_chain

Clock = Callable[[], dt.datetime]
State = Literal["ok", "failed"]
Records = Mapping[str, Mapping[str, str]]
"""Relative path of an artifact to its ``sha256`` (of the bytes) and ``content`` (canonical) hashes."""

LOCKED = "RUN_LOCKED"
SEALED = "RUN_SEALED"
CHANGED = "LEDGER_CHANGED"


def utc_now() -> dt.datetime:
    """Return the time; the only clock of the audit room, and only a default."""
    return dt.datetime.now(UTC)


def format_time(instant: dt.datetime) -> str:
    """Write an instant as chains do.

    >>> format_time(dt.datetime(2024, 4, 1, tzinfo=dt.UTC))
    '2024-04-01T00:00:00.000000Z'
    """
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def chain_line(before: list[Entry], time: str, kind: str, body: Mapping[str, Any]) -> bytes:
    """Return the next line of a chain, with its newline."""
    prev = before[-1].hash if before else ZERO
    value = {"seq": len(before), "time": time, "prev": prev, "kind": kind, "body": dict(body)}
    return files.canonical_json(value) + b"\n"


class Ledger:
    """``audit.jsonl`` opened by the one process that writes it.

    The file is locked from :meth:`create` or :meth:`open` to :meth:`close`, every line is on the disk before the call
    that wrote it returns, and a line that did not get there whole is taken back. Times never decrease, whatever the
    clock does.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Ledger.create(folder / "audit.jsonl", {"run_id": folder.name, "profile": "p"}) as ledger:
    ...     head = ledger.intent(1, "preflight", {})
    ...     [entry.kind for entry in ledger.entries]
    ['genesis', 'intent']
    >>> check_chain(folder / "audit.jsonl")
    2
    """

    def __init__(self, path: Path, stream: IO[bytes], clock: Clock, entries: list[Entry], size: int) -> None:
        self.path = path
        self._stream = stream
        self._clock = clock
        self._entries = entries
        self._size = size
        self._mutex = Lock()  # a step that overran its time limit in a thread may still be writing

    @classmethod
    def create(cls, path: Path, body: Mapping[str, Any], *, clock: Clock = utc_now) -> Self:
        """Begin a ledger with its genesis, which is there whole or not at all.

        Parameters
        ----------
        path : Path
            New file in the run directory.
        body : mapping
            Names at least ``run_id``, the name of the run directory, and ``profile``; ``registry``, the head of the
            registry of runs at this moment, makes a registry whose tail is cut later show.
        clock : callable
            Returns the time, aware.

        Raises
        ------
        UsageError
            If the ledger exists, or another process is at work in the directory.
        DiskError
            If it cannot be written.
        """
        if not all(isinstance(body.get(key), str) for key in ("run_id", "profile")):
            raise InternalError("genesis must name run_id and profile", where=str(path), hint="report this")
        files.make_folders(path.parent)
        with files.disk_errors(path):
            folder = os.open(path.parent, os.O_RDONLY)
        try:
            # Two processes that both find no ledger must not both begin one.
            _lock(folder, path)
            if path.exists():
                raise UsageError("ledger exists", where=str(path), hint="resume the run, or name another")
            files.write(path, chain_line([], format_time(clock()), "genesis", {"format": FORMAT, **body}))
            return cls.open(path, clock=clock)
        finally:
            os.close(folder)

    @classmethod
    def open(cls, path: Path, *, clock: Clock = utc_now) -> Self:
        """Open the ledger of a run that did not finish.

        A last line without its newline is a torn write: it is cut, and a ``resume`` entry holds its length and hash.

        Raises
        ------
        UsageError
            If another process holds the ledger (``RUN_LOCKED``) or the run is sealed (``RUN_SEALED``).
        LedgerError
            If anything else is wrong with it; the message names the line.
        """
        try:
            stream = path.open("r+b")
        except FileNotFoundError:
            raise LedgerError("ledger is missing", where=str(path), hint="start the run anew") from None
        except OSError as error:
            raise DiskError(f"cannot open: {error.strerror}", where=str(path), hint="mend permissions") from error
        try:
            _lock(stream.fileno(), path)
            data = stream.read()
            chain = read_chain(data, path.name, LEDGER_KINDS)
            _refuse(path, chain, Story(chain.entries))
            ledger = cls(path, stream, clock, chain.entries, len(data) - len(chain.torn))
            if chain.torn:
                ledger._truncate()
                cut = {"bytes": len(chain.torn), "sha256": files.sha256(chain.torn)}
                ledger.resume({"reason": "torn line", "cut": cut})
        except BaseException:  # also an interrupt must not leave the lock with a ledger that nobody has
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
        """Release the lock; a closed ledger cannot be written."""
        self._stream.close()

    @property
    def entries(self) -> list[Entry]:
        """Every entry so far."""
        return list(self._entries)

    @property
    def head(self) -> str:
        """Hash of the last line."""
        return self._entries[-1].hash

    @property
    def genesis(self) -> Entry:
        """The first entry."""
        return self._entries[0]

    def append(self, kind: str, body: Mapping[str, Any]) -> str:
        """Write one entry and return its hash.

        Raises
        ------
        UsageError
            If the run is sealed: nothing follows a seal.
        LedgerError
            If the file is not what this process left there.
        DiskError
            If the line did not reach the disk; the ledger is then what it was before.
        """
        if kind not in LEDGER_KINDS - {"genesis"}:
            raise InternalError(f"no ledger entry is of kind {kind!r}", where=str(self.path), hint="report this")
        with self._mutex:
            if self._entries[-1].kind == "seal":
                raise _sealed(self.path)
            self._check_place()
            time = max(format_time(self._clock()), self._entries[-1].time)
            self._write(chain_line(self._entries, time, kind, body))
            return self._entries[-1].hash

    def _check_place(self) -> None:
        if self._stream.closed:
            raise InternalError("ledger is closed", where=str(self.path), hint="report this")
        held = os.fstat(self._stream.fileno())
        try:
            there = self.path.stat()
        except FileNotFoundError:
            raise LedgerError("ledger is gone", where=str(self.path), hint="start the run anew") from None
        if (there.st_dev, there.st_ino, there.st_size) != (held.st_dev, held.st_ino, self._size):
            raise LedgerError(
                "ledger was changed by something else", where=str(self.path), hint="run: assay verify", code=CHANGED
            )

    def _write(self, line: bytes) -> None:
        count, size = len(self._entries), self._size
        entry = parse_line(line[:-1], LEDGER_KINDS)
        try:
            files.append(self.path, line)
            self._entries.append(entry)
            self._size = size + len(line)
        except BaseException:  # also an interrupt
            # Half a line, or a whole one whose fsync failed, would end up in front of the next.
            del self._entries[count:]
            self._size = size
            self._truncate()
            raise

    def _truncate(self) -> None:
        files.truncate(self.path, self._size)

    # What the entries say; the bodies are public, so that a reader can rely on them.

    def intent(self, step: int, name: str, inputs: Mapping[str, str]) -> str:
        """Record that a step begins, with the SHA-256 of each file that it will read, by relative path."""
        return self.append("intent", {"step": step, "name": name, "inputs": dict(inputs)})

    def outcome(
        self,
        step: int,
        name: str,
        state: State,
        inputs: Mapping[str, str],
        outputs: Records,
        error: Mapping[str, Any] | None = None,
    ) -> str:
        """Record how a step ended: ``ok`` with the hashes of what it wrote, or ``failed`` with its error."""
        if (state == "ok") != (error is None):
            raise InternalError("an outcome has an error exactly if it failed", where=name, hint="report this")
        body = {
            "step": step,
            "name": name,
            "state": state,
            "inputs": dict(inputs),
            "outputs": {path: dict(record) for path, record in outputs.items()},
            "error": None if error is None else dict(error),
        }
        return self.append("outcome", body)

    def contract(
        self,
        step: int,
        layer: str,
        schema: str,
        rows: int,
        columns: int,
        checked: int,
        violations: Any,
        action: str,
        **details: Any,
    ) -> str:
        """Record one contract check: how much was looked at, what broke (a count, or names), what was done about it."""
        body: Body = {"step": step, "layer": layer, "schema": schema, "rows": rows, "columns": columns}
        body |= {"checked": checked, "violations": violations, "action": action}
        return self.append("contract", {**details, **body})

    def gate(self, step: int, gate: str, ok: bool, checked: int, violations: Any) -> str:
        """Record one verdict of a gate, with how much it checked."""
        body = {"step": step, "gate": gate, "ok": ok, "checked": checked, "violations": violations}
        return self.append("gate", body)

    def fallback(self, step: int, code: str, what: str, values: Mapping[str, Any] | None = None) -> str:
        """Record that something else was used than was asked for: a solver, a source."""
        return self.append("fallback", {"step": step, "code": code, "what": what, "values": dict(values or {})})

    def event(self, step: int, code: str, what: str, values: Mapping[str, Any] | None = None) -> str:
        """Record something that changed a number on the way."""
        return self.append("event", {"step": step, "code": code, "what": what, "values": dict(values or {})})

    def resume(self, body: Mapping[str, Any]) -> str:
        """Record that a run goes on after it was cut off; an intent without outcome is given up."""
        return self.append("resume", body)


def _lock(descriptor: int, path: Path) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            "run is being written by another process",
            where=str(path.parent),
            hint="wait until it ends; look at: assay status",
            code=LOCKED,
        ) from None


def _sealed(path: Path) -> UsageError:
    return UsageError("run is sealed", where=str(path), hint="start another run; this one is read-only", code=SEALED)


def _refuse(path: Path, chain: Chain, story: Story) -> None:
    """Raise for anything that forbids writing on."""
    problems = [*story.problems, *([chain.fault] if chain.fault else [])]
    if problems:
        raise broken(path, problems[0])
    if not chain.entries:
        raise LedgerError("ledger has no genesis", where=f"{path} line 1", hint="start the run anew")
    if story.seal is not None:
        if chain.torn:
            raise broken(
                path, Problem("AFTER_SEAL", f"{path.name} line {len(chain.entries) + 1}", "bytes after the seal")
            )
        raise _sealed(path)


def broken(path: Path, problem: Problem) -> LedgerError:
    """Return the error that names a wrong line of a chained file."""
    if problem.code == "NEWER_FORMAT":
        return LedgerError(
            f"{problem.where}: {problem.what}",
            where=str(path),
            hint="install the version that wrote it",
            code=problem.code,
        )
    return LedgerError(
        f"tampering: {problem.where}: {problem.what}", where=str(path), hint="run: assay verify", code=problem.code
    )


def _read(path: Path) -> bytes:
    try:
        return files.read(path, files.LARGEST_JSON)
    except IntegrityError as error:
        raise LedgerError(f"ledger cannot be read: {error.what}", where=str(path), hint="run: assay verify") from error


def read_ledger(path: Path) -> list[Entry]:
    """Read a ledger's entries; a torn last line is not one, and a run in progress may be read.

    Raises
    ------
    LedgerError
        If the file is missing or a line is wrong; the message names the line.
    """
    chain = read_chain(_read(path), path.name, LEDGER_KINDS)
    if chain.fault is not None:
        raise broken(path, chain.fault)
    return chain.entries


def check_chain(path: Path) -> int:
    """Check a ledger's lines, links and pairs of intent and outcome; return how many lines hold.

    Raises
    ------
    LedgerError
        If a line is wrong, out of order or torn, or the file is empty; the message names the line.
    """
    chain = read_chain(_read(path), path.name, LEDGER_KINDS)
    problems = [*Story(chain.entries).problems, *([chain.fault] if chain.fault else [])]
    if chain.torn:
        where = f"{path.name} line {len(chain.entries) + 1}"
        problems.append(Problem("TORN", where, "no newline ends it: a write was cut"))
    if not chain.entries:
        problems.append(Problem("GENESIS", f"{path.name} line 1", "there is no line"))
    if problems:
        raise broken(path, problems[0])
    return len(chain.entries)
