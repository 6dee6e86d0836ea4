"""Rating many symbols of hourly bars from one Parquet file: time and peak memory of ``ingest``, in a child process.

The file is generated: random walks from a fixed seed, rows of a symbol together. Before anything is measured, a small
file is loaded whole and by shards, and the tables must be equal row by row.

    python -m benchmarks.memory [SYMBOLS] [BARS] [WORKERS]     # 2,000 x 43,800 = 88 M rows; needs 25 GB of disk
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

LIMIT = 2 * 1024.0
"""MB that a process may take."""
HOUR = np.timedelta64(1, "h")
SEED = 20240630


def symbol_bars(number: int, bars: int) -> pl.DataFrame:
    """One symbol's hourly bars as a source has them."""
    random = np.random.default_rng([SEED, number])
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.01, bars)))
    opened = np.concatenate([[100.0], close[:-1]])
    return pl.DataFrame(
        {
            "symbol": pl.repeat(f"BINANCE:C{number:05d}USDT", bars, eager=True),
            "timestamp": pl.Series(np.datetime64("2019-01-01", "us") + np.arange(bars) * HOUR).dt.replace_time_zone(
                "UTC"
            ),
            "open": opened,
            "high": np.maximum(opened, close) * np.exp(random.exponential(0.003, bars)),
            "low": np.minimum(opened, close) * np.exp(-random.exponential(0.003, bars)),
            "close": close,
            "volume": random.lognormal(8, 1, bars),
            "quote_volume": random.lognormal(12, 1, bars),
        }
    )


def generate(path: Path, symbols: int, bars: int) -> None:
    """Write the file symbol by symbol, without holding it."""

    def made(numbers: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([symbol_bars(number, bars) for number in numbers["number"].to_list()])

    schema = symbol_bars(0, 2).schema
    parts = [
        pl.LazyFrame({"number": [number]}).map_batches(made, schema=schema, streamable=True)
        for number in range(symbols)
    ]
    pl.concat(parts, parallel=False).sink_parquet(path, row_group_size=100_000, compression="lz4", maintain_order=True)


CHILD = """
import json, resource, sys, time
from pathlib import Path
from assay.executors import opened
from assay.lake.ingest import ingest
from assay.lake.lake import Lake

def main():
    home, source, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    lake = Lake(home, source)
    began = time.perf_counter()
    with opened("pool" if workers > 1 else "serial", workers, home, ["assay.lake.shards"]) as executor:
        report = ingest(lake, executor=executor)
    wall = time.perf_counter() - began
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = max(own.ru_maxrss, others.ru_maxrss) / 1024
    cpu = sum(used.ru_utime + used.ru_stime for used in (own, others))
    told = {"rows": report.rows, "symbols": report.symbols, "wall": wall, "cpu": cpu, "peak_mb": peak}
    print(json.dumps(told | {"seconds": report.seconds}))

if __name__ == "__main__":
    main()
"""


def measured(home: Path, source: Path, workers: int = 1) -> dict[str, float]:
    """Ingest in a process of its own; return rows, seconds of wall and processor, and the largest process in MB."""
    names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    script = home / "child.py"
    home.mkdir(parents=True, exist_ok=True)
    script.write_text(CHILD)
    done = subprocess.run(
        [sys.executable, str(script), str(home), f"parquet:{source}", str(workers)],
        env=os.environ | dict.fromkeys(names, "1"),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def agree(folder: Path) -> bool:
    """Load a small file whole and by shards and compare the tables."""
    from assay.lake import shards
    from assay.lake.ingest import ingest
    from assay.lake.lake import Lake

    source = folder / "small.parquet"
    generate(source, 6, 3_000)
    whole = Lake(folder / "whole", f"parquet:{source}")
    ingest(whole)
    shards.WHOLE_ROWS, shards.SHARD_ROWS, kept = 0, 7_000, (shards.WHOLE_ROWS, shards.SHARD_ROWS)
    parted = Lake(folder / "parted", f"parquet:{source}")
    ingest(parted)
    shards.WHOLE_ROWS, shards.SHARD_ROWS = kept
    return all(whole.latest().table(name).equals(parted.latest().table(name)) for name in ("bars", "ratings"))


def main(arguments: list[str]) -> int:
    symbols, bars, workers = ([int(text) for text in arguments] + [2_000, 43_800, 1][len(arguments) :])[:3]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not agree(folder):
            print("the tables differ: not timed", file=sys.stderr)
            return 1
        print("checked: by shards, the tables of a small file are those of a whole reading, row by row", flush=True)
        source = folder / "bars.parquet"
        began = time.process_time()
        generate(source, symbols, bars)
        size = source.stat().st_size / 1e9
        taken = time.process_time() - began
        print(f"generated {symbols:,} symbols x {bars:,} hours, {size:.2f} GB, {taken:.0f} s of processor", flush=True)
        told = measured(folder / "home", source, workers)
        lake = sum(path.stat().st_size for path in (folder / "home" / "lake").rglob("*.parquet")) / 1e9
    print("| rows | workers | wall | processor | rows per processor second | peak of a process | lake |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {told['rows']:,} | {workers} | {told['wall']:.0f} s | {told['cpu']:.0f} s "
        f"| {told['rows'] / told['cpu']:,.0f} | {told['peak_mb']:,.0f} MB | {lake:.1f} GB |"
    )
    return 0 if told["peak_mb"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
