"""Large files by shards of symbols: read, judge, compare and rate one shard, write it, forget it.

What streams is one Parquet file in which the rows of each symbol lie together, as in a file sorted by symbol, in row
groups. A shard holds whole symbols, so that the memory it takes is that of :data:`SHARD_ROWS` rows or of the largest
symbol. Its rows go straight into files of the lake's tables, which one commit makes part of them. The tables are the
same, row by row, as those that :mod:`assay.lake.ingest` fills from a whole reading; where a shard shows something
that only a whole reading can judge, the whole is read.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from assay.base.errors import SourceError
from assay.lake import delta
from assay.lake.compare import compare
from assay.lake.snapshot import Snapshot, pin
from assay.lake.storage import Folder
from assay.market.bars import REASONS, check, look_alikes
from assay.market.schema import BARS, ORDER, QUARANTINE
from assay.ratings import RATING_SCHEMA, listings, rate
from assay.runs.documents import Finding

if TYPE_CHECKING:
    from assay.executors import Executor, Watch

WHOLE_ROWS = 1_000_000
"""Files of at most so many rows are read whole: that takes 1.5 GB, and ratings go on from where they stopped."""

SHARD_ROWS = 750_000
"""Rows of a shard, unless a symbol has more: about 1 GB while it is judged, rated and written."""

_NAMES = 2_000_000
"""Rows whose symbols are looked at together."""

_CONSTANT = frozenset({"EXTRA_COLUMNS", "NO_QUOTE_VOLUME"})
"""Findings about the file and not about rows: told once."""

Run = tuple[str | None, int, int]
"""Symbol, first row, rows."""


@dataclass(frozen=True)
class Shard:
    """Rows of a file, as it is passed to a worker.

    Attributes
    ----------
    path, where, kind : Path, str, str
        The file, and what messages and the column ``source`` call it.
    begin, rows : int
        Which rows.
    now : datetime
        Instant of reading.
    lake, base : Path, int or None
        The lake's folder, and the head that the bars are compared with.
    name : str
        Of the files that the shard becomes.
    """

    path: Path
    where: str
    kind: str
    begin: int
    rows: int
    now: dt.datetime
    lake: Path
    base: int | None
    name: str


@dataclass(frozen=True)
class Sharded:
    """What became of a shard: files of each table, and counts."""

    files: dict[str, delta.DataFile]
    interval: str
    symbols: int
    added: int
    repaired: int
    findings: tuple[Finding, ...]
    first_open: dt.datetime
    last_open: dt.datetime


@dataclass(frozen=True)
class Gathered:
    """All shards of a file together.

    Attributes
    ----------
    parts : dict of str to list of DataFile
        Files of each table, not yet part of it.
    """

    parts: dict[str, list[delta.DataFile]]
    interval: str
    symbols: int
    added: int
    repaired: int
    removed: int
    findings: tuple[Finding, ...]
    first_open: dt.datetime
    last_open: dt.datetime

    def rows(self, table: str) -> int:
        """Return how many rows a table gets."""
        return sum(part.rows for part in self.parts[table])


def state_of(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written again."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def plan(path: Path) -> list[tuple[int, int]] | None:
    """Cut a file into shards of whole symbols, each (first row, rows).

    Returns
    -------
    list or None
        None where the file is small, or the rows of a symbol do not lie together, or two symbols are one name in
        Unicode's normal form, or it is no Parquet file: then it is read whole, which also tells what is wrong with it.
    """
    try:
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False).select(pl.len()).collect().item()
        if rows <= WHOLE_ROWS:
            return None
        runs = list(_runs(path, rows))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None
    names = {name for name, _, _ in runs}
    if len(names) < len(runs) or look_alikes([name for name in names if name is not None]):
        return None
    return _shards(runs)


def _runs(path: Path, rows: int) -> Iterator[Run]:
    """Yield each stretch of rows of one symbol."""
    names = pl.scan_parquet(path, glob=False, hive_partitioning=False).select(pl.col("symbol").cast(pl.String))
    last: Run | None = None
    for begin in range(0, rows, _NAMES):
        found = names.slice(begin, _NAMES).collect()["symbol"].rle().struct.unnest()
        at = begin
        for length, name in found.select("len", "value").iter_rows():
            if last is not None and last[0] == name:
                last = (name, last[1], last[2] + length)
            else:
                if last is not None:
                    yield last
                last = (name, at, length)
            at += length
    if last is not None:
        yield last


def _shards(runs: Sequence[Run]) -> list[tuple[int, int]]:
    """Join neighbours up to the size of a shard.

    >>> _shards([("a", 0, 500_000), ("b", 500_000, 200_000), ("c", 700_000, 900_000)])
    [(0, 700000), (700000, 900000)]
    """
    shards: list[tuple[int, int]] = []
    for _, begin, rows in runs:
        if shards and shards[-1][1] + rows <= SHARD_ROWS:
            shards[-1] = (shards[-1][0], shards[-1][1] + rows)
        else:
            shards.append((begin, rows))
    return shards


def load(first: Shard, cuts: Sequence[tuple[int, int]], executor: Executor, watch: Watch | None = None) -> Gathered:
    """Bring a file into files of the lake's tables, shard by shard, each wherever the executor has room.

    Parameters
    ----------
    first : Shard
        Says all but which rows.
    cuts : sequence of (int, int)
        From :func:`plan`.

    Raises
    ------
    SourceError
        If a shard cannot be judged by itself; a whole reading may.
    """
    nonce = uuid.uuid4().hex[:12]
    shards = [
        replace(first, begin=begin, rows=rows, name=f"shard-{nonce}-{number:05d}")
        for number, (begin, rows) in enumerate(cuts)
    ]
    done = executor.map(bring, shards, watch=watch)
    intervals = sorted({shard.interval for shard in done})
    if len(intervals) > 1:
        raise SourceError(
            f"shards of several intervals: {', '.join(intervals)}", where=first.where, hint="write one file for each"
        )
    added, kept = sum(shard.added for shard in done), sum(shard.files["bars"].rows for shard in done)
    base = _base(first, intervals[0])
    held = 0 if base is None else base.record.rows["bars"]
    return Gathered(
        parts={name: [s.files[name] for s in done if name in s.files] for name in ("bars", "ratings", "quarantine")},
        interval=intervals[0],
        symbols=sum(shard.symbols for shard in done),
        added=added,
        repaired=sum(shard.repaired for shard in done),
        removed=held - (kept - added),
        findings=_joined([finding for shard in done for finding in shard.findings]),
        first_open=min(shard.first_open for shard in done),
        last_open=max(shard.last_open for shard in done),
    )


def bring(shard: Shard) -> Sharded:
    """Read, judge, compare, rate and write one shard, in a worker."""
    scan = pl.scan_parquet(shard.path, glob=False, hive_partitioning=False)
    raw = scan.slice(shard.begin, shard.rows).collect()
    checked = check(raw, where=shard.where, source=shard.kind, now=shard.now)
    del raw
    bars, interval = checked.bars, checked.interval
    rejected = checked.rejected.with_columns(pl.col("row") + shard.begin)
    added, repaired = _differences(_base(shard, interval), bars)
    bars = bars.with_columns(listings(bars)).select(list(BARS))
    # Bars are in order of time.
    symbols, first_open, last_open = bars["symbol"].n_unique(), bars["open_time"][0], bars["open_time"][-1]
    files = {"bars": delta.write_part(shard.lake / "bars", shard.name, bars, interval)}
    rated = rate(bars, interval)
    del bars
    files["ratings"] = delta.write_part(shard.lake / "ratings", shard.name, rated.sort(ORDER["ratings"]), interval)
    if rejected.height:
        files["quarantine"] = delta.write_part(shard.lake / "quarantine", shard.name, rejected, None)
    return Sharded(files, interval, symbols, added, repaired, checked.findings, first_open, last_open)


def _base(shard: Shard, interval: str) -> Snapshot | None:
    """Return the state that bars of an interval are compared with."""
    base = None if shard.base is None else pin(shard.lake, shard.base)
    return base if base is not None and base.interval == interval else None


def _differences(base: Snapshot | None, bars: pl.DataFrame) -> tuple[int, int]:
    """Return how many bars are new and how many changed."""
    if base is None:
        return bars.height, 0
    old = base.bars(symbols=bars["symbol"].unique().to_list())
    found = compare(old, bars, complete=True)
    return found.added.height, found.repaired


def _joined(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Add up findings of one code; those on quarantine come last, in the order in which reasons are looked for."""
    joined: dict[str, Finding] = {}
    for finding in findings:
        before = joined.get(finding.code)
        if before is None:
            joined[finding.code] = finding
        elif finding.code not in _CONSTANT:
            names = sorted({*before.names, *finding.names})
            joined[finding.code] = before.model_copy(update={"count": before.count + finding.count, "names": names})
    last = [f"QUARANTINE_{reason}" for reason in REASONS]
    return tuple(sorted(joined.values(), key=lambda found: last.index(found.code) if found.code in last else -1))


SCHEMAS = {"bars": BARS, "ratings": RATING_SCHEMA, "quarantine": QUARANTINE}


def commit(lake: Path, gathered: Gathered) -> dict[str, int]:
    """Make the files of all shards the whole content of their tables; return the tables' new versions."""
    return {
        name: delta.commit_parts(lake / name, parts, SCHEMAS[name])
        for name, parts in gathered.parts.items()
        if parts or delta.current_version(Folder(lake / name)) is not None
    }
