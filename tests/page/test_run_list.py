from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_house import LONG, a_status, status_path
from typer.testing import CliRunner

from assay.cli import app
from assay.page import run_list as boards
from assay.page.run_list import RunList
from assay.page.runs import chosen
from assay.runs.home import Home


def board_of(home: Path) -> RunList:
    run_list = RunList(Home(home))
    run_list.refresh()
    return run_list


@pytest.mark.parametrize("made", [(), ("runs",)])
def test_a_home_without_runs_is_an_empty_board(tmp_path: Path, made: tuple[str, ...]) -> None:
    for name in made:
        (tmp_path / name).mkdir()
    run_list = board_of(tmp_path)
    assert run_list.rows() == []
    assert run_list.fault == ""
    assert not run_list.busy


def test_a_row_says_what_the_status_says(tmp_path: Path) -> None:
    a_status(tmp_path, "one", step=12, stage="Step 12: Walk Forward", started="2024-01-02T03:04:05.678+00:00")
    [row] = board_of(tmp_path).rows()
    assert (row.run_id, row.profile, row.state, row.step, row.stage) == (
        "one",
        LONG,
        "RUNNING",
        12,
        "Step 12: Walk Forward",
    )
    assert row.seconds(dt.datetime(2024, 1, 2, 3, 5, 5, 678_000, dt.UTC)) == 60.0
    assert board_of(tmp_path).busy


def test_an_ended_run_keeps_its_time_and_tells_its_error(tmp_path: Path) -> None:
    error = {"code": "NO_CANDIDATES", "what": "the scan found nobody", "where": "", "hint": "later", "exit_code": 1}
    a_status(tmp_path, "one", state="FAILED", elapsed=7.25, error=error)
    [row] = board_of(tmp_path).rows()
    assert row.verdict == "FAILED NO_CANDIDATES"
    assert (row.what, row.hint) == ("the scan found nobody", "later")
    assert row.seconds(dt.datetime(2030, 1, 1, tzinfo=dt.UTC)) == 7.25


def test_results_are_read_a_few_at_a_time_the_newest_first_and_once(tmp_path: Path, monkeypatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(boards, "_results", lambda folder: read.append(folder.name) or {"sharpe": 1.0})
    for number in range(boards.JUDGED + 2):
        a_status(tmp_path, f"run{number}", state="VALID", started=f"2024-01-0{number + 1}T00:00:00.000+00:00")
    a_status(tmp_path, "failed", state="FAILED")
    run_list = board_of(tmp_path)
    mark = run_list.mark
    run_list.judge()
    assert read == [f"run{number}" for number in range(boards.JUDGED + 1, 1, -1)]
    assert {row.run_id for row in run_list.since(mark).rows} == set(read)
    for _ in range(3):
        run_list.refresh()
        run_list.judge()
    assert sorted(read) == [f"run{number}" for number in range(boards.JUDGED + 2)]
    assert {row.run_id: row.sharpe for row in run_list.rows()} == dict.fromkeys(read, 1.0) | {"failed": None}


def test_results_are_those_of_the_runs_own_artifacts(finished_home: Path) -> None:
    run_list = board_of(finished_home)
    run_list.judge()
    for row in run_list.rows():
        told = json.loads((finished_home / "runs" / row.run_id / "data/walk_forward/statistics.json").read_text())
        own = told["as_run"]["hrp"]
        assert (row.cagr, row.sharpe, row.max_drawdown) == (own["cagr"], own["sharpe"], own["max_drawdown"])
        assert row.evidence
        assert row.book


def test_a_sealed_run_without_artifacts_has_no_results(tmp_path: Path) -> None:
    a_status(tmp_path, "one", state="VALID")
    run_list = board_of(tmp_path)
    run_list.judge()
    [row] = run_list.rows()
    assert (row.sharpe, row.evidence) == (None, "")
    assert [one.run_id for one in chosen([row, replace(row, run_id="two", sharpe=-1.0)], {"sort": "sharpe"})] == [
        "one",
        "two",
    ]


def test_a_run_whose_process_is_gone_is_dead(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    from assay.runs.home import process_started

    a_status(tmp_path, "one", pid=child.pid, pid_started=process_started(child.pid))
    run_list = board_of(tmp_path)
    assert run_list.rows()[0].state == "RUNNING"
    mark = run_list.mark
    child.kill()
    child.wait()
    assert run_list.refresh()
    assert [(row.run_id, row.state) for row in run_list.since(mark).rows] == [("one", "DEAD")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"run_id": "one"}',
        '"text"',
        "\x00",
        "[" * 100_000,
        "1" * 5000,
        '{"run_id": "\\udfff"}',
        '{"run_id": "one", "run_id": "one"}',
    ],
)
def test_a_damaged_status_is_a_row_that_says_so(tmp_path: Path, text: str) -> None:
    a_status(tmp_path, "good")
    a_status(tmp_path, "bad")
    status_path(tmp_path, "bad").write_text(text)
    rows = {row.run_id: row for row in board_of(tmp_path).rows()}
    assert rows["good"].state == "RUNNING"
    assert rows["bad"].state == "UNREADABLE"
    assert rows["bad"].what


