"""Trading rules of an exchange's pairs, from a recorded ``GET /api/v3/exchangeInfo`` or from a lake's instruments.

Rules are kept as the decimal numbers that the exchange wrote, since its filters are exact: 0.1 + 0.2 is not a multiple
of 0.1 in binary. A recorded answer is valid from its ``serverTime`` on.
"""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from assay.base import files
from assay.base.domain import EARLIEST, LATEST, UTC, Instrument, format_instant, symbol_fault
from assay.base.errors import SourceError
from assay.market.instruments import TRADING, valid_at
from assay.market.schema import INSTRUMENTS

EXCHANGE = "BINANCE"
OFF = Decimal(0)
"""A rule of this value is switched off, as in the exchange's own notation."""

MOST_BYTES = 256 << 20
"""Of an answer; the whole exchange has 15 MB."""

_NUMBERS = ("tick_size", "step_size", "min_qty", "min_notional")
"""Rules that a lake's table has."""
_NOT_SPOT = {
    *("futuresType", "contractType", "contractStatus", "contractSize", "marginAsset", "deliveryDate", "underlyingType"),
    *("optionContracts", "optionAssets", "optionSymbols", "expiryDate", "strikePrice"),
}
"""Fields of derivatives; no spot pair has one of them."""
_HINT = "record it anew: curl -o exchangeInfo.json https://api.binance.com/api/v3/exchangeInfo"


@dataclass(frozen=True, slots=True)
class TradingRules:
    """What the exchange accepts for one spot pair; a number of 0 switches its rule off."""

    instrument: Instrument
    """Base and quote as the exchange's metadata name them."""
    status: str
    """``TRADING``, or why not, in the exchange's words."""
    spot_allowed: bool | None
    """Whether the pair takes spot orders, as the next orders on margin; None where the source does not say."""
    margin_allowed: bool | None
    tick_size: Decimal
    """``PRICE_FILTER``, as the other prices, in quote currency."""
    step_size: Decimal
    """``LOT_SIZE``, as the other quantities, in base currency."""
    min_qty: Decimal
    min_notional: Decimal
    """``NOTIONAL``, or ``MIN_NOTIONAL`` of older answers, in quote currency."""
    min_price: Decimal = OFF
    max_price: Decimal = OFF
    max_qty: Decimal = OFF
    market_step: Decimal = OFF
    """``MARKET_LOT_SIZE``, as the next two: more limits for market orders."""
    market_min_qty: Decimal = OFF
    market_max_qty: Decimal = OFF
    max_notional: Decimal = OFF
    min_to_market: bool = True
    """Whether the least notional, as next the largest, holds for market orders too."""
    max_to_market: bool = True
    max_position: Decimal = OFF
    """``MAX_POSITION``: most of the base that an account may hold."""
    max_orders: int = 0
    """``MAX_NUM_ORDERS``: most open orders of an account in this pair."""
    permissions: str | None = None
    """Permission sets as the lake's table has them; None where the source does not tell them."""

    @property
    def symbol(self) -> str:
        """TradingView notation, ``BINANCE:BTCUSDT``."""
        return self.instrument.symbol


@dataclass(frozen=True)
class RuleBook:
    """Rules of every pair at one instant."""

    rules: Mapping[str, TradingRules]
    """By TradingView notation, sorted."""
    valid_from: dt.datetime
    """Since when they are known: the answer's ``serverTime``, or the latest row of a lake's table."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Pairs, in TradingView notation, whose entry cannot be used, with the reason."""
    complete: bool = True
    """Whether upper limits and the rules of market orders are known; a lake's table has none of them."""

    @cached_property
    def _names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for symbol, rule in self.rules.items():
            names |= dict.fromkeys((symbol, rule.instrument.exchange_symbol, rule.instrument.ccxt), symbol)
        return names

    def symbol(self, text: str) -> str | None:
        """Return the TradingView notation of a pair in any of the three, or None where there is no such pair."""
        return self._names.get(text)

    def frame(self) -> pl.DataFrame:
        """Return the rules in the columns of the lake's ``instruments`` table, sorted by symbol; open-ended."""
        return pl.DataFrame([self._row(rule) for rule in self.rules.values()], schema=INSTRUMENTS)

    def _row(self, rule: TradingRules) -> dict[str, Any]:
        pair = {"symbol": rule.symbol, "base": rule.instrument.base, "quote": rule.instrument.quote}
        numbers = {name: float(number) if (number := getattr(rule, name)) else None for name in _NUMBERS}
        facts = {name: getattr(rule, name) for name in ("status", "margin_allowed", "spot_allowed", "permissions")}
        facts["valid_from"] = self.valid_from
        return pair | numbers | facts


