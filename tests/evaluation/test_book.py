"""The book against closed forms and its own trades; another keeps it by hand, see ``test_book_by_hand``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_markets import prices
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.backtest.book import BookResult, Target, simulate
from assay.base.errors import DataError
from assay.settings.model import Costs, Margin

FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.0)
PAID = Costs()
NAN = float("nan")


def run(close, targets, costs=PAID, open_=None, margin=None) -> BookResult:
    """Targets are given with the row of their fill; the first is decided at a close that equals the first open."""
    close = np.asarray(close, dtype=float)
    open_ = close if open_ is None else np.asarray(open_, dtype=float)
    bars = prices(np.vstack([open_[:1], close]), np.vstack([open_[:1], open_]), borrow=costs.borrow)
    book = simulate(bars, [Target(r, 0, np.array(w, dtype=float)) for r, w in targets], costs, margin=margin)
    return replace(
        book,
        rows=book.rows - 1,
        trades=replace(book.trades, row=book.trades.row - 1),
        cancelled=replace(book.cancelled, row=book.cancelled.row - 1),
        liquidated=None if book.liquidated is None else book.liquidated - 1,
    )


# ---- closed forms -----------------------------------------------------------------------------------------------


def test_buy_and_hold_pays_fee_and_slippage_once():
    """1 unit of money at open 100: 0.01 coins at 100.05, fee 0.1 % of 1.0005; then only the price moves."""
    book = run([[100.0], [110.0], [121.0]], [(0, [1.0])], open_=[[100.0], [100.0], [110.0]])
    cash = 1.0 - 1.0005 - 0.0010005
    np.testing.assert_allclose(book.nav, [cash + 1.0, cash + 1.1, cash + 1.21], rtol=0, atol=1e-15)
    np.testing.assert_allclose(book.cash, cash, atol=1e-15)
    assert book.cost[0] == pytest.approx(0.0005 + 0.0010005, abs=1e-16)
    assert book.turnover.tolist() == [1.0, 0.0, 0.0]
    assert book.trades.price.tolist() == [pytest.approx(100.05)]


def test_round_trip_costs_twice():
    """Bought at 100.05 and sold at 99.95, 10 bp of each."""
    book = run([[100.0], [100.0]], [(0, [0.5]), (1, [0.0])])
    assert book.nav[-1] == pytest.approx(1.0 - 0.5 * (0.0005 + 0.0010005) - 0.005 * (0.05 + 0.001 * 99.95), abs=1e-15)
    assert book.quantities[-1].tolist() == [0.0]


@pytest.mark.parametrize("days", [1, 2, 10, 365])
def test_constant_short_owes_borrow_for_each_close(days: int):
    """Price never moves: the short loses its entry costs and k x 10 % / 365 of its value."""
    book = run(np.full((days, 1), 50.0), [(0, [-1.0])])
    entry = 0.0005 + 0.001 * 0.9995
    np.testing.assert_allclose(book.nav, 1.0 - entry - 0.1 / 365 * np.arange(1, days + 1), rtol=0, atol=1e-13)
    assert book.cash[0] == pytest.approx(2.0 - entry - 0.1 / 365, abs=1e-15)  # proceeds are cash


def test_borrow_follows_the_value_of_the_short():
    """Borrow of each day is taken on that day's close."""
    book = run([[100.0], [200.0], [50.0]], [(0, [-0.5])])
    np.testing.assert_allclose(book.borrow, np.array([0.5, 1.0, 0.25]) * 0.1 / 365, rtol=1e-15)


def test_longs_owe_no_borrow():
    book = run([[100.0, 100.0]] * 5, [(0, [1.0, 0.0])])
    assert not book.borrow.any()


@pytest.mark.parametrize(("weight", "left"), [(1.0, 0.9), (-1.0, 0.9), (0.5, 0.95), (-0.25, 0.975)])
def test_delisted_coin_leaves_at_last_close_less_haircut(weight: float, left: float):
    """Last bar at 100: a long sells at 90, a short buys back at 110, known at the close of the third missing day."""
    costs = Costs(fee=0.0, slippage=0.0, borrow=0.0)
    book = run([[100.0], [100.0], [NAN], [NAN], [NAN], [NAN]], [(0, [weight])], costs)
    np.testing.assert_allclose(book.nav, [1, 1, 1, 1, left, left], rtol=0, atol=1e-15)
    np.testing.assert_allclose(book.gross, [abs(weight)] * 4 + [0, 0], atol=1e-15)
    assert book.trades.reason.tolist() == ["rebalance", "delisting"]
    assert book.trades.row.tolist() == [0, 4]
    assert book.trades.price[1] == pytest.approx(90.0 if weight > 0 else 110.0)


