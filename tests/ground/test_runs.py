import datetime as dt
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from assay.base.domain import UTC
from assay.base.errors import DiskError, UsageError
from assay.runs.home import Home, Status, claim

NOW = dt.datetime(2024, 3, 31, 12, 0, 5, tzinfo=UTC)


def test_names_follow_the_clock_and_count_up(tmp_path):
    names = [claim(tmp_path / "runs", "p", None, NOW).name for _ in range(3)]
    assert names == ["p_20240331-120005", "p_20240331-120005-2", "p_20240331-120005-3"]


def test_claims_at_the_same_moment_never_share_a_folder(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: claim(tmp_path, "p", None, NOW), range(64)))
    assert len(set(made)) == 64


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a" * 101, "a b", "-x", "ä", "a\n"])
def test_a_name_with_a_path_in_it_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot name a run"):
        claim(tmp_path / "runs", "p", name, NOW)
    assert not (tmp_path / "runs").exists()


def test_a_taken_name_is_refused(tmp_path):
    claim(tmp_path, "p", "mine", NOW)
    with pytest.raises(UsageError, match="exists"):
        claim(tmp_path, "p", "mine", NOW)


def test_a_folder_that_cannot_be_written_is_a_disk_error(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(DiskError):
        claim(tmp_path / "runs", "p", None, NOW)


def test_a_run_whose_process_is_gone_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    status = Status.begin("r", "p", NOW)
    assert status.seen().state == "RUNNING"
    (tmp_path / "r").mkdir()
    from dataclasses import replace

    from assay.runs.home import process_started

    theirs = replace(status, pid=child.pid, pid_started=process_started(child.pid)).write(tmp_path / "r")
    assert Status.read(tmp_path / "r").seen().state == "RUNNING"
    child.stdin.close()
    child.wait()
    assert theirs.seen().state == "DEAD"
    assert Status.read(tmp_path / "r").seen().state == "DEAD"
    # A pid that now belongs to somebody else does not bring the run back to life.
    assert replace(theirs, pid=os.getpid()).seen().state == "DEAD"


def test_runs_are_found_by_id_and_by_path(tmp_path):
    home = Home(tmp_path)
    made = claim(home.runs, "p", "mine", NOW)
    Status.begin("mine", "p", NOW).write(made)
    assert home.run("mine") == made
    assert home.run(str(made)) == made
    for wrong in ("nobody", "../runs/mine/..", str(tmp_path)):
        with pytest.raises(UsageError, match="no run"):
            home.run(wrong)
