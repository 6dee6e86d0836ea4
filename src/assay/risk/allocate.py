"""Steps 8 and 9 as functions: what is known of the winners' risk, then five portfolios from it, then their documents.

A walk-forward calls :func:`analyse` and :func:`optimize` at every rebalance; the documents are what a run keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.alpha.clusters import cluster
from assay.base.constants import Floats, Ints
from assay.base.domain import Atom
from assay.base.errors import DataError
from assay.risk.caps import Polytope, PoolCaps, decide_caps
from assay.risk.guard import LossMakers, find_loss_makers
from assay.risk.optimizers import (
    Allocation,
    Barbell,
    EqualWeight,
    Estimates,
    HierarchicalRiskParity,
    MaxSharpe,
    MinVariance,
    Optimizer,
)
from assay.risk.regime import Regime, RegimeName, read_regime
from assay.risk.solve import NO_ATOMS
from assay.runs.documents import Clusters, Event, OptimizedAsset, OptimizedProfile, RiskAnalysis
from assay.settings.model import Profile, RiskProfile, RiskSettings


@dataclass(frozen=True)
class RiskState:
    """What step 8 finds; every optimizer of step 9 reads it."""

    atoms: tuple[Atom, ...]
    """The winners, in the order of the streams' columns."""
    labels: Ints
    """(n_atoms,): cluster of each atom, from 1."""
    estimates: Estimates
    """Covariance, means, antifragility."""
    regime: Regime
    caps: PoolCaps
    """Decided with all atoms and clusters, before the guard."""
    guard: LossMakers
    """Verdict on each atom, whether or not the profile uses it."""
    guarded: Polytope
    """Allowed weights with the guard as the profile has it."""
    unguarded: Polytope
    """Allowed weights without a guard."""
    guarded_events: tuple[Event, ...]
    """What the guard did."""
    rows_used: int
    rows_left_out: int
    """Complete rows, and rows in which a winner had no return."""

    @property
    def budget(self) -> float:
        """Share of the capital that may be invested, before caps."""
        return self.guarded.budget

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything that changed a number in step 8."""
        return self.estimates.covariance.events + self.regime.events + self.caps.events + self.guarded_events


def analyse(
    streams: Floats,
    atoms: Sequence[Atom],
    benchmark_close: Floats,
    profile: Profile,
    antifragility: Floats | None = None,
    borrow: Floats | None = None,
) -> RiskState:
    """Measure the winners' risk and decide regime, clusters, caps, loss makers and budget.

    Parameters
    ----------
    streams : (n_rows, n_atoms) array
        Synthetic returns of consecutive days, ascending; the last 252 are read, and those with a NaN left out.
    atoms : sequence of Atom
        One per column.
    benchmark_close : (n_days,) array
        The benchmark's closes of consecutive days, ascending, NaN where there is no bar.
    profile : Profile
    antifragility : (n_atoms,) array, optional
        For the barbell; NaN where unknown.
    borrow : (n_atoms,) array, optional
        Rates a year that shorts owe, NaN where none is known; what the guard counts.

    Raises
    ------
    DataError
        With no atoms, or fewer complete rows than ``data.min_rows``.
    """
    rows, left_out = complete_rows(streams, atoms, profile)
    settings, chosen = profile.selection, profile.risk
    labels = np.asarray(
        cluster(rows, settings.cluster_windows, settings.cluster_threshold, settings.max_clusters), dtype=np.int64
    )
    estimates = Estimates.of(
        rows,
        antifragility,
        names=[atom.id for atom in atoms],
        max_condition=chosen.max_condition,
        step=chosen.shrinkage_step,
        most=chosen.shrinkage_max,
    )
    regime = read_regime(benchmark_close)
    signs = np.array([atom.sign for atom in atoms])
    hold, days = profile.walk_forward.hold, profile.guard.days
    guard = find_loss_makers(rows, signs, profile.costs, hold=hold, days=days, borrow=borrow)
    caps = decide_caps(profile.direction, len(np.unique(labels)), regime.name, profile.caps)
    unguarded = allowed_weights(labels, caps, None)
    return RiskState(
        atoms=tuple(atoms),
        labels=labels,
        estimates=estimates,
        regime=regime,
        caps=caps,
        guard=guard,
        guarded=allowed_weights(labels, caps, guard) if profile.guard.enabled else unguarded,
        unguarded=unguarded,
        guarded_events=guard.events() if profile.guard.enabled else (),
        rows_used=len(rows),
        rows_left_out=left_out,
    )


def complete_rows(streams: Floats, atoms: Sequence[Atom], profile: Profile) -> tuple[Floats, int]:
    """Return the estimation rows without those in which an atom has no return, and how many were left out."""
    if not atoms or streams.shape[1] != len(atoms):
        raise DataError(
            f"{streams.shape[1]} synthetic streams for {len(atoms)} atoms",
            where="risk_analysis",
            hint="natural selection must hand over one stream per winner, and at least one",
        )
    recent = np.asarray(streams[-profile.data.estimation_rows :], dtype=np.float64)
    complete = np.isfinite(recent).all(axis=1)
    kept = int(complete.sum())
    if kept < profile.data.min_rows:
        raise DataError(
            f"{kept} complete rows of the last {len(recent)}, and {profile.data.min_rows} are needed",
            where="risk_analysis",
            hint="data_health.json names the symbols with gaps; data.min_rows is the limit",
        )
    return np.ascontiguousarray(recent[complete]), len(recent) - kept


def allowed_weights(labels: Ints, caps: PoolCaps, guard: LossMakers | None) -> Polytope:
    """Build the polytope: loss makers' caps are zero and their share of the budget is cash.

    Parameters
    ----------
    labels : (n_atoms,) int array
    caps : PoolCaps
        Never raised again for what a guard leaves.
    guard : LossMakers or None
        None holds everything.
    """
    atom_cap = caps.atom if guard is None else np.where(guard.loss_makers, 0.0, caps.atom)
    budget = 1.0 if guard is None else guard.budget
    return Polytope.build(len(labels), atom_cap=atom_cap, cluster_cap=caps.cluster, labels=labels, budget=budget)


def optimize(state: RiskState, profile: Profile, guarded: bool = True) -> dict[str, Allocation]:
    """Weigh the atoms in every way that the profile names.

    Parameters
    ----------
    state : RiskState
        From :func:`analyse`.
    profile : Profile
    guarded : bool
        False weighs as if there were no guard. True has no effect where the profile's guard is off.

    Returns
    -------
    dict of str to Allocation
        By risk profile, in the profile's order.

    Raises
    ------
    SolverError
        When the fallback chain of any risk profile is exhausted.
    """
    polytope = state.guarded if guarded else state.unguarded
    events = state.guarded_events if guarded else ()
    return {
        name: build_optimizer(
            name, profile.risk, state.regime.name, guarded=guarded and profile.guard.enabled
        ).allocate(state.estimates, polytope, events)
        for name in profile.risk.risk_profiles
    }


def build_optimizer(
    name: RiskProfile, settings: RiskSettings, regime: RegimeName = "NORMAL", *, guarded: bool = True
) -> Optimizer:
    """Make the estimator of a risk profile.

    Parameters
    ----------
    name : str
        Risk profile.
    settings : RiskSettings
    regime : str
        Decides the barbell's shares.
    guarded : bool
        Whether max_sharpe goes to cash, or to min_variance, when no portfolio has a positive expected return.

    Examples
    --------
    >>> build_optimizer("barbell", RiskSettings(), "CRISIS").aggressor_share
    0.03
    """
    least = settings.min_weight
    if name == "max_sharpe":
        return MaxSharpe(min_weight=least, otherwise="cash" if guarded else "min_variance")
    if name == "barbell":
        share = aggressor_share(settings, regime)
        return Barbell(min_weight=least, aggressor_share=share, max_aggressors=settings.barbell_aggressors)
    plain: dict[str, type[Optimizer]] = {
        "min_variance": MinVariance,
        "hrp": HierarchicalRiskParity,
        "equal_weight": EqualWeight,
    }
    return plain[name](min_weight=least)


def aggressor_share(settings: RiskSettings, regime: RegimeName) -> float:
    """Share of the barbell's budget in aggressors.

    >>> [aggressor_share(RiskSettings(), name) for name in ("QUIET", "NORMAL", "TURBULENT", "CRISIS")]
    [0.15, 0.1, 0.05, 0.03]
    """
    share: float = getattr(settings, f"barbell_{regime.lower()}")
    return share


def risk_analysis(state: RiskState) -> RiskAnalysis:
    """Write ``risk_analysis.json``."""
    covariance, guard = state.estimates.covariance, state.guard
    return RiskAnalysis(
        **_regime(state.regime),
        rows_used=state.rows_used,
        rows_left_out=state.rows_left_out,
        condition_number=covariance.condition_number,
        shrinkage=covariance.shrinkage,
        extra_shrinkage=covariance.extra_shrinkage,
        atom_cap=state.caps.atom,
        cluster_cap=state.caps.cluster,
        loss_makers={state.atoms[i].id: float(guard.net_means[i]) for i in np.flatnonzero(guard.loss_makers)},
        budget=state.budget,
        events=list(state.events),
    )


def no_risk(benchmark_close: Floats) -> RiskAnalysis:
    """Write ``risk_analysis.json`` of a sleeve that stands aside: there is a regime, and nothing else to measure."""
    regime = read_regime(benchmark_close)
    return RiskAnalysis(
        **_regime(regime),
        rows_used=0,
        rows_left_out=0,
        condition_number=1.0,
        shrinkage=0.0,
        extra_shrinkage=0.0,
        atom_cap=1.0,
        cluster_cap=1.0,
        loss_makers={},
        budget=0.0,
        events=list(regime.events),
    )


def _regime(regime: Regime) -> dict[str, Any]:
    inputs = {"v": regime.volatility, "p": regime.percentile, "d": regime.fall, "n": float(regime.values)}
    return {"regime": regime.name, "regime_inputs": inputs}


def clusters(state: RiskState, threshold: float) -> Clusters:
    """Write ``portfolio_clusters.json``: every atom once, clusters by number, atoms in their order."""
    members: dict[str, list[str]] = {str(label): [] for label in np.unique(state.labels)}
    for atom, label in zip(state.atoms, state.labels, strict=True):
        members[str(label)].append(atom.id)
    return Clusters(threshold=threshold, clusters=members)


def optimized_profile(state: RiskState, allocation: Allocation) -> OptimizedProfile:
    """Write one risk profile of ``portfolio_optimized_v2.json``: every atom, by falling weight, then by atom."""
    order = sorted(range(len(state.atoms)), key=lambda i: (-allocation.weights[i], state.atoms[i]))
    sums = {str(label): float(allocation.weights[state.labels == label].sum()) for label in np.unique(state.labels)}
    return OptimizedProfile(
        assets=[_asset(state, allocation, i) for i in order],
        clusters=sums,
        cash=allocation.cash,
        budget=allocation.budget,
        atom_cap=state.caps.atom,
        cluster_cap=state.caps.cluster,
        solver=allocation.solver,
        events=list(allocation.events),
    )


def all_cash() -> OptimizedProfile:
    """Write one risk profile of a sleeve that stands aside."""
    return OptimizedProfile(
        assets=[], clusters={}, cash=1.0, budget=0.0, atom_cap=1.0, cluster_cap=1.0, solver=NO_ATOMS, events=[]
    )


def _asset(state: RiskState, allocation: Allocation, i: int) -> OptimizedAsset:
    atom, weight = state.atoms[i], float(allocation.weights[i])
    return OptimizedAsset(
        Symbol=atom.symbol,
        Atom=atom.id,
        Logic=atom.logic,  # type: ignore[arg-type]  # Atom holds a checked logic
        Direction=atom.direction,  # type: ignore[arg-type]  # and a checked direction
        Weight=weight,
        Net_Weight=weight * atom.sign,
        Cluster_ID=int(state.labels[i]),
    )
