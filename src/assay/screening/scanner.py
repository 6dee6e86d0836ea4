"""Scanners: what a declared query answers at an instant, whoever shows the market, our own ratings or a screener.

The last closed bar is read, and nothing else but how many bars its listing has. Filters run in order and each counts
what it drops; a record that cannot be used is named.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.base.constants import Bools, Floats, Scalar
from assay.base.domain import Direction, rating_column
from assay.base.errors import DataError
from assay.market.borrow import CARRY_FIELDS
from assay.market.kinds import REASONS, LeftOut, ListedKinds
from assay.market.panel import BAR_FIELDS, Market
from assay.market.universe import Metadata, Pairs, market_metadata, pairs_of
from assay.runs.documents import Candidate, InvalidRecord, MergedQuote, ScannerCount
from assay.settings.model import Scanner, Universe

Columns = npt.NDArray[np.intp]
Wants = Literal[">=", ">", "<"]
_HOLDS: dict[Wants, Callable[[Floats, float], Any]] = {">=": np.greater_equal, ">": np.greater, "<": np.less}


RECORDED = ("invalid", "merged_quote")
"""Conditions that name each symbol in a record of its own, with the reason."""


class Floor(NamedTuple):
    """A condition with a number: what every pair has of it, and what is wanted."""

    reason: str
    """Under which it drops."""
    what: str
    values: Floats
    """(n_symbols,); NaN where a pair has none, and never holds."""
    wants: Wants
    bound: float

    def fails(self) -> Bools:
        """Pairs for which it does not hold."""
        with np.errstate(invalid="ignore"):
            return np.asarray(~_HOLDS[self.wants](self.values, self.bound))


@dataclass(frozen=True)
class ScanResult:
    """What one scanner found at one instant.

    ``candidates`` are in the scanner's order, rank from 1; ``count.universe = kept + sum(dropped.values())``.
    """

    name: str
    candidates: list[Candidate]
    count: ScannerCount
    merged: list[MergedQuote]
    invalid: list[InvalidRecord]
    taken: tuple[tuple[str, Columns], ...] = field(default=(), compare=False, repr=False)
    """Each condition in order, and the columns that it took."""
    symbols: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Of the columns."""
    floors: tuple[Floor, ...] = field(default=(), compare=False, repr=False)
    """Conditions with a number, in order."""
    order: Columns = field(default_factory=lambda: np.empty(0, dtype=np.intp), compare=False, repr=False)
    """Columns that matched, best first; the limit cuts this list."""

    def rank(self, symbol: str) -> int | None:
        """Return the place of a symbol among those that matched, from 1, whether or not the limit left it."""
        column = self.symbols.index(symbol) if symbol in self.symbols else -1
        return next((place for place, other in enumerate(self.order.tolist(), 1) if other == column), None)

    def names(self) -> dict[str, list[str]]:
        """Return whom each condition took, apart from those that have a record of their own.

        What the limit took is in the order of rank.
        """
        return {
            reason: [self.symbols[column] for column in gone.tolist()]
            for reason, gone in self.taken
            if gone.size and reason not in RECORDED
        }

    def reason(self, symbol: str) -> str | None:
        """Return the condition that took a symbol; None where none did, or it was not looked at."""
        column = self.symbols.index(symbol) if symbol in self.symbols else -1
        return next((reason for reason, gone in self.taken if column in gone), None)


@dataclass(frozen=True)
class MarketView:
    """What a provider shows of every pair at one instant; arrays are (n_symbols,)."""

    symbols: tuple[str, ...]
    """Sorted."""
    metadata: Metadata
    day: dt.date
    """Of the bar."""
    row: dict[str, Floats]
    """The last closed bar and its ratings."""
    seen: Bools
    """Pairs that the provider has at this instant."""
    young: Bools
    """Pairs known to have too few bars."""
    more: tuple[Mapping[str, Scalar], ...] = ()
    """What else the provider said of each symbol; empty where it said nothing else."""
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    """Pairs that are no coins, or do not trade, by the exchange's own metadata."""


