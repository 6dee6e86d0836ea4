"""Whoever changes bytes of a lake is found by whatever command meets them, and no run stands on them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from assay.base.errors import Exit
from assay.cli import app
from assay.lake import delta, roots
from assay.lake.head import Head
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.lake.roots import LAKE_CHANGED
from assay.pipeline import context
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.runs.artifacts import FLATTENED
from assay.runs.home import Home
from assay.runs.request import Request
from assay.selftest.sandbox import AS_OF
from assay.settings import load

from .conftest import LONG

SOL = "BINANCE:SOLUSDT"
QUICK = ("--set", "walk_forward.days=60")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    home = tmp_path_factory.mktemp("written") / "home"
    done = CliRunner().invoke(app, ["run", LONG, "--home", str(home), "--run-id", "one", *QUICK])
    assert done.exit_code == 0, done.output
    return home


@pytest.fixture
def home(written, tmp_path):
    shutil.copytree(written, tmp_path / "home")
    return Home(tmp_path / "home")


def halve(home, symbol=SOL):
    """Halve the prices of a coin in one file of the lake, in place; return the file."""
    path = max(home.lake.glob("*/bars/*/*.parquet"), key=lambda one: pl.read_parquet(one)["open_time"].max())
    held, price = pl.read_parquet(path, hive_partitioning=False), pl.col("open", "high", "low", "close")
    assert symbol in held["symbol"]
    held.with_columns(pl.when(pl.col("symbol") == symbol).then(price / 2).otherwise(price)).write_parquet(path)
    return path


def say(home, *arguments):
    done = CliRunner().invoke(app, [*arguments, "--home", str(home.path), "--json"])
    return done.exit_code, done.stdout + done.stderr


def test_a_run_repeats_what_the_head_names(home):
    manifest = json.loads((home.runs / "one/config/resolved_manifest.json").read_bytes())
    [heads] = home.lake.glob("*/heads.jsonl")
    line = json.loads(heads.read_bytes())
    told = {name: manifest["lake"][name] for name in ("roots", "state", "fingerprint")}
    assert told == {"roots": line["roots"], "state": line["seal"], "fingerprint": line["fingerprint"]}
    assert manifest["environment"]["packages"]["assay-portfolio"]


@pytest.mark.parametrize(
    "command",
    [
        ("run", LONG, *QUICK),
        ("ingest",),
        ("replay", "one"),
        ("prove", "one", "hrp", "a coin of the book"),
        ("causality", "one"),
    ],
)
def test_every_command_that_reads_the_lake_refuses_it(home, command):
    book = json.loads((home.runs / "one" / FLATTENED).read_bytes())["profiles"]["hrp"]["assets"]
    halve(home)
    code, told = say(home, *(book[0]["Symbol"] if word == "a coin of the book" else word for word in command))
    assert code == Exit.INTEGRITY, told
    assert LAKE_CHANGED in told
    assert "table bars" in told
    assert SOL in told


def test_the_doctor_and_compare_say_which_table_and_symbol(home):
    shutil.copytree(home.runs / "one", home.runs / "two")
    halve(home)
    code, told = say(home, "doctor")
    assert code == Exit.INTEGRITY
    [issue] = [one for one in json.loads(told)["findings"] if one["code"] == LAKE_CHANGED]
    assert "table bars" in issue["what"]
    assert issue["names"][0] == SOL
    _, told = say(home, "compare", "one", "two")
    impossible = json.loads(told)["attribution"]["impossible"]
    assert "table bars" in impossible
    assert SOL in impossible


def test_a_head_that_was_written_anew_for_other_bytes_is_refused_by_the_run_that_pinned_it(home):
    """Whoever changes bytes can name them in the head again; the run's manifest still knows the true ones."""
    halve(home)
    [heads] = home.lake.glob("*/heads.jsonl")
    lake = Lake(home.path, "sample")
    line = json.loads(heads.read_bytes())
    held = roots.Roots(lake.storage)
    content = delta.content(lake.storage.table("bars"), line["tables"]["bars"])
    line["roots"]["bars"] = held.enter("bars", content)
    heads.write_bytes(Head.model_validate(line).line() + b"\n")
    lake.latest().prove()  # nothing within the lake contradicts it
    code, told = say(home, "replay", "one")
    assert (code, LAKE_CHANGED in told) == (Exit.INTEGRITY, True)
    assert "table bars is another one than when run one pinned it" in told


def test_a_pinned_state_is_asked_for_before_the_market_is_taken_from_memory(home, monkeypatch):
    request = Request.of(home.path, home.runs / "one")
    context.market_of(request)
    with pytest.raises(Exception, match="another one than when run one pinned it"):
        context.market_of(replace(request, roots=dict(request.roots) | {"bars": "0" * 64}))
    with pytest.raises(Exception, match="the head says other things"):
        context.market_of(replace(request, state="0" * 64))


def test_preflight_finds_bytes_that_changed_after_they_were_pinned(tmp_path):
    home = Home(tmp_path / "home")
    foundation = lay_foundation(home, load(), "sample", AS_OF)
    [request] = requests(home, load(), foundation, [LONG])
    file = halve(home)
    outcome = execute(request, steps=STEPS[:1])
    assert (outcome.error["code"], outcome.exit_code) == (LAKE_CHANGED, Exit.INTEGRITY)
    assert f"table bars: {file.relative_to(foundation.lake.folder / 'bars')}" in outcome.error["what"]
    assert SOL in outcome.error["what"]


def test_a_whole_lake_from_the_true_source_is_another_story(home):
    halve(home)
    shutil.move(home.lake, home.path / "moved")
    [shelf] = (home.path / "moved").glob("*/superset")
    shutil.copytree(shelf, home.lake / shelf.parent.name / "superset")
    assert ingest(Lake(home.path, "sample")).changed
    code, told = say(home, "replay", "one")
    assert (code, json.loads(told)["verdict"]) == (0, "EQUAL"), told
    assert Path(home.path / "moved").is_dir()
