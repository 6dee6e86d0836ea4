"""What a batch of scans is, its place in the lake's ``candidates`` table, and how a scanner reads it.

Every record is kept as the screener gave it, with the time, the request and the hash of the answer, so that any later
reader can tell what was known and what was made of it. A scan's first row, of rank 0, holds what is true of the whole;
a scan that found nobody has that row alone.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from assay.base import files
from assay.base.constants import Floats, Scalar
from assay.base.domain import DAY, RATINGS, UTC, Direction, rating_column, symbol_fault
from assay.base.errors import IntegrityError
from assay.lake.snapshot import Snapshot
from assay.market.panel import Market
from assay.market.schema import CANDIDATES
from assay.market.universe import Metadata, market_metadata
from assay.runs.documents import InvalidRecord
from assay.screening.scanner import MarketView, ScanResult, filter_view, young
from assay.settings.model import Scanner

PROVIDER = "tradingview"
Row = tuple[str, dict[str, Scalar]]
"""A symbol, and its columns by the screener's names."""

CLOSED = "[1]|1D"
"""Suffix of the last closed daily bar."""

TEXTS = ("name", "exchange", "type", "base_currency", "currency", "update_mode")
"""What a pair is."""

BAR = MappingProxyType({"open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"})

RATED = MappingProxyType(
    {
        "recommend_all": "Recommend.All",
        "recommend_ma": "Recommend.MA",
        "recommend_other": "Recommend.Other",
        "adx": "ADX",
    }
)

VOTES = MappingProxyType(
    {
        "vote_ichimoku": "Rec.Ichimoku",
        "vote_vwma_20": "Rec.VWMA",
        "vote_hull_ma_9": "Rec.HullMA9",
        "vote_stoch_rsi": "Rec.Stoch.RSI",
        "vote_williams_r": "Rec.WR",
        "vote_bull_bear": "Rec.BBPower",
        "vote_ultimate": "Rec.UO",
    }
)
"""The votes that the screener gives; it keeps the others to itself."""

FORMING = ("Value.Traded", "Volatility.D")
"""What is asked of the forming bar alone: the closed bar's follow from its prices and volume."""

OURS = MappingProxyType({**BAR, **RATED, **VOTES})
"""Our name of a column to the screener's, without suffix."""

NUMBERS = (*OURS.values(), *FORMING, *(f"{column}{CLOSED}" for column in OURS.values()))

COLUMNS = (*TEXTS, *NUMBERS)
"""Everything that is asked for, in order."""


def closed(name: str) -> str:
    """Return the screener's name of a closed bar's column from ours.

    >>> closed("recommend_all")
    'Recommend.All[1]|1D'
    """
    return OURS[name] + CLOSED


@dataclass(frozen=True)
class ScanResponse:
    """What the screener said to one scanner."""

    scanner: str
    question: str
    """What decides which records came, see :func:`question`."""
    request: str
    """What was asked, as canonical JSON; the range is the first page's."""
    response_sha256: str
    """Of the bytes of all pages, one after the other."""
    total: int
    """Records that the screener counted."""
    rows: tuple[Row, ...]
    """In the screener's order; every column under the screener's own name."""


@dataclass(frozen=True)
class ScanBatch:
    """All scanners asked at one moment."""

    as_of: dt.datetime
    """Close of the last daily bar that had closed."""
    scanned_at: dt.datetime
    """When the first request was sent, in whole microseconds."""
    answers: tuple[ScanResponse, ...]
    """One for each scanner, by name."""


def question(scanner: Scanner) -> str:
    """Return what decides which records the screener gives to a scanner, as canonical JSON.

    Floors, exclusions, the merging of quotes and the limit are not asked of the screener: they are applied to what it
    answers, so that both providers answer the same query, every drop is counted, and a recorded scan stays good when
    they change.
    """
    parts = {
        "exchange": scanner.universe.exchange,
        "quotes": list(scanner.universe.quotes),
        "rating": closed(rating_column(scanner.logic)),
        "direction": scanner.direction,
    }
    return files.canonical_json(parts).decode()


