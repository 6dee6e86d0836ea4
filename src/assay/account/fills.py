"""Trades of an exchange, each given to the order that it filled, with a name for everything that does not fit.

A trade is known by (venue, trade id) for ever: the same one again is passed over and counted, another one under its
name is refused. One trade that can be none of this account refuses the whole file.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Any, Final, Literal, NamedTuple, Protocol

from assay.account.imports import ExchangeTrade, Imported, Key, OrderNotice, another_trade
from assay.account.money import EXACT, ZERO, product, text
from assay.base.domain import format_instant
from assay.base.errors import UsageError
from assay.runs.documents import Finding
from assay.settings.model import Universe

Outcome = Literal["filled", "partial", "unfilled", "rejected", "cancelled"]
Refusal = Literal["FILL_NOT_ORDERED", "FILL_OTHER_SIDE", "FILL_OVERFILLED"]

FURTHEST: Final = Decimal(10)
"""A price so many times above or below the day's open is another coin's, or has its point in another place."""


class Ordered(Protocol):
    """What one tranche ordered of one coin."""

    @property
    def symbol(self) -> str:
        """TradingView notation."""

    @property
    def tranche(self) -> int:
        """Whose order it is."""

    @property
    def quantity(self) -> Decimal:
        """Units, negative when sold."""


class OrderOutcome(NamedTuple):
    """What became of one order; units are signed."""

    symbol: str
    tranche: int
    ordered: Decimal
    filled: Decimal
    outcome: Outcome
    why: str
    day: dt.date

    @property
    def left(self) -> Decimal:
        """What is not filled."""
        return EXACT.subtract(self.ordered, self.filled)


class _Filled(NamedTuple):
    """What of a trade filled one order, or none."""

    tranche: int
    amount: Decimal
    day: dt.date | None
    """Of the order's open."""


class Matched(NamedTuple):
    """A file beside the orders of a day."""

    entries: tuple[tuple[str, dict[str, Any]], ...]
    """Kind and body as the ledger takes them: ``fill`` first, then what says that an order was not filled."""
    outcomes: tuple[OrderOutcome, ...]
    """Of today's orders, in their order."""
    findings: tuple[Finding, ...]
    known: int
    """Trades that the ledger has already."""


@dataclass
class _Open:
    """An order, and what of it is not filled yet."""

    symbol: str
    tranche: int
    ordered: Decimal
    day: dt.date
    left: Decimal


@dataclass(frozen=True)
class FillContext:
    """What a day knows about itself.

    Attributes
    ----------
    day : date
        Whose open the orders were for.
    ordered : sequence of Ordered
        Orders of the day before.
    outstanding : mapping of date to sequence of Ordered
        What is not filled of earlier orders, by the day of their open: see :func:`outstanding`.
    opens : mapping of str to Decimal
        The day's opens, or the last closes of coins without a bar.
    known : mapping of (venue, trade id) to str
        Digests of the trades that the ledger has: see :func:`known_trades`.
    taken : set of str
        Coins of which trades are taken that nobody ordered.
    tranche : int
        To whom such trades belong where no tranche holds the coin.
    holders : mapping of str to int
        The tranche that holds most of a coin.
    quotes : tuple of str
        What is money: the quotes of the profile's universe, one of each as good as one of another.
    """

    day: dt.date
    ordered: Sequence[Ordered]
    opens: Mapping[str, Decimal]
    outstanding: Mapping[dt.date, Sequence[Ordered]] = field(default_factory=dict)
    known: Mapping[Key, str] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    tranche: int = 0
    holders: Mapping[str, int] = field(default_factory=dict)
    quotes: tuple[str, ...] = Universe().quotes


def match(imported: Imported, told: FillContext) -> Matched:
    """Give each trade to the order that it filled.

    A trade of an earlier day fills what is left of earlier orders and is booked today, as FILL_LATE. What nobody
    ordered, on the other side, or beyond what was ordered, is refused unless its coin is among those to take. A fee
    paid in the coin itself comes off its quantity; one paid in a third coin is worth that coin's open today.

    Parameters
    ----------
    imported : Imported
    told : FillContext

    Returns
    -------
    Matched

    Raises
    ------
    UsageError
        If one trade can be none of this account: nothing is taken.
    """
    with localcontext(EXACT):
        return _Matching(told).run(imported)


