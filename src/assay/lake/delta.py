"""The few things that Assay asks of Delta Lake, with the traps that were met.

- A table is written through ``deltalake`` and read by Polars from the files that a version names; pyarrow is not
  needed.
- Every hundredth commit writes a checkpoint and, by default, deletes log entries older than thirty days, which ends
  time travel to the versions that runs have pinned: the tables here keep their log for ever.
- Some characters in a path make ``deltalake`` fail in ways that cannot be caught as errors; such paths are refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import ColumnProperties, DeltaTable, PostCommitHookProperties, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from assay.base.errors import DiskError, IntegrityError, UsageError
from assay.base.files import sync_folder
from assay.lake.storage import RESTORE, Folder, Storage, conflict

PARTITION = "interval"
_ROW_GROUP = 16_384  # rows; about 40 days of 400 symbols, so that a window of time skips most groups
_COMMIT_ROWS = 4 * _ROW_GROUP  # the writer holds a whole commit in memory, several times; a head names the last one
_CONFIGURATION: dict[str, str | None] = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
_KEEP_LOG = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
_PATIENCE = {"connect_timeout": "5s", "timeout": "30s", "max_retries": "3", "retry_timeout": "20s"}
_UNUSABLE = re.compile(r"[\[\]|^\\\x00-\x1f\x7f\ud800-\udfff]|%[0-9A-Fa-f]{2}")


def check_path(path: Path) -> Path:
    """Return the path, or refuse it by name if Delta Lake cannot hold a table there.

    >>> check_path(Path("/data/my lake")).name
    'my lake'
    >>> check_path(Path("/data/[old]"))
    Traceback (most recent call last):
    assay.base.errors.UsageError: the lake cannot be in a path with '[' [/data/[old]]; choose another home folder
    """
    found = _UNUSABLE.search(str(path))
    if found is not None:
        raise UsageError(
            f"the lake cannot be in a path with {found.group()!r}",
            where=str(path).encode(errors="backslashreplace").decode(),
            hint="choose another home folder",
        )
    return path


def current_version(storage: Storage) -> int | None:
    """Return the last version of the table in a storage, or None where there is none."""
    with disk_errors(storage):
        if not DeltaTable.is_deltatable(storage.uri, _options(storage)):
            return None
        return _open(storage).version()


@dataclass(frozen=True)
class Content:
    """What a version of a table holds."""

    files: list[str]
    """Paths of what is asked for, sorted."""
    names: list[str]
    """Paths below the table's folder of all that the version holds, sorted."""
    place: str
    """The table's folder."""
    schema: pl.Schema
    """Columns in the order in which they were first written."""
    interval: str | None
    """Partition that the files are of."""

    @property
    def opened(self) -> list[str]:
        """Names of the files that are asked for."""
        return [file.removeprefix(f"{self.place}/") for file in self.files]

    def uri(self, name: str) -> str:
        """Return the path of a file by its name."""
        return f"{self.place}/{name}"

    def scan(self) -> pl.LazyFrame:
        """Return a lazy frame over the files; the partition's value, which no file holds, becomes a column."""
        if not self.files:
            return pl.LazyFrame(schema=self.schema)
        frame = pl.scan_parquet(self.files, glob=False, hive_partitioning=False)
        return frame if self.interval is None else frame.with_columns(pl.lit(self.interval).alias(PARTITION))


def content(storage: Storage, version: int, interval: str | None = None) -> Content:
    """Return what a version holds, of one interval where the table is cut by it.

    Raises
    ------
    IntegrityError
        If the version cannot be read.
    """
    inside = [(PARTITION, "=", interval)] if interval is not None else None
    try:
        table = _open(storage, version)
        every = _paths(table.file_uris())
        asked = every if inside is None else _paths(table.file_uris(file_pruning_predicate=inside))
    except DeltaError as error:
        raise IntegrityError(
            f"version {version} cannot be read: {error}",
            where=storage.uri,
            hint=RESTORE,
        ) from error
    names = [path.removeprefix(f"{storage.uri}/") for path in every]
    return Content(asked, names, storage.uri, pl.Schema(table.schema()), interval)


def _paths(uris: Iterable[str]) -> list[str]:
    """Return paths, sorted; they come escaped as in a web address."""
    return sorted(map(unquote, uris))


