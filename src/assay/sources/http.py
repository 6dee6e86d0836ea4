"""How a live source asks: one client, its pace, how many at a time, how often, and when it gives up.

Connections, pools and time-outs are httpx's. What answers and errors mean stands in :mod:`assay.sources.troubles`.
ccxt, which brings a transport of its own, is asked through the same :class:`Asker`.

An exchange counts weight in windows of its own clock. No such window ever holds more than the limit if no span of that
length does, whatever the clocks say, so that the weight sent in the last window's length is what is kept small.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

from assay.base.domain import format_instant
from assay.base.errors import SourceError, UsageError
from assay.settings.model import Patience
from assay.sources.base import utc_now
from assay.sources.troubles import Act, Met, Trouble, judge, met_by_answer

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

LATER = "check the network and run again"
MOST = 32 << 20
"""Bytes of an answer beyond which something else is being sent."""
_MARGIN = 0.02
"""Share of a window by which requests may come closer together on their way."""
_LONGEST_MARGIN = 0.5
"""Seconds."""
_LONGEST_BACKOFF = 30.0
_SHORTEST_BAN = 120.0
"""Seconds, for a ban that does not say how long it is."""
_IN_A_ROW = 3


class Exhausted(Exception):  # noqa: N818 - never leaves this room: it becomes a finding or a SourceError
    """A request that failed as often as it may be sent, or is declined: it costs its pair, file or scan."""

    def __init__(self, said: str, trouble: Trouble, status: int = 0) -> None:
        super().__init__(said)
        self.trouble, self.status = trouble, status


# --- connections ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    def json(self) -> Any:
        """Return what it says; raise :class:`Met` where it is not JSON, or not declared so."""
        kind = next((value for name, value in self.headers.items() if name.lower() == "content-type"), "")
        if "json" not in kind.lower():
            raise Met("MALFORMED", f"the answer is declared as {kind or 'nothing'}")
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError) as error:
            raise Met("MALFORMED", f"the answer is not JSON: {error}") from error

    def text(self) -> str:
        """Return its beginning, for messages and for the table of troubles."""
        return self.data[:4096].decode(errors="replace")


class Http:
    """The client: what it returns is an answer with status 200, everything else is a :class:`Met`.

    Parameters
    ----------
    access : Patience
        Seconds that a whole answer may take.
    connections : int
        Requests in flight.

    Raises
    ------
    UsageError
        If the packages for live data are not installed.
    """

    def __init__(self, access: Patience, connections: int = 16) -> None:
        try:
            import httpx
        except ImportError as error:
            raise extra(error) from None
        self._timeout = access.timeout
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx.AsyncClient(timeout=access.timeout, limits=limits)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def send(
        self,
        method: str,
        address: str,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        most: int = MOST,
    ) -> Answer:
        """Send a request once."""
        begun, headers = False, {"accept": "*/*" if body is None else "application/json"}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream(method, address, params=query or None, json=body, headers=headers) as got,
            ):
                begun = True
                answer = Answer(got.status_code, got.headers, await _read(got, most))
        except Met:
            raise
        except Exception as error:  # what the table does not know goes on upwards
            row = judge(text=str(error), error=error)
            if row is None:
                raise
            told = "the answer broke off: " if begun else ""
            raise Met(row.kind, f"{told}{address}: {error or type(error).__name__}") from error
        if answer.status != 200:
            raise met_by_answer(answer.status, answer.headers, answer.text())
        return answer


async def _read(got: httpx.Response, most: int) -> bytes:
    parts, size = [], 0
    async for part in got.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > most:
            raise Met("MALFORMED", f"the answer has more than {most:,} bytes")
    return b"".join(parts)


def extra(error: ImportError) -> UsageError:
    """Return the error of a package that is not installed."""
    return UsageError(
        f"live data need packages that are not installed: {error.name}",
        hint="run: pip install -r requirements-live.txt, or pip install 'assay-portfolio[live]'",
        code="EXTRA_MISSING",
    )


# --- pace -------------------------------------------------------------------------------------------------------------


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
        self._counts: list[_Window] = []
        self._paused_until = 0.0
        self.allow(limits)

    def allow(self, limits: Mapping[float, int], requests: Mapping[float, int] | None = None) -> None:
        """Change the limits to what the exchange announces; what was sent before counts in each window.

        ``requests`` are windows that count requests, whatever their weight.
        """
        sent = max((window.spent for window in self._windows.values()), key=len, default=())
        self._windows = {seconds: self._window(seconds, weight, sent) for seconds, weight in limits.items()}
        ones = [(at, 1) for at, _ in sent]
        self._counts = [self._window(seconds, number, ones) for seconds, number in (requests or {}).items()]

    def _window(self, seconds: float, limit: int, sent: Iterable[tuple[float, int]]) -> _Window:
        return _Window(seconds, max(1, int(limit * self._share)), sent)

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
        now = self._clock()
        for window in self._windows.values():
            window.spend(weight, now)
        for window in self._counts:
            window.spend(1, now)

    def wait(self, weight: int) -> float:
        """Return the seconds until a request of this weight may be sent, 0 for now."""
        now = self._clock()
        if now < self._paused_until:
            return self._paused_until - now
        waits = [window.wait(weight, now) for window in self._windows.values()]
        return max([*waits, *(window.wait(1, now) for window in self._counts)], default=0.0)


# --- attempts ---------------------------------------------------------------------------------------------------------


class Asker:
    """Sends requests at the limiter's pace, each until its answer can be read, and does what the table says.

    Parameters
    ----------
    where : str
        Who is asked, for messages.
    access : Patience
        How often, and how patiently.
    limiter : Limiter
        At what pace.
    refused : str
        What can be done where the host refuses this country or address.
    """

    def __init__(
        self, where: str, access: Patience, limiter: Limiter, refused: str = "check the address and the network"
    ) -> None:
        self.where, self.access, self.limiter, self.refused = where, access, limiter, refused
        # What was asked, for the cost of an ingestion and for findings.
        self.requests, self.weight, self.retries = 0, 0, Counter[str]()

    def add(self, other: Asker) -> None:
        """Count what another one asked too."""
        self.requests += other.requests
        self.weight += other.weight
        self.retries += other.retries

    async def ask(self, once: Callable[[], Awaitable[T]], weight: int = 0) -> T:
        """Do one request, at most :attr:`Patience.attempts` times.

        Parameters
        ----------
        once : callable
            Sends it and reads the answer; raises :class:`Met` where it met a trouble.
        weight : int
            What the exchange counts for it.

        Raises
        ------
        Exhausted
            If no attempt succeeded, or the exchange declines the request: its pair is given up.
        SourceError
            If all is given up: who is asked refuses, cannot be reached at all, or is to be left alone for longer than
            :attr:`Patience.patience`.
        """
        for attempt in range(1, self.access.attempts + 1):
            await self.limiter.take(weight)
            self.requests += 1
            self.weight += weight
            try:
                return await once()
            except Met as met:
                if met.trouble.act in (Act.PAIR, Act.ALL):
                    raise self._given_up(met) from met
                self.retries[met.kind] += 1
                await self._rest(met, attempt)
                last = met
        raise Exhausted(f"{last.trouble.what.partition(';')[0]}: {str(last)[:200]}", last.trouble, last.status)

    def _given_up(self, met: Met) -> Exception:
        said = f"{met.trouble.what}: {met}"
        if met.trouble.act is Act.PAIR:
            return Exhausted(said, met.trouble, met.status)
        hint = self.refused if met.trouble.ends == "SOURCE_REFUSED" else LATER
        return SourceError(said, where=self.where, hint=hint, code=met.trouble.ends)

    async def _rest(self, met: Met, attempt: int) -> None:
        """Wait before the next attempt; who is told to wait holds all other requests back too."""
        told, backoff = met.after, min(self.access.backoff * 2.0 ** (attempt - 1), _LONGEST_BACKOFF)
        waits = met.trouble.act is Act.WAIT
        ban = _SHORTEST_BAN if met.kind == "BANNED" and told is None else told or 0.0
        if (waits and ban > self.access.patience) or (met.kind == "BANNED" and told is None):
            raise self._left_alone(met, ban)
        if told is not None or waits:
            longest = 2.0 ** (attempt - 1) if told is None else max(told, backoff)
            self.limiter.pause(min(longest, self.access.patience))
        elif attempt < self.access.attempts:
            await asyncio.sleep(backoff)

    def _left_alone(self, met: Met, seconds: float) -> SourceError:
        """Return the error of who wants to be left alone for longer than we wait, with when to come again."""
        said = "has banned this address" if met.kind == "BANNED" else "wants to be left alone: requests came too fast,"
        span = f"for {seconds:g} s" if met.after is not None else "without saying for how long"
        return SourceError(
            f"the exchange {said} {span}",
            where=self.where,
            hint=f"{come_again(seconds)}; look for other programs at this address that ignore 429",
            code=met.trouble.ends,
            retry_after=seconds,
        )


def come_again(seconds: float) -> str:
    """Say when somebody who wants to be left alone for so long may be asked again."""
    at = (utc_now() + dt.timedelta(seconds=min(seconds, 1e8) + 1)).replace(microsecond=0)
    return f"come again at {format_instant(at)} or later"


class Streak:
    """Counts what is given up one after the other, without a success between: several are no pair's own trouble.

    Parameters
    ----------
    where : str
        Who is asked.
    what : str
        What is said where it ends all.
    """

    def __init__(self, where: str, what: str) -> None:
        self.where, self.what, self._length = where, what, 0

    def broken(self) -> None:
        """Take a success."""
        self._length = 0

    def add(self, error: Exhausted | SourceError) -> None:
        """Take a failure; raise where it ends all."""
        self._length += 1
        several = self._length >= _IN_A_ROW
        if isinstance(error, SourceError):
            if several or error.code != "SOURCE_REFUSED":
                raise error
        elif several:
            raise ended(self.where, self.what, error) from error


def ended(where: str, what: str, error: Exhausted) -> SourceError:
    """Return the error of what ends all: nothing can be had without this request, or several in a row were given up."""
    hint = LATER
    if error.trouble.kind == "ODD":
        hint = "install a newer version of Assay"
    elif error.trouble.act is Act.WAIT:
        hint = "come again later; look for other programs at this address that ignore 429, or lower ASSAY_LIVE__SHARE"
    said = str(error) if error.trouble.act is Act.WAIT or error.trouble.kind == "ODD" else f"{what}: {error}"
    return SourceError(said, where=where, hint=hint, code=error.trouble.ends)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a thread of its own where this one runs others already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def all_at_once(work: Sequence[Coroutine[Any, Any, T]], client: Http) -> list[T]:
    """Do all work through a client, which is closed then; of several errors the first in order is raised."""

    async def together() -> list[T]:
        try:
            found = await asyncio.gather(*work, return_exceptions=True)
        finally:
            await client.close()
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return [one for one in found if not isinstance(one, BaseException)]

    return run(together())


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
