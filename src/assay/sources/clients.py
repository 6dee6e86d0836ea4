"""One exchange: clock, pairs and bars, each answer checked, each request repeated with patience.

``binance`` is asked by its public endpoints, since ccxt's unified bars leave the quote volume out; any other exchange
through ccxt's unified methods and its asynchronous transport, with ccxt's own rate limits.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from assay.base.domain import LATEST, UTC, Instrument
from assay.base.errors import UsageError
from assay.sources.http import Asker, Http, Limiter, extra
from assay.sources.rules import RuleBook, parse_exchange_info, rule_book
from assay.sources.settings import HOME, Access
from assay.sources.troubles import Met, judge, met_by_answer

T = TypeVar("T")
Row = list[Any]
"""``[open time in ms, open, high, low, close, volume, quote volume or None]``; numbers as the exchange writes them."""

PAGE = 1000
"""Bars that one answer is asked for at most."""
DAY_MS = 86_400_000
_WEIGHTS = {"time": 1, "info": 20, "klines": 2}
_COLUMNS = 12
_LATEST_MS = round(LATEST.timestamp() * 1000)
_UNITS = {"S": 1.0, "M": 60.0, "H": 3600.0, "D": 86400.0}
_FIRST_LIMITS = {60.0: 1000}
"""Weight that may be sent until the exchange has told its limits."""
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading raises of an answer that is another one than it should be: an exchange may send anything at any time."""


def connect(exchange: str, access: Access) -> Exchange:
    """Return the client of an exchange by ccxt's name for it; nothing is asked yet.

    Raises
    ------
    UsageError
        If the extra ``live`` is not installed, or ccxt has no such exchange.
    """
    if exchange == "binance":
        return Binance(access)
    try:
        import ccxt.async_support as library
    except ImportError as error:
        raise extra(error) from None
    if exchange not in library.exchanges:
        raise UsageError(f"ccxt knows no exchange {exchange!r}", where="source", hint="write ccxt:kraken, for example")
    return Unified(getattr(library, exchange), access)


def _unreadable(what: str, error: Exception) -> Met:
    return Met("MALFORMED", f"{what} cannot be read: {type(error).__name__}: {str(error)[:200]}")


# --- Binance ----------------------------------------------------------------------------------------------------------