def write(storage: Storage, rows: pl.DataFrame, *, replace: bool, upon: int | None, interval: str | None = None) -> int:
    """Append rows to the table in a storage, or replace what it holds; return the new version, durable.

    Parameters
    ----------
    storage : Storage
        Where the table lies; created if there is none.
    rows : DataFrame
        With the table's columns. Columns named ``interval`` cut the table into partitions.
    replace : bool
        Rows take the place of all rows (or of all of one interval), and their columns of the table's.
    upon : int or None
        Version that the rows are written upon; None where there is no table.
    interval : str, optional
        Partition to replace.

    Raises
    ------
    ConflictError
        If another writer's version came between.
    DiskError
        If the write did not succeed; the versions before are untouched.
    """
    for begin in range(0, max(rows.height, 1), _COMMIT_ROWS):
        part = rows.slice(begin, _COMMIT_ROWS)
        version = _commit(storage, part, replace=replace and begin == 0, interval=interval)
        # A lock keeps other writers from a folder; in a bucket the unbroken row of versions shows that there was none.
        if version != (0 if upon is None else upon + 1):
            raise conflict(storage.uri, f"version {version} was written where the next after {upon} was due")
        upon = version
    return version


def _commit(storage: Storage, rows: pl.DataFrame, *, replace: bool, interval: str | None) -> int:
    with disk_errors(storage):
        exists = DeltaTable.is_deltatable(storage.uri, _options(storage))
        table = _open(storage) if exists else None
        before = set(table.file_uris()) if table is not None else set()
        how: dict[str, Any] = {"mode": "append"}
        if replace and interval is None:
            how = {"mode": "overwrite", "schema_mode": "overwrite"}
        elif replace:  # the name is a keyword of the predicate's language
            how = {"mode": "overwrite", "predicate": f"\"{PARTITION}\" = '{interval}'"}
        if table is None:
            how |= {"configuration": _CONFIGURATION, "storage_options": _options(storage)}
        if storage.folder is not None:
            storage.folder.mkdir(parents=True, exist_ok=True)
        write_deltalake(
            storage.uri if table is None else table,
            rows,
            partition_by=[PARTITION] if PARTITION in rows.columns else None,
            target_file_size=1 << 30,
            writer_properties=_properties(rows.schema),
            post_commithook_properties=_KEEP_LOG,
            **how,
        )
        written = _open(storage)
        if storage.folder is not None:
            _make_durable(storage.folder, set(written.file_uris()) - before, written.version())
        return written.version()


@dataclass(frozen=True)
class DataFile:
    """A file in a table's folder that no version names yet."""

    name: str
    """Path below the table's folder."""
    rows: int
    size: int
    """Bytes."""
    interval: str | None
    """Partition that the file is of."""


def write_part(path: Path, stem: str, rows: pl.DataFrame, interval: str | None) -> DataFile:
    """Write rows into a file of a table without making it part of the table; durable.

    Many workers may do so at once. A file that no :func:`commit_parts` follows is never read.

    Parameters
    ----------
    path : Path
        Folder of the table; created if there is none.
    stem : str
        Name of the file, without its ending; a second writing takes the place of the first.
    rows : DataFrame
        Of one interval where the table is cut by it.
    interval : str or None
        That interval.
    """
    folder = path if interval is None else path / f"{PARTITION}={interval}"
    file = folder / f"{stem}.parquet"
    with disk_errors(Folder(path)):
        folder.mkdir(parents=True, exist_ok=True)
        rows.drop(PARTITION if interval is not None else []).write_parquet(
            file, compression="lz4", row_group_size=_ROW_GROUP, statistics=True
        )
        _sync([file], {folder})
        return DataFile(file.relative_to(path).as_posix(), rows.height, file.stat().st_size, interval)