class _Matching:
    def __init__(self, told: FillContext) -> None:
        self.told = told
        self.today = [_Open(one.symbol, one.tranche, one.quantity, told.day, one.quantity) for one in told.ordered]
        self.before = [
            _Open(one.symbol, one.tranche, one.quantity, day, one.quantity)
            for day in sorted(told.outstanding, reverse=True)
            for one in told.outstanding[day]
        ]
        self.noted: dict[str, set[str]] = {}

    def run(self, imported: Imported) -> Matched:
        entries, known = [], imported.repeated
        for trade in imported.trades:
            before = self.told.known.get(trade.key)
            if before is not None:
                if before != trade.digest:
                    raise another_trade(trade, "the one in the ledger")
                known += 1
                continue
            entries += [("fill", body) for body in self._taken(trade)]
        outcomes = [self._outcome(order, imported.notices) for order in self.today]
        ordered = {order.symbol for order in self.today}
        for notice in imported.notices:
            if notice.symbol not in ordered:
                self._note("ORDER_UNKNOWN", notice.symbol)
        entries += [(_KINDS[one.outcome], _left(one)) for one in outcomes if one.outcome in _KINDS]
        if known:
            self._note("FILL_KNOWN", f"{known} of the file")
        return Matched(tuple(entries), tuple(outcomes), self._findings(), known)

    def _note(self, code: str, name: str) -> None:
        self.noted.setdefault(code, set()).add(name)

    def _findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(code=code, what=NOTES[code], count=len(names), names=sorted(names))
            for code, names in sorted(self.noted.items())
        )

    def _taken(self, trade: ExchangeTrade) -> Iterator[dict[str, Any]]:
        self._check(trade)
        sign = 1 if trade.side == "buy" else -1
        left, parts = trade.amount, []
        for order in self._candidates(trade, sign):
            part = min(left, abs(order.left))
            order.left -= sign * part
            left -= part
            parts.append(_Filled(order.tranche, part, order.day))
            if order.day < self.told.day:
                self._note("FILL_LATE", trade.symbol)
            if not left:
                break
        if left:
            parts.append(_Filled(self._home(trade, sign, parts), left, None))
        yield from self._bodies(trade, sign, parts)

    def _check(self, trade: ExchangeTrade) -> None:
        day = trade.moment.date()
        if trade.quote not in self.told.quotes:
            raise _refused(trade, f"it is paid in {trade.quote}", "FILL_QUOTE",
                           f"an account's money is {', '.join(self.told.quotes)}")  # fmt: skip
        if day > self.told.day:
            raise _refused(trade, f"it is of {day}, after the day that is stepped", "FILL_AHEAD",
                           f"leave it to the step of {day}")  # fmt: skip
        reference = self.told.opens.get(trade.symbol)
        if reference and not reference / FURTHEST < trade.price < reference * FURTHEST:
            raise _refused(trade, f"its price {trade.price} is far from the open of {text(reference)}", "FILL_PRICE",
                           "look whether the price or the coin is another")  # fmt: skip

    def _candidates(self, trade: ExchangeTrade, sign: int) -> list[_Open]:
        """Return what it may have filled: orders of its own day first, then the latest before."""
        day = trade.moment.date()
        mine = [one for one in (*self.today, *self.before) if one.symbol == trade.symbol and one.left * sign > 0]
        return sorted(
            (one for one in mine if one.day <= day), key=lambda one: (-one.day.toordinal(), one.tranche)
        )  # fmt: skip

    def _home(self, trade: ExchangeTrade, sign: int, parts: Sequence[_Filled]) -> int:
        """Return the tranche to which what nobody ordered belongs; refuse it unless its coin is to be taken."""
        mine = [one for one in (*self.today, *self.before) if one.symbol == trade.symbol]
        code: Refusal = "FILL_NOT_ORDERED"
        if parts or any(one.ordered * sign > 0 for one in mine):
            code = "FILL_OVERFILLED"
        elif mine:
            code = "FILL_OTHER_SIDE"
        if trade.symbol not in self.told.taken:
            raise _refused(trade, NOTES[code], code, f"if the account is to hold it: --take {trade.symbol}")
        self._note(code, trade.symbol)
        if parts:
            return parts[0].tranche
        return self.told.holders.get(trade.symbol, mine[0].tranche if mine else self.told.tranche)

    def _bodies(self, trade: ExchangeTrade, sign: int, parts: Sequence[_Filled]) -> Iterator[dict[str, Any]]:
        """Split a trade's fee as its quantity is; the last part takes what rounding leaves."""
        in_coin, fee = self._fee(trade)
        left_coin, left_fee = in_coin, fee
        for at, part in enumerate(parts):
            share = part.amount / trade.amount
            own_coin, own_fee = product(in_coin, share), product(fee, share)
            if at == len(parts) - 1:
                own_coin, own_fee = left_coin, left_fee
            left_coin, left_fee = left_coin - own_coin, left_fee - own_fee
            late = part.day is not None and part.day < self.told.day
            # Of an earlier day's open nothing is known here: a late trade has no slippage but a line of its own.
            reference = trade.price if late else self.told.opens.get(trade.symbol) or trade.price
            quantity = sign * part.amount - own_coin
            cost = own_fee + product(own_coin, trade.price)  # so that cash = -quantity x price - fee for each of them
            numbers = {
                "quantity": quantity,
                "price": trade.price,
                "reference": reference,
                "fee": cost,
                "slippage": product(quantity, trade.price - reference),
                "cash": -product(quantity, trade.price) - cost,
                "ordered": sign * part.amount,
            }
            yield {
                "day": self.told.day.isoformat(),
                "symbol": trade.symbol,
                "tranche": part.tranche,
                **{name: text(amount) for name, amount in numbers.items()},
                "reason": "rebalance",
                "cause": "FILL_LATE" if late else "" if part.day else "FILL_NOT_ORDERED",
                "order_day": part.day.isoformat() if part.day else None,
                "moment": format_instant(trade.moment),
                "venue": trade.venue,
                "trade_id": trade.trade_id,
                "order": trade.order,
                "fees": {coin: text(paid) for coin, paid in trade.fees},
                "digest": trade.digest,
            }

    def _fee(self, trade: ExchangeTrade) -> tuple[Decimal, Decimal]:
        """Return what was paid in the coin itself, in units, and what was paid beside it, in dollars."""
        in_coin = fee = ZERO
        for coin, paid in trade.fees:
            if coin == trade.base:
                in_coin += paid
                self._note("FEE_IN_COIN", trade.symbol)
            else:
                fee += product(paid, self._worth(trade, coin))
        if not trade.fee_told:
            self._note("FEE_UNTOLD", trade.symbol)
        if abs(in_coin) >= trade.amount or abs(fee) >= trade.amount * trade.price:
            raise _refused(trade, "its fee is as large as the trade", "FILL_FEE", "look at the fee and its coin")
        return in_coin, fee

    def _worth(self, trade: ExchangeTrade, coin: str) -> Decimal:
        """Return a coin's worth in money."""
        if coin in self.told.quotes:
            return Decimal(1)
        exchange = trade.symbol.partition(":")[0]
        for quote in self.told.quotes:
            price = self.told.opens.get(f"{exchange}:{coin}{quote}")
            if price:
                self._note("FEE_IN_OTHER_COIN", coin)
                return price
        raise _refused(trade, f"its fee is in {coin}, of which no price is known", "FEE_UNPRICED",
                       f"write the fee in {trade.quote}")  # fmt: skip

    def _outcome(self, order: _Open, notices: Iterable[OrderNotice]) -> OrderOutcome:
        filled = order.ordered - order.left
        outcome: Outcome = "filled" if not order.left else "partial" if filled else "unfilled"
        why = "" if outcome == "filled" else "no trade of it came"
        for notice in notices:
            if notice.symbol == order.symbol and order.left and _of_day(notice, order.day):
                outcome, why = ("partial" if filled else notice.outcome), f"{notice.outcome}: {notice.why}"
        if outcome != "filled":
            self._note(f"ORDER_{outcome.upper()}", order.symbol)
        return OrderOutcome(order.symbol, order.tranche, order.ordered, filled, outcome, why, order.day)


