"""Orders: every one passes the exchange's filters, none goes past its target, and none is paid with absent cash."""

import csv
import datetime as dt
import gzip
import io
import json
import math
import random
import shutil
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from assay.base import files
from assay.base.domain import UTC, Instrument
from assay.base.errors import IntegrityError, SourceError, UsageError
from assay.cli import app
from assay.lake.lake import Lake
from assay.market.schema import INSTRUMENTS
from assay.orders import of_run
from assay.orders.inputs import canonical, number, read_holdings, read_prices
from assay.orders.of_run import Origin, tracking_error
from assay.orders.rebalance import rebalance, split
from assay.orders.records import Holding, Task, order_fields, to_csv
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.runs.artifacts import MANIFEST
from assay.runs.home import Home
from assay.settings import load
from assay.settings.model import Costs
from assay.sources.rules import (
    RuleBook,
    TradingRules,
    parse_exchange_info,
    read_exchange_info,
    rule_book,
    rules_from_instruments,
)

FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0)
DOLLARS = ("USDT", "USDC", "FDUSD", "TUSD", "DAI", "USD")


def d(text):
    return Decimal(str(text))


# --- the exchange's metadata ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def recorded(shared):
    """Path of the recorded answer, and the answer as JSON."""
    path = shared / "binance_api" / "exchangeInfo_full.json.gz"
    return path, json.loads(gzip.decompress(path.read_bytes()))


@pytest.fixture(scope="session")
def book(recorded):
    return read_exchange_info(recorded[0])


def test_every_recorded_pair_is_read_as_it_was_written(recorded, book):
    answer = recorded[1]
    assert len(book.rules) == len(answer["symbols"]) == 2128
    assert not book.unreadable
    assert int(book.valid_from.timestamp() * 1000) == answer["serverTime"]
    for entry in answer["symbols"]:
        rule = book.rules[f"BINANCE:{entry['symbol']}"]
        filters = {item["filterType"]: item for item in entry["filters"]}
        assert (rule.instrument.base, rule.instrument.quote) == (entry["baseAsset"], entry["quoteAsset"])
        assert (rule.status, rule.margin_allowed) == (entry["status"], entry["isMarginTradingAllowed"])
        assert rule.step_size == d(filters["LOT_SIZE"]["stepSize"])
        assert rule.min_qty == d(filters["LOT_SIZE"]["minQty"])
        assert rule.max_qty == d(filters["LOT_SIZE"]["maxQty"])
        assert rule.tick_size == d(filters["PRICE_FILTER"]["tickSize"])
        assert rule.min_notional == d(filters["MIN_NOTIONAL"]["minNotional"])


def test_the_lakes_columns_hold_the_same_facts(recorded, book):
    frame = book.frame()
    assert frame.schema == pl.Schema(INSTRUMENTS)
    assert frame["symbol"].is_sorted()
    row = frame.row(by_predicate=pl.col("symbol") == "BINANCE:ETHBTC", named=True)
    # From the file's first entry, read by eye.
    assert row | {"valid_from": None} == {
        "symbol": "BINANCE:ETHBTC",
        "base": "ETH",
        "quote": "BTC",
        "status": "TRADING",
        "tick_size": 1e-06,
        "step_size": 1e-04,
        "min_qty": 1e-04,
        "min_notional": 1e-04,
        "margin_allowed": True,
        "spot_allowed": True,
        "permissions": "MARGIN SPOT TRD_GRP_004 TRD_GRP_005",
        "valid_from": None,
        "valid_to": None,
    }
    assert row["valid_from"].isoformat() == "2022-12-03T18:57:06.124000+00:00"


def test_rules_survive_the_way_through_the_lake(book):
    back = rules_from_instruments(book.frame(), book.valid_from)
    assert back.rules.keys() == book.rules.keys()
    assert not back.complete
    for symbol, rule in back.rules.items():
        there = book.rules[symbol]
        assert (rule.tick_size, rule.step_size, rule.min_qty) == (there.tick_size, there.step_size, there.min_qty)
        assert (rule.min_notional, rule.margin_allowed) == (there.min_notional, there.margin_allowed)
        assert (rule.spot_allowed, rule.permissions) == (there.spot_allowed, there.permissions)
    with pytest.raises(SourceError, match="no row"):
        rules_from_instruments(book.frame(), book.valid_from.replace(year=2021))


def test_a_plain_file_reads_like_the_gzipped_one(recorded, book, tmp_path):
    plain = tmp_path / "exchangeInfo.json"
    plain.write_bytes(gzip.decompress(recorded[0].read_bytes()))
    assert read_exchange_info(plain) == book


ENTRY = {
    "symbol": "TUSDT",
    "baseAsset": "T",
    "quoteAsset": "USDT",
    "status": "TRADING",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.1", "maxQty": "9000", "stepSize": "0.1"},
    ],
}


def answered(*entries, time=1670093826124):
    return {"serverTime": time, "symbols": list(entries)}


def test_the_newer_notional_filter_is_read():
    notional = {
        "filterType": "NOTIONAL",
        "minNotional": "5.0",
        "applyMinToMarket": True,
        "maxNotional": "9000000.0",
        "applyMaxToMarket": False,
        "avgPriceMins": 5,
    }
    entry = ENTRY | {"filters": [*ENTRY["filters"], notional]}
    rule = parse_exchange_info(answered(entry)).rules["BINANCE:TUSDT"]
    assert (rule.min_notional, rule.max_notional) == (5, 9000000)
    assert (rule.min_to_market, rule.max_to_market) == (True, False)


def test_server_time_may_come_in_microseconds():
    milli, micro = (parse_exchange_info(answered(ENTRY, time=t)) for t in (1670093826124, 1670093826124000))
    assert milli.valid_from == micro.valid_from


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY | {"filters": ENTRY["filters"][:1]},
        ENTRY | {"filters": [ENTRY["filters"][0], ENTRY["filters"][1] | {"stepSize": "0"}]},
        ENTRY | {"filters": [ENTRY["filters"][0], ENTRY["filters"][1] | {"stepSize": "NaN"}]},
        ENTRY | {"filters": [ENTRY["filters"][0], ENTRY["filters"][1] | {"stepSize": "x"}]},
        ENTRY | {"filters": None},
        ENTRY | {"baseAsset": "TT"},
    ],
)
def test_an_entry_that_cannot_be_used_is_named_and_the_others_are_read(entry):
    other = ENTRY | {"symbol": "ABUSDT", "baseAsset": "AB"}
    found = parse_exchange_info(answered(entry, other))
    assert list(found.rules) == ["BINANCE:ABUSDT"]
    assert list(found.unreadable) == ["BINANCE:TUSDT"]


def test_an_odd_market_of_ccxt_costs_itself():
    good = {"base": "BTC", "quote": "USD", "spot": True, "precision": {"price": 0.1, "amount": 1e-08}}
    odd = {
        "A/USD": good | {"base": "A", "precision": {"price": "a lot", "amount": 1}},
        "B/USD": {"spot": True, "quote": "USD"},
        "C/USD": None,
        "D/USD": good | {"base": "D", "limits": {"amount": "none"}},
    }
    found = rule_book("kraken", odd | {"BTC/USD": good})
    assert list(found.rules) == ["KRAKEN:BTCUSD"]
    assert list(found.unreadable) == [f"KRAKEN:{name}" for name in odd]


