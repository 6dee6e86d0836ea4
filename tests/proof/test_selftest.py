"""``assay selftest``: its attempts are caught, and it says so when one is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from assay.base.errors import Exit, GateError
from assay.cli import app
from assay.cli import do_selftest as command
from assay.selftest import attempts as register
from assay.selftest.attempts import SETTINGS, Attempt, Result, attempts, make
from assay.selftest.tampering import EDITS
from assay.selftest.workshop import Workshop

QUICK_GROUPS = {"files", "causality"}
"""Groups that no other test makes anyway."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return Workshop.at(tmp_path_factory.mktemp("selftest") / "home", SETTINGS)


def marked():
    for attempt in attempts():
        slow = attempt.group not in QUICK_GROUPS
        yield pytest.param(attempt, marks=[pytest.mark.slow] if slow else [], id=f"{attempt.group}: {attempt.name}")


@pytest.mark.parametrize("attempt", list(marked()))
def test_an_attempt_is_caught(workshop, attempt):
    result = make(attempt, workshop)
    assert result.caught, result.by


def test_every_kind_of_attempt_is_there_and_named_once():
    every = attempts()
    assert {attempt.group for attempt in every} == {"steps", "files", "replay", "causality", "crash", "markets"}
    assert {attempt.group for attempt in every if attempt.quick} == {attempt.group for attempt in every}
    assert len({(attempt.group, attempt.name) for attempt in every}) == len(every)
    assert sum(attempt.group == "files" for attempt in every) == len(EDITS)


def test_an_error_of_ours_counts_by_its_code_and_nothing_told_is_not_caught(workshop):
    def refuse(_workshop, _scratch):
        raise GateError("no", code="SOME_CODE")

    attempt = Attempt("steps", "x", frozenset({"SOME_CODE"}), refuse)
    assert make(attempt, workshop).caught
    assert not make(replace(attempt, told=lambda *_: set()), workshop).caught
    assert not make(replace(attempt, told=lambda *_: {"OTHER"}), workshop).caught


@pytest.fixture
def few(monkeypatch, workshop):
    """Only two attempts, one of which can be made to escape, in the home that is there."""
    monkeypatch.setattr(Workshop, "at", lambda *_: workshop)
    chosen = [one for one in register.attempts() if one.name in ("change one byte of the weights", "cut the seal")]
    monkeypatch.setattr(command, "attempts", lambda: chosen)
    return chosen


def test_the_command_prints_a_table_and_ends_well(few):
    done = CliRunner().invoke(app, ["selftest", "--quick"])
    assert done.exit_code == Exit.OK, done.output
    assert "FILE_CHANGED" in done.stdout
    assert "LEDGER_CUT" in done.stdout
    assert "2 of 2 attempts caught" in done.stdout


def test_an_attempt_that_escapes_is_named_and_fails(few, monkeypatch):
    escaped = replace(few[0], told=lambda *_: {"NOTHING_OF_IT"})
    monkeypatch.setattr(command, "attempts", lambda: [escaped, few[1]])
    done = CliRunner().invoke(app, ["selftest", "--json"])
    assert done.exit_code == Exit.FAILED
    body = json.loads(done.stdout)
    assert (body["ok"], body["attempts"], body["caught"]) == (False, 2, 1)
    assert body["results"][0] == Result(escaped, ("NOTHING_OF_IT",)).as_dict()
    assert command._verdict(Result(escaped, ())) == "NOT CAUGHT"


def test_no_attempts_are_no_success(few, monkeypatch):
    monkeypatch.setattr(command, "attempts", list)
    assert CliRunner().invoke(app, ["selftest"]).exit_code == Exit.FAILED
