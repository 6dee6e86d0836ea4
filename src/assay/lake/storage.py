"""Where a lake's tables lie: in a folder, or in a bucket that speaks S3.

A lake always has a folder in the home. Either the tables are in it, or ``location.json`` in it says in which bucket
they are. The two differ in how a state becomes visible. In a folder, writers hold a lock, and a state is a line that
is appended to ``heads.jsonl``. In a bucket nobody can hold a lock that outlives its holder safely; there a state is an
object ``heads/<number>.json`` that is created only if it does not exist, which one writer alone can do, and a writer
who was slower finds out and begins again.

Credentials and the address of the service come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
``AWS_REGION``, ``AWS_ENDPOINT_URL``), where Delta Lake and Polars look for them too; nothing of it is stored.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from assay.base import files
from assay.base.errors import ConflictError, DiskError, IntegrityError, UsageError

HEADS = "heads.jsonl"
ROOTS = "roots"
LOCK = ".lock"
SOURCE = "source.json"
POINTER = "location.json"
RESTORE = "restore the lake's folder from a copy, or move it away and run: assay ingest"
_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=-]+)*")
_RETRY = {"max_retries": 3, "retry_timeout": dt.timedelta(seconds=20)}
_CLIENT = {"connect_timeout": "5s", "timeout": "30s"}


@dataclass(frozen=True)
class Folder:
    """Tables in a folder of a file system that has locks, appends and atomic renames."""

    path: Path

    @property
    def uri(self) -> str:
        """The absolute path."""
        return str(self.path)

    @property
    def folder(self) -> Path:
        """The path."""
        return self.path

    def table(self, name: str) -> Folder:
        """Return the folder of a table."""
        return Folder(self.path / name)

    def count(self) -> int:
        """Return how many states there are."""
        return len(self.heads())

    def line(self, number: int) -> bytes:
        """Return the line of one state, counted from 1."""
        return self.heads()[number - 1]

    def heads(self) -> list[bytes]:
        """Return the lines of all states, oldest first; a torn last line is none."""
        data = self._bytes()
        return data[: data.rfind(b"\n") + 1].splitlines()

    def mend(self) -> None:
        """Cut a last line that has no newline: a torn write, and no state."""
        data = self._bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            files.truncate(self.path / HEADS, whole)

    def add_head(self, number: int, line: bytes) -> None:
        """Make a state visible; the caller holds the lake's lock, so that ``number`` is the next for certain."""
        assert number == len(self.heads()) + 1
        files.append(self.path / HEADS, line + b"\n")
        files.sync_folder(self.path)

    def marks(self, names: Iterable[str]) -> dict[str, str]:
        """Return size and what else changes when a file does, of each file that is there."""
        found = ((name, self.path / name) for name in names)
        return {name: _mark(path.stat()) for name, path in found if path.is_file()}

    def changed(self, name: str) -> int:
        """Return when a file was changed last, in nanoseconds since 1970."""
        return (self.path / name).stat().st_ctime_ns

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file."""
        return files.sha256_file(self.path / name)

    def note(self, name: str) -> bytes | None:
        """Return what was kept below ``roots/``, or None."""
        path = self.path / ROOTS / name
        return path.read_bytes() if path.is_file() else None

    def keep(self, name: str, data: bytes) -> None:
        """Keep a file below ``roots/``."""
        files.write(self.path / ROOTS / name, data)

    def _bytes(self) -> bytes:
        path = self.path / HEADS
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise DiskError(f"cannot read: {error.strerror}", where=str(path), hint="mend permissions") from error


@dataclass(frozen=True)
class Bucket:
    """Tables below a prefix of an S3-compatible bucket.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``, without credentials.
    """

    url: str

    @property
    def uri(self) -> str:
        """The address."""
        return self.url

    @property
    def folder(self) -> None:
        """None: writers of a bucket have no lock."""

    def table(self, name: str) -> Bucket:
        """Return the prefix of a table."""
        return Bucket(f"{self.url}/{name}")

    def count(self) -> int:
        """Return how many states there are."""
        with self._unreachable():
            names = sorted(item["path"] for batch in _obstore().list(self._store, "heads/") for item in batch)
        wanted = [_object(number) for number in range(1, len(names) + 1)]
        if names != wanted:
            odd = next(name for name in [*names, *wanted] if (name in names) != (name in wanted))
            raise IntegrityError(
                f"the states are not numbered from 1 without a gap: see {odd}",
                where=self.url,
                hint="restore the bucket's heads/ from a copy, or ingest to a new prefix",
            )
        return len(names)

    def line(self, number: int) -> bytes:
        """Return the object of one state, counted from 1."""
        with self._unreachable():
            return bytes(_obstore().get(self._store, _object(number)).bytes())

    def heads(self) -> list[bytes]:
        """Return the objects of all states, oldest first."""
        return [self.line(number) for number in range(1, self.count() + 1)]

    def mend(self) -> None:
        """Do nothing: an object is there or is not."""

    def add_head(self, number: int, line: bytes) -> None:
        """Make a state visible, durably.

        Raises
        ------
        ConflictError
            If another writer made a state of that number.
        DiskError
            If it could not be written.
        """
        obstore = _obstore()
        with self._unreachable():
            try:
                obstore.put(self._store, _object(number), line, mode="create", use_multipart=False)
            except obstore.exceptions.AlreadyExistsError:
                # An answer that was lost on the way is asked for again by the client, and then meets its own object.
                if self.line(number) != line:
                    raise conflict(self.url, f"state {number} was written by another writer") from None

    def marks(self, names: Iterable[str]) -> dict[str, str]:
        """Return size and ETag, which changes when an object does, of each object that is there."""
        with self._unreachable():
            there = [item for batch in _obstore().list(self._store) for item in batch]
        found = {item["path"]: f"{item['size']}:{item['e_tag']}" for item in there}
        return {name: found[name] for name in names if name in found}

    def changed(self, name: str) -> int:  # noqa: ARG002 - as of a folder
        """Return when an object was changed last: never, for its ETag is of its bytes."""
        return 0

    def digest(self, name: str) -> str:
        """Return the SHA-256 of an object."""
        return files.sha256(self._get(name) or b"")

    def note(self, name: str) -> bytes | None:
        """Return what was kept below ``roots/``, or None."""
        return self._get(f"{ROOTS}/{name}")

    def keep(self, name: str, data: bytes) -> None:
        """Keep an object below ``roots/``."""
        with self._unreachable():
            _obstore().put(self._store, f"{ROOTS}/{name}", data, use_multipart=False)

    def _get(self, name: str) -> bytes | None:
        with self._unreachable():
            try:
                return bytes(_obstore().get(self._store, name).bytes())
            except (_obstore().exceptions.NotFoundError, FileNotFoundError):
                return None

    @cached_property
    def _store(self) -> Any:
        local = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        client = {**_CLIENT, "allow_http": local or os.environ.get("AWS_ALLOW_HTTP") == "true"}
        return _obstore().store.from_url(self.url, client_options=client, retry_config=_RETRY)

    @contextmanager
    def _unreachable(self) -> Iterator[None]:
        obstore = _obstore()
        try:
            yield
        except obstore.exceptions.BaseError as error:
            raise DiskError(
                f"the bucket does not answer as asked: {str(error).splitlines()[0]}",
                where=self.url,
                hint="check AWS_ENDPOINT_URL, the credentials in the environment, and that the bucket exists",
                code="LAKE_UNREACHABLE",
            ) from error


Storage: TypeAlias = Folder | Bucket
"""Where tables lie; ``uri`` is as Delta Lake and Polars write it, ``folder`` is None for a bucket."""


def conflict(where: str, what: str) -> ConflictError:
    """Return the error of a writer who was slower than another."""
    return ConflictError(what, where=where, hint="run it again: what the other wrote is kept")


def storage_of(folder: Path) -> Storage:
    """Return where the tables of the lake of a folder lie.

    Raises
    ------
    IntegrityError
        If ``location.json`` is not what Assay writes.
    """
    pointer = folder / POINTER
    if not pointer.exists():
        return Folder(folder)
    told = files.read_json(pointer)
    if not isinstance(told, dict) or not isinstance(told.get("url"), str) or not _URL.fullmatch(told["url"]):
        raise IntegrityError("not the address of a bucket", where=str(pointer), hint="restore the file from a copy")
    return Bucket(told["url"])


def settle(folder: Path, at: str | None) -> Storage:
    """Return where a lake's tables lie or shall lie, from what its folder says and what the user asks for.

    Parameters
    ----------
    folder : Path
        The lake's folder in the home; its name is the last part of the address.
    at : str or None
        ``s3://bucket/prefix``; None for what the folder says, or the folder itself. A first write stores it.

    Raises
    ------
    UsageError
        If the address is not one, or the lake is elsewhere already.
    """
    held = storage_of(folder)
    if at is None:
        return held
    wanted = Bucket(f"{at.rstrip('/')}/{folder.name}")
    if not _URL.fullmatch(wanted.url):
        raise UsageError(f"not a place for a lake: {at!r}", where="--lake", hint="write s3://bucket/prefix")
    here = isinstance(held, Bucket) or (folder / HEADS).exists()
    if here and held != wanted:
        raise UsageError(
            f"this lake is in {held.uri} already", where=str(folder), hint="leave --lake out, or use another --home"
        )
    return wanted


def _mark(found: os.stat_result) -> str:
    parts = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    return ":".join(map(str, parts))


def _object(number: int) -> str:
    return f"heads/{number:020d}.json"


def _obstore() -> Any:
    try:
        module = import_module("obstore")
        import_module("obstore.store")
        import_module("obstore.exceptions")
    except ImportError:
        raise UsageError(
            "the lake is in a bucket, and the package for that is not installed",
            where="obstore",
            hint="install the extra: pip install 'assay-portfolio[s3]'",
        ) from None
    return module
