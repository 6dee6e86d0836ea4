"""Which bars to ask for: what is due, from where on, and which days are missing in between.

An answer holds a thousand days for the same price as one, so that a request for today's bar begins at the last bar that
the lake has, which shows whether the exchange still says the same of it, or before the earliest gap of the last
thousand days, which asks for the missing days again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from assay.base.domain import DAY, Instrument
from assay.market.instruments import TRADING
from assay.market.universe import excluded
from assay.sources.base import Held
from assay.sources.rules import RuleBook

_WINDOW = 999 * DAY


@dataclass(frozen=True)
class FetchTask:
    """What to ask of one pair.

    Attributes
    ----------
    pair : Instrument
    since : datetime
        Opening time of the first bar to ask for.
    last : datetime or None
        Opening time of the last bar that the lake has; None for a pair that is new to it.
    due : bool
        The pair is trading, and the bar of the last closed day is not in the lake.
    """

    pair: Instrument
    since: dt.datetime
    last: dt.datetime | None
    due: bool


def wanted(
    book: RuleBook, quotes: Collection[str], held: Collection[str], named: Collection[str], on: dt.date
) -> list[Instrument]:
    """Return the pairs to load: coins in quotes of the universe, what was named by a scan, and what the lake has."""
    chosen = []
    for symbol, rule in book.rules.items():
        pair = rule.instrument
        eligible = (pair.quote in quotes or symbol in named) and excluded(pair.base, on) is None
        if eligible or symbol in held:
            chosen.append(pair)
    return chosen


def tasks(
    pairs: Iterable[Instrument], book: RuleBook, known: Known, last_open: dt.datetime, history: int
) -> list[FetchTask]:
    """Return what to ask for, pair by pair; a pair that has nothing new is left out.

    Parameters
    ----------
    pairs : iterable of Instrument
    book : RuleBook
        Tells which pairs are trading.
    known : Known
        What the lake has.
    last_open : datetime
        Opening time of the last bar that has closed.
    history : int
        Days to ask for of a pair that is new to the lake.
    """
    found = []
    for pair in pairs:
        last = known.last.get(pair.symbol)
        status = book.rules[pair.symbol].status
        trading = status == TRADING
        if last is None:
            if trading or known.status.get(pair.symbol) != status or pair.symbol in known.failed:
                found.append(FetchTask(pair, last_open - (history - 1) * DAY, None, trading))
        elif last < last_open and (trading or known.status.get(pair.symbol) != status or pair.symbol in known.failed):
            found.append(FetchTask(pair, known.since(pair.symbol, last_open), last, trading))
    return found


@dataclass(frozen=True)
class Known:
    """What the lake has of each symbol.

    Attributes
    ----------
    last : mapping of str to datetime
        Opening time of its last bar.
    gap : mapping of str to datetime
        Opening time of the last bar before its earliest gap within the last thousand days.
    status : mapping of str to str
        Its trading status at the last look.
    failed : frozenset of str
        Symbols that could not be fetched the last time.
    """

    last: Mapping[str, dt.datetime]
    gap: Mapping[str, dt.datetime]
    status: Mapping[str, str | None]
    failed: frozenset[str]

    @classmethod
    def of(cls, held: Held, last_open: dt.datetime) -> Known:
        """Look into a state of the lake."""
        keys = held.keys
        if keys is None:
            return cls({}, {}, {}, frozenset())
        last = keys.group_by("symbol").agg(pl.col("open_time").max())
        recent = gaps(keys.filter(pl.col("open_time") >= last_open - _WINDOW))
        first = recent.group_by("symbol").agg(pl.col("before").min())
        statuses = {} if held.instruments is None else _statuses(held.instruments)
        return cls(dict(last.iter_rows()), dict(first.iter_rows()), statuses, frozenset(held.failed))

    def since(self, symbol: str, last_open: dt.datetime) -> dt.datetime:
        """Return where to begin: the last bar, or the one before the earliest gap."""
        return min(self.last[symbol], self.gap.get(symbol, last_open))


def _statuses(instruments: pl.DataFrame) -> dict[str, str | None]:
    return dict(instruments.filter(pl.col("valid_to").is_null()).select("symbol", "status").iter_rows())


def gaps(keys: pl.DataFrame) -> pl.DataFrame:
    """Return the gaps between bars.

    Parameters
    ----------
    keys : DataFrame
        ``symbol`` and ``open_time``, in any order.

    Returns
    -------
    DataFrame
        ``symbol``, ``before`` and ``after`` (the bars around it), ``missing`` (days), sorted.
    """
    ordered = keys.sort("symbol", "open_time")
    before = pl.col("open_time").shift().over("symbol")
    missing = (pl.col("open_time") - before).dt.total_days() - 1
    return ordered.select(
        "symbol", before.alias("before"), pl.col("open_time").alias("after"), missing.alias("missing")
    ).filter(pl.col("missing") > 0)