def to_frame(found: ScanBatch) -> pl.DataFrame:
    """Return a batch as rows of the lake's ``candidates`` table."""
    return pl.DataFrame(list(_table_rows(found)), schema=CANDIDATES, orient="row")


def _table_rows(found: ScanBatch) -> Iterator[tuple[Any, ...]]:
    for answer in found.answers:
        key = (answer.scanner, found.as_of, found.scanned_at, PROVIDER)
        about = {"question": answer.question, "total": answer.total}
        yield *key, 0, None, _json(about), answer.request, answer.response_sha256
        for rank, (symbol, fields) in enumerate(answer.rows, start=1):
            yield *key, rank, symbol, _json(fields), None, None


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def recorded(snapshot: Snapshot, as_of: dt.datetime, scanners: Mapping[str, Scanner]) -> ScanBatch | None:
    """Return the last recorded batch of an instant that answers these scanners' questions, or None."""
    rows = snapshot.candidates(as_of)
    if rows is None:
        return None
    for (scanned_at,), part in sorted(rows.group_by("scanned_at"), key=lambda pair: pair[0], reverse=True):
        assert isinstance(scanned_at, dt.datetime)
        found = from_frame(part)
        asked = {answer.scanner: answer.question for answer in found.answers}
        if all(asked.get(name) == question(scanner) for name, scanner in scanners.items()):
            wanted = tuple(answer for answer in found.answers if answer.scanner in scanners)
            return ScanBatch(found.as_of, found.scanned_at, wanted)
    return None


def from_frame(rows: pl.DataFrame) -> ScanBatch:
    """Return the batch that rows of one ``scanned_at`` hold.

    Raises
    ------
    IntegrityError
        If a row is not what a scan writes, or one is missing.
    """
    answers = [_answer(part.sort("rank")) for _, part in sorted(rows.group_by("scanner"), key=lambda pair: pair[0])]
    return ScanBatch(rows["as_of"][0].astimezone(UTC), rows["scanned_at"][0].astimezone(UTC), tuple(answers))


def _answer(rows: pl.DataFrame) -> ScanResponse:
    first, *records = rows.iter_rows(named=True)
    try:
        about = json.loads(first["fields"])
        found = tuple((str(row["symbol"]), json.loads(row["fields"])) for row in records)
        whole = first["rank"] == 0 and about["total"] == len(found)
        question, total = str(about["question"]), int(about["total"])
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise IntegrityError(
            "a recorded scan is not whole",
            where=f"candidates: {first['scanner']} of {first['scanned_at']}",
            hint="restore the lake's folder from a copy",
        )
    return ScanResponse(first["scanner"], question, first["request"], first["response_sha256"], total, found)


def scan_recorded(found: ScanBatch, market: Market, name: str, scanner: Scanner) -> ScanResult:
    """Answer a scanner from a recorded batch, as :func:`assay.screening.scanner.scan` does from ratings.

    ``market`` tells which pairs are too young, and splits their names.
    """
    answer = next(answer for answer in found.answers if answer.scanner == name)
    return screen(answer, found, scanner, market)


def screen(answer: ScanResponse, found: ScanBatch, scanner: Scanner, market: Market | None = None) -> ScanResult:
    """Check an answer record by record and put it through the scanner's filters.

    Parameters
    ----------
    answer : ScanResponse
        The screener's records.
    found : ScanBatch
        The batch that it belongs to.
    scanner : Scanner
        What was asked.
    market : Market, optional
        Our own bars at the same instant. Without them no pair is known to be too young.
    """
    good: list[Row] = []
    invalid: list[InvalidRecord] = []
    for symbol, fields in sorted(answer.rows):
        fault = record_fault(symbol, fields, scanner)
        if fault is None:
            good.append((symbol, fields))
        else:
            invalid.append(InvalidRecord(symbol=symbol, scanner=answer.scanner, reason=fault))
    result = filter_view(_view(good, found, scanner, market), answer.scanner, scanner)
    if not invalid:
        return result
    dropped = result.count.dropped | {"invalid": result.count.dropped.get("invalid", 0) + len(invalid)}
    count = result.count.model_copy(update={"universe": result.count.universe + len(invalid), "dropped": dropped})
    return replace(result, count=count, invalid=sorted([*invalid, *result.invalid], key=lambda record: record.symbol))


