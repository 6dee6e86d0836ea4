"""``assay clean``: what is abandoned goes, and nothing that anybody names, works on or will come back to."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.base import files
from assay.base.errors import Exit
from assay.cli import app
from assay.lake.lake import Lake
from assay.lake.storage import LOCK
from assay.pipeline.cleaning import abandoned
from assay.report.doctor import FRESH, examine_home
from assay.runs.home import Home

LONG = "binance_spot_rating_all_long"


def assay(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with a lake and a sealed run."""
    home = tmp_path_factory.mktemp("made") / "home"
    done = assay("run", LONG, "--as-of", "2023-10-20", "--home", home, "--run-id", "sealed")
    assert done.exit_code == Exit.OK, done.output
    return home


@pytest.fixture
def home(made, tmp_path):
    return Home(Path(shutil.copytree(made, tmp_path / "home")))


def tree(home):
    return {path: path.read_bytes() for path in sorted(home.path.rglob("*")) if path.is_file()}


def old(path):
    """Make a folder look as if nobody had touched it for a while."""
    then = time.time() - 2 * FRESH
    os.utime(path, (then, then))
    return path


def litter(home):
    """Everything that is abandoned, one of each kind."""
    lake = home.lake / "parquet-0123abcd"
    (lake / "bars").mkdir(parents=True)
    (lake / LOCK).touch()
    (lake / "bars" / "part.parquet").write_bytes(b"x" * 7)
    orphan = home.runs / "claimed_1"
    orphan.mkdir()
    dead = home.runs / "dead_1"
    dead.mkdir()
    status = json.loads((home.runs / "sealed" / "run_status.json").read_text())
    (dead / "run_status.json").write_text(
        json.dumps(status | {"run_id": "dead_1", "state": "RUNNING", "pid": 2**22 - 1})
    )
    flow = home.flows / "flow_1"
    flow.mkdir(parents=True)
    old(flow)
    temporary = home.runs / "sealed" / f".x.{2**22 - 1}.tmp"
    temporary.touch()
    return {
        lake: "EMPTY_LAKE",
        old(orphan): "RUN_ORPHANED",
        dead: "RUN_NEVER_BEGAN",
        flow: "FLOW_ORPHANED",
        temporary: "LEFTOVER_FILE",
    }


def test_a_home_in_use_has_nothing_abandoned(home):
    assert abandoned(home) == []


def test_it_lists_and_removes_only_when_told(home):
    before = tree(home)
    expected = litter(home)
    spoilt = tree(home)
    listed = assay("clean", "--home", home.path)
    assert tree(home) == spoilt
    assert (listed.exit_code, "nothing was changed" in listed.stdout) == (Exit.OK, True)
    told = json.loads(assay("clean", "--home", home.path, "--json").stdout)
    assert {Path(item["path"]): item["kind"] for item in told["abandoned"]} == expected
    assert sum(item["bytes"] for item in told["abandoned"]) >= 7
    done = json.loads(assay("clean", "--home", home.path, "--yes", "--json").stdout)
    assert (done["removed"], len(done["abandoned"])) == (True, len(expected))
    assert tree(home) == before
    assert not any(path.exists() for path in expected)
    assert assay("verify", "sealed", "--home", home.path).exit_code == Exit.OK


def test_what_the_doctor_says_to_do_mends_it(home):
    litter(home)
    now = time.time()

    def codes():
        import datetime as dt

        found = examine_home(home, None, dt.datetime.fromtimestamp(now, dt.UTC))
        return {issue.code: issue.command for issue in found.issues if issue.severity == "ACTION"}

    told = codes()
    assert {told[code] for code in ("RUN_ORPHANED", "RUN_DEAD", "LEFTOVER_FILES")} == {"assay clean --yes"}
    assay("clean", "--yes", "--home", home.path)
    assert {"EMPTY_LAKE", "RUN_ORPHANED", "RUN_DEAD", "LEFTOVER_FILES"}.isdisjoint(codes())


def test_what_is_named_worked_on_or_waited_for_stays(home):
    expected = litter(home)
    lake, orphan, dead, *_ = expected
    # A manifest names the lake, a flow the claimed run.
    manifest = home.runs / "sealed" / "config" / "resolved_manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"lake": f"lake/{lake.name}"}))
    (home.flows / "f1").mkdir(parents=True)
    (home.flows / "f1" / "flow.json").write_text(json.dumps({"runs": [{"run_id": orphan.name}]}))
    assert {item.path for item in abandoned(home)}.isdisjoint({lake, orphan})
    # A living process has the dead run's directory.
    status = json.loads((dead / "run_status.json").read_text())
    shutil.copy(home.runs / "sealed" / "run_status.json", dead / "run_status.json")
    assert dead not in {item.path for item in abandoned(home)}
    (dead / "run_status.json").write_text(json.dumps(status))
    (dead / "config").mkdir()
    shutil.copy(manifest, dead / "config")  # it can be resumed
    assert dead not in {item.path for item in abandoned(home)}


@pytest.mark.parametrize("kept", ["spool", "location", "torn"])
def test_a_lake_that_has_or_awaits_something_stays(home, kept):
    lake = next(iter(litter(home)))
    if kept == "spool":
        (lake / "spool").mkdir()
        (lake / "spool" / "binance.jsonl").write_text("{}\n")
    elif kept == "location":
        (lake / "location.json").write_text('{"url": "s3://bucket/lake"}')
    else:
        (lake / "heads.jsonl").write_text('{"head": 1')
    assert lake not in {item.path for item in abandoned(home)}


def test_a_lake_whose_writer_is_at_work_stays(home):
    lake = next(iter(litter(home)))
    with files.locked(lake / LOCK):
        assert lake not in {item.path for item in abandoned(home)}


def test_without_a_readable_registry_nothing_is_touched(home):
    litter(home)
    home.registry.write_text("{}\n")
    before = tree(home)
    assert assay("clean", "--yes", "--home", home.path).exit_code == Exit.INTEGRITY
    assert tree(home) == before


def test_whoever_waits_for_the_lock_of_a_lake_that_is_removed_makes_it_anew(tmp_path):
    lake = Lake(tmp_path, "sample")
    with lake.locked():
        lake.introduce()
        lake.abandon()
        assert not lake.folder.exists()
        with files.locked(lake.folder / LOCK):
            assert (lake.folder / LOCK).is_file()
