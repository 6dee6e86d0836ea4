"""Walk-forward of the whole decision: decide with what was known, fill at the next open, hold, decide again.

A decision comes every day, and holds for a step of days: the account is split into as many tranches as a step has days,
and the decision of day D is that of tranche (days since 1970-01-01) mod step. A decision on the bar of day D knows that
bar, which closes at (D + 1)T00:00Z, and fills at the open of day D + 1. So the first decision of 386 daily bars with
``train`` = 252 falls on the 253rd bar, when 252 returns exist, 133 days are traded, and on the last 124 of them every
tranche is filled: these are counted. With a single tranche the grid is anchored at the first decision: from a given
start, later bars never move it.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import numpy as np
import polars as pl

from assay.backtest.book import BookResult, Cancelled, Prices, Target, Trades, simulate
from assay.backtest.bootstrap import intervals
from assay.backtest.choice import NOTHING, Choice
from assay.backtest.overfitting import probability_of_overfitting
from assay.backtest.preservation import QUARTER
from assay.backtest.statistics import DEFLATED, Summary, cagr, max_drawdown, sharpe, summary, summary_by
from assay.base.constants import Days, Floats, Ints, Scalar
from assay.base.domain import UTC
from assay.base.errors import ContractError, DataError, NoCandidates, ProfileError
from assay.market.borrow import rates_in_force
from assay.market.holes import MARKET as HOLE_OF_MARKET
from assay.market.panel import Market
from assay.settings.model import Costs, Profile, WalkForward

INSTANT = pl.Datetime("us", "UTC")
DECISION_COLUMNS = {
    "as_of": INSTANT,
    "fill_date": pl.Date(),
    "tranche": pl.Int64(),
    "phase": pl.Boolean(),
    "held": pl.Int64(),
    "loss_makers": pl.Int64(),
}
WEIGHT_COLUMNS = {
    "as_of": INSTANT,
    "risk_profile": pl.String(),
    "symbol": pl.String(),
    "net_weight": pl.Float64(),
    "loss_maker": pl.Boolean(),
    "pnl": pl.Float64(),
}

RETURN_COLUMNS = {
    "nav": "nav",
    "ret": "returns",
    "gross": "gross",
    "net": "net",
    "largest": "largest",
    "cash": "cash",
    "turnover": "turnover",
    "cost": "cost_share",
    "borrow": "borrow_share",
    "level": "level",
    "worst_level": "worst_level",
}
LEVELS = ("level", "worst_level")
SPREAD = ("sharpe", "cagr", "final_wealth", "max_drawdown")
"""Metrics of which the spread over phases is told; a CAGR after a loss of everything is -1."""
TRADE_COLUMNS = {name: name for name in ("reason", "cause", "quantity", "price", "reference", "fee", "slippage")}
CANCELLED_COLUMNS = {"net_weight": "weight", "quantity": "quantity"}

Progress = Callable[[int, int], None]
"""Called with decisions done and decisions in all."""


class Targets(Protocol):
    """What the walk-forward needs from a decision."""

    @property
    def net(self) -> Mapping[str, Mapping[str, float]]:
        """Risk profile to symbol to net weight, as decided; empty for a period in cash."""

    @property
    def unguarded(self) -> Mapping[str, Mapping[str, float]]:
        """The same decision with the guard off."""

    @property
    def loss_makers(self) -> Collection[str]:
        """Symbols whose atoms were loss makers of the guard's window, whether the guard was on or not."""

    @property
    def summary(self) -> Mapping[str, Scalar]:
        """Counts and regime of the decision, or the ``reason`` of a period in cash."""

    @property
    def choice(self) -> Choice:
        """What there was to choose from, and what was chosen."""


Decide = Callable[[Market], Targets]
Each = Callable[[Sequence[int]], Iterable[Targets]]
"""Takes rows of the grid and gives what is decided after each, in order."""


@dataclass(frozen=True)
class Cash:
    """A decision to hold nothing."""

    summary: Mapping[str, Scalar] = field(default_factory=dict)
    net: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unguarded: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    loss_makers: Collection[str] = ()
    choice: Choice = NOTHING


