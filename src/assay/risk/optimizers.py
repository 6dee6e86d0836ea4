"""The five risk profiles, as estimators in scikit-learn's grammar: estimates in, weights with their history out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from assay.alpha.clusters import correlation
from assay.alpha.features import features
from assay.base.constants import DAYS_PER_YEAR, Floats, Ints, Scalar
from assay.base.errors import DataError
from assay.base.estimator import Estimator
from assay.risk.caps import Polytope
from assay.risk.covariance import Covariance, bayes_stein, estimate_covariance
from assay.risk.solve import (
    ALL_CASH,
    CAPS_BIND,
    CLOSED_FORM,
    NO_AGGRESSORS,
    NO_POSITIVE_EXPECTED_RETURN,
    SOLVER_FALLBACK,
    Program,
    solve,
)
from assay.runs.documents import Event, SolverRecord


@dataclass(frozen=True)
class Estimates:
    """What is believed of the atoms' returns; made once and read by every optimizer."""

    covariance: Covariance
    """Annualised, shrunk."""
    correlation: Floats
    """(n_atoms, n_atoms): Pearson's, of the returns themselves; 0 for an atom that does not vary."""
    means: Floats
    """(n_atoms,): expected returns per year, shrunk."""
    mean_shrinkage: float
    """Weight of the common mean in them."""
    antifragility: Floats | None = None
    """(n_atoms,): higher is better; NaN where unknown."""
    names: tuple[str, ...] | None = None
    """Ids of the atoms, by which :func:`risk_parity` orders them; None keeps the order of the columns."""

    @classmethod
    def of(
        cls,
        returns: Floats,
        antifragility: Floats | None = None,
        *,
        names: Sequence[str] | None = None,
        max_condition: float = 15000.0,
        step: float = 0.01,
        most: float = 0.10,
    ) -> Estimates:
        """Estimate from complete simple daily returns, (n_rows, n_atoms).

        ``max_condition``, ``step`` and ``most`` are those of :func:`~assay.risk.covariance.estimate_covariance`.
        """
        covariance = estimate_covariance(returns, max_condition=max_condition, step=step, most=most)
        means, shrinkage = bayes_stein(returns, covariance.matrix)
        known = None if names is None else tuple(names)
        return cls(covariance, correlation(returns, min_overlap=2), means, shrinkage, antifragility, known)


@dataclass(frozen=True, slots=True)
class Placement:
    """An optimizer's answer before it is settled: weights, how they were found, what was changed on the way."""

    weights: Floats
    solver: SolverRecord
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Allocation:
    """Weights of one risk profile."""

    weights: Floats
    """(n_atoms,): within every cap; zero below the least weight."""
    cash: float
    """1 - sum of the weights."""
    budget: float
    """What the weights may sum to before caps, which may leave less."""
    solver: SolverRecord
    events: tuple[Event, ...]


