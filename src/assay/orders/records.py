"""What goes into a rebalance and what comes out of it, and how that is written for machines and for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal

from assay.base.errors import InternalError
from assay.runs.documents import Finding
from assay.settings.model import Costs
from assay.sources.rules import TradingRules

Side = Literal["buy", "sell"]
Effect = Literal["open", "close"]
Venue = Literal["spot", "margin", "perpetual"]
OrderType = Literal["limit", "market"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Holding:
    """What the account holds of one pair: base quantity, negative for a short; a short may be held by the perpetual."""

    quantity: Decimal
    perpetual: bool = False


@dataclass(frozen=True)
class Task:
    """What is to be turned into orders; maps are keyed by TradingView notation."""

    nav: Decimal
    """Net asset value of the account in dollars, > 0."""
    weights: Mapping[str, Decimal]
    """Signed target weights, shares of NAV."""
    holdings: Mapping[str, Holding]
    prices: Mapping[str, Decimal]
    """Reference price of every symbol above that is held or may be traded."""
    rules: Mapping[str, TradingRules]
    """Likewise."""
    costs: Costs
    """Fee, slippage and borrow of the profile."""
    order_type: OrderType = "limit"
    left_out: frozenset[str] = frozenset()
    """Symbols that stay as they are."""

    def held(self, symbol: str) -> Decimal:
        """Quantity held, 0 for none."""
        return self.holdings[symbol].quantity if symbol in self.holdings else _ZERO

    def target(self, symbol: str) -> Decimal:
        """Quantity wanted."""
        weight = self.weights.get(symbol, _ZERO)
        return weight * self.nav / self.prices[symbol] if weight else _ZERO


@dataclass(frozen=True, slots=True)
class Order:
    """One order in ccxt's terms, with what a reader wants to know of it.

    ``price`` is None for a market order; ``value`` is amount x the limit (or the reference with slippage against the
    trader), ``fee`` the profile's fee on it.
    """

    symbol: str
    side: Side
    type: OrderType
    amount: Decimal
    price: Decimal | None
    params: Mapping[str, Any]
    instrument: str
    effect: Effect
    venue: Venue
    value: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    """One symbol before and after; quantities in base currency, ``reasons`` why ``after`` is not ``target``."""

    instrument: str
    price: Decimal | None
    held: Decimal
    target: Decimal | None
    after: Decimal
    weight_before: Decimal
    weight_target: Decimal
    weight_after: Decimal
    venue: Venue | None
    reasons: tuple[str, ...]

    @property
    def difference(self) -> Decimal:
        """Weight that is held less weight that is wanted."""
        return self.weight_after - self.weight_target


@dataclass(frozen=True)
class OrderList:
    """Orders in the order of sending (sells first), and what they leave.

    ``funds`` and ``costs`` are in dollars; see :func:`rebalance` for the meaning of each name.
    """

    orders: tuple[Order, ...]
    lines: tuple[Line, ...]
    funds: Mapping[str, Decimal]
    costs: Mapping[str, Decimal]
    findings: tuple[Finding, ...]


# --- as documents -----------------------------------------------------------------------------------------------------


def order_fields(order: Order) -> dict[str, Any]:
    """Return an order as ccxt takes it, with what is not ccxt's below ``info``.

    Amount and price are JSON numbers whose shortest digits are exactly the decimal ones.

    Raises
    ------
    InternalError
        If a number has more digits than a float holds.
    """
    return {
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "amount": _exact(order.amount),
        "price": None if order.price is None else _exact(order.price),
        "params": dict(order.params),
        "info": {name: _plain(getattr(order, name)) for name in ("instrument", "effect", "venue", "value", "fee")},
    }


def _exact(number: Decimal) -> float:
    if Decimal(repr(float(number))) != number:
        raise InternalError(f"{number} has more digits than a float holds", hint="report this")
    return float(number)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def line_fields(line: Line) -> dict[str, Any]:
    """Return one symbol before and after as a JSON object."""
    short = {"margin": "borrowed on margin, which the exchange permits for this pair", "perpetual": "by the perpetual"}
    told = {one.name: _plain(getattr(line, one.name)) for one in fields(line) if one.name != "venue"}
    held_by = short.get(line.venue or "") if min(line.after, line.weight_target) < 0 else None
    return told | {"short_held": held_by, "reasons": list(line.reasons)}


def dust_fields(line: Line, why: Mapping[str, str]) -> dict[str, Any]:
    """Return what is left between a holding and its target: > 0 where more is held than wanted."""
    left = None if line.target is None else line.after - line.target
    return {
        "instrument": line.instrument,
        "quantity": _plain(left),
        "value": None if left is None or line.price is None else float(left * line.price),
        "reasons": {reason: why[reason] for reason in line.reasons},
    }


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With what a spreadsheet begins to execute a cell; the last four are the wide forms of the first."""


def safe_cell(words: str) -> str:
    """Return text that a spreadsheet shows and does not execute: a sign that begins a formula stands behind a quote.

    Numbers are not text: a negative one keeps its sign.

    >>> safe_cell("BTC/USDT"), safe_cell("=1+1")
    ('BTC/USDT', "'=1+1")
    """
    return f"'{words}" if words.startswith(FORMULA) else words


def to_csv(orders: tuple[Order, ...]) -> str:
    r"""Return orders as CSV: one row each in the order of sending, decimal numbers in full, params as JSON.

    Names that a spreadsheet would take for a formula stand behind a quote.

    >>> to_csv(())
    'symbol,side,type,amount,price,params,instrument,effect,venue,value,fee\n'
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(one.name for one in fields(Order))
    for order in orders:
        params = json.dumps(dict(order.params), sort_keys=True)
        price = "" if order.price is None else plain(order.price)
        head = [safe_cell(order.symbol), order.side, order.type, plain(order.amount), price, params]
        more = [safe_cell(order.instrument), order.effect, order.venue, f"{order.value:.8f}", f"{order.fee:.8f}"]
        writer.writerow([*head, *more])
    return stream.getvalue()


def plain(number: Decimal) -> str:
    """Return a number in full, without an exponent or trailing zeros.

    >>> plain(Decimal("100.0")), plain(Decimal("1E-8"))
    ('100', '0.00000001')
    """
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