class Binance:
    """Binance's public endpoints: raw klines with quote volume, exchangeInfo, and limits by request weight.

    Where the host refuses this country and :attr:`Access.mirror` says so, the public mirror is asked from then on.
    """

    oldest_first = True
    """Of a span that is longer than a page, the answer is its first bars."""
    page = PAGE
    """Bars that one answer can hold, as far as is known."""

    def __init__(self, access: Access) -> None:
        self.access, self.host = access, access.url or HOME
        self.http = Http(access, access.concurrency)
        mirror = "the mirror refuses too" if access.mirror else "set source.mirror=true to ask Binance's public mirror"
        hint = f"this country or address is not served: {mirror} ({access.mirror_url})"
        self.asker = Asker("binance", access, Limiter(_FIRST_LIMITS, access.share), hint)
        self.mirrored = 0
        """Answers that came from the mirror, since the host refuses this country."""

    async def close(self) -> None:
        """Close connections."""
        await self.http.close()

    async def time(self) -> dt.datetime:
        """Return the server's clock."""
        return await self._ask("the time", "time", {}, _server_time)

    async def pairs(self) -> RuleBook:
        """Return the rules of all pairs; the limits that come with them are obeyed from now on."""

        def read(answer: Any) -> RuleBook:
            if not isinstance(answer, dict) or not answer.get("symbols"):
                raise Met("MALFORMED", f"exchangeInfo has no symbols: {str(answer)[:150]}")
            book = parse_exchange_info(answer, "exchangeInfo")
            self._obey(answer.get("rateLimits", []))
            return book

        return await self._ask("exchangeInfo", "info", {}, read)

    async def bars(self, pair: Instrument, since: int, until: int) -> list[Row]:
        """Return bars in the exchange's order, whatever it is."""
        name = pair.exchange_symbol
        asked: dict[str, str | int] = {
            "symbol": name,
            "interval": "1d",
            "startTime": since,
            "endTime": until,
            "limit": PAGE,
        }
        return await self._ask(f"klines of {name}", "klines", asked, lambda answer: _klines(answer, name))

    async def _ask(self, what: str, kind: str, query: Mapping[str, str | int], read: Callable[[Any], T]) -> T:
        path = "/api/v3/" + {"info": "exchangeInfo"}.get(kind, kind)

        async def once() -> T:
            host = self.host
            try:
                answer = await self.http.send("GET", host + path, query)
                self._learn(answer.headers)
                said = answer.json()
                if isinstance(said, dict) and "msg" in said:
                    raise met_by_answer(200, answer.headers, answer.text())
                found = read(said)
            except Met as met:
                self._learn(met.headers)
                if met.kind == "COUNTRY" and self._turn(host):
                    return await once()
                raise Met(met.kind, f"{what}: {met}", met.after, met.status) from met
            except _UNREADABLE as error:
                raise _unreadable(what, error) from error
            self.mirrored += self.host == self.access.mirror_url
            return found

        return await self.asker.ask(once, _WEIGHTS[kind])

    def _turn(self, refused: str) -> bool:
        """Turn from a host that refuses this country to the mirror; tell whether there is another one to ask."""
        if not self.access.mirror or refused == self.access.mirror_url:
            return False
        self.host = self.access.mirror_url
        self.asker.requests += 1
        return True

    def _obey(self, limits: Any) -> None:
        """Keep within every window that the exchange announces, of weight and of requests."""
        found: dict[str, dict[float, int]] = {"REQUEST_WEIGHT": {}, "RAW_REQUESTS": {}}
        for one in limits:
            if one.get("rateLimitType") in found:
                found[one["rateLimitType"]][_seconds(one["intervalNum"], one["interval"])] = int(one["limit"])
        if found["REQUEST_WEIGHT"]:
            self.asker.limiter.allow(found["REQUEST_WEIGHT"], found["RAW_REQUESTS"])

    def _learn(self, headers: Mapping[str, str]) -> None:
        """Take what was used from headers, whose names end with the window's length."""
        for name, value in headers.items():
            found = re.fullmatch(r"x-mbx-used-weight-(\d+)([smhd])", name.lower())
            if found and value.isdecimal():
                self.asker.limiter.told(int(value), _seconds(*found.groups()))


def _seconds(count: int | str, unit: str) -> float:
    """Return the length of a window.

    >>> _seconds(1, "MINUTE"), _seconds("5", "s")
    (60.0, 5.0)
    """
    return int(count) * _UNITS[unit[0].upper()]


def _server_time(answer: Any) -> dt.datetime:
    stamp = answer.get("serverTime") if isinstance(answer, dict) else None
    try:
        return dt.datetime.fromtimestamp(int(stamp) / 1000, UTC)  # type: ignore[arg-type]  # a fault is caught
    except (TypeError, ValueError, OverflowError):
        raise Met("MALFORMED", f"serverTime is {stamp!r}") from None


def _klines(answer: Any, name: str) -> list[Row]:
    """Check the form of an answer and keep the columns that bars have."""
    if not isinstance(answer, list):
        raise Met("MALFORMED", f"klines are {type(answer).__name__}, not an array")
    for row in answer:
        if not _is_kline(row):
            raise Met("ODD", f"the columns of klines of {name} have changed: {str(row)[:150]}")
    return [[*row[:6], row[7]] for row in answer]


def _is_kline(row: Any) -> bool:
    """Tell whether a row has twelve columns, of which the first and the seventh are the bar's begin and end, in ms."""
    return (
        isinstance(row, list)
        and len(row) == _COLUMNS
        and isinstance(row[0], int)
        and isinstance(row[6], int)
        and row[0] <= row[6] < row[0] + DAY_MS
        and row[0] < _LATEST_MS
        and all(isinstance(value, str) for value in (*row[1:6], row[7]))
    )


# --- any other exchange -----------------------------------------------------------------------------------------------


