"""What a batch of scans is, its place in the lake's ``candidates`` table, and how a scanner reads it.

Every record is kept as the screener gave it, with the time, the request and the hash of the answer, so that any later
reader can tell what was known and what was made of it. A scan's first row, of rank 0, holds what is true of the whole;
a scan that found nobody has that row alone.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from assay.base import files
from assay.base.constants import Floats, Scalar
from assay.base.domain import DAY, RATINGS, UTC, Direction, format_instant, rating_column, symbol_fault
from assay.base.errors import DataError, IntegrityError
from assay.lake.snapshot import Snapshot
from assay.market.kinds import ListedKinds
from assay.market.panel import Market
from assay.market.schema import CANDIDATES
from assay.market.universe import Metadata, market_metadata, pairs_of
from assay.runs.documents import InvalidRecord
from assay.screening.scanner import MarketView, ScanResult, filter_view, young
from assay.settings.model import Scanner
from assay.sources.acceptance import IMPLAUSIBLE, digest

PROVIDER = "tradingview"
_FEW = 3
"""Pairs with one and the same bar, or with another bar than ours, that are no accident."""
_MANY = 6
"""Pairs of which it is no accident that more than half are missing."""
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
    digest: str = field(default="", compare=False)
    """Of what is on record of it, by which a user may accept it."""


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
    """Return the last recorded batch of an instant that answers these scanners' questions and can be true, or None."""
    sound = [found for found, fault in judged(snapshot, as_of, scanners) if fault is None]
    return sound[-1] if sound else None


def judged(
    snapshot: Snapshot, as_of: dt.datetime, scanners: Mapping[str, Scanner] | None = None
) -> list[tuple[ScanBatch, str | None]]:
    """Return the recorded batches of an instant, oldest first, each with why it cannot be true, or None.

    What a user accepted is true.

    Parameters
    ----------
    snapshot : Snapshot
        The lake: scans, and the bars and ratings by which they are judged.
    as_of : datetime
        The close that was scanned.
    scanners : mapping of str to Scanner, optional
        Whose questions a batch has to answer; every batch where None.
    """
    rows = snapshot.candidates(as_of)
    if rows is None or rows.is_empty():
        return []
    market = _closed_market(snapshot, as_of)
    accepted = {one.digest for one in snapshot.record.accepted if one.code == IMPLAUSIBLE}
    told: list[tuple[ScanBatch, str | None]] = []
    sound: ScanBatch | None = None
    for _, part in sorted(rows.group_by("scanned_at"), key=lambda pair: pair[0]):
        found = _answering(from_frame(part), scanners)
        if found is not None:
            fault = None if found.digest in accepted else implausible(found, market, sound)
            told.append((found, fault))
            sound = found if fault is None else sound
    return told


def _answering(found: ScanBatch, scanners: Mapping[str, Scanner] | None) -> ScanBatch | None:
    """Return a batch's answers to these scanners, None where one of them was asked something else."""
    if scanners is None:
        return found
    asked = {answer.scanner: answer.question for answer in found.answers}
    if any(asked.get(name) != question(scanner) for name, scanner in scanners.items()):
        return None
    return replace(found, answers=tuple(answer for answer in found.answers if answer.scanner in scanners))


def _closed_market(snapshot: Snapshot, as_of: dt.datetime) -> Market | None:
    """Return the bar that closed at an instant, of all pairs; None where the lake does not have it."""
    try:
        market = snapshot.market(as_of, 1)
    except DataError:
        return None
    return market if market.days.size and market.days[-1].item() == (as_of - DAY).date() else None


