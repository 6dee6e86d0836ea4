"""What orders are made of: the book, or today's decision alone; and what a market bears of them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.runs import artifacts as layout
from assay.runs.run import Run

from .conftest import SHORT


@pytest.fixture(scope="module")
def with_book(sandbox):
    folder, outcome = sandbox.run(SHORT)
    assert outcome.state == "VALID", outcome.error
    return folder


def targets(told):
    return {line["instrument"]: line["weight_target"] for line in told["positions"] if line["weight_target"]}


def decided(folder):
    return {coin.Symbol: coin.Net_Weight for coin in Run(folder)[layout.FLATTENED].profiles["hrp"].assets}


def test_orders_trade_the_book(order, with_book):
    code, told = order(with_book)
    assert (code, told["trades"]) == (0, "the book")
    held = {one.Symbol: one.Net_Weight for one in Run(with_book)[layout.HOLDINGS].profiles["hrp"].assets}
    assert targets(told) == pytest.approx({symbol: weight for symbol, weight in held.items() if weight})
    assert targets(told) != pytest.approx(decided(with_book))


def test_an_account_that_holds_nothing_needs_no_file(call, order, with_book):
    same = order(with_book)[1]
    given = ("--nav", "10000", "--instruments", "info.json")
    code, told = call("orders", with_book.name, *given)
    assert code == 0
    assert told["orders"] == same["orders"]
    assert told["sources"]["holdings_sha256"] is None


def test_todays_decision_is_traded_alone_when_it_is_asked_for(order, with_book):
    code, told = order(with_book, "--decision")
    assert (code, told["trades"]) == (0, "today's decision alone")
    assert targets(told) == pytest.approx({symbol: weight for symbol, weight in decided(with_book).items() if weight})


def test_an_order_that_its_market_does_not_bear_is_named(order, sandbox, with_book):
    market = sandbox.foundation.snapshot.market(sandbox.foundation.as_of, 60)
    usual = {s: float(np.median(market["value_traded"][-20:, market.column(s)])) for s in decided(with_book)}
    for nav in (1e4, 1e8):
        told = order(with_book, "--decision", "--nav", f"{nav:.0f}")[1]
        value = {}
        for one in told["orders"]:
            name = one["info"]["instrument"]
            value[name] = value.get(name, 0.0) + one["info"]["value"]
        wanted = sorted(name for name, amount in value.items() if amount > 0.1 * usual[name])
        named = [found for found in told["findings"] if found["code"] == "UNTRADABLE"]
        assert [name.split(" ")[0] for found in named for name in found["names"]] == wanted
        assert bool(wanted) == (nav == 1e8)
