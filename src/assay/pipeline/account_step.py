"""A day of an account: the lake, yesterday's orders, today's decision, tomorrow's orders, one write of the ledger.

Days that were missed are lived through first. An order is written for the open that follows the last of them, never for
one that is past: a tranche whose turn was missed keeps what it holds, unless it is to decide late, or the past is
stepped through as if on time, which its days then say for ever.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.account import ledger as book
from assay.account.bars import DayBars, day_bars
from assay.account.day import advance
from assay.account.fills import FillContext, Matched, known_trades, match, outstanding
from assay.account.imports import Imported, import_fills
from assay.account.ledger import AccountLedger, ClosedDay, Event
from assay.account.orders import orders_for
from assay.account.state import Booked, Happened, apply, replay
from assay.account.terms import AccountTerms, changed, refuse_grid
from assay.account.tracking import apart, tracked
from assay.backtest.decision import history_days
from assay.backtest.walk_forward import close_of, due, prices_of
from assay.base import files
from assay.base.domain import DAY
from assay.base.errors import UsageError
from assay.lake.snapshot import resolve_as_of
from assay.market.holes import MARKET
from assay.pipeline.account_follow import Follower, rules_of
from assay.pipeline.account_portfolio import follower_of
from assay.pipeline.context import serving
from assay.pipeline.flow import brought_up
from assay.runs.home import Home
from assay.settings.model import Universe
from assay.sources.acceptance import NOTHING_ACCEPTED, Acceptance
from assay.sources.rules import RuleBook

if TYPE_CHECKING:
    from assay.backtest.book import Prices
    from assay.lake.snapshot import Snapshot
    from assay.market.panel import Market
    from assay.settings import Catalog

EARLIER = "EARLIER_DAY"
OTHER_FILLS = "OTHER_FILLS"
NOT_YET = "ACCOUNT_NOT_BEGUN"
DONE = "DONE"
ALREADY_DONE = "ALREADY_DONE"
MISSED = "MISSED_DECISION"
HOLE = "MARKET_HOLE"
LIQUIDATED = "LIQUIDATED"
HISTORY_CHANGED = "HISTORY_CHANGED"
_DIGITS = 12


@dataclass(frozen=True)
class StepAsked:
    """How an account is to be stepped."""

    as_of: str | None = None
    fills: Path | None = None
    late: bool = False
    backfill: bool = False
    take: tuple[str, ...] = ()
    """Coins of which trades are taken that nobody ordered."""
    accept: Acceptance = NOTHING_ACCEPTED


@dataclass(frozen=True)
class Stepped:
    """What a step did."""

    account: str
    outcome: str
    """``DONE`` or ``ALREADY_DONE``."""
    folder: Path
    days: tuple[ClosedDay, ...] = ()
    """Those that were done now; the last one that was, where there was nothing to do."""
    epoch: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Settings that changed since the last step."""


def step(home: Home, catalog: Catalog, folder: Path, asked: StepAsked) -> Stepped:
    """Do every day of an account up to an instant.

    Raises
    ------
    UsageError
        If the day is earlier than the last one that was done (``EARLIER_DAY``), was done with other fills
        (``OTHER_FILLS``), or lies before the account begins.
    AssayError
        Whatever ends a decision: the days before it are done, its own is not.
    """
    if asked.late and asked.backfill:
        raise UsageError("--late and --backfill exclude each other", where="--late", hint="choose one")
    with AccountLedger.open(folder) as kept:
        terms = AccountTerms.of(kept.entries)
        lake, snapshot = brought_up(home, catalog, terms.source)
        as_of = resolve_as_of(snapshot, asked.as_of)
        day = _last_closed(as_of)
        if (done := _done(kept, terms, day, asked)) is not None:
            return done
        follower = follower_of(home, catalog, terms, lake, asked.accept)
        known = [str(entry.body["digest"]) for entry in kept.entries if entry.kind == book.ACCEPT]
        for note in follower.refuse_ruin(f"step {terms.account}", known):
            kept.append(book.ACCEPT, note)
        epoch = _epoch(kept, terms, follower, day)
        first = _next(kept, terms, day)
        if asked.fills is not None and first < day:
            what = f"fills are given for one day, and {first} to {day} are to be done"
            hint = f"do the days before without them: --as-of {day - dt.timedelta(days=1)}"
            raise UsageError(what, where=str(asked.fills), hint=hint)
        with book.private():
            life = Life(kept, terms, follower, snapshot, first, day, asked)
            before = len(kept.days)
            life.live()
        return Stepped(terms.account, DONE, folder, tuple(kept.days[before:]), epoch)


