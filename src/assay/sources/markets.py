"""What ccxt's unified markets say of pairs, as trading rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from assay.base.domain import UTC, Instrument, symbol_fault
from assay.sources.rules import OFF, RuleBook, TradingRules


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
    for market in markets.values():
        if not market.get("spot"):
            continue
        pair = Instrument(exchange.upper(), str(market["base"]), str(market["quote"]))
        fault = symbol_fault(pair.symbol)
        if fault is None:
            rules[pair.symbol] = _rules(pair, market)
        else:
            unreadable[pair.symbol] = f"the name has {fault}"
    return RuleBook(dict(sorted(rules.items())), dt.datetime.now(UTC), unreadable, complete=False)


def _rules(pair: Instrument, market: Mapping[str, Any]) -> TradingRules:
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    active = market.get("active")
    return TradingRules(
        instrument=pair,
        status="TRADING" if active or active is None else "BREAK",
        spot_allowed=None,
        margin_allowed=market.get("margin"),
        tick_size=_number(precision.get("price")),
        step_size=_number(precision.get("amount")),
        min_qty=_number((limits.get("amount") or {}).get("min")),
        min_notional=_number((limits.get("cost") or {}).get("min")),
    )


def _number(value: Any) -> Decimal:
    return OFF if value is None else Decimal(repr(value) if isinstance(value, float) else str(value))
