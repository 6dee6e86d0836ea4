"""The few things that Assay asks of Delta Lake, with the traps that were met.

- A table is written through ``deltalake`` and read by Polars from the files that a version names; pyarrow is not
  needed.
- Every hundredth commit writes a checkpoint and, by default, deletes log entries older than thirty days, which ends
  time travel to the versions that runs have pinned: the tables here keep their log for ever.
- Some characters in a path make ``deltalake`` fail in ways that cannot be caught as errors; such paths are refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import ColumnProperties, DeltaTable, PostCommitHookProperties, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from assay.errors import DiskError, IntegrityError, UsageError
from assay.files import sync_folder

PARTITION = "interval"
_ROW_GROUP = 16_384  # rows; about 40 days of 400 symbols, so that a window of time skips most groups
_COMMIT_ROWS = 4 * _ROW_GROUP  # the writer holds a whole commit in memory, several times; a head names the last one
_CONFIGURATION: dict[str, str | None] = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
_KEEP_LOG = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
_UNUSABLE = re.compile(r"[\[\]|^\\\x00-\x1f\x7f\ud800-\udfff]|%[0-9A-Fa-f]{2}")


def check_path(path: Path) -> Path:
    """Return the path, or refuse it by name if Delta Lake cannot hold a table there.

    >>> check_path(Path("/data/my lake")).name
    'my lake'
    >>> check_path(Path("/data/[old]"))
    Traceback (most recent call last):
    assay.errors.UsageError: the lake cannot be in a path with '[' [/data/[old]]; choose another home folder
    """
    found = _UNUSABLE.search(str(path))
    if found is not None:
        raise UsageError(
            f"the lake cannot be in a path with {found.group()!r}",
            where=str(path).encode(errors="backslashreplace").decode(),
            hint="choose another home folder",
        )
    return path


def current_version(path: Path) -> int | None:
    """Return the last version of the table at a path, or None where there is none."""
    if not DeltaTable.is_deltatable(str(path)):
        return None
    with disk_errors(path):
        return DeltaTable(str(path)).version()


@dataclass(frozen=True)
class Content:
    """What a version of a table holds.

    Attributes
    ----------
    files : list of str
        Paths, sorted.
    schema : Schema
        Columns in the order in which they were first written.
    interval : str or None
        Partition that the files are of.
    """

    files: list[str]
    schema: pl.Schema
    interval: str | None

    def scan(self) -> pl.LazyFrame:
        """Return a lazy frame over the files; the partition's value, which no file holds, becomes a column."""
        if not self.files:
            return pl.LazyFrame(schema=self.schema)
        frame = pl.scan_parquet(self.files, glob=False, hive_partitioning=False)
        return frame if self.interval is None else frame.with_columns(pl.lit(self.interval).alias(PARTITION))


def content(path: Path, version: int, interval: str | None = None) -> Content:
    """Return what a version holds, of one interval where the table is cut by it.

    Raises
    ------
    IntegrityError
        If the version cannot be read.
    """
    inside = [(PARTITION, "=", interval)] if interval is not None else None
    try:
        table = DeltaTable(str(path), version=version)
        uris = table.file_uris(file_pruning_predicate=inside)
    except DeltaError as error:
        raise IntegrityError(
            f"version {version} cannot be read: {error}",
            where=str(path),
            hint="restore the lake's folder from a copy, or move it away and run: assay ingest",
        ) from error
    # The names come escaped as in a web address.
    return Content(sorted(unquote(uri) for uri in uris), pl.Schema(table.schema()), interval)


def write(path: Path, rows: pl.DataFrame, *, replace: bool, interval: str | None = None) -> int:
    """Append rows to the table at a path, or replace what it holds; return the new version, durable.

    Parameters
    ----------
    path : Path
        Folder of the table; created if there is none.
    rows : DataFrame
        With the table's columns. Columns named ``interval`` cut the table into partitions.
    replace : bool
        Rows take the place of all rows (or of all of one interval), and their columns of the table's.
    interval : str, optional
        Partition to replace.

    Raises
    ------
    DiskError
        If the write did not succeed; the versions before are untouched.
    """
    for begin in range(0, max(rows.height, 1), _COMMIT_ROWS):
        part = rows.slice(begin, _COMMIT_ROWS)
        version = _commit(path, part, replace=replace and begin == 0, interval=interval)
    return version


def _commit(path: Path, rows: pl.DataFrame, *, replace: bool, interval: str | None) -> int:
    table = DeltaTable(str(path)) if DeltaTable.is_deltatable(str(path)) else None
    before = set(table.file_uris()) if table is not None else set()
    shared: dict[str, Any] = {
        "partition_by": [PARTITION] if PARTITION in rows.columns else None,
        "configuration": _CONFIGURATION if table is None else None,
        "target_file_size": 1 << 30,
        "writer_properties": _properties(rows.schema),
        "post_commithook_properties": _KEEP_LOG,
    }
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        target = str(path) if table is None else table
        if replace:
            write_deltalake(
                target,
                rows,
                mode="overwrite",
                schema_mode="overwrite" if interval is None else None,
                # The name is a keyword of the predicate's language.
                predicate=f"\"{PARTITION}\" = '{interval}'" if interval is not None else None,
                **shared,
            )
        else:
            write_deltalake(target, rows, mode="append", **shared)
        written = DeltaTable(str(path))
        _make_durable(path, set(written.file_uris()) - before, written.version())
        return written.version()


def rewind(path: Path, version: int) -> None:
    """Make a version current again, as a new version, if another one is; what an interrupted writer added is left out.

    Raises
    ------
    IntegrityError
        If the table does not reach back to, or up to, that version.
    """
    last = current_version(path)
    if last is None or last < version:
        raise IntegrityError(
            f"table has version {last}, the lake's head names {version}",
            where=str(path),
            hint="restore the lake's folder from a copy, or move it away and run: assay ingest",
        )
    if last > version:
        with disk_errors(path):
            DeltaTable(str(path)).restore(version)


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
    for file in written:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for folder in {file.parent for file in written} | {path, path.parent}:
        sync_folder(folder)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk or Delta Lake says into :class:`DiskError`."""
    try:
        yield
    except (DeltaError, OSError) as error:
        raise DiskError(
            f"the table cannot be written or read: {error}",
            where=str(path),
            hint="free space or mend permissions, then run again",
        ) from error