def test_delisted_short_pays_borrow_until_it_is_known():
    costs = Costs(fee=0.0, slippage=0.0, delisting_haircut=0.0)
    book = run([[100.0], [NAN], [NAN], [NAN], [NAN]], [(0, [-1.0])], costs)
    assert book.nav[-1] == pytest.approx(1.0 - 4 * 0.1 / 365, abs=1e-15)


def test_two_missing_days_are_no_delisting():
    book = run([[100.0], [NAN], [NAN], [120.0]], [(0, [1.0])], FREE)
    np.testing.assert_allclose(book.nav, [1.0, 1.0, 1.0, 1.2], rtol=1e-15)


def test_second_listing_is_not_held():
    """A redenomination 1:1000 after four missing days brings no profit to holders of the first listing."""
    book = run([[1.0], [NAN], [NAN], [NAN], [NAN], [1000.0], [1000.0]], [(0, [1.0])], Costs(fee=0, slippage=0))
    assert book.nav[-1] == pytest.approx(0.9)
    assert not book.quantities[3:].any()


def test_new_listing_without_three_missing_days_ends_the_old_one():
    """Where the source says that another listing begins, the position leaves the first at its last close."""
    close = np.array([[1.0], [1.0], [1.0], [1000.0]])
    listing = np.array([[0], [0], [0], [1]], dtype=np.int32)
    bars = prices(close, listing=listing)
    book = simulate(bars, [Target(0, 0, np.array([1.0]))], Costs(fee=0, slippage=0))
    np.testing.assert_allclose(book.nav, [1.0, 1.0, 0.9])


def test_order_for_a_listing_that_has_ended_is_cancelled():
    """Decided at 1 on the first listing: its units mean nothing on the second one, which trades at 1000."""
    close = np.array([[1.0], [1000.0], [1000.0]])
    bars = prices(close, listing=np.array([[0], [1], [1]], dtype=np.int32))
    book = simulate(bars, [Target(0, 0, np.array([1.0]))], FREE)
    assert book.nav.tolist() == [1.0, 1.0]
    assert (book.cancelled.row.tolist(), book.cancelled.weight.tolist()) == ([1], [1.0])


def test_order_for_a_coin_without_a_price_is_cancelled():
    """What has never had a bar cannot be sized."""
    bars = prices(np.array([[NAN], [2.0], [2.0]]))
    book = simulate(bars, [Target(0, 0, np.array([1.0]))], FREE)
    assert book.trades.row.size == 0
    assert book.cancelled.row.tolist() == [1]


def test_an_account_without_margin_ends_at_a_close_that_leaves_nothing():
    """Short for the whole account; the price triples: value -3, cash 2, NAV -1, then closing costs on 3."""
    book = run([[100.0], [300.0], [50.0], [50.0]], [(0, [-1.0]), (2, [-1.0])], Costs(borrow=0.0))
    entry = 0.0005 + 0.001 * 0.9995
    debt = 1.0 - entry - 2.0 - 3.0 * (0.0005 + 0.001 * 1.0005)
    np.testing.assert_allclose(book.nav[1:], debt, atol=1e-15)
    assert book.liquidated == 1
    assert book.trades.reason.tolist() == ["rebalance", "liquidation"]
    assert book.returns[1] < -1.0  # not clipped
    assert book.returns[2:].tolist() == [0.0, 0.0]
    assert not book.gross[1:].any()


def test_equity_of_exactly_zero_is_gone():
    book = run([[100.0], [200.0], [100.0]], [(0, [-1.0])], FREE)
    assert book.nav.tolist() == [1.0, 0.0, 0.0]
    assert book.liquidated == 1
    assert book.returns.tolist() == [0.0, -1.0, 0.0]


def test_weights_drift_until_the_next_rebalance():
    """Half in a coin that doubles: 2/3 of the account, brought back to a half at the next fill."""
    book = run([[1.0], [2.0], [2.0]], [(0, [0.5]), (2, [0.5])], FREE)
    np.testing.assert_allclose(book.gross, [0.5, 2 / 3, 0.5], rtol=1e-15)
    assert book.turnover[2] == pytest.approx(2 / 3 - 0.5)


