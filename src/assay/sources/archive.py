"""Whole histories, delisted pairs included, from the exchange's archive of monthly and daily kline files.

The archive fills the lake of ``binance``: its bars are the exchange's own, number by number. A first load from here
reaches back to the first bar of every pair; ``binance`` goes on from there day by day. Only files that can hold a bar
that the lake lacks are fetched, each with its checksum.

No file is believed whole. Days that a month's file lacks are asked of their own files, and holes that are left of the
exchange's klines, before they are written down as holes. What is nowhere is remembered beside the lake, in
``nowhere.json``, until a file that can hold it is new or other than it was.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar, TypeVar
from xml.etree import ElementTree

import polars as pl

from assay.base import files
from assay.base.domain import DAY, UTC
from assay.base.errors import SourceError
from assay.market.bars import CheckedBars
from assay.market.universe import excluded
from assay.settings.model import Universe
from assay.sources import facts
from assay.sources.base import NOTHING, Held, SourceRead, exchange_identity, midnight, utc_now
from assay.sources.clients import DAY_MS, PAGE, connect
from assay.sources.download_cache import DownloadCache
from assay.sources.http import LATER, Asker, Exhausted, Http, Limiter, Streak, ended, run, work_through
from assay.sources.loading import finding, frame, gap_findings, judge, kept_so_far, news, retries
from assay.sources.nowhere import Nowhere
from assay.sources.rules import EXCHANGE
from assay.sources.settings import Access
from assay.sources.troubles import Met

T = TypeVar("T")
R = TypeVar("R")
MONTHLY, DAILY = "data/spot/monthly/klines/", "data/spot/daily/klines/"
REST = "data/spot/rest/klines/"
"""Before what the exchange itself was asked for, among what is kept."""
_MOST_PACKED = 16 << 20
_MOST_UNPACKED = 64 << 20
"""Bytes of a table; a month of daily bars has 5 kB, a month of minutes 10 MB."""
_COLUMNS = 12
_LEAST_MICROS = 10**14
"""Stamps from here on are microseconds: as milliseconds they would lie after the year 5000."""
CANNOT = "the archive cannot be reached"
UNLISTED = "the archive cannot be listed"


@dataclass(frozen=True)
class ArchiveSource:
    """The archive of Binance's spot klines, of a day.

    Parameters
    ----------
    access : Access
        Addresses and patience.
    clock : callable
        Tells which bars have closed.
    universe : Universe
        Pairs of which quotes are loaded.
    """

    access: Access = field(default_factory=Access)
    clock: Callable[[], dt.datetime] = utc_now
    universe: Universe = field(default_factory=Universe)

    name: ClassVar[str] = "archive"
    kind: ClassVar[str] = "binance"
    identity: ClassVar[str] = exchange_identity("binance")
    """The lake is that of the exchange."""

    def fingerprint(self) -> None:
        """Return None: only a reading tells whether there is something new."""

    def read(self, held: Held = NOTHING) -> SourceRead:
        """Fetch the files that can hold what the lake lacks.

        Raises
        ------
        SourceError
            If the archive cannot be reached, or none of the files that were needed could be used.
        """
        return run(_ArchiveReading(self, held).run())


@dataclass(frozen=True, order=True)
class File:
    """One file of the archive."""

    symbol: str
    period: str
    """``2024-05`` or ``2024-05-17``."""
    key: str
    """Its name in the bucket."""
    tag: str = ""
    """Changes with its content."""

    @property
    def name(self) -> str:
        """Last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def is_day(self) -> bool:
        """It can hold one bar."""
        return len(self.period) == 10

    def days(self) -> set[dt.date]:
        """Return the days that it can hold."""
        if self.is_day:
            return {dt.date.fromisoformat(self.period)}
        first = dt.date.fromisoformat(f"{self.period}-01")
        return {day for n in range(31) if (day := first + dt.timedelta(days=n)).month == first.month}


def needed(found: Iterable[File], have: Collection[dt.date]) -> list[File]:
    """Return the files of one symbol that can hold a day that is not there; months before days."""
    missing_from = set(have)
    chosen = []
    for file in sorted(found, key=lambda file: (len(file.period), file.period)):
        days = file.days()
        if not days <= missing_from:
            chosen.append(file)
            missing_from |= days
    return chosen


