"""What the optimizers share: estimates in, weights with their history out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from assay.alpha.clusters import correlation
from assay.base.errors import DataError
from assay.base.estimator import Estimator
from assay.risk.caps import Polytope
from assay.risk.covariance import DAYS_PER_YEAR, Covariance, estimate_covariance
from assay.risk.risk_events import SOLVER_FALLBACK, RiskEvent
from assay.risk.risk_means import bayes_stein
from assay.risk.solve import ALL_CASH, SolverReport

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """What is believed of the atoms' returns; made once and read by every optimizer.

    Attributes
    ----------
    covariance : Covariance
        Annualised, shrunk.
    correlation : (n_atoms, n_atoms) array
        Pearson's, of the returns themselves; 0 for an atom that does not vary.
    means : (n_atoms,) array
        Expected returns per year, shrunk.
    mean_shrinkage : float
        Weight of the common mean in them.
    antifragility : (n_atoms,) array or None
        Higher is better; NaN where unknown.
    """

    covariance: Covariance
    correlation: Floats
    means: Floats
    mean_shrinkage: float
    antifragility: Floats | None = None

    @classmethod
    def of(
        cls,
        returns: Floats,
        antifragility: Floats | None = None,
        *,
        max_condition: float = 15000.0,
        step: float = 0.01,
        most: float = 0.10,
    ) -> Estimates:
        """Estimate from complete simple daily returns, (n_rows, n_atoms).

        ``max_condition``, ``step`` and ``most`` are those of :func:`~assay.risk.covariance.estimate_covariance`.
        """
        covariance = estimate_covariance(returns, max_condition=max_condition, step=step, most=most)
        means, shrinkage = bayes_stein(returns, covariance.matrix)
        return cls(covariance, correlation(returns, min_overlap=2), means, shrinkage, antifragility)


@dataclass(frozen=True, slots=True)
class Placement:
    """An optimizer's answer before it is settled: weights, how they were found, what was changed on the way."""

    weights: Floats
    solver: SolverReport
    events: tuple[RiskEvent, ...] = ()


@dataclass(frozen=True)
class Allocation:
    """Weights of one risk profile.

    Attributes
    ----------
    weights : (n_atoms,) array
        Within every cap; zero below the least weight.
    cash : float
        1 - sum of the weights.
    budget : float
        What the weights may sum to.
    solver : SolverReport
    events : tuple of RiskEvent
    """

    weights: Floats
    cash: float
    budget: float
    solver: SolverReport
    events: tuple[RiskEvent, ...]


class Optimizer(Estimator):
    """Base of the risk profiles, in scikit-learn's grammar.

    Parameters
    ----------
    atom_cap : float or (n_atoms,) array
        Greatest weight of an atom.
    cluster_cap : float or (n_clusters,) array
        Greatest weight of a cluster, in the order of the sorted distinct labels.
    clusters : (n_atoms,) array of int, optional
        Cluster of each atom; by default each is its own.
    budget : float
        Sum of the weights; the rest is cash. Lowered, with an event, to what the caps permit.
    min_weight : float
        Weights below it are zero, and cash.

    Attributes
    ----------
    weights_ : (n_atoms,) array
    cash_ : float
    solver_ : SolverReport
    events_ : tuple of RiskEvent
    n_features_in_ : int
    """

    weights_: Floats
    cash_: float
    solver_: SolverReport
    events_: tuple[RiskEvent, ...]
    n_features_in_: int

    def __init__(
        self,
        atom_cap: float | Floats = 1.0,
        cluster_cap: float | Floats = 1.0,
        clusters: npt.NDArray[np.int64] | None = None,
        budget: float = 1.0,
        min_weight: float = 1e-6,
    ) -> None:
        self.atom_cap = atom_cap
        self.cluster_cap = cluster_cap
        self.clusters = clusters
        self.budget = budget
        self.min_weight = min_weight

    @abstractmethod
    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:
        """Find the weights; the budget is positive and within the caps."""

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Self:  # noqa: N803, ARG002 - the grammar's signature
        """Learn weights from returns.

        Parameters
        ----------
        X : (n_rows, n_atoms) array or frame
            Complete simple daily returns of things that one is long of.
        y : ignored

        Raises
        ------
        DataError
            If a return is missing or not finite, or there are fewer than two rows.
        SolverError
            When the fallback chain is exhausted.
        """
        returns = as_returns(X)
        estimates = self.estimate(returns)
        polytope, events = Polytope.build(
            returns.shape[1],
            atom_cap=self.atom_cap,
            cluster_cap=self.cluster_cap,
            labels=self.clusters,
            budget=self.budget,
        ).limited()
        allocation = self.allocate(estimates, polytope, estimates.covariance.events + events)
        self.n_features_in_ = returns.shape[1]
        self.weights_, self.cash_ = allocation.weights, allocation.cash
        self.solver_, self.events_ = allocation.solver, allocation.events
        return self

    def estimate(self, returns: Floats) -> Estimates:
        """Estimate what this optimizer needs from (n_rows, n_atoms) returns."""
        return Estimates.of(returns)

    def allocate(self, estimates: Estimates, polytope: Polytope, events: tuple[RiskEvent, ...] = ()) -> Allocation:
        """Weigh atoms with estimates and caps that are at hand.

        Parameters
        ----------
        estimates : Estimates
        polytope : Polytope
            Its budget is within its caps (:meth:`~assay.risk.caps.Polytope.limited`).
        events : tuple of RiskEvent
            What happened before; put before this optimizer's own.
        """
        nothing = np.zeros(polytope.n_atoms)
        placed = self.place(estimates, polytope) if polytope.budget > 0.0 else Placement(nothing, ALL_CASH)
        # Cash is outside of the polytope, so it is not settled: floors would be bought again.
        invested = placed.solver is not ALL_CASH
        weights, cash = polytope.settle(placed.weights, self.min_weight) if invested else (nothing, 1.0)
        history = events + placed.events + fallback_events(placed.solver)
        return Allocation(weights, cash, polytope.budget, placed.solver, history)

    def predict(self, X: npt.ArrayLike) -> Floats:  # noqa: N803 - scikit-learn's name
        """Return the portfolio's simple daily returns, (n_rows,), for returns of the atoms; cash earns nothing."""
        return np.asarray(as_returns(X) @ self.weights_, dtype=np.float64)

    def score(self, X: npt.ArrayLike, y: Any = None) -> float:  # noqa: N803, ARG002 - the grammar's signature
        """Return the annual Sharpe ratio of :meth:`predict`, 0 where nothing varies."""
        returns = self.predict(X)
        spread = float(returns.std())
        return float(returns.mean()) / spread * DAYS_PER_YEAR**0.5 if spread > 0.0 else 0.0


def as_returns(X: npt.ArrayLike) -> Floats:  # noqa: N803 - scikit-learn's name
    """Read a (n_rows, n_atoms) array or frame of complete returns.

    >>> as_returns([[0.01, 0.02]]).shape
    (1, 2)
    """
    returns = np.ascontiguousarray(X, dtype=np.float64)
    if returns.ndim != 2 or not np.isfinite(returns).all():
        raise DataError(
            "returns must be a table of finite numbers",
            where=f"array of shape {returns.shape}",
            hint="leave out rows in which an atom has no return",
        )
    return returns


def fallback_events(solver: SolverReport) -> tuple[RiskEvent, ...]:
    """Name each solver that failed before the one that answered."""
    return tuple(
        RiskEvent(SOLVER_FALLBACK, f"answered by {solver.name} after a solver failed", {"failed": failure})
        for failure in solver.fallbacks
    )