@dataclass(eq=False, repr=False)
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
        What the weights may sum to; the rest is cash, and so is, with an event, what the caps cannot hold.
    min_weight : float
        Weights below it are zero, and cash.

    Attributes
    ----------
    weights_ : (n_atoms,) array
    cash_ : float
    solver_ : SolverRecord
    events_ : tuple of Event
    n_features_in_ : int
    """

    atom_cap: float | Floats = 1.0
    cluster_cap: float | Floats = 1.0
    clusters: Ints | None = None
    budget: float = 1.0
    min_weight: float = 1e-6

    @abstractmethod
    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:
        """Find the weights; budget and caps leave room for some."""

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
        columns = getattr(X, "columns", None)
        names = None if columns is None else tuple(str(name) for name in columns)
        estimates = replace(self.estimate(returns), names=names)
        polytope = Polytope.build(
            returns.shape[1],
            atom_cap=self.atom_cap,
            cluster_cap=self.cluster_cap,
            labels=self.clusters,
            budget=self.budget,
        )
        allocation = self.allocate(estimates, polytope, estimates.covariance.events)
        self.n_features_in_: int = returns.shape[1]
        self.weights_: Floats = allocation.weights
        self.cash_: float = allocation.cash
        self.solver_: SolverRecord = allocation.solver
        self.events_: tuple[Event, ...] = allocation.events
        return self

    def estimate(self, returns: Floats) -> Estimates:
        """Estimate what this optimizer needs from (n_rows, n_atoms) returns."""
        return Estimates.of(returns)

    def allocate(self, estimates: Estimates, polytope: Polytope, events: tuple[Event, ...] = ()) -> Allocation:
        """Weigh atoms with estimates and caps that are at hand.

        Parameters
        ----------
        estimates : Estimates
        polytope : Polytope
        events : tuple of Event
            What happened before; put before this optimizer's own.
        """
        nothing = np.zeros(polytope.n_atoms)
        room = polytope.limited().budget > 0.0
        placed = self.place(estimates, polytope) if room else Placement(nothing, ALL_CASH)
        # Cash is outside of the polytope, so it is not settled: floors would be bought again.
        invested = placed.solver is not ALL_CASH
        weights, cash = polytope.settle(placed.weights, self.min_weight) if invested else (nothing, 1.0)
        history = events + placed.events + fallback_events(placed.solver)
        if (invested or not room) and polytope.budget - math.fsum(placed.weights) > TAKEN:
            values: dict[str, Scalar] = {"budget": polytope.budget, "held": 1.0 - cash}
            history += (Event(code=CAPS_BIND, what="the caps take a part of the budget, which is cash", values=values),)
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


def fallback_events(solver: SolverRecord) -> tuple[Event, ...]:
    """Name each solver that failed before the one that answered."""
    return tuple(
        Event(code=SOLVER_FALLBACK, what=f"answered by {solver.name} after a solver failed", values={"failed": failure})
        for failure in solver.fallbacks
    )


class EqualWeight(Optimizer):
    """1 / n for each of all n atoms, or what its caps leave of it: an atom that is cut gives its share to nobody.

    Examples
    --------
    >>> EqualWeight(atom_cap=np.array([1.0, 1.0, 0.1, 1.0])).fit(np.eye(4)).weights_.round(9).tolist()
    [0.25, 0.25, 0.1, 0.25]
    """

    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:  # noqa: ARG002 - equal weights know nothing
        """Project equal weights on the caps."""
        weights, _, report = polytope.project(np.where(polytope.active, 1.0 / polytope.n_atoms, 0.0))
        return Placement(weights, report)


class MinVariance(Optimizer):
    """Least w'Sw within the caps, S the shrunk covariance (Markowitz 1952).

    Where nothing varies S is the identity: weights as equal as the caps allow.

    Examples
    --------
    Two independent atoms, one twice as volatile: inverse variances, 4 to 1, moved together by the shrinkage.

    >>> import numpy as np
    >>> calm, wild = np.tile([0.01, -0.01], 200), np.repeat([0.02, -0.02], 200)
    >>> MinVariance().fit(np.column_stack([calm, wild])).weights_.round(2).tolist()
    [0.8, 0.2]
    """

    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:
        """Solve the quadratic program."""
        return Placement(*polytope.limited().minimise(estimates.covariance.risk))


TAKEN = 1e-6
"""Share of the capital that caps must take from a budget to be named: a solver's rounding is far below."""
NEGLIGIBLE = 1e-5
"""An expected return that is a smaller part of the greatest single mean (by size) counts as none: k has no scale there,
and no solver finds the greatest ratio any more."""


@dataclass(eq=False, repr=False)
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

    otherwise: Literal["cash", "min_variance"] = "cash"

    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:
        """Test for a positive mean, then solve the convex program."""
        means, risk, polytope = estimates.means, estimates.covariance.risk, polytope.limited()
        reach = float(means @ polytope.best(means))
        if reach <= NEGLIGIBLE * polytope.budget * float(np.max(np.abs(means))):
            return self._without_mean(risk, polytope, reach)
        only = polytope.forced()
        if only is not None:
            return Placement(only, CLOSED_FORM)
        return Placement(*maximise_ratio(means, risk, polytope, reach))

    def _without_mean(self, risk: Floats, polytope: Polytope, reach: float) -> Placement:
        values: dict[str, Scalar] = {"best_expected_return": reach, "instead": self.otherwise}
        event = Event(
            code=NO_POSITIVE_EXPECTED_RETURN, what="no allowed portfolio has a positive expected return", values=values
        )
        if self.otherwise == "cash":
            return Placement(np.zeros(polytope.n_atoms), ALL_CASH, (event,))
        return Placement(*polytope.minimise(risk), (event,))


