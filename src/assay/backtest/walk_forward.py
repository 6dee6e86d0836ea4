"""Walk-forward of the whole decision: decide with what was known, fill at the next open, hold, decide again.

The grid is anchored at the first decision: from a given start, later bars never move it. A decision on the bar of day D
knows that bar, which closes at (D + 1)T00:00Z, and fills at the open of day D + 1. So the first decision of 386 daily
bars with ``train`` = 252 falls on the 253rd bar, when 252 returns exist, and 133 days are traded.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import polars as pl

from assay.backtest.book import BookResult, Cancelled, Prices, Target, Trades, simulate
from assay.backtest.bootstrap import intervals
from assay.backtest.choice import NOTHING, Choice
from assay.backtest.overfitting import probability_of_overfitting
from assay.backtest.statistics import DEFLATED, Summary, summary, summary_by
from assay.base.constants import Days, Floats, Ints, Scalar
from assay.base.domain import UTC
from assay.base.errors import ContractError, DataError, NoCandidates, ProfileError
from assay.market.borrow import rates_in_force
from assay.market.holes import MARKET as HOLE_OF_MARKET
from assay.market.panel import Market
from assay.settings.model import Costs, Profile, WalkForward

INSTANT = pl.Datetime("us", "UTC")
DECISION_COLUMNS = {"as_of": INSTANT, "fill_date": pl.Date(), "held": pl.Int64(), "loss_makers": pl.Int64()}
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
    "cash": "cash",
    "turnover": "turnover",
    "cost": "cost_share",
    "borrow": "borrow_share",
    "level": "level",
    "worst_level": "worst_level",
}
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
class WalkForwardResult:
    """Everything that was decided and what became of it."""

    days: Days
    """(n_days,): from the first fill to the last bar."""
    symbols: tuple[str, ...]
    """Columns of the market; trades and holdings of a book refer to them."""
    rebalances: tuple[DatedTargets, ...]
    fill_of: Ints
    """(n_rebalances,): index of each rebalance among a book's fills."""
    books: Mapping[str, BookResult]
    unguarded: Mapping[str, BookResult]
    """By risk profile."""
    benchmark: Floats
    """(n_days,): close-to-close returns of the benchmark, NaN where there is none."""

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return the tables of a walk-forward.

        Returns
        -------
        dict of str to DataFrame
            ``returns``, ``unguarded_returns``
                date, risk_profile, nav, ret, gross, net, cash, turnover, cost, borrow, level, worst_level.
                One row a day. ``nav`` and ``cash`` are amounts of an account that began with 1; ``gross`` and ``net``
                are exposures at the close over NAV; ``turnover``, ``cost`` and ``borrow`` are the day's amounts over
                the NAV at the close before; ``level`` is the lowest margin level that was looked at, ``worst_level``
                that with every coin at its worst at once, null where nothing was owed.
            ``weights``, ``unguarded_weights``
                as_of, risk_profile, symbol, net_weight, loss_maker, pnl: one row per decided holding, with its profit
                until the next decision in units of the initial account; weight 0 is a coin that could not be left.
            ``decisions``
                as_of, fill_date, held, loss_makers, then the decisions' own summaries, null where one tells nothing.
            ``trades``
                date, risk_profile, symbol, reason, cause, quantity, price, reference, fee, slippage, in units and
                account money; ``cause`` is empty for what was decided.
            ``cancelled``
                date, risk_profile, symbol, net_weight, quantity: orders that met no bar, and what stayed.
        """
        return {
            "returns": _returns_table(self, self.books),
            "unguarded_returns": _returns_table(self, self.unguarded),
            "weights": _weights_table(self, self.books, guarded=True),
            "unguarded_weights": _weights_table(self, self.unguarded, guarded=False),
            "decisions": _decisions_table(self),
            "trades": _moments_table(self, lambda book: book.trades, TRADE_COLUMNS),
            "cancelled": _moments_table(self, lambda book: book.cancelled, CANCELLED_COLUMNS),
        }

    def statistics(self, seed: int = 0) -> dict[str, dict[str, Summary]]:
        """Metrics of each risk profile, as run and unguarded.

        Parameters
        ----------
        seed : int
            Of the bootstrap.

        Returns
        -------
        dict
            ``as_run`` and ``unguarded``: risk profile to the metrics of :func:`assay.backtest.statistics.summary`, the
            ``average_gross``, 95 % intervals (``sharpe_low``, ``sharpe_high`` and so on), and for those as run ``pbo``,
            the probability that choosing the best of the risk profiles is overfitting.
        """
        pbo = probability_of_overfitting(self.books)

        def metrics(book: BookResult) -> Summary:
            figures = summary(
                book.returns,
                self.benchmark,
                turnover=book.turnover,
                cost=book.cost_share,
                borrow=book.borrow_share,
            )
            for name in DEFLATED:
                del figures[name]
            figures["average_gross"] = float(book.gross.mean())
            for name, interval in intervals(book.returns, seed).items():
                figures[f"{name}_low"], figures[f"{name}_high"] = (None, None) if interval is None else interval
            return figures

        return {
            "as_run": {name: metrics(book) | {"pbo": pbo} for name, book in self.books.items()},
            "unguarded": {name: metrics(book) for name, book in self.unguarded.items()},
        }

    def by_year(self) -> dict[str, Mapping[str, Summary]]:
        """Metrics of each risk profile in each calendar year, as run."""
        years = self.days.astype("datetime64[Y]").astype(str).tolist()
        return {name: summary_by(years, book.returns, self.benchmark) for name, book in self.books.items()}

    def by_regime(self) -> dict[str, Mapping[str, Summary]]:
        """Metrics of each risk profile in each regime, as the last decision before each day named it, as run."""
        regimes = self.regimes
        return {name: summary_by(regimes, book.returns, self.benchmark) for name, book in self.books.items()}

    @property
    def regimes(self) -> list[str]:
        """Regime of the last decision before each day, (n_days,); ``UNKNOWN`` where it told none."""
        named = [str(rebalance.targets.summary.get("regime") or "UNKNOWN") for rebalance in self.rebalances]
        first = self.rebalances[0].row
        began = np.array([rebalance.row - first for rebalance in self.rebalances])
        at = np.searchsorted(began, np.arange(len(self.days)), side="right") - 1
        return [named[index] for index in at]


def rebalance_rows(days: Days, settings: WalkForward) -> Ints:
    """Rows of the bars after which decisions are taken.

    Parameters
    ----------
    days : (n_days,) datetime64[D] array
        Open days of all bars, ascending, without gaps.
    settings : WalkForward
        Without ``start``, the first decision comes ``days`` bars before the last one, but not before ``train`` returns
        exist; with it, on the day ``start``.

    Returns
    -------
    int array
        Strictly increasing by ``step``; each has at least one bar after it.

    Raises
    ------
    DataError
        If the bars end before the first decision can be filled, or begin too late for ``start``.
    ProfileError
        If holdings would overlap.

    Examples
    --------
    >>> days = np.arange("2023-01-01", "2024-01-22", dtype="datetime64[D]")
    >>> rows = rebalance_rows(days, WalkForward())
    >>> str(days[rows[0]]), len(days) - 1 - int(rows[0]), len(rows)
    ('2023-09-10', 133, 14)
    """
    if settings.hold > settings.step:
        raise ProfileError(
            f"holdings of {settings.hold} days overlap when decisions come every {settings.step}",
            where="walk_forward.hold",
            hint="set walk_forward.step to at least walk_forward.hold",
        )
    last = len(days) - 2
    if last < settings.train:
        raise DataError(
            f"walk-forward needs {settings.train + 2} days of bars, and there are {len(days)}",
            where="walk_forward.train",
            hint="load more bars, or set walk_forward.train lower",
        )
    first = max(settings.train, len(days) - 1 - settings.days)
    if settings.start is not None:
        first = int((np.datetime64(settings.start) - days[0]).astype(np.int64))
        if not settings.train <= first <= last:
            raise DataError(
                f"walk-forward cannot start on {settings.start}",
                where="walk_forward.start",
                hint=f"with these bars it can from {days[settings.train]} to {days[last]}",
            )
    return np.arange(first, last + 1, settings.step, dtype=np.int64)


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
    rows = _with_market(market, rebalance_rows(market.days, profile.walk_forward), profile.benchmark)
    decided = (decide_row(market, profile, decide, row) for row in rows) if each is None else each(rows)
    rebalances = []
    for done, (row, targets) in enumerate(zip(rows, decided, strict=True), start=1):
        rebalances.append(DatedTargets(row, close_of(market.days[row]), targets))
        if progress is not None:
            progress(done, len(rows))
    return hold(market, profile, rebalances)


def _with_market(market: Market, rows: Ints, benchmark: str) -> list[int]:
    """Let a decision that falls into a hole of the market wait for the next bars; what is held stays meanwhile."""
    there = np.flatnonzero(market.holes[:-1, market.column(benchmark)] != HOLE_OF_MARKET)
    found = np.searchsorted(there, rows)
    return sorted({int(row) for row in there[found[found < there.size]]})


def hold(market: Market, profile: Profile, rebalances: Sequence[DatedTargets]) -> WalkForwardResult:
    """Hold decisions that were taken already, one book for each risk profile, guard on and off."""
    first = rebalances[0].row + 1
    fills = _fill_rows([rebalance.row for rebalance in rebalances], len(market.days), profile.walk_forward)
    prices = prices_of(market, profile.costs)
    guarded = [rebalance.targets.net for rebalance in rebalances]
    unguarded = [rebalance.targets.unguarded for rebalance in rebalances]
    return WalkForwardResult(
        days=market.days[first:],
        symbols=market.symbols,
        rebalances=tuple(rebalances),
        fill_of=np.flatnonzero([index is not None for _, index in fills]).astype(np.int64),
        books={name: _book(market, prices, profile, fills, guarded, name) for name in profile.risk.risk_profiles},
        unguarded={name: _book(market, prices, profile, fills, unguarded, name) for name in profile.risk.risk_profiles},
        benchmark=market.returns()[first:, market.column(profile.benchmark)],
    )


def _fill_rows(rows: Sequence[int], n_days: int, settings: WalkForward) -> list[tuple[int, int | None]]:
    """Rows of the fills with the index of their decision; None where a holding shorter than the step ends in cash."""
    fills: list[tuple[int, int | None]] = []
    for index, row in enumerate(rows):
        fills.append((row + 1, index))
        following = rows[index + 1] + 1 if index + 1 < len(rows) else n_days
        if settings.hold < settings.step and row + 1 + settings.hold < following:
            fills.append((row + 1 + settings.hold, None))
    return fills


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


def _book(
    market: Market,
    prices: Prices,
    profile: Profile,
    fills: Sequence[tuple[int, int | None]],
    decided: Sequence[Mapping[str, Mapping[str, float]]],
    name: str,
) -> BookResult:
    weights = (_weights(market, {} if index is None else decided[index], name) for _, index in fills)
    targets = [Target(row - 1, 0, each) for (row, _), each in zip(fills, weights, strict=True)]
    return simulate(prices, targets, profile.costs, margin=profile.margin)


def _weights(market: Market, decided: Mapping[str, Mapping[str, float]], name: str) -> Floats:
    weights = np.zeros(len(market.symbols))
    if decided:
        if name not in decided:
            raise ContractError("a decision leaves out a risk profile", where=name, hint="decide all of them, or none")
        wanted = decided[name]
        weights[[market.column(symbol) for symbol in wanted]] = list(wanted.values())
    return weights


def _returns_table(result: WalkForwardResult, books: Mapping[str, BookResult]) -> pl.DataFrame:
    parts = [
        pl.DataFrame(
            {"date": result.days, "risk_profile": [name] * len(result.days)}
            | {column: getattr(book, figure) for column, figure in RETURN_COLUMNS.items()}
        )
        for name, book in books.items()
    ]
    table = pl.concat(parts).sort("risk_profile", "date")
    levels = (pl.col(name) for name in ("level", "worst_level"))
    return table.with_columns(pl.when(level.is_finite()).then(level) for level in levels)


def _period_pnl(result: WalkForwardResult, book: BookResult) -> Floats:
    """Profit of each holding until the next decision, (n_rebalances, n_symbols)."""
    pnl = np.zeros((len(result.rebalances), len(result.symbols)))
    pnl[:, book.columns] = np.add.reduceat(book.holding_pnl, result.fill_of, axis=0)
    return pnl


def _weights_table(result: WalkForwardResult, books: Mapping[str, BookResult], *, guarded: bool) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    for name, book in books.items():
        pnl = _period_pnl(result, book)
        for index, rebalance in enumerate(result.rebalances):
            targets = rebalance.targets
            decided = (targets.net if guarded else targets.unguarded).get(name, {})
            losers = set(targets.loss_makers)
            earned = {result.symbols[at]: float(pnl[index, at]) for at in np.flatnonzero(pnl[index]).tolist()}
            held = {symbol for symbol, weight in decided.items() if weight != 0.0} | earned.keys()
            rows.extend(
                (rebalance.as_of, name, symbol, decided.get(symbol, 0.0), symbol in losers, earned.get(symbol, 0.0))
                for symbol in sorted(held)
            )
    return pl.DataFrame(rows, schema=WEIGHT_COLUMNS, orient="row").sort("as_of", "risk_profile", "symbol")


def _decisions_table(result: WalkForwardResult) -> pl.DataFrame:
    first = result.rebalances[0].row
    summaries = [rebalance.targets.summary for rebalance in result.rebalances]
    told = {name for summary in summaries for name in summary}
    if told & DECISION_COLUMNS.keys():
        raise ValueError(f"a decision's summary may not use the names {sorted(told & DECISION_COLUMNS.keys())}")
    rows = [
        (
            rebalance.as_of,
            result.days[rebalance.row - first].item(),
            len({symbol for weights in rebalance.targets.net.values() for symbol, w in weights.items() if w != 0.0}),
            len(set(rebalance.targets.loss_makers)),
        )
        for rebalance in result.rebalances
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
    result: WalkForwardResult, moments: Callable[[BookResult], Trades | Cancelled], columns: Mapping[str, str]
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
