"""What a gate or a count decides is told by the run itself: mutants that once survived, through the real steps."""

from types import SimpleNamespace

from assay.base import files
from assay.pipeline import sleeve_steps as steps
from assay.runs import artifacts as layout
from assay.runs.run import Run

from .conftest import LONG, SHORT


def test_the_sharpe_ratios_are_deflated_by_every_set_that_was_tried(sandbox, finished):
    assert len(finished) == 2
    folder, outcome = sandbox.run(LONG, ("selection.top_n=9",))
    assert outcome.state == "VALID", outcome.error
    lines = {line for line in sandbox.home.registry.read_text().splitlines() if '"manifest"' in line}
    told = files.read_json(folder / layout.TRIALS)
    assert told["trials"] == Run(folder).manifest.trials["n"] + 1
    assert 3 <= told["trials"] <= len(lines)


def test_a_causality_gate_that_refuses_ends_the_run_in_its_step(sandbox, monkeypatch):
    found = SimpleNamespace(ok=False, violations=["2023-09-01 noise: weights differ"], rows=100)
    monkeypatch.setattr(steps, "probe", lambda *given: found)
    folder, outcome = sandbox.run(SHORT)
    assert (outcome.error["code"], outcome.error["what"]) == ("CAUSALITY", found.violations[0])
    assert not (folder / layout.PRESERVATION).exists()