# --- a recorded answer ------------------------------------------------------------------------------------------------


def read_exchange_info(path: Path) -> RuleBook:
    """Read a recorded ``GET /api/v3/exchangeInfo``, plain or gzipped.

    Raises
    ------
    SourceError
        If the file cannot be read, or is no such answer. An entry that cannot be used does not stop the others: it is
        named in :attr:`RuleBook.unreadable`.
    """
    try:
        data = path.read_bytes()
        answer = json.loads(_unpacked(data) if data[:2] == b"\x1f\x8b" else data)
    except OSError as error:
        what = f"cannot read the exchange's metadata: {error.strerror or error}"
        raise SourceError(what, where=str(path), hint=_HINT) from error
    except (EOFError, zlib.error, ValueError, RecursionError) as error:
        what = f"the exchange's metadata are not JSON: {error}"
        raise SourceError(what, where=str(path), hint=_HINT) from error
    return parse_exchange_info(answer, str(path))


def _unpacked(data: bytes) -> bytes:
    """Unpack no more than an answer can have: a few kilobytes of gzip can hold gigabytes."""
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"unpacked, they have more than {MOST_BYTES:,} bytes")
    return content


def parse_exchange_info(answer: files.Json, where: str = "exchangeInfo") -> RuleBook:
    """Read an answer that is in memory; see :func:`read_exchange_info`.

    Examples
    --------
    >>> lot = {"filterType": "LOT_SIZE", "minQty": "0.10", "maxQty": "9000.00", "stepSize": "0.10"}
    >>> price = {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000.00", "tickSize": "0.01"}
    >>> pair = {"symbol": "TUSDT", "baseAsset": "T", "quoteAsset": "USDT", "status": "TRADING"}
    >>> book = parse_exchange_info({"serverTime": 1670093826124, "symbols": [pair | {"filters": [lot, price]}]})
    >>> book.symbol("T/USDT"), book.rules["BINANCE:TUSDT"].step_size
    ('BINANCE:TUSDT', Decimal('0.10'))
    """
    entries = answer.get("symbols") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(entries, list) or not entries:
        raise SourceError("this is not an answer of /api/v3/exchangeInfo: no symbols", where=where, hint=_HINT)
    _check_spot(answer, entries, where)
    valid_from = _server_time(answer.get("serverTime"), where)
    rules: dict[str, TradingRules] = {}
    unreadable: dict[str, str] = {}
    for number, entry in enumerate(entries):
        name = entry.get("symbol") if isinstance(entry, dict) else None
        symbol = f"{EXCHANGE}:{name}" if isinstance(name, str) else f"entry {number} of symbols"
        if rules.pop(symbol, None) is not None or symbol in unreadable:
            unreadable[symbol] = "it comes twice"
            continue
        try:
            rules[symbol] = _rules(entry)
        except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
            unreadable[symbol] = _why(error)
    if len(unreadable) > len(rules):
        name, why = next(iter(unreadable.items()))
        what = f"{len(unreadable)} of {len(entries)} pairs have no rules of the spot market, such as {name}: {why}"
        raise SourceError(what, where=where, hint=_HINT, code="RULES_UNREADABLE")
    return RuleBook(dict(sorted(rules.items())), valid_from, dict(sorted(unreadable.items())))


def _check_spot(answer: Mapping[str, Any], entries: list[Any], where: str) -> None:
    """Refuse the same endpoint's answer of futures and options, whose steps and minima are others."""
    keys = {key for entry in entries if isinstance(entry, dict) for key in entry} | answer.keys()
    found = sorted(keys & _NOT_SPOT)
    if found:
        what = f"these are rules of futures or options, not of the spot market: they have {', '.join(found)}"
        raise SourceError(what, where=where, hint=_HINT, code="RULES_NOT_SPOT")


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return "a number cannot be read" if isinstance(error, InvalidOperation) else str(error)


