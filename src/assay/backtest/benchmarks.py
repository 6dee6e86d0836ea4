"""What a walk-forward is held against: the benchmark, and all coins in equal weights.

Both are what a book that trades nothing but them would have earned before costs. The universe of a day is what was
listed on it, coins that died later among them: membership is known the day before, and so is the pair of each base.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from assay.backtest.walk_forward import WalkForwardResult
from assay.base.constants import Bools
from assay.base.domain import DAY, UTC
from assay.market.kinds import ListedKinds
from assay.market.panel import Market
from assay.market.universe import market_metadata, pairs_of
from assay.settings.model import Universe


def benchmark_returns(result: WalkForwardResult, market: Market, universe: Universe) -> pl.DataFrame:
    """Return the daily returns of benchmark and universe over the days of a walk-forward.

    Parameters
    ----------
    result : WalkForwardResult
    market : Market
        What the walk-forward was made on.
    universe : Universe
        Exchange, quotes, and how a base with several quotes is traded once: the scanners'.

    Returns
    -------
    DataFrame
        ``date``, ``benchmark``, ``universe`` (mean of the simple returns of all coins that have one, each base once, in
        the pair that a scanner would have traded on the close before; fiat, stablecoins, metals and leveraged tokens
        left out), ``coins`` (how many); null where there is no return.
    """
    first = len(market.days) - len(result.days)
    eve = coins(market, universe, range(first - 1, len(market.days) - 1))
    columns = np.flatnonzero(eve.any(axis=0))
    values = market.returns()[first:, columns]
    there = np.isfinite(values) & eve[:, columns]
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


def coins(market: Market, universe: Universe, rows: Sequence[int]) -> Bools:
    """Which pairs stand for the coins of a universe at the closes of some rows, (n_rows, n_symbols); none at row -1."""
    pairs = pairs_of(market.symbols, market_metadata(market), universe.exchange, universe.quotes)
    members = np.zeros((len(rows), len(market.symbols)), dtype=np.bool_)
    kinds = ListedKinds(market.instruments)
    for place, row in enumerate(rows):
        if row >= 0:
            day = market.days[row].astype("datetime64[D]").item()
            listed = pairs.coins(day) & (market.listing[row] >= 0)
            out = kinds.at(dt.datetime.combine(day, dt.time(), UTC) + DAY)
            listed[[market.index[symbol] for symbol in out if symbol in market.index]] = False
            columns = np.flatnonzero(listed)
            members[place, pairs.traded(columns, market["value_traded"][row], universe.quote_advantage)] = True
    return members