class _ArchiveReading:
    """One reading of the archive."""

    def __init__(self, source: ArchiveSource, held: Held) -> None:
        self.source, self.access, self.held, self.now = source, source.access, held, source.clock()
        self.cache = DownloadCache(held.cache("archive"), held.version)
        refused = (
            "check the addresses (ASSAY_BINANCE_ARCHIVE_URL, ASSAY_BINANCE_LISTING_URL); the archive has no mirror"
        )
        self.asker = Asker(self.access.archive_url, self.access, Limiter({}), refused)
        self.faults: dict[str, list[str]] = {}
        self.there: dict[str, list[File]] = {}
        self.tried: dict[str, File] = {}
        self.unlisted: list[str] = []
        self.unasked: dict[str, list[dt.date]] = {}
        self.mirrored = 0
        self.nowhere = Nowhere(held.folder)
        self._streak = Streak(self.access.archive_url, CANNOT)

    async def run(self) -> SourceRead:
        resumed = {_pair(key) for key in self.cache.held}
        self.http = Http(self.access, self.access.concurrency)
        try:
            await self._list()
            have = _union(_days(self.held.keys), self._nowhere())
            await self._take(self.there, have)
            first = self._judge().bars
            days = {symbol: [file for file in found if file.is_day] for symbol, found in self.there.items()}
            await self._take(days, _union(have, _days(first)))
        finally:
            await self.http.close()
        await self._ask_exchange(_union(have, _days(self._judge().bars)))
        checked = self._judge()
        if self.tried and checked.bars.is_empty():
            what = f"none of {len(self.tried)} files could be used: {', '.join(self.faults)}"
            raise self._error(what, "ARCHIVE_EMPTY")
        found = [
            *finding("RESUMED", resumed),
            *retries(self.asker.retries),
            *finding("MIRRORED", count=self.mirrored),
            *(item for code, names in sorted(self.faults.items()) for item in finding(code, names)),
            *finding("SYMBOL_FAILED", self.unlisted),
            *finding("HOLES_UNASKED", self.unasked.keys(), sum(map(len, self.unasked.values()))),
            *finding("GAP_REPAIRED", count=checked.bars.height - first.height),
            *checked.findings,
            *(gap_findings(checked.bars.select("symbol", "open_time")) if self.held.keys is None else []),
        ]
        table = self.held.instruments
        if table is not None:  # of pairs that the exchange lists no more nothing is known
            table = facts.unseen(table, checked.bars["symbol"].unique().to_list(), midnight(self.now))
        told = news(checked, found, table, self.asker, self.cache)
        have = _union(_days(self.held.keys), _days(checked.bars))

        def settle() -> None:
            self._remember(have)
            told.settle()

        return replace(told, settle=settle)

    def _judge(self) -> CheckedBars:
        """Judge what was fetched, and what an ingestion that was cut off had fetched."""
        answers: dict[str, list[Any]] = {}
        for key, kept in self.cache.held.items():
            answers.setdefault(f"{EXCHANGE}:{_pair(key)}", []).extend(kept.rows)
        ordered = {symbol: sorted(rows, key=itemgetter(0)) for symbol, rows in sorted(answers.items())}
        return judge(frame(ordered), self.source.name, self.source.name, self.now, _days(self.held.keys).keys())

    # --- what there is --------------------------------------------------------------------------------------------

    async def _list(self) -> None:
        """List the files of every pair that can be traded."""
        self.held.tell("list", 0, 0)
        try:
            names = set(await self._folders(MONTHLY)) | set(await self._folders(DAILY))
        except Exhausted as error:
            raise ended(self.access.listing_url, UNLISTED, error) from error
        quotes, today = self.source.universe.quotes, self.now.date()

        async def look(name: str) -> None:
            try:
                self.there[f"{EXCHANGE}:{name}"] = await self._files(MONTHLY, name) + await self._files(DAILY, name)
            except (Exhausted, SourceError) as error:
                self.unlisted.append(f"{EXCHANGE}:{name}")
                if not _absent(error):
                    self._streak.add(error)
            else:
                self._streak.broken()

        await self._all(sorted(name for name in names if _eligible(name, quotes, today)), look, stage="list")
        self.there = dict(sorted(self.there.items()))

    async def _folders(self, root: str) -> list[str]:
        pages = await self._pages(root)
        found = (item.text or "" for page in pages for item in page.iterfind("{*}CommonPrefixes/{*}Prefix"))
        return [text.removeprefix(root).rstrip("/") for text in found]

    async def _files(self, root: str, name: str) -> list[File]:
        prefix = f"{root}{name}/1d/"
        pages = await self._pages(prefix)
        found = []
        for item in (item for page in pages for item in page.iterfind("{*}Contents")):
            key = item.findtext("{*}Key", "")
            period = key.removeprefix(f"{prefix}{name}-1d-").removesuffix(".zip")
            if key.endswith(".zip") and period.replace("-", "").isdigit() and len(period) in (7, 10):
                found.append(File(f"{EXCHANGE}:{name}", period, key, item.findtext("{*}ETag", "")))
        return found

    async def _pages(self, prefix: str) -> list[ElementTree.Element]:
        """Return every page of a listing."""
        found = []
        marker: str | None = ""
        while marker is not None:
            asked = {"delimiter": "/", "prefix": prefix, **({"marker": marker} if marker else {})}
            page = await self._ask(self.access.listing_url + "/", asked, _xml)
            more = page.findtext("{*}IsTruncated") == "true"
            marker = page.findtext("{*}NextMarker") if more else None
            found.append(page)
        return found

    # --- days that are nowhere ------------------------------------------------------------------------------------

    def _missing(self, symbol: str, have: set[dt.date]) -> list[dt.date]:
        """Return the holes between bars, and days whose files could not be used."""
        between = {min(have) + n * DAY for n in range((max(have) - min(have)).days)} if have else set()
        failed = (file.days() for file in self._failed() if file.symbol == symbol)
        return sorted(day for day in between.union(*failed) - have if day < self.now.date())

    def _failed(self) -> list[File]:
        return [self.tried[key] for keys in self.faults.values() for key in keys]

    async def _ask_exchange(self, have: Mapping[str, set[dt.date]]) -> None:
        """Ask the exchange's klines for days that no file has; one that cannot be asked ends nothing."""
        missing = {symbol: days for symbol in have if (days := self._missing(symbol, have[symbol]))}
        if not missing:
            return
        exchange, self.unasked = connect("binance", self.access), dict(missing)

        async def ask(symbol: str) -> None:
            pair, days = facts.split(symbol), missing[symbol]
            while pair is not None and days:
                begin = round(dt.datetime(*days[0].timetuple()[:3], tzinfo=UTC).timestamp() * 1000)
                asked = [day for day in days if day < days[0] + PAGE * DAY]
                days = days[len(asked) :]
                wanted = {begin + (day - asked[0]).days * DAY_MS for day in asked}
                try:
                    rows = await exchange.bars(pair, begin, max(wanted) + DAY_MS - 1)
                except Exhausted as error:
                    if error.trouble.kind == "GONE":
                        break
                    raise
                came = [row for row in rows if row[0] in wanted]
                self.cache.keep(f"{REST}{pair.exchange_symbol}/{asked[0]}", came, None)
            del self.unasked[symbol]

        try:
            await self._all(list(missing), ask, stage="holes")
        except (Exhausted, SourceError):
            pass  # what is left in ``unasked`` is told
        finally:
            await exchange.close()
            self.asker.add(exchange.asker)
            self.mirrored = exchange.mirrored

    def _nowhere(self) -> dict[str, set[dt.date]]:
        """Return the days that were asked everywhere, of which the files are as they were then."""
        noted = self.nowhere.notes.keys() & self.there.keys()
        return {symbol: self.nowhere.days(symbol, self._tags(symbol)) for symbol in noted}

    def _tags(self, symbol: str) -> dict[str, str]:
        """Return, of each day that a file of a pair can hold, what changes with these files."""
        held: dict[str, list[str]] = {}
        for file in self.there[symbol]:
            for day in file.days():
                held.setdefault(day.isoformat(), []).append(file.period + file.tag)
        return {day: files.sha256(" ".join(sorted(found)).encode())[:8] for day, found in sorted(held.items())}

    def _remember(self, have: Mapping[str, set[dt.date]]) -> None:
        """Write down which days were asked everywhere and are nowhere."""
        again = {(file.symbol, day) for file in self._failed() for day in file.days()}
        again |= {(symbol, day) for symbol, days in self.unasked.items() for day in days}
        told = {}
        for symbol in self.there:
            tags, days = self._tags(symbol), have.get(symbol, set())
            holes = {day.isoformat(): "" for day in self._missing(symbol, days)}
            absent = {day: tag for day, tag in sorted((holes | tags).items()) if dt.date.fromisoformat(day) not in days}
            told[symbol] = {
                day: tag for day, tag in absent.items() if (symbol, dt.date.fromisoformat(day)) not in again
            }
        self.nowhere.told(told, have)

    # --- files ----------------------------------------------------------------------------------------------------

    async def _take(self, there: Mapping[str, list[File]], have: Mapping[str, set[dt.date]]) -> None:
        """Fetch files that can hold a day that is not there, were not tried and are not kept."""
        wanted = (file for symbol, found in there.items() for file in needed(found, have.get(symbol, ())))
        fresh = sorted(file for file in wanted if file.key not in self.tried and file.key not in self.cache.held)
        self.tried |= {file.key: file for file in fresh}
        with kept_so_far(self.cache, len(self.cache.held) + len(fresh), "files"):
            await self._all(fresh, self._one)

    async def _one(self, file: File) -> None:
        for attempt in (1, 2):
            try:
                found = await self._fetch(file)
            except BadFile as error:
                if attempt == 2:
                    self.faults.setdefault(error.code, []).append(file.key)
            except (Exhausted, SourceError) as error:
                self.faults.setdefault("FILE_FAILED", []).append(file.key)
                self._streak.add(error)
                return
            else:
                self.cache.keep(file.key, found, None)
                break
        self._streak.broken()

    async def _fetch(self, file: File) -> list[list[Any]]:
        address = f"{self.access.archive_url}/{file.key}"
        try:
            checksum = await self._ask(f"{address}.CHECKSUM", {}, lambda data: data)
        except Exhausted as error:
            raise (BadFile("CHECKSUM_MISSING", file.key) if _absent(error) else error) from None
        try:
            data = await self._ask(address, {}, lambda data: data)
        except Exhausted as error:
            gone = BadFile("FILE_FAILED", "the file is listed and not there")
            raise (gone if _absent(error) else error) from None
        verify(data, checksum, file.name)
        return rows(data, file.name)

    async def _all(self, work: Sequence[T], do: Callable[[T], Awaitable[None]], stage: str = "fetch") -> None:
        """Do all work, some at a time."""
        await work_through(work, do, self.access.concurrency, partial(self.held.tell, stage))

    async def _ask(self, address: str, query: dict[str, str], read: Callable[[bytes], R]) -> R:
        """Send a request until its answer can be read."""

        async def once() -> R:
            return read((await self.http.send("GET", address, query)).data)

        return await self.asker.ask(once)

    def _error(self, what: str, code: str) -> SourceError:
        return SourceError(what, where=self.access.archive_url, hint=LATER, code=code)


