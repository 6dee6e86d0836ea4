"""Indicator values behind the votes, with the previous values that votes compare with.

:func:`indicators` and :func:`~assay.ratings.votes.votes` meet in the names listed here, so that recorded
indicators can stand in for computed ones.

=====================  ==================================================================================
``close`` ``close_prev``  close of this bar and of the bar before
``sma_N`` ``ema_N``       simple and exponential averages of the close
``vwma_20`` ``hull_ma_9`` volume-weighted and Hull averages of the close
``conversion`` ``base``   Ichimoku's mid-points over 9 and 26 bars
``lead_a`` ``lead_b``     mean of these two, and the mid-point over 52 bars; not displaced
``stoch_k`` ``stoch_d``   stochastic 14, 3, 3: what the screener shows
``stoch_8_k`` ``_d``      stochastic 8, 3, 3: what edition 2026 rates
``rsi`` ``cci`` ...       oscillators; ``_prev`` and ``_prev2`` are their values one and two bars ago
=====================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from assay.base.constants import Floats
from assay.ratings.averages import MA_WINDOWS, STATE
from assay.ratings.kernels import (
    Pick,
    commodity_channel_index,
    hull_mean,
    percent,
    shift,
    stochastic,
    volume_weighted_mean,
    window_extremes,
    window_means,
)
from assay.ratings.tape import PRICES, Tape

REACH = 200
"""Bars that windows look at, the newest included: SMA 200."""
CONTEXT = REACH - 1
"""Bars before the first one wanted that its windows read."""
WARMUP = 32
"""Bars that separate a restart from the first result wanted: the stochastic RSI reads 18 values of the RSI, and two
previous values of an oscillator are read."""
CHUNK = 16384
"""Bars computed at a time: few enough that what is worked on stays in the processor's cache."""
TIED = 1e-10
"""Values in percent that differ by less are equal: a range of the RSI below it is no range."""

PREVIOUS = (
    *("rsi", "cci", "adx", "plus_di", "minus_di", "ao", "momentum", "williams_r", "bull_power", "bear_power"),
    *("stoch_k", "stoch_d", "stoch_8_k", "stoch_8_d", "stoch_rsi_k", "stoch_rsi_d"),
)
"""Indicators whose previous values votes read, or are counted by."""


def chunks(n_bars: int) -> Iterator[slice]:
    """Cut the rows of a tape into parts that fit the cache."""
    for first in range(0, n_bars, CHUNK):
        yield slice(first, min(first + CHUNK, n_bars))


