"""The book: cash and quantities through time, with everything that trading and borrowing cost.

An account is split into tranches. Each has its own decision and its own quantities; cash, NAV, trades, fees, borrow and
margin are those of the whole account, coin by coin the sum over its tranches. One tranche is a plain account.

*Orders* are fixed when they are decided, at the close of a bar: the tranche is to hold ``weight x NAV / tranches /
close`` units, and what it lacks or has too much is ordered. They fill at the next open whatever that is. A coin that
has no bar then, or the first bar of another listing, is not traded: its order is cancelled and recorded, what was held
stays, what was wanted stays cash.

One day runs in this order:

1. *Open.* Orders fill, ``slippage`` against the trader, and pay ``fee`` on the value traded at that worse price. Costs
   come out of cash, so a book that is asked to be wholly invested owes its own costs: cash may fall below zero by them.
   Cash earns nothing and debt costs nothing.
2. *Look within the day.* See the margin below.
3. *Borrow.* Shorts pay the day's rate a year / 365 of their value at this close, or at the last close on a day without
   a bar: a short sold at the open of day 1 and bought back at the open of day 11 pays ten times.
4. *Delisting.* At the close of the third day in a row without a bar the listing is known to have ended, and a position
   leaves at its last close, ``delisting_haircut`` against the holder: a long sells lower, a short buys back higher.
   The haircut stands for fee and slippage. Where another listing begins sooner, the position leaves at its open, at
   the old listing's last close.
5. *Look at the close.*

*Margin.* Assets are positive cash and longs at their marks, liabilities are shorts at their marks and negative cash;
the level is assets / liabilities, infinite without liabilities. Looked at within the day, all coins stand at today's
close but one: the one whose high, if it is short, or low, if it is long, costs most against its close. A coin without a
bar is not looked at. An account below ``maintenance`` is liquidated: that coin at the price at which the level equals
``maintenance``, or at its open where that is beyond it already, the others at the close; at a close, all at the close.
It pays fees, slippage and ``liquidation_fee`` of the liabilities that it repays. What is left, which may be a debt, is
final: later orders are not filled. Without a margin an account is closed at the first close that leaves nothing of it.

Between fills quantities stand still and weights drift. There is no stop per position. ``NAV = cash + sum of quantity x
mark`` holds at every close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from assay.base.constants import LISTING_ENDS_AFTER, Bools, Floats, Ints
from assay.base.errors import DataError
from assay.market.costs import borrow_per_day, fill_price
from assay.market.holes import BAR, LONGEST_HOLE, ends, since_bar
from assay.settings.model import Costs, Margin

REBALANCE = "rebalance"
DELISTING = "delisting"
LIQUIDATION = "liquidation"
HOLE_TOO_LONG = "hole_too_long"
Number = TypeVar("Number", float, Decimal)
Moment = Literal["open", "day", "close"]
OPEN: Moment = "open"
DAY: Moment = "day"
CLOSE: Moment = "close"
FORCED = {
    DELISTING: "its listing ended: three days of its own were missing, or what came next was another listing",
    HOLE_TOO_LONG: "its listing ended: more than ten days were missing, rows of it refused or all coins without bars",
    LIQUIDATION: "liquidation: the account could not be held any longer",
    OPEN: "liquidation: at the open the account was below its margin already",
    DAY: "liquidation: within the day the account fell below its margin",
    CLOSE: "liquidation: at the close the account was below its margin",
}
"""Why positions are closed that nobody decided to close, by cause, or by reason where no cause was kept."""


@dataclass(frozen=True)
class Prices:
    """What the book needs to know of a market, (n_days, n_symbols) each."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    """NaN where there is no bar."""
    listing: npt.NDArray[np.int32]
    """Ordinal of the listing; where there is no bar, less the owner of the day (see :mod:`assay.market.holes`): -1
    where the coin alone lacks it."""
    borrow: Floats
    """Rate a year that shorts owe on that day."""

    def part(self, begin: int, columns: Ints) -> Prices:
        """Return some columns from a row on."""
        return Prices(*(getattr(self, field.name)[begin:, columns] for field in fields(self)))


@dataclass(frozen=True)
class Target:
    """What one tranche is to hold, as decided at the close of a bar."""

    row: int
    """Row of that bar; the orders fill at the open of the next one."""
    tranche: int
    """From 0."""
    weights: Floats
    """(n_symbols,): net shares of NAV, negative for shorts, as decided for the whole account; all 0 is cash."""
    units: Floats | None = None
    """(n_symbols,): units that the tranche is to hold, where they are given and not computed from the weights."""


@dataclass(frozen=True)
class Trades:
    """Everything that was traded, in order of time; one entry per array and trade."""

    row: Ints
    column: Ints
    """(n_trades,): row and column of the bars that were given."""
    quantity: Floats
    """(n_trades,): units, negative when sold."""
    price: Floats
    reference: Floats
    """(n_trades,): what was paid per unit, and the open, close or price of liquidation that it was measured against."""
    fee: Floats
    slippage: Floats
    """(n_trades,): in account currency, both >= 0; a delisting's haircut is its slippage, and the fee of a liquidation
    is shared among its trades by value."""
    reason: npt.NDArray[np.str_]
    """``rebalance``, ``delisting`` or ``liquidation``."""
    cause: npt.NDArray[np.str_]
    """Key of :data:`FORCED`; empty for what was decided."""


@dataclass(frozen=True)
class Cancelled:
    """Orders that met no bar: what was wanted, and what stayed instead, in the tranche that wanted it."""

    row: Ints
    column: Ints
    weight: Floats
    quantity: Floats


@dataclass(frozen=True)
class BookResult:
    """A book's history from its first fill to the last bar."""

    initial: float
    """Cash at the start."""
    rows: Ints
    """(n_days,): rows of the bars that were given."""
    columns: Ints
    """(n_held,): columns that were ever wanted."""
    nav: Floats
    cash: Floats
    gross_value: Floats
    net_value: Floats
    """(n_days,): at the close, in account currency, after everything that happened on the day."""
    traded: Floats
    cost: Floats
    borrow: Floats
    """(n_days,): value traded at reference prices, fees plus slippage (haircuts and liquidation among them), and
    borrow, in account currency."""
    quantities: Floats
    marks: Floats
    """(n_days, n_held): units after the close, and the prices that they are marked at."""
    fills: Ints
    """(n_fills,): rows on which targets were due."""
    holding_pnl: Floats
    """(n_fills, n_held): profit of what a target made its tranche hold until the tranche's next target, its costs and
    borrow taken off; the cost of leaving a coin counts for the holding that ends. Borrow and forced costs are those of
    the account, shared by units: a tranche that is long of what others are short of is given what it saves them. It
    adds up to ``nav[-1] - initial``."""
    trades: Trades
    cancelled: Cancelled
    liquidated: int | None
    """Row of the liquidation."""
    liquidation_moment: Moment | None
    level: Floats
    """(n_days,): the lowest margin level that was seen when the day was looked at, infinite without liabilities."""
    worst_level: Floats
    """(n_days,): what it would have been with every coin at its worst at once."""
    by_tranche: Floats
    """(n_tranches, n_held): units of each tranche after the last bar."""
    filled_rows: Ints
    """(n_tranches,): row of each tranche's last fill, -1 where there was none."""
    counted: int | None
    """First row on which every tranche has had a target to fill: statistics begin here. None where one never had."""

    @property
    def previous_nav(self) -> Floats:
        """NAV at the close before each day, (n_days,)."""
        return np.concatenate([[self.initial], self.nav[:-1]])

    @property
    def returns(self) -> Floats:
        """Simple returns of NAV, (n_days,); 0 after a liquidation, when nothing can change any more."""
        return self._per_nav(self.nav - self.previous_nav)

    @property
    def turnover(self) -> Floats:
        """Value traded (buys plus sells) over the NAV at the close before, (n_days,)."""
        return self._per_nav(self.traded)

    @property
    def cost_share(self) -> Floats:
        """Fees and slippage over the NAV at the close before, (n_days,)."""
        return self._per_nav(self.cost)

    @property
    def borrow_share(self) -> Floats:
        """Borrow over the NAV at the close before, (n_days,)."""
        return self._per_nav(self.borrow)

    @property
    def gross(self) -> Floats:
        """Gross exposure at the close over NAV, (n_days,)."""
        return _divide(self.gross_value, self.nav)

    @property
    def net(self) -> Floats:
        """Net exposure at the close over NAV, (n_days,)."""
        return _divide(self.net_value, self.nav)

    @property
    def largest(self) -> Floats:
        """Value of the largest coin at the close over NAV, long or short, (n_days,)."""
        value = np.abs(self.quantities * self.marks)
        return _divide(value.max(axis=1, initial=0.0), self.nav)

    def _per_nav(self, amount: Floats) -> Floats:
        return _divide(amount, self.previous_nav)


