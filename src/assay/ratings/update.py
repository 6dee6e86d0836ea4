"""The daily update: ratings of new bars from a short tail and the stored state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from assay.base.constants import Floats, Ints
from assay.base.domain import DEFAULT_EDITION
from assay.base.errors import DataError
from assay.ratings.averages import STATE, Course, recursive_averages
from assay.ratings.indicators import CONTEXT, REACH, WARMUP
from assay.ratings.table import rows_of
from assay.ratings.tape import OPEN_TIME, Tape, symbol_starts, tape
from assay.ratings.votes import check_edition


@dataclass(frozen=True)
class Stored:
    """Previous rating rows laid beside the bars of a tape, n rows.

    Attributes
    ----------
    listing, bar : (n,) int64 arrays
        -1 where the bar has no previous row.
    state : mapping of :data:`STATE` to (n,) float64 arrays
    """

    listing: Ints
    bar: Ints
    state: dict[str, Floats]

    def resumable(self, row: int) -> bool:
        """Tell whether recursive averages can go on from a row."""
        return bool(self.listing[row] >= 0) and all(np.isfinite(values[row]) for values in self.state.values())

    def state_at(self, row: int) -> dict[str, float]:
        """Return the state from which recursive averages go on."""
        return {name: float(values[row]) for name, values in self.state.items()}


@dataclass(frozen=True)
class Plan:
    """What one symbol's new rows are computed from.

    Attributes
    ----------
    first, end : int
        New rows of the tape.
    listing_offset : int
        Added to the tape's listing ordinals.
    bar_offset : int
        Added to the bar ordinals of the first listing, which ends at row ``listing_end``.
    courses : sequence of Course
        Listings from their first bar on, or one that goes on from its stored state.
    """

    first: int
    end: int
    listing_offset: int = 0
    bar_offset: int = 0
    listing_end: int = 0
    courses: Sequence[Course] = ()


def extend(
    bars: pl.DataFrame, previous: pl.DataFrame, interval: str = "1d", edition: str = DEFAULT_EDITION
) -> pl.DataFrame:
    """Rate the bars that have no rating yet; equal, bit for bit, to :func:`rate` on the whole history.

    For each symbol the first bar without a previous row, among the bars from the symbol's first previous row on, is
    rated, and so are all bars after it. After a repair, leave the repaired bar's row and all later ones out of
    ``previous``.

    Parameters
    ----------
    bars : DataFrame
        Lake columns, in any order: for each symbol every bar from some instant on, at least 200 rated bars before its
        first new one (260 leave room for bars without volume), or its whole listing. A symbol without previous rows is
        taken to be given whole.
    previous : DataFrame
        Rows of the ratings table: for each symbol that was ever rated, all of them or the last 40, however old. Choose
        them by symbol, not by date: a delisted coin without any row here would pass for a new one.
    interval : str
        One of :data:`assay.base.domain.INTERVALS`.
    edition : {"2026", "2021"}
        Of the rules; previous rows of another one give their state, which editions share.

    Returns
    -------
    DataFrame
        The new rows, as :func:`rate` gives them.

    Raises
    ------
    UsageError
        If the interval or the edition is unknown.
    DataError
        If the bars do not reach back far enough, or do not fit the previous rows.
    """
    check_edition(edition)
    rated = tape(bars, interval)
    stored = _stored(rated, previous.filter(pl.col("interval") == interval))
    begins = symbol_starts(rated.keys)
    plans = [_plan(rated, stored, int(begin), int(end)) for begin, end in pairwise(begins)]
    return _compute(rated, plans, edition)


def _stored(rated: Tape, previous: pl.DataFrame) -> Stored:
    keys = rated.keys.select("symbol", "open_time")
    kept = previous.select("symbol", pl.col("open_time").cast(OPEN_TIME), "listing", "bar", *STATE)
    beside = keys.join(kept, on=["symbol", "open_time"], how="left", maintain_order="left")
    if beside.height != keys.height:
        raise DataError("a bar has two previous ratings", where="ratings", hint="pass each row once")
    unmatched = set(kept["symbol"].unique()) & set(keys["symbol"].unique())
    unmatched -= set(beside.filter(pl.col("listing").is_not_null())["symbol"].unique())
    if unmatched:
        raise DataError(
            "no bar fits the previous ratings", where=min(unmatched), hint="pass earlier bars, or rate the symbol anew"
        )
    return Stored(
        listing=beside["listing"].cast(pl.Int64).fill_null(-1).to_numpy(),
        bar=beside["bar"].cast(pl.Int64).fill_null(-1).to_numpy(),
        state={name: beside[name].fill_null(np.nan).to_numpy() for name in STATE},
    )


def _plan(rated: Tape, stored: Stored, begin: int, end: int) -> Plan:
    known = stored.listing[begin:end] >= 0
    if not known.any():
        return Plan(begin, end, courses=_listings(rated, begin, end))
    trusted = begin + int(known.argmax())
    listing_offset = int(stored.listing[trusted] - rated.listing[trusted])
    first = _first_misfit(rated, stored, trusted, end)
    if first == end:
        return Plan(end, end)
    if rated.bar[first] == 0:
        return Plan(first, end, listing_offset, courses=_listings(rated, first, end))
    return _resume(rated, stored, first, end, listing_offset)


def _first_misfit(rated: Tape, stored: Stored, trusted: int, end: int) -> int:
    """Return the first row after ``trusted`` without a previous row, or with one that counts bars otherwise."""
    rows = slice(trusted, end)
    listing, bar = stored.listing[rows] - rated.listing[rows], stored.bar[rows] - rated.bar[rows]
    goes_on = rated.listing[rows][1:] == rated.listing[rows][:-1]
    fits = (stored.listing[rows][1:] >= 0) & (listing[1:] == listing[0])
    fits &= np.where(goes_on, bar[1:] == bar[:-1], bar[1:] >= 0)
    return end if fits.all() else trusted + 1 + int((~fits).argmax())


def _resume(rated: Tape, stored: Stored, first: int, end: int, listing_offset: int) -> Plan:
    """Go on within a listing: from the stored state, or from its first bar where that is loaded."""
    bar_offset = int(stored.bar[first - 1] - rated.bar[first - 1])
    opening = first - int(rated.bar[first])
    closing, *later = _listings(rated, first, end)
    if rated.bar[first] >= CONTEXT and stored.resumable(first - WARMUP):
        resumed = Course(first - WARMUP, closing.end, stored.state_at(first - WARMUP))
        return Plan(first, end, listing_offset, bar_offset, closing.end, [resumed, *later])
    if bar_offset:
        raise DataError(
            f"too few bars or ratings before {rated.keys['open_time'][first]}",
            where=rated.keys["symbol"][first],
            hint=f"pass {REACH} rated bars and {WARMUP} ratings before the first new bar, or the whole listing",
        )
    return Plan(first, end, listing_offset, courses=[Course(opening, closing.end), *later])


def _listings(rated: Tape, first: int, end: int) -> list[Course]:
    """Cut rows ``first`` to ``end`` where listings begin."""
    inside = rated.starts[(rated.starts > first) & (rated.starts < end)]
    cuts = [first, *map(int, inside), end]
    return [Course(begin, stop) for begin, stop in pairwise(cuts)]


def _compute(rated: Tape, plans: Sequence[Plan], edition: str) -> pl.DataFrame:
    new = np.zeros(rated.keys.height, dtype=bool)
    listing, bar = rated.listing.copy(), rated.bar.copy()
    for plan in plans:
        new[plan.first : plan.end] = True
        listing[plan.first : plan.end] += plan.listing_offset
        bar[plan.first : plan.listing_end] += plan.bar_offset
    averages = recursive_averages(rated, [course for plan in plans for course in plan.courses])
    return rows_of(rated, averages, edition, listing, bar, new)