def maximise_ratio(means: Floats, risk: Floats, polytope: Polytope, reach: float) -> tuple[Floats, SolverRecord]:
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


class HierarchicalRiskParity(Optimizer):
    """Lopez de Prado's hierarchical risk parity on the atoms that may be held, cut as little as the caps demand.

    Distance sqrt((1 - rho) / 2) with rho the correlation of the returns; Ward linkage of the atoms in the order of
    their ids, or of their columns where they have no names; leaves in the order that the linkage gives; recursive
    bisection with branches weighed by inverse variance in the shrunk covariance. An atom that does not vary is
    uncorrelated with all others. Lopez de Prado (2016), *Building diversified portfolios that outperform out of
    sample*, clusters by single linkage of distances between distances instead.

    Examples
    --------
    >>> calm, wild = np.tile([0.01, -0.01], 200), np.repeat([0.02, -0.02], 200)
    >>> HierarchicalRiskParity().fit(np.column_stack([calm, wild])).weights_.round(2).tolist()
    [0.8, 0.2]
    """

    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:
        """Weigh by risk parity, scale to the budget, project on the caps."""
        on = np.flatnonzero(polytope.active)
        weights = np.zeros(polytope.n_atoms)
        weights[on] = polytope.budget * risk_parity(estimates, on)
        weights, _, report = polytope.project(weights)
        return Placement(weights, report)


def risk_parity(estimates: Estimates, on: Ints) -> Floats:
    """Return hierarchical risk parity weights of the atoms ``on``, which sum to 1, whatever order they come in."""
    names = estimates.names
    # A linkage draws the children of a branch in the order of its input, and a bisection cuts by that drawing.
    places = np.arange(len(on)) if names is None else np.array(sorted(range(len(on)), key=lambda i: names[on[i]]), int)
    chosen = np.ix_(on[places], on[places])
    weights = np.empty(len(on))
    weights[places] = recursive_bisection(estimates.covariance.risk[chosen], leaf_order(estimates.correlation[chosen]))
    return weights


def leaf_order(correlation: Floats) -> Ints:
    """Return the order of the leaves, (n_atoms,), of the Ward linkage of sqrt((1 - rho) / 2).

    >>> leaf_order(np.array([[1.0, 0.0, 0.9], [0.0, 1.0, 0.0], [0.9, 0.0, 1.0]])).tolist()
    [1, 0, 2]
    """
    if len(correlation) == 1:
        return np.zeros(1, dtype=np.int64)
    distance = squareform(np.sqrt((1.0 - correlation) / 2.0), checks=False)
    leaves = [[leaf] for leaf in range(len(correlation))]
    for left, right in linkage(distance, method="ward")[:, :2].astype(np.int64).tolist():
        leaves.append(leaves[left] + leaves[right])
    return np.array(leaves[-1], dtype=np.int64)


def recursive_bisection(covariance: Floats, order: Ints) -> Floats:
    """Split the weight between the halves of an ordered list, again and again, by their inverse variances.

    Parameters
    ----------
    covariance : (n_atoms, n_atoms) array
        With a positive diagonal.
    order : (n_atoms,) int array
        Atoms, similar ones beside each other.

    Returns
    -------
    (n_atoms,) array
        Weights, in the order of the covariance, that sum to 1.

    Examples
    --------
    >>> recursive_bisection(np.diag([1.0, 4.0]), np.array([1, 0])).round(9).tolist()
    [0.8, 0.2]

    Notes
    -----
    Lopez de Prado (2016), snippet 3: a half's variance is that of its inverse-variance portfolio; the first half gets
    1 - v1 / (v1 + v2).
    """
    ordered = covariance[np.ix_(order, order)]
    inverse = 1.0 / np.diagonal(ordered)
    # Entries of the inverse-variance portfolio's variance, so that a half needs one sum over its own block.
    terms = inverse[:, None] * ordered * inverse
    shares = np.ones(len(order))
    parts = [(0, len(order))]
    while parts:
        begin, end = parts.pop()
        if end - begin < 2:
            continue
        middle = begin + (end - begin) // 2
        first = terms[begin:middle, begin:middle].sum() / inverse[begin:middle].sum() ** 2
        second = terms[middle:end, middle:end].sum() / inverse[middle:end].sum() ** 2
        share = 1.0 - first / (first + second)
        shares[begin:middle] *= share
        shares[middle:end] *= 1.0 - share
        parts += [(begin, middle), (middle, end)]
    weights = np.empty_like(shares)
    weights[order] = shares
    return weights