@dataclass(frozen=True)
class DatedTargets:
    """One decision on the grid."""

    row: int
    """Row of the last bar that it knew; it fills at the open of the next one."""
    as_of: dt.datetime
    """Close of that bar, UTC."""
    targets: Targets
    """What was decided."""


@dataclass(frozen=True)
class HeldDecisions:
    """Decisions that were held, one book for each risk profile."""

    rebalances: tuple[DatedTargets, ...]
    of_target: Ints
    """(n_targets,): index of the decision that each target of a book came from."""
    targets: Mapping[str, Sequence[Target]]
    """What each book was to hold."""
    books: Mapping[str, BookResult]

    @property
    def first(self) -> int:
        """Row of the first fill."""
        return self.rebalances[0].row + 1


@dataclass(frozen=True)
class HeldWalk:
    """What was decided and what became of it: the series of a walk-forward is that of its tranche book, ``held``."""

    days: Days
    """(n_days,): from the first fill to the last bar."""
    symbols: tuple[str, ...]
    """Columns of the market; trades and holdings of a book refer to them."""
    decided: Mapping[int, DatedTargets]
    """All decisions, by their rows, ascending."""
    grid: Grid
    held: HeldDecisions
    benchmark: Floats
    """(n_days,): close-to-close returns of the benchmark, NaN where there is none."""

    @property
    def rebalances(self) -> tuple[DatedTargets, ...]:
        """Decisions of the tranche book."""
        return self.held.rebalances

    @property
    def books(self) -> Mapping[str, BookResult]:
        """The tranche book of each risk profile."""
        return self.held.books

    @property
    def counted(self) -> int:
        """Index in ``days`` of the first day on which every tranche was filled: statistics begin here.

        The number of days, where they are too few for that.
        """
        row = next(iter(self.books.values())).counted
        return len(self.days) if row is None else row - self.held.first

    @property
    def began(self) -> np.datetime64:
        """Day of the first decision."""
        day: np.datetime64 = self.days[0] - 1
        return day

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return ``returns``, ``weights``, ``trades`` and ``cancelled`` as :meth:`WalkForwardResult.frames` does."""
        return {
            "returns": self._returns_table(self.held),
            "weights": self._weights_table(self.held, guarded=True),
            "trades": _moments_table(self, lambda book: book.trades, TRADE_COLUMNS),
            "cancelled": _moments_table(self, lambda book: book.cancelled, CANCELLED_COLUMNS),
        }

    def _returns_table(self, held: HeldDecisions) -> pl.DataFrame:
        days = self.days[held.first - self.held.first :]
        counted = np.arange(len(self.days))[held.first - self.held.first :] >= self.counted
        parts = [
            pl.DataFrame(
                {"date": days, "risk_profile": [name] * len(days)}
                | {column: getattr(book, figure) for column, figure in RETURN_COLUMNS.items()}
                | {"counted": counted}
            ).with_columns(pl.when(pl.col(level).is_finite()).then(level).alias(level) for level in LEVELS)
            for name, book in held.books.items()
        ]
        return pl.concat(parts).sort("risk_profile", "date")

    def _weights_table(self, held: HeldDecisions, *, guarded: bool) -> pl.DataFrame:
        rows: list[tuple[object, ...]] = []
        for name, book in held.books.items():
            pnl = np.zeros((len(held.rebalances), len(self.symbols)))
            np.add.at(pnl, (held.of_target[:, None], book.columns), book.holding_pnl)
            for index, rebalance in enumerate(held.rebalances):
                targets = rebalance.targets
                decided = (targets.net if guarded else targets.unguarded).get(name, {})
                losers = set(targets.loss_makers)
                earned = {self.symbols[at]: float(pnl[index, at]) for at in np.flatnonzero(pnl[index]).tolist()}
                coins = {symbol for symbol, weight in decided.items() if weight != 0.0} | earned.keys()
                rows.extend(
                    (rebalance.as_of, name, symbol, decided.get(symbol, 0.0), symbol in losers, earned.get(symbol, 0.0))
                    for symbol in sorted(coins)
                )
        return pl.DataFrame(rows, schema=WEIGHT_COLUMNS, orient="row").sort("as_of", "risk_profile", "symbol")

    def statistics(self, phases: Mapping[str, Sequence[BookResult]] | None = None, seed: int = 0) -> dict[str, Any]:
        """Metrics of each risk profile over the counted days, as run, and their spread over the phases.

        Parameters
        ----------
        phases : mapping of str to sequence of BookResult, optional
            Of :func:`phases`.
        seed : int
            Of the bootstrap.

        Returns
        -------
        dict
            ``as_run``: risk profile to the metrics of :func:`assay.backtest.statistics.summary`, the
            ``average_gross``, 95 % intervals (``sharpe_low``, ``sharpe_high`` and so on), and ``pbo``, the probability
            that choosing the best of the risk profiles is overfitting. ``phases``: risk profile to ``count``,
            ``ruined`` and the ``median``, ``low`` and ``high`` of some metrics.
        """
        since = self.counted + self.held.first
        returns = {name: _since(book.returns, book, since) for name, book in self.books.items()}
        pbo = probability_of_overfitting(returns) if self.counted < len(self.days) else None
        return {
            "as_run": {name: self._metrics(book, seed) | {"pbo": pbo} for name, book in self.books.items()},
            "phases": {name: _spread(books, since) for name, books in (phases or {}).items()},
        }

    def _metrics(self, book: BookResult, seed: int) -> Summary:
        since = self.counted + self.held.first
        returns, gross = (_since(values, book, since) for values in (book.returns, book.gross))
        figures = summary(
            returns,
            self.benchmark[self.counted :],
            turnover=_since(book.turnover, book, since),
            cost=_since(book.cost_share, book, since),
            borrow=_since(book.borrow_share, book, since),
        )
        for name in DEFLATED:
            del figures[name]
        figures["average_gross"] = float(gross.mean()) if len(gross) else None
        for name, interval in (intervals(returns, seed) if len(returns) else {}).items():
            figures[f"{name}_low"], figures[f"{name}_high"] = (None, None) if interval is None else interval
        return figures

    def by_year(self) -> dict[str, Mapping[str, Summary]]:
        """Metrics of each risk profile in each calendar year of the counted days, as run."""
        return self._by(self.days[self.counted :].astype("datetime64[Y]").astype(str).tolist())

    def by_regime(self) -> dict[str, Mapping[str, Summary]]:
        """Metrics of each risk profile in each regime, as the last decision before each day named it, as run."""
        return self._by(self.regimes[self.counted :])

    def _by(self, groups: Sequence[str]) -> dict[str, Mapping[str, Summary]]:
        benchmark = self.benchmark[self.counted :]
        return {name: summary_by(groups, book.returns[self.counted :], benchmark) for name, book in self.books.items()}

    @property
    def regimes(self) -> list[str]:
        """Regime of the last decision before each day, (n_days,); ``UNKNOWN`` where it told none."""
        named = [str(rebalance.targets.summary.get("regime") or "UNKNOWN") for rebalance in self.rebalances]
        began = np.array([rebalance.row + 1 - self.held.first for rebalance in self.rebalances])
        at = np.searchsorted(began, np.arange(len(self.days)), side="right") - 1
        return [named[index] for index in at]


@dataclass(frozen=True)
class WalkForwardResult(HeldWalk):
    """Everything that a sleeve decided and what became of it.

    One phase, the whole account on the grid of the first decision, is held with the guard on and off, so that these two
    can be set against each other.
    """

    phase: HeldDecisions
    unguarded: HeldDecisions

    def one_phase(self) -> WalkForwardResult:
        """Return the walk-forward of the one phase, as it is with a single tranche."""
        first = self.phase.first - self.held.first
        rows = [rebalance.row for rebalance in self.phase.rebalances]
        return replace(
            self,
            days=self.days[first:],
            decided={row: self.decided[row] for row in rows},
            grid=Grid(tuple(rows), (0,) * len(rows), (tuple(rows),)),
            held=self.phase,
            benchmark=self.benchmark[first:],
        )

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return the tables of a walk-forward.

        Returns
        -------
        dict of str to DataFrame
            ``returns``, ``phase_returns``, ``unguarded_returns``
                date, risk_profile, nav, ret, gross, net, largest, cash, turnover, cost, borrow, level, worst_level,
                counted, one row per day; of the tranche book, and of the one phase with the guard on and off.
                ``nav`` and ``cash`` are amounts of an account that began with 1; ``gross``, ``net`` and ``largest``
                (of any coin) are exposures at the close over NAV;
                ``turnover``, ``cost`` and ``borrow`` are the day's amounts over the NAV at the close before; the levels
                are those of the margin, null without liabilities. Days before all tranches were filled are not
                ``counted``.
            ``weights``, ``phase_weights``, ``unguarded_weights``
                as_of, risk_profile, symbol, net_weight, loss_maker, pnl: one row per decided holding, with its profit
                until the tranche's next decision in units of the initial account; weight 0 is a coin that could not be
                left.
            ``decisions``
                as_of, fill_date, tranche, phase, held, loss_makers, then the decisions' own summaries, null where one
                tells nothing; ``phase`` is true for a decision of the one phase.
            ``trades``
                date, risk_profile, symbol, reason, cause, quantity, price, reference, fee, slippage, in units and
                account money; ``cause`` is empty for what was decided.
            ``cancelled``
                date, risk_profile, symbol, net_weight, quantity: orders that met no bar, and what stayed.
        """
        return super().frames() | {
            "phase_returns": self._returns_table(self.phase),
            "unguarded_returns": self._returns_table(self.unguarded),
            "phase_weights": self._weights_table(self.phase, guarded=True),
            "unguarded_weights": self._weights_table(self.unguarded, guarded=False),
            "decisions": _decisions_table(self),
        }

    def statistics(self, phases: Mapping[str, Sequence[BookResult]] | None = None, seed: int = 0) -> dict[str, Any]:
        """Return also ``unguarded``, the metrics of the one phase with the guard off."""
        off = {name: self._metrics(book, seed) for name, book in self.unguarded.books.items()}
        return super().statistics(phases, seed) | {"unguarded": off}


