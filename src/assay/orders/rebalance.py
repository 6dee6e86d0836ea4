"""From target weights to orders that the exchange accepts: exact arithmetic, no file, no clock, nothing is sent.

Every position, long or short, is funded in full, as the sleeves' own accounting has it (cash = 1 - gross). What closes
is sized first; what opens then shares what is free: NAV less all that is held, less the costs of what was closed. Where
that does not suffice, as for a fully invested sleeve that owes its own fees, everything that opens is scaled alike.
Quantities are rounded towards zero, so that no order goes past its target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Context, Decimal, localcontext
from typing import Any

from assay.market.costs import borrow_per_day, fill_price
from assay.market.instruments import TRADING
from assay.orders.records import Effect, Line, Order, OrderList, OrderType, Side, Task, Venue
from assay.runs.documents import Finding
from assay.sources.rules import TradingRules

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


PERPETUAL_QUOTES = ("USDT", "USDC")
"""Quotes in which the exchange settles linear perpetuals."""

PARAMS: dict[tuple[Venue, Effect], dict[str, Any]] = {
    ("spot", "open"): {},
    ("spot", "close"): {},
    ("margin", "open"): {"marginMode": "cross", "sideEffectType": "MARGIN_BUY"},
    ("margin", "close"): {"marginMode": "cross", "reduceOnly": True},
    ("perpetual", "open"): {},
    ("perpetual", "close"): {"reduceOnly": True},
}
"""Parameters of ccxt's ``create_order``: a margin order borrows what it sells, and repays with what it buys back."""

_EXACT = Context(prec=60, rounding=ROUND_DOWN)
_ZERO = Decimal(0)


@dataclass
class _Leg:
    """One side of one symbol's change, before and after it is sized."""

    symbol: str
    side: Side
    effect: Effect
    venue: Venue
    wanted: Decimal
    reference: Decimal
    price: Decimal
    """Limit; of a market order the reference with slippage against the trader."""
    refused: str | None = None
    """Why no order can be made of it at all."""
    chunks: list[Decimal] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def amount(self) -> Decimal:
        return sum(self.chunks, _ZERO)

    @property
    def adverse(self) -> Decimal:
        """What a unit loses against its reference price."""
        sign = 1 if self.side == "buy" else -1
        return max(_ZERO, sign * (self.price - self.reference))


def rebalance(task: Task) -> OrderList:
    """Turn target weights into orders that pass the exchange's filters.

    Returns
    -------
    OrderList
        ``funds``: ``free_before`` = NAV less all that is held, long and short; ``free_for_opening`` = the same after
        everything that closes, less its costs; ``needed`` = what the orders that open take of it, fees and slippage
        included; ``free_after`` = the rest. ``costs``: ``fees``, ``slippage`` against the reference prices, and
        ``borrow_per_day`` of the shorts that are held afterwards.

    Notes
    -----
    A limit price is the reference with the profile's slippage against the trader (no worse than the evidence assumed),
    rounded to the tick in the account's favour. An order above the exchange's greatest quantity is split evenly. A
    change from long to short is two orders: one closes, one opens. Among orders that open, those too small for the
    exchange leave first, then the smallest, until the rest can be paid.
    """
    with localcontext(_EXACT):
        symbols = sorted({*(s for s, w in task.weights.items() if w), *task.holdings})
        blocked = {symbol: why for symbol in symbols if (why := _block(task, symbol))}
        legs = [leg for symbol in symbols if symbol not in blocked for leg in _legs(task, symbol)]
        closing = [leg for leg in legs if leg.effect == "close"]
        opening = [leg for leg in legs if leg.effect == "open"]
        for leg in closing:
            leg.chunks, leg.reasons = _fit(task, leg, leg.wanted)
        before, free = _free(task, symbols, []), _free(task, symbols, closing)
        _fund(task, opening, closing, free)
        lines = tuple(_line(task, symbol, legs, blocked.get(symbol)) for symbol in symbols)
        orders = tuple(order for leg in sorted(legs, key=_turn) for order in _orders(task, leg))
        needed = sum((leg.amount * _need(task, leg) for leg in opening), _ZERO)
        funds = {"nav": task.nav, "free_before": before, "free_for_opening": free}
        funds |= {"needed": needed, "free_after": free - needed}
        return OrderList(orders, lines, funds, _costs(task, legs, lines), _findings(task, legs, lines, before))


def _turn(leg: _Leg) -> tuple[bool, bool, str]:
    """Sort key: sells before buys, what closes before what opens, then by symbol."""
    return leg.side == "buy", leg.effect == "open", leg.symbol


# --- what has to change -----------------------------------------------------------------------------------------------


