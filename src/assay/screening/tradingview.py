"""TradingView's crypto screener: every declared scanner asked at the same moment, every answer checked.

The library ``tradingview-screener`` builds the queries; its own transport hands back parsed JSON and nothing else, so
that neither retries, nor content types, nor the hash of an answer could be had from it. They are sent by the client of
all live sources, and what goes wrong is judged by its table of troubles.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from assay.base import files
from assay.base.domain import UTC, Direction, format_instant, rating_column
from assay.base.errors import SourceError
from assay.runs.documents import Scalar
from assay.screening.recorded_scans import COLUMNS, TEXTS, Row, ScanBatch, ScanResponse, closed, question
from assay.settings.model import Scanner
from assay.settings.model import Screener as ScreenerSettings
from assay.sources.base import utc_now

if TYPE_CHECKING:
    from assay.sources.http import Http
    from assay.sources.troubles import Met

PATH = "/crypto/scan"
_MOST = 64 << 20
"""Bytes of one answer beyond which something else is being sent."""
OFFLINE = "check the network, or set scan.fallback=true to let our own ratings answer"
CHANGED = "the screener's columns have changed: install a newer version of Assay, or set scan.provider=ratings"
OURS = "or set scan.fallback=true to let our own ratings answer"
LATER = f"try again later, {OURS}"


class ScreenerFault(Exception):  # noqa: N818 - never leaves the screener: it becomes a SourceError there
    """One attempt's fault; ``passing`` if another attempt may do better, ``after`` seconds at the earliest."""

    def __init__(self, code: str, what: str, hint: str, *, passing: bool = False, after: float = 0.0) -> None:
        super().__init__(what)
        self.code, self.what, self.hint, self.passing, self.after = code, what, hint, passing, after


def last_close(now: dt.datetime) -> dt.datetime:
    """Return the close of the last daily bar that has closed.

    >>> last_close(dt.datetime(2024, 1, 2, 0, 5, tzinfo=UTC)).isoformat()
    '2024-01-02T00:00:00+00:00'
    """
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _inconsistent(what: str) -> ScreenerFault:
    """Return the fault of an answer whose parts do not fit; what changed meanwhile may fit the next time."""
    return ScreenerFault("SCREENER_INCONSISTENT", f"the answer contradicts itself: {what}", LATER, passing=True)


def _changed(what: str) -> ScreenerFault:
    """Return the fault of an answer of another form than the columns that were asked for have."""
    return ScreenerFault("SCREENER_COLUMNS", what, CHANGED)


_CODES = {
    "RATE_LIMITED": "SCREENER_LIMITED",
    "SERVER_ERROR": "SCREENER_FAILING",
    "MALFORMED": "SCREENER_CONTENT",
    **dict.fromkeys(("TIMEOUT", "CONNECTION", "DNS", "TLS", "ADDRESS"), "SCREENER_UNREACHABLE"),
}
"""What the troubles of a request are called here; any other one is a refusal."""


def _fault(met: Met) -> ScreenerFault:
    """Return what a trouble of the table is for a scan."""
    from assay.sources.troubles import PASSING

    code = _CODES.get(met.kind, "SCREENER_REFUSED")
    if code == "SCREENER_UNREACHABLE" and type(met.__cause__).__name__ in ("RemoteProtocolError", "ReadError"):
        code = "SCREENER_TRUNCATED"
    if met.status == 400 and code == "SCREENER_REFUSED":
        return _changed(f"the screener does not know what was asked: {met}")
    hint = OFFLINE if code == "SCREENER_UNREACHABLE" else LATER
    if code == "SCREENER_REFUSED":
        hint = "look at scan.screener.address, and whether this machine is let in"
    passing = met.kind in PASSING
    return ScreenerFault(
        code, f"{met.trouble.what.partition(';')[0]}: {met}", hint, passing=passing, after=met.after or 0.0
    )


