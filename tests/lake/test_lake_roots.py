"""A head names the content of its tables: whoever changes bytes of a lake is found, by table and by symbol."""

import json
import os
import zipfile
from pathlib import Path

import polars as pl
import pytest
from test_lake_heads import scan_of

from assay.base.errors import DiskError, Exit, IntegrityError
from assay.base.files import canonical_json, sha256
from assay.lake import delta, roots
from assay.lake import lake as lakes
from assay.lake.head import read_heads
from assay.lake.ingest import ingest, rate_anew
from assay.lake.lake import Lake, TableChange
from assay.lake.roots import LAKE_CHANGED, Roots, symbol_digests
from assay.lake.snapshot import pin
from assay.lake.storage import HEADS

ETH = "BINANCE:ETHUSDT"


@pytest.fixture
def lake(tmp_path, parquet, market_bars):
    made = Lake(tmp_path / "home", parquet(market_bars))
    ingest(made)
    return made


def files_of(lake, table):
    return [Path(path) for path in delta.content(lake.storage.table(table), lake.latest().versions[table]).files]


def halve(path, symbol=ETH):
    """Write other prices of one coin into a file of a table, as a whole and sound Parquet file."""
    price = pl.col("open", "high", "low", "close")
    held = pl.read_parquet(path, hive_partitioning=False)
    held.with_columns(pl.when(pl.col("symbol") == symbol).then(price / 2).otherwise(price)).write_parquet(path)


def refused(work):
    with pytest.raises(IntegrityError) as told:
        work()
    assert (told.value.code, told.value.exit_code) == (LAKE_CHANGED, Exit.INTEGRITY)
    return told.value.what


def test_a_head_names_the_content_of_every_table(lake, tmp_path):
    record = lake.latest().record
    assert record.roots.keys() == record.tables.keys()
    other = Lake(tmp_path / "other", lake.source)
    ingest(other)
    assert other.latest().record.roots == record.roots  # files have other names there
    lake.record("candidates", scan_of(2))
    grown = lake.latest().record
    assert {name: grown.roots[name] for name in record.roots} == record.roots
    assert grown.roots.keys() == grown.tables.keys()
    lake.latest().prove()


@pytest.mark.parametrize(
    "work",
    [
        lambda lake: ingest(lake),
        lambda lake: rate_anew(lake, "2026"),
        lambda lake: lake.latest().prove(),
        lambda lake: lake.latest().bars(),
        lambda lake: lake.latest().market(),
    ],
)
def test_changed_bars_are_refused_by_table_and_symbol(lake, work):
    halve(files_of(lake, "bars")[0])
    what = refused(lambda: work(lake))
    assert "table bars" in what
    assert f"1 symbols: {ETH}" in what
    assert "BTC" not in what


@pytest.mark.parametrize("table", ["bars", "ratings"])
def test_a_flipped_bit_under_the_old_times_is_refused(lake, table):
    [path] = files_of(lake, table)
    then, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    read = {"bars": lambda: lake.latest().bars(), "ratings": lambda: lake.latest().ratings()}[table]
    assert f"table {table}" in refused(read)


def test_files_that_a_decision_does_not_open_are_hashed_where_they_were_touched(lake, monkeypatch):
    lake.record("candidates", scan_of(3))
    lake.latest().prove()
    hashed = []
    digest = roots._digest
    monkeypatch.setattr(
        roots, "_digest", lambda place, name, mark: hashed.append(place.uri) or digest(place, name, mark)
    )
    lake.latest().prove()
    assert {Path(uri).name for uri in hashed} == {"bars", "ratings"}
    [path] = files_of(lake, "candidates")
    pl.read_parquet(path).with_columns(rank=pl.col("rank") + 1).write_parquet(path)
    assert "table candidates" in refused(lake.latest().prove)
    assert "3 symbols" in refused(lake.latest().candidates)


def test_a_process_hashes_a_file_once_while_it_stands_still(lake, monkeypatch):
    monkeypatch.setattr(roots, "SETTLED", -1)
    lake.latest().prove()
    read = []
    monkeypatch.setattr("assay.base.files.sha256_file", lambda path: read.append(path) or "0" * 64)
    lake.latest().prove()
    assert read == []
    os.utime(files_of(lake, "bars")[0])
    assert "table bars" in refused(lake.latest().prove)
    assert len(read) == 1


