"""Many runs at once: workers, lost workers, interruptions, partial failure."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assay.base.errors import Exit
from assay.pipeline.flow import requests, run_all, workforce
from assay.pipeline.replay import recorded_artifacts
from assay.runs.home import Home, Status
from assay.settings import load

from .conftest import AS_OF, LONG, SHORT


def command(*arguments, home):
    return [sys.executable, "-m", "assay", *arguments, "--home", str(home)]


@pytest.fixture(scope="module")
def pairs(sandbox):
    """The pair, by one worker and by two."""
    made = {}
    for workers in (1, 2):
        wanted = requests(sandbox.home, load(), sandbox.foundation, [LONG, SHORT])
        with workforce("pool", workers, sandbox.home) as executor:
            outcomes = run_all(executor, wanted)
        assert [outcome.state for outcome in outcomes] == ["VALID", "VALID"], outcomes
        made[workers] = [recorded_artifacts(request.run) for request in wanted]
    return made


def test_the_number_of_workers_changes_no_content(pairs, finished):
    assert pairs[1] == pairs[2]
    assert pairs[1] == [recorded_artifacts(finished[LONG]), recorded_artifacts(finished[SHORT])]
    assert all(len(artifacts) > 15 for artifacts in pairs[1])


def test_a_killed_worker_costs_no_run(sandbox, finished):
    wanted = requests(sandbox.home, load(), sandbox.foundation, [LONG, SHORT])
    victims = []

    def kill_once():
        for request in wanted:
            status = Status.read(request.run)
            if not victims and status.step >= 4 and status.pid != os.getpid():
                victims.append(status.pid)
                os.kill(status.pid, signal.SIGKILL)

    with workforce("pool", 2, sandbox.home) as executor:
        outcomes = run_all(executor, wanted, kill_once)
    assert victims
    assert [outcome.state for outcome in outcomes] == ["VALID", "VALID"]
    assert recorded_artifacts(wanted[0].run) == recorded_artifacts(finished[LONG])
    assert recorded_artifacts(wanted[1].run) == recorded_artifacts(finished[SHORT])


def test_a_flow_that_loses_a_run_finishes_and_reports_the_others(tmp_path):
    # On this day nobody is worth shorting: every short candidate is vetoed.
    done = subprocess.run(
        command(
            "flow",
            "binance-spot-rating-all-ls",
            "--as-of",
            "2023-11-15",
            "--set",
            "stand_aside=false",
            "--json",
            home=tmp_path,
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    assert done.returncode == told["exit_code"] == Exit.FAILED
    assert {run["profile"]: run["verdict"] for run in told["runs"]} == {LONG: "VALID", SHORT: "FAILED NO_WINNERS"}
    report = Path(told["report"]).read_text()
    assert told["runs"][0]["run_id"] in report
    failed = told["runs"][1]
    done = subprocess.run(
        command("audit-report", failed["run_id"], "--json", home=tmp_path), capture_output=True, text=True, check=True
    )
    assert "NO_WINNERS" in Path(json.loads(done.stdout)["report"]).read_text()


def test_an_interrupted_run_says_so_and_resumes(tmp_path, finished):
    process = subprocess.Popen(
        command("run", SHORT, "--as-of", AS_OF, "--run-id", "x", home=tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "Step 8" in line:
            process.send_signal(signal.SIGINT)
            break
    process.communicate()
    assert process.returncode == Exit.INTERRUPTED
    assert Status.read(tmp_path / "runs" / "x").state == "INTERRUPTED"
    done = subprocess.run(
        command("run", SHORT, "--resume", "--run-id", "x", home=tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.OK, done.stderr
    assert recorded_artifacts(Home(tmp_path).run("x")) == recorded_artifacts(finished[SHORT])


def test_a_flow_and_its_portfolio_survive_a_day_on_which_nobody_is_wanted(tmp_path):
    day = ("--as-of", "2023-11-15", "--set", "walk_forward.days=150", "--json")
    sooner = ("--set", "meta.min_days=20", "--set", "meta.train=20")  # few days are counted by then
    done = subprocess.run(
        command("flow", "binance-spot-ratings", *day, home=tmp_path), capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert done.returncode == Exit.OK, done.stderr
    assert {run["verdict"].split(",")[0] for run in told["runs"]} == {"VALID"}
    short = next(run for run in told["runs"] if run["profile"] == SHORT)
    assert "STAND_ASIDE" in Path(short["report"]).read_text()
    done = subprocess.run(
        command("meta", "run", "meta_binance_spot_ratings", *day[:2], *sooner, "--json", home=tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.OK, done.stderr