NOTIONAL = {"filterType": "MIN_NOTIONAL", "minNotional": "10"}
MORE = [
    NOTIONAL,
    {"filterType": "NOTIONAL", "minNotional": "5", "maxNotional": "9000"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0", "maxQty": "100", "stepSize": "0"},
    {"filterType": "MAX_POSITION", "maxPosition": "10"},
    {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(item["filterType"], name) for item in ENTRY["filters"] + MORE for name in item if name != "filterType"],
)
def test_a_filter_that_is_there_without_its_number_costs_its_pair(kind, name):
    whole = ENTRY | {"filters": ENTRY["filters"] + MORE}
    spoilt = [{k: v for k, v in item.items() if (item["filterType"], k) != (kind, name)} for item in whole["filters"]]
    other = whole | {"symbol": "ABUSDT", "baseAsset": "AB"}
    found = parse_exchange_info(answered(whole | {"filters": spoilt}, other))
    assert found.unreadable == {"BINANCE:TUSDT": f"{kind} has no {name}"}
    assert list(found.rules) == ["BINANCE:ABUSDT"]


def test_odd_entries_cost_themselves():
    twice = [ENTRY | {"symbol": "ABUSDT", "baseAsset": "AB"}] * 3
    good = [ENTRY | {"symbol": f"{base}USDT", "baseAsset": base} for base in ("C", "D", "E", "F", "G")]
    found = parse_exchange_info(answered(ENTRY | {"filters": None}, *twice, None, {"status": "TRADING"}, 5, *good))
    assert [*found.rules] == [f"BINANCE:{base}USDT" for base in ("C", "D", "E", "F", "G")]
    assert found.unreadable["BINANCE:TUSDT"] == "its filters are no list of filters"
    assert found.unreadable["BINANCE:ABUSDT"] == "it comes twice"
    assert len(found.unreadable) == 5


def perpetual(base, **changes):
    """An entry as futures answer: their MIN_NOTIONAL says ``notional``, their MAX_NUM_ORDERS ``limit``."""
    least = [{"filterType": "MAX_NUM_ORDERS", "limit": 200}, {"filterType": "MIN_NOTIONAL", "notional": "100"}]
    named = {"symbol": f"{base}USDT", "baseAsset": base, "filters": ENTRY["filters"] + least}
    return ENTRY | named | {"pair": f"{base}USDT", "contractType": "PERPETUAL", "marginAsset": "USDT"} | changes


def without(entry, *names):
    return {key: value for key, value in entry.items() if key not in names}


NOT_SPOT = {
    "futures of dollars": ({"futuresType": "U_MARGINED", **answered(perpetual("BTC"), perpetual("ETH"))}, "NOT_SPOT"),
    "futures of coins": (
        {
            "symbols": [
                perpetual("BTC", symbol="BTCUSD_PERP", pair="BTCUSD", quoteAsset="USD", contractStatus="TRADING"),
                perpetual("BTC", symbol="BTCUSD_261225", pair="BTCUSD", quoteAsset="USD", contractType="NEXT_QUARTER"),
            ],
            "serverTime": 1670093826124,
        },
        "NOT_SPOT",
    ),
    "one perpetual among spot": (answered(ENTRY, perpetual("BTC")), "NOT_SPOT"),
    "a cut answer": (answered(*(without(perpetual(b), "contractType", "marginAsset") for b in "ABC")), "UNREADABLE"),
    "options": ({"optionContracts": [], "optionSymbols": [], **answered(ENTRY)}, "NOT_SPOT"),
    "another exchange of the same form": (answered(*(ENTRY | {"filters": []} for _ in "A")), "UNREADABLE"),
}


@pytest.mark.parametrize("name", NOT_SPOT)
def test_rules_that_are_not_of_the_spot_market_are_refused_as_a_whole(sealed, account, tmp_path, name):
    answer, code = NOT_SPOT[name]
    path = tmp_path / "info.json"
    path.write_text(json.dumps(answer))
    done = call(sealed, account, "--instruments", path, "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.exit_code, error["code"]) == (4, f"RULES_{code}")
    assert "/api/v3/exchangeInfo" in error["hint"]
    assert not (sealed.reports / "orders").exists() or "info" not in str(list((sealed.reports / "orders").iterdir()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"code": "0", "msg": "", "data": [{"instId": "BTC-USDT"}]}',
        b'{"error": [], "result": {}}',
        b'{"symbols": []}',
        b"\x1f\x8bbroken",
        b"\xff\xfe",
        b'{"serverTime": 1, "symbols": [{}]}',
    ],
)
def test_a_file_that_is_no_answer_is_a_source_error(tmp_path, data):
    path = tmp_path / "info.json"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        read_exchange_info(path)
    assert caught.value.hint
    with pytest.raises(SourceError):
        read_exchange_info(tmp_path / "none.json")


@pytest.mark.parametrize("time", [None, "1670093826124", True, 1670093826, 0])
def test_rules_without_a_date_are_refused(time):
    with pytest.raises(SourceError, match="serverTime"):
        parse_exchange_info(answered(ENTRY, time=time))


# --- worked examples --------------------------------------------------------------------------------------------------


def pair(base="AAA", quote="USDT", **changes):
    rule = TradingRules(
        instrument=Instrument("BINANCE", base, quote),
        status="TRADING",
        spot_allowed=True,
        margin_allowed=True,
        tick_size=d("0.01"),
        step_size=d("0.1"),
        min_qty=d("0.1"),
        min_notional=d("10"),
        max_qty=d("1000"),
    )
    return replace(rule, **changes)


def task(weights=None, holdings=None, prices=None, nav="1000", costs=FREE, rules=(), **options):
    book = {rule.symbol: rule for rule in rules or (pair(), pair("BBB"))}
    full = {f"BINANCE:{base}USDT": base for base in ("AAA", "BBB")}
    names = {base: symbol for symbol, base in full.items()} | {symbol: symbol for symbol in book}
    return Task(
        d(nav),
        {names[k]: d(w) for k, w in (weights or {}).items()},
        {names[k]: h if isinstance(h, Holding) else Holding(d(h)) for k, h in (holdings or {}).items()},
        {symbol: d((prices or {}).get(full.get(symbol, ""), "10")) for symbol in book},
        book,
        costs,
        **options,
    )


def told(result):
    return [(o.side, o.symbol, str(o.amount), o.effect, o.venue) for o in result.orders]


def line(result, base="AAA"):
    [found] = [line for line in result.lines if line.instrument == f"BINANCE:{base}USDT"]
    return found


def test_a_purchase_is_rounded_towards_zero():
    result = rebalance(task({"AAA": "0.5"}, prices={"AAA": "7"}))
    # 500 / 7 = 71.43 coins; the step is 0.1.
    assert told(result) == [("buy", "AAA/USDT", "71.4", "open", "spot")]
    assert result.orders[0].value == d("499.8")
    assert line(result).reasons == ("STEP",)
    assert result.funds["free_after"] == d("500.2")


def test_a_sale_is_rounded_towards_zero_too():
    result = rebalance(task({"AAA": "0.5"}, {"AAA": "80"}, prices={"AAA": "7"}))
    # 80 - 71.43 = 8.57
    assert told(result) == [("sell", "AAA/USDT", "8.5", "close", "spot")]
    assert line(result).after == d("71.5")


def test_sells_come_before_buys():
    result = rebalance(task({"AAA": "0.9"}, {"BBB": "90"}))
    assert told(result) == [
        ("sell", "BBB/USDT", "90.0", "close", "spot"),
        ("buy", "AAA/USDT", "90.0", "open", "spot"),
    ]


def test_crossing_from_long_to_short_is_two_orders():
    result = rebalance(task({"AAA": "-0.3"}, {"AAA": "20.05"}))
    assert told(result) == [
        ("sell", "AAA/USDT", "20.0", "close", "spot"),
        ("sell", "AAA/USDT", "30.0", "open", "margin"),
    ]
    assert result.orders[0].params == {}
    assert result.orders[1].params == {"marginMode": "cross", "sideEffectType": "MARGIN_BUY"}


def test_crossing_from_short_to_long_is_two_orders():
    result = rebalance(task({"AAA": "0.3"}, {"AAA": "-20"}))
    assert told(result) == [
        ("buy", "AAA/USDT", "20.0", "close", "margin"),
        ("buy", "AAA/USDT", "30.0", "open", "spot"),
    ]
    assert result.orders[0].params == {"marginMode": "cross", "reduceOnly": True}


def test_a_short_that_margin_forbids_is_held_by_the_perpetual_and_said_to_be_unverified():
    result = rebalance(task({"AAA": "-0.3"}, rules=[pair(margin_allowed=False)]))
    assert told(result) == [("sell", "AAA/USDT:USDT", "30.0", "open", "perpetual")]
    assert "PERPETUAL_UNVERIFIED" in [finding.code for finding in result.findings]
    closed = rebalance(task({}, {"AAA": Holding(d("-30"), perpetual=True)}))
    assert told(closed) == [("buy", "AAA/USDT:USDT", "30.0", "close", "perpetual")]
    assert closed.orders[0].params == {"reduceOnly": True}


def test_a_short_that_nothing_holds_is_not_ordered():
    rule = pair(quote="TUSD", margin_allowed=False)
    result = rebalance(task({rule.symbol: "-0.3"}, rules=[rule]))
    assert result.orders == ()
    assert result.lines[0].reasons == ("NO_SHORT",)


def test_dust_below_the_least_value_stays_and_is_named():
    result = rebalance(task({}, {"AAA": "0.9"}))  # worth 9 of at least 10
    assert result.orders == ()
    assert line(result).reasons == ("MIN_NOTIONAL",)
    assert [finding.code for finding in result.findings] == ["MIN_NOTIONAL"]
    left = rebalance(task({}, {"AAA": "12.34"}))
    assert told(left) == [("sell", "AAA/USDT", "12.3", "close", "spot")]
    assert (line(left).after, line(left).reasons) == (d("0.04"), ("STEP",))


def test_a_fully_invested_account_pays_its_fees_out_of_smaller_purchases():
    fee = Costs(fee=0.01, slippage=0.0, borrow=0.0)
    result = rebalance(task({"AAA": "0.5", "BBB": "0.5"}, costs=fee))
    # 1000 / 1.01 = 990.099 for both: 49.50 coins of each at 10, so 49.5; 990 + 9.9 of fees.
    assert told(result) == [
        ("buy", "AAA/USDT", "49.5", "open", "spot"),
        ("buy", "BBB/USDT", "49.5", "open", "spot"),
    ]
    assert result.funds["needed"] == d("999.9")
    assert result.costs["fees"] == d("9.9")
    assert line(result).reasons == ("CASH",)


def test_a_limit_price_allows_the_profiles_slippage_and_no_more():
    costs = Costs(fee=0.0, slippage=0.0015, borrow=0.0)
    bought = rebalance(task({"AAA": "0.1"}, costs=costs)).orders[0]
    sold = rebalance(task({}, {"AAA": "50"}, costs=costs)).orders[0]
    assert (bought.price, sold.price) == (d("10.01"), d("9.99"))  # 10.015 down, 9.985 up
    market = rebalance(task({"AAA": "0.1"}, costs=costs, order_type="market")).orders[0]
    assert (market.type, market.price) == ("market", None)
    assert market.value == d("10") * d("10.015")


def test_a_large_order_is_split_evenly_below_the_greatest_quantity():
    result = rebalance(task({"AAA": "1"}, nav="25010"))
    assert [str(order.amount) for order in result.orders] == ["833.7", "833.7", "833.6"]


def test_less_than_the_least_quantity_is_not_ordered():
    rule = pair(min_qty=d("5"), min_notional=d("0"))
    assert rebalance(task({"AAA": "0.049"}, rules=[rule])).lines[0].reasons == ("MIN_QTY",)
    assert told(rebalance(task({"AAA": "0.05"}, rules=[rule]))) == [("buy", "AAA/USDT", "5.0", "open", "spot")]


def test_no_more_orders_than_the_account_may_have_open():
    result = rebalance(task({"AAA": "1"}, nav="25010", rules=[pair(max_orders=2)]))
    assert [str(order.amount) for order in result.orders] == ["1000.0", "1000.0"]
    assert line(result).reasons == ("MAX_NUM_ORDERS",)


def test_no_more_of_a_coin_than_an_account_may_hold():
    result = rebalance(task({"AAA": "1"}, {"AAA": "20"}, rules=[pair(max_position=d("50"))]))
    assert told(result) == [("buy", "AAA/USDT", "30.0", "open", "spot")]
    assert line(result).reasons == ("MAX_POSITION",)


@pytest.mark.parametrize("rule", [pair(status="BREAK"), pair(spot_allowed=False)])
def test_a_pair_that_does_not_trade_is_reported_and_left(rule):
    result = rebalance(task({}, {"AAA": "50"}, rules=[rule]))
    assert result.orders == ()
    assert line(result).reasons == ("NOT_TRADING",)
    assert result.findings[0].names == ["BINANCE:AAAUSDT"]


def test_what_is_left_out_stays_and_its_value_stays_taken():
    names = frozenset({"BINANCE:AAAUSDT"})
    result = rebalance(task({"BBB": "1"}, {"AAA": "60"}, left_out=names))
    assert told(result) == [("buy", "BBB/USDT", "40.0", "open", "spot")]
    assert line(result).reasons == ("LEFT_OUT",)


def test_an_account_whose_holdings_exceed_its_nav_buys_nothing_and_says_why():
    result = rebalance(task({"AAA": "1.2", "BBB": "0.5"}, {"AAA": "120"}))
    assert result.orders == ()
    assert {finding.code for finding in result.findings} == {"CASH", "HOLDINGS_ABOVE_NAV"}


def test_when_cash_is_short_the_smallest_leave_first():
    rules = [pair(), pair("BBB"), pair("DDD")]
    weights = {"AAA": "0.011", "BBB": "0.012", "BINANCE:DDDUSDT": "0.9875"}
    result = rebalance(task(weights, {"BINANCE:DDDUSDT": "98.75"}, rules=rules))
    # Free: 12.5 of the wanted 11 + 12. Both at 54 % are below 10; without the smaller, the larger is whole.
    assert told(result) == [("buy", "BBB/USDT", "1.2", "open", "spot")]
    assert (line(result).reasons, line(result, "BBB").reasons) == (("CASH",), ())


def test_an_empty_task_has_no_orders():
    result = rebalance(task({}, {}))
    assert (result.orders, result.lines) == ((), ())
    assert result.funds["free_after"] == 1000


def test_borrow_is_told_by_the_day():
    result = rebalance(task({"AAA": "-0.365"}, costs=Costs(fee=0.0, slippage=0.0, borrow=0.10)))
    assert result.costs["borrow_per_day"] == d("0.1")  # 365 x 10 % / 365


@given(
    step=st.sampled_from(["1", "0.1", "0.00001", "0.25", "3"]),
    most=st.integers(0, 10**6),
    least=st.integers(0, 50),
    value=st.decimals("0", "1000", places=3),
    wanted=st.one_of(st.decimals("0", "1e9", places=9), st.decimals("0", "60", places=9)),
    price=st.decimals("0.001", "1000", places=5),
    room=st.one_of(st.none(), st.integers(0, 20)),
)
@settings(max_examples=200, deadline=None)
def test_splitting_never_invents_quantity(step, most, least, value, wanted, price, room):
    rule = pair(step_size=d(step), min_qty=least * d(step), max_qty=most * d(step), min_notional=value)
    amounts, reason = split(rule, "limit", wanted, price, price, room)
    assert sum(amounts) <= wanted
    for amount in amounts:
        assert amount % d(step) == 0
        assert least * d(step) <= amount
        assert not most or amount <= most * d(step)
        assert amount * price >= value
    assert len(amounts) <= (200 if room is None else room)
    if reason is None:
        assert wanted - sum(amounts) < d(step)


# --- ten thousand orders ----------------------------------------------------------------------------------------------


class FilterChecker:
    """Binance's filters as its documentation defines them, over the recorded JSON; knows nothing of Assay."""

    def __init__(self, answer):
        self.raw = {entry["symbol"]: entry for entry in answer["symbols"]}

    def faults(self, name, order_type, amount, price, reference, side):
        """Return the names of the filters that refuse an order."""
        entry, found = self.raw[name], []
        if entry["status"] != "TRADING" or not entry["isSpotTradingAllowed"]:
            found.append("STATUS")
        if order_type.upper() not in entry["orderTypes"]:
            found.append("TYPE")
        for rule in entry["filters"]:
            check = getattr(self, "_" + rule["filterType"].lower(), None)
            if check is not None and not check(rule, order_type, amount, price, reference):
                found.append(rule["filterType"])
        return found

    @staticmethod
    def _price_filter(rule, order_type, amount, price, reference):
        if order_type == "market":
            return price is None
        low, high, tick = (Decimal(rule[key]) for key in ("minPrice", "maxPrice", "tickSize"))
        return (not low or price >= low) and (not high or price <= high) and (not tick or price % tick == 0)

    @staticmethod
    def _percent_price(rule, order_type, amount, price, reference):
        if order_type == "market":
            return True
        # One tick is the nearest price that there is.
        up, down = (Decimal(rule[key]) for key in ("multiplierUp", "multiplierDown"))
        return reference * down <= price <= reference * up

    @staticmethod
    def _lot_size(rule, order_type, amount, price, reference):
        low, high, step = (Decimal(rule[key]) for key in ("minQty", "maxQty", "stepSize"))
        return low <= amount <= high and amount % step == 0

    @staticmethod
    def _market_lot_size(rule, order_type, amount, price, reference):
        if order_type != "market":
            return True
        low, high, step = (Decimal(rule[key]) for key in ("minQty", "maxQty", "stepSize"))
        return low <= amount <= high and (not step or amount % step == 0)

    @staticmethod
    def _min_notional(rule, order_type, amount, price, reference):
        if order_type == "market" and not rule["applyToMarket"]:
            return True
        return amount * (reference if price is None else price) >= Decimal(rule["minNotional"])


@pytest.fixture(scope="session")
def checker(recorded):
    return FilterChecker(recorded[1])


def draw(rng, book, names, costs):
    """Return a random account: targets and holdings of both signs, prices of any number of digits."""
    # Some accounts hold pairs that do not trade; where none does, a target of 100 % needs all of the cash.
    trading = [symbol for symbol in names if book.rules[symbol].status == "TRADING"]
    chosen = sorted(rng.sample(rng.choice((trading, trading, names)), rng.randint(1, 40)))
    nav = d(round(10 ** rng.uniform(1.5, 8.5), rng.randint(0, 6)))
    raw = {symbol: rng.expovariate(1.0) * rng.choice((1, 1, -1)) for symbol in chosen if rng.random() < 0.8}
    total = sum(map(abs, raw.values())) / rng.choice((1.0, 1.0, 0.7, 0.3)) if raw else 1.0
    prices, holdings = {}, {}
    for symbol in chosen:
        tick = float(book.rules[symbol].tick_size)
        prices[symbol] = d(repr(float(f"{tick * 10 ** rng.uniform(2, 5):.{rng.randint(3, 16)}g}")))
        if rng.random() < 0.6:
            worth = float(nav) * rng.uniform(0, 2.0) / len(chosen) * rng.choice((1, 1, 1, -1))
            short_of = rng.choice((1, 1, 1e-4))
            holdings[symbol] = Holding(d(repr(float(f"{worth * short_of / float(prices[symbol]):.9g}"))))
    weights = {symbol: d(repr(weight / total)) for symbol, weight in raw.items()}
    kind = rng.choice(("limit", "limit", "market"))
    return Task(nav, weights, holdings, prices, book.rules, costs, kind)


def check_filters(checker, task, result):
    """Check every order as a reader of the JSON file sees it."""
    text = json.dumps([order_fields(order) for order in result.orders])
    per_symbol = defaultdict(int)
    bought = defaultdict(Decimal)
    for order in json.loads(text, parse_float=Decimal, parse_int=Decimal):
        symbol = order["info"]["instrument"]
        name = symbol.removeprefix("BINANCE:")
        faults = checker.faults(
            name, order["type"], order["amount"], order["price"], task.prices[symbol], order["side"]
        )
        assert not faults, (order, faults)
        entry = checker.raw[name]
        expected = f"{entry['baseAsset']}/{entry['quoteAsset']}"
        suffix = f":{entry['quoteAsset']}" if order["info"]["venue"] == "perpetual" else ""
        assert order["symbol"] == expected + suffix
        if order["info"]["venue"] == "margin":
            assert entry["isMarginTradingAllowed"]
        per_symbol[name] += 1
        if order["side"] == "buy" and order["info"]["effect"] == "open" and order["info"]["venue"] == "spot":
            bought[name] += order["amount"]
    for name, count in per_symbol.items():
        limits = {item["filterType"]: item for item in checker.raw[name]["filters"]}
        assert count <= limits["MAX_NUM_ORDERS"]["maxNumOrders"]
        if "MAX_POSITION" in limits and bought[name]:
            held = max(Decimal(0), task.held(f"BINANCE:{name}"))
            assert held + bought[name] <= Decimal(limits["MAX_POSITION"]["maxPosition"])
    assert len(result.orders) == sum(per_symbol.values())


def check_account(task, result):
    """Replay the orders in exact fractions: no target is passed, sells come first, cash suffices."""
    fee = Fraction(repr(task.costs.fee))
    position = {symbol: Fraction(held.quantity) for symbol, held in task.holdings.items()}
    gross = sum((abs(quantity) * Fraction(task.prices[s]) for s, quantity in position.items()), Fraction(0))
    funded = gross <= Fraction(task.nav)
    equity = Fraction(task.nav)
    sides = [order.side for order in result.orders]
    assert sides == sorted(sides, reverse=True)  # "sell" before "buy"
    for order in result.orders:
        reference = Fraction(task.prices[order.instrument])
        slippage = Fraction(repr(task.costs.slippage))
        worst = reference * (1 + slippage if order.side == "buy" else 1 - slippage)
        price = worst if order.price is None else Fraction(order.price)
        assert (price <= worst) if order.side == "buy" else (price >= worst)
        sign = 1 if order.side == "buy" else -1
        equity -= Fraction(order.amount) * (max(Fraction(0), sign * (price - reference)) + price * fee)
        position[order.instrument] = position.get(order.instrument, Fraction(0)) + sign * Fraction(order.amount)
    for symbol, after in position.items():
        target = Fraction(task.weights.get(symbol, Decimal(0))) * Fraction(task.nav) / Fraction(task.prices[symbol])
        before = Fraction(task.held(symbol))
        # Dust of a position that crosses to the other side stays beside the new one.
        low, high = min(before, target), max(before, target)
        assert low <= after <= high, symbol
        [line] = [line for line in result.lines if line.instrument == symbol]
        assert Fraction(line.after) == after
        assert line.reasons or after == target or before == target
    held = sum((abs(quantity) * Fraction(task.prices[s]) for s, quantity in position.items()), Fraction(0))
    if funded or any(order.effect == "open" for order in result.orders):
        assert held <= equity


def generate(count, checker, book, seed):
    rng = random.Random(seed)
    quoted = [s for s, rule in book.rules.items() if rule.instrument.quote in DOLLARS]
    made = defaultdict(int)
    while sum(made.values()) < count:
        job = draw(rng, book, quoted, Costs(fee=rng.choice((0.0, 0.001)), slippage=rng.choice((0.0, 0.0005, 0.01))))
        result = rebalance(job)
        check_filters(checker, job, result)
        check_account(job, result)
        for order in result.orders:
            made[order.type, order.side, order.effect, order.venue] += 1
    return made


def test_a_thousand_generated_orders_pass_the_recorded_filters(checker, book):
    made = generate(1_000, checker, book, seed=1)
    assert sum(made.values()) >= 1_000
    assert {kind[0] for kind in made} == {"limit", "market"}
    assert {kind[1:] for kind in made} >= {
        ("buy", "open", "spot"),
        ("sell", "close", "spot"),
        ("sell", "open", "margin"),
        ("buy", "close", "margin"),
        ("sell", "open", "perpetual"),
        ("buy", "close", "perpetual"),
    }


@pytest.mark.slow
def test_ten_thousand_generated_orders_pass_the_recorded_filters(checker, book):
    assert sum(generate(10_000, checker, book, seed=2).values()) >= 10_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": d("0.000015")}, "LOT_SIZE"),
        ({"amount": d("0.00000")}, "LOT_SIZE"),
        ({"amount": d("9000.00001")}, "LOT_SIZE"),
        ({"amount": d("0.00001")}, "MIN_NOTIONAL"),
        ({"price": d("17000.005")}, "PRICE_FILTER"),
        ({"price": d("0")}, "PRICE_FILTER"),
        ({"price": d("170000")}, "PERCENT_PRICE"),
        ({"order_type": "market", "price": None, "amount": d("5000")}, "MARKET_LOT_SIZE"),
        ({"name": "SRMUSDT"}, "STATUS"),
    ],
)
def test_the_checker_refuses_what_the_exchange_refuses(checker, change, code):
    good = {"name": "BTCUSDT", "order_type": "limit", "amount": d("0.5"), "price": d("17000.01")}
    rest = {"reference": d("17000"), "side": "buy"}
    assert checker.faults(**good, **rest) == []
    assert code in checker.faults(**{**good, **change}, **rest)


