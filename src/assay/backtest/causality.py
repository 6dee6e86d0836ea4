"""Causality, tested: what is known after a date is replaced, and nothing that was decided by then may change by a byte.

The walk-forward is run again on another future by its own code: its grid, its cut of the market, the decision and the
book. A decision that lies after the date is not taken again but replaced by cash, so that a book that knows orders of
the future shows it too. Dates go forward: a decision is tried against the first date after it, whose future holds the
futures of all later dates.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from assay.backtest.equality import Reach, difference, leaves, shown
from assay.backtest.perturbations import Kind, perturb_market
from assay.backtest.walk_forward import Cash, Decide, Targets, WalkForwardResult, anchored, close_of, walk_forward
from assay.base.constants import Ints
from assay.base.domain import DAY, format_instant
from assay.base.errors import AssayError, GateError
from assay.market.panel import Market
from assay.runs import artifacts as layout
from assay.settings.model import Profile

VOID = "CAUSALITY_VOID"
"""Nothing was changed, or nothing was compared: the test would have found nothing."""

PROBED_DAYS = 30
"""Days after the date that a probe's market keeps."""


@dataclass(frozen=True)
class World:
    """A market with another future."""

    market: Market
    changed: Mapping[str, int]
    """Table to bytes that differ from the true future."""
    coins: int
    """Coins whose bars differ."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows that whoever made the market compared on the way: the panel, ratings made again."""
    faults: Sequence[str] = ()
    """What differed there."""


@dataclass(frozen=True)
class Probe:
    """One date and one kind of change."""

    as_of: dt.datetime
    """What is known after it was changed."""
    kind: Kind
    changed: Mapping[str, int]
    coins: int
    """Bytes of each table and coins that were changed."""
    decisions: int
    """Decisions that were taken again."""
    rows: Mapping[str, int]
    """Rows of each table that were compared."""
    violations: tuple[str, ...]
    """What changed although it was decided before; each names table, row, column and both values."""

    def as_dict(self) -> dict[str, Any]:
        """Return the trial as a JSON object."""
        return {
            "as_of": format_instant(self.as_of),
            "kind": self.kind,
            "bytes_changed": dict(self.changed),
            "coins_changed": self.coins,
            "decisions": self.decisions,
            "rows_compared": dict(self.rows),
            "violations": list(self.violations),
        }


@dataclass(frozen=True)
class Probes:
    """All trials of a walk-forward."""

    trials: tuple[Probe, ...]

    @property
    def ok(self) -> bool:
        """Nothing changed."""
        return not self.violations

    @property
    def violations(self) -> list[str]:
        """Violations of all trials, with date and kind."""
        return [f"{format_instant(t.as_of)} {t.kind}: {what}" for t in self.trials for what in t.violations]

    @property
    def rows(self) -> int:
        """Rows compared in all."""
        return sum(sum(trial.rows.values()) for trial in self.trials)

    def as_dict(self) -> dict[str, Any]:
        """Return counts, the first violation and every trial as a JSON object."""
        return {
            "ok": self.ok,
            "dates": len({trial.as_of for trial in self.trials}),
            "trials": len(self.trials),
            "tables": sorted({name for trial in self.trials for name, count in trial.changed.items() if count}),
            "bytes_changed": sum(sum(trial.changed.values()) for trial in self.trials),
            "decisions": sum(trial.decisions for trial in self.trials),
            "rows_compared": self.rows,
            "violations": len(self.violations),
            "first_violation": next(iter(self.violations), None),
            "detail": [trial.as_dict() for trial in self.trials],
        }


