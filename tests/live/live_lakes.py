"""Small lakes of real bars."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from assay.sources.files import SAMPLE

COINS = ("ADA", "BNB", "BTC", "ETH", "SOL", "TRX")


def few_coins(path: Path, coins: tuple[str, ...] = COINS) -> str:
    """Write some coins of the embedded sample to a file and return it as a source."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pl.read_parquet(SAMPLE)
    table.filter(pl.col("symbol").is_in([f"BINANCE:{coin}USDT" for coin in coins])).write_parquet(path)
    return f"parquet:{path}"
