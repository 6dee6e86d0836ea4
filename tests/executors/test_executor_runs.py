"""Sleeves, windows and lost workers: whatever the executor, the content hashes are those of one process."""

import os
import signal
import threading
import time
from dataclasses import dataclass, replace

import polars as pl
import pytest
from loops import often

from assay.base.errors import Exit
from assay.cli.app import executed
from assay.executors import Serial, opened, task_size
from assay.pipeline.flow import WARM, Foundation, _execute, at_once, lay_foundation, requests, run_all
from assay.pipeline.replay import recorded_artifacts
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.runs.home import Home, Status
from assay.runs.ledger import Ledger, read_ledger
from assay.settings import load

AS_OF = "2023-10-20"
LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"
SHORT_WALK = ("walk_forward.days=10",)
"""One rebalance, so that a sleeve takes a second."""
VARIANTS = tuple(
    (profile, (*SHORT_WALK, f"costs.fee={0.001 + 0.00001 * step:.5f}"))
    for step in range(16)
    for profile in ("binance_spot_rating_all_long", "binance_spot_rating_all_short",
                    "binance_spot_rating_ma_long", "binance_spot_rating_ma_short")
)[:often("SLEEVES")]  # fmt: skip
"""At most 64 sleeves, all different."""


@dataclass(frozen=True)
class House:
    """A home with the sample in its lake."""

    home: Home
    foundation: Foundation

    def request(self, profile, settings=SHORT_WALK, run_id=None):
        [made] = requests(self.home, load(settings=settings), self.foundation, [profile], run_id)
        return made


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home"))
    return House(home, lay_foundation(home, load(), "sample", AS_OF))


@pytest.fixture(scope="module")
def serial(house):
    """The pair as this process makes it."""
    made = {}
    for profile in (LONG, SHORT):
        request = house.request(profile)
        assert execute(request).state == "VALID"
        made[profile] = recorded_artifacts(request.run)
    return made


class Recorder:
    """An executor that keeps the tasks that it passes on."""

    def __init__(self, executor):
        self.executor, self.workers, self.tasks = executor, executor.workers, []

    def map(self, work, tasks, **more):
        self.tasks += tasks
        return self.executor.map(work, tasks, **more)


def hashes(requested):
    return [recorded_artifacts(request.run) for request in requested]


def test_sleeves_have_the_hashes_of_one_process(house, setting, serial):
    wanted = [house.request(LONG), house.request(SHORT)]
    with opened(setting, 2, house.home.path, WARM) as executor:
        outcomes = run_all(executor, wanted)
    assert [outcome.verdict for outcome in outcomes] == ["VALID", "VALID"]
    assert [outcome.run_id for outcome in outcomes] == [request.run.name for request in wanted]
    assert hashes(wanted) == [serial[LONG], serial[SHORT]]


# A limit of a millisecond may ring inside a callback of the garbage collector, which hypothesis installs.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flow_that_loses_one_run_reports_the_others(house, setting, serial):
    wanted = [house.request(SHORT, (*SHORT_WALK, "limits.step=0.001")), house.request(LONG)]
    with opened(setting, 2, house.home.path, WARM) as executor:
        outcomes = run_all(executor, wanted)
    assert [outcome.verdict for outcome in outcomes] == ["FAILED STEP_TIMEOUT", "VALID"]
    assert hashes(wanted[1:]) == [serial[LONG]]


def test_a_killed_worker_changes_no_hash(house, setting, serial):
    if setting == "serial":
        pytest.skip("the worker is this process")
    wanted = [house.request(LONG), house.request(SHORT)]
    victims = []

    def kill_once():
        for request in wanted:
            status = Status.read(request.run)
            if not victims and status.step >= 4 and status.pid != os.getpid():
                victims.append(request.run)
                os.kill(status.pid, signal.SIGKILL)

    with opened(setting, 2, house.home.path, WARM) as executor:
        outcomes = run_all(executor, wanted, kill_once)
    assert [outcome.verdict for outcome in outcomes] == ["VALID", "VALID"]
    assert hashes(wanted) == [serial[LONG], serial[SHORT]]
    [victim] = victims
    assert "resume" in [entry.kind for entry in read_ledger(victim / "audit.jsonl")]


def test_windows_of_one_walk_forward_give_the_same_bytes(house, setting):
    settings = ("walk_forward.days=40", "walk_forward.step=5", "walk_forward.hold=5")
    alone, parted = house.request(LONG, settings), house.request(LONG, settings)
    assert execute(alone, executor=Serial()).state == "VALID"
    with opened(setting, 2, house.home.path, WARM) as executor:
        recorder = Recorder(executor)
        assert execute(parted, executor=recorder).state == "VALID"
    assert recorded_artifacts(parted.run) == recorded_artifacts(alone.run)
    walk = sorted((alone.run / "data" / "walk_forward").iterdir())
    assert len(walk) > 5
    for path in walk:
        assert path.read_bytes() == (parted.run / "data" / "walk_forward" / path.name).read_bytes(), path.name
    rows = [row for part in recorder.tasks for row in part.rows]
    decisions = pl.read_parquet(alone.run / "data" / "walk_forward" / "decisions.parquet").height
    assert len(set(rows)) == len(rows) == (0 if setting == "serial" else decisions)