def test_a_file_that_was_just_written_is_not_known_by_its_times(lake):
    """Clocks of files are coarse: a second change within one of their ticks has the same mark."""
    [path] = files_of(lake, "bars")
    place, name = lake.storage.table("bars"), path.relative_to(lake.folder / "bars").as_posix()
    first = roots._digest(place, name, "the same mark")
    path.write_bytes(b"other bytes")
    assert roots._digest(place, name, "the same mark") != first


def test_a_file_that_changes_while_it_is_read_is_refused(lake):
    held = delta.content(lake.storage.table("bars"), 0)
    reading = roots.proved(lake.storage, "bars", held, lake.latest().record.roots["bars"])
    with pytest.raises(IntegrityError, match="changed while it was read"), reading:
        halve(files_of(lake, "bars")[0])


def test_a_missing_file_and_an_exchanged_one_are_named(lake, market_bars, tmp_path):
    market_bars.filter(pl.col("timestamp") < pl.col("timestamp").max()).write_parquet(tmp_path / "bars.parquet")
    ingest(lake)
    market_bars.write_parquet(tmp_path / "bars.parquet")
    ingest(lake)
    first, second = files_of(lake, "bars")
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    lake.latest().prove()  # what files are called is no part of what they hold
    halve(first)
    first.unlink()
    assert "it is missing" in refused(lake.latest().prove)


def test_a_log_that_names_other_files_or_columns_is_refused(lake, market_bars, tmp_path):
    market_bars.filter(pl.col("timestamp") < pl.col("timestamp").max()).write_parquet(tmp_path / "bars.parquet")
    ingest(lake)
    market_bars.write_parquet(tmp_path / "bars.parquet")
    ingest(lake)
    log = lake.folder / "bars" / "_delta_log" / f"{lake.latest().versions['bars']:020d}.json"
    whole = log.read_bytes()
    kept = [line for line in whole.splitlines(keepends=True) if not line.startswith(b'{"add"')]
    log.write_bytes(b"".join(kept))
    assert "its files or columns" in refused(lake.latest().bars)
    log.write_bytes(whole)
    lake.latest().bars()


def test_what_helps_is_not_believed(lake):
    kept = lake.folder / "roots"
    for path in kept.iterdir():
        path.write_bytes(b"[" * 100_000)
    lake.latest().prove()
    halve(files_of(lake, "bars")[0])
    assert "table bars" in refused(lake.latest().prove)
    for path in kept.iterdir():
        path.unlink()
    assert "table bars" in refused(lake.latest().bars)


def test_a_file_that_was_changed_before_more_comes_is_not_blessed(lake):
    lake.record("candidates", scan_of(1))
    [path] = files_of(lake, "candidates")
    pl.read_parquet(path).with_columns(rank=pl.col("rank") + 1).write_parquet(path)
    assert "table candidates" in refused(lambda: lake.record("candidates", scan_of(1, "t")))
    assert lake.latest().head == 2


def test_files_written_together_hold_the_same_or_are_refused(lake, monkeypatch):
    monkeypatch.setattr(lakes, "MANY_FILES", 2)
    for number in range(2):
        lake.record("candidates", scan_of(2, f"s{number}"))
    before = lake.latest()
    write = delta.write
    with monkeypatch.context() as patch:
        less = lambda storage, rows, **how: write(storage, rows.head(rows.height - 1), **how)  # noqa: E731
        patch.setattr(delta, "write", less)
        assert "another one after its files were written together" in refused(
            lambda: lake.record("candidates", scan_of(2, "last"))
        )
    assert lake.latest() == before
    lake.record("candidates", scan_of(2, "last"))
    assert len(files_of(lake, "candidates")) == 1
    assert lake.latest().candidates()["scanner"].unique().sort().to_list() == ["last", "s0", "s1"]
    assert before.candidates().height == 4