def record_fault(symbol: str, fields: Mapping[str, Scalar], scanner: Scanner) -> str | None:
    """Return why a record is no answer to what was asked, in words, or None."""
    fault = symbol_fault(symbol)
    if fault is not None:
        return f"the symbol has {fault}"
    exchange, _, name = symbol.partition(":")
    wanted = {"exchange": scanner.universe.exchange, "name": name, "type": "spot"}
    if exchange != scanner.universe.exchange:
        return f"of {exchange or 'no exchange'}, asked for was {scanner.universe.exchange}"
    if fields.get("currency") not in scanner.universe.quotes:
        return f"quoted in {fields.get('currency')!r}, which was not asked for"
    for column, value in wanted.items():
        if fields.get(column) != value:
            return f"{column} is {fields.get(column)!r}, not {value!r}"
    return _rating_fault(fields, scanner)


def _rating_fault(fields: Mapping[str, Scalar], scanner: Scanner) -> str | None:
    for rating in RATINGS:
        value = fields.get(closed(rating))
        if value is not None and not -1.0 <= float(value) <= 1.0:
            return f"{closed(rating)} = {value} is outside [-1, 1]"
    asked = closed(rating_column(scanner.logic))
    value = fields.get(asked)
    if value is None or Direction[scanner.direction].sign * float(value) <= 0:
        return f"{asked} = {value} does not meet the query"
    return None


def _view(rows: list[Row], found: ScanBatch, scanner: Scanner, market: Market | None) -> MarketView:
    symbols, said = tuple(symbol for symbol, _ in rows), tuple(fields for _, fields in rows)
    row = {name: _column(said, closed(name)) for name in (*BAR, *RATED)}
    with np.errstate(over="ignore"):
        # The screener gives no quote volume of a closed bar.
        row["value_traded"] = row["close"] * row["volume"]
    too_young = np.zeros(len(rows), dtype=np.bool_)
    if market is not None:
        known = young(market, scanner.universe.min_bars) & (market.listing[-1] >= 0)
        too_young[:] = [symbol in market.index and known[market.index[symbol]] for symbol in symbols]
    return MarketView(
        symbols=symbols,
        metadata=(*_said(rows), *(market_metadata(market) if market is not None else ())),
        day=(found.as_of - DAY).date(),
        row=row,
        seen=np.ones(len(rows), dtype=np.bool_),
        young=too_young,
        more=tuple({_apart(column): value for column, value in fields.items()} for fields in said),
    )


def _apart(column: str) -> str:
    """Return a name for a forming bar's column that is not a closed bar's in every candidate.

    >>> _apart("close"), _apart("Recommend.All")
    ('close|1D', 'Recommend.All')
    """
    return f"{column}|1D" if column in BAR else column


def _said(rows: list[Row]) -> Metadata:
    """Pairs as the screener splits them, where base and quote make up the name."""
    told = [(symbol, str(fields["base_currency"]), str(fields["currency"])) for symbol, fields in rows]
    return tuple((symbol, base, quote) for symbol, base, quote in told if symbol.endswith(f":{base}{quote}"))


def _column(rows: tuple[Mapping[str, Scalar], ...], name: str) -> Floats:
    return np.array([row.get(name) for row in rows], dtype=np.float64)  # None becomes NaN
