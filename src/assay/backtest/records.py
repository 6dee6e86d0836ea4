"""What a book leaves behind: its history day by day, its trades, and the orders that met no bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REBALANCE = "rebalance"
DELISTING = "delisting"
LIQUIDATION = "liquidation"


@dataclass(frozen=True)
class Trades:
    """Everything that was traded, in order of time; one entry per array and trade.

    Attributes
    ----------
    row, column : (n_trades,) int arrays
        Row and column of the bars that were given.
    quantity : (n_trades,) array
        Units, negative when sold.
    price, reference : (n_trades,) arrays
        What was paid per unit, and the open or close that it was measured against.
    fee, slippage : (n_trades,) arrays
        In account currency, both >= 0; a delisting's haircut is its slippage.
    reason : tuple of str
        ``rebalance``, ``delisting`` or ``liquidation``.
    """

    row: Ints
    column: Ints
    quantity: Floats
    price: Floats
    reference: Floats
    fee: Floats
    slippage: Floats
    reason: tuple[str, ...]


@dataclass(frozen=True)
class Cancelled:
    """Orders that met no bar: what was wanted, and what stayed instead."""

    row: Ints
    column: Ints
    weight: Floats
    quantity: Floats


@dataclass(frozen=True)
class BookResult:
    """A book's history from its first fill to the last bar.

    Attributes
    ----------
    initial : float
        Cash at the start.
    rows : (n_days,) int array
        Rows of the bars that were given.
    columns : (n_held,) int array
        Columns that were ever wanted.
    nav, cash, gross_value, net_value : (n_days,) arrays
        At the close, in account currency, after everything that happened on the day.
    traded, cost, borrow : (n_days,) arrays
        Value traded at reference prices, fees plus slippage (haircuts among them), and borrow, in account currency.
    quantities, marks : (n_days, n_held) arrays
        Units after the close, and the prices that they are marked at.
    fills : (n_fills,) int array
        Rows on which targets were due.
    holding_pnl : (n_fills, n_held) array
        Profit of each holding from its fill to the next one, its costs and borrow taken off; the cost of leaving a coin
        counts for the holding that ends. It adds up to ``nav[-1] - initial``.
    trades, cancelled : Trades, Cancelled
    liquidated : int or None
        Row of the margin call.
    """

    initial: float
    rows: Ints
    columns: Ints
    nav: Floats
    cash: Floats
    gross_value: Floats
    net_value: Floats
    traded: Floats
    cost: Floats
    borrow: Floats
    quantities: Floats
    marks: Floats
    fills: Ints
    holding_pnl: Floats
    trades: Trades
    cancelled: Cancelled
    liquidated: int | None

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
