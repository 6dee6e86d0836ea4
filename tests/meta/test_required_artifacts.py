"""Validation misses every file that the steps before it always write, in real runs of both kinds."""

from pathlib import Path

import pytest

from assay.gates.validation import validate
from assay.runs.artifacts import LEDGER, STEP_NAMES, TABLE, VALIDATION
from assay.runs.run import Run
from tests.meta.conftest import SLEEVES


def before(kind: str) -> list[str]:
    """Files of the table that the steps before validation write, whatever the table says of their being required."""
    last = STEP_NAMES[kind].index("atomic_validation" if kind == "run" else "meta_validation")
    return [row for row in TABLE if 0 < (row.step(kind) or 0) <= last and row not in ("run_status.json", "logs/")]


def missed(folder: Path, name: str, prefix: str) -> None:
    path = folder / name
    away = path.with_name(f"{path.name}.away")
    path.rename(away)
    try:
        checks = {check.code: check.what for check in validate(Run(folder)).checks if not check.ok}
    finally:
        away.rename(path)
    assert checks[f"{prefix}_MISSING_ARTIFACTS"] == f"{name} is missing"
    if name != LEDGER:
        assert checks[f"{prefix}_HASH_MISMATCH"] == f"{name} was recorded by its step, and is missing"


@pytest.mark.parametrize("name", before("run"))
def test_a_sleeve_without_a_file_is_not_valid(assembly, name):
    missed(assembly.home.runs / assembly.pins[SLEEVES[0]].run_id, name, "ATOMIC")


@pytest.mark.parametrize("name", before("meta"))
def test_a_portfolio_without_a_file_is_not_valid(portfolio, name):
    missed(portfolio, name, "META")


def test_the_table_has_every_file_of_a_real_run(assembly, portfolio):
    for folder, kind in ((assembly.home.runs / assembly.pins[SLEEVES[0]].run_id, "run"), (portfolio, "meta")):
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        known = {row for row in TABLE if row.step(kind) and row != "logs/"}
        assert {path for path in found if not path.startswith(VALIDATION)} == known - {VALIDATION}
        assert any(path.startswith(VALIDATION) for path in found)