def _divide(amount: Floats, nav: Floats) -> Floats:
    # NAV <= 0 follows a liquidation only: by then positions, trades and changes are exactly zero, so are their shares.
    result = np.zeros_like(amount)
    np.divide(amount, nav, out=result, where=amount != 0.0)
    return result


@dataclass(frozen=True)
class BookBars:
    """The bars of the held columns from some days before the first fill on, (n_days, n_held) each."""

    has_bar: Bools
    mark: Floats
    """Close, or the last one; 0 before the first bar."""
    open: Floats
    high: Floats
    low: Floats
    """The mark where there is no bar."""
    upkeep: Floats
    """What a unit owes for the day if it is short."""
    ended: Bools
    """A day on which a listing is found to have ended."""
    overlong: Bools
    """Of these, days on which it did for the length of a hole that is not the coin's own."""
    relisted: Bools
    """First bar of another listing."""


def read_bars(prices: Prices) -> BookBars:
    """Read what a book lives through.

    Raises
    ------
    DataError
        If a bar lacks a price, or one is not positive.
    """
    has_bar = prices.listing >= 0
    told = [values[has_bar] for values in (prices.open, prices.high, prices.low, prices.close)]
    if not all(np.isfinite(values).all() for values in told):
        raise DataError("a bar lacks a price", where="book", hint="repair the bars: assay ingest")
    if has_bar.any() and min(values.min() for values in told) <= 0.0:
        raise DataError("a price is not positive", where="book", hint="repair the bars: assay ingest")
    owner = np.where(has_bar, BAR, -prices.listing).astype(np.int8)
    ended = ends(owner)
    row = np.arange(len(has_bar))[:, None]
    last = np.maximum.accumulate(np.where(has_bar, row, -1), axis=0)
    hole = np.nonzero(~has_bar)
    mark = prices.close.copy()
    mark[hole] = np.where(last[hole] >= 0, prices.close[last[hole], hole[1]], 0.0)
    # Listings are numbered in order of time, so the highest so far is the last one.
    listed = np.maximum.accumulate(prices.listing, axis=0)
    listed_before = np.vstack([np.full_like(listed[:1], -1), listed[:-1]])
    return BookBars(
        has_bar=has_bar,
        mark=mark,
        open=np.where(has_bar, prices.open, mark),
        high=np.where(has_bar, prices.high, mark),
        low=np.where(has_bar, prices.low, mark),
        upkeep=mark * borrow_per_day(prices.borrow),
        ended=ended,
        overlong=ended & (since_bar(owner)[1] < LISTING_ENDS_AFTER),
        relisted=has_bar & (listed_before >= 0) & (prices.listing != listed_before),
    )


