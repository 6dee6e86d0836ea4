"""The local exchange: server, market and endpoints put together.

``with LocalExchange(world) as exchange`` listens on ``exchange.url``. ``exchange.world`` is the market (bars, pairs,
clock; see ``exchange_world``), ``exchange.fail(Fault(...))`` switches faults on, ``exchange.log`` holds what was asked.
Given neither way, the screener's endpoint (``screener_api.register``) is there too where that module exists.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import exchange_api
import exchange_archive
from exchange_server import Fault, Limits, Request, Response, Server
from exchange_world import World

__all__ = ["Fault", "Limits", "LocalExchange", "Request", "Response", "Server", "World"]


class LocalExchange(Server):
    """A server with a market behind it."""

    def __init__(self, world: World, limits: Limits | None = None, seed: int = 7, latency: float = 0.0) -> None:
        super().__init__(limits, seed, latency)
        self.world = world
        exchange_api.register(self, world)
        exchange_archive.register(self, world)
        if find_spec("screener_api") is not None:
            import_module("screener_api").register(self)

    def __enter__(self) -> LocalExchange:
        super().__enter__()
        return self
