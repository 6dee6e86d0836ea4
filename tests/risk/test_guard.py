from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.market.costs import daily_costs
from assay.risk.guard import find_loss_makers
from assay.settings.model import Costs


def test_costs_by_hand() -> None:
    # two sides of 10 + 5 bp over ten days are 3 bp a day; 10 % a year is 2.7397 bp a day
    costs = daily_costs(np.array([1, -1]), Costs(), hold=10)
    np.testing.assert_allclose(costs, [0.0003, 0.0003 + 0.1 / 365], rtol=1e-15)


@pytest.mark.parametrize(
    ("mean", "sign", "loses"),
    [(0.00031, 1, False), (0.00029, 1, True), (0.00031, -1, True), (0.00058, -1, False), (-0.01, 1, True)],
)
def test_the_line_between_gain_and_loss(mean: float, sign: int, loses: bool) -> None:
    guard = find_loss_makers(np.full((60, 1), mean), np.array([sign]), Costs(), hold=10)
    assert guard.loss_makers.tolist() == [loses]
    assert guard.net_means[0] == pytest.approx(mean - 0.0003 - (0.1 / 365 if sign < 0 else 0.0))


def test_nothing_earned_and_nothing_paid_is_not_positive() -> None:
    free = Costs(fee=0.0, slippage=0.0, borrow=0.0)
    assert find_loss_makers(np.zeros((60, 1)), np.array([1]), free, hold=10).loss_makers.tolist() == [True]


def test_only_the_last_days_count() -> None:
    streams = np.vstack([np.full((192, 1), 0.5), np.full((60, 1), -0.001)])
    guard = find_loss_makers(streams, np.array([1]), Costs(), hold=10)
    assert guard.loss_makers.all()
    assert guard.days == 60
    longer = find_loss_makers(streams, np.array([1]), Costs(), hold=10, days=61)
    assert not longer.loss_makers.any()


def test_the_share_of_loss_makers_is_cash() -> None:
    streams = np.full((60, 4), [0.01, -0.01, 0.01, -0.01])
    guard = find_loss_makers(streams, np.ones(4, dtype=int), Costs(), hold=10)
    assert guard.budget == 0.5
    (event,) = guard.events()
    assert event.code == "LOSS_MAKERS_GUARDED"
    assert event.values == {"loss_makers": 2, "atoms": 4, "cash": 0.5}


def test_loss_makers_only() -> None:
    guard = find_loss_makers(np.full((60, 3), -0.01), np.ones(3, dtype=int), Costs(), hold=10)
    assert guard.budget == 0.0
    assert [event.code for event in guard.events()] == ["ALL_LOSS_MAKERS"]


def test_no_loss_makers() -> None:
    guard = find_loss_makers(np.full((60, 3), 0.01), np.ones(3, dtype=int), Costs(), hold=10)
    assert guard.budget == 1.0
    assert guard.events() == ()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10), st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_dearer_trading_never_frees_an_atom(atoms: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    streams, signs = rng.normal(0.0005, 0.002, (rows, atoms)), rng.choice([-1, 1], atoms)
    cheap = find_loss_makers(streams, signs, Costs(), hold=10)
    dear = find_loss_makers(streams, signs, Costs(fee=0.002, borrow=0.2), hold=10)
    assert not (cheap.loss_makers & ~dear.loss_makers).any()
    assert dear.budget <= cheap.budget
