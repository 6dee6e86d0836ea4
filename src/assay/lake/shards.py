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
from typing import TYPE_CHECKING, get_args

import polars as pl

from assay.base.domain import BENCHMARK, DAY, INTERVALS, Edition
from assay.base.errors import SourceError
from assay.lake import delta
from assay.lake.compare import compare
from assay.lake.snapshot import Snapshot, pin
from assay.lake.storage import Folder
from assay.market.bars import REASONS, check, look_alikes
from assay.market.holes import LONGEST_HOLE, cut_listings
from assay.market.schema import BARS, ORDER, QUARANTINE, ratings_table
from assay.market.whole import read_symbols
from assay.ratings import RATING_SCHEMA, rate
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

SCHEMAS = {
    "bars": BARS,
    **{ratings_table(edition): RATING_SCHEMA for edition in get_args(Edition)},
    "quarantine": QUARANTINE,
}

_ONLY_WHOLE = ("QUARANTINE_STRAY", "END_REFUSED")
"""Findings that a shard cannot make by itself."""

Run = tuple[str | None, int, int]
"""Symbol, first row, rows."""


@dataclass(frozen=True)
class Shard:
    """Rows of a file, as it is passed to a worker."""

    path: Path
    where: str
    """What messages call the file."""
    kind: str
    """What the column ``source`` calls it."""
    begin: int
    rows: int
    now: dt.datetime
    """Instant of reading."""
    lake: Path
    base: int | None
    """Head that the bars are compared with."""
    name: str
    """Of the files that the shard becomes."""
    edition: str
    """Of the rating rules."""


@dataclass(frozen=True)
class Sharded:
    """What became of one shard, or of all together: files of each table, not yet part of it, and counts of bars."""

    parts: dict[str, list[delta.DataFile]]
    interval: str
    symbols: int
    added: int
    repaired: int
    findings: tuple[Finding, ...]
    first_open: dt.datetime
    last_open: dt.datetime
    removed: int = 0
    """Known of all together."""

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
        None where the file is small, or the rows of a symbol do not lie together, or two symbols are one coin or one
        name in Unicode's normal form, or it is no Parquet file: then it is read whole, which also tells what is wrong
        with it.
    """
    try:
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False).select(pl.len()).collect().item()
        if rows <= WHOLE_ROWS:
            return None
        runs = list(_runs(path, rows))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None
    names = {name for name, _, _ in runs}
    known = [name for name in names if name is not None]
    read = read_symbols(known)
    if len(names) < len(runs) or look_alikes(known) or len({read.get(name, name) for name in known}) < len(known):
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


def load(first: Shard, cuts: Sequence[tuple[int, int]], executor: Executor, watch: Watch | None = None) -> Sharded:
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
    added, repaired, symbols = (sum(getattr(one, name) for one in done) for name in ("added", "repaired", "symbols"))
    together = Sharded(
        parts={name: [part for one in done for part in one.parts.get(name, [])] for name in SCHEMAS},
        interval=intervals[0],
        symbols=symbols,
        added=added,
        repaired=repaired,
        findings=_joined([finding for one in done for finding in one.findings]),
        first_open=min(one.first_open for one in done),
        last_open=max(one.last_open for one in done),
    )
    base = _base(first, intervals[0])
    held = 0 if base is None else base.record.rows["bars"]
    return replace(together, removed=held - (together.rows("bars") - added))


def bring(shard: Shard) -> Sharded:
    """Read, judge, compare, rate and write one shard, in a worker."""
    scan = pl.scan_parquet(shard.path, glob=False, hive_partitioning=False)
    raw = scan.slice(shard.begin, shard.rows).collect()
    checked = check(raw, where=shard.where, source=shard.kind, now=shard.now)
    del raw
    bars, interval = checked.bars, checked.interval
    if any(f.code in _ONLY_WHOLE for f in checked.findings) or _far_apart(bars, interval):
        raise SourceError("rows may lie far from all others", where=shard.where, hint="read the file whole")
    rejected = checked.rejected.with_columns(pl.col("row") + shard.begin)
    added, repaired = _differences(_base(shard, interval), bars, rejected)
    _check_benchmark(bars, interval, shard.where)
    listing, cut = cut_listings(bars, rejected)
    bars = bars.with_columns(listing).select(list(BARS))
    # Bars are in order of time.
    symbols, first_open, last_open = bars["symbol"].n_unique(), bars["open_time"][0], bars["open_time"][-1]

    def write(table: str, rows: pl.DataFrame, interval: str | None) -> None:
        parts[table] = [delta.write_part(shard.lake / table, shard.name, rows, interval)]

    parts: dict[str, list[delta.DataFile]] = {}
    write("bars", bars, interval)
    rated = rate(bars, interval, shard.edition)
    del bars
    write(ratings_table(shard.edition), rated.sort(ORDER["ratings"]), interval)
    if rejected.height:
        write("quarantine", rejected, None)
    return Sharded(parts, interval, symbols, added, repaired, (*checked.findings, *cut), first_open, last_open)


def _far_apart(bars: pl.DataFrame, interval: str) -> bool:
    """Whether days of a shard lie so far apart that only a whole reading knows which of them are astray."""
    gaps = bars["open_time"].unique().sort().diff()
    return interval == "1d" and bool((gaps > (LONGEST_HOLE + 1) * DAY).any())


def _check_benchmark(bars: pl.DataFrame, interval: str, where: str) -> None:
    """Leave a file to a whole reading where days could be missing for the whole market, which a shard does not see."""
    opens = bars.filter(pl.col("symbol") == BENCHMARK)["open_time"]
    if interval == "1d" and (opens.diff() > INTERVALS[interval]).any():
        raise SourceError(f"days of {BENCHMARK} are missing", where=where, hint="read the file whole")


def _base(shard: Shard, interval: str) -> Snapshot | None:
    """Return the state that bars of an interval are compared with."""
    base = None if shard.base is None else pin(shard.lake, shard.base)
    return base if base is not None and base.interval == interval else None


def _differences(base: Snapshot | None, bars: pl.DataFrame, rejected: pl.DataFrame) -> tuple[int, int]:
    """Return how many bars are new and how many changed."""
    if base is None:
        return bars.height, 0
    old = base.bars(symbols=bars["symbol"].unique().to_list())
    found = compare(old, bars, rejected, complete=True)
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


def commit(lake: Path, sharded: Sharded) -> dict[str, int]:
    """Make the files of all shards the whole content of their tables; return the tables' new versions."""
    return {
        name: delta.commit_parts(lake / name, parts, SCHEMAS[name])
        for name, parts in sharded.parts.items()
        if parts or (name == "quarantine" and delta.current_version(Folder(lake / name)) is not None)
    }
