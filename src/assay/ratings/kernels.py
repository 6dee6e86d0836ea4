"""Window and recursive averages over panels.

A panel is an (n_bars, n_columns) float64 array: row i holds bar i of every listing, NaN where a value does not exist
yet or the listing has ended. Three rules make the same bars give the same bits, whatever else is loaded:

* only elementwise operations, so that a column never depends on its neighbours or on the processor's vector width;
* a window's value is built from the window's own bars (blocks of doubled length), never by adding and dropping bars;
* a recursive average is a function of its last value and the next bar, so that it can go on from a stored value.

NaN passes through every operation, which is how the first rows and the ends of short columns stay empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pick = Callable[..., Any]
"""``np.maximum`` or ``np.minimum``."""


def shift(values: Floats, bars: int = 1) -> Floats:
    """Return the values of ``bars`` bars ago, (n_bars, n_columns).

    >>> shift(np.array([[1.0], [2.0], [3.0]]))[:, 0]
    array([nan,  1.,  2.])
    """
    result = np.empty_like(values)
    result[:bars] = np.nan
    result[bars:] = values[:-bars]
    return result


def window_means(values: Floats, windows: Sequence[int]) -> dict[int, Floats]:
    """Mean of the last ``n`` bars for every ``n`` of ``windows``.

    A window's mean is joined from means of blocks of 1, 2, 4, 8 ... bars, the largest block at the newest bar. Means
    are joined, rather than sums added, because the mean of equal values is then exactly that value: a price that does
    not move is never above or below its own average.

    Parameters
    ----------
    values : (n_bars, n_columns) array
    windows : sequence of int
        Lengths in bars.

    Returns
    -------
    dict of int to (n_bars, n_columns) array
        NaN where the window is not full.

    Examples
    --------
    >>> window_means(np.arange(5.0)[:, None], [3])[3][:, 0]
    array([nan, nan,  1.,  2.,  3.])
    """
    blocks = {1: values}
    size = 1
    while 2 * size <= max(windows):
        older, newer = _neighbours(blocks[size], size)
        blocks[2 * size] = joined = older + newer
        joined *= 0.5
        size *= 2
    return {window: _joined_means(blocks, window) for window in windows}


def _neighbours(block: Floats, size: int) -> tuple[Floats, Floats]:
    """Pair every block with the one that begins ``size`` bars later."""
    return block[: max(len(block) - size, 0)], block[size:]


def _joined_means(blocks: Mapping[int, Floats], window: int) -> Floats:
    result = np.empty_like(blocks[1])
    result[: window - 1] = np.nan
    mean = result[window - 1 :]
    scratch = np.empty_like(mean)
    covered = 0
    for size in sorted(blocks, reverse=True):
        if not size & window:
            continue
        first = window - covered - size
        block = blocks[size][first : first + len(mean)]
        if covered:
            np.subtract(block, mean, out=scratch)
            scratch *= size / (covered + size)
            mean += scratch
        else:
            mean[:] = block
        covered += size
    return result


def window_extremes(values: Floats, windows: Sequence[int], pick: Pick) -> dict[int, Floats]:
    """Highest (``np.maximum``) or lowest (``np.minimum``) of the last ``n`` bars for every ``n`` of ``windows``.

    >>> window_extremes(np.array([[3.0], [1.0], [2.0]]), [2], np.maximum)[2][:, 0]
    array([nan,  3.,  2.])
    """
    blocks = {1: values}
    size = 1
    while 2 * size <= max(windows):
        older, newer = _neighbours(blocks[size], size)
        blocks[2 * size] = pick(older, newer)
        size *= 2
    results = {}
    for window in windows:
        largest = 1 << (window.bit_length() - 1)
        result = np.empty_like(values)
        result[: window - 1] = np.nan
        older, newer = _neighbours(blocks[largest], window - largest) if window > largest else (blocks[largest],) * 2
        pick(older, newer, out=result[window - 1 :])
        results[window] = result
    return results


def _ago(values: Floats, window: int, bars: int) -> Floats:
    """Return the bar of ``bars`` ago for every full window."""
    first = window - 1 - bars
    return values[first : first + max(len(values) - window + 1, 0)]


def weighted_mean(values: Floats, window: int) -> Floats:
    """Linearly weighted moving average (WMA): weights ``window`` for the newest bar down to 1 for the oldest.

    Written as the newest value plus the weighted mean of the differences from it, which is exact when all are equal.

    >>> weighted_mean(np.array([[1.0], [2.0], [4.0]]), 2)[:, 0].round(6)
    array([     nan, 1.666667, 3.333333])
    """
    result = np.empty_like(values)
    result[: window - 1] = np.nan
    total = result[window - 1 :]
    newest = values[window - 1 :]
    scratch = np.empty_like(total)
    total[:] = 0.0
    for ago in range(1, window):
        np.subtract(_ago(values, window, ago), newest, out=scratch)
        scratch *= float(window - ago)
        total += scratch
    total /= window * (window + 1) / 2
    total += newest
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
    """Volume-weighted moving average (VWMA), kept within the window's own range.

    Rounding may carry the quotient past the largest or smallest value by one unit in the last place; a weighted mean
    cannot be there, and a price that does not move would get a vote from it.
    """
    result = window_means(values * volume, [window])[window]
    result /= window_means(volume, [window])[window]
    np.minimum(result, window_extremes(values, [window], np.maximum)[window], out=result)
    np.maximum(result, window_extremes(values, [window], np.minimum)[window], out=result)
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
    result = np.full(whole.shape, empty)
    np.divide(part, whole, out=result, where=whole != 0)
    result *= 100.0
    np.minimum(result, 100.0, out=result)
    return result


def movements(high: Floats, low: Floats, close: Floats) -> Floats:
    """Gain, loss, true range, +DM and -DM of every bar (Wilder 1978).

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
    result = np.full((len(close), 5, close.shape[1]), np.nan)
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


def recursive_means(inputs: Floats, alphas: Sequence[float], seeds: Sequence[Seed]) -> Floats:
    """Exponential averages of several series at once, ``y += alpha (x - y)``.

    An EMA of n bars has alpha 2 / (n + 1), Wilder's average (RMA) 1 / n.

    Parameters
    ----------
    inputs : (n_bars, n_series or 1, n_columns) array
        One series for all averages, or one for each.
    alphas : (n_series,) sequence of float
    seeds : sequence of Seed
        One for each series: it is NaN before its seed's row.

    Returns
    -------
    (n_series, n_bars, n_columns) array

    Examples
    --------
    >>> x = np.array([1.0, 3.0, 5.0])[:, None]
    >>> recursive_means(x[:, None], [0.5], [mean_seed(x, 0, 0, 2)])[0, :, 0]
    array([nan, 2. , 3.5])
    """
    n_bars, _, n_columns = inputs.shape
    result = np.empty((n_bars, len(alphas), n_columns))
    rate = np.repeat(np.asarray(alphas, dtype=np.float64), n_columns).reshape(len(alphas), n_columns)
    scratch = np.empty_like(rate)
    rows = sorted({seed.row for seed in seeds if seed.row < n_bars})
    result[: rows[0] + 1 if rows else n_bars] = np.nan
    for row, until in pairwise([*rows, n_bars - 1]):
        for seed in seeds:
            if seed.row == row:
                result[row, seed.series] = seed.values
        window = slice(row + 1, until + 1)
        for x, last, y in zip(inputs[window], result[row:until], result[window], strict=True):
            np.subtract(x, last, out=scratch)
            np.multiply(scratch, rate, out=scratch)
            np.add(last, scratch, out=y)
    return result.transpose(1, 0, 2)
