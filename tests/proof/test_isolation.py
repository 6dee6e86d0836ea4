"""Runs at the same time: each equals its serial twin, none touches what is not its own."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from crash_kills import template
from crash_lake import content
from crash_world import LONG, MA_LONG, SMALL, make_bars
from isolation_workers import Start, fingerprints, foreign, ingests, run

from assay.base.errors import Exit
from assay.lake.lake import Lake
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.replay import recorded_artifacts
from assay.pipeline.runner import execute
from assay.runs import registry
from assay.runs.home import Home, Status
from assay.runs.verify import verify
from assay.selftest.faults import FaultyDisk, writing_to
from assay.settings import load

SAMPLE_LONG, SAMPLE_SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"


@pytest.fixture
def place(tmp_path):
    """A home at its first head, and a source that has moved on; how a worker starts there."""
    path = tmp_path / "bars.parquet"
    make_bars(days=289).write_parquet(path)
    home, source = Home(tmp_path / "home"), f"parquet:{path}"
    foundation = lay_foundation(home, load(settings=SMALL), source)
    start = Start(home.path, source, 1, foundation.path, LONG, SMALL)
    return home, foundation, start


def asked(start, number):
    """No two ask for the same, so that mixing them up would show."""
    settings = (*start.settings, f"caps.atom={0.35 + 0.01 * number:.2f}", f"costs.fee={0.001 + number / 10_000:.4f}")
    return replace(start, profile=(LONG, MA_LONG)[number % 2], settings=settings)


def twin(home, foundation, start):
    """Content of the same run with nobody else about."""
    [request] = requests(home, load(settings=start.settings), foundation, [start.profile])
    with writing_to(FaultyDisk()):
        outcome = execute(request)
    assert outcome.state == "VALID", outcome
    return recorded_artifacts(request.run)


def at_once(home, foundation, start, n):
    """Run so many at the same time, while an ingest commits; check everything."""
    starts = [asked(start, number) for number in range(n)]
    twins = [twin(home, foundation, one) for one in starts]
    assert len({json.dumps(one, sort_keys=True) for one in twins}) == n
    before = fingerprints(home.path)
    lines = home.registry.read_bytes(), (foundation.lake.folder / "heads.jsonl").read_bytes()
    old = content(foundation.lake.pin(1))
    make_bars().write_parquet(start.source.removeprefix("parquet:"))
    context = template()
    barrier = context.Barrier(n + 1)
    ends = [context.Pipe(duplex=False) for _ in range(n + 1)]
    jobs = [(run, (one, barrier, ours[1])) for one, ours in zip(starts, ends, strict=False)]
    jobs.append((ingests, (home.path, start.source, barrier, ends[-1][1])))
    processes = [context.Process(target=target, args=arguments) for target, arguments in jobs]
    for process in processes:
        process.start()
    told = [ours.recv() for ours, _ in ends]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert told.pop() == 2
    names = [name for name, _, _ in told]
    assert len(set(names)) == n
    for (name, state, changed), expected in zip(told, twins, strict=True):
        assert state == "VALID"
        assert recorded_artifacts(home.runs / name) == expected
        assert verify(home.runs / name, registry=home.registry).ok
        assert len(changed) > 80
        others = foreign(changed, home.path, name)
        assert not others, others
    assert registry.check(home.registry) == 4 * n  # each run and each twin, as it begins and as it ends
    check_surroundings(home, foundation, before, lines, names)
    assert content(foundation.lake.pin(1)) == old
    clean = Lake(home.path.parent / "clean", start.source)
    lay_foundation(Home(home.path.parent / "clean"), load(settings=SMALL), start.source)
    assert content(foundation.lake.latest()) == content(clean.latest())


def check_surroundings(home, foundation, before, lines, names):
    """Nothing that was there changed, but two files that grow; what is new belongs to a run or to the ingest."""
    after = fingerprints(home.path)
    lake = foundation.lake.folder.relative_to(home.path).as_posix()
    growing = {"runs/registry.jsonl": lines[0], f"{lake}/heads.jsonl": lines[1]}
    marks = f"{lake}/roots/known.json"  # when which file was hashed last: a cache
    changed = {name for name, digest in before.items() if after.get(name) != digest}
    assert changed - {marks} == growing.keys()
    for name, old in growing.items():
        assert (home.path / name).read_bytes().startswith(old)
    allowed = (*(f"runs/{name}/" for name in names), f"{lake}/bars/", f"{lake}/ratings/", f"{lake}/roots/")
    assert [name for name in after.keys() - before.keys() if not name.startswith(allowed)] == []


def test_three_runs_at_once_equal_their_serial_twins(place):
    at_once(*place, n=3)


@pytest.mark.slow
def test_sixteen_runs_at_once_equal_their_serial_twins(place):
    at_once(*place, n=16)


def test_a_stray_write_would_be_seen(tmp_path):
    """The watch over writes has teeth: each way to change a file is told."""
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from isolation_workers import watch_writes
seen = []
watch_writes(seen)
os.chdir({str(tmp_path)!r})
open("a", "w").close()
os.close(os.open("b", os.O_CREAT | os.O_WRONLY))
os.mkdir("c")
os.rename("a", "d")
os.remove("b")
open("d").close()
print(seen)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["a", "b", "c", "a", "d", "b"])


@pytest.mark.slow
def test_a_flow_whose_worker_dies_each_time_finishes_and_reports_the_others(tmp_path):
    command = [sys.executable, "-m", "assay"]
    home = Home(tmp_path / "home")
    process = subprocess.Popen(
        [*command, "flow", "binance-spot-rating-all-ls", "--as-of", "2023-10-20", "--json", "--home", str(home.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    victims = set()
    while process.poll() is None:
        for name in home.run_ids():
            path = home.runs / name / "run_status.json"
            status = Status.read(path.parent) if path.is_file() else None
            if status is None or status.profile != SAMPLE_SHORT or status.step < 2 or status.state != "RUNNING":
                continue
            if status.pid not in (process.pid, *victims):
                victims.add(status.pid)
                os.kill(status.pid, signal.SIGKILL)
        time.sleep(0.01)
    told = json.loads(process.stdout.read())
    process.stdout.close()
    assert len(victims) >= 2
    assert process.returncode == told["exit_code"] == Exit.INTERNAL
    verdicts = {one["profile"]: one["verdict"] for one in told["runs"]}
    assert verdicts == {SAMPLE_LONG: "VALID", SAMPLE_SHORT: "FAILED WORKER_DIED"}
    ids = {one["profile"]: one["run_id"] for one in told["runs"]}
    [folder] = home.flows.iterdir()
    assert json.loads((folder / "flow.json").read_text())["runs"] == told["runs"]
    assert ids[SAMPLE_LONG] in (folder / "audit_report.md").read_text()
    lost = ids[SAMPLE_SHORT]
    done = subprocess.run(
        [*command, "run", SAMPLE_SHORT, "--resume", "--run-id", lost, "--home", str(home.path)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == Exit.OK
    for profile, name in ids.items():
        alone = [
            *command,
            "run",
            profile,
            "--as-of",
            "2023-10-20",
            "--run-id",
            f"twin-{profile}",
            "--home",
            str(home.path),
        ]
        subprocess.run(alone, check=True, capture_output=True)
        assert recorded_artifacts(home.run(name)) == recorded_artifacts(home.run(f"twin-{profile}"))


@pytest.mark.slow
def test_the_workers_of_a_killed_flow_end(tmp_path):
    home = Home(tmp_path / "home")
    process = subprocess.Popen(
        [sys.executable, "-m", "assay", "flow", "binance-spot-rating-all-ls", "--home", str(home.path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "Step 2" in line:
            break
    workers = {Status.read(home.runs / name).pid for name in home.run_ids()} - {process.pid}
    assert workers
    process.kill()
    process.communicate()
    until = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{pid}") for pid in workers) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
