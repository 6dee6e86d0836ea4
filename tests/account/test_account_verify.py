"""What the verifier of accounts must find in ledgers whose chain holds: each is written anew, as a forger would."""

import datetime as dt
import shutil
from decimal import Decimal

import pytest

from assay.account.ledger import KINDS, AccountLedger, content_of, read_account
from assay.account.state import Happened, apply, replay
from assay.account.verify import verify_account
from assay.base import files
from assay.runs.ledger import chain_line
from assay.runs.verify import parse_line

COIN = "BINANCE:BTCUSDT"
DAYS = [dt.date(2024, 1, 1), dt.date(2024, 1, 2)]


def fill(day, quantity, trade):
    cash = str(-Decimal(quantity) * 50)
    told = {"price": "50", "reference": "50", "fee": "0", "slippage": "0", "cash": cash, "reason": "rebalance"}
    more = {"cause": "", "venue": "BINANCE", "trade_id": trade, "tranche": 0}
    return "fill", {"day": day, "symbol": COIN, "quantity": quantity, **told, **more}


def mark(day, cash, units):
    nav = str(Decimal(cash) + 50 * Decimal(units))
    gross = str(50 * Decimal(units))
    body = {"nav": nav, "cash": cash, "gross": gross, "net": gross, "wealth": "1", "marks": {COIN: "50"}}
    return "mark", {"day": day, **body}


@pytest.fixture
def account(tmp_path):
    """Two days: 2 units are bought for 100, then 1 for 50, and 10 come in."""
    first, second = map(str, DAYS)
    days = [
        [fill(first, "2", "7"), mark(first, "900", "2")],
        [fill(second, "1", "8"), mark(second, "850", "3"), ("flow", {"day": second, "amount": "10", "request": 1})],
    ]
    with AccountLedger.create(tmp_path / "mine", {"account": "mine", "nav": "1000", "tranches": 1}) as kept:
        kept.append("asked", {"amount": "10", "day": second, "because": ""})
        state = replay(kept.entries)
        for day, events in zip(DAYS, days, strict=True):
            for event in events:
                state = apply(state, Happened(*event))
            kept.append_day(day, events, {"state": files.content_hash_json(state.document()), "simulated": False})
    return tmp_path / "mine"


def forged(folder, change, *, closed=True):
    """Let a function change the lines, and chain them anew; days are closed anew with what they now say."""
    lines = [(entry.time, entry.kind, dict(entry.body)) for entry in read_account(folder)]
    lines = change(lines) or lines
    made, begun = [], []
    data = b""
    for time, kind, body in lines:
        if kind == "close_day":
            body = {**body, "content": content_of(begun)} if closed else body
            begun = []
        elif kind not in ("genesis", "asked", "close"):
            begun.append((kind, body))
        line = chain_line(made, max(time, made[-1].time) if made else time, kind, body)
        made.append(parse_line(line[:-1], KINDS))
        data += line
    (folder / "account.jsonl").write_bytes(data)
    return {problem.code for problem in verify_account(folder).problems}


def at(lines, kind, number=0):
    return [index for index, line in enumerate(lines) if line[1] == kind][number]


def setting(kind, number=0, **values):
    def change(lines):
        lines[at(lines, kind, number)][2].update(values)

    return change


def again(kind, number, place):
    """Repeat a line at a place."""

    def change(lines):
        lines.insert(place, lines[at(lines, kind, number)])

    return change


MUTANTS = {
    "more cash": (setting("fill", cash="-99"), "SUM"),
    "other units": (setting("fill", 1, quantity="2"), "SUM"),
    "another mark": (setting("mark", 1, nav="1001"), "SUM"),
    "another state": (setting("close_day", 1, state="0" * 64), "STATE"),
    "a day later": (setting("close_day", 1, day="2024-01-03"), "DAY_ORDER"),
    "a line of another day": (setting("fill", 1, day="2024-01-01"), "DAY_ORDER"),
    "a trade again": (setting("fill", 1, trade_id="7"), "TRADE_TWICE"),
    "money that nobody asked for": (setting("flow", request=99), "FLOW"),
    "two beginnings": (again("genesis", 0, 2), "GENESIS"),
    "a request within a day": (again("asked", 0, 3), "UNCLOSED"),
    "another name": (setting("genesis", account="yours"), "ACCOUNT_NAME"),
    "a newer format": (setting("genesis", format=99), "NEWER_FORMAT"),
    "money twice": (again("flow", 0, -1), "FLOW"),
    "the first day gone": (lambda lines: lines[:2] + lines[5:], "SUM"),
    "no beginning": (lambda lines: lines[1:], "GENESIS"),
    "behind the end": (
        lambda lines: [*lines, (lines[-1][0], "close", {"nav": "1"}), (lines[-1][0], "asked", {"amount": "1"})],
        "AFTER_CLOSE",
    ),
}


def test_what_nobody_touched_is_sound(account):
    assert verify_account(account).problems == []
    assert forged(account, lambda lines: None) == set()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_forged_ledger_is_found(account, name):
    change, code = MUTANTS[name]
    assert code in forged(account, change)


def test_lines_that_were_not_closed_so_are_found(account):
    assert "DAY_CONTENT" in forged(account, setting("fill", cause="x"), closed=False)


def test_an_end_that_is_cut_shows_in_the_copies_and_a_noted_head(account):
    whole = verify_account(account)
    (account / "orders").mkdir()
    (account / "orders" / "2024-01-02.csv").write_text("symbol\n")
    assert forged(account, lambda lines: lines[:5]) == {"LEDGER_CUT"}
    shutil.rmtree(account / "orders")
    assert verify_account(account).problems == []
    assert [one.code for one in verify_account(account, whole.head).problems] == ["NOTED_HEAD"]
