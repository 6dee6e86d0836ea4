"""``assay selftest``: its attempts are caught, and it says so when one is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from assay.base.errors import Exit, GateError
from assay.cli import app
from assay.cli.checks import caught_by
from assay.selftest import cases as register
from assay.selftest.cases import SETTINGS, Case, Result, attempt, cases
from assay.selftest.sandbox import Sandbox
from assay.selftest.tampering import EDITS

QUICK_GROUPS = {"files", "causality"}
"""Groups that no other test makes anyway."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    return Sandbox.at(tmp_path_factory.mktemp("selftest") / "home", SETTINGS)


def marked():
    for case in cases():
        slow = case.group not in QUICK_GROUPS
        yield pytest.param(case, marks=[pytest.mark.slow] if slow else [], id=f"{case.group}: {case.name}")


@pytest.mark.parametrize("case", list(marked()))
def test_an_attempt_is_caught(sandbox, case):
    result = attempt(case, sandbox)
    assert result.caught, result.by


def test_every_kind_of_attempt_is_there_and_named_once():
    every = cases()
    assert {case.group for case in every} == {"steps", "files", "replay", "causality", "crash"}
    assert {case.group for case in every if case.quick} == {case.group for case in every}
    assert len({(case.group, case.name) for case in every}) == len(every)
    assert sum(case.group == "files" for case in every) == len(EDITS)


def test_an_error_of_ours_counts_by_its_code_and_nothing_told_is_not_caught(sandbox):
    def refuse(_sandbox, _scratch):
        raise GateError("no", code="SOME_CODE")

    case = Case("steps", "x", frozenset({"SOME_CODE"}), refuse)
    assert attempt(case, sandbox).caught
    assert not attempt(replace(case, told=lambda *_: set()), sandbox).caught
    assert not attempt(replace(case, told=lambda *_: {"OTHER"}), sandbox).caught


@pytest.fixture
def few(monkeypatch, sandbox):
    """Only two attempts, one of which can be made to escape, in the home that is there."""
    monkeypatch.setattr(Sandbox, "at", lambda *_: sandbox)
    chosen = [one for one in register.cases() if one.name in ("change one byte of the weights", "cut the seal")]
    monkeypatch.setattr(register, "cases", lambda: chosen)
    return chosen


def test_the_command_prints_a_table_and_ends_well(few):
    done = CliRunner().invoke(app, ["selftest", "--quick"])
    assert done.exit_code == Exit.OK, done.output
    assert "FILE_CHANGED" in done.stdout
    assert "LEDGER_CUT" in done.stdout
    assert "2 of 2 attempts caught" in done.stdout


def test_an_attempt_that_escapes_is_named_and_fails(few, monkeypatch):
    escaped = replace(few[0], told=lambda *_: {"NOTHING_OF_IT"})
    monkeypatch.setattr(register, "cases", lambda: [escaped, few[1]])
    done = CliRunner().invoke(app, ["selftest", "--json"])
    assert done.exit_code == Exit.FAILED
    body = json.loads(done.stdout)
    assert (body["ok"], body["attempts"], body["caught"]) == (False, 2, 1)
    assert body["results"][0] == Result(escaped, ("NOTHING_OF_IT",)).as_dict()
    assert caught_by(Result(escaped, ())) == "NOT CAUGHT"


def test_no_attempts_are_no_success(few, monkeypatch):
    monkeypatch.setattr(register, "cases", list)
    assert CliRunner().invoke(app, ["selftest"]).exit_code == Exit.FAILED