def _block(task: Task, symbol: str) -> str | None:
    if symbol in task.left_out:
        return LEFT_OUT
    rule = task.rules[symbol]
    return NOT_TRADING if rule.status != TRADING or rule.spot_allowed is False else None


def _legs(task: Task, symbol: str) -> list[_Leg]:
    """Split the way from what is held to what is wanted at zero."""
    held, target = task.held(symbol), task.target(symbol)
    legs = []
    for sign in (1, -1):  # the long part, then the short part
        have, want = max(_ZERO, sign * held), max(_ZERO, sign * target)
        if have != want:
            effect: Effect = "open" if want > have else "close"
            side: Side = "buy" if (sign > 0) == (effect == "open") else "sell"
            legs.append(_leg(task, symbol, side, effect, abs(want - have), short=sign < 0))
    return sorted(legs, key=lambda leg: leg.effect)


def _leg(task: Task, symbol: str, side: Side, effect: Effect, wanted: Decimal, *, short: bool) -> _Leg:
    rule, reference = task.rules[symbol], task.prices[symbol]
    worst = fill_price(reference, _decimal(task.costs.slippage) * (1 if side == "buy" else -1))
    price = worst
    if task.order_type == "limit" and rule.tick_size:
        rounding = ROUND_FLOOR if side == "buy" else ROUND_CEILING
        price = (worst / rule.tick_size).to_integral_value(rounding) * rule.tick_size
    venue = _short_venue(task, symbol) if short else "spot"
    refused = None if _price_passes(task, rule, price) else PRICE_FILTER
    return _Leg(
        symbol, side, effect, venue or "margin", wanted, reference, price, refused if venue is not None else NO_SHORT
    )


def _short_venue(task: Task, symbol: str) -> Venue | None:
    """Return where a short is held: where it is already, on margin if the exchange permits, else by the perpetual."""
    rule, holding = task.rules[symbol], task.holdings.get(symbol)
    perpetual = holding is not None and holding.perpetual and holding.quantity < 0
    if rule.margin_allowed and not perpetual:
        return "margin"
    return "perpetual" if rule.instrument.quote in PERPETUAL_QUOTES else None


def _price_passes(task: Task, rule: TradingRules, price: Decimal) -> bool:
    if task.order_type == "market":
        return True
    low, high = price < rule.min_price, rule.max_price and price > rule.max_price
    # A price of more digits than a float holds would reach the exchange as another one.
    return price > 0 and not low and not high and (not rule.tick_size or price / rule.tick_size < DIGITS)


# --- sizes ------------------------------------------------------------------------------------------------------------


def _fit(task: Task, leg: _Leg, wanted: Decimal, used: int = 0) -> tuple[list[Decimal], list[str]]:
    """Return the amounts of one leg and why they are fewer than asked for, but for rounding."""
    if leg.refused:
        return [], [leg.refused]
    rule, reasons = task.rules[leg.symbol], []
    if rule.max_position and leg.effect == "open" and leg.venue == "spot":
        space = max(_ZERO, rule.max_position - max(_ZERO, task.held(leg.symbol)))
        if wanted > space:
            wanted, reasons = space, [MAX_POSITION]
    low, high = leg.price, leg.price
    if task.order_type == "market":
        low, high = min(leg.price, leg.reference), max(leg.price, leg.reference)
    room = max(0, rule.max_orders - used) if rule.max_orders else None
    amounts, reason = split(rule, task.order_type, wanted, low, high, room)
    return amounts, reasons if reason is None else [*reasons, reason]


def _need(task: Task, leg: _Leg) -> Decimal:
    """Return what a unit that opens takes of the free cash: its value, what it loses at once, and its fee."""
    return leg.reference + leg.adverse + leg.price * _decimal(task.costs.fee)


def _free(task: Task, symbols: Iterable[str], closing: Iterable[_Leg]) -> Decimal:
    """Return NAV less what is held, after what closes."""
    fee = _decimal(task.costs.fee)
    free = task.nav - sum((abs(task.held(s)) * task.prices[s] for s in symbols if task.held(s)), _ZERO)
    return free + sum((leg.amount * (leg.reference - leg.adverse - leg.price * fee) for leg in closing), _ZERO)


