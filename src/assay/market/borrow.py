"""What borrowing a coin costs, a year, day by day: as far as it was known at each day's close.

A rate holds from its day on, until a later one is known, for :data:`HOLDS` days at most; after them, and before the
first, nobody knows it, and the profile's ``costs.borrow`` stands in. A rate that became known later than it began
counts from then: whoever decides at a close, or charges a day at its close, reads the same number.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from assay.base.constants import Days, Floats, Ints
from assay.base.domain import Instrument
from assay.base.errors import UsageError
from assay.market.panel import Market

HOLDS = 30
"""Days after its own on which a rate still stands for one that is missing."""
RATE, AGE = "borrow", "borrow_age"
CARRY_FIELDS = (RATE, AGE)
"""Fields of a market whose lake has rates: the rate, NaN where none is known, and the days since its own."""
_DAY_US = 86_400_000_000


def panels(table: pl.DataFrame, symbols: Sequence[str], days: Days) -> dict[str, Floats]:
    """Return what was known at each day's close of the bases of some pairs.

    Parameters
    ----------
    table : DataFrame
        Rows of the lake's ``borrow``.
    symbols : sequence of str
        ``EXCHANGE:BASEQUOTE``; one that cannot be split has no rate.
    days : (n_days,) datetime64[D] array

    Returns
    -------
    dict of str to (n_days, n_symbols) array
        :data:`CARRY_FIELDS`.
    """
    known = _by_knowledge(table)
    names = {base: code for code, base in enumerate(known["base"].unique(maintain_order=True).to_list())}
    code = np.array([names.get(_base(symbol), -1) for symbol in symbols], dtype=np.int64)
    day = days.astype("datetime64[D]").astype(np.int64)
    span = 1 << 32
    keys = known["base"].replace_strict(names, return_dtype=pl.Int64).to_numpy() * span + known["since"].to_numpy()
    at = np.searchsorted(keys, code[None, :] * span + day[:, None], side="right") - 1
    shape = (len(day), len(code))
    found: Ints = np.maximum(at, 0)
    if not len(keys):
        return {name: np.full(shape, np.nan) for name in CARRY_FIELDS}
    age = day[:, None] - known["began"].to_numpy()[found]
    there = (at >= 0) & (keys[found] // span == code[None, :]) & (age <= HOLDS)
    rate = known["rate"].to_numpy()[found]
    return {RATE: np.where(there, rate, np.nan), AGE: np.where(there, age.astype(np.float64), np.nan)}


def _by_knowledge(table: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by base and the day at whose close they count, each with the latest rate that is known by then."""
    begins = pl.col("from").to_physical() // _DAY_US
    known_by = -(-pl.col("known_at").to_physical() // _DAY_US) - 1  # at the close of that day at the latest
    rows = table.sort("base", "from", "known_at").with_row_index("rank")
    rows = rows.with_columns(since=pl.max_horizontal(begins, known_by)).sort("base", "since", "rank")
    latest = rows.select(pl.col("rank").cum_max().over("base"))["rank"]
    ranked = table.sort("base", "from", "known_at")[latest.to_list()] if rows.height else table
    return pl.DataFrame(
        {"base": rows["base"], "since": rows["since"], "rate": ranked["rate"]},
    ).with_columns(began=ranked["from"].to_physical() // _DAY_US)


def _base(symbol: str) -> str:
    try:
        return Instrument.parse(symbol).base
    except UsageError:
        return ""


def last_rates(market: Market, columns: Sequence[int]) -> Floats | None:
    """Return the last rates known at the market's instant, NaN where none is; None where the lake has no rates."""
    return None if RATE not in market.fields else np.asarray(market[RATE][-1, list(columns)])


def rates_at(table: pl.DataFrame | None, symbols: Sequence[str], as_of: dt.datetime) -> Floats | None:
    """Return the same from the lake's table."""
    if table is None:
        return None
    last = np.array([np.datetime64(as_of.replace(tzinfo=None), "D") - 1])
    rates: Floats = panels(table, symbols, last)[RATE][0]
    return rates


def rates_in_force(market: Market, default: float) -> Floats:
    """Return the rate that shorts owe on each day, (n_days, n_symbols)."""
    if RATE not in market.fields:
        return np.broadcast_to(default, market.listing.shape)
    return np.where(np.isnan(market[RATE]), default, market[RATE])


def rate_gaps(market: Market, books: Mapping[str, tuple[Ints, Ints, Floats]]) -> dict[str, int] | None:
    """Count the days of shorts, of all books, and how their rate was known; None where the lake has no rates.

    Parameters
    ----------
    market : Market
    books : mapping of str to (rows, columns, quantities)
        Rows and columns of the market, and (n_days, n_held) units after each close.
    """
    if RATE not in market.fields:
        return None
    counts = {"short_days": 0, "last_known": 0, "default": 0}
    for rows, columns, units in books.values():
        age = market[AGE][np.ix_(rows, columns)][units < 0.0]
        counts["short_days"] += len(age)
        counts["last_known"] += int((age > 0.0).sum())
        counts["default"] += int(np.isnan(age).sum())
    return counts
