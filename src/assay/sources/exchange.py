"""Fetching what the lake lacks from an exchange: concurrent, within its limits, resumable, nothing filled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import polars as pl

from assay.base.domain import DAY, EARLIEST, Instrument, format_instant
from assay.base.errors import SourceError
from assay.market.bars import CheckedBars
from assay.market.schema import INSTANT
from assay.runs.documents import Finding
from assay.settings.model import Universe
from assay.sources import facts
from assay.sources.base import NOTHING, Held, SourceRead, exchange_identity, midnight, utc_now
from assay.sources.clients import DAY_MS, Exchange, Row, connect
from assay.sources.download_cache import DownloadCache, Kept
from assay.sources.http import Exhausted, Streak, ended, run, work_through
from assay.sources.loading import finding, frame, gap_findings, judge, kept_so_far, news, retries
from assay.sources.nowhere import Nowhere, days_between
from assay.sources.plan import FetchTask, Known, gaps, tasks, wanted
from assay.sources.rules import RuleBook
from assay.sources.settings import Access

CANNOT = "the exchange cannot be reached"
_SKEW = dt.timedelta(seconds=10)


@dataclass(frozen=True)
class ExchangeSource:
    """Daily bars and trading rules of one exchange's spot pairs.

    Parameters
    ----------
    exchange : str
        ccxt's name for it.
    access : Access
        Address and patience.
    clock : callable
        This machine's clock, to be compared with the exchange's.
    universe : Universe
        Pairs of which quotes are loaded, beside what a scan named and what the lake has.
    """

    exchange: str
    access: Access = field(default_factory=Access)
    clock: Callable[[], dt.datetime] = utc_now
    universe: Universe = field(default_factory=Universe)

    @property
    def name(self) -> str:
        """``binance``, or ``ccxt:NAME`` for any other."""
        return self.exchange if self.exchange == "binance" else f"ccxt:{self.exchange}"

    @property
    def kind(self) -> str:
        """ccxt's name for it."""
        return self.exchange

    @property
    def identity(self) -> str:
        """Digest of exchange, market and interval: a mirror of it is the same source."""
        return exchange_identity(self.exchange)

    def fingerprint(self) -> None:
        """Return None: only a reading tells whether there is something new."""

    def read(self, held: Held = NOTHING) -> SourceRead:
        """Fetch what is new.

        Raises
        ------
        SourceError
            If the exchange cannot be reached or understood, or has nothing new though bars were due
            (``SYNC_EMPTY``). What was fetched stays in the download cache.
        """

        async def work() -> SourceRead:
            exchange = connect(self.exchange, self.access)
            try:
                now, skew, book = await self._look(exchange)
                reading = _ExchangeReading(self, held, exchange, now, book)
                await reading.fetch()
            finally:
                await exchange.close()
            return reading.result(skew)

        return run(work())

    def facts(self) -> tuple[dt.datetime, RuleBook, list[Finding]]:
        """Ask for the pairs alone; return the instant, by the earlier of the two clocks, their rules, and who told."""

        async def work() -> tuple[dt.datetime, RuleBook, list[Finding]]:
            exchange = connect(self.exchange, self.access)
            try:
                now, _, book = await self._look(exchange)
            finally:
                await exchange.close()
            return now, book, finding("MIRRORED", count=exchange.mirrored)

        return run(work())

    async def _look(self, exchange: Exchange) -> tuple[dt.datetime, dt.timedelta, RuleBook]:
        """Ask for the clock and the pairs; return the earlier of the two clocks, their difference, and the rules."""
        try:
            told = await exchange.time()
            book = await exchange.pairs()
        except Exhausted as error:
            raise ended(self.name, CANNOT, error) from error
        local = self.clock()
        return (local if told is None else min(told, local)), (told or local) - local, book