def _server_time(stamp: Any, where: str) -> dt.datetime:
    """Read milliseconds, or microseconds as clients may ask for since 2025; the sane ranges of the two never meet."""
    if isinstance(stamp, int) and not isinstance(stamp, bool):
        for per_second in (10**3, 10**6):
            if EARLIEST.timestamp() * per_second <= stamp < LATEST.timestamp() * per_second:
                return dt.datetime.fromtimestamp(stamp // per_second, UTC) + dt.timedelta(
                    microseconds=stamp % per_second * (10**6 // per_second)
                )
    raise SourceError(f"serverTime {stamp!r} is no instant: the rules have no date", where=where, hint=_HINT)


def _rules(entry: Mapping[str, Any]) -> TradingRules:
    instrument = Instrument(EXCHANGE, entry["baseAsset"], entry["quoteAsset"])
    fault = symbol_fault(instrument.symbol)
    if fault is not None:
        raise ValueError(f"the name has {fault}")
    if instrument.exchange_symbol != entry["symbol"]:
        raise ValueError(f"base {instrument.base} and quote {instrument.quote} do not make this name")
    if not isinstance(entry["filters"], list) or not all(isinstance(item, dict) for item in entry["filters"]):
        raise ValueError("its filters are no list of filters")
    filters = {str(item["filterType"]): item for item in entry["filters"]}
    lot, price = filters["LOT_SIZE"], filters["PRICE_FILTER"]
    return TradingRules(
        instrument=instrument,
        status=_status(entry),
        spot_allowed=_yes_or_no(entry, "isSpotTradingAllowed"),
        margin_allowed=_yes_or_no(entry, "isMarginTradingAllowed"),
        tick_size=_number(price, "tickSize"),
        min_price=_number(price, "minPrice"),
        max_price=_number(price, "maxPrice"),
        step_size=_positive(lot, "stepSize"),
        min_qty=_number(lot, "minQty"),
        max_qty=_number(lot, "maxQty"),
        market_step=_optional(filters, "MARKET_LOT_SIZE", "stepSize"),
        market_min_qty=_optional(filters, "MARKET_LOT_SIZE", "minQty"),
        market_max_qty=_optional(filters, "MARKET_LOT_SIZE", "maxQty"),
        max_position=_optional(filters, "MAX_POSITION", "maxPosition"),
        max_orders=int(_optional(filters, "MAX_NUM_ORDERS", "maxNumOrders")),
        permissions=_permissions(entry),
        **_notional(filters),
    )


def _status(entry: Mapping[str, Any]) -> str:
    if not isinstance(entry["status"], str):
        raise ValueError(f"its status is {entry['status']!r}")
    return entry["status"]


def _yes_or_no(entry: Mapping[str, Any], name: str) -> bool | None:
    said = entry.get(name)
    if said is not None and not isinstance(said, bool):
        raise ValueError(f"{name} is {said!r}, neither true nor false")
    return said


def _permissions(entry: Mapping[str, Any]) -> str | None:
    """Read ``permissionSets``, or the single set of older answers; empty ones tell nothing.

    >>> _permissions({"permissions": [], "permissionSets": [["SPOT", "MARGIN"], ["TRD_GRP_004"]]})
    'MARGIN SPOT & TRD_GRP_004'
    """
    sets = entry.get("permissionSets") or [entry.get("permissions") or []]
    if not isinstance(sets, list) or not all(isinstance(one, list) and _are_names(one) for one in sets):
        raise ValueError("its permission sets are no lists of names")
    return " & ".join(" ".join(sorted(one)) for one in sets if one) or None


def _are_names(one: list[Any]) -> bool:
    return all(isinstance(name, str) and re.fullmatch(r"[^\s&]+", name) for name in one)


def _notional(filters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Read ``NOTIONAL``, which took the place of ``MIN_NOTIONAL`` in 2023; where both are there, both hold."""
    new, old = filters.get("NOTIONAL", {}), filters.get("MIN_NOTIONAL", {})
    return {
        "min_notional": max(_optional(filters, name, "minNotional") for name in ("NOTIONAL", "MIN_NOTIONAL")),
        "max_notional": _optional(filters, "NOTIONAL", "maxNotional"),
        "min_to_market": bool(new.get("applyMinToMarket", False) or old.get("applyToMarket", False)),
        "max_to_market": bool(new.get("applyMaxToMarket", False)),
    }


def _optional(filters: Mapping[str, Mapping[str, Any]], kind: str, name: str) -> Decimal:
    """Read a number of a filter that need not be there; one that is there without its number is no spot filter."""
    return _number(filters[kind], name) if kind in filters else OFF


def _number(source: Mapping[str, Any], name: str) -> Decimal:
    if name not in source:
        raise ValueError(f"{source.get('filterType')} has no {name}")
    number = Decimal(str(source[name]))
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{name} is {source[name]}")
    return number


def _positive(source: Mapping[str, Any], name: str) -> Decimal:
    number = _number(source, name)
    if not number:
        raise ValueError(f"{name} is 0")
    return number


# --- a lake's table ---------------------------------------------------------------------------------------------------


def rules_from_instruments(table: pl.DataFrame, as_of: dt.datetime) -> RuleBook:
    """Return the rules that a lake's ``instruments`` table holds valid at an instant.

    Rules hold from ``valid_from`` up to, not including, ``valid_to``; of several rows the one that began last counts.
    The table's floats are read by their shortest digits, which are those that the exchange wrote.

    Raises
    ------
    SourceError
        If no row is valid then.
    """
    valid = valid_at(table, as_of)
    if valid.is_empty():
        raise SourceError(
            f"no row of the instruments is valid at {format_instant(as_of)}",
            where="instruments",
            hint="give the exchange's metadata with --instruments",
        )
    rules: dict[str, TradingRules] = {}
    unreadable: dict[str, str] = {}
    for row in valid.to_dicts():
        if row["step_size"] is None or row["status"] is None:
            unreadable[row["symbol"]] = "the lake's table has no step or no status for it"
        else:
            rules[row["symbol"]] = _of_row(row)
    latest: dt.datetime = valid["valid_from"].max()  # type: ignore[assignment]  # the column's type is known
    return RuleBook(rules, latest, unreadable, complete=False)


def _of_row(row: Mapping[str, Any]) -> TradingRules:
    numbers: dict[str, Any] = {name: OFF if row[name] is None else Decimal(repr(row[name])) for name in _NUMBERS}
    pair = Instrument(row["symbol"].partition(":")[0], row["base"], row["quote"])
    told = row.get("spot_allowed"), row["margin_allowed"]
    return TradingRules(pair, row["status"], *told, permissions=row.get("permissions"), **numbers)


# --- ccxt's markets ---------------------------------------------------------------------------------------------------


def rule_book(exchange: str, markets: Mapping[str, Mapping[str, Any]]) -> RuleBook:
    """Read ccxt's markets; only spot pairs are taken.

    Parameters
    ----------
    exchange : str
        ccxt's name, in capitals the first part of symbols.
    markets : mapping
        What ``load_markets`` returns. Steps are read as sizes of ticks, as nearly all exchanges of ccxt give them.

    Examples
    --------
    >>> found = {"base": "BTC", "quote": "USD", "spot": True, "active": True, "precision": {"price": 0.1,
    ...          "amount": 1e-08}, "limits": {"amount": {"min": 0.0001}, "cost": {"min": 0.5}}}
    >>> book = rule_book("kraken", {"BTC/USD": found})
    >>> book.rules["KRAKEN:BTCUSD"].step_size, book.rules["KRAKEN:BTCUSD"].status
    (Decimal('1E-8'), 'TRADING')
    """
    rules: dict[str, TradingRules] = {}
    unreadable: dict[str, str] = {}
    for name, market in markets.items():
        try:
            if not market.get("spot"):
                continue
            pair = Instrument(exchange.upper(), str(market["base"]), str(market["quote"]))
            fault = symbol_fault(pair.symbol)
            if fault is None:
                rules[pair.symbol] = _of_market(pair, market)
            else:
                unreadable[pair.symbol] = f"the name has {fault}"
        except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
            unreadable[f"{exchange.upper()}:{name}"] = _why(error)
    return RuleBook(dict(sorted(rules.items())), dt.datetime.now(UTC), unreadable, complete=False)


def _of_market(pair: Instrument, market: Mapping[str, Any]) -> TradingRules:
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    active = market.get("active")
    return TradingRules(
        instrument=pair,
        status=TRADING if active or active is None else "BREAK",
        spot_allowed=None,
        margin_allowed=_yes_or_no(market, "margin"),
        permissions=_permissions(told) if isinstance(told := market.get("info"), dict) else None,
        tick_size=_decimal(precision.get("price")),
        step_size=_decimal(precision.get("amount")),
        min_qty=_decimal((limits.get("amount") or {}).get("min")),
        min_notional=_decimal((limits.get("cost") or {}).get("min")),
    )


def _decimal(value: Any) -> Decimal:
    number = OFF if value is None else Decimal(repr(value) if isinstance(value, float) else str(value))
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number
