"""A disk that dies, tears, refuses and forgets: in place of :data:`assay.base.files.disk`, at one operation of many.

Kinds of faults, each at the k-th operation of a piece of work:

========  ==============================================================================================================
``kill``  the process dies before the operation; before the next one is after this one
``tear``  a write leaves a prefix of its bytes, of any length, and the process dies
``power`` the process dies before the operation, and what was not synced is lost, wholly or in part
``eio``   a sync fails once, as Linux reports a lost page, and the power fails when the work has ended
``full``  from here on the disk is full: a write leaves a prefix, nothing new can be created
========  ==============================================================================================================

What a power cut may lose: bytes written to a file after its last sync (any suffix of them, or they are there as
zeros), and names created, given, or removed in a folder after its last sync (any of the last ones; a folder's names
reach the disk in their order). A death is an exception that nothing catches, after which the disk refuses every
operation, also those of clean-up handlers: for files that is death.

Examples
--------
>>> import tempfile
>>> from pathlib import Path
>>> from assay.base import files
>>> path = Path(tempfile.mkdtemp()) / "a"
>>> counting = FaultyDisk()
>>> with writing_to(counting):
...     digest = files.write(path, b"old")
>>> [operation.name for operation in counting.operations]
['create', 'write', 'sync', 'rename', 'sync_folder']
>>> torn = FaultyDisk(Fault(2, "tear"))
>>> with writing_to(torn):
...     try:
...         digest = files.write(path, b"new")
...     except Died:
...         print(path.read_bytes())
b'old'
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple, NoReturn

from assay.base import files

Kind = Literal["kill", "tear", "power", "eio", "full"]
KINDS: tuple[Kind, ...] = ("kill", "tear", "power", "eio", "full")
FAILING: dict[Kind, frozenset[str]] = {
    "tear": frozenset({"write"}),
    "eio": frozenset({"sync", "sync_folder"}),
    "full": frozenset({"write", "make_folder", "create", "rename"}),
}
"""Operations that can fail in a way; the process may die, and the power fail, before any."""


class Died(BaseException):
    """The process is dead; whatever runs after it runs in a process that is not there any more."""


@dataclass(frozen=True)
class Operation:
    """One change of the disk; its name is the method's (``create`` for opening a new file)."""

    name: str
    path: str


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and when."""

    at: int
    """Operation, from 1."""
    kind: Kind
    seed: int = 0
    """Chooses how much of a torn write is left, and what a power cut loses."""

    def applies(self, operation: Operation) -> bool:
        """Whether an operation can fail in this way."""
        return self.kind not in FAILING or operation.name in FAILING[self.kind]


@contextmanager
def writing_to(disk: files.Disk) -> Iterator[None]:
    """Let :mod:`assay.base.files` write to another disk in the block."""
    before, files.disk = files.disk, disk
    try:
        yield
    finally:
        files.disk = before


class FaultyDisk(files.Disk):
    """A disk that counts operations and fails at one of them.

    Nothing is really synced: the model knows what would be lost, and a process that dies loses nothing of it.

    Parameters
    ----------
    fault : Fault, optional
        Without one, operations are only counted.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.operations: list[Operation] = []
        self.dead = False
        self._random = Random(fault.seed if fault is not None else 0)  # noqa: S311 - repeatable, and no secret
        self._paths: dict[int, Path] = {}
        self._names: dict[int, list[Path]] = {}
        """Inode to the names that its file had: bytes that were not synced are lost under any of them."""
        self._pending: list[_Change] = []

    # Each operation: count it, fail if it is its turn, note how a power cut would undo it, do it.

    def make_folder(self, path: Path) -> None:
        """Create one folder."""
        self._begin("make_folder", path)
        super().make_folder(path)
        self._note(path.parent, lambda: shutil.rmtree(path, ignore_errors=True))

    def open(self, path: Path, flags: int) -> int:
        """Open a file."""
        new = bool(flags & os.O_CREAT) and not path.exists()
        self._begin("create" if new else "open", path)
        descriptor = super().open(path, flags)
        self._paths[descriptor] = path
        inode = os.fstat(descriptor).st_ino
        if new:
            self._forget(inode)
        self._names.setdefault(inode, []).append(path)
        if new:
            self._note(path.parent, lambda: path.unlink(missing_ok=True))
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all bytes, or as many as the fault lets through."""
        path = self._paths[descriptor]
        status = os.fstat(descriptor)
        inode, size = status.st_ino, status.st_size
        self._note(inode, lambda: self._lose_bytes(inode, size))
        try:
            self._begin("write", path)
        except (Died, OSError):
            if self._tears():
                super().write(descriptor, data[: self._random.randrange(len(data))])
                self._end_of_tear()
            raise
        super().write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file."""
        path = self._paths[descriptor]
        self._begin("truncate", path)
        cut = path.read_bytes()[size:]
        super().truncate(descriptor, size)
        self._note(os.fstat(descriptor).st_ino, lambda: _restore(path, path.read_bytes()[:size] + cut))

    def sync(self, descriptor: int) -> None:
        """Make a file's bytes safe from a power cut."""
        self._begin("sync", self._paths[descriptor])
        self._settle(os.fstat(descriptor).st_ino)

    def sync_folder(self, path: Path) -> None:
        """Make a folder's names safe from a power cut."""
        self._begin("sync_folder", path)
        self._settle(path)

    def _settle(self, scope: Path | int) -> None:
        self._pending = [change for change in self._pending if change.scope != scope]

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file."""
        self._begin("rename", new)
        before = new.read_bytes() if new.exists() else None
        if before is not None:
            self._forget(new.stat().st_ino)
        self._names.setdefault(old.stat().st_ino, [old]).append(new)
        super().rename(old, new)
        self._note(new.parent, lambda: _rename_back(old, new, before))

    def remove(self, path: Path) -> None:
        """Remove a file."""
        self._begin("remove", path)
        data = path.read_bytes()
        self._forget(path.stat().st_ino)
        super().remove(path)
        self._note(path.parent, lambda: _restore(path, data))

    def lock(self, descriptor: int) -> None:
        """Lock a file; locks are not on the disk, and end with the process."""
        self._begin("lock", self._paths[descriptor])
        super().lock(descriptor)

    # Faults.

    def _begin(self, name: str, path: Path) -> None:
        if self.dead:
            raise Died
        operation = Operation(name, str(path))
        self.operations.append(operation)
        fault, count = self.fault, len(self.operations)
        if fault is None or count < fault.at:
            return
        if fault.kind == "full" and fault.applies(operation):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if count > fault.at or not fault.applies(operation):
            return
        if fault.kind == "eio":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        if fault.kind == "tear":
            raise Died  # not yet: a part of the write comes first
        if fault.kind == "power":
            self.cut_power()
        self.die()

    def _tears(self) -> bool:
        """Whether the operation that has just failed leaves a part of its bytes."""
        return self.fault is not None and not self.dead and self.fault.kind in ("tear", "full")

    def _end_of_tear(self) -> None:
        if self.fault is not None and self.fault.kind == "tear":
            self.die()

    def die(self) -> NoReturn:
        """Be dead: for this process, or as a test would have it."""
        self.dead = True
        raise Died

    # What a power cut loses.

    def cut_power(self) -> None:
        """Undo what was not synced, as far as the seed says: of each file and folder, some of the last changes."""
        scopes: dict[Path | int, list[int]] = {}
        for number, change in enumerate(self._pending):
            scopes.setdefault(change.scope, []).append(number)
        lost: set[int] = set()
        for numbers in scopes.values():
            lost.update(numbers[self._random.randint(0, len(numbers)) :])
        for number in sorted(lost, reverse=True):
            self._pending[number].undo()
        self._pending = []

    def _note(self, scope: Path | int, undo: Callable[[], None]) -> None:
        self._pending.append(_Change(scope, undo))

    def _forget(self, inode: int) -> None:
        """Let go of a file that is no more: its inode may become another's."""
        self._settle(inode)
        self._names.pop(inode, None)

    def _lose_bytes(self, inode: int, size: int) -> None:
        """Leave a prefix of what was written beyond a size, and perhaps zeros for a part of the rest."""
        there = [path for path in self._names.get(inode, []) if path.exists() and path.stat().st_ino == inode]
        if not there:
            return
        data = there[0].read_bytes()
        kept = self._random.randint(size, max(size, len(data)))
        zeros = self._random.choice([0, self._random.randint(0, max(0, len(data) - kept))])
        _restore(there[0], data[:kept] + bytes(zeros))


class _Change(NamedTuple):
    """A change that a power cut may lose: the folder or inode whose sync makes it safe, and how it is undone."""

    scope: Path | int
    undo: Callable[[], None]


def _restore(path: Path, data: bytes) -> None:
    if path.parent.is_dir():
        path.write_bytes(data)


def _rename_back(old: Path, new: Path, before: bytes | None) -> None:
    if new.exists():
        os.replace(new, old)
    if before is not None:
        _restore(new, before)
