"""What a row of the ``ratings`` table may hold: the rules of L1, as expressions over its columns.

The contract counts and names what breaks them; the panel that decisions read says of each row whether it breaks any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from assay.base.constants import RATING_TOLERANCE
from assay.base.domain import RATINGS
from assay.ratings.votes import VOTES

OSCILLATOR_TOLERANCE = 1e-9
"""Oscillators are ratios times 100 and may miss a bound by their last bits."""
BOUNDED = ("rsi", "adx", "plus_di", "minus_di", "stoch_k", "stoch_d", "stoch_rsi_k", "stoch_rsi_d")
"""Oscillators in [0, 100]."""
_VOTES = tuple(f"vote_{name}" for name in VOTES)
UNSOUND = "unsound"
"""Name of the column that says of a row that it breaks one of the rules."""


def row_faults(votes: Iterable[str] = _VOTES) -> Mapping[str, tuple[str, pl.Expr]]:
    """Map each code to what is wrong, and to the expression that is true where it is; null where nothing is known."""
    every, averages, others = (pl.col(name) for name in RATINGS)
    low, high = -OSCILLATOR_TOLERANCE, 100.0 + OSCILLATOR_TOLERANCE
    # A NaN compares as greater than every number. A null, what is not known, is a fault only where a part is known.
    mean = (every - pl.mean_horizontal(averages, others)).abs() > RATING_TOLERANCE
    parted = every.is_null() != (averages.is_null() & others.is_null())
    return {
        "L1_RATING_RANGE": ("a rating is outside [-1, 1]", _outside(RATINGS, -1.0, 1.0)),
        "L1_VOTE": ("a vote is not -1, 0 or 1", _outside(votes, -1, 1)),
        "L1_OSCILLATOR_RANGE": ("an oscillator is outside [0, 100]", _outside(BOUNDED, low, high)),
        "L1_MEAN": ("recommend_all is not the mean of the groups", mean.fill_null(False) | parted),
    }


def unsound() -> pl.Expr:
    """Return the expression, named :data:`UNSOUND`, that is true for a row which breaks any rule."""
    faults = [fault.fill_null(False) for _, fault in row_faults().values()]
    return pl.any_horizontal(faults).alias(UNSOUND)


def _outside(names: Iterable[str], low: float, high: float) -> pl.Expr:
    return pl.any_horizontal(~pl.col(name).is_between(low, high) for name in names)