def test_net_zero_book_of_twins_stands_still():
    prices = np.exp(np.linspace(0, 2, 30))[:, None] * np.ones((1, 2))
    book = run(prices, [(0, [1.0, -1.0])], FREE)
    np.testing.assert_allclose(book.nav, 1.0, rtol=0, atol=1e-14)
    np.testing.assert_allclose(book.net, 0.0, atol=1e-14)


def test_profit_of_a_holding_carries_its_own_costs():
    """Coin 0 is held for the first period and left at the second fill, and pays for both; coin 1 follows."""
    close = [[100.0, 100.0], [110.0, 100.0], [120.0, 100.0]]
    book = run(close, [(0, [1.0, 0.0]), (2, [0.0, 0.5])])
    entry, leave = 0.0005 + 0.001 * 1.0005, 1.2 * (0.0005 + 0.001 * 0.9995)
    nav = 1.1 - entry  # at the close at which it is decided
    np.testing.assert_allclose(book.holding_pnl, [[0.2 - entry - leave, 0.0], [0.0, -0.5 * nav * entry]], atol=1e-15)


def test_orders_fill_at_the_open_of_their_bar():
    """Decided at 100, filled at 80: a hundredth of a coin, whatever it costs, and a fifth of the money stays cash."""
    open_ = np.array([[100.0], [100.0], [80.0], [80.0]])
    close = np.array([[100.0], [100.0], [80.0], [88.0]])
    book = run(close, [(2, [1.0])], FREE, open_)
    assert book.rows.tolist() == [2, 3]
    assert book.trades.quantity.tolist() == [0.01]
    np.testing.assert_allclose(book.nav, [1.0, 1.08], rtol=1e-15)
    assert book.trades.reference.tolist() == [80.0]


def test_order_without_a_bar_is_cancelled_and_recorded():
    """Coin 0 cannot be bought on row 1, coin 1 cannot be sold: cash stays cash, the holding stays."""
    close = [[10.0, 10.0], [NAN, NAN], [20.0, 20.0]]
    book = run(close, [(0, [0.0, 0.5]), (1, [0.5, 0.0])], FREE)
    np.testing.assert_allclose(book.nav, [1.0, 1.0, 1.5])
    assert book.cancelled.row.tolist() == [1, 1]
    assert book.cancelled.column.tolist() == [0, 1]
    assert book.cancelled.weight.tolist() == [0.5, 0.0]
    assert book.cancelled.quantity.tolist() == [0.0, 0.05]


def test_leverage_by_drift():
    """A fifth short in a coin that rises threefold: 0.6 of value on 0.6 of NAV, gross 1 though 0.2 was asked for."""
    book = run([[1.0], [3.0]], [(0, [-0.2])], FREE)
    assert book.nav[-1] == pytest.approx(0.6)
    assert book.gross[-1] == pytest.approx(1.0)
    assert book.net[-1] == pytest.approx(-1.0)


def test_cash_alone():
    book = run([[1.0, 1.0]] * 3, [(1, [0.0, 0.0])])
    assert book.nav.tolist() == [1.0, 1.0]
    assert book.columns.size == book.trades.row.size == 0


# ---- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "targets",
    [
        [],
        [(1, [1.0]), (1, [0.0])],
        [(1, [1.0]), (0, [0.0])],
        [(2, [1.0])],
        [(-1, [1.0])],
        [(0, [NAN])],
        [(0, [1.0, 0.0])],
    ],
)
def test_nonsense_targets_are_refused(targets):
    with pytest.raises(ValueError):
        run([[1.0], [1.0]], targets)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, NAN])
@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
def test_impossible_prices_are_refused(name: str, bad: float):
    close = np.array([[1.0], [1.0]])
    bars = replace(prices(close), **{name: np.array([[1.0], [bad]])})
    with pytest.raises(DataError):
        simulate(bars, [Target(0, 0, np.array([1.0]))], PAID)


def test_bad_bars_of_coins_never_wanted_do_not_matter():
    book = run([[1.0, -1.0], [2.0, -1.0]], [(0, [1.0, 0.0])], FREE)
    assert book.nav.tolist() == [1.0, 2.0]


# ---- properties -------------------------------------------------------------------------------------------------