def anchored(profile: Profile, first: np.datetime64, tranches: int | None) -> Profile:
    """Return the profile of a walk-forward that begins on a day, in so many tranches, whatever bars come later."""
    walk = profile.walk_forward.model_copy(update={"start": first.astype("datetime64[D]").item(), "tranches": tranches})
    return profile.model_copy(update={"walk_forward": walk})


def _since(values: Floats, book: BookResult, row: int) -> Floats:
    """Return a book's daily values from a row on."""
    return values[row - int(book.rows[0]) :]


def _spread(books: Sequence[BookResult], since: int) -> dict[str, Any]:
    """Median and range of what single phases came to over the counted days, and how many of them were ruined."""
    told: dict[str, list[float]] = {name: [] for name in SPREAD}
    for book in books:
        returns = _since(book.returns, book, since)
        wealth = float(np.prod(1.0 + returns))
        growth = cagr(returns)
        found = (sharpe(returns), -1.0 if growth is None else growth, wealth, max_drawdown(returns))
        for name, value in zip(SPREAD, found, strict=True):
            told[name] += [] if value is None else [value]
    ruined = sum(book.liquidated is not None or bool((book.nav < QUARTER).any()) for book in books)
    return {"count": len(books), "ruined": ruined} | {
        name: {"median": float(np.median(values)), "low": min(values), "high": max(values)} if values else None
        for name, values in told.items()
    }


