"""A state of a lake: one line of ``heads.jsonl``, or one object of a bucket."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from assay.base.domain import MIXED_EDITION, UTC, format_instant
from assay.base.errors import IntegrityError
from assay.base.files import canonical_json, sha256
from assay.lake.storage import HEADS, RESTORE, Storage, storage_of
from assay.market.schema import ratings_table
from assay.runs.documents import Document, Finding
from assay.runs.verify import FORMAT, ZERO

Instant = Annotated[dt.datetime, AfterValidator(lambda instant: instant.astimezone(UTC))]


class _AnyLine(BaseModel):
    """What every line has, whatever its format."""

    format: int = 1


def _edition(value: object) -> object:
    """Read the number that former versions wrote: their rules were a mixture of two editions."""
    return MIXED_EDITION if isinstance(value, int) else value


class Accepted(Document):
    """What a user accepted of the source though it was refused, see :mod:`assay.sources.acceptance`."""

    code: str
    digest: str
    """Of the refused state."""
    because: str
    what: str
    as_of: Instant
    """Close of the last bar then: it is in force for decisions of this instant."""

    @property
    def said(self) -> str:
        """In one line."""
        return f"{self.code} of {format_instant(self.as_of)} is accepted ({self.because}): {self.what}"


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
    accepted: list[Accepted] = Field(default_factory=list)
    """Everything that was accepted up to this state."""
    edition: Annotated[str, BeforeValidator(_edition)] = MIXED_EDITION
    """Edition of the rules by which readers of this state see the bars rated; other editions may stand beside it."""
    revision: int = 1
    """Of the program's own rules, see :data:`assay.ratings.REVISION`."""
    roots: dict[str, str] = Field(default_factory=dict)
    """Content of every table, see :mod:`assay.lake.roots`; none in format 1."""
    prev: str = ZERO
    """SHA-256 of the line before, without its newline."""
    seal: str = ""
    """SHA-256 of this line without this field."""

    def in_force(self, as_of: dt.datetime) -> list[Accepted]:
        """Return what was accepted and decisions of an instant rest on."""
        return [one for one in self.accepted if one.as_of == as_of]

    @property
    def ratings(self) -> str:
        """Name of the table that holds the ratings of this state's edition."""
        return ratings_table(self.edition)

    def content(self) -> dict[str, Any]:
        """Return what a manifest repeats of it, besides numbers; nothing of a former version."""
        return {"roots": self.roots, "state": self.seal, "fingerprint": self.fingerprint} if self.roots else {}

    def line(self) -> bytes:
        """Return the line, canonical and with its seal."""
        told = self.model_dump(mode="json", exclude={"seal"})
        return canonical_json(told | {"seal": sha256(canonical_json(told))})

    def sealed(self) -> Self:
        """Return the same with its seal."""
        return self.model_copy(update={"seal": json.loads(self.line())["seal"]})


def read_heads(folder: Path, storage: Storage | None = None) -> list[Head]:
    """Return every state of the lake in a folder, or in a storage that is known already, oldest first.

    A last line without its newline is a torn write, and no state.

    Raises
    ------
    IntegrityError
        If a line is not what a writer writes, or not what the line after it names.
    """
    storage = storage or storage_of(folder)
    lines = storage.heads()
    heads = [parse_head(line, number, storage) for number, line in enumerate(lines, start=1)]
    for number, (line, following) in enumerate(zip(lines, heads[1:], strict=False), start=1):
        if following.format > 1 and following.prev != sha256(line):
            raise _broken(storage, f"line {number} is not the one that line {number + 1} was written after")
    return heads


def parse_head(line: bytes, number: int, storage: Storage) -> Head:
    """Read the line of a state.

    Raises
    ------
    IntegrityError
        If no writer wrote it, or a newer version of Assay did (``NEWER_FORMAT``).
    """
    try:
        found = _AnyLine.model_validate_json(line).format
        if found > FORMAT:
            raise IntegrityError(
                f"line {number} has format {found}, this version of Assay reads formats up to {FORMAT}",
                where=f"{storage.uri}/{HEADS}",
                hint="install the version of Assay that wrote it, or a newer one",
                code="NEWER_FORMAT",
            )
        head = Head.model_validate_json(line)
    except ValidationError as error:
        raise _broken(storage, f"line {number} is not a head of a lake") from error
    if head.head != number:
        raise _broken(storage, f"line {number} holds head {head.head}")
    if head.format != 1 and not _is_sealed(line, head):
        raise _broken(storage, f"line {number} is not as it was written")
    if head.format == 1 and head.roots:
        raise _broken(storage, f"line {number} is of format 1, and has what that never had")
    return head


def _is_sealed(line: bytes, head: Head) -> bool:
    told: dict[str, Any] = json.loads(line)
    told.pop("seal", None)
    whole = canonical_json(told | {"seal": head.seal}) == line
    return whole and head.seal == sha256(canonical_json(told)) and head.roots.keys() == head.tables.keys()


def _broken(storage: Storage, what: str) -> IntegrityError:
    return IntegrityError(what, where=f"{storage.uri}/{HEADS}", hint=RESTORE)
