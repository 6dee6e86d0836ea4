"""What a risk profile holds, and why it holds little: causes by name, each with its numbers.

A small book is not a fault, but a reader must learn what kept it small: few candidates, vetoes, the guard, caps, or the
optimizer's own choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from assay.report.markdown import count, finite, integer, names, percent
from assay.report.view import RunView
from assay.risk.flatten import FEWEST_COINS, LEAST_SHARE, is_small
from assay.risk.solve import ALL_LOSS_MAKERS, CAPS_BIND, NO_POSITIVE_EXPECTED_RETURN
from assay.runs.documents import OptimizedProfile, Stage
from assay.runs.run import STAND_ASIDE

SMALL = f"fewer than {FEWEST_COINS} coins, or less than {percent(LEAST_SHARE, 0)} of the account"
"""When a book is small, in words."""

HOLDING_BACK = frozenset({NO_POSITIVE_EXPECTED_RETURN, ALL_LOSS_MAKERS})
"""Events after which an optimizer holds less than it might; caps and guard have causes with numbers of their own."""


@dataclass(frozen=True)
class Holdings:
    """What a risk profile holds on coins; ``weights`` are signed and never zero."""

    weights: dict[str, float]
    gross: float
    net: float
    cash: float

    @property
    def coins(self) -> int:
        """Coins with a net weight."""
        return len(self.weights)

    @property
    def largest(self) -> tuple[str, float] | None:
        """The coin of the largest absolute net weight; of equals the first by name."""
        return min(self.weights.items(), key=lambda pair: (-abs(pair[1]), pair[0]), default=None)

    @property
    def small(self) -> bool:
        """Whether the book is small, see :func:`assay.risk.flatten.is_small`."""
        return is_small(self.coins, self.gross)


class Cause(NamedTuple):
    """One thing that kept a book small."""

    code: str
    what: str


def holdings(view: RunView, name: str) -> Holdings | None:
    """Return what a risk profile holds as run."""
    profile = view.holding(name)
    if profile is None:
        return None
    weights = {asset.Symbol: asset.Net_Weight for asset in profile.assets if asset.Net_Weight}
    return Holdings(weights, profile.gross, profile.net, profile.cash)


def unguarded_holdings(view: RunView, name: str) -> Holdings | None:
    """Return the same decision with the guard off, netted to coins."""
    profile = view.optimized.unguarded.get(name) if view.optimized else None
    if profile is None:
        return None
    weights: dict[str, float] = {}
    for asset in profile.assets:
        weights[asset.Symbol] = weights.get(asset.Symbol, 0.0) + asset.Net_Weight
    gross = math.fsum(abs(asset.Weight) for asset in profile.assets)
    held = {symbol: weight for symbol, weight in weights.items() if weight}
    return Holdings(held, gross, math.fsum(held.values()), profile.cash)


def all_holdings(view: RunView) -> dict[str, Holdings]:
    """Return what each risk profile holds, where the run came so far."""
    return {name: book for name in view.risk_profiles if (book := holdings(view, name)) is not None}


def by_size(columns: Iterable[Mapping[str, float]]) -> list[str]:
    """Return all coins, the largest sum of absolute weights first, equals by name."""
    total: dict[str, float] = {}
    for weights in columns:
        for symbol, weight in weights.items():
            total[symbol] = total.get(symbol, 0.0) + abs(weight)
    return sorted(total, key=lambda symbol: (-total[symbol], symbol))


def small_books(view: RunView) -> dict[str, Holdings]:
    """Risk profiles whose book is small."""
    return {name: book for name, book in all_holdings(view).items() if book.small}


def shared_causes(view: RunView) -> list[Cause]:
    """Return what kept every book of a run small, from the scan to the guard."""
    if view.stood_aside:
        aside = (entry for entry in view.ledger.current("event") if entry.body.get("code") == STAND_ASIDE)
        return [Cause(STAND_ASIDE, str(entry.body.get("what"))) for entry in aside]
    return [*_supply(view), *_guard(view)]


def own_causes(view: RunView, name: str) -> list[Cause]:
    """Return what kept the book of one risk profile small, beyond what all share."""
    optimized = view.optimized.profiles.get(name) if view.optimized else None
    if optimized is None or view.stood_aside:
        return []
    return [*_caps(optimized), *_choice(view, optimized)]


def causes(view: RunView, name: str) -> list[Cause]:
    """Return what kept a risk profile's book small; never empty."""
    found = [*shared_causes(view), *own_causes(view, name)]
    return found or [Cause("UNEXPLAINED", "no artifact names a cause")]


