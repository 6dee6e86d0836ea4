"""How much capital a book could carry: a model of what orders do to prices, not a measurement.

An order pays half the spread, and moves its price by the root of its share of what is traded in a day [1]_: slippage =
half spread + volatility x sqrt(order / value traded), volatility of the last 60 days, value traded the median of the
last 20, both as known at the decision.

References
----------
.. [1] B. Tóth et al. (2011), Anomalous price impact and the critical nature of liquidity in financial markets, Physical
   Review X 1(2).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from assay.backtest.book import REBALANCE, BookResult
from assay.base.constants import DAYS_PER_YEAR, Floats, Ints
from assay.market.panel import Market
from assay.runs.documents import AtCapital, Capacity

FACTOR = 1.0
"""Of the root; empirical studies of many markets find it near 1."""
VOLATILITY_DAYS = 60
VOLUME_DAYS = 20
UNTRADABLE_SHARE = 0.10
"""Part of a day's value traded beyond which no order is one order any more."""
CAPITALS = (1e5, 1e6, 1e7)
"""At which wealth is told."""
STEPS = (*(factor * 10.0**power for power in range(3, 8) for factor in (1.0, 2.0, 5.0)), 1e8)
"""Among which capacity is looked for."""

Hold = Callable[[float, Floats], BookResult]
"""Runs the book with a capital and an impact."""


@dataclass(frozen=True)
class Depth:
    """What coins trade, (n_days, n_symbols), as known at each close; NaN for symbols that nobody asked about."""

    impact: Floats
    """Slippage per square root of an order's value."""
    volume: Floats
    """Median value traded."""


def depth(market: Market, first: int, columns: Ints) -> Depth:
    """Return volatility over the root of volume of some columns, from a row on."""
    shape = market["close"].shape
    begin = max(0, first - VOLATILITY_DAYS + 1)
    spread = rolling_std(market.returns()[begin:, columns], VOLATILITY_DAYS)
    padded = np.zeros((len(spread) + VOLUME_DAYS - 1, columns.size))
    early = max(0, begin - VOLUME_DAYS + 1)
    known = np.nan_to_num(market["value_traded"][early:, columns])  # a day without a bar trades nothing
    padded[len(padded) - len(known) :] = known
    volume = np.median(np.lib.stride_tricks.sliding_window_view(padded, VOLUME_DAYS, axis=0), axis=2)
    moved = np.full(spread.shape, np.inf)
    np.divide(FACTOR * spread, np.sqrt(volume), out=moved, where=(volume > 0.0) & np.isfinite(spread))
    result = Depth(np.full(shape, np.nan), np.full(shape, np.nan))
    result.impact[begin:, columns], result.volume[begin:, columns] = moved, volume
    return result


def rolling_std(values: Floats, window: int) -> Floats:
    """Return the standard deviation of the known ones of the last rows, (n_rows, n_columns), NaN of a single one."""
    known = np.isfinite(values)
    sums = np.zeros((3, len(values) + 1, values.shape[1]))
    filled = np.where(known, values, 0.0)
    for place, each in enumerate((known, filled, filled * filled)):
        np.cumsum(each, axis=0, out=sums[place, 1:])
    begin = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    count, total, squares = sums[:, 1:] - sums[:, begin]
    variance = np.full(values.shape, np.nan)
    np.divide(squares - total * total / np.maximum(count, 1.0), count - 1.0, out=variance, where=count > 1.0)
    deviation: Floats = np.sqrt(np.maximum(variance, 0.0))
    return deviation


def growth(returns: Floats) -> float | None:
    """Mean log growth a year; None where everything was lost."""
    if len(returns) == 0 or returns.min() <= -1.0:
        return None
    return float(np.log1p(returns).mean() * DAYS_PER_YEAR)


def capacity(hold: Hold, flat: Floats, counted: int, market: Market, known: Depth, half_spread: float) -> Capacity:
    """Run a book at several capitals, and look for the largest at which it keeps half of its growth.

    Parameters
    ----------
    hold : callable
    flat : (n_days,) array
        Counted returns of the book at the half spread alone.
    counted : int
        Row from which days are counted.
    market : Market
    known : Depth
    half_spread : float
    """
    flat_growth = growth(flat)
    made: dict[float, tuple[float | None, BookResult]] = {}

    def grown(capital: float) -> float | None:
        if capital not in made:
            book = hold(capital, known.impact)
            made[capital] = growth(book.returns[counted - int(book.rows[0]) :]), book
        return made[capital][0]

    def at(capital: float) -> AtCapital:
        grew, book = grown(capital), made[capital][1]
        wealth = float(np.prod(1.0 + book.returns[counted - int(book.rows[0]) :]))
        decided = np.flatnonzero(book.trades.reason == REBALANCE)
        value = np.abs(book.trades.quantity[decided]) * book.trades.reference[decided]
        column = book.trades.column[decided]
        beyond = value > UNTRADABLE_SHARE * known.volume[book.trades.row[decided] - 1, column]
        names = Counter(market.symbols[one] for one in column[beyond].tolist())
        return AtCapital(
            capital=capital,
            final_wealth=wealth,
            growth=grew,
            orders=len(decided),
            untradable=dict(sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))),
        )

    told = [at(capital) for capital in CAPITALS]
    found = None if flat_growth is None or flat_growth <= 0.0 else _largest(grown, flat_growth / 2.0)
    return Capacity(half_spread=half_spread, factor=FACTOR, flat_growth=flat_growth, capacity=found, at=told)


def _largest(grown: Callable[[float], float | None], enough: float) -> float:
    """Return the largest of the steps at which growth exceeds what is enough; 0 where none does."""

    def carries(capital: float) -> bool:
        found = grown(capital)
        return found is not None and found > enough

    # What was run already tells where to look: from the largest that carries it up, from the smallest down.
    floor = max((capital for capital in CAPITALS if carries(capital)), default=None)
    if floor is None:
        return next((step for step in reversed(STEPS) if step < CAPITALS[0] and carries(step)), 0.0)
    above = itertools.takewhile(carries, (step for step in STEPS if step > floor))
    return max(above, default=floor)
