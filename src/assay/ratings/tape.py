"""Bars of many symbols on one tape, listing after listing, and the ordinals of listings."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from assay.base.constants import LISTING_ENDS_AFTER, Bools, Floats, Ints
from assay.base.domain import INTERVALS
from assay.base.errors import DataError, UsageError

OPEN_TIME = pl.Datetime("us", "UTC")
PRICES = ("high", "low", "close", "volume")
"""What indicators read of a bar."""


@dataclass(frozen=True)
class Tape:
    """Rated bars (volume > 0) in the order of symbol and time.

    Attributes
    ----------
    keys : DataFrame, n rows
        ``symbol``, ``interval``, ``open_time``.
    listing : (n,) int64 array
        Ordinal of the listing in its symbol, from 0, counted over all bars given.
    bar : (n,) int64 array
        Ordinal of the rated bar in its listing, from 0.
    starts : (n_listings + 1,) int64 array
        First row of every listing that has a rated bar, and n.
    prices : mapping of :data:`PRICES` to (n,) float64 arrays
    """

    keys: pl.DataFrame
    listing: Ints
    bar: Ints
    starts: Ints
    prices: dict[str, Floats]


def interval_length(interval: str) -> dt.timedelta:
    """Return the length of an interval's bars.

    Raises
    ------
    UsageError
        If there is no such interval.
    """
    try:
        return INTERVALS[interval]
    except KeyError:
        raise UsageError(f"unknown interval {interval!r}", hint=f"one of {', '.join(INTERVALS)}") from None


def listings(bars: pl.DataFrame) -> pl.Series:
    """Return the ordinal of every bar's listing in its symbol.

    A listing ends where three or more intervals are missing between two bars. Every bar counts as existing, also one
    without volume.

    Parameters
    ----------
    bars : DataFrame
        ``symbol``, ``interval``, ``open_time``, in any order.

    Returns
    -------
    Series of Int32
        Ordinal of the listing of each row, from 0.

    Raises
    ------
    UsageError
        If an interval is unknown.
    DataError
        If a bar is there twice.

    Examples
    --------
    >>> days = [dt.datetime(2024, 1, day, tzinfo=dt.UTC) for day in (1, 4, 8)]
    >>> listings(pl.DataFrame({"symbol": "X:A", "interval": "1d", "open_time": days})).to_list()
    [0, 0, 1]
    """
    ordinals = np.zeros(bars.height, dtype=np.int32)
    for interval in bars["interval"].unique(maintain_order=True):
        length = interval_length(interval)
        rows = bars.with_row_index("row").filter(pl.col("interval") == interval).sort("symbol", "open_time")
        ordinals[rows["row"].to_numpy()] = _ordinals(rows, length)
    return pl.Series("listing", ordinals)


def tape(bars: pl.DataFrame, interval: str) -> Tape:
    """Order the bars of one interval, number listings, and keep what is rated.

    Parameters
    ----------
    bars : DataFrame
        Lake columns; rows of other intervals are left out. Where there is no ``listing``, :func:`listings` tells it.

    Raises
    ------
    UsageError
        If the interval is unknown.
    DataError
        If a bar is there twice, or a rated bar has a price or volume that is not finite.
    """
    length = interval_length(interval)
    bars = _ordered(_of_interval(bars, interval))
    listing = _ordinals(bars, length)
    if "listing" in bars.columns:
        listing = bars["listing"].cast(pl.Int64).to_numpy()
    rated = (bars["volume"] > 0).fill_null(False).to_numpy()
    if not rated.all():
        bars, listing = bars.filter(rated), listing[rated]
    begins = _changes(bars["symbol"])
    begins[1:] |= listing[1:] != listing[:-1]
    starts = np.flatnonzero(begins)
    bar = np.arange(bars.height) - np.repeat(starts, np.diff(starts, append=bars.height))
    return Tape(
        keys=bars.select("symbol", "interval", pl.col("open_time").cast(OPEN_TIME)),
        listing=listing,
        bar=bar,
        starts=np.append(starts, bars.height),
        prices={name: _finite(bars, name) for name in PRICES},
    )


def symbol_starts(keys: pl.DataFrame) -> Ints:
    """Return the first row of every symbol, and the number of rows."""
    return np.append(np.flatnonzero(_changes(keys["symbol"])), keys.height)


def _of_interval(bars: pl.DataFrame, interval: str) -> pl.DataFrame:
    bars = bars.select("symbol", "interval", "open_time", *PRICES, *({"listing"} & set(bars.columns)))
    wanted = bars["interval"] == interval
    return bars if wanted.all() else bars.filter(wanted)


def _ordered(bars: pl.DataFrame) -> pl.DataFrame:
    """Sort by symbol and time, unless the rows already are."""
    symbol, time = bars["symbol"], bars["open_time"]
    same = symbol == symbol.shift()
    rising = (symbol > symbol.shift()) | (same & (time > time.shift()))
    return bars if rising.slice(1).all() else bars.sort("symbol", "open_time")


def _changes(symbol: pl.Series) -> Bools:
    """Return True where a symbol begins, in an ordered column."""
    changes: Bools = (symbol != symbol.shift()).fill_null(True).to_numpy(writable=True)
    return changes


def _ordinals(bars: pl.DataFrame, length: dt.timedelta) -> Ints:
    """Return listing ordinals of rows ordered by symbol and time."""
    begins = _changes(bars["symbol"])
    step = np.diff(bars["open_time"].dt.epoch("us").to_numpy(), prepend=0)
    if np.any(step[~begins] <= 0):
        twice = bars.row(int(np.flatnonzero(~begins & (step <= 0))[0]), named=True)
        raise DataError(
            f"bar of {twice['open_time']} is there twice", where=twice["symbol"], hint="store each bar once"
        )
    ends = step >= (LISTING_ENDS_AFTER + 1) * (length // dt.timedelta(microseconds=1))
    starts = np.flatnonzero(ends | begins)
    count = np.arange(len(starts))
    first_of_symbol = np.maximum.accumulate(np.where(begins[starts], count, 0))
    return np.repeat(count - first_of_symbol, np.diff(starts, append=len(step)))


def _finite(bars: pl.DataFrame, name: str) -> Floats:
    values: Any = bars[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    faulty = ~np.isfinite(values)
    if faulty.any():
        row = bars.row(int(np.flatnonzero(faulty)[0]), named=True)
        raise DataError(
            f"{name} of the bar of {row['open_time']} is not a number", where=row["symbol"], hint="quarantine the row"
        )
    return np.asarray(values, dtype=np.float64)
