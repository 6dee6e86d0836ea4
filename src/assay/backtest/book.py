"""The book: cash and quantities through time, with everything that trading costs.

One day runs in this order:

1. *Open.* If a rebalance is due, the account is marked at the open (at the last close where a coin has no bar). Target
   quantities are ``weight x NAV / open``; the difference to what is held trades at the open, ``slippage`` against the
   trader, and pays ``fee`` on the value traded at that worse price. Costs come out of cash, so a book that is asked to
   be wholly invested owes its own costs: cash may fall below zero by them. Cash earns nothing and debt costs nothing.
2. *Close.* Holdings are marked at the close, or at the last close on a day without a bar. Shorts pay ``borrow / 365``
   of their market value at this close: a short sold at the open of day 1 and bought back at the open of day 11 pays
   ten times.
3. *Delisting.* At the close of the third day in a row without a bar the listing is known to have ended, and a position
   leaves at its last close, ``delisting_haircut`` against the holder: a long sells lower, a short buys back higher.
   The haircut stands for fee and slippage.
4. *Margin call.* If NAV is not positive, every position is closed at this close with fee and slippage, and the account
   stays in cash for good: later orders are not filled. What is left may be a debt; it is recorded as it is. The same
   is checked at the open of a rebalance, before it trades.

Between rebalances quantities stand still and weights drift. There is no stop per position. A coin without a bar on the
fill day is not traded: its order is cancelled and recorded, what was held stays, what was wanted stays cash.
``NAV = cash + sum of quantity x mark`` holds at every close.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from assay.base.constants import LISTING_ENDS_AFTER, Bools, Floats, Ints
from assay.base.errors import DataError
from assay.market.costs import borrow_per_day, fill_price
from assay.market.holes import BAR, ends, since_bar
from assay.settings.model import Costs

REBALANCE = "rebalance"
Strings = npt.NDArray[np.str_]
DELISTING = "delisting"
HOLE_TOO_LONG = "hole_too_long"
LIQUIDATION = "liquidation"
FORCED = {
    DELISTING: "its listing ended: three days of its own were missing, or what came next was another listing",
    HOLE_TOO_LONG: "its listing ended: more than ten days were missing, rows of it refused or all coins without bars",
    LIQUIDATION: "margin call: the account was worth nothing",
}
"""Why positions are closed that nobody decided to close."""


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
    """(n_trades,): what was paid per unit, and the open or close that it was measured against."""
    fee: Floats
    slippage: Floats
    """(n_trades,): in account currency, both >= 0; a delisting's haircut is its slippage."""
    reason: npt.NDArray[np.str_]
    """``rebalance``, or one of :data:`FORCED`."""


@dataclass(frozen=True)
class Cancelled:
    """Orders that met no bar: what was wanted, and what stayed instead."""

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
    """(n_days,): value traded at reference prices, fees plus slippage (haircuts among them), and borrow, in
    account currency."""
    quantities: Floats
    marks: Floats
    """(n_days, n_held): units after the close, and the prices that they are marked at."""
    fills: Ints
    """(n_fills,): rows on which targets were due."""
    holding_pnl: Floats
    """(n_fills, n_held): profit of each holding from its fill to the next one, its costs and borrow taken off; the
    cost of leaving a coin counts for the holding that ends. It adds up to ``nav[-1] - initial``."""
    trades: Trades
    cancelled: Cancelled
    liquidated: int | None
    """Row of the margin call."""

    @property
    def previous_nav(self) -> Floats:
        """NAV at the close before each day, (n_days,)."""
        return np.concatenate([[self.initial], self.nav[:-1]])

    @property
    def returns(self) -> Floats:
        """Simple returns of NAV, (n_days,); 0 after a margin call, when nothing can change any more."""
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

    def _per_nav(self, amount: Floats) -> Floats:
        return _divide(amount, self.previous_nav)


def _divide(amount: Floats, nav: Floats) -> Floats:
    # NAV <= 0 follows a margin call only: by then positions, trades and changes are exactly zero, so are their shares.
    result = np.zeros_like(amount)
    np.divide(amount, nav, out=result, where=amount != 0.0)
    return result


