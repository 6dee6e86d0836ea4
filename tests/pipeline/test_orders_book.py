"""What orders are made of: the book, or today's decision alone; and what a market bears of them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.runs import artifacts as layout
from assay.runs.documents import HeldBook, HeldBooks, HeldCoin, HeldPart
from assay.runs.run import Run

from .conftest import SHORT, mutated

COIN = "BINANCE:ETHUSDT"


def one_coin(run):
    part = HeldPart(Tranche=0, Age=3, Weight=0.125)
    book = HeldBook(assets=[HeldCoin(Symbol=COIN, Net_Weight=0.125, Parts=[part])], gross=0.125, net=0.125, cash=0.875)
    return {layout.HOLDINGS: changed(run, hrp=book)}


def changed(run, **books):
    return HeldBooks(as_of=run[layout.HOLDINGS].as_of, profiles=run[layout.HOLDINGS].profiles | books)


@pytest.fixture(scope="module")
def with_book(sandbox):
    """A run whose book is one coin that today's decision does not hold."""
    folder, outcome = sandbox.run(SHORT, steps=mutated("walk_forward", one_coin))
    assert outcome.state == "VALID", outcome.error
    return folder


def targets(told):
    return {line["instrument"]: line["weight_target"] for line in told["positions"] if line["weight_target"]}


def decided(folder):
    return {coin.Symbol: coin.Net_Weight for coin in Run(folder)[layout.FLATTENED].profiles["hrp"].assets}


def test_orders_trade_the_book(order, with_book):
    code, told = order(with_book)
    assert (code, told["trades"]) == (0, "the book")
    assert targets(told) == {COIN: 0.125}


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


def more(run):
    book = run[layout.HOLDINGS].profiles["hrp"]
    return {layout.HOLDINGS: changed(run, hrp=book.model_copy(update={"gross": book.gross + 0.01}))}


def of_other_parts(run):
    coin = HeldCoin(Symbol=COIN, Net_Weight=0.2, Parts=[HeldPart(Tranche=0, Age=3, Weight=0.1)])
    return {layout.HOLDINGS: changed(run, hrp=HeldBook(assets=[coin], gross=0.2, net=0.2, cash=0.8))}


def of_another_decision(run):
    coin = HeldCoin(Symbol=COIN, Net_Weight=0.1, Parts=[HeldPart(Tranche=0, Age=0, Weight=0.1)])
    return {layout.HOLDINGS: changed(run, hrp=HeldBook(assets=[coin], gross=0.1, net=0.1, cash=0.9))}


def of_uneven_shares(run):
    """Today's decision, but for one coin of which a little more is held."""
    assets = [
        HeldCoin(Symbol=symbol, Net_Weight=held, Parts=[HeldPart(Tranche=0, Age=0, Weight=held)])
        for at, (symbol, weight) in enumerate(sorted(decided(run.folder).items()))
        if (held := weight * (1.1 if at == 0 else 1.0))
    ]
    gross, net = (sum(map(side, (coin.Net_Weight for coin in assets))) for side in (abs, float))
    return {layout.HOLDINGS: changed(run, hrp=HeldBook(assets=assets, gross=gross, net=net, cash=1.0 - gross))}


def without_a_profile(run):
    profiles = {name: book for name, book in run[layout.HOLDINGS].profiles.items() if name != "barbell"}
    return {layout.HOLDINGS: HeldBooks(as_of=run[layout.HOLDINGS].as_of, profiles=profiles)}


@pytest.mark.parametrize("fault", [more, of_other_parts, of_another_decision, of_uneven_shares, without_a_profile])
def test_a_book_that_does_not_add_up_is_refused(sandbox, fault):
    _, outcome = sandbox.run(SHORT, steps=mutated("walk_forward", fault))
    assert outcome.error["code"] == "ATOMIC_HOLDINGS"