def _supply(view: RunView) -> Iterator[Cause]:
    """Causes before the allocation: too few candidates, drops on the way, vetoes."""
    audit, wanted = view.selection, view.wanted
    if audit is None or wanted is None or audit.n_winners >= wanted:
        return
    stages = {stage.stage: stage for stage in audit.stages}
    candidates = len(view.raw.candidates) if view.raw else len(audit.fates)
    if candidates < wanted:
        what = f"the scan gave {count(candidates, 'candidate')}, {wanted} winners are wanted"
        scan = stages.get("discovery")
        yield Cause("FEW_CANDIDATES", f"{what}; {_dropped(scan)}" if scan and scan.dropped else what)
    for code, name in (
        ("DROPPED_EARLY", "normalization"),
        ("DROPPED_EARLY", "deduplication"),
        ("VETOES", "selection"),
    ):
        if name in stages and stages[name].dropped:
            yield Cause(code, _dropped(stages[name]))
    if view.enrichment is not None and view.enrichment.dropped:
        dropped = [f"{drop.name} ({drop.reason})" for drop in view.enrichment.dropped]
        yield Cause("ENRICHMENT", f"enrichment dropped {count(len(dropped), 'winner')}: {names(dropped)}")
    yield Cause("FEW_WINNERS", f"{count(audit.n_winners, 'winner')} of {wanted} wanted")


def _dropped(stage: Stage) -> str:
    reasons = names([f"{reason} {integer(n)}" for reason, n in stage.dropped_by.items()], 12)
    return f"{stage.stage} dropped {integer(stage.dropped)} of {integer(stage.n_in)}: {reasons}"


def _guard(view: RunView) -> Iterator[Cause]:
    risk = view.risk
    if risk is None or not risk.loss_makers or not view.guarded:
        return
    losers, atoms = len(risk.loss_makers), view.atoms
    yield Cause(
        "GUARD",
        f"{losers} of {count(atoms, 'atom')} ({percent(losers / atoms if atoms else None)}) are loss makers; "
        f"their share of the budget is cash, which leaves a budget of {percent(risk.budget)}",
    )


def _caps(optimized: OptimizedProfile) -> Iterator[Cause]:
    taken = caps_take(optimized)
    if taken is not None:
        held, budget = taken
        yield Cause(
            "CAPS",
            f"caps of {percent(optimized.atom_cap)} an atom and {percent(optimized.cluster_cap)} a cluster leave "
            f"{percent(held)} of a budget of {percent(budget)}",
        )


def caps_take(optimized: OptimizedProfile) -> tuple[float, float] | None:
    """Return what caps leave of a budget, and the budget; None where they take nothing from it."""
    told = next((event.values for event in optimized.events if event.code == CAPS_BIND), None)
    held, budget = (None, None) if told is None else (finite(told.get("held")), finite(told.get("budget")))
    return None if held is None or budget is None else (held, budget)


def _choice(view: RunView, optimized: OptimizedProfile) -> Iterator[Cause]:
    """Causes inside the optimizer: its events, and atoms that it could have held and did not."""
    for event in optimized.events:
        if event.code in HOLDING_BACK:
            yield Cause(event.code, event.what)
    losers = len(view.risk.loss_makers) if view.risk and view.guarded else 0
    allowed = view.atoms - losers
    held = sum(asset.Weight > 0.0 for asset in optimized.assets)
    if held < allowed:
        yield Cause(
            "OPTIMIZER_CHOICE",
            f"{optimized.solver.name} ({optimized.solver.status}) gave weight to {held} of {count(allowed, 'atom')} "
            f"that it might hold, at most {percent(optimized.atom_cap)} each",
        )
