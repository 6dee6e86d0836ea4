"""What can go wrong with a request, and what is done about it: one table for every transport.

A trouble is known by the status of an answer, by the exchange's own code in it, by its words, or by the class of the
exception that a client library raised. Rows are tried from the top; the first that fits counts, so that a 418 is a ban
whatever else is said with it. Libraries are known by the names of their exceptions: none is imported here.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

from assay.base.domain import UTC
from assay.sources.base import utc_now


class Act(StrEnum):
    """What is done about a trouble."""

    REPEAT = "send it again, later and later"
    WAIT = "send nothing until the time that the answer names"
    PAIR = "give up this pair, file or scan"
    ALL = "give up all"


@dataclass(frozen=True)
class Trouble:
    """One row: what it is, what is done, and what it is known by."""

    kind: str
    act: Act
    what: str
    """In words; of what is repeated it is the text of the finding ``RETRY_<kind>``."""
    ends: str = "SOURCE_UNREACHABLE"
    """Code of the error where it ends all: at once, or as the last of several in a row."""
    statuses: frozenset[int] = frozenset()
    codes: frozenset[int] = frozenset()
    """Of the exchange, in a body such as ``{"code": -1121, "msg": "Invalid symbol."}``."""
    errors: frozenset[str] = frozenset()
    """Exceptions, ``<first part of the module>.<class>``, of the raised one, its bases and its causes."""
    words: str = ""
    """Pattern that the text is searched for."""


def _row(kind: str, act: Act, what: str, by: Iterable[int | str | range] = (), **more: str) -> Trouble:
    """Return a row; ``by`` holds statuses, negative codes of the exchange, and names of exceptions."""
    flat = [item for part in by for item in (part if isinstance(part, range) else [part])]
    numbers = [item for item in flat if isinstance(item, int)]
    return Trouble(
        kind,
        act,
        what,
        statuses=frozenset(number for number in numbers if number > 0),
        codes=frozenset(number for number in numbers if number < 0),
        errors=frozenset(item for item in flat if isinstance(item, str)),
        **more,
    )


_COUNTRY = r"restricted location|b\. Eligibility|block access from your country|not available in your (country|region)"
_CERTIFICATE = r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|HANDSHAKE_FAILURE|UNSUPPORTED_PROTOCOL"
_PASSING = r"try (it )?again|maintenance|temporar|too busy|overload|unavailable|later\b"

_LONGEST = 999_999_999.0
"""Seconds, some thirty years: who names a later time is not asked again before it, and it is still a date."""

_SENT_AGAIN = "; requests were sent again"
TROUBLES = (
    _row("GONE", Act.PAIR, "the exchange does not know the pair", [-1121, "ccxt.BadSymbol"]),
    _row(
        "BANNED",
        Act.WAIT,
        "the address was banned for a while (418); requests were sent again after it",
        [418],
        ends="SOURCE_BANNED",
    ),
    _row(
        "RATE_LIMITED",
        Act.WAIT,
        "answers said that requests came too fast (429); they were sent again when the exchange allowed it",
        [429, -1003, -1015, -1034, "ccxt.RateLimitExceeded"],
        ends="SOURCE_LIMITED",
    ),
    _row(
        "COUNTRY",
        Act.ALL,
        "the host refuses this country",
        [451, "ccxt.RestrictedLocation"],
        words=_COUNTRY,
        ends="SOURCE_REFUSED",
    ),
    _row(
        "REFUSED",
        Act.ALL,
        "the host refuses",
        [status for status in range(401, 500) if status not in (404, 408, 418, 425, 429, 451)],
        ends="SOURCE_REFUSED",
    ),
    _row("ADDRESS", Act.ALL, "the address cannot be used", ["httpx.InvalidURL", "httpx.UnsupportedProtocol"]),
    _row("DNS", Act.ALL, "the name of the host is unknown (DNS)", ["socket.gaierror"]),
    _row("TLS", Act.ALL, "the host cannot be trusted (TLS)", ["ssl.SSLCertVerificationError"], words=_CERTIFICATE),
    _row(
        "TIMEOUT",
        Act.REPEAT,
        f"answers took too long{_SENT_AGAIN}",
        [408, "httpx.TimeoutException", "builtins.TimeoutError", "ccxt.RequestTimeout"],
    ),
    _row(
        "CONNECTION",
        Act.REPEAT,
        f"connections failed or broke in the middle of an answer{_SENT_AGAIN}",
        ["httpx.RequestError", "aiohttp.ClientError", "builtins.OSError"],
    ),
    _row(
        "MALFORMED",
        Act.REPEAT,
        f"answers were cut off, were not JSON or not declared so{_SENT_AGAIN}",
        [range(300, 400)],
    ),
    _row(
        "SERVER_ERROR",
        Act.REPEAT,
        f"the exchange failed (5xx){_SENT_AGAIN}",
        [425, range(500, 600), -1000, -1001, -1006, -1007, -1008, -1016, "ccxt.OperationFailed"],
        words=_PASSING,
    ),
    _row("ODD", Act.PAIR, "the answer has another form", ends="SOURCE_SCHEMA"),
    _row("DECLINED", Act.PAIR, "the request is declined", [200, 400, 404, "ccxt.BaseError"]),
)
KINDS: Mapping[str, Trouble] = {row.kind: row for row in TROUBLES}
PASSING: Mapping[str, Trouble] = {kind: row for kind, row in KINDS.items() if row.act in (Act.REPEAT, Act.WAIT)}
"""What a request is repeated for; findings carry these codes with ``RETRY_`` before them."""


class Met(Exception):  # noqa: N818 - never leaves the room: it becomes a finding or an error there
    """One attempt met a trouble.

    Parameters
    ----------
    kind : str
        A key of :data:`KINDS`.
    said : str
        What the answer or the library said.
    after : float, optional
        Seconds for which nothing may be sent.
    status : int
        Of the answer; 0 without one.
    headers : mapping
        Of the answer.
    """

    def __init__(
        self,
        kind: str,
        said: str,
        after: float | None = None,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(said)
        self.trouble, self.after, self.status, self.headers = KINDS[kind], after, status, headers or {}

    @property
    def kind(self) -> str:
        """Which row of the table."""
        return self.trouble.kind


def judge(status: int = 0, text: str = "", error: BaseException | None = None) -> Trouble | None:
    """Return the row that an answer or an exception fits, None where none does.

    Examples
    --------
    >>> judge(429).kind, judge(403).kind, judge(451).act is Act.ALL
    ('RATE_LIMITED', 'REFUSED', True)
    >>> judge(400, '{"code": -1121, "msg": "Invalid symbol."}').kind
    'GONE'
    >>> judge(error=TimeoutError()).kind
    'TIMEOUT'
    """
    raised = list(_causes(error))
    code, names = _code(text), frozenset(name for one in raised for name in _names(one))
    text = "\n".join([text, *map(str, raised)])
    for row in TROUBLES:
        known = status in row.statuses or code in row.codes or not names.isdisjoint(row.errors)
        if known or (row.words and re.search(row.words, text, re.IGNORECASE)):
            return row
    return None


def met_by_answer(status: int, headers: Mapping[str, str], text: str, error: BaseException | None = None) -> Met:
    """Return what an answer means for its request; ``error`` is what a library made of it."""
    row = judge(status, text, error) or KINDS["DECLINED"]
    said = f"HTTP {status}: {_short(text)}" if status else _short(text)
    after = retry_after(headers, utc_now())
    return Met(row.kind, said, _banned_for(headers, text) if after is None else after, status, headers)


def _banned_for(headers: Mapping[str, str], text: str) -> float | None:
    """Return the seconds of a ban that only the words name, ``IP banned until 1701914400000``, None without one."""
    found = re.search(r"banned until (\d{13})\b", text)
    if found is None:
        return None
    sent = _http_date({name.lower(): value for name, value in headers.items()}.get("date", "")) or utc_now()
    return min(max(0.0, int(found[1]) / 1000 - sent.timestamp()), _LONGEST)


def _code(text: str) -> int:
    """Return the exchange's code in a text that is, or ends with, a JSON object; 0 without one."""
    found = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        code = json.loads(found[0]).get("code", 0) if found else 0
        return int(code)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return 0


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _names(error: BaseException) -> list[str]:
    return [f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__]


def _short(text: str) -> str:
    line = " ".join(text[:400].split())
    return (line[:200] + "...") if len(line) > 200 else line or "no text"


def retry_after(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """Return the seconds for which an answer asks to be left alone, None where it does not say so readably.

    Parameters
    ----------
    headers : mapping
        Of the answer. ``Retry-After`` is a number of seconds, or an HTTP date, which is compared with the ``Date`` of
        the answer: the two are by one clock.
    now : datetime
        This machine's clock, for an answer without a date.

    Examples
    --------
    >>> noon = dt.datetime(2024, 1, 1, 12, tzinfo=UTC)
    >>> retry_after({"Retry-After": "7"}, noon)
    7.0
    >>> retry_after({"retry-after": "Mon, 01 Jan 2024 12:01:00 GMT"}, noon)
    60.0
    >>> retry_after({"retry-after": "soon"}, noon) is None
    True
    """
    said = {name.lower(): value for name, value in headers.items()}
    text = said.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    until = _http_date(text)
    if until is None:
        return None
    return min(max(0.0, (until - (_http_date(said.get("date", "")) or now)).total_seconds()), _LONGEST)


def _http_date(text: str) -> dt.datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
