"""Bars in files of the user's own: Parquet, CSV, a folder of klines; and the sample in the package."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from assay.base.domain import Instrument
from assay.base.errors import FileError, SourceError, UsageError
from assay.base.files import sha256, sha256_file, write
from assay.sources.base import NOTHING, Held, SourceRead, utc_now

if TYPE_CHECKING:
    import polars as pl

    from assay.runs.documents import Finding
    from assay.settings import Catalog

SAMPLE = Path(__file__).parent / "sample" / "binance_spot_daily_2023.parquet"
USUAL_EXCHANGE = "BINANCE"


@dataclass(frozen=True)
class Reading:
    """How files are read, and what a run needs of them.

    Attributes
    ----------
    columns : tuple of (str, str)
        Assay's name of a column, and the file's.
    exchanges : tuple of str
        Whose pairs scanners look at; where it is one, symbols that name no exchange are its.
    quotes : tuple of str
        In which quotes; empty where nothing is asked of the coins.
    benchmarks : tuple of str
        Coins one of which must be there; empty where nothing is.
    """

    columns: tuple[tuple[str, str], ...] = ()
    exchanges: tuple[str, ...] = (USUAL_EXCHANGE,)
    quotes: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, catalog: Catalog, *, for_runs: bool = False) -> Reading:
        """Return how settings say that files are read, and where runs are to be made what they need."""
        columns = catalog.source().columns.model_dump(exclude_none=True)
        universes = [scanner.universe for scanner in catalog.scanners().values()]
        return cls(
            columns=tuple(sorted(columns.items())),
            exchanges=tuple(sorted({one.exchange for one in universes})) or (USUAL_EXCHANGE,),
            quotes=tuple(sorted({quote for one in universes for quote in one.quotes})) if for_runs else (),
            benchmarks=catalog.benchmarks() if for_runs else (),
        )

    @property
    def exchange(self) -> str | None:
        """Whose pairs symbols are that name no exchange; None where that is not told."""
        return self.exchanges[0] if len(self.exchanges) == 1 else None

    @property
    def is_usual(self) -> bool:
        """Whether rows are read as they are without any settings."""
        return not self.columns and self.exchange in (USUAL_EXCHANGE, None)

    def key(self) -> str:
        """Return what a file's fingerprint says besides its bytes; nothing where it is read as usual."""
        return "" if self.is_usual else json.dumps([self.columns, self.exchange])


USUAL = Reading()