def _total(values: Floats) -> Floats:
    """Sum over the last axis from left to right.

    NumPy's own sum adds in an order that depends on how many columns there are, and so its last bit would tell of coins
    that are held later only. Zeros in between change nothing here.
    """
    if values.shape[-1] == 0:
        return np.zeros(values.shape[:-1])
    return np.asarray(values.cumsum(axis=-1)[..., -1])


@dataclass(frozen=True)
class _Event:
    """Trades of one moment, (n_held,) each."""

    day: int
    quantity: Floats
    price: Floats
    reference: Floats
    fee: Floats
    slippage: Floats
    reason: str
    cause: npt.NDArray[np.str_] | None


class _Account:
    """The account while it is being simulated; days count from the first of the bars."""

    def __init__(
        self,
        bars: BookBars,
        targets: Sequence[Target],
        costs: Costs,
        initial: float,
        n_tranches: int,
        first: int,
        impact: Floats | None,
    ) -> None:
        n_days, n_held = bars.mark.shape
        self.bars = bars
        self.targets = targets
        self.costs = costs
        self.impact = impact
        self.first = first
        self.cash = self.nav = initial
        self.held = np.zeros((n_tranches, n_held))
        self.net = np.zeros(n_held)
        self.short = False
        self.index = np.full(n_tranches, -1)  # of the target that each tranche holds
        self.filled = np.full(n_tranches, -1)
        self.pnl = np.zeros((len(targets), n_held))
        # Profits are booked up to a price; what a unit has owed for being short so far is added to every price.
        self.basis = np.zeros((n_tranches, n_held))
        self.owed = np.zeros(n_held)
        self.cash_within, self.cash_at = np.zeros((2, n_days))
        self.within, self.quantities = np.zeros((2, n_days, n_held))
        self.borrow = np.zeros(n_days)
        self.events: list[_Event] = []
        self.cancelled: list[tuple[int, Ints, Floats, Floats]] = []
        self.due: dict[int, list[int]] = {}
        for index, target in enumerate(targets):
            self.due.setdefault(target.row + 1, []).append(index)
        self.relisted = set(np.flatnonzero(bars.relisted.any(axis=1)).tolist())
        self.ended = set(np.flatnonzero(bars.ended.any(axis=1)).tolist())

    def play(self, end: int) -> None:
        """Live through the days up to one, or to the close that leaves nothing."""
        for day in range(self.first, end):
            self.open(day)
            self.close(day)
            if self.nav <= 0.0:
                return

    def open(self, day: int) -> None:
        """Fill what is due."""
        if day in self.relisted:
            self.delist(day, self.bars.relisted[day], self.bars.mark[day - 1])
        for index in self.due.get(day, ()):
            self.fill(day, index, self.targets[index])
        self.within[day], self.cash_within[day] = self.net, self.cash

    def close(self, day: int) -> None:
        """Pay for borrowing, let delisted coins go, mark the account."""
        if self.short:
            upkeep = np.where(self.net < 0.0, self.bars.upkeep[day], 0.0)
            self.borrow[day] = -_total(self.net * upkeep)
            self.cash -= float(self.borrow[day])
            self.owed = self.owed + upkeep
        if day in self.ended:
            self.delist(day, self.bars.ended[day], self.bars.mark[day])
        self.quantities[day], self.cash_at[day] = self.net, self.cash
        self.nav = self.cash + float(_total(self.net * self.bars.mark[day]))

    def fill(self, day: int, index: int, target: Target) -> None:
        """Fill the orders of one decision."""
        tranche, decided = target.tranche, self.bars.mark[target.row]
        held = self.held[tranche]
        fills = self.bars.has_bar[day] & ~self.bars.relisted[day] & (decided > 0.0)
        if target.units is None:
            share = self.nav / len(self.held)
            wanted = np.divide(target.weights * share, decided, out=np.zeros_like(held), where=fills)
        else:
            wanted = target.units
        order = np.where(fills, wanted - held, 0.0)
        self.settle(tranche, self.bars.open[day])
        before, self.index[tranche] = self.index[tranche], index
        self.filled[tranche] = day
        cost = self.trade(
            day, order, self.bars.open[day], self.slippage(day, target.row, order), self.costs.fee, REBALANCE
        )
        self.held[tranche] = held + order
        self.net = self.held.sum(axis=0)
        self.short = bool((self.net < 0.0).any())
        # The cost of leaving a coin belongs to the holding that ends, every other cost to the one that begins.
        leaves = wanted == 0.0
        self.pnl[index] -= np.where(leaves, 0.0, cost)
        self.pnl[before] -= np.where(leaves, cost, 0.0)
        if not fills.all():
            lost = np.flatnonzero(~fills & ((target.weights != 0.0) | (held != 0.0)))
            self.cancelled.append((day, lost, target.weights[lost], held[lost]))

    def slippage(self, day: int, row: int, order: Floats) -> Floats | float:
        """Share of the price that an order loses; no sale brings less than nothing."""
        if self.impact is None:
            return self.costs.slippage
        moved, at = np.zeros_like(order), np.flatnonzero(order)
        moved[at] = self.impact[row, at] * np.sqrt(np.abs(order[at]) * self.bars.open[day, at])
        share: Floats = np.minimum(self.costs.slippage + moved, 1.0)
        return share

    def delist(self, day: int, which: Bools, mark: Floats) -> None:
        """Close positions of ended listings at their last close, less the haircut."""
        cause = np.where(self.bars.overlong[day], HOLE_TOO_LONG, DELISTING)
        self.force(day, which, mark, self.costs.delisting_haircut, 0.0, DELISTING, cause)

    def liquidate(self, day: int, moment: Moment, price: Floats, fee: float) -> None:
        """Close everything, for good; ``fee`` is the share of liabilities that their repayment costs."""
        value = self.net * price
        owed = fee * float(_total(np.maximum(-value, 0.0)) + max(-self.cash, 0.0))
        everything = np.ones(len(value), dtype=np.bool_)
        cause = np.full(len(value), moment)
        self.force(day, everything, price, self.costs.slippage, self.costs.fee, LIQUIDATION, cause, owed)
        self.cash_at[day:] = self.nav = self.cash

    def force(
        self,
        day: int,
        which: Bools,
        price: Floats,
        slippage: float,
        fee: float,
        reason: str,
        cause: npt.NDArray[np.str_],
        owed: float = 0.0,
    ) -> None:
        """Close positions that nobody decided to close, in all tranches."""
        if not (self.held[:, which] != 0.0).any():
            return
        for tranche in range(len(self.held)):
            self.settle(tranche, price)
        net = self.net
        cost = self.trade(day, np.where(which, -net, 0.0), price, slippage, fee, reason, cause, owed)
        each = np.divide(cost, net, out=np.zeros_like(net), where=net != 0.0)
        for tranche, index in enumerate(self.index.tolist()):
            self.pnl[index] -= self.held[tranche] * each
        self.held[:, which] = 0.0
        self.net = self.held.sum(axis=0)
        self.short = bool((self.net < 0.0).any())
        self.quantities[day] = self.net

    def trade(
        self,
        day: int,
        quantity: Floats,
        reference: Floats,
        slippage: Floats | float,
        fee: float,
        reason: str,
        cause: npt.NDArray[np.str_] | None = None,
        owed: float = 0.0,
    ) -> Floats:
        """Move cash by what a change of quantities takes; return fee and slippage of each coin."""
        size = np.abs(quantity)
        price = fill_price(reference, slippage * np.sign(quantity))
        fees = fee * size * price
        slipped = size * reference * slippage
        if owed:
            value = size * reference
            fees = fees + owed * value / _total(value)
        self.cash -= float(_total(quantity * price + fees))
        self.events.append(_Event(day, quantity, price, reference, fees, slipped, reason, cause))
        return fees + slipped

    def settle(self, tranche: int, price: Floats) -> None:
        """Book the profits of a tranche's price moves since it was settled last."""
        value = price + self.owed
        self.pnl[self.index[tranche]] += self.held[tranche] * (value - self.basis[tranche])
        self.basis[tranche] = value