@dataclass
class _Reply:
    """Status and headers of the answer that this task got last."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


_reply: ContextVar[_Reply] = ContextVar("reply")


class Unified:
    """Any exchange that ccxt can ask for daily bars; its own pace, no quote volume."""

    oldest_first = False
    """Of a span that is longer than a page, the answer may be its last bars."""
    page = 100
    """The least that any exchange gives; longer ones are seen as they come."""
    mirrored = 0
    """Answers that came from a mirror: ccxt's exchanges have none."""

    def __init__(self, kind: Any, access: Access) -> None:
        class Client(kind):  # type: ignore[misc]  # ccxt ships no types
            """ccxt's client; its hook for answers notes status and headers for the task that asked."""

            def on_rest_response(self, code: Any, reason: Any, url: Any, method: Any, headers: Any, *rest: Any) -> Any:
                reply = _reply.get()
                reply.status, reply.headers = int(code), headers
                return super().on_rest_response(code, reason, url, method, headers, *rest)

        self.client = Client({"enableRateLimit": True, "timeout": round(access.timeout * 1000)})
        self.client.options["maxRetriesOnFailure"] = 0
        if access.url is not None:
            self.client.urls["api"] = _moved(self.client.urls["api"], access.url)
        name = str(self.client.id)
        hint = f"check the address (ASSAY_{name.upper()}_URL) and whether the exchange serves your country"
        self.asker = Asker(name, access, Limiter({}), hint)

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()

    async def time(self) -> dt.datetime | None:
        """Return the exchange's clock, None where ccxt cannot ask for it."""
        if not self.client.has.get("fetchTime"):
            return None
        return await self._ask("the time", self.client.fetch_time, lambda stamp: _server_time({"serverTime": stamp}))

    async def pairs(self) -> RuleBook:
        """Return what ccxt says of all spot pairs."""
        return await self._ask(
            "its pairs", lambda: self.client.load_markets(True), lambda found: rule_book(self.client.id, found)
        )

    async def bars(self, pair: Instrument, since: int, until: int) -> list[Row]:
        """Return bars without quote volume."""
        told = ((self.client.features or {}).get("spot") or {}).get("fetchOHLCV") or {}
        limit = min(PAGE, told.get("limit") or PAGE, (until - since) // DAY_MS + 1)
        found = await self._ask(
            f"bars of {pair.ccxt}", lambda: self.client.fetch_ohlcv(pair.ccxt, "1d", since, limit), _ohlcv
        )
        return [row for row in found if row[0] <= until]

    async def _ask(self, what: str, send: Callable[[], Awaitable[Any]], read: Callable[[Any], T]) -> T:
        """Send a request through ccxt, whose exceptions are judged by the same table as any answer."""
        from ccxt.base.errors import BaseError

        async def once() -> T:
            reply = _Reply()
            _reply.set(reply)
            try:
                answer = await send()
                kind = next((value for name, value in reply.headers.items() if name.lower() == "content-type"), "")
                if reply.status and "json" not in kind.lower():
                    raise Met("MALFORMED", f"the answer is declared as {kind or 'nothing'}")
                return read(answer)
            except BaseError as error:
                met = met_by_answer(reply.status, reply.headers, str(error), error)
                raise Met(met.kind, f"{what}: {str(error)[:200]}", met.after, met.status) from error
            except _UNREADABLE as error:
                raise _unreadable(what, error) from error
            except OSError as error:
                row = judge(text=str(error), error=error)
                raise Met("CONNECTION" if row is None else row.kind, f"{what}: {error}") from error

        return await self.asker.ask(once, 1)


def _moved(urls: Any, base: str) -> Any:
    """Put another base address before the paths of ccxt's addresses."""
    if isinstance(urls, Mapping):
        return {key: _moved(value, base) for key, value in urls.items()}
    return base + re.sub(r"^https?://[^/]*", "", urls) if isinstance(urls, str) else urls


def _ohlcv(answer: Any) -> list[Row]:
    if not isinstance(answer, list):
        raise Met("MALFORMED", "bars are no array")
    if any(not isinstance(row, list) or len(row) < 6 or not isinstance(row[0], int) for row in answer):
        raise Met("ODD", "a bar has less than six columns, or no time stamp")
    return [[*row[:6], None] for row in answer]


Exchange: TypeAlias = Binance | Unified
