"""The book against an account that is kept by hand, on generated books of every kind, and the rules of margin."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from account_by_hand import keep
from evaluation_markets import generated, prices

from assay.backtest.book import BookResult, Prices, Target, simulate
from assay.settings.model import Costs, Margin
from assay.sources import open_source

NAN = float("nan")
FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.0)
BARE = Margin(liquidation_fee=0.0)
BOOKS = 200
FIELDS = ("open", "high", "low", "close", "listing", "borrow")


def by_hand(bars: Prices, targets: list[Target], costs: Costs, n_tranches: int, margin: Margin | None):
    plain = {name: getattr(bars, name).tolist() for name in FIELDS}
    told = [(target.row, target.tranche, target.weights.tolist()) for target in targets]
    kept = None if margin is None else margin.model_dump()
    return keep(plain, told, costs.model_dump(), n_tranches, kept)


def compare(seed: int, margin: Margin | None) -> BookResult:
    """Keep one account twice; NAV, cash, quantities and trades agree to 1e-12 of what the account moves."""
    bars, targets, n_tranches, costs = generated(seed)
    book = simulate(bars, targets, costs, n_tranches=n_tranches, margin=margin)
    account, told = by_hand(bars, targets, costs, n_tranches, margin)
    scale = 1.0 + book.gross_value.max()
    np.testing.assert_allclose(book.nav, np.array(told["nav"], dtype=float), rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(book.cash, np.array(told["cash"], dtype=float), rtol=1e-12, atol=1e-12 * scale)
    units = np.array(told["units"], dtype=float)
    np.testing.assert_allclose(book.quantities, units[:, book.columns], rtol=1e-12, atol=1e-12 * scale)
    parts = np.array(account.parts, dtype=float)
    np.testing.assert_allclose(book.by_tranche, parts[:, book.columns], rtol=1e-12, atol=1e-12 * scale)
    assert (book.liquidation_moment or "") == account.ended
    # What is left of a sum of decimals is no trade of the other side.
    mine = [(r, c, q, p, why) for r, c, q, p, why in told_trades(book) if abs(q * p) > 1e-11 * scale]
    theirs = sorted((d, c, float(q), float(p), why) for d, c, q, p, why in account.trades if abs(q * p) > 1e-11 * scale)
    assert [(row, column, why) for row, column, _, _, why in mine] == [(d, c, why) for d, c, _, _, why in theirs]
    for at in (2, 3):
        np.testing.assert_allclose(
            [each[at] for each in mine], [each[at] for each in theirs], rtol=1e-12, atol=1e-12 * scale
        )
    held = set(book.columns.tolist())
    assert sorted(zip(book.cancelled.row.tolist(), book.cancelled.column.tolist(), strict=True)) == sorted(
        (day, coin) for day, coin in account.cancelled if coin in held
    )
    return book


def told_trades(book: BookResult) -> list[tuple]:
    trades = book.trades
    names = ("row", "column", "quantity", "price", "reason")
    return sorted(zip(*(getattr(trades, name).tolist() for name in names), strict=True))


def test_agrees_with_an_account_kept_by_hand_on_200_books():
    moments = Counter(compare(seed, Margin()).liquidation_moment for seed in range(BOOKS))
    assert sum(count for moment, count in moments.items() if moment) >= 50
    assert min(moments[moment] for moment in ("open", "day", "close")) >= 5, moments
    assert moments[None] >= 50


def test_agrees_without_a_margin_too():
    moments = Counter(compare(seed, None).liquidation_moment for seed in range(0, BOOKS, 4))
    assert set(moments) <= {None, "close"}


# ---- the rules of margin, one by one ------------------------------------------------------------------------------


def one_day(weights, open_, high, low, close, *, margin=BARE, costs=FREE, **others) -> BookResult:
    """Decided at a close of 100 of every coin, filled at the next day's open; the third day says the same again."""
    before = np.full(len(weights), 100.0)
    rows = [np.vstack([before, np.array(day, dtype=float), np.array(day, dtype=float)]) for day in (open_, high, low)]
    last = np.vstack([before, np.array(close, dtype=float), np.array(close, dtype=float)])
    bars = prices(last, *rows, borrow=costs.borrow, **others)
    return simulate(bars, [Target(0, 0, np.array(weights))], costs, margin=margin)