@dataclass(frozen=True)
class _Looks:
    """Margin levels of every day, as if the account had lived through all of them."""

    within: Floats
    """(n_days,): with the coin that costs most at its worst."""
    close: Floats
    worst: Floats
    """(n_days,): with every coin at its worst."""
    coin: Ints
    """(n_days,): that coin."""
    others: Floats
    """(n_days, 2): assets and liabilities without it."""


def _sides(value: Floats, cash: Floats) -> Floats:
    """Assets and liabilities, (n_days, 2)."""
    assets = np.maximum(cash, 0.0) + _total(np.maximum(value, 0.0))
    return np.column_stack([assets, np.maximum(-cash, 0.0) + _total(np.maximum(-value, 0.0))])


def _level(sides: Floats) -> Floats:
    levels = np.full(len(sides), np.inf)
    np.divide(sides[:, 0], sides[:, 1], out=levels, where=sides[:, 1] > 0.0)
    return levels


def _look(book: _Account) -> _Looks:
    bars, units, cash = book.bars, book.within, book.cash_within
    value = units * bars.mark
    at_worst = units * np.where(units < 0.0, bars.high, bars.low)
    seen = bars.has_bar & (units != 0.0)
    days = np.flatnonzero(seen.any(axis=1))
    coin = np.zeros(len(value), dtype=np.int64)
    if days.size:
        coin[days] = np.argmax(np.where(seen, value - at_worst, -1.0)[days], axis=1)
    alone = at_worst[days, coin[days]]
    others = value
    others[days, coin[days]] = 0.0
    sides = _sides(others, cash)
    within = np.full(len(value), np.inf)
    within[days] = _level(sides[days] + np.column_stack([np.maximum(alone, 0.0), np.maximum(-alone, 0.0)]))
    close = _level(_sides(book.quantities * bars.mark, book.cash_at))
    return _Looks(within, close, _level(_sides(at_worst, cash)), coin, sides)


