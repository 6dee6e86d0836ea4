"""Run directories for the tests of the reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from markdown_reader import Section, by_title
from report_run import RUN_ID, write_run

from assay.report.audit_report import render


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("home") / RUN_ID)


@pytest.fixture
def run(tmp_path: Path, template: Path) -> Path:
    """A complete run that a test may change."""
    return Path(shutil.copytree(template, tmp_path / RUN_ID))


@pytest.fixture(scope="session")
def report(template: Path) -> str:
    return render(template)


@pytest.fixture(scope="session")
def parts(report: str) -> dict[str, Section]:
    return by_title(report)