class _ExchangeReading:
    """One reading of an exchange, whose earlier clock and pairs are known."""

    def __init__(
        self, source: ExchangeSource, held: Held, exchange: Exchange, now: dt.datetime, book: RuleBook
    ) -> None:
        self.source, self.held, self.exchange, self.now, self.book = source, held, exchange, now, book
        if held.last_close is not None and held.last_close > now:
            raise SourceError(
                f"it is {format_instant(now)} by the earlier of the two clocks, before the lake's last bar has closed",
                where=source.name,
                hint="set this machine's clock, or look at the exchange's; nothing was stored",
                code="SOURCE_CLOCK",
            )
        self.last_open = midnight(now) - DAY
        self.nowhere = Nowhere(held.folder)
        self.known = Known(held, self.last_open, self.nowhere)
        pairs = wanted(book, source.universe.quotes, self.known.last.keys(), held.named, now.date())
        found = tasks(pairs, book, self.known, self.last_open, source.access.history)
        self.tasks = {task.pair.symbol: task for task in found}
        self.cache = DownloadCache(held.cache(source.exchange), held.version)
        self.resumed = self.cache.held.keys() & self.tasks.keys()
        self.gone: set[str] = set()
        self.failed: set[str] = set()
        self.repaired = 0
        self._streak = Streak(source.name, CANNOT)

    # --- bars -----------------------------------------------------------------------------------------------------

    async def fetch(self) -> None:
        tell = partial(self.held.tell, "fetch")
        with kept_so_far(self.cache, len(self.tasks), "pairs"):
            await work_through(list(self.tasks.values()), self._one, self.source.access.concurrency, tell)

    async def _one(self, task: FetchTask) -> None:
        try:
            await self._pages(task)
            await self._again(task)
        except Exhausted as error:
            gone = error.trouble.kind == "GONE"
            (self.gone if gone else self.failed).add(task.pair.symbol)
            if not gone:
                self._streak.add(error)
                return
        self._streak.broken()

    async def _pages(self, task: FetchTask) -> None:
        """Fetch from where the cache ends."""
        kept, end = self.cache.held.get(task.pair.symbol), _ms(self.last_open)
        begin = _ms(task.since) if kept is None else max(kept.note, _ms(task.since))
        await self._cover(task.pair, range(begin, end + 1, DAY_MS), partial(self.cache.keep, task.pair.symbol))

    async def _again(self, task: FetchTask) -> None:
        """Ask once more for days that are missing, unless the lake lacks them too: then this was the second time."""
        kept = self.cache.held[task.pair.symbol]
        have = {row[0] for row in kept.rows}
        begin, end = min(have, default=_ms(task.since)), _ms(self.last_open) if task.due else max(have, default=0)
        first_new = _ms(task.last) if task.last is not None else 0
        missing = [at for at in range(begin, end + 1, DAY_MS) if at not in have and at > first_new]

        def keep(rows: list[Row], _: int) -> None:
            came = [row for row in rows if row[0] not in have]
            if came:
                self.repaired += len(came)
                self.cache.keep(task.pair.symbol, came, kept.note)

        await self._cover(task.pair, missing, keep)

    async def _cover(self, pair: Instrument, days: Sequence[int], keep: Callable[[list[Row], int], None]) -> None:
        """Ask until the days are covered or nothing new comes, whatever a page holds; tell rows and where to go on.

        A page without a bar may be one of days on which there were none: what comes after it is asked for too.
        """
        begin, end = (days[0], days[-1]) if days else (0, -1)
        while begin <= end:
            answer = await self.exchange.bars(pair, begin, end + DAY_MS - 1)
            rows = [row for row in answer if row[0] >= begin]
            self.exchange.page = max(self.exchange.page, len(rows))
            after = begin + self.exchange.page * DAY_MS if not answer else max(_opened(rows), default=end) + DAY_MS
            rows = await self._before(pair, begin, rows)
            begin = next((day for day in days if day >= after), end + DAY_MS)
            keep(rows, begin)

    async def _before(self, pair: Instrument, begin: int, rows: list[Row]) -> list[Row]:
        """Ask for what is before an answer, of an exchange that may answer with the last bars of a span."""
        came = rows
        while came and not self.exchange.oldest_first and (first := min(_opened(came))) - DAY_MS >= begin:
            came = [row for row in await self.exchange.bars(pair, begin, first - 1) if row[0] >= begin]
            rows = [*came, *rows]
        return rows

    # --- findings -------------------------------------------------------------------------------------------------

    def result(self, skew: dt.timedelta) -> SourceRead:
        """Judge what was fetched."""
        fresh = frame({symbol: self.cache.held.get(symbol, Kept()).rows for symbol in self.tasks})
        checked = judge(fresh, self.source.name, self.source.kind, self.now, self.known.last.keys())
        seen = checked.bars.group_by("symbol").agg(first=pl.col("open_time").min(), last=pl.col("open_time").max())
        oldest, newest = (dict(seen.select("symbol", name).iter_rows()) for name in ("first", "last"))
        self._check_news(newest)
        with_bars = self.known.last.keys() | newest.keys()
        since = facts.valid_since(self.now, self.held.last_close)
        by = facts.Judge(self.source.name, self.held.accept)
        table, changes = facts.merge(self.held.instruments, self.book, with_bars, since, self.held.folder, by)
        found = [
            *finding("CLOCK_SKEW", count=abs(round(skew.total_seconds())) if abs(skew) > _SKEW else 0),
            *finding("RESUMED", self.resumed),
            *retries(self.exchange.asker.retries),
            *finding("MIRRORED", count=self.exchange.mirrored),
            *changes,
            *checked.findings,
            *self._arrivals(oldest, newest),
            *self._missing_days(checked),
        ]
        told = news(checked, found, table, self.exchange.asker, self.cache)
        vain = self._vain(checked)

        def settle() -> None:
            if vain:
                self.nowhere.asked(vain)
            told.settle()

        return replace(told, settle=settle)

    def _vain(self, checked: CheckedBars) -> list[tuple[str, dt.date]]:
        """Return the days that the lake lacked, and that were asked for now as when its bars came: in vain."""
        asked = {s: t for s, t in self.tasks.items() if t.last is not None and s not in self.gone | self.failed}
        if self.held.keys is None or not asked:
            return []
        spans = [(symbol, task.since, task.last) for symbol, task in asked.items()]
        table = pl.DataFrame(spans, schema={"symbol": pl.String, "since": INSTANT, "last": INSTANT}, orient="row")
        keys = pl.concat([self.held.keys, checked.bars.select("symbol", "open_time")]).unique()
        of = keys.join(table, on="symbol")
        held = of.filter(pl.col("open_time").is_between("since", "last")).select("symbol", "open_time")
        return days_between(gaps(held))

    def _check_news(self, newest: dict[str, dt.datetime]) -> None:
        """Refuse a reading without news where bars were due, unless the lake has others of that day already.

        Then the exchange is well: what is due is that of a pair that was listed today, or that nobody trades.
        """
        if self.held.last_close is not None and self.held.last_close > self.last_open:
            return
        due = {symbol: task.last for symbol, task in self.tasks.items() if task.due}
        if due and not any(s in newest and (last is None or newest[s] > last) for s, last in due.items()):
            raise SourceError(
                f"{len(due)} bars were due and none came",
                where=self.source.name,
                hint="nothing was stored; try again, and look whether the exchange has stopped trading",
                code="SYNC_EMPTY",
            )

    def _arrivals(self, oldest: dict[str, dt.datetime], newest: dict[str, dt.datetime]) -> list[Finding]:
        """Tell what came and what did not."""
        asked = {s: task for s, task in self.tasks.items() if s not in self.gone and s not in self.failed}
        late = [s for s, task in asked.items() if task.due and newest.get(s, EARLIEST) < self.last_open]
        cut = [s for s, task in asked.items() if task.last is not None and oldest.get(s, self.now) > task.since]
        return [
            *finding("SYMBOL_GONE", self.gone),
            *finding("SYMBOL_FAILED", self.failed),
            *finding("BARS_LATE", late),
            *finding("HISTORY_CUT", cut),
            *finding("NEW_SYMBOL", [s for s in newest if self.tasks[s].last is None] if self.known.last else []),
        ]

    def _missing_days(self, checked: CheckedBars) -> list[Finding]:
        lasts = [(s, task.last) for s, task in self.tasks.items() if task.last is not None]
        ends = pl.DataFrame(lasts, schema={"symbol": pl.String, "open_time": INSTANT}, orient="row")
        keys = checked.bars.select("symbol", "open_time")
        return [
            *finding("GAP_REPAIRED", count=self.repaired + self._filled(keys)),
            *gap_findings(pl.concat([keys, ends]).unique()),
        ]

    def _filled(self, keys: pl.DataFrame) -> int:
        """Count bars before the lake's last ones that the lake did not have."""
        if self.held.keys is None:
            return 0
        last = self.held.keys.group_by("symbol").agg(pl.col("open_time").max().alias("last"))
        before = keys.join(last, on="symbol").filter(pl.col("open_time") < pl.col("last"))
        return before.join(self.held.keys, on=("symbol", "open_time"), how="anti").height


def _opened(rows: Iterable[Row]) -> Iterator[int]:
    return (row[0] for row in rows)


def _ms(instant: dt.datetime) -> int:
    return round(instant.timestamp() * 1000)
