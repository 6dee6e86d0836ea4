"""The commands that users type, as whole processes from cold: wall time, processor time and peak memory.

Before anything is timed, the pair runs twice, with one worker and with two: every sleeve must end VALID, and all
content hashes of steps 2 to 13 must be equal.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASSAY = ROOT / ".venv" / "bin" / "assay"
REPEATS = 5
PAIR, FOUR = "binance-spot-rating-all-ls", "binance-spot-ratings"


@dataclass(frozen=True)
class Case:
    name: str
    command: tuple[str, ...]
    aim: str


CASES = (
    Case("assay --help", ("--help",), "0.10 s"),
    Case("long and short pair", ("flow", PAIR), "5 s"),
    Case("all four sleeves", ("flow", FOUR), "8 s"),
    Case("one sleeve", ("run", "binance_spot_rating_all_long"), "400 MB"),
)


def assay(arguments: tuple[str, ...], home: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_THREADS")}
    environment["ASSAY_HOME"] = home
    done = subprocess.run([str(ASSAY), *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"assay {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}")


def hashes(home: str) -> dict[str, dict[str, str]]:
    """Content hashes of every run of a home, by profile."""
    from assay.pipeline.replay import recorded_artifacts
    from assay.runs.home import Home, Status

    runs = [Home(Path(home)).runs / name for name in Home(Path(home)).run_ids()]
    states = {Status.read(run).state for run in runs}
    if states != {"VALID"}:
        raise SystemExit(f"runs ended {states}")
    return {Status.read(run).profile: recorded_artifacts(run) for run in runs}


def check() -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        assay(("flow", PAIR, "--workers", "1"), one)
        assay(("flow", PAIR, "--workers", "2"), two)
        left, right = hashes(one), hashes(two)
    if left != right or len(left) != 2 or not all(len(artifacts) > 15 for artifacts in left.values()):
        raise SystemExit("one worker and two give different content")
    print(f"checked: {sum(map(len, left.values()))} artifacts have the same content hash with one worker and with two")


def measure(case: Case) -> tuple[list[float], list[float]]:
    wall, processor = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as home:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            assay(case.command, home)
            wall.append(time.perf_counter() - began)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return wall, processor


def parts() -> dict[str, float]:
    """Seconds of each step of all four sleeves together, from the ledgers of one flow."""
    from assay.runs.home import Home
    from assay.runs.ledger import read_ledger

    told: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        assay(("flow", FOUR), folder)
        home = Home(Path(folder))
        for name in home.run_ids():
            began = ""
            for entry in read_ledger(home.runs / name / "audit.jsonl"):
                if entry.kind == "intent":
                    began = entry.time
                elif entry.kind == "outcome":
                    step, taken = (
                        f"{entry.body['step']} {entry.body['name']}",
                        datetime.fromisoformat(entry.time) - datetime.fromisoformat(began),
                    )
                    told[step] = told.get(step, 0.0) + taken.total_seconds()
    return told


def peak(case: Case) -> float:
    """Peak memory of the largest process of a command, in MB, measured by a process that does nothing else."""
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=-3, stderr=-3);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-c", script, str(ASSAY), *case.command]
        environment = os.environ | {"ASSAY_HOME": home}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def main() -> None:
    if not ASSAY.exists():
        raise SystemExit("install first: make .venv/ready")
    check()
    print(f"\n| command | wall, median of {REPEATS} | best | processor | peak memory | aim |")
    print("|---|---:|---:|---:|---:|---:|")
    for case in CASES:
        wall, processor = measure(case)
        print(
            f"| {case.name} | {statistics.median(wall):.2f} s | {min(wall):.2f} s | "
            f"{statistics.median(processor):.2f} s | {peak(case):.0f} MB | {case.aim} |",
            flush=True,
        )
    print("\n| step, of all four sleeves together | seconds |\n|---|---:|")
    for step, seconds in parts().items():
        print(f"| {step} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