@pytest.mark.parametrize(
    "fields",
    [
        {"started": "yesterday"},
        {"started": "2024-01-01T00:00:00"},
        {"started": 5},
        {"state": "FINE"},
        {"elapsed": "long"},
        {"step": "four"},
        {"pid": None},
        {"pid": 2**40},
        {"elapsed": 10**18 * 10**400},
        {"elapsed": float("inf")},
        {"run_id": 5},
        {"error": {"what": "no code"}},
        {"error": "no"},
        {"profile": ["x"]},
    ],
)
def test_a_status_with_values_of_wrong_types_is_unreadable(tmp_path: Path, fields: dict[str, object]) -> None:
    a_status(tmp_path, "bad")
    body = json.loads(status_path(tmp_path, "bad").read_text())
    status_path(tmp_path, "bad").write_text(json.dumps(body | fields))
    assert board_of(tmp_path).rows()[0].state == "UNREADABLE"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_in_the_place_of_a_status_or_manifest_stops_nobody(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    a_status(tmp_path, "good")
    a_status(tmp_path, "bad")
    status_path(tmp_path, "bad").unlink()
    make(status_path(tmp_path, "bad"))
    a_status(tmp_path, "odd")
    (tmp_path / "runs" / "odd" / "config").mkdir()
    make(tmp_path / "runs" / "odd" / "config" / "resolved_manifest.json")
    rows = {row.run_id: row.state for row in board_of(tmp_path).rows()}
    assert rows == {"good": "RUNNING", "bad": "UNREADABLE", "odd": "RUNNING"}
    done = CliRunner().invoke(app, ["status", "--home", str(tmp_path), "--json"])
    assert {each["run_id"] for each in json.loads(done.stdout)} == {"good", "odd"}


def test_a_folder_without_status_is_there_and_a_link_is_not(tmp_path: Path) -> None:
    a_status(tmp_path, "one")
    (tmp_path / "runs" / "claimed").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "runs" / "one")
    (tmp_path / "runs" / ".hidden").mkdir()
    (tmp_path / "runs" / "registry.jsonl").write_text("")
    assert {row.run_id: row.state for row in board_of(tmp_path).rows()} == {"one": "RUNNING", "claimed": "NO STATUS"}


def test_what_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        a_status(tmp_path, f"run{number}", state="VALID")
    read: list[str] = []
    real = boards._read
    monkeypatch.setattr(boards, "_read", lambda folder: (read.append(folder.name), real(folder))[1])
    run_list = board_of(tmp_path)
    assert len(read) == 20
    read.clear()
    assert not run_list.refresh()
    a_status(tmp_path, "run7", state="VALID", elapsed=9.0)
    assert run_list.refresh()
    assert read == ["run7"]


def test_the_manifest_tells_kind_and_date_once_it_is_written(tmp_path: Path) -> None:
    folder = a_status(tmp_path, "one")
    run_list = board_of(tmp_path)
    assert run_list.rows()[0].kind == ""
    (folder / "config").mkdir()
    (folder / "config/resolved_manifest.json").write_text('{"kind": "meta", "as_of": "2024-01-22T00:00:00Z"}')
    assert run_list.refresh()
    assert (run_list.rows()[0].kind, run_list.rows()[0].as_of) == ("meta", "2024-01-22T00:00:00Z")
    a_status(tmp_path, "one", state="VALID")
    run_list.refresh()
    assert (run_list.rows()[0].kind, run_list.rows()[0].state) == ("meta", "VALID")


def test_a_strangers_mark_gets_everything(tmp_path: Path) -> None:
    a_status(tmp_path, "one")
    run_list = board_of(tmp_path)
    for mark in ("", "x-1", "-", f"{run_list.mark}9" * 9, run_list.mark.split("-")[0] + "-x"):
        update = run_list.since(mark)
        assert update.whole
        assert [row.run_id for row in update.rows] == ["one"]
    assert not run_list.since(run_list.mark).whole


def test_removed_runs_are_forgotten_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "REMEMBERED", 3)
    run_list = board_of(tmp_path)
    early = run_list.mark
    for number in range(6):
        a_status(tmp_path, f"run{number}")
        run_list.refresh()
        late = run_list.mark
        shutil.rmtree(tmp_path / "runs" / f"run{number}")
        run_list.refresh()
    assert run_list.since(early).whole
    assert run_list.since(late).gone == ["run5"]
    assert len(run_list._gone) == 3


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["write", "remove", "damage", "look", "tell"]), st.integers(0, 3), st.integers(0, 5)),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(operations=OPERATIONS)
def test_updates_put_together_are_the_board(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, int]]
) -> None:
    home = tmp_path_factory.mktemp("run_list")
    run_list, mark = board_of(home), ""
    seen: dict[str, dict[str, object]] = {}
    for operation, number, step in [*operations, ("look", 0, 0), ("tell", 0, 0)]:
        name = f"run{number}"
        if operation == "write":
            a_status(home, name, step=step, started="2024-01-01T00:00:00+00:00")
        elif operation == "remove":
            shutil.rmtree(home / "runs" / name, ignore_errors=True)
        elif operation == "damage" and (home / "runs" / name).is_dir():
            status_path(home, name).write_text("{" * step)
        elif operation == "look":
            run_list.refresh()
        elif operation == "tell":
            update = run_list.since(mark)
            mark = update.mark
            seen = {} if update.whole else {k: v for k, v in seen.items() if k not in update.gone}
            seen |= {row.run_id: asdict(row) for row in update.rows}
    assert seen == {row.run_id: asdict(row) for row in run_list.rows()}
    # And the run_list is what lies on disk, as a run_list that never looked before sees it.
    assert seen == {row.run_id: asdict(row) for row in board_of(home).rows()}
