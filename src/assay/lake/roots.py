"""Roots: what the tables of a lake hold, by hash, so that a state names content and not only numbers of versions.

The *root* of a table is the SHA-256 of its columns and of the partition, size and SHA-256 of each of its files; what
files are called is no part of it. A head holds one root for each table. Whoever reads a table hashes each file that it
opens; a process that hashed a file need not again while nothing about the file changed.

Beside the tables ``roots/`` has two helps. ``known.json`` holds hash and mark of every file as it was written, which
spares hashing files that a reader does not open. ``<sha256>.json`` holds a digest of each symbol's rows in the file of
that hash, so that a file that changed can be told by its symbols. No root is taken from either.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from assay.base import files
from assay.base.errors import DiskError, IntegrityError
from assay.lake.storage import RESTORE, Storage

if TYPE_CHECKING:
    from assay.lake.delta import Content

LAKE_CHANGED = "LAKE_CHANGED"
"""Bytes of a lake are not those that its head, or a run, names."""
SETTLED = 2_000_000_000
"""Nanoseconds after its last change from which on a file's mark stands for its bytes: clocks of files are coarse."""
NAMED = 5
"""Symbols that a message names."""
_KNOWN = "known.json"
_ROWS = 65_536
_NULL, _ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)

_hashed: dict[tuple[str, str, str], str] = {}
"""What this process hashed: storage, file and mark to SHA-256."""


@dataclass(frozen=True)
class Change:
    """A table, or a file of it, that is not what was written."""

    table: str
    what: str
    file: str = ""
    """Path below the table's folder; empty where it is not known which."""
    symbols: tuple[str, ...] = ()
    """Whose rows differ, where that can be told."""

    def __str__(self) -> str:
        more = ", ..." if len(self.symbols) > NAMED else ""
        whose = f" ({len(self.symbols)} symbols: {', '.join(self.symbols[:NAMED])}{more})" if self.symbols else ""
        return f"table {self.table}: {self.file + ': ' if self.file else ''}{self.what}{whose}"


class Roots:
    """Hashes of the files of a lake.

    Parameters
    ----------
    storage : Storage
        Where the lake's tables lie.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._new: list[tuple[Content, str, str]] = []

    @cached_property
    def known(self) -> dict[str, list[str]]:
        """``<table>/<file>`` to mark and SHA-256 as they were written; empty where that cannot be read."""
        found = _parsed(self.storage.note(_KNOWN))
        return {name: pair for name, pair in found.items() if isinstance(pair, list) and len(pair) == 2}

    def enter(self, table: str, held: Content) -> str:
        """Hash what a writer added to a table, and return the table's root; :meth:`save` follows the commit."""
        place, digests = self.storage.table(table), {}
        marks = place.marks(held.names)
        for name, mark in marks.items():
            key = f"{table}/{name}"
            if self.known.get(key, ["", ""])[0] != mark:
                self.known[key] = [mark, _digest(place, name, mark)]
                self._new.append((held, name, self.known[key][1]))
            digests[name] = self.known[key][1]
        return root(held, digests, marks)

    def save(self) -> None:
        """Write down what was hashed, and what symbols it holds; where the disk has no room, readers hash more."""
        with suppress(DiskError):
            for held, name, digest in self._new:
                self.storage.keep(f"{digest}.json", files.canonical_json(symbol_digests(held.uri(name))))
            if self._new:
                self.storage.keep(_KNOWN, files.canonical_json(self.known))
        self._new = []

    def strays(self) -> list[Change]:
        """Hash every file that was ever written, and tell which are there with other bytes, whatever names them now."""
        found = []
        for table in sorted({name.partition("/")[0] for name in self.known}):
            place, written = self.storage.table(table), self._written(table)
            for name, mark in place.marks(written).items():
                if _digest(place, name, mark) != written[name][1]:
                    found.append(self._other(table, name))
        return found

    def changed(self, table: str, held: Content, wanted: str, opened: Sequence[str] | None = None) -> list[Change]:
        """Compare a table with its root.

        Parameters
        ----------
        table : str
            Name in the lake.
        held : Content
            What the version holds.
        wanted : str
            The root.
        opened : sequence of str, optional
            Files that are hashed whatever their marks say; all where None.

        Returns
        -------
        list of Change
            Empty where the table has that root; else what differs, file by file where that is known.
        """
        place, digests, written = self.storage.table(table), {}, self._written(table)
        marks = place.marks(held.names)
        for name, mark in marks.items():
            then, digest = written.get(name, ["", ""])
            untouched = opened is not None and name not in opened and then == mark
            digests[name] = digest if untouched else _digest(place, name, mark)
        if len(marks) == len(held.names) and root(held, digests, marks) == wanted:
            return []
        told = [Change(table, "it is missing", name) for name in held.names if name not in marks]
        told += [
            self._other(table, name)
            for name, digest in digests.items()
            if name in written and written[name][1] != digest
        ]
        return told or [Change(table, "its files or columns are not those that were written")]

    def _written(self, table: str) -> dict[str, list[str]]:
        """Return what is known of a table's files, by name."""
        return {name.partition("/")[2]: pair for name, pair in self.known.items() if name.startswith(f"{table}/")}

    def _other(self, table: str, name: str) -> Change:
        what = "its bytes are not those that were written"
        return Change(table, what, name, self._symbols(table, name))

    def _symbols(self, table: str, name: str) -> tuple[str, ...]:
        """Return whose rows in a file are not those that were written; nobody where that cannot be told."""
        then = _parsed(self.storage.note(f"{self.known[f'{table}/{name}'][1]}.json"))
        try:
            now = symbol_digests(f"{self.storage.table(table).uri}/{name}")
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return ()
        return tuple(sorted(one for one in then.keys() | now.keys() if then and then.get(one) != now.get(one)))


