"""What a decision was worth: against plain books, against lots, by leg, and with how much capital."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from evaluation_markets import make_market, prices

from assay.backtest import capacity as model
from assay.backtest.book import Target, simulate
from assay.backtest.choice import NOTHING, Choice
from assay.backtest.regression import line
from assay.backtest.walk_forward import prices_of, walk_forward
from assay.backtest.worth import BASELINES, compared, legs, worth
from assay.market.panel import Market
from assay.settings.model import RISK_PROFILES, Costs, Margin, Profile, WalkForward

WALK = WalkForward(train=20, hold=5, step=5, days=250)
BITCOIN = "BINANCE:BTCUSDT"


@dataclass(frozen=True)
class Chosen:
    net: dict
    choice: Choice = NOTHING
    summary: dict = field(default_factory=dict)
    loss_makers: tuple[str, ...] = ()

    @property
    def unguarded(self) -> dict:
        return self.net


def profile(direction: str = "LONG", **settings) -> Profile:
    walk = settings.pop("walk_forward", WALK)
    return Profile(name="p", direction=direction, logics=("rating_all",), scanners=(), walk_forward=walk, **settings)


def random_market(n_days: int = 120, n_symbols: int = 9, seed: int = 0, volume: float = 1e9) -> Market:
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.03, (n_days, n_symbols)), axis=0))
    market = make_market(close, close * np.exp(rng.normal(0, 0.005, close.shape)))
    return replace(market, fields={**market.fields, "value_traded": np.full(close.shape, volume)})


def deciding(weigh, sign: float = 1.0):
    """Decide from eight coins: ``weigh`` gives winners and their weights (sum of sizes 0.8) for a row."""

    def decide(known: Market) -> Chosen:
        coins = known.symbols[:-1]
        winners, shares = weigh(known, coins)
        net = {symbol: sign * share for symbol, share in zip(winners, shares, strict=True)}
        pairs = tuple((symbol, "rating_all") for symbol in winners if symbol != BITCOIN)
        everybody = tuple((symbol, "rating_all") for symbol in coins)
        return Chosen(dict.fromkeys(RISK_PROFILES, net), Choice(coins, everybody, pairs))

    return decide


def by_day(known: Market, coins) -> list[str]:
    """Three coins that change with the day."""
    row = len(known.days)
    return sorted({coins[row % 8], coins[(row + 3) % 8], coins[(row // 2 + 5) % 8]})


def judged(weigh, direction: str = "LONG", market: Market | None = None, **settings):
    market, asked = market or random_market(), profile(direction, **settings)
    decide = deciding(weigh, 1.0 if direction == "LONG" else -1.0)
    result = walk_forward(market, asked, decide)
    return worth(market, asked, result), market, asked, result


# ---- plain books ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["LONG", "SHORT"])
def test_a_sleeve_that_is_a_plain_book_ends_where_that_ends(direction) -> None:
    """Sleeves that do nothing but hold a baseline are ahead of it by nothing, and of Bitcoin by something."""

    def everybody(known, coins):
        return coins, [0.1] * 8

    def winners(known, coins):
        found = by_day(known, coins)
        return found, [0.8 / len(found)] * len(found)

    def calm(known, coins):
        found = by_day(known, coins)
        seen = known.returns()[-252:, [known.column(symbol) for symbol in found]]
        inverse = 1.0 / np.nanstd(seen, axis=0, ddof=1)
        return found, (0.8 * inverse / inverse.sum()).tolist()

    for name, weigh in zip(BASELINES[1:], (everybody, winners, calm), strict=True):
        found, *_ = judged(weigh, direction)
        own = found.baselines[name]
        assert own.ahead == pytest.approx(0.0, abs=1e-9)
        assert own.final_wealth == pytest.approx(found.final_wealth, rel=1e-12)
        assert not own.clearly
        assert abs(found.baselines["benchmark"].ahead) > 1e-3


def test_the_benchmark_is_held_as_decided_on_the_sleeves_side() -> None:
    """Targets made by hand: 0.8 of Bitcoin short, in the tranche of each day, with costs, borrow and margin."""

    def winners(known, coins):
        found = by_day(known, coins)
        return found, [0.8 / len(found)] * len(found)

    found, market, asked, result = judged(winners, "SHORT")
    weights = np.zeros(len(market.symbols))
    weights[market.column(BITCOIN)] = -0.8
    rows = [rebalance.row for rebalance in result.rebalances]
    tranches = [int(market.days[row].astype(np.int64) % 5) for row in rows]
    targets = [Target(row, tranche, weights) for row, tranche in zip(rows, tranches, strict=True)]
    book = simulate(prices_of(market, asked.costs), targets, asked.costs, n_tranches=5, margin=Margin())
    returns = book.returns[4:]
    assert found.days == len(returns)
    assert found.baselines["benchmark"].final_wealth == pytest.approx(np.prod(1 + returns), rel=1e-12)
    assert found.mean_gross == pytest.approx(0.8)


def test_nothing_held_is_nothing_to_judge() -> None:
    found, *_ = judged(lambda known, coins: ([], []))
    assert found.baselines == {}
    assert found.lots is None
    assert found.capacity is None
    assert found.final_wealth == 1.0
    assert found.legs.total == 0.0


def test_differences_are_of_log_growth_and_paired() -> None:
    """Days that are alike but for a constant: no spread is left, whatever the days did."""
    rng = np.random.default_rng(3)
    others = rng.normal(0.0, 0.05, 200)
    better = np.exp(np.log1p(others) + 0.001) - 1.0
    found = compared(better, others, 10, 0)
    assert [found.ahead, found.ahead_low, found.ahead_high] == pytest.approx([0.365] * 3)
    assert (found.loses, found.clearly) == (False, True)
    found = compared(others, better, 10, 0)
    assert (found.loses, found.clearly) == (True, True)
    loose = compared(rng.normal(-0.0001, 0.05, 200), others, 10, 0)
    assert not loose.clearly
    assert loose.ahead_low < loose.ahead < loose.ahead_high


def test_who_lost_everything_loses_without_an_interval() -> None:
    lost = np.array([0.1] * 10 + [-1.2] + [0.0] * 20)
    found = compared(lost, np.zeros(31), 10, 0)
    assert (found.loses, found.clearly, found.ahead, found.ahead_low) == (True, False, None, None)
    found = compared(np.zeros(31), lost, 10, 0)
    assert (found.loses, found.lost) == (False, True)


# ---- alpha and beta ------------------------------------------------------------------------------------------------

STATSMODELS = {
    0: (0.0013835928023494398, 0.0005543682481936844, 0.7961707792919768, 0.03546793002268766),
    3: (0.0013835928023494398, 0.0009702756594884794, 0.7961707792919768, 0.024878841026685004),
    10: (0.0013835928023494398, 0.0013021470303617385, 0.7961707792919768, 0.02120038075325069),
}
"""What statsmodels 0.15 says: OLS(y, [1, x]).fit(cov_type="HAC", cov_kwds={"maxlags": lag}), params and bse."""


def waves() -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(200.0)
    x = 0.02 * np.sin(1.7 * t) + 0.01 * np.cos(0.3 * t * t)
    return x, 0.001 + 0.8 * x + 0.01 * np.sin(0.21 * t) + 0.005 * np.cos(2.9 * t * np.sqrt(2))


@pytest.mark.parametrize("lag", STATSMODELS)
def test_alpha_and_beta_are_those_of_statsmodels(lag) -> None:
    x, y = waves()
    found = line(y, x, lag)
    assert found[:4] == pytest.approx(STATSMODELS[lag], rel=1e-9)
    low, high = found.interval(found.slope, found.slope_error)
    assert (low + high) / 2 == pytest.approx(found.slope)
    assert (high - low) / 2 == pytest.approx(1.959963984540054 * found.slope_error)


def test_alpha_and_beta_against_statsmodels_itself() -> None:
    api = pytest.importorskip("statsmodels.api", reason="an oracle: install statsmodels")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.standard_t(4, 60 + 10 * seed) * 0.02
        y = 0.3 * x + np.convolve(rng.normal(0, 0.03, len(x)), np.ones(5) / 5, "same")
        fit = api.OLS(y, api.add_constant(x)).fit(cov_type="HAC", cov_kwds={"maxlags": seed})
        expected = (fit.params[0], fit.bse[0], fit.params[1], fit.bse[1])
        assert line(y, x, seed)[:4] == pytest.approx(expected, rel=1e-9)


def test_days_without_a_return_are_left_out() -> None:
    x, y = waves()
    gaps = y.copy()
    gaps[::7] = np.nan
    kept = np.isfinite(gaps)
    assert line(gaps, x, 5) == line(y[kept], x[kept], 5)
    assert line(y, np.zeros(200), 5) is None
    assert line(y[:19], x[:19], 5) is None


# ---- lots ----------------------------------------------------------------------------------------------------------


def test_whoever_takes_all_had_no_choice() -> None:
    found, *_ = judged(lambda known, coins: (coins, [0.1] * 8))
    assert found.lots.percentile is None
    assert found.lots.without_choice == found.lots.decisions > 0


def test_a_selection_that_knows_tomorrow_ranks_first() -> None:
    market = random_market()
    best = np.argsort(-market["close"][5:, :-1] / market["close"][:-5, :-1], axis=1)[:, :2]

    def seer(known, coins):
        row = len(known.days) - 1
        found = sorted(coins[place] for place in best[min(row, len(best) - 1)])
        return found, [0.4, 0.4]

    found, *_ = judged(seer, market=market)
    assert found.lots.percentile == 100.0
    assert found.lots.sharpe > found.lots.drawn_high >= found.lots.drawn_median >= found.lots.drawn_low
    again, *_ = judged(seer, market=market)
    assert again == found
    other, *_ = judged(seer, market=market, walk_forward=WALK.model_copy(update={"seed": 1}))
    assert other.lots.seed == 1
    assert other.lots.drawn_median != found.lots.drawn_median
    assert other.final_wealth == found.final_wealth


# ---- legs ----------------------------------------------------------------------------------------------------------


def test_legs_by_hand() -> None:
    """One coin bought at 100 that ends at 110, one sold at 100 that ends at 90, both for half; 10 bp, 10 % a year."""
    close = np.array([[100.0, 100.0], [105.0, 95.0], [110.0, 90.0]])
    open_ = np.array([[100.0, 100.0], [100.0, 100.0], [105.0, 95.0]])
    costs = Costs(fee=0.001, slippage=0.0, borrow=0.1)
    book = simulate(prices(close, open_), [Target(0, 0, np.array([0.5, -0.5]))], costs)
    found = legs(book, 0)
    assert found.long == pytest.approx(0.05)
    assert found.short == pytest.approx(0.05)
    assert found.cost == pytest.approx(0.001)
    assert found.carry == pytest.approx(0.1 / 365 * 0.5 * (0.95 + 0.90))
    assert found.total == pytest.approx(0.1 - found.cost - found.carry)


@pytest.mark.parametrize("seed", range(12))
def test_legs_add_up(seed) -> None:
    """Also with holes, delistings and liquidations, and from any day on."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.12, (60, 6)), axis=0))
    close[rng.random(close.shape) < 0.04] = np.nan
    close[30:34, 0] = close[40:, 1] = np.nan
    targets = [Target(row, row % 3, rng.normal(0, 0.3, 6)) for row in range(2, 55)]
    book = simulate(prices(close), targets, Costs(), n_tranches=3, margin=Margin())
    for counted in (0, 2, 20):
        found = legs(book, counted)
        change = book.nav[-1] / book.previous_nav[counted] - 1.0
        assert found.total == pytest.approx(change, abs=1e-9)
        assert found.long + found.short - found.cost - found.carry == pytest.approx(change, abs=1e-9)


