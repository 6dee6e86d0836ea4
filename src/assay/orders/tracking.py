"""How far what is held is from what is wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from assay.base.constants import Floats
from assay.risk.covariance import estimate_covariance

ROWS = 252
"""Last days that the covariance reads, as everywhere."""


def tracking_error(
    differences: Mapping[str, float], returns: Mapping[str, Floats], min_rows: int = 200
) -> dict[str, Any]:
    """Measure how far what will be held is from what is wanted.

    Parameters
    ----------
    differences : mapping of str to float
        Symbol to d: weight held afterwards less target weight, signed shares of NAV.
    returns : mapping of str to (n_days,) array
        Simple daily returns of coins on the same days, NaN where there is none.
    min_rows : int
        Complete rows below which nothing is estimated.

    Returns
    -------
    dict
        ``absolute`` = sum of abs(d), a share of NAV. ``annual`` = sqrt(d' S d), a share of NAV a year, where S is the
        covariance of the coins that differ (Ledoit and Wolf's on their last 252 complete daily rows, x 365); None where
        a coin has no returns or too few are complete. ``value`` is the second, or the first where there is no second;
        ``method`` and ``explanation`` say which.

    Examples
    --------
    >>> tracking_error({}, {})["value"]
    0.0
    """
    off = {symbol: value for symbol, value in differences.items() if value}
    absolute = math.fsum(abs(value) for value in off.values())
    lacking = sorted(symbol for symbol in off if symbol not in returns)
    annual, rows = None, 0
    if not lacking:
        annual, rows = _annual(off, returns, min_rows)
    why = f"no returns of {', '.join(lacking)}" if lacking else f"{rows} complete rows"
    by_covariance = (
        "sqrt(d'Sd) a year: d = weights held afterwards less target weights, S = covariance of these coins' daily"
        f" returns (Ledoit-Wolf, {rows} rows, x 365)"
    )
    by_weights = f"sum of absolute differences of weight, for want of a covariance ({why})"
    return {
        "value": absolute if annual is None else annual,
        "method": "absolute" if annual is None else "covariance",
        "explanation": by_weights if annual is None else by_covariance,
        "annual": annual,
        "absolute": absolute,
    }


def _annual(off: Mapping[str, float], returns: Mapping[str, Floats], min_rows: int) -> tuple[float | None, int]:
    if not off:
        return 0.0, 0
    stacked = np.column_stack([returns[symbol] for symbol in off])[-ROWS:]
    complete = stacked[~np.isnan(stacked).any(axis=1)]
    if len(complete) < min_rows:
        return None, len(complete)
    d = np.array(list(off.values()))
    return math.sqrt(max(0.0, float(d @ estimate_covariance(complete).matrix @ d))), len(complete)
