"""Bars in a file: any Parquet file, and the sample in the package."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from assay.base.errors import SourceError
from assay.base.files import sha256, sha256_file
from assay.sources.base import NOTHING, Held, SourceRead, utc_now

SAMPLE = Path(__file__).parent / "sample" / "binance_spot_daily_2023.parquet"


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
    clock: Callable[[], dt.datetime] = utc_now
    hint: ClassVar[str] = "check the path; the source is written parquet:PATH"

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
        try:
            yield
        except FileNotFoundError:
            raise SourceError("there is no such file", where=self.name, hint=self.hint, code="SOURCE_MISSING") from None
        except OSError as error:
            what = f"the file cannot be read: {error.strerror or error}"
            raise SourceError(what, where=self.name, hint=self.hint, code="SOURCE_UNREADABLE") from error


@dataclass(frozen=True)
class SampleSource(ParquetSource):
    """The sample in the package: Binance spot, daily, 2023-01-01 to 2024-01-21; its NOTICE tells where it is from."""

    path: Path = SAMPLE
    hint: ClassVar[str] = "install the package again: its sample is missing"

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