@dataclass(frozen=True)
class Grid:
    """Rows of the bars after which decisions are taken."""

    rows: tuple[int, ...]
    """Of the tranche book, ascending."""
    tranches: tuple[int, ...]
    """Tranche of each of these."""
    phases: tuple[tuple[int, ...], ...]
    """Of each phase, which has the whole account on the days of one tranche, in the order of their first rows."""

    @property
    def phase(self) -> tuple[int, ...]:
        """The phase that is held with the guard on and off."""
        return self.phases[0]

    @property
    def every(self) -> list[int]:
        """All rows that are to be decided."""
        return sorted({*self.rows, *itertools.chain(*self.phases)})


def grid(market: Market, profile: Profile) -> Grid:
    """Return the rows that a walk-forward decides on.

    A decision that falls into a hole of the whole market is not taken: its tranche keeps what it holds until its next
    turn. A single phase waits for the next bars.
    """
    settings = profile.walk_forward
    rows = rebalance_rows(market.days, settings)
    tranche = market.days[rows].astype(np.int64) // settings.every % settings.parts
    phases = [rows[tranche == one].tolist() for one in dict.fromkeys(tranche.tolist())]
    with_bars = np.flatnonzero(market.holes[:-1, market.column(profile.benchmark)] != HOLE_OF_MARKET)
    waited = tuple(_waited(phase, with_bars) for phase in phases)
    if settings.parts == 1:
        return Grid(waited[0], (0,) * len(waited[0]), waited)
    there = np.isin(rows, with_bars)
    return Grid(tuple(rows[there].tolist()), tuple(tranche[there].tolist()), waited)


