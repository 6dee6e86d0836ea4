"""What a walk-forward is held against: the benchmark, and all coins in equal weights.

Both are what a book that trades nothing but them would have earned before costs. The universe of a day is what was
listed on it, coins that died later among them: membership is known the day before.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from assay.backtest.walk_forward import WalkForwardResult
from assay.base.domain import Instrument
from assay.base.errors import UsageError
from assay.market.panel import Market
from assay.market.universe import excluded
from assay.settings.model import Universe


def yardsticks(result: WalkForwardResult, market: Market) -> pl.DataFrame:
    """Return the daily returns of benchmark and universe over the days of a walk-forward.

    Parameters
    ----------
    result : WalkForwardResult
    market : Market
        What the walk-forward was made on.

    Returns
    -------
    DataFrame
        ``date``, ``benchmark``, ``universe`` (mean of the simple returns of all coins that have one, each base once, in
        its best quote; fiat, stablecoins, metals and leveraged tokens left out), ``coins`` (how many); null where there
        is no return.
    """
    values = market.returns()[-len(result.days) :, coins(market)]
    there = np.isfinite(values)
    count = there.sum(axis=1)
    mean = np.where(there, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    return pl.DataFrame(
        {
            "date": result.days,
            "benchmark": pl.Series(result.benchmark).fill_nan(None),
            "universe": pl.Series(np.where(count > 0, mean, np.nan)).fill_nan(None),
            "coins": count.astype(np.int64),
        }
    )


def coins(market: Market) -> list[int]:
    """Columns of the coins of a market, each base once, in the quote that ranks best."""
    quotes = Universe().quotes
    best: dict[str, tuple[int, int]] = {}
    last = market.days[-1].astype("datetime64[D]").item()
    for column, symbol in enumerate(market.symbols):
        try:
            pair = Instrument.parse(symbol)
        except UsageError:
            continue  # scanners name it as an invalid record
        if pair.quote in quotes and excluded(pair.base, last) is None:
            ranked = (quotes.index(pair.quote), column)
            best[pair.base] = min(ranked, best.get(pair.base, ranked))
    return sorted(column for _, column in best.values())
