"""The survivorship error on markets in which it is known which coins die."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from evaluation_markets import Decided, make_market, single
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.backtest.survivorship import survivors, survivorship
from assay.backtest.walk_forward import walk_forward
from assay.market.panel import Market
from assay.settings.model import RISK_PROFILES, Costs, Profile, WalkForward

BTC = "BINANCE:BTCUSDT"
FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.10)
ONCE = single(train=20, hold=100, step=100, days=500)


def profile(walk: WalkForward = ONCE, costs: Costs = FREE) -> Profile:
    return Profile(
        name="p", direction="LONG", logics=("rating_all",), scanners=(), benchmark=BTC, walk_forward=walk, costs=costs
    )


def alike(side: float):
    """Decide on the same share of every coin that has a bar, half of it as run and the whole unguarded."""

    def decide(known: Market) -> Decided:
        listed = [name for name, at in known.index.items() if known.listing[-1, at] >= 0 and name != BTC]
        weight = side / max(1, len(listed))
        return Decided(
            {name: dict.fromkeys(listed, weight / 2) for name in RISK_PROFILES},
            {name: dict.fromkeys(listed, weight) for name in RISK_PROFILES},
        )

    return decide


def riser_and_dying(n_days: int = 60, end: int = 31) -> Market:
    """A gains 1 % a day; B stands still to row 20, then loses 10 % a day, and has no bar from row ``end`` on."""
    rises = 1.01 ** np.arange(n_days)
    dies = 0.9 ** np.maximum(0.0, np.arange(n_days) - 20.0)
    dies[end:] = np.nan
    close = np.column_stack([rises, dies, np.ones(n_days)])
    before = np.vstack([close[:1], close[:-1]])
    return make_market(close, np.where(np.isnan(close), np.nan, before))


def compare(market: Market, side: float, settings: Profile):
    decide = alike(side)
    return survivorship(market, settings, decide, walk_forward(market, settings, decide))


def test_error_of_a_long_book_by_hand():
    found = compare(riser_and_dying(), 1.0, profile())
    assert (found.symbols, found.dead, found.held_dead) == (3, ("BINANCE:ABUSDT",), ("BINANCE:ABUSDT",))
    assert found.last_day == "2023-03-01"
    # Bought at the open of row 21, which is the close of row 20; B's last close is 0.9^10, and 10 % lower it is sold.
    gain, sold = 1.01**39, 0.9**10 * 0.9
    whole = found.unguarded["hrp"]
    assert whole.honest.final_wealth == pytest.approx((gain + sold) / 2, rel=1e-12)
    assert whole.survivors.final_wealth == pytest.approx(gain, rel=1e-12)
    assert whole.error.final_wealth == pytest.approx((gain - sold) / 2, rel=1e-12)
    growth = gain ** (365 / 39) - 1.0, ((gain + sold) / 2) ** (365 / 39) - 1.0
    assert whole.error.cagr == pytest.approx(growth[0] - growth[1], rel=1e-9)
    # The honest book is deepest either while B falls or when it is sold at the third close without a bar.
    day = np.arange(1, 14)
    path = (1.01**day + np.where(day < 13, 0.9 ** np.minimum(day, 10), sold)) / 2
    assert whole.honest.max_drawdown == pytest.approx(path.min() - 1.0, rel=1e-9)
    assert whole.survivors.max_drawdown == 0.0
    assert whole.error.max_drawdown == pytest.approx(1.0 - path.min(), rel=1e-9)
    half = found.profiles["hrp"]
    assert half.honest.final_wealth == pytest.approx(0.5 + (gain + sold) / 4, rel=1e-12)
    assert half.error.final_wealth == pytest.approx((gain - sold) / 4, rel=1e-12)


def test_error_of_a_short_book_has_the_other_sign():
    found = compare(riser_and_dying(), -1.0, profile())
    # Half of each sold short at 1: B is bought back 10 % above its last close.
    gain, bought = 1.01**39, 0.9**10 * 1.1
    whole = found.unguarded["min_variance"]
    assert whole.honest.final_wealth == pytest.approx(2.0 - (gain + bought) / 2, rel=1e-12)
    assert whole.survivors.final_wealth == pytest.approx(2.0 - gain, rel=1e-12)
    assert whole.error.final_wealth == pytest.approx((bought - gain) / 2, rel=1e-12)
    assert whole.error.final_wealth < 0.0
    assert whole.error.cagr < 0.0
    assert whole.error.max_drawdown < 0.0


def test_an_account_in_debt_has_no_growth_to_compare():
    """Short of a coin that trebles overnight: the margin call leaves a debt, and survivors never met that coin."""
    close = np.ones((60, 3))
    close[25:30, 1], close[30:, 1] = 9.0, np.nan
    found = compare(make_market(close, np.vstack([close[:1], close[:-1]])), -2.0, profile())
    whole = found.unguarded["hrp"]
    assert whole.honest.final_wealth < 0.0
    assert (whole.honest.cagr, whole.survivors.cagr, whole.error.cagr) == (None, 0.0, None)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_planted_deaths_are_found_with_their_sign(seed: int, side: float):
    """Thirty alike coins, of which ten bleed for forty days before they go: who never saw them is too well off."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, 0.01, (200, 31))
    close = np.exp(np.cumsum(steps, axis=0))
    for at, end in enumerate(rng.integers(80, 180, 10)):
        close[end - 40 :, at] *= 0.95 ** np.arange(1, 240 - end + 1)
        close[end:, at] = np.nan
    found = compare(make_market(close), side, profile(single(train=20, hold=10, step=10, days=500)))
    assert len(found.dead) == len(found.held_dead) == 10
    for compared in (*found.profiles.values(), *found.unguarded.values()):
        assert side * compared.error.final_wealth > 0.05
        assert side * compared.error.cagr > 0.05


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_without_deaths_there_is_no_error(seed: int, n_coins: int):
    steps = np.random.default_rng(seed).normal(0.0, 0.03, (60, n_coins + 1))
    market = make_market(np.exp(np.cumsum(steps, axis=0)))
    found = compare(market, 1.0, profile(single(train=20, hold=10, step=10, days=500), Costs()))
    assert found.dead == found.held_dead == ()
    assert found.symbols == n_coins + 1
    for compared in found.profiles.values():
        assert compared.honest == compared.survivors
        assert (compared.error.cagr, compared.error.final_wealth, compared.error.max_drawdown) == (0.0, 0.0, 0.0)


