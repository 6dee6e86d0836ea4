"""Survivorship: what the walk-forward would have shown to someone who only knows the coins of today.

Bars that are downloaded today are mostly those of symbols that still trade. A backtest on them has never met a coin
that died: it knows the future of the universe. The honest walk-forward holds what was listed on the day. Here the same
decisions are taken on the survivors alone, and the difference is the error that such a backtest carries. It flatters a
book that was long of what fell before it went, and wrongs one that was short of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from assay.backtest.book import BookResult
from assay.backtest.statistics import cagr, max_drawdown
from assay.backtest.walk_forward import Decide, Each, Progress, WalkForwardResult, anchored, walk_forward
from assay.market.panel import Market
from assay.settings.model import Profile


@dataclass(frozen=True)
class TrackRecord:
    """What a book came to."""

    cagr: float | None
    """None where the account ended in debt, or in a difference of such."""
    final_wealth: float
    """NAV at the last close of an account that began with 1."""
    max_drawdown: float
    """At most 0."""

    @classmethod
    def of(cls, book: BookResult) -> TrackRecord:
        """Measure a book."""
        deepest = max_drawdown(book.returns)
        assert deepest is not None
        return cls(cagr(book.returns), float(book.nav[-1]), deepest)

    def __sub__(self, other: TrackRecord) -> TrackRecord:
        """Return the differences, figure by figure."""
        growth = None if self.cagr is None or other.cagr is None else self.cagr - other.cagr
        return TrackRecord(growth, self.final_wealth - other.final_wealth, self.max_drawdown - other.max_drawdown)


@dataclass(frozen=True)
class Compared:
    """One risk profile's book on everything that was listed, and on survivors only."""

    honest: TrackRecord
    survivors: TrackRecord
    error: TrackRecord
    """Survivors less honest: positive figures flatter. A drawdown is at most 0: a positive error is a shallower
    one."""


@dataclass(frozen=True)
class Survivorship:
    """The survivorship error of a walk-forward."""

    last_day: str
    """Day of the last bars, on which a survivor still has one."""
    symbols: int
    """Symbols with a bar in the days that the walk-forward could look at."""
    dead: tuple[str, ...]
    """Those of them that are no survivors, sorted."""
    held_dead: tuple[str, ...]
    """Dead symbols that a decision of the honest walk-forward, guard on or off, gave weight."""
    profiles: dict[str, Compared]
    unguarded: dict[str, Compared]
    """By risk profile, as run and with the guard off."""


def survivors(market: Market, benchmark: str) -> Market:
    """Return the market of the symbols that have a bar on the last day; the benchmark stays whatever became of it.

    A symbol counts with its whole history, earlier listings under the same name among it, as in a download.

    Parameters
    ----------
    market : Market
    benchmark : str
        Without it no decision can be taken.
    """
    alive = market.listing[-1] >= 0
    alive[market.column(benchmark)] = True
    columns = np.flatnonzero(alive)
    return replace(
        market,
        symbols=tuple(market.symbols[at] for at in columns.tolist()),
        fields={name: np.ascontiguousarray(values[:, columns]) for name, values in market.fields.items()},
        listing=np.ascontiguousarray(market.listing[:, columns]),
        unsound=None if market.unsound is None else market.unsound[:, columns],
    )


def survivorship(
    market: Market,
    profile: Profile,
    decide: Decide,
    honest: WalkForwardResult,
    progress: Progress | None = None,
    each: Each | None = None,
) -> Survivorship:
    """Repeat one phase of a walk-forward on survivors only and tell the difference.

    Parameters
    ----------
    market : Market
        What the honest walk-forward was given.
    profile : Profile
    decide : callable
        The same decision, with its weights without a guard.
    honest : WalkForwardResult
        Of :func:`~assay.backtest.walk_forward.walk_forward` on ``market``.
    progress : callable, optional
    each : callable, optional
        As for the walk-forward, on the market of survivors.

    Returns
    -------
    Survivorship

    Notes
    -----
    A survivor is known only on the last day, so nothing here is a track record, and no decision may read it.
    """
    begin = max(0, honest.rebalances[0].row + 1 - profile.sight_days)
    present = (market.listing[begin:] >= 0).any(axis=0)
    dead = present & (market.listing[-1] < 0)
    named = {symbol for symbol, gone in zip(market.symbols, dead.tolist(), strict=True) if gone}
    phase = honest.one_phase()
    single = anchored(profile, phase.began, 1)
    alive = survivors(market, profile.benchmark) if named else market
    biased = walk_forward(alive, single, decide, progress, each) if named else phase
    return Survivorship(
        last_day=str(market.days[-1]),
        symbols=int(present.sum()),
        dead=tuple(sorted(named)),
        held_dead=tuple(sorted(named & _held(honest))),
        profiles=_compare(phase.books, biased.books),
        unguarded=_compare(phase.unguarded.books, biased.unguarded.books),
    )


def _held(result: WalkForwardResult) -> set[str]:
    """Symbols that any decision gave weight."""
    return {
        symbol
        for rebalance in result.rebalances
        for decided in (rebalance.targets.net, rebalance.targets.unguarded)
        for weights in decided.values()
        for symbol, weight in weights.items()
        if weight != 0.0
    }


def _compare(honest: Mapping[str, BookResult], biased: Mapping[str, BookResult]) -> dict[str, Compared]:
    compared = {}
    for name, book in sorted(honest.items()):
        true, flattered = TrackRecord.of(book), TrackRecord.of(biased[name])
        compared[name] = Compared(true, flattered, flattered - true)
    return compared
