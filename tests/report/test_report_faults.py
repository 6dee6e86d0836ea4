"""A report is needed most when a run failed: whatever is missing or broken is named, and nothing raises."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from markdown_reader import by_title, sections
from report_run import (
    FILES,
    RISK_PROFILES,
    RUN_ID,
    STEPS,
    LedgerWriter,
    complete_ledger,
    documents,
    put,
    write_failed_run,
    write_run,
)

from assay.base.errors import UsageError
from assay.report.audit_report import render, render_joint
from assay.report.index import render_index
from assay.runs.run import Run

ERROR = {
    "code": "GATE",
    "what": "one short is not inverted",
    "where": "data/synthetic_returns.parquet",
    "hint": "look at the violations",
    "exit_code": 1,
}
ARTIFACTS = [path for number in range(1, 15) for path in FILES[number]]


def summary(folder: Path) -> str:
    return by_title(render(folder))["Executive summary and status"].text


@pytest.mark.parametrize("step", range(1, 15))
def test_a_run_that_ended_at_any_step_is_reported(tmp_path, report, step):
    run = write_failed_run(tmp_path / RUN_ID, step, ERROR)
    text = render(run)
    where = f"step {step} ({STEPS[step - 1]})"
    assert f"Verdict: FAILED. The run ended at {where} with GATE: one short is not inverted" in summary(run)
    assert "Strongest warning: GATE." in summary(run)
    assert "GATE: look at the violations." in by_title(text)["Recommendations"].text
    whole, failed = ([section.title for section in sections(one) if section.level < 3] for one in (report, text))
    assert failed[1:] == whole[1:]
    assert "not reached" in text
    assert render_joint([run, run])
    assert render_index(Run(run))


@pytest.mark.parametrize(
    ("step", "title", "path"),
    [
        (2, "Funnel", "data/portfolio_candidates_raw.json"),
        (3, "Data quality", "data/data_health.json"),
        (4, "Winners", "data/portfolio_candidates.json"),
        (7, "Sign tests", "data/directional_sign_test_pre_opt.json"),
        (8, "Optimization and flattening", "data/risk_analysis.json"),
        (9, "Risk profiles", "data/portfolio_optimized_v2.json"),
        (10, "Weights on coins", "data/portfolio_flattened.json"),
        (12, "Performance", "data/walk_forward/statistics.json"),
        (13, "Capital preservation", "data/capital_preservation.json"),
        (14, "Atomic validation", "reports/validation/"),
    ],
)
def test_each_section_names_what_it_misses(tmp_path, step, title, path):
    run = write_failed_run(tmp_path / RUN_ID, step, ERROR)
    where = f"step {step} ({STEPS[step - 1]})"
    text = by_title(render(run))[title].text
    assert f"not reached: the run ended at {where} with GATE; {path} is written by {where}." in text


def test_contracts_and_gates_that_were_not_reached_keep_their_rows(tmp_path):
    found = by_title(render(write_failed_run(tmp_path / RUN_ID, 7, ERROR)))
    contracts = found["Contracts L0 to L4"].rows("contract")
    assert [(row["contract"][:2], row["status"]) for row in contracts] == [
        ("L0", "PASS"),
        ("L1", "PASS"),
        ("L2", "PASS"),
        ("L3", "PASS"),
        ("L4", "NOT REACHED"),
    ]
    gates = found["Gates"].rows("gate")
    assert [(row["step"], row["ok"]) for row in gates] == [
        ("3", "ok"),
        ("7", "NOT REACHED"),
        ("11", "NOT REACHED"),
        ("12", "NOT REACHED"),
        ("13", "NOT REACHED"),
        ("14", "NOT REACHED"),
    ]


def test_steps_of_a_failed_run(tmp_path):
    rows = by_title(render(write_failed_run(tmp_path / RUN_ID, 7, ERROR)))["Steps"].rows("step")
    assert [row["state"] for row in rows[5:8]] == ["ok", "failed", "not reached"]


def each_damaged(run: Path, paths: list[str], content: bytes | None) -> Iterator[tuple[str, str]]:
    """Yield each path with the report of a run in which only that file is replaced, or lost."""
    for path in paths:
        whole = (run / path).read_bytes()
        (run / path).unlink()
        if content is not None:
            put(run, path, content)
        yield path, render(run)
        put(run, path, whole)


def test_a_lost_artifact_is_a_named_warning(run):
    for path, text in each_damaged(run, ARTIFACTS, None):
        found = by_title(text)
        if "validation" in path:
            assert "Verdict: INCOMPLETE" in found["Executive summary and status"].text
            lost = "missing: reports/validation/, although step 14 (atomic_validation) was reached."
            assert lost in found["Atomic validation"].text
        else:
            assert "Strongest warning: INTEGRITY. Missing: " in found["Executive summary and status"].text, path
            assert path in found["Recommendations"].text


@pytest.mark.parametrize("content", [b"", b'{"as_of": 1}', b"[\xff"], ids=repr)
def test_a_broken_artifact_is_named_and_nothing_raises(run, content):
    documents = [
        path for path in ARTIFACTS if path.endswith(".json") and "manifest" not in path and "valid" not in path
    ]
    for path, text in each_damaged(run, ARTIFACTS, content):
        warning = f"Strongest warning: INTEGRITY. {path[0].upper()}{path[1:]} cannot be read"
        # A manifest and statistics are JSON objects of any keys: they are read, and say nothing.
        loose = any(name in path for name in ("statistics", "survivorship", "by_year", "by_regime"))
        if path in documents and not (content.startswith(b"{") and loose):
            assert warning in by_title(text)["Executive summary and status"].text, path
        assert text.startswith("# Audit report")


def test_a_table_without_its_columns_is_called_unreadable(run):
    put(run, "data/walk_forward/returns.parquet", pl.DataFrame({"date": [1], "nav": [1.0]}))
    assert "data/walk_forward/returns.parquet cannot be read: the table lacks ret, risk_profile" in render(run).replace(
        "\\", ""
    )


def test_a_table_with_columns_of_another_kind_is_called_unreadable(run):
    table = pl.DataFrame({"date": ["soon"], "risk_profile": ["hrp"], "nav": [1.0], "ret": [0.0]})
    put(run, "data/walk_forward/returns.parquet", table)
    assert "returns.parquet cannot be read: not a table of this kind" in render(run).replace("\\", "")


def test_numbers_that_are_none_or_not_finite_are_absent(run):
    content = documents()["data/walk_forward/statistics.json"]
    content["as_run"]["hrp"] |= {"sharpe": float("nan"), "beta": float("inf"), "cagr": None}
    put(run, "data/walk_forward/statistics.json", content)
    tables = by_title(render(run))["Performance"].tables
    row = dict(zip(tables[0][0], tables[0][3], strict=True))
    assert (row["Sharpe"], row["CAGR"], row["Calmar"]) == ("—", "—", "—")
    assert tables[1][3][2] == "—"


def test_a_number_that_not_every_reader_can_hold_makes_its_file_unreadable(run):
    content = documents()["data/walk_forward/statistics.json"]
    content["as_run"]["hrp"]["days"] = 10**400
    put(run, "data/walk_forward/statistics.json", content)
    told = render(run).replace("\\", "")
    assert "statistics.json cannot be read: file is not JSON: integer of 401 digits" in told


def test_an_empty_folder_is_a_run_of_which_nothing_is_known(tmp_path):
    (tmp_path / "empty").mkdir()
    text = render(tmp_path / "empty")
    assert "Verdict: INCOMPLETE. The ledger cannot be read" in by_title(text)["Executive summary and status"].text
    assert "The ledger holds no step." in by_title(text)["Steps"].text


def test_no_folder_is_an_error_that_says_so(tmp_path):
    for call in (lambda path: render(path), lambda path: render_joint([path]), lambda path: render_index(Run(path))):
        with pytest.raises(UsageError, match="no such run"):
            call(tmp_path / "nothing")
    with pytest.raises(UsageError, match="no run to report on"):
        render_joint([])


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda data: data[:-1], "the last line of the ledger, after 41 whole ones, is torn"),
        (lambda data: data[:-20], "the last line of the ledger, after 41 whole ones, is torn"),
        (lambda data: data.replace(b'"kind":"gate"', b'"kind":"gate', 1), "the ledger is broken at audit.jsonl line "),
        (lambda data: data.replace(b'"checked":3465', b'"checked":3466'), "the ledger is broken at audit.jsonl line "),
        (lambda data: b"[]\n" + data, "the ledger is broken at audit.jsonl line 1"),
        (lambda data: b"\xff\n", "the ledger is broken at audit.jsonl line 1"),
        (lambda data: b"", "the ledger is empty"),
    ],
)
def test_a_damaged_ledger_is_read_as_far_as_it_goes(run, damage, fault):
    put(run, "audit.jsonl", damage((run / "audit.jsonl").read_bytes()))
    text = render(run)
    assert fault in text
    assert "Verdict: VALID" not in text


def test_a_resumed_run_is_judged_by_its_last_attempts(run):
    ledger = complete_ledger(6)
    ledger.step(7, ERROR)
    ledger.add("resume", {"run_id": RUN_ID})
    for number in range(7, 15):
        ledger.step(number)
    put(run, "audit.jsonl", ledger.data())
    found = by_title(render(run))
    assert found["Executive summary and status"].paragraphs[0].startswith("Verdict: VALID.")
    assert {row["state"] for row in found["Steps"].rows("step")[:14]} == {"ok"}


def test_checks_of_an_attempt_that_was_redone_do_not_count(run):
    ledger = complete_ledger(2)
    ledger.add("intent", {"step": 3, "name": "data_prep", "inputs": {}})
    ledger.add("gate", {"step": 3, "gate": "foundation", "ok": False, "checked": 9, "violations": ["old"]})
    for number in range(3, 15):
        ledger.step(number)
    put(run, "audit.jsonl", ledger.data())
    text = render(run)
    assert "Verdict: VALID." in text
    assert "old" not in by_title(text)["Gates"].text


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("gate", {"step": 14, "gate": "extra", "ok": False, "checked": 5, "violations": ["one is wrong"]}, "GATE"),
        ("gate", {"step": 14, "gate": "extra", "ok": True, "checked": 0, "violations": []}, "GATE"),
        ("contract", {"step": 10, "layer": "L4", "schema": "S", "checked": 0, "violations": 0}, "CONTRACT_L4"),
        ("contract", {"step": 10, "layer": "L4", "checked": 2, "violations": 1, "action": "fatal"}, "CONTRACT_L4"),
    ],
)
def test_a_refusal_or_a_check_of_nothing_fails_the_verdict(run, kind, body, code):
    ledger = LedgerWriter.of(run)
    ledger.add(kind, body)
    put(run, "audit.jsonl", ledger.data())
    assert "Verdict: FAILED." in summary(run)
    assert f"Strongest warning: {code}." in summary(run)


def test_a_filtered_contract_passes_and_is_listed(run):
    ledger = LedgerWriter.of(run)
    violations = [{"code": "ZERO_VARIANCE", "name": "BINANCE:FLATUSDT"}]
    body = {"step": 10, "layer": "L4", "schema": "S", "rows": 4, "columns": ["a", "b"], "checked": 9}
    ledger.add("contract", body | {"violations": violations, "action": "filter"})
    put(run, "audit.jsonl", ledger.data())
    section = by_title(render(run))["Contracts L0 to L4"]
    assert section.rows("contract")[-1] | {"contract": ""} == {
        "contract": "",
        "schema": "S",
        "status": "FILTERED",
        "step": "10",
        "rows": "4",
        "columns": "2",
        "checked": "9",
        "violations": "1",
        "action": "filter",
    }
    assert "S: ZERO_VARIANCE; BINANCE:FLATUSDT" in section.text
    assert "Verdict: VALID." in summary(run)


def test_a_failed_atomic_check_fails_the_verdict(run):
    path = next(path for path in documents() if "validation" in path)
    content = documents()[path] | {"ok": False}
    content["checks"][1] |= {"ok": False, "what": "the weights of hrp sum to 0.9"}
    put(run, path, content)
    assert "Verdict: FAILED. Atomic validation refused the run." in summary(run)
    assert "Strongest warning: ATOMIC_WEIGHT_SUM. The weights of hrp sum to 0.9." in summary(run)


def test_a_run_whose_last_gate_was_not_reached_is_incomplete(run):
    put(run, "audit.jsonl", complete_ledger(13).data())
    assert "Verdict: INCOMPLETE. The ledger ends with step 13 (capital_preservation) finished." in summary(run)


def test_the_validation_of_another_run_does_not_stand_in_for_a_crash(tmp_path):
    """The run's own file is preferred over whatever else lies in the folder."""
    run = write_run(tmp_path / RUN_ID)
    own = next(path for path in documents() if "validation" in path)
    other = json.loads((run / own).read_text()) | {"ok": False}
    put(run, "reports/validation/atomic_validation_a_b.json", other)
    assert "Verdict: VALID." in summary(run)
    shutil.rmtree(run / "reports")
    assert "Verdict: INCOMPLETE." in summary(run)