class Rehearsal:
    """A walk-forward that is tried against other futures.

    Parameters
    ----------
    result : WalkForwardResult
        What was decided with the true future.
    profile : Profile
    decide : callable
        The decision, as the walk-forward calls it.
    """

    def __init__(
        self,
        result: WalkForwardResult,
        profile: Profile,
        decide: Decide,
    ) -> None:
        self.result, self.decide, self.profile = result, decide, profile
        # Later bars move a grid that is counted from the end; from a given start they must not.
        self.anchored = anchored(profile, result.began, profile.walk_forward.tranches)
        self.frames = {**result.frames(), "benchmark": _benchmark(result)}
        self.decided = {rebalance.as_of: rebalance.targets for rebalance in result.rebalances}
        self._values: dict[dt.datetime, dict[str, bytes]] = {}

    def trial(self, as_of: dt.datetime, kind: Kind, world: World, since: dt.datetime | None = None) -> Probe:
        """Decide and hold again in another world, and compare everything up to a date.

        Parameters
        ----------
        as_of : datetime
            The date.
        kind : str
            How the world was changed after it.
        world : World
        since : datetime, optional
            Decisions up to here are not taken again: an earlier trial did, against more change.

        Raises
        ------
        GateError
            If nothing was changed or nothing can be compared.
        """
        taken: dict[dt.datetime, Targets] = {}

        def decide(known: Market) -> Targets:
            if known.as_of > as_of:
                true = self.decided.get(known.as_of)
                return Cash() if true is None else Cash(true.summary)  # told as the true one: tables keep their types
            if since is not None and known.as_of <= since and known.as_of in self.decided:
                return self.decided[known.as_of]
            taken[known.as_of] = self.decide(known)
            return taken[known.as_of]

        rows, faults = dict(world.rows), list(world.faults)
        try:
            again = walk_forward(world.market, self.anchored, decide)
            for instant in self.due(as_of, since) - taken.keys():  # on the last day, where no later bar fills it
                taken[instant] = self.decide(world.market.until(instant, self.profile.sight_days))
        except AssayError as error:
            again = None
            faults.append(f"decided before, it cannot be decided again: {error.code}: {error}")
        if again is not None:
            # A decision needs a bar after it to be filled at, and so the last one of a market is on no grid.
            filled = min(as_of, close_of(world.market.days[-2]))
            faults += self._grid(again, filled)
            compared, found = self._tables(again, Reach(as_of, filled, kind == "open"), since)
            rows |= compared
            faults += found
        for instant in sorted(taken.keys() & self.decided.keys()):
            values, found = self._decision(instant, taken[instant])
            rows["decided_values"] = rows.get("decided_values", 0) + values
            faults += found
        trial = Probe(as_of, kind, world.changed, world.coins, len(taken), rows, tuple(faults))
        _refuse_void(trial)
        return trial

    def due(self, as_of: dt.datetime, since: dt.datetime | None) -> set[dt.datetime]:
        """Return the instants of the decisions that a trial takes again."""
        return {instant for instant in self.decided if instant <= as_of and (since is None or instant > since)}

    def _grid(self, again: WalkForwardResult, filled: dt.datetime) -> list[str]:
        """Compare the instants of decisions."""
        before, after = (
            {rebalance.as_of for rebalance in result.rebalances if rebalance.as_of <= filled}
            for result in (self.result, again)
        )
        return [f"grid: the decision of {format_instant(at)} is in one world only" for at in sorted(before ^ after)[:1]]

    def _tables(
        self, again: WalkForwardResult, reach: Reach, since: dt.datetime | None
    ) -> tuple[dict[str, int], list[str]]:
        """Compare what each world wrote by then; decisions that were not taken again are compared, but not counted."""
        rows, faults = {}, []
        others = again.frames() | {"benchmark": _benchmark(again)}
        fills = self.frames["decisions"]
        for name, frame in self.frames.items():
            mine, theirs = (reach.rows(name, table, fills) for table in (frame, others[name]))
            fault = difference(mine, theirs, layout.TABLE_KEYS.get(f"{layout.WALK}{name}.parquet", ("date",)))
            faults += [] if fault is None else [f"{name}: {fault}"]
            fresh = mine if since is None or "as_of" not in mine.columns else mine.filter(pl.col("as_of") > since)
            rows[name] = fresh.height
        return rows, faults

    def _decision(self, instant: dt.datetime, again: Targets) -> tuple[int, list[str]]:
        if instant not in self._values:
            self._values[instant] = dict(leaves(self.decided[instant]))
        mine, theirs = self._values[instant], dict(leaves(again))
        apart = next((path for path in mine if theirs.get(path) != mine[path]), None) or next(
            iter(theirs.keys() - mine.keys()), None
        )
        if apart is None:
            return len(mine), []
        change = shown(mine.get(apart), theirs.get(apart))
        return len(mine), [f"decision of {format_instant(instant)}: {apart.lstrip('.')}: {change}"]


