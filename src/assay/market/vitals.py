"""Health of every symbol of a market at once: toxic, stale, delisted, as arrays that a rebalance can afford."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from assay.base.domain import DAY, UTC
from assay.market.panel import Market
from assay.market.returns import TOXIC_RETURN

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FLAT_CLOSES = 5
"""So many identical closes with volume at the end are no market: a frozen price."""
DELISTED_DAYS = 3
"""So many missing days end a listing."""
TOXIC_REASONS = ("NON_POSITIVE", "INCONSISTENT_OHLC")
"""Reasons of the quarantine that speak against a symbol, not only against a row."""


@dataclass(frozen=True)
class Vitals:
    """Health of every symbol of a market, as arrays over its symbols.

    Attributes
    ----------
    last : (n_symbols,) int64 array
        Row of the last bar, -1 where there is none.
    overdue : (n_symbols,) int64 array
        Bars that have closed by ``as_of`` and are not there, at the end; all rows where there is no bar.
    jumps : (n_symbols,) bool array
        A day's return above 500 %, up or down.
    broken : (n_symbols,) bool array
        Non-positive or inconsistent prices in the window, or in the quarantine.
    flat : (n_symbols,) bool array
        The last five closes are identical and each has volume.
    """

    last: Ints
    overdue: Ints
    jumps: Mask
    broken: Mask
    flat: Mask

    @cached_property
    def toxic(self) -> Mask:
        """A jump, broken prices or a frozen price."""
        return self.jumps | self.broken | self.flat

    @cached_property
    def stale(self) -> Mask:
        """No bar for 24 h past its close; delisted and missing symbols are stale too."""
        return self.overdue >= 1

    @cached_property
    def delisted(self) -> Mask:
        """Three or more days are missing at the end."""
        return (self.overdue >= DELISTED_DAYS) & (self.last >= 0)


def toxic_or_stale(market: Market, quarantined: Mapping[str, str] | None = None) -> Vitals:
    """Examine every symbol of a market at once.

    Parameters
    ----------
    market : Market
        The window that the decision sees.
    quarantined : mapping of str to str, optional
        Symbol to the reasons of its rows in quarantine.

    Returns
    -------
    Vitals
        ``toxic`` and ``stale`` are the vetoes.
    """
    bars = market.listing >= 0
    rows = bars.shape[0]
    last = np.where(bars.any(axis=0), rows - 1 - bars[::-1].argmax(axis=0), -1).astype(np.int64)
    broken = _broken(market)
    for symbol, reasons in (quarantined or {}).items():
        if symbol in market.index and speaks_against(reasons):
            broken[market.index[symbol]] = True
    return Vitals(
        last=last,
        overdue=expected_row(market) - last,
        jumps=_jumps(market),
        broken=broken,
        flat=_flat(market, last),
    )


def speaks_against(reasons: str) -> bool:
    """Whether reasons of the quarantine speak against the symbol itself."""
    return not set(re.findall(r"[A-Z_]+", reasons)).isdisjoint(TOXIC_REASONS)


def expected_row(market: Market) -> int:
    """Return the row of the last bar that has closed by ``as_of``; it may lie behind the market's last day."""
    last_open = np.datetime64((market.as_of.astimezone(UTC) - DAY).replace(tzinfo=None), "D")
    return int((last_open - market.days[0]).astype(np.int64))


def _jumps(market: Market) -> Mask:
    """Columns with a return beyond 500 %; only few rows can have one, and only these are divided."""
    close = market["close"]
    result = np.zeros(close.shape[1], dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        suspects = np.flatnonzero((close[1:] > TOXIC_RETURN * close[:-1]).any(axis=0) | (close <= 0).any(axis=0))
    if suspects.size:
        with np.errstate(invalid="ignore"):
            result[suspects] = (np.abs(closes_of(market, suspects).returns()) > TOXIC_RETURN).any(axis=0)
    return result


def closes_of(market: Market, columns: npt.NDArray[np.intp]) -> Market:
    """Return a market of some columns that holds their closes only."""
    return Market(
        days=market.days,
        symbols=tuple(market.symbols[i] for i in columns),
        fields={"close": market["close"][:, columns]},
        listing=market.listing[:, columns],
        as_of=market.as_of,
    )


def _broken(market: Market) -> Mask:
    low, high = market["low"], market["high"]
    with np.errstate(invalid="ignore"):
        faults = high < market["open"]
        faults |= high < market["close"]
        faults |= low > market["open"]
        faults |= low > market["close"]
        faults |= low <= 0
    return np.asarray(faults.any(axis=0))


def _flat(market: Market, last: Ints) -> Mask:
    """Columns whose last five bars have one listing, one close, and volume each; days without a bar do not count."""
    tail = last - np.arange(FLAT_CLOSES)[:, None]
    inside = (tail >= 0).all(axis=0)
    columns = np.arange(last.size)
    rows = np.maximum(tail, 0)
    whole = inside & (market.listing[rows, columns] >= 0).all(axis=0)
    result = np.zeros(last.size, dtype=np.bool_)
    result[whole] = _frozen(market, rows[:, whole], columns[whole])
    for column in np.flatnonzero(~whole & (last >= 0)):
        bars = np.flatnonzero(market.listing[:, column] >= 0)[-FLAT_CLOSES:]
        if bars.size == FLAT_CLOSES:
            result[column] = bool(_frozen(market, bars[:, None], np.array([column]))[0])
    return result


def _frozen(market: Market, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Mask:
    close, listing, volume = (
        market["close"][rows, columns],
        market.listing[rows, columns],
        market["volume"][rows, columns],
    )
    frozen: Mask = ((close == close[0]) & (listing == listing[0]) & (volume > 0)).all(axis=0)
    return frozen
