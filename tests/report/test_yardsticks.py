"""Benchmark and universe: hand-made prices, hand-computed means."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from assay.backtest.benchmarks import benchmark_returns, coins
from assay.market.panel import Market
from assay.screening.scanner import scan
from assay.settings.model import Scanner, Universe

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
AS_OF = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)


def market_of(closes: dict[str, list[float]], traded: dict[str, list[float]], instruments=None) -> Market:
    close = np.array(list(closes.values())).T
    days = np.arange("2024-01-01", "2024-01-05", dtype="datetime64[D]")
    value = np.array([traded.get(name, [2e6] * len(close)) for name in closes]).T
    fields = dict.fromkeys(("open", "high", "close"), close) | {"low": 0.9 * close, "volume": value / close}
    fields |= {"quote_volume": value, "value_traded": value}
    fields |= {f"recommend_{kind}": np.full_like(close, 0.5) for kind in ("all", "ma", "other")}
    listing = np.where(np.isnan(close), -1, 0).astype(np.int32)
    return Market(days, tuple(closes), fields, listing, AS_OF, instruments)


@pytest.fixture
def market() -> Market:
    return market_of(CLOSES, {})


def returns_of(market: Market, column: int = 1):
    result = SimpleNamespace(days=market.days[1:], benchmark=market.returns()[1:, column])
    return benchmark_returns(result, market, Universe())


def test_each_base_counts_once_and_only_coins_do(market):
    found = [[market.symbols[i] for i in np.flatnonzero(row)] for row in coins(market, Universe(), (1, 2))]
    assert found[0] == ["BINANCE:BTCUSDT", "BINANCE:DEADUSDT", "BINANCE:ETHUSDT"]
    assert found[1] == ["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"]


def test_means_of_what_was_listed_on_the_day(market):
    frame = returns_of(market)
    assert frame["benchmark"].to_list() == pytest.approx([0.1, 0.0, 0.1])
    assert frame["universe"].to_list() == pytest.approx([(0.1 - 0.5 - 0.2) / 3, (0.0 + 0.25) / 2, (0.1 + 0.0) / 2])
    assert frame["coins"].to_list() == [3, 2, 2]
    assert frame["date"].to_list() == [dt.date(2024, 1, day) for day in (2, 3, 4)]


def test_a_day_without_returns_is_null(market):
    result = SimpleNamespace(days=market.days, benchmark=market.returns()[:, 1])
    frame = benchmark_returns(result, market, Universe())
    assert frame["universe"][0] is None
    assert frame["benchmark"][0] is None


def test_the_pair_that_trades_more_than_three_times_as_much_is_the_same_in_universe_and_scanner():
    closes = {"BINANCE:BTCUSDC": [10.0, 20.0, 10.0, 30.0], "BINANCE:BTCUSDT": [10.0, 11.0, 11.0, 12.1]}
    traded = {"BINANCE:BTCUSDC": [2e6, 6e6, 6.1e6, 9e6]}  # against 2e6: equal, three times, more, more
    market = market_of(closes, traded)
    scanner = Scanner(logic="rating_all", direction="LONG")
    for row in range(4):
        known = market.until(dt.datetime(2024, 1, 2, tzinfo=dt.UTC) + dt.timedelta(days=row))
        wanted = [candidate.symbol for candidate in scan(known, "long", scanner).candidates]
        assert [market.symbols[i] for i in np.flatnonzero(coins(market, Universe(), [row]))] == wanted
        assert wanted == ["BINANCE:BTCUSDC" if row > 1 else "BINANCE:BTCUSDT"]
    # Each day's pair is the one of the close before: USDT, USDT, then USDC.
    assert returns_of(market)["universe"].to_list() == pytest.approx([0.1, 0.0, 2.0])


def test_base_and_quote_are_those_of_the_exchanges_own_table():
    """By its letters XTUSD is X in TUSD; the exchange says that it is XT in USD."""
    rows = {"symbol": ["BINANCE:XTUSD"], "base": ["XT"], "quote": ["USD"], "valid_from": [AS_OF], "valid_to": [None]}
    rows |= {"status": ["TRADING"]}
    closes = {"BINANCE:XTUSD": [1.0, 1.5, 3.0, 6.0], "BINANCE:XUSDT": [1.0, 2.0, 2.0, 2.0]}
    split = market_of(closes, {}, pl.DataFrame(rows))
    assert np.flatnonzero(coins(split, Universe(), [3])[0]).tolist() == [0, 1]
    assert np.flatnonzero(coins(market_of(closes, {}), Universe(), [3])[0]).tolist() == [1]
