"""Large files by shards of symbols: the same tables as a whole reading, and memory that does not grow."""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.base.domain import UTC
from assay.base.errors import SourceError
from assay.executors import Serial
from assay.executors.pool import ProcessPool
from assay.lake import delta, shards
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.ratings import averages, indicators, rate

TABLES = ("bars", "ratings", "quarantine")


def hourly(symbols, bars, seed=7):
    """Random walks, a symbol's rows together; five years of hours lie in the past of any clock."""
    random = np.random.default_rng(seed)
    opens = [dt.datetime(2018, 1, 1, tzinfo=UTC) + hour * dt.timedelta(hours=1) for hour in range(bars)]
    parts = []
    for number in range(symbols):
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, bars)))
        opened = np.concatenate([[100.0], close[:-1]])
        parts.append(
            pl.DataFrame(
                {
                    "symbol": f"BINANCE:C{number:03d}USDT",
                    "timestamp": opens,
                    "open": opened,
                    "high": np.maximum(opened, close) * 1.001,
                    "low": np.minimum(opened, close) * 0.999,
                    "close": close,
                    "volume": random.lognormal(8, 1, bars).round(3),
                }
            )
        )
    return pl.concat(parts)


def faulty(frame):
    """The same with what sources do: gaps, days without volume, bad rows, twins, disorder."""
    rows = frame.with_row_index()
    rows = rows.filter(~pl.col("index").is_between(400, 430), pl.col("index") % 977 != 0)
    rows = rows.with_columns(
        pl.when(pl.col("index") % 311 == 0).then(0.0).otherwise("volume").alias("volume"),
        pl.when(pl.col("index") % 701 == 0).then(-1.0).otherwise("close").alias("close"),
        pl.when(pl.col("index") % 907 == 0).then(None).otherwise("high").alias("high"),
    )
    twins = rows.filter(pl.col("index").is_in([50, 1500]))
    conflict = rows.filter(pl.col("index") == 60).with_columns(pl.col("open") * 1.0001)
    return pl.concat([rows, twins, conflict]).sort("symbol", maintain_order=True).drop("index")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "bars.parquet"
    faulty(hourly(7, 900)).write_parquet(path, row_group_size=1_000)
    return path


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "WHOLE_ROWS", 1_000)
    monkeypatch.setattr(shards, "SHARD_ROWS", 2_000)


def tables(lake):
    snapshot = lake.latest()
    return {name: snapshot.table(name) for name in TABLES}


def assert_same(one, other):
    for name, left in tables(one).items():
        assert left is not None
        assert left.equals(tables(other)[name]), name


def test_shards_give_the_tables_and_the_report_of_a_whole_reading(tmp_path, source, monkeypatch):
    whole = Lake(tmp_path / "whole", f"parquet:{source}")
    expected = ingest(whole)
    monkeypatch.setattr(shards, "WHOLE_ROWS", 1_000)
    monkeypatch.setattr(shards, "SHARD_ROWS", 2_000)
    assert len(shards.plan(source)) == 4
    parted = Lake(tmp_path / "parted", f"parquet:{source}")
    report = ingest(parted)
    assert report.as_dict() == expected.as_dict()
    assert_same(whole, parted)
    assert not ingest(parted).changed


def test_shards_on_a_pool_give_the_same(tmp_path, source, small_shards):
    alone, spread = Lake(tmp_path / "alone", f"parquet:{source}"), Lake(tmp_path / "spread", f"parquet:{source}")
    ingest(alone)
    pool = ProcessPool(2)
    try:
        ingest(spread, executor=pool)
    finally:
        pool.close()
    assert_same(alone, spread)


def test_a_changed_file_is_loaded_again_and_counted(tmp_path, source, small_shards):
    lake = Lake(tmp_path / "home", f"parquet:{source}")
    before = ingest(lake)
    old = lake.latest()
    frame = pl.read_parquet(source)
    last = frame["timestamp"].max()
    gone = frame.filter(~((pl.col("symbol") == "BINANCE:C002USDT") & (pl.col("timestamp") == last)))
    bumped = (pl.col("symbol") == "BINANCE:C004USDT") & (pl.col("timestamp") == last)
    changed = gone.with_columns(pl.when(bumped).then(pl.col("volume") + 1).otherwise("volume").alias("volume"))
    later = hourly(7, 901).filter(pl.col("timestamp") > last, pl.col("symbol") == "BINANCE:C006USDT")
    pl.concat([changed, later]).write_parquet(source, row_group_size=1_000)
    report = ingest(lake)
    assert (report.added, report.repaired, report.removed) == (1, 1, 1)
    assert report.rows == before.rows
    assert report.head == before.head + 1
    fresh = Lake(tmp_path / "fresh", f"parquet:{source}")
    ingest(fresh)
    assert_same(lake, fresh)
    assert old.bars().height == before.rows  # who pinned the old head still reads it


