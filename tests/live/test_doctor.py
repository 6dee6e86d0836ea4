"""A lake damaged in each way: the doctor names it, says what to run, and what it says to run mends it."""

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from exchange_world import Pair
from live_lakes import few_coins
from live_world import COINS, LocalExchange, small, sync
from screener_rows import book, pair
from typer.testing import CliRunner

from assay.base.domain import UTC
from assay.cli import app
from assay.lake import delta
from assay.lake.head import Head, read_heads
from assay.lake.ingest import ingest
from assay.lake.lake import Lake, TableChange
from assay.lake.storage import HEADS, Folder
from assay.ratings import REVISION
from assay.report import doctor as checkup
from assay.report.doctor import examine
from assay.runs.documents import Finding
from assay.runs.home import Home, Status
from assay.screening.recorded_scans import ScanBatch, ScanResponse, question, to_frame
from assay.settings import load

CLOSE = dt.datetime(2024, 1, 22, tzinfo=UTC)
NOW = CLOSE + dt.timedelta(minutes=10)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    source = few_coins(folder / "bars.parquet")
    ingest(Lake(folder / "home", source))
    return folder / "home", source


@pytest.fixture
def lake(made, tmp_path):
    home, source = made
    shutil.copytree(home / "lake", tmp_path / "lake")
    return Lake(tmp_path, source)


@pytest.fixture
def live(lake, tmp_path):
    """The same lake, as one of a source that goes on."""
    folder = lake.folder.rename(lake.folder.with_name("binance-0123abcd"))
    (folder / "source.json").write_text(
        json.dumps({"format": 1, "identity": "0", "kind": "binance", "name": "binance"})
    )
    [head] = read_heads(folder)
    (folder / HEADS).write_bytes(head.model_copy(update={"source": "binance"}).line() + b"\n")
    lake.folder, lake.storage = folder, Folder(folder)
    return lake


def found(folder, now=NOW):
    return {issue.code: issue for issue in examine(folder, now).issues}


def severities(folder, now=NOW):
    return {code: issue.severity for code, issue in found(folder, now).items()}


def run(home, *arguments):
    done = CliRunner().invoke(app, ["doctor", "--home", str(home), *arguments])
    return done.exit_code, done.stdout


def test_a_healthy_lake(lake, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in lake.folder.rglob("*") if path.is_file()}
    code, text = run(tmp_path)
    assert (code, text.splitlines()[-1]) == (0, "HEALTHY: 0 to do, 0 findings")
    assert {path: path.stat().st_mtime_ns for path in lake.folder.rglob("*") if path.is_file()} == before
    code, text = run(tmp_path, "--json")
    told = json.loads(text)
    assert (code, told["verdict"], told["findings"]) == (0, "HEALTHY", [])
    assert told["lakes"][0]["facts"]["health"] == {"OK": 6}


def test_profiles_that_do_not_stand_aside_end_where_all_are_vetoed_and_no_others(lake, tmp_path, monkeypatch):
    """So few coins are all vetoed on one side: the canon holds cash there, and a profile may ask not to."""
    monkeypatch.setenv("ASSAY_SET__stand_aside", "false")
    code, text = run(tmp_path)
    assert (code, text.splitlines()[-1]) == (0, "HEALTHY: 0 to do, 1 findings")
    [note] = json.loads(run(tmp_path, "--json")[1])["findings"]
    assert (note["severity"], note["code"], "a run would end" in note["what"]) == ("NOTE", "NO_WINNERS", True)


def test_an_empty_home_and_an_empty_lake(tmp_path):
    code, text = run(tmp_path)
    assert code == 1
    assert "NO_LAKE" in text
    assert "assay ingest --source binance --scan" in text
    (tmp_path / "lake" / "binance-0123abcd").mkdir(parents=True)
    code, text = run(tmp_path)
    assert code == 1
    assert "EMPTY_LAKE" in text


