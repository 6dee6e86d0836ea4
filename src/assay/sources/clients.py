"""One exchange through ccxt: clock, pairs and bars, each answer checked, each request repeated with patience.

ccxt is asked through its asynchronous client (measured: 400 answers of 520 bars take 0.22 s of processor time, its
synchronous client in 16 threads 0.5 s). ``binance`` is asked by its raw endpoints, since ccxt's unified bars leave the
quote volume out; any other exchange by the unified methods, with ccxt's own rate limits.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeVar

from assay.base.domain import UTC, Instrument
from assay.base.errors import SourceError, UsageError
from assay.sources.http import Asker, Exhausted, Limiter, Malformed, Trouble, trouble
from assay.sources.rules import RuleBook, parse_exchange_info, rule_book
from assay.sources.settings import Access

T = TypeVar("T")
Row = list[Any]
"""``[open time in ms, open, high, low, close, volume, quote volume or None]``; numbers as the exchange writes them."""

PAGE = 1000
"""Bars that one answer is asked for at most."""
DAY_MS = 86_400_000
_WEIGHTS = {"time": 1, "info": 20, "klines": 2}
_COLUMNS = 12
_UNITS = {"S": 1.0, "M": 60.0, "H": 3600.0, "D": 86400.0}
_FIRST_LIMITS = {60.0: 1000}
"""Weight that may be sent until the exchange has told its limits."""

_MIRROR = "ASSAY_BINANCE_URL=https://data-api.binance.vision asks a mirror of the public data"


_PASSING = re.compile(r"try (it )?again|maintenance|temporar|too busy|overload|unavailable|later\\b", re.IGNORECASE)
"""What an answer says that will be another one soon, whatever its status and code."""


class Gone(Exception):  # noqa: N818 - never leaves this room: it becomes a finding
    """The exchange does not know the pair any more."""


class Changed(Exhausted):
    """The answer of a pair has another form: one odd row costs that pair, of all pairs it is the exchange's change."""