@dataclass(frozen=True)
class _Bars:
    """The bars of the held columns from the first fill on, (n_days, n_held) each."""

    has_bar: Bools
    reference: Floats
    """Open, or the last close where there is no bar; 0 before the first bar."""
    mark: Floats
    """Close, or the last one; 0 before the first bar."""
    ended: Bools
    """A day on which a listing is found to have ended."""
    overlong: Bools
    """Of these, days on which it did for the length of a hole that is not the coin's own."""
    relisted: Bools
    """First bar of another listing."""


def _read_bars(open_: Floats, close: Floats, listing: npt.NDArray[np.int32]) -> _Bars:
    has_bar = listing >= 0
    if not (np.isfinite(open_[has_bar]).all() and np.isfinite(close[has_bar]).all()):
        raise DataError("a bar has no open or close", where="book", hint="repair the bars: assay ingest")
    if has_bar.any() and min(open_[has_bar].min(), close[has_bar].min()) <= 0.0:
        raise DataError("a price is not positive", where="book", hint="repair the bars: assay ingest")
    owner = np.where(has_bar, BAR, -listing).astype(np.int8)
    ended = ends(owner)
    row = np.arange(len(listing))[:, None]
    last = np.maximum.accumulate(np.where(has_bar, row, -1), axis=0)
    hole = np.nonzero(~has_bar)
    mark = close.copy()
    mark[hole] = np.where(last[hole] >= 0, close[last[hole], hole[1]], 0.0)
    before = np.vstack([np.zeros_like(mark[:1]), mark[:-1]])
    # Listings are numbered in order of time, so the highest so far is the last one.
    listed = np.maximum.accumulate(listing, axis=0)
    listed_before = np.vstack([np.full_like(listed[:1], -1), listed[:-1]])
    return _Bars(
        has_bar=has_bar,
        reference=np.where(has_bar, open_, before),
        mark=mark,
        ended=ended,
        overlong=ended & (since_bar(owner)[1] < LISTING_ENDS_AFTER),
        relisted=has_bar & (listed_before >= 0) & (listing != listed_before),
    )


def _total(values: Floats) -> Floats:
    """Sum over the last axis from left to right.

    NumPy's own sum adds in an order that depends on how many columns there are, and so its last bit would tell of coins
    that are held later only. Zeros in between change nothing here.
    """
    if values.shape[-1] == 0:
        return np.zeros(values.shape[:-1])
    return np.asarray(np.cumsum(values, axis=-1)[..., -1])


Moments = TypeVar("Moments", Trades, Cancelled)
_NOWHERE = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
_NONE = np.empty(0)
_NO_TRADES = Trades(*_NOWHERE, _NONE, _NONE, _NONE, _NONE, _NONE, np.empty(0, dtype=np.str_))
_NOT_CANCELLED = Cancelled(*_NOWHERE, _NONE, _NONE)


def _joined(parts: Sequence[Moments], first: int, columns: Ints) -> Moments:
    """Put what happened at several moments together, with rows and columns of the caller's bars."""
    whole = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(parts[0])}
    return replace(parts[0], **whole | {"row": whole["row"] + first, "column": columns[whole["column"]]})