def test_a_torn_line_is_mended_by_the_command(lake):
    with (lake.folder / HEADS).open("ab") as stream:
        stream.write(b'{"head":2,"tab')
    issue = found(lake.folder)["TORN_HEADS"]
    assert (issue.severity, issue.command) == ("ACTION", f"assay ingest --source {lake.source.name}")
    ingest(lake)
    assert found(lake.folder) == {}


def test_a_line_that_nobody_wrote_is_damage(lake, tmp_path):
    with (lake.folder / HEADS).open("ab") as stream:
        stream.write(b"{}\n")
    assert severities(lake.folder) == {"INTEGRITY": "INTEGRITY"}
    assert run(tmp_path)[0] == 3


def test_tables_ahead_of_the_last_head_are_told(lake):
    upon = lake.latest().versions["bars"]
    delta.write(lake.storage.table("bars"), lake.latest().bars().head(1), replace=False, upon=upon)
    assert severities(lake.folder) == {"TABLES_AHEAD": "NOTE"}


@pytest.mark.parametrize("table", ["bars", "ratings"])
def test_missing_and_damaged_files_are_damage(lake, tmp_path, table):
    file = Path(delta.content(lake.storage.table(table), lake.latest().versions[table]).files[0])
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert found(lake.folder)["TABLE_DAMAGED"].severity == "INTEGRITY"
    file.unlink()
    damage = found(lake.folder)["TABLE_DAMAGED"]
    assert file.name in damage.names[0]
    assert "assay ingest" in damage.command
    assert run(tmp_path)[0] == 3


def test_a_table_that_ends_before_its_head_is_damage(lake, tmp_path):
    shutil.rmtree(lake.folder / "ratings" / "_delta_log")
    assert found(lake.folder)["TABLE_BEHIND"].severity == "INTEGRITY"
    assert run(tmp_path)[0] == 3


def test_a_log_that_is_no_log_is_damage(lake):
    for log in (lake.folder / "bars" / "_delta_log").glob("*.json"):
        log.write_text("no log")
    assert "INTEGRITY" in severities(lake.folder).values()


def test_leftovers_of_dead_writers_are_told_and_those_of_living_ones_are_not(lake):
    dead, alive = lake.folder / ".heads.jsonl.999999999.tmp", lake.folder / f".heads.jsonl.{os.getpid()}.tmp"
    dead.touch()
    alive.touch()
    issue = found(lake.folder)["LEFTOVER_FILES"]
    assert issue.names == (str(dead),)
    assert issue.command == "assay clean --yes"


def test_a_spool_is_told_unless_its_writer_is_at_work(live):
    (live.folder / "spool").mkdir()
    (live.folder / "spool" / "binance.jsonl").touch()
    assert found(live.folder)["SPOOL_LEFT"].command == "assay ingest --source binance"
    with live.locked():
        codes = severities(live.folder)
        assert "SPOOL_LEFT" not in codes
        assert codes["WRITER_AT_WORK"] == "NOTE"


def test_a_lake_that_a_newer_version_wrote_to_is_not_to_be_moved_away(lake):
    with (lake.folder / HEADS).open("ab") as stream:
        stream.write(b'{"format": 3, "state": 2}\n')
    told = found(lake.folder)["NEWER_FORMAT"]
    assert (told.severity, "move" in told.command, "newer" in told.command) == ("ACTION", False, True)


def test_ratings_of_another_revision_are_told_and_made_anew_by_the_command(lake, monkeypatch):
    for module in ("assay.report.doctor", "assay.lake.ingest"):
        monkeypatch.setattr(f"{module}.REVISION", 99)
    assert found(lake.folder)["RATINGS_OUTDATED"].severity == "ACTION"
    report = ingest(lake)
    assert report.changed
    assert lake.latest().record.revision == 99
    assert found(lake.folder) == {}
    assert not ingest(lake).changed


