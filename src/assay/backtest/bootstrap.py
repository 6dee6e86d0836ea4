"""Intervals by the stationary block bootstrap: what the same days in another order might have shown.

Daily returns of a book are not independent (volatility clusters, a holding lasts several days), so days are drawn in
blocks of random length [1]_. The draws come from a generator made from an explicit seed: the same inputs give the same
interval.

References
----------
.. [1] D. N. Politis, J. P. Romano (1994), The Stationary Bootstrap, Journal of the American Statistical Association
   89(428).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from assay.backtest.statistics import checked
from assay.base.constants import DAYS_PER_YEAR, Floats, Ints

Interval = tuple[float, float] | None

MIN_DAYS = 20
"""Fewer days are too few to draw from."""


@lru_cache(maxsize=1)
def block_indices(days: int, samples: int, mean_block: float, seed: int, length: int | None = None) -> Ints:
    """Draw rows in blocks of geometric length that wrap around the end.

    Parameters
    ----------
    days, samples : int
        Length of the record, and how many records to draw.
    mean_block : float
        Mean length of a block, at least 1 (1 draws days independently).
    seed : int
        Of NumPy's PCG64.
    length : int, optional
        Of each record that is drawn; as many days as there are where None.

    Returns
    -------
    (samples, length) int array
        Rows of the record; not writeable, since all books of a walk-forward share the last draw.
    """
    if days < 1 or samples < 1 or mean_block < 1.0:
        raise ValueError("a bootstrap needs days, samples and blocks of at least 1")
    generator = np.random.Generator(np.random.PCG64(seed))
    length = days if length is None else length
    starts = generator.integers(0, days, size=(samples, length))
    begins = generator.random((samples, length)) < 1.0 / mean_block
    begins[:, 0] = True
    column = np.arange(length)
    of_block = np.maximum.accumulate(np.where(begins, column, 0), axis=1)
    rows: Ints = (np.take_along_axis(starts, of_block, axis=1) + column - of_block) % days
    rows.flags.writeable = False
    return rows


def _sharpe(drawn: Floats) -> Floats:
    spread = drawn.std(axis=1, ddof=1)
    spread[np.ptp(drawn, axis=1) == 0.0] = np.nan
    annual: Floats = drawn.mean(axis=1) / spread * math.sqrt(DAYS_PER_YEAR)
    return annual


def _cagr(drawn: Floats) -> Floats:
    final: Floats = np.prod(1.0 + drawn, axis=1)
    final[final < 0.0] = np.nan
    growth: Floats = final ** (DAYS_PER_YEAR / drawn.shape[1]) - 1.0
    return growth


def _max_drawdown(drawn: Floats) -> Floats:
    path = np.cumprod(1.0 + drawn, axis=1)
    deepest: Floats = (path / np.maximum(np.maximum.accumulate(path, axis=1), 1.0) - 1.0).min(axis=1)
    return deepest


def intervals(
    returns: npt.ArrayLike, seed: int, *, level: float = 0.95, samples: int = 1000, mean_block: float = 10.0
) -> dict[str, Interval]:
    """Percentile intervals of Sharpe ratio, CAGR and deepest drawdown.

    Parameters
    ----------
    returns : (n_days,) array
        Simple daily returns.
    seed : int
        Of the draws.
    level : float
        Probability inside the interval.
    samples : int
        Records to draw.
    mean_block : float
        Mean length of a block; the holding period is a natural choice.

    Returns
    -------
    dict
        ``sharpe``, ``cagr``, ``max_drawdown`` to (low, high), or None where fewer than 20 days are known or any drawn
        record leaves the figure undefined.
    """
    series = checked(returns)
    if not 0.0 < level < 1.0:
        raise ValueError("level must be between 0 and 1")
    measures = {"sharpe": _sharpe, "cagr": _cagr, "max_drawdown": _max_drawdown}
    if len(series) < MIN_DAYS:
        return dict.fromkeys(measures)
    drawn = series[block_indices(len(series), samples, mean_block, seed)]
    tails = [0.5 - level / 2.0, 0.5 + level / 2.0]
    result: dict[str, Interval] = {}
    for name, measure in measures.items():
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is undefined, and reported so
            low, high = (float(edge) for edge in np.quantile(measure(drawn), tails))
        result[name] = (low, high) if math.isfinite(low) and math.isfinite(high) else None
    return result