def test_a_short_that_rises_within_the_day_is_closed_where_the_level_is_the_maintenance():
    """Short 1 at 100: assets 2, liabilities p / 100: it ends at 2 / 1.1 of them, though it closed at 120."""
    book = one_day([-1.0], [100.0], [190.0], [95.0], [120.0])
    assert (book.liquidated, book.liquidation_moment) == (1, "day")
    assert book.trades.price.tolist() == pytest.approx([100.0, 200.0 / 1.1])
    assert book.nav.tolist() == pytest.approx([2.0 - 2.0 / 1.1] * 2)
    assert book.level.tolist() == [pytest.approx(2.0 / 1.9), np.inf]
    assert book.trades.cause.tolist() == ["", "day"]


def test_a_short_whose_high_leaves_the_maintenance_lives():
    """2 / 1.8 = 1.111 is enough, 2 / 1.82 is not."""
    assert one_day([-1.0], [100.0], [180.0], [95.0], [120.0]).liquidated is None
    assert one_day([-1.0], [100.0], [182.0], [95.0], [120.0]).liquidated == 1
    alive = one_day([-1.0], [100.0], [180.0], [95.0], [120.0])
    assert alive.level.tolist() == pytest.approx([2.0 / 1.8] * 2)


def test_a_coin_that_opens_beyond_the_maintenance_goes_at_its_open():
    """Held since the day before; it opens at 185, where assets of 2 are 1.08 times the liabilities."""
    close = np.array([[100.0], [100.0], [150.0], [150.0]])
    open_ = np.array([[100.0], [100.0], [185.0], [150.0]])
    book = simulate(prices(close, open_, borrow=0.0), [Target(0, 0, np.array([-1.0]))], FREE, margin=BARE)
    assert (book.liquidated, book.liquidation_moment) == (2, "open")
    assert book.trades.price[-1] == 185.0
    assert book.nav.tolist() == pytest.approx([1.0, 0.15, 0.15])


def test_a_long_that_opens_beyond_the_maintenance_goes_at_its_open():
    """Five times long; it opens at 86, beyond the 88 at which its debt of 4 would be covered 1.1 times."""
    close = np.array([[100.0], [100.0], [99.0], [99.0]])
    open_ = np.array([[100.0], [100.0], [86.0], [99.0]])
    book = simulate(prices(close, open_), [Target(0, 0, np.array([5.0]))], FREE, margin=BARE)
    assert (book.liquidated, book.liquidation_moment) == (2, "open")
    assert book.nav.tolist() == pytest.approx([1.0, 0.3, 0.3])


def test_the_maintenance_itself_is_enough():
    """2 / 1.6 is 1.25 to the bit."""
    margin = Margin(maintenance=1.25, liquidation_fee=0.0)
    assert one_day([-1.0], [100.0], [160.0], [95.0], [160.0], margin=margin).liquidated is None


def test_a_leveraged_long_is_closed_at_its_low():
    """Five times long at 100: 5 p / 100 against a debt of 4; at 88 it is 1.1 times, whatever the close."""
    book = one_day([5.0], [100.0], [101.0], [85.0], [99.0])
    assert book.liquidation_moment == "day"
    assert book.trades.price[-1] == pytest.approx(88.0)
    assert book.nav[-1] == pytest.approx(0.4)
    opened = one_day([5.0], [100.0], [101.0], [88.5], [99.0])
    assert opened.liquidated is None


def test_only_the_coin_that_costs_most_stands_at_its_worst():
    """Both shorts reach 1.7 times; one at a time the account lives, both at once it would not, and that is told too."""
    book = one_day([-0.5, -0.5], [100.0, 100.0], [170.0, 190.0], [99.0, 99.0], [100.0, 100.0])
    assert book.liquidated is None
    assert book.level.tolist() == pytest.approx([2.0 / 1.45] * 2)
    assert book.worst_level.tolist() == pytest.approx([2.0 / 1.8] * 2)
    assert book.largest.tolist() == pytest.approx([0.5] * 2)


def test_the_largest_coin_is_told_after_its_weight_has_drifted():
    """Half and a tenth are bought at 100; the half doubles while the tenth falls by half: 1 of 1.45."""
    book = one_day([0.5, 0.1], [100.0, 100.0], [200.0, 100.0], [100.0, 50.0], [200.0, 50.0])
    assert book.largest[-1] == pytest.approx(1.0 / 1.45)


