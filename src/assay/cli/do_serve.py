"""``assay serve``: the read-only page."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from assay.base.errors import UsageError
from assay.cli import do_output as output
from assay.runs.home import Home

SHORTEST = 16
"""Characters that a token has at least."""
NEEDED = ("sse_starlette", "starlette", "uvicorn")


@dataclass(frozen=True)
class Options:
    """What ``assay serve`` was asked for; ``token`` comes from the environment."""

    host: str
    port: int
    token: str | None
    new_token: bool
    allow_host: Sequence[str]


def serve(home: Home, asked: Options) -> None:
    """Serve until interrupted.

    Raises
    ------
    UsageError
        If the extra is missing, the address cannot be had, or it is open to others and there is no token.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} is not installed", hint="pip install 'assay-portfolio[page]'")
    from assay.page.server import is_loopback
    from assay.page.server import serve as run

    token = _token(asked, is_loopback(asked.host))
    names = [*asked.allow_host, *([] if is_loopback(asked.host) else [socket.gethostname()])]

    def ready(address: str) -> None:
        output.line(f"serving {home.path} at {address} (read-only; Ctrl-C ends it)")
        if asked.new_token:
            output.line(f"token, shown this once: {token}")
        if token is not None:
            output.line("a browser asks for it as the password; any user name will do")

    run(home, asked.host, asked.port, token, names, ready)


def _token(asked: Options, loopback: bool) -> str | None:
    if asked.new_token:
        return secrets.token_urlsafe(24)
    if asked.token is not None:
        if len(asked.token) < SHORTEST or not asked.token.isascii() or not asked.token.isprintable():
            raise UsageError(
                f"ASSAY_TOKEN is not {SHORTEST} or more printable ASCII characters",
                hint="take a long random one, or let --new-token make one",
            )
        return asked.token
    if not loopback:
        raise UsageError(
            "others could read everything in the home folder",
            where=asked.host,
            hint="set ASSAY_TOKEN, or add --new-token; or stay on 127.0.0.1",
        )
    return None
