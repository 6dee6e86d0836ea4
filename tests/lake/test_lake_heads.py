"""States of a lake: what a line of heads.jsonl makes visible, stays; what no line names, never was."""

import datetime as dt
import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from assay.base.domain import UTC
from assay.base.errors import DataError, DiskError, Exit, IntegrityError, UsageError
from assay.base.files import content_hash_table
from assay.lake import delta
from assay.lake.head import read_heads
from assay.lake.ingest import ingest
from assay.lake.lake import Lake, TableChange
from assay.lake.snapshot import pin, resolve_as_of
from assay.lake.storage import HEADS, Folder
from assay.market.schema import CANDIDATES, KEYS


def scan_of(n, scanner="s"):
    day = dt.datetime(2021, 3, 1, tzinfo=UTC)
    rows = {"symbol": [f"BINANCE:{i}USDT" for i in range(n)], "rank": range(1, n + 1)}
    scan = {"scanner": scanner, "as_of": day, "scanned_at": day, "provider": "ratings", "fields": "{}"}
    return pl.DataFrame({**rows, **scan, "request": None, "response_sha256": None}, schema=CANDIDATES)


@pytest.fixture
def lake(tmp_path, parquet, market_bars):
    made = Lake(tmp_path / "home", parquet(market_bars))
    ingest(made)
    return made


def test_a_lake_says_what_it_is(lake):
    about = json.loads((lake.folder / "source.json").read_text())
    assert about["name"] == lake.source.name
    assert lake.folder.parent.name == "lake"
    assert lake.folder.name == f"parquet-{about['identity'][:8]}"
    (head,) = lake.heads()
    assert (head.head, head.interval, head.symbols) == (1, "1d", 3)
    assert head.rows == {"bars": 960, "ratings": 960}
    assert head.first_open == dt.datetime(2021, 1, 1, tzinfo=UTC)
    assert head.last_close == dt.datetime(2021, 11, 17, tzinfo=UTC)  # 320 days later


def test_an_empty_lake_has_no_state(tmp_path):
    empty = Lake(tmp_path, "sample")
    assert empty.heads() == []
    assert empty.latest_head() is None
    with pytest.raises(DataError, match="assay ingest"):
        empty.latest()
    assert not empty.folder.exists()


@pytest.mark.parametrize("number", [0, 2, -1])
def test_a_state_that_never_was_cannot_be_pinned(lake, number):
    with pytest.raises(UsageError, match="1 to 1"):
        lake.pin(number)


def test_a_state_stays_readable_when_newer_ones_are_written(lake, market_bars):
    first = lake.latest()
    before = content_hash_table(first.bars(), KEYS["bars"])
    rated = content_hash_table(first.ratings(), KEYS["ratings"])
    path = Path(lake.source.name.removeprefix("parquet:"))
    changed = market_bars.with_columns(pl.col("close") * 1.001, pl.col("high") * 1.01)
    changed.write_parquet(path)
    ingest(lake)
    market_bars.head(320).write_parquet(path)
    ingest(lake)
    assert [head.rows["bars"] for head in lake.heads()] == [960, 960, 320]
    again = pin(lake.folder, 1)
    assert content_hash_table(again.bars(), KEYS["bars"]) == before
    assert content_hash_table(again.ratings(), KEYS["ratings"]) == rated
    assert lake.pin(2).bars().height == 960
    assert lake.latest().bars()["symbol"].unique().to_list() == ["BINANCE:BTCUSDT"]


def test_a_pinned_state_is_read_without_its_source_and_in_another_process(lake):
    Path(lake.source.name.removeprefix("parquet:")).unlink()
    snapshot = pickle.loads(pickle.dumps(pin(lake.folder)))
    assert snapshot.bars().height == 960
    assert Lake(lake.folder.parents[1], lake.source.name).latest().head == 1


