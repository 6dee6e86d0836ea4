"""What a source is, what it is told of the lake that it fills, and what a reading of it gives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from assay.base.domain import UTC
from assay.base.files import sha256
from assay.sources.acceptance import NOTHING_ACCEPTED, Acceptance

if TYPE_CHECKING:
    import polars as pl

    from assay.runs.documents import Finding


def _nothing(*_: object) -> None:
    """Tell nobody, do nothing."""


@dataclass(frozen=True)
class Held:
    """What a lake holds, for sources that give what is new; an empty lake holds nothing."""

    folder: Path | None = None
    """The lake's folder, below which a source may keep what it fetched until it is in the lake."""
    version: str = ""
    """Names the state of the bars."""
    last_close: dt.datetime | None = None
    """Close of the last bar."""
    keys: pl.DataFrame | None = None
    """``symbol`` and ``open_time`` of every bar."""
    instruments: pl.DataFrame | None = None
    """The table of that name; None where the lake has none."""
    named: Collection[str] = ()
    """Symbols that the last recorded scans named."""
    failed: Collection[str] = ()
    """Symbols that could not be fetched the last time."""
    accept: Acceptance = NOTHING_ACCEPTED
    """What the user accepts in this call, though it would be refused."""
    tell: Callable[[str, int, int], None] = _nothing
    """Called with (stage, done, total) as a source goes on."""

    def cache(self, name: str) -> Path | None:
        """Return the file in which a source keeps what it fetched."""
        return None if self.folder is None else self.folder / "spool" / f"{name}.jsonl"


NOTHING = Held()


@dataclass(frozen=True)
class SourceRead:
    """What one reading of a source gave."""

    bars: pl.DataFrame
    """The lake's ``bars`` columns but ``listing``, sorted by (open_time, symbol), unique by (symbol, open_time)."""
    rejected: pl.DataFrame
    """The lake's ``quarantine`` columns."""
    interval: str
    fingerprint: str
    """SHA-256 of the bytes that were read."""
    complete: bool = True
    """The reading is all that the source has: a bar of the lake that is not in it is gone from the source. A source
    that gives only what is new says False."""
    findings: tuple[Finding, ...] = ()
    """What a reader must know about the data."""
    instruments: pl.DataFrame | None = None
    """The lake's ``instruments`` table, all of it; None where the source has no such table."""
    cost: dict[str, int] = field(default_factory=dict)
    """What the reading cost a live source: ``requests``, ``weight``."""
    settle: Callable[[], None] = _nothing
    """Called once the reading is in the lake, or was found to hold nothing new."""


class Source(Protocol):
    """A place that bars come from.

    Attributes
    ----------
    name : str
        As the user writes it, paths resolved: ``sample``, ``parquet:/data/bars.parquet``.
    kind : str
        First part of the name; goes into the column ``source``.
    identity : str
        Hex digest of which source this is, whatever it holds at the moment: another file is another source, the same
        file with other bytes is the same one. Names the lake.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - told in the class
    @property
    def kind(self) -> str: ...  # noqa: D102 - told in the class
    @property
    def identity(self) -> str: ...  # noqa: D102 - told in the class

    def fingerprint(self) -> str | None:
        """Return the SHA-256 of the content, None where only a reading tells; raise SourceError if it is unreadable."""
        ...

    def read(self, held: Held = NOTHING) -> SourceRead:
        """Read and judge everything, or what ``held`` lacks; raise SourceError where that is impossible."""
        ...


def exchange_identity(exchange: str) -> str:
    """Return the digest that names the lake of an exchange's daily spot bars."""
    return sha256(f"ccxt:{exchange}:spot:1d".encode())


def utc_now() -> dt.datetime:
    """Return the clock's instant."""
    return dt.datetime.now(UTC)


def midnight(instant: dt.datetime) -> dt.datetime:
    """Return the begin of the day, UTC."""
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
