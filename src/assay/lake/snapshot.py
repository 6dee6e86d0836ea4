"""One pinned state of a lake, and what a decision reads of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.base.constants import Ints
from assay.base.domain import DAY, INTERVALS, UTC, format_instant, parse_as_of
from assay.base.errors import DataError, IntegrityError, UsageError
from assay.lake import delta
from assay.lake.head import Head, parse_head
from assay.lake.roots import LAKE_CHANGED, Change, Roots, proved, refuse
from assay.lake.storage import RESTORE, Storage, storage_of
from assay.market.borrow import panels
from assay.market.kinds import with_facts
from assay.market.panel import BAR_FIELDS, RATING_FIELDS, Market
from assay.market.schema import BARS, INSTRUMENTS, ORDER, QUARANTINE
from assay.ratings import RATING_SCHEMA
from assay.ratings.soundness import UNSOUND, unsound
from assay.runs.request import Request

_BAR_COLUMNS = ("symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume", "listing")
_DAY_US = DAY // dt.timedelta(microseconds=1)


_OPENED = ("bars", "instruments", "borrow", "quarantine")
"""Tables that a decision opens, beside the ratings of its edition."""


@dataclass(frozen=True)
class Snapshot:
    """A state of the lake that stays as it is; made by :meth:`assay.lake.lake.Lake.pin`.

    It holds a path and version numbers, no rows, so that it is cheap to hand to another process.
    """

    folder: Path
    """The lake's."""
    record: Head
    """The line of ``heads.jsonl`` that is pinned."""
    storage: Storage

    @property
    def head(self) -> int:
        """Number of the state."""
        return self.record.head

    @property
    def versions(self) -> dict[str, int]:
        """Version of every table."""
        return dict(self.record.tables)

    @property
    def edition(self) -> str:
        """Edition of the rules by which the bars are rated."""
        return self.record.edition

    @property
    def interval(self) -> str:
        """Interval of the bars."""
        return self.record.interval

    def first_open(self) -> dt.datetime:
        """Return the opening time of the first bar."""
        return self.record.first_open

    def last_close(self) -> dt.datetime:
        """Return the close of the last bar."""
        return self.record.last_close

    def bars(
        self,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        symbols: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Return bars, sorted by (open_time, symbol).

        Parameters
        ----------
        since : datetime, optional
            Earliest opening time.
        until : datetime, optional
            An as_of: bars that have closed by then.
        symbols, columns : collection of str, optional
            All where None.
        """
        wanted = self._window(since, until, symbols)
        found = self._rows("bars", wanted, columns)
        return found if found is not None else pl.DataFrame(schema=BARS)

    def ratings(
        self,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        symbols: Collection[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        judged: bool = False,
    ) -> pl.DataFrame:
        """Return ratings of the bars that :meth:`bars` returns and that had volume, sorted by (open_time, symbol).

        Judged ones have a column that says which break a rule of L1, see :mod:`assay.ratings.soundness`.
        """
        found = self._rows("ratings", self._window(since, until, symbols), columns, judged=judged)
        if found is None:
            raise DataError("the lake has no ratings", where=str(self.folder), hint="run: assay ingest")
        return found

    def instruments(self) -> pl.DataFrame | None:
        """Return the exchange's facts with the dates they were valid, or None where the source has no such table."""
        found = self.table("instruments")
        return None if found is None else with_facts(found).select(list(INSTRUMENTS))

    def borrow(self) -> pl.DataFrame | None:
        """Return the rates of borrowing, or None where nobody gave the lake any."""
        return self.table("borrow")

    def candidates(self, as_of: dt.datetime | None = None) -> pl.DataFrame | None:
        """Return the scans that were recorded, of one instant or all, or None where the lake has no such table."""
        return self._rows("candidates", [] if as_of is None else [pl.col("as_of") == as_of], None)

    def quarantine(self) -> pl.DataFrame:
        """Return the rows that were rejected, with reasons; none where all were good."""
        found = self.table("quarantine")
        return found if found is not None else pl.DataFrame(schema=QUARANTINE)

    def table(self, name: str) -> pl.DataFrame | None:
        """Return a whole table in its order, or None where the lake has none of that name."""
        return self._rows(name, [], None)

    def market(self, until: dt.datetime | None = None, days: int | None = None) -> Market:
        """Return the panel of daily bars and ratings known at an instant.

        Parameters
        ----------
        until : datetime, optional
            The as_of; the close of the last bar where None.
        days : int, optional
            Calendar days, ending with the last day that has closed; all where None.

        Returns
        -------
        Market
            Symbols are those with a bar in these days.

        Raises
        ------
        DataError
            If the bars are not daily, or none has closed by then.
        """
        as_of = self.last_close() if until is None else until.astimezone(UTC)
        if self.interval != "1d":
            raise DataError(
                f"the bars are of {self.interval}; decisions need daily bars",
                where=self.record.source,
                hint="give a source of daily bars",
            )
        last = _day(min(as_of, self.last_close()) - DAY)
        first = max(_day(self.first_open()), last - days + 1) if days is not None else _day(self.first_open())
        since = dt.datetime.fromtimestamp(first * 86_400, UTC)
        bars = self._rows("bars", self._window(since, as_of, None), _BAR_COLUMNS, ordered=False)
        if bars is None or bars.is_empty():
            raise DataError(
                f"no bar has closed by {format_instant(as_of)}", where=self.record.source, hint="choose a later date"
            )
        keys = ("symbol", "open_time")
        rated, window = (*keys, *RATING_FIELDS), self._window(since, as_of, None)
        ratings = self._rows("ratings", window, rated, ordered=False, judged=True)
        instruments = self.instruments()
        if instruments is not None:
            instruments = instruments.filter(pl.col("valid_from") <= as_of)
        # Rows of days that have closed; one without a readable time cannot be placed, and is left out.
        rejected = self.quarantine().filter(pl.col("open_time") <= as_of - DAY).select("symbol", "open_time", "reason")
        market = _panel(bars, ratings, first, last, as_of, instruments=instruments, quarantine=rejected)
        rates = self.borrow()
        if rates is None:
            return market
        known = rates.filter(pl.col("known_at") <= as_of)
        return replace(market, fields={**market.fields, **panels(known, market.symbols, market.days)})

    def changes(self, *, whole: bool = False) -> list[Change]:
        """Compare every table with the root that the state names; one of a former version names none.

        Parameters
        ----------
        whole : bool
            Hash every file; else those that a decision opens, and others unless they were not touched since.

        Returns
        -------
        list of Change
            What differs, with its symbols where that can be told; empty where nothing does.

        Raises
        ------
        IntegrityError
            If the log of a table cannot be read.
        """
        found: list[Change] = []
        for name, wanted in sorted(self.record.roots.items()):
            inside = self.interval if name in ("bars", self.record.ratings) else None
            content = delta.content(self.storage.table(name), self.record.tables[name], inside)
            opened = content.opened if name in (*_OPENED, self.record.ratings) else []
            found += Roots(self.storage).changed(name, content, wanted, content.names if whole else opened)
        return found

    def prove(self) -> None:
        """Refuse a lake that is not what the state names; see :meth:`changes`.

        Raises
        ------
        IntegrityError
            ``LAKE_CHANGED``.
        """
        refuse(self.storage, self.changes())

    def _window(
        self, since: dt.datetime | None, until: dt.datetime | None, symbols: Collection[str] | None
    ) -> list[pl.Expr]:
        wanted = []
        if since is not None:
            wanted.append(pl.col("open_time") >= since)
        if until is not None:
            wanted.append(pl.col("open_time") <= until - INTERVALS[self.interval])
        if symbols is not None:
            wanted.append(pl.col("symbol").is_in(sorted(symbols)))
        return wanted

    def _rows(
        self,
        name: str,
        wanted: Sequence[pl.Expr],
        columns: Sequence[str] | None,
        *,
        ordered: bool = True,
        judged: bool = False,
    ) -> pl.DataFrame | None:
        """Read rows of a table, judged ones with a column that says which are unsound; None where there is no table."""
        stored = self.record.ratings if name == "ratings" else name
        version = self.record.tables.get(stored)
        if version is None:
            return None
        table = self.storage.table(stored)
        interval = self.interval if name in ("bars", "ratings") else None
        content = delta.content(table, version, interval)
        asked = list(columns or content.schema)
        order = [column for column in ORDER[name] if ordered and len(content.files) > 1]
        # A table of a former version may lack columns; what is not there cannot be judged.
        told = [unsound()] if judged and content.schema.keys() >= RATING_SCHEMA.keys() else []
        frame = content.scan().filter(*wanted) if wanted else content.scan()
        with proved(self.storage, stored, content, self.record.roots.get(stored)):
            try:
                rows = frame.select(*dict.fromkeys([*asked, *order]), *told).collect()
            except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                raise IntegrityError(
                    f"table {name} cannot be read: {error}",
                    where=table.uri,
                    hint=RESTORE,
                ) from error
        return rows.sort(order).select(*asked, *([UNSOUND] if told else [])) if order else rows


@dataclass(frozen=True)
class InMemorySnapshot(Snapshot):
    """A snapshot that reads tables from memory by the code that reads them from the lake."""

    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """In the lake's order; what is not here, the lake does not have."""

    @classmethod
    def of(cls, snapshot: Snapshot, tables: Mapping[str, pl.DataFrame]) -> InMemorySnapshot:
        """Return other tables in the place of a lake's."""
        last: Any = tables["bars"]["open_time"].max()
        record = snapshot.record.model_copy(update={"last_close": last + DAY})
        return cls(snapshot.folder, record, snapshot.storage, tables)

    def _rows(
        self,
        name: str,
        wanted: Sequence[pl.Expr],
        columns: Sequence[str] | None,
        *,
        ordered: bool = True,
        judged: bool = False,
    ) -> pl.DataFrame | None:
        frame = self.tables.get(name)
        if frame is None:
            return None
        rows = frame.filter(*wanted) if wanted else frame
        rows = rows.sort(ORDER[name]) if ordered else rows
        told = [UNSOUND] if judged and UNSOUND in rows.columns else []
        return rows.select(*columns, *told) if columns else rows


def pin(folder: Path, head: int | None = None, storage: Storage | None = None) -> Snapshot:
    """Return a state of the lake in a folder; it stays as it is whatever is written later.

    Parameters
    ----------
    folder : Path
        A lake's folder. The source that fills it need not exist any more.
    head : int, optional
        Number of the state; the last where None.
    storage : Storage, optional
        Where the tables lie, where that is known already.

    Raises
    ------
    DataError
        If nothing was ingested.
    UsageError
        If there is no such state.
    """
    storage = storage or storage_of(folder)
    count = storage.count()
    if not count:
        raise DataError("the lake is empty", where=storage.uri, hint="run: assay ingest")
    number = count if head is None else head
    if not 1 <= number <= count:
        raise UsageError(f"the lake has no head {head}", where=storage.uri, hint=f"it has 1 to {count}")
    return Snapshot(folder, parse_head(storage.line(number), number, storage), storage)


def pinned(request: Request) -> Snapshot:
    """Return the state of the lake that a run is pinned to, once it is certain that it still is the one.

    Raises
    ------
    IntegrityError
        If the lake is not there, or its head is not the one that the run's manifest repeats (``LAKE_CHANGED``).
    """
    folder, where = request.lake_folder, f"{request.lake} head {request.head}"
    if not folder.is_dir():
        raise IntegrityError("the lake is not there", where=str(folder), hint="give the --home that holds it")
    snapshot = pin(folder, request.head)
    record = snapshot.record
    hint = f"give the --home in which run {request.run.name} was made, or {RESTORE}"
    if record.tables != dict(request.tables):
        what = f"the head names other table versions than run {request.run.name}"
        raise IntegrityError(what, where=where, hint=hint, code=LAKE_CHANGED)
    if not request.roots:
        return snapshot  # of a run that pinned a head of a former version
    other = [
        name for name in sorted({*request.roots, *record.roots}) if request.roots.get(name) != record.roots.get(name)
    ]
    if other or request.state != record.seal:
        told = f"table {other[0]} is another one" if other else "the head says other things of it"
        what = f"the lake was changed: {told} than when run {request.run.name} pinned it"
        raise IntegrityError(what, where=where, hint=hint, code=LAKE_CHANGED)
    return snapshot


def resolve_as_of(snapshot: Snapshot, text: str | None) -> dt.datetime:
    """Read an as_of and check that the data reach it.

    Parameters
    ----------
    snapshot : Snapshot
        Data.
    text : str or None
        A date or instant as :func:`assay.base.domain.parse_as_of` reads it; None for the close of the last bar.

    Raises
    ------
    UsageError
        If it lies before the first close or after the last: a decision there would be about data that nobody has.
    """
    last = snapshot.last_close()
    if text is None:
        return last
    as_of = parse_as_of(text)
    first = snapshot.first_open() + INTERVALS[snapshot.interval]
    if not first <= as_of <= last:
        raise UsageError(
            f"{text} (as of {format_instant(as_of)}) is outside the data",
            where=snapshot.record.source,
            hint=f"bars are known from {format_instant(first)} to {format_instant(last)}; a bare date means its end",
        )
    return as_of


def _day(instant: dt.datetime) -> int:
    """Return the day's number since 1970."""
    return int(instant.timestamp() // 86_400)


def _panel(
    bars: pl.DataFrame, ratings: pl.DataFrame | None, first: int, last: int, as_of: dt.datetime, **tables: Any
) -> Market:
    """Scatter long tables into panels of days (numbers since 1970) x symbols."""
    symbols = bars["symbol"].unique().sort()
    names, shape = (*BAR_FIELDS, *RATING_FIELDS), (last - first + 1, len(symbols))
    block = np.full((len(names), *shape), np.nan)
    flat = dict(zip(names, block.reshape(len(names), -1), strict=True))

    def scatter(fields: Sequence[str], rows: pl.DataFrame) -> Ints:
        """Write columns into their panels; return the flat index of every row."""
        day = (rows["open_time"].to_physical() // _DAY_US - first).to_numpy()
        # A symbol's code in this type is its rank among the sorted names.
        column = rows["symbol"].cast(pl.Enum(symbols)).to_physical().cast(pl.Int64).to_numpy()
        places = np.asarray(day * len(symbols) + column, dtype=np.int64)
        for name in fields:
            flat[name][places] = rows[name].to_numpy()
        return places

    traded = pl.coalesce("quote_volume", pl.col("close") * pl.col("volume")).alias("value_traded")
    listing = np.full(shape, -1, dtype=np.int32)
    listing.reshape(-1)[scatter(BAR_FIELDS, bars.with_columns(traded))] = bars["listing"].to_numpy()
    broken = None
    if ratings is not None:
        places = scatter(RATING_FIELDS, ratings)
        if UNSOUND in ratings.columns:
            broken = np.zeros(shape, dtype=np.bool_)
            broken.reshape(-1)[places] = ratings[UNSOUND].to_numpy()
    return Market(
        days=np.arange(first, last + 1).astype("datetime64[D]"),
        symbols=tuple(symbols.to_list()),
        fields=dict(zip(names, block, strict=True)),
        listing=listing,
        as_of=as_of,
        unsound=broken,
        **tables,
    )
