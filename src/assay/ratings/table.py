"""Bars in, rows of the lake's ``ratings`` table out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.base.constants import Bools, Floats, Ints
from assay.base.domain import DEFAULT_EDITION, RATINGS
from assay.ratings.averages import STATE, recursive_averages, whole
from assay.ratings.indicators import chunks, indicators
from assay.ratings.tape import OPEN_TIME, Tape, tape
from assay.ratings.votes import NO_VOTE, VOTES, Votes, check_edition, ratings, votes

OSCILLATORS = ("rsi", "plus_di", "minus_di", "stoch_k", "stoch_d", "stoch_rsi_k", "stoch_rsi_d")
"""Bounded oscillators that have no memory of their own; ADX is part of the state."""

RATING_SCHEMA: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "interval": pl.String(),
    "open_time": OPEN_TIME,
    "edition": pl.String(),
    "listing": pl.Int32(),
    "bar": pl.Int32(),
    **dict.fromkeys(RATINGS, pl.Float64()),
    **{f"vote_{name}": pl.Int8() for name in VOTES},
    **dict.fromkeys((*OSCILLATORS, *STATE), pl.Float64()),
}
"""Columns of the ``ratings`` table and their types."""


def rate(bars: pl.DataFrame, interval: str = "1d", edition: str = DEFAULT_EDITION) -> pl.DataFrame:
    """Rate every bar that has volume.

    Parameters
    ----------
    bars : DataFrame
        Lake columns (``symbol``, ``interval``, ``open_time``, prices, ``volume``), in any order: whole listings, for
        recursive averages start at a listing's first bar, which ``listing`` tells, else three missing bars before it.
        Rows of other intervals are left out.
    interval : str
        One of :data:`assay.base.domain.INTERVALS`.
    edition : {"2026", "2021"}
        Of the rules.

    Returns
    -------
    DataFrame
        Columns of :data:`RATING_SCHEMA`, one row for each bar with volume > 0, ordered by symbol and time. Null where a
        value cannot be computed yet. Votes are -1 (sell), 0 or +1 (buy); ratings lie in [-1, 1].

    Raises
    ------
    UsageError
        If the interval or the edition is unknown.
    DataError
        If a bar is there twice, or a rated bar has a price or volume that is not finite.

    Examples
    --------
    >>> import datetime as dt
    >>> days = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=day) for day in range(12)]
    >>> price = [100.0 + day for day in range(12)]
    >>> bars = pl.DataFrame({"symbol": "BINANCE:AUSDT", "interval": "1d", "open_time": days})
    >>> bars = bars.with_columns(pl.Series(name, price) for name in ("open", "high", "low", "close", "volume"))
    >>> rate(bars).tail(1).select("bar", "vote_sma_10", "vote_hull_ma_9", "vote_sma_20").row(0)
    (11, 1, 0, None)

    The Hull average of a straight line is the line itself, and 20 bars do not exist yet.
    """
    check_edition(edition)
    rated = tape(bars, interval)
    averages = recursive_averages(rated, whole(rated))
    return rows_of(rated, averages, edition, rated.listing, rated.bar, None)


def rows_of(
    rated: Tape, averages: dict[str, Floats], edition: str, listing: Ints, bar: Ints, wanted: Bools | None
) -> pl.DataFrame:
    """Return rows of the table for a tape's bars, or for those that are wanted.

    Parameters
    ----------
    averages : dict of str to (n,) array
        Of :data:`~assay.ratings.averages.STATE`; where wanted, and in the bars that oscillators look back on.
    listing, bar : (n,) int arrays
        Ordinals to write.
    """
    size = rated.keys.height if wanted is None else int(wanted.sum())
    names = (*RATINGS, *OSCILLATORS)
    floats = dict(zip(names, np.empty((len(names), size)), strict=True))
    counted = dict(zip(VOTES, np.empty((len(VOTES), size), dtype=np.int8), strict=True))
    done = 0
    for rows in chunks(rated.keys.height):
        values = indicators(rated, averages, rows)
        cast = votes(values, edition)
        values.update(zip(RATINGS, ratings(cast), strict=True))
        chosen = slice(None) if wanted is None else wanted[rows]
        place = slice(done, done + (rows.stop - rows.start if wanted is None else int(wanted[rows].sum())))
        for name, target in floats.items():
            target[place] = values[name][chosen]
        for name, column in counted.items():
            column[place] = cast[name][chosen]
        done = place.stop
    chosen = slice(None) if wanted is None else wanted
    state = {name: averages[name][chosen] for name in STATE}
    keys = rated.keys if wanted is None else rated.keys.filter(wanted)
    ordinals = [pl.Series("listing", listing[chosen].astype(np.int32)), pl.Series("bar", bar[chosen].astype(np.int32))]
    return keys.with_columns(pl.lit(edition).alias("edition")).hstack(
        [
            *ordinals,
            *(_floats(name, floats[name]) for name in RATINGS),
            *(_counted(f"vote_{name}", counted[name]) for name in VOTES),
            *(_floats(name, floats[name]) for name in OSCILLATORS),
            *(_floats(name, state[name]) for name in STATE),
        ]
    )


def _floats(name: str, values: npt.NDArray[np.float64]) -> pl.Series:
    return pl.Series(name, values, nan_to_null=True)


def _counted(name: str, values: Votes) -> pl.Series:
    series = pl.Series(name, values)
    return series.set(series == NO_VOTE, None)