@st.composite
def books(draw, sides=("long", "short", "mixed", "net-zero")):
    """Random prices with gaps and delistings, random targets every few days, on one of several kinds of books."""
    seed = draw(st.integers(0, 2**32 - 1))
    side = draw(st.sampled_from(sides))
    rng = np.random.default_rng(seed)
    n_days, n_symbols = int(rng.integers(5, 60)), int(rng.integers(2, 9))
    close = np.exp(np.cumsum(rng.normal(0, rng.choice([0.02, 0.1, 0.3]), (n_days, n_symbols)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.02, close.shape))
    gone = rng.random(close.shape) < rng.choice([0.0, 0.05, 0.4])
    for column in np.flatnonzero(rng.random(n_symbols) < 0.3):
        gone[rng.integers(1, n_days) :, column] = True
    close[gone] = open_[gone] = NAN
    targets = []
    for row in range(int(rng.integers(0, 3)), n_days - 1, int(rng.integers(1, 12))):
        weights = rng.dirichlet(np.ones(n_symbols)) * rng.choice([1.0, 1.0, 2.5])
        if side == "short":
            weights = -weights
        elif side == "mixed":
            weights = weights * rng.choice([-1.0, 1.0], n_symbols)
        elif side == "net-zero":
            weights = weights - weights.mean()
        weights[rng.random(n_symbols) < 0.3] = 0.0
        targets.append((row, weights))
    return open_, close, targets


def hold(case, costs=PAID, initial=1.0, margin=None) -> BookResult:
    open_, close, targets = case
    decided = [Target(row, 0, weights) for row, weights in targets]
    return simulate(prices(close, open_, borrow=costs.borrow), decided, costs, margin=margin, initial=initial)


@settings(max_examples=150, deadline=None)
@given(books())
def test_nav_is_cash_and_holdings_rebuilt_from_the_trades(case):
    """Cash from trades and borrow, quantities from trades, marks from the closes: nothing is lost on any day."""
    _, close, _ = case
    book = hold(case)
    trades, last = book.trades, {}
    cash, held = 1.0, dict.fromkeys(book.columns.tolist(), 0.0)
    for day, row in enumerate(book.rows.tolist()):
        for i in np.flatnonzero(trades.row == row):
            held[int(trades.column[i])] += trades.quantity[i]
            cash -= trades.quantity[i] * trades.price[i] + trades.fee[i]
        cash -= book.borrow[day]
        last |= {column: close[row, column] for column in held if np.isfinite(close[row, column])}
        nav = cash + sum(quantity * last.get(column, 0.0) for column, quantity in held.items())
        scale = 1.0 + book.gross_value[: day + 1].max()
        assert abs(book.nav[day] - nav) <= 1e-11 * scale
        assert abs(book.cash[day] - cash) <= 1e-11 * scale
        np.testing.assert_allclose(book.quantities[day], [held[c] for c in book.columns.tolist()], atol=1e-11)
    np.testing.assert_array_equal(book.nav, book.cash + sum((book.quantities * book.marks).T))


@settings(max_examples=100, deadline=None)
@given(books())
def test_profits_of_holdings_add_up(case):
    book = hold(case)
    scale = 1.0 + book.gross_value.max()
    assert abs(1.0 + book.holding_pnl.sum() - book.nav[-1]) <= 1e-11 * scale * len(book.rows)


@settings(max_examples=50, deadline=None)
@given(books(), st.integers(-3, 12))
def test_scaling_the_account_scales_everything(case, power: int):
    """By a power of two, so that floating point agrees to the bit."""
    factor = 2.0**power
    one, other = hold(case), hold(case, initial=factor)
    np.testing.assert_array_equal(other.nav, one.nav * factor)
    np.testing.assert_array_equal(other.quantities, one.quantities * factor)
    np.testing.assert_array_equal(other.returns, one.returns)
    np.testing.assert_array_equal(other.trades.fee, one.trades.fee * factor)
    assert other.liquidated == one.liquidated


@settings(max_examples=50, deadline=None)
@given(books(sides=("long", "mixed")))
def test_mirrored_books_cancel_before_costs(case):
    """Until either is liquidated, what one of two opposite holdings gains the other loses."""
    open_, close, targets = case
    row, weights = targets[0]
    one = hold((open_, close, [(row, weights)]), FREE)
    other = hold((open_, close, [(row, -weights)]), FREE)
    ends = [book.liquidated - row - 1 for book in (one, other) if book.liquidated is not None]
    alive = slice(0, min(ends, default=len(one.rows)))
    np.testing.assert_allclose((one.nav + other.nav)[alive], 2.0, rtol=0, atol=1e-9 * (1 + one.gross_value.max()))


@settings(max_examples=50, deadline=None)
@given(books())
def test_costs_never_help(case):
    """The same fills without costs end no lower; compared until either account is liquidated."""
    open_, close, targets = case
    single = (open_, close, targets[:1])
    free, paid = hold(single, FREE), hold(single, PAID)
    ends = [book.liquidated - targets[0][0] - 1 for book in (free, paid) if book.liquidated is not None]
    alive = slice(0, min(ends, default=len(free.rows)))
    assert (paid.nav[alive] <= free.nav[alive] + 1e-12 * (1 + free.gross_value.max())).all()


@settings(max_examples=50, deadline=None)
@given(books(), st.data())
def test_no_day_depends_on_a_later_bar(case, data):
    """Everything after a date replaced by other bars, none, or a delisting: nothing before it changes by a bit."""
    open_, close, targets = case
    cut = data.draw(st.integers(targets[0][0] + 1, len(close) - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    noisy_open, noisy_close = open_.copy(), close.copy()
    noisy_close[cut + 1 :] = np.where(rng.random(close[cut + 1 :].shape) < 0.3, NAN, rng.lognormal(0, 1))
    noisy_open[cut + 1 :] = noisy_close[cut + 1 :]
    kept = [(row, weights) for row, weights in targets if row <= cut]
    later = [(row, -weights[::-1]) for row, weights in targets if row > cut]
    margin = data.draw(st.sampled_from([None, Margin()]))
    before, after = hold(case, margin=margin), hold((noisy_open, noisy_close, kept + later), margin=margin)
    upto = cut - targets[0][0]
    np.testing.assert_array_equal(before.nav[:upto], after.nav[:upto])
    np.testing.assert_array_equal(before.cash[:upto], after.cash[:upto])
    np.testing.assert_array_equal(before.level[:upto], after.level[:upto])


# ---- holes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "day", "cause"), [(1, 6, "delisting"), (2, 14, "hole_too_long"), (3, 14, "hole_too_long")]
)
def test_a_hole_sells_by_its_owner(owner, day, cause):
    """Days that the coin owns (1) end it on the third, those of the market (2) and refused ones (3) on the eleventh."""
    close = np.full((20, 1), 2.0)
    close[4:] = np.nan
    listing = np.where(np.isnan(close), -owner, 0).astype(np.int32)
    bars = prices(close, listing=listing)
    book = simulate(bars, [Target(0, 0, np.array([1.0]))], Costs(fee=0, slippage=0, delisting_haircut=0.1))
    assert book.trades.row.tolist() == [1, day]
    assert book.trades.reason.tolist() == ["rebalance", "delisting"]
    assert book.trades.cause.tolist() == ["", cause]
    assert book.nav[day - 2 : day] == pytest.approx([1.0, 0.9])


def test_an_order_moves_its_price_by_the_root_of_its_value() -> None:
    """10,000 at 100, 5 bp and 1e-4 x sqrt(value): bought 105 bp above the open."""
    close = np.full((5, 1), 100.0)
    targets = [Target(0, 0, np.array([1.0])), Target(2, 0, np.array([0.0]))]
    impact = np.full((5, 1), np.nan)
    impact[0], impact[2] = 1e-4, 2e-4  # as known at each decision
    costs = Costs(fee=0.0, slippage=0.0005, borrow=0.0)
    book = simulate(prices(close), targets, costs, initial=10_000.0, impact=impact)
    bought = 100.0 * (1 + 0.0005 + 1e-4 * 100.0)
    sold = 100.0 * (1 - 0.0005 - 2e-4 * 100.0)
    assert book.trades.price.tolist() == pytest.approx([bought, sold], rel=1e-14)
    assert book.nav[-1] == pytest.approx(10_000.0 - 100.0 * bought + 100.0 * sold, rel=1e-14)


def test_no_sale_brings_less_than_nothing() -> None:
    """A coin that nobody orders may be of no market at all."""
    close = np.full((5, 2), 100.0)
    targets = [Target(0, 0, np.array([1.0, 0.0])), Target(2, 0, np.zeros(2)), Target(3, 0, np.array([0.0, 1.0]))]
    impact = np.array([[0.0, np.inf], [0.0, np.nan], [np.inf, np.inf], [0.0, 0.0], [0.0, 0.0]])
    book = simulate(prices(close), targets, Costs(fee=0.0, slippage=0.0, borrow=0.0), impact=impact)
    assert book.trades.price.tolist() == [100.0, 0.0]
    assert book.nav[-1] == 0.0
