"""Where bars come from.

A file gives every bar that it has, judged row by row by :mod:`assay.market.bars`, and a fingerprint of its
content, by which a lake knows that there is nothing new. ``sample`` is embedded in the package; ``parquet:PATH`` is a
file with the columns ``symbol timestamp open high low close volume`` and perhaps ``quote_volume``. A live source,
``binance``, ``archive`` or ``ccxt:NAME``, is told what the lake holds and gives what is new.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from assay.base.domain import UTC
from assay.base.errors import SourceError, UsageError
from assay.base.files import sha256, sha256_file

if TYPE_CHECKING:
    import polars as pl

    from assay.lake.snapshot import Snapshot
    from assay.runs.documents import Finding

SAMPLE = Path(__file__).parent / "sample" / "binance_spot_daily_2023.parquet"
KINDS = ("sample", "parquet:PATH", "binance", "archive", "ccxt:NAME")


def _nothing(*_: object) -> None:
    """Tell nobody, do nothing."""


@dataclass(frozen=True)
class Held:
    """What a lake holds, for sources that give what is new.

    Attributes
    ----------
    folder : Path or None
        The lake's folder, below which a source may keep what it fetched until it is in the lake.
    snapshot : Snapshot or None
        The lake's last state.
    tell : callable
        Called with (stage, done, total) as a source goes on.
    """

    folder: Path | None = None
    snapshot: Snapshot | None = None
    tell: Callable[[str, int, int], None] = _nothing

    @property
    def base(self) -> str:
        """Name of the state of the bars."""
        return "" if self.snapshot is None else str(self.snapshot.versions.get("bars"))

    def spool(self, name: str) -> Path | None:
        """Return the file in which a source keeps what it fetched."""
        return None if self.folder is None else self.folder / "spool" / f"{name}.jsonl"

    def named(self) -> frozenset[str]:
        """Return the symbols that the last recorded scans named."""
        found = None if self.snapshot is None else self.snapshot.candidates()
        if found is None or found.is_empty():
            return frozenset()
        return frozenset(found.filter(found["as_of"] == found["as_of"].max())["symbol"].drop_nulls())


NOTHING = Held()


@dataclass(frozen=True)
class SourceRead:
    """What one reading of a source gave.

    Attributes
    ----------
    bars : DataFrame
        The lake's ``bars`` columns but ``listing``, sorted by (open_time, symbol), unique by (symbol, open_time).
    rejected : DataFrame
        The lake's ``quarantine`` columns.
    interval : str
        Interval of the bars.
    fingerprint : str
        SHA-256 of the bytes that were read.
    complete : bool
        The reading is all that the source has: a bar of the lake that is not in it is gone from the source. A source
        that gives only what is new says False.
    findings : tuple of Finding
        What a reader must know about the data.
    instruments : DataFrame or None
        The lake's ``instruments`` table, all of it; None where the source has no such table.
    cost : dict of str to int
        What the reading cost a live source: ``requests``, ``weight``.
    settle : callable
        Called once the reading is in the lake, or was found to hold nothing new.
    """

    bars: pl.DataFrame
    rejected: pl.DataFrame
    interval: str
    fingerprint: str
    complete: bool = True
    findings: tuple[Finding, ...] = field(default=())
    instruments: pl.DataFrame | None = None
    cost: dict[str, int] = field(default_factory=dict)
    settle: Callable[[], None] = _nothing


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


def _now() -> dt.datetime:
    return dt.datetime.now(UTC)


@dataclass(frozen=True)
class ParquetSource:
    """Bars in one Parquet file.

    Parameters
    ----------
    path : Path
        Absolute.
    clock : callable
        Gives the instant of reading; a bar that closes after it goes to quarantine.
    """

    path: Path
    clock: Callable[[], dt.datetime] = _now

    @property
    def name(self) -> str:
        """``parquet:PATH``; bytes of the path that are no text are escaped."""
        return "parquet:" + os.fsencode(self.path).decode(errors="backslashreplace")

    @property
    def kind(self) -> str:
        """``parquet``."""
        return "parquet"

    @property
    def identity(self) -> str:
        """Digest of the resolved path, so that a changed file is a new head of the same lake."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes, of which no more than a part is held at a time."""
        with self._readable():
            return sha256_file(self.path)

    def read(self, held: Held = NOTHING) -> SourceRead:  # noqa: ARG002 - a file is always read whole
        """Read the file once, so that fingerprint and rows are of the same bytes."""
        return _read(self._bytes(), where=self.name, kind=self.kind, now=self.clock())

    def _bytes(self) -> bytes:
        with self._readable():
            return self.path.read_bytes()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        hint = "check the path; the source is written parquet:PATH"
        try:
            yield
        except FileNotFoundError:
            raise SourceError("there is no such file", where=self.name, hint=hint, code="SOURCE_MISSING") from None
        except OSError as error:
            what = f"the file cannot be read: {error.strerror or error}"
            raise SourceError(what, where=self.name, hint=hint, code="SOURCE_UNREADABLE") from error


