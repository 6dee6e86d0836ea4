"""The account's day against the tranche book, on generated books of every kind; its sums to the last digit."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from account_life import adds_up, agree, live, names
from evaluation_markets import generated

from assay.account.state import replay
from assay.backtest.book import simulate
from assay.settings.model import Margin

BOOKS = 120
FEW = 1e-9


@pytest.mark.parametrize("margin", [Margin(), None], ids=["margin", "none"])
def test_the_days_of_an_account_are_the_tranche_book_s(margin):
    moments, sides = Counter(), Counter()
    for seed in range(0, BOOKS, 1 if margin else 8):
        bars, targets, n_tranches, costs = generated(seed)
        book = simulate(bars, targets, costs, n_tranches=n_tranches, margin=margin)
        life = live(bars, targets, costs, n_tranches=n_tranches, margin=margin)
        agree(life, book, names(bars))
        adds_up(life)
        assert replay(life.entries).document() == life.states[-1].document()
        assert life.states[-1].liquidated == book.liquidation_moment
        moments[book.liquidation_moment] += 1
        sides.update(np.unique(book.trades.reason).tolist())
    if margin:
        assert min(moments[moment] for moment in ("open", "day", "close")) >= 3, moments
        assert min(sides[reason] for reason in ("rebalance", "delisting", "liquidation")) >= 20, sides
