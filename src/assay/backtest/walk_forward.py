"""Walk-forward of the whole decision: decide with what was known, fill at the next open, hold, decide again.

The grid is anchored at the first decision: from a given start, later bars never move it. A decision on the bar of day D
knows that bar, which closes at (D + 1)T00:00Z, and fills at the open of day D + 1. So the first decision of 386 daily
bars with ``train`` = 252 falls on the 253rd bar, when 252 returns exist, and 133 days are traded.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from assay.backtest.book import simulate
from assay.backtest.records import BookResult, Floats, Ints
from assay.backtest.statistics import Summary
from assay.base.domain import UTC
from assay.base.errors import ContractError, DataError, NoCandidates, ProfileError
from assay.market.panel import Market
from assay.runs.documents import Scalar
from assay.settings.model import Profile, WalkForward

if TYPE_CHECKING:
    import polars as pl

Days = npt.NDArray[np.datetime64]
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


Each = Callable[[Sequence[int]], Iterable[Targets]]
"""Takes rows of the grid and gives what is decided after each, in order."""


@dataclass(frozen=True)
class Cash:
    """A decision that found nobody."""

    reason: str
    net: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unguarded: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    loss_makers: Collection[str] = ()

    @property
    def summary(self) -> Mapping[str, Scalar]:
        """The reason."""
        return {"reason": self.reason}


@dataclass(frozen=True)
class Rebalance:
    """One decision on the grid.

    Attributes
    ----------
    row : int
        Row of the last bar that it knew; it fills at the open of the next one.
    as_of : datetime
        Close of that bar, UTC.
    targets : Targets
        What was decided.
    """

    row: int
    as_of: dt.datetime
    targets: Targets


@dataclass(frozen=True)
class WalkForwardResult:
    """Everything that was decided and what became of it.

    Attributes
    ----------
    days : (n_days,) datetime64[D] array
        From the first fill to the last bar.
    symbols : tuple of str
        Columns of the market; trades and holdings of a book refer to them.
    rebalances : tuple of Rebalance
    fill_of : (n_rebalances,) int array
        Index of each rebalance among a book's fills.
    books, unguarded : dict of str to BookResult
        By risk profile.
    benchmark : (n_days,) array
        Close-to-close returns of the benchmark, NaN where there is none.
    """

    days: Days
    symbols: tuple[str, ...]
    rebalances: tuple[Rebalance, ...]
    fill_of: Ints
    books: Mapping[str, BookResult]
    unguarded: Mapping[str, BookResult]
    benchmark: Floats

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return the tables of step 12 by name, see :func:`assay.backtest.tables.frames`."""
        from assay.backtest.tables import frames

        return frames(self)

    def statistics(self, seed: int = 0) -> dict[str, dict[str, Summary]]:
        """Return the metrics of every book, see :func:`assay.backtest.evidence.statistics`."""
        from assay.backtest.evidence import statistics

        return statistics(self, seed)

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


def decide_row(market: Market, profile: Profile, decide: Callable[[Market], Targets], row: int) -> Targets:
    """Decide what is decided after the bar of a row, from what was known then; nobody found is a period in cash."""
    try:
        return decide(market.until(close_of(market.days[row]), profile.data.lookback))
    except NoCandidates as nobody:
        return Cash(nobody.code)


def walk_forward(
    market: Market,
    profile: Profile,
    decide: Callable[[Market], Targets],
    progress: Progress | None = None,
    each: Each | None = None,
) -> WalkForwardResult:
    """Decide on every row of the grid and hold what was decided.

    Parameters
    ----------
    market : Market
        All bars and ratings; each decision is handed what was known then, ``profile.data.lookback`` days of it at most.
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
    rows = rebalance_rows(market.days, profile.walk_forward).tolist()
    decided = (decide_row(market, profile, decide, row) for row in rows) if each is None else each(rows)
    rebalances = []
    for done, (row, targets) in enumerate(zip(rows, decided, strict=True), start=1):
        rebalances.append(Rebalance(row, close_of(market.days[row]), targets))
        if progress is not None:
            progress(done, len(rows))
    return hold(market, profile, rebalances)


def hold(market: Market, profile: Profile, rebalances: Sequence[Rebalance]) -> WalkForwardResult:
    """Hold decisions that were taken already, one book for each risk profile, guard on and off."""
    first = rebalances[0].row + 1
    fills = _fill_rows([rebalance.row for rebalance in rebalances], len(market.days), profile.walk_forward)
    guarded = [rebalance.targets.net for rebalance in rebalances]
    unguarded = [rebalance.targets.unguarded for rebalance in rebalances]
    return WalkForwardResult(
        days=market.days[first:],
        symbols=market.symbols,
        rebalances=tuple(rebalances),
        fill_of=np.flatnonzero([index is not None for _, index in fills]).astype(np.int64),
        books={name: _book(market, profile, fills, guarded, name) for name in profile.risk.risk_profiles},
        unguarded={name: _book(market, profile, fills, unguarded, name) for name in profile.risk.risk_profiles},
        benchmark=market.returns()[first:, market.column(profile.benchmark)],
    )


def _fill_rows(rows: Sequence[int], n_days: int, settings: WalkForward) -> list[tuple[int, int | None]]:
    """Rows of the fills with the index of their decision; None where a holding shorter than the step ends in cash."""
    fills: list[tuple[int, int | None]] = []
    for index, row in enumerate(rows):
        fills.append((row + 1, index))
        if settings.hold < settings.step and row + 1 + settings.hold < n_days:
            fills.append((row + 1 + settings.hold, None))
    return fills


def _book(
    market: Market,
    profile: Profile,
    fills: Sequence[tuple[int, int | None]],
    decided: Sequence[Mapping[str, Mapping[str, float]]],
    name: str,
) -> BookResult:
    targets = [(row, _weights(market, {} if index is None else decided[index], name)) for row, index in fills]
    return simulate(market["open"], market["close"], market.listing, targets, profile.costs)


def _weights(market: Market, decided: Mapping[str, Mapping[str, float]], name: str) -> Floats:
    weights = np.zeros(len(market.symbols))
    if decided:
        if name not in decided:
            raise ContractError("a decision leaves out a risk profile", where=name, hint="decide all of them, or none")
        wanted = decided[name]
        weights[[market.column(symbol) for symbol in wanted]] = list(wanted.values())
    return weights
