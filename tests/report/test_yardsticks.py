"""Benchmark and universe: hand-made prices, hand-computed means."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest

from assay.backtest.benchmarks import coins, yardsticks
from assay.market.panel import Market

NAN = float("nan")
CLOSES = {
    "BINANCE:BTCFDUSD": [10.0, 20.0, 40.0, 80.0],  # a second quote of Bitcoin
    "BINANCE:BTCUSDT": [10.0, 11.0, 11.0, 12.1],
    "BINANCE:DEADUSDT": [4.0, 2.0, NAN, NAN],  # left after the second day
    "BINANCE:ETHBTC": [1.0, 3.0, 9.0, 27.0],  # not in dollars
    "BINANCE:ETHUSDT": [10.0, 8.0, 10.0, 10.0],
    "BINANCE:USDCUSDT": [1.0, 1.0, 1.0, 1.0],  # a stablecoin
    "BINANCE:\u2603": [1.0, 2.0, 4.0, 8.0],  # no pair at all
}


@pytest.fixture
def market() -> Market:
    close = np.array(list(CLOSES.values())).T
    days = np.arange("2024-01-01", "2024-01-05", dtype="datetime64[D]")
    listing = np.where(np.isnan(close), -1, 0).astype(np.int32)
    return Market(days, tuple(CLOSES), {"close": close}, listing, dt.datetime(2024, 1, 5, tzinfo=dt.UTC))


def test_each_base_counts_once_and_only_coins_do(market):
    found = [market.symbols[column] for column in coins(market)]
    assert found == ["BINANCE:BTCUSDT", "BINANCE:DEADUSDT", "BINANCE:ETHUSDT"]


def test_means_of_what_was_listed_on_the_day(market):
    result = SimpleNamespace(days=market.days[1:], benchmark=market.returns()[1:, 1])
    frame = yardsticks(result, market)
    assert frame["benchmark"].to_list() == pytest.approx([0.1, 0.0, 0.1])
    assert frame["universe"].to_list() == pytest.approx([(0.1 - 0.5 - 0.2) / 3, (0.0 + 0.25) / 2, (0.1 + 0.0) / 2])
    assert frame["coins"].to_list() == [3, 2, 2]
    assert frame["date"].to_list() == [dt.date(2024, 1, day) for day in (2, 3, 4)]


def test_a_day_without_returns_is_null(market):
    result = SimpleNamespace(days=market.days, benchmark=market.returns()[:, 1])
    frame = yardsticks(result, market)
    assert frame["universe"][0] is None
    assert frame["benchmark"][0] is None