def _last_closed(as_of: dt.datetime) -> dt.date:
    """Return the last day whose bar has closed at an instant."""
    return (as_of - DAY).date()


def _next(kept: AccountLedger, terms: AccountTerms, day: dt.date) -> dt.date:
    last = kept.last_day
    return last + dt.timedelta(days=1) if last is not None else terms.start or day


def _done(kept: AccountLedger, terms: AccountTerms, day: dt.date, asked: StepAsked) -> Stepped | None:
    """Answer for a day that was done; refuse what would do it otherwise, or an earlier one."""
    last = kept.last_day
    if last is None:
        if terms.start is not None and day < terms.start:
            what = f"the account begins on {terms.start}, and {day} is asked for"
            raise UsageError(what, where=terms.account, hint="step it when that day has closed", code=NOT_YET)
        return None
    if day > last:
        return None
    if day < last:
        what = f"{last} was done already, and {day} is earlier"
        raise UsageError(what, where=terms.account, hint="what was done stays as it is", code=EARLIER)
    closed = kept.days[-1]
    if asked.fills is not None and files.sha256_file(asked.fills) != closed.close.body.get("fills"):
        what = f"{last} was done already, with other fills"
        hint = "what was filled later is given with the next day's step"
        raise UsageError(what, where=str(asked.fills), hint=hint, code=OTHER_FILLS)
    return Stepped(terms.account, ALREADY_DONE, kept.path.parent, (closed,))


def _epoch(kept: AccountLedger, terms: AccountTerms, follower: Follower, day: dt.date) -> Mapping[str, Sequence[Any]]:
    """Begin a new epoch where the settings are not what they were."""
    changes = changed(terms.settings, follower.settings)
    if changes:
        refuse_grid(terms.account, changes)
        kept.append(book.EPOCH, {"settings": follower.settings, "changed": changes, "found": day.isoformat()})
    return changes