def due(day: np.datetime64, began: np.datetime64, settings: WalkForward) -> int | None:
    """Return the tranche whose turn the decision after a day's bar is; None where it is nobody's.

    >>> due(np.datetime64("1970-01-24"), np.datetime64("1970-01-02"), WalkForward())
    3
    """
    if settings.parts == 1:
        return None if int((day - began).astype(np.int64)) % settings.step else 0
    since_1970 = int(day.astype("datetime64[D]").astype(np.int64))
    return None if since_1970 % settings.every else since_1970 // settings.every % settings.parts


def _waited(rows: Sequence[int], with_bars: Ints) -> tuple[int, ...]:
    """Let a decision that falls into a hole of the market wait for the next bars; what is held stays meanwhile."""
    found = np.searchsorted(with_bars, rows)
    return tuple(sorted({int(row) for row in with_bars[found[found < with_bars.size]]}))


def rebalance_rows(days: Days, settings: WalkForward) -> Ints:
    """Rows of the bars after which decisions are taken.

    Parameters
    ----------
    days : (n_days,) datetime64[D] array
        Open days of all bars, ascending, without gaps.
    settings : WalkForward
        Without ``start``, all tranches are filled ``days`` bars before the last one, but no decision comes before
        ``train`` returns exist; with it, the first decision is on the day ``start`` or the next day of a tranche. A
        single tranche decides each ``step`` days from its first decision; several, on the days since 1970 that
        ``step / tranches`` divides.

    Returns
    -------
    int array
        Strictly increasing; each has at least one bar after it.

    Raises
    ------
    DataError
        If the bars end before all tranches can be filled, or begin too late for ``start``.
    ProfileError
        If holdings would overlap.

    Examples
    --------
    >>> days = np.arange("2023-01-01", "2024-01-22", dtype="datetime64[D]")
    >>> rows = rebalance_rows(days, WalkForward())
    >>> str(days[rows[0]]), len(days) - 1 - int(rows[0]), len(rows)
    ('2023-09-10', 133, 133)
    """
    if settings.hold > settings.step:
        raise ProfileError(
            f"holdings of {settings.hold} days overlap when decisions come every {settings.step}",
            where="walk_forward.hold",
            hint="set walk_forward.step to at least walk_forward.hold",
        )
    last = len(days) - 2
    needed = settings.train + settings.settling
    if last < needed:
        raise DataError(
            f"walk-forward needs {needed + 2} days of bars, and there are {len(days)}",
            where="walk_forward.train",
            hint="load more bars, or set walk_forward.train or walk_forward.tranches lower",
        )
    first = max(settings.train, len(days) - 1 - settings.reach)
    if settings.start is not None:
        first = int((np.datetime64(settings.start) - days[0]).astype(np.int64))
        if not settings.train <= first <= last - settings.settling:
            raise DataError(
                f"walk-forward cannot start on {settings.start}",
                where="walk_forward.start",
                hint=f"with these bars it can from {days[settings.train]} to {days[last - settings.settling]}",
            )
    if settings.parts == 1:
        return np.arange(first, last + 1, settings.step, dtype=np.int64)
    rows = np.arange(first, last + 1, dtype=np.int64)
    mine: Ints = rows[days[rows].astype(np.int64) % settings.every == 0]
    return mine


def close_of(day: np.datetime64) -> dt.datetime:
    """Instant at which a daily bar is known.

    >>> close_of(np.datetime64("2023-09-10")).isoformat()
    '2023-09-11T00:00:00+00:00'
    """
    midnight: dt.datetime = (day + np.timedelta64(1, "D")).astype("datetime64[s]").item()
    return midnight.replace(tzinfo=UTC)