@dataclass(eq=False, repr=False)
class Barbell(Optimizer):
    """Most of the budget in a core of hierarchical risk parity, the rest in aggressors, within the caps.

    Both together are cut as little as the caps demand.

    Aggressors are the atoms of highest antifragility of each of the most antifragile clusters: equal among themselves,
    and not in the core. A cluster is as antifragile as the mean of its members that may be held. Clusters without
    such a member are not counted, so that at least half of those that remain are left to the core.

    Parameters
    ----------
    aggressor_share : float
        Share of the budget in aggressors.
    max_aggressors : int
        At most so many, and at most half of the clusters.
    antifragility : (n_atoms,) array, optional
        Higher is better, NaN where unknown; measured on the returns by default, as natural selection does. With a
        single cluster, or no known value, the whole budget is core and an event, ``NO_AGGRESSORS``, tells.

    Examples
    --------
    >>> barbell = Barbell(antifragility=np.array([0.1, 0.3, 0.2]))
    >>> barbell.fit(np.vstack([np.eye(3), -np.eye(3)])).weights_.round(9).tolist()
    [0.45, 0.1, 0.45]
    """

    aggressor_share: float = 0.10
    max_aggressors: int = 5
    antifragility: Floats | None = None

    def estimate(self, returns: Floats) -> Estimates:
        """Estimate from returns, with the antifragility that was given or is measured."""
        given = self.antifragility
        if given is None:
            given = features(returns).antifragility
        return Estimates.of(returns, given)

    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:
        """Weigh core and aggressors, then project both together on the caps."""
        chosen = choose_aggressors(estimates.antifragility, polytope, self.max_aggressors)
        share = self.aggressor_share if len(chosen) else 0.0
        in_core = polytope.active.copy()
        in_core[chosen] = False
        core = np.flatnonzero(in_core)
        weights = np.zeros(polytope.n_atoms)
        weights[core] = (1.0 - share) * polytope.budget * risk_parity(estimates, core)
        weights[chosen] = share * polytope.budget / max(1, len(chosen))
        weights, _, report = polytope.project(weights)
        event = Event(code=NO_AGGRESSORS, what="no cluster can spare an aggressor; the whole budget is core")
        return Placement(weights, report, () if len(chosen) else (event,))


def choose_aggressors(antifragility: Floats | None, polytope: Polytope, most: int) -> Ints:
    """Return the aggressors' positions, ascending; empty where there are none.

    Parameters
    ----------
    antifragility : (n_atoms,) array or None
        NaN where unknown.
    polytope : Polytope
        Its clusters, and which atoms may be held.
    most : int
        Limit beside half of the clusters that have an atom that may be held.

    Notes
    -----
    Equals are taken in the order of the atoms, clusters by their first atom.

    Examples
    --------
    >>> clusters = Polytope.build(5, labels=[1, 1, 2, 2, 3])
    >>> choose_aggressors(np.array([0.1, 0.9, 0.6, 0.6, 0.2]), clusters, 5).tolist()
    [2]
    """
    if antifragility is None:
        return np.empty(0, dtype=np.int64)
    members: dict[int, list[int]] = {}
    for i in np.flatnonzero(polytope.active):
        members.setdefault(int(polytope.groups[i]), []).append(int(i))
    ranked = []
    for held in members.values():
        known = [i for i in held if np.isfinite(antifragility[i])]
        if known:
            ranked.append((float(np.mean(antifragility[known])), max(known, key=lambda i: antifragility[i])))
    ranked.sort(key=lambda pair: -pair[0])
    best = [atom for _, atom in ranked[: min(most, len(members) // 2)]]
    return np.array(sorted(best), dtype=np.int64)
