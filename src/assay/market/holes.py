"""Days without a bar: whose they are, and where listings end. It is decided here and nowhere else.

A day that one coin lacks says something about the coin; a day that the whole market lacks says something about the
source, and a day whose rows were refused says something about these rows. Only the first kind ends a listing, unless a
hole is so long that nobody knows what lies on its other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.base.constants import LISTING_ENDS_AFTER, Bools
from assay.base.domain import BENCHMARK
from assay.ratings import listings
from assay.runs.documents import Finding

BAR, COIN, MARKET, REFUSED = range(4)
"""Owners of a day: it has a bar, the coin alone lacks it, the whole market does, or its rows are in quarantine."""
LONGEST_HOLE: Final = 10
"""Missing days in a row after which a listing has ended whoever owns them."""
LEAST_COINS: Final = 5
"""Coins that a hole of the market must have around it."""
MOST_LACK: Final = 0.9
"""Share of them that must lack a day of it."""

Owners = npt.NDArray[np.int8]
Counts = npt.NDArray[np.int32]
_BEFORE, _AFTER = 5, 10
_DAY_US = 86_400_000_000


def owners(present: Bools, refused: Bools, benchmark: int | None) -> Owners:
    """Return who owns each day of each coin.

    Parameters
    ----------
    present : (n_days, n_symbols) bool array
        Where there is a bar; every calendar day is a row.
    refused : (n_days, n_symbols) bool array
        Where a row lies in quarantine.
    benchmark : int or None
        Its column; where it has none, no day is the market's.

    Returns
    -------
    (n_days, n_symbols) int8 array
        :data:`BAR`, :data:`COIN`, :data:`MARKET` or :data:`REFUSED`.

    Examples
    --------
    Six coins, of which the last goes on while the others, and the benchmark in front, lack a day:

    >>> present = np.ones((4, 6), dtype=np.bool_)
    >>> present[2, :5] = False
    >>> owners(present, np.zeros((4, 6), dtype=np.bool_), 0).tolist()[2] == [COIN] * 5 + [BAR]
    True

    (5 of 6 coins are fewer than 90 %.)
    """
    found = np.where(present, BAR, COIN).astype(np.int8)
    if benchmark is not None:
        lacking = np.flatnonzero(_market_lacks(present, benchmark))
        found[lacking] = np.where(present[lacking], BAR, MARKET)
    found[refused & ~present] = REFUSED
    return found


def _market_lacks(present: Bools, benchmark: int) -> Bools:
    """Days that the benchmark and nearly all coins lack, of those with a bar before the hole and one after the day."""
    lacks = np.zeros(len(present), dtype=np.bool_)
    begin = -1
    for day in np.flatnonzero(~present[:, benchmark]).tolist():
        begin = begin if day and not present[day - 1, benchmark] and begin >= 0 else day
        hole = max(begin, day - LONGEST_HOLE)
        near = present[max(hole - _BEFORE, 0) : day].any(axis=0) & present[day + 1 : day + 1 + _AFTER].any(axis=0)
        coins, lacking = int(near.sum()), int((near & ~present[day]).sum())
        lacks[day] = coins >= LEAST_COINS and lacking >= MOST_LACK * coins
    return lacks


def since_bar(owner: Owners) -> tuple[Counts, Counts]:
    """Return the missing days since the last bar, all of them and those that the coin owns; 0 before the first bar."""
    row = np.arange(len(owner), dtype=np.int32)[:, None]
    bar = owner == BAR
    last = np.maximum.accumulate(np.where(bar, row, np.int32(-1)), axis=0)
    own = np.cumsum(owner == COIN, axis=0, dtype=np.int32)
    before = np.maximum.accumulate(np.where(bar, own, np.int32(0)), axis=0)
    return np.where(last >= 0, row - last, 0), np.where(last >= 0, own - before, 0)


def ends(owner: Owners) -> Bools:
    """Return the days on which a listing is found to have ended, (n_days, n_symbols).

    Examples
    --------
    >>> days = np.array([[BAR], [COIN], [COIN], [MARKET], [COIN], [COIN], [BAR]], dtype=np.int8)
    >>> np.flatnonzero(ends(days)).tolist()
    [4]
    """
    missing, own = since_bar(owner)
    ended = (missing > LONGEST_HOLE) | (own >= LISTING_ENDS_AFTER)
    first = ended.copy()
    first[1:] &= ~ended[:-1]
    return first


def refused_days(rejected: pl.DataFrame | None, index: Mapping[str, int], first: int, shape: tuple[int, int]) -> Bools:
    """Return the days for which a row lies in quarantine.

    Parameters
    ----------
    rejected : DataFrame or None
        ``symbol`` and ``open_time``, null where a row has none that can be read.
    index : mapping of str to int
        Column of each symbol.
    first : int
        The first row's day, since 1970.
    shape : tuple of int
        Days and symbols.
    """
    refused = np.zeros(shape, dtype=np.bool_)
    if rejected is not None and not rejected.is_empty():
        rows = rejected.select("symbol", day=pl.col("open_time").dt.epoch("us") // _DAY_US - first).unique()
        rows = rows.filter(pl.col("symbol").is_in(list(index)) & pl.col("day").is_between(0, shape[0] - 1))
        for symbol, day in rows.iter_rows():
            refused[day, index[symbol]] = True
    return refused


def cut_listings(bars: pl.DataFrame, rejected: pl.DataFrame) -> tuple[pl.Series, list[Finding]]:
    """Cut the bars of each symbol into listings.

    Parameters
    ----------
    bars : DataFrame
        ``symbol``, ``interval`` and ``open_time`` of all bars of a lake, each there once, in any order.
    rejected : DataFrame
        The quarantine of the same lake.

    Returns
    -------
    Series of Int32
        Ordinal of the listing of each row, from 0. Of bars that are not daily three missing ones end a listing.
    list of Finding
        ``HOLE_TOO_LONG`` where a hole that is not the coin's own ended a listing.
    """
    if bars.is_empty() or (bars["interval"] != "1d").any():
        return listings(bars), []
    symbols = bars["symbol"].unique().sort()
    index = {name: column for column, name in enumerate(symbols.to_list())}
    day = (bars["open_time"].dt.epoch("us") // _DAY_US).to_numpy()
    column = bars["symbol"].cast(pl.Enum(symbols)).to_physical().cast(pl.Int64).to_numpy()
    first = int(day.min())
    present = np.zeros((int(day.max()) - first + 1, len(index)), dtype=np.bool_)
    present[day - first, column] = True
    owner = owners(present, refused_days(rejected, index, first, present.shape), index.get(BENCHMARK))
    ended = ends(owner)
    ordinals = np.cumsum(ended, axis=0, dtype=np.int32)[day - first, column]
    overlong = ended & (since_bar(owner)[1] < LISTING_ENDS_AFTER)
    names = [symbols[int(i)] for i in np.flatnonzero(overlong.any(axis=0))]
    what = f"more than {LONGEST_HOLE} days are missing, refused or of the whole market: what follows is another listing"
    found = [Finding(code="HOLE_TOO_LONG", what=what, count=int(overlong.sum()), names=names)] if names else []
    return pl.Series("listing", ordinals), found
