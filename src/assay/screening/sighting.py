"""A recorded round, read as the scanners read our own ratings: record by record, then the same sieve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from assay.base.domain import DAY, Direction, rating_column, symbol_fault
from assay.market.panel import Floats, Market
from assay.runs.documents import InvalidRecord, Scalar
from assay.screening.columns import BAR, RATINGS, closed
from assay.screening.recorded_scans import Answer, Round, Row
from assay.screening.scanner import Metadata, ScanResult, Sight, market_metadata, sift, young
from assay.settings.model import Scanner

_RATINGS = ("recommend_all", "recommend_ma", "recommend_other")


@dataclass(frozen=True)
class RoundReader:
    """Answers scanners from a recorded round, as :func:`assay.screening.scanner.scan` does from ratings.

    Attributes
    ----------
    found : Round
        All scanners' answers.
    """

    found: Round

    def scan(self, market: Market, name: str, scanner: Scanner) -> ScanResult:
        """Return what a scanner found; ``market`` tells which pairs are too young, and splits their names."""
        answer = next(answer for answer in self.found.answers if answer.scanner == name)
        return screen(answer, self.found, scanner, market)


def screen(answer: Answer, found: Round, scanner: Scanner, market: Market | None = None) -> ScanResult:
    """Check an answer record by record and put it through the scanner's filters.

    Parameters
    ----------
    answer : Answer
        The screener's records.
    found : Round
        The round that it belongs to.
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
    result = sift(_sight(good, found, scanner, market), answer.scanner, scanner)
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
    for rating in _RATINGS:
        value = fields.get(closed(rating))
        if value is not None and not -1.0 <= float(value) <= 1.0:
            return f"{closed(rating)} = {value} is outside [-1, 1]"
    asked = closed(rating_column(scanner.logic))
    value = fields.get(asked)
    if value is None or Direction[scanner.direction].sign * float(value) <= 0:
        return f"{asked} = {value} does not meet the query"
    return None


def _sight(rows: list[Row], found: Round, scanner: Scanner, market: Market | None) -> Sight:
    symbols = tuple(symbol for symbol, _ in rows)
    said = tuple(fields for _, fields in rows)
    row = {name: _column(said, closed(name)) for name in (*BAR, *RATINGS)}
    with np.errstate(over="ignore"):
        # The screener gives no quote volume of a closed bar.
        row["value_traded"] = row["close"] * row["volume"]
    too_young = np.zeros(len(rows), dtype=np.bool_)
    if market is not None:
        known = young(market, scanner.universe.min_bars) & (market.listing[-1] >= 0)
        too_young[:] = [symbol in market.index and known[market.index[symbol]] for symbol in symbols]
    return Sight(
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
    values = [row.get(name) for row in rows]
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
