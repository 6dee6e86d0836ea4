"""What trading and holding cost: each formula once, for vetoes, guard, book, portfolios of sleeves and orders."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from assay.base.constants import DAYS_PER_YEAR, Floats
from assay.settings.model import Costs

Amount = TypeVar("Amount", Floats, Decimal)
Rate = TypeVar("Rate", float, Floats, Decimal)


def fill_price(reference: Amount, adverse: Amount) -> Amount:
    """Price at which an order fills.

    Parameters
    ----------
    reference : array or Decimal
        Open, close, or what the exchange shows.
    adverse : array or Decimal
        Slippage x side, +1 for a buy and -1 for a sale: it always moves the price against the trader.

    Examples
    --------
    >>> fill_price(np.array([100.0, 100.0]), 0.01 * np.array([1.0, -1.0])).tolist()
    [101.0, 99.0]
    """
    return reference * (1 + adverse)


def borrow_per_day(rate: Rate) -> Rate:
    """Share of the market value of a short that a day costs, of a rate per year."""
    return rate / DAYS_PER_YEAR


def daily_costs(signs: npt.ArrayLike, costs: Costs, hold: int, borrow: Floats | None = None) -> Floats:
    """Cost of holding each atom, per day.

    Parameters
    ----------
    signs : (n_atoms,) array or int
        +1 for a long, -1 for a short; only shorts pay for borrowing.
    costs : Costs
        Fee and slippage per side, borrow per year.
    hold : int
        Days between rebalances: one purchase and one sale are spread over them.
    borrow : (n_atoms,) array, optional
        Rates a year that are known, NaN where none is: the costs' own stands in.

    Returns
    -------
    (n_atoms,) array
        2 (fee + slippage) / hold, and borrow / 365 on top for shorts.

    Examples
    --------
    >>> daily_costs(np.array([1, -1]), Costs(), hold=10).round(6).tolist()
    [0.0003, 0.000574]
    """
    trading = 2.0 * costs.per_side / hold
    known = np.asarray(costs.borrow if borrow is None else np.where(np.isnan(borrow), costs.borrow, borrow))
    return np.where(np.asarray(signs) < 0, trading + borrow_per_day(known), trading)