def test_what_costs_most_is_counted_in_money_against_the_close():
    """The first rises more in percent and from a lower close; the second costs more, being five times as large."""
    book = one_day([-0.2, -1.0], [100.0, 100.0], [190.0, 150.0], [90.0, 90.0], [100.0, 100.0])
    assert book.level[0] == pytest.approx(2.2 / (0.2 + 1.5))
    near = one_day([-0.5, -0.5], [100.0, 100.0], [150.0, 140.0], [90.0, 90.0], [149.0, 100.0])
    assert near.level[0] == pytest.approx(2.0 / (0.745 + 0.7))  # the second's high is further from its close


def test_the_others_are_closed_at_the_close():
    book = one_day([-1.0, 0.5], [100.0, 100.0], [220.0, 110.0], [90.0, 80.0], [120.0, 90.0])
    assert book.liquidation_moment == "day"
    # cash 1.5, the long at its close 0.45: assets 1.95.
    assert book.trades.price[2:].tolist() == pytest.approx([195.0 / 1.1, 90.0])
    assert book.nav[-1] == pytest.approx(1.95 - 1.95 / 1.1)


def test_a_coin_without_a_bar_is_not_looked_at():
    """Its last close counts, and no high."""
    close = np.array([[100.0, 100.0], [100.0, 100.0], [NAN, 100.0], [100.0, 100.0]])
    high = np.array([[100.0, 100.0], [100.0, 100.0], [NAN, 100.0], [100.0, 100.0]])
    book = simulate(prices(close, high=high, borrow=0.0), [Target(0, 0, np.array([-0.5, -0.4]))], FREE, margin=BARE)
    assert book.level.tolist() == pytest.approx([1.9 / 0.9] * 3)


def test_the_look_at_the_close_comes_after_borrow():
    """A debt of a day's borrow on 1.1 times: 1.1 at the high within the day is enough, after borrow it is not."""
    rates = np.full((3, 1), 0.365 * 4)  # 0.4 % a day
    close = np.array([[100.0], [181.5], [100.0]])
    bars = replace(prices(close, np.array([[100.0], [100.0], [100.0]])), borrow=rates)
    book = simulate(bars, [Target(0, 0, np.array([-1.0]))], FREE, margin=BARE)
    assert (book.liquidated, book.liquidation_moment) == (1, "close")
    assert book.borrow[0] == pytest.approx(1.815 * 0.004)
    assert book.nav[0] == pytest.approx(2.0 - 1.815 - 1.815 * 0.004)
    free = simulate(replace(bars, borrow=rates * 0), [Target(0, 0, np.array([-1.0]))], FREE, margin=BARE)
    assert free.liquidated is None


def test_an_account_that_ends_within_the_day_owes_no_borrow_of_it():
    book = one_day([-1.0], [100.0], [190.0], [95.0], [120.0], costs=Costs(fee=0.0, slippage=0.0))
    assert book.liquidation_moment == "day"
    assert not book.borrow.any()


def test_the_look_at_the_close_comes_after_delistings():
    """Nine tenths of what is held leave a fifth below their last close."""
    close = np.array([[100.0, 100.0]] * 3 + [[NAN, 100.0]] * 3)
    costs = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.215)
    book = simulate(prices(close, borrow=0.0), [Target(0, 0, np.array([4.5, 0.5]))], costs, margin=BARE)
    assert (book.liquidated, book.liquidation_moment) == (5, "close")
    assert book.trades.reason.tolist() == ["rebalance", "rebalance", "delisting", "liquidation"]
    assert book.nav[-1] == pytest.approx(1.0 - 4.5 * 0.215)


def test_a_liquidation_pays_fees_slippage_and_a_share_of_what_it_repays():
    """Short 1 with proceeds of 0.9985: bought back at p with 5 bp and 10 bp, and 2 % of p on top."""
    costs = Costs(borrow=0.0)
    book = one_day([-1.0], [100.0], [190.0], [95.0], [120.0], costs=costs, margin=Margin())
    cash = 1.0 + 0.9995 * (1.0 - 0.001)
    owed = cash / 1.1
    assert book.nav[-1] == pytest.approx(cash - owed * 1.0005 * 1.001 - 0.02 * owed)
    assert book.cost[0] == pytest.approx(0.0005 + 0.0009995 + owed * (0.0005 + 1.0005 * 0.001 + 0.02))
    assert book.trades.fee[-1] == pytest.approx(owed * (1.0005 * 0.001 + 0.02))


def test_debts_in_cash_are_repaid_too():
    """Five times long, closed at 88: the debt of 4 costs 2 %."""
    book = one_day([5.0], [100.0], [101.0], [85.0], [99.0], margin=Margin())
    assert book.nav[-1] == pytest.approx(0.4 - 0.08)