def price_of_margin(
    units: Number, opened: Number, assets: Number, liabilities: Number, maintenance: Number
) -> tuple[Moment, Number]:
    """Return the moment of a liquidation within a day and the price of the coin that costs most.

    Parameters
    ----------
    units, opened : float or Decimal
        Net units of that coin, and its open.
    assets, liabilities : float or Decimal
        Of the account without it.
    maintenance : float or Decimal
        Level that must be kept.

    Examples
    --------
    Short 1 at 100: assets of 200, and at 200 / 1.25 the level is 1.25.

    >>> price_of_margin(-1.0, 100.0, 200.0, 0.0, 1.25)
    ('day', 160.0)
    """
    if units < 0:
        level = (assets / maintenance - liabilities) / -units
        beyond = opened >= level
    else:
        level = (maintenance * liabilities - assets) / units
        beyond = opened <= level
    return (OPEN, opened) if beyond else (DAY, level)


def _prices_of_margin(book: _Account, looks: _Looks, day: int, maintenance: float) -> tuple[Moment, Floats]:
    """Return the moment of a liquidation within a day and the price of each coin."""
    coin = int(looks.coin[day])
    price = book.bars.mark[day].copy()
    units, opened = float(book.within[day, coin]), float(book.bars.open[day, coin])
    assets, liabilities = looks.others[day].tolist()
    moment, price[coin] = price_of_margin(units, opened, assets, liabilities, maintenance)
    return moment, price


