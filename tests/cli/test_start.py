"""Starting must stay cheap: nothing heavy is imported before it is needed."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

import assay
from assay.cli import app
from assay.cli.app import PANELS
from assay.runs.home import RunResult

HEAVY = (
    "numpy",
    "polars",
    "pandas",
    "scipy",
    "pandera",
    "deltalake",
    "rich",
    "matplotlib",
    "plotly",
    "sklearn",
    "pydantic",
)


def imported_by(*arguments):
    """Names of the top-level modules that a Python command imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}


def test_help_imports_nothing_heavy():
    found = imported_by("-m", "assay", "--help")
    assert "typer" in found
    assert found.isdisjoint(HEAVY)


def test_importing_the_package_imports_nothing_at_all():
    found = imported_by("-c", "import assay")
    assert "assay" in found
    assert found.isdisjoint((*HEAVY, "typer"))


def test_the_public_face_is_sorted_and_complete():
    assert assay.__all__ == sorted(assay.__all__)
    assert dir(assay) == assay.__all__
    for name in assay.__all__:
        assert getattr(assay, name) is not None


def test_whoever_waits_for_runs_imports_nothing_that_they_compute_with():
    names = ("assay.pipeline.flow", "assay.backtest.trials", "assay.report.live", RunResult.__module__)
    found = imported_by("-c", f"import {', '.join(names)}")
    assert "numpy" in found
    assert found.isdisjoint({"scipy", "piqp", "pandera", "jinja2", "matplotlib"})


def said(*arguments, **environment):
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_that_of_the_package(option):
    assert said(option) == f"assay {version('assay-portfolio')}\n"
    assert assay.__version__ == version("assay-portfolio")


def test_help_has_every_command_in_a_group_and_cuts_nothing():
    text = said("--help")
    assert said("-h") == text
    assert "..." not in text.replace("[ARGS]...", "")
    titles = [line.removesuffix(":") for line in text.splitlines() if line.removesuffix(":") in PANELS]
    assert titles == list(PANELS)
    assert "Other:" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert said("run", "-h") == said("run", "--help")
    assert "..." not in said("profiles", "-h").replace("[ARGS]...", "")


def test_a_shell_is_offered_commands_runs_and_flows(tmp_path):
    for name in ("one", "other"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    asked = {"_ASSAY_COMPLETE": "complete_bash", "COMP_CWORD": "2", "ASSAY_HOME": str(tmp_path)}
    command = [sys.executable, "-c", "from assay.cli import app; app(prog_name='assay')"]

    def offered(line):
        environment = {**os.environ, **asked, "COMP_WORDS": line}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.split()

    assert offered("assay why o") == ["other", "one"]
    assert offered("assay why la") == ["latest"]
    assert "binance-spot-ratings" in offered("assay flow binance")
