"""How a live source asks: at what pace, how many at a time, how often, and what a refusal means.

An exchange counts weight in windows of its own clock. No such window ever holds more than the limit if no span of that
length does, whatever the clocks say, so that the weight sent in the last window's length is what is kept small.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from itertools import accumulate
from typing import Any, TypeVar

from assay.base.domain import UTC
from assay.base.errors import SourceError
from assay.sources.base import utc_now
from assay.sources.settings import Access

T = TypeVar("T")

_MARGIN = 0.02
"""Share of a window by which requests may come closer together on their way."""
_LONGEST_MARGIN = 0.5
"""Seconds."""
_LONGEST_BACKOFF = 30.0
_SHORTEST_BAN = 120.0
"""Seconds, for a ban that does not say how long it is."""

TROUBLES = {
    "RATE_LIMITED": "answers said that requests came too fast (429); they were sent again when the exchange allowed it",
    "BANNED": "the address was banned for a while (418); requests were sent again after it",
    "SERVER_ERROR": "the exchange failed (5xx); requests were sent again",
    "TIMEOUT": "answers took too long; requests were sent again",
    "CONNECTION": "connections failed or broke in the middle of an answer; requests were sent again",
    "MALFORMED": "answers were cut off, were not JSON or not declared so; requests were sent again",
}
"""What a request is repeated for; findings carry these codes with ``RETRY_`` before them."""


class Trouble(Exception):  # noqa: N818 - never leaves this room: the request is repeated
    """An attempt failed as another may not; ``kind`` is a key of :data:`TROUBLES`, ``after`` what Retry-After says."""

    def __init__(self, kind: str, said: str, after: float | None = None) -> None:
        super().__init__(said)
        self.kind, self.after = kind, after


class Malformed(Trouble):
    """An answer that is not what it should be, such as a login page of some network."""

    def __init__(self, said: str) -> None:
        super().__init__("MALFORMED", said)


class Exhausted(Exception):  # noqa: N818 - never leaves this room: it becomes a finding or a SourceError
    """A request that failed as often as it may be sent, or is refused."""


def trouble_of(status: int) -> str | None:
    """Return the kind of trouble that a status tells, None where a repetition mends nothing."""
    return {418: "BANNED", 429: "RATE_LIMITED"}.get(status) or ("SERVER_ERROR" if status >= 500 else None)


def trouble(status: int, headers: Mapping[str, str], said: str) -> Trouble | None:
    """Return what an answer means for its request, None where a repetition mends nothing."""
    kind = trouble_of(status)
    return None if kind is None else Trouble(kind, said, retry_after(headers, utc_now()))


def retry_after(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """Return the seconds for which an answer asks to be left alone, None where it does not say so readably.

    Parameters
    ----------
    headers : mapping
        Of the answer. ``Retry-After`` is a number of seconds, or an HTTP date, which is compared with the ``Date`` of
        the answer: the two are by one clock.
    now : datetime
        This machine's clock, for an answer without a date.

    Examples
    --------
    >>> noon = dt.datetime(2024, 1, 1, 12, tzinfo=UTC)
    >>> retry_after({"Retry-After": "7"}, noon)
    7.0
    >>> retry_after({"retry-after": "Mon, 01 Jan 2024 12:01:00 GMT"}, noon)
    60.0
    >>> retry_after({"retry-after": "soon"}, noon) is None
    True
    """
    said = {name.lower(): value for name, value in headers.items()}
    text = said.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    until = _http_date(text)
    return None if until is None else max(0.0, (until - (_http_date(said.get("date", "")) or now)).total_seconds())


def _http_date(text: str) -> dt.datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


class _Window:
    """What was sent within a window's length (seconds), which may hold ``limit``."""

    def __init__(self, length: float, limit: int, spent: Iterable[tuple[float, int]]) -> None:
        self.length, self.limit = length + min(_MARGIN * length, _LONGEST_MARGIN), limit
        self.spent = deque(spent)
        self._sum = sum(weight for _, weight in self.spent)

    def spend(self, weight: int, now: float) -> None:
        self.spent.append((now, weight))
        self._sum += weight

    def used(self, now: float) -> int:
        while self.spent and self.spent[0][0] <= now - self.length:
            self._sum -= self.spent.popleft()[1]
        return self._sum

    def wait(self, weight: int, now: float) -> float:
        """Return the seconds until a request of this weight may be sent, 0 for now."""
        excess = self.used(now) + weight - self.limit
        if excess <= 0 or not self.spent:
            return 0.0
        freed = accumulate(spent for _, spent in self.spent)
        at = next((at for (at, _), so_far in zip(self.spent, freed, strict=True) if so_far >= excess), now)
        return max(at + self.length - now, 0.001)