def test_a_file_in_order_of_time_is_read_whole(tmp_path, source, small_shards):
    frame = pl.read_parquet(source).sort("timestamp", "symbol")
    other = tmp_path / "by_time.parquet"
    frame.write_parquet(other)
    assert shards.plan(other) is None
    lake, grouped = Lake(tmp_path / "t", f"parquet:{other}"), Lake(tmp_path / "s", f"parquet:{source}")
    ingest(lake)
    ingest(grouped)
    assert lake.latest().bars().equals(grouped.latest().bars())


def test_a_file_with_symbols_that_look_alike_is_read_whole(tmp_path, small_shards):
    path = tmp_path / "alike.parquet"
    named = {"BINANCE:C000USDT": "BINANCE:CAF\u00c9USDT", "BINANCE:C003USDT": "BINANCE:CAFE\u0301USDT"}
    hourly(4, 2000).with_columns(pl.col("symbol").replace(named)).write_parquet(path)
    assert shards.plan(path) is None


def test_what_only_a_whole_reading_can_judge_is_read_whole(tmp_path, small_shards):
    """A symbol of other bars than the rest is refused by name, whichever shard it would be in."""
    frame = hourly(6, 900)
    daily = hourly(1, 22_000, seed=3).filter(pl.col("timestamp").dt.hour() == 0).head(900)
    path = tmp_path / "mixed.parquet"
    pl.concat([frame, daily.with_columns(symbol=pl.lit("BINANCE:ZUSDT"))]).write_parquet(path)
    with pytest.raises(SourceError, match=r"BINANCE:ZUSDT 1d") as refused:
        ingest(Lake(tmp_path / "home", f"parquet:{path}"))
    assert refused.value.code == "INTERVAL_MIXED"


def test_a_shard_is_passed_as_a_path(tmp_path, source, small_shards):
    seen = []

    class Looking(Serial):
        def map(self, work, tasks, **more):
            from assay.executors import task_size

            seen.extend(task_size(work, task) for task in tasks)
            return super().map(work, tasks, **more)

    ingest(Lake(tmp_path / "home", f"parquet:{source}"), executor=Looking())
    assert len(seen) == 4
    assert max(seen) < 2_000


def test_a_reader_sees_nothing_of_an_ingestion_that_died(tmp_path, source, small_shards, monkeypatch):
    lake = Lake(tmp_path / "home", f"parquet:{source}")
    ingest(lake)
    before = tables(lake)
    pl.read_parquet(source).head(5_000).write_parquet(source)

    def dies(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(delta, "commit_parts", dies)
    with pytest.raises(KeyboardInterrupt):
        ingest(lake)
    monkeypatch.undo()
    assert all(before[name].equals(there) for name, there in tables(lake).items())


@pytest.mark.parametrize("stretch", [300, 1_000])
def test_ratings_do_not_depend_on_the_stretch(stretch, monkeypatch):
    bars = faulty(hourly(3, 2_500)).drop_nulls().filter(pl.col("close") > 0).unique(["symbol", "timestamp"])
    bars = bars.rename({"timestamp": "open_time"}).with_columns(interval=pl.lit("1h"))
    monkeypatch.setattr(averages, "STRETCH", 10**9)
    monkeypatch.setattr(indicators, "CHUNK", 10**9)
    whole = rate(bars, "1h")
    monkeypatch.setattr(averages, "STRETCH", stretch)
    monkeypatch.setattr(averages, "BLOCK", 2)
    monkeypatch.setattr(indicators, "CHUNK", stretch)
    assert rate(bars, "1h").equals(whole)


CHILD = """
import json, resource, sys
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
report = ingest(Lake(sys.argv[1], "parquet:" + sys.argv[2]))
print(json.dumps([report.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_symbols(tmp_path):
    """40 symbols x five years of hours, a fiftieth of 88 M rows; twice as many take the same memory."""
    peaks = {}
    for symbols in (40, 80):
        path = tmp_path / f"{symbols}.parquet"
        hourly(symbols, 43_800).write_parquet(path, row_group_size=100_000)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / str(symbols)), str(path)],
            env=os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        rows, peaks[symbols] = json.loads(done.stdout)
        assert rows == symbols * 43_800
        Path(path).unlink()
    assert peaks[40] < 1_200
    assert peaks[80] < 1.25 * peaks[40]
