"""Whether weights are what a risk profile asks for, told without a solver.

Over a polytope whose best corner in any direction is known exactly (:meth:`assay.risk.caps.Polytope.best`), the gap of
Frank and Wolfe (1956), the greatest of g'(v - w) over allowed v with g the direction of improvement at w, bounds what
any allowed move could still gain; it is zero at an optimum and nowhere else. It is measured on the weights as recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.risk.caps import Polytope
from assay.risk.optimizers import (
    Barbell,
    EqualWeight,
    Estimates,
    HierarchicalRiskParity,
    MaxSharpe,
    Optimizer,
    choose_aggressors,
    risk_parity,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Optimality:
    """What weights are best at, how good they are, and what is left to gain.

    Attributes
    ----------
    objective : str
        ``variance``, ``Sharpe ratio``, or ``distance`` to the weights that the profile would hold without caps.
    value : float
        Of the weights.
    gap : float
        Greatest gain that any allowed move promises, relative to ``value`` (of a distance: absolute, halved squares).
    """

    objective: str
    value: float
    gap: float


def measure(optimizer: Optimizer, estimates: Estimates, polytope: Polytope, weights: Floats) -> Optimality:
    """Measure weights against what an optimizer seeks.

    Parameters
    ----------
    optimizer : Optimizer
        Which kind, with its parameters.
    estimates : Estimates
    polytope : Polytope
    weights : (n_atoms,) array

    Examples
    --------
    >>> from assay.risk.optimizers import MinVariance
    >>> rows = np.column_stack([np.tile([0.01, -0.01], 50), np.repeat([0.02, -0.02], 50)])
    >>> estimates, polytope = Estimates.of(rows), Polytope.build(2)
    >>> best = MinVariance().allocate(estimates, polytope).weights
    >>> told = measure(MinVariance(), estimates, polytope, best)
    >>> told.objective, told.gap < 1e-9
    ('variance', True)
    >>> measure(MinVariance(), estimates, polytope, best[::-1].copy()).gap > 0.1
    True
    """
    risk = estimates.covariance.risk
    target = _target(optimizer, estimates, polytope)
    if target is not None:
        value = float(np.linalg.norm(weights - target))
        return Optimality("distance", value, _gap(polytope, target - weights, weights, polytope.lower is not None))
    polytope = polytope.limited()
    pull = risk @ weights
    variance = float(weights @ pull)
    if isinstance(optimizer, MaxSharpe) and float(estimates.means @ weights) > 0.0:
        deviation = variance**0.5
        ratio = float(estimates.means @ weights) / deviation
        slope = estimates.means / deviation - ratio * pull / variance
        return Optimality("Sharpe ratio", ratio, _gap(polytope, slope, weights) / ratio)
    return Optimality("variance", variance, _gap(polytope, -pull, weights) / variance)


def _gap(polytope: Polytope, slope: Floats, weights: Floats, spend: bool = True) -> float:
    """Return what a move promises; ``spend`` is false where the budget is a limit and need not be met."""
    corner = polytope.best(slope)
    return float(slope @ ((corner if spend else np.where(slope > 0.0, corner, 0.0)) - weights))


def _target(optimizer: Optimizer, estimates: Estimates, polytope: Polytope) -> Floats | None:
    """Return the weights that the caps have to be reconciled with; None for a profile that seeks an optimum."""
    on = np.flatnonzero(polytope.active)
    target = np.zeros(polytope.n_atoms)
    if isinstance(optimizer, EqualWeight):
        return np.where(polytope.active, 1.0 / polytope.n_atoms, 0.0)
    if isinstance(optimizer, HierarchicalRiskParity):
        target[on] = polytope.budget * risk_parity(estimates, on)
        return target
    if isinstance(optimizer, Barbell):
        chosen = choose_aggressors(estimates.antifragility, polytope, optimizer.max_aggressors)
        share = optimizer.aggressor_share if len(chosen) else 0.0
        core = np.setdiff1d(on, chosen)
        target[core] = (1.0 - share) * polytope.budget * risk_parity(estimates, core)
        target[chosen] = share * polytope.budget / max(1, len(chosen))
        return target
    return None
