"""Bytes on disk: one atomic writer, one appender, canonical JSON and content hashes.

Every file of a run passes through :func:`write`, so that a reader sees the old bytes or the new ones and never a part.
Whatever changes the disk (:func:`write`, :func:`append`, :func:`truncate`, :func:`remove`, :func:`make_folders`,
:func:`locked`) does it by the operations of one object, :data:`disk`: that is the place to inject faults into.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from json.encoder import encode_basestring
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import rfc8785

from assay.base.errors import DiskError, IntegrityError

if TYPE_CHECKING:
    import polars as pl

Json = Any
"""A JSON value: what :func:`json.loads` returns."""

LARGEST_JSON = 64 * 2**20
"""Bytes of a JSON document or text that a reader takes; the largest that is written has a tenth of it."""
DEEPEST_JSON = 100
"""Levels of a JSON document that a reader takes: what walks over one calls itself for each level."""
LARGEST_INTEGER = 2**63

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Disk:
    """The operations by which files and folders change, each as the system does it."""

    def make_folder(self, path: Path) -> None:
        """Create one folder; FileExistsError if its name is taken."""
        os.mkdir(path)

    def open(self, path: Path, flags: int) -> int:
        """Open a file, perhaps creating or emptying it, and return its descriptor."""
        return os.open(path, flags | os.O_CLOEXEC, 0o666)

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all bytes."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file to a size."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Bring a file's bytes to the disk."""
        os.fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Bring a folder's names to the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of whatever has it."""
        os.replace(old, new)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def lock(self, descriptor: int) -> None:
        """Wait for the exclusive advisory lock of an open file; closing the file releases it."""
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


disk = Disk()
"""Where this process writes."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of a write into a :class:`DiskError` that names the file."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"cannot write: {error.strerror or error}",
            where=str(path),
            hint="free space or mend permissions, then resume the run",
        ) from error


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = disk.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write(path: Path, data: bytes) -> str:
    """Write a file atomically and durably.

    Parameters
    ----------
    path : Path
        Final name; its folder is created.
    data : bytes
        The whole content.

    Returns
    -------
    str
        SHA-256 of the bytes.

    Raises
    ------
    DiskError
        If any byte did not reach the disk; the old file, if any, or the new one is there, whole.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        make_folders(path.parent)
        try:
            with _opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
                disk.write(descriptor, data)
                disk.sync(descriptor)
            disk.rename(temporary, path)
        except BaseException:  # whatever cut the writing, an interrupt too, no temporary file stays
            with suppress(FileNotFoundError):
                disk.remove(temporary)
            raise
        sync_folder(path.parent)
    return sha256(data)