def _check_clock(headers: Mapping[str, str], now: dt.datetime) -> None:
    """Refuse an answer of another day than ours: the closed bar would be another one."""
    try:
        theirs = parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
    except (ValueError, TypeError):
        return  # a server need not say what time it is
    if last_close(theirs) != last_close(now) and abs(theirs - now) > dt.timedelta(minutes=1):
        what = f"the clocks differ by a day's close: here {format_instant(now)}, there {format_instant(theirs)}"
        raise ScreenerFault("CLOCK_SKEW", what, "set this machine's clock")


def _check_content(headers: Mapping[str, str], data: bytes) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        what = f"the answer is {kind or 'of no stated type'}, not JSON: {_excerpt(data)}"
        raise ScreenerFault("SCREENER_CONTENT", what, LATER, passing=True)


def _excerpt(data: bytes) -> str:
    text = " ".join(data[:400].decode(errors="replace").split())
    return (text[:120] + "...") if len(text) > 120 else text or "empty"


def _read_page(body: bytes) -> tuple[int, list[Row]]:
    """Read one page: ``totalCount``, and every record with its columns by the screener's names."""
    document = _document(body)
    error, total, data = document.get("error"), document.get("totalCount"), document.get("data")
    if error:
        raise _changed(f"the screener does not know what was asked: {str(error)[:200]}")
    if isinstance(total, bool) or not isinstance(total, int) or total < 0 or not isinstance(data, list):
        raise _changed("the answer has no totalCount and data")
    return total, [_row(entry) for entry in data]


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        what = f"the answer is not JSON: {error}: {_excerpt(body)}"
        raise ScreenerFault("SCREENER_MALFORMED", what, LATER, passing=True) from error
    if not isinstance(document, dict):
        raise _changed("the answer is not an object")
    return document


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _row(entry: Any) -> Row:
    """Read one record: a symbol, and one value of the right type for each column."""
    symbol, values = (entry.get("s"), entry.get("d")) if isinstance(entry, dict) else (None, None)
    if not isinstance(symbol, str) or not isinstance(values, list):
        raise _changed(f"a record has no symbol and values: {str(entry)[:80]}")
    if len(values) != len(COLUMNS):
        raise _changed(f"{symbol!r} has {len(values)} columns, {len(COLUMNS)} were asked for")
    for column, value in zip(COLUMNS, values, strict=True):
        if value is not None and not _fits(column, value):
            raise _changed(f"column {column!r} of {symbol!r} holds {str(value)[:40]!r}, a {type(value).__name__}")
    return symbol, dict(zip(COLUMNS, values, strict=True))


def _fits(column: str, value: Any) -> bool:
    if column in TEXTS:
        return isinstance(value, str)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def request_body(scanner: Scanner, page: int, offset: int = 0) -> dict[str, Any]:
    """Return the query of a scanner: its universe and its condition on the closed bar's rating, sorted by it."""
    try:
        from tradingview_screener.column import Column as col  # noqa: N813 - the library's own short name for it
        from tradingview_screener.query import Query
    except ImportError as error:
        from assay.sources.http import extra

        raise extra(error) from None

    rating = closed(rating_column(scanner.logic))
    long = Direction[scanner.direction] is Direction.LONG
    query = Query().set_markets("crypto").select(*COLUMNS)
    query.query.pop("filter2", None)  # the library begins with a query for shares
    query.where(
        col("exchange") == scanner.universe.exchange,
        col("type") == "spot",
        col("currency").isin(scanner.universe.quotes),
        col(rating) > 0 if long else col(rating) < 0,
    )
    query.order_by(rating, ascending=not long).offset(offset).limit(offset + page)
    return dict(query.query)


