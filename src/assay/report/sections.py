"""Contracts L0 to L4 and gates, as the ledger recorded them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.report.findings import contract_status, gate_ok, violations
from assay.report.markdown import ABSENT, Safe, bullets, fill, finite, integer, plain, section, table, yes
from assay.report.view import RunView, ending, step_of
from assay.runs import artifacts as layout
from assay.runs.artifacts import step_title
from assay.runs.documents import SignTest
from assay.runs.verify import Entry

LAYERS = {
    "L0": ("L0 Foundation", "ReturnsMatrixSchema", 3),
    "L1": ("L1 Ingestion", "FeatureStoreSchema", 4),
    "L2": ("L2 Inference", "InferenceSchema", 4),
    "L3": ("L3 Synthesis", "SyntheticReturnsSchema", 6),
    "L4": ("L4 Allocation", "WeightsSchema", 10),
}
"""Layer to contract, schema and the step that checks it."""

GATE_STEPS = (3, 7, 11, 12, 13, 14)
"""Steps that end with a gate; the one of step 13 only where the guard is on."""

GUARD_STEP = 13
LISTED = 20


def contracts(view: RunView) -> Safe:
    """Return the table of contracts with its evidence, one row for each check; layers without one are named."""
    columns = ["contract", "schema", "status", ">step", ">rows", ">columns", ">checked", ">violations", "action"]
    entries = list(view.ledger.current("contract"))
    return section(
        "Contracts L0 to L4", table(columns, [row for _, row in contract_rows(view)]), _listed(entries, "schema")
    )


def contract_rows(view: RunView) -> list[tuple[str, list[object]]]:
    """Return layer and row of every contract check, in order of the layers."""
    rows: list[tuple[str, list[object]]] = []
    entries = list(view.ledger.current("contract"))
    for layer, (contract, schema, step) in LAYERS.items():
        own = [entry for entry in entries if _layer(entry) == layer]
        rows += [(layer, _contract_row(contract, entry)) for entry in own]
        if not own:
            status = not_recorded(view, step)
            rows.append((layer, [contract, schema, status, step, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT]))
    others = [entry for entry in entries if _layer(entry) not in LAYERS]
    return rows + [(_layer(entry), _contract_row(plain(entry.body.get("layer")), entry)) for entry in others]


def _layer(entry: Entry) -> str:
    return str(entry.body.get("layer", ""))[:2].upper()


def _contract_row(contract: str, entry: Entry) -> list[object]:
    body = entry.body
    return [
        contract,
        plain(body.get("schema")),
        contract_status(entry),
        plain(step_of(entry)),
        integer(finite(body.get("rows"))),
        _columns(body.get("columns")),
        _checked(body.get("checked")),
        integer(violations(entry)),
        plain(body.get("action")),
    ]


def _columns(value: Any) -> str:
    return integer(len(value)) if isinstance(value, (list, tuple)) else integer(finite(value))


def _checked(value: Any) -> str:
    """Return how much was checked: a count, or counts by name."""
    if isinstance(value, (list, tuple)):
        return integer(len(value))
    return integer(finite(value)) if finite(value) is not None else plain(value)


def not_recorded(view: RunView, step: int) -> str:
    """Return why the ledger holds no check of a step: an empty sleeve has nothing to check."""
    if view.ledger.reached < step:
        return "NOT REACHED"
    return "STOOD ASIDE" if view.stood_aside else "NOT RECORDED"


def _listed(entries: list[Entry], key: str) -> Safe | None:
    """List violations that the ledger names, not only counts."""
    lines = [
        fill("**{who}:** {what}", who=plain(entry.body.get(key)), what=_violation(violation))
        for entry in entries
        for violation in _named(entry.body.get("violations")) or _detailed(entry.body.get("details"))
    ]
    if not lines:
        return None
    rest = len(lines) - LISTED
    more = [fill("**More:** {rest}, in the ledger", rest=integer(rest))] if rest > 0 else []
    return Safe("Violations:\n\n" + bullets(lines[:LISTED] + more))


def _named(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [f"{key}: {plain(item)}" for key, item in value.items()]
    return list(value) if isinstance(value, (list, tuple)) else []


def _detailed(details: Any) -> list[Any]:
    """Return violations that stand beside their count: a list of them, or what happened by code and place."""
    if isinstance(details, Mapping) and isinstance(details.get("violations"), (list, tuple)):
        return list(details["violations"])
    return _named(details)


def _violation(value: Any) -> str:
    return "; ".join(plain(item) for item in value.values()) if isinstance(value, Mapping) else plain(value)


def gates(view: RunView) -> Safe:
    """Return the table of gates, what the sign tests compared, and every check of atomic validation."""
    entries = list(view.ledger.current("gate"))
    columns = ["gate", ">step", "ok", ">checked", ">violations"]
    return section(
        "Gates",
        table(columns, gate_rows(view)),
        _listed(entries, "gate"),
        Safe("### Sign tests"),
        _sign_tests(view),
        Safe("### Atomic validation"),
        _atomic(view),
    )


def gate_rows(view: RunView) -> list[list[object]]:
    """Return a row for every gate, and one for each step that should have had one."""
    entries = list(view.ledger.current("gate"))
    rows: list[tuple[int, list[object]]] = []
    for entry in entries:
        step = step_of(entry) or 0
        ok = "ok" if gate_ok(view, entry) else "REFUSED"
        row = [plain(entry.body.get("gate")), step, ok, _checked(entry.body.get("checked")), integer(violations(entry))]
        rows.append((step, row))
    expected = [step for step in GATE_STEPS if step != GUARD_STEP or view.guarded]
    silent = (step for step in expected if all(step_of(entry) != step for entry in entries))
    rows += [(step, [step_title(step), step, not_recorded(view, step), ABSENT, ABSENT]) for step in silent]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _sign_tests(view: RunView) -> Safe:
    tests = ((view.sign_pre, layout.SIGN_PRE), (view.sign_post, layout.SIGN_POST))
    columns = ["test", "ok", ">atoms", ">longs", ">shorts", ">values compared", ">weights compared", ">violations"]
    rows = [_sign_row(test) for test, _ in tests if test is not None]
    notes = [fill("{why}.", why=view.absent(path)) for test, path in tests if test is None]
    faults = [
        fill("**{code}** {where}: {what}", code=found.code, where=found.where, what=found.what)
        for test, _ in tests
        if test is not None
        for found in test.violations[:LISTED]
    ]
    parts = [
        table(columns, rows) if rows else None,
        bullets(notes) if notes else None,
        bullets(faults) if faults else None,
    ]
    return Safe("\n\n".join(part for part in parts if part))


def _sign_row(test: SignTest) -> list[object]:
    return [
        test.stage,
        yes(test.ok),
        integer(test.atoms),
        integer(test.longs),
        integer(test.shorts),
        integer(test.values_compared),
        integer(test.weights_compared),
        integer(len(test.violations)),
    ]


def _atomic(view: RunView) -> Safe:
    if view.atomic is None:
        return fill(
            "No checks: {why}.", why=view.absent(layout.VALIDATION) if view.ledger.entries else ending(view.ledger)
        )
    rows = [
        (check.code, "ok" if check.ok else "FAILED", integer(check.checked), check.what) for check in view.atomic.checks
    ]
    return table(["check", "ok", ">checked", "what"], rows)
