"""Scanners: what a declared query answers at an instant, whoever shows the market, our own ratings or a screener.

The last closed bar is read, and nothing else but how many bars its listing has. Filters run in order and each counts
what it drops; a record that cannot be used is named.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assay.base.domain import Direction, rating_column
from assay.base.errors import DataError
from assay.market.panel import BAR_FIELDS, Floats, Market
from assay.market.universe import Metadata, Pairs, market_metadata, pairs_of
from assay.runs.documents import Candidate, InvalidRecord, MergedQuote, Scalar, ScannerCount

if TYPE_CHECKING:
    from assay.settings.model import Scanner

Mask = npt.NDArray[np.bool_]
Columns = npt.NDArray[np.intp]


@dataclass(frozen=True)
class ScanResult:
    """What one scanner found at one instant.

    Attributes
    ----------
    name : str
        The scanner.
    candidates : list of Candidate
        In the scanner's order, rank from 1.
    count : ScannerCount
        ``universe = kept + sum(dropped.values())``.
    merged : list of MergedQuote
        Pairs that gave way to another quote of the same base.
    invalid : list of InvalidRecord
        Records that cannot be used, by name.
    """

    name: str
    candidates: list[Candidate]
    count: ScannerCount
    merged: list[MergedQuote]
    invalid: list[InvalidRecord]


@dataclass(frozen=True)
class Sight:
    """What a provider shows of every pair at one instant; arrays are (n_symbols,).

    Attributes
    ----------
    symbols : tuple of str
        Sorted.
    metadata : tuple of (symbol, base, quote)
        Pairs as the exchange's own table, or the provider, splits them; the last of several counts.
    day : date
        Day of the bar.
    row : dict of str to float64 array
        The last closed bar and its ratings.
    seen : bool array
        Pairs that the provider has at this instant.
    young : bool array
        Pairs known to have too few bars.
    more : tuple of mapping
        What else the provider said of each symbol; empty where it said nothing else.
    """

    symbols: tuple[str, ...]
    metadata: Metadata
    day: dt.date
    row: dict[str, Floats]
    seen: Mask
    young: Mask
    more: tuple[Mapping[str, Scalar], ...] = ()


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
    return sift(look(market, scanner), name, scanner)


def look(market: Market, scanner: Scanner) -> Sight:
    """Return what our own ratings show a scanner at the market's instant."""
    return Sight(
        symbols=market.symbols,
        metadata=market_metadata(market),
        day=market.days[-1].astype("datetime64[D]").item(),
        row={field: values[-1] for field, values in market.fields.items()},
        seen=market.listing[-1] >= 0,
        young=young(market, scanner.universe.min_bars),
    )


def young(market: Market, min_bars: int) -> Mask:
    """Columns whose present listing has fewer bars than a pair needs."""
    too_few: Mask = (market.listing == market.listing[-1]).sum(axis=0) < min_bars
    return too_few


def sift(sight: Sight, name: str, scanner: Scanner) -> ScanResult:
    """Answer a scanner's query from what a provider shows: the same filters, order and limit whoever answers."""
    universe = scanner.universe
    pairs = pairs_of(sight.symbols, sight.metadata, universe.exchange, universe.quotes)
    row = sight.row
    sieve = _Sieve(sight.seen)
    invalid = _drop_strangers(sieve, pairs, sight, name)
    invalid += _drop_not_finite(sieve, sight, name)
    volatility = _volatility(row, sieve.alive)
    rating = row[rating_column(scanner.logic)]
    sign = Direction[scanner.direction].sign
    with np.errstate(invalid="ignore"):
        sieve.drop("value_traded", ~(row["value_traded"] >= scanner.min_value_traded))
        sieve.drop("volatility", ~(volatility > scanner.min_volatility))
        sieve.drop("unrated", np.isnan(rating))
        sieve.drop("history", sight.young)
        sieve.drop("rating", ~(sign * rating > 0))
    merged = _merge_quotes(sieve, pairs, row["value_traded"], universe.quote_advantage, sight.symbols, name)
    found = np.flatnonzero(sieve.alive)
    # The symbols of a sight are sorted, so that its columns break the last ties.
    order = found[np.lexsort((found, -row["value_traded"][found], -sign * rating[found]))]
    kept = order[: scanner.limit]
    count = ScannerCount(
        scanner=name,
        universe=sieve.universe,
        matched=found.size,
        kept=kept.size,
        dropped=sieve.dropped | {"limit": int(found.size - kept.size)},
    )
    candidates = _candidates(kept, row | {"volatility_d": volatility}, sight, name, scanner)
    return ScanResult(name, candidates, count, merged, invalid)