def _check(prices: Prices, targets: Sequence[Target], n_tranches: int) -> None:
    shape = prices.open.shape
    if len(shape) != 2 or any(getattr(prices, field.name).shape != shape for field in fields(prices)):
        raise ValueError("prices must have one shape: days x symbols")
    rows = [target.row for target in targets]
    if not rows or rows != sorted(rows) or rows[0] < 0 or rows[-1] >= shape[0] - 1:
        raise ValueError("targets need increasing rows with a bar after each, at least one")
    due = {(target.row, target.tranche) for target in targets}
    if len(due) < len(rows) or not all(0 <= target.tranche < n_tranches for target in targets):
        raise ValueError(f"each target needs a tranche below {n_tranches} of its own")
    told = [values for target in targets for values in (target.weights, target.units) if values is not None]
    if any(values.shape != shape[1:] or not np.isfinite(values).all() for values in told):
        raise ValueError("each target needs one finite weight per symbol")


def simulate(
    prices: Prices,
    targets: Sequence[Target],
    costs: Costs,
    *,
    n_tranches: int = 1,
    margin: Margin | None = None,
    initial: float = 1.0,
    impact: Floats | None = None,
) -> BookResult:
    """Hold a sequence of targets from the first fill to the last bar.

    Parameters
    ----------
    prices : Prices
    targets : sequence of Target
        In order of their rows; each has a bar after it, and no tranche has two of the same row.
    costs : Costs
        Fee, slippage and haircut; borrow is told by ``prices``.
    n_tranches : int
        Tranches of the account; a target's weights are a share of NAV / ``n_tranches``.
    margin : Margin or None
        What the account must keep; None, or one that is not enabled: it is closed when nothing is left at a close.
    initial : float
        Cash before the first fill.
    impact : (n_days, n_symbols) array, optional
        By how much an order moves its price, per square root of its value, as known at its decision; on top of the
        slippage. Forced exits have none.

    Returns
    -------
    BookResult

    Raises
    ------
    DataError
        If a bar of a held symbol lacks a price, or one is not positive.

    Examples
    --------
    A coin decided on at 100 for all the cash, and marked at 110, without costs:

    >>> price = np.array([[100.0], [100.0], [110.0]])
    >>> bars = Prices(price, price, price, price, np.zeros((3, 1), dtype=np.int32), np.zeros((3, 1)))
    >>> free = Costs(fee=0.0, slippage=0.0, delisting_haircut=0.0)
    >>> simulate(bars, [Target(0, 0, np.array([1.0]))], free).nav.tolist()
    [1.0, 1.1]
    """
    _check(prices, targets, n_tranches)
    margin = margin if margin is not None and margin.enabled else None
    wanted = [target.weights != 0.0 if target.units is None else target.units != 0.0 for target in targets]
    columns = np.flatnonzero(np.any(wanted, axis=0)).astype(np.int64)
    first = targets[0].row + 1
    begin = max(0, first - 1 - LONGEST_HOLE)  # what was decided on may have had its last bar before
    bars = read_bars(prices.part(begin, columns))
    own = [
        Target(t.row - begin, t.tranche, t.weights[columns], None if t.units is None else t.units[columns])
        for t in targets
    ]
    moved = None if impact is None else impact[begin:, columns]
    n_days = len(bars.mark)

    def account() -> _Account:
        return _Account(bars, own, costs, initial, n_tranches, first - begin, moved)

    # Margin moves nothing before it ends everything: live through all days without it, look at them, and live again up
    # to the first that was not survived.
    book = account()
    book.play(n_days)
    looks = _look(book)
    maintenance = 0.0 if margin is None else margin.maintenance
    marked = book.cash_at + _total(book.quantities * bars.mark)
    within = looks.within < maintenance
    gone = within | (looks.close < maintenance) | (marked <= 0.0)
    gone[: first - begin] = False
    moment: Moment | None = None
    last = n_days
    if gone.any():
        last = int(np.argmax(gone))
        book = account()
        book.play(last)
        book.open(last)
        moment, price = CLOSE, bars.mark[last]
        if within[last]:
            moment, price = _prices_of_margin(book, looks, last, maintenance)
        else:
            book.close(last)
        book.liquidate(last, moment, price, 0.0 if margin is None else margin.liquidation_fee)
    for tranche in range(n_tranches):
        book.settle(tranche, bars.mark[-1])
    return _result(book, looks, columns, begin, None if moment is None else last, moment, initial)


