"""The lake of one source: Delta tables whose versions become visible together.

``heads.jsonl`` holds one line for each state of the lake: the version of every table, and what is in it. A writer,
under the lake's lock, first writes new versions of tables and then appends one line: that append is the commit. A
reader pins a line and sees these versions for ever, whatever is written later. A writer that dies leaves versions
that no line names, or a line without its newline; readers see neither, and the next writer starts from what the last
whole line names.
"""

from __future__ import annotations

import datetime as dt
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from assay.base import files
from assay.base.domain import DEFAULT_EDITION
from assay.base.errors import ConflictError, IntegrityError
from assay.lake import delta
from assay.lake.head import Accepted, Head, parse_head, read_heads
from assay.lake.roots import LAKE_CHANGED, Roots, refuse
from assay.lake.snapshot import Snapshot, pin
from assay.lake.storage import HEADS, LOCK, POINTER, SOURCE, Storage, conflict, settle
from assay.market.schema import BARS, BORROW, CANDIDATES, INSTRUMENTS, KEYS, ORDER, QUARANTINE, ratings_table
from assay.runs.verify import FORMAT, ZERO
from assay.sources import lake_name, open_source
from assay.sources.base import Source

ATTEMPTS = 25
"""How often a writer begins again because another was faster."""

PATIENCE = 5.0
"""Seconds that a slower writer waits at most before it begins again."""

SPOOL = "spool"
"""Folder of a lake for what a live source fetched and is not in it yet."""

MANY_FILES = 64
"""An append to a table of so many files writes them together into one; a daily sync does so every two months."""

_SCHEMAS = {
    "bars": BARS,
    "instruments": INSTRUMENTS,
    "borrow": BORROW,
    "candidates": CANDIDATES,
    "quarantine": QUARANTINE,
}


T = TypeVar("T")


@dataclass(frozen=True)
class TableChange:
    """New rows of one table, with all of its columns."""

    table: str
    rows: pl.DataFrame
    replace: bool = False
    """The rows take the place of what the table holds, else they are added to it."""
    interval: str | None = None
    """Interval to replace; all where None."""


