"""A step of an account that meets a fault at any change of the disk: given again, it ends with the same ledger.

A day can be done neither twice nor left out unseen: the ledger says the same as that of an undisturbed twin.
"""

import datetime as dt
import shutil
from dataclasses import replace
from decimal import Decimal

import pytest
from crash_accounts import NAME, StepWorkload, copies, told
from crash_kills import kill_at
from crash_world import LONG, SMALL, make_home
from loops import often

from assay.pipeline.account_step import StepAsked
from assay.pipeline.accounts import Opening, open_account, step_account
from assay.selftest.crash import count_writes, crash_at, faults_of
from assay.selftest.faults import KINDS, FaultyDisk, writing_to
from assay.settings import load

START = dt.date(2022, 10, 12)


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("account")
    home, source = make_home(folder)
    catalog = load(settings=SMALL)
    asked = Opening(NAME, LONG, Decimal(1000), source=source, band=Decimal(0), start=START)
    open_account(home, catalog, asked)
    step_account(home, catalog, NAME, StepAsked(as_of="2022-10-15", backfill=True))
    shutil.copytree(home.accounts / NAME, folder / "before")
    made = StepWorkload(home.path, folder / "before", SMALL)
    with writing_to(FaultyDisk()):
        assert made.begin().exit_code == 0
    made = replace(made, expected=tuple(told(made.folder)), files=copies(made.folder))
    made.clear()
    return made


@pytest.fixture(scope="session")
def operations(job):
    return count_writes(job)


def of_the_account(operations, faults):
    """Leave out the faults that meet the scratch folder of the decision, of which nothing is kept."""
    return [fault for fault in faults if "/accounts/" in operations[fault.at - 1].path]


def test_a_day_reaches_the_disk_by_one_write(operations):
    ledger = [one.name for one in operations if one.path.endswith("/account.jsonl")]
    assert ledger == ["open", "write", "sync"] * 2  # two days


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_faults_of_a_step_lose_nothing(job, operations, kind):
    for fault in of_the_account(operations, faults_of(operations, [kind], seed=20240121))[::9]:
        survival = crash_at(job, fault)
        assert not survival.problems, survival


def test_a_step_that_really_dies_loses_nothing(job, operations):
    fault = of_the_account(operations, faults_of(operations, ["kill"], seed=7))[1]
    survival = kill_at(job, fault)
    assert survival.first is None
    assert not survival.problems, survival


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_of_a_step_loses_nothing(job, operations, kind):
    """Each change of the account's files, and a sample of all others; tears and power cuts at five places each."""
    found = []
    for seed in range(5 if kind in ("tear", "power") else 1):
        found += of_the_account(operations, faults_of(operations, [kind], seed=seed))
    found += list(faults_of(operations, [kind], sample=often("FAULTS"), seed=3))
    broken = [survival for fault in found if (survival := crash_at(job, fault)).problems]
    assert not broken, broken


@pytest.mark.slow
def test_a_step_killed_before_every_operation_loses_nothing(job, operations):
    faults = of_the_account(operations, faults_of(operations, ["kill"], seed=3))
    faults += list(faults_of(operations, ["kill"], sample=often("FAULTS"), seed=4))
    broken = [survival for fault in faults if (survival := kill_at(job, fault)).problems]
    assert not broken, broken
