"""What an exchange says was traded, read from a CSV or from ccxt's trades.

A file is taken as a whole or not at all: one row that cannot be refuses it, by name, and nothing of it is kept. No
number passes through a float, and nothing is ever asked of an exchange.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

from assay.account.money import EXACT, UNIT, ZERO, exact, text
from assay.base.domain import EARLIEST, LATEST, UTC, Instrument, format_instant
from assay.base.errors import UsageError
from assay.orders.inputs import canonical, csv_rows, exact_json, number, read_text
from assay.orders.records import Side
from assay.sources.rules import EXCHANGE, RuleBook

OrderEnd = Literal["rejected", "cancelled"]
Key = tuple[str, str]
"""Venue and trade id."""

NEEDED = ("trade_id", "symbol", "side", "amount", "price", "time")
ALLOWED = (*NEEDED, "venue", "order", "fee", "fee_coin", "status", "reason")
HEADER = ",".join(NEEDED)
ENDED: Mapping[str, OrderEnd] = {
    "rejected": "rejected",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "expired": "cancelled",
    "expired_in_match": "cancelled",
}
"""How orders end of which nothing more comes, in the words of ccxt and of exchanges."""
FILLED = ("", "filled", "closed", "ok")
"""What a row with a trade in it may say of itself."""
COST_TOLERANCE: Final = Decimal("0.01")
"""By how much of it a told value of a trade may miss amount x price."""
_LONGEST_NAME = 200
_SAME = ("symbol", "side", "amount", "price", "cost", "order", "status", "venue")
"""Fields whose names are ccxt's too."""


@dataclass(frozen=True, slots=True)
class ExchangeTrade:
    """One trade as an exchange tells it; amounts are positive, fees by coin as they were paid."""

    venue: str
    trade_id: str
    symbol: str
    base: str
    quote: str
    side: Side
    amount: Decimal
    price: Decimal
    moment: dt.datetime
    fees: tuple[tuple[str, Decimal], ...] = ()
    fee_told: bool = True
    """False where the row says nothing of a fee, not even that there was none."""
    order: str = ""
    """The exchange's name of its order, which not every export has."""
    place: str = ""
    """Where it was read, for messages."""

    @property
    def key(self) -> Key:
        """What it is known by for ever."""
        return self.venue, self.trade_id

    @property
    def digest(self) -> str:
        """Hash of what was traded, by which the same trade is told from another of its name."""
        said = [*self.key, self.symbol, self.side, text(self.amount), text(self.price), format_instant(self.moment)]
        said += [f"{coin} {text(paid)}" for coin, paid in self.fees]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class OrderNotice:
    """An order that an exchange says will not be filled further."""

    symbol: str
    outcome: OrderEnd
    why: str
    moment: dt.datetime | None
    place: str = ""


class Imported(NamedTuple):
    """What a file says, each trade once."""

    trades: tuple[ExchangeTrade, ...]
    notices: tuple[OrderNotice, ...]
    repeated: int
    """Rows that are the same trade again."""


# --- reading ----------------------------------------------------------------------------------------------------------


def import_fills(path: Path, book: RuleBook, venue: str = EXCHANGE) -> Imported:
    """Read a file of trades, wholly or not at all.

    Parameters
    ----------
    path : Path
        A CSV with the columns ``trade_id,symbol,side,amount,price,time`` and, where wanted, ``venue``, ``order``,
        ``fee``, ``fee_coin``, ``status``, ``reason``; or a JSON list of ccxt's trades (``fetch_my_trades``), among
        which orders (``fetch_orders``) may stand that were rejected or cancelled.
    book : RuleBook
        What the exchange says of its pairs; empty where nobody knows.
    venue : str
        Of rows that do not name one.

    Raises
    ------
    UsageError
        If one row cannot be: it is named.
    """
    content, where = read_text(path), str(path)
    if content.lstrip()[:1] in ("[", "{"):
        listed = exact_json(content, where)
        rows = _ccxt_rows(listed if isinstance(listed, list) else [listed], where)
    else:
        rows = csv_rows(content, where, _check_head, HEADER)
    trades: dict[Key, ExchangeTrade] = {}
    notices: list[OrderNotice] = []
    repeated = 0
    with localcontext(EXACT):
        for row, place in rows:
            read = _read(_Fields(row, place), book, venue.upper())
            if not isinstance(read, ExchangeTrade):
                notices.append(read)
                continue
            before = trades.setdefault(read.key, read)
            repeated += before is not read
            if before.digest != read.digest:
                raise another_trade(read, before.place)
    ordered = sorted(trades.values(), key=lambda trade: (trade.moment, trade.key))
    return Imported(tuple(ordered), tuple(notices), repeated)


