"""The day's report of a ledger by hand: what it is worth, what moved it, what is ordered, and what one must know."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from account_ledger import BTC, ETH, OLD, Line, a_ledger, close, fill, mark

from assay.orders.records import Order, to_csv
from assay.report.account import account_facts, day_page, day_report, days_of


def facts_of(entries: list[Line], **more: Any) -> dict[str, Any]:
    return account_facts(entries, **more)


def test_what_it_is_worth_and_what_moved_it() -> None:
    """10,000 - 7 of fees; then BTC 60,000 -> 62,000 on 0.05 is 100, a haircut of 100, and 0.80 of borrow."""
    facts = facts_of(a_ledger())
    assert (facts["nav"], facts["cash"], facts["day"]) == (9992.2, 9892.2, "2024-06-12")
    assert facts["day_return"] == pytest.approx(0.99922 / 0.9993 - 1)
    bridge = {row["name"]: row["amount"] for row in facts["bridge"]}
    assert bridge == {"prices": pytest.approx(100.0), "borrow": -0.8, "forced exits": -100.0}
    assert sum(bridge.values()) == pytest.approx(facts["moved"])


def test_what_is_held_and_why_it_changed() -> None:
    facts = facts_of(a_ledger())
    assert [(row["symbol"], row["quantity"], row["value"]) for row in facts["held"]] == [
        (BTC, "0.05", 3100.0),
        (ETH, "-1", -3000.0),
    ]
    assert [(row["symbol"], row["why"]) for row in facts["changes"]] == [
        (OLD, "delisting: three days without a bar"),
        (BTC, "prices"),
        (ETH, "prices"),
    ]
    assert facts["changes"][0]["before"] == pytest.approx(1000 / 9993)
    assert [row["what"] for row in facts["not_filled"]] == ["unfilled"]
    earlier = facts_of(a_ledger(), day=days_of(a_ledger())[1].day)
    assert {row["why"] for row in earlier["changes"]} == {"bought by tranche 1", "sold by tranche 1"}
    assert earlier["margin"]["level"] == 3.4


def test_orders_and_what_was_left_out_of_them() -> None:
    facts = facts_of(a_ledger())
    assert [(row["symbol"], row["value"]) for row in facts["orders"]] == [(ETH, 1200.0)]
    assert facts["left_out"] == {"band": 1}
    assert facts["orders_for"] == "2024-06-13"
    assert facts["orders_share"] == pytest.approx(1200 / 9992.2)


def test_everything_else_has_a_name() -> None:
    codes = {note["code"]: note["names"] for note in facts_of(a_ledger())["notes"]}
    assert codes == {
        "SIMULATED": ["1 day"],
        "MISSED_DECISION": ["tranche 3"],
        "HISTORY_CHANGED": ["2024-06-11 BINANCE:ETHUSDT"],
        "NO_PRIOR": [],
    }
    more = [
        *a_ledger(filters="off"),
        Line("epoch", {"changed": {"profile.caps.atom": [0.25, 0.2]}, "settings": {}}),
        Line("accept", {"code": "RUIN"}),
        Line("close", {"because": "done"}),
    ]
    assert {note["code"] for note in facts_of(more)["notes"]} >= {"EPOCH", "ACCEPT", "ACCOUNT_CLOSED", "FILTERS_OFF"}
    assert "The account is closed." in facts_of(more)["answer"]


def test_a_simulated_day_says_so_first() -> None:
    day = days_of(a_ledger())[0].day
    facts = facts_of(a_ledger(), day=day)
    assert facts["simulated"]
    assert day_report(facts).split("\n")[2].startswith("**SIMULATED**")
    assert "SIMULATED" in day_page(facts)


def long_life(days: int, daily: float, **genesis: Any) -> list[Line]:
    """An account of as many days that gains so much a day; the first ten are simulated and lose a tenth each."""
    lines, wealth = a_ledger(**genesis)[:1], 1.0
    for number in range(days):
        day = (np.datetime64("2023-01-01") + number).item().isoformat()
        wealth *= 0.9 if number < 10 else 1.0 + daily
        nav = repr(10000 * wealth)
        lines += [mark(day, nav, nav, "0", "0", repr(wealth)), close(day, simulated=number < 10)]
    return lines


def prior(seed: int = 1, last: str = "2022-12-31", n_days: int = 300) -> dict[str, list[str]]:
    days = np.datetime64(last) - np.arange(n_days)[::-1]
    returns = np.random.default_rng(seed).normal(0.001, 0.01, n_days)
    return {"run": "before", "days": [str(day) for day in days], "returns": [repr(float(one)) for one in returns]}


def test_days_that_the_account_lived_are_no_prior() -> None:
    """A run may reach into the account's own life; 119 days from before it are too few for a band."""
    for known, told in ((119, False), (120, True)):
        last = str(np.datetime64("2022-12-31") + 180)
        facts = facts_of(long_life(60, 0.001, prior=prior(last=last, n_days=known + 180)))
        assert (facts["prior"] is not None) is told


