"""The market's regime, read from the benchmark's closes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from assay.base.constants import DAYS_PER_YEAR, Floats
from assay.risk.solve import REGIME_UNKNOWN
from assay.runs.documents import Event

RegimeName = Literal["QUIET", "NORMAL", "TURBULENT", "CRISIS"]

VOLATILITY_DAYS = 20
RANKED_VALUES = 252
LEAST_VALUES = 120
HIGH_DAYS = 60
CRISIS_PERCENTILE = 0.95
CRISIS_FALL = -0.20
TURBULENT_PERCENTILE = 0.80
QUIET_PERCENTILE = 0.20


@dataclass(frozen=True)
class Regime:
    """A regime with what it was read from."""

    name: RegimeName
    """QUIET, NORMAL, TURBULENT or CRISIS."""
    volatility: float | None
    """Standard deviation of the last 20 simple daily returns, times sqrt(365)."""
    percentile: float | None
    """Average rank of ``volatility`` among its last 252 values (itself one of them), over their number; in (0, 1]."""
    fall: float | None
    """Last close over the highest close of the last 60 days, minus 1; at most 0."""
    values: int
    """How many volatilities were ranked."""
    events: tuple[Event, ...] = ()
    """``REGIME_UNKNOWN`` where the closes did not suffice and NORMAL is assumed."""


def read_regime(closes: Floats) -> Regime:
    """Classify the last day.

    Parameters
    ----------
    closes : (n_days,) array
        Closes of consecutive days; NaN where there is no bar. A return exists only between two days that have one.

    Returns
    -------
    Regime
        CRISIS for percentile >= 0.95 and fall <= -20 %, TURBULENT for percentile >= 0.80, QUIET for percentile <= 0.20,
        else NORMAL; NORMAL with an event when the last day has no volatility or fewer than 120 values exist.

    Examples
    --------
    >>> rising = 100.0 * 1.001 ** np.arange(300) * (1 + 0.0001 * np.arange(300) * (-1.0) ** np.arange(300))
    >>> regime = read_regime(rising)
    >>> regime.name, regime.percentile, regime.values
    ('TURBULENT', 1.0, 252)
    """
    closes = np.asarray(closes, dtype=np.float64)
    volatilities = rolling_volatility(closes[-(RANKED_VALUES + VOLATILITY_DAYS) :])
    known = volatilities[np.isfinite(volatilities)]
    last = float(volatilities[-1]) if len(volatilities) else math.nan
    fall = _fall(closes[-HIGH_DAYS:])
    if not math.isfinite(last) or len(known) < LEAST_VALUES or fall is None:
        event = Event(
            code=REGIME_UNKNOWN,
            what="the benchmark's closes do not tell the regime; NORMAL is assumed",
            values={"values": len(known), "needed": LEAST_VALUES},
        )
        return Regime("NORMAL", last if math.isfinite(last) else None, None, fall, len(known), (event,))
    percentile = average_rank(known, last) / len(known)
    return Regime(name_regime(percentile, fall), last, percentile, fall, len(known))


def name_regime(percentile: float, fall: float) -> RegimeName:
    """Apply the thresholds.

    >>> name_regime(0.95, -0.20), name_regime(0.99, -0.19), name_regime(0.20, -0.50), name_regime(0.5, 0.0)
    ('CRISIS', 'TURBULENT', 'QUIET', 'NORMAL')
    """
    if percentile >= CRISIS_PERCENTILE and fall <= CRISIS_FALL:
        return "CRISIS"
    if percentile >= TURBULENT_PERCENTILE:
        return "TURBULENT"
    return "QUIET" if percentile <= QUIET_PERCENTILE else "NORMAL"


def rolling_volatility(closes: Floats) -> Floats:
    """Annual volatility of each window of 20 simple daily returns; NaN where one is missing.

    Parameters
    ----------
    closes : (n_days,) array
        Closes of consecutive days.

    Returns
    -------
    (n_days - 20,) array
        Standard deviation with divisor 19, times sqrt(365); empty for fewer than 21 days.
    """
    if len(closes) <= VOLATILITY_DAYS:
        return np.empty(0)
    returns = closes[1:] / closes[:-1] - 1.0
    # Each window on its own: a running sum would make a value depend on what came before its window.
    windows = sliding_window_view(returns, VOLATILITY_DAYS)
    return np.asarray(windows.std(axis=1, ddof=1) * math.sqrt(DAYS_PER_YEAR), dtype=np.float64)


def average_rank(values: Floats, value: float) -> float:
    """Rank of a value that is one of ``values``, from 1; ties share the mean of their ranks.

    >>> average_rank(np.array([3.0, 1.0, 2.0]), 2.0), average_rank(np.full(4, 7.0), 7.0)
    (2.0, 2.5)
    """
    below = int(np.count_nonzero(values < value))
    equal = int(np.count_nonzero(values == value))
    return below + (equal + 1) / 2


def _fall(closes: Floats) -> float | None:
    if not len(closes) or not math.isfinite(closes[-1]):
        return None
    high = float(np.nanmax(closes))
    # Not close / high - 1, which leaves an exact fall of 20 % at -0.19999999999999996 and misses the threshold.
    return (float(closes[-1]) - high) / high
