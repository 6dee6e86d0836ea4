"""A local HTTP server that stands for an exchange: its core, which knows sockets, limits and faults and no endpoint.

How to plug in
--------------
An endpoint is a function of a :class:`Request` that returns a :class:`Response` (``Response.json(value)`` makes one).
A module of endpoints has one function ``register(server)`` that names them::

    def register(server: Server) -> None:
        server.route("POST", "/crypto/scan", scan)

    def scan(request: Request) -> Response:
        return Response.json({"totalCount": 0, "data": []})

``weight`` is an int or a function of the request; requests without weight pass the limits. A path that ends in ``*``
takes all that begin so. ``exchange_api.register`` (klines, exchangeInfo, ticker, time), ``exchange_archive.register``
and ``screener_api.register`` are of this kind; ``local_exchange.LocalExchange`` puts them together. Faults are switched
on with ``server.fail(Fault(...))`` for any endpoint; kinds below ``WIRE`` are done by the core, others are the business
of the endpoint, which asks ``request.fault``. Every request is in ``server.log``.

The server runs in a thread of its own, with sockets handled by hand, since a reset in mid-body or a slow drip is not to
be had from a web framework.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

WIRE = ("429", "418", "5xx", "timeout", "reset", "truncated", "nonjson", "content_type", "drip")
"""Faults that need no knowledge of the endpoint; a number is any other status."""

HTML = b"<html><head><title>Welcome</title></head><body>Please sign in to this network.</body></html>"


@dataclass(frozen=True)
class Fault:
    """What goes wrong, where, and how often.

    Attributes
    ----------
    kind : str
        One of :data:`WIRE`, or a word that the endpoint knows.
    path : str
        Beginning of the paths that it befalls.
    symbol : str or None
        Only requests of this symbol.
    times : int or None
        How many requests; all where None.
    rate : float
        Share of the requests, drawn from the server's seed.
    retry_after : float or None
        Seconds in the header of a 429 or 418.
    dated : bool
        The header is an HTTP date so many seconds after the answer's own.
    seconds : float
        Length of a drip.
    method : str or None
        Only requests of this method.
    """

    kind: str
    path: str = "/"
    symbol: str | None = None
    times: int | None = 1
    rate: float = 1.0
    retry_after: float | None = 1
    dated: bool = False
    seconds: float = 0.5
    method: str | None = None


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    fault: Fault | None = None
    at: float = 0.0
    status: int = 0
    weight: int = 0

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=UTF-8"

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        return cls(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(), status)


Handler = Callable[[Request], Response]
Weight = int | Callable[[Request], int]


@dataclass
class Limits:
    """Request weight per window, as the exchange documents it; a ban follows where a 429 is ignored."""

    weight: int = 6000
    window: float = 60.0
    ban_after: int = 10
    """429s within one window until the address is banned."""
    ban: float = 120.0
    header: str = "X-MBX-USED-WEIGHT-1M"
    day: int = 0
    """Weight of a whole day, announced and told beside the window's; never refused. None where 0."""


