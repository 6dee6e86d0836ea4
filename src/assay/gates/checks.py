"""The checks that validation makes of a run of either kind: files, ledger, hashes, dates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from assay.base.constants import TOLERANCE, Days
from assay.base.domain import DAY, format_instant
from assay.base.files import sha256
from assay.runs.artifacts import (
    FLATTENED,
    LEDGER,
    META_ANALYSIS,
    PRESERVATION,
    RAW,
    RUIN,
    SELECTION,
    STEP_NAMES,
    VALIDATION,
    WINNERS,
    Kind,
    evidence,
)
from assay.runs.ledger import check_chain
from assay.runs.run import Run, schemas
from assay.runs.verify import Entry, Story

GATES: Mapping[Kind, Mapping[int, str]] = {
    "run": {3: "foundation", 7: "sign_test_pre_opt", 11: "sign_test_post_opt", 12: "causality", 13: RUIN},
    "meta": {2: "eligibility", 4: "sign_test_pre_opt", 7: "sign_test_post_opt"},
}
"""Gates that it passes before, by step."""


@dataclass
class Tally:
    """What one check looked at, and what it found wrong."""

    checked: int = 0
    faults: list[str] = field(default_factory=list)

    def expect(self, good: bool, what: str) -> None:
        """Count one comparison."""
        self.checked += 1
        if not good:
            self.faults.append(what)


CheckFunction = Callable[[Run, Tally], str | None]
"""Fills a tally; may return the code of the fault where a family has several."""
Family = tuple[str, str, CheckFunction]
"""Code where it finds a fault, code where it finds none, and the check."""


def same(code: str, check: CheckFunction) -> Family:
    """Return a family of one code."""
    return code, code, check


def check_artifacts(run: Run, tally: Tally) -> None:
    """Check that everything is there, and is what the table says."""
    for row in evidence(run.kind):
        tally.expect(run.has(row), f"{row} is missing")
        if row != LEDGER and run.has(row) and run.get(row) is None:
            tally.faults.append(f"{row}: {run.faults[row]}")


def check_ledger(run: Run, tally: Tally) -> None:
    """Check chain and order, that each step ended well, and that what was checked was something, by every gate."""
    tally.checked += check_chain(run.folder / LEDGER)
    story, names, before = Story(run.ledger), STEP_NAMES[run.kind], _last(run)
    tally.expect(run.ledger[0].body.get("run_id") == run.folder.name, "the ledger is another run's")
    outcomes = {entry.body["step"]: entry.body for entry in run.ledger if entry.kind == "outcome"}
    for number, name in enumerate(names[:before], start=1):
        body = outcomes.get(number, {})
        good = body.get("state") == "ok" and body.get("name") == name
        tally.expect(good, f"step {number} {name} has not ended well")
    tally.expect(story.open is None or story.open["step"] > before, "a step before this one has not ended")
    # This gate's own verdict is not evidence for it.
    said = [
        one for one in run.current if one.kind in ("contract", "gate") and one.body.get("step") in range(before + 1)
    ]
    for entry in said:
        _check_teeth(entry, run, tally)
    passed = {(entry.body.get("step"), entry.body.get("gate")) for entry in said if entry.kind == "gate"}
    for step, gate in GATES[run.kind].items():
        tally.expect((step, gate) in passed, f"step {step} {names[step - 1]} passed no gate {gate}")


def check_contracts(run: Run, tally: Tally) -> None:
    """Check that no contract failed, that each was asked, and that nothing which one dropped went on."""
    said = [entry.body for entry in run.current if entry.kind == "contract"]
    winners = run[WINNERS].winners if run.kind == "run" else []
    held = {name for winner in winners for name in (winner.atom_id, winner.symbol)}
    for body in said:
        what = f"contract {body.get('schema')} of step {body.get('step')}"
        tally.expect(body.get("action") in ("passed", "filtered"), f"{what} {body.get('action')}")
        for name in body.get("details", {}).get("dropped", ()):
            gone = run.kind == "run" and str(name).partition(" ")[0] not in held  # nothing can leave a portfolio
            tally.expect(gone, f"{what} dropped {name}, which went on")
    asked = {(body.get("step"), str(body.get("layer"))[:2]) for body in said}
    for step, layer in _wanted(run):
        tally.expect((step, layer) in asked, f"no contract of {layer} was asked in step {step}")


def _wanted(run: Run) -> list[tuple[int, str]]:
    """Step and layer of the contracts that a run must have asked: where there is nothing to ask of, none."""
    if run.kind == "meta":
        held = any(book.assets for book in run[FLATTENED].profiles.values())
        return [(3, "L0"), *([(4, "L3")] if _has_atoms(run) else []), *([(6, "L4")] if held else [])]
    wanted = [(3, "L0")]
    wanted += [(4, "L1")] if run[RAW].candidates else []
    wanted += [(4, "L2")] if any(fate.stage == "selection" for fate in run[SELECTION].fates) else []
    return wanted + ([(6, "L3"), (10, "L4")] if run.atoms else [])


def _has_atoms(run: Run) -> bool:
    """Whether any sleeve behind a portfolio has an atom."""
    if run.kind == "run":
        return bool(run.atoms)
    return any(_has_atoms(run.beside(one.run_id)) for one in run.accepted)


def _last(run: Run) -> int:
    """Return the last step before validation."""
    return (VALIDATION.step(run.kind) or 0) - 1


def _check_teeth(entry: Entry, run: Run, tally: Tally) -> None:
    what = f"{entry.kind} {entry.body.get('schema', entry.body.get('gate'))} of step {entry.body.get('step')}"
    tally.expect(bool(entry.body.get("checked")) or run.stands_aside, f"{what} checked nothing")
    judged = META_ANALYSIS if run.kind == "meta" else PRESERVATION
    verdict = (entry.body.get("step"), entry.body.get("gate")) == (judged.step(run.kind), RUIN)
    tally.expect(verdict or entry.body.get("ok", True) is True, f"{what} did not pass")


def check_hashes(run: Run, tally: Tally) -> None:
    """Check that the files on disk are the ones that the steps recorded."""
    steps = Story(run.ledger).steps.items()
    recorded = {path: digest for step, wrote in steps if step <= _last(run) for path, digest in wrote.items()}
    for row in evidence(run.kind):
        tally.expect(row in recorded or row == LEDGER, f"{row} was recorded by no step")
    for name, digest in sorted(recorded.items()):
        if run.has(name):
            tally.expect(sha256(run.load(name)) == digest, f"{name} is not what its step recorded")
        else:
            tally.expect(False, f"{name} was recorded by its step, and is missing")


def last_day(run: Run) -> np.datetime64:
    """Return the last day that a run can know, datetime64[D]."""
    return np.datetime64((run.manifest.as_of - DAY).replace(tzinfo=None), "D")


def check_dates(run: Run, tally: Tally) -> None:
    """Check that every document that has a date has the run's."""
    as_of = format_instant(run.manifest.as_of)
    for row in evidence(run.kind):
        if "as_of" in getattr(schemas()[row], "model_fields", {}):
            told = run[row].as_of
            tally.expect(told == as_of, f"{row} is as of {told}, the run as of {as_of}")


def check_daily(name: str, found: Days, last: np.datetime64, tally: Tally) -> None:
    """Check that there is one row for each day, and none that the run cannot know."""
    tally.checked += len(found)
    tally.expect(bool((np.diff(found) == np.timedelta64(1, "D")).all()), f"{name} is not one row for each day")
    tally.expect(bool((found <= last).all()), f"{name} has a day after {last}, the last one that the run knows")


def near(left: float, right: float) -> bool:
    """Tell whether two weights are equal."""
    return abs(left - right) <= TOLERANCE
