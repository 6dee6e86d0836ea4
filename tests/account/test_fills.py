"""Fills of a file: each taken, refused or reconciled by name, and nothing of a file that has one bad row."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Mapping
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

from assay.account.fills import (
    NOTES,
    FillContext,
    Matched,
    OpenOrder,
    known_trades,
    match,
    outstanding,
)
from assay.account.imports import Imported, import_fills
from assay.account.money import EXACT
from assay.base.domain import UTC
from assay.base.errors import UsageError
from assay.sources.rules import RuleBook

DAY = dt.date(2024, 6, 11)
BTC, ETH, PEPE = "BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BINANCE:PEPEUSDT"
NO_RULES = RuleBook({}, dt.datetime(2024, 1, 1, tzinfo=UTC))
HEAD = "trade_id,symbol,side,amount,price,time,fee,fee_coin,status,reason"
OPENS = {BTC: Decimal(60000), ETH: Decimal(3000), "BINANCE:BNBUSDT": Decimal(500)}
SENT = (OpenOrder(BTC, 3, Decimal("0.5")), OpenOrder(ETH, 3, Decimal(-2)))


def row(
    number: object, symbol: str = BTC, side: str = "buy", amount: str = "0.5", price: str = "60030", **more: str
) -> str:
    cells = {"time": "2024-06-11T00:00:07Z", "fee": "30.015", "fee_coin": "USDT", "status": "", "reason": ""} | more
    return ",".join([str(number), symbol, side, amount, price, *cells.values()])


def write(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "fills.csv"
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


def taken(path: Path, **more: Any) -> Matched:
    told: dict[str, Any] = {"day": DAY, "ordered": SENT, "opens": OPENS} | more
    return match(import_fills(path, NO_RULES), FillContext(**told))


def fills(matched: Matched) -> list[Mapping[str, Any]]:
    return [body for kind, body in matched.entries if kind == "fill"]


def codes(matched: Matched) -> set[str]:
    return {finding.code for finding in matched.findings}


def refused(path: Path, **more: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        taken(path, **more)
    assert caught.value.exit_code == 2
    return caught.value


SOLD = row(2, ETH, "sell", "2", "2997", fee="5.994")


def test_fills_of_all_that_was_ordered(tmp_path: Path) -> None:
    """0.5 x 60,030 = 30,015 is paid and 30.015 of fee; the open was 60,000: 15 of slippage. Sold: 5,994 - 5.994."""
    matched = taken(write(tmp_path, row(1), SOLD))
    [bought, sold] = fills(matched)
    assert bought["symbol"] == BTC
    assert bought["tranche"] == 3
    assert (bought["quantity"], bought["price"], bought["fee"], bought["slippage"]) == ("0.5", "60030", "30.015", "15")
    assert bought["cash"] == "-30045.015"
    assert (sold["quantity"], sold["cash"], sold["slippage"]) == ("-2", "5988.006", "6")
    assert [one.outcome for one in matched.outcomes] == ["filled", "filled"]
    assert codes(matched) == set()
    assert [kind for kind, _ in matched.entries] == ["fill", "fill"]


def test_partial_unfilled_and_rejected_orders_have_their_names(tmp_path: Path) -> None:
    part = taken(write(tmp_path, row(1, amount="0.2", fee="12.006")))
    assert [(one.outcome, one.filled, one.left) for one in part.outcomes] == [
        ("partial", Decimal("0.2"), Decimal("0.3")),
        ("unfilled", Decimal(0), Decimal(-2)),
    ]
    assert [(kind, body["quantity"]) for kind, body in part.entries[1:]] == [("partial", "0.3"), ("unfilled", "-2")]
    assert codes(part) == {"ORDER_PARTIAL", "ORDER_UNFILLED"}
    ended = row("", ETH, "sell", "", "", fee="", fee_coin="", status="REJECTED", reason="insufficient balance")
    both = taken(write(tmp_path, row(1), ended))
    assert both.outcomes[1].outcome == "rejected"
    assert both.entries[-1] == (
        "cancelled",
        {"day": "2024-06-11", "symbol": ETH, "tranche": 3, "quantity": "-2", "why": "rejected: insufficient balance"},
    )


def test_an_end_of_an_order_that_nobody_wrote_is_named(tmp_path: Path) -> None:
    ended = row("", "BINANCE:XRPUSDT", "sell", "", "", fee="", fee_coin="", status="rejected")
    found = taken(write(tmp_path, row(1), SOLD, ended)).findings
    assert [(one.code, one.names) for one in found] == [("ORDER_UNKNOWN", ["BINANCE:XRPUSDT"])]


@pytest.mark.parametrize(
    ("bad", "code", "says"),
    [
        (row(3, amount="-1"), "FILL_ROW", "amount -1 is not positive"),
        (row(3, amount="nan"), "FILL_ROW", "not a finite number"),
        (row(3, amount="1e999999"), "FILL_ROW", "out of range"),
        (row(3, amount="0.0000000000000000001"), "FILL_ROW", "more than 18 decimals"),
        (row(3, price="0"), "FILL_ROW", "price 0 is not positive"),
        (row(3, side="hold"), "FILL_ROW", "neither buy nor sell"),
        (row("", amount="0.1"), "FILL_ROW", "trade_id is missing"),
        (row(3, time="2024-06-11T00:00:07"), "FILL_ROW", "names no zone"),
        (row(3, time="1718064007"), "FILL_ROW", "lies outside"),
        (row(3, time="99999999999999999999"), "FILL_ROW", "cannot read time"),
        (row(3, symbol="BTC/"), "FILL_ROW", "is no symbol"),
        (row(3, status="open"), "FILL_ROW", "no trade and no end of an order"),
        (row(3, status="cancelled"), "FILL_ROW", "a trade cannot be cancelled"),
        (row(3, fee="1", fee_coin="\x00"), "FILL_ROW", "fee_coin is no word"),
        (row(1, price="60031"), "FILL_DIFFERS", "is another one than"),
        (row(3, "BINANCE:SOLUSDT", amount="1", price="150"), "FILL_NOT_ORDERED", "nobody ordered this coin"),
        (row(3, side="sell", amount="0.1"), "FILL_OTHER_SIDE", "on the other side"),
        (row(3, amount="0.1"), "FILL_OVERFILLED", "more was traded than was ordered"),
        (row(3, time="2024-06-12T00:00:00Z"), "FILL_AHEAD", "after the day that is stepped"),
        (row(3, price="600.3"), "FILL_PRICE", "far from the open"),
        (row(3, "ETH/BTC", amount="1", price="0.05"), "FILL_QUOTE", "it is paid in BTC"),
    ],
)  # fmt: skip
def test_one_bad_row_refuses_its_file_and_is_named(tmp_path: Path, bad: str, code: str, says: str) -> None:
    error = refused(write(tmp_path, row(1), SOLD, bad))
    assert error.code == code
    assert says in error.what
    assert error.where == f"{tmp_path / 'fills.csv'}:4"
    assert "nothing of the file was taken" in error.hint or code == "FILL_DIFFERS"


def test_fees_in_the_coin_in_dollars_and_in_another_coin(tmp_path: Path) -> None:
    """In the coin: 0.0005 of 0.5 less is held. In BNB at an open of 500: 0.06 are 30 dollars."""
    sold_for_bnb = row(2, ETH, "sell", "2", "2997", fee="0.06", fee_coin="bnb")
    matched = taken(write(tmp_path, row(1, fee="0.0005", fee_coin="BTC"), sold_for_bnb))
    [bought, sold] = fills(matched)
    assert (bought["quantity"], bought["cash"], bought["fee"]) == ("0.4995", "-30015", "30.015")
    assert bought["ordered"] == "0.5"
    assert (sold["cash"], sold["fee"], sold["fees"]) == ("5964", "30", {"BNB": "0.06"})
    assert [one.outcome for one in matched.outcomes] == ["filled", "filled"]
    assert {one.code: one.names for one in matched.findings} == {
        "FEE_IN_COIN": [BTC],
        "FEE_IN_OTHER_COIN": ["BNB"],
    }
    error = refused(write(tmp_path, row(1, fee="1", fee_coin="XYZ")))
    assert (error.code, error.hint) == ("FEE_UNPRICED", "write the fee in USDT; nothing of the file was taken")
    assert refused(write(tmp_path, row(1, fee="0.5", fee_coin="BTC"))).code == "FILL_FEE"


def test_a_rebate_is_a_fee_below_zero_and_none_told_is_said(tmp_path: Path) -> None:
    [body] = fills(taken(write(tmp_path, row(1, fee="-3"))))
    assert (body["fee"], body["cash"]) == ("-3", "-30012")
    assert "FEE_UNTOLD" in codes(taken(write(tmp_path, row(1, fee="", fee_coin=""))))
    assert "FEE_UNTOLD" not in codes(taken(write(tmp_path, row(1, fee="0"))))


def test_the_same_trade_is_taken_once_for_ever(tmp_path: Path) -> None:
    first = taken(write(tmp_path, row(1), row(1), SOLD))
    assert len(fills(first)) == 2
    assert first.known == 1
    known = known_trades(first.entries)
    assert set(known) == {("BINANCE", "1"), ("BINANCE", "2")}
    again = taken(write(tmp_path, row(1), SOLD), known=known)
    assert fills(again) == []
    assert again.known == 2
    assert "FILL_KNOWN" in codes(again)
    error = refused(write(tmp_path, row(1, amount="0.4")), known=known)
    assert error.code == "FILL_DIFFERS"
    assert "the one in the ledger" in error.what
    path = tmp_path / "fills.csv"
    path.write_text(f"venue,{HEAD}\nkraken,{row(1)}\n")
    assert len(fills(taken(path, known=known))) == 1, "another venue's trade of the same number is another trade"


def test_a_coin_that_was_not_ordered_is_taken_on_demand_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, row(1), SOLD, row(3, "SOL/USDT", amount="1", price="150", fee="0.15"))
    error = refused(path)
    assert error.hint.startswith("if the account is to hold it: --take BINANCE:SOLUSDT")
    matched = taken(path, taken=frozenset({"BINANCE:SOLUSDT"}), tranche=7)
    body = fills(matched)[-1]
    assert (body["tranche"], body["cause"], body["order_day"]) == (7, "FILL_NOT_ORDERED", None)
    held = taken(path, taken=frozenset({"BINANCE:SOLUSDT"}), tranche=7, holders={"BINANCE:SOLUSDT": 2})
    assert fills(held)[-1]["tranche"] == 2
    over = taken(write(tmp_path, row(1, amount="0.6")), taken=frozenset({BTC}), holders={BTC: 1})
    assert [(one["tranche"], one["quantity"], one["cause"]) for one in fills(over)] == [
        (3, "0.5", ""),
        (3, "0.1", "FILL_NOT_ORDERED"),
    ]


def test_a_trade_that_comes_late_fills_what_was_left(tmp_path: Path) -> None:
    before = dt.date(2024, 6, 10)
    left = {before: [OpenOrder(BTC, 2, Decimal("0.3"))]}
    late = row(9, amount="0.3", price="59000", time="2024-06-10T11:00:00Z", fee="17.7")
    matched = taken(write(tmp_path, row(1), late), outstanding=left)
    [old, today] = fills(matched)
    assert (old["tranche"], old["cause"], old["order_day"], old["day"]) == (2, "FILL_LATE", "2024-06-10", "2024-06-11")
    assert old["slippage"] == "0", "of an earlier day's open nothing is known"
    assert (today["tranche"], today["cause"]) == (3, "")
    assert "FILL_LATE" in codes(matched)
    assert refused(write(tmp_path, late)).code == "FILL_OVERFILLED", "today's order is not what it filled"


def test_what_is_left_of_earlier_orders_is_read_from_the_ledger(tmp_path: Path) -> None:
    part = taken(write(tmp_path, row(1, amount="0.2", fee="12.006"), SOLD))
    ledger: list[tuple[str, dict[str, Any]]] = [("orders", {"day": "2024-06-10", "rows": []}), *part.entries]

    def after(day: dt.date) -> dt.date:
        return day + dt.timedelta(days=1)

    assert outstanding(ledger, after) == {DAY: [OpenOrder(BTC, 3, Decimal("0.3"))]}
    late = row(5, amount="0.1", fee="6.003")
    told: dict[str, Any] = {"day": DAY + dt.timedelta(days=1), "ordered": (), "outstanding": outstanding(ledger, after)}
    ledger += taken(write(tmp_path, late), known=known_trades(ledger), **told).entries
    assert outstanding(ledger, after) == {DAY: [OpenOrder(BTC, 3, Decimal("0.2"))]}


TRADE = {
    "info": {"commission": "1"},
    "id": "28457",
    "timestamp": 1718064007123,
    "datetime": "2024-06-11T00:00:07.123Z",
    "symbol": "BTC/USDT",
    "order": "100234",
    "type": "limit",
    "side": "buy",
    "takerOrMaker": "taker",
    "price": 60030.0,
    "amount": 0.5,
    "cost": 30015.0,
    "fee": {"cost": 30.015, "currency": "USDT", "rate": 0.001},
    "fees": [{"cost": 30.015, "currency": "USDT", "rate": 0.001}],
}  # the keys of ccxt's unified trade


def dump(tmp_path: Path, *rows: Mapping[str, Any]) -> Path:
    path = tmp_path / "trades.json"
    path.write_text(json.dumps(rows))
    return path


def test_trades_of_ccxt(tmp_path: Path) -> None:
    two = {**TRADE, "id": 28458, "amount": 0.3, "price": 60031.1, "cost": None, "fee": None,
           "fees": [{"cost": 0.0001, "currency": "BTC"}, {"cost": 1e-05, "currency": "BNB"}]}  # fmt: skip
    one = {**TRADE, "amount": 0.2, "cost": 12006.0, "fees": [], "fee": {"cost": 12.006, "currency": "USDT"}}
    first, second = fills(taken(dump(tmp_path, one, two)))
    assert (first["trade_id"], first["order"], first["quantity"], first["fee"]) == ("28457", "100234", "0.2", "12.006")
    assert (second["trade_id"], second["quantity"]) == ("28458", "0.2999")
    assert second["fees"] == {"BNB": "0.00001", "BTC": "0.0001"}
    assert second["fee"] == "6.00811"  # 0.0001 x 60,031.1 and 0.00001 x 500
    assert import_fills(dump(tmp_path, TRADE), NO_RULES).trades[0].digest == (
        import_fills(write(tmp_path, row(28457)), NO_RULES).trades[0].digest
    ), "the same trade from either kind of file is the same trade"


def test_ccxt_tells_no_fee_as_an_object_of_nothing(tmp_path: Path) -> None:
    blank = {**TRADE, "fee": {"cost": None, "currency": None}, "fees": []}
    assert "FEE_UNTOLD" in codes(taken(dump(tmp_path, blank)))


def test_orders_of_ccxt_that_ended_are_told_apart_from_trades(tmp_path: Path) -> None:
    order = {"id": "7", "symbol": "ETH/USDT", "side": "sell", "status": "canceled", "price": 3000.0, "amount": 2.0,
             "filled": 0.0, "remaining": 2.0, "timestamp": 1718064007123}  # fmt: skip
    matched = taken(dump(tmp_path, TRADE, order))
    assert [one.outcome for one in matched.outcomes] == ["filled", "cancelled"]
    with pytest.raises(UsageError, match="an order, and no trade"):
        taken(dump(tmp_path, TRADE, {**order, "status": "closed"}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cost": 3001.5}, "cost 3001.5 is not amount x price"),
        ({"amount": None}, "amount None is not a finite number"),
        ({"amount": True}, "is not a finite number"),
        ({"id": None}, "trade_id is missing"),
        ({"id": {}}, "trade_id is no word"),
        ({"fees": [7]}, "fees are no list"),
        ({"fees": [{"cost": 1.0, "currency": None}]}, "a fee names no coin"),
        ({"timestamp": None, "datetime": None}, "cannot read time"),
        ({"symbol": "BTC/USDC", "cost": None}, "nobody ordered this coin"),
    ],
)
def test_a_bad_trade_of_ccxt_is_named_by_its_place(tmp_path: Path, change: Mapping[str, Any], says: str) -> None:
    first, second = {"amount": 0.1, "cost": 6003.0, "id": "1"}, {"amount": 0.4, "cost": 24012.0}
    error = refused(dump(tmp_path, TRADE | first, TRADE | second | change))
    assert says in error.what
    assert error.where == f"{tmp_path / 'trades.json'}[1]"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("trade_id,symbol,side,amount,price\n", "no column time"),
        ("trade_id,symbol,side,amount,price,time,pnl\n", "unknown column 'pnl'"),
        ("trade_id,symbol,side,amount,price,time,time\n", "a column twice"),
        (f"{HEAD}\n1,2\n", "2 fields where the header has 10"),
        ('[{"id": "1", "id": "2"}]', "comes twice"),
        ("[1]", "an entry is no trade"),
        ('[{"price": NaN}]', "NaN is not a finite number"),
    ],
)
def test_a_file_that_is_no_table_of_fills_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "fills.csv"
    path.write_text(content)
    with pytest.raises(UsageError, match=says):
        import_fills(path, NO_RULES)


def test_an_empty_table_leaves_every_order_unfilled(tmp_path: Path) -> None:
    assert import_fills(write(tmp_path), NO_RULES) == Imported((), (), 0)
    assert codes(taken(write(tmp_path))) == {"ORDER_UNFILLED"}


def test_parts_add_up_to_the_last_digit(tmp_path: Path) -> None:
    """A trade over three tranches, of a coin of large quantities: 29 digits and more, past Python's own context."""
    random.seed(5)
    shares = [Decimal(f"{random.randrange(10**11)}.{random.randrange(10**18):018}") for _ in range(3)]
    with localcontext(EXACT):
        amount = sum(shares, Decimal(0))
    sent = tuple(OpenOrder(PEPE, at, share) for at, share in enumerate(shares))
    price = "0.000012345678"
    path = write(tmp_path, row(1, PEPE, amount=str(amount), price=price, fee="1234.567891", fee_coin="PEPE"))
    bodies = fills(taken(path, ordered=sent, opens={PEPE: Decimal("0.0000123")}))
    with localcontext(EXACT):
        assert sum(Decimal(body["quantity"]) for body in bodies) == amount - Decimal("1234.567891")
        for body in bodies:
            quantity, fee, cash = (Decimal(body[name]) for name in ("quantity", "fee", "cash"))
            assert abs(cash + quantity * Decimal(price) + fee) <= Decimal("1E-18")
        paid = sum(Decimal(body["cash"]) for body in bodies)
        assert abs(paid + amount * Decimal(price)) < Decimal("1E-16")


def test_every_name_says_what_it_means() -> None:
    assert all(said[0].islower() and len(said) > 15 for said in NOTES.values())