# ---- capacity ------------------------------------------------------------------------------------------------------


def test_depth_is_known_at_the_close_and_counts_a_missing_day_as_no_trade() -> None:
    market = random_market(100, 4, volume=1e6)
    volume = np.random.default_rng(5).lognormal(14, 1, (100, 4))
    close = market["close"].copy()
    close[60:63, 1] = volume[60:63, 1] = np.nan
    gaps = make_market(close)
    market = replace(gaps, fields={**gaps.fields, "value_traded": volume})
    found = model.depth(market, 70, np.array([0, 1, 3]))
    returns = market.returns()
    for row, column in itertools.product(range(70, 100), (0, 1, 3)):
        traded = np.median(np.nan_to_num(volume[row - 19 : row + 1, column]))
        spread = np.nanstd(returns[row - 59 : row + 1, column], ddof=1)
        assert found.volume[row, column] == pytest.approx(traded, rel=1e-12)
        assert found.impact[row, column] == pytest.approx(spread / np.sqrt(traded), rel=1e-9)
    assert np.isnan(found.impact[:, 2]).all()


def growing(known, coins):
    """Two coins, and the two others when the tranche's turn comes again: everything is traded."""
    return list(coins[:2] if len(known.days) % 2 else coins[2:4]), [0.4, 0.4]


