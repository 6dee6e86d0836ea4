"""What a user hands to ``assay orders``: numbers, holdings, prices, each refused with what to do about it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any

from assay.base.domain import symbol_fault
from assay.base.errors import UsageError
from assay.orders.records import Holding
from assay.sources.rules import EXCHANGE, RuleBook

LARGEST = Decimal(10) ** 15
DECIMALS = 30
_NOTATIONS = "write BINANCE:BTCUSDT, BTCUSDT or BTC/USDT; a short held by the perpetual may be BTC/USDT:USDT"


def number(text: object, what: str, where: str) -> Decimal:
    """Read a decimal number exactly.

    Raises
    ------
    UsageError
        If it is none, is not finite, or has a size that no account has.

    Examples
    --------
    >>> number("0.10", "quantity", "holdings.csv")
    Decimal('0.10')
    """
    hint = "write a decimal number with a point, such as 1234.5, without a thousands separator"
    plain = isinstance(text, (str, Decimal)) and "_" not in str(text)
    try:
        value = Decimal(str(text).strip()) if plain else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise UsageError(f"{what} {text!s} is not a finite number", where=where, hint=hint)
    exponent = value.as_tuple().exponent
    if value and (value.adjusted() > LARGEST.adjusted() or not isinstance(exponent, int) or exponent < -DECIMALS):
        raise UsageError(f"{what} {text!s} is out of range", where=where, hint=f"at most 1e15, {DECIMALS} decimals")
    return value


def net_asset_value(text: str) -> Decimal:
    """Read ``--nav``."""
    value = number(text, "NAV", "--nav")
    if value <= 0:
        raise UsageError(f"NAV {text} is not positive", where="--nav", hint="give the account's value in dollars")
    return value


# --- tables -----------------------------------------------------------------------------------------------------------

Row = tuple[str, object, str]
"""Symbol and number as written, and the place for messages."""


def read_rows(path: Path, column: str) -> list[Row]:
    """Read a table of ``symbol`` and one number from CSV, or from JSON as a list of objects or one object.

    Raises
    ------
    UsageError
        If the file is missing, malformed, or has a column beside the two: one that is passed over could have meant
        something, such as a side.
    """
    text, where = read_text(path), str(path)
    if text.lstrip()[:1] in ("[", "{"):
        return list(_json_rows(text, column, where))
    rows = csv_rows(text, where, partial(_check_columns, column=column), f"symbol,{column}")
    return [(row["symbol"].strip(), row[column], place) for row, place in rows]


def read_text(path: Path) -> str:
    """Read what a user wrote.

    Raises
    ------
    UsageError
        If the file cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror or error}", where=str(path), hint="check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError("the file is not UTF-8 text", where=str(path), hint="save it as CSV or JSON") from error


def csv_rows(
    text: str, where: str, check: Callable[[list[str], str], None], header: str
) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the rows of a CSV by the names of its columns, each with its place.

    Parameters
    ----------
    text, where : str
        Content and name of the file.
    check : callable
        Given the names of the columns and their place; raises where they are not what they should be.
    header : str
        What a header should be, for messages.

    Raises
    ------
    UsageError
        If the file is empty, or a line is not one of the table.
    """
    reader = csv.reader(io.StringIO(text), strict=True)
    head: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"{where}:{reader.line_num}"
            if head is None:
                head = [cell.strip() for cell in cells]
                check(head, place)
            elif len(cells) != len(head):
                raise UsageError(f"{len(cells)} fields where the header has {len(head)}", where=place, hint=header)
            else:
                yield dict(zip(head, cells, strict=True)), place
    except csv.Error as error:
        raise UsageError(f"malformed CSV: {error}", where=f"{where}:{reader.line_num}", hint="mend the line") from error
    if head is None:
        raise UsageError("the file is empty", where=where, hint=f"a table without rows still has a header: {header}")


def exact_json(text: str, where: str) -> Any:
    """Read JSON with its numbers as they are written: none passes through a float.

    Raises
    ------
    UsageError
        If it is malformed, has a key twice in one object, or a number that is none.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise UsageError(f"{key!r} comes twice", where=where, hint="one entry for each symbol")
        return dict(pairs)

    def refuse(constant: str) -> Any:
        raise UsageError(f"{constant} is not a finite number", where=where, hint="write a decimal number")

    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise UsageError(f"malformed JSON: {error}", where=where, hint="mend the file") from error


