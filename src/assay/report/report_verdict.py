"""The verdict of a run, from its ledger and its last gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from assay.report.markdown import count, plain
from assay.report.view import RunView, ending
from assay.runs.artifacts import LAST_EVIDENCE_STEP
from assay.runs.verify import Entry

PASSED_ACTIONS = frozenset({"", "pass", "passed", "ok", "none"})


@dataclass(frozen=True)
class Verdict:
    """One word and its reason."""

    word: Literal["VALID", "FAILED", "INCOMPLETE"]
    why: str


def verdict(view: RunView) -> Verdict:
    """Return VALID only if atomic validation passed and nothing before it failed."""
    failure = view.trail.failure
    if failure is not None and failure.error is not None:
        return Verdict("FAILED", f"{ending(view.trail)}: {error_text(failure.error)}")
    refused = [entry for entry in view.trail.current("gate") if not gate_ok(view, entry)]
    if refused:
        return Verdict("FAILED", f"the gate {plain(refused[0].body.get('gate'))} refused the run")
    broken = [entry for entry in view.trail.current("contract") if contract_status(entry) == "FAIL"]
    if broken:
        return Verdict("FAILED", f"the contract {plain(broken[0].body.get('schema'))} is broken")
    if view.atomic is not None and not view.atomic.ok:
        return Verdict("FAILED", "atomic validation refused the run")
    if view.trail.fault is not None:
        return Verdict("INCOMPLETE", view.trail.fault)
    finished = view.trail.outcomes.get(LAST_EVIDENCE_STEP)
    if view.atomic is None or finished is None or not finished.finished:
        return Verdict("INCOMPLETE", ending(view.trail))
    contracts = count(len(list(view.trail.current("contract"))), "contract check")
    gates = count(len(list(view.trail.current("gate"))), "gate")
    aside = "the sleeve stood aside and is empty; " if view.stood_aside else ""
    return Verdict("VALID", f"{aside}no fatal fault in {contracts}, {gates} and {checks(view)}")


def checks(view: RunView) -> str:
    """Return how many checks atomic validation made."""
    return count(len(view.atomic.checks) if view.atomic else 0, "atomic check")


def error_text(error: Any) -> str:
    """Return an error of the ledger as a sentence: what, where, what to do next."""
    where = f" [{error['where']}]" if error.get("where") else ""
    hint = f"; {error['hint']}" if error.get("hint") else ""
    return f"{plain(error.get('what') or error.get('code'))}{where}{hint}"


def gate_ok(view: RunView, entry: Entry) -> bool:
    """Whether a gate passed: it said so, and it checked something; only an empty sleeve has nothing to check."""
    return entry.body.get("ok") is True and (entry.body.get("checked") != 0 or view.stood_aside)


def contract_status(entry: Entry) -> Literal["PASS", "FILTERED", "FAIL"]:
    """Return a contract's status; one that checked nothing has failed."""
    action = str(entry.body.get("action") or "").lower()
    if "fatal" in action or "stop" in action or "fail" in action or entry.body.get("checked") == 0:
        return "FAIL"
    return "PASS" if action in PASSED_ACTIONS and not violations(entry) else "FILTERED"


def violations(entry: Entry) -> int:
    """Return how many violations an entry counts, whether it lists them or counts them."""
    found = entry.body.get("violations")
    if isinstance(found, dict):
        return sum(value for value in found.values() if isinstance(value, int))
    if isinstance(found, (list, tuple)):
        return len(found)
    return found if isinstance(found, int) else 0
