"""Capital preservation of books whose gains and losses are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_markets import Decided, make_market, single

from assay.backtest.preservation import preservation
from assay.backtest.walk_forward import walk_forward
from assay.market.panel import Market
from assay.runs.documents import CapitalPreservation, Optimized, OptimizedAsset, OptimizedProfile, SolverRecord
from assay.settings.model import RISK_PROFILES, Costs, Guard, Margin, Profile

ON = Guard()
GOOD, LATER, LOSER = "BINANCE:AAUSDT", "BINANCE:ABUSDT", "BINANCE:ACUSDT"
"""Gains 50 %; was no loss maker and halves; was a loss maker and falls by a fifth."""


def figures(last: dict[str, float], net=None, unguarded=None, *, guard=ON, margin=True) -> CapitalPreservation:
    """Thirty flat days, then one fill, and closes that move on the last day."""
    close = np.ones((32, 4))
    for column, name in enumerate((GOOD, LATER, LOSER)):
        close[31, column] = last.get(name, 1.0)
    market = make_market(close, np.ones_like(close))
    net = {GOOD: 0.25, LATER: 0.25} if net is None else net
    unguarded = {GOOD: 0.25, LATER: 0.25, LOSER: 0.5} if unguarded is None else unguarded

    def decide(known: Market) -> Decided:
        return Decided(dict.fromkeys(RISK_PROFILES, net), dict.fromkeys(RISK_PROFILES, unguarded), (LOSER,))

    settings = Profile(
        name="p",
        direction="LONG",
        logics=("rating_all",),
        scanners=(),
        costs=Costs(fee=0, slippage=0, borrow=0, delisting_haircut=0),
        walk_forward=single(train=29, step=10, hold=10),
        margin=Margin(enabled=margin),
    )
    return preservation(walk_forward(market, settings, decide).frames(), guard)


FALL = {GOOD: 1.5, LATER: 0.5, LOSER: 0.8}


def test_losses_by_hand():
    document = figures(FALL)
    for profile in document.profiles.values():
        run, off = profile.as_run, profile.guard_off
        assert run.losses.from_loss_makers == run.losses.pnl_loss_makers == 0.0
        assert run.losses.from_later_losers == pytest.approx(-0.125)
        assert run.losses.pnl_others == pytest.approx(0.0)
        assert run.losses.later_losers == 1
        assert off.losses.from_loss_makers == pytest.approx(-0.1)
        assert off.losses.from_later_losers == pytest.approx(-0.125)
        assert off.losses.holdings == 3
        assert run.final_wealth == pytest.approx(1.0)
        assert off.final_wealth == pytest.approx(0.9)
        assert run.max_drawdown == pytest.approx(0.0)
        assert off.max_drawdown == pytest.approx(-0.1)
        assert off.worst_period.as_of == "2023-01-31T00:00:00Z"
        assert off.worst_period.ret == pytest.approx(-0.1)


def test_weights_on_loss_makers_by_hand():
    document = figures(FALL)
    profile = document.profiles["barbell"]
    assert profile.as_run.loss_maker_weight_max == profile.as_run.loss_maker_rebalances == 0
    assert profile.guard_off.loss_maker_weight_mean == pytest.approx(0.5)
    assert profile.guard_off.loss_maker_rebalances == 1
    assert profile.as_run.decided_gross_mean == pytest.approx(0.5)
    assert profile.guard_off.decided_gross_max == pytest.approx(1.0)
    assert profile.gross_never_above_guard_off
    assert document.no_loss_maker_held
    assert document.mean_loss_makers == 1.0
    assert (document.rebalances, document.rebalances_in_cash) == (1, 0)


def test_worst_period_is_the_lower_of_two():
    """The first ten days lose 30 % of a half, the next two gain."""
    close = np.ones((42, 4))
    close[35:, 0], close[41:, 0] = 0.7, 0.9
    settings = Profile(
        name="p",
        direction="LONG",
        logics=("rating_all",),
        scanners=(),
        costs=Costs(fee=0, slippage=0),
        walk_forward=single(train=29, step=10, hold=10),
    )
    half = {name: {GOOD: 0.5} for name in RISK_PROFILES}
    result = walk_forward(make_market(close, close), settings, lambda known: Decided(half, half))
    worst = preservation(result.frames(), ON).profiles["hrp"].as_run.worst_period
    assert worst.as_of == "2023-01-31T00:00:00Z"
    assert worst.ret == pytest.approx(-0.15)


def test_a_held_loss_maker_is_told():
    document = figures(FALL, net={LOSER: 0.1})
    assert not document.no_loss_maker_held
    assert document.profiles["hrp"].as_run.loss_maker_weight_max == pytest.approx(0.1)


def test_gross_above_the_unguarded_is_told():
    assert not figures(FALL, net={GOOD: 0.9}, unguarded={GOOD: 0.5}).profiles["hrp"].gross_never_above_guard_off


def test_loss_makers_that_turned_are_told():
    """What the guard left out gained: pnl_loss_makers says so, from_loss_makers stays 0."""
    losses = figures({LOSER: 1.4}).profiles["hrp"].guard_off.losses
    assert losses.pnl_loss_makers == pytest.approx(0.2)
    assert losses.from_loss_makers == 0.0


def test_all_cash_is_a_valid_account():
    document = figures(FALL, net={})
    assert document.rebalances_in_cash == 1
    assert document.no_loss_maker_held
    assert document.profiles["hrp"].as_run.final_wealth == 1.0
    assert document.profiles["hrp"].as_run.losses.holdings == 0


def test_a_lost_account_is_told_as_it_is():
    document = figures({LOSER: 3.0}, unguarded={LOSER: -1.0}, guard=Guard(enabled=False), margin=False)
    off = document.profiles["hrp"].guard_off
    assert off.liquidated
    assert off.final_wealth == pytest.approx(-1.0)
    assert off.max_drawdown == pytest.approx(-2.0)
    assert not document.guard_enabled


def test_standing_exposure_of_the_live_decision():
    def book(**weights: float) -> OptimizedProfile:
        assets = [
            OptimizedAsset(
                Symbol=f"BINANCE:{name}",
                Atom=f"BINANCE:{name}_rating_all_SHORT",
                Logic="rating_all",
                Direction="SHORT",
                Weight=weight,
                Net_Weight=-weight,
                Cluster_ID=1,
            )
            for name, weight in weights.items()
        ]
        solver = SolverRecord(
            name="x", status="ok", iterations=1, residual=None, gap=None, fallbacks=[], projection_distance=0.0
        )
        return OptimizedProfile(
            assets=assets, clusters={}, cash=0.0, budget=1.0, atom_cap=1.0, cluster_cap=1.0, solver=solver, events=[]
        )

    optimized = Optimized(
        as_of="2024-01-22T00:00:00Z",
        profiles={"hrp": book(AUSDT=0.5)},
        unguarded={"hrp": book(AUSDT=0.6, BUSDT=0.4)},
    )
    frames = walk_forward(
        make_market(np.ones((32, 2))),
        Profile(name="p", direction="SHORT", logics=("rating_all",), scanners=(), walk_forward=single(train=29)),
        lambda known: Decided({}, {}),
    ).frames()
    document = preservation(frames, Guard(), optimized, ["BINANCE:BUSDT_rating_all_SHORT"])
    assert document.standing["hrp"].model_dump() == pytest.approx(
        {"gross": 0.5, "gross_guard_off": 1.0, "loss_maker_weight": 0.0, "loss_maker_weight_guard_off": 0.4}
    )