def scan(market: Market, name: str, scanner: Scanner) -> ScanResult:
    """Run one scanner on the last day of a market.

    Parameters
    ----------
    market : Market
        Bars and ratings known at ``market.as_of``.
    name : str
        Name of the scanner, kept with each candidate.
    scanner : Scanner
        Rating and side, floors, limit, and the universe: exchange, quotes in order of rank, bars that a pair needs.

    Returns
    -------
    ScanResult
        Sorted by rating (descending for a long, ascending for a short), then value traded descending, then symbol:
        ratings are coarse and tie often.

    Raises
    ------
    DataError
        If the market has no day.
    """
    if not market.days.size:
        raise DataError("the market has no day to scan", where=name, hint="choose a later date, or load earlier bars")
    return filter_view(market_view(market, scanner), name, scanner)


def healthy(scanners: Iterable[ScannerCount]) -> bool:
    """Whether a coin of any universe passed floor, volatility and status and had a rating, whatever it said."""
    return any(one.matched or one.dropped.get("rating", 0) for one in scanners)


def market_view(market: Market, scanner: Scanner) -> MarketView:
    """Return what our own ratings show a scanner at the market's instant."""
    return MarketView(
        symbols=market.symbols,
        metadata=market_metadata(market),
        day=market.days[-1].astype("datetime64[D]").item(),
        row={field: values[-1] for field, values in market.fields.items() if field not in CARRY_FIELDS},
        seen=market.listing[-1] >= 0,
        young=young(market, scanner.universe.min_bars),
        left_out=ListedKinds(market.instruments).at(market.as_of),
    )


def young(market: Market, min_bars: int) -> Bools:
    """Columns whose present listing has fewer bars than a pair needs."""
    if min_bars <= 1:  # one that has a bar now has one
        return np.zeros(len(market.symbols), dtype=np.bool_)
    return np.asarray((market.listing == market.listing[-1]).sum(axis=0) < min_bars)


def filter_view(view: MarketView, name: str, scanner: Scanner) -> ScanResult:
    """ScanResponse a scanner's query from what a provider shows: the same filters, order and limit whoever answers."""
    universe = scanner.universe
    pairs = pairs_of(view.symbols, view.metadata, universe.exchange, universe.quotes)
    row = view.row
    left = _Remaining(view.seen)
    invalid = _drop_strangers(left, pairs, view, universe, name)
    invalid += _drop_not_finite(left, view, name)
    volatility = _volatility(row, left.alive)
    rating = row[rating_column(scanner.logic)]
    sign = Direction[scanner.direction].sign
    floors = (
        Floor("value_traded", "value traded", row["value_traded"], ">=", scanner.min_value_traded),
        Floor("volatility", "volatility of the day in percent", volatility, ">", scanner.min_volatility),
        Floor("rating", rating_column(scanner.logic), rating, ">" if sign > 0 else "<", 0.0),
    )
    left.drop(floors[0].reason, floors[0].fails())
    left.drop(floors[1].reason, floors[1].fails())
    left.drop("unrated", np.isnan(rating))
    left.drop("history", view.young)
    left.drop(floors[2].reason, floors[2].fails())
    merged = _merge_quotes(left, pairs, view, universe.quote_advantage, name)
    found = np.flatnonzero(left.alive)
    # The symbols of a view are sorted, so that its columns break the last ties.
    order = found[np.lexsort((found, -row["value_traded"][found], -sign * rating[found]))]
    kept = order[: scanner.limit]
    taken = (*left.taken, ("limit", order[scanner.limit :]))
    count = ScannerCount(
        scanner=name,
        universe=left.universe,
        matched=found.size,
        kept=kept.size,
        dropped=left.dropped | {"limit": int(found.size - kept.size)},
    )
    candidates = _candidates(kept, row | {"volatility_d": volatility}, view, name, scanner)
    return ScanResult(name, candidates, count, merged, invalid, taken, view.symbols, floors, order)


class _Remaining:
    """Columns still alive, and how many each reason dropped."""

    def __init__(self, alive: Bools) -> None:
        self.alive = alive.copy()
        self.universe = int(alive.sum())
        self.dropped: dict[str, int] = {}
        self.taken: list[tuple[str, Columns]] = []

    def drop(self, reason: str, mask: Bools) -> Columns:
        """Drop the living columns of a mask; return them."""
        gone = np.flatnonzero(self.alive & mask)
        self.alive[gone] = False
        self.taken.append((reason, gone))
        self.dropped[reason] = self.dropped.get(reason, 0) + gone.size
        return gone