def test_any_other_line_of_the_heads_is_refused(lake):
    lake.record("candidates", scan_of(1))
    path = lake.folder / HEADS
    whole = path.read_bytes()
    first, second = map(json.loads, whole.splitlines())
    for forged in (
        [first | {"symbols": 4}, second],
        [first, second | {"last_close": "2021-11-18T00:00:00Z"}],
        [first, second | {"roots": {}}],
        [first | {"format": 1}, second],
        [first, second | {"format": 0}],
        [first, second | {"format": False}],
    ):
        path.write_bytes(b"".join(canonical_json(line) + b"\n" for line in forged))
        with pytest.raises(IntegrityError):
            read_heads(lake.folder)
    other = {name: value for name, value in first.items() if name != "seal"} | {"symbols": 4}
    path.write_bytes(
        canonical_json(other | {"seal": sha256(canonical_json(other))}) + b"\n" + whole.splitlines()[1] + b"\n"
    )
    with pytest.raises(IntegrityError, match="line 1 is not the one that line 2 was written after"):
        read_heads(lake.folder)
    path.write_bytes(whole.replace(b'"head":1', b'"head": 1'))
    with pytest.raises(IntegrityError, match="line 1 is not as it was written"):
        read_heads(lake.folder)
    path.write_bytes(whole)
    assert len(read_heads(lake.folder)) == 2


def test_a_lake_of_the_first_version_stays_readable_and_the_next_writer_names_its_content(tmp_path):
    with zipfile.ZipFile(Path(__file__).parents[1] / "live" / "lake_of_format_1.zip") as packed:
        packed.extractall(tmp_path)
    [folder] = (tmp_path / "lake").iterdir()
    old = pin(folder)
    assert (old.record.format, old.record.roots, old.changes(whole=True)) == (1, {}, [])
    before = old.bars()
    lake = Lake(tmp_path, "binance")
    lake.folder, lake.storage = folder, old.storage
    head = rate_anew(lake, "2026")
    assert (head.format, head.roots.keys()) == (2, head.tables.keys())
    assert pin(folder, 1).bars().equals(before)
    assert rate_anew(lake, "2026") == head
    halve(Path(delta.content(old.storage.table("bars"), old.versions["bars"]).files[0]), "BINANCE:BTCUSDT")
    assert "BINANCE:BTCUSDT" in refused(pin(folder).prove)


def test_a_state_without_roots_is_followed_by_one_that_has_them(lake):
    line = json.loads((lake.folder / HEADS).read_bytes())
    for name in ("format", "roots", "prev", "seal"):
        del line[name]
    (lake.folder / HEADS).write_bytes(json.dumps(line).encode() + b"\n")
    assert ingest(lake).head == 2
    assert lake.latest().record.roots.keys() == {"bars", "ratings"}
    assert ingest(lake).head == 2


def test_a_full_disk_takes_the_helps_only(lake, monkeypatch):
    def full(self, name, data):
        raise DiskError("no space")

    monkeypatch.setattr(type(lake.storage), "keep", full)
    lake.record("candidates", scan_of(1))
    lake.latest().prove()
    assert lake.latest().head == 2


def test_digests_of_symbols_are_of_values_and_not_of_files(tmp_path):
    rows = pl.DataFrame(
        {
            "symbol": ["A", "B", "A", None],
            "x": [1.0, None, float("nan"), -0.0],
            "n": [1, 2, None, 4],
            "t": ["a", None, "", "b"],
            "f": [True, False, None, True],
        }
    )

    def of(frame, name="one", **how):
        frame.write_parquet(tmp_path / name, **how)
        return symbol_digests(str(tmp_path / name))

    told = of(rows)
    assert told.keys() == {"A", "B", ""}
    assert of(rows.reverse(), compression="lz4", row_group_size=2) == told
    assert of(rows.with_columns(x=pl.Series([1.0, None, -float("nan"), 0.0]))) == told
    for changed in (
        rows.with_columns(x=pl.Series([1.0, 0.0, float("nan"), 0.0])),
        rows.with_columns(t=pl.Series(["a", "", "", "b"])),
        rows.with_columns(n=pl.Series([1, 3, None, 4])),
        rows.with_columns(f=pl.Series([True, None, None, True])),
    ):
        other = of(changed)
        assert {name for name in told if told[name] != other[name]} == {"B"}
    assert of(rows.select("symbol", "n", x=pl.col("x"), t=pl.col("t"))) != told
    assert Roots.__doc__


def test_replacing_a_whole_table_needs_nothing_of_the_old(lake):
    lake.record("candidates", scan_of(1))
    [path] = files_of(lake, "candidates")
    path.write_bytes(b"no table")
    lake.commit([TableChange("candidates", scan_of(2), replace=True)])
    lake.latest().prove()
    assert lake.latest().candidates().height == 2