_KINDS: Mapping[str, str] = {
    "partial": "partial",
    "unfilled": "unfilled",
    "rejected": "cancelled",
    "cancelled": "cancelled",
}
"""Of the entries of orders that are not filled."""

NOTES: Mapping[str, str] = {
    "FEE_IN_COIN": "fees were paid in the coin that was traded: its quantity is less by them",
    "FEE_IN_OTHER_COIN": "fees were paid in another coin: charged to cash at its open",
    "FEE_UNTOLD": "trades say nothing of a fee: none was charged",
    "FILL_KNOWN": "trades that the ledger has already were passed over",
    "FILL_LATE": "trades of orders of earlier days, booked today",
    "FILL_NOT_ORDERED": "nobody ordered this coin",
    "FILL_OTHER_SIDE": "the order was on the other side",
    "FILL_OVERFILLED": "more was traded than was ordered",
    "ORDER_CANCELLED": "orders were cancelled",
    "ORDER_PARTIAL": "orders were filled in part; what is left waits for the tranche's next turn",
    "ORDER_REJECTED": "orders were rejected by the exchange",
    "ORDER_UNKNOWN": "the exchange ended orders that the account did not write for this day",
    "ORDER_UNFILLED": "orders without any trade; the tranche keeps what it holds until its next turn",
}
"""What each name says, in findings and refusals."""


