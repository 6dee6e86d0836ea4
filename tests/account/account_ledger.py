"""A ledger of three days by hand: bought on the first, one coin delisted and one order not filled on the second."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, NamedTuple

from assay.account.ledger import AccountLedger

BTC, ETH, OLD = "BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BINANCE:OLDUSDT"


class Line(NamedTuple):
    """One line, as a ledger gives it."""

    kind: str
    body: dict[str, Any]


def fill(day: str, symbol: str, quantity: str, price: str, cash: str, **more: Any) -> Line:
    body = {"symbol": symbol, "tranche": 1, "quantity": quantity, "price": price, "reference": price, "fee": "0",
            "slippage": "0", "cash": cash, "reason": "rebalance", "cause": ""}  # fmt: skip
    return Line("fill", {"day": day} | body | more)


def mark(day: str, nav: str, cash: str, gross: str, net: str, wealth: str, **marks: str) -> Line:
    told = {f"BINANCE:{name}USDT": price for name, price in marks.items()}
    return Line(
        "mark", {"day": day, "nav": nav, "cash": cash, "gross": gross, "net": net, "wealth": wealth, "marks": told}
    )


def close(day: str, *, simulated: bool = False) -> Line:
    return Line("close_day", {"day": day, "content": "", "state": "", "simulated": simulated})


def order(symbol: str, quantity: str, decided: str, **lines: str) -> dict[str, Any]:
    return {"symbol": symbol, "tranche": 2, "quantity": quantity, "decided": decided, "wanted": quantity,
            "lines": lines, "amounts": [], "reasons": [], "late": False}  # fmt: skip


def a_ledger(name: str = "paper", **genesis: Any) -> list[Line]:
    """Three days of 10,000 dollars; the last one holds 0.05 BTC at 60,000 and a short of 1 ETH at 3,000."""
    start = {"account": name, "kind": "sleeve", "portfolio": "binance_spot_rating_all_long", "headline": "hrp",
             "source": "binance", "nav": "10000", "tranches": 10, "band": "0.01", "filters": "on", "start": None,
             "paper": True, "settings": {"profile": {"margin": {"maintenance": 1.1}}}}  # fmt: skip
    one, two, three = "2024-06-10", "2024-06-11", "2024-06-12"
    return [
        Line("genesis", start | genesis),
        mark(one, "10000", "10000", "0", "0", "1"),
        Line("decision", {"day": one, "tranche": 1, "weights": {}, "summary": "four winners"}),
        Line("orders", {"day": one, "tranche": 1, "rows": [order(BTC, "0.05", "60000")], "unknown": [BTC]}),
        close(one, simulated=True),
        fill(two, BTC, "0.05", "60000", "-3003", fee="3"),
        fill(two, OLD, "10", "100", "-1001", fee="1"),
        fill(two, ETH, "-1", "3000", "2997", fee="3"),
        Line("look", {"day": two, "level": "3.4", "worst_level": "3.1", "moment": None}),
        mark(two, "9993", "8993", "7000", "1000", "0.9993", BTC="60000", OLD="100", ETH="3000"),
        Line("decision", {"day": two, "tranche": 2, "weights": {}, "summary": ""}),
        Line("orders", {"day": two, "tranche": 2, "rows": [order(BTC, "0.01", "60000")], "unknown": []}),
        close(two),
        fill(three, OLD, "-10", "90", "900", reason="delisting", cause="three days without a bar", tranche=None,
             reference="100", slippage="100", parts={"1": "-10"}),
        Line("unfilled", {"day": three, "symbol": BTC, "tranche": 2, "quantity": "0.01", "why": "no trade of it came"}),
        Line("borrow", {"day": three, "amount": "0.8", "by": {ETH: "0.8"}}),
        Line("look", {"day": three, "level": "3.29", "worst_level": "3", "moment": None}),
        mark(three, "9992.2", "9892.2", "6100", "100", "0.99922", BTC="62000", ETH="3000"),
        Line("missed", {"day": three, "tranche": 3, "why": "MISSED_DECISION"}),
        Line("orders", {"day": three, "tranche": 2, "unknown": [],
                        "rows": [order(ETH, "0.4", "3000"), order(BTC, "0", "62000", band="0.001")]}),
        Line("history_changed", {"day": three, "of": two, "coins": {ETH: ["a", "b"]}}),
        close(three),
    ]  # fmt: skip


def write_account(home: Path, lines: list[Line]) -> Path:
    """Write a ledger as its own writer does, day by day, and return the account's folder."""
    [genesis, *rest] = lines
    folder = home / "accounts" / genesis.body["account"]
    with AccountLedger.create(folder, genesis.body) as ledger:
        day: list[tuple[str, dict[str, Any]]] = []
        for kind, body in rest:
            if kind == "close_day":
                ledger.append_day(dt.date.fromisoformat(body["day"]), day, {"simulated": body["simulated"]})
                day = []
            elif "day" in body:
                day.append((kind, body))
            else:
                ledger.append(kind, body)
    return folder
