"""Indicator values behind the votes, with the previous values that votes compare with.

:func:`indicators` and :func:`~assay.ratings.votes.votes` meet in the names listed here, so that recorded
indicators can stand in for computed ones.

=====================  ==================================================================================
``close`` ``close_prev``  close of this bar and of the bar before
``sma_N`` ``ema_N``       simple and exponential averages of the close
``vwma_20`` ``hull_ma_9`` volume-weighted and Hull averages of the close
``conversion`` ``base``   Ichimoku's mid-points over 9 and 26 bars
``lead_a`` ``lead_b``     mean of these two, and the mid-point over 52 bars; not displaced
``rsi`` ``stoch_k`` ...   oscillators; ``_prev`` and ``_prev2`` are their values one and two bars ago
=====================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.ratings.kernels import (
    Floats,
    Seed,
    commodity_channel_index,
    hull_mean,
    mean_seed,
    movements,
    percent,
    recursive_means,
    shift,
    stochastic,
    volume_weighted_mean,
    window_extremes,
    window_means,
)
from assay.ratings.panel import Panel

MA_WINDOWS = (10, 20, 30, 50, 100, 200)

CLOSE_EMAS = {f"ema_{bars}": bars for bars in (*MA_WINDOWS, 12, 26, 13)}
"""Exponential averages of the close: six that vote, two of the MACD, one of bull and bear power."""

WILDER = ("wilder_gain", "wilder_loss", "wilder_tr", "wilder_plus_dm", "wilder_minus_dm")
"""Wilder's averages: of gains, losses, true range and directional movements."""

SMOOTHED = {"macd_signal": 9, "adx": 14}
"""Averages of what the others give: an EMA of the MACD, Wilder's average of the directional index."""

STATE = (*CLOSE_EMAS, *WILDER, *SMOOTHED)
"""All that has a memory; with these at one bar, the bars after it can be computed without the bars before."""

WILDER_BARS = 14
REACH = 200
"""Bars that windows look at, the newest included: SMA 200."""
WARMUP = 32
"""Bars that separate a restart from the first result wanted: the stochastic RSI reads 18 values of the RSI, and two
previous values of an oscillator are read."""


@dataclass(frozen=True)
class State:
    """Values of :data:`STATE` in one row of a panel, each (n_columns,), from which recursive averages go on."""

    row: int
    values: Mapping[str, Floats]


def indicators(panel: Panel, state: State | None = None) -> dict[str, Floats]:
    """Compute all that votes and the stored state need.

    Parameters
    ----------
    panel : Panel
        (n_bars, n_columns) prices and volumes.
    state : State, optional
        Where recursive averages go on; without it they start with the listing, each seeded by the mean of its first
        values, as TradingView's exports show.

    Returns
    -------
    dict of str to (n_bars, n_columns) array
        NaN where a value does not exist yet, or not any more.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {"close": panel.close, "close_prev": shift(panel.close)}
        found.update(_averages(panel))
        found.update(_close_emas(panel, state))
        found.update(_wilder(panel, state))
        found.update(_smoothed(found, state))
        found.update(_ranges(panel))
        found.update(_means(panel))
        found.update(_ultimate(panel))
        found.update(_stochastic_rsi(found["rsi"]))
        found["bull_power"] = panel.high - found["ema_13"]
        found["bear_power"] = panel.low - found["ema_13"]
        found["momentum"] = panel.close - shift(panel.close, 10)
        for name in ("rsi", "cci", "plus_di", "minus_di", "ao", "momentum", "williams_r", "bull_power", "bear_power"):
            found[f"{name}_prev"] = shift(found[name])
        found["ao_prev2"] = shift(found["ao"], 2)
    return found


def _averages(panel: Panel) -> dict[str, Floats]:
    simple = window_means(panel.close, MA_WINDOWS)
    return {
        **{f"sma_{window}": simple[window] for window in MA_WINDOWS},
        "vwma_20": volume_weighted_mean(panel.close, panel.volume, 20),
        "hull_ma_9": hull_mean(panel.close, 9),
    }


def _seed(name: str, series: int, values: Floats, first: int, window: int, state: State | None) -> Seed:
    if state is not None:
        return Seed(series, state.row, state.values[name])
    return mean_seed(values, series, first, window)


def _close_emas(panel: Panel, state: State | None) -> dict[str, Floats]:
    windows = list(CLOSE_EMAS.values())
    seeds = [
        _seed(name, series, panel.close, 0, window, state) for series, (name, window) in enumerate(CLOSE_EMAS.items())
    ]
    series = recursive_means(panel.close[:, None], [2 / (window + 1) for window in windows], seeds)
    found = dict(zip(CLOSE_EMAS, series, strict=True))
    found["macd"] = found["ema_12"] - found["ema_26"]
    return found


def _wilder(panel: Panel, state: State | None) -> dict[str, Floats]:
    """RSI (Wilder 1978), +DI, -DI and the directional index; all begin with the listing's second bar."""
    inputs = movements(panel.high, panel.low, panel.close)
    seeds = [_seed(name, i, inputs[:, i], 1, WILDER_BARS, state) for i, name in enumerate(WILDER)]
    series = recursive_means(inputs, [1 / WILDER_BARS] * len(WILDER), seeds)
    gain, loss, true_range, plus, minus = series
    found = dict(zip(WILDER, series, strict=True))
    # Where nothing has moved yet, RSI is 100 (TradingView's convention) and there is no directional movement.
    found["rsi"] = percent(gain, gain + loss, 1.0)
    found["plus_di"] = percent(plus, true_range, 0.0)
    found["minus_di"] = percent(minus, true_range, 0.0)
    return found


