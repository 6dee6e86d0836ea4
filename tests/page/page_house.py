"""Homes to look at, a server in a process of its own, and a browser."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assay.base.domain import UTC
from assay.base.files import canonical_json
from assay.runs.artifacts import LEDGER, STATUS
from assay.runs.home import Home, Status, process_started
from assay.settings import load

AS_OF = "2023-10-20"
LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    address: str
    process: subprocess.Popen[str]
    first_lines: list[str]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "assay", *arguments]


@contextlib.contextmanager
def serving(home: Path, *arguments: str, prelude: str = "", **environment: str) -> Iterator[Served]:
    """Run ``assay serve`` on a free port; ``prelude`` is executed in the process before."""
    call = command("serve", "--home", str(home), "--port", "0", *arguments)
    if prelude:
        rest = ["serve", "--home", str(home), "--port", "0", *arguments]
        body = f"{prelude}\nimport sys\nsys.argv = ['assay', *{rest!r}]\nfrom assay.__main__ import main\nmain()\n"
        call = [sys.executable, "-c", body]
    kept = {key: value for key, value in os.environ.items() if key != "ASSAY_TOKEN"}
    process = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=kept | environment, cwd=home.parent
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first.startswith("serving "):
            out, err = process.communicate(timeout=120)
            raise AssertionError(f"not serving: {first}{out}{err}")
        lines = [first]
        if "--new-token" in arguments:
            lines.append(process.stdout.readline())
        yield Served(first.split(" at ")[1].split(" ")[0], process, lines)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def a_status(home: Path, run_id: str, **fields: object) -> Path:
    """Write the status of a run that this process seems to execute."""
    body = {
        "run_id": run_id,
        "profile": LONG,
        "state": "RUNNING",
        "step": 4,
        "stage": "Step 4: Natural Selection",
        "started": dt.datetime.now(UTC).isoformat(timespec="milliseconds"),
        "elapsed": 1.5,
        "pid": os.getpid(),
        "pid_started": process_started(os.getpid()),
        "error": None,
    } | fields
    folder = home / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    if body["state"] == "VALID":  # as much of a seal as an onlooker sees
        seal = {"profile": body["profile"], "signature": None, "verdict": "VALID"}
        time = "2024-01-01T00:00:00.000000Z"
        line = {"body": seal, "kind": "seal", "prev": "0" * 64, "seq": 0, "time": time}
        (folder / LEDGER).write_bytes(canonical_json(line) + b"\n")
    Status(**body).write(folder)  # type: ignore[arg-type]  # some tests write values of wrong types
    return folder


def lay_lake(home: Path) -> str:
    """Load the sample; return the lake's name."""
    from assay.pipeline.flow import lay_foundation

    return lay_foundation(Home(home), load(), "sample", AS_OF).lake.folder.name


def run_one(home: Path, profile: str, run_id: str) -> None:
    from assay.pipeline.flow import lay_foundation, requests
    from assay.pipeline.runner import execute

    catalog = load()
    foundation = lay_foundation(Home(home), catalog, "sample", AS_OF)
    [request] = requests(Home(home), catalog, foundation, [profile], run_id)
    outcome = execute(request)
    assert outcome.state == "VALID", outcome.error


def chromium() -> str:
    """Return Debian's Chromium, or skip."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("no chromium here: apt-get install chromium, or name one in the environment variable CHROMIUM")
    return found


def status_path(home: Path, run_id: str) -> Path:
    return home / "runs" / run_id / STATUS