def test_orders_do_not_depend_on_the_order_of_the_input(book):
    rng = random.Random(3)
    quoted = [s for s, rule in book.rules.items() if rule.instrument.quote in DOLLARS]
    for _ in range(20):
        job = draw(rng, book, quoted, Costs())
        turned = replace(
            job,
            weights=dict(reversed(job.weights.items())),
            holdings=dict(reversed(job.holdings.items())),
            prices=dict(reversed(job.prices.items())),
        )
        assert rebalance(job) == rebalance(turned)


def test_the_csv_says_what_the_json_says(book):
    rng = random.Random(5)
    quoted = [s for s, rule in book.rules.items() if rule.instrument.quote in DOLLARS]
    orders = tuple(order for _ in range(20) for order in rebalance(draw(rng, book, quoted, Costs())).orders)
    rows = list(csv.DictReader(io.StringIO(to_csv(orders))))
    assert len(rows) == len(orders) > 50
    for row, order in zip(rows, map(order_fields, orders), strict=True):
        assert [row["symbol"], row["side"], row["type"]] == [order["symbol"], order["side"], order["type"]]
        assert float(row["amount"]) == order["amount"]
        assert (float(row["price"]) if row["price"] else None) == order["price"]
        assert json.loads(row["params"]) == order["params"]
        assert "e" not in row["amount"].lower()


