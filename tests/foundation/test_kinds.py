"""What an exchange's metadata say of pairs, by date: shares, tokens and halted pairs are left out at discovery."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from foundation_markets import market

from assay.base.domain import UTC, Instrument
from assay.base.errors import SourceError
from assay.market.kinds import NOT_TRADING, ListedKinds, with_facts
from assay.market.panel import Market
from assay.market.schema import INSTRUMENTS
from assay.screening.scanner import scan
from assay.settings.model import Scanner
from assay.sources.facts import merge
from assay.sources.rules import RuleBook, parse_exchange_info, rule_book

LONG = Scanner(logic="rating_all", direction="LONG")
ORDINARY = "MARGIN SPOT TRD_GRP_004 TRD_GRP_005"
SINCE = dt.datetime(2023, 1, 1, tzinfo=UTC)


def row(base: str, sets: str | None = ORDINARY, status: str | None = "TRADING", **more: Any) -> dict[str, Any]:
    pair = {"symbol": f"BINANCE:{base}USDT", "base": base, "quote": "USDT"}
    return {**pair, "status": status, "permissions": sets, "valid_from": SINCE, **more}


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([row("BTC"), *rows], schema=INSTRUMENTS)


def kinds(*rows: dict[str, Any], at: dt.datetime = SINCE) -> dict[str, str]:
    found = ListedKinds(table(*rows)).at(at)
    return {symbol.removeprefix("BINANCE:").removesuffix("USDT"): out.kind for symbol, out in found.items()}


@pytest.mark.parametrize(
    ("sets", "kind"),
    [
        ("SPOT TRD_GRP_004 TRD_GRP_261", "tokenized_share"),
        ("MARGIN SPOT TRD_GRP_261", "tokenized_share"),
        ("SPOT & TRD_GRP_261", "tokenized_share"),
        ("LEVERAGED", "leveraged"),
        ("SPOT TRD_GRP_004 TRD_GRP_777", "unknown_group"),
        ("TRD_GRP_004", "not_spot"),
        ("SPOT & TRD_GRP_004", "not_spot"),
        ("SPOT", None),
        ("SPOT TRD_GRP_004", None),
        (None, None),
    ],
)
def test_permission_sets_say_what_a_pair_is(sets: str | None, kind: str | None) -> None:
    assert kinds(row("NEW", sets)) == ({} if kind is None else {"NEW": kind})


def test_a_group_that_a_well_known_coin_or_a_pair_on_margin_is_in_says_nothing() -> None:
    new = row("NEW", "SPOT TRD_GRP_300")
    assert kinds(new) == {"NEW": "unknown_group"}
    assert kinds(new, row("ETH", "SPOT TRD_GRP_300")) == {}
    assert kinds(new, row("OTHER", "MARGIN SPOT TRD_GRP_300")) == {}


def test_where_no_well_known_coin_is_listed_no_group_is_judged() -> None:
    rows = pl.DataFrame([row("AAA", "SPOT TRD_GRP_300"), row("BBB", "SPOT TRD_GRP_301")], schema=INSTRUMENTS)
    assert ListedKinds(rows).at(SINCE) == {}


@pytest.mark.parametrize(
    "status",
    ["BREAK", "HALT", "CANCEL_ONLY", "END_OF_DAY", "PRE_TRADING", "POST_TRADING", "AUCTION_MATCH", "POST_ONLY", "NEW"],
)
def test_whatever_is_not_trading_is_left_out(status: str) -> None:
    assert kinds(row("XRP2", status=status)) == {"XRP2": NOT_TRADING}


def test_a_status_that_nobody_knows_keeps_nobody_out() -> None:
    assert kinds(row("OLD", status=None)) == {}
    assert kinds(row("OLD", spot_allowed=True)) == {}
    assert kinds(row("OLD", spot_allowed=False)) == {"OLD": "not_spot"}


def test_each_date_has_its_own_answer() -> None:
    days = [dt.datetime(2023, 1, day, tzinfo=UTC) for day in (1, 10, 20, 30)]
    rows = [
        row("A", valid_to=days[1]),
        row("A", status="HALT", valid_from=days[1], valid_to=days[2]),
        row("A", valid_from=days[2], valid_to=days[3]),
        row("A", "LEVERAGED", valid_from=days[3]),
    ]
    told = [kinds(*rows, at=day) for day in days]
    assert told == [{}, {"A": NOT_TRADING}, {}, {"A": "leveraged"}]
    once = ListedKinds(table(*rows))  # the same object answers in any order
    assert [dict(once.at(day)) for day in reversed(days)] == [dict(ListedKinds(table(*rows)).at(d)) for d in days[::-1]]
    assert once.at(days[1] - dt.timedelta(microseconds=1)) == {}


def test_a_table_of_a_former_version_says_nothing_of_kinds() -> None:
    old = table(row("NEW", "TRD_GRP_261"), row("HALTED", status="HALT")).drop("permissions", "spot_allowed")
    assert set(with_facts(old).columns) == set(INSTRUMENTS)
    assert [out.kind for out in ListedKinds(with_facts(old)).at(SINCE).values()] == [NOT_TRADING]


def test_the_funnel_counts_each_kind_and_keeps_the_coins() -> None:
    names = ["BTC", "ETH", "WBTC", "USDC", "ZZZB", "QQ3L", "HLT", "NEW"]
    panel = dataclasses.replace(
        market({f"BINANCE:{name}USDT": [100.0] for name in names}),
        instruments=table(
            *(row("ETH"), row("WBTC"), row("USDC"), row("ZZZB", "SPOT TRD_GRP_261"), row("QQ3L", "LEVERAGED")),
            *(row("HLT", status="HALT"), row("NEW", "SPOT TRD_GRP_999")),
        ).with_columns(valid_from=pl.lit(dt.datetime(2009, 1, 1, tzinfo=UTC)).cast(INSTRUMENTS["valid_from"])),
    )
    panel.fields["recommend_all"][:] = 0.5
    result = scan(panel, "s", LONG)
    assert [one.symbol for one in result.candidates] == ["BINANCE:BTCUSDT", "BINANCE:ETHUSDT"]
    dropped = {reason: n for reason, n in result.count.dropped.items() if n}
    one_each = ("wrapped", "stablecoin", "tokenized_share", "leveraged", "not_trading", "unknown_group")
    assert dropped == dict.fromkeys(one_each, 1)
    assert result.count.universe == result.count.kept + sum(dropped.values())


def test_without_a_table_nothing_is_left_out() -> None:
    panel: Market = market({"BINANCE:BTCUSDT": [100.0]}, recommend_all={"BINANCE:BTCUSDT": [0.5]})
    assert len(scan(panel, "s", LONG).candidates) == 1


# --- the recorded exchange --------------------------------------------------------------------------------------------


def test_of_the_recorded_pairs_leveraged_tokens_and_what_does_not_trade_are_left_out_and_nothing_else(
    shared: Path,
) -> None:
    with gzip.open(shared / "binance_api/exchangeInfo_full.json.gz") as stream:
        answer = json.load(stream)
    book = parse_exchange_info(answer)
    out = {symbol: told.kind for symbol, told in ListedKinds(book.frame()).at(book.valid_from).items()}
    for pair in answer["symbols"]:
        expected = "leveraged" if pair["permissions"] == ["LEVERAGED"] else NOT_TRADING
        expected = None if expected == NOT_TRADING and pair["status"] == "TRADING" else expected
        assert out.get(f"BINANCE:{pair['symbol']}") == expected


# --- how the dates come into the table --------------------------------------------------------------------------------


def entry(base: str, status: str = "TRADING", **more: Any) -> dict[str, Any]:
    lot = {"filterType": "LOT_SIZE", "minQty": "0.1", "maxQty": "9000", "stepSize": "0.1"}
    price = {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000", "tickSize": "0.01"}
    pair = {"symbol": f"{base}USDT", "baseAsset": base, "quoteAsset": "USDT", "status": status}
    return {**pair, "filters": [lot, price], **more}


def book(*entries: dict[str, Any]) -> RuleBook:
    return parse_exchange_info({"serverTime": 1_704_067_200_000, "symbols": [entry("BTC"), *entries]})


def told(held: pl.DataFrame, base: str) -> list[tuple[Any, ...]]:
    own = held.filter(pl.col("symbol") == f"BINANCE:{base}USDT").sort("valid_from")
    return own.select("status", "permissions", pl.col("valid_to").is_null()).rows()


SHARE = [["SPOT", "TRD_GRP_004", "TRD_GRP_261"]]
WORDS = "SPOT TRD_GRP_004 TRD_GRP_261"


def test_what_a_pair_is_holds_for_the_time_before_the_first_look_and_its_status_does_not() -> None:
    held, _ = merge(None, book(entry("ABC", "HALT", permissionSets=SHARE)), [], SINCE)
    assert told(held, "ABC") == [(None, WORDS, False), ("HALT", WORDS, True)]


def test_an_answer_without_permission_sets_takes_nothing_back() -> None:
    held, _ = merge(None, book(entry("ABC", permissionSets=SHARE)), [], SINCE)
    for more in ({}, {"permissionSets": None}, {"permissions": [], "permissionSets": []}):
        later, _ = merge(held, book(entry("ABC", **more)), [], SINCE + dt.timedelta(days=1))
        assert later.equals(held)


def test_permission_sets_that_change_hold_from_then_on() -> None:
    held, _ = merge(None, book(entry("ABC", permissionSets=[["SPOT"]])), [], SINCE)
    held, _ = merge(held, book(entry("ABC", permissionSets=SHARE)), [], SINCE + dt.timedelta(days=3))
    assert told(held, "ABC") == [(None, "SPOT", False), ("TRADING", "SPOT", False), ("TRADING", WORDS, True)]


def test_a_lake_of_a_former_version_learns_kinds_without_a_new_row_for_each_pair() -> None:
    first = [entry("ABC", isSpotTradingAllowed=True), entry("COIN2", isSpotTradingAllowed=True)]
    held, _ = merge(None, book(*first), [], SINCE)
    old = with_facts(held.drop("permissions", "spot_allowed")).select(list(INSTRUMENTS))
    now = [entry("ABC", isSpotTradingAllowed=True, permissionSets=SHARE), first[1]]
    table, _ = merge(old, book(*now), [], SINCE + dt.timedelta(days=9))
    assert table.height == held.height
    assert told(table, "ABC") == [(None, WORDS, False), ("TRADING", WORDS, True)]


@pytest.mark.parametrize(
    "odd", [{"SPOT": 1}, ["SPOT"], "SPOT", 7, [[["SPOT", "MARGIN"]]], [["SPOT", None]], [["SPOT TRD_GRP_004"]], [[""]]]
)
def test_odd_permission_sets_cost_that_pair(odd: Any) -> None:
    found = book(entry("ABC", permissionSets=odd), entry("DEF"), entry("GHI"))
    assert list(found.unreadable) == ["BINANCE:ABCUSDT"]
    assert len(found.rules) == 3


@pytest.mark.parametrize(
    "odd",
    [
        {"status": None},
        {"status": 1},
        {"isSpotTradingAllowed": "false"},
        {"isMarginTradingAllowed": 1},
        {"filters": [*entry("ABC")["filters"], {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": "1e400"}]},
    ],
)
def test_a_fact_of_another_type_costs_that_pair_and_no_table(odd: Any) -> None:
    found = book(entry("ABC", **odd), entry("DEF"), entry("GHI"))
    assert list(found.unreadable) == ["BINANCE:ABCUSDT"]
    assert found.frame().height == 3


@pytest.mark.parametrize("odd", [{"margin": "yes"}, {"precision": {"price": float("nan")}}, {"limits": {"cost": [1]}}])
def test_an_odd_fact_of_ccxt_costs_that_pair(odd: Any) -> None:
    plain = {"quote": "USDT", "spot": True, "active": True}
    found = rule_book("okx", {"ABC/USDT": plain | {"base": "ABC"} | odd, "DEF/USDT": plain | {"base": "DEF"}})
    assert list(found.unreadable) == ["OKX:ABC/USDT"]
    assert found.frame().height == 1


def test_a_time_of_an_answer_that_no_clock_has_is_refused_by_name() -> None:
    with pytest.raises(SourceError, match="no instant"):
        parse_exchange_info({"serverTime": 10**400, "symbols": [entry("BTC")]})


def test_sets_that_a_ccxt_exchange_hands_on_are_read() -> None:
    pair = {"base": "ABC", "quote": "USDT", "spot": True, "active": True, "info": {"permissionSets": SHARE}}
    plain = {"base": "BTC", "quote": "USDT", "spot": True, "active": True, "info": "nothing"}
    found = rule_book("binance", {"ABC/USDT": pair, "BTC/USDT": plain})
    assert found.rules["BINANCE:ABCUSDT"].permissions == WORDS
    assert found.rules[Instrument("BINANCE", "BTC", "USDT").symbol].permissions is None