class _Sieve:
    """Columns still alive, and how many each reason dropped."""

    def __init__(self, alive: Mask) -> None:
        self.alive = alive.copy()
        self.universe = int(alive.sum())
        self.dropped: dict[str, int] = {}

    def drop(self, reason: str, mask: Mask) -> Columns:
        """Drop the living columns of a mask; return them."""
        gone = np.flatnonzero(self.alive & mask)
        self.alive[gone] = False
        self.dropped[reason] = self.dropped.get(reason, 0) + gone.size
        return gone


def _drop_strangers(sieve: _Sieve, pairs: Pairs, sight: Sight, name: str) -> list[InvalidRecord]:
    """Drop what is not a coin of the universe; name what cannot even be read."""
    gone = sieve.drop("invalid", pairs.faulty)
    sieve.drop("exchange", pairs.foreign)
    sieve.drop("quote", pairs.rank < 0)
    sieve.drop("base_excluded", pairs.excluded(sight.day))
    return [InvalidRecord(symbol=sight.symbols[i], scanner=name, reason=str(pairs.faults[i])) for i in gone]


def _drop_not_finite(sieve: _Sieve, sight: Sight, name: str) -> list[InvalidRecord]:
    """Drop records that a comparison would read wrongly: a missing or infinite price, or a rating without bounds."""
    row = sight.row
    bad = {field: ~np.isfinite(row[field]) for field in BAR_FIELDS}
    bad |= {field: np.isinf(values) for field, values in row.items() if field not in BAR_FIELDS}
    with np.errstate(invalid="ignore"):
        bad["low"] |= row["low"] <= 0
    gone = sieve.drop("invalid", np.logical_or.reduce(list(bad.values())))
    return [
        InvalidRecord(
            symbol=sight.symbols[i],
            scanner=name,
            reason=f"not a usable number: {', '.join(f'{field} = {row[field][i]}' for field in bad if bad[field][i])}",
        )
        for i in gone
    ]


def _volatility(row: dict[str, Floats], alive: Mask) -> Floats:
    """Volatility.D = 100 (high - low) / low, in percent; NaN where the record is not alive."""
    result = np.full(alive.size, np.nan)
    low = row["low"][alive]
    result[alive] = 100.0 * (row["high"][alive] - low) / low
    return result


def _merge_quotes(
    sieve: _Sieve, pairs: Pairs, value: Floats, advantage: float, symbols: tuple[str, ...], name: str
) -> list[MergedQuote]:
    """Keep one pair of each base; see :meth:`assay.market.universe.Pairs.traded`."""
    alive = np.flatnonzero(sieve.alive)
    winners = pairs.traded(alive, value, advantage)
    lost = alive != winners
    merged = [
        _merged(loser, winner, value, advantage, symbols, name)
        for loser, winner in zip(alive[lost].tolist(), winners[lost].tolist(), strict=True)
    ]
    losers = np.zeros(sieve.alive.size, dtype=np.bool_)
    losers[alive[lost]] = True
    sieve.drop("merged_quote", losers)
    return sorted(merged, key=lambda record: record.symbol)


def _merged(
    loser: int, winner: int, value: Floats, advantage: float, symbols: tuple[str, ...], name: str
) -> MergedQuote:
    compared = f"value traded {value[loser]:.6g} against {value[winner]:.6g}"
    if value[winner] > advantage * value[loser]:
        reason = f"more than {advantage:g} times less traded: {compared}"
    else:
        reason = f"its quote ranks lower and it does not trade more than {advantage:g} times as much: {compared}"
    return MergedQuote(symbol=symbols[loser], into=symbols[winner], scanner=name, reason=reason)


def _candidates(kept: Columns, row: dict[str, Floats], sight: Sight, name: str, scanner: Scanner) -> list[Candidate]:
    symbols, more = sight.symbols, sight.more or ({},) * len(sight.symbols)
    seen = {field: _scalars(values[kept]) for field, values in sorted(row.items())}
    return [
        Candidate(
            symbol=symbols[column],
            logic=scanner.logic,
            direction=scanner.direction,
            scan_direction=scanner.direction,
            scanners=[name],
            rank=position + 1,
            fields={field: values[position] for field, values in seen.items()} | dict(more[column]),
        )
        for position, column in enumerate(kept.tolist())
    ]


def _scalars(values: Floats) -> list[Scalar]:
    """Plain numbers, None for what the market does not have."""
    plain: list[float] = values.tolist()
    if not np.isnan(values).any():
        return list(plain)
    return [None if value != value else value for value in plain]
