"""The difference between an account and its tranche book: named lines that add up, whatever happens."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from account_life import adds_up, dates, live, names
from evaluation_markets import generated

from assay.account.difference import LINES, difference
from assay.account.tracking import apart, tracked
from assay.backtest.book import simulate
from assay.base.domain import Instrument
from assay.settings.model import Margin
from assay.sources.rules import TradingRules

BOOKS = 60


def filters(symbols, status="TRADING"):
    """Coarse filters, so that rounding and least values bite on an account of 1."""
    lot = {"step_size": Decimal("0.01"), "min_qty": Decimal("0.02"), "tick_size": Decimal("0.0001")}
    return {
        symbol: TradingRules(Instrument.parse(symbol), status, True, True, min_notional=Decimal("0.05"), **lot)
        for symbol in symbols
    }


def worlds(**life):
    for seed in range(BOOKS):
        bars, targets, n_tranches, costs = generated(seed)
        book = simulate(bars, targets, costs, n_tranches=n_tranches, margin=Margin())
        settings = {name: make(bars, targets) if callable(make) else make for name, make in life.items()}
        mine = live(bars, targets, costs, n_tranches=n_tranches, margin=Margin(), **settings)
        adds_up(mine)
        told = difference(mine.entries, book, targets, names(bars), dates(bars))
        yield book, mine, told


def missed(bars, targets):
    return frozenset(target.row for target in targets[1::3])


def deposits(bars, targets):
    return {target.row: Decimal("0.5") if at % 2 else Decimal("-0.01") for at, target in enumerate(targets[3::4])}


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        ({}, set()),
        ({"band": "0.2"}, {"band"}),
        ({"rules": lambda bars, targets: filters(names(bars))}, {"rounding", "least_value"}),
        ({"rules": lambda bars, targets: filters(names(bars)[:1], "HALT")}, {"refused"}),
        ({"left_out": missed}, {"late"}),
        ({"flows": deposits}, {"flow"}),
        (
            {"band": "0.1", "rules": lambda bars, targets: filters(names(bars)), "left_out": missed, "flows": deposits},
            {"band", "rounding", "least_value", "late", "flow", "fees", "slippage", "borrow", "cancelled"},
        ),
    ],
    ids=["exact", "band", "filters", "halted", "missed", "flows", "all"],
)
def test_lines_add_up(life, expected):
    seen, apart = Counter(), 0.0
    for _, mine, told in worlds(**life):
        assert max((abs(day.rest) for day in told), default=0.0) <= 1e-9
        assert all(day.lines.keys() <= LINES.keys() for day in told)
        for day in told[-1:]:
            state = next(state for state in mine.states if state.day == day.day)
            apart = max(apart, abs(day.total))
            assert np.isfinite(float(state.nav))
            seen.update(line for line, amount in day.lines.items() if abs(amount) > 1e-6)
    assert expected <= seen.keys(), seen
    assert (apart > 1e-4) == bool(expected)


def test_the_ledger_s_own_decisions_make_the_tranche_book_and_later_bars_say_nothing():
    compared = 0
    for seed in range(0, BOOKS, 6):
        bars, targets, n_tranches, costs = generated(seed)
        book = simulate(bars, targets, costs, n_tranches=n_tranches, margin=Margin())
        if book.liquidated is not None:
            continue
        mine = live(bars, targets, costs, n_tranches=n_tranches, margin=Margin(), band="0.1")
        told = difference(mine.entries, book, targets, names(bars), dates(bars))
        marks = [at for at, entry in enumerate(mine.entries) if entry.kind == "mark"]
        for day in (3, len(told) - 1):
            known = mine.entries[: marks[day] + 1]
            found = apart(known, bars, names(bars), dates(bars), costs, Margin())
            assert found.day == told[day].day
            assert found.total == pytest.approx(told[day].total, abs=1e-12)
            assert found.lines == pytest.approx(told[day].lines, abs=1e-12)
            assert abs(found.rest) <= 1e-9
            assert tracked(found)["total"] == repr(found.total)
            compared += 1
    assert compared >= 6
    before = [entry for entry in mine.entries if entry.kind in ("genesis", "decision")][:2]
    assert apart(before, bars, names(bars), dates(bars), costs, Margin()) is None