class Lake:
    """The lake of one source.

    Parameters
    ----------
    home : Path or str
        Folder that holds ``lake/``; created by the first write.
    source : Source or str
        Names the folder; text is read as :func:`assay.sources.open_source` does. Nothing is read from it
        here.
    at : str, optional
        Where the tables shall lie if not in the folder: ``s3://bucket/prefix``. Asked for once; the folder remembers.

    Attributes
    ----------
    folder : Path
        ``<home>/lake/<kind>-<sha8>``, absolute.
    storage : Storage
        Where the tables lie: the folder, or a bucket.

    Examples
    --------
    >>> Lake("/srv/assay-home", "sample").folder.name
    'sample-c08875fa'
    """

    def __init__(self, home: Path | str, source: Source | str, at: str | None = None) -> None:
        self.source: Source = open_source(source) if isinstance(source, str) else source
        self.folder = delta.check_path(Path(home).expanduser().resolve() / "lake" / lake_name(self.source))
        self.storage: Storage = settle(self.folder, at)
        self._mutex = threading.RLock()
        self._held = False

    def __repr__(self) -> str:
        return f"Lake({str(self.folder)!r})"

    def heads(self) -> list[Head]:
        """Return every state; see ``read_heads``."""
        return read_heads(self.folder, self.storage)

    def latest_head(self) -> Head | None:
        """Return the last state, or None where nothing was ingested."""
        count = self.storage.count()
        return parse_head(self.storage.line(count), count, self.storage) if count else None

    def latest(self) -> Snapshot:
        """Pin the last state.

        Raises
        ------
        DataError
            If nothing was ingested.
        """
        return self.pin(None)

    def pin(self, head: int | None) -> Snapshot:
        """Return a state by its number; see :func:`pin`."""
        return pin(self.folder, head, self.storage)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lake's lock, between processes and threads; one object may take it again inside."""
        with self._mutex:
            if self._held:
                yield
                return
            with files.locked(self.folder / LOCK):
                self._held = True
                try:
                    yield
                finally:
                    self._held = False

    def commit(self, changes: Sequence[TableChange], *, upon: int | None = None, **facts: Any) -> Head:
        """Write changes to tables and make them visible together as a new state.

        Parameters
        ----------
        changes : sequence of TableChange
            At most one for a table.
        upon : int, optional
            Number of the state that the changes were computed from, 0 for none; they are for no other.
        **facts
            Fields of :class:`Head` that differ from the state before; all of them for the first.

        Returns
        -------
        Head
            The new state.

        Raises
        ------
        ConflictError
            If another writer was faster, which a lock prevents in a folder, and nothing does in a bucket.
        DiskError
            If a write did not succeed; the lake is then what it was.
        IntegrityError
            If the storage does not hold what the last state names (``LAKE_CHANGED`` where bytes differ).
        """
        with self.locked():
            self.storage.mend()
            base = self.latest_head()
            last = base.head if base is not None else 0
            if upon is not None and upon != last:
                raise conflict(self.storage.uri, f"the lake is at head {last}, the changes are for head {upon}")
            self.introduce()
            fields: dict[str, Any] = base.model_dump() if base else {"tables": {}, "rows": {}, "head": 0}
            fields |= facts | {"format": FORMAT}
            if any(change.table == "bars" for change in changes) or (base and base.revision != fields["revision"]):
                _forget_ratings(fields)
            for change in changes:
                name = (
                    ratings_table(fields.get("edition", DEFAULT_EDITION)) if change.table == "ratings" else change.table
                )
                fields["tables"][name], fields["rows"][name] = self._apply(change, base, name)
            fields["head"] += 1
            hashes = Roots(self.storage)
            fields["roots"] = self._roots(hashes, fields["tables"], base)
            fields["prev"] = files.sha256(self.storage.line(last)) if last else ZERO
            head = Head.model_validate(fields).sealed()
            self.storage.add_head(head.head, head.line())
            hashes.save()  # helps only: whoever is cut off before this has lost none of the lake
            return head

    def _roots(self, hashes: Roots, tables: Mapping[str, int], base: Head | None) -> dict[str, str]:
        """Return the root of every table: of those that the state before has too, its own."""
        held = {} if base is None else {name: made for name, made in base.roots.items() if _is_kept(name, tables, base)}
        new = {name: version for name, version in tables.items() if name not in held}
        for name, version in new.items():
            held[name] = hashes.enter(name, delta.content(self.storage.table(name), version))
        return held

    def record(self, table: str, rows: pl.DataFrame) -> Head:
        """Add rows to one table, such as a scan to ``candidates``, as a new state."""
        return persistently(lambda: self.commit([TableChange(table, rows)]))

    def abandon(self) -> None:
        """Remove the folder of a lake into which nothing came; what was fetched and is not in it yet stays."""
        if self.storage.folder is not None and not self.storage.heads() and not _torn(self.folder):
            with self.locked():
                remove_empty(self.folder)

    def accept(self, used: Sequence[Mapping[str, str]], as_of: dt.datetime) -> Head:
        """Note in a new state what was accepted of the source."""

        def work() -> Head:
            with self.locked():
                return self.commit([], accepted=accepted(self.latest_head(), used, as_of))

        return persistently(work)

    def introduce(self) -> None:
        """Note in the folder whose lake it is, and where its tables are if they are elsewhere."""
        about = {name: getattr(self.source, name) for name in ("identity", "kind", "name")}
        notes = (
            {SOURCE: about} if self.storage.folder is not None else {SOURCE: about, POINTER: {"url": self.storage.uri}}
        )
        for name, note in notes.items():
            if not (self.folder / name).exists():
                files.write_json(self.folder / name, {"format": 1, **note})

    def _apply(self, change: TableChange, base: Head | None, name: str) -> tuple[int, int]:
        """Write one change upon what the last state names; return the table's new version and height."""
        table = self.storage.table(name)
        rows = _in_order(change)
        version = base.tables.get(name) if base else None
        if base is None or version is None:  # whatever is there was never visible
            return delta.write(table, rows, replace=True, upon=delta.current_version(table)), rows.height
        before = delta.content(table, version)
        if name in base.roots and not (change.replace and change.interval is None):
            refuse(self.storage, Roots(self.storage).changed(name, before, base.roots[name], ()))
        upon = delta.rewind(table, version)
        if change.replace:
            kept = self._kept(change, base, name)
            return delta.write(table, rows, replace=True, upon=upon, interval=change.interval), rows.height + kept
        height = base.rows[name] + rows.height
        if len(before.names) < MANY_FILES:
            return delta.write(table, rows, replace=False, upon=upon), height
        return self._compact(table, self._merged(change, base, rows), name, upon), height

    def _compact(self, table: Storage, rows: pl.DataFrame, name: str, upon: int) -> int:
        """Write a whole table into few files, and make sure once that they hold the same."""
        version = delta.write(table, rows, replace=True, upon=upon)
        keys = KEYS["ratings" if name.startswith("ratings") else name]
        written = [delta.content(table, version, one) for one in _intervals(rows)]
        again = pl.concat([part.scan().select(rows.columns).collect() for part in written])
        if files.content_hash_table(again, keys) != files.content_hash_table(rows, keys):
            what = f"table {name} is another one after its files were written together; its last state stands"
            raise IntegrityError(what, where=table.uri, hint="free memory and disk, then run again", code=LAKE_CHANGED)
        return version

    def _kept(self, change: TableChange, base: Head, name: str) -> int:
        """Count rows of other intervals, which a replacement of one interval leaves."""
        if change.interval is None:
            return 0
        table, version = self.storage.table(name), base.tables[name]
        gone = delta.content(table, version, change.interval).scan().select(pl.len()).collect().item()
        return base.rows[name] - int(gone)

    def _merged(self, change: TableChange, base: Head, rows: pl.DataFrame) -> pl.DataFrame:
        old = Snapshot(self.folder, base, self.storage).table(change.table)
        return rows if old is None else pl.concat([old.select(rows.columns), rows]).sort(ORDER[change.table])