def decide_row(market: Market, profile: Profile, decide: Decide, row: int) -> Targets:
    """Decide what is decided after the bar of a row, from what was known then; nobody found is a period in cash."""
    try:
        return decide(market.until(close_of(market.days[row]), profile.sight_days))
    except NoCandidates as nobody:
        return Cash({"reason": nobody.code})


def walk_forward(
    market: Market,
    profile: Profile,
    decide: Decide,
    progress: Progress | None = None,
    each: Each | None = None,
) -> WalkForwardResult:
    """Decide on every row of the grid and hold what was decided.

    Parameters
    ----------
    market : Market
        All bars and ratings; each decision is handed what was known then, ``profile.sight_days`` days of it at most.
    profile : Profile
        Grid, costs, risk profiles, benchmark.
    decide : callable
        The decision, the same as live. Finding nobody (an empty ``net``, or :class:`NoCandidates`) is a period in cash.
    progress : callable, optional
        Told after each decision how many of how many are done.
    each : callable, optional
        Takes the rows of the grid and gives what :func:`decide_row` gives for each, in order: decisions do not depend
        on each other, so that others may take them elsewhere. One after the other, here, where None.

    Returns
    -------
    WalkForwardResult

    Raises
    ------
    DataError
        If the bars cannot carry one decision.
    ContractError
        If a decision leaves out a risk profile.
    """
    every = grid(market, profile).every
    decided = (decide_row(market, profile, decide, row) for row in every) if each is None else each(every)
    rebalances = []
    for done, (row, targets) in enumerate(zip(every, decided, strict=True), start=1):
        rebalances.append(DatedTargets(row, close_of(market.days[row]), targets))
        if progress is not None:
            progress(done, len(every))
    return hold(market, profile, rebalances)


def hold(market: Market, profile: Profile, rebalances: Sequence[DatedTargets]) -> WalkForwardResult:
    """Hold decisions that were taken already: the tranche book, and one phase with the guard on and off."""
    rows, decided = grid(market, profile), {rebalance.row: rebalance for rebalance in rebalances}
    prices, phase = prices_of(market, profile.costs), [decided[row] for row in rows.phase]
    walked = hold_book(market, prices, profile, decided, rows)
    if walked.counted == len(walked.days):
        raise DataError(
            "the market has so long a hole that a tranche was never filled",
            where="walk_forward.tranches",
            hint="load more bars, or set walk_forward.start later",
        )
    single = walked.held if profile.walk_forward.parts == 1 else _hold(market, prices, profile, phase)
    return WalkForwardResult(
        **{one.name: getattr(walked, one.name) for one in fields(walked)},
        phase=single,
        unguarded=_hold(market, prices, profile, phase, guarded=False),
    )


def hold_book(
    market: Market, prices: Prices, profile: Profile, decided: Mapping[int, DatedTargets], rows: Grid
) -> HeldWalk:
    """Hold decisions in the tranches of a grid, in one account."""
    rebalances = [decided[row] for row in rows.rows]
    held = _hold(market, prices, profile, rebalances, rows.tranches, profile.walk_forward.parts)
    benchmark = market.returns()[held.first :, market.column(profile.benchmark)]
    return HeldWalk(market.days[held.first :], market.symbols, decided, rows, held, benchmark)


def phases(market: Market, profile: Profile, result: HeldWalk) -> dict[str, list[BookResult]]:
    """Hold each phase of a walk-forward: the whole account on the days of one tranche, by risk profile."""
    prices = prices_of(market, profile.costs)
    found: dict[str, list[BookResult]] = {name: [] for name in result.books}
    for rows in result.grid.phases:
        if isinstance(result, WalkForwardResult) and rows == result.grid.phase:
            held = result.phase
        else:
            held = _hold(market, prices, profile, [result.decided[row] for row in rows])
        for name, book in held.books.items():
            found[name].append(book)
    return found