def rising_market(volume: float) -> Market:
    market = random_market(160, 9, seed=2, volume=volume)
    lift = np.exp(0.01 * np.arange(160))[:, None]
    names = ("open", "high", "low", "close")
    return replace(market, fields={**market.fields, **{name: market[name] * lift for name in names}})


def test_capacity_grows_with_what_is_traded() -> None:
    """Ten times the volume carries ten times the capital, and a book that trades little of it pays next to nothing."""
    found = [judged(growing, market=rising_market(volume))[0].capacity for volume in (1e5, 1e6, 1e7)]
    carried = [one.capacity for one in found]
    assert carried[1] == pytest.approx(10 * carried[0])
    assert carried[2] == pytest.approx(10 * carried[1])
    ends = [[at.final_wealth for at in one.at] for one in found]
    assert ends[0][0] == pytest.approx(ends[1][1], rel=1e-9)
    assert ends[1][0] == pytest.approx(ends[2][1], rel=1e-9)
    assert all(one == sorted(one, reverse=True) for one in ends)
    deep, *_ = judged(growing, market=rising_market(1e15))
    assert deep.capacity.at[0].final_wealth == pytest.approx(deep.final_wealth, rel=1e-4)
    assert deep.capacity.capacity == 1e8


def test_half_of_the_growth_is_kept_up_to_the_capacity_and_not_beyond() -> None:
    found, market, asked, result = judged(growing, market=rising_market(1e6))
    carried = found.capacity.capacity
    known = model.depth(market, result.held.first - 1, np.array([0, 1, 2, 3]))
    flat = model.growth(result.books["hrp"].returns[result.counted :])

    def grown(capital: float) -> float:
        targets, costs = result.held.targets["hrp"], asked.costs
        bars = prices_of(market, costs)
        book = simulate(bars, targets, costs, n_tranches=5, margin=asked.margin, initial=capital, impact=known.impact)
        return model.growth(book.returns[result.counted :])

    following = next(step for step in model.STEPS if step > carried)
    assert grown(carried) > flat / 2 >= grown(following)


def test_orders_beyond_a_tenth_of_the_volume_are_named() -> None:
    """0.08 of 100,000 a tranche and coin: 8,000 of 50,000 traded; and a book that does not grow carries nothing."""
    falling = rising_market(5e4)
    sink = np.exp(-0.03 * np.arange(160))[:, None]
    names = ("open", "high", "low", "close")
    falling = replace(falling, fields={**falling.fields, **{name: falling[name] * sink for name in names}})
    found, *_ = judged(growing, market=falling)
    assert found.capacity.capacity is None
    assert found.capacity.flat_growth < 0.0
    small, _, large = found.capacity.at
    assert set(small.untradable) == set(falling.symbols[:4])
    assert sum(small.untradable.values()) < sum(large.untradable.values()) <= large.orders