# --- tracking error ---------------------------------------------------------------------------------------------------


def test_tracking_error_by_hand():
    # One coin: sqrt(d^2 x variance x 365); its returns alternate +-1 %, so the variance is 1e-4.
    wave = np.tile([0.01, -0.01], 126)
    found = tracking_error({"A": 0.02, "B": 0.0}, {"A": wave})
    assert found["method"] == "covariance"
    assert found["value"] == found["annual"] == pytest.approx(0.02 * 0.01 * math.sqrt(365), rel=1e-12)
    assert found["absolute"] == pytest.approx(0.02)


def test_tracking_error_of_many_coins_agrees_with_scikit_learn():
    covariance = pytest.importorskip("sklearn.covariance", reason="scikit-learn, the oracle, is not installed")
    rng = np.random.default_rng(7)
    returns = rng.normal(0.0, 0.03, (400, 5)) + rng.normal(0.0, 0.02, (400, 1))
    off = dict(zip("abcde", [0.01, -0.02, 0.004, 0.0301, -0.011], strict=True))
    shrunk, _ = covariance.ledoit_wolf(returns[-252:])
    w = np.array(list(off.values()))
    found = tracking_error(off, {name: returns[:, i] for i, name in enumerate(off)})
    assert found["value"] == pytest.approx(math.sqrt(365 * w @ shrunk @ w), rel=1e-9)


