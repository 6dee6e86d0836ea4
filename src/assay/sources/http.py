"""Keeping the weight of requests within what an exchange allows.

The exchange counts weight in windows of its own clock. No such window ever holds more than the limit if no span of that
length does, whatever the clocks say, so that the weight sent in the last window's length is what is kept small.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any, TypeVar

T = TypeVar("T")

_MARGIN = 0.02
"""Share of a window by which requests may come closer together on their way."""
_LONGEST_MARGIN = 0.5
"""Seconds."""


class Limiter:
    """Lets requests pass as long as the weight of the last window stays within the limit.

    Parameters
    ----------
    weight : int
        Limit in a window.
    window : float
        Length of a window, seconds.
    share : float
        Share of the limit that is used.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, weight: int, window: float, share: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share, self._clock = share, clock
        self._spent: deque[tuple[float, int]] = deque()
        self._sum = 0
        self._paused_until = 0.0
        self.allow(weight, window)

    def allow(self, weight: int, window: float) -> None:
        """Change the limit to what the exchange announces."""
        self._window = window + min(_MARGIN * window, _LONGEST_MARGIN)
        self._limit = max(1, int(weight * self._share))

    async def take(self, weight: int) -> None:
        """Wait until a request of some weight may be sent, and count it."""
        while (wait := self._wait(weight)) > 0:
            await asyncio.sleep(wait)
        self._spend(weight)

    def told(self, used: int) -> None:
        """Learn what the exchange has counted in its present window: others may use the same address."""
        self._forget()
        if used > self._sum:
            self._spend(used - self._sum)

    def pause(self, seconds: float) -> None:
        """Hold everything back for some time."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _spend(self, weight: int) -> None:
        self._spent.append((self._clock(), weight))
        self._sum += weight

    def _forget(self) -> None:
        oldest = self._clock() - self._window
        while self._spent and self._spent[0][0] <= oldest:
            self._sum -= self._spent.popleft()[1]

    def _wait(self, weight: int) -> float:
        """Return the seconds until a request of this weight may be sent, 0 for now."""
        now = self._clock()
        if now < self._paused_until:
            return self._paused_until - now
        self._forget()
        excess = self._sum + weight - self._limit
        if excess <= 0 or not self._spent:
            return 0.0
        freed = accumulate(spent for _, spent in self._spent)
        at = next((at for (at, _), so_far in zip(self._spent, freed, strict=True) if so_far >= excess), now)
        return max(at + self._window - now, 0.001)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a thread of its own where this one runs others already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def work_through(
    work: Sequence[T], do: Callable[[T], Awaitable[None]], concurrency: int, tell: Callable[[int, int], None]
) -> None:
    """Do all work, some at a time, and tell (done, total) after each; the first error ends it."""
    queue, done = iter(work), 0
    tell(0, len(work))

    async def worker() -> None:
        nonlocal done
        for item in queue:
            await do(item)
            done += 1
            tell(done, len(work))

    workers = [asyncio.create_task(worker()) for _ in range(min(concurrency, len(work)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