class _Account:
    """The account while it is being simulated."""

    def __init__(self, bars: _Bars, costs: Costs, initial: float, n_fills: int) -> None:
        n_days, n_held = bars.mark.shape
        self.bars = bars
        self.costs = costs
        self.cash = initial
        self.quantity = np.zeros(n_held)
        self.short = False
        self.liquidated: int | None = None
        self.cash_at, self.traded, self.cost, self.borrow = np.zeros((4, n_days))
        self.quantities = np.zeros((n_days, n_held))
        self.pnl = np.zeros((n_fills, n_held))
        self.period = 0
        self.basis = np.zeros(n_held)  # prices up to which profits are booked
        # Rows count from the first fill, columns among those that are held.
        self.trades, self.cancelled = [_NO_TRADES], [_NOT_CANCELLED]

    def rebalance(self, day: int, fill: int, weights: Floats) -> None:
        """Fill the orders of one decision at the open."""
        price = self.bars.reference[day]
        self.settle(price)
        nav = self.cash + float(_total(self.quantity * price))
        if nav <= 0.0:
            self.liquidate(day, price)
            return
        before, self.period = self.period, fill
        has_bar = self.bars.has_bar[day]
        wanted = np.divide(weights * nav, price, out=self.quantity.copy(), where=has_bar)
        cost = self.trade(day, wanted - self.quantity, price, self.costs.slippage, self.costs.fee, REBALANCE)
        # The cost of leaving a coin belongs to the holding that ends, every other cost to the one that begins.
        leaves = weights == 0.0
        self.pnl[before] -= np.where(leaves, cost, 0.0)
        self.pnl[fill] -= np.where(leaves, 0.0, cost)
        lost = np.flatnonzero(~has_bar & ((weights != 0.0) | (self.quantity != 0.0)))
        if lost.size:
            self.cancelled.append(Cancelled(np.full(lost.size, day), lost, weights[lost], self.quantity[lost]))
        self.short = bool((self.quantity < 0.0).any())

    def carry(self, begin: int, end: int) -> int:
        """Hold still through the closes of some days, at most to the margin call; return the day after.

        Only on the last of these days a listing may be found to have ended.
        """
        mark = self.bars.mark[begin:end]
        value = self.quantity * mark
        owed = -np.minimum(value, 0.0) * borrow_per_day(self.costs.borrow) if self.short else np.zeros_like(value)
        borrow = _total(owed)
        # Day by day, so that it does not matter where other coins' listings break the holding.
        cash = np.subtract.accumulate(np.concatenate([[self.cash], borrow]))[1:]
        gone = np.flatnonzero(cash + _total(value) <= 0.0)
        last = int(gone[0]) if gone.size and self.liquidated is None else end - begin - 1
        days = slice(begin, begin + last + 1)
        self.pnl[self.period] = np.subtract.accumulate([self.pnl[self.period], *owed[: last + 1]])[-1]
        self.borrow[days], self.cash_at[days] = borrow[: last + 1], cash[: last + 1]
        self.quantities[days] = self.quantity
        self.cash = float(cash[last])
        self.end(begin + last, mark[last])
        return begin + last + 1

    def end(self, day: int, mark: Floats) -> None:
        """Let delisted coins go at the close, and see what is left."""
        ended = self.bars.ended[day]
        if (self.quantity[ended] != 0.0).any():
            self.delist(day, ended, mark)
        if self.liquidated is None and self.cash + float(_total(self.quantity * mark)) <= 0.0:
            self.settle(mark)
            self.liquidate(day, mark)
        self.quantities[day] = self.quantity
        self.cash_at[day] = self.cash

    def delist(self, day: int, which: Bools, mark: Floats) -> None:
        """Close positions of ended listings at their last close, less the haircut."""
        self.settle(mark)
        delta = np.where(which, -self.quantity, 0.0)
        reason = np.where(self.bars.overlong[day], HOLE_TOO_LONG, DELISTING)
        self.pnl[self.period] -= self.trade(day, delta, mark, self.costs.delisting_haircut, 0.0, reason)

    def liquidate(self, day: int, price: Floats) -> None:
        """Close everything, for good."""
        cost = self.trade(day, -self.quantity, price, self.costs.slippage, self.costs.fee, LIQUIDATION)
        self.pnl[self.period] -= cost
        self.liquidated = day
        self.short = False

    def trade(
        self, day: int, delta: Floats, reference: Floats, slippage: float, fee: float, reason: str | Strings
    ) -> Floats:
        """Move quantities by ``delta`` and cash by what that takes; return fee and slippage of each."""
        size = np.abs(delta)
        price = fill_price(reference, slippage * np.sign(delta))
        fees = fee * size * price
        slipped = size * reference * slippage
        self.cash -= float(_total(delta * price) + _total(fees))
        self.quantity = self.quantity + delta
        cost = fees + slipped
        self.traded[day] += _total(size * reference)
        self.cost[day] += _total(cost)
        at = np.flatnonzero(delta)
        if at.size:
            when, why = np.full(at.size, day), np.broadcast_to(reason, delta.shape)[at]
            self.trades.append(Trades(when, at, delta[at], price[at], reference[at], fees[at], slipped[at], why))
        return cost

    def settle(self, price: Floats) -> None:
        """Book the profits of price moves since the last settlement."""
        self.pnl[self.period] += self.quantity * (price - self.basis)
        self.basis = price


