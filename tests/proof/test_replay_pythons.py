"""A run made here is replayed by another Python with the packages that the lock gives that one: EQUAL or WITHIN."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from signed_runs import LONG, META, SHORT, Signed

from assay.runs import artifacts as layout

ROOT = Path(__file__).resolve().parents[2]
OTHER = (3, 13)
NAMED = "ASSAY_OTHER_PYTHON"
BEFORE_THE_SOLVER = {
    *[layout.RAW, layout.RETURNS, layout.HEALTH, layout.FEATURES, layout.WINNERS, layout.SELECTION, layout.ENRICHED],
    *[layout.SYNTHETIC, layout.CLUSTERS, layout.RISK, layout.META_SLEEVES, layout.META_RETURNS, layout.META_ALIGNMENT],
}


def interpreter() -> str | None:
    """Find a Python 3.13: named by the environment, on the PATH, or known to uv."""
    uv = [str(Path(sys.executable).with_name("uv")), "python", "find", "--no-python-downloads", "--system"]
    asked = [os.environ.get(NAMED), shutil.which("python3.13")]
    if Path(uv[0]).exists():
        asked.append(subprocess.run([*uv, "3.13"], capture_output=True, text=True).stdout.strip())
    for found in asked:
        if found and _version(found) == OTHER:
            return found
    return None


def _version(python: str) -> tuple[int, ...] | None:
    ask = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else None


@pytest.fixture(scope="session")
def other(tmp_path_factory) -> Path:
    """An environment of the locked requirements under Python 3.13, with this project in it."""
    found = interpreter()
    if found is None:
        pytest.skip(f"no Python {OTHER[0]}.{OTHER[1]}: name one with {NAMED}")
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("no uv beside this Python: make .venv-dev/ready")
    folder = tmp_path_factory.mktemp("python") / "environment"
    python = folder / "bin" / "python"
    install = [uv, "pip", "install", "--quiet", "--python", python]
    for command in (
        [uv, "venv", "--quiet", "--python", found, folder],
        [*install, "--require-hashes", "-r", ROOT / "requirements.txt"],
        [*install, "--no-deps", "--no-build-isolation", ROOT],
    ):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0 and ("Failed to fetch" in done.stderr or "dns error" in done.stderr):
            pytest.skip(f"the locked packages cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
@pytest.mark.parametrize("run", [LONG, SHORT, META])
def test_a_run_of_this_python_is_replayed_by_another(signed: Signed, other: Path, run: str, tmp_path: Path) -> None:
    twin = signed.copy(tmp_path / "home")
    command = [str(other), "-I", "-m", "assay", "replay", twin.runs[run].name, "--home", str(twin.home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    versions = "import numpy, scipy, sys; print(sys.version.split()[0], numpy.__version__, scipy.__version__)"
    theirs = subprocess.run([str(other), "-I", "-c", versions], capture_output=True, text=True, check=True).stdout
    mine = subprocess.run([sys.executable, "-c", versions], capture_output=True, text=True, check=True).stdout
    sys.stdout.write(f"{run}: {told['verdict']}; {mine.strip()} and {theirs.strip()}: {told['differences']}\n")
    assert theirs.split()[0].startswith("3.13.")
    assert theirs != mine
    assert told["verdict"] in ("EQUAL", "WITHIN 1e-9")
    assert all(size is not None and size <= 1e-9 for size in told["differences"].values())
    # Nothing differs before a solver is asked.
    before = [name for name in told["artifacts"] if name in BEFORE_THE_SOLVER]
    assert len(before) >= (3 if run == META else 9)
    assert {told["artifacts"][name] for name in before} == {"EQUAL"}