def test_a_lake_whose_source_goes_on_is_behind_when_bars_are_due(live):
    assert "LAKE_BEHIND" not in found(live.folder, CLOSE + dt.timedelta(hours=29))
    late = found(live.folder, CLOSE + dt.timedelta(days=3, hours=7))["LAKE_BEHIND"]
    assert (late.severity, late.command) == ("ACTION", "assay ingest --source binance --scan")
    assert late.what.startswith("3 bars of each symbol are due")


def test_a_file_is_never_behind(lake):
    assert found(lake.folder, CLOSE + dt.timedelta(days=900)) == {}


def test_a_stale_symbol_and_failed_ones_can_be_asked_for_again(live):
    bars, ratings = live.latest().bars(), live.latest().ratings()
    last = CLOSE - dt.timedelta(days=1)
    cut = (pl.col("symbol") == "BINANCE:ETHUSDT") & (pl.col("open_time") == last)
    live.commit([TableChange("bars", bars.filter(~cut), True), TableChange("ratings", ratings.filter(~cut), True)])
    failed = Finding(code="SYMBOL_FAILED", what="w", count=1, names=["BINANCE:SOLUSDT"])
    live.commit([], findings=[failed.model_dump()])
    told = found(live.folder)
    assert told["STALE"].severity == told["SYMBOL_FAILED"].severity == "ACTION"
    assert told["STALE"].names[0].startswith("BINANCE:ETHUSDT: 1 day is missing at the end")


@pytest.mark.parametrize(("compiled", "named"), [("2023-07-01", True), ("2023-08-01", False), ("2025-12-31", False)])
def test_pairs_that_are_newer_than_the_list_of_what_is_no_coin_are_told(tmp_path, monkeypatch, compiled, named):
    world = small("2024-01-10", COINS[:2])
    world.add(Pair("NEW", "USDT"), "ETHUSDT", "2023-08-01")
    with LocalExchange(world) as exchange:
        lake, _ = sync(tmp_path, exchange)
    monkeypatch.setattr(checkup, "compiled_on", lambda: dt.date.fromisoformat(compiled))
    told = [issue for issue in examine(lake.folder, NOW).issues if issue.code == "UNIVERSE_OLD"]
    assert [(issue.severity, issue.names) for issue in told] == [("NOTE", ("BINANCE:NEWUSDT",))] * named


def test_toxic_delisted_and_gaps_are_notes_with_causes(lake):
    bars = lake.latest().bars()
    at = {n: CLOSE - dt.timedelta(days=n) for n in (1, 2, 3, 4, 10)}
    drop = (pl.col("symbol") == "BINANCE:ADAUSDT") & (pl.col("open_time") > at[4])
    drop |= (pl.col("symbol") == "BINANCE:BNBUSDT") & (pl.col("open_time") == at[10])
    jump = (pl.col("symbol") == "BINANCE:TRXUSDT") & (pl.col("open_time") >= at[3])
    prices = ["open", "high", "low", "close"]
    bars = bars.filter(~drop).with_columns(pl.when(jump).then(pl.col(prices) * 10).otherwise(pl.col(prices)))
    lake.commit([TableChange("bars", bars, True)])
    told = found(lake.folder)
    assert {code: told[code].severity for code in told} == dict.fromkeys(("TOXIC", "DELISTED", "GAPS"), "NOTE")
    assert told["TOXIC"].names[0].startswith("BINANCE:TRXUSDT: return of 9")


def test_quarantine_is_counted_by_reason(tmp_path):
    path = few_coins(tmp_path / "bars.parquet").removeprefix("parquet:")
    table = pl.read_parquet(path)
    broken = table.head(2).with_columns(pl.lit(-1.0).alias("close"), pl.lit("BINANCE:XUSDT").alias("symbol"))
    pl.concat([table, broken]).write_parquet(path)
    lake = Lake(tmp_path, f"parquet:{path}")
    ingest(lake)
    told = found(lake.folder)["QUARANTINE"]
    assert (told.severity, sum(int(name.rpartition(": ")[2]) for name in told.names)) == ("NOTE", 2)