def _fund(task: Task, opening: Iterable[_Leg], closing: Iterable[_Leg], free: Decimal) -> None:
    """Size what opens within the free cash, scaling all alike where it does not suffice."""
    used = {leg.symbol: len(leg.chunks) for leg in closing}
    active = []
    for leg in opening:
        leg.chunks, leg.reasons = _fit(task, leg, leg.wanted, used.get(leg.symbol, 0))
        if leg.chunks:
            active.append((leg, leg.amount))
    while active:
        need = sum((full * _need(task, leg) for leg, full in active), _ZERO)
        scale = min(Decimal(1), max(_ZERO, free) / need)
        fitted = [_fit(task, leg, full * scale, used.get(leg.symbol, 0))[0] for leg, full in active]
        failing = [one for one, amounts in zip(active, fitted, strict=True) if not amounts]
        if not failing:
            for (leg, full), amounts in zip(active, fitted, strict=True):
                leg.chunks = amounts
                leg.reasons = [CASH, *leg.reasons] if leg.amount < full else leg.reasons
            return
        # One at a time: what the smallest leaves may lift the others above their least value.
        smallest = min(failing, key=lambda one: (one[1] * one[0].reference, one[0].symbol))
        active.remove(smallest)
        smallest[0].chunks, smallest[0].reasons = [], [CASH]


# --- what comes out ---------------------------------------------------------------------------------------------------


def _orders(task: Task, leg: _Leg) -> list[Order]:
    instrument = task.rules[leg.symbol].instrument
    name = f"{instrument.ccxt}:{instrument.quote}" if leg.venue == "perpetual" else instrument.ccxt
    fee = _decimal(task.costs.fee)
    return [
        Order(
            symbol=name,
            side=leg.side,
            type=task.order_type,
            amount=amount,
            price=leg.price if task.order_type == "limit" else None,
            params=PARAMS[leg.venue, leg.effect],
            instrument=leg.symbol,
            effect=leg.effect,
            venue=leg.venue,
            value=amount * leg.price,
            fee=amount * leg.price * fee,
        )
        for amount in leg.chunks
    ]


def _line(task: Task, symbol: str, legs: Iterable[_Leg], blocked: str | None) -> Line:
    own = [leg for leg in legs if leg.symbol == symbol]
    held, price = task.held(symbol), task.prices.get(symbol)
    after = held + sum((leg.amount * (1 if leg.side == "buy" else -1) for leg in own), _ZERO)
    target = None if price is None else task.target(symbol)
    reasons = [] if blocked is None or target == after else [blocked]
    for leg in own:
        reasons += leg.reasons
        if leg.amount < leg.wanted and not leg.reasons:
            reasons.append(STEP)
    venues = [leg.venue for leg in own]
    if not venues and held:
        venues = ["perpetual" if task.holdings[symbol].perpetual else "margin" if held < 0 else "spot"]
    return Line(
        instrument=symbol,
        price=price,
        held=held,
        target=target,
        after=after,
        weight_before=_ZERO if price is None else held * price / task.nav,
        weight_target=task.weights.get(symbol, _ZERO),
        weight_after=_ZERO if price is None else after * price / task.nav,
        venue=venues[-1] if venues else None,
        reasons=tuple(dict.fromkeys(reasons)),
    )


def _costs(task: Task, legs: Iterable[_Leg], lines: Iterable[Line]) -> dict[str, Decimal]:
    traded = [(leg.amount, leg) for leg in legs if leg.chunks]
    short = sum((-line.after * line.price for line in lines if line.price is not None and line.after < 0), _ZERO)
    return {
        "fees": sum((amount * leg.price for amount, leg in traded), _ZERO) * _decimal(task.costs.fee),
        "slippage": sum((amount * leg.adverse for amount, leg in traded), _ZERO),
        "borrow_per_day": borrow_per_day(short * _decimal(task.costs.borrow)),  # multiplied first: exact
    }


def _findings(task: Task, legs: Iterable[_Leg], lines: Iterable[Line], free: Decimal) -> tuple[Finding, ...]:
    by_code: dict[str, set[str]] = {}
    for line in lines:
        for reason in line.reasons:
            by_code.setdefault(reason, set()).add(line.instrument)
    found = [
        Finding(code=code, what=REASONS[code], count=len(names), names=sorted(names))
        for code, names in sorted(by_code.items())
        if code != STEP
    ]
    perpetuals = sorted({leg.symbol for leg in legs if leg.venue == "perpetual" and leg.chunks})
    if perpetuals:
        what = "the spot metadata do not say that these perpetuals exist, nor their filters: check before sending"
        found.append(Finding(code="PERPETUAL_UNVERIFIED", what=what, count=len(perpetuals), names=perpetuals))
    if free < 0:
        what = f"holdings are worth more than NAV, by {-free:.2f}: what opens waits for what closes"
        found.append(Finding(code="HOLDINGS_ABOVE_NAV", what=what))
    quotes = sorted({task.rules[leg.symbol].instrument.quote for leg in legs if leg.chunks})
    if len(quotes) > 1:
        what = "orders need cash in several quotes, which are counted as one dollar each"
        found.append(Finding(code="QUOTES_MIXED", what=what, count=len(quotes), names=quotes))
    return tuple(found)


def _decimal(number: float) -> Decimal:
    """Return a setting by its shortest digits, which are those that the user wrote."""
    return Decimal(repr(number))
