"""Threads of which one runs at a time: a seed chooses who goes on at each change of the disk."""

import fcntl
import threading
from collections.abc import Callable
from random import Random

from assay.base import files
from assay.selftest.faults import Died


class Schedule:
    """Runs pieces of work together; whoever has the baton runs, and hands it on where it pauses or ends."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.trace: list[int] = []
        """Who went on, at each pause."""
        self._gates: list[threading.Semaphore] = []
        self._alive: list[int] = []
        self._numbers: dict[int, int] = {}
        self._over = threading.Event()

    def run(self, works: list[Callable[[], object]]) -> list[object]:
        """Return what each piece returned, or the exception that ended it."""
        results: list[object] = [None] * len(works)

        def body(number: int) -> None:
            self._numbers[threading.get_ident()] = number
            self._gates[number].acquire()
            try:
                results[number] = works[number]()
            except (Exception, Died) as error:  # noqa: BLE001 - judged by the test, which sees every result
                results[number] = error
            finally:
                self._alive.remove(number)
                self._hand_on()

        self._gates = [threading.Semaphore(0) for _ in works]
        self._alive = list(range(len(works)))
        threads = [threading.Thread(target=body, args=(number,), daemon=True) for number in range(len(works))]
        for thread in threads:
            thread.start()
        self._hand_on()
        assert self._over.wait(120), "nobody can go on"
        for thread in threads:
            thread.join()
        return results

    @property
    def me(self) -> int | None:
        """Number of the calling thread; None for one that is not ours."""
        return self._numbers.get(threading.get_ident())

    def _hand_on(self) -> None:
        if not self._alive:
            self._over.set()
            return
        chosen = self.random.choice(self._alive)
        self.trace.append(chosen)
        self._gates[chosen].release()

    def pause(self) -> None:
        """Let the seed choose who goes on."""
        if self.me is not None:
            self._hand_on()
            self._gates[self.me].acquire()


class PausingDisk(files.Disk):
    """A disk at each of whose operations another thread may go on, and at one of which a thread may die."""

    def __init__(self, schedule: Schedule, deaths: dict[int, int] | None = None) -> None:
        self.schedule = schedule
        self.deaths = deaths or {}
        """Thread to the operation that it does not survive."""
        self.counts: dict[int | None, int] = {}

    def _pause(self) -> None:
        me = self.schedule.me
        self.counts[me] = self.counts.get(me, 0) + 1
        if me in self.deaths and self.counts[me] >= self.deaths[me]:
            raise Died
        self.schedule.pause()

    def make_folder(self, path):
        self._pause()
        super().make_folder(path)

    def open(self, path, flags):
        self._pause()
        return super().open(path, flags)

    def write(self, descriptor, data):
        """Two writes of a half each: whoever reads in between sees a part."""
        self._pause()
        super().write(descriptor, data[: len(data) // 2])
        self._pause()
        super().write(descriptor, data[len(data) // 2 :])

    def truncate(self, descriptor, size):
        self._pause()
        super().truncate(descriptor, size)

    def sync(self, descriptor):
        self._pause()

    def sync_folder(self, path):
        self._pause()

    def rename(self, old, new):
        self._pause()
        super().rename(old, new)

    def remove(self, path):
        self._pause()
        super().remove(path)

    def lock(self, descriptor):
        """Wait by letting others go on."""
        self._pause()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.schedule.pause()
            else:
                return