@pytest.mark.parametrize("length", [1, 3])
def test_a_hole_of_the_market_is_to_do(tmp_path, length):
    path = few_coins(tmp_path / "bars.parquet").removeprefix("parquet:")
    table = pl.read_parquet(path)
    days = table["timestamp"].unique().sort()[-30 : length - 30]
    table.filter(~pl.col("timestamp").is_in(days.implode())).write_parquet(path)
    lake = Lake(tmp_path, f"parquet:{path}")
    ingest(lake)
    told = found(lake.folder)
    assert (told["MARKET_HOLE"].severity, told["MARKET_HOLE"].names) == ("ACTION", tuple(str(d.date()) for d in days))
    assert "REFUSED_DAYS" not in told


@pytest.mark.parametrize(
    ("change", "action"), [(((pl.col("high") + pl.col("low")) / 2).alias("open"), True), (pl.col("open"), False)]
)
def test_days_that_were_refused_are_to_do_and_those_with_a_bar_are_not(tmp_path, change, action):
    path = few_coins(tmp_path / "bars.parquet").removeprefix("parquet:")
    table = pl.read_parquet(path)
    copies = table.filter(pl.col("symbol") == "BINANCE:ADAUSDT").sort("timestamp").slice(-30, 2)
    pl.concat([table, copies.with_columns(change, pl.col("volume") / 2)]).write_parquet(path)
    lake = Lake(tmp_path, f"parquet:{path}")
    ingest(lake)
    told = found(lake.folder)
    assert told["QUARANTINE"].severity == "NOTE"
    assert ("REFUSED_DAYS" in told) == action
    if action:
        issue = told["REFUSED_DAYS"]
        assert (issue.severity, issue.names) == ("ACTION", ("BINANCE:ADAUSDT: 2 days",))


@pytest.mark.parametrize("days", [1, 3])
def test_rows_that_were_refused_at_the_end_of_all_coins_are_to_do(tmp_path, days):
    """No day of the lake is missing then: what is refused lies behind its last one."""
    path = few_coins(tmp_path / "bars.parquet").removeprefix("parquet:")
    table = pl.read_parquet(path)
    last = table["timestamp"].unique().sort()[-days:]
    late = table.filter(pl.col("timestamp").is_in(last.implode()))
    pl.concat([table, late.with_columns(pl.col("high") * 1.01, pl.col("volume") / 2)]).write_parquet(path)
    lake = Lake(tmp_path, f"parquet:{path}")
    ingest(lake)
    issue = found(lake.folder)["REFUSED_DAYS"]
    assert (issue.severity, len(issue.names), issue.names[0]) == ("ACTION", 6, f"BINANCE:ADAUSDT: {days} days")


def scan_of(lake, changes, scanned_at=NOW, as_of=CLOSE):
    """A round in which the screener says of BTC what the lake says, but for some changes."""
    since = as_of - dt.timedelta(days=1)
    bar = lake.latest().bars(since, as_of, ["BINANCE:BTCUSDT"]).to_dicts()[0]
    rated = lake.latest().ratings(since, as_of, ["BINANCE:BTCUSDT"]).to_dicts()[0]
    row = pair("BTC", close=bar["close"], volume=bar["volume"])
    row |= {f"Recommend.{name}[1]|1D": rated[f"recommend_{name.lower()}"] for name in ("All", "MA", "Other")}
    votes = zip(
        ("Ichimoku", "VWMA", "HullMA9", "Stoch.RSI", "WR", "BBPower", "UO"),
        ("ichimoku", "vwma_20", "hull_ma_9", "stoch_rsi", "williams_r", "bull_bear", "ultimate"),
        strict=True,
    )
    row |= {f"Rec.{theirs}[1]|1D": rated[f"vote_{ours}"] for theirs, ours in votes} | changes
    answers = [
        ScanResponse(n, question(s), "{}", "00", 1, tuple(book(row).items())) for n, s in load().scanners().items()
    ]
    lake.record("candidates", to_frame(ScanBatch(as_of, scanned_at, tuple(answers))))


