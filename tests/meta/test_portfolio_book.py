"""The walk-forward of a portfolio is a book of coins: added up here in plain loops, and held by a sleeve's own run."""

import datetime as dt
import math
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.base.errors import GateError
from assay.meta.alignment import Aligned, SleeveRecord, align
from assay.meta.walk import Footing, account_of, limit, walk
from assay.pipeline.context import market_of
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.run import Run
from assay.settings import load
from assay.settings.model import RISK_PROFILES, Costs, MetaProfile

from .conftest import SHORTS, SLEEVES

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))
from evaluation_markets import make_market

FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0)


def normal(_instant):
    return "NORMAL"


# --- a small portfolio by hand ----------------------------------------------------------------------------------------


def small_world(n_days=95, seed=3):
    """Two sleeves of three coins: one is long of A and B, the other long of A and short of C, sizes changing daily."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.03, (n_days, 4)), axis=0))
    market = make_market(close, open_=close * np.exp(rng.normal(0.0, 0.01, close.shape)))
    names = market.symbols
    records = {}
    for sleeve, signs in (("s0", (1.0, 1.0, 0.0, 0.0)), ("s1", (1.0, 0.0, -1.0, 0.0))):
        decided, tranches = {}, {}
        for at, day in enumerate(market.days):
            instant = np.datetime64(day + 1, "us")
            sizes = rng.uniform(0.1, 0.45, 4) * signs
            decided[instant] = {} if at % 7 == 0 else {n: w for n, w in zip(names, sizes.tolist(), strict=True) if w}
            tranches[instant] = int(day.astype(np.int64)) % 10
        rows = rng.normal(0.001, 0.02, n_days)
        records[sleeve] = SleeveRecord(market.days, rows, np.full(n_days, 0.6), decided, tranches)
    return market, align(records, 60, "hrp")


def ground(market, profile):
    account = load().profile(SLEEVES[0]).model_copy(update={"benchmark": market.symbols[0]})
    return Footing(market, account_of({"s0": account, "s1": account}, profile))


def settings(**values):
    return MetaProfile(name="m", sleeves=("s0", "s1"), **values)


def by_hand(market, decisions, weights_of, costs, limit_of_a_coin):  # noqa: C901 - one plain loop, on purpose
    """NAV of each day from the first fill, in plain numbers: ten tranches, units, cash, fees, borrow, delistings."""
    open_, close = market["open"].tolist(), market["close"].tolist()
    coins = range(len(market.symbols))
    cash, held, last, missing = 1.0, [[0.0] * len(coins) for _ in range(10)], [0.0] * len(coins), [0] * len(coins)
    orders, navs = {}, []
    first = min(decisions)
    for row in range(first, len(close)):
        for coin in coins:
            there = close[row][coin] == close[row][coin]
            missing[coin] = 0 if there else missing[coin] + 1
            last[coin] = close[row][coin] if there else last[coin]
        tranche, wanted = orders.pop(row, (0, held[0]))
        for coin in coins:
            order = wanted[coin] - held[tranche][coin]
            if order and not missing[coin]:
                price = open_[row][coin] * (1.0 + math.copysign(costs.slippage, order))
                cash -= order * price + costs.fee * abs(order) * price
                held[tranche][coin] = wanted[coin]
        units = [sum(own[coin] for own in held) for coin in coins]
        cash -= sum(-units[coin] * last[coin] for coin in coins if units[coin] < 0.0) * costs.borrow / 365.0
        for coin in coins:
            if missing[coin] == 3 and units[coin]:
                cash += units[coin] * last[coin] * (1.0 - math.copysign(costs.delisting_haircut, units[coin]))
                units[coin] = 0.0
                for own in held:
                    own[coin] = 0.0
        nav = cash + sum(units[coin] * last[coin] for coin in coins)
        if row > first:
            navs.append(nav)
        if row in decisions:
            tranche, sleeves = decisions[row]
            net = [0.0] * len(coins)
            for coin, symbol in enumerate(market.symbols):
                parts = [share * own.get(symbol, 0.0) for share, own in zip(weights_of(row), sleeves, strict=True)]
                gross = sum(abs(part) for part in parts)
                net[coin] = sum(parts) * min(1.0, limit_of_a_coin / gross) if gross else 0.0
            orders[row + 1] = tranche, [net[coin] * nav / 10.0 / last[coin] if net[coin] else 0.0 for coin in coins]
    return navs


@pytest.mark.parametrize("max_coin", [0.15, 1.0])
def test_a_portfolio_of_two_sleeves_is_added_up_by_hand(max_coin):
    market, aligned = small_world()
    profile = settings(max_coin=max_coin)
    found = walk({"equal_weight": aligned}, profile, ground(market, profile), normal)
    decisions = {}
    for row in range(59, len(market.days) - 1):
        instant = np.datetime64(market.days[row] + 1, "us")
        tranche = int(market.days[row].astype(np.int64)) % 10
        decisions[row] = tranche, [record.decided[instant] for record in aligned.records]
    navs = by_hand(market, decisions, lambda _row: (0.5, 0.5), Costs(), max_coin)
    assert found.held.books["equal_weight"].nav == pytest.approx(navs, rel=1e-10)
    assert len(found.held.days) == 35
    assert found.held.counted == 9


def test_what_sleeves_bring_is_what_the_book_earned():
    market, aligned = small_world()
    found = walk({"hrp": aligned}, settings(), ground(market, settings()), normal)
    book = found.held.books["hrp"]
    assert math.fsum(found.earned("hrp")) == pytest.approx(float(book.nav[-1]) - 1.0, abs=1e-10)


def test_the_limit_is_on_gross_before_netting():
    coins, to_cash = limit(np.array([0.5, 0.5]), [{"A": 1.0}, {"A": -1.0}], 0.15)
    assert coins["A"].tolist() == pytest.approx([0.075, -0.075])
    assert to_cash == pytest.approx(0.85)


@pytest.mark.parametrize("name", RISK_PROFILES)
def test_what_comes_later_changes_no_earlier_decision(name):
    market, aligned = small_world()
    noise = aligned.returns.copy()
    noise[80:] = np.random.default_rng(3).normal(0, 0.5, noise[80:].shape)
    other = Aligned(aligned.sleeves, aligned.days, noise, aligned.gross, aligned.records)
    one, two = (walk({name: own}, settings(), ground(market, settings()), normal) for own in (aligned, other))
    before = [(a.profiles[name], b.profiles[name]) for row, a in one.blends.items() for b in [two.blends[row]]]
    same = [(a.weights == b.weights).all() for a, b in before]
    assert all(same[:21])
    assert not all(same[21:]) or name == "equal_weight"
    assert (one.held.books[name].nav[:21] == two.held.books[name].nav[:21]).all()


def test_a_day_with_too_few_sleeves_is_cash_with_its_reason():
    market, aligned = small_world()
    gross = aligned.gross.copy()
    gross[:, 0] = 0.1
    poor = Aligned(aligned.sleeves, aligned.days, aligned.returns, gross, aligned.records)
    found = walk({"hrp": poor}, settings(), ground(market, settings()), normal)
    assert {blends.profiles["hrp"].reason for blends in found.blends.values()} == {"META_TOO_FEW_SLEEVES"}
    assert (found.held.books["hrp"].nav == 1.0).all()
    alone = walk({"hrp": poor}, settings(), ground(market, settings()), normal, single=True)
    assert (next(iter(alone.blends.values())).profiles["hrp"].weights == [0.0, 1.0]).all()


def test_sixty_days_are_a_decision_and_no_walk():
    market, aligned = small_world(60)
    found = walk({"hrp": aligned}, settings(), ground(market, settings()), normal)
    assert all(frame.is_empty() for frame in found.frames().values())
    assert found.statistics()["as_run"]["hrp"]["days"] == 0


def test_sleeves_in_other_tranches_are_refused_by_name():
    profile = load().profile(SLEEVES[0])
    other = load(settings=["walk_forward.tranches=5"]).profile(SLEEVES[0])
    with pytest.raises(GateError, match="in 5 tranches") as refused:
        account_of({"a": profile, "b": other}, settings())
    assert refused.value.code == "META_GRID"
    with pytest.raises(GateError, match="hold is 5"):
        account_of({"a": profile}, settings(hold=5))


def test_the_account_never_pays_less_than_a_sleeve():
    dear = load(settings=["costs.fee=0.01"]).profile(SLEEVES[0])
    account = account_of({"a": load().profile(SLEEVES[0]), "b": dear}, settings(costs=FREE))
    assert (account.costs.fee, account.costs.slippage, account.costs.borrow) == (0.01, 0.0005, 0.10)


# --- sealed portfolios ------------------------------------------------------------------------------------------------


def test_a_portfolio_of_one_sleeve_is_that_sleeve_begun_on_the_same_day(assembly, tmp_path):
    """With the whole weight on one sleeve and no limit per coin, the book is the sleeve's own, run from that day."""
    sleeve = SLEEVES[1]
    single = MetaProfile(name="single", sleeves=(sleeve,), allow_single=True, max_coin=1.0, min_gross=0.0)
    folder, outcome = assembly.run(assembly.request(single))
    assert outcome.state == "VALID", outcome.error
    mine = Run(folder)
    began = mine[layout.WALK_DECISIONS]["as_of"].min() - dt.timedelta(days=1)
    told = load(settings=[*SHORTS, f"walk_forward.start={began.date()}"])
    home = Home(tmp_path)  # of its own: other tests tell which runs lie in the assembly's
    [request] = requests(home, told, lay_foundation(home, told, "sample"), [sleeve])
    assert execute(request).state == "VALID"
    own = Run(request.run)
    keys = ["risk_profile", "date"]
    for name in ("nav", "ret", "gross", "net", "cash", "turnover", "cost", "borrow", "level", "worst_level"):
        a, b = (run[layout.WALK_RETURNS].sort(keys)[name] for run in (mine, own))
        assert a.fill_null(9.9).to_list() == pytest.approx(b.fill_null(9.9).to_list(), rel=1e-9, abs=1e-12), name
    assert mine[layout.WALK_RETURNS]["counted"].sum() == own[layout.WALK_RETURNS]["counted"].sum()
    assert mine[layout.WALK_TRADES].height == own[layout.WALK_TRADES].height
    for name, book in own[layout.HOLDINGS].profiles.items():
        held = {asset.Symbol: asset.Held for asset in mine[layout.HOLDINGS].profiles[name].assets}
        assert held == pytest.approx({asset.Symbol: asset.Held for asset in book.assets}, rel=1e-9)