@dataclass(frozen=True)
class ParquetSource:
    """Bars in one Parquet file.

    Parameters
    ----------
    path : Path
        Absolute.
    clock : callable
        Gives the instant of reading; a bar that closes after it goes to quarantine.
    reading : Reading
        How its columns and symbols are read.
    """

    path: Path
    clock: Callable[[], dt.datetime] = utc_now
    reading: Reading = field(default=USUAL, compare=False)
    word: ClassVar[str] = "parquet"

    @property
    def name(self) -> str:
        """``parquet:PATH``; bytes of the path that are no text are escaped."""
        return f"{self.word}:" + os.fsencode(self.path).decode(errors="backslashreplace")

    @property
    def hint(self) -> str:
        """What to do where the file is not there."""
        return f"check the path; the source is written {self.word}:PATH"

    @property
    def kind(self) -> str:
        """``parquet``."""
        return self.word

    @property
    def identity(self) -> str:
        """Digest of the resolved path, so that a changed file is a new head of the same lake."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()

    @property
    def is_plain(self) -> bool:
        """Whether rows can be read piece by piece, as they lie."""
        return self.reading.is_usual

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes, of which no more than a part is held at a time, and of how they are read."""
        with self._readable():
            return self._told(sha256_file(self.path))

    def read(self, held: Held = NOTHING) -> SourceRead:  # noqa: ARG002 - a file is always read whole
        """Read the file once, so that fingerprint and rows are of the same bytes.

        Raises
        ------
        FileError
            If it is not there, no table of bars, or has no coin that settings ask for.
        """
        from assay.market.bars import check

        with self._readable():
            raw, digest, findings = self._table()
            exchange = self._exchange(raw)
            checked = check(raw, where=self.name, source=self.kind, now=self.clock(), exchange=exchange)
            self._judge(checked.bars["symbol"].unique().to_list())
        return SourceRead(
            bars=checked.bars,
            rejected=checked.rejected,
            interval=checked.interval,
            fingerprint=self._told(digest),
            findings=(*findings, *checked.findings),
        )

    def _table(self) -> tuple[pl.DataFrame, str, list[Finding]]:
        from assay.sources.tables import parquet_table

        data = self.path.read_bytes()
        table = parquet_table(data, self.path.name, self.name, dict(self.reading.columns))
        return table, sha256(data), []

    def _told(self, digest: str) -> str:
        key = self.reading.key()
        return sha256(f"{digest}{key}".encode()) if key else digest

    def _exchange(self, raw: pl.DataFrame) -> str:
        """Return whose pairs symbols are that name no exchange."""
        from assay.sources.tables import names_of

        if self.reading.exchange is not None:
            return self.reading.exchange
        bare = sorted(name for name in names_of(raw) if ":" not in name)
        if bare:
            several = ", ".join(self.reading.exchanges)
            raise FileError(
                f"symbols such as {bare[0]!r} name no exchange, and the scanners name {several}",
                where=self.name,
                hint=f"write {self.reading.exchanges[0]}:{bare[0]}, or set universe.exchange for all scanners",
                code="SYMBOLS_UNREADABLE",
            )
        return USUAL_EXCHANGE

    def judge_coins(self) -> None:
        """Refuse a large file by its coins, before its bars are read piece by piece.

        Raises
        ------
        FileError
            As :meth:`read` does where the file has no coin that settings ask for.
        """
        import polars as pl

        from assay.market.whole import read_symbols

        with self._readable():
            names = pl.scan_parquet(self.path, glob=False, hive_partitioning=False).select("symbol").unique().collect()
            exchange = self._exchange(names)
            known = [name for name in names["symbol"].cast(pl.String) if name is not None]
            read = read_symbols(known, exchange)
            self._judge([read.get(name, name) for name in known])

    def _judge(self, symbols: list[str]) -> None:
        """Refuse a file in which no scanner, or no run, would find what it needs."""
        wanted, pairs = self.reading, list(_pairs(symbols))
        if not pairs:
            return
        asked = f"{' and '.join(wanted.exchanges)} in {', '.join(wanted.quotes)}"
        if wanted.quotes and not any(one.exchange in wanted.exchanges and one.quote in wanted.quotes for one in pairs):
            exchanges, quotes = (sorted({getattr(one, name) for one in pairs}) for name in ("exchange", "quote"))
            raise FileError(
                f"no scanner looks at these coins: they are of {', '.join(exchanges)} in {', '.join(quotes[:5])}, "
                f"and scanners look at {asked}",
                where=self.name,
                hint=f'in assay.toml: [defaults.universe], exchange = "{exchanges[0]}", quotes = ["{quotes[0]}"]; '
                f'and [defaults], benchmark = "{_first(pairs)}"',
                code="OUTSIDE_UNIVERSE",
            )
        if wanted.benchmarks and not set(wanted.benchmarks) & set(symbols):
            raise FileError(
                f"there is no bar of the benchmark, {' or '.join(wanted.benchmarks)}",
                where=self.name,
                hint=f'add its bars; or in assay.toml: [defaults], benchmark = "{_first(pairs)}"',
                code="BENCHMARK_MISSING",
            )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except FileError:
            raise
        except SourceError as error:
            raise FileError(error.what, where=error.where, hint=error.hint, code=error.code) from error
        except FileNotFoundError:
            raise FileError("there is no such file", where=self.name, hint=self.hint, code="SOURCE_MISSING") from None
        except OSError as error:
            what = f"the file cannot be read: {error.strerror or error}"
            raise FileError(what, where=self.name, hint=self.hint, code="SOURCE_UNREADABLE") from error