def _pair(key: str) -> str:
    """Return the pair that a key names, of a file or of what the exchange was asked for."""
    return key.split("/")[4]


def _days(keys: pl.DataFrame | None) -> dict[str, set[dt.date]]:
    """Return the days of each symbol."""
    if keys is None:
        return {}
    return {
        symbol: set(days) for symbol, days in keys.group_by("symbol").agg(pl.col("open_time").dt.date()).iter_rows()
    }


def _union(*parts: Mapping[str, set[dt.date]]) -> dict[str, set[dt.date]]:
    return {symbol: set().union(*(part.get(symbol, ()) for part in parts)) for symbol in sorted(set().union(*parts))}


def _absent(error: Exception) -> bool:
    """Tell whether there is no such object: it costs itself, and says nothing of the archive."""
    return isinstance(error, Exhausted) and error.status == 404


def _xml(data: bytes) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - expat refuses entity bombs since 2.4.1, and the size is limited
    except ElementTree.ParseError as error:
        raise Met("MALFORMED", f"the listing is no XML: {error}") from error
    if not root.tag.endswith("ListBucketResult"):
        raise Met("MALFORMED", f"the listing is {root.tag}")
    return root


def _eligible(name: str, quotes: Collection[str], on: dt.date) -> bool:
    """Tell whether a pair can be in a scanner's universe; its quote is found by the list of quotes."""
    pair = facts.split(f"{EXCHANGE}:{name}")
    return pair is not None and pair.quote in quotes and excluded(pair.base, on) is None


