"""What an account needs to know of one day's bars: the book's own reading of them, coin by coin, in decimals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from assay.account.money import ZERO
from assay.account.state import exactly
from assay.backtest.book import Prices, read_bars
from assay.base.constants import Days
from assay.base.errors import DataError
from assay.market.holes import LONGEST_HOLE


@dataclass(frozen=True)
class CoinDay:
    """One coin on one day; where it has no bar, all prices are its last close."""

    has_bar: bool
    open: Decimal
    high: Decimal
    low: Decimal
    mark: Decimal
    """Close, or the last one; 0 before the first bar."""
    rate: Decimal
    """Rate a year that shorts owe on this day."""
    ended: bool
    """The listing is found to have ended today."""
    overlong: bool
    """It did for the length of a hole that is not the coin's own."""
    relisted: bool
    """First bar of another listing."""
    forgotten: bool = False
    """Its last bar is so long ago that whatever comes next is another listing: nothing is ordered of it."""


@dataclass(frozen=True)
class DayBars:
    """One day of the coins that an account holds, has ordered, or is to decide on, in the market's order."""

    day: dt.date
    coins: Mapping[str, CoinDay]

    @property
    def closes(self) -> dict[str, Decimal]:
        """What an order is decided at; coins that never had a bar, or not for long, have no close."""
        return {symbol: coin.mark for symbol, coin in self.coins.items() if coin.mark > 0 and not coin.forgotten}


def day_bars(prices: Prices, days: Days, symbols: Sequence[str], row: int, wanted: Collection[str]) -> DayBars:
    """Read one day of some coins.

    Parameters
    ----------
    prices : Prices
        Of :func:`assay.backtest.walk_forward.prices_of`.
    days : (n_days,) datetime64[D] array
    symbols : sequence of str
        Columns of the prices.
    row : int
        The day's.
    wanted : collection of str

    Raises
    ------
    DataError
        If a coin is not in the market, or its bars have a fault.
    """
    strangers = sorted(set(wanted) - set(symbols))
    if strangers:
        raise DataError(
            f"the account needs a price of {strangers[0]}, which the source does not know",
            where=str(days[row]),
            hint="step with the source that the account was made for",
        )
    columns = [at for at, symbol in enumerate(symbols) if symbol in set(wanted)]
    # A listing without a bar for longer has ended before; one day more, so that what was decided on is remembered.
    begin = max(0, row - 2 - LONGEST_HOLE)
    part = prices.part(begin, np.array(columns, dtype=np.int64))
    bars = read_bars(Prices(*(getattr(part, name)[: row - begin + 1] for name in Prices.__dataclass_fields__)))
    told = {}
    for at, column in enumerate(columns):
        open_, high, low, mark = (
            exactly(float(values[-1, at])) for values in (bars.open, bars.high, bars.low, bars.mark)
        )
        rate = float(part.borrow[row - begin, at])
        told[symbols[column]] = CoinDay(
            has_bar=bool(bars.has_bar[-1, at]),
            open=open_,
            high=high,
            low=low,
            mark=mark,
            rate=exactly(rate) if np.isfinite(rate) else ZERO,
            ended=bool(bars.ended[-1, at]),
            overlong=bool(bars.overlong[-1, at]),
            relisted=bool(bars.relisted[-1, at]),
            forgotten=not bars.has_bar[-1 - LONGEST_HOLE :, at].any(),
        )
    day: dt.date = days[row].astype("datetime64[D]").item()
    return DayBars(day, told)