def commit_parts(path: Path, parts: Sequence[DataFile], schema: Mapping[str, pl.DataType]) -> int:
    """Make files the whole content of a table, by one commit; return the new version, durable.

    Raises
    ------
    DiskError
        If the commit did not succeed; the versions before are untouched.
    """
    from arro3.core import Table
    from deltalake import Schema
    from deltalake.transaction import AddAction, create_table_with_add_actions

    actions = [
        AddAction(
            path=part.name,
            size=part.size,
            partition_values={} if part.interval is None else {PARTITION: part.interval},
            modification_time=0,
            data_change=True,
            stats=json.dumps({"numRecords": part.rows}),
        )
        for part in parts
    ]
    shape = Schema.from_arrow(Table.from_arrow(pl.DataFrame(schema=schema)).schema)
    partition_by = [PARTITION] if PARTITION in schema else None
    with disk_errors(Folder(path)):
        path.mkdir(parents=True, exist_ok=True)
        if not DeltaTable.is_deltatable(str(path)):
            create_table_with_add_actions(
                str(path), shape, actions, mode="error", partition_by=partition_by, configuration=_CONFIGURATION
            )
        else:
            DeltaTable(str(path)).create_write_transaction(
                list(actions),
                mode="overwrite",
                schema=shape,
                partition_by=partition_by,
                post_commithook_properties=_KEEP_LOG,
            )
        version = DeltaTable(str(path)).version()
        _make_durable(path, set(), version)
        return version


def rewind(storage: Storage, version: int) -> int:
    """Make a version current again, as a new version, if another one is; what an interrupted writer added is left out.

    Returns
    -------
    int
        The version that is current now.

    Raises
    ------
    IntegrityError
        If the table does not reach back to, or up to, that version.
    """
    last = current_version(storage)
    if last is None or last < version:
        raise IntegrityError(
            f"table has version {last}, the lake's head names {version}",
            where=storage.uri,
            hint=RESTORE,
        )
    if last == version:
        return version
    with disk_errors(storage):
        _open(storage).restore(version)
        current = _open(storage).version()
    if current != last + 1:
        raise conflict(storage.uri, f"version {current} was written where the next after {last} was due")
    return current


def _open(storage: Storage, version: int | None = None) -> DeltaTable:
    return DeltaTable(storage.uri, version=version, storage_options=_options(storage))


def _options(storage: Storage) -> dict[str, str] | None:
    """Return what Delta Lake does not take from the environment: how patient to be, and leave to speak without TLS."""
    if storage.folder is not None:
        return None
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return _PATIENCE | ({"AWS_ALLOW_HTTP": "true"} if plain else {})


def _properties(schema: pl.Schema) -> WriterProperties:
    """LZ4, no dictionaries but for text: dictionaries of floats double the time of a write and save nothing."""
    text = {
        name: ColumnProperties(dictionary_enabled=True)
        for name, dtype in schema.items()
        if dtype in (pl.String, pl.Int8) and name != PARTITION
    }
    return WriterProperties(
        compression="LZ4_RAW",
        max_row_group_size=_ROW_GROUP,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties=text or None,
    )


def _make_durable(path: Path, uris: set[str], version: int) -> None:
    """Bring a version's new files to the disk before anything names the version."""
    log = path / "_delta_log" / f"{version:020d}.json"
    written = [*(Path(unquote(uri)) for uri in uris), log]
    # Every hundredth version has a checkpoint, without which, or with half of which, no later one can be read.
    checkpoints = list(log.parent.glob(f"{version:020d}.checkpoint*"))
    written += [*checkpoints, log.parent / "_last_checkpoint"] if checkpoints else []
    _sync(written, {file.parent for file in written} | {path, path.parent})


def _sync(written: Iterable[Path], folders: Iterable[Path]) -> None:
    """Bring files, and then the folders that name them, to the disk."""
    for file in written:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for folder in folders:
        sync_folder(folder)


@contextmanager
def disk_errors(storage: Storage) -> Iterator[None]:
    """Turn what the disk or Delta Lake says into :class:`DiskError`."""
    try:
        yield
    except CommitFailedError as error:
        if storage.folder is not None:  # writers of a folder hold its lock
            raise _disk_error(storage, error) from error
        raise conflict(storage.uri, f"another writer committed first: {error}") from error
    except (DeltaError, OSError) as error:
        raise _disk_error(storage, error) from error


def _disk_error(storage: Storage, error: Exception) -> DiskError:
    return DiskError(
        f"the table cannot be written or read: {error}",
        where=storage.uri,
        hint="free space or mend permissions, then run again",
    )
