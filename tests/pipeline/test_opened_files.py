"""The ledger names as a step's inputs exactly the files that it opened, and a resumed run decides by them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from assay.pipeline import sleeve_steps
from assay.pipeline.runner import execute
from assay.pipeline.tables import META_STEPS, STEPS
from assay.runs import artifacts as layout
from assay.runs.home import claim
from assay.runs.ledger import read_ledger
from assay.runs.request import MetaRequest, pin
from assay.settings import load

from .conftest import LONG, SHORT, mutated

NAMES = {
    "run": "preflight discovery data_prep natural_selection enrichment strategy_synthesis sign_test_pre_opt "
    "risk_analysis optimization weight_flattening sign_test_post_opt walk_forward capital_preservation "
    "atomic_validation reporting",
    "meta": "preflight eligibility meta_returns sign_test_pre_opt optimization weight_flattening sign_test_post_opt "
    "walk_forward analysis meta_validation reporting",
}
OBSERVER = Path(__file__).with_name("opened_files.py")


@pytest.fixture(scope="module")
def portfolio(sandbox, finished) -> Path:
    request = MetaRequest(
        home=sandbox.home.path,
        run=claim(sandbox.home.runs, "both", None, sandbox.foundation.as_of),
        profile=load(settings=["meta.min_days=20", "meta.train=20"])
        .meta("meta_binance_spot_ratings")
        .model_copy(update={"sleeves": (LONG, SHORT)}),
        provenance={},
        pins=tuple(pin(sandbox.home.runs, name, finished[name].name) for name in (LONG, SHORT)),
        passed_over=(),
        source="sample",
        lake=sandbox.foundation.lake.folder.relative_to(sandbox.home.path).as_posix(),
        as_of=sandbox.foundation.as_of,
    )
    outcome = execute(request)
    assert outcome.state == "VALID", outcome.error
    return request.run


@pytest.mark.parametrize(("kind", "table"), [("run", STEPS), ("meta", META_STEPS)])
def test_the_ledger_names_what_each_step_opened(sandbox, finished, portfolio, kind, table):
    run = portfolio if kind == "meta" else finished[LONG]
    done = subprocess.run(
        [sys.executable, str(OBSERVER), str(sandbox.home.path), kind, str(run)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told) == [step.name for step in table]
    for name, files in told.items():
        assert files["inputs"] == files["opened"], name
    assert sum(len(files["opened"]) for files in told.values()) > 4 * len(table)  # the observer is awake


@pytest.mark.parametrize(("kind", "table"), [("run", STEPS), ("meta", META_STEPS)])
def test_the_tables_have_the_public_names_and_every_file_once(kind, table):
    assert [step.name for step in table] == NAMES[kind].split()
    assert [step.work.__name__.removeprefix("check_") for step in table] == NAMES[kind].split()
    assert [step.number for step in table] == list(range(1, len(table) + 1))
    written = [row for step in table for row in step.writes]
    assert len(written) == len(set(written))
    assert {*written, layout.LEDGER, layout.STATUS, layout.LOGS} == set(layout.of(kind))
    for step in table:
        assert all(row.step(kind) < step.number for row in step.reads if row != layout.LEDGER)


def intents(run):
    return [entry.body["step"] for entry in read_ledger(run / layout.LEDGER) if entry.kind == "intent"]


def stop(_run):
    raise KeyboardInterrupt


def test_a_gate_is_passed_again_when_what_it_judged_is_written_anew_and_otherwise(sandbox, monkeypatch):
    """A later version writes an early artifact in another way: the verdict of the former one must not stand."""
    request = sandbox.request(SHORT)
    execute(request, steps=mutated("reporting", stop))
    (request.run / layout.PRESERVATION).unlink()
    honest = sleeve_steps.preservation

    def otherwise(*given):
        document = honest(*given)
        return document.model_copy(update={"rebalances": document.rebalances + 1})

    monkeypatch.setattr(sleeve_steps, "preservation", otherwise)
    assert execute(replace(request, resume=True)).state == "VALID"
    assert intents(request.run) == [*range(1, 16), 13, 14, 15]


def test_a_gate_is_passed_again_after_any_step_for_the_ledger_says_more_than_it_has_judged(sandbox):
    request = sandbox.request(SHORT)
    execute(request, steps=mutated("reporting", stop))
    (request.run / layout.PRESERVATION).unlink()  # comes back with the same bytes
    assert execute(replace(request, resume=True)).state == "VALID"
    assert intents(request.run) == [*range(1, 16), 13, 14, 15]


def test_a_step_that_opens_another_file_than_its_row_names_is_refused(sandbox):
    steps = tuple(replace(step, reads=(layout.MANIFEST,)) if step.number == 4 else step for step in STEPS)
    _, outcome = sandbox.run(SHORT, steps=steps)
    assert outcome.error["code"] == "INTERNAL"
    assert layout.RAW in outcome.error["what"]