def _smoothed(found: Mapping[str, Floats], state: State | None) -> dict[str, Floats]:
    """MACD's signal line and ADX (Wilder 1978)."""
    total = found["plus_di"] + found["minus_di"]
    index = percent(np.abs(found["plus_di"] - found["minus_di"]), total, 0.0)
    inputs = np.stack([found["macd"], index], axis=1)
    seeds = [
        _seed("macd_signal", 0, found["macd"], CLOSE_EMAS["ema_26"] - 1, SMOOTHED["macd_signal"], state),
        _seed("adx", 1, index, WILDER_BARS, SMOOTHED["adx"], state),
    ]
    alphas = [2 / (SMOOTHED["macd_signal"] + 1), 1 / SMOOTHED["adx"]]
    return dict(zip(SMOOTHED, recursive_means(inputs, alphas, seeds), strict=True))


def _ranges(panel: Panel) -> dict[str, Floats]:
    """Ichimoku's lines, the stochastic and Williams' %R: all from highest highs and lowest lows."""
    highest = window_extremes(panel.high, (9, 14, 26, 52), np.maximum)
    lowest = window_extremes(panel.low, (9, 14, 26, 52), np.minimum)
    middle = {window: (highest[window] + lowest[window]) * 0.5 for window in (9, 26, 52)}
    raw = stochastic(panel.close, lowest[14], highest[14])
    smooth = window_means(raw, [3])[3]
    return {
        "conversion": middle[9],
        "base": middle[26],
        "lead_a": (middle[9] + middle[26]) * 0.5,
        "lead_b": middle[52],
        "stoch_k": smooth,
        "stoch_d": window_means(smooth, [3])[3],
        "williams_r": 0.0 - stochastic(panel.close, highest[14], lowest[14]),
    }


def _means(panel: Panel) -> dict[str, Floats]:
    middle = (panel.high + panel.low) * 0.5
    mean = window_means(middle, [5, 34])
    typical = (panel.high + panel.low + panel.close) / 3.0
    return {"ao": mean[5] - mean[34], "cci": commodity_channel_index(typical, 20)}


def _ultimate(panel: Panel) -> dict[str, Floats]:
    """Ultimate oscillator (Williams 1985): buying pressure over true range in 7, 14 and 28 bars, weighed 4, 2, 1."""
    last = shift(panel.close)
    bottom = np.minimum(panel.low, last)
    pressure = window_means(panel.close - bottom, [7, 14, 28])
    true_range = window_means(np.maximum(panel.high, last) - bottom, [7, 14, 28])
    seven, fourteen, all_bars = (pressure[window] / true_range[window] for window in (7, 14, 28))
    return {"ultimate": (seven * 4.0 + fourteen * 2.0 + all_bars) * (100.0 / 7.0)}


def _stochastic_rsi(rsi: Floats) -> dict[str, Floats]:
    """Stochastic of the RSI over 14 bars, smoothed by 3 and 3; a constant RSI gives 0."""
    highest = window_extremes(rsi, [14], np.maximum)[14]
    lowest = window_extremes(rsi, [14], np.minimum)[14]
    span = highest - lowest
    raw = np.zeros_like(rsi)
    np.divide(rsi - lowest, span, out=raw, where=span != 0)
    raw *= 100.0
    smooth = window_means(raw, [3])[3]
    return {"stoch_rsi_k": smooth, "stoch_rsi_d": window_means(smooth, [3])[3]}
