"""Ratings of many symbols against TA-Lib called symbol by symbol, in one run, in seconds of processor time.

Usage: ``python benchmarks/ratings.py [SYMBOLS] [DAYS]``; TA-Lib must be installed. Answers are compared before anything
is timed. Bars are random walks from a fixed seed, so nothing else is needed.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import polars as pl
import talib

from assay.ratings import rate
from assay.ratings.averages import recursive_averages, whole
from assay.ratings.indicators import chunks, indicators
from assay.ratings.tape import tape

WARM = 600
"""Bars after which TA-Lib's seeds of MACD, ADX and DI have decayed below the tolerance."""
REPEATS = 5
WINDOWS = (10, 20, 30, 50, 100, 200)


def walks(symbols: int, days: int, seed: int = 20240630) -> pl.DataFrame:
    """Geometric random walks as daily bars in lake columns."""
    random = np.random.default_rng(seed)
    close = np.exp(np.cumsum(random.normal(0, 0.04, (symbols, days)), axis=1)) * 100
    open_ = np.concatenate([np.full((symbols, 1), 100.0), close[:, :-1]], axis=1)
    high = np.maximum(open_, close) * np.exp(random.exponential(0.01, (symbols, days)))
    low = np.minimum(open_, close) * np.exp(-random.exponential(0.01, (symbols, days)))
    opens = np.datetime64("2018-01-01", "us") + np.arange(days) * np.timedelta64(1, "D")
    return pl.DataFrame(
        {
            "symbol": np.repeat([f"BINANCE:C{i:04d}USDT" for i in range(symbols)], days),
            "interval": "1d",
            "open_time": pl.Series(np.tile(opens, symbols)).dt.replace_time_zone("UTC"),
            "open": open_.ravel(),
            "high": high.ravel(),
            "low": low.ravel(),
            "close": close.ravel(),
            "volume": random.lognormal(8, 1, symbols * days),
        }
    )


Columns = dict[str, np.ndarray]


def by_talib(bars: Columns) -> Columns:
    """What TA-Lib has of the 26 indicators, for one symbol."""
    high, low, close, volume = (bars[name] for name in ("high", "low", "close", "volume"))
    found = {f"sma_{n}": talib.SMA(close, n) for n in WINDOWS} | {f"ema_{n}": talib.EMA(close, n) for n in WINDOWS}
    found["vwma_20"] = talib.SMA(close * volume, 20) / talib.SMA(volume, 20)
    found["hull_ma_9"] = talib.WMA(2 * talib.WMA(close, 4) - talib.WMA(close, 9), 3)
    found["conversion"], found["base"], found["lead_b"] = (talib.MIDPRICE(high, low, n) for n in (9, 26, 52))
    found["rsi"] = talib.RSI(close, 14)
    found["stoch_k"], found["stoch_d"] = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    found["stoch_8_k"], found["stoch_8_d"] = talib.STOCH(high, low, close, 8, 3, 0, 3, 0)
    found["cci"] = talib.CCI(high, low, close, 20)
    found["adx"] = talib.ADX(high, low, close, 14)
    found["plus_di"], found["minus_di"] = talib.PLUS_DI(high, low, close, 14), talib.MINUS_DI(high, low, close, 14)
    middle = (high + low) / 2
    found["ao"] = talib.SMA(middle, 5) - talib.SMA(middle, 34)
    found["momentum"] = talib.MOM(close, 10)
    found["macd"], found["macd_signal"], _ = talib.MACD(close, 12, 26, 9)
    _, found["stoch_rsi_k"] = talib.STOCHRSI(close, 14, 14, 3, 0)
    found["williams_r"] = talib.WILLR(high, low, close, 14)
    average = talib.EMA(close, 13)
    found["bull_power"], found["bear_power"] = high - average, low - average
    found["ultimate"] = talib.ULTOSC(high, low, close, 7, 14, 28)
    return found


def compare(bars: pl.DataFrame, symbols: int) -> tuple[int, float]:
    """Return how many series were compared and their greatest difference, in units of the price or of percent."""
    rated = tape(bars, "1d")
    averages = recursive_averages(rated, whole(rated))
    worst, series = 0.0, 0
    for begin, end in pairwise(rated.starts[: symbols + 1].tolist()):
        ours = indicators(rated, averages, slice(begin, end))
        prices = {name: values[begin:end] for name, values in rated.prices.items()}
        scale = prices["close"][WARM:]
        for name, theirs in by_talib(prices).items():
            unit = np.maximum(scale, 1.0) if name in PRICED else 100.0
            gap = np.abs(ours[name][WARM:] - theirs[WARM:]) / unit
            worst, series = float(np.maximum(worst, gap.max())), series + 1  # a NaN stays
    return series, worst


PRICED = {
    *(f"{kind}_{n}" for kind in ("sma", "ema") for n in WINDOWS),
    *("vwma_20", "hull_ma_9", "conversion", "base", "lead_b", "ao", "momentum", "macd", "macd_signal"),
    *("bull_power", "bear_power"),
}


def best(work: Callable[[], object]) -> float:
    """Shortest of several runs, in seconds of processor time of all threads."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def talib_all(bars: pl.DataFrame, days: int) -> None:
    columns = {name: bars[name].to_numpy() for name in ("high", "low", "close", "volume")}
    for begin in range(0, bars.height, days):
        by_talib({name: values[begin : begin + days] for name, values in columns.items()})


def ours_all(bars: pl.DataFrame) -> None:
    """Our indicators alone, without votes and table."""
    rated = tape(bars, "1d")
    averages = recursive_averages(rated, whole(rated))
    for rows in chunks(rated.keys.height):
        indicators(rated, averages, rows)


def peak() -> float:
    """Greatest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    symbols = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    days = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    bars = walks(symbols, days)
    series, worst = compare(bars, min(symbols, 20))
    if not worst < 1e-9:
        raise SystemExit(f"answers differ from TA-Lib by {worst:.1e}: nothing is timed")
    base = peak()
    rate(bars)
    memory = peak() - base
    full, alone, theirs = best(lambda: rate(bars)), best(lambda: ours_all(bars)), best(lambda: talib_all(bars, days))
    print(f"{symbols} symbols x {days} days = {bars.height:,} bars, best of {REPEATS}")
    print(f"{series} series agree with TA-Lib to {worst:.0e}")
    print(f"{'':44}{'CPU s':>9}{'M bars/s':>10}{'TA-Lib = 1':>12}")
    for what, seconds in (
        ("rate(): indicators, 26 votes, ratings, table", full),
        ("indicators alone", alone),
        ("TA-Lib, symbol by symbol, indicators alone", theirs),
    ):
        print(f"{what:44}{seconds:9.3f}{bars.height / seconds / 1e6:10.2f}{seconds / theirs:12.2f}")
    print(f"memory of rate() above the bars: {memory:.0f} MB")


if __name__ == "__main__":
    main()
