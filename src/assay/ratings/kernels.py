"""Window and recursive averages over bars.

Bars run along axis 0: one listing as an (n_bars,) array, or several side by side as a panel. Three rules make the
same bars give the same bits, whatever else is loaded:

* only elementwise operations, so that a value never depends on its neighbours or on the processor's vector width;
* a window's value is built from the window's own bars (joined halves), never by adding and dropping bars;
* a recursive average is a function of its last value and the next bar, so that it can go on from a stored value.

NaN passes through every operation, which is how the first rows stay empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from assay.base.constants import Floats

Pick = Callable[..., Any]
"""``np.maximum`` or ``np.minimum``."""


def shift(values: Floats, bars: int = 1) -> Floats:
    """Return the values of ``bars`` bars ago.

    >>> shift(np.array([1.0, 2.0, 3.0]))
    array([nan,  1.,  2.])
    """
    result = np.empty_like(values)
    result[:bars] = np.nan
    result[bars:] = values[:-bars]
    return result


@cache
def _joins(windows: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Plan windows from shorter ones: (newer, older) lengths to join, in an order in which both exist.

    Equal halves are the cheapest join, and an odd length is one bar more than an even one.

    >>> _joins((10, 20, 30))
    ((1, 1), (2, 2), (4, 1), (5, 5), (10, 10), (20, 10))
    """
    known, joins = {1}, list[tuple[int, int]]()

    def make(window: int) -> None:
        if window in known:
            return
        newer = next((part for part in sorted(known, reverse=True) if 2 * part >= window and window - part in known), 0)
        if window % 2 == 0 and (window // 2 in known or not newer):
            newer = window // 2
        elif not newer:
            newer = window - 1
        make(newer)
        make(window - newer)
        joins.append((newer, window - newer))
        known.add(window)

    for window in sorted(windows):
        make(window)
    return tuple(joins)


def window_means(values: Floats, windows: Iterable[int]) -> dict[int, Floats]:
    """Mean of the last ``n`` bars for every ``n`` of ``windows``.

    A window's mean is joined from the means of its newer and its older part. Means are joined, rather than sums added,
    because the mean of equal values is then exactly that value: a price that does not move is never above or below its
    own average.

    Parameters
    ----------
    values : (n_bars, ...) array
    windows : iterable of int
        Lengths in bars.

    Returns
    -------
    dict of int to (n_bars, ...) array
        NaN where the window is not full.

    Examples
    --------
    >>> window_means(np.arange(5.0), [3])[3]
    array([nan, nan,  1.,  2.,  3.])
    """
    wanted = tuple(windows)
    means = {1: values}
    for newer, older in _joins(wanted):
        means[newer + older] = _joined(means[newer], means[older], newer, older)
    return {window: means[window] for window in wanted}


def _joined(newer: Floats, older: Floats, n_newer: int, n_older: int) -> Floats:
    window = n_newer + n_older
    result = np.empty_like(newer)
    result[: window - 1] = np.nan
    mean, late, early = result[window - 1 :], newer[window - 1 :], _ago(older, window, n_newer)
    if n_newer == n_older:
        np.add(late, early, out=mean)
        mean *= 0.5
    else:
        np.subtract(early, late, out=mean)
        mean *= n_older / window
        mean += late
    return result


def window_extremes(values: Floats, windows: Iterable[int], pick: Pick) -> dict[int, Floats]:
    """Highest (``np.maximum``) or lowest (``np.minimum``) of the last ``n`` bars for every ``n`` of ``windows``.

    >>> window_extremes(np.array([3.0, 1.0, 2.0]), [2], np.maximum)[2]
    array([nan,  3.,  2.])
    """
    wanted = tuple(windows)
    known = {1: values}
    for window in sorted(wanted):
        while 2 * max(known) < window:
            _overlapped(known, 2 * max(known), pick)
        if window not in known:
            _overlapped(known, window, pick)
    return {window: known[window] for window in wanted}


def _overlapped(known: dict[int, Floats], window: int, pick: Pick) -> None:
    """Add a window made of two shorter ones that may overlap."""
    part = min(size for size in known if 2 * size >= window)
    result = np.empty_like(known[part])
    result[: window - 1] = np.nan
    pick(known[part][window - 1 :], _ago(known[part], window, window - part), out=result[window - 1 :])
    known[window] = result


def _ago(values: Floats, window: int, bars: int) -> Floats:
    """Return the bar of ``bars`` ago for every full window."""
    first = window - 1 - bars
    return values[first : first + max(len(values) - window + 1, 0)]


def weighted_mean(values: Floats, window: int) -> Floats:
    """Linearly weighted moving average (WMA): weights ``window`` for the newest bar down to 1 for the oldest.

    The weighted sum is the sum of the sums of the last 1, 2 ... ``window`` values.

    >>> weighted_mean(np.array([1.0, 2.0, 4.0]), 2).round(6)
    array([     nan, 1.666667, 3.333333])
    """
    result = np.empty_like(values)
    result[: window - 1] = np.nan
    total = result[window - 1 :]
    total[:] = values[window - 1 :]
    last = total.copy()
    for ago in range(1, window):
        last += _ago(values, window, ago)
        total += last
    total *= 2 / (window * (window + 1))
    return result


def hull_mean(values: Floats, window: int) -> Floats:
    """Hull moving average: WMA over sqrt(n) bars of twice the WMA over n / 2 bars less the WMA over n bars.

    Half and root are rounded down, as in the exports (9 takes 4 and 3; 20 takes 10 and 4).
    """
    fast = weighted_mean(values, window // 2)
    fast *= 2.0
    fast -= weighted_mean(values, window)
    return weighted_mean(fast, int(window**0.5))


def volume_weighted_mean(values: Floats, volume: Floats, window: int) -> Floats:
    """Volume-weighted moving average (VWMA)."""
    result = window_means(values * volume, [window])[window]
    result /= window_means(volume, [window])[window]
    return result


def mean_deviation(values: Floats, means: Floats, window: int) -> Floats:
    """Mean absolute deviation of the last ``window`` bars from ``means``, the window's own mean."""
    result = np.empty_like(values)
    result[: window - 1] = np.nan
    total = result[window - 1 :]
    mean = means[window - 1 :]
    scratch = np.empty_like(total)
    total[:] = 0.0
    for ago in range(window):
        np.subtract(_ago(values, window, ago), mean, out=scratch)
        np.abs(scratch, out=scratch)
        total += scratch
    total /= window
    return result


def commodity_channel_index(price: Floats, window: int) -> Floats:
    """CCI: distance of the price from its mean in units of 0.015 mean absolute deviations (Lambert, 1980).

    NaN where all prices of the window are equal.
    """
    means = window_means(price, [window])[window]
    deviation = mean_deviation(price, means, window)
    deviation *= 0.015
    result = price - means
    result /= deviation
    return result


def stochastic(close: Floats, lowest: Floats, highest: Floats) -> Floats:
    """Place of the close between the window's lowest and highest, in percent; NaN where these are equal."""
    result = close - lowest
    result /= highest - lowest
    result *= 100.0
    return result


def percent(part: Floats, whole: Floats, empty: float) -> Floats:
    """Return ``part`` in percent of ``whole``; ``empty`` (a share) where the whole is zero.

    >>> percent(np.array([1.0, 0.0]), np.array([4.0, 0.0]), empty=1.0)
    array([ 25., 100.])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        result = part / whole
    result *= 100.0
    np.minimum(result, 100.0, out=result)
    nothing = whole == 0
    if nothing.any():
        result[nothing] = 100.0 * empty
    return result


def movements(high: Floats, low: Floats, close: Floats, out: Floats | None = None) -> Floats:
    """Gain, loss, true range, +DM and -DM of every bar (Wilder 1978).

    Parameters
    ----------
    high, low, close : (n_bars, n_columns) array
    out : (n_bars, 5, n_columns) array, optional
        Where to write.

    Returns
    -------
    (n_bars, 5, n_columns) array
        Row 0 is NaN: there is no bar before it.

    Examples
    --------
    >>> bars = np.array([[10.0, 8.0, 9.0], [12.0, 9.0, 11.0]])
    >>> movements(*(bars[:, [i]] for i in range(3)))[1, :, 0]
    array([2., 0., 3., 2., 0.])
    """
    result = np.empty((len(close), 5, close.shape[1])) if out is None else out
    result[0] = np.nan
    gain, loss, true_range, plus, minus = (result[1:, i] for i in range(5))
    last, now, top, bottom = close[:-1], close[1:], high[1:], low[1:]
    np.maximum(now - last, 0.0, out=gain)
    np.maximum(last - now, 0.0, out=loss)
    np.subtract(np.maximum(top, last), np.minimum(bottom, last), out=true_range)
    up, down = top - high[:-1], low[:-1] - bottom
    np.multiply(np.maximum(up, 0.0), up > down, out=plus)
    np.multiply(np.maximum(down, 0.0), down > up, out=minus)
    return result


@dataclass(frozen=True)
class Seed:
    """Where a recursive average starts: series, row and its values there, (n_columns,)."""

    series: int
    row: int
    values: Floats


def mean_seed(values: Floats, series: int, first: int, window: int) -> Seed:
    """Seed with the mean of rows ``first`` to ``first + window - 1``, as the exports do.

    Parameters
    ----------
    values : (n_bars, n_columns) array
        Input of the series; its first value is in row ``first``.
    """
    row = first + window - 1
    if row >= len(values):
        return Seed(series, row, np.full(values.shape[1], np.nan))
    mean = values[first].copy()
    for count in range(2, window + 1):
        mean += (values[first + count - 1] - mean) / count
    return Seed(series, row, mean)


def recursive_means(
    inputs: Floats, alphas: Sequence[float], seeds: Sequence[Seed], out: Floats | None = None
) -> Floats:
    """Exponential averages of several series at once, ``y += alpha (x - y)``.

    An EMA of n bars has alpha 2 / (n + 1), Wilder's average (RMA) 1 / n.

    Parameters
    ----------
    inputs : (n_bars, n_series, n_columns) array
    alphas : (n_series,) sequence of float
    seeds : sequence of Seed
        One for each series: it is NaN before its seed's row.
    out : (n_bars, n_series, n_columns) array, optional
        Where to write; fresh memory costs more than the arithmetic.

    Returns
    -------
    (n_bars, n_series, n_columns) array

    Examples
    --------
    >>> x = np.array([1.0, 3.0, 5.0])[:, None]
    >>> recursive_means(x[:, None], [0.5], [mean_seed(x, 0, 0, 2)])[:, 0, 0]
    array([nan, 2. , 3.5])
    """
    n_bars, _, n_columns = inputs.shape
    result = np.empty((n_bars, len(alphas), n_columns)) if out is None else out
    rate = np.repeat(np.asarray(alphas, dtype=np.float64), n_columns).reshape(len(alphas), n_columns)
    scratch = np.empty_like(rate)
    rows = sorted({seed.row for seed in seeds if seed.row < n_bars})
    result[: rows[0] + 1 if rows else n_bars] = np.nan
    subtract, multiply, add = np.subtract, np.multiply, np.add
    for row, until in pairwise([*rows, n_bars - 1]):
        for seed in seeds:
            if seed.row == row:
                result[row, seed.series] = seed.values
        last = result[row]
        for x, y in zip(inputs[row + 1 : until + 1], result[row + 1 : until + 1], strict=True):
            subtract(x, last, scratch)
            multiply(scratch, rate, scratch)
            add(last, scratch, y)
            last = y
    return result
