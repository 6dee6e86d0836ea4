"""From values of the hot path to the documents of steps 8 and 9."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from assay.risk.allocate import RiskState
from assay.risk.optimizers import Allocation
from assay.risk.regime import read_regime
from assay.risk.risk_events import RiskEvent
from assay.risk.solve import SolverReport
from assay.runs import documents as artifacts

Floats = npt.NDArray[np.float64]


def as_events(events: Sequence[RiskEvent]) -> list[artifacts.Event]:
    """Write events."""
    return [artifacts.Event(code=event.code, what=event.what, values=dict(event.values)) for event in events]


def risk_analysis(state: RiskState) -> artifacts.RiskAnalysis:
    """Write ``risk_analysis.json``."""
    covariance, regime, guard = state.estimates.covariance, state.regime, state.guard
    return artifacts.RiskAnalysis(
        regime=regime.name,
        regime_inputs={"v": regime.volatility, "p": regime.percentile, "d": regime.fall, "n": float(regime.values)},
        rows_used=state.rows_used,
        rows_left_out=state.rows_left_out,
        condition_number=covariance.condition_number,
        shrinkage=covariance.shrinkage,
        extra_shrinkage=covariance.extra_shrinkage,
        atom_cap=state.caps.atom,
        cluster_cap=state.caps.cluster,
        loss_makers={state.atoms[i].id: float(guard.net_means[i]) for i in np.flatnonzero(guard.loss_makers)},
        budget=state.budget,
        events=as_events(state.events),
    )


def clusters(state: RiskState, threshold: float) -> artifacts.Clusters:
    """Write ``portfolio_clusters.json``: every atom once, clusters by number, atoms in their order."""
    members: dict[str, list[str]] = {str(label): [] for label in np.unique(state.labels)}
    for atom, label in zip(state.atoms, state.labels, strict=True):
        members[str(label)].append(atom.id)
    return artifacts.Clusters(threshold=threshold, clusters=members)


def optimized_profile(state: RiskState, allocation: Allocation) -> artifacts.OptimizedProfile:
    """Write one risk profile of ``portfolio_optimized_v2.json``: every atom, by falling weight, then by atom."""
    order = sorted(range(len(state.atoms)), key=lambda i: (-allocation.weights[i], state.atoms[i]))
    sums = {str(label): float(allocation.weights[state.labels == label].sum()) for label in np.unique(state.labels)}
    return artifacts.OptimizedProfile(
        assets=[_asset(state, allocation, i) for i in order],
        clusters=sums,
        cash=allocation.cash,
        budget=allocation.budget,
        atom_cap=state.caps.atom,
        cluster_cap=state.caps.cluster,
        solver=solver_record(allocation.solver),
        events=as_events(allocation.events),
    )


def no_risk(benchmark_close: Floats) -> artifacts.RiskAnalysis:
    """Write ``risk_analysis.json`` of a sleeve that stands aside: there is a regime, and nothing else to measure."""
    regime = read_regime(benchmark_close)
    return artifacts.RiskAnalysis(
        regime=regime.name,
        regime_inputs={"v": regime.volatility, "p": regime.percentile, "d": regime.fall, "n": float(regime.values)},
        rows_used=0,
        rows_left_out=0,
        condition_number=1.0,
        shrinkage=0.0,
        extra_shrinkage=0.0,
        atom_cap=1.0,
        cluster_cap=1.0,
        loss_makers={},
        budget=0.0,
        events=as_events(regime.events),
    )


def all_cash() -> artifacts.OptimizedProfile:
    """Write one risk profile of a sleeve that stands aside."""
    return artifacts.OptimizedProfile(
        assets=[],
        clusters={},
        cash=1.0,
        budget=0.0,
        atom_cap=1.0,
        cluster_cap=1.0,
        solver=artifacts.SolverRecord(
            name="none", status="NO_ATOMS", iterations=0, residual=None, gap=None, fallbacks=[], projection_distance=0.0
        ),
        events=[],
    )


def solver_record(report: SolverReport) -> artifacts.SolverRecord:
    """Write how a weight was found."""
    return artifacts.SolverRecord(
        name=report.name,
        status=report.status,
        iterations=report.iterations,
        residual=report.residual,
        gap=report.gap,
        fallbacks=list(report.fallbacks),
        projection_distance=report.projection_distance,
    )


def _asset(state: RiskState, allocation: Allocation, i: int) -> artifacts.OptimizedAsset:
    atom, weight = state.atoms[i], float(allocation.weights[i])
    return artifacts.OptimizedAsset(
        Symbol=atom.symbol,
        Atom=atom.id,
        Logic=atom.logic,  # type: ignore[arg-type]  # Atom holds a checked logic
        Direction=atom.direction,  # type: ignore[arg-type]  # and a checked direction
        Weight=weight,
        Net_Weight=weight * atom.sign,
        Cluster_ID=int(state.labels[i]),
    )
