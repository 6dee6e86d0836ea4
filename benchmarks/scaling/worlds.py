"""Generated markets: random walks from fixed seeds, as files that a user could have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

SEED = 20240630
LAST_DAY = np.datetime64("2024-06-30", "us")
BENCHMARK = "BINANCE:BTCUSDT"


def names(symbols: int) -> list[str]:
    """Return names of symbols; the first is the benchmark."""
    return [BENCHMARK, *(f"BINANCE:C{number:05d}USDT" for number in range(1, symbols))]


def source_bars(symbols: int, days: int, later: int = 0) -> pl.DataFrame:
    """Return daily bars in the columns of a Parquet source, rows of a symbol together.

    A symbol's bars depend on its number alone; ``later`` days follow the same ``days``, with the same values before.
    """
    return pl.concat([_symbol(number, name, days, later) for number, name in enumerate(names(symbols))])


def _symbol(number: int, name: str, days: int, later: int) -> pl.DataFrame:
    # Rows of draws per day, so that a longer history only adds to a shorter one.
    draws = np.random.default_rng([SEED, number]).standard_normal((days + later, 5))
    close = 100.0 * np.exp(np.cumsum(0.03 * draws[:, 0]))
    opened = np.concatenate([[100.0], close[:-1]])
    opens = LAST_DAY + (np.arange(days + later) - days + 1) * np.timedelta64(1, "D")
    return pl.DataFrame(
        {
            "symbol": pl.repeat(name, days + later, eager=True),
            "timestamp": pl.Series(opens).dt.replace_time_zone("UTC"),
            "open": opened,
            "high": np.maximum(opened, close) * np.exp(0.01 * np.abs(draws[:, 1])),
            "low": np.minimum(opened, close) * np.exp(-0.01 * np.abs(draws[:, 2])),
            "close": close,
            "volume": np.exp(11 + draws[:, 3]),
            "quote_volume": close * np.exp(11 + draws[:, 3]),
        }
    )


def lake_bars(symbols: int, days: int) -> pl.DataFrame:
    """Return the same bars in the columns of a lake."""
    bars = source_bars(symbols, days).rename({"timestamp": "open_time"})
    return bars.drop("quote_volume").with_columns(interval=pl.lit("1d"))


def write(path: Path, symbols: int, days: int, later: int = 0) -> Path:
    """Write the bars as a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source_bars(symbols, days, later).write_parquet(path, row_group_size=100_000)
    return path


def write_lake_bars(path: Path, symbols: int, days: int) -> None:
    """Write bars in the columns of a lake."""
    lake_bars(symbols, days).write_parquet(path)
