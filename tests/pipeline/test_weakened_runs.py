"""A run of weaker rules says so wherever its verdict stands, from its sealed manifest alone."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from assay.page.run_list import RunList
from assay.page.runs import run_facts
from assay.report.html import render_page
from assay.runs.home import Home, Status

from .conftest import AS_OF, LONG, SHORT

FEE, FLOOR, CAP = "costs.fee 0 (canon 10 bp)", "data.floor 240 (canon 252)", "caps.atom 1 (canon 0.25)"
SAID = "VALID, weakened: data.floor 240 (canon 252), costs.fee 0 (canon 10 bp), caps.atom 1 (canon 0.25)"


def assay(*arguments, home, cwd, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "assay", *arguments, "--home", str(home)],
        capture_output=True, text=True, cwd=cwd, env=os.environ | environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A home with a pair of runs, one of them weakened by file, environment and command line, and what was printed."""
    cwd = tmp_path_factory.mktemp("weakened")
    (cwd / "assay.toml").write_text(
        f'[profiles.{LONG}]\ncosts.fee = 0\n[meta.pair]\nsleeves = ["{LONG}", "{SHORT}"]\nmin_days = 20\ntrain = 20\n'
    )
    home = cwd / "home"
    again = {"ASSAY_SET__data__floor": "240"}
    said = assay("run", LONG, "--as-of", AS_OF, "--run-id", "weak", "--set", "caps.atom=1", home=home, cwd=cwd, **again)
    assay("run", SHORT, "--as-of", AS_OF, "--run-id", "sound", home=home, cwd=cwd)
    return home, cwd, said


def test_the_table_the_status_and_json_name_them(place):
    home, cwd, said = place
    assert SAID in said
    assert SAID in assay("status", home=home, cwd=cwd)
    told = {run["run_id"]: run["weakened"] for run in json.loads(assay("status", "--json", home=home, cwd=cwd))}
    assert told == {"weak": [FLOOR, FEE, CAP], "sound": []}


def test_report_and_page_name_them_in_the_verdict_and_as_a_finding(place):
    home, _, _ = place
    text = (home / "runs" / "weak" / "reports" / "audit_report.md").read_text()
    assert f"**Verdict: {SAID}.**" in text
    assert "**Strongest warning: WEAKENED.** 3 rules weaker than the canon's" in text
    assert SAID in render_page(home / "runs" / "weak")
    rows = RunList(Home(home))
    rows.refresh()
    row = rows.row("weak")
    assert row is not None
    assert row.verdict == SAID
    assert run_facts(home / "runs" / "weak", row)["verdict"]["said"] == SAID
    assert "weakened" not in (home / "runs" / "sound" / "reports" / "audit_report.md").read_text().casefold()


def test_what_nothing_protects_cannot_hide_them(place, tmp_path):
    home, _, _ = place
    copy = shutil.copytree(home / "runs" / "weak", tmp_path / "weak")
    body = json.loads((copy / "run_status.json").read_text())
    assert "weakened" not in body
    (copy / "run_status.json").write_text(json.dumps(body | {"weakened": []}))
    assert Status.shown(copy).verdict == SAID
    (copy / "run_status.json").write_text(json.dumps(body | {"weakened": {"a": 1}}))
    assert Status.shown(copy).verdict == SAID


def test_a_portfolio_names_those_of_its_sleeves_and_its_own(place):
    home, cwd, _ = place
    said = assay("meta", "run", "pair", "weak", "sound", "--run-id", "both", home=home, cwd=cwd)
    own = ["min_days 20 (canon 60)", "train 20 (canon 60)"]
    both = [*own, *(f"{LONG}: {text}" for text in (FLOOR, FEE, CAP))]
    manifest = json.loads((home / "runs" / "both" / "config" / "resolved_manifest.json").read_text())
    assert manifest["weakened"] == both
    assert f"both: VALID, weakened: {', '.join(both[:3])}, and 2 more" in said
    report = (home / "runs" / "both" / "reports" / "audit_report.md").read_text()
    assert f"**VALID, weakened: {', '.join(both)}**" in report
