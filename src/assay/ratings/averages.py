"""Recursive averages of every listing on a tape: all that has a memory.

A recursive average needs the bar before, so listings lie side by side and one bar of all of them is computed at a time.
With these values at one bar, the bars after it can be computed without the bars before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from assay.base.constants import Floats
from assay.ratings.kernels import Seed, mean_seed, movements, percent, recursive_means
from assay.ratings.tape import Tape

MA_WINDOWS = (10, 20, 30, 50, 100, 200)

CLOSE_EMAS = {f"ema_{bars}": bars for bars in (*MA_WINDOWS, 12, 26, 13)}
"""Exponential averages of the close: six that vote, two of the MACD, one of bull and bear power."""

WILDER = ("wilder_gain", "wilder_loss", "wilder_tr", "wilder_plus_dm", "wilder_minus_dm")
"""Wilder's averages: of gains, losses, true range and directional movements."""

SMOOTHED = {"macd_signal": 9, "adx": 14}
"""Averages of what the others give: an EMA of the MACD, Wilder's average of the directional index."""

STATE = (*CLOSE_EMAS, *WILDER, *SMOOTHED)
"""All that has a memory."""

N_EMAS = len(CLOSE_EMAS)
N_FIRST = N_EMAS + len(WILDER)
"""Series that are averages of prices; the others are averages of these."""
WILDER_BARS = 14
BLOCK = 120
"""Listings computed side by side: enough that the work of a bar outweighs the calls, few enough for the cache. An odd
multiple of a cache line, so that the bars of one listing do not all compete for the same places in it."""
STRETCH = 256
"""Bars computed before they are laid back on the tape, for the same reason; the first holds every seed."""


@dataclass(frozen=True)
class Course:
    """Rows ``begin`` to ``end`` of a tape: a listing from its first bar on, or from a bar whose state is known.

    Attributes
    ----------
    state : mapping of :data:`STATE` to float
        Values at ``begin``; empty where that is the listing's first bar.
    """

    begin: int
    end: int
    state: Mapping[str, float] = field(default_factory=dict)


def whole(tape: Tape) -> list[Course]:
    """Return every listing from its first bar on."""
    return [Course(begin, end) for begin, end in pairwise(tape.starts.tolist())]


def recursive_averages(tape: Tape, courses: Sequence[Course]) -> dict[str, Floats]:
    """Compute :data:`STATE` for every bar of a tape that a course covers; NaN elsewhere.

    Without a state each average is seeded by the mean of its first values, as TradingView's exports show.

    Returns
    -------
    dict of str to (n,) array
    """
    found = np.empty((len(STATE), tape.keys.height))
    if sum(course.end - course.begin for course in courses) < tape.keys.height:
        found[:] = np.nan
    for fresh in (True, False):
        same = [course for course in courses if fresh is not bool(course.state)]
        same.sort(key=lambda course: course.begin - course.end)
        for first in range(0, len(same), BLOCK):
            _fill(tape, same[first : first + BLOCK], found)
    return dict(zip(STATE, found, strict=True))


def _fill(tape: Tape, block: Sequence[Course], found: Floats) -> None:
    """Compute listings side by side, a stretch at a time, each from the last bar of the one before."""
    longest = max(course.end - course.begin for course in block)
    desk = _Desk(min(longest, STRETCH), len(block))
    state = np.array([[course.state[name] for course in block] for name in STATE]) if block[0].state else None
    for first, end in _stretches(longest):
        rows = [
            (course.begin + first, min(course.begin + end, course.end))
            for course in block
            if course.end - course.begin > first
        ]
        desk.take(tape, rows, end - first)
        series = desk.averages(None if state is None else state[:, : len(rows)])
        for column, (begin, stop) in enumerate(rows):
            found[:, begin:stop] = series[: stop - begin, :, column].T
        state = series[-1].copy()


def _stretches(longest: int) -> Iterator[tuple[int, int]]:
    """Cut bars into stretches; each begins with the last bar of the one before."""
    for first in range(0, max(longest - 1, 1), STRETCH - 1):
        yield first, min(first + STRETCH, longest)


class _Desk:
    """Room for listings side by side; it is used again, for fresh memory costs more than the arithmetic."""

    def __init__(self, n_bars: int, n_columns: int) -> None:
        self._prices = np.empty((3, n_bars, n_columns))
        self._inputs, self._averages = np.empty((2, n_bars, len(STATE), n_columns))

    def take(self, tape: Tape, rows: Sequence[tuple[int, int]], n_bars: int) -> None:
        """Lay rows of the tape side by side, NaN after a listing's end."""
        self._shape = n_bars, len(rows)
        for name, panel in zip(("high", "low", "close"), self._prices, strict=True):
            panel[:n_bars, : len(rows)] = np.nan
            for column, (begin, end) in enumerate(rows):
                panel[: end - begin, column] = tape.prices[name][begin:end]

    def averages(self, state: Floats | None) -> Floats:
        """Compute :data:`STATE`, (n_bars, n_series, n_columns), from the listings' first bars or from a state."""
        bars, columns = slice(self._shape[0]), slice(self._shape[1])
        high, low, close = self._prices[:, bars, columns]
        inputs, found = self._inputs[bars, :, columns], self._averages[bars, :, columns]
        with np.errstate(invalid="ignore", divide="ignore"):
            inputs[:, :N_EMAS] = close[:, None]
            movements(high, low, close, out=inputs[:, N_EMAS:N_FIRST])
            self._smooth(inputs, state, slice(N_FIRST))
            series = dict(zip(STATE, found.transpose(1, 0, 2), strict=True))
            np.subtract(series["ema_12"], series["ema_26"], out=inputs[:, N_FIRST])
            true_range = series["wilder_tr"]
            plus, minus = (percent(series[f"wilder_{sign}_dm"], true_range, 0.0) for sign in ("plus", "minus"))
            inputs[:, N_FIRST + 1] = percent(np.abs(plus - minus), plus + minus, 0.0)
            self._smooth(inputs, state, slice(N_FIRST, len(STATE)))
        return found

    def _smooth(self, inputs: Floats, state: Floats | None, series: slice) -> None:
        """Average some series, each from its seed, or from the state at the first bar."""
        averages = _AVERAGES[series]
        given = inputs[:, series]
        seeds = [
            Seed(i, 0, state[series][i])
            if state is not None
            else mean_seed(given[:, i], i, average.first, average.window)
            for i, average in enumerate(averages)
        ]
        out = self._averages[: len(inputs), series, : inputs.shape[2]]
        recursive_means(given, [average.alpha for average in averages], seeds, out)


@dataclass(frozen=True)
class _Average:
    """Smoothing of a series, the row of its first value, and how many values make its seed."""

    alpha: float
    first: int
    window: int


_AVERAGES = (
    *(_Average(2 / (bars + 1), 0, bars) for bars in CLOSE_EMAS.values()),
    *(_Average(1 / WILDER_BARS, 1, WILDER_BARS) for _ in WILDER),
    _Average(2 / (SMOOTHED["macd_signal"] + 1), CLOSE_EMAS["ema_26"] - 1, SMOOTHED["macd_signal"]),
    _Average(1 / SMOOTHED["adx"], WILDER_BARS, SMOOTHED["adx"]),
)
