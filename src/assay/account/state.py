"""What an account is between two days, and how its ledger's entries make it: the state is always replayed.

Money and quantities are decimals of 18 places, and every sum of them is exact: cash is what the account began with and
all movements since, a quantity is the sum of its fills. Prices are those of the bars, digit by digit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any, Final, NamedTuple, Protocol

from assay.account.money import EXACT, ZERO, exact
from assay.base.errors import IntegrityError
from assay.orders.records import plain

PRICE_DIGITS: Final = Context(prec=30, rounding=ROUND_HALF_EVEN)
"""Digits that are kept of a computed price or ratio."""

GENESIS = "genesis"
FILL = "fill"
CANCELLED = "cancelled"
UNFILLED = "unfilled"
PARTIAL = "partial"
BORROW = "borrow"
LOOK = "look"
MARK = "mark"
FLOW = "flow"
ORDERS = "orders"

Body = Mapping[str, Any]


class Happened(NamedTuple):
    """One entry as the ledger takes it; numbers in the body are decimal strings."""

    kind: str
    body: Body


class Booked(Protocol):
    """One entry, before or after it was written."""

    @property
    def kind(self) -> str:
        """Kind of the entry."""

    @property
    def body(self) -> Body:
        """Its facts."""


@dataclass(frozen=True)
class TrancheOrder:
    """What one tranche orders of one coin for the next open, in units; ``quantity`` + all ``lines`` = ``wanted``."""

    symbol: str
    tranche: int
    quantity: Decimal
    """Negative when sold; 0 where all of it was left out."""
    decided: Decimal
    """Close at the decision."""
    wanted: Decimal
    """What the tranche is to hold, less what it holds."""
    lines: Mapping[str, Decimal] = field(default_factory=dict)
    """What was left out of it, by line; only what is not 0."""
    amounts: tuple[Decimal, ...] = ()
    """Where filters are known: sizes of the single orders, >= 0."""
    reasons: tuple[str, ...] = ()
    """Of the exchange's filters, for what was left out."""
    late: bool = False

    def document(self) -> dict[str, Any]:
        """Return the row of the ledger."""
        return {
            "symbol": self.symbol,
            "tranche": self.tranche,
            "quantity": plain(self.quantity),
            "decided": plain(self.decided),
            "wanted": plain(self.wanted),
            "lines": {name: plain(amount) for name, amount in self.lines.items()},
            "amounts": [plain(amount) for amount in self.amounts],
            "reasons": list(self.reasons),
            "late": self.late,
        }

    @staticmethod
    def read(row: Mapping[str, Any]) -> TrancheOrder:
        """Read a row of the ledger."""
        return TrancheOrder(
            row["symbol"],
            row["tranche"],
            Decimal(row["quantity"]),
            Decimal(row["decided"]),
            Decimal(row["wanted"]),
            {name: Decimal(amount) for name, amount in row["lines"].items()},
            tuple(Decimal(amount) for amount in row["amounts"]),
            tuple(row["reasons"]),
            row["late"],
        )


@dataclass(frozen=True)
class State:
    """An account after an entry of its ledger; between two days, after a close."""

    cash: Decimal
    tranches: int
    nav: Decimal
    """At the last close, after deposits and withdrawals."""
    day: dt.date | None = None
    """The last day that was marked."""
    held: Mapping[str, tuple[Decimal, ...]] = field(default_factory=dict)
    """Units of each tranche, of the coins of which any tranche holds some."""
    marks: Mapping[str, Decimal] = field(default_factory=dict)
    """Of the coins that were held at the last close."""
    wealth: Decimal = Decimal(1)
    """What 1 has become, time-weighted: deposits and withdrawals change nothing."""
    liquidated: str | None = None
    """Moment of the liquidation, which is final."""
    orders: tuple[TrancheOrder, ...] = ()
    """Written for the next open."""

    def net(self, symbol: str) -> Decimal:
        """Return the units of all tranches together."""
        return sum(self.held.get(symbol, ()), ZERO)

    def part(self, symbol: str, tranche: int) -> Decimal:
        """Return the units of one tranche."""
        return self.held[symbol][tranche] if symbol in self.held else ZERO

    def document(self) -> dict[str, Any]:
        """Return the state as JSON, of which the ledger keeps a hash."""
        return {
            "cash": plain(self.cash),
            "nav": plain(self.nav),
            "day": None if self.day is None else self.day.isoformat(),
            "held": {symbol: [plain(units) for units in parts] for symbol, parts in sorted(self.held.items())},
            "marks": {symbol: plain(price) for symbol, price in sorted(self.marks.items())},
            "wealth": plain(self.wealth),
            "liquidated": self.liquidated,
            "orders": [order.document() for order in self.orders],
        }


