"""Faults in the program that no test noticed once, or that a new check must see, each with the test that kills it."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One line of the program that is changed, and the test that must fail then."""

    path: str
    line: str
    instead: str
    test: str


DEAR = "proof/test_audit.py::test_the_dear_checks_find_by_themselves"
FORGED = "proof/test_audit.py::test_a_forgery_that_was_sealed_anew_is_not_sound"
TRIED = "pipeline/test_survivors.py::test_the_sharpe_ratios_are_deflated_by_every_set_that_was_tried"

SURVIVORS: dict[str, Fault] = {
    "a contract that failed is only written down": Fault(
        "pipeline/context.py",
        '        failed = self.result.action == "failed"\n',
        "        return None\n",
        "pipeline/test_filters.py::test_a_filter_that_the_decision_did_not_apply_ends_the_run",
    ),
    "what L1 drops is not vetoed": Fault(
        "backtest/decision.py",
        "self.discovery, self.profile, self.ill)",
        "self.discovery, self.profile, {})",
        "pipeline/test_filters.py::test_a_coin_whose_row_l1_drops_is_vetoed_and_the_run_goes_on",
    ),
    "one trial for ever": Fault("pipeline/sleeve_steps.py", 'n = int(told["n"]) * (', "n = 1 * (", TRIED),
    "the superset's pinned hash is not checked": Fault(
        "pipeline/sleeve_steps.py",
        "if not path.is_file() or sha256_file(path) != asked.superset_sha256:",
        "if not path.is_file():",
        "pipeline/test_superset_derived.py::test_a_superset_that_is_not_the_one_that_was_pinned_is_refused",
    ),
    "the pinned head's table versions are not checked": Fault(
        "lake/snapshot.py",
        "    if record.tables != dict(request.tables):\n",
        "    if False:\n",
        "pipeline/test_superset_derived.py::test_a_pinned_head_that_names_other_versions_is_refused",
    ),
    "the gate of causality does not refuse": Fault(
        "pipeline/sleeve_steps.py",
        'yield Gate("causality", verdict.ok,',
        'yield Gate("causality", True,',
        "pipeline/test_survivors.py::test_a_causality_gate_that_refuses_ends_the_run_in_its_step",
    ),
    "sleeves are not validated again": Fault(
        "gates/eligibility.py",
        "    if validate is None:\n",
        "    if True:\n",
        "meta/test_meta_mutants.py::test_a_sleeve_that_says_valid_and_is_not_is_validated_again",
    ),
    "a replay is content with a thousandth": Fault(
        "pipeline/replay.py",
        '"WITHIN 1e-9" if size <= TOLERANCE else',
        '"WITHIN 1e-9" if size <= 1e-3 else',
        "proof/test_replay_workers.py::test_the_greatest_difference_is_told",
    ),
    "no line says that a run begins to look": Fault(
        "pipeline/runner.py",
        "    if step.number == looks:\n",
        "    if False:\n",
        "pipeline/test_survivors.py::test_a_look_that_is_interrupted_was_a_look",
    ),
    "runs of a flow do not count each other": Fault(
        "backtest/trials.py",
        "return run.manifest.flow or (run.folder.name,)",
        "return (run.folder.name,)",
        "pipeline/test_survivors.py::test_all_of_a_flow_are_entered_before_the_first_looks",
    ),
    "what was tried after a run began counts": Fault(
        "backtest/trials.py",
        "    lines = lines[: own[-1]]\n",
        "",
        "pipeline/test_survivors.py::test_all_of_a_flow_are_entered_before_the_first_looks",
    ),
    "the best of five is deflated as if chosen before": Fault(
        "pipeline/sleeve_steps.py", "(1 if name == headline else len(RISK_PROFILES))", "1", TRIED
    ),
    "the spread is of whatever days": Fault(
        "backtest/trials.py",
        'theirs.join(own, on=["date", "risk_profile"])',
        "theirs",
        "cli/test_trials.py::test_the_spread_is_of_the_days_that_a_record_shares_with_the_run",
    ),
    "a replay does not read the ledger": Fault(
        "pipeline/replay.py",
        "sizes[layout.LEDGER] = _distance(_said(run, steps), said) or None",
        "sizes[layout.LEDGER] = None",
        DEAR,
    ),
    "an audit does not hash the lake": Fault(
        "prove/audit.py",
        "refuse(snapshot.storage, snapshot.changes(whole=True))",
        "pass",
        "proof/test_audit.py::test_a_lake_whose_bytes_are_others_is_named_before_anything_is_done_again",
    ),
    "an audit proves no weight": Fault(
        "prove/audit.py", "proofs = Prover(self.run, below=False).every()", "proofs = iter(())", DEAR
    ),
    "an audit does not add up": Fault(
        "prove/audit.py", "            if not pair.ok:\n", "            if False:\n", DEAR
    ),
    "an audit does not count trials": Fault(
        "prove/audit.py", "            if said.get(name) != found.get(name):\n", "            if False:\n", FORGED
    ),
    "an audit does not ask where it is": Fault(
        "prove/audit.py", "if told != here and not self.elsewhere:", "if False:", FORGED
    ),
    "an audit believes every origin": Fault(
        "prove/audit.py", "if origin is None or not _is_origin(origin):", "if False:", FORGED
    ),
    "a portfolio's sleeves are not audited": Fault(
        "prove/audit.py",
        "yield from (self.run.beside(pin.run_id).folder for pin in self.run.accepted)",
        "yield from ()",
        "proof/test_audit.py::test_a_portfolio_and_its_sleeves_are_sound",
    ),
}
"""Faults by what they do; the first eight once survived every test."""