def _hold(
    market: Market,
    prices: Prices,
    profile: Profile,
    rebalances: Sequence[DatedTargets],
    tranches: Sequence[int] | None = None,
    n_tranches: int = 1,
    *,
    guarded: bool = True,
) -> HeldDecisions:
    """Hold decisions, each in its tranche."""
    settings = profile.walk_forward
    targets: list[tuple[int, int, int, bool]] = []
    following: dict[int, int] = {}
    for index in reversed(range(len(rebalances))):
        row, tranche = rebalances[index].row, 0 if tranches is None else tranches[index]
        targets.append((row, tranche, index, True))
        emptied = row + settings.hold
        if settings.hold < settings.step and emptied < following.get(tranche, len(market.days) - 1):
            targets.append((emptied, tranche, index, False))
        following[tranche] = row
    targets.sort()
    wanted: dict[str, Sequence[Target]] = {}
    books: dict[str, BookResult] = {}
    for name in profile.risk.risk_profiles:
        weights = [_weights(market, rebalance.targets, name, guarded=guarded) for rebalance in rebalances]
        nothing = np.zeros(len(market.symbols))
        wanted[name] = [Target(row, tranche, weights[at] if full else nothing) for row, tranche, at, full in targets]
        books[name] = simulate(prices, wanted[name], profile.costs, n_tranches=n_tranches, margin=profile.margin)
    source = np.array([index for _, _, index, _ in targets], dtype=np.int64)
    return HeldDecisions(tuple(rebalances), source, wanted, books)


def prices_of(market: Market, costs: Costs) -> Prices:
    """Return what a book needs to know of a market."""
    return Prices(
        market["open"],
        market["high"],
        market["low"],
        market["close"],
        listing=np.where(market.listing >= 0, market.listing, -market.holes.astype(np.int32)),
        borrow=rates_in_force(market, costs.borrow),
    )


def _weights(market: Market, targets: Targets, name: str, *, guarded: bool) -> Floats:
    weights = np.zeros(len(market.symbols))
    decided = targets.net if guarded else targets.unguarded
    if targets.net:
        if name not in decided:
            raise ContractError("a decision leaves out a risk profile", where=name, hint="decide all of them, or none")
        wanted = decided[name]
        weights[[market.column(symbol) for symbol in wanted]] = list(wanted.values())
    return weights


def _decisions_table(result: WalkForwardResult) -> pl.DataFrame:
    everyone = list(result.decided.values())
    summaries = [rebalance.targets.summary for rebalance in everyone]
    told = {name for summary in summaries for name in summary}
    if told & DECISION_COLUMNS.keys():
        raise ValueError(f"a decision's summary may not use the names {sorted(told & DECISION_COLUMNS.keys())}")
    tranches = dict(zip(result.grid.rows, result.grid.tranches, strict=True))
    rows = [
        (
            rebalance.as_of,
            result.days[rebalance.row + 1 - result.held.first].item(),
            tranches.get(rebalance.row),
            rebalance.row in result.grid.phase,
            len({symbol for weights in rebalance.targets.net.values() for symbol, w in weights.items() if w != 0.0}),
            len(set(rebalance.targets.loss_makers)),
        )
        for rebalance in everyone
    ]
    own = [_column(name, [summary.get(name) for summary in summaries]) for name in sorted(told)]
    return pl.DataFrame(rows, schema=DECISION_COLUMNS, orient="row").with_columns(own).sort("as_of")


def _column(name: str, values: Sequence[Scalar]) -> pl.Series:
    """Column of mixed scalars: the narrowest of boolean, integer, float and text that holds them all."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {int}:
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds and kinds <= {int, float}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)


def _moments_table(
    result: HeldWalk, moments: Callable[[BookResult], Trades | Cancelled], columns: Mapping[str, str]
) -> pl.DataFrame:
    """Tell what happened to coins at single moments; ``columns`` maps names of the table to fields."""
    parts = []
    for name, book in result.books.items():
        told = moments(book)
        own = [
            pl.Series(column, getattr(told, field).tolist(), pl.String if column in ("reason", "cause") else pl.Float64)
            for column, field in columns.items()
        ]
        when = pl.Series("date", result.days[told.row - book.rows[0]], dtype=pl.Date)
        coins = pl.Series("symbol", [result.symbols[at] for at in told.column.tolist()], dtype=pl.String)
        parts.append(pl.DataFrame([when, pl.Series("risk_profile", [name] * len(when), dtype=pl.String), coins, *own]))
    return pl.concat(parts).sort("date", "risk_profile", "symbol", *(["reason"] if "reason" in columns else []))
