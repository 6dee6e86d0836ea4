"""Real bars: TA-Lib for indicator values, and the rules written out in plain Python for votes and ratings."""

from __future__ import annotations

import math

import naive_ratings
import numpy as np
import polars as pl
import pytest
from ratings_bars import walk

from assay.ratings import VOTES, rate
from assay.ratings.averages import recursive_averages, whole
from assay.ratings.indicators import indicators
from assay.ratings.tape import tape

talib = pytest.importorskip("talib", reason="TA-Lib, the oracle, is not installed")

WARM = 600
"""Bars after which TA-Lib's own seeds have decayed below the tolerance."""
SYMBOLS = ("BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BINANCE:DOGEUSDT", "BINANCE:SHIBUSDT", "BINANCE:SUNUSDT")


@pytest.fixture(scope="module", params=SYMBOLS)
def column(daily, request) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Bars of the longest listing of one symbol, and its indicators."""
    rated = tape(daily.filter(pl.col("symbol") == request.param), "1d")
    longest = int(np.diff(rated.starts).argmax())
    begin, end = int(rated.starts[longest]), int(rated.starts[longest + 1])
    assert end - begin > WARM + 200
    found = indicators(rated, recursive_averages(rated, whole(rated)), slice(begin, end))
    return {name: x[begin:end] for name, x in rated.prices.items()}, found


def agree(found: np.ndarray, oracle: np.ndarray, first: int, scale: np.ndarray | float = 1.0) -> None:
    found, oracle = found / scale, oracle / scale
    assert np.isfinite(found[first:]).all()
    np.testing.assert_allclose(found[first:], oracle[first:], rtol=1e-9, atol=1e-9)


def test_averages(column):
    bars, found = column
    close = bars["close"]
    for window in (10, 20, 30, 50, 100, 200):
        agree(found[f"sma_{window}"], talib.SMA(close, window), window - 1, close)
        agree(found[f"ema_{window}"], talib.EMA(close, window), window - 1, close)
        assert np.isnan(found[f"sma_{window}"][: window - 1]).all()
        assert np.isnan(found[f"ema_{window}"][: window - 1]).all()


def test_oscillators_that_agree_from_their_first_value(column):
    bars, found = column
    high, low, close = bars["high"], bars["low"], bars["close"]
    agree(found["rsi"], talib.RSI(close, 14), 14)
    agree(found["momentum"], talib.MOM(close, 10), 10, close)
    agree(found["williams_r"], talib.WILLR(high, low, close, 14), 13)
    agree(found["ultimate"], talib.ULTOSC(high, low, close, 7, 14, 28), 28)
    agree(found["cci"], talib.CCI(high, low, close, 20), 19)
    for name, window in (("stoch", 14), ("stoch_8", 8)):
        k, d = talib.STOCH(high, low, close, window, 3, 0, 3, 0)
        agree(found[f"{name}_k"], k, window + 3)
        agree(found[f"{name}_d"], d, window + 3)
    middle = (high + low) / 2
    agree(found["ao"], talib.SMA(middle, 5) - talib.SMA(middle, 34), 33, close)
    for window, line in ((9, "conversion"), (26, "base"), (52, "lead_b")):
        agree(found[line], talib.MIDPRICE(high, low, window), window - 1, close)


def test_oscillators_that_agree_once_seeds_have_decayed(column):
    bars, found = column
    high, low, close = bars["high"], bars["low"], bars["close"]
    agree(found["plus_di"], talib.PLUS_DI(high, low, close, 14), WARM)
    agree(found["minus_di"], talib.MINUS_DI(high, low, close, 14), WARM)
    agree(found["adx"], talib.ADX(high, low, close, 14), WARM)
    macd, signal, _ = talib.MACD(close, 12, 26, 9)
    agree(found["macd"], macd, WARM, close)
    agree(found["macd_signal"], signal, WARM, close)
    k, d = talib.STOCHRSI(close, 14, 14, 3, 0)
    agree(found["stoch_rsi_k"], d, 40)
    agree(found["stoch_rsi_d"], talib.SMA(np.nan_to_num(d), 3), 40)
    assert np.isfinite(k[WARM:]).all()


@pytest.fixture(scope="module", params=["2026", "2021"])
def edition(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=["BINANCE:ADAUSDT", "BINANCE:LUNAUSDT", "BINANCE:FDUSDUSDT"])
def slow(daily, request, edition):
    """First listing of a symbol, at most 700 bars: rated by the package, and by the rules in plain Python."""
    found = rate(daily.filter(pl.col("symbol") == request.param), "1d", edition)
    found = found.filter(pl.col("listing") == 0).head(700)
    bars = daily.join(found, on=["symbol", "open_time"], how="semi").sort("open_time")
    series = [bars[name].to_list() for name in ("high", "low", "close", "volume")]
    return found, naive_ratings.ratings(*series, edition)


@pytest.mark.parametrize("seed", range(4))
def test_random_bars_are_rated_by_the_plain_rules(seed, edition):
    """The same without anything outside of the clone."""
    bars = walk(seed, 420)
    found = rate(bars, "1d", edition)
    _, cast, both, moving, other = naive_ratings.ratings(
        *[bars[name].to_list() for name in ("high", "low", "close", "volume")], edition
    )
    for name in VOTES:
        assert found[f"vote_{name}"].to_list() == cast[name], name
    for name, plain in (("recommend_all", both), ("recommend_ma", moving), ("recommend_other", other)):
        for mine, expected in zip(found[name], plain, strict=True):
            assert mine == (None if expected is None else pytest.approx(expected, rel=1e-14, abs=1e-15)), name


def test_every_vote_equals_the_plain_rules(slow):
    """Ties too: lines that differ by rounding are equal, whoever rounds."""
    found, (_, cast, *_) = slow
    assert set(cast) == set(VOTES)
    for name in VOTES:
        assert found[f"vote_{name}"].to_list() == cast[name], name


def test_ratings_equal_the_plain_rules(slow):
    found, (_, _, both, moving, other) = slow
    for name, plain in (("recommend_all", both), ("recommend_ma", moving), ("recommend_other", other)):
        for mine, expected in zip(found[name], plain, strict=True):
            assert mine == (None if expected is None else pytest.approx(expected, rel=1e-14, abs=1e-15)), name
    assert sum(value is not None for value in both) > 200


def test_stored_values_equal_the_plain_rules(slow):
    found, (values, *_) = slow
    for name in ("rsi", "adx", "plus_di", "minus_di", "stoch_k", "stoch_d", "stoch_rsi_k", "stoch_rsi_d", "ema_200"):
        for mine, plain in zip(found[name], values[name], strict=True):
            assert (mine is None) == (plain is None), name
            assert mine is None or math.isclose(mine, plain, rel_tol=1e-9, abs_tol=1e-9), name
