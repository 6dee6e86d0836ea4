"""A run that meets a fault at any change of the disk ends, once resumed, as its undisturbed twin."""

from dataclasses import replace

import pytest
from crash_kills import kill_at
from crash_world import LONG, SMALL, make_home
from loops import often

from assay.selftest.crash import RunWorkload, count_writes, crash_at, faults_of
from assay.selftest.faults import KINDS

PARTS = 4
"""The slow tests are cut into so many, for as many workers."""


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    home, source = make_home(tmp_path_factory.mktemp("crash"))
    made = RunWorkload(home.path, LONG, source, settings=SMALL)
    return replace(made, expected=made.twin())


@pytest.fixture(scope="session")
def operations(job):
    return count_writes(job)


def test_everything_that_a_run_writes_passes_the_disk(job, operations):
    """Each file of a run was created and renamed there, or made by appending; only then is counting worth anything."""
    job.begin()
    there = {str(path) for path in job.folder.rglob("*") if path.is_file()}
    there |= {str(path) for path in job.folder.parent.iterdir() if path.is_file()}
    job.clear()
    assert there <= {one.path for one in operations if one.name in ("rename", "create")}
    counts = {name: sum(one.name == name for one in operations) for name in {one.name for one in operations}}
    assert counts["write"] == counts["sync"] > 80
    assert counts["sync_folder"] >= counts["rename"] > 40


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_faults_lose_nothing(job, operations, kind):
    for fault in faults_of(operations, [kind], sample=1, seed=20240121):
        survival = crash_at(job, fault)
        assert not survival.problems, survival


def test_a_process_that_really_dies_loses_nothing(job, operations):
    [fault] = faults_of(operations, ["kill"], sample=1, seed=7)
    survival = kill_at(job, fault)
    assert survival.first is None
    assert not survival.problems, survival


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", ["tear", "power", "eio", "full"])
def test_every_fault_loses_nothing(job, operations, kind, part):
    faults = list(faults_of(operations, [kind], sample=often("FAULTS"), seed=3))[part::PARTS]
    broken = [survival for fault in faults if (survival := crash_at(job, fault)).problems]
    assert not broken, broken


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_process_killed_before_every_operation_loses_nothing(job, operations, part):
    faults = list(faults_of(operations, ["kill"], sample=often("FAULTS"), seed=3))[part::PARTS]
    broken = [survival for fault in faults if (survival := kill_at(job, fault)).problems]
    assert not broken, broken