def implausible(found: ScanBatch, market: Market | None, before: ScanBatch | None = None) -> str | None:
    """Return why an answer cannot be true, in words, or None.

    A closed bar does not change, so that what the lake rates long or short is long or short for the screener too, but
    for some pairs at the edge, and what an earlier scan of the same close had is there.

    Parameters
    ----------
    found : ScanBatch
        The answers.
    market : Market, optional
        Our bars and ratings of the same close.
    before : ScanBatch, optional
        The last sound answers of the same close.

    Examples
    --------
    >>> close = dt.datetime(2024, 1, 2, tzinfo=UTC)
    >>> rows = tuple((f"BINANCE:{base}USDT", {"close[1]|1D": 7.0}) for base in "ABC")
    >>> implausible(ScanBatch(close, close, (ScanResponse("x", "{}", "{}", "", 3, rows),)), None)
    '3 of 3 pairs have one and the same bar and ratings'
    """
    said = {symbol: fields for answer in found.answers for symbol, fields in answer.rows}
    bars = Counter(tuple(fields.get(closed(name)) for name in OURS) for fields in said.values())
    alike = max(bars.values(), default=0)
    if alike >= _FEW and 2 * alike > len(said):
        return f"{alike} of {len(said)} pairs have one and the same bar and ratings"
    if market is not None and (fault := _contradicted(found, market, said)) is not None:
        return fault
    return None if before is None else _gone(_symbols(before), said.keys(), "an earlier scan of this close has")


def _contradicted(found: ScanBatch, market: Market, said: Mapping[str, Mapping[str, Scalar]]) -> str | None:
    """Compare answers with our own ratings, and then with our own bars, of the same close."""
    due = {answer.scanner: _due(market, json.loads(answer.question)) for answer in found.answers}
    everyone = frozenset().union(*due.values())
    if everyone.isdisjoint(said):
        return f"it has none of the {len(everyone)} pairs that are rated long or short here" if everyone else None
    for answer in found.answers:
        here = {symbol for symbol, _ in answer.rows}
        if fault := _gone(due[answer.scanner], here, f"{answer.scanner} finds here"):
            return fault
    close = dict(zip(market.symbols, market["close"][-1].tolist(), strict=True))
    theirs = {symbol: said[symbol].get(closed("close")) for symbol in everyone & said.keys()}
    others = [s for s, value in theirs.items() if value is not None and not math.isclose(float(value), close[s])]
    if len(theirs) >= _FEW and 2 * len(others) > len(theirs):
        return f"{len(others)} of {len(theirs)} closes are not this bar's: it is of other bars than the lake's"
    return None


def _due(market: Market, asked: Mapping[str, Any]) -> frozenset[str]:
    """Return the pairs for which our own ratings say what the screener was asked for."""
    pairs = pairs_of(market.symbols, market_metadata(market), asked["exchange"], tuple(asked["quotes"]))
    column = next(name for name in RATED if closed(name) == asked["rating"])
    with np.errstate(invalid="ignore"):
        meets = Direction[asked["direction"]].sign * market[column][-1] > 0
    listed = ~(pairs.faulty | pairs.foreign) & (pairs.rank >= 0)
    return frozenset(market.symbols[i] for i in np.flatnonzero(meets & listed))


def _symbols(found: ScanBatch) -> frozenset[str]:
    return frozenset(symbol for answer in found.answers for symbol, _ in answer.rows)


def _gone(due: frozenset[str], here: Collection[str], who: str) -> str | None:
    missing = len(due.difference(here))
    enough = len(due) >= _MANY and 2 * missing > len(due)
    return f"{missing} of {len(due)} pairs that {who} are missing" if enough else None


def from_frame(rows: pl.DataFrame) -> ScanBatch:
    """Return the batch that rows of one ``scanned_at`` hold.

    Raises
    ------
    IntegrityError
        If a row is not what a scan writes, or one is missing.
    """
    answers = [_answer(part.sort("rank")) for _, part in sorted(rows.group_by("scanner"), key=lambda pair: pair[0])]
    as_of = rows["as_of"][0].astimezone(UTC)
    said = {answer.scanner: [answer.question, answer.response_sha256] for answer in answers}
    state = digest({"as_of": format_instant(as_of), "answers": said})
    return ScanBatch(as_of, rows["scanned_at"][0].astimezone(UTC), tuple(answers), state)


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
        left_out=ListedKinds(market.instruments if market is not None else None).at(found.as_of),
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
