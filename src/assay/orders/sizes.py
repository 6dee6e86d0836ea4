"""Amounts that an exchange's quantity and value filters let through, in exact decimal arithmetic."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal

from assay.sources.rules import TradingRules

OrderType = Literal["limit", "market"]

STEP = "STEP"
MIN_QTY = "MIN_QTY"
MIN_NOTIONAL = "MIN_NOTIONAL"
MAX_QTY = "MAX_QTY"
MAX_POSITION = "MAX_POSITION"
MAX_NUM_ORDERS = "MAX_NUM_ORDERS"
PRICE_FILTER = "PRICE_FILTER"
CASH = "CASH"
NOT_TRADING = "NOT_TRADING"
NO_SHORT = "NO_SHORT"
LEFT_OUT = "LEFT_OUT"

REASONS = {
    STEP: "less than one step of the exchange's quantities",
    MIN_QTY: "below the exchange's least quantity",
    MIN_NOTIONAL: "below the exchange's least value of an order",
    MAX_QTY: "the exchange's greatest order is smaller than one step",
    MAX_POSITION: "beyond the most that an account may hold of this coin",
    MAX_NUM_ORDERS: "needs more orders than an account may have open in this pair",
    PRICE_FILTER: "no price near the reference passes the exchange's price filter",
    CASH: "not enough free cash",
    NOT_TRADING: "the exchange takes no spot orders for this pair",
    NO_SHORT: "cannot be borrowed on margin, and no perpetual settles in this quote",
    LEFT_OUT: "left out on request",
}
"""Why a holding differs from its target."""

MOST_ORDERS = 200
"""Open orders that the exchange allows in every recorded pair; for sources that do not say."""

DIGITS = 10**15
"""Most lots of one order: so many decimal digits survive as a float, which is what ccxt and JSON readers make of it."""


def split(
    rule: TradingRules, order_type: OrderType, wanted: Decimal, low: Decimal, high: Decimal, room: int | None = None
) -> tuple[list[Decimal], str | None]:
    """Cut a quantity into amounts that pass the filters.

    Parameters
    ----------
    rule : TradingRules
    order_type : str
    wanted : Decimal
        Quantity, >= 0; it is rounded towards zero.
    low, high : Decimal
        Least and greatest price at which the exchange may value the order.
    room : int, optional
        Most orders; :data:`MOST_ORDERS` where the exchange does not say.

    Returns
    -------
    amounts : list of Decimal
        As few as possible and nearly equal; empty where nothing passes.
    reason : str or None
        Why amounts are fewer than a rounded quantity would be; a key of :data:`REASONS`.

    Examples
    --------
    >>> from assay.base.domain import Instrument
    >>> pair = Instrument("BINANCE", "T", "USDT")
    >>> lot = {"step_size": Decimal("0.1"), "min_qty": Decimal("0.1"), "max_qty": Decimal("5")}
    >>> rule = TradingRules(pair, "TRADING", True, True, Decimal("0.01"), min_notional=Decimal("10"), **lot)
    >>> split(rule, "limit", Decimal("11.27"), Decimal("9"), Decimal("9"))
    ([Decimal('3.8'), Decimal('3.7'), Decimal('3.7')], None)
    >>> split(rule, "limit", Decimal("1.17"), Decimal("9"), Decimal("9"))
    ([], 'MIN_NOTIONAL')
    """
    market = order_type == "market"
    step = _common_step(rule.step_size, rule.market_step) if market and rule.market_step else rule.step_size
    limits = [rule.max_qty, rule.market_max_qty] if market else [rule.max_qty]
    if rule.max_notional and (rule.max_to_market or not market):
        limits.append(rule.max_notional / high)
    lots = int(wanted // step)
    cap = int(min([Decimal(DIGITS), *(limit // step for limit in limits if limit)]))
    if lots == 0 or cap == 0:
        return [], MAX_QTY if lots else STEP
    parts, reason = -(-lots // cap), None
    room = MOST_ORDERS if room is None else room
    if parts > room:
        parts, lots, reason = room, room * cap, MAX_NUM_ORDERS
    if parts == 0:
        return [], MAX_NUM_ORDERS
    each, more = divmod(lots, parts)
    least = max(rule.min_qty, rule.market_min_qty if market else Decimal(0))
    if each * step < least:
        return [], MIN_QTY
    if each * step * low < rule.min_notional and (rule.min_to_market or not market):
        return [], MIN_NOTIONAL
    return [(each + 1) * step] * more + [each * step] * (parts - more), reason


def _common_step(first: Decimal, second: Decimal) -> Decimal:
    """Return the least quantity that is a multiple of both."""
    exponent = min(int(first.as_tuple().exponent), int(second.as_tuple().exponent))
    lots = math.lcm(int(first.scaleb(-exponent)), int(second.scaleb(-exponent)))
    return Decimal(lots).scaleb(exponent)