def price_digits(price: Decimal) -> Decimal:
    """Keep 30 digits of a computed price."""
    return PRICE_DIGITS.plus(price)


def exactly(number: float | Decimal) -> Decimal:
    """Return a number by its shortest digits, which are those that somebody wrote.

    >>> exactly(0.1)
    Decimal('0.1')
    """
    return number if isinstance(number, Decimal) else Decimal(repr(float(number)))


def values(state: State, marks: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return the value of each coin that is held, all tranches together."""
    return {symbol: exact(state.net(symbol) * marks[symbol]) for symbol in state.held}


def apply(state: State, entry: Booked) -> State:
    """Return the state after one entry; kinds that move nothing leave it as it is.

    Raises
    ------
    IntegrityError
        If a mark is not what cash and quantities make of it.
    """
    change = _CHANGES.get(entry.kind)
    if change is None:
        return state
    with localcontext(EXACT):
        return change(state, entry.body)


def replay(entries: Iterable[Booked]) -> State:
    """Return the state that a ledger's entries make; the first is the genesis.

    Raises
    ------
    IntegrityError
        If there is no genesis, or the entries do not add up.
    """
    state: State | None = None
    for entry in entries:
        if entry.kind == GENESIS and state is None:
            state = begin(Decimal(entry.body["nav"]), entry.body["tranches"])
        elif entry.kind == GENESIS or state is None:
            raise IntegrityError("an account's ledger begins with its genesis, once", hint="assay account verify")
        else:
            state = apply(state, entry)
    if state is None:
        raise IntegrityError("the ledger has no entries", hint="assay account verify")
    return state


def begin(nav: Decimal, tranches: int) -> State:
    """Return an account of cash only."""
    return State(cash=exact(nav), tranches=tranches, nav=exact(nav))


def _fill(state: State, body: Body) -> State:
    held = dict(state.held)
    parts = list(held.get(body["symbol"], (ZERO,) * state.tranches))
    moved = body.get("parts") or {str(body["tranche"]): body["quantity"]}
    for tranche, quantity in moved.items():
        parts[int(tranche)] += Decimal(quantity)
    if any(parts):
        held[body["symbol"]] = tuple(parts)
    else:
        held.pop(body["symbol"], None)
    return replace(state, cash=state.cash + Decimal(body["cash"]), held=held)


def _borrow(state: State, body: Body) -> State:
    return replace(state, cash=state.cash - Decimal(body["amount"]))


def _look(state: State, body: Body) -> State:
    return replace(state, liquidated=state.liquidated or body["moment"])


def _mark(state: State, body: Body) -> State:
    day, marks = dt.date.fromisoformat(body["day"]), {name: Decimal(price) for name, price in body["marks"].items()}
    if state.day is not None and day <= state.day:
        raise IntegrityError("a day is marked twice, or backwards", where=body["day"], hint="assay account verify")
    lacking = sorted(state.held.keys() - marks.keys())
    nav = state.cash if lacking else state.cash + sum(values(state, marks).values(), ZERO)
    if lacking or nav != Decimal(body["nav"]) or state.cash != Decimal(body["cash"]):
        found = f"lacks a price of {lacking[0]}" if lacking else f"{body['nav']} is not {plain(nav)}"
        raise IntegrityError(
            f"the mark does not add up: {found}", where=body["day"], hint="assay account verify says which entry"
        )
    return replace(state, day=day, marks=marks, nav=nav, wealth=grown(state, nav), orders=())


def grown(state: State, nav: Decimal) -> Decimal:
    """Return what 1 has become when NAV is now so much; nothing moves it once nothing is left."""
    return state.wealth if nav == state.nav or state.nav <= 0 else price_digits(state.wealth * nav / state.nav)


def _flow(state: State, body: Body) -> State:
    amount = Decimal(body["amount"])
    return replace(state, cash=state.cash + amount, nav=state.nav + amount)


def _orders(state: State, body: Body) -> State:
    rows = tuple(order for order in map(TrancheOrder.read, body["rows"]) if order.quantity)
    return replace(state, orders=(*state.orders, *rows))


_CHANGES = {FILL: _fill, BORROW: _borrow, LOOK: _look, MARK: _mark, FLOW: _flow, ORDERS: _orders}