def aside_run(folder: Path) -> Path:
    """Write a run whose scan found nobody and whose profile allows that."""
    content = documents()
    content["data/portfolio_candidates_raw.json"]["candidates"] = []
    content["data/portfolio_candidates.json"]["winners"] = []
    content["data/portfolio_clusters.json"]["clusters"] = {}
    content["data/selection_audit.json"] |= {"n_winners": 0, "relaxed": 0, "relaxed_share": 0.0, "n_clusters": 0}
    for name in RISK_PROFILES:
        for side in ("profiles", "unguarded"):
            content["data/portfolio_optimized_v2.json"][side][name] |= {"assets": [], "cash": 1.0, "events": []}
        empty = {"assets": [], "cash": 1.0, "gross": 0.0, "net": 0.0}
        content["data/portfolio_flattened.json"]["profiles"][name] = empty
    run = write_run(folder, content)
    ledger = LedgerWriter(cap_relaxed=False)
    ledger.add("genesis", {"run_id": RUN_ID, "profile": "p"})
    for number in range(1, 15):
        ledger.add("intent", {"step": number, "name": STEPS[number - 1], "inputs": {}})
        if number == 2:
            what = "the scan found nobody; the sleeve is all cash, as its profile says"
            ledger.add("event", {"step": 2, "code": "STAND_ASIDE", "what": what, "values": {}})
        if number in (7, 11):
            ledger.add("gate", {"step": number, "gate": "sign_test", "ok": True, "checked": 0, "violations": []})
        ledger.add("outcome", {"step": number, "name": STEPS[number - 1], "state": "ok", "error": None})
    put(run, "audit.jsonl", ledger.data())
    return run


