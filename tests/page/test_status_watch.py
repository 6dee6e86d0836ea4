"""``assay status --watch``: on a terminal, elsewhere, and how it ends."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from page_house import LONG, a_status, command
from rich.console import Console

from assay.cli import watch as showing
from assay.cli.watch import Lines, table
from assay.page.run_list import RunList
from assay.runs.home import Home


def looks(run_list: RunList, shown: Lines, stream: io.StringIO) -> list[str]:
    """Look once more; return what was printed since."""
    before = len(stream.getvalue())
    run_list.refresh()
    shown.show(run_list)
    return stream.getvalue()[before:].splitlines()


def test_elsewhere_a_line_is_printed_for_each_change(tmp_path: Path) -> None:
    run_list, stream = RunList(Home(tmp_path)), io.StringIO()
    shown = Lines(stream, as_json=False)
    assert looks(run_list, shown, stream) == []
    a_status(tmp_path, "one", step=1, stage="Step 1: Preflight")
    [line] = looks(run_list, shown, stream)
    assert line.split("  ")[:4] == [LONG, "one", "RUNNING", "Step 1: Preflight"]
    assert looks(run_list, shown, stream) == []
    error = {"code": "DATA", "what": "too few days", "where": "", "hint": "", "exit_code": 1}
    a_status(tmp_path, "one", state="FAILED", elapsed=3.0, error=error)
    a_status(tmp_path, "two", started="2001-01-01T00:00:00+00:00", state="VALID")
    told = looks(run_list, shown, stream)
    assert [line.split("  ")[1:3] for line in told] == [["two", "VALID"], ["one", "FAILED DATA"]]
    (tmp_path / "runs/two/run_status.json").unlink()
    shutil.rmtree(tmp_path / "runs/two")
    assert looks(run_list, shown, stream) == [f"{LONG}  two  GONE"]


def test_for_machines_each_change_is_one_object(tmp_path: Path) -> None:
    run_list, stream = RunList(Home(tmp_path)), io.StringIO()
    shown = Lines(stream, as_json=True)
    a_status(tmp_path, "one")
    [line] = looks(run_list, shown, stream)
    assert {key: json.loads(line)[key] for key in ("run_id", "state", "step")} == {
        "run_id": "one",
        "state": "RUNNING",
        "step": 4,
    }


def test_a_terminal_gets_what_fits_with_what_goes_first(tmp_path: Path) -> None:
    for number in range(9):
        a_status(tmp_path, f"old{number}", state="VALID", started=f"2024-01-0{number + 1}T00:00:00+00:00")
    a_status(tmp_path, "goes", started="2020-01-01T00:00:00+00:00")
    a_status(tmp_path, "odd", profile="[bold]x[/bold]", started="2025-01-01T00:00:00+00:00", state="VALID")
    run_list = RunList(Home(tmp_path))
    run_list.refresh()
    stream = io.StringIO()
    Console(file=stream, width=160).print(table(run_list, 4))
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines[1:5]] == ["goes", "odd", "old8", "old7"]
    assert "[bold]x[/bold]" in lines[2]
    assert lines[5].strip() == "and 7 more: assay status lists all"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_table_is_redrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([lambda: a_status(tmp_path, "one"), lambda: a_status(tmp_path, "one", state="VALID")])

    def sleep(_: float) -> None:
        try:
            next(steps)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(showing.time, "sleep", sleep)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        showing.watch_runs(Home(tmp_path), as_json=False, stream=stream)
    assert "RUNNING" in stream.getvalue()
    assert "VALID" in stream.getvalue()


def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    a_status(tmp_path, "one")
    process = subprocess.Popen(
        command("status", "--watch", "--home", str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "one" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_of_any_name_is_watched_on_any_terminal(
    tmp_path: Path, as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    a_status(tmp_path, "one", profile="币é")
    with subprocess.Popen(
        command("status", "--watch", "--home", str(tmp_path), *["--json"][: int(as_json)]), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode("ascii")
        process.stdout.close()  # nobody reads on
        a_status(tmp_path, "two")
        assert process.wait(60) == 141
    assert (json.loads(line)["profile"] == "币é") if as_json else line.startswith(r"\u5e01\u00e9  one")
