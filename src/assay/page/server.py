"""Binds, serves and stops."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Collection

import uvicorn

from assay.base.errors import DiskError, UsageError
from assay.page.access import address
from assay.page.app import create_app
from assay.runs.home import Home

GRACE = 3
"""Seconds that open answers have to end when the server is told to stop."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    found = address(host)
    return host.casefold() == "localhost" or (found is not None and found.is_loopback)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises
    ------
    UsageError
        If the address is not this machine's, or the port is in use or not allowed.
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise UsageError(
            f"unknown address: {error.strerror}", where=host, hint="give an address of this host"
        ) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise _unbound(error, host, port) from None
    listener.setblocking(False)
    return listener


def _unbound(error: OSError, host: str, port: int) -> UsageError | DiskError:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return UsageError("the port is in use", where=where, hint="choose another with --port, or --port 0 for any")
    if error.errno == errno.EACCES:
        return UsageError("the port is not allowed", where=where, hint="choose one above 1023 with --port")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError("the address is not this machine's", where=where, hint="give --host an address of its own")
    return DiskError(f"cannot listen: {error.strerror}", where=where, hint="check the network of this machine")


def serve(
    home: Home, host: str, port: int, token: str | None, hosts: Collection[str], ready: Callable[[str], None]
) -> None:
    """Serve until told to stop: SIGTERM returns, SIGINT raises KeyboardInterrupt.

    Parameters
    ----------
    home : Home
    host, port : str, int
        Where to listen; port 0 takes a free one.
    token : str or None
        What every request must bring.
    hosts : collection of str
        Names of this server, besides ``localhost`` and addresses in figures.
    ready : callable
        Told the address once requests are answered.
    """
    listener = bind(host, port)
    named = f"[{host}]" if ":" in host else host
    url = f"http://{named}:{listener.getsockname()[1]}"
    own = [host] if address(host) is None else []
    config = uvicorn.Config(
        create_app(home, token=token, hosts=[*own, *hosts]),
        log_level="warning",
        access_log=False,  # addresses and headers of requests are nobody's business
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE,
    )
    server = _Server(config, lambda: ready(url))
    before = signal.signal(signal.SIGTERM, lambda _signal, _frame: None)  # raised again by uvicorn when it has stopped
    try:
        server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()