def test_the_canonical_portfolio_is_added_up_from_its_sleeves_and_the_lake(portfolio):
    """NAV of each day from the recorded weights of sleeves, the sleeves' own tables, and bars, in plain loops."""
    run = Run(portfolio)
    market = market_of(run.leaf.of_sleeve)
    turns = run[layout.WALK_DECISIONS].filter(pl.col("risk_profile") == "hrp").sort("as_of")
    coins = [
        {
            at: dict(rows.select("symbol", "net_weight").iter_rows())
            for (at,), rows in table.filter(pl.col("risk_profile") == "hrp").group_by("as_of")
        }
        for table in (run.beside(one.run_id)[layout.WALK_WEIGHTS] for one in run.accepted)
    ]
    decisions, shares = {}, {}
    for turn in turns.iter_rows(named=True):
        row = int(np.searchsorted(market.days, np.datetime64(turn["fill_date"]))) - 1
        decisions[row] = turn["tranche"], [own.get(turn["as_of"], {}) for own in coins]
        shares[row] = [turn[f"weight {one.sleeve}"] for one in run.accepted]
    assert "liquidation" not in run[layout.WALK_TRADES]["reason"].to_list()  # the loops below know of none
    navs = by_hand(market, decisions, shares.__getitem__, Costs(), 0.15)
    told = run[layout.WALK_RETURNS].filter(pl.col("risk_profile") == "hrp").sort("date")["nav"].to_list()
    assert told == pytest.approx(navs, rel=1e-9)