def test_what_is_left_is_final_even_a_debt():
    """It opens at three times: nothing is left but a debt, and no later order is filled."""
    close = np.array([[100.0], [100.0], [300.0], [50.0], [50.0]])
    targets = [Target(0, 0, np.array([-1.0])), Target(2, 0, np.array([1.0]))]
    book = simulate(prices(close, borrow=0.0), targets, FREE, margin=BARE)
    assert (book.liquidated, book.liquidation_moment) == (2, "open")
    assert book.nav.tolist() == pytest.approx([1.0, -1.0, -1.0, -1.0])
    assert book.trades.row.tolist() == [1, 2]
    assert book.filled_rows.tolist() == [1]


def test_an_account_without_liabilities_has_no_level():
    book = one_day([0.5], [100.0], [100.0], [1.0], [50.0])
    assert book.level.tolist() == [np.inf] * 2
    assert book.worst_level.tolist() == [np.inf] * 2


def test_a_margin_that_is_off_looks_at_nothing():
    book = one_day([-1.0], [100.0], [190.0], [95.0], [120.0], margin=Margin(enabled=False))
    assert book.liquidated is None
    assert book.nav.tolist() == pytest.approx([0.8, 0.8])


# ---- tranches ---------------------------------------------------------------------------------------------------


def test_a_tranche_has_its_share_of_nav_and_the_others_stand_still():
    """Half of 1 in the first coin at 100, then half of the NAV of 1.5 in the second; the first stands still."""
    close = np.array([[100.0, 100.0], [200.0, 100.0], [200.0, 100.0], [200.0, 100.0]])
    open_ = np.array([[100.0, 100.0], [100.0, 100.0], [200.0, 100.0], [200.0, 100.0]])
    wanted = [(0, [1.0, 0.0]), (1, [0.0, 1.0]), (0, [0.0, 0.0])]
    targets = [Target(row, tranche, np.array(weights)) for row, (tranche, weights) in enumerate(wanted)]
    book = simulate(prices(close, open_), targets, FREE, n_tranches=2)
    assert book.quantities.tolist() == [[0.005, 0.0], [0.005, 0.0075], [0.0, 0.0075]]
    assert book.by_tranche.tolist() == [[0.0, 0.0], [0.0, 0.0075]]
    assert book.filled_rows.tolist() == [3, 2]
    assert book.counted == 2
    np.testing.assert_allclose(book.holding_pnl, [[0.5, 0.0], [0.0, 0.0], [0.0, 0.0]], atol=1e-15)


def test_tranches_net_by_coin():
    """One is long of what the other is short of: nothing is owed for borrowing, and nothing is at risk."""
    close = np.full((4, 1), 100.0)
    targets = [Target(0, 0, np.array([-1.0])), Target(1, 1, np.array([1.0]))]
    book = simulate(prices(close), targets, Costs(fee=0.0, slippage=0.0), n_tranches=2, margin=Margin())
    assert book.borrow[0] > 0.0
    assert abs(book.quantities[-1, 0]) < 1e-5
    assert book.borrow[-1] < 1e-3 * book.borrow[0]
    assert 1.0 + book.holding_pnl.sum() == pytest.approx(book.nav[-1], abs=1e-15)


def test_a_book_counts_from_the_day_on_which_all_tranches_have_entered():
    close = np.full((6, 1), 100.0)
    book = simulate(prices(close), [Target(r, r % 3, np.array([0.5])) for r in range(1, 5)], FREE, n_tranches=3)
    assert book.rows[0] == 2
    assert book.counted == 4
    assert simulate(prices(close), [Target(1, 0, np.array([0.5]))], FREE, n_tranches=3).counted is None


@pytest.mark.parametrize("seed", range(40))
def test_profits_of_tranches_add_up(seed: int):
    bars, targets, n_tranches, costs = generated(seed)
    book = simulate(bars, targets, costs, n_tranches=n_tranches, margin=Margin())
    scale = 1.0 + book.gross_value.max()
    assert abs(1.0 + book.holding_pnl.sum() - book.nav[-1]) <= 1e-11 * scale * len(book.rows)