def _check_head(names: list[str], place: str) -> None:
    unknown = [repr(name) for name in names if name not in ALLOWED]
    missing = [name for name in NEEDED if name not in names]
    if unknown or missing or len(set(names)) < len(names):
        found = (
            f"unknown column {unknown[0]}" if unknown else f"no column {missing[0]}" if missing else "a column twice"
        )
        raise UsageError(f"{found} in the table of fills", where=place, hint=f"columns: {', '.join(ALLOWED)}")


def _ccxt_rows(listed: Sequence[Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Put ccxt's names in place of a table's."""
    for at, row in enumerate(listed):
        place = f"{where}[{at}]"
        if not isinstance(row, dict):
            raise UsageError("an entry is no trade", where=place, hint="write what ccxt's fetch_my_trades returns")
        stamp, fees = row.get("timestamp"), row.get("fees")
        if not fees:
            fees = [row["fee"]] if row.get("fee") else []
        if not isinstance(fees, list) or not all(isinstance(fee, dict) for fee in fees):
            raise UsageError(
                "fees are no list of objects", where=place, hint='write "fee": {"cost": .., "currency": ..}'
            )
        told = {
            name: row.get(name) for name in ("symbol", "side", "amount", "price", "cost", "order", "status", "venue")
        }
        told |= {"trade_id": row.get("id"), "time": row.get("datetime") if stamp is None else stamp}
        if "filled" in row or "remaining" in row:  # an order, of which only the end counts: its trades are told apart
            told["trade_id"] = None
            if str(told["status"] or "").lower() not in ENDED:
                raise UsageError(
                    "an order, and no trade", where=place, hint="write what ccxt's fetch_my_trades returns"
                )
        told["fees"] = [(fee.get("currency"), fee.get("cost")) for fee in fees if fee.get("cost") is not None]
        yield told, place


class _Fields:
    """One row, and how each of its fields must look."""

    def __init__(self, row: Mapping[str, Any], place: str) -> None:
        self._row, self.place = row, place

    def fault(self, what: str, hint: str, code: str = "FILL_ROW") -> UsageError:
        return UsageError(what, where=self.place, hint=f"{hint}; nothing of the file was taken", code=code)

    def get(self, name: str) -> Any:
        return self._row.get(name)

    def word(self, name: str, *, needed: bool = False) -> str:
        value = self._row.get(name)
        if isinstance(value, Decimal) and name in ("trade_id", "order") and value == value.to_integral_value():
            value = f"{value:f}"
        value = "" if value is None else value
        if not isinstance(value, str) or len(value) > _LONGEST_NAME or (value and not value.isprintable()):
            raise self.fault(f"{name} is no word", "write it as the exchange does")
        if needed and not value.strip():
            raise self.fault(f"{name} is missing", "every trade has one")
        return value.strip()

    def positive(self, name: str) -> Decimal:
        value = self.amount(self._row.get(name), name)
        if value <= 0:
            raise self.fault(f"{name} {value} is not positive", "a sale is told by its side")
        return value

    def amount(self, value: object, name: str) -> Decimal:
        try:
            found = number(value, name, self.place)
        except UsageError as error:
            raise self.fault(error.what, error.hint) from error
        if found != exact(found):
            raise self.fault(f"{name} {found} has more than {-int(UNIT.as_tuple().exponent)} decimals", "round it")
        return found

    def moment(self) -> dt.datetime:
        """Read when it was: milliseconds since 1970, or ISO 8601 with a zone."""
        value = self._row.get("time")
        written = "" if value is None else str(value).strip()
        hint = "write 2024-06-11T00:00:07Z, with its zone, or milliseconds since 1970"
        try:
            if isinstance(value, Decimal) or written.isdecimal():
                milliseconds = Decimal(written)
                if milliseconds != milliseconds.to_integral_value():
                    raise ValueError
                instant = dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(milliseconds=int(milliseconds))
            else:
                instant = dt.datetime.fromisoformat(written)
        except (ValueError, OverflowError):
            raise self.fault(f"cannot read time {written[:40]!r}", hint) from None
        if instant.tzinfo is None or not EARLIEST <= instant.astimezone(UTC) <= LATEST:
            what = "names no zone" if instant.tzinfo is None else "lies outside of what can be"
            raise self.fault(f"time {written[:40]!r} {what}", hint)
        return instant.astimezone(UTC)


def _read(row: _Fields, book: RuleBook, venue: str) -> ExchangeTrade | OrderNotice:
    written = row.word("symbol", needed=True)
    try:
        symbol, _ = canonical(written, book, row.place)
        pair = _pair(symbol, written, book)
    except UsageError as error:
        raise row.fault(error.what, error.hint) from error
    status = row.word("status").lower()
    if status in ENDED:
        if row.word("trade_id"):
            raise row.fault(f"a trade cannot be {status}", "an order that ended so has no trade id")
        return _notice(row, symbol, ENDED[status])
    if status not in FILLED:
        known = ", ".join((*FILLED[1:], *ENDED))
        raise row.fault(f"status {status!r} is no trade and no end of an order", f"one of {known}")
    side = row.word("side", needed=True).lower()
    if side not in ("buy", "sell"):
        raise row.fault(f"side {side!r} is neither buy nor sell", "write buy or sell")
    amount, price = row.positive("amount"), row.positive("price")
    cost = row.get("cost")
    if cost not in (None, ""):
        told = row.amount(cost, "cost")
        if abs(told - amount * price) > COST_TOLERANCE * amount * price:
            hint = "contracts of other sizes than one coin are not taken"
            raise row.fault(f"cost {told} is not amount x price", hint)
    fees, fee_told = _fees(row, pair.quote)
    return ExchangeTrade(
        venue=(row.word("venue") or venue).upper(),
        trade_id=row.word("trade_id", needed=True),
        symbol=symbol,
        base=pair.base,
        quote=pair.quote,
        side=cast("Side", side),
        amount=amount,
        price=price,
        moment=row.moment(),
        order=row.word("order"),
        fees=fees,
        fee_told=fee_told,
        place=row.place,
    )


def _notice(row: _Fields, symbol: str, outcome: OrderEnd) -> OrderNotice:
    moment = None if row.get("time") in (None, "") else row.moment()
    return OrderNotice(symbol, outcome, row.word("reason") or row.word("status").lower(), moment, row.place)


def _pair(symbol: str, written: str, book: RuleBook) -> Instrument:
    """Return base and quote: as the exchange names them, else as they are written, else by a known quote."""
    if symbol in book.rules:
        return book.rules[symbol].instrument
    base, slash, quote = written.partition("/")
    return Instrument(symbol.partition(":")[0], base, quote.partition(":")[0]) if slash else Instrument.parse(symbol)


def _fees(row: _Fields, quote: str) -> tuple[tuple[tuple[str, Decimal], ...], bool]:
    """Return what was paid by coin, what is nothing left out, and whether anything was said."""
    listed: list[tuple[Any, Any]] = row.get("fees") or []
    if row.get("fee") not in (None, ""):
        listed = [(row.word("fee_coin") or quote, row.get("fee"))]
    paid: dict[str, Decimal] = {}
    for coin, cost in listed:
        amount = row.amount(cost, "fee")
        if amount and (not isinstance(coin, str) or not coin.strip() or not coin.isprintable()):
            raise row.fault("a fee names no coin", "write the coin in which it was paid")
        if amount:
            name = coin.strip().upper()
            paid[name] = paid.get(name, ZERO) + amount
    return tuple(sorted(paid.items())), bool(listed)


def another_trade(trade: ExchangeTrade, where: str) -> UsageError:
    """Return the refusal of a trade whose name stands for another one already."""
    return UsageError(
        f"{trade.venue} trade {trade.trade_id} is another one than {where}",
        where=trade.place,
        hint="a trade id stands for one trade for ever; where the exchange counts by pair, write BTCUSDT-ID as the id",
        code="FILL_DIFFERS",
    )