def _check(shape: tuple[int, ...], others: Sequence[tuple[int, ...]], targets: Sequence[tuple[int, Floats]]) -> None:
    if len(shape) != 2 or any(other != shape for other in others):
        raise ValueError("open, close and listing must have one shape: days x symbols")
    rows = [row for row, _ in targets]
    if not rows or rows != sorted(set(rows)) or rows[0] < 0 or rows[-1] >= shape[0]:
        raise ValueError("targets need strictly increasing rows inside the bars, at least one")
    if any(weights.shape != shape[1:] or not np.isfinite(weights).all() for _, weights in targets):
        raise ValueError("each target needs one finite weight per symbol")


def simulate(
    open_: Floats,
    close: Floats,
    listing: npt.NDArray[np.int32],
    targets: Sequence[tuple[int, Floats]],
    costs: Costs,
    initial: float = 1.0,
) -> BookResult:
    """Hold a sequence of target weights from the first fill to the last bar.

    Parameters
    ----------
    open_, close : (n_days, n_symbols) arrays
        Prices, NaN where there is no bar.
    listing : (n_days, n_symbols) int32 array
        Ordinal of the listing; where there is no bar, less the owner of the day (see :mod:`assay.market.holes`): -1
        where the coin alone lacks it.
    targets : sequence of (int, (n_symbols,) array)
        Row of the bar at whose open the orders fill (the bar after the one that was decided on), and net weights as
        shares of NAV, negative for shorts. Rows strictly increase.
    costs : Costs
        Fee, slippage, borrow and haircut.
    initial : float
        Cash before the first fill.

    Returns
    -------
    BookResult

    Raises
    ------
    DataError
        If a bar of a held symbol has no positive open and close.

    Examples
    --------
    A coin bought at 100 for all the cash, and marked at 110, without costs:

    >>> bars = np.array([[100.0], [100.0]]), np.array([[100.0], [110.0]]), np.zeros((2, 1), dtype=np.int32)
    >>> free = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.0)
    >>> simulate(*bars, targets=[(0, np.array([1.0]))], costs=free).nav.tolist()
    [1.0, 1.1]
    """
    _check(open_.shape, [close.shape, listing.shape], targets)
    first = targets[0][0]
    columns = np.flatnonzero(np.any([weights != 0.0 for _, weights in targets], axis=0)).astype(np.int64)
    bars = _read_bars(open_[first:, columns], close[first:, columns], listing[first:, columns])
    book = _Account(bars, costs, initial, len(targets))
    fills = {row - first: (fill, weights[columns]) for fill, (row, weights) in enumerate(targets)}
    relisted = set(np.flatnonzero(bars.relisted.any(axis=1)).tolist())
    ended = np.flatnonzero(bars.ended.any(axis=1)).tolist()
    breaks = sorted({*fills, *relisted, *(day + 1 for day in ended), len(open_) - first})
    day = 0
    while day < len(open_) - first:
        if day in relisted and (book.quantity[bars.relisted[day]] != 0.0).any():
            book.delist(day, bars.relisted[day], bars.mark[day - 1])
        if day in fills and book.liquidated is None:
            book.rebalance(day, *fills[day])
        day = book.carry(day, breaks[bisect_right(breaks, day)])
    book.settle(bars.mark[-1])
    value = book.quantities * bars.mark
    net = _total(value)
    return BookResult(
        initial=initial,
        rows=np.arange(first, len(open_)),
        columns=columns,
        nav=book.cash_at + net,
        cash=book.cash_at,
        gross_value=_total(np.abs(value)),
        net_value=net,
        traded=book.traded,
        cost=book.cost,
        borrow=book.borrow,
        quantities=book.quantities,
        marks=bars.mark,
        fills=np.array([row for row, _ in targets], dtype=np.int64),
        holding_pnl=book.pnl,
        trades=_joined(book.trades, first, columns),
        cancelled=_joined(book.cancelled, first, columns),
        liquidated=None if book.liquidated is None else book.liquidated + first,
    )
