"""Chart exports: kernels against TradingView's own series, from the first value on."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from assay.ratings import kernels as k

BARS = {
    "ma.csv": 150,
    "macd.csv": 200,
    "dmi.csv": 200,
    "mfi+rsi+stoch.csv": 200,
    "wpr.csv": 150,
    "cci+cmo+cog.csv": 150,
    "highest+lowest.csv": 150,
}


@pytest.fixture(scope="module")
def export(shared):
    """Read one file as {column: (n_bars, 1) array}."""

    def read(name: str) -> dict[str, np.ndarray]:
        with (shared / "indicator_exports" / name).open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == BARS[name]
        return {field: np.array([[float(row[field] or "nan")] for row in rows]) for field in rows[0]}

    return read


def same(found: np.ndarray, exported: np.ndarray) -> None:
    """Equal to 1e-9, and missing on the same bars."""
    assert np.isfinite(exported).sum() > 100
    np.testing.assert_allclose(found, exported, rtol=1e-9, atol=1e-12)


def smooth(values: np.ndarray, window: int, alpha: float, first: int = 0) -> np.ndarray:
    return k.recursive_means(values[:, None], [alpha], [k.mean_seed(values, 0, first, window)])[:, 0]


def ema(values: np.ndarray, window: int, first: int = 0) -> np.ndarray:
    return smooth(values, window, 2 / (window + 1), first)


def rma(values: np.ndarray, window: int, first: int = 0) -> np.ndarray:
    return smooth(values, window, 1 / window, first)


def test_moving_averages(export):
    t = export("ma.csv")
    o, h, lo, c, v = (t[name] for name in ("open", "high", "low", "close", "Volume"))
    same(k.window_means(c, [10])[10], t["ta.sma(close, 10)"])
    same(k.window_means((h + lo) / 2, [20])[20], t["ta.sma(hl2, 20)"])
    same(k.window_means((h + lo + c) / 3, [15])[15], t["ta.sma(hlc3, 15)"])
    same(ema(c, 20), t["ta.ema(close, 20)"])
    same(ema((o + h + lo + c) / 4, 10), t["ta.ema(ohlc4, 10)"])
    same(rma((h + lo + c + c) / 4, 5), t["ta.rma(hlcc4, 5)"])
    same(rma(h, 15), t["ta.rma(high, 15)"])
    same(k.weighted_mean(c, 5), t["ta.wma(close, 5)"])
    same(k.weighted_mean(c, 20), t["ta.wma(close, 20)"])
    same(k.hull_mean(c, 9), t["ta.hma(close, 9)"])
    same(k.hull_mean(c, 20), t["ta.hma(close, 20)"])
    same(k.volume_weighted_mean(c, v, 20), t["ta.vwma(close, 20)"])


def test_extremes(export):
    t = export("highest+lowest.csv")
    same(k.window_extremes(t["high"], [10], np.maximum)[10], t["ta.highest(10)"])
    same(k.window_extremes(t["close"], [10], np.maximum)[10], t["ta.highest(close, 10)"])
    same(k.window_extremes(t["low"], [10], np.minimum)[10], t["ta.lowest(10)"])
    same(k.window_extremes(t["close"], [10], np.minimum)[10], t["ta.lowest(close, 10)"])


def test_macd(export):
    t = export("macd.csv")
    macd = ema(t["close"], 12) - ema(t["close"], 26)
    signal = ema(macd, 9, first=25)
    same(macd, t["ta.macd(close, 12, 26, 9).macd"])
    same(signal, t["ta.macd(close, 12, 26, 9).signal"])
    same(macd - signal, t["ta.macd(close, 12, 26, 9).hist"])


def test_commodity_channel_index(export):
    t = export("cci+cmo+cog.csv")
    same(k.commodity_channel_index(t["close"], 20), t["ta.cci(close, 20)"])


def test_stochastic_and_relative_strength(export):
    t = export("mfi+rsi+stoch.csv")
    high = k.window_extremes(t["high"], [20], np.maximum)[20]
    low = k.window_extremes(t["low"], [20], np.minimum)[20]
    same(k.stochastic(t["close"], low, high), t["ta.stoch(close, high, low, 20)"])
    gain, loss = k.movements(t["high"], t["low"], t["close"]).transpose(1, 0, 2)[:2]
    gain, loss = rma(gain, 14, first=1), rma(loss, 14, first=1)
    same(k.percent(gain, gain + loss, empty=1.0), t["ta.rsi(close, 14)"])


def test_williams(export):
    t = export("wpr.csv")
    high = k.window_extremes(t["high"], [20], np.maximum)[20]
    low = k.window_extremes(t["low"], [20], np.minimum)[20]
    same(-k.stochastic(t["close"], high, low), t["ta.wpr(20)"])


def test_directional_movement(export):
    t = export("dmi.csv")
    _, _, span, plus, minus = k.movements(t["high"], t["low"], t["close"]).transpose(1, 0, 2)
    span, plus, minus = (rma(series, 17, first=1) for series in (span, plus, minus))
    plus, minus = k.percent(plus, span, empty=0.0), k.percent(minus, span, empty=0.0)
    index = k.percent(np.abs(plus - minus), plus + minus, empty=0.0)
    same(plus, t["ta.dmi(17, 14).dip"])
    same(minus, t["ta.dmi(17, 14).dim"])
    same(rma(index, 14, first=17), t["ta.dmi(17, 14).adx"])