@pytest.mark.parametrize("seed", range(20))
def test_given_units_are_held_whatever_the_account_is_worth(seed: int):
    """The same account from the units that it held."""
    bars, targets, n_tranches, costs = generated(seed)
    book = simulate(bars, targets, costs, n_tranches=n_tranches)
    by_day = []
    for index, target in enumerate(targets):
        upto = Prices(*(getattr(bars, name)[: target.row + 2] for name in FIELDS))
        filled = simulate(upto, targets[: index + 1], costs, n_tranches=n_tranches)
        units = np.zeros(bars.open.shape[1])
        units[filled.columns] = filled.by_tranche[target.tranche]
        by_day.append(replace(target, units=units))
    if book.liquidated is not None or (book.trades.reason == "delisting").any():
        return
    again = simulate(bars, by_day, costs, n_tranches=n_tranches)
    np.testing.assert_allclose(again.nav, book.nav, rtol=1e-12)


# ---- recorded targets -------------------------------------------------------------------------------------------


FOUND = json.loads((Path(__file__).parent / "held_before.json").read_text())
"""Units that books held after each fill, and their NAV, before orders were fixed at closes: of the embedded sample, and
``march``, a short one of the shared bars to 2024-04-07."""
RECORDED = FOUND["sample"]


def bars_of(frame: pl.DataFrame, symbols: list[str]) -> tuple[np.ndarray, Prices]:
    """Bars of some symbols: ``day``, ``symbol`` and prices, one row each."""
    days = np.arange(frame["day"].min(), frame["day"].max() + np.timedelta64(1, "D"), dtype="datetime64[D]")
    row = (frame["day"].to_numpy().astype("datetime64[D]") - days[0]).astype(np.int64)
    column = np.array([symbols.index(symbol) for symbol in frame["symbol"]])
    values = {}
    for name in ("open", "high", "low", "close"):
        values[name] = np.full((len(days), len(symbols)), NAN)
        values[name][row, column] = frame[name].to_numpy()
    return days, prices(values["close"], values["open"], values["high"], values["low"])


def held_as_recorded(days, bars: Prices, symbols: list[str], targets: dict, margin: Margin | None) -> BookResult:
    told = []
    for day, units in targets.items():
        row = int((np.datetime64(day) - days[0]).astype(int)) - 1
        wanted = np.array([units.get(symbol, 0.0) for symbol in symbols])
        told.append(Target(row, 0, np.zeros(len(symbols)), wanted))
    return simulate(bars, told, Costs(), margin=margin)


@pytest.mark.parametrize("profile", sorted(RECORDED))
@pytest.mark.parametrize("name", ["hrp", "max_sharpe"])
def test_recorded_targets_give_the_recorded_nav(profile: str, name: str):
    """To 1e-12, without a margin: sizes come from elsewhere, so that all the rest must be what it was."""
    recorded = RECORDED[profile][name]
    symbols = sorted({symbol for units in recorded["targets"].values() for symbol in units})
    frame = open_source("sample").read().bars.filter(pl.col("symbol").is_in(symbols))
    days, bars = bars_of(frame.with_columns(day=pl.col("open_time").dt.date()), symbols)
    book = held_as_recorded(days, bars, symbols, recorded["targets"], None)
    np.testing.assert_allclose(book.nav, recorded["nav"], rtol=1e-12)
    alive = held_as_recorded(days, bars, symbols, recorded["targets"], Margin())
    np.testing.assert_array_equal(alive.nav, book.nav)  # a margin that is kept changes nothing


@pytest.mark.parametrize("name", ["hrp", "max_sharpe"])
def test_recorded_shorts_are_liquidated_on_2024_03_29(shared: Path, name: str):
    """Their coin rose 220 % on that day; at its high the account was worth less than nothing."""
    recorded = FOUND["march"][name]
    symbols = sorted({symbol for units in recorded["targets"].values() for symbol in units})
    frame = (
        pl.scan_parquet(shared / "spot_daily_to_2024-06.parquet")
        .filter(pl.col("symbol").is_in(symbols) & pl.col("timestamp").dt.year().is_in([2023, 2024]))
        .select("symbol", "open", "high", "low", "close", day=pl.col("timestamp").dt.date())
        .filter(pl.col("day") <= pl.date(2024, 4, 7))
        .collect()
    )
    days, bars = bars_of(frame, symbols)
    book = held_as_recorded(days, bars, symbols, recorded["targets"], Margin())
    assert str(days[book.liquidated]) == "2024-03-29"
    assert book.liquidation_moment == "day"
    before = held_as_recorded(days, bars, symbols, recorded["targets"], None)
    np.testing.assert_allclose(before.nav, recorded["nav"], rtol=1e-12)
