from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from assay.base.domain import Instrument
from assay.market.universe import KINDS, compiled_on, excluded, exclusions

FIAT_AT_BINANCE = ["AUD", "BRL", "EUR", "GBP", "NGN", "PLN", "RUB", "TRY", "UAH", "ZAR"]
STABLE_AT_BINANCE = [
    *("AEUR", "BUSD", "DAI", "FDUSD", "IDRT", "PAX", "SUSD", "TUSD"),
    *("USDC", "USDP", "USDS", "USDSB", "UST", "USTC", "U", "USDSOLD"),
]


@pytest.fixture(scope="module")
def exchange_info(shared: Path) -> list[dict[str, object]]:
    with gzip.open(shared / "binance_api/exchangeInfo_full.json.gz") as stream:
        return json.load(stream)["symbols"]


def test_every_pair_that_the_exchange_calls_leveraged_is_excluded(exchange_info: list[dict[str, object]]) -> None:
    leveraged = {str(pair["baseAsset"]) for pair in exchange_info if "LEVERAGED" in pair["permissions"]}
    assert len(leveraged) == 40
    assert all((entry := excluded(base)) and entry.kind == "leveraged" for base in leveraged)


def test_no_base_that_the_exchange_lists_as_an_ordinary_coin_is_called_leveraged_but_those_of_ftx(
    exchange_info: list[dict[str, object]],
) -> None:
    ordinary = {str(pair["baseAsset"]) for pair in exchange_info if "LEVERAGED" not in pair["permissions"]}
    called = {base for base in ordinary if (entry := excluded(base)) and entry.kind == "leveraged"}
    ftx = "BULL BEAR BNBBULL BNBBEAR EOSBULL EOSBEAR ETHBULL ETHBEAR XRPBULL XRPBEAR"
    assert called == set(ftx.split())


def test_state_money_that_the_exchange_quotes_in_is_excluded_as_a_base(exchange_info: list[dict[str, object]]) -> None:
    quotes = {str(pair["quoteAsset"]) for pair in exchange_info}
    coins = {"BNB", "BTC", "DOGE", "DOT", "ETH", "TRX", "XRP"}
    assert {quote for quote in quotes if excluded(quote) is None} <= coins
    assert set(FIAT_AT_BINANCE) <= quotes


@pytest.mark.parametrize("base", FIAT_AT_BINANCE)
def test_fiat(base: str) -> None:
    entry = excluded(base)
    assert entry is not None
    assert entry.kind == "fiat"


@pytest.mark.parametrize("base", STABLE_AT_BINANCE)
def test_stablecoins(base: str) -> None:
    entry = excluded(base)
    assert entry is not None
    assert entry.kind == "stablecoin"


@pytest.mark.parametrize("base", ["PAXG", "XAUT"])
def test_metal(base: str) -> None:
    entry = excluded(base)
    assert entry is not None
    assert entry.kind == "metal"


@pytest.mark.parametrize(
    "base", ["JUP", "SYRUP", "PUMP", "SUPER", "USUAL", "EURO", "LUNA", "WIF", "WNXM", "WAXP", "T", "UP", "DAIX"]
)
def test_coins_that_look_like_something_else_stay(base: str) -> None:
    assert excluded(base) is None


def test_recorded_pairs_that_hardly_move_are_excluded_and_they_alone_but_for_the_peg_that_fell(shared: Path) -> None:
    # A pair that moves less than 2 % a day for years follows money or a metal; every coin moves more.
    bars = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet").sort("symbol", "timestamp")
    moves = bars.with_columns(pl.col("close").pct_change().over("symbol").abs().alias("move"))
    quiet = moves.group_by("symbol").agg(pl.col("move").median())
    pegged = {Instrument.parse(symbol).base for symbol in quiet.filter(pl.col("move") < 0.008)["symbol"]}
    bases = {Instrument.parse(symbol).base for symbol in quiet["symbol"]}
    listed = {base for base in bases if (entry := excluded(base)) and entry.kind in ("fiat", "stablecoin", "metal")}
    assert len(pegged) > 10
    assert listed - pegged == {"USTC"}
    assert pegged - listed == set()


def test_a_name_may_stand_for_something_else_on_other_days() -> None:
    assert excluded("BEAR", dt.date(2020, 1, 1)) is not None
    assert excluded("BEAR", dt.date(2022, 11, 11)) is not None
    assert excluded("BEAR", dt.date(2022, 11, 12)) is None
    assert excluded("BEAR") is not None


def test_every_entry_says_why() -> None:
    assert {entry.kind for entry in exclusions().values()} == set(KINDS)
    assert all(base == entry.base and len(entry.reason) > 10 for base, entry in exclusions().items())
    assert compiled_on() >= dt.date(2024, 6, 30)


def test_recorded_pairs_that_are_a_known_coin_wrapped_are_excluded(shared: Path) -> None:
    # A pair whose close stays within two in a hundred of another coin's, day by day, is that coin in another form.
    bars = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet").with_columns(pl.col("symbol").cast(pl.String))
    coin = {"WBTC": "BTC", "WBETH": "ETH"}
    for wrapped, base in coin.items():
        own, plain = (bars.filter(pl.col("symbol") == f"BINANCE:{name}USDT") for name in (wrapped, base))
        both = own.join(plain, on="timestamp", suffix="_coin")
        ratio = (both["close"] / both["close_coin"]).pct_change().abs().drop_nulls()
        assert len(ratio) > 100
        assert ratio.median() < 0.005
        assert (entry := excluded(wrapped)) is not None
        assert entry.kind == "wrapped"
