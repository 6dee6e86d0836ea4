"""What an exchange says of a symbol at an instant: known, unknown, or that it has no such symbol.

UNKNOWN means that the source has no table of instruments, as the sample and files have none; ABSENT that it has one,
and not this symbol at that instant. Only ABSENT keeps a candidate out; UNKNOWN is told as a finding, and orders
refuse it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from assay.market.panel import Market

TRADING = "TRADING"
"""Status of a pair that takes orders, in the exchange's words."""

_FACTS = ("status", "tick_size", "step_size", "min_qty", "min_notional", "margin_allowed")


@dataclass(frozen=True, slots=True)
class InstrumentFact:
    """Facts of one symbol at one instant; all None unless KNOWN, and None where the exchange does not say."""

    state: Literal["KNOWN", "UNKNOWN", "ABSENT"]
    tick_size: float | None = None
    """Step of prices, in quote currency."""
    step_size: float | None = None
    """Step of quantities, in base currency."""
    min_qty: float | None = None
    """Least quantity of an order, in base currency."""
    min_notional: float | None = None
    """Least value of an order, in quote currency."""
    margin_allowed: bool | None = None
    """Whether the pair may be sold short with borrowed coins."""
    status: str | None = None
    """Trading status in the exchange's words, such as ``TRADING``."""


def valid_at(table: pl.DataFrame, as_of: dt.datetime) -> pl.DataFrame:
    """Return the rows of a table of instruments that are valid at an instant, one of each symbol, sorted by it."""
    ended = pl.col("valid_to").is_not_null() & (pl.col("valid_to") <= as_of)
    valid = table.filter((pl.col("valid_from") <= as_of) & ~ended).sort("symbol", "valid_from")
    return valid.unique("symbol", keep="last", maintain_order=True)


def facts(market: Market, symbols: Iterable[str]) -> dict[str, InstrumentFact]:
    """Return what is known of symbols at the market's instant.

    Facts hold from ``valid_from`` up to, not including, ``valid_to``; of several rows the one that began last counts.

    Parameters
    ----------
    market : Market
        ``as_of`` and ``instruments``.
    symbols : iterable of str
        In any order; the result keeps it.
    """
    wanted = list(dict.fromkeys(symbols))
    if market.instruments is None:
        return dict.fromkeys(wanted, InstrumentFact("UNKNOWN"))
    valid = valid_at(market.instruments.filter(pl.col("symbol").is_in(wanted)), market.as_of)
    known = {row.pop("symbol"): InstrumentFact("KNOWN", **row) for row in valid.select("symbol", *_FACTS).to_dicts()}
    return {symbol: known.get(symbol, InstrumentFact("ABSENT")) for symbol in wanted}