def _result(
    book: _Account,
    looks: _Looks,
    columns: Ints,
    begin: int,
    liquidated: int | None,
    moment: Moment | None,
    initial: float,
) -> BookResult:
    """Tell the account's history in rows and columns of the prices that were given."""
    shown = slice(book.first, None)
    value = (book.quantities * book.bars.mark)[shown]
    net = _total(value)
    trades, traded, cost = _traded(book, columns, begin)
    level, worst = np.fmin(looks.within, looks.close), np.fmin(looks.worst, looks.close)
    if liquidated is not None:
        level[liquidated + 1 :] = worst[liquidated + 1 :] = np.inf
        if moment != CLOSE:
            level[liquidated], worst[liquidated] = looks.within[liquidated], looks.worst[liquidated]
    due: dict[int, int] = {}
    for target in book.targets:
        due.setdefault(target.tranche, target.row + 1)
    n_tranches = len(book.held)
    return BookResult(
        initial=initial,
        rows=np.arange(book.first + begin, len(book.bars.mark) + begin),
        columns=columns,
        nav=book.cash_at[shown] + net,
        cash=book.cash_at[shown],
        gross_value=_total(np.abs(value)),
        net_value=net,
        traded=traded[shown],
        cost=cost[shown],
        borrow=book.borrow[shown],
        quantities=book.quantities[shown],
        marks=book.bars.mark[shown],
        fills=np.array([target.row + 1 + begin for target in book.targets], dtype=np.int64),
        holding_pnl=book.pnl,
        trades=trades,
        cancelled=_cancelled(book, columns, begin),
        liquidated=None if liquidated is None else liquidated + begin,
        liquidation_moment=moment,
        level=level[shown],
        worst_level=worst[shown],
        by_tranche=book.held,
        filled_rows=np.where(book.filled >= 0, book.filled + begin, -1),
        counted=max(due.values()) + begin if len(due) == n_tranches else None,
    )


