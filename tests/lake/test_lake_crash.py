"""Writers that die, and writers that meet: readers see whole states only, and no row is lost or there twice."""

import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from assay.base.errors import DiskError
from assay.base.files import content_hash_table
from assay.lake import delta
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.market.schema import KEYS

WRITER = """
import sys
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay import ratings
from assay.lake import compare as difference
lake = Lake(sys.argv[1], sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
print(ingest(lake).head, flush=True)
"""

RECORDER = """
import sys
import datetime as dt
import polars as pl
from assay.lake.lake import Lake
from assay.market.schema import CANDIDATES
lake = Lake(sys.argv[1], sys.argv[2])
day = dt.datetime(2021, 3, 1, tzinfo=dt.UTC)
print("ready", flush=True)
sys.stdin.readline()
for n in range(10):
    row = {"scanner": sys.argv[3], "as_of": day, "symbol": f"BINANCE:{n}USDT", "rank": n, "fields": "{}"}
    lake.record("candidates", pl.DataFrame([row], schema=CANDIDATES))
"""


def start(code, *arguments):
    """Start a writer and wait until it has imported what it needs."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def content(lake):
    snapshot = lake.latest()
    tables = {"bars": snapshot.bars(), "ratings": snapshot.ratings()}
    for name, table in tables.items():
        assert table.height == snapshot.record.rows[name]
        assert not table.select(pl.struct(KEYS[name]).is_duplicated().any()).item()
    return {name: content_hash_table(table, KEYS[name]) for name, table in tables.items()}


@pytest.fixture
def versions(tmp_path, market_bars):
    """Three states of one file, and what a lake holds of each."""
    path = tmp_path / "bars.parquet"
    middle = pl.col("timestamp").dt.month() == 5
    repaired = market_bars.with_columns(pl.when(middle).then(pl.col("high") * 2).otherwise("high").alias("high"))
    tables = [market_bars.filter(pl.col("timestamp").dt.ordinal_day() < 300), market_bars, repaired]
    contents = []
    for number, table in enumerate(tables):
        table.write_parquet(path)
        lake = Lake(tmp_path / f"clean{number}", f"parquet:{path}")
        ingest(lake)
        contents.append(content(lake))
    assert len({held["bars"] for held in contents}) == len({held["ratings"] for held in contents}) == 3
    return path, tables, contents


def test_a_writer_killed_at_any_moment_leaves_the_last_whole_state(tmp_path, versions):
    path, tables, contents = versions
    lake = Lake(tmp_path / "home", f"parquet:{path}")
    tables[0].write_parquet(path)
    ingest(lake)
    states = 0
    for attempt, delay in enumerate((0.0, 0.03, 0.06, 0.1)):
        number = 1 + attempt % 2
        tables[number].write_parquet(path)
        before = content(lake)
        process = start(WRITER, tmp_path / "home", lake.source.name)
        go(process)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        after = content(lake)
        assert after in (before, contents[number])
        states += after == before
    assert states  # at least one was killed before it was done, or this shows nothing
    ingest(lake)
    assert content(lake) == contents[2]


class Killed(BaseException):
    """Ends a writer as a signal would, without its cooperation."""


@pytest.mark.parametrize("survived", range(4))
@pytest.mark.parametrize("first", [True, False])
def test_a_writer_that_dies_between_any_two_commits_is_undone(tmp_path, versions, monkeypatch, survived, first):
    path, tables, contents = versions
    lake = Lake(tmp_path / "home", f"parquet:{path}")
    if not first:
        tables[0].write_parquet(path)
        ingest(lake)
    write, count = delta.write, 0

    def dying(*arguments, **options):
        nonlocal count
        version = write(*arguments, **options)
        count += 1
        if count > survived % 2:
            raise Killed
        return version

    tables[1 + survived // 2].write_parquet(path)
    with monkeypatch.context() as patch:
        patch.setattr(delta, "write", dying)
        with pytest.raises(Killed):
            ingest(lake)
    assert len(lake.heads()) == (0 if first else 1)
    if not first:
        assert content(lake) == contents[0]
    ingest(lake)
    assert content(lake) == contents[1 + survived // 2]


def test_a_full_disk_is_named_and_leaves_the_state(tmp_path, versions, monkeypatch):
    path, tables, contents = versions
    lake = Lake(tmp_path / "home", f"parquet:{path}")
    tables[0].write_parquet(path)
    ingest(lake)
    tables[1].write_parquet(path)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(delta, "write_deltalake", full)
        with pytest.raises(DiskError, match="No space left"):
            ingest(lake)
    assert content(lake) == contents[0]
    ingest(lake)
    assert content(lake) == contents[1]


def test_two_writers_of_one_source_agree(tmp_path, versions):
    path, _, contents = versions
    home, source = tmp_path / "home", f"parquet:{path}"
    writers = [start(WRITER, home, source) for _ in range(2)]
    for writer in writers:
        go(writer)
    assert [writer.communicate(timeout=60)[0] for writer in writers] == ["1\n", "1\n"]
    lake = Lake(home, source)
    assert len(lake.heads()) == 1
    assert content(lake) == contents[2]


def test_two_writers_never_lose_each_others_rows(tmp_path, versions):
    path, _, _ = versions
    home, source = tmp_path / "home", f"parquet:{path}"
    lake = Lake(home, source)
    ingest(lake)
    writers = [start(RECORDER, home, source, name) for name in "ab"]
    for writer in writers:
        go(writer)
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert lake.latest().candidates().group_by("scanner").len().sort("scanner").rows() == [("a", 10), ("b", 10)]
    assert [head.head for head in lake.heads()] == list(range(1, 22))
    assert lake.pin(11).candidates().height == 10