def _torn(folder: Path) -> bool:
    path = folder / HEADS
    return path.is_file() and path.stat().st_size > 0


def remove_empty(folder: Path) -> None:
    """Remove all of a lake's folder that no state names, where it has none; the caller holds its lock.

    The spool stays, and then the folder does: what was fetched is wanted by the next ingestion.
    """
    spool = folder / SPOOL
    kept = spool.is_dir() and any(spool.iterdir())
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not (kept and path == spool):
                shutil.rmtree(path)
            elif path.is_file() and not (kept and path.name in (SOURCE, POINTER, LOCK)):
                path.unlink()
        if not kept:
            folder.rmdir()


def _is_kept(name: str, tables: Mapping[str, int], base: Head) -> bool:
    return name in tables and tables[name] == base.tables[name]


def _intervals(rows: pl.DataFrame) -> list[str | None]:
    """Return the partitions of a table; one, without a name, where it is not cut by interval."""
    return rows[delta.PARTITION].unique().to_list() if delta.PARTITION in rows.columns else [None]


def accepted(head: Head | None, used: Sequence[Mapping[str, str]], as_of: dt.datetime) -> list[dict[str, Any]]:
    """Return what the next state knows to be accepted: what the last one did, and what this call used."""
    known = [] if head is None else head.accepted
    return [one.model_dump() for one in (*known, *(Accepted(**note, as_of=as_of) for note in used))]


def _forget_ratings(fields: dict[str, Any]) -> None:
    """Leave out the ratings of other editions where bars change: whoever asks for them has them made anew."""
    own = ratings_table(fields.get("edition", DEFAULT_EDITION))
    for name in [name for name in fields["tables"] if name.startswith("ratings") and name != own]:
        del fields["tables"][name], fields["rows"][name]


def persistently(work: Callable[[], T]) -> T:
    """Do work, and again while another writer is faster; only writers of a bucket meet, and seldom.

    Raises
    ------
    ConflictError
        If another was faster every time.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except ConflictError:
            # Writers who begin again at the same moment meet again: each waits a random while, and longer each time.
            time.sleep(random.uniform(0.0, min(0.1 * 2.0**attempt, PATIENCE)))  # noqa: S311 - no secret
    return work()


def _in_order(change: TableChange) -> pl.DataFrame:
    rows, schema = change.rows, _SCHEMAS.get(change.table)
    if schema is not None:
        rows = rows.select(list(schema)).cast(pl.Schema(schema))
    order = ORDER[change.table]
    return rows if _is_ordered(rows, order) else rows.sort(order)


def _is_ordered(rows: pl.DataFrame, order: Sequence[str]) -> bool:
    """Tell whether rows are in order already, as bars mostly are: looking costs a tenth of sorting."""
    follows = pl.lit(True)
    for column in map(pl.col, reversed(order)):
        follows = (column > column.shift()) | ((column == column.shift()) & follows)
    return bool(rows.select(follows.slice(1).all()).item())
