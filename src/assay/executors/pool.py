"""A pool of spawned, warm processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from types import FrameType

from assay.executors.base import INTERVAL, R, T, Watch, check_sizes, worker_died

THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that give Polars and BLAS one thread each in a worker: workers are the parallelism."""

TOGETHER, ALONE = 2, 2
"""Times that a task is begun beside others, any of which may have killed the pool, and then by itself."""

GRACE = 30.0
"""Seconds that interrupted tasks have to write down that they were interrupted."""


class ProcessPool:
    """Spawned workers that import what tasks need while the caller goes on.

    Parameters
    ----------
    workers : int
    warm : sequence of str
        Modules that every worker imports at once.
    """

    def __init__(self, workers: int, warm: Sequence[str] = ()) -> None:
        self.workers, self._warm = workers, tuple(warm)
        self._pool = self._start()

    def map(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        lost: Callable[[T], R] | None = None,
        watch: Watch | None = None,
    ) -> list[R]:
        """Do the work for every task; see :meth:`assay.executors.base.Executor.map`.

        A worker that dies takes the pool with it. What had not finished begins again in a new pool; when that one dies
        too, one task at a time, each in a process of its own and twice if need be, so that only the task that kills its
        worker is lost.
        """
        check_sizes(work, tasks)
        done: dict[int, Future[R]] = {}
        for _ in range(TOGETHER):
            done |= self._round(work, {i: task for i, task in enumerate(tasks) if i not in done}, watch)
            if len(done) == len(tasks):
                return [done[i].result() for i in range(len(tasks))]
            self.close()
            self._pool = self._start()
        return [done[i].result() if i in done else self._alone(work, task, lost, watch) for i, task in enumerate(tasks)]

    def close(self) -> None:
        """Let workers go; nothing that waits is begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        # Forking after Polars has started its threads hangs; spawning does not.
        context = multiprocessing.get_context("spawn")
        self._others = {child.pid for child in multiprocessing.active_children()}
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin, initargs=(self._warm,))
        for _ in range(self.workers):
            pool.submit(os.getpid)
        return pool

    def _round(self, work: Callable[[T], R], tasks: dict[int, T], watch: Watch | None) -> dict[int, Future[R]]:
        """Return the futures of tasks that ended, well or not; those whose worker died are not among them.

        No more is submitted than can run: what the pool has queued would still begin after an interruption.
        """
        waiting = list(tasks.items())[::-1]
        running: dict[Future[R], int] = {}
        ended: dict[int, Future[R]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    i, task = waiting.pop()
                    running[self._pool.submit(_work, work, task)] = i
                finished, _ = wait(running, timeout=INTERVAL, return_when=FIRST_COMPLETED)
                if watch is not None:
                    watch()
                ended |= {running.pop(future): _unless_interrupted(future) for future in finished}
        except BrokenProcessPool:
            pass  # what was not submitted is left for another round
        except KeyboardInterrupt:
            self._interrupt()
            raise
        return {i: future for i, future in ended.items() if not isinstance(future.exception(), BrokenProcessPool)}

    def _alone(self, work: Callable[[T], R], task: T, lost: Callable[[T], R] | None, watch: Watch | None) -> R:
        for _ in range(ALONE):
            one = ProcessPool(1, self._warm)
            try:
                ended = one._round(work, {0: task}, watch)
            finally:
                one.close()
            if ended:
                return ended[0].result()
        if lost is None:
            raise worker_died(task)
        return lost(task)

    def _interrupt(self) -> None:
        """Interrupt what runs, as a terminal does, and give it time to say so; what waits is never begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        ours = [child for child in multiprocessing.active_children() if child.pid not in self._others]
        for child in ours:
            if child.pid is not None:
                os.kill(child.pid, signal.SIGINT)
        until = time.monotonic() + GRACE
        for child in ours:
            child.join(max(0.0, until - time.monotonic()))
            if child.is_alive():
                child.kill()


def _unless_interrupted(future: Future[R]) -> Future[R]:
    if isinstance(future.exception(), KeyboardInterrupt):
        raise KeyboardInterrupt
    return future


def _begin(warm: Sequence[str]) -> None:
    """Prepare a worker: one thread each, an idle worker is not interrupted, and what every task needs is imported."""
    for name in THREADS:
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for module in warm:
        import_module(module)


def _end_with_parent() -> None:
    """End a worker whose parent was killed: nobody waits for it, and it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(work: Callable[[T], R], task: T) -> R:
    """Do one task; it can be interrupted once, so that a second signal does not keep it from saying so."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        return work(task)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