def test_a_torn_line_is_no_state_and_the_next_writer_cuts_it(lake):
    path = lake.folder / HEADS
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"head":2,"tables":{"bars"')
    assert len(lake.heads()) == 1
    assert lake.latest().bars().height == 960
    head = lake.record("candidates", scan_of(2))
    assert head.head == 2
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[0] == whole
    assert json.loads(lines[1])["head"] == 2
    assert len(lines) == 2


@pytest.mark.parametrize("line", [b"{}\n", b"not json\n", b'{"head":7}\n', b"\n"])
def test_a_line_that_no_writer_wrote_is_named(lake, line):
    path = lake.folder / HEADS
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(IntegrityError, match="line 2") as caught:
        lake.latest()
    assert caught.value.exit_code is Exit.INTEGRITY


def test_a_line_of_a_newer_format_is_refused_by_name_whatever_else_it_holds(lake):
    path = lake.folder / HEADS
    [line] = path.read_bytes().splitlines()
    assert json.loads(line)["format"] == 2
    path.write_bytes(line + b"\n" + b'{"format": 3, "state": 2}\n')
    with pytest.raises(
        IntegrityError, match="line 2 has format 3, this version of Assay reads formats up to 2"
    ) as caught:
        lake.latest()
    assert (caught.value.code, caught.value.exit_code) == ("NEWER_FORMAT", Exit.INTEGRITY)
    assert lake.pin(1).bars().height == 960
    with pytest.raises(IntegrityError, match="format 3"):
        lake.record("candidates", scan_of(1))
    assert len(path.read_bytes().splitlines()) == 2


def test_a_repeated_or_missing_line_is_named(lake):
    path = lake.folder / HEADS
    line = path.read_bytes()
    path.write_bytes(line + line)
    with pytest.raises(IntegrityError, match="line 2 holds head 1"):
        lake.heads()


def test_a_state_whose_table_is_gone_is_an_integrity_error(lake):
    (victim,) = (lake.folder / "bars").glob("interval=1d/*.parquet")
    victim.unlink()
    with pytest.raises(IntegrityError, match="bars"):
        lake.latest().bars()
    for log in (lake.folder / "ratings" / "_delta_log").iterdir():
        log.unlink()
    with pytest.raises(IntegrityError, match="ratings"):
        lake.latest().ratings()


def test_records_add_to_a_table_and_leave_the_others(lake):
    lake.record("candidates", scan_of(3))
    head = lake.record("candidates", scan_of(2, "other"))
    assert head.rows["candidates"] == 5
    assert head.tables["bars"] == lake.heads()[0].tables["bars"]
    assert lake.pin(1).candidates() is None
    assert lake.pin(2).candidates().height == 3
    assert set(lake.latest().candidates()["scanner"]) == {"s", "other"}
    assert lake.latest().record.fingerprint == lake.pin(1).record.fingerprint


def test_rows_are_stored_in_the_tables_order(lake):
    lake.record("candidates", scan_of(5).reverse())
    assert lake.latest().candidates()["rank"].to_list() == [1, 2, 3, 4, 5]


def test_what_an_interrupted_writer_added_is_left_out(lake, monkeypatch):
    def stop(path, line):
        raise KeyboardInterrupt

    lake.record("candidates", scan_of(3))
    with monkeypatch.context() as patch:
        patch.setattr("assay.base.files.append", stop)
        with pytest.raises(KeyboardInterrupt):
            lake.record("candidates", scan_of(4, "lost"))
    assert DeltaTable(str(lake.folder / "candidates")).count() == 7
    assert lake.latest().candidates().height == 3
    lake.record("candidates", scan_of(1, "next"))
    assert lake.latest().candidates()["scanner"].to_list() == ["next", "s", "s", "s"]
    assert DeltaTable(str(lake.folder / "candidates")).count() == 4


def test_a_table_behind_its_head_is_an_integrity_error(lake):
    lake.record("candidates", scan_of(3))
    lake.record("candidates", scan_of(3, "b"))
    (lake.folder / "candidates" / "_delta_log" / f"{1:020d}.json").unlink()
    with pytest.raises(IntegrityError, match="version 1 cannot be read"):
        lake.record("candidates", scan_of(1))


def test_many_small_appends_are_merged_and_every_state_stays_readable(lake, monkeypatch):
    monkeypatch.setattr("assay.lake.lake.MANY_FILES", 8)
    for number in range(1, 21):
        lake.record("candidates", scan_of(1, f"{number:02d}"))
    head = lake.latest_head()
    assert len(delta.content(lake.storage.table("candidates"), head.tables["candidates"]).files) <= 8
    for number in range(1, 21):
        names = lake.pin(1 + number).candidates()["scanner"].to_list()
        assert names == [f"{n:02d}" for n in range(1, number + 1)]


def test_checkpoints_do_not_end_time_travel(tmp_path, monkeypatch):
    path = tmp_path / "table"
    soon = {"delta.checkpointInterval": "5", "delta.logRetentionDuration": "interval 0 seconds"}
    monkeypatch.setattr(delta, "_CONFIGURATION", delta._CONFIGURATION | soon)
    for number in range(12):
        delta.write(
            Folder(path), pl.DataFrame({"n": [number]}), replace=number == 0, upon=number - 1 if number else None
        )
    assert list((path / "_delta_log").glob("*.checkpoint.parquet"))
    old = path / "_delta_log" / f"{1:020d}.json"
    assert old.exists()
    assert delta.content(Folder(path), 1).scan().collect()["n"].sort().to_list() == [0, 1]
    assert DeltaTable(str(path)).metadata().configuration["delta.enableExpiredLogCleanup"] == "false"


def test_replacing_one_interval_leaves_the_others(lake):
    day = lake.latest().bars()
    hours = day.with_columns(pl.lit("1h").alias("interval"))
    lake.commit([TableChange("bars", hours)])
    head = lake.commit([TableChange("bars", day.head(5), replace=True, interval="1d")])
    assert head.rows["bars"] == 965
    assert DeltaTable(str(lake.folder / "bars"), version=head.tables["bars"]).count() == 965
    assert lake.latest().bars().height == 5


def test_the_lock_keeps_threads_apart_and_may_be_taken_again_inside(lake):
    def work(number):
        with lake.locked():
            lake.record("candidates", scan_of(1, f"t{number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.latest().candidates().height == 4
    assert [head.head for head in lake.heads()] == [1, 2, 3, 4, 5]


def test_a_lake_that_cannot_be_written_is_a_disk_error(tmp_path):
    (tmp_path / "lake").write_text("a file where the folder should be")
    with pytest.raises(DiskError, match="cannot write"):
        ingest(Lake(tmp_path, "sample"))


@pytest.mark.parametrize("name", ["my home", "größe 100% #1", "日本", "a'b\"c", "{x}", "*", "?", "a&b=c;d"])
def test_a_home_may_have_any_ordinary_name(tmp_path, name, parquet, market_bars):
    lake = Lake(tmp_path / name, parquet(market_bars.head(320)))
    ingest(lake)
    lake.record("candidates", scan_of(2))
    assert lake.latest().bars().height == 320
    assert lake.latest().market()["close"].shape == (320, 1)


@pytest.mark.parametrize("name", ["[x]", "a|b", "a^b", "a\\b", "a\nb", "a%2Fb", "a%20b"])
def test_a_home_that_delta_lake_cannot_hold_is_refused_before_it_is_tried(tmp_path, name):
    with pytest.raises(UsageError, match="choose another home"):
        Lake(tmp_path / name, "sample")


def test_reading_states_does_not_import_what_it_does_not_need():
    code = "import sys, assay.sources as s; s.open_source('sample').name; print('polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_heads_are_read_from_a_folder(lake):
    assert read_heads(lake.folder) == lake.heads()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, "2021-11-17T00:00:00+00:00"),
        ("2021-11-16", "2021-11-17T00:00:00+00:00"),
        ("2021-01-01", "2021-01-02T00:00:00+00:00"),
        ("2021-06-30T12:00Z", "2021-06-30T12:00:00+00:00"),
    ],
)
def test_as_of_is_the_last_close_or_what_the_data_reach(lake, text, wanted):
    assert resolve_as_of(lake.latest(), text).isoformat() == wanted


@pytest.mark.parametrize("text", ["2020-12-31", "2021-11-17", "2021-01-01T23:59Z", "2021-11-17T00:00:01Z"])
def test_as_of_outside_the_data_names_the_range(lake, text):
    with pytest.raises(UsageError, match="2021-01-02T00:00:00Z to 2021-11-17T00:00:00Z"):
        resolve_as_of(lake.latest(), text)
