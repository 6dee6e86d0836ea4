"""A status is what nothing protects: it is shown as far as ledger and seal back it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from audit_house import draft, publish
from typer.testing import CliRunner

from assay import api
from assay.base import files
from assay.cli import app
from assay.page.run_list import RunList
from assay.runs import artifacts as layout
from assay.runs.home import Home, Status, process_started
from assay.runs.ledger import Ledger

FAULT = {"code": "GATE", "what": "no", "where": "", "hint": "", "exit_code": 1}
CUT = FAULT | {"code": "INTERNAL", "what": "KeyboardInterrupt: "}


def claims(folder: Path, state: str, **fields: object) -> Status:
    """Write what somebody makes the status of a run say; its process is gone."""
    status = Status("another", "p", state, 15, "Step 15: Reporting", "2024-04-01T06:00:00+00:00", 1.0, 1, "0", None)
    return replace(status, **fields).write(folder)  # type: ignore[arg-type]  # fields of any type


def ended(home: Path, error: dict[str, object] | None) -> Path:
    """A run that ended, or was killed, within step 9."""
    folder = publish(home, "r", draft(), through=8)
    with Ledger.open(folder / layout.LEDGER) as ledger:
        ledger.intent(9, "optimization", {})
        if error is not None:
            ledger.outcome(9, "optimization", "failed", {}, {}, error)
    return folder


def shown(home: Path) -> list[tuple[object, ...]]:
    """Run, profile, state, step, stage and code of the only run, as page, command and Python tell them: the same."""
    runs = RunList(Home(home))
    runs.refresh()
    (row,) = runs.rows()
    told = json.loads(CliRunner().invoke(app, ["status", "--home", str(home), "--json"]).stdout)
    status = asdict(Status.shown(home / "runs" / row.run_id))
    assert told == json.loads(json.dumps([status]))  # tuples are lists there
    code = (status["error"] or {}).get("code", "")
    found = (status["run_id"], status["profile"], status["state"], status["step"], status["stage"], code)
    assert found == (row.run_id, row.profile, row.state, row.step, row.stage, row.code)
    plain = CliRunner().invoke(app, ["status", "--home", str(home)]).stdout
    assert f"{row.state} {code}".strip() in plain
    return [found]


@pytest.mark.parametrize(
    ("error", "state", "code"), [(FAULT, "FAILED", "GATE"), (CUT, "INTERRUPTED", ""), (None, "DEAD", "")]
)
def test_a_run_that_was_never_sealed_is_not_shown_as_valid(
    home: Path, error: dict[str, object] | None, state: str, code: str
) -> None:
    folder = ended(home, error)
    claims(folder, "VALID")
    assert shown(home) == [("r", "p_short", state, 9, "Step 9: Optimization", code)]


def test_a_run_whose_seal_was_cut_off_or_whose_ledger_is_gone_or_broken_is_not_valid(home: Path) -> None:
    folder = publish(home, "r", draft())
    claims(folder, "VALID", profile="p_short")
    ledger = folder / layout.LEDGER
    whole = ledger.read_bytes()
    assert shown(home)[0][2] == "VALID"
    for damaged, state in (
        (whole[: whole[:-1].rindex(b"\n") + 1], "DEAD"),
        (whole[:-1], "DEAD"),
        (b"{}\n", "FAILED"),
        (b"", "DEAD"),
        (whole + b'{"verdict":"VALID"},"kind":"seal"}\n', "FAILED"),
    ):
        ledger.write_bytes(damaged)
        assert shown(home)[0][2] == state, damaged[-80:]
    ledger.unlink()
    os.mkfifo(ledger)
    assert shown(home)[0][2] == "FAILED"


def test_what_looks_like_a_seal_within_another_line_is_none(home: Path) -> None:
    folder = ended(home, None)
    with Ledger.open(folder / layout.LEDGER) as ledger:
        ledger.resume({})
        seal = {"profile": "p_short", "signature": None, "verdict": "VALID"}
        line = {"body": seal, "kind": "seal", "prev": "0" * 64, "seq": 3, "time": "z"}
        ledger.event(9, "X", files.canonical_json(line).decode(), {"z": line})
        ledger.resume({"z": line})
    claims(folder, "VALID")
    assert shown(home)[0][2] == "DEAD"


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "FAILED", "error": FAULT, "step": 4},
        {"state": "INTERRUPTED"},
        {"state": "RUNNING"},
        {"state": "RUNNING", "pid": os.getpid(), "pid_started": process_started(os.getpid())},
        {"state": "VALID", "profile": "a finer one"},
    ],
)
def test_a_sealed_run_is_shown_as_its_seal_says(home: Path, fields: dict[str, object]) -> None:
    folder = publish(home, "r", draft())
    claims(folder, **fields)  # type: ignore[arg-type]  # fields of any type
    (found,) = shown(home)
    assert (found[:3], found[5]) == (("r", "p_short", "VALID"), "")
    assert api.FinishedRun(folder).status.state == "VALID"


def test_a_run_as_it_goes_is_believed(home: Path) -> None:
    folder = ended(home, None)
    claims(folder, "RUNNING", step=9, pid=os.getpid(), pid_started=process_started(os.getpid()))
    assert shown(home)[0][2:4] == ("RUNNING", 9)


def test_the_page_notices_a_seal_that_goes_and_lists_500_runs_at_once(home: Path) -> None:
    folder = publish(home, "r0", draft())
    claims(folder, "VALID", profile="p_short")
    for number in range(1, 500):
        other = home / "runs" / f"r{number}"
        (other / "config").mkdir(parents=True)
        for name in (layout.LEDGER, layout.STATUS):
            (other / name).write_bytes((folder / name).read_bytes())
        (other / "config" / "resolved_manifest.json").write_text('{"kind": "run", "as_of": "2024-01-01"}')
    runs = RunList(Home(home))
    runs.refresh()
    assert {row.state for row in runs.rows()} == {"VALID"}
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        assert not runs.refresh()
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.05
    (home / "runs" / "r7" / layout.LEDGER).write_bytes(b"")
    assert runs.refresh()
    row = runs.row("r7")
    assert row is not None
    assert row.state == "DEAD"
