"""The measured process: prepares, works, checks the answer, and only then tells times.

python -m benchmarks.scaling.child WORK PARAMETERS FOLDER
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from pathlib import Path

from benchmarks.scaling.measure import REPEAT_SECONDS, REPEATS, Job, Point, memory, reset_peak, tree_watched, trim


def measured(job: Job, size: float) -> Point:
    """Work once for memory and the answer, then again for the best time."""
    gc.collect()
    trim()
    reset_peak()
    before, _ = memory()
    facts: dict[str, object] = {}
    if job.tree:
        clock = time.process_time()
        with tree_watched(os.getpid()) as tree:
            wall, processor, answer = timed(job)
            tree.look()
        # Workers of a pool have ended and are counted by the system; those of a cluster are as they were last seen.
        processor = max(processor, tree.processor - clock)
        peak = max(memory()[1], tree.largest)
        facts["tree_mb"] = tree.peak
    else:
        wall, processor, answer = timed(job)
        _, peak = memory()
    job.check(answer)
    facts |= job.facts(answer)
    del answer
    spent = wall
    for repetition in range(0 if job.once else REPEATS - 1):
        # The second is always done: the first may have imported something.
        if repetition and spent + wall > REPEAT_SECONDS:
            break
        again, used, _ = timed(job)
        spent += again
        wall, processor = min(wall, again), min(processor, used)
    return Point(size, wall, processor, peak, max(0.0, peak - before), facts)


def timed(job: Job) -> tuple[float, float, object]:
    """Return wall time, processor time of this process and of its children that ended, and the answer."""
    began, clock = time.perf_counter(), processor_time()
    answer = job.work()
    return time.perf_counter() - began, processor_time() - clock, answer


def processor_time() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def main(arguments: list[str]) -> int:
    from benchmarks.scaling.works import WORKS

    work, parameters, folder = arguments[0], json.loads(arguments[1]), Path(arguments[2])
    size = float(parameters.pop("size"))
    told = {job.name: measured(job, size).as_dict() for job in WORKS[work](folder, **parameters)}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