def _traded(book: _Account, columns: Ints, begin: int) -> tuple[Trades, Floats, Floats]:
    """Return all trades, and by day the value traded and what it cost."""
    traded, cost = np.zeros((2, len(book.cash_at)))
    shape = (len(book.events), len(columns))
    told = {
        name: np.array([getattr(event, name) for event in book.events]).reshape(shape)
        for name in ("quantity", "price", "reference", "fee", "slippage")
    }
    days = np.array([event.day for event in book.events], dtype=np.int64)
    np.add.at(traded, days, _total(np.abs(told["quantity"]) * told["reference"]))
    np.add.at(cost, days, _total(told["fee"] + told["slippage"]))
    event, column = np.nonzero(told["quantity"])
    flat = {name: values[event, column] for name, values in told.items()}
    reason = np.array([event.reason for event in book.events], dtype=np.str_)[event]
    cause = np.full(len(event), "", dtype=f"U{max(map(len, FORCED))}")
    for index, happened in enumerate(book.events):
        if happened.cause is not None:
            cause[event == index] = happened.cause[column[event == index]]
    return Trades(row=days[event] + begin, column=columns[column], reason=reason, cause=cause, **flat), traded, cost


def _cancelled(book: _Account, columns: Ints, begin: int) -> Cancelled:
    days = [np.full(len(column), day + begin, dtype=np.int64) for day, column, _, _ in book.cancelled]
    nothing = np.empty(0)
    return Cancelled(
        row=np.concatenate([np.empty(0, dtype=np.int64), *days]),
        column=np.concatenate([np.empty(0, dtype=np.int64), *(columns[column] for _, column, _, _ in book.cancelled)]),
        weight=np.concatenate([nothing, *(weight for _, _, weight, _ in book.cancelled)]),
        quantity=np.concatenate([nothing, *(quantity for _, _, _, quantity in book.cancelled)]),
    )