# --- one file: a checksum, a zip of one table, rows with stamps in milliseconds or microseconds -----------------------


class BadFile(Exception):  # noqa: N818 - never leaves this room: it becomes a finding
    """A file that is not what the archive has; ``code`` names the finding."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


def verify(data: bytes, checksum: bytes, name: str) -> None:
    """Compare a file with its ``.CHECKSUM``, ``<sha256>  <name>``; raise :class:`BadFile` where they differ.

    Examples
    --------
    >>> verify(b"x", hashlib.sha256(b"x").hexdigest().encode() + b"  x.zip", "x.zip")
    """
    found = re.fullmatch(rb"([0-9a-fA-F]{64})\s+\*?(\S+)\s*", checksum)
    if found is None or found.group(2).decode(errors="replace") != name:
        raise BadFile("CHECKSUM", f"the checksum file does not name {name}")
    if hashlib.sha256(data).hexdigest() != found.group(1).decode().lower():
        raise BadFile("CHECKSUM", "the content differs from its checksum")


def rows(data: bytes, name: str) -> list[list[Any]]:
    """Return the rows of a zipped table: ``[open time in ms, open, high, low, close, volume, quote volume]``.

    Parameters
    ----------
    data : bytes
        The zip.
    name : str
        Its name, ``BTCUSDT-1d-2024-05.zip``; the one member is ``BTCUSDT-1d-2024-05.csv``.

    Raises
    ------
    BadFile
        If it is no such zip, is too large, or holds anything else.
    """
    lines = list(csv.reader(io.StringIO(_content(data, name))))
    if lines and lines[0] and not lines[0][0].isdigit():
        lines = lines[1:]  # some files begin with the names of columns
    return [_row(line) for line in lines if line]


def _content(data: bytes, name: str) -> str:
    if len(data) > _MOST_PACKED:
        raise BadFile("ARCHIVE_FILE", f"{len(data)} bytes are too many")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.namelist()
            if members != [name.removesuffix(".zip") + ".csv"]:
                raise BadFile("ARCHIVE_FILE", f"it holds {members[:3]}")
            with archive.open(members[0]) as stream:
                content = stream.read(_MOST_UNPACKED + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise BadFile("ARCHIVE_FILE", f"it is no zip that can be read: {error}") from error
    if len(content) > _MOST_UNPACKED:
        raise BadFile("ARCHIVE_FILE", f"it holds more than {_MOST_UNPACKED} bytes")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise BadFile("ARCHIVE_FILE", "its table is not text") from error


def _row(line: list[str]) -> list[Any]:
    if len(line) != _COLUMNS or not (line[0].isdigit() and line[6].isdigit()):
        raise BadFile("ARCHIVE_FILE", f"a row is no kline: {','.join(line)[:100]}")
    stamp = int(line[0])
    if stamp >= _LEAST_MICROS:
        if stamp % 1000:
            raise BadFile("ARCHIVE_FILE", f"a bar opens between two milliseconds: {stamp}")
        stamp //= 1000
    values = [*line[1:6], line[7]]
    try:
        [float(value) for value in values]
    except ValueError:
        raise BadFile("ARCHIVE_FILE", f"a value is no number: {','.join(line)[:100]}") from None
    return [stamp, *values]
