"""Small files of bars that tests spoil: a dozen coins of a made market, day by day."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from assay.base.domain import DAY, UTC

FIRST = dt.datetime(2022, 6, 1, tzinfo=UTC)
BASES = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOGE", "LTC", "LINK", "DOT", "UNI", "ATOM", "NEAR")


def made(days: int = 400, bases: tuple[str, ...] = BASES, seed: int = 1) -> pl.DataFrame:
    """Bars of coins that follow a common factor, each with some of its own, and a drift that turns now and then."""
    dice = np.random.default_rng(seed)
    market = dice.normal(0.0, 0.02, days)
    parts = []
    for number, base in enumerate(bases):
        turn = 0.004 * np.sin(np.arange(days) / (17.0 + 3 * number) + number)
        close = (10.0 + number) * np.exp(np.cumsum(market + turn + dice.normal(0.0, 0.03, days)))
        opened = np.concatenate([[close[0]], close[:-1]])
        high, low = np.maximum(opened, close) * 1.02, np.minimum(opened, close) * 0.98
        volume = dice.uniform(1e6, 3e6, days)
        parts.append(
            pl.DataFrame(
                {
                    "symbol": [f"BINANCE:{base}USDT"] * days,
                    "timestamp": [FIRST + day * DAY for day in range(days)],
                    "open": opened,
                    "high": high,
                    "low": low,
                    "close": close,
                    "volume": volume,
                    "quote_volume": volume * close,
                }
            )
        )
    return pl.concat(parts)