@pytest.mark.parametrize("returns", [{}, {"A": np.full(300, 0.01)}, {"A": np.ones(300), "B": np.full(300, np.nan)}])
def test_without_a_covariance_the_weights_are_compared_and_it_says_so(returns):
    found = tracking_error({"A": 0.02, "B": -0.03}, returns)
    assert (found["method"], found["annual"]) == ("absolute", None)
    assert found["value"] == pytest.approx(0.05)
    assert "for want of a covariance" in found["explanation"]


# --- what users hand in -----------------------------------------------------------------------------------------------


def small_book(*rules):
    rules = rules or (pair("BTC"), pair("ETH"), pair("T"))
    return RuleBook({rule.symbol: rule for rule in rules}, parse_exchange_info(answered(ENTRY)).valid_from)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("h.csv", "symbol,quantity\nBTC/USDT,0.5\nBINANCE:ETHUSDT,-2\nTUSDT,0\n"),
        ("h.csv", "\ufeffquantity , symbol\r\n0.5,BTCUSDT\r\n\r\n-2,ETH/USDT\r\n"),
        ("h.json", '[{"symbol": "BTCUSDT", "quantity": 0.5}, {"symbol": "ETH/USDT", "quantity": "-2"}]'),
        ("h.json", '{"BINANCE:BTCUSDT": 0.5, "ETHUSDT": -2}'),
    ],
)
def test_holdings_are_read_from_csv_and_json_in_three_notations(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    expected = {"BINANCE:BTCUSDT": Holding(d("0.5")), "BINANCE:ETHUSDT": Holding(d("-2"))}
    assert read_holdings(path, small_book()) == expected


def test_a_short_may_be_named_by_its_perpetual(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("symbol,quantity\nBTC/USDT:USDT,-0.5\n")
    assert read_holdings(path, small_book()) == {"BINANCE:BTCUSDT": Holding(d("-0.5"), perpetual=True)}


@pytest.mark.parametrize("text", ["symbol,quantity\n", "[]", "{}"])
def test_an_account_in_cash_is_a_table_without_rows(tmp_path, text):
    path = tmp_path / "h"
    path.write_text(text)
    assert read_holdings(path, small_book()) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("symbol,quantity,side\nBTCUSDT,1,short\n", "'side'"),
        ("symbol,amount\nBTCUSDT,1\n", "'amount'"),
        ("symbol\nBTCUSDT\n", "columns"),
        ("symbol,quantity,quantity\nBTCUSDT,1,2\n", "columns"),
        ("symbol,quantity\nBTCUSDT,1,2\n", "3 fields"),
        ("symbol,quantity\nBTCUSDT,nan\n", "not a finite number"),
        ("symbol,quantity\nBTCUSDT,inf\n", "not a finite number"),
        ("symbol,quantity\nBTCUSDT,\n", "not a finite number"),
        ("symbol,quantity\nBTCUSDT,1_000\n", "not a finite number"),
        ('symbol,quantity\nBTCUSDT,"1,000"\n', "not a finite number"),
        ("symbol,quantity\nBTCUSDT,1e400\n", "out of range"),
        ("symbol,quantity\nBTCUSDT,1e-400\n", "out of range"),
        ("symbol,quantity\nBTCUSDT,1\nBTC/USDT,2\n", "twice"),
        ("symbol,quantity\nB/TCUSDT,1\n", "there is no B/TCUSDT"),
        ("symbol,quantity\nBTC USDT,1\n", "white space"),
        ("symbol,quantity\nBTC/,1\n", "no symbol"),
        ("symbol,quantity\n,1\n", "no characters"),
        ("symbol,quantity\nBTC/USDT:USDC,1\n", "no symbol"),
        ("symbol,quantity\nBTC/USDT:USDT,1\n", "held long"),
        ('symbol,quantity\n"BTCUSDT,1\n', "malformed CSV"),
        ('[{"symbol": "BTCUSDT", "quantity": NaN}]', "NaN"),
        ('[{"symbol": "BTCUSDT", "quantity": true}]', "not a finite number"),
        ('[{"symbol": "BTCUSDT", "quantity": null}]', "not a finite number"),
        ('[{"symbol": "BTCUSDT", "quantity": 1, "note": ""}]', "'note'"),
        ('[{"symbol": 5, "quantity": 1}]', "not text"),
        ("[1]", "not an object"),
        ('{"BTCUSDT": 1, "BTCUSDT": 2}', "twice"),
        ('{"BTCUSDT": {"quantity": 1}}', "not a finite number"),
        ('{"BTCUSDT": 1', "malformed JSON"),
        ("[" * 100_000, "malformed JSON"),
    ],
)
def test_bad_holdings_are_a_usage_error_that_says_what_to_do(tmp_path, text, said):
    path = tmp_path / "h"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_holdings(path, small_book())
    assert caught.value.hint
    assert caught.value.where


