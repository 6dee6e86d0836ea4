"""The funnel counts its losses where they happen: a record that gets lost on the way is seen, never explained away."""

from collections import Counter

import pytest

from assay.gates.validation import validate
from assay.pipeline import sleeve_steps as steps
from assay.pipeline.tables import STEPS
from assay.runs import artifacts as layout
from assay.runs.run import Run
from assay.screening.superset import Pool
from assay.selftest.sandbox import mutated

from .conftest import LONG, SHORT


def lose_one(monkeypatch):
    honest = steps.profile_pool

    def pool(superset, profile):
        found = honest(superset, profile)
        return Pool(found.candidates[1:], found.taken, found.merged)

    monkeypatch.setattr(steps, "profile_pool", pool)


@pytest.mark.parametrize("settings", [(), ("pool=superset",)])
def test_a_record_that_discovery_loses_ends_the_run(sandbox, monkeypatch, settings):
    lose_one(monkeypatch)
    folder, outcome = sandbox.run(SHORT, settings, steps=STEPS[:4])
    assert outcome.error["where"] == "discovery"
    assert " kept " in outcome.error["what"]
    assert not (folder / layout.WINNERS).exists()


def test_the_losses_of_a_pool_of_all_scanners_have_names(sandbox):
    folder, outcome = sandbox.run(SHORT, ("pool=superset",), steps=STEPS[:4])
    assert outcome.error is None
    run = Run(folder)
    [stage, *_], raw = run[layout.SELECTION].stages, run[layout.RAW]
    named = Counter(fate.reason for fate in run[layout.SELECTION].fates if fate.stage == "discovery")
    assert named["CONSOLIDATED"] == stage.dropped_by.get("CONSOLIDATED", 0)
    assert named["CONSOLIDATED"] == sum(len(one.scanners) - 1 for one in raw.candidates)
    assert stage.n_out == len(raw.candidates)


def lose_a_fate(run):
    audit = run[layout.SELECTION]
    return {layout.SELECTION: audit.model_copy(update={"fates": audit.fates[1:]})}


def explain_by_a_plug(run):
    """Lose a candidate, and book it as consolidated, as if by a remainder."""
    audit, raw = run[layout.SELECTION], run[layout.RAW]
    first, second, *rest = audit.stages
    gone = audit.fates[-1]
    dropped_by = first.dropped_by | {"CONSOLIDATED": 1}
    first = first.model_copy(update={"dropped": first.dropped + 1, "n_out": first.n_out - 1, "dropped_by": dropped_by})
    second = second.model_copy(update={"n_in": second.n_in - 1, "n_out": second.n_out - 1})
    kept = [one for one in raw.candidates if one.symbol != gone.symbol]
    return {
        layout.RAW: raw.model_copy(update={"candidates": kept}),
        layout.SELECTION: audit.model_copy(update={"fates": audit.fates[:-1], "stages": [first, second, *rest]}),
    }


@pytest.mark.parametrize("mutation", [lose_a_fate, explain_by_a_plug])
def test_validation_sees_a_record_that_got_lost(sandbox, mutation):
    folder, _ = sandbox.run(LONG, steps=mutated("natural_selection", mutation)[:4])
    [funnel] = [check for check in validate(Run(folder)).checks if check.code == "ATOMIC_FUNNEL"]
    assert not funnel.ok
