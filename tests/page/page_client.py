"""A client that asks the application without a network; a stream that does not end cannot be asked for."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

import httpx


class Client:
    """Runs an ASGI application, with its life span, in a loop of its own."""

    def __init__(self, app: Any, base_url: str = "http://localhost", *, raise_faults: bool = True) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        transport = httpx.ASGITransport(app, raise_app_exceptions=raise_faults)
        self._client = httpx.AsyncClient(transport=transport, base_url=base_url)

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._start())
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _await(self, awaited: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(60)

    async def _start(self) -> None:
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._life = asyncio.create_task(self._app({"type": "lifespan"}, self._told.get, self._said.put))
        await self._told.put({"type": "lifespan.startup"})
        assert (await self._said.get())["type"] == "lifespan.startup.complete"

    async def _stop(self) -> None:
        await self._client.aclose()
        await self._told.put({"type": "lifespan.shutdown"})
        await self._life
        await self._loop.shutdown_default_executor()

    def request(self, method: str, address: str, **settings: Any) -> httpx.Response:
        answer: httpx.Response = self._await(self._client.request(method, address, **settings))
        return answer

    def get(self, address: str, **settings: Any) -> httpx.Response:
        return self.request("GET", address, **settings)

    def head(self, address: str) -> httpx.Response:
        return self.request("HEAD", address)

    def post(self, address: str) -> httpx.Response:
        return self.request("POST", address)
