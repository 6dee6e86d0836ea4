"""Small files of bars that tests spoil: a dozen coins of a made market, day by day."""

from __future__ import annotations

import datetime as dt
import zipfile
from pathlib import Path

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


def kline_files(folder: Path, table: pl.DataFrame, micro_from: int = 2023) -> None:
    """Write a table as Binance's archive publishes it: a month of a coin in a file, without names, every other zipped.

    Its stamps turn from milliseconds to microseconds with a year (2025 in the real one).
    """
    folder.mkdir(parents=True, exist_ok=True)
    month = pl.col("timestamp").dt.strftime("%Y-%m")
    for (symbol, name), bars in table.group_by("symbol", month.alias("month"), maintain_order=True):
        unit = "us" if int(name[:4]) >= micro_from else "ms"
        close = (pl.col("timestamp") + DAY).dt.epoch(unit) - 1
        more = {"count": pl.lit(9), "taker_base": pl.lit("1.5"), "taker_quote": pl.lit("2.5"), "ignore": pl.lit(0)}
        rows = bars.select(
            pl.col("timestamp").dt.epoch(unit),
            "open",
            "high",
            "low",
            "close",
            "volume",
            close.alias("close_time"),
            "quote_volume",
            *(value.alias(key) for key, value in more.items()),
        )
        stem, text = f"{symbol.partition(':')[2]}-1d-{name}", rows.write_csv(include_header=False)
        if int(name[5:]) % 2:
            (folder / f"{stem}.csv").write_text(text)
        else:
            with zipfile.ZipFile(folder / f"{stem}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{stem}.csv", text)
            (folder / f"{stem}.zip.CHECKSUM").write_text(f"0 {stem}.zip\n")