@dataclass
class _Reply:
    """Status and headers of the answer that this task got last."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers.items() if key.lower() == name), None)


_reply: ContextVar[_Reply] = ContextVar("reply")


def connect(exchange: str, access: Access) -> Exchange:
    """Return the client of an exchange by ccxt's name for it; nothing is asked yet.

    Raises
    ------
    UsageError
        If the extra ``live`` is not installed, or ccxt has no such exchange.
    """
    try:
        import ccxt.async_support as library
    except ImportError:
        raise UsageError(
            "live sources need ccxt", where=exchange, hint="install it with: pip install 'assay-portfolio[live]'"
        ) from None
    kind = getattr(library, exchange, None) if exchange in library.exchanges else None
    if kind is None:
        raise UsageError(f"ccxt knows no exchange {exchange!r}", where="source", hint="write ccxt:kraken, for example")
    return Binance(kind, access) if exchange == "binance" else Unified(kind, access)


class _Client:
    """ccxt's client with our patience around every request."""

    paced: ClassVar[bool]
    """ccxt holds requests back by itself."""
    oldest_first: ClassVar[bool]
    """Of a span that is longer than a page, the answer is its first bars."""
    page: int
    """Bars that one answer can hold, as far as is known."""

    def __init__(self, kind: Any, access: Access) -> None:
        class Client(kind):  # type: ignore[misc]  # ccxt ships no types
            """ccxt's client; its hook for answers notes status and headers for the task that asked."""

            def on_rest_response(self, code: Any, reason: Any, url: Any, method: Any, headers: Any, *rest: Any) -> Any:
                reply = _reply.get()
                reply.status, reply.headers = int(code), headers
                return super().on_rest_response(code, reason, url, method, headers, *rest)

        self.client = Client({"enableRateLimit": self.paced, "timeout": round(access.timeout * 1000)})
        self.client.options["maxRetriesOnFailure"] = 0
        if access.url is not None:
            self.client.urls["api"] = _moved(self.client.urls["api"], access.url)
        self.asker = Asker(str(self.client.id), access, Limiter({} if self.paced else _FIRST_LIMITS, access.share))

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()

    async def ask(self, what: str, weight: int, send: Callable[[], Awaitable[Any]], read: Callable[[Any], T]) -> T:
        """Send a request until its answer can be read, at most :attr:`Access.attempts` times.

        Raises
        ------
        Exhausted
            If no attempt succeeded.
        Gone
            If the exchange does not know the pair.
        SourceError
            If the exchange refuses, bans for longer than :attr:`Access.patience`, or speaks another language.
        """
        from ccxt.base.errors import BaseError

        async def once() -> T:
            reply = _Reply()
            _reply.set(reply)
            try:
                answer = await send()
                self._learn(reply)
                _check_type(reply)
                return read(answer)
            except BaseError as error:
                self._learn(reply)
                raise self._judge(error, reply, what) from error
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # ccxt and we read what an exchange may send at any time, such as a notice that it is being mended.
                raise Malformed(f"{what} cannot be read: {type(error).__name__}: {_short(error)}") from error

        return await self.asker.ask(once, weight)

    def _learn(self, reply: _Reply) -> None:
        """Tell the limiter what the exchange has counted."""

    def _judge(self, error: Exception, reply: _Reply, what: str) -> Exception:
        """Return what an error of ccxt means for the request."""
        from ccxt.base.errors import BadSymbol, ExchangeError, OperationFailed, RateLimitExceeded, RequestTimeout

        if isinstance(error, BadSymbol):
            return Gone(str(error))
        limited = isinstance(error, RateLimitExceeded) and reply.status != 418
        met = trouble(429 if limited else reply.status, reply.headers, str(error))
        if met is not None:
            return met
        passing = isinstance(error, OperationFailed) or _PASSING.search(str(error)) is not None
        if reply.status in (200, 400, 404) and passing:
            return Trouble("SERVER_ERROR", str(error))
        if reply.status in (400, 404) or (reply.status == 200 and isinstance(error, ExchangeError)):
            return Exhausted(f"the exchange refuses {what}: {_short(error)}")
        if reply.status >= 400:
            return SourceError(
                f"the exchange refuses {what}: {_short(error)}",
                where=str(self.client.id),
                hint=f"check the address and whether it serves your country; {_MIRROR}",
                code="SOURCE_REFUSED",
            )
        return Trouble("TIMEOUT" if isinstance(error, RequestTimeout) else "CONNECTION", str(error))


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _moved(urls: Any, base: str) -> Any:
    """Put another base address before the paths of ccxt's addresses."""
    if isinstance(urls, Mapping):
        return {key: _moved(value, base) for key, value in urls.items()}
    return base + re.sub(r"^https?://[^/]*", "", urls) if isinstance(urls, str) else urls


def _check_type(reply: _Reply) -> None:
    kind = reply.header("content-type") or ""
    if reply.status and "json" not in kind.lower():
        raise Malformed(f"the answer is declared as {kind or 'nothing'}")


# --- Binance ----------------------------------------------------------------------------------------------------------


