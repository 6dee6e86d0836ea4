"""Fetching what the lake lacks from an exchange: concurrent, within its limits, resumable, nothing filled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from assay.base import files
from assay.base.domain import DAY, format_instant
from assay.base.errors import SourceError
from assay.market.bars import Checked
from assay.market.schema import INSTANT
from assay.runs.documents import Finding
from assay.settings.model import Universe
from assay.sources import facts
from assay.sources.base import NOTHING, Held, SourceRead, exchange_identity, midnight, utc_now
from assay.sources.clients import DAY_MS, PAGE, Exchange, Gone, connect
from assay.sources.download_cache import DownloadCache, Kept
from assay.sources.http import Exhausted, run, work_through
from assay.sources.loading import finding, frame, gap_findings, judge, retries
from assay.sources.plan import FetchTask, Known, tasks, wanted
from assay.sources.rules import RuleBook
from assay.sources.settings import Access

_SKEW = dt.timedelta(seconds=10)
_IN_A_ROW = 3
"""Pairs that fail one after the other, without a success between: then it is the exchange that fails."""
_LATER = "what was fetched is kept: check the network and run again, the next ingest goes on from there"


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
        return run(_ExchangeReading(self, held).run())


@dataclass(frozen=True)
class _Look:
    """What the exchange said of itself, and what follows for this reading."""

    now: dt.datetime
    skew: dt.timedelta
    book: RuleBook
    known: Known
    plan: list[FetchTask]

    @property
    def last_open(self) -> dt.datetime:
        """Opening time of the last bar that has closed."""
        return midnight(self.now) - DAY


class _ExchangeReading:
    """One reading of an exchange."""

    def __init__(self, source: ExchangeSource, held: Held) -> None:
        self.source, self.held = source, held
        self.cache = DownloadCache(held.cache(source.exchange), held.version)
        self.gone: set[str] = set()
        self.failed: dict[str, str] = {}
        self.repaired = 0
        self._in_a_row = 0

    async def run(self) -> SourceRead:
        exchange = connect(self.source.exchange, self.source.access)
        try:
            look = await self._look(exchange)
            resumed = self.cache.held.keys() & {task.pair.symbol for task in look.plan}
            await self._fetch(exchange, look)
        finally:
            await exchange.close()
        answers = {task.pair.symbol: self.cache.held.get(task.pair.symbol, Kept()).rows for task in look.plan}
        fresh = frame(answers)
        checked = judge(fresh, self.source.name, self.source.kind, look.now, look.known.last.keys())
        self._check_news(look, checked)
        table, changes = self._facts(look, checked)
        found = [
            *finding("CLOCK_SKEW", count=abs(round(look.skew.total_seconds())) if abs(look.skew) > _SKEW else 0),
            *finding("RESUMED", resumed),
            *retries(exchange.traffic.retries),
            *changes,
            *checked.findings,
            *self._arrivals(look, checked),
        ]
        return SourceRead(
            bars=checked.bars,
            rejected=checked.rejected,
            interval="1d",
            fingerprint=files.content_hash_table(checked.bars, ("symbol", "open_time")),
            complete=False,
            findings=tuple(found),
            instruments=table,
            cost={"requests": exchange.traffic.requests, "weight": exchange.traffic.weight},
            settle=self.cache.clear,
        )

    async def _look(self, exchange: Exchange) -> _Look:
        """Ask for the clock and the pairs, and decide what to fetch."""
        try:
            told = await exchange.time()
            book = await exchange.pairs()
        except Exhausted as error:
            raise self._unreachable(str(error)) from error
        local = self.source.clock()
        now = local if told is None else min(told, local)
        if self.held.last_close is not None and self.held.last_close > now:
            raise SourceError(
                f"it is {format_instant(now)} by the earlier of the two clocks, before the lake's last bar has closed",
                where=self.source.name,
                hint="set this machine's clock, or look at the exchange's; nothing was stored",
                code="SOURCE_CLOCK",
            )
        last_open = midnight(now) - DAY
        known = Known.of(self.held, last_open)
        pairs = wanted(book, self.source.universe.quotes, known.last.keys(), self.held.named, now.date())
        plan = tasks(pairs, book, known, last_open, self.source.access.history)
        return _Look(now, (told or local) - local, book, known, plan)

    # --- bars -----------------------------------------------------------------------------------------------------

    async def _fetch(self, exchange: Exchange, look: _Look) -> None:
        async def fetch(task: FetchTask) -> None:
            await self._one(exchange, task, look.last_open)

        await work_through(look.plan, fetch, self.source.access.concurrency, partial(self.held.tell, "fetch"))

    async def _one(self, exchange: Exchange, task: FetchTask, last_open: dt.datetime) -> None:
        symbol = task.pair.symbol
        try:
            await self._pages(exchange, task, last_open)
            await self._again(exchange, task, last_open)
        except Gone:
            self.gone.add(symbol)
        except Exhausted as error:
            self.failed[symbol] = str(error)
            self._in_a_row += 1
            if self._in_a_row >= _IN_A_ROW:
                raise self._unreachable(str(error)) from error
            return
        self._in_a_row = 0

    async def _pages(self, exchange: Exchange, task: FetchTask, last_open: dt.datetime) -> None:
        """Fetch page after page from where the cache ends."""
        kept = self.cache.held.get(task.pair.symbol)
        begin = _ms(task.since) if kept is None else max(kept.note, _ms(task.since))
        end = _ms(last_open)
        while begin <= end:
            rows = await exchange.bars(task.pair, begin, end + DAY_MS - 1)
            opened = [row[0] for row in rows]
            begin = max(opened) + DAY_MS if len(rows) >= PAGE else end + DAY_MS
            self.cache.keep(task.pair.symbol, rows, begin)

    async def _again(self, exchange: Exchange, task: FetchTask, last_open: dt.datetime) -> None:
        """Ask once more for days that are missing, unless the lake lacks them too: then this was the second time."""
        kept = self.cache.held[task.pair.symbol]
        have = {row[0] for row in kept.rows}
        begin, end = min(have, default=_ms(task.since)), _ms(last_open) if task.due else max(have, default=0)
        first_new = _ms(task.last) if task.last is not None else 0
        missing = [at for at in range(begin, end + 1, DAY_MS) if at not in have and at > first_new]
        if not missing:
            return
        rows = await exchange.bars(
            task.pair, max(missing[0], missing[-1] - (PAGE - 1) * DAY_MS), missing[-1] + DAY_MS - 1
        )
        came = [row for row in rows if row[0] not in have]
        if came:
            self.repaired += len(came)
            self.cache.keep(task.pair.symbol, came, kept.note)

    # --- findings -------------------------------------------------------------------------------------------------

    def _check_news(self, look: _Look, checked: Checked) -> None:
        """Refuse a reading without news where bars were due, unless the lake has others of that day already.

        Then the exchange is well: what is due is that of a pair that was listed today, or that nobody trades.
        """
        if self.held.last_close is not None and self.held.last_close > look.last_open:
            return
        due = {task.pair.symbol: task.last for task in look.plan if task.due}
        newest = dict(checked.bars.group_by("symbol").agg(pl.col("open_time").max()).iter_rows())
        news = [s for s, last in due.items() if s in newest and (last is None or newest[s] > last)]
        if due and not news:
            raise SourceError(
                f"{len(due)} bars were due and none came",
                where=self.source.name,
                hint="nothing was stored; try again, and look whether the exchange has stopped trading",
                code="SYNC_EMPTY",
            )

    def _arrivals(self, look: _Look, checked: Checked) -> list[Finding]:
        """Tell what came, what did not, and which days are missing."""
        plan = {task.pair.symbol: task for task in look.plan}
        asked = plan.keys() - self.gone - self.failed.keys()
        newest = dict(checked.bars.group_by("symbol").agg(pl.col("open_time").max()).iter_rows())
        oldest = dict(checked.bars.group_by("symbol").agg(pl.col("open_time").min()).iter_rows())
        late = [s for s in asked if plan[s].due and newest.get(s, look.now - 9999 * DAY) < look.last_open]
        cut = [s for s in asked if plan[s].last is not None and oldest.get(s, look.now) > plan[s].since]
        new = [s for s in newest if plan[s].last is None] if look.known.last else []
        return [
            *finding("SYMBOL_GONE", self.gone),
            *finding("SYMBOL_FAILED", self.failed.keys()),
            *finding("BARS_LATE", late),
            *finding("HISTORY_CUT", cut),
            *finding("NEW_SYMBOL", new),
            *self._missing_days(plan, checked),
        ]

    def _missing_days(self, plan: dict[str, FetchTask], checked: Checked) -> list[Finding]:
        lasts = [(s, task.last) for s, task in plan.items() if task.last is not None]
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

    def _facts(self, look: _Look, checked: Checked) -> tuple[pl.DataFrame, list[Finding]]:
        closed = midnight(look.now)
        decided = self.held.last_close is not None and self.held.last_close >= closed
        with_bars = look.known.last.keys() | set(checked.bars["symbol"].unique())
        return facts.merge(self.held.instruments, look.book, with_bars, look.now if decided else closed)

    def _unreachable(self, said: str) -> SourceError:
        return SourceError(
            f"the exchange cannot be reached: {said}", where=self.source.name, hint=_LATER, code="SOURCE_UNREACHABLE"
        )


def _ms(instant: dt.datetime) -> int:
    return round(instant.timestamp() * 1000)