def test_what_is_submitted_is_small(house):
    from assay.pipeline.parallel import Part, decide_part

    request = house.request(LONG)
    assert task_size(_execute, (house.home.path, request.run, False)) < 2_000
    assert task_size(decide_part, Part(house.home.path, request.run, tuple(range(100)))) < 3_000


def test_a_second_attempt_waits_for_one_that_is_still_alive(house, serial):
    """A node that is cut off from the cluster, and not dead, goes on writing; nobody else writes then."""
    request = house.request(LONG)
    first = Ledger.create(request.run / "audit.jsonl", {"run_id": request.run.name, "profile": LONG})
    before = (request.run / "run_status.json").read_bytes()
    found = []
    second = threading.Thread(target=lambda: found.append(_execute((house.home.path, request.run, False))))
    second.start()
    time.sleep(1.5)
    assert not found
    assert (request.run / "run_status.json").read_bytes() == before
    assert [entry.kind for entry in read_ledger(request.run / "audit.jsonl")] == ["genesis"]
    first.close()
    second.join(60)
    assert found[0].verdict == "VALID"
    assert recorded_artifacts(request.run) == serial[LONG]


def test_an_attempt_whose_run_was_taken_over_leaves_it_alone(house):
    """Its lock was lost with its node's connection; another went on, and its status is not written over."""
    request = house.request(LONG)

    def taken_over(context):
        discovery(context)
        with (request.run / "audit.jsonl").open("ab") as ledger:
            ledger.write(b"what another process wrote\n")
        other = Status.read(request.run)
        replace(other, pid=other.pid + 1, stage="Step 9: Optimization").write(request.run)

    [discovery] = [step.work for step in STEPS if step.name == "discovery"]
    steps = tuple(replace(step, work=taken_over) if step.name == "discovery" else step for step in STEPS)
    outcome = execute(request, steps=steps)
    assert outcome.verdict == "FAILED LEDGER_CHANGED"
    assert outcome.exit_code == Exit.INTEGRITY
    there = Status.read(request.run)
    assert (there.state, there.stage) == ("RUNNING", "Step 9: Optimization")


def test_a_run_on_another_host_is_not_taken_for_dead(tmp_path):
    from assay.base.domain import UTC, dt

    mine = Status.begin("x", LONG, dt.datetime.now(UTC))
    gone = replace(mine, pid=2**22 + 1)
    assert gone.seen().state == "DEAD"
    assert replace(gone, host="another").seen().state == "RUNNING"


def test_the_setting_comes_from_file_environment_and_command_line(tmp_path):
    assert load().execution().use is None
    (tmp_path / "assay.toml").write_text('[executor]\nuse = "ray:10.0.0.1:6379"\nworkers = 3\n')
    filed = load(tmp_path)
    assert executed(filed, None, None).model_dump() == {"use": "ray:10.0.0.1:6379", "workers": 3}
    assert executed(filed, "pool", None).model_dump() == {"use": "pool", "workers": 3}
    assert executed(load(tmp_path, {"ASSAY_SET__executor__use": "serial"}), None, 2).use == "serial"
    # No manifest names it: where a run was made is no part of what was asked for.
    assert filed.profile(LONG) == load().profile(LONG)
    assert at_once(filed.execution(), 64) == 3
    assert at_once(executed(load(), "ray:10.0.0.1:6379", None), 64) is None
    assert at_once(load().execution(), 1) == 1


@pytest.fixture(scope="module")
def alone(house):
    """The hashes of the sleeves in one process."""
    wanted = [house.request(profile, settings) for profile, settings in VARIANTS]
    outcomes = run_all(Serial(), wanted)
    assert {outcome.state for outcome in outcomes} == {"VALID"}
    found = hashes(wanted)
    assert len({str(sorted(artifacts.items())) for artifacts in found}) == len(VARIANTS)
    return found


@pytest.mark.slow
class TestManySleeves:
    """As many as 64 sleeves on two nodes."""

    def test_they_end_with_the_serial_hashes(self, house, two_nodes, alone):
        two_nodes.mend()
        wanted = [house.request(profile, settings) for profile, settings in VARIANTS]
        with opened(two_nodes.setting, None, house.home.path, WARM) as executor:
            assert executor.workers == 2
            outcomes = run_all(executor, wanted)
        assert {outcome.state for outcome in outcomes} == {"VALID"}
        assert hashes(wanted) == alone

    def test_they_still_do_when_a_node_is_killed_in_the_middle(self, house, two_nodes, alone):
        two_nodes.mend()
        wanted = [house.request(profile, settings) for profile, settings in VARIANTS]
        killed = []

        def kill_in_the_middle():
            states = [Status.read(request.run) for request in wanted]
            ended = sum(status.state == "VALID" for status in states)
            if (
                not killed
                and ended >= len(wanted) // 3
                and sum(s.state == "RUNNING" and s.step >= 2 for s in states) >= 2
            ):
                killed.append(ended)
                two_nodes.kill_node()

        with opened(two_nodes.setting, None, house.home.path, WARM) as executor:
            outcomes = run_all(executor, wanted, kill_in_the_middle)
        assert killed
        assert {outcome.state for outcome in outcomes} == {"VALID"}
        assert hashes(wanted) == alone
        kinds = [[entry.kind for entry in read_ledger(request.run / "audit.jsonl")] for request in wanted]
        assert sum("resume" in run for run in kinds) >= 1