class Binance(_Client):
    """Binance's public endpoints: raw klines with quote volume, exchangeInfo, and limits by request weight."""

    paced = False
    oldest_first = True
    page = PAGE

    async def time(self) -> dt.datetime:
        """Return the server's clock."""
        return await self.ask("the time", _WEIGHTS["time"], self.client.publicGetTime, _server_time)

    async def pairs(self) -> RuleBook:
        """Return the rules of all pairs; the limits that come with them are obeyed from now on."""

        def read(answer: Any) -> RuleBook:
            if not isinstance(answer, dict) or not answer.get("symbols"):
                raise Malformed(f"exchangeInfo has no symbols: {str(answer)[:150]}")
            book = parse_exchange_info(answer, "exchangeInfo")
            self._obey(answer.get("rateLimits", []))
            return book

        return await self.ask("exchangeInfo", _WEIGHTS["info"], self.client.publicGetExchangeInfo, read)

    async def bars(self, pair: Instrument, since: int, until: int) -> list[Row]:
        """Return bars in the exchange's order, whatever it is."""
        name = pair.exchange_symbol
        asked = {"symbol": name, "interval": "1d", "startTime": since, "endTime": until, "limit": PAGE}

        def send() -> Awaitable[Any]:
            return self.client.publicGetKlines(asked)  # type: ignore[no-any-return]  # ccxt ships no types

        return await self.ask(f"klines of {name}", _WEIGHTS["klines"], send, lambda answer: _klines(answer, name))

    def _obey(self, limits: Any) -> None:
        weights = [limit for limit in limits if limit.get("rateLimitType") == "REQUEST_WEIGHT"]
        if weights:
            self.asker.limiter.allow(
                {_seconds(one["intervalNum"], one["interval"]): int(one["limit"]) for one in weights}
            )

    def _learn(self, reply: _Reply) -> None:
        """Take what was used from headers, whose names end with the window's length."""
        for name, value in reply.headers.items():
            found = re.fullmatch(r"x-mbx-used-weight-(\d+)([smhd])", name.lower())
            if found and value.isdigit():
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
        raise Malformed(f"serverTime is {stamp!r}") from None


def _klines(answer: Any, name: str) -> list[Row]:
    """Check the form of an answer and keep the columns that bars have."""
    if not isinstance(answer, list):
        raise Malformed(f"klines are {type(answer).__name__}, not an array")
    for row in answer:
        if not _is_kline(row):
            raise Changed(f"the columns of klines of {name} have changed: {str(row)[:150]}")
    return [[*row[:6], row[7]] for row in answer]


def _is_kline(row: Any) -> bool:
    """Tell whether a row has twelve columns, of which the first and the seventh are the bar's begin and end."""
    return (
        isinstance(row, list)
        and len(row) == _COLUMNS
        and isinstance(row[0], int)
        and isinstance(row[6], int)
        and row[0] <= row[6] < row[0] + DAY_MS
        and all(isinstance(value, str) for value in (*row[1:6], row[7]))
    )


# --- any other exchange -----------------------------------------------------------------------------------------------


class Unified(_Client):
    """Any exchange that ccxt can ask for daily bars; its own pace, no quote volume."""

    paced = True
    oldest_first = False
    page = 100
    """The least that any exchange gives; longer ones are seen as they come."""

    async def time(self) -> dt.datetime | None:
        """Return the exchange's clock, None where ccxt cannot ask for it."""
        if not self.client.has.get("fetchTime"):
            return None
        return await self.ask("the time", 1, self.client.fetch_time, lambda stamp: _server_time({"serverTime": stamp}))

    async def pairs(self) -> RuleBook:
        """Return what ccxt says of all spot pairs."""
        return await self.ask(
            "its pairs", 1, lambda: self.client.load_markets(True), lambda found: rule_book(self.client.id, found)
        )

    async def bars(self, pair: Instrument, since: int, until: int) -> list[Row]:
        """Return bars without quote volume."""
        told = ((self.client.features or {}).get("spot") or {}).get("fetchOHLCV") or {}
        limit = min(PAGE, told.get("limit") or PAGE, (until - since) // DAY_MS + 1)
        found = await self.ask(
            f"bars of {pair.ccxt}", 1, lambda: self.client.fetch_ohlcv(pair.ccxt, "1d", since, limit), _ohlcv
        )
        return [row for row in found if row[0] <= until]


def _ohlcv(answer: Any) -> list[Row]:
    if not isinstance(answer, list):
        raise Malformed("bars are no array")
    if any(not isinstance(row, list) or len(row) < 6 or not isinstance(row[0], int) for row in answer):
        raise Changed("a bar has less than six columns, or no time stamp")
    return [[*row[:6], None] for row in answer]


Exchange: TypeAlias = Binance | Unified