def _drop_strangers(
    left: _Remaining, pairs: Pairs, view: MarketView, universe: Universe, name: str
) -> list[InvalidRecord]:
    """Drop what is not a coin of the universe; name what cannot even be read."""
    gone = left.drop("invalid", pairs.faulty)
    left.drop("exchange", pairs.foreign)
    left.drop("quote", pairs.rank < 0)
    place = {symbol: column for column, symbol in enumerate(view.symbols)} if view.left_out else {}
    for reason in REASONS:
        mask = pairs.excluded(view.day, reason)
        mask[[place[symbol] for symbol, out in view.left_out.items() if out.kind == reason and symbol in place]] = True
        left.drop(reason, mask)
    if universe.only:
        left.drop("only", ~pairs.named(universe.only))
    if universe.without:
        left.drop("without", pairs.named(universe.without))
    return [InvalidRecord(symbol=view.symbols[i], scanner=name, reason=str(pairs.faults[i])) for i in gone]


def _drop_not_finite(left: _Remaining, view: MarketView, name: str) -> list[InvalidRecord]:
    """Drop records that a comparison would read wrongly: a missing or infinite price, or a rating without bounds."""
    row = view.row
    bad = {field: ~np.isfinite(row[field]) for field in BAR_FIELDS}
    bad |= {field: np.isinf(values) for field, values in row.items() if field not in BAR_FIELDS}
    with np.errstate(invalid="ignore"):
        bad["low"] |= row["low"] <= 0
    gone = left.drop("invalid", np.logical_or.reduce(list(bad.values())))
    return [
        InvalidRecord(
            symbol=view.symbols[i],
            scanner=name,
            reason=f"not a usable number: {', '.join(f'{field} = {row[field][i]}' for field in bad if bad[field][i])}",
        )
        for i in gone
    ]


def _volatility(row: dict[str, Floats], alive: Bools) -> Floats:
    """Volatility.D = 100 (high - low) / low, in percent; NaN where the record is not alive."""
    result = np.full(alive.size, np.nan)
    low = row["low"][alive]
    result[alive] = 100.0 * (row["high"][alive] - low) / low
    return result


def _merge_quotes(left: _Remaining, pairs: Pairs, view: MarketView, advantage: float, name: str) -> list[MergedQuote]:
    """Keep one pair of each base; see :meth:`assay.market.universe.Pairs.traded`."""
    value = view.row["value_traded"]
    alive = np.flatnonzero(left.alive)
    winners = pairs.traded(alive, value, advantage)
    lost = alive != winners
    losers = np.zeros(left.alive.size, dtype=np.bool_)
    losers[alive[lost]] = True
    left.drop("merged_quote", losers)
    merged = [
        MergedQuote(
            symbol=view.symbols[loser],
            into=view.symbols[winner],
            scanner=name,
            reason=_why(value[loser], value[winner], advantage),
        )
        for loser, winner in zip(alive[lost].tolist(), winners[lost].tolist(), strict=True)
    ]
    return sorted(merged, key=lambda record: record.symbol)


def _why(lost: float, won: float, advantage: float) -> str:
    compared = f"value traded {lost:.6g} against {won:.6g}"
    if won > advantage * lost:
        return f"more than {advantage:g} times less traded: {compared}"
    return f"its quote ranks lower and it does not trade more than {advantage:g} times as much: {compared}"


def _candidates(
    kept: Columns, row: dict[str, Floats], view: MarketView, name: str, scanner: Scanner
) -> list[Candidate]:
    names = sorted(row)
    seen = zip(*(_scalars(row[name][kept]) for name in names), strict=True)
    fields = [dict(zip(names, values, strict=True)) for values in seen]
    if view.more:
        fields = [mine | dict(view.more[column]) for mine, column in zip(fields, kept.tolist(), strict=True)]
    return [
        Candidate(
            symbol=view.symbols[column],
            logic=scanner.logic,
            direction=scanner.direction,
            scan_direction=scanner.direction,
            scanners=[name],
            rank=position + 1,
            fields=fields[position],
        )
        for position, column in enumerate(kept.tolist())
    ]


def _scalars(values: Floats) -> list[Scalar]:
    """Plain numbers, None for what the market does not have."""
    return [None if value != value else value for value in values.tolist()]
