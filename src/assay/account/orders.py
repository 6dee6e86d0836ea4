"""From today's decision to orders for the next open: what is wanted, what is ordered, and by name what lies between.

A tranche is to hold weight x NAV / tranches / close of each coin, as in the tranche book. Orders below the band are not
worth their cost and are left out, unless they leave the coin altogether; where the exchange's filters are known, what
they do not let through is left out too. Orders are not scaled to the free cash: the tranche book does not either, and
its margin says what may be owed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Final

from assay.account.money import EXACT, ZERO, exact
from assay.account.state import ORDERS, Happened, State, TrancheOrder, exactly
from assay.market.costs import fill_price
from assay.market.instruments import TRADING
from assay.orders.rebalance import MIN_NOTIONAL, MIN_QTY, NOT_TRADING, STEP, split
from assay.settings.model import Costs
from assay.sources.rules import TradingRules

BAND: Final = Decimal("0.01")
"""Default of the no-trade band, a share of a tranche: at 15 bp a side a smaller order moves the book by less than the
hundredth part of a decision, and a quarter to two thirds of all orders are that small."""

BAND_LINE, ROUNDING, LEAST_VALUE, REFUSED, NO_PRICE = "band", "rounding", "least_value", "refused", "no_price"
LINES = {
    BAND_LINE: "below the no-trade band",
    ROUNDING: "less than one step of the exchange's quantities",
    LEAST_VALUE: "below the exchange's least quantity or value of an order",
    REFUSED: "the exchange takes no such order",
    NO_PRICE: "no close is known",
}
"""Why less is ordered than wanted."""
_LINE_OF = {STEP: ROUNDING, MIN_QTY: LEAST_VALUE, MIN_NOTIONAL: LEAST_VALUE}


@dataclass(frozen=True)
class OrderSheet:
    """What one tranche orders after its decision."""

    tranche: int
    late: bool
    rows: tuple[TrancheOrder, ...]
    """Of all coins that are held less or more than wanted, sorted by symbol; of some nothing is ordered."""
    unknown: tuple[str, ...]
    """Coins to be traded whose filters nobody knows: their orders are exact quantities."""

    def entry(self, day: dt.date) -> Happened:
        """Return the ledger's entry; a decision that orders nothing has one too."""
        body: dict[str, Any] = {"day": day.isoformat(), "tranche": self.tranche, "late": self.late}
        rows = [row.document() for row in self.rows]
        return Happened(ORDERS, body | {"rows": rows, "unknown": list(self.unknown)})


def orders_for(
    state: State,
    net_weights: Mapping[str, float],
    tranche: int,
    closes: Mapping[str, Decimal],
    *,
    costs: Costs,
    band: Decimal = BAND,
    rules: Mapping[str, TradingRules] | None = None,
    late: bool = False,
) -> OrderSheet:
    """Return what a tranche orders so that it holds today's decision.

    Parameters
    ----------
    state : State
        After today's close.
    net_weights : mapping of str to float
        Decided for the whole account; what is missing here is not wanted. Empty for cash.
    tranche : int
    closes : mapping of str to Decimal
        Of every coin that is wanted or held; one without a close is not ordered.
    costs : Costs
        Slippage: an order must pass the filters at the price it may fill at.
    band : Decimal
        Share of the tranche's NAV below which nothing is ordered; 0 is off.
    rules : mapping of str to TradingRules, optional
        The exchange's filters; where None, or without a coin, quantities are exact.
    late : bool
        The decision's instant is past: it is made with what is known now.
    """
    with localcontext(EXACT):
        share = state.nav / state.tranches
        held = {symbol for symbol in state.held if state.part(symbol, tranche)}
        wanted = {symbol for symbol, weight in net_weights.items() if weight}
        rows = []
        for symbol in sorted(held | wanted):
            close, own = closes.get(symbol, ZERO), state.part(symbol, tranche)
            target = exact(exactly(net_weights[symbol]) * share / close) if symbol in wanted and close else ZERO
            change = target - own
            if symbol in wanted and not close:
                rows.append(TrancheOrder(symbol, tranche, ZERO, ZERO, ZERO, {}, (), (NO_PRICE,), late))
            elif target and abs(change) * close < band * share:
                rows.append(TrancheOrder(symbol, tranche, ZERO, close, change, {BAND_LINE: change}, (), (), late))
            elif change:
                rows.append(_fit(TrancheOrder(symbol, tranche, change, close, change, late=late), state, rules, costs))
        known = rules or {}
        unknown = tuple(row.symbol for row in rows if row.quantity and row.symbol not in known)
        return OrderSheet(tranche, late, tuple(rows), unknown)


def _fit(order: TrancheOrder, state: State, rules: Mapping[str, TradingRules] | None, costs: Costs) -> TrancheOrder:
    """Let the filters of the exchange at an order; one that crosses zero is two, and each must pass."""
    rule = (rules or {}).get(order.symbol)
    if rule is None:
        return order
    sign = Decimal(1 if order.quantity > 0 else -1)
    worse = fill_price(order.decided, sign * exactly(costs.slippage))
    low, high = min(order.decided, worse), max(order.decided, worse)
    amounts: list[Decimal] = []
    lines: dict[str, Decimal] = {}
    reasons: list[str] = []
    for wanted in _legs(order.wanted, state.net(order.symbol)):
        room = max(0, rule.max_orders - len(amounts)) if rule.max_orders else None
        passed, reason = split(rule, "market", abs(wanted), low, high, room)
        if rule.status != TRADING or rule.spot_allowed is False:
            passed, reason = [], NOT_TRADING
        lacking = wanted - sign * sum(passed, ZERO)
        if lacking:
            line = _LINE_OF.get(reason or STEP, REFUSED)
            lines[line] = lines.get(line, ZERO) + lacking
            reasons.append(reason or STEP)
        amounts += passed
    quantity = sign * sum(amounts, ZERO)
    told = tuple(dict.fromkeys(reasons))
    return TrancheOrder(
        order.symbol, order.tranche, quantity, order.decided, order.wanted, lines, tuple(amounts), told, order.late
    )


def _legs(change: Decimal, net: Decimal) -> list[Decimal]:
    """Cut a change where the account's holding crosses zero: what closes, and what opens.

    >>> _legs(Decimal(-5), Decimal(3))
    [Decimal('-3'), Decimal('-2')]
    """
    if net * change >= 0 or abs(change) <= abs(net):
        return [change]
    return [-net, change + net]
