"""A state of a lake: one line of ``heads.jsonl``, or one object of a bucket."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from assay.base.domain import MIXED_EDITION, UTC
from assay.base.errors import IntegrityError
from assay.lake.storage import HEADS, RESTORE, Storage, storage_of
from assay.market.schema import ratings_table
from assay.runs.documents import Document, Finding

Instant = Annotated[dt.datetime, AfterValidator(lambda instant: instant.astimezone(UTC))]


FORMAT = 2
"""Of the lines that are written. Lines of format 1 do not tell it, and have the other fields."""


class _AnyLine(BaseModel):
    """What every line has, whatever its format."""

    format: int = 1


def _edition(value: object) -> object:
    """Read the number that former versions wrote: their rules were a mixture of two editions."""
    return MIXED_EDITION if isinstance(value, int) else value


class Head(Document):
    """One line of ``heads.jsonl``: a state of the lake that readers may pin."""

    format: int = 1
    head: int
    """Ordinal, from 1."""
    tables: dict[str, int]
    """Version of every table that the source has."""
    rows: dict[str, int]
    source: str
    fingerprint: str
    """SHA-256 of the content that was read last."""
    interval: str
    first_open: Instant
    last_close: Instant
    """Close of the last bar: the default as_of."""
    symbols: int
    findings: list[Finding]
    """What the reading found, for the data-quality section of reports."""
    edition: Annotated[str, BeforeValidator(_edition)] = MIXED_EDITION
    """Edition of the rules by which readers of this state see the bars rated; other editions may stand beside it."""
    revision: int = 1
    """Of the program's own rules, see :data:`assay.ratings.REVISION`."""

    @property
    def ratings(self) -> str:
        """Name of the table that holds the ratings of this state's edition."""
        return ratings_table(self.edition)


def read_heads(folder: Path, storage: Storage | None = None) -> list[Head]:
    """Return every state of the lake in a folder, or in a storage that is known already, oldest first.

    A last line without its newline is a torn write, and no state.

    Raises
    ------
    IntegrityError
        If a line is not what a writer writes.
    """
    storage = storage or storage_of(folder)
    return [parse_head(line, number, storage) for number, line in enumerate(storage.heads(), start=1)]


def parse_head(line: bytes, number: int, storage: Storage) -> Head:
    """Read the line of a state.

    Raises
    ------
    IntegrityError
        If no writer wrote it, or a newer version of Assay did (``NEWER_FORMAT``).
    """
    where = f"{storage.uri}/{HEADS}"
    try:
        found = _AnyLine.model_validate_json(line).format
        if found > FORMAT:
            raise IntegrityError(
                f"line {number} has format {found}, this version of Assay reads formats up to {FORMAT}",
                where=where,
                hint="install the version of Assay that wrote it, or a newer one",
                code="NEWER_FORMAT",
            )
        head = Head.model_validate_json(line)
    except ValidationError as error:
        raise IntegrityError(f"line {number} is not a head of a lake", where=where, hint=RESTORE) from error
    if head.head != number:
        raise IntegrityError(f"line {number} holds head {head.head}", where=where, hint=RESTORE)
    return head