def root(held: Content, digests: Mapping[str, str], marks: Mapping[str, str]) -> str:
    """Return the root of a table from hashes and marks of its files; a mark begins with the size."""
    told = sorted([name.rpartition("/")[0], int(marks[name].split(":")[0]), digests[name]] for name in held.names)
    return files.content_hash_json({"columns": list(held.schema), "files": told})


@contextmanager
def proved(storage: Storage, table: str, held: Content, wanted: str | None) -> Iterator[None]:
    """Make sure that a table is what its root says before it is read, and that its files stay the same meanwhile.

    Raises
    ------
    IntegrityError
        ``LAKE_CHANGED``, with table, file and symbols.
    """
    if wanted is None:
        yield
        return
    place = storage.table(table)
    before = place.marks(held.opened)
    refuse(storage, Roots(storage).changed(table, held, wanted, held.opened))
    yield
    after = place.marks(held.opened)
    moved = [name for name, mark in before.items() if after.get(name) != mark]
    refuse(storage, [Change(table, "it was changed while it was read", name) for name in moved])


def refuse(storage: Storage, changes: Sequence[Change]) -> None:
    """Refuse a lake that is not what was written."""
    if changes:
        more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
        raise IntegrityError(
            f"the lake was changed: {changes[0]}{more}", where=storage.uri, hint=RESTORE, code=LAKE_CHANGED
        )


def _digest(place: Storage, name: str, mark: str) -> str:
    """Hash a file, unless this process did and its mark had stood still since long before."""
    key = place.uri, name, mark
    if key not in _hashed:
        settled = time.time_ns() - place.changed(name) > SETTLED
        digest = place.digest(name)
        if not settled:
            return digest
        _hashed[key] = digest
    return _hashed[key]


def _parsed(data: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def symbol_digests(file: str) -> dict[str, str]:
    """Return a digest of the rows of each symbol (or base) in a Parquet file, in whatever order and encoding.

    It tells which symbol changed; that nothing changed is what SHA-256 of the bytes is for.
    """
    scan = pl.scan_parquet(file, glob=False, hive_partitioning=False)
    sums: dict[str, int] = {}
    begin = 0
    while (rows := scan.slice(begin, _ROWS).collect()).height:
        hashes = np.zeros(rows.height, dtype=np.uint64)
        for column in rows.iter_columns():
            hashes = _mixed(hashes ^ _bits(column))
        whose = rows["symbol" if "symbol" in rows.columns else "base"].fill_null("")
        order = whose.arg_sort().to_numpy()
        names = whose.gather(order).rle().struct.unnest()
        starts = np.concatenate([[0], names["len"].cum_sum().to_numpy()[:-1]]).astype(np.int64)
        added = np.add.reduceat(hashes[order], starts)
        for name, more in zip(names["value"], added.tolist(), strict=True):
            sums[name] = (sums.get(name, 0) + more) % 2**64
        begin += rows.height
    return {name: f"{total:016x}" for name, total in sorted(sums.items())}


def _bits(column: pl.Series) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return 64 bits for each value, of one NaN and one zero, mixed with the column's name."""
    salt = np.uint64(int(files.sha256(column.name.encode())[:16], 16))
    if column.dtype.is_float():
        values = column.cast(pl.Float64).fill_null(0.0).to_numpy().copy()
        values[np.isnan(values)] = np.nan
        bits = (values + 0.0).view(np.uint64)
    elif column.dtype == pl.String:
        names = column.fill_null("").unique()
        own = [int(files.sha256(text.encode())[:16], 16) for text in names]
        bits = np.array(own, dtype=np.uint64)[column.fill_null("").cast(pl.Enum(names)).to_physical().to_numpy()]
    else:
        bits = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)
    return np.where(column.is_null().to_numpy(), _NULL, bits) + salt


def _mixed(x: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Stir 64 bits so that each depends on all (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _ODD
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray[Any, np.dtype[np.uint64]] = x ^ (x >> np.uint64(31))
    return mixed