def _of_day(notice: OrderNotice, day: dt.date) -> bool:
    return notice.moment is None or notice.moment.date() == day


def _left(outcome: OrderOutcome) -> dict[str, Any]:
    return {
        "day": outcome.day.isoformat(),
        "symbol": outcome.symbol,
        "tranche": outcome.tranche,
        "quantity": text(outcome.left),
        "why": outcome.why,
    }


def _refused(trade: ExchangeTrade, why: str, code: str, hint: str) -> UsageError:
    said = f"{trade.side} {text(trade.amount)} {trade.symbol} (trade {trade.trade_id}): {why}"
    return UsageError(said, where=trade.place, hint=f"{hint}; nothing of the file was taken", code=code)


# --- what a ledger knows ----------------------------------------------------------------------------------------------

Entries = Iterable[tuple[str, Mapping[str, Any]]]
"""Kind and body of a ledger's entries, in its order."""


def known_trades(entries: Entries) -> dict[Key, str]:
    """Return the digests of all imported trades that a ledger has."""
    return {
        (body["venue"], body["trade_id"]): body["digest"]
        for kind, body in entries
        if kind == "fill" and body.get("trade_id")
    }


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """What is not filled of an order."""

    symbol: str
    tranche: int
    quantity: Decimal


def outstanding(entries: Entries, next_open: Callable[[dt.date], dt.date]) -> dict[dt.date, list[OpenOrder]]:
    """Return what is not filled of the orders of earlier days, by the day of their open.

    Parameters
    ----------
    entries : iterable of (kind, body)
        Orders, and what says that they were not wholly filled; what fills them later is taken off.
    next_open : callable
        From the day of a decision to the day on whose open its orders fill.
    """
    found: dict[dt.date, list[OpenOrder]] = {}
    decided: set[dt.date] = set()
    for kind, body in entries:
        day = dt.date.fromisoformat(body["day"]) if "day" in body else None
        if day is None:
            continue
        if kind == "orders":
            decided.add(next_open(day))
        elif kind in ("partial", "unfilled", "cancelled") and day in decided:
            rest = OpenOrder(body["symbol"], body["tranche"], Decimal(body["quantity"]))
            found.setdefault(day, []).append(rest)
        elif kind == "fill" and body.get("order_day"):
            _take_off(found.get(dt.date.fromisoformat(body["order_day"]), []), body)
    return {day: kept for day, rows in found.items() if (kept := [row for row in rows if row.quantity])}


def _take_off(rows: list[OpenOrder], body: Mapping[str, Any]) -> None:
    """Take a late fill off the order that it filled; the fills of a day come before what says what is left of it."""
    for at, row in enumerate(rows):
        if row.symbol == body["symbol"] and row.tranche == body["tranche"]:
            rows[at] = replace(row, quantity=EXACT.subtract(row.quantity, Decimal(body["ordered"])))
