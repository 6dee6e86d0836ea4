"""Starting must stay cheap: nothing heavy is imported before it is needed."""

import subprocess
import sys

import assay
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
