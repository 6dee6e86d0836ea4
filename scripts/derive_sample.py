"""Derive the embedded sample of bars from a published wheel.

    python scripts/derive_sample.py factorlab-0.1.41-py3-none-any.whl

The wheel is on the Python package index (``pip download --no-deps factorlab==0.1.41``). Nothing is fetched here: the
path is an argument, and the wheel's SHA-256 is checked before a byte of it is used. With the Polars of the lock file
the output is the same to the byte.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import polars as pl

WHEEL_SHA256 = "43b3a0b894c62014a8810cdeb575bee16f99efca3fcf0c49292cc5294ff2c7bf"
MEMBER = "factorlab/datasets/data/binance_spot_prices.csv"
IN_PROGRESS = dt.date(2024, 1, 22)  # the day on which the collection was made: its bar had not closed
TARGET = Path(__file__).resolve().parents[1] / "src/assay/sources/sample/binance_spot_daily_2023.parquet"
VALUES = ("open", "high", "low", "close", "volume")


def derive(text: bytes) -> pl.DataFrame:
    """Turn the CSV into bars: symbols in TradingView notation, open times in UTC, closed bars only."""
    types = {"date": pl.String, "ticker": pl.String, **dict.fromkeys(VALUES, pl.Float64)}
    day = pl.col("date").str.to_date("%-m/%-d/%y", strict=True)
    return (
        pl.read_csv(io.BytesIO(text), schema_overrides=types)
        .with_columns(day)
        .filter(pl.col("date") < IN_PROGRESS)
        .select(
            pl.format("BINANCE:{}USDT", "ticker").alias("symbol"),
            pl.col("date").cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").alias("timestamp"),
            *VALUES,
        )
        .sort("symbol", "timestamp")
    )


def encode(bars: pl.DataFrame) -> bytes:
    """Write the bars as one small Parquet file; equal bars give equal bytes."""
    buffer = io.BytesIO()
    bars.write_parquet(buffer, compression="zstd", compression_level=22, row_group_size=bars.height, statistics=False)
    return buffer.getvalue()


def read_wheel(path: Path) -> bytes:
    """Return the CSV of the wheel that the sample is defined by, or end with a message."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != WHEEL_SHA256:
        sys.exit(f"{path}: SHA-256 is {found}, expected {WHEEL_SHA256}; get factorlab==0.1.41")
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        return wheel.read(MEMBER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--to", type=Path, default=TARGET)
    arguments = parser.parse_args()
    bars = derive(read_wheel(arguments.wheel))
    data = encode(bars)
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    arguments.to.write_bytes(data)
    print(f"{arguments.to}: {bars.height} bars, {bars['symbol'].n_unique()} symbols, {len(data)} bytes")
    print(f"sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