def _json_rows(text: str, column: str, where: str) -> Iterator[Row]:
    content = exact_json(text, where)
    if isinstance(content, dict):
        content = [{"symbol": symbol, column: value} for symbol, value in content.items()]
    for i, row in enumerate(content):
        place = f"{where}[{i}]"
        if not isinstance(row, dict):
            raise UsageError("an entry is not an object", where=place, hint=f'write {{"symbol": ..., "{column}": ...}}')
        _check_columns(list(row), place, column)
        if not isinstance(row["symbol"], str):
            raise UsageError("a symbol is not text", where=place, hint=_NOTATIONS)
        yield row["symbol"], row[column], place


def _check_columns(names: list[str], place: str, column: str) -> None:
    wanted = ["symbol", column]
    unknown = [repr(name) for name in names if name not in wanted]
    missing = [name for name in wanted if name not in names]
    if unknown:
        what = f"unknown {'column' if len(unknown) == 1 else 'columns'} {', '.join(unknown)}"
        raise UsageError(what, where=place, hint=f"keep symbol and {column}; a short has a negative quantity")
    if missing or len(names) != len(wanted):
        raise UsageError(f"columns are {', '.join(names)}", where=place, hint=f"write symbol and {column}, once each")


# --- symbols ----------------------------------------------------------------------------------------------------------


def canonical(text: str, book: RuleBook, where: str) -> tuple[str, bool]:
    """Return a pair in TradingView notation, and whether its perpetual is meant, from any notation.

    Nothing is split by the length of a name: the three notations differ in their marks only, and where the exchange
    knows the pair, ccxt's slash must stand where its metadata say.

    Raises
    ------
    UsageError
        If the text cannot be a symbol.
    """
    pair, _, settled = text.partition(":") if "/" in text else (text, "", "")
    base, slash, quote = pair.partition("/")
    if slash and (not base or not quote or "/" in quote or (settled and settled != quote)):
        raise UsageError(f"{text!r} is no symbol", where=where, hint=_NOTATIONS)
    if slash:
        pair = base + quote
    symbol = pair if ":" in pair else f"{EXCHANGE}:{pair}" if pair else ""
    fault = symbol_fault(symbol)
    if fault is not None:
        raise UsageError(f"symbol {text!r} has {fault}", where=where, hint=_NOTATIONS)
    rule = book.rules.get(symbol)
    if slash and rule is not None and rule.instrument.ccxt != f"{base}/{quote}":
        raise UsageError(f"there is no {base}/{quote}", where=where, hint=f"did you mean {rule.instrument.ccxt}?")
    return symbol, bool(settled)


def _unique(
    rows: Iterable[Row], book: RuleBook, read: Callable[[object, bool, str], Any], wanted: frozenset[str] | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text, value, place in rows:
        symbol, perpetual = canonical(text, book, place)
        if wanted is not None and symbol not in wanted:
            continue
        if symbol in found:
            raise UsageError(f"{symbol} comes twice", where=place, hint="one row for each pair, in any one notation")
        found[symbol] = read(value, perpetual, place)
    return found


def read_holdings(path: Path, book: RuleBook) -> dict[str, Holding]:
    """Read what the account holds; a pair of quantity 0 is not held."""

    def holding(value: object, perpetual: bool, place: str) -> Holding:
        quantity = number(value, "quantity", place)
        if perpetual and quantity > 0:
            hint = "close it by hand: targets above zero are held as coins"
            raise UsageError("a perpetual is held long, which is no position of a sleeve", where=place, hint=hint)
        return Holding(quantity, perpetual)

    found: Mapping[str, Holding] = _unique(read_rows(path, "quantity"), book, holding)
    return {symbol: held for symbol, held in found.items() if held.quantity}


def read_prices(path: Path, book: RuleBook, wanted: frozenset[str]) -> dict[str, Decimal]:
    """Read reference prices of the wanted symbols; an answer of ``GET /api/v3/ticker/price`` is such a table."""

    def price(value: object, perpetual: bool, place: str) -> Decimal:  # noqa: ARG001 - one price for coin and perpetual
        amount = number(value, "price", place)
        if amount <= 0:
            raise UsageError(f"price {value} is not positive", where=place, hint="give the pair's last price")
        return amount

    return _unique(read_rows(path, "price"), book, price, wanted)