def indicators(tape: Tape, averages: Mapping[str, Floats], rows: slice) -> dict[str, Floats]:
    """Compute all that votes and the table need for some rows of a tape.

    Parameters
    ----------
    tape : Tape
    averages : mapping of str to (n,) array
        What :func:`~assay.ratings.averages.recursive_averages` gives for the tape.
    rows : slice
        With a start and a stop.

    Returns
    -------
    dict of str to (n_rows,) array
        NaN where a value does not exist yet, or not any more.
    """
    first = max(rows.start - CONTEXT, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = _Part(tape, averages, slice(first, rows.stop)).found()
    return {name: values[rows.start - first :] for name, values in found.items()}


class _Part:
    """Rows of a tape on which windows are looked at; what reaches back beyond a listing's first bar is blanked."""

    def __init__(self, tape: Tape, averages: Mapping[str, Floats], rows: slice) -> None:
        self.high, self.low, self.close, self.volume = (tape.prices[name][rows] for name in PRICES)
        self.averages = {name: averages[name][rows] for name in STATE}
        inside = slice(*np.searchsorted(tape.starts, [rows.start + 1, rows.stop]))
        self.starts = (tape.starts[inside] - rows.start).tolist()

    def found(self) -> dict[str, Floats]:
        averages = self.averages
        found = {"close": self.close, "close_prev": self.shift(self.close), **averages}
        found.update({f"sma_{window}": mean for window, mean in self.means(self.close, *MA_WINDOWS).items()})
        found["vwma_20"] = self.blank(volume_weighted_mean(self.close, self.volume, 20), 19)
        found["hull_ma_9"] = self.blank(hull_mean(self.close, 9), 10)
        found["macd"] = averages["ema_12"] - averages["ema_26"]
        found["bull_power"] = self.high - averages["ema_13"]
        found["bear_power"] = self.low - averages["ema_13"]
        found["momentum"] = self.close - self.shift(self.close, 10)
        # Where nothing has moved yet, RSI is 100 (TradingView's convention) and there is no directional movement.
        gain, loss, true_range = averages["wilder_gain"], averages["wilder_loss"], averages["wilder_tr"]
        found["rsi"] = percent(gain, gain + loss, 1.0)
        found["plus_di"] = percent(averages["wilder_plus_dm"], true_range, 0.0)
        found["minus_di"] = percent(averages["wilder_minus_dm"], true_range, 0.0)
        found.update(self._ranges())
        found.update(self._typical())
        found["ultimate"] = self._ultimate(found["close_prev"])
        found.update(self._stochastic_rsi(found["rsi"]))
        found.update({f"{name}_prev": self.shift(found[name]) for name in PREVIOUS})
        found["ao_prev2"] = self.shift(found["ao"], 2)
        return found

    def blank(self, values: Floats, bars: int) -> Floats:
        """Blank the first bars of each listing that begins within these rows: their windows are not full."""
        for start in self.starts:
            values[start : start + bars] = np.nan  # a shorter listing's neighbour has no more full windows there
        return values

    def shift(self, values: Floats, bars: int = 1) -> Floats:
        return self.blank(shift(values, bars), bars)

    def means(self, values: Floats, *windows: int) -> dict[int, Floats]:
        return {window: self.blank(mean, window - 1) for window, mean in window_means(values, windows).items()}

    def extremes(self, values: Floats, pick: Pick, *windows: int) -> dict[int, Floats]:
        found = window_extremes(values, windows, pick)
        return {window: self.blank(extreme, window - 1) for window, extreme in found.items()}

    def _ranges(self) -> dict[str, Floats]:
        """Ichimoku's lines, both stochastics and Williams' %R: all from highest highs and lowest lows."""
        highest = self.extremes(self.high, np.maximum, 8, 9, 14, 26, 52)
        lowest = self.extremes(self.low, np.minimum, 8, 9, 14, 26, 52)
        middle = {window: (highest[window] + lowest[window]) * 0.5 for window in (9, 26, 52)}
        long, short = (stochastic(self.close, lowest[window], highest[window]) for window in (14, 8))
        stoch_k, stoch_8_k = self.means(long, 3)[3], self.means(short, 3)[3]
        return {
            "conversion": middle[9],
            "base": middle[26],
            "lead_a": (middle[9] + middle[26]) * 0.5,
            "lead_b": middle[52],
            "stoch_k": stoch_k,
            "stoch_d": self.means(stoch_k, 3)[3],
            "stoch_8_k": stoch_8_k,
            "stoch_8_d": self.means(stoch_8_k, 3)[3],
            "williams_r": 0.0 - stochastic(self.close, highest[14], lowest[14]),
        }

    def _typical(self) -> dict[str, Floats]:
        middle = (self.high + self.low) * 0.5
        mean = self.means(middle, 5, 34)
        typical = (self.high + self.low + self.close) / 3.0
        return {"ao": mean[5] - mean[34], "cci": self.blank(commodity_channel_index(typical, 20), 19)}

    def _ultimate(self, last: Floats) -> Floats:
        """Weigh buying pressure over true range in 7, 14 and 28 bars by 4, 2, 1 (ultimate oscillator, 1985)."""
        bottom = np.minimum(self.low, last)
        pressure = self.means(self.close - bottom, 7, 14, 28)
        true_range = self.means(np.maximum(self.high, last) - bottom, 7, 14, 28)
        seven, fourteen, all_bars = (pressure[window] / true_range[window] for window in (7, 14, 28))
        return (seven * 4.0 + fourteen * 2.0 + all_bars) * (100.0 / 7.0)

    def _stochastic_rsi(self, rsi: Floats) -> dict[str, Floats]:
        """Stochastic of the RSI over 14 bars, smoothed by 3 and 3; a constant RSI gives 0."""
        highest = self.extremes(rsi, np.maximum, 14)[14]
        lowest = self.extremes(rsi, np.minimum, 14)[14]
        raw = stochastic(rsi, lowest, highest)
        constant = highest - lowest < TIED
        if constant.any():
            raw[constant] = 0.0
        smooth = self.means(raw, 3)[3]
        return {"stoch_rsi_k": smooth, "stoch_rsi_d": self.means(smooth, 3)[3]}