@dataclass(frozen=True)
class SampleSource(ParquetSource):
    """The sample in the package: Binance spot, daily, 2023-01-01 to 2024-01-21; its NOTICE tells where it is from."""

    path: Path = SAMPLE
    word: ClassVar[str] = "sample"

    @property
    def name(self) -> str:
        """``sample``."""
        return "sample"

    @property
    def hint(self) -> str:
        """What to do where the sample is not there."""
        return "install the package again: its sample is missing"

    @property
    def identity(self) -> str:
        """Digest of the content: a release with another sample has another lake."""
        return self.fingerprint()


@dataclass(frozen=True)
class CsvSource(ParquetSource):
    """Bars in a CSV, in a zip that holds one, or in a folder of either, such as an exchange's files of klines."""

    word: ClassVar[str] = "csv"

    @property
    def is_plain(self) -> bool:
        """False: it is read whole."""
        return False

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes, or of the folder's names and bytes, and of how they are read."""
        with self._readable():
            return self._told(self._digest())

    def _digest(self) -> str:
        from assay.sources.tables import csv_files

        if not self.path.is_dir():
            return sha256_file(self.path)
        told = [f"{one.relative_to(self.path)} {sha256_file(one)}\n" for one in csv_files(self.path)]
        return sha256("".join(told).encode())

    def _table(self) -> tuple[pl.DataFrame, str, list[Finding]]:
        from assay.sources.tables import csv_table

        before = self._digest()
        table, findings = csv_table(self.path, self.name, dict(self.reading.columns))
        if self._digest() != before:
            what = "files changed while they were read"
            raise FileError(what, where=self.name, hint="ingest again", code="SOURCE_CHANGED")
        return table, before, findings


def keep_frame(frame: object, home: Path, reading: Reading = USUAL) -> str:
    """Keep a table of bars in a home, and return the source that it is from then on.

    Parameters
    ----------
    frame : polars.DataFrame or pandas.DataFrame
        Columns as in a file, see ``docs/own_data.md``; of pandas, times and coins may be the index.
    home : Path
        Home folder; the same content is kept once, in ``frames``.
    reading : Reading
        How its columns and symbols are read.

    Returns
    -------
    str
        ``parquet:<home>/frames/<digest>.parquet``.

    Raises
    ------
    UsageError
        If it is no such table.
    FileError
        If it is no table of bars; nothing is kept then.
    """
    import io

    from assay.ratings.frames import as_polars

    stream = io.BytesIO()
    as_polars(frame).write_parquet(stream)
    data = stream.getvalue()
    path = home.expanduser().resolve() / "frames" / f"{sha256(data)[:16]}.parquet"
    if not path.is_file():
        FrameSource(path, reading=reading, data=data).read()
        write(path, data)
    return ParquetSource(path).name


@dataclass(frozen=True)
class FrameSource(ParquetSource):
    """Bars in memory, as the bytes of the file that they may become."""

    data: bytes = b""

    @property
    def name(self) -> str:
        """``the frame``."""
        return "the frame"

    def _table(self) -> tuple[pl.DataFrame, str, list[Finding]]:
        from assay.sources.tables import parquet_table

        return parquet_table(self.data, "", self.name, dict(self.reading.columns)), sha256(self.data), []


def _pairs(symbols: list[str]) -> Iterator[Instrument]:
    for symbol in sorted(symbols):
        with suppress(UsageError):
            yield Instrument.parse(symbol)


def _first(pairs: list[Instrument]) -> str:
    """Return the coin that one would measure others against: Bitcoin, else the first."""
    return next((one.symbol for one in pairs if one.base in ("BTC", "XBT")), pairs[0].symbol)