def _refuse_void(trial: Probe) -> None:
    missing = [
        what
        for what, count in (
            ("changed no byte", sum(trial.changed.values())),
            ("changed no coin", trial.coins),
            ("compared no row", sum(trial.rows.values()) + len(trial.violations)),
        )
        if not count
    ]
    if missing:
        raise GateError(
            f"a causality test that {missing[0]} tests nothing",
            where=f"{format_instant(trial.as_of)} {trial.kind}",
            hint="choose dates inside the walk-forward, with bars after them",
            code=VOID,
        )


def choose_dates(result: WalkForwardResult, count: int, seed: int = 0) -> list[dt.datetime]:
    """Choose dates of a walk-forward: in turn a decision's, the eve of one, and any day; the last decision's always.

    A decision that reads one bar too many shows on its own day; a book that trades one bar too early on the eve.

    Parameters
    ----------
    result : WalkForwardResult
    count : int
        How many are wanted; fewer come back where a walk-forward has fewer days.
    seed : int
        Which ones.

    Returns
    -------
    list of datetime
        Ascending, each from the first fill on and before the last bar.
    """
    rng = np.random.default_rng(seed)
    first = result.rebalances[0].row
    decided = np.array([rebalance.row - first - 1 for rebalance in result.rebalances[1:]], dtype=np.int64)
    days = len(result.days) - 1
    if days < 1:
        return []
    chosen = {int(decided[-1])} if decided.size else {days - 1}
    edges = np.linspace(0, days, count + 1)
    for place in range(count - 1):
        if place % 3 < 2 and decided.size:
            day = int(rng.choice(_inside(decided, edges[place], edges[place + 1]))) - place % 3
        else:
            day = int(rng.integers(int(edges[place]), max(int(edges[place]) + 1, int(edges[place + 1]))))
        chosen.add(max(day, 0))
    return [close_of(result.days[day]) for day in sorted(chosen)]


def _inside(values: Ints, low: float, high: float) -> Ints:
    inside = values[(values >= low) & (values < high)]
    return inside if inside.size else values


def probe(
    result: WalkForwardResult,
    market: Market,
    profile: Profile,
    decide: Decide,
) -> Probes:
    """Try one phase of a walk-forward that has just been made, on the market in memory: around its middle decision.

    Two trials. On that decision's day every later row is replaced and joined by new coins, and the decision is taken
    again. On its eve the next open stays, and the book alone is run again: a fill at that open may know no more.

    Parameters
    ----------
    result, market, profile, decide
        As the walk-forward had and made them.

    Raises
    ------
    GateError
        If nothing can be changed or compared.
    """
    result, profile = result.one_phase(), anchored(profile, result.one_phase().began, 1)
    rehearsal = Rehearsal(result, profile, decide)
    middle = result.rebalances[len(result.rebalances) // 2].as_of
    eve = middle - DAY
    # What comes much later is gone altogether: cheaper than noise, and no less of a change.
    seen = market.until(min(market.as_of, middle + PROBED_DAYS * DAY))
    trials = []
    chosen: list[tuple[dt.datetime, Kind]] = [(eve, "open"), (middle, "noise")]
    for as_of, kind in chosen if eve >= close_of(result.days[0]) else chosen[1:]:
        rng = np.random.default_rng(as_of.toordinal())
        other, changed, coins = perturb_market(seen, as_of, rng, keep_open=kind == "open")
        trials.append(rehearsal.trial(as_of, kind, World(other, {"market": changed}, coins), since=eve))
    return Probes(tuple(trials))


def _benchmark(result: WalkForwardResult) -> pl.DataFrame:
    return pl.DataFrame({"date": result.days, "ret": result.benchmark})