def test_scans_never_made_old_and_in_disagreement(live, tmp_path):
    assert severities(live.folder) == {"NEVER_SCANNED": "NOTE"}
    scan_of(live, {})
    assert severities(live.folder) == {}
    [entry] = examine(live.folder, NOW).agreements
    assert (entry.compared, entry.equal) == (12, 12)
    later = NOW + dt.timedelta(days=5)
    assert found(live.folder, later)["SCAN_OLD"].command == "assay ingest --source binance --scan"
    scan_of(live, {"Recommend.MA[1]|1D": 0.9}, NOW + dt.timedelta(hours=1))
    told = found(live.folder)["SCREENER_DIFFERS"]
    assert (told.severity, told.command) == ("ACTION", "assay scan --source binance")
    assert told.names[0].startswith("BINANCE:BTCUSDT recommend_ma: screener 0.9, ours ")
    text = run(tmp_path)[1]
    assert "2024-01-22  recommend_ma" in text
    assert len(json.loads(run(tmp_path, "--json")[1])["lakes"][0]["agreement"]) == 1


def test_a_few_differences_in_many_are_a_note(live, monkeypatch):
    monkeypatch.setattr(checkup, "LEAST_EQUAL", 0.9)
    scan_of(live, {"Recommend.MA[1]|1D": 0.9})
    assert found(live.folder)["SCREENER_DIFFERS"].severity == "NOTE"


def test_dead_and_orphaned_runs_and_a_broken_registry(lake, tmp_path):
    home = Home(tmp_path)
    for name in ("alive_1", "dead_1", "orphan_1", "fresh_1"):
        (home.runs / name).mkdir(parents=True)
    status = Status.begin("alive_1", "alive", NOW)
    status.write(home.runs / "alive_1")
    dead = Status(**{**status.__dict__, "run_id": "dead_1", "profile": "dead", "pid": 999999999, "pid_started": "1"})
    dead.write(home.runs / "dead_1")
    (home.runs / "dead_1" / "config").mkdir()
    (home.runs / "dead_1" / "config" / "resolved_manifest.json").write_text("{}")
    os.utime(home.runs / "orphan_1", (0, 0))
    code, text = run(tmp_path, "--json")
    told = {entry["where"]: entry for entry in json.loads(text)["findings"] if entry["severity"] != "NOTE"}
    assert code == 1
    assert {where: entry["code"] for where, entry in told.items()} == {"dead_1": "RUN_DEAD", "orphan_1": "RUN_ORPHANED"}
    assert told["dead_1"]["command"] == "assay run dead --resume --run-id dead_1"
    home.registry.write_text("no line of a registry\n")
    code, text = run(tmp_path, "--json")
    assert code == 3
    assert "REGISTRY" in [entry["code"] for entry in json.loads(text)["findings"]]


def test_a_full_disk_is_told(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(checkup, "ROOM", 1 << 60)
    code, text = run(tmp_path)
    assert code == 1
    assert "DISK_SPACE" in text


def test_one_source_is_looked_at_alone(lake, tmp_path):
    assert run(tmp_path, "--source", "sample")[0] == 1
    assert run(tmp_path, "--source", lake.source.name)[0] == 0


def test_heads_of_before_editions_are_a_mixture_of_both(lake):
    record = lake.latest().record
    assert (record.edition, record.revision) == ("2026", REVISION)
    former = record.model_dump(mode="json") | {"edition": 1}
    del former["revision"]
    assert Head.model_validate(former).edition == "mixed"
    assert Head.model_validate(former).revision == 1
    assert Head.model_fields["edition"].default == "mixed"
