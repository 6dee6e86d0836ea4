"""The book of today by hand: what earlier tranches have become, and today's decision in the place of its own."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_markets import prices

from assay.backtest.book import Target, simulate
from assay.backtest.holdings import held_book
from assay.settings.model import Costs, Margin

FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.0)
COINS = ("BINANCE:AUSDT", "BINANCE:BUSDT")


@pytest.fixture
def book():
    """Tranche 0 buys 0.4 of NAV in A at 100, tranche 1 a day later 0.2 at 100; A ends at 121, NAV at 1.126."""
    close = np.array([[100.0, 10.0], [100.0, 10.0], [110.0, 10.0], [121.0, 10.0]])
    bars = prices(close, np.vstack([close[:1], close[:-1]]), borrow=0.0)
    targets = [Target(0, 0, np.array([0.8, 0.0])), Target(1, 1, np.array([0.4, 0.0]))]
    made = simulate(bars, targets, FREE, n_tranches=2)
    assert made.nav[-1] == pytest.approx(1.126)
    return made


def test_todays_decision_takes_the_place_of_its_tranche_only(book):
    held = held_book(book, COINS, {COINS[0]: -0.5, COINS[1]: 0.3}, tranche=0)
    first, second = held.assets
    assert [coin.Symbol for coin in held.assets] == list(COINS)
    old = 0.002 * 121 / 1.126
    assert [(part.Tranche, part.Age) for part in first.Parts] == [(0, 0), (1, 2)]
    assert [part.Weight for part in first.Parts] == pytest.approx([-0.25, old])
    assert first.Net_Weight == pytest.approx(old - 0.25)
    assert [(part.Tranche, part.Age, part.Weight) for part in second.Parts] == [(0, 0, pytest.approx(0.15))]
    assert held.net == pytest.approx(old - 0.25 + 0.15)
    assert held.gross == pytest.approx(0.25 - old + 0.15)
    assert held.cash == pytest.approx(1.0 - held.gross)


def test_a_decision_for_cash_empties_its_tranche_only(book):
    held = held_book(book, COINS, {}, tranche=1)
    [coin] = held.assets
    assert [(part.Tranche, part.Age) for part in coin.Parts] == [(0, 3)]
    assert coin.Net_Weight == pytest.approx(0.004 * 121 / 1.126)


def test_on_nobodys_day_everything_stands_still(book):
    [coin] = held_book(book, COINS, {COINS[1]: 1.0}).assets
    assert [(part.Tranche, part.Age) for part in coin.Parts] == [(0, 3), (1, 2)]
    assert coin.Net_Weight == pytest.approx(0.006 * 121 / 1.126)


def test_an_account_that_was_liquidated_holds_nothing():
    close = np.array([[100.0], [100.0], [300.0], [100.0]])
    bars = prices(close, np.vstack([close[:1], close[:-1]]), borrow=0.0)
    book = simulate(bars, [Target(0, 0, np.array([-1.0]))], FREE, margin=Margin())
    assert book.liquidated == 2
    held = held_book(book, COINS, {COINS[0]: 0.5}, tranche=0)
    assert (held.assets, held.gross, held.cash) == ([], 0.0, 1.0)
