"""Work that executors' tests give to workers."""

import os
import signal
import time
from pathlib import Path

from assay.base.errors import DataError


def double(number):
    return 2 * number


def odd_fails(place):
    """Leave a mark, then fail for odd numbers."""
    folder, number = place
    (Path(folder) / f"{number}.done").touch()
    if number % 2:
        raise DataError("odd", where=f"number {number}", hint="take an even one", code="ODD")
    return number


def where(_task):
    return os.getpid(), os.environ.get("POLARS_MAX_THREADS"), os.environ.get("OMP_NUM_THREADS")


def dies_once(path):
    """Kill this worker the first time."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path


def dies(path):
    """Kill this worker each time, and count."""
    with Path(path).open("a") as stream:
        stream.write(".")
    os.kill(os.getpid(), signal.SIGKILL)


def dies_or_not(path):
    return dies(path) if path.endswith("killer") else path


def waits(path):
    """Work for longer than any test, as steps do, between whose calls Python looks for interruptions."""
    Path(f"{path}.begun").touch()
    try:
        for _ in range(1_200):
            time.sleep(0.1)
    except KeyboardInterrupt:
        time.sleep(0.2)
        Path(f"{path}.interrupted").touch()
        raise


def overruns(seconds):
    from assay.base.errors import StepTimeout
    from assay.pipeline.runner import time_limit

    began = time.monotonic()
    try:
        with time_limit(seconds, "a step"):
            time.sleep(20)
    except StepTimeout as error:
        return error.code, time.monotonic() - began
    return "none", time.monotonic() - began