class Life:
    """The days of an account that are to be done, one after the other."""

    def __init__(
        self,
        kept: AccountLedger,
        terms: AccountTerms,
        follower: Follower,
        snapshot: Snapshot,
        first: dt.date,
        last: dt.date,
        asked: StepAsked,
    ) -> None:
        self.kept = kept
        self.terms = terms
        self.follower = follower
        self.snapshot = snapshot
        self.first = first
        self.last = last
        self.asked = asked
        self.state = replay(kept.entries)
        self.profile = follower.account
        as_of = close_of(np.datetime64(last))
        began = kept.days[0].day if kept.days else first
        sight = max(history_days(one, as_of) for one in follower.profiles) + (last - first).days
        lived = (last - follower.since(began)).days + max(one.sight_days for one in follower.profiles)
        reach = max(sight, lived)
        self.began = np.datetime64(began)
        self.market: Market = snapshot.market(as_of, reach)
        self.prices: Prices = prices_of(self.market, self.profile.costs)
        self.book = rules_of(snapshot, as_of)
        self.rules = None if self.book is None or not terms.filters else self.book.rules

    def live(self) -> None:
        """Do the days."""
        days = [self.first + dt.timedelta(days=n) for n in range((self.last - self.first).days + 1)]
        with serving(self.snapshot, self.market):
            for day in days:
                self.do(day)

    def do(self, day: dt.date) -> None:
        """Do one day and write it down."""
        told: list[Event] = [*self.history_changed(day)]
        told += self.pass_through(day)
        told += self.decide(day)
        told += self.followed(day, told) if day == self.last else ()
        symbols = {*self.state.held, *(order.symbol for order in self.state.orders)}
        close = {
            "state": files.content_hash_json(self.state.document()),
            "simulated": self.is_simulated(day),
            "head": self.snapshot.head,
            "fills": None if self.asked.fills is None else files.sha256_file(self.asked.fills),
            "bars": {symbol: self.digest(symbol, day) for symbol in sorted(symbols)},
        }
        self.kept.append_day(day, told, close)

    def followed(self, day: dt.date, told: Sequence[Event]) -> Iterator[Event]:
        """Say how far the account is from the tranche book of its decisions."""
        entries: list[Booked] = [*self.kept.entries, *(Happened(*one) for one in told)]
        costs, margin = self.profile.costs, self.profile.margin
        found = apart(entries, self.prices, self.market.symbols, self.market.days, costs, margin)
        if found is not None:
            yield "reconcile", {"day": day.isoformat(), "tracking": tracked(found)}

    def is_simulated(self, day: dt.date) -> bool:
        """Whether more than the day is known already: whoever decides then decides in hindsight."""
        return day < _last_closed(self.snapshot.last_close()) and (self.asked.backfill or day == self.last)

    # ---- what was

    def row(self, day: dt.date) -> int:
        """Return the row of the panel."""
        return int((np.datetime64(day) - self.market.days[0]).astype(np.int64))

    def digest(self, symbol: str, day: dt.date) -> str | None:
        """Return a hash of a coin's bar, None where the lake has no such coin."""
        at, row = self.market.index.get(symbol), self.row(day)
        if at is None:
            return None
        bar = [repr(float(self.market[name][row, at])) for name in ("open", "high", "low", "close")]
        return files.sha256(" ".join([*bar, str(int(self.market.listing[row, at]))]).encode())[:_DIGITS]

    def history_changed(self, day: dt.date) -> Iterator[Event]:
        """Say which bars of days that were done are not what they were; what was booked stays."""
        known: dict[tuple[str, str], str | None] = {}
        for done in self.kept.days:
            known |= {(done.day.isoformat(), symbol): told for symbol, told in done.close.body["bars"].items()}
            for body in done.bodies("history_changed"):
                known |= {(body["of"], symbol): now for symbol, (_, now) in body["coins"].items()}
        changes: dict[str, dict[str, list[str | None]]] = {}
        for (of, symbol), was in known.items():
            past = dt.date.fromisoformat(of)
            if self.row(past) >= 0 and (now := self.digest(symbol, past)) != was:
                changes.setdefault(of, {})[symbol] = [was, now]
        for of, coins in sorted(changes.items()):
            yield "history_changed", {"day": day.isoformat(), "of": of, "coins": coins}

    # ---- the day

    def pass_through(self, day: dt.date) -> list[Event]:
        """Fill yesterday's orders, look, charge, mark, and let deposits and withdrawals in."""
        orders, costs, margin = self.state.orders, self.profile.costs, self.profile.margin
        imported = self.imported()
        told_of = () if imported is None else _coins(imported, self.market.index)
        wanted = {*self.state.held, *(order.symbol for order in orders), *told_of}
        bars = day_bars(self.prices, self.market.days, self.market.symbols, self.row(day), wanted)
        matched = None if imported is None else self.matched(imported, day, bars)
        fills = None if matched is None else [Happened(*entry) for entry in matched.entries]
        flows = _flows(self.kept, day)
        amounts = [Decimal(body["amount"]) for _, body in flows]
        self.state, happened = advance(self.state, bars, orders, costs, margin, fills=fills, flows=amounts)
        requests = iter([seq for seq, _ in flows])
        told: list[Event] = [
            (kind, dict(body) | ({"request": next(requests)} if kind == "flow" else {})) for kind, body in happened
        ]
        if matched is not None:
            findings = [finding.model_dump(mode="json") for finding in matched.findings]
            told.append(("reconcile", {"day": day.isoformat(), "known": matched.known, "findings": findings}))
        return told

    def imported(self) -> Imported | None:
        """Return what the file of fills says, None where the orders are filled on paper."""
        if self.asked.fills is None:
            return None
        book = self.book or RuleBook({}, self.snapshot.first_open())
        return import_fills(self.asked.fills, book)

    def matched(self, imported: Imported, day: dt.date, bars: DayBars) -> Matched:
        """Give each trade to the order that it filled."""
        entries = [(entry.kind, entry.body) for entry in self.kept.entries]
        holders = {
            symbol: max(range(len(parts)), key=lambda at: abs(parts[at])) for symbol, parts in self.state.held.items()
        }
        told = FillContext(
            day=day,
            ordered=self.state.orders,
            opens={symbol: coin.open for symbol, coin in bars.coins.items()},
            outstanding=outstanding(entries, lambda earlier: earlier + dt.timedelta(days=1)),
            known=known_trades(entries),
            taken=frozenset(self.asked.take),
            tranche=self.turn(day) or 0,
            holders=holders,
        )
        return match(imported, told)

    # ---- the decision

    def decide(self, day: dt.date) -> Iterator[Event]:
        """Decide for the tranche whose turn it is, and for those that are late, and write the orders."""
        turn, last = self.turn(day), day == self.last
        late = self.missed_before(turn) if self.asked.late and last else []
        hole = self.in_hole(day)
        why = LIQUIDATED if self.state.liquidated else HOLE if hole else None if last or self.asked.backfill else MISSED
        foundation = None if why is not None else self.follower.stand_on(self.snapshot, self.market, day)
        if why in (None, MISSED):
            yield from self.follower.watch(self.kept, self.market, foundation, day)
        if foundation is None:
            if turn is not None:
                yield "missed", {"day": day.isoformat(), "tranche": turn, "why": why}
            return
        turns = late if turn is None else [turn, *late]
        if not turns:
            return
        made = self.follower.decide(foundation, self.market, day)
        weights = {symbol: repr(weight) for symbol, weight in sorted(made.weights.items())}
        for tranche in turns:
            is_late = {"late": True} if tranche in late else {}
            body = {"day": day.isoformat(), "tranche": tranche, "weights": weights, **made.record, **is_late}
            yield "decision", body
            yield self.ordered(day, made.weights, tranche, late=tranche in late)

    def ordered(self, day: dt.date, weights: Mapping[str, float], tranche: int, *, late: bool) -> Event:
        """Return the line of a tranche's orders, and keep them."""
        wanted = {*self.state.held, *weights}
        closes = day_bars(self.prices, self.market.days, self.market.symbols, self.row(day), wanted).closes
        sheet = orders_for(
            self.state,
            weights,
            tranche,
            closes,
            costs=self.profile.costs,
            band=self.terms.band,
            rules=self.rules,
            late=late,
        )
        entry = sheet.entry(day)
        self.state = apply(self.state, entry)
        return entry

    def turn(self, day: dt.date) -> int | None:
        """Return the tranche whose turn it is; a single one that met a hole of the market decides after it."""
        settings = self.profile.walk_forward
        found = due(np.datetime64(day), self.began, settings)
        if found is None and settings.parts == 1 and self.kept.days:
            waits = [body for body in self.kept.days[-1].bodies("missed") if body["why"] == HOLE]
            return 0 if waits else None
        return found

    def in_hole(self, day: dt.date) -> bool:
        """Whether the whole market lacks the day."""
        return bool(self.market.holes[self.row(day), self.market.column(self.profile.benchmark)] == MARKET)

    def missed_before(self, turn: int | None) -> list[int]:
        """Return the tranches that missed their last turn, and have had none since."""
        last: dict[int, bool] = {}
        for done in self.kept.days:
            last |= {body["tranche"]: True for body in done.bodies("missed") if body["why"] == MISSED}
            last |= {body["tranche"]: False for body in done.bodies("decision")}
        return sorted(tranche for tranche, missed in last.items() if missed and tranche != turn)


def _coins(imported: Imported, known: Mapping[str, int]) -> set[str]:
    """Return the coins of a file that the market has: those traded, and those in which fees were paid."""
    named = {
        f"{trade.symbol.partition(':')[0]}:{coin}{quote}"
        for trade in imported.trades
        for coin, _ in trade.fees
        for quote in Universe().quotes
    }
    return ({trade.symbol for trade in imported.trades} | named) & known.keys()


def _flows(kept: AccountLedger, day: dt.date) -> list[tuple[int, Mapping[str, Any]]]:
    """Return what was asked for by a day and not taken yet, with the lines that asked."""
    taken = {body["request"] for done in kept.days for body in done.bodies("flow")}
    return [
        (entry.seq, entry.body)
        for entry in kept.entries
        if entry.kind == book.ASKED
        and entry.seq not in taken
        and (entry.body["day"] is None or dt.date.fromisoformat(entry.body["day"]) <= day)
    ]
