"""What a round of scans is, and its place in the lake's ``candidates`` table.

Every record is kept as the screener gave it, with the time, the request and the hash of the answer, so that any later
reader can tell what was known and what was made of it. A scan's first row, of rank 0, holds what is true of the whole;
a scan that found nobody has that row alone.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from assay.base import files
from assay.base.domain import UTC, rating_column
from assay.base.errors import IntegrityError
from assay.market.schema import CANDIDATES
from assay.runs.documents import Scalar
from assay.screening.columns import closed

if TYPE_CHECKING:
    from assay.lake.snapshot import Snapshot
    from assay.settings.model import Scanner

PROVIDER = "tradingview"
Row = tuple[str, dict[str, Scalar]]
"""A symbol, and its columns by the screener's names."""


@dataclass(frozen=True)
class Answer:
    """What the screener said to one scanner.

    Attributes
    ----------
    scanner : str
        Its name.
    question : str
        What decides which records came, see :func:`question`.
    request : str
        What was asked, as canonical JSON; the range is the first page's.
    response_sha256 : str
        Of the bytes of all pages, one after the other.
    total : int
        Records that the screener counted.
    rows : tuple of (symbol, fields)
        In the screener's order; every column under the screener's own name.
    """

    scanner: str
    question: str
    request: str
    response_sha256: str
    total: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Round:
    """All scanners asked at one moment.

    Attributes
    ----------
    as_of : datetime
        Close of the last daily bar that had closed.
    scanned_at : datetime
        When the first request was sent, in whole microseconds.
    answers : tuple of Answer
        One for each scanner, by name.
    """

    as_of: dt.datetime
    scanned_at: dt.datetime
    answers: tuple[Answer, ...]


def question(scanner: Scanner) -> str:
    """Return what decides which records the screener gives to a scanner, as canonical JSON.

    Floors, exclusions, the merging of quotes and the limit are not asked of the screener: they are applied to what it
    answers, so that both providers answer the same query, every drop is counted, and a recorded scan stays good when
    they change.
    """
    parts = {
        "exchange": scanner.universe.exchange,
        "quotes": list(scanner.universe.quotes),
        "rating": closed(rating_column(scanner.logic)),
        "direction": scanner.direction,
    }
    return files.canonical_json(parts).decode()


def symbols_of(found: Round) -> list[str]:
    """Symbols in any of the answers, sorted."""
    return sorted({symbol for answer in found.answers for symbol, _ in answer.rows})


def to_frame(found: Round) -> pl.DataFrame:
    """Return a round as rows of the lake's ``candidates`` table."""
    return pl.DataFrame(list(_table_rows(found)), schema=CANDIDATES, orient="row")


def _table_rows(found: Round) -> Iterator[tuple[Any, ...]]:
    for answer in found.answers:
        key = (answer.scanner, found.as_of, found.scanned_at, PROVIDER)
        about = {"question": answer.question, "total": answer.total}
        yield *key, 0, None, _json(about), answer.request, answer.response_sha256
        for rank, (symbol, fields) in enumerate(answer.rows, start=1):
            yield *key, rank, symbol, _json(fields), None, None


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def recorded(snapshot: Snapshot, as_of: dt.datetime, scanners: Mapping[str, Scanner]) -> Round | None:
    """Return the last recorded round of an instant that answers these scanners' questions, or None."""
    rows = snapshot.candidates(as_of)
    if rows is None:
        return None
    for (scanned_at,), part in sorted(rows.group_by("scanned_at"), key=lambda pair: pair[0], reverse=True):
        assert isinstance(scanned_at, dt.datetime)
        found = from_frame(part)
        asked = {answer.scanner: answer.question for answer in found.answers}
        if all(asked.get(name) == question(scanner) for name, scanner in scanners.items()):
            wanted = tuple(answer for answer in found.answers if answer.scanner in scanners)
            return Round(found.as_of, found.scanned_at, wanted)
    return None


def from_frame(rows: pl.DataFrame) -> Round:
    """Return the round that rows of one ``scanned_at`` hold.

    Raises
    ------
    IntegrityError
        If a row is not what a scan writes, or one is missing.
    """
    answers = [_answer(part.sort("rank")) for _, part in sorted(rows.group_by("scanner"), key=lambda pair: pair[0])]
    return Round(rows["as_of"][0].astimezone(UTC), rows["scanned_at"][0].astimezone(UTC), tuple(answers))


def _answer(rows: pl.DataFrame) -> Answer:
    first, *records = rows.iter_rows(named=True)
    try:
        about = json.loads(first["fields"])
        found = tuple((str(row["symbol"]), json.loads(row["fields"])) for row in records)
        whole = first["rank"] == 0 and about["total"] == len(found)
        question, total = str(about["question"]), int(about["total"])
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise IntegrityError(
            "a recorded scan is not whole",
            where=f"candidates: {first['scanner']} of {first['scanned_at']}",
            hint="restore the lake's folder from a copy",
        )
    return Answer(first["scanner"], question, first["request"], first["response_sha256"], total, found)
