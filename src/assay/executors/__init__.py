"""Where work is done: in this process, in a pool of processes, or on a Ray cluster; one setting, the same results.

An executor maps an importable function over tasks and returns the results in the tasks' order. It knows nothing of
runs. Tasks cross process and machine borders, so they hold paths, hashes and settings, never tables: a task above
:data:`LARGEST_TASK` bytes is refused, in every executor, so that the fault shows where it is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from assay.base.errors import UsageError
from assay.executors.base import LARGEST_TASK, Executor, Serial, Watch, task_size

__all__ = ["EXECUTORS", "LARGEST_TASK", "Executor", "Serial", "Watch", "opened", "task_size"]

EXECUTORS = ("serial", "pool", "ray[:ADDRESS]")


@contextmanager
def opened(setting: str, workers: int | None, folder: Path, warm: Sequence[str] = ()) -> Iterator[Executor]:
    """Start an executor, or connect to it, for as long as the block runs.

    Parameters
    ----------
    setting : str
        ``serial``, ``pool``, ``ray`` (a cluster on this machine) or ``ray:HOST:PORT`` (one that runs).
    workers : int or None
        Tasks at a time; None for one on each core of this machine, or for what the cluster offers.
    folder : Path
        Every worker must see it; created here.
    warm : sequence of str
        Modules that workers import before their first task.

    Raises
    ------
    UsageError
        If there is no such executor, it needs what is not installed, or a node does not see the folder.

    Examples
    --------
    >>> with opened("serial", None, Path()) as executor:
    ...     executor.map(abs, [-1, 2])
    [1, 2]
    """
    kind, colon, address = setting.partition(":")
    if kind not in ("serial", "pool", "ray") or (colon and (kind != "ray" or not address)):
        raise UsageError(f"unknown executor {setting!r}", where="executor", hint=f"one of {', '.join(EXECUTORS)}")
    if kind == "serial":
        yield Serial()
    elif kind == "pool":
        from assay.executors.pool import ProcessPool

        pool = ProcessPool(workers or os.cpu_count() or 1, warm)
        try:
            yield pool
        finally:
            pool.close()
    else:
        from assay.executors.cluster import connected

        with connected(address or None, workers, folder, warm) as cluster:
            yield cluster
