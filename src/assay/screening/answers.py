"""What an answer of the screener must be: status, clock, content type, form, and the right columns and lengths."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from assay.base.domain import UTC, format_instant
from assay.screening.columns import COLUMNS, TEXTS
from assay.screening.recorded_scans import Row

OFFLINE = "check the network, or set scan.fallback=true to let our own ratings answer"
CHANGED = "the screener's columns have changed: install a newer version of Assay, or set scan.provider=ratings"
LATER = "try again later, or set scan.fallback=true to let our own ratings answer"


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


def inconsistent(what: str) -> ScreenerFault:
    """Return the fault of an answer whose parts do not fit; what changed meanwhile may fit the next time."""
    return ScreenerFault("SCREENER_INCONSISTENT", f"the answer contradicts itself: {what}", LATER, passing=True)


def check_answer(status: int, headers: Mapping[str, str], data: bytes, now: dt.datetime) -> None:
    """Check status, clock and content type; raise :class:`ScreenerFault`."""
    _check_status(status, headers, data, now)
    _check_clock(headers, now)
    _check_content(headers, data)


def _check_status(status: int, headers: Mapping[str, str], data: bytes, now: dt.datetime) -> None:
    if status == 200:
        return
    said = f"HTTP {status}: {_excerpt(data)}"
    after = _retry_after(headers.get("retry-after"), now)
    if status == 429:
        raise ScreenerFault("SCREENER_LIMITED", f"too many requests: {said}", LATER, passing=True, after=after)
    if status >= 500:
        raise ScreenerFault("SCREENER_FAILING", f"the screener fails: {said}", LATER, passing=True, after=after)
    if status == 400:
        raise ScreenerFault("SCREENER_COLUMNS", f"the screener does not know what was asked: {said}", CHANGED)
    hint = "look at scan.screener.address, and whether this machine is let in"
    raise ScreenerFault("SCREENER_REFUSED", f"the screener refuses: {said}", hint)


def _retry_after(text: str | None, now: dt.datetime) -> float:
    """Seconds that a Retry-After asks for, which may be a number or a date."""
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - now).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


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


def read_page(body: bytes) -> tuple[int, list[Row]]:
    """Read one page of an answer and check its form.

    Returns
    -------
    tuple of int and list of (symbol, fields)
        ``totalCount``, and every record with its columns by the screener's names.
    """
    document = _document(body)
    error, total, data = document.get("error"), document.get("totalCount"), document.get("data")
    if error:
        raise ScreenerFault(
            "SCREENER_COLUMNS", f"the screener does not know what was asked: {str(error)[:200]}", CHANGED
        )
    if isinstance(total, bool) or not isinstance(total, int) or total < 0 or not isinstance(data, list):
        raise ScreenerFault("SCREENER_COLUMNS", "the answer has no totalCount and data", CHANGED)
    return total, [_row(entry) for entry in data]


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        what = f"the answer is not JSON: {error}: {_excerpt(body)}"
        raise ScreenerFault("SCREENER_MALFORMED", what, LATER, passing=True) from error
    if not isinstance(document, dict):
        raise ScreenerFault("SCREENER_COLUMNS", "the answer is not an object", CHANGED)
    return document


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _row(entry: Any) -> Row:
    """Read one record: a symbol, and one value of the right type for each column."""
    symbol = entry.get("s") if isinstance(entry, dict) else None
    values = entry.get("d") if isinstance(entry, dict) else None
    if not isinstance(symbol, str) or not isinstance(values, list):
        raise ScreenerFault("SCREENER_COLUMNS", f"a record has no symbol and values: {str(entry)[:80]}", CHANGED)
    if len(values) != len(COLUMNS):
        what = f"{symbol!r} has {len(values)} columns, {len(COLUMNS)} were asked for"
        raise ScreenerFault("SCREENER_COLUMNS", what, CHANGED)
    for column, value in zip(COLUMNS, values, strict=True):
        if value is not None and not _fits(column, value):
            what = f"column {column!r} of {symbol!r} holds {str(value)[:40]!r}, a {type(value).__name__}"
            raise ScreenerFault("SCREENER_COLUMNS", what, CHANGED)
    return symbol, dict(zip(COLUMNS, values, strict=True))


def _fits(column: str, value: Any) -> bool:
    if column in TEXTS:
        return isinstance(value, str)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_length(found: int, page: int, total: int, before: int) -> None:
    """Check that a page holds as many records as are due."""
    due = min(page, total - before)
    if found != due:
        what = f"{found} records came where {due} of {total} were due"
        raise ScreenerFault("SCREENER_TRUNCATED", what, LATER, passing=True)
