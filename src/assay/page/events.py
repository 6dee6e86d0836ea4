"""Changes of the run_list, sent to everyone who looks.

One task looks at the runs, however many viewers there are, and only while there is one. A viewer has no queue: it is
told what changed since it was told last, so that a slow one gets fewer and larger updates, and holds nothing up.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from assay.base.domain import UTC
from assay.page.run_list import RunList

BUSY, IDLE = 0.15, 0.5
"""Seconds between two looks while a run is going, and while none is."""
KEEPALIVE = 15
"""Seconds after which a silent connection gets a comment, so that proxies keep it."""
SLOWEST = 30
"""Seconds that one update may take to be sent before the viewer is given up."""
MOST_VIEWERS = 64


class Broadcast:
    """Looks at the list of runs and wakes viewers."""

    def __init__(self, run_list: RunList) -> None:
        self.run_list = run_list
        self.viewers = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look at the list of runs in a task of its own."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def full(self) -> bool:
        """Whether there are as many viewers as there may be."""
        return self.viewers >= MOST_VIEWERS

    def answer(self, mark: str) -> EventSourceResponse:
        """Return the stream of changes since a mark of the run_list."""
        return EventSourceResponse(
            self._updates(mark), ping=KEEPALIVE, send_timeout=SLOWEST, headers={"Cache-Control": "no-store"}
        )

    async def _watch(self) -> None:
        known = self.run_list.mark
        while True:
            if self.viewers:
                await run_in_threadpool(self.run_list.refresh)
                await run_in_threadpool(self.run_list.judge)
            if self.run_list.mark != known:  # by this look, or by that of a request for a page
                known = self.run_list.mark
                async with self._changed:
                    self._changed.notify_all()
            await asyncio.sleep(BUSY if self.run_list.busy else IDLE)

    async def _updates(self, mark: str) -> AsyncIterator[ServerSentEvent]:
        self.viewers += 1
        try:
            while True:
                update = self.run_list.since(mark)
                if update.mark != mark:
                    mark = update.mark
                    data = json.dumps(update.as_plain(dt.datetime.now(UTC)), ensure_ascii=False, allow_nan=False)
                    yield ServerSentEvent(data, event="runs", id=mark, retry=1000)
                async with self._changed:
                    while self.run_list.mark == mark:
                        await self._changed.wait()
        finally:
            self.viewers -= 1