class ScreenerClient:
    """Asks the screener.

    Parameters
    ----------
    settings : Screener
        Base address, timeouts, attempts and pace.
    clock, sleep : callable
        The edges of time; tests hand in their own.
    """

    def __init__(
        self,
        settings: ScreenerSettings,
        clock: Callable[[], dt.datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._nap = sleep
        self._next = 0.0

    def ask(self, scanners: Mapping[str, Scanner]) -> ScanBatch:
        """Ask for every scanner at the same time.

        Raises
        ------
        SourceError
            If one of them has no whole, sound answer; the code says what was wrong.
        UsageError
            If the packages for live data are not installed.
        """
        from assay.sources.http import Http, all_at_once  # with asyncio, which a run that asks nobody does not need

        began, client = self._clock(), Http(self.settings, max(len(scanners), 1))
        answers = all_at_once([self._answer(client, name, scanners[name]) for name in sorted(scanners)], client)
        if last_close(self._clock()) != last_close(began):
            raise SourceError(
                "a daily bar closed while the scanners were asked",
                where=self.settings.address,
                hint="scan again: the answers are of two different days",
                code="SCREENER_MIDNIGHT",
            )
        return ScanBatch(last_close(began), began.astimezone(UTC), tuple(answers))

    async def _answer(self, client: Http, name: str, scanner: Scanner) -> ScanResponse:
        """Page through one scanner's records; the whole is asked for again where it does not hold together."""
        for attempt in range(1, self.settings.attempts + 1):
            try:
                return await self._pages(client, name, scanner)
            except ScreenerFault as fault:
                await self._again(fault, attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _again(self, fault: ScreenerFault, attempt: int) -> None:
        """Wait before the next attempt, or say what was wrong with the last one."""
        from assay.sources.http import come_again

        wait = max(self.settings.backoff * 2.0 ** (attempt - 1), fault.after)
        if not fault.passing or attempt >= self.settings.attempts or fault.after > self.settings.patience:
            tries = f", {attempt} attempts" if attempt > 1 else ""
            where = f"{self.settings.address}{PATH}{tries}"
            hint = fault.hint if fault.after <= self.settings.patience else f"{come_again(fault.after)}; {OURS}"
            raise SourceError(fault.what, where=where, hint=hint, code=fault.code, retry_after=fault.after) from fault
        await self._sleep(wait)

    async def _pages(self, client: Http, name: str, scanner: Scanner) -> ScanResponse:
        page = self.settings.page
        parts: list[bytes] = []
        rows: dict[str, dict[str, Scalar]] = {}
        total: int | None = None
        while total is None or len(rows) < total:
            body = await self._post(client, request_body(scanner, page, len(rows)))
            counted, found = _read_page(body)
            if total is not None and counted != total:
                raise _inconsistent(f"totalCount was {total} on the first page and {counted} on another")
            total = counted
            due = min(page, total - len(rows))
            if len(found) != due:
                what = f"{len(found)} records came where {due} of {total} were due"
                raise ScreenerFault("SCREENER_TRUNCATED", what, LATER, passing=True)
            for symbol, fields in found:
                if symbol in rows:
                    raise _inconsistent(f"{symbol!r} comes twice")
                rows[symbol] = fields
            parts.append(body)
        request = files.canonical_json(request_body(scanner, page)).decode()
        return ScanResponse(name, question(scanner), request, files.sha256(b"".join(parts)), total, tuple(rows.items()))

    async def _post(self, client: Http, body: Mapping[str, Any]) -> bytes:
        from assay.sources.troubles import Met

        await self._turn()
        try:
            answer = await client.send("POST", self.settings.address + PATH, body=dict(body), most=_MOST)
        except Met as met:
            raise _fault(met) from met
        _check_clock(answer.headers, self._clock())
        _check_content(answer.headers, answer.data)
        return answer.data

    async def _turn(self) -> None:
        """Let requests begin at most so many times a second, whichever scanner they are of."""
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + 1.0 / self.settings.per_second
        if turn > now:
            await self._sleep(turn - now)

    async def _sleep(self, seconds: float) -> None:
        import asyncio

        await (self._nap or asyncio.sleep)(seconds)