class Limiter:
    """Lets requests pass as long as the weight of each last window stays within its limit.

    Parameters
    ----------
    limits : mapping of float to int
        Length of a window in seconds to the weight that it may hold; none for a pace that nobody limits.
    share : float
        Share of the limits that is used.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, limits: Mapping[float, int], share: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share, self._clock = share, clock
        self._windows: dict[float, _Window] = {}
        self._paused_until = 0.0
        self.allow(limits)

    def allow(self, limits: Mapping[float, int]) -> None:
        """Change the limits to what the exchange announces; what was sent before counts in each window."""
        sent = max((window.spent for window in self._windows.values()), key=len, default=())
        self._windows = {
            seconds: _Window(seconds, max(1, int(weight * self._share)), sent) for seconds, weight in limits.items()
        }

    async def take(self, weight: int) -> None:
        """Wait until a request of some weight may be sent, and count it."""
        while (wait := self.wait(weight)) > 0:
            await asyncio.sleep(wait)
        self.spend(weight)

    def told(self, used: int, seconds: float) -> None:
        """Learn what the exchange has counted in its present window of a length: others may use the same address."""
        window, now = self._windows.get(seconds), self._clock()
        if window is not None and used > (known := window.used(now)):
            window.spend(used - known, now)

    def pause(self, seconds: float) -> None:
        """Hold everything back for some time."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def spend(self, weight: int) -> None:
        """Count a request."""
        for window in self._windows.values():
            window.spend(weight, self._clock())

    def wait(self, weight: int) -> float:
        """Return the seconds until a request of this weight may be sent, 0 for now."""
        now = self._clock()
        if now < self._paused_until:
            return self._paused_until - now
        return max((window.wait(weight, now) for window in self._windows.values()), default=0.0)


class Asker:
    """Sends requests at the limiter's pace, each until its answer can be read.

    Parameters
    ----------
    where : str
        Who is asked, for messages.
    access : Access
        How often, and how patiently.
    limiter : Limiter
        At what pace.
    """

    def __init__(self, where: str, access: Access, limiter: Limiter) -> None:
        self.where, self.access, self.limiter = where, access, limiter
        # What was asked, for the cost of an ingestion and for findings.
        self.requests, self.weight, self.retries = 0, 0, Counter[str]()

    def add(self, other: Asker) -> None:
        """Count what another one asked too."""
        self.requests += other.requests
        self.weight += other.weight
        self.retries += other.retries

    async def ask(self, once: Callable[[], Awaitable[T]], weight: int = 0) -> T:
        """Do one request, at most :attr:`Access.attempts` times.

        Parameters
        ----------
        once : callable
            Sends it and reads the answer; raises :class:`Trouble` where another attempt may succeed.
        weight : int
            What the exchange counts for it.

        Raises
        ------
        Exhausted
            If no attempt succeeded.
        SourceError
            If this address is banned for longer than :attr:`Access.patience`.
        """
        last = Trouble("CONNECTION", "nothing was sent")
        for attempt in range(self.access.attempts):
            await self.limiter.take(weight)
            self.requests += 1
            self.weight += weight
            try:
                return await once()
            except Trouble as failed:
                last = failed
            self.retries[last.kind] += 1
            await self._rest(last, attempt)
        raise Exhausted(f"{TROUBLES[last.kind].partition(';')[0]}: {str(last)[:200]}")

    async def _rest(self, met: Trouble, attempt: int) -> None:
        """Wait before the next attempt; who is told to wait, or refused, holds all other requests back too."""
        told, backoff = met.after, min(self.access.backoff * 2**attempt, _LONGEST_BACKOFF)
        if met.kind == "BANNED" and (told is None or told > self.access.patience):
            until = "" if told is None else f" for {told:g} s"
            raise SourceError(
                f"the exchange has banned this address{until}",
                where=self.where,
                hint="what was fetched is kept: try again later, the next ingest goes on from there; "
                "look for other programs at this address that ignore 429",
                code="SOURCE_BANNED",
                retry_after=_SHORTEST_BAN if told is None else told,
            )
        if told is not None or met.kind in ("BANNED", "RATE_LIMITED"):
            self.limiter.pause(min(2.0**attempt if told is None else max(told, backoff), self.access.patience))
        elif attempt + 1 < self.access.attempts:
            await asyncio.sleep(backoff)


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
