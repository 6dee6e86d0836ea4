"""A decision every day in a book of tranches, and what its single phases would have come to."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from evaluation_markets import Decided, make_market

from assay.backtest.statistics import cagr, max_drawdown, sharpe
from assay.backtest.walk_forward import (
    SPREAD,
    WalkForwardResult,
    anchored,
    close_of,
    grid,
    phases,
    rebalance_rows,
    walk_forward,
)
from assay.base.errors import DataError
from assay.market.panel import Market
from assay.settings.model import RISK_PROFILES, Costs, Profile, WalkForward

DAYS = np.arange("2022-01-01", "2024-01-01", dtype="datetime64[D]")


def momentum(known: Market) -> Decided:
    """Half of the account in what rose most in five days, shorts of what fell most."""
    change = known["close"][-1] / known["close"][-6] - 1.0
    best, worst = known.symbols[int(np.argmax(change))], known.symbols[int(np.argmin(change))]
    weights = {best: 0.5, worst: -0.3}
    return Decided(dict.fromkeys(RISK_PROFILES, weights), dict.fromkeys(RISK_PROFILES, weights))


def profile(costs: Costs | None = None, **walk) -> Profile:
    settings = WalkForward(**({"train": 20, "hold": 10, "step": 10, "days": 60} | walk))
    return Profile(
        name="p",
        direction="LONG",
        logics=("rating_all",),
        scanners=(),
        walk_forward=settings,
        costs=costs or Costs(),
    )


def market(n_days: int = 120, seed: int = 0) -> Market:
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.03, (n_days, 5)), axis=0))
    return make_market(close, close * np.exp(rng.normal(0, 0.01, close.shape)))


def made(bars: Market, asked: Profile) -> WalkForwardResult:
    return walk_forward(bars, asked, momentum)


# ---- the calendar ---------------------------------------------------------------------------------------------------


def test_every_day_decides_and_its_tranche_is_its_day_since_1970_modulo_step():
    rows = grid(market(), profile())
    assert np.diff(rows.rows).tolist() == [1] * (len(rows.rows) - 1)
    for row, tranche in zip(rows.rows, rows.tranches, strict=True):
        day = market().days[row].astype("datetime64[D]").item()
        assert tranche == (day - dt.date(1970, 1, 1)).days % 10


def test_fewer_tranches_decide_on_fewer_days():
    rows = grid(market(), profile(tranches=5))
    since_1970 = market().days[list(rows.rows)].astype(np.int64)
    assert (since_1970 % 2 == 0).all()
    assert np.diff(rows.rows).tolist() == [2] * (len(rows.rows) - 1)
    assert list(rows.tranches) == (since_1970 // 2 % 5).tolist()
    assert sorted(set(rows.tranches)) == [0, 1, 2, 3, 4]


def test_tranches_divide_the_step():
    with pytest.raises(ValueError, match="3 tranches do not divide a step of 10 days"):
        WalkForward(tranches=3)


def test_a_run_looks_back_so_far_that_all_tranches_are_filled_for_its_days():
    rows = rebalance_rows(DAYS, WalkForward())
    assert len(DAYS) - 1 - rows[0] == 250 + 9
    assert len(DAYS) - 1 - rows[-1] == 1
    result = made(market(), profile())
    assert len(result.days) == 69
    assert len(result.days) - result.counted == 60
    assert result.statistics()["as_run"]["hrp"]["days"] == 60


def test_counted_days_begin_when_the_last_tranche_fills():
    result = made(market(), profile())
    fills = {rebalance.row + 1 for rebalance in result.rebalances[:10]}
    assert result.counted + result.held.first == max(fills)
    table = result.frames()["returns"].filter(pl.col("risk_profile") == "hrp")
    assert table["counted"].to_list() == [False] * 9 + [True] * 60


def test_later_bars_move_no_decision_from_a_start():
    walk = WalkForward(start=dt.date(2023, 3, 3))
    rows, more = rebalance_rows(DAYS[:600], walk), rebalance_rows(DAYS, walk)
    assert more[: len(rows)].tolist() == rows.tolist()


def test_too_few_days_for_all_tranches_are_refused():
    assert len(rebalance_rows(DAYS[:31], profile().walk_forward)) == 10
    with pytest.raises(DataError, match="walk-forward needs 31 days of bars"):
        rebalance_rows(DAYS[:30], profile().walk_forward)


# ---- the books ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tranches", [None, 5, 2])
def test_each_phase_is_a_run_with_one_tranche_and_its_start(tranches):
    bars, asked = market(), profile(tranches=tranches)
    result = made(bars, asked)
    found = phases(bars, asked, result)
    assert {len(books) for books in found.values()} == {tranches or 10}
    for place, rows in enumerate(result.grid.phases):
        alone = made(bars, anchored(asked, bars.days[rows[0]], 1))
        assert [rebalance.row for rebalance in alone.rebalances] == list(rows)
        for name, books in found.items():
            np.testing.assert_array_equal(books[place].nav, alone.books[name].nav)


def test_each_tranche_enters_on_its_first_day():
    """With a tenth of NAV, of which 0.3 are wanted; the market stands still."""
    bars = make_market(np.ones((120, 3)))
    result = made(bars, profile(Costs(fee=0.0, slippage=0.0, borrow=0.0)))
    book = result.books["hrp"]
    np.testing.assert_allclose(book.gross[:12], [0.3 * min(day, 10) / 10 for day in range(1, 13)], rtol=1e-12)
    np.testing.assert_allclose(book.nav, 1.0, rtol=1e-12)


def test_spread_tells_median_and_range_over_the_counted_days():
    bars, asked = market(), profile()
    result = made(bars, asked)
    every = phases(bars, asked, result)
    told = result.statistics(every)["phases"]["hrp"]
    own = []
    for book in every["hrp"]:
        since = book.returns[-60:]
        own.append((sharpe(since), cagr(since), float(np.prod(1.0 + since)), max_drawdown(since)))
    assert told["count"] == 10
    assert told["ruined"] == 0
    for name, values in zip(SPREAD, zip(*own, strict=True), strict=True):
        assert told[name]["median"] == pytest.approx(np.median(values))
        assert (told[name]["low"], told[name]["high"]) == (min(values), max(values))


def test_a_ruined_phase_is_counted():
    close = np.ones((120, 3))
    close[60:, 0] = 30.0
    bars = make_market(close)

    def short(known: Market) -> Decided:
        weights = dict.fromkeys(RISK_PROFILES, {known.symbols[0]: -0.5} if known["close"][-1, 0] == 1.0 else {})
        return Decided(weights, weights)

    asked = profile()
    result = walk_forward(bars, asked, short)
    assert result.statistics(phases(bars, asked, result))["phases"]["hrp"]["ruined"] == 10


def test_a_hold_shorter_than_the_step_empties_its_tranche_alone():
    result = made(make_market(np.ones((120, 3))), profile(Costs(fee=0.0, slippage=0.0, borrow=0.0), hold=4))
    np.testing.assert_allclose(result.books["hrp"].gross[9:], 0.3 * 4 / 10, rtol=1e-12)


def test_a_decision_in_a_hole_of_the_market_is_missed_and_its_tranche_keeps_what_it_holds():
    close = market().fields["close"].copy()
    close[75] = np.nan
    bars = make_market(close)
    rows = grid(bars, profile())
    assert 75 not in rows.rows
    assert sorted({*rows.rows, 75}) == list(range(rows.rows[0], rows.rows[-1] + 1))
    waiting = next(phase for phase in rows.phases if 76 in phase and 85 in phase)
    assert 75 not in waiting
    result = made(bars, profile())
    assert close_of(bars.days[75]) not in {rebalance.as_of for rebalance in result.rebalances}
    table = result.frames()["decisions"]
    assert table["as_of"].is_unique().all()


def test_one_phase_stands_for_guard_off_and_is_marked():
    result = made(market(), profile())
    decisions = result.frames()["decisions"]
    assert decisions.filter("phase")["as_of"].to_list() == [close_of(market().days[row]) for row in result.grid.phase]
    assert result.grid.phase[0] == result.rebalances[0].row
    frames = result.frames()
    assert frames["unguarded_returns"].select("date").equals(frames["phase_returns"].select("date"))
    assert frames["phase_returns"].equals(
        result.one_phase().frames()["returns"].with_columns(frames["phase_returns"]["counted"])
    )


def test_profits_of_all_holdings_are_the_accounts():
    result = made(market(), profile())
    weights = result.frames()["weights"]
    for name, book in result.books.items():
        own = weights.filter(pl.col("risk_profile") == name)["pnl"].sum()
        assert own == pytest.approx(book.nav[-1] - 1.0)
