"""The wheel holds what the package needs, and works in an empty environment, far from the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    call = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = out.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        facts = next(name for name in names if name.endswith(".dist-info/METADATA"))
        told = Parser().parsestr(packed.read(facts).decode())
        entry = packed.read(facts.replace("METADATA", "entry_points.txt")).decode()
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "assay").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = facts.removesuffix("METADATA")
    assert {name for name in names if not name.startswith(info)} == sources
    assert {"assay/py.typed", "assay/settings/canon.toml", "assay/report/templates/charts.js"} <= names
    assert {"assay/report/vendor/uPlot.iife.min.js", "assay/page/templates/base.html"} <= names
    assert any(name.startswith("assay/sources/sample/") and name.endswith(".parquet") for name in names)
    assert {f"{info}licenses/LICENSE", f"{info}licenses/THIRD_PARTY_NOTICES"} <= names
    assert "assay = assay.__main__:main" in entry
    assert told["License-Expression"] == "Apache-2.0"
    assert not [one for one in told.get_all("Requires-Dist", []) if "matplotlib" in one]
    assert wheel.stat().st_size < 8_000_000


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    """Of its own dependencies alone, at the locked versions: a run, its audit, and the names of the package."""
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    locked = tmp_path / "locked.txt"
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    locked.write_text("\n".join(re.sub(r"\s*\\$", "", line) for line in lines if line and line[0] not in " #"))
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--quiet", "--system-certs", "--python", str(python)]
    for more in (["--offline"], []):  # what make installed lies in uv's cache
        call_uv = [*install, *more, "-c", str(locked), str(wheel)]
        installed = subprocess.run(call_uv, capture_output=True, text=True, check=False)
        if installed.returncode == 0:
            break
    else:
        pytest.skip(f"the dependencies are neither in uv's cache nor to be had: {installed.stderr.strip()[-200:]}")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ASSAY", "VIRTUAL_ENV"))}

    def call(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = call(
        str(python), "-c", "import assay; print(assay.__file__); [getattr(assay, name) for name in assay.__all__]"
    )
    assert Path(where.strip()).is_relative_to(environment)
    command = str(environment / "bin" / "assay")
    run = call(command, "run", "binance_spot_rating_all_long", "--as-of", "2023-10-20", "--home", "home")
    assert "VALID" in run
    assert "SOUND" in call(command, "audit", "--all", "--home", "home")
    [report] = (tmp_path / "home" / "runs").glob("*/reports/report.html")
    assert "uPlot" in report.read_text(encoding="utf-8")
