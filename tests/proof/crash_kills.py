"""Real deaths: a workload in a process of its own, which SIGKILL ends at a fault."""

import multiprocessing
import os
import signal

from assay.selftest.crash import Ended, survive
from assay.selftest.faults import FaultyDisk, writing_to

LIGHT = ["assay.runs.documents", "assay.settings", "scipy.linalg", "scipy.cluster.hierarchy", "scipy.optimize"]
"""Modules without threads that a run needs."""


def template():
    """Return the context of processes that are cheap to kill: forked from one that has imported much, but not Polars.

    Polars has threads from its import on, and what is forked from threads may hang.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *LIGHT])
    return context


class Deadly(FaultyDisk):
    """A disk at whose fault this process really dies."""

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


def kill_at(workload, fault):
    """Do a workload up to a fault that kills its process, resume it here, and look what is wrong."""
    process = template().Process(target=die, args=(workload, fault))
    process.start()
    process.join()
    code = process.exitcode
    process.close()
    first = None if code is not None and code < 0 else Ended(code or 0)
    return survive(workload, fault, None, first)


def die(workload, fault):
    """Do a workload in this process, and die at the fault."""
    with writing_to(Deadly(fault)):
        raise SystemExit(workload.begin().exit_code)
