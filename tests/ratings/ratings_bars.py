"""Random bars."""

from __future__ import annotations

import numpy as np
import polars as pl


def walk(seed: int, bars: int, symbols: int = 1) -> pl.DataFrame:
    """Random daily bars in lake columns; open, high, low and close are consistent."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.03, (symbols, bars)), axis=1))
    open_ = np.concatenate([np.full((symbols, 1), 100.0), close[:, :-1]], axis=1)
    high = np.maximum(open_, close) * (1 + random.exponential(0.01, (symbols, bars)))
    low = np.minimum(open_, close) * (1 - random.uniform(0, 0.02, (symbols, bars)))
    volume = random.lognormal(8, 1, (symbols, bars))
    days = np.datetime64("2020-01-01", "us") + np.arange(bars) * np.timedelta64(1, "D")
    return pl.DataFrame(
        {
            "symbol": np.repeat([f"BINANCE:C{i:03d}USDT" for i in range(symbols)], bars),
            "interval": "1d",
            "open_time": pl.Series(np.tile(days, symbols)).dt.replace_time_zone("UTC"),
            "open": open_.ravel(),
            "high": high.ravel(),
            "low": low.ravel(),
            "close": close.ravel(),
            "volume": volume.ravel(),
            "quote_volume": (close * volume).ravel(),
            "source": "test",
        }
    )
