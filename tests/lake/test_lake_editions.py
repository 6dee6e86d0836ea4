"""A lake rated by one edition of the rules, by the other, and by both side by side."""

from __future__ import annotations

import datetime as dt
import json
import shutil

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from assay.base.domain import UTC
from assay.base.errors import UsageError
from assay.cli import app
from assay.lake import ingest as ingestion
from assay.lake.head import Head
from assay.lake.ingest import ingest, rate_anew
from assay.lake.lake import Lake, TableChange
from assay.pipeline.flow import lay_foundation, requests
from assay.ratings import REVISION, rate
from assay.runs.home import Home
from assay.runs.request import Request
from assay.settings import load

OLD = ["ratings.edition=2021"]
LONG = "binance_spot_rating_all_long"
COINS, DAYS = 4, 260
START = dt.datetime(2022, 1, 1, tzinfo=UTC)


def bars(days: int = DAYS) -> pl.DataFrame:
    """A file of bars that rise and fall, each coin at its own pace."""
    day = pl.int_range(days, eager=True).cast(pl.Float64)
    parts = []
    for coin in range(COINS):
        close = 100 + 30 * (day / (7 + 3 * coin)).sin() + 10 * (day / (2.3 + coin)).cos()
        times = pl.datetime_range(START, START + dt.timedelta(days=days - 1), "1d", eager=True)
        frame = pl.DataFrame({"timestamp": times, "open": close, "close": close})
        parts.append(
            frame.with_columns(
                symbol=pl.lit(f"BINANCE:C{coin}USDT"),
                high=pl.col("close") * 1.02,
                low=pl.col("close") * 0.98,
                volume=pl.lit(1e5),
            )
        )
    return pl.concat(parts).sort("timestamp", "symbol")


@pytest.fixture
def lake(tmp_path):
    path = tmp_path / "bars.parquet"
    bars().write_parquet(path)
    made = Lake(tmp_path / "home", f"parquet:{path}")
    ingest(made)
    return made


def rated(lake: Lake, edition: str) -> pl.DataFrame:
    """What a lake should hold, rated from its bars."""
    return rate(lake.latest().bars(), "1d", edition).sort("open_time", "symbol")


def test_head_and_rows_say_the_edition(lake):
    snapshot = lake.latest()
    assert (snapshot.record.edition, snapshot.record.revision) == ("2026", REVISION)
    assert snapshot.ratings()["edition"].unique().to_list() == ["2026"]
    assert set(snapshot.versions) == {"bars", "ratings"}


def test_another_edition_is_rated_anew_and_stands_beside_the_first(lake):
    first = lake.latest()
    report = ingest(lake, edition="2021")
    assert report.changed
    second = lake.latest()
    assert second.edition == "2021"
    assert set(second.versions) == {"bars", "ratings", "ratings_2021"}
    assert_frame_equal(second.ratings(), rated(lake, "2021"))
    assert_frame_equal(first.ratings(), rate(first.bars(), "1d", "2026").sort("open_time", "symbol"))
    assert not second.ratings().drop("edition").equals(first.ratings().drop("edition"))


def test_readers_of_either_state_go_on_seeing_theirs(lake):
    rate_anew(lake, "2021")
    heads = [lake.pin(1), lake.pin(2)]
    assert [snapshot.edition for snapshot in heads] == ["2026", "2021"]
    markets = [snapshot.market() for snapshot in heads]
    seen = [market.fields["recommend_all"] for market in markets]
    assert (seen[0] != seen[1]).any()


def test_going_back_writes_a_line_and_nothing_else(lake):
    rate_anew(lake, "2021")
    versions = lake.latest().versions
    head = rate_anew(lake, "2026")
    assert (head.head, head.edition) == (3, "2026")
    assert head.tables == versions
    assert rate_anew(lake, "2026").head == 3
    assert ingest(lake).head == 3
    assert not ingest(lake).changed


@pytest.mark.parametrize("edition", ["2026", "2021"])
def test_new_bars_are_rated_by_the_edition_asked_for(lake, edition, tmp_path):
    """Whatever the lake was rated by before: the same as a lake filled from nothing."""
    rate_anew(lake, "2021")
    more = bars(DAYS + 3)
    more.write_parquet(tmp_path / "bars.parquet")
    ingest(lake, edition=edition)
    snapshot = lake.latest()
    assert snapshot.edition == edition
    assert_frame_equal(snapshot.ratings(), rated(lake, edition))
    other = ({"ratings", "ratings_2021"} - {snapshot.record.ratings}).pop()
    assert other not in snapshot.versions  # those are of the bars that were
    assert_frame_equal(lake.pin(rate_anew(lake, "2021").head).ratings(), rated(lake, "2021"))


def test_new_bars_are_appended_where_the_edition_stands_beside(lake, tmp_path):
    rate_anew(lake, "2021")
    bars(DAYS + 3).write_parquet(tmp_path / "bars.parquet")
    report = ingest(lake)
    assert report.added == 3 * COINS
    assert_frame_equal(lake.latest().ratings(), rated(lake, "2026"))


