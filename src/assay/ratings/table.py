"""Bars in, rows of the lake's ``ratings`` table out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.base.domain import RATINGS
from assay.ratings.indicators import REACH, STATE, WARMUP, State, indicators
from assay.ratings.kernels import Floats
from assay.ratings.panel import OPEN_TIME, Panel, Segment, Tape, tape
from assay.ratings.votes import VOTES, ratings, votes

OSCILLATORS = ("rsi", "plus_di", "minus_di", "stoch_k", "stoch_d", "stoch_rsi_k", "stoch_rsi_d")
"""Bounded oscillators that have no memory of their own; ADX is part of the state."""

FLOATS = (*RATINGS, *OSCILLATORS, *STATE)

RATING_SCHEMA: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "interval": pl.String(),
    "open_time": OPEN_TIME,
    "listing": pl.Int32(),
    "bar": pl.Int32(),
    **dict.fromkeys(RATINGS, pl.Float64()),
    **{f"vote_{name}": pl.Int8() for name in VOTES},
    **dict.fromkeys((*OSCILLATORS, *STATE), pl.Float64()),
}
"""Columns of the ``ratings`` table and their types."""

NO_VOTE = np.int8(-128)
BLOCK = 64
"""Columns computed at a time: few enough that a panel of them fits the processor's cache."""
STRETCH = 4096
"""Bars computed at a time, for the same reason: five years of hours would fill the memory instead."""
CONTEXT = REACH - 1
"""Bars before the first one wanted that its windows read."""


@dataclass
class Rows:
    """Rows of the ratings table as they are filled, one array for each float column and each vote."""

    size: int
    floats: dict[str, Floats] = field(init=False)
    votes: dict[str, npt.NDArray[np.int8]] = field(init=False)

    def __post_init__(self) -> None:
        self.floats = {name: np.empty(self.size) for name in FLOATS}
        self.votes = {name: np.empty(self.size, dtype=np.int8) for name in VOTES}

    def fill(self, panel: Panel, block: Sequence[Segment], places: Sequence[int], state: State | None = None) -> None:
        """Rate a panel of segments and store what is wanted of each from its place on."""
        values = indicators(panel, state)
        cast = votes(values)
        values = {**values, **dict(zip(RATINGS, ratings(cast), strict=True))}
        for name, target in self.floats.items():
            _scatter(values[name], target, block, places)
        for name, counted in self.votes.items():
            whole = np.full(cast[name].shape, NO_VOTE)
            np.copyto(whole, cast[name], where=~np.isnan(cast[name]), casting="unsafe")
            _scatter(whole, counted, block, places)

    def columns(self) -> list[pl.Series]:
        """Return the columns of :data:`RATING_SCHEMA` after the keys, null where there is no value."""
        recommend = [_floats(name, self.floats[name]) for name in RATINGS]
        counted = [_counted(name, self.votes[name]) for name in VOTES]
        rest = [_floats(name, self.floats[name]) for name in (*OSCILLATORS, *STATE)]
        return [*recommend, *counted, *rest]


def _scatter(
    panel: npt.NDArray[np.generic],
    target: npt.NDArray[np.generic],
    block: Sequence[Segment],
    places: Sequence[int],
) -> None:
    for column, (segment, place) in enumerate(zip(block, places, strict=True)):
        size = segment.end - segment.wanted
        first = segment.wanted - segment.begin
        target[place : place + size] = panel[first : first + size, column]


def _floats(name: str, values: Floats) -> pl.Series:
    return pl.Series(name, values, nan_to_null=True)


def _counted(name: str, values: npt.NDArray[np.int8]) -> pl.Series:
    series = pl.Series(f"vote_{name}", values)
    return series.set(series == int(NO_VOTE), None)


def rate(bars: pl.DataFrame, interval: str = "1d") -> pl.DataFrame:
    """Rate every bar that has volume.

    Parameters
    ----------
    bars : DataFrame
        Lake columns (``symbol``, ``interval``, ``open_time``, prices, ``volume``), in any order: whole listings, for
        recursive averages start at a listing's first bar, which ``listing`` tells, else three missing bars before it.
        Rows of other intervals are left out.
    interval : str
        One of :data:`assay.base.domain.INTERVALS`.

    Returns
    -------
    DataFrame
        Columns of :data:`RATING_SCHEMA`, one row for each bar with volume > 0, ordered by symbol and time. Null where a
        value cannot be computed yet. Votes are -1 (sell), 0 or +1 (buy); ratings lie in [-1, 1].

    Raises
    ------
    UsageError
        If the interval is unknown.
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
    rated = tape(bars, interval)
    segments = [Segment(begin, begin, end) for begin, end in pairwise(map(int, rated.starts))]
    rows = Rows(rated.keys.height)
    for block in blocks(segments):
        fill_listings(rated, rows, block, [segment.begin for segment in block])
    return assemble(rated.keys, rated.listing, rated.bar, rows)


def fill_listings(rated: Tape, rows: Rows, block: Sequence[Segment], places: Sequence[int]) -> None:
    """Rate whole listings, a stretch at a time.

    Each stretch goes on from the state of the one before, as the daily update does, so that the values are the same
    and memory does not grow with the listings' length.

    Parameters
    ----------
    block : sequence of Segment
        From the first bar of a listing on.
    places : sequence of int
        Row of the table of each segment's first wanted bar.
    """
    unwanted = max(segment.wanted - segment.begin for segment in block)
    longest = max(segment.end - segment.begin for segment in block)
    # The first stretch reaches beyond what is unwanted, so that the state after it is in the table.
    cuts = [0, *range(unwanted + STRETCH, longest, STRETCH), longest]
    for first, end in pairwise(cuts):
        there = [column for column, segment in enumerate(block) if segment.end - segment.begin > first]
        part = [_stretch(block[column], first, end) for column in there]
        at = [
            places[column] + segment.wanted - block[column].wanted for column, segment in zip(there, part, strict=True)
        ]
        state = _state_before(rows, at) if first else None
        rows.fill(rated.panel(part), part, at, state)


def _stretch(listing: Segment, first: int, end: int) -> Segment:
    """Return bars ``first`` to ``end`` of a listing, with what windows read before them."""
    begin = listing.begin + first
    wanted = max(begin, listing.wanted)
    return Segment(begin - CONTEXT if first else begin, wanted, min(listing.begin + end, listing.end))


def _state_before(rows: Rows, at: Sequence[int]) -> State:
    place = np.array(at, dtype=np.int64) - WARMUP
    return State(CONTEXT - WARMUP, {name: rows.floats[name][place] for name in STATE})


def blocks(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Group segments of similar length, so that little of a panel is empty."""
    ordered = sorted(segments, key=lambda segment: segment.begin - segment.end)
    for first in range(0, len(ordered), BLOCK):
        yield ordered[first : first + BLOCK]


def assemble(
    keys: pl.DataFrame, listing: npt.NDArray[np.int64], bar: npt.NDArray[np.int64], rows: Rows
) -> pl.DataFrame:
    """Put keys, ordinals and values beside each other in the order of :data:`RATING_SCHEMA`."""
    ordinals = [pl.Series("listing", listing.astype(np.int32)), pl.Series("bar", bar.astype(np.int32))]
    return keys.hstack([*ordinals, *rows.columns()])
