"""What every reading of a live source makes of its answers: one table, judged like any file of bars, and findings."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl

from assay.base.constants import LISTING_ENDS_AFTER
from assay.base.errors import SourceError
from assay.base.files import content_hash_table
from assay.market.bars import CheckedBars, check
from assay.market.schema import BARS, QUARANTINE
from assay.runs.documents import Finding
from assay.sources.base import SourceRead
from assay.sources.clients import DAY_MS, Row
from assay.sources.download_cache import DownloadCache
from assay.sources.http import Asker
from assay.sources.plan import gaps
from assay.sources.troubles import PASSING

MEANINGS = {
    "CLOCK_SKEW": "seconds between the exchange's clock and this machine's; the earlier one tells which bars closed",
    "MIRRORED": "answers came from Binance's public mirror, since the exchange refuses this country (source.mirror)",
    "RESUMED": "symbols had been fetched, in whole or in part, by an ingestion that did not end; that was kept",
    "GAP_REPAIRED": "days that were missing from a first answer, or from the lake, came when asked for again",
    "GAPS": "days inside a listing that the exchange does not have; they stay missing",
    "LISTING_RESTARTED": "three or more days are missing before bars go on: another listing, unless all lack them",
    "BARS_LATE": "symbols are trading and have no bar for the last closed day, though asked for twice",
    "HISTORY_CUT": "the exchange no longer gives the last bar that the lake has; the lake's bars stay",
    "SYMBOL_GONE": "symbols are listed and yet unknown when asked for bars; their bars in the lake stay",
    "SYMBOL_FAILED": "symbols could not be fetched; the next ingestion asks for them again",
    "NEW_SYMBOL": "symbols that the lake did not have",
    "PAIR_STATUS": "pairs changed their trading status",
    "PAIR_GONE": "pairs are not in exchangeInfo any more",
    "INSTRUMENTS_SHRUNK": "trading pairs were missing on three days alike; the exchange's answer was taken",
    "PAIR_UNREADABLE": "pairs have rules that cannot be read; the last readable ones stay",
    "CHECKSUM": "files of the archive, fetched twice, differ from their checksum; nothing of them was stored",
    "CHECKSUM_MISSING": "files of the archive have no checksum file; nothing of them was stored",
    "ARCHIVE_FILE": "files of the archive are no zip of one table of klines, or too large; nothing of them was stored",
    "HOLES_UNASKED": "days that no file of the archive has, of which the exchange's klines gave no answer; asked again",
    "FILE_FAILED": "files of the archive could not be fetched; the next ingestion asks for them again",
}
"""What each code of the loader means; those of retries begin with ``RETRY_``."""

INCOMPLETE = frozenset({"BARS_LATE", "SYMBOL_FAILED", "FILE_FAILED", "HOLES_UNASKED"})
"""Codes of what is due and did not come, so that asking again soon may bring it."""


def finding(code: str, names: Collection[str] = (), count: int | None = None) -> list[Finding]:
    """Return the finding of a code as a list; none where nothing was counted."""
    number = len(names) if count is None else count
    return [Finding(code=code, what=MEANINGS[code], count=number, names=sorted(names))] if number else []


def retries(counted: Counter[str] | Mapping[str, int]) -> list[Finding]:
    """Return what requests were repeated for."""
    return [
        Finding(code=f"RETRY_{kind}", what=row.what, count=counted[kind])
        for kind, row in PASSING.items()
        if counted.get(kind)
    ]


@contextmanager
def kept_so_far(cache: DownloadCache, wanted: int, things: str) -> Iterator[None]:
    """Let an error that ends a reading say how much was fetched before it, and is kept for the next one."""
    try:
        yield
    except SourceError as error:
        if cache.path is None or not cache.held:
            raise
        kept = f"answers of {len(cache.held)} of {wanted} {things} are kept, the next ingest goes on from there"
        hint = f"{kept}; {error.hint}"
        raise SourceError(
            error.what, where=error.where, hint=hint, code=error.code, retry_after=error.retry_after
        ) from error


def gap_findings(keys: pl.DataFrame) -> list[Finding]:
    """Tell which days are missing between bars, of which the ``symbol`` and ``open_time`` are given."""
    missing = gaps(keys)
    short = missing.filter(pl.col("missing") < LISTING_ENDS_AFTER)
    restarts = missing.filter(pl.col("missing") >= LISTING_ENDS_AFTER)
    return [
        *finding("GAPS", short["symbol"].unique().to_list(), int(short["missing"].sum())),
        *finding("LISTING_RESTARTED", restarts["symbol"].unique().to_list(), restarts.height),
    ]


_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume", "quote_volume")


def frame(answers: dict[str, list[Row]]) -> pl.DataFrame:
    """Return answers as one table with the columns of a file of bars, in the order in which they came."""
    names = [symbol for symbol, rows in answers.items() for _ in rows]
    found = zip(*(row for rows in answers.values() for row in rows), strict=True)
    columns: Sequence[Sequence[Any]] = list(found) or [()] * len(_COLUMNS)
    symbols = pl.Series("symbol", names, dtype=pl.String)
    return pl.DataFrame([symbols, *(_typed(name, values) for name, values in zip(_COLUMNS, columns, strict=True))])


def _typed(name: str, values: Sequence[Any]) -> pl.Series:
    if name == "timestamp":
        return pl.Series(name, values, dtype=pl.Int64)
    try:
        text = bool(values) and isinstance(values[0], str)
        return pl.Series(name, values, dtype=pl.String if text else pl.Float64).cast(pl.Float64)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [_number(value) for value in values], dtype=pl.Float64)


def _number(value: Any) -> float | None:
    """Return a value as a number; what is none is refused with its row, as NaN."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def judge(fresh: pl.DataFrame, where: str, kind: str, now: dt.datetime, held: Collection[str] = ()) -> CheckedBars:
    """Judge fetched rows, of a lake that holds these symbols; no row at all is no fault here."""
    if fresh.is_empty():
        bars = pl.DataFrame(schema={name: dtype for name, dtype in BARS.items() if name != "listing"})
        return CheckedBars(bars, pl.DataFrame(schema=QUARANTINE), "1d", ())
    phases = (fresh["timestamp"] % DAY_MS).value_counts(sort=True)
    phase, count = phases.row(0)
    if phase and 2 * count > fresh.height:
        begin = dt.timedelta(milliseconds=phase)
        raise SourceError(
            f"this exchange's days begin at {begin} UTC, and not at midnight",
            where=where,
            hint="take another exchange: ratings and returns of days that begin elsewhere are of other days",
            code="SOURCE_DAYS",
        )
    return check(fresh, where=where, source=kind, now=now, interval="1d", held=held)


def news(
    checked: CheckedBars,
    findings: Sequence[Finding],
    instruments: pl.DataFrame | None,
    asker: Asker,
    cache: DownloadCache,
) -> SourceRead:
    """Return what a reading gave that gives only what is new."""
    return SourceRead(
        bars=checked.bars,
        rejected=checked.rejected,
        interval="1d",
        fingerprint=content_hash_table(checked.bars, ("symbol", "open_time")),
        complete=False,
        findings=tuple(findings),
        instruments=instruments,
        cost={"requests": asker.requests, "weight": asker.weight},
        settle=cache.clear,
    )
