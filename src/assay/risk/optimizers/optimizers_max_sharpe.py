"""The portfolio of greatest Sharpe ratio."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from assay.risk.caps import Polytope
from assay.risk.optimizers.base import Estimates, Optimizer, Placement
from assay.risk.risk_events import NO_POSITIVE_EXPECTED_RETURN, RiskEvent
from assay.risk.solve import ALL_CASH, CLOSED_FORM, Program, SolverReport, solve

Floats = npt.NDArray[np.float64]

NEGLIGIBLE = 1e-5
"""An expected return that is a smaller part of the greatest single |mean| counts as none: k has no scale there, and no
solver finds the greatest ratio any more."""


class MaxSharpe(Optimizer):
    """Greatest (m'w) / sqrt(w'Sw) within the caps, m the shrunk means and S the shrunk covariance.

    Parameters
    ----------
    otherwise : {"cash", "min_variance"}
        What to hold when no allowed portfolio has a positive expected return; there is no greatest ratio then (the
        ratio of a loss grows with the risk). An event, ``NO_POSITIVE_EXPECTED_RETURN``, tells.

    Notes
    -----
    A convex program after the substitution y = k w, k > 0 (Charnes and Cooper 1962, Schaible 1974): least y'Sy subject
    to m'y = 1, with every bound multiplied by k. Whether any allowed portfolio has a positive mean is tested first.

    Examples
    --------
    >>> falling = np.column_stack([np.tile([0.01, -0.02], 50), np.repeat([0.01, -0.03], 50)])
    >>> optimizer = MaxSharpe().fit(falling)
    >>> optimizer.cash_, [event.code for event in optimizer.events_]
    (1.0, ['NO_POSITIVE_EXPECTED_RETURN'])
    """

    def __init__(
        self,
        atom_cap: float | Floats = 1.0,
        cluster_cap: float | Floats = 1.0,
        clusters: npt.NDArray[np.int64] | None = None,
        budget: float = 1.0,
        min_weight: float = 1e-6,
        otherwise: Literal["cash", "min_variance"] = "cash",
    ) -> None:
        super().__init__(atom_cap, cluster_cap, clusters, budget, min_weight)
        self.otherwise = otherwise

    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:
        """Test for a positive mean, then solve the convex program."""
        means, risk = estimates.means, estimates.covariance.risk
        reach = float(means @ polytope.best(means))
        if reach <= NEGLIGIBLE * polytope.budget * float(np.max(np.abs(means))):
            return self._without_mean(risk, polytope, reach)
        only = polytope.forced()
        if only is not None:
            return Placement(only, CLOSED_FORM)
        return Placement(*maximise_ratio(means, risk, polytope, reach))

    def _without_mean(self, risk: Floats, polytope: Polytope, reach: float) -> Placement:
        values = {"best_expected_return": reach, "instead": self.otherwise}
        event = RiskEvent(NO_POSITIVE_EXPECTED_RETURN, "no allowed portfolio has a positive expected return", values)
        if self.otherwise == "cash":
            return Placement(np.zeros(polytope.n_atoms), ALL_CASH, (event,))
        return Placement(*polytope.minimise(risk), (event,))


def maximise_ratio(means: Floats, risk: Floats, polytope: Polytope, reach: float) -> tuple[Floats, SolverReport]:
    """Return the allowed weights with the greatest ratio of mean to deviation.

    Parameters
    ----------
    means : (n_atoms,) array
        Expected returns.
    risk : (n_atoms, n_atoms) array
        Covariance, positive definite.
    polytope : Polytope
    reach : float
        The greatest expected return of any allowed weights, positive.
    """
    on = np.flatnonzero(polytope.active)
    n = len(on)
    membership, caps = polytope.rows(on)
    upper, lower = polytope.upper[on] / polytope.budget, polytope.floor[on] / polytope.budget
    capped, floored = np.flatnonzero(upper < 1.0), np.flatnonzero(lower > 0.0)
    identity, largest = np.eye(n), float(np.max(np.abs(means[on])))
    quadratic = np.zeros((n + 1, n + 1))
    quadratic[:n, :n] = risk[np.ix_(on, on)]
    # The last variable is k. m'y equals the greatest mean that can be reached, so that k is 1 or more.
    inequalities = np.vstack(
        [
            np.column_stack([membership, -caps / polytope.budget]),
            np.column_stack([identity[capped], -upper[capped]]),
            np.column_stack([-identity[floored], lower[floored]]),
        ]
    )
    program = Program(
        quadratic=quadratic,
        linear=np.zeros(n + 1),
        equalities=np.vstack([np.append(means[on] / largest, 0.0), np.append(np.ones(n), -1.0)]),
        equal_to=np.array([reach / (polytope.budget * largest), 0.0]),
        inequalities=inequalities,
        at_most=np.zeros(len(inequalities)),
        lower=np.zeros(n + 1),
        upper=np.full(n + 1, np.inf),
    )
    point, report = solve(program)
    weights = np.zeros(polytope.n_atoms)
    weights[on] = point[:n] * (polytope.budget / point[n])
    return weights, report