def make_folders(path: Path) -> None:
    """Create a folder and those above it that are missing, durably.

    Raises
    ------
    DiskError
        If that fails, or a file has the name.
    """
    missing = []
    folder = path
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    with disk_errors(path):
        for folder in reversed(missing):
            try:
                disk.make_folder(folder)
            except FileExistsError:
                if not folder.is_dir():  # else another process was faster
                    raise
            sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames, creations and removals in a folder durable."""
    with disk_errors(folder):
        disk.sync_folder(folder)


def append(path: Path, data: bytes, lines: int = 1) -> None:
    """Append lines durably; the caller holds whatever lock orders the writers, and syncs the folder of a new file.

    Raises
    ------
    DiskError
        If that fails; a part of them, or all, may be there.
    """
    if not data.endswith(b"\n") or data.count(b"\n") != lines:
        told = "one line that ends with a newline" if lines == 1 else f"{lines} lines, each with its newline"
        raise ValueError(f"append takes exactly {told}")
    with disk_errors(path), _opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
        disk.write(descriptor, data)
        disk.sync(descriptor)


def truncate(path: Path, size: int) -> None:
    """Cut a file to a size, durably."""
    with disk_errors(path), _opened(path, os.O_WRONLY) as descriptor:
        disk.truncate(descriptor, size)
        disk.sync(descriptor)


def remove(path: Path) -> None:
    """Remove a file, durably: a name whose removal never reached the disk would come back."""
    with disk_errors(path):
        disk.remove(path)
        sync_folder(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive advisory lock on ``path`` (created if missing) between processes and threads.

    Who held it may have removed the file, with a folder that came to nothing: then it is made, and taken, again.
    """
    while True:
        with disk_errors(path):
            make_folders(path.parent)
            descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            with disk_errors(path):
                disk.lock(descriptor)
            if _is_there(path, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _is_there(path: Path, descriptor: int) -> bool:
    """Tell whether a name is still that of an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sha256(data: bytes) -> str:
    """Hex SHA-256 of bytes.

    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Json) -> bytes:
    """Serialise as RFC 8785 says, so that equal values are equal bytes.

    >>> canonical_json({"b": 1.0, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    try:
        return _canonical(value).encode()
    except UnicodeEncodeError:
        return rfc8785.dumps(value)  # which refuses half a character in its own words


def _canonical(value: Json) -> str:
    """Do as the library, several times faster for what documents are made of; it does the rest."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is bool or (kind is int and abs(value) < 2**53):
        return str(value).lower()
    if kind is float and 1e-4 <= abs(value) < 1e16:  # where Python, too, writes the shortest digits and no exponent
        return repr(value).removesuffix(".0")
    if kind is dict and all(type(key) is str and key.isascii() for key in value):  # others sort by UTF-16
        return f"{{{','.join([f'{encode_basestring(key)}:{_canonical(value[key])}' for key in sorted(value)])}}}"
    if kind is list or kind is tuple:
        return f"[{','.join([_canonical(one) for one in value])}]"
    return rfc8785.dumps(value).decode()


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file to be read; a pipe, a device, a link or a folder is refused without being opened."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            # Without following and waiting: what has the name may be another thing by now.
            with open(path, "rb", opener=lambda name, how: os.open(name, how | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
                mode = os.fstat(file.fileno()).st_mode
                if stat.S_ISREG(mode):
                    yield file
                    return
    except FileNotFoundError:
        raise IntegrityError("file is missing", where=str(path), hint="the run is incomplete; resume it") from None
    except OSError as error:
        what = f"file cannot be read: {error.strerror}"
        raise IntegrityError(what, where=str(path), hint="mend its permissions") from error
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
    raise IntegrityError(f"file cannot be read: it is {kind}", where=str(path), hint="run: assay verify")


def read(path: Path, largest: int | None = None) -> bytes:
    """Read a plain file.

    Parameters
    ----------
    path : Path
    largest : int, optional
        Bytes that it may have.

    Raises
    ------
    IntegrityError
        If it is missing, is a link or no regular file (which is not opened), is too large, or cannot be read.
    """
    with _regular(path) as file:
        data = file.read(-1 if largest is None else largest + 1)
    if largest is not None and len(data) > largest:
        what = f"file cannot be read: it is larger than {largest} bytes"
        raise IntegrityError(what, where=str(path), hint="run: assay verify")
    return data


def tail(path: Path, size: int) -> bytes:
    """Read the last bytes of a plain file; IntegrityError as of :func:`read`."""
    with _regular(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        return file.read(size)


def read_json(path: Path) -> Json:
    """Read a JSON file.

    Raises
    ------
    IntegrityError
        If :func:`read` or :func:`parse_json` refuses it.
    """
    return parse_json(read(path, LARGEST_JSON), path)


def parse_json(data: bytes, path: Path) -> Json:
    """Read JSON in which every reader sees the same: no key twice, and nothing too deep or too large to be handled.

    Raises
    ------
    IntegrityError
        If it is not such JSON.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_int=_integer)
        if _SURROGATE.search(data):  # half a character can be parsed, but not be shown
            json.dumps(value, ensure_ascii=False).encode()
        if _is_deep(value):
            raise ValueError(f"it has more than {DEEPEST_JSON} levels")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"file is not JSON: {error}", where=str(path), hint="run: assay verify") from error
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"duplicate key {next(name for name in names if names.count(name) > 1)!r}")
    return found


def _integer(text: str) -> int:
    number = int(text)
    if abs(number) > LARGEST_INTEGER:
        raise ValueError(f"integer of {len(text)} digits")
    return number


def _is_deep(value: Json) -> bool:
    level = [value]
    for _ in range(DEEPEST_JSON):
        if not level:
            return False
        within = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list)))
        level = [each for values in within for each in values if isinstance(each, (dict, list))]
    return bool(level)


def write_json(path: Path, value: Json) -> str:
    """Write a JSON document for people and machines: sorted keys, two spaces, a final newline; return its SHA-256."""
    return write(path, _indented(value, "\n").encode() + b"\n")


_PLAIN = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _indented(value: Json, line: str) -> str:
    """Do as ``json.dumps`` with ``indent=2`` and ``sort_keys``, which takes twice as long."""
    kind = type(value)
    if kind is float and isfinite(value):
        return repr(value)
    if kind is int:
        return str(value)
    within = line + "  "
    if isinstance(value, dict) and value:
        items = [f"{encode_basestring(key)}: {_indented(value[key], within)}" for key in sorted(value)]
        return f"{{{within}{f',{within}'.join(items)}{line}}}"
    if isinstance(value, (list, tuple)) and value:
        return f"[{within}{f',{within}'.join([_indented(one, within) for one in value])}{line}]"
    return _PLAIN(value)


def write_table(path: Path, table: pl.DataFrame) -> str:
    """Write a frame as Parquet through the atomic writer; return the SHA-256 of the bytes."""
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    return write(path, buffer.getvalue())


def content_hash_json(value: Json) -> str:
    """Content hash of a JSON value: SHA-256 of its canonical form."""
    return sha256(canonical_json(value))


def content_hash_table(table: pl.DataFrame, keys: Sequence[str]) -> str:
    """Content hash of a table, independent of row order, file format and compression.

    Rows are sorted by ``keys``; then schema, validity and little-endian values are hashed column by column, with one
    NaN and one zero.

    Examples
    --------
    >>> import polars as pl
    >>> a = pl.DataFrame({"k": [1, 2], "v": [0.0, float("nan")]})
    >>> b = pl.DataFrame({"k": [2, 1], "v": [-float("nan"), -0.0]})
    >>> content_hash_table(a, ["k"]) == content_hash_table(b, ["k"])
    True
    """
    import numpy as np
    import polars as pl

    ordered = table.sort(list(keys)) if keys else table
    digest = hashlib.sha256()
    digest.update(canonical_json({"rows": table.height, "columns": [[n, str(t)] for n, t in table.schema.items()]}))
    for column in ordered.iter_columns():
        valid = column.is_not_null()
        digest.update(np.packbits(valid.to_numpy()).tobytes())
        if column.dtype.is_float():
            values = column.cast(pl.Float64).fill_null(0.0).to_numpy().astype("<f8", copy=True)
            values[np.isnan(values)] = np.nan
            values += 0.0  # turns -0.0 into 0.0
            digest.update(values.tobytes())
        elif column.dtype.is_integer() or column.dtype.is_temporal() or column.dtype == pl.Boolean:
            digest.update(column.to_physical().cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes())
        elif column.dtype == pl.String:
            texts = column.fill_null("").to_list()
            framed = {text: len(text.encode()).to_bytes(8, "little") + text.encode() for text in set(texts)}
            digest.update(b"".join(map(framed.__getitem__, texts)))
        else:
            raise TypeError(f"content hash does not know the type of {column.name}: {column.dtype}")
    return digest.hexdigest()


def content_hash(path: Path, keys: Sequence[str] = ()) -> str:
    """Content hash of an artifact by its kind: canonical JSON, canonical table, else the bytes themselves."""
    if path.suffix == ".json":
        return content_hash_json(read_json(path))
    if path.suffix == ".parquet":
        import polars as pl

        return content_hash_table(pl.read_parquet(path), keys)
    return sha256_file(path)


def as_json(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a mapping with every non-finite float turned into None, so that it can be written as JSON."""
    return {key: _plain(value) for key, value in mapping.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return as_json(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):  # a NumPy scalar
        value = value.item()
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        return None
    return value
