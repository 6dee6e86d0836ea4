"""What a gate or a count decides is told by the run itself: mutants that once survived, through the real steps."""

import json
import math
from statistics import NormalDist, fmean, pstdev
from types import SimpleNamespace

import polars as pl
import pytest

from assay.backtest.trials import counted
from assay.base import files
from assay.pipeline import sleeve_steps as steps
from assay.pipeline.flow import requests
from assay.pipeline.runner import execute
from assay.runs import artifacts as layout
from assay.runs import registry
from assay.runs.run import Run
from assay.settings import load
from assay.settings.model import RISK_PROFILES

from .conftest import LONG, SHORT


def test_the_sharpe_ratios_are_deflated_by_every_set_that_was_tried(sandbox, finished):
    assert len(finished) == 2
    folder, outcome = sandbox.run(LONG, ("selection.top_n=9",))
    assert outcome.state == "VALID", outcome.error
    sets = {json.loads(line)["body"].get("tried") for line in sandbox.home.registry.read_text().splitlines()} - {None}
    told = files.read_json(folder / layout.TRIALS)
    assert told["trials"] == len(sets) >= 3
    assert {name: one["trials"] for name, one in told["as_run"].items()} == {
        name: len(sets) * (1 if name == "hrp" else 5) for name in RISK_PROFILES
    }
    again, _ = sandbox.run(LONG, ("selection.top_n=9", "headline=barbell"))
    told = files.read_json(again / layout.TRIALS)
    assert (told["trials"], told["headline"]) == (len(sets) + 1, "barbell")
    assert told["as_run"]["barbell"]["trials"] == len(sets) + 1
    for name, one in told["as_run"].items():
        days = Run(again)[layout.WALK_RETURNS].sort("date").filter(pl.col("risk_profile") == name, "counted")
        series = days["ret"].to_list()
        assert one["dsr"] == pytest.approx(deflated_by_hand(series, one["trials"], told["sharpe_variance"]), rel=1e-9)


def deflated_by_hand(returns, n, variance):
    """Bailey and Lopez de Prado (2014), with annual ratios turned into daily ones."""
    normal, euler, days = NormalDist(), 0.5772156649015329, len(returns)
    mean, spread = fmean(returns), pstdev(returns)
    third, fourth = (fmean(((one - mean) / spread) ** k for one in returns) for k in (3, 4))
    ratio = mean / (spread * (days / (days - 1)) ** 0.5)
    best = (1 - euler) * normal.inv_cdf(1 - 1 / n) + euler * normal.inv_cdf(1 - 1 / (n * math.e))
    width = 1 - third * ratio + (fourth - 1) / 4 * ratio**2
    return normal.cdf((ratio - (variance / 365) ** 0.5 * best) * ((days - 1) / width) ** 0.5)


def test_all_of_a_flow_are_entered_before_the_first_looks(sandbox, monkeypatch):
    """The first of two looks; the second, which comes later or not at all, has been counted."""
    settings = (*sandbox.settings, "selection.top_n=7")
    first, second = requests(sandbox.home, load(settings=settings), sandbox.foundation, [LONG, SHORT])
    before = len(sandbox.home.registry.read_text().splitlines())
    assert execute(first).state == "VALID"
    lines = [json.loads(line) for line in sandbox.home.registry.read_text().splitlines()[before:]]
    assert [line["kind"] for line in lines] == ["begun", "begun", "run"]
    assert {line["body"]["run_id"] for line in lines[:2]} == {first.run.name, second.run.name}
    assert execute(second).state == "VALID"
    told = [files.read_json(one.run / layout.TRIALS) for one in (first, second)]
    assert told[0]["registry"] == told[1]["registry"] == registry.until(sandbox.home.registry)[before + 1].hash
    assert told[0]["trials"] == told[1]["trials"]


def test_a_look_that_is_interrupted_was_a_look(sandbox, monkeypatch):
    honest = steps.survivorship

    def interrupt(*_given, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "survivorship", interrupt)
    _, outcome = sandbox.run(LONG, ("selection.top_n=6",))
    assert outcome.state == "INTERRUPTED"
    monkeypatch.setattr(steps, "survivorship", honest)
    before = counted(sandbox.home.registry, sandbox.home.runs)["n"]
    folder, _ = sandbox.run(LONG, ("selection.top_n=6",))
    assert files.read_json(folder / layout.TRIALS)["trials"] == before
    other, _ = sandbox.run(LONG, ("selection.top_n=5",))
    assert files.read_json(other / layout.TRIALS)["trials"] == before + 1


def test_a_causality_gate_that_refuses_ends_the_run_in_its_step(sandbox, monkeypatch):
    found = SimpleNamespace(ok=False, violations=["2023-09-01 noise: weights differ"], rows=100)
    monkeypatch.setattr(steps, "probe", lambda *given: found)
    folder, outcome = sandbox.run(SHORT)
    assert (outcome.error["code"], outcome.error["what"]) == ("CAUSALITY", found.violations[0])
    assert not (folder / layout.PRESERVATION).exists()