def test_a_file_that_is_not_there_or_not_text_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError):
        read_holdings(tmp_path / "none.csv", small_book())
    (tmp_path / "h").write_bytes(b"symbol,quantity\n\xff\xff,1\n")
    with pytest.raises(UsageError, match="UTF-8"):
        read_holdings(tmp_path / "h", small_book())


def test_a_recorded_ticker_is_a_table_of_prices(tmp_path):
    path = tmp_path / "ticker.json"
    path.write_text('[{"symbol":"BTCUSDT","price":"41572.32000000"},{"symbol":"币安USDT","price":"1"}]')
    assert read_prices(path, small_book(), frozenset({"BINANCE:BTCUSDT"})) == {"BINANCE:BTCUSDT": d("41572.32")}
    path.write_text('[{"symbol":"BTCUSDT","price":"0"}]')
    with pytest.raises(UsageError, match="not positive"):
        read_prices(path, small_book(), frozenset({"BINANCE:BTCUSDT"}))


def test_no_symbol_is_split_by_the_length_of_its_name():
    assert canonical("T/USDT", small_book(), "") == ("BINANCE:TUSDT", False)
    assert canonical("JUP/USDT", small_book(), "") == ("BINANCE:JUPUSDT", False)
    with pytest.raises(UsageError, match="did you mean T/USDT"):
        canonical("TU/SDT", small_book(), "")