@dataclass(frozen=True)
class SampleSource:
    """The sample in the package: Binance spot, daily, 2023-01-01 to 2024-01-21; its NOTICE tells where it is from."""

    @property
    def name(self) -> str:
        """``sample``."""
        return "sample"

    @property
    def kind(self) -> str:
        """``sample``."""
        return "sample"

    @property
    def identity(self) -> str:
        """Digest of the content: a release with another sample has another lake."""
        return self.fingerprint()

    def fingerprint(self) -> str:
        """SHA-256 of the sample's bytes."""
        return sha256(self._bytes())

    def read(self, held: Held = NOTHING) -> SourceRead:  # noqa: ARG002 - the sample is always read whole
        """Read and judge the sample like any file."""
        return _read(self._bytes(), where=self.name, kind=self.kind, now=_now())

    def _bytes(self) -> bytes:
        try:
            return SAMPLE.read_bytes()
        except OSError as error:
            raise SourceError(
                "the sample is missing from the installation", where=str(SAMPLE), hint="install the package again"
            ) from error


def open_source(text: str) -> Source:
    """Read a source as users write it; nothing is opened yet.

    Live sources take their addresses from the environment, see :mod:`assay.sources.settings`.

    Raises
    ------
    UsageError
        If the kind is unknown, the path is missing, or a setting in the environment is wrong.

    Examples
    --------
    >>> open_source("sample").name
    'sample'
    >>> open_source("parquet:/data/../data/bars.parquet").name
    'parquet:/data/bars.parquet'
    """
    kind, colon, rest = text.partition(":")
    if text == "sample":
        return SampleSource()
    if kind == "parquet" and colon and rest and "\0" not in rest:
        return ParquetSource(Path(rest).expanduser().resolve())
    if text in ("binance", "archive") or (kind == "ccxt" and rest.isidentifier()):
        return _live(text, rest)
    raise UsageError(f"unknown source {text!r}", where="source", hint=f"write one of: {', '.join(KINDS)}")


def _live(text: str, exchange: str) -> Source:
    from assay.sources.settings import Access

    if text == "archive":
        from assay.sources.archive import ArchiveSource

        return ArchiveSource(Access.read("binance", os.environ))
    from assay.sources.loading import ExchangeSource

    name = exchange or "binance"
    return ExchangeSource(name, Access.read(name, os.environ))


def lake_name(source: Source) -> str:
    """Name of the folder of a source's lake, ``<kind>-<sha8>``.

    >>> lake_name(ParquetSource(Path("/data/bars.parquet")))
    'parquet-b3e68774'
    """
    return f"{source.kind}-{source.identity[:8]}"


def _read(data: bytes, *, where: str, kind: str, now: dt.datetime) -> SourceRead:
    import polars as pl

    from assay.market.bars import check

    try:
        raw = pl.read_parquet(io.BytesIO(data), hive_partitioning=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # one damaged file in a thousand panics
        what = f"the file is not Parquet, or is damaged: {str(error).splitlines()[0]}"
        hint = "write it again, as Parquet with the columns of bars"
        raise SourceError(what, where=where, hint=hint, code="SOURCE_MALFORMED") from error
    checked = check(raw, where=where, source=kind, now=now)
    return SourceRead(
        bars=checked.bars,
        rejected=checked.rejected,
        interval=checked.interval,
        fingerprint=sha256(data),
        findings=checked.findings,
    )
