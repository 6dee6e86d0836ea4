"""Where bars come from.

A source gives every bar that it has, judged row by row by :mod:`assay.foundation.barcheck`, and a fingerprint of its
content, by which a lake knows that there is nothing new. ``sample`` is embedded in the package; ``parquet:PATH`` is a
file with the columns ``symbol timestamp open high low close volume`` and perhaps ``quote_volume``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from assay.domain import UTC
from assay.errors import SourceError, UsageError
from assay.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from assay.artifacts import Finding

SAMPLE = Path(__file__).parent / "sample" / "binance_spot_daily_2023.parquet"
KINDS = ("sample", "parquet:PATH")


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
    """

    bars: pl.DataFrame
    rejected: pl.DataFrame
    interval: str
    fingerprint: str
    complete: bool = True
    findings: tuple[Finding, ...] = field(default=())
    instruments: pl.DataFrame | None = None


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
    def kind(self) -> str: ...  # noqa: D102
    @property
    def identity(self) -> str: ...  # noqa: D102

    def fingerprint(self) -> str:
        """Return the SHA-256 of the content; raise SourceError where it cannot be read."""
        ...

    def read(self) -> SourceRead:
        """Read and judge everything; raise SourceError where that is impossible."""
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
        """SHA-256 of the file's bytes."""
        return sha256(self._bytes())

    def read(self) -> SourceRead:
        """Read the file once, so that fingerprint and rows are of the same bytes."""
        return _read(self._bytes(), where=self.name, kind=self.kind, now=self.clock())

    def _bytes(self) -> bytes:
        hint = "check the path; the source is written parquet:PATH"
        try:
            return self.path.read_bytes()
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

    def read(self) -> SourceRead:
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

    Raises
    ------
    UsageError
        If the kind is unknown or the path is missing.

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
    raise UsageError(f"unknown source {text!r}", where="source", hint=f"write one of: {', '.join(KINDS)}")


def lake_name(source: Source) -> str:
    """Name of the folder of a source's lake, ``<kind>-<sha8>``.

    >>> lake_name(ParquetSource(Path("/data/bars.parquet")))
    'parquet-b3e68774'
    """
    return f"{source.kind}-{source.identity[:8]}"


def _read(data: bytes, *, where: str, kind: str, now: dt.datetime) -> SourceRead:
    import polars as pl

    from assay.foundation.barcheck import check

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