def test_a_sleeve_that_stood_aside_is_valid_and_says_why(tmp_path):
    run = aside_run(tmp_path / RUN_ID)
    found = by_title(render(run))
    text = found["Executive summary and status"].text
    assert "Verdict: VALID. The sleeve stood aside and is empty;" in text
    assert "Strongest warning: STAND_ASIDE. The sleeve is all cash: the scan found nobody;" in text
    assert {row["status"] for row in found["Contracts L0 to L4"].rows("contract")} == {"STOOD ASIDE"}
    assert {row["ok"] for row in found["Gates"].rows("gate") if row["step"] in {"7", "11"}} == {"ok"}
    assert found["Small books"].paragraphs[1:] == [
        "STAND_ASIDE: the scan found nobody; the sleeve is all cash, as its profile says."
    ]
    assert found["Small book: hrp"].paragraphs == ["Held: 0 coins, gross 0.0 %."]
    assert render_joint([run, run])


def test_a_sealed_run_says_so(run):
    ledger = LedgerWriter.of(run)
    ledger.add("seal", {"files": {}})
    put(run, "audit.jsonl", ledger.data())
    assert (
        f"Seal: the run is sealed by entry {len(ledger.lines) - 1}, the last one."
        in by_title(render(run))["Ledger"].text
    )
