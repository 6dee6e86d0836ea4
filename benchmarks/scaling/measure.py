"""One measurement in a process of its own: wall time, processor time and peak memory of it and of all it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LOOK = 0.05
"""Seconds between two looks at the processes of a tree."""
REPEAT_SECONDS = 2.0
"""Short works are done again until so much time is used, at most :data:`REPEATS` times; the best counts."""
REPEATS = 5


class MeasureError(Exception):
    """A child ended with an error, or its answer was wrong: there is nothing to time."""


@dataclass(frozen=True)
class Job:
    """What a child does: work that is timed, and the check of its answer, which comes before any time is told."""

    name: str
    work: Callable[[], Any]
    check: Callable[[Any], None]
    once: bool = False
    tree: bool = False
    """Other processes work too: they are watched, and counted."""
    facts: Callable[[Any], Mapping[str, Any]] = lambda _answer: {}


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes
    ----------
    size : float
    wall, processor : float
        Seconds; the best of the repetitions, each.
    peak : float
        MB: largest resident memory of a single process during the first repetition.
    added : float
        MB: of it, what was not there before the work began.
    facts : dict
        What else the work tells.
    """

    size: float
    wall: float
    processor: float
    peak: float
    added: float
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def child(work: str, parameters: Mapping[str, Any]) -> dict[str, Point]:
    """Do a work of :mod:`benchmarks.scaling.works` in a process of its own; return a point for each of its jobs.

    Raises
    ------
    MeasureError
        If it ended with an error; what it said is on the error stream.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.scaling.child", work, json.dumps(dict(parameters)), folder]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            out, _ = process.communicate()
    if process.returncode:
        raise MeasureError(f"{work} {dict(parameters)} ended with {process.returncode}")
    return {name: Point(**point) for name, point in json.loads(out.splitlines()[-1]).items()}


def environment() -> dict[str, str]:
    """Return the environment of a child: one thread each, and nothing of the user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    paths = [str(ROOT / "src"), str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "PYTHONWARNINGS": "ignore"}
    return kept | dict.fromkeys(THREADS, "1") | quiet | {"PYTHONPATH": os.pathsep.join(paths)}


# --- memory -----------------------------------------------------------------------------------------------------------


def reset_peak() -> bool:
    """Let the kernel forget this process's peak memory; False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def trim() -> None:
    """Give memory that the allocator keeps back to the system, so that what is used again is seen; glibc only."""
    import ctypes

    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def apart(work: Callable[..., object], *arguments: object) -> None:
    """Prepare something in another process, so that its memory is not this one's.

    Raises
    ------
    MeasureError
        If it failed.
    """
    from multiprocessing import get_context

    process = get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise MeasureError(f"{getattr(work, '__name__', work)} ended with {process.exitcode}")


def memory(process: int | str = "self") -> tuple[float, float]:
    """Return resident memory of a process now and at its peak, MB.

    The peak is of the program that runs now: ``getrusage`` would also count what its parent had when it was forked.
    """
    found = {}
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(value.split()[0]) / 1024
    return found.get("VmRSS", 0.0), found.get("VmHWM", 0.0)


@dataclass
class Tree:
    """A process and all its descendants, looked at from outside.

    Attributes
    ----------
    peak : float
        MB: greatest sum of their resident memory; memory that they share is counted for each.
    largest : float
        MB: greatest peak of a single one.
    processor : float
        Seconds of all, as last seen of each.
    """

    root: int
    peak: float = 0.0
    largest: float = 0.0
    used: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def processor(self) -> float:
        return sum(self.used.values())

    def look(self) -> None:
        """Add what is there now."""
        total = 0.0
        for pid in descendants(self.root):
            try:
                now, peak = memory(pid)
                began, used = _clock_of(pid)
            except (OSError, IndexError, ValueError):
                continue  # it ended between two reads
            total += now
            self.largest = max(self.largest, peak)
            self.used[pid, began] = used
        self.peak = max(self.peak, total)


def descendants(root: int) -> list[int]:
    """Return a process and everything below it."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += [int(text) for text in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _clock_of(pid: int) -> tuple[int, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def tree_watched(root: int) -> Iterator[Tree]:
    """Look at a tree of processes while the block runs; a system without /proc gives zeros."""
    tree, over = Tree(root), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            tree.look()

    thread = threading.Thread(target=watch, daemon=True)
    if Path("/proc/self/status").exists():
        thread.start()
    try:
        yield tree
    finally:
        over.set()
        if thread.is_alive():
            thread.join()
