"""Markets made of plain price tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from assay.backtest.book import Prices, Target
from assay.base.domain import UTC
from assay.market.panel import BAR_FIELDS, RATING_FIELDS, Market
from assay.settings.model import Costs, WalkForward

SIDES = ("long", "short", "mixed", "net-zero")
NAN = float("nan")


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


def generated(seed: int) -> tuple[Prices, list[Target], int, Costs]:
    """Bars with holes and delistings, and targets of one to five tranches."""
    rng = np.random.default_rng([16, seed])
    side, n_tranches = SIDES[seed % 4], (1, 1, 2, 5)[seed // 4 % 4]
    n_days, n_coins = int(rng.integers(20, 45)), int(rng.integers(2, 7))
    calm = seed % 5 == 0  # coins that hardly move, highly leveraged: what ends there ends by a delisting's haircut
    wild = 0.001 if calm else rng.choice([0.03, 0.1, 0.25])
    close = np.exp(np.cumsum(rng.normal(0, wild, (n_days, n_coins)), axis=0))
    before = np.vstack([close[:1], close[:-1]])
    open_ = before * np.exp(rng.normal(0, wild / 4, close.shape) + (rng.random(close.shape) < 0.02 * (not calm)) * 0.5)
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, wild / 2, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, wild / 2, close.shape)))
    gone = rng.random(close.shape) < rng.choice([0.0, 0.05, 0.2])
    for column in np.flatnonzero(rng.random(n_coins) < (0.7 if calm else 0.3)):
        begin = int(rng.integers(3, n_days))
        gone[begin : begin + int(rng.integers(3, 12)), column] = True
    for values in (open_, high, low, close):
        values[gone] = NAN
    targets = []
    step = max(n_tranches, int(rng.integers(2, 6))) if n_tranches == 1 else 1
    for index, row in enumerate(range(int(rng.integers(0, 3)), n_days - 1, step)):
        weights = rng.dirichlet(np.ones(n_coins)) * (7.0 if calm else rng.choice([1.0, 2.0, 5.0, 9.0]))
        if side == "short":
            weights = -weights
        elif side == "mixed":
            weights = weights * rng.choice([-1.0, 1.0], n_coins)
        elif side == "net-zero":
            weights = weights - weights.mean()
        weights[rng.random(n_coins) < 0.2] = 0.0
        if rng.random() < 0.1:
            weights[:] = 0.0
        targets.append(Target(row, index % n_tranches, weights))
    rates = rng.choice([0.05, 0.1, 0.8], close.shape)
    costs = Costs(delisting_haircut=0.3 if calm else 0.1)
    return Prices(open_, high, low, close, listings(close), rates), targets, n_tranches, costs
