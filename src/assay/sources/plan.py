"""Which bars to ask for: what is due, from where on, and which days are missing in between.

A request for today's bar begins at the last bar that the lake has, which shows whether the exchange still says the same
of it, or before the earliest gap of the last thousand days, which asks for the missing days once more. A gap whose days
were asked for in vain already is asked for no more, whoever owns it: the coin, the market, or a row that was refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from assay.base.domain import DAY, Instrument
from assay.market.instruments import TRADING
from assay.market.schema import INSTANT, INSTRUMENTS
from assay.market.universe import excluded
from assay.sources.base import Held
from assay.sources.nowhere import Nowhere
from assay.sources.rules import RuleBook

_WINDOW = 999 * DAY


@dataclass(frozen=True)
class FetchTask:
    """What to ask of one pair; instants are opening times."""

    pair: Instrument
    since: dt.datetime
    """Of the first bar to ask for."""
    last: dt.datetime | None
    """Of the last bar that the lake has; None for a pair that is new to it."""
    due: bool
    """The pair is trading, and the bar of the last closed day is not in the lake."""


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
        last, status = known.last.get(pair.symbol), book.rules[pair.symbol].status
        trading = status == TRADING
        may_have_news = trading or known.status.get(pair.symbol) != status or pair.symbol in known.failed
        if may_have_news and (last is None or last < last_open):
            since = last_open - (history - 1) * DAY if last is None else known.since(pair.symbol, last_open)
            found.append(FetchTask(pair, since, last, trading))
    return found


class Known:
    """What the lake has of each symbol, where the last bar that has closed opened at ``last_open``.

    ``last`` is the opening time of its last bar, ``gap`` that of the last bar before its earliest gap within the last
    thousand days that was not asked for in vain, ``status`` its trading status at the last look; ``failed`` could not
    be fetched the last time.
    """

    def __init__(self, held: Held, last_open: dt.datetime, nowhere: Nowhere) -> None:
        keys = held.keys if held.keys is not None else pl.DataFrame(schema={"symbol": pl.String, "open_time": INSTANT})
        recent = gaps(keys.filter(pl.col("open_time") >= last_open - _WINDOW))
        table = held.instruments if held.instruments is not None else pl.DataFrame(schema=INSTRUMENTS)
        current = table.filter(pl.col("valid_to").is_null())
        self.last: dict[str, dt.datetime] = _map(keys.group_by("symbol").agg(pl.col("open_time").max()))
        self.gap: dict[str, dt.datetime] = {}
        for symbol, before, _, missing in recent.iter_rows():
            noted = nowhere.days(symbol)
            if any(before.date() + n * DAY not in noted for n in range(1, missing + 1)):
                self.gap.setdefault(symbol, before)
        self.status: dict[str, str | None] = _map(current.select("symbol", "status"))
        self.failed = held.failed

    def since(self, symbol: str, last_open: dt.datetime) -> dt.datetime:
        """Return where to begin: the last bar, or the one before the earliest gap."""
        return min(self.last[symbol], self.gap.get(symbol, last_open))


def _map(table: pl.DataFrame) -> dict[str, Any]:
    return dict(table.iter_rows())


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
