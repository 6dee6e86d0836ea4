"""What an executor promises, and the simplest one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, TypeVar

from assay.base.errors import InternalError

T = TypeVar("T")
R = TypeVar("R")

Watch = Callable[[], None]
"""Called every :data:`INTERVAL` or so while tasks run."""

INTERVAL = 0.1
"""Seconds between two looks at what has finished."""

LARGEST_TASK = 65_536
"""Bytes of a submitted task: settings and paths take a few thousand, the smallest table of a lake takes more."""

WORKER_DIED = "WORKER_DIED"
TASK_TOO_LARGE = "TASK_TOO_LARGE"


class Executor(Protocol):
    """Maps a function over tasks, somewhere.

    A task may be begun more than once: a worker that dies, or a node that is cut off, makes another begin it anew. So
    work must be such that a second beginning finds out what the first left behind.
    """

    @property
    def workers(self) -> int:
        """Tasks that run at the same time."""

    def map(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        lost: Callable[[T], R] | None = None,
        watch: Watch | None = None,
    ) -> list[R]:
        """Do the work for every task.

        Parameters
        ----------
        work : callable
            Function of a module that workers can import.
        tasks : sequence
            Small picklable values; see :func:`task_size`.
        lost : callable, optional
            Gives the result of a task that killed its worker each time.
        watch : callable, optional
            Told regularly while tasks run.

        Returns
        -------
        list
            Results in the order of the tasks.

        Raises
        ------
        Exception
            What the first task (in order) raised that failed, with its own type; others are finished before.
        InternalError
            If a worker died and ``lost`` is not given (``WORKER_DIED``), or a task is too large (``TASK_TOO_LARGE``).
        KeyboardInterrupt
            After every task was interrupted and had a moment to say so.
        """


def task_size(work: Callable[..., Any], task: Any) -> int:
    """Return how many bytes a task takes on its way to a worker.

    >>> task_size(len, "a path") < 100
    True
    """
    return len(ForkingPickler.dumps((work, task)))


def check_sizes(work: Callable[..., Any], tasks: Sequence[Any]) -> None:
    """Refuse tasks that carry data rather than the place where it lies."""
    for number, task in enumerate(tasks):
        size = task_size(work, task)
        if size > LARGEST_TASK:
            raise InternalError(
                f"task {number} of {work.__qualname__} takes {size:,} bytes, at most {LARGEST_TASK:,} are passed on",
                where=type(task).__name__,
                hint="pass a path or a version, and read the table in the worker",
                code=TASK_TOO_LARGE,
            )


def worker_died(task: Any) -> InternalError:
    """Return the error of a task whose workers died."""
    return InternalError(
        "the worker process died",
        where=str(task)[:200],
        hint="look for a lack of memory, then run again",
        code=WORKER_DIED,
    )


class Serial:
    """Does everything in this process, one task after the other."""

    workers = 1

    def map(
        self,
        work: Callable[[T], R],
        tasks: Sequence[T],
        *,
        lost: Callable[[T], R] | None = None,  # noqa: ARG002 - a worker that dies here is this process
        watch: Watch | None = None,
    ) -> list[R]:
        """Do the work for every task; see :meth:`Executor.map`."""
        check_sizes(work, tasks)
        results, failed = [], []
        with watched(watch):
            for task in tasks:
                try:
                    results.append(work(task))
                except Exception as error:  # noqa: BLE001 - raised below, when the others are done as elsewhere
                    failed.append(error)
        if failed:
            raise failed[0]
        return results


@contextmanager
def watched(watch: Watch | None) -> Iterator[None]:
    """Call a watch regularly while the block works; it is in a thread of its own, for signals need the main one."""
    if watch is None:
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(INTERVAL):
            watch()

    thread = threading.Thread(target=look, name="assay-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        watch()