def test_expectation_is_judged_on_the_days_that_were_lived() -> None:
    facts = facts_of(long_life(60, 0.001, prior=prior()))
    assert facts["alarms"] == []
    assert facts["prior"]["days"] == 50, "ten days were stepped through afterwards"
    assert facts["prior"]["wealth"] == pytest.approx(1.001**50)
    rows = facts["history"]
    assert rows[9]["low"] is None
    assert rows[10]["low"] < rows[9]["wealth"] < rows[10]["high"], "the band begins where the lived days begin"
    text = day_report(facts)
    assert "50 judged days of this year: 1 became 1.05" in text
    assert "No alarm." in text


def test_a_fall_out_of_the_band_is_an_alarm_with_its_day() -> None:
    facts = facts_of(long_life(200, -0.01, prior=prior()))
    [alarm] = facts["alarms"]
    assert alarm["code"] == "BELOW_PRIOR"
    assert "2023-01-11" < alarm["since"] < "2023-07-19"
    assert facts["tone"] == "bad"
    assert f"ALARM BELOW_PRIOR: {alarm['what']}." in facts["answer"]


def test_a_cost_above_the_modelled_is_an_alarm() -> None:
    lines = a_ledger()[:1]
    for number in range(12):
        day = f"2024-06-{number + 10}"
        lines += [
            fill(day, BTC, "0.01", "60180", "-603.6", fee="1.8", slippage="1.8", reference="60000"),
            mark(day, "10000", "10000", "0", "0", "1", BTC="60000"),
            close(day),
        ]
    facts = facts_of(lines)
    assert [(alarm["code"], alarm["since"]) for alarm in facts["alarms"]] == [("COST_ABOVE_MODEL", "2024-06-19")]
    assert facts["tracking"]["times"] == pytest.approx(4.0)  # 3.60 for 0.90


def test_tracking_lines_of_the_ledger_are_told() -> None:
    lines = a_ledger()
    found = [{"code": "FILL_LATE", "what": "late trades", "names": [BTC]}]
    tracking = {"total": "-0.002", "lines": {"fees": "-0.002"}}
    lines.insert(-1, Line("reconcile", {"day": "2024-06-12", "tracking": tracking, "findings": found}))
    facts = facts_of(lines)
    assert facts["tracking"]["lines"] == {"fees": -0.002}
    assert "FILL_LATE" in {note["code"] for note in facts["notes"]}
    assert re.search(r"\| fees +\| -0\.00200 \|", day_report(facts))


def test_an_account_without_a_day_says_what_to_do() -> None:
    facts = facts_of(a_ledger()[:1])
    assert facts["day"] is None
    assert "assay account step" in day_report(facts)
    assert "before its first day" in day_page(facts)


def test_a_day_that_has_no_end_is_not_told() -> None:
    assert facts_of(a_ledger()[:-1])["day"] == "2024-06-11"


def test_nothing_from_outside_is_markup() -> None:
    evil = "BINANCE:<img/src=x>|`USDT"
    lines = [Line(line.kind, {**line.body, "symbol": evil} if line.body.get("symbol") == OLD else line.body)
             for line in a_ledger(portfolio="<script>alert(1)</script>")]  # fmt: skip
    for line in lines:
        if line.kind == "mark" and OLD in line.body["marks"]:
            line.body["marks"][evil] = line.body["marks"].pop(OLD)
    facts = facts_of(lines)
    assert "<script>alert" not in day_page(facts)
    assert "<img/src" not in day_page(facts)
    assert "\\|\\`USDT" in day_report(facts)


@pytest.mark.parametrize("name", ["=HYPERLINK(1)/USDT", "+1/USDT", "-1/USDT", "@SUM/USDT", "\uff1d1/USDT"])
def test_no_exported_cell_is_a_formula(name: str) -> None:
    order = Order(
        name, "sell", "market", Decimal("1.5"), None, {}, name, "close", "spot", Decimal(-3), Decimal("0.003")
    )
    [_, row] = csv.reader(io.StringIO(to_csv((order,))))
    assert row[0] == row[6] == f"'{name}"
    assert row[9] == "-3.00000000", "a number keeps its sign"
