"""What is let in, and with which headers an answer leaves.

Only GET and HEAD, only from a name that this server has, and with the token where there is one. Starlette's
TrustedHostMiddleware would let in neither every address in figures nor a name with a dot at its end, reads the first of
several Host headers, and answers with a text of its own.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Callable, Collection
from functools import lru_cache

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assay.base.errors import UsageError
from assay.report.templating import script, source_hash

COOKIE = "assay_token"
METHODS = frozenset({"GET", "HEAD"})

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No inline script, no inline style, nothing from elsewhere."""


@lru_cache(maxsize=1)
def file_policy() -> str:
    """Return the policy for files of a run: a report brings its own style, and runs the package's own script alone.

    The sandbox makes the file a stranger to this server: whatever it is, it cannot read another page.
    """
    return (
        f"default-src 'none'; script-src '{source_hash(script())}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "sandbox allow-scripts allow-downloads allow-popups allow-top-navigation-by-user-activation"
    )


HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class RefusalError(UsageError):
    """A request that is not let in, with its HTTP status and the headers that the status needs."""

    def __init__(self, status: int, what: str, hint: str, code: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(what, hint=hint, code=code)
        self.status = status
        self.headers = headers or {}


class AccessControl:
    """ASGI middleware: refuses, or passes on and adds :data:`HEADERS`.

    Parameters
    ----------
    app : ASGI application
    refuse : callable
        Gives the answer to a request that is refused.
    token : str or None
        What every request must bring; None asks for nothing.
    hosts : collection of str
        Names by which the server may be called, besides ``localhost`` and addresses in figures: a page elsewhere that
        points its own name at this server (DNS rebinding) is refused by that name.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        refuse: Callable[[Request, RefusalError], Response],
        token: str | None,
        hosts: Collection[str],
    ) -> None:
        self.app = app
        self.refuse = refuse
        self.hosts = frozenset(name.casefold().rstrip(".") for name in hosts) | {"localhost"}
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refusal = self._refusal(request)
        app = self.app if refusal is None else self.refuse(request, refusal)
        await app(scope, receive, _dressed(send))

    def _refusal(self, request: Request) -> RefusalError | None:
        if not self._is_ours(request.headers.getlist("host")):
            hint = "open it by the address that assay serve printed, or start it with --allow-host NAME"
            return RefusalError(421, "this server does not go by that name", hint, "HOST")
        if request.method not in METHODS:
            hint = "this page only reads: use GET"
            return RefusalError(405, "nothing can be changed here", hint, "METHOD", {"Allow": "GET, HEAD"})
        if self._token is not None and not self._brings_token(request):
            hint = "give the token as the password, as 'Authorization: Bearer TOKEN', or as the cookie assay_token"
            asked = {"WWW-Authenticate": 'Basic realm="assay", charset="UTF-8"'}
            return RefusalError(401, "this page asks for its token", hint, "TOKEN", asked)
        return None

    def _is_ours(self, given: list[str]) -> bool:
        if len(given) != 1:
            return False
        name = _host_name(given[0])
        return name in self.hosts or address(name) is not None

    def _brings_token(self, request: Request) -> bool:
        assert self._token is not None
        cookie = request.cookies.get(COOKIE, "").encode("latin-1", "replace")
        brought = [*_authorization(request.headers.get("authorization", "")), cookie]
        # Every one is compared, and in constant time, so that the time tells nothing.
        return any([hmac.compare_digest(self._token, token) for token in brought])  # noqa: C419 - no short cut


def address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a name is in figures; None for any other name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _host_name(value: str) -> str:
    """Return the name in a Host header without its port.

    >>> [_host_name(value) for value in ("Localhost:8000", "[::1]:8000", "10.0.0.7")]
    ['localhost', '::1', '10.0.0.7']
    """
    if value.startswith("["):
        return value[1:].partition("]")[0]
    name, _, port = value.partition(":")
    return "" if ":" in port else name.casefold().rstrip(".")


def _authorization(value: str) -> list[bytes]:
    scheme, _, given = value.partition(" ")
    if scheme.casefold() == "bearer":
        return [given.strip().encode("latin-1", "replace")]
    if scheme.casefold() == "basic":
        try:
            return [base64.b64decode(given, validate=True).partition(b":")[2]]
        except (binascii.Error, ValueError):
            return []
    return []


def _dressed(send: Send) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return dressed
