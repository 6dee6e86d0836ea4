"""What changed between two runs: inputs, settings, candidates, winners, weights, performance, checks and events.

Only what the two run directories hold is read here; which input caused a change is a question for
:mod:`assay.report.attribution`, which decides again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.backtest.statistics import correlation, max_drawdown, sharpe, wealth
from assay.base.domain import Atom
from assay.report.findings import gate_said, verdict
from assay.report.joint import shown_together
from assay.report.small_book import Holdings, all_holdings
from assay.report.view import RunView, in_order, shared_returns
from assay.runs import artifacts as layout
from assay.settings.resolve import dotted

INPUTS = ("source", "as_of", "lake", "superset", "environment")
"""What a manifest says about a run's inputs apart from its settings."""

METRICS = (
    "days",
    "final_wealth",
    "cagr",
    "volatility",
    "sharpe",
    "psr",
    "dsr",
    "sortino",
    "calmar",
    "max_drawdown",
    "cvar_95",
    "hit_rate",
    "beta",
    "average_gross",
    "turnover",
    "cost",
    "borrow",
)

Weights = Mapping[str, float]
"""Coin to net weight."""
Atoms = tuple[set[str], Mapping[str, str]]
"""Ids of atoms, and what became of others."""


@dataclass(frozen=True)
class ChangedValue:
    """One value of which the two runs say different things; None where a run says nothing."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Member:
    """An atom of one run only, and what became of it in the other."""

    name: str
    elsewhere: str


@dataclass(frozen=True)
class Membership:
    """Atoms of both runs, and of one of them."""

    both: list[str]
    only_a: list[Member]
    only_b: list[Member]


@dataclass(frozen=True)
class WeightChange:
    """Net weight of one coin, or weight of one sleeve, in the two books."""

    coin: str
    a: float
    b: float
    difference: float


@dataclass(frozen=True)
class BookChange:
    """The two books of one risk profile."""

    turnover: float
    """What turning one book into the other trades, see :func:`turnover`."""
    cash_a: float
    cash_b: float
    holdings: list[WeightChange]


@dataclass(frozen=True)
class MetricChange:
    """One metric of the two runs, and by how much the second is more."""

    a: float | None
    b: float | None
    difference: float | None


@dataclass(frozen=True)
class Performance:
    """The two walk-forwards of one risk profile."""

    metrics: dict[str, MetricChange]
    """Each over its own days."""
    shared_days: int
    """Days that both walk-forwards have."""
    correlation: float | None
    """Of the daily returns on these days."""
    shared: dict[str, MetricChange]
    """``sharpe``, ``final_wealth`` and ``max_drawdown`` on these days alone, so that they compare like with like."""


@dataclass(frozen=True)
class Comparison:
    """Everything that two run directories tell apart; None (or no entry) where a run did not come so far."""

    a: str
    b: str
    verdicts: dict[str, str]
    inputs: list[ChangedValue]
    settings: list[ChangedValue]
    candidates: Membership | None
    winners: Membership | None
    sleeves: dict[str, list[WeightChange]]
    """Of two portfolios: risk profile to the weights of their sleeves."""
    books: dict[str, BookChange]
    performance: dict[str, Performance]
    shown_together: int
    """Series that both runs show: ``dsr_together`` of each performance is deflated by so many."""
    checks: list[ChangedValue]
    checks_alike: int
    events: list[ChangedValue]
    notes: list[str]


def compare(a: RunView, b: RunView) -> Comparison:
    """Compare two runs.

    Parameters
    ----------
    a, b : RunView
        Differences are those of ``b`` from ``a``.
    """
    checks_a, checks_b = _checks(a), _checks(b)
    return Comparison(
        a=a.run_id,
        b=b.run_id,
        verdicts={view.run_id: verdict(view).said for view in (a, b)},
        inputs=changes(_inputs(a), _inputs(b)),
        settings=changes(_settings(a), _settings(b)),
        candidates=_membership(_scanned(a), _scanned(b), "no scanner found it"),
        winners=_membership(_chosen(a), _chosen(b), "was not a candidate"),
        sleeves=_sleeves(a, b),
        books=_books(a, b),
        performance=_performance(a, b),
        shown_together=len(a.statistics) + len(b.statistics),
        checks=changes(checks_a, checks_b),
        checks_alike=sum(checks_b.get(name) == found for name, found in checks_a.items()),
        events=changes(_events(a), _events(b)),
        notes=[f"{view.run_id}: {note}" for view in (a, b) for note in _notes(view)],
    )


def changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[ChangedValue]:
    """Return the entries of two mappings that differ, sorted by name.

    >>> changes({"x": 1, "y": 2}, {"y": 3, "z": 4})
    [ChangedValue(name='x', a=1, b=None), ChangedValue(name='y', a=2, b=3), ChangedValue(name='z', a=None, b=4)]
    """
    return [ChangedValue(name, a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def turnover(a: Weights, b: Weights) -> float:
    """Return what turning one book into the other trades: half the sum of the absolute differences of net weights.

    Coins count, cash does not.

    >>> turnover({"X": 0.5, "Y": -0.25}, {"X": 0.25, "Z": 0.5})
    0.5
    """
    return math.fsum(abs(b.get(coin, 0.0) - a.get(coin, 0.0)) for coin in sorted({*a, *b})) / 2.0


def _inputs(view: RunView) -> dict[str, Any]:
    found = {name: view.setting(name) for name in INPUTS}
    if view.kind == "meta":
        found["lake"] = {**(found["lake"] or {}), "head": view.lake_heads}
        found["sleeves"] = sleeve_runs(view)
    return dotted(found) | {"trials.n": view.trials.get("trials")}


def sleeve_runs(view: RunView) -> dict[str, str]:
    """Return the run of each sleeve that a portfolio accepted; of a sleeve, nothing."""
    return {one.sleeve: one.run_id for one in view.sleeves}


def _settings(view: RunView) -> dict[str, Any]:
    profile, scanners = view.setting("profile"), view.setting("scanners")
    found = dotted(profile) if isinstance(profile, Mapping) else {}
    # A profile has a setting of that name too: the list of scanners that are its own.
    return found | (dotted(scanners, "scanners.") if isinstance(scanners, Mapping) else {})


def _notes(view: RunView) -> list[str]:
    """Say what of a run cannot be read, and what is not there to be compared."""
    found = [f"{name}: {reason}" for name, reason in view.faults.items()]
    sleeve = ((view.raw, layout.RAW), (view.winners, layout.WINNERS)) if view.kind == "run" else ()
    parts = (
        *sleeve,
        (view.flattened, layout.FLATTENED),
        (view.returns, layout.WALK_RETURNS),
    )
    gone = [view.absent(path) for part, path in parts if part is None and path not in view.faults]
    return [*([view.ledger.fault] if view.ledger.fault else []), *found, *gone]


def _scanned(view: RunView) -> Atoms | None:
    """Return the candidates, and the pairs that gave way to another quote with that quote."""
    if view.raw is None:
        return None
    kinds = sorted({(candidate.logic, candidate.direction) for candidate in view.raw.candidates})
    merged = {
        Atom(quote.symbol, logic, direction).id: f"merged into {quote.into}"
        for quote in view.raw.merged_quotes
        for logic, direction in kinds
    }
    return {candidate.atom.id for candidate in view.raw.candidates}, merged


def _chosen(view: RunView) -> Atoms | None:
    """Return the winners, and every candidate with the reason with which it ended."""
    if view.winners is None:
        return None
    fates = view.selection.fates if view.selection else []
    told = {fate.atom.id: f"{fate.reason}: {fate.detail}" if fate.detail else fate.reason for fate in fates}
    return {winner.atom_id for winner in view.winners.winners}, told


def _membership(a: Atoms | None, b: Atoms | None, unknown: str) -> Membership | None:
    if a is None or b is None:
        return None
    return Membership(
        both=sorted(a[0] & b[0]),
        only_a=[Member(name, b[1].get(name, unknown)) for name in sorted(a[0] - b[0])],
        only_b=[Member(name, a[1].get(name, unknown)) for name in sorted(b[0] - a[0])],
    )


def _sleeves(a: RunView, b: RunView) -> dict[str, list[WeightChange]]:
    first, second = (view.run.get(layout.META_OPTIMIZED) if view.kind == "meta" else None for view in (a, b))
    if first is None or second is None:
        return {}
    found = {}
    for name in in_order(first.profiles.keys() & second.profiles.keys()):
        one, other = ({s.Sleeve: s.Weight for s in made.profiles[name].sleeves} for made in (first, second))
        pairs = {sleeve: (one.get(sleeve, 0.0), other.get(sleeve, 0.0)) for sleeve in {**one, **other}}
        found[name] = [WeightChange(sleeve, left, right, right - left) for sleeve, (left, right) in pairs.items()]
    return found


def _books(a: RunView, b: RunView) -> dict[str, BookChange]:
    first, second = all_holdings(a), all_holdings(b)
    return {name: _book(first[name], second[name]) for name in in_order(first.keys() & second.keys())}


def _book(a: Holdings, b: Holdings) -> BookChange:
    pairs = {coin: (a.weights.get(coin, 0.0), b.weights.get(coin, 0.0)) for coin in {*a.weights, *b.weights}}
    changed = [WeightChange(coin, one, other, other - one) for coin, (one, other) in pairs.items()]
    ordered = sorted(changed, key=lambda change: (-abs(change.difference), change.coin))
    return BookChange(turnover(a.weights, b.weights), a.cash, b.cash, ordered)


def _performance(a: RunView, b: RunView) -> dict[str, Performance]:
    """Compare the walk-forwards, with the deflated Sharpe ratio of every series by what is shown here together."""
    together = {(one.label, one.risk_profile): one.together for one in shown_together([("a", a), ("b", b)])}
    return {
        name: _perform(a, b, name, _figure(together["a", name], together["b", name]))
        for name in in_order(a.statistics.keys() & b.statistics.keys())
    }


def _perform(a: RunView, b: RunView, name: str, together: MetricChange) -> Performance:
    first, second = a.statistics[name], b.statistics[name]
    known = [metric for metric in METRICS if metric in first or metric in second]
    shared = shared_returns(a.returns, b.returns, name)
    one, other = shared["ret"].to_numpy(), shared["ret_other"].to_numpy()
    measures = {"sharpe": sharpe, "final_wealth": wealth, "max_drawdown": max_drawdown}
    return Performance(
        metrics={metric: _figure(first.get(metric), second.get(metric)) for metric in known}
        | {"dsr_together": together},
        shared_days=shared.height,
        correlation=correlation(one, other) if shared.height > 1 else None,
        shared={metric: _figure(measure(one), measure(other)) for metric, measure in measures.items() if shared.height},
    )


def _figure(a: float | None, b: float | None) -> MetricChange:
    return MetricChange(a, b, None if a is None or b is None else b - a)


def _checks(view: RunView) -> dict[str, str]:
    """Contracts and gates with their verdicts and how much they checked."""
    found = {}
    for entry in view.ledger.current("contract", "gate"):
        body = entry.body
        if entry.kind == "gate":
            found[f"gate {body.get('gate')}"] = f"{gate_said(view, entry)}, {body.get('checked')} checked"
        else:
            found[f"contract {body.get('layer')}"] = f"{body.get('action')}, {body.get('checked')} checked"
    return found


def _events(view: RunView) -> dict[str, int]:
    """Count events and fallbacks by code."""
    return dict(Counter(str(entry.body.get("code")) for entry in view.ledger.current("event", "fallback")))
