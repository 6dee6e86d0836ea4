"""One suite for every executor: order, errors, lost workers, limits, interruption, and what may travel."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import executor_tasks as work
import pytest

from assay.base.errors import AssayError, DataError, InternalError, UsageError
from assay.executors import LARGEST_TASK, Serial, opened, task_size
from assay.executors.cluster import Mark, unseen


def test_more_tasks_than_workers_come_back_in_order(executor):
    assert executor.map(work.double, range(25)) == list(range(0, 50, 2))
    assert executor.map(work.double, []) == []


def test_an_error_travels_with_type_and_code_and_the_others_are_done(executor, tmp_path):
    with pytest.raises(DataError) as failed:
        executor.map(work.odd_fails, [(str(tmp_path), number) for number in (0, 3, 2, 1, 4)])
    assert type(failed.value) is DataError
    assert failed.value.as_dict() == {
        "code": "ODD",
        "what": "odd",
        "where": "number 3",
        "hint": "take an even one",
        "exit_code": 1,
    }
    assert {path.stem for path in tmp_path.glob("*.done")} == set("01234")


def test_a_task_that_carries_a_table_is_refused(executor):
    import polars as pl

    table = pl.DataFrame({"close": [float(i) for i in range(20_000)]})
    assert task_size(work.double, table) > LARGEST_TASK
    with pytest.raises(InternalError, match="pass a path") as refused:
        executor.map(work.double, [table])
    assert refused.value.code == "TASK_TOO_LARGE"


def test_the_watch_is_told_while_tasks_run(executor):
    looks = []
    executor.map(time.sleep, [0.5], watch=lambda: looks.append(time.monotonic()))
    assert len(looks) >= 2


def test_a_time_limit_interrupts_its_step(executor):
    [(code, seconds)] = executor.map(work.overruns, [0.2])
    assert code == "STEP_TIMEOUT"
    assert seconds < 10  # of 20: the step was interrupted, not only blamed afterwards


def test_workers_have_one_thread_each(executor):
    if isinstance(executor, Serial):
        pytest.skip("this process has the threads that its user gave it")
    found = executor.map(work.where, range(4))
    assert {threads for _, *threads in map(tuple, found) for threads in threads} == {"1"}
    assert os.getpid() not in {pid for pid, *_ in found}


def test_a_killed_worker_costs_no_task(executor, tmp_path):
    if isinstance(executor, Serial):
        pytest.skip("the worker is this process")
    tasks = [str(tmp_path / name) for name in "abc"]
    assert executor.map(work.dies_once, tasks) == tasks
    assert executor.map(work.double, [1, 2]) == [2, 4]


def test_only_the_task_that_kills_its_workers_is_lost(executor, tmp_path):
    if isinstance(executor, Serial):
        pytest.skip("the worker is this process")
    killer, *others = (str(tmp_path / name) for name in ("killer", "x", "y"))
    found = executor.map(work.dies_or_not, [others[0], killer, others[1]], lost=lambda task: f"lost {Path(task).name}")
    assert found == [others[0], "lost killer", others[1]]
    assert 2 <= len(Path(killer).read_text()) <= 4
    with pytest.raises(InternalError) as died:
        executor.map(work.dies_or_not, [killer])
    assert died.value.code == "WORKER_DIED"


DRIVER = """
import sys
from pathlib import Path
import executor_tasks as work
from assay.executors import opened
if __name__ == "__main__":
    try:
        with opened(sys.argv[1], 2, Path(sys.argv[2])) as executor:
            executor.map(work.waits, [f"{sys.argv[2]}/{i}" for i in range(6)])
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_an_interruption_reaches_what_runs_and_nothing_else_begins(setting, tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    folders = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    driver = subprocess.Popen(
        [sys.executable, str(script), setting, str(tmp_path)], env=environment, stderr=subprocess.PIPE
    )
    wanted = 1 if setting == "serial" else 2
    until = time.monotonic() + 90
    while len(list(tmp_path.glob("*.begun"))) < wanted and time.monotonic() < until:
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    _, told = driver.communicate(timeout=90)
    assert driver.returncode == 130, told
    assert len(list(tmp_path.glob("*.begun"))) == wanted
    assert len(list(tmp_path.glob("*.interrupted"))) == wanted


@pytest.mark.parametrize("text", ["", "Pool", "pool:4", "ray:", "dask"])
def test_an_unknown_executor_is_refused(text, tmp_path):
    with pytest.raises(UsageError, match="serial, pool, ray"), opened(text, 1, tmp_path):
        pass


def test_a_cluster_that_is_not_there_is_named(tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed", exc_type=ImportError)
    with pytest.raises(UsageError) as refused, opened("ray:127.0.0.1:1", None, tmp_path):
        pass
    assert refused.value.code == "CLUSTER_UNREACHABLE"
    assert refused.value.where == "ray:127.0.0.1:1"


def test_ray_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="Ray is not installed") as refused, opened("ray", None, tmp_path):
        pass
    assert "assay-portfolio[ray]" in refused.value.hint


def test_a_folder_is_the_drivers_only_with_the_drivers_mark(tmp_path):
    mark = Mark(tmp_path / "mark", "abc")
    assert not mark.seen()
    mark.path.write_text("another home at the same path")
    assert not mark.seen()
    mark.path.write_text("abc")
    assert mark.seen()
    assert isinstance(unseen(mark, "node 7"), AssayError)
    assert unseen(mark, "node 7").where == "node 7"
