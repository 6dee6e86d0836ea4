"""Markets, candidates and profiles for the tests of the alpha room."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.market.panel import Market
from assay.market.returns import ReturnsMatrix, returns_matrix
from assay.runs.documents import Candidate
from assay.settings.model import Profile

Floats = npt.NDArray[np.float64]
FIRST = np.datetime64("2022-01-01")
BENCHMARK = "BINANCE:BTCUSDT"


def names(n: int) -> list[str]:
    return [BENCHMARK, *(f"BINANCE:C{i:03d}USDT" for i in range(n - 1))]


def random_returns(n_days: int, n: int, seed: int = 0, drift: float = 0.002) -> Floats:
    """Returns with common factors, fat tails and different drifts."""
    rng = np.random.default_rng(seed)
    factors = 0.02 * rng.standard_t(5, (n_days, 3))
    loads = rng.uniform(0.0, 1.0, (3, n))
    own = rng.uniform(0.01, 0.03, n) * rng.standard_t(4, (n_days, n))
    returns = drift * rng.uniform(-1.0, 3.0, n) + factors @ loads + own
    return np.clip(returns, -0.6, 0.9)


def market_of(
    returns: Floats, *, missing: npt.NDArray[np.bool_] | None = None, seed: int = 0, symbols: Sequence[str] = ()
) -> Market:
    """A market whose close-to-close returns are these; its first day has no return."""
    n_days, n = returns.shape
    rng = np.random.default_rng(seed + 1)
    close = 10.0 * np.cumprod(np.vstack([np.ones(n), 1.0 + returns]), axis=0)
    shape = close.shape
    fields = {
        "open": close * 0.99,
        "high": close * 1.02,
        "low": close * 0.97,
        "close": close,
        "volume": np.full(shape, 1e6),
        "value_traded": rng.lognormal(np.log(8e6), 1.0, shape),
        "recommend_ma": np.round(rng.uniform(-1, 1, shape), 2),
        "recommend_other": np.round(rng.uniform(-1, 1, shape), 2),
        "adx": rng.uniform(5, 60, shape),
    }
    fields["recommend_all"] = (fields["recommend_ma"] + fields["recommend_other"]) / 2
    listing = np.zeros(shape, dtype=np.int32)
    if missing is not None:
        gone = np.vstack([np.zeros((1, n), dtype=np.bool_), missing])
        listing[gone] = -1
        for values in fields.values():
            values[gone] = np.nan
    days = FIRST + np.arange(n_days + 1)
    as_of = dt.datetime.combine(days[-1].item(), dt.time(), dt.UTC) + dt.timedelta(days=1)
    return Market(days, tuple(symbols or names(n)), fields, listing, as_of)


def profile(direction: str = "LONG", **changes: Any) -> Profile:
    logics = changes.pop("logics", ("rating_all",))
    values = {"name": "test", "direction": direction, "logics": logics, "scanners": ("scan",)} | changes
    return Profile.model_validate(values)


def candidate(symbol: str, direction: str = "LONG", logic: str = "rating_all", **changes: Any) -> Candidate:
    values = {
        "symbol": symbol,
        "logic": logic,
        "direction": direction,
        "scan_direction": direction,
        "scanners": ["scan"],
        "rank": 1,
        "fields": {},
    }
    return Candidate.model_validate(values | changes)


def candidates(symbols: Iterable[str], direction: str = "LONG", logic: str = "rating_all") -> list[Candidate]:
    return [candidate(symbol, direction, logic, rank=i) for i, symbol in enumerate(symbols, 1)]


def matrix(market: Market, wanted: Profile, symbols: Iterable[str] | None = None) -> ReturnsMatrix:
    return returns_matrix(market, symbols or market.symbols, BENCHMARK, wanted.data)