def test_rates_of_another_revision_are_not_taken_for_these(lake, monkeypatch):
    rate_anew(lake, "2021")
    monkeypatch.setattr(ingestion, "REVISION", REVISION + 1)
    head = rate_anew(lake, "2026")
    assert head.revision == REVISION + 1
    assert set(head.tables) == {"bars", "ratings"}  # the other edition's are of the old revision
    assert set(rate_anew(lake, "2021").tables) == {"bars", "ratings", "ratings_2021"}


def test_a_lake_of_before_editions_is_rated_anew(lake):
    record = lake.latest().record
    lake.commit([TableChange("ratings", lake.latest().ratings().drop("edition"), replace=True)])
    line = json.loads(lake.latest().record.model_dump_json()) | {"edition": 1}
    for name in ("revision", "format", "roots", "prev", "seal"):
        del line[name]
    lines = (lake.folder / "heads.jsonl").read_bytes().splitlines()
    (lake.folder / "heads.jsonl").write_bytes(b"\n".join([lines[0], json.dumps(line).encode()]) + b"\n")
    assert lake.latest().edition == "mixed"
    assert lake.latest().ratings().height == record.rows["ratings"]  # it stays readable
    assert ingest(lake).changed
    assert lake.latest().edition == "2026"
    assert_frame_equal(lake.latest().ratings(), rated(lake, "2026"))


def test_an_unknown_edition_writes_nothing(lake):
    for work in (lambda: ingest(lake, edition="2020"), lambda: rate_anew(lake, "2020")):
        with pytest.raises(UsageError, match="unknown edition '2020'"):
            work()
    assert lake.latest().head == 1


def test_large_files_are_rated_by_the_edition_asked_for(lake, tmp_path, monkeypatch):
    from assay.lake import shards

    monkeypatch.setattr(shards, "WHOLE_ROWS", 10)
    monkeypatch.setattr(shards, "SHARD_ROWS", 300)
    path = tmp_path / "large.parquet"
    bars().sort("symbol", "timestamp").write_parquet(path, row_group_size=100)
    large = Lake(tmp_path / "home", f"parquet:{path}")
    for edition in ("2021", "2026", "2021"):
        ingest(large, edition=edition)
        assert large.latest().edition == edition
        assert_frame_equal(large.latest().ratings(), rated(large, edition))


# The setting.


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("house"))
    founded = {
        name: lay_foundation(home, load(settings=said), "sample") for name, said in (("2026", []), ("2021", OLD))
    }
    return home, founded


def test_the_setting_decides_what_a_run_reads_and_the_manifest_says_it(house):
    home, founded = house
    for edition, foundation in founded.items():
        assert foundation.snapshot.edition == edition
        [request] = requests(home, load(settings=OLD if edition == "2021" else []), foundation, [LONG])
        manifest = json.loads((request.run / "config" / "resolved_manifest.json").read_bytes())
        assert manifest["edition"] == edition
        assert Request.of(home.path, request.run).edition == edition


def test_editions_are_different_trials(house):
    home, founded = house
    made = [requests(home, load(), foundation, [LONG])[0] for foundation in founded.values()]
    assert made[0].key != made[1].key


def test_superset_of_each_edition_is_its_own(house):
    _, founded = house
    assert founded["2026"].path != founded["2021"].path
    assert founded["2026"].superset != founded["2021"].superset


def test_a_manifest_of_before_is_of_a_mixture(house):
    home, founded = house
    [request] = requests(home, load(), founded["2026"], [LONG])
    path = request.run / "config" / "resolved_manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["edition"]
    path.write_text(json.dumps(manifest))
    assert Request.of(home.path, request.run).edition == "mixed"


def test_commands_take_the_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    shown = runner.invoke(app, ["profiles", "show", LONG, "--json"])
    edition = json.loads(shown.stdout)["ratings.edition"]
    assert (edition["value"], edition["origin"], edition["range"]) == ("2026", "canon.toml", "one of 2026, 2021")
    done = runner.invoke(app, ["ingest", "--set", "ratings.edition=2021", "--json", "--home", "home"])
    assert done.exit_code == 0, done.output
    assert Lake("home", "sample").latest().edition == "2021"
    (tmp_path / "assay.toml").write_text('[ratings]\nedition = "2021"\n')
    assert runner.invoke(app, ["scan", "--home", "home"]).exit_code == 0
    assert Lake("home", "sample").latest().head == 1
    shutil.rmtree(tmp_path / "home")


def test_a_head_names_its_table():
    made = {"head": 1, "tables": {}, "rows": {}, "source": "s", "fingerprint": "f", "interval": "1d", "symbols": 1}
    at = dt.datetime(2024, 1, 1, tzinfo=UTC)
    for edition, name in (("2026", "ratings"), ("2021", "ratings_2021"), (1, "ratings")):
        head = Head.model_validate({**made, "findings": [], "first_open": at, "last_close": at, "edition": edition})
        assert head.ratings == name