def test_survivors_keep_their_bars_and_the_benchmark():
    close = np.arange(1.0, 31.0).reshape(10, 3)
    close[8:, 0] = np.nan  # dead
    close[3:7, 1] = np.nan  # another listing under the old name
    close[9:, 2] = np.nan  # the benchmark's last bar is missing
    market = make_market(close)
    alive = survivors(market, BTC)
    assert alive.symbols == ("BINANCE:ABUSDT", BTC)
    np.testing.assert_array_equal(alive["close"], close[:, 1:])
    assert alive.listing[:, 0].tolist() == [0, 0, 0, -1, -1, -1, -1, 1, 1, 1]
    assert alive.as_of == market.as_of
    assert alive.column(BTC) == 1
    assert market.column(BTC) == 2


def test_coins_that_died_before_the_walk_forward_could_look_are_not_counted():
    market = riser_and_dying(700, end=31)
    settings = profile(single(train=20, hold=10, step=10, days=100))
    found = compare(market, 1.0, settings)
    assert (found.symbols, found.dead) == (2, ())


def test_the_document_is_json():
    found = compare(riser_and_dying(), 1.0, profile())
    document = json.loads(json.dumps(asdict(found)))
    assert set(document["profiles"]) == set(RISK_PROFILES)
    assert document["dead"] == ["BINANCE:ABUSDT"]
    assert document["profiles"]["hrp"]["error"]["final_wealth"] == found.profiles["hrp"].error.final_wealth
