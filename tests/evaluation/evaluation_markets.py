"""Markets made of plain price tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from assay.backtest.book import Prices
from assay.base.domain import UTC
from assay.market.panel import BAR_FIELDS, RATING_FIELDS, Market
from assay.settings.model import WalkForward


@dataclass(frozen=True)
class Decided:
    """A decision by hand."""

    net: dict
    unguarded: dict
    loss_makers: tuple[str, ...] = ()
    summary: dict = field(default_factory=dict)


def make_market(close: np.ndarray, open_: np.ndarray | None = None, first: str = "2023-01-01") -> Market:
    """Market of BINANCE:AAUSDT, BINANCE:ABUSDT, ... and BINANCE:BTCUSDT last; NaN closes are days without a bar."""
    n_days, n_symbols = close.shape
    names = [f"BINANCE:A{chr(65 + i)}USDT" for i in range(n_symbols - 1)] + ["BINANCE:BTCUSDT"]
    open_ = close.copy() if open_ is None else open_
    blank = np.full_like(close, np.nan)
    fields = dict.fromkeys((*BAR_FIELDS, *RATING_FIELDS), blank) | {"open": open_, "close": close}
    fields |= {"high": np.fmax(open_, close), "low": np.fmin(open_, close)}
    days = np.arange(np.datetime64(first), np.datetime64(first) + n_days)
    last = (days[-1] + 1).astype("datetime64[s]").item().replace(tzinfo=UTC)
    return Market(days, tuple(names), fields, listings(close), last)


def prices(close, open_=None, high=None, low=None, *, listing=None, borrow: float = 0.1) -> Prices:
    """Prices of a book: bars as high and low as open and close reach, listings that three missing days end."""
    open_ = close if open_ is None else open_
    return Prices(
        open_,
        np.fmax(open_, close) if high is None else high,
        np.fmin(open_, close) if low is None else low,
        close,
        listings(close) if listing is None else listing,
        np.full(close.shape, borrow),
    )


def listings(close: np.ndarray) -> np.ndarray:
    """Ordinal of the listing of each bar: three missing days in a row end one."""
    result = np.full(close.shape, -1, dtype=np.int32)
    for column in range(close.shape[1]):
        ordinal, missing = 0, 0
        begun = False
        for row in range(close.shape[0]):
            if np.isnan(close[row, column]):
                missing += 1
                continue
            ordinal += int(begun and missing >= 3)
            begun, missing = True, 0
            result[row, column] = ordinal
    return result


def single(**settings) -> WalkForward:
    """A walk-forward of one tranche, anchored at its first decision."""
    return WalkForward(tranches=1, **settings)