class Server:
    """The core; ``with Server() as server`` listens on ``server.url``."""

    def __init__(self, limits: Limits | None = None, seed: int = 7, latency: float = 0.0) -> None:
        self.limits = limits or Limits()
        self.latency = latency
        self.log: list[Request] = []
        self.windows: dict[int, int] = {}
        self.url = ""
        self._routes: list[tuple[str, str, Handler, Weight]] = []
        self._faults: list[list[Any]] = []
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._refused: dict[int, int] = {}
        self._banned_until = 0.0

    # --- set up ---------------------------------------------------------------------------------------------------

    def route(self, method: str, path: str, handler: Handler, weight: Weight = 0) -> None:
        self._routes.append((method, path, handler, weight))

    def fail(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append([fault, fault.times])

    def heal(self) -> None:
        """Switch all faults off, and forget bans."""
        with self._lock:
            self._faults.clear()
            self._banned_until = 0.0
            self._refused.clear()

    def requests(self, path: str = "/") -> list[Request]:
        """Requests to paths that begin so."""
        return [request for request in list(self.log) if request.path.startswith(path)]

    def rate(self, burst: int) -> float:
        """Weight per second of a client that sends bursts of so much weight: from the first to the last one's begin."""
        log, sent, begins = list(self.log), 0, []
        for request in log:
            if sent >= burst * len(begins):
                begins.append(request.at)
            sent += request.weight
        return burst * (len(begins) - 1) / (begins[-1] - begins[0])

    def forget(self) -> None:
        self.log.clear()
        self.windows.clear()

    # --- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Server:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        listening = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        # What is being accepted is not open yet: once the server is closed nobody closes its socket, which is collected
        # within some later test.
        for accepting in listening.sockets:
            self._loop.remove_reader(accepting.fileno())
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in list(self._open):
                task.cancel()
            await asyncio.wait(others, timeout=0.1)
        listening.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        self._open.discard(task)
        writer.close()

    # --- one request ----------------------------------------------------------------------------------------------

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        request = Request(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body, at=time.monotonic())
        if self.latency:
            await asyncio.sleep(self.latency)
        with self._lock:
            request.fault = self._fault(request)
            response = self._answer(request)
            request.status = response.status
            self.log.append(request)
        return await self._send(writer, request, response)

    def _fault(self, request: Request) -> Fault | None:
        for entry in self._faults:
            fault, left = entry
            fits = (
                left != 0
                and request.path.startswith(fault.path)
                and fault.symbol in (None, request.query.get("symbol"))
                and fault.method in (None, request.method)
            )
            if fits and (fault.rate >= 1 or self._random.random() < fault.rate):
                entry[1] = None if left is None else left - 1
                return fault
        return None

    def _answer(self, request: Request) -> Response:
        for method, path, handler, weight in self._routes:
            if method == request.method and _matches(path, request.path):
                request.weight = weight if isinstance(weight, int) else weight(request)
                refused = self._count(request.weight)
                if refused is not None:
                    return refused
                failed = self._failure(request.fault)
                return failed if failed is not None else self._stamped(handler(request))
        return Response(b"not found", 404, content_type="text/plain")

    def _stamped(self, response: Response) -> Response:
        used = {self.limits.header: str(self.windows.get(self._window(), 0))}
        if self.limits.day:
            used["X-MBX-USED-WEIGHT-1D"] = str(sum(self.windows.values()))
        return Response(response.body, response.status, {**response.headers, **used}, response.content_type)

    def _window(self) -> int:
        return int(time.monotonic() // self.limits.window)

    def _count(self, weight: int) -> Response | None:
        """Count a request's weight; refuse it where the window is full or the address banned."""
        if not weight:
            return None
        now, window = time.monotonic(), self._window()
        if now < self._banned_until:
            return self._limited(418, self._banned_until - now)
        self.windows[window] = self.windows.get(window, 0) + weight
        if self.windows[window] <= self.limits.weight:
            return None
        self._refused[window] = self._refused.get(window, 0) + 1
        if self._refused[window] > self.limits.ban_after:
            self._banned_until = now + self.limits.ban
            return self._limited(418, self.limits.ban)
        return self._limited(429, (window + 1) * self.limits.window - now)

    def _limited(self, status: int, wait: float | None, *, dated: bool = False) -> Response:
        message = "Too much request weight used; please use WebSocket Streams for live updates."
        if status == 418:
            message = "Way too much request weight used; IP banned."
        refused = Response.json({"code": -1003, "msg": message}, status)
        seconds = 0 if wait is None else max(1, int(wait + 0.999))
        after = {} if wait is None else {"Retry-After": str(seconds)}
        if dated:
            now = int(time.time())
            after = {"Date": formatdate(now, usegmt=True), "Retry-After": formatdate(now + seconds, usegmt=True)}
        return self._stamped(Response(refused.body, status, after))

    def _failure(self, fault: Fault | None) -> Response | None:
        kind = fault.kind if fault is not None else ""
        if fault is not None and kind in ("429", "418"):
            return self._limited(int(kind), fault.retry_after, dated=fault.dated)
        if kind.isdigit():
            return Response.json({"code": 0, "msg": "Service unavailable from a restricted location."}, int(kind))
        if kind == "5xx":
            return Response(HTML, 503, content_type="text/html")
        if kind == "nonjson":
            return Response(HTML, 200, content_type="text/html")
        return None

    async def _send(self, writer: asyncio.StreamWriter, request: Request, response: Response) -> bool:
        fault, body = request.fault, response.body
        kind = fault.kind if fault is not None and response.status == 200 else ""
        if kind == "timeout":
            await asyncio.sleep(3600)
        if kind == "truncated":
            body = body[: len(body) // 2]
        content_type = "text/html" if kind == "content_type" else response.content_type
        lines = [
            f"HTTP/1.1 {response.status} {'OK' if response.status == 200 else 'ERROR'}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in response.headers.items()),
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if kind == "reset":
            writer.write(body[: len(body) // 2])
            await writer.drain()
            _reset(writer)
            return False
        if kind == "drip" and fault is not None:
            await _drip(writer, body, fault.seconds)
        else:
            writer.write(body)
        await writer.drain()
        return True


def _matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection by RST, as a firewall does."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _drip(writer: asyncio.StreamWriter, body: bytes, seconds: float, parts: int = 20) -> None:
    size = max(1, -(-len(body) // parts))
    for begin in range(0, len(body), size):
        writer.write(body[begin : begin + size])
        await writer.drain()
        await asyncio.sleep(seconds / parts)