@pytest.mark.parametrize("value", [1.5, None, True, "abc", "", "Infinity", "--1"])
def test_only_exact_finite_numbers_are_numbers(value):
    with pytest.raises(UsageError):
        number(value, "quantity", "here")


# --- the command ------------------------------------------------------------------------------------------------------

RUNNER = CliRunner()
AS_OF = "2023-10-20"
PROFILE = "binance_spot_rating_all_short"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A home with one sealed run of the short side."""
    home = Home(tmp_path_factory.mktemp("home"))
    foundation = lay_foundation(home, load(), "sample", AS_OF)
    [request] = requests(home, load(), foundation, [PROFILE], "short")
    outcome = execute(request)
    assert outcome.state == "VALID", outcome.error
    return home


@pytest.fixture
def account(tmp_path):
    path = tmp_path / "holdings.csv"
    path.write_text("symbol,quantity\nBTC/USDT,0.5\nETHUSDT,3.00012\nBINANCE:XRPUSDT,-1000\nLTC/USDT,0.00001\n")
    return path


@pytest.fixture
def facts(recorded, sealed, tmp_path):
    """The recorded metadata, and the coins of the run that it does not know."""
    flattened = files.read_json(sealed.runs / "short" / "data/portfolio_flattened.json")["profiles"]["hrp"]["assets"]
    known = {f"BINANCE:{entry['symbol']}" for entry in recorded[1]["symbols"]}
    absent = [asset["Symbol"] for asset in flattened if asset["Net_Weight"] and asset["Symbol"] not in known]
    return recorded[0], [option for symbol in absent for option in ("--leave-out", symbol)]


def call(home, account, *options, nav="100000", run="short"):
    command = ["orders", run, "--nav", nav, "--holdings", account, "--home", home.path, *options]
    return RUNNER.invoke(app, [str(part) for part in command])


def tree(folder):
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def test_the_command_writes_orders_that_pass_and_leaves_the_run_alone(sealed, account, facts, checker):
    path, left_out = facts
    before = tree(sealed.runs)
    done = call(sealed, account, "--instruments", path, *left_out, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout, parse_float=Decimal)
    assert tree(sealed.runs) == before
    folder = sealed.reports / "orders" / "short"
    assert document["files"] == [str(folder / "orders_hrp.json"), str(folder / "orders_hrp.csv")]
    written = json.loads((folder / "orders_hrp.json").read_text(), parse_float=Decimal)
    assert written == {key: value for key, value in document.items() if key != "files"}
    price = {position["instrument"]: position["price"] for position in document["positions"]}
    assert len(document["orders"]) > 4
    for order in document["orders"]:
        symbol = order["info"]["instrument"]
        name = symbol.removeprefix("BINANCE:")
        assert not checker.faults(name, order["type"], order["amount"], order["price"], price[symbol], order["side"])
    assert {order["info"]["venue"] for order in document["orders"]} >= {"spot", "margin"}
    assert document["tracking_error"]["method"] == "covariance"
    assert document["sources"]["rules"]["valid_from"] == "2022-12-03T18:57:06Z"
    assert "RULES_DATED" in [finding["code"] for finding in document["findings"]]
    dust = {entry["instrument"]: entry for entry in document["dust"]}
    assert dust["BINANCE:ETHUSDT"]["reasons"].keys() == {"STEP"}  # 0.00002 of a step of 0.0001
    assert dust["BINANCE:LTCUSDT"]["reasons"].keys() <= {"MIN_NOTIONAL", "STEP"}


def test_prices_are_the_last_closes_that_the_run_knew(sealed, account, facts, shared):
    path, left_out = facts
    document = json.loads(call(sealed, account, "--instruments", path, *left_out, "--json").stdout)
    assert document["sources"]["prices"]["from"].endswith("at its as_of, 2023-10-21T00:00:00Z")
    bars = pl.scan_parquet(shared / "spot_daily_to_2024-06.parquet").filter(
        pl.col("timestamp").cast(pl.Int64) == 1697760000000  # 2023-10-20
    )
    closes = dict(bars.select("symbol", "close").collect().iter_rows())
    told = {p["instrument"]: p["price"] for p in document["positions"] if p["price"] is not None}
    assert len(told) > 4
    assert told == {symbol: closes[symbol] for symbol in told}


def test_the_same_call_writes_the_same_bytes(sealed, account, facts, tmp_path):
    path, left_out = facts
    for name in ("one", "two"):
        done = call(sealed, account, "--instruments", path, *left_out, "--out", tmp_path / name)
        assert done.exit_code == 0, done.output
        assert "not sent" in done.stdout
    assert [*tree(tmp_path / "one").values()] == [*tree(tmp_path / "two").values()]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["orders_hrp.csv", "orders_hrp.json"]


def test_given_prices_are_used_and_must_be_complete(sealed, account, facts, tmp_path):
    path, left_out = facts
    document = json.loads(call(sealed, account, "--instruments", path, *left_out, "--json").stdout)
    rows = [[p["instrument"], p["price"] * 2] for p in document["positions"] if p["price"] is not None]
    prices = tmp_path / "prices.csv"
    prices.write_text("symbol,price\n" + "".join(f"{symbol},{price!r}\n" for symbol, price in rows))
    doubled = call(sealed, account, "--instruments", path, *left_out, "--prices", prices, "--json", nav="200000")
    assert doubled.exit_code == 0, doubled.output
    positions = json.loads(doubled.stdout)["positions"]
    assert [p["price"] for p in positions if p["price"]] == [price for _, price in rows]
    prices.write_text("symbol,price\nBTCUSDT,30000\n")
    lacking = call(sealed, account, "--instruments", path, *left_out, "--prices", prices)
    assert lacking.exit_code == 2
    assert "no price of" in lacking.stderr


def test_unknown_rules_are_refused(sealed, account):
    done = call(sealed, account)
    assert done.exit_code == 2
    assert "INSTRUMENTS_UNKNOWN" in done.stderr
    assert "--instruments" in done.stderr


def test_absent_symbols_are_refused_by_name(sealed, account, facts):
    path, left_out = facts
    account.write_text("symbol,quantity\nUSDT,5000\nNOSUCHUSDT,1\n")
    done = call(sealed, account, "--instruments", path, *left_out, "--json")
    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "INSTRUMENT_ABSENT"
    assert "BINANCE:NOSUCHUSDT" in error["what"]
    assert "BINANCE:USDT" in error["what"]
    assert "cash" in error["hint"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nav": "-5"}, "not positive"),
        ({"nav": "0"}, "not positive"),
        ({"nav": "nan"}, "not a finite number"),
        ({"nav": "1e300"}, "out of range"),
        ({"nav": "100,000"}, "not a finite number"),
        ({"run": "none"}, "no run"),
        ({"more": ("--risk-profile", "best")}, "no risk profile"),
        ({"more": ("--type", "stop")}, "unknown order type"),
        ({"more": ("--leave-out", "DOGE/USDT")}, "neither held nor a target"),
    ],
)
def test_bad_options_are_usage_errors(sealed, account, facts, options, said):
    more = options.get("more", ())
    found = {key: value for key, value in options.items() if key != "more"}
    done = call(sealed, account, "--instruments", facts[0], *facts[1], *more, **found)
    assert done.exit_code == 2
    assert said in done.stderr


def test_coins_that_are_not_quoted_in_dollars_are_refused(sealed, account, facts):
    account.write_text("symbol,quantity\nETH/BTC,1\n")
    done = call(sealed, account, "--instruments", facts[0], *facts[1])
    assert done.exit_code == 2
    assert "BINANCE:ETHBTC (BTC)" in done.stderr


def test_nothing_is_written_into_a_run(sealed, account, facts):
    inside = sealed.runs / "short" / "reports" / "orders"
    done = call(sealed, account, "--instruments", facts[0], *facts[1], "--out", inside)
    assert done.exit_code == 2
    assert "not written to" in done.stderr
    assert not inside.exists()


def test_orders_are_made_from_valid_and_intact_runs_only(sealed, account, facts, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(sealed.path, home.path)
    path = home.runs / "short" / "data/portfolio_flattened.json"
    path.write_bytes(path.read_bytes().replace(b'"Net_Weight": -0.', b'"Net_Weight": -0.1', 1))
    done = call(home, account, "--instruments", facts[0])
    assert done.exit_code == 3
    status = home.runs / "short" / "run_status.json"
    status.write_bytes(status.read_bytes().replace(b'"VALID"', b'"FAILED"'))
    assert (
        call(home, account, "--instruments", facts[0]).exit_code == 3
    )  # a status is believed as far as a seal backs it
    ledger = home.runs / "short" / "audit.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    failed = call(home, account, "--instruments", facts[0])
    assert failed.exit_code == 2
    assert "FAILED" in failed.stderr


def sleeve(sealed, folder, **changes):
    """Write the manifest of the sealed run with other settings, ``section__name=value``, into a folder."""
    manifest = files.read_json(sealed.runs / "short" / MANIFEST)
    for path, value in changes.items():
        *sections, name = path.split("__")
        inner = manifest
        for section in sections:
            inner = inner[section]
        inner[name] = value
    files.write_json(folder / MANIFEST, manifest)
    return folder


def portfolio(sealed, folder, *runs):
    """Write the manifest of a portfolio of runs into a folder."""
    shared = files.read_json(sealed.runs / "short" / MANIFEST)
    profile = load().meta("meta_binance_spot_ratings").model_dump(mode="json")
    own = {"kind": "meta", "profile": profile, "passed_over": [], "lake": {"folder": shared["lake"]["folder"]}}
    pins = [{"sleeve": run, "run_id": run} for run in runs]
    files.write_json(folder / MANIFEST, shared | own | {"sleeves": pins})
    return folder


def pinned_to(head):
    """What a manifest says of the head that it is pinned to."""
    told = {"head": head.head, "tables": head.tables} | head.content()
    return {f"lake__{name}": value for name, value in told.items()}


def test_a_lake_that_has_the_rules_serves_them_to_runs_that_are_pinned_to_it(sealed, account, book, tmp_path):
    head = Lake(sealed.path, "sample").record("instruments", book.frame())
    after = Origin.of(sealed, sleeve(sealed, tmp_path / "after", **pinned_to(head)))
    found, told = of_run._rules(after, None)
    assert found.rules.keys() == book.rules.keys()
    assert told == {"from": "the run's pinned lake"}
    assert [one.code for one in of_run._findings(found, after.as_of, [], True)] == ["RULES_PARTIAL"]
    assert "INSTRUMENTS_UNKNOWN" in call(sealed, account).stderr  # the sealed run saw an earlier state


def test_rules_of_another_exchange_are_refused_where_the_lake_knows_better(sealed, tmp_path):
    def info(step, day=1, bases=("BTC", "ETH", "SOL", "XRP")):
        lot = {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000", "stepSize": step}
        entries = [
            ENTRY | {"symbol": f"{base}USDT", "baseAsset": base, "filters": [ENTRY["filters"][0], lot]}
            for base in bases
        ]
        return answered(*entries, time=1000 * int(dt.datetime(2023, 10, day, tzinfo=UTC).timestamp()))

    head = Lake(sealed.path, "sample").record("instruments", parse_exchange_info(info("0.1")).frame())
    origin = Origin.of(sealed, sleeve(sealed, tmp_path / "pinned", **pinned_to(head)))
    path = tmp_path / "info.json"
    for step, refused in (("0.1", False), ("0.01", True)):
        path.write_text(json.dumps(info(step, day=20)))
        if refused:
            with pytest.raises(UsageError, match="4 of 4 pairs have other steps") as caught:
                of_run._rules(origin, path)
            assert caught.value.code == "RULES_OF_ANOTHER_EXCHANGE"
        else:
            assert of_run._rules(origin, path)[1]["from"] == "file"
    path.write_text(json.dumps(info("0.01", day=20, bases=("BTC", "ETH"))))  # two pairs may have changed
    assert of_run._rules(origin, path)[1]["from"] == "file"


def test_a_meta_portfolio_takes_costs_and_lake_from_the_sleeves_below_it(sealed, tmp_path):
    home = Home(tmp_path)
    cheap, dear = {"fee": 0.001, "slippage": 0.002}, {"fee": 0.003, "slippage": 0.001}
    sleeve(sealed, home.runs / "a", profile__costs=cheap)
    sleeve(sealed, home.runs / "b", profile__costs=dear)
    inner = portfolio(sealed, home.runs / "inner", "a", "b")
    outer = portfolio(sealed, home.runs / "outer", "inner", "a")
    origin = Origin.of(home, outer)
    assert [leaf.folder.name for leaf in origin.leaves] == ["a", "b", "a"]
    assert origin.costs() == (Costs(fee=0.003, slippage=0.002), False)
    assert Origin.of(home, home.runs / "a").costs() == (Costs(**cheap), True)
    assert Origin.of(home, inner).as_of.utcoffset() == dt.timedelta(0)
    files.write_json(outer / MANIFEST, {"kind": "meta", "sleeves": [{}]})
    with pytest.raises(IntegrityError):
        Origin.of(home, outer)


def test_a_run_is_traded_in_the_quotes_of_its_own_universe(sealed, tmp_path):
    """A universe in euros has an account in euros: its pairs pass, and those in dollars are refused."""
    [scanner] = load().profile(PROFILE).scanners
    euros = sleeve(sealed, tmp_path / "euros", **{f"scanners__{scanner}__universe__quotes": ["EUR"]})
    quotes = Origin.of(sealed, euros).quotes()
    assert quotes == ("EUR",)
    empty = RuleBook({}, dt.datetime(2024, 1, 1, tzinfo=UTC))
    of_run._check_quotes({"BINANCE:BTCEUR"}, empty, quotes)
    with pytest.raises(UsageError, match=r"not quoted in EUR, as NAV is: BINANCE:BTCUSDT \(USDT\)"):
        of_run._check_quotes({"BINANCE:BTCEUR", "BINANCE:BTCUSDT"}, empty, quotes)
