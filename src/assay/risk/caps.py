"""Caps of atoms and clusters, and the polytope of the weights that keep them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from assay.base.constants import Bools, Floats, Ints, Scalar
from assay.base.errors import UsageError
from assay.risk.regime import RegimeName
from assay.risk.solve import CAP_RELAXED, CLOSED_FORM, Program, solve
from assay.runs.documents import Event, SolverRecord
from assay.settings.model import Caps, DirectionName

ROUNDING = 1e-12
"""Sums of weights that differ by less are equal: a cap of 0.75 beside one of 0.25 holds a budget of 1."""


@dataclass(frozen=True)
class PoolCaps:
    """Upper bounds of weights, with the event that says that one was raised for a small pool."""

    atom: float
    cluster: float
    events: tuple[Event, ...] = ()


def decide_caps(direction: DirectionName, n_clusters: int, regime: RegimeName, settings: Caps) -> PoolCaps:
    """Decide the caps of a pool, before the guard looks at it.

    Parameters
    ----------
    direction : {"LONG", "SHORT"}
        Shorts have caps of their own, which nothing raises.
    n_clusters : int
        All clusters, those of loss makers included.
    regime : str
        TURBULENT and CRISIS have lower cluster caps, which nothing raises.
    settings : Caps

    Returns
    -------
    PoolCaps
        A cluster cap of longs in QUIET and NORMAL is min(1, max(c, slack / k)), with a ``CAP_RELAXED`` event where that
        is above c.

    Examples
    --------
    >>> decide_caps("LONG", 3, "NORMAL", Caps()).cluster, decide_caps("LONG", 3, "CRISIS", Caps()).cluster
    (0.5, 0.15)
    >>> decide_caps("SHORT", 3, "NORMAL", Caps())
    PoolCaps(atom=0.1, cluster=0.25, events=())
    """
    short = direction == "SHORT"
    name = ("cluster_short" if short else "cluster") + {"TURBULENT": "_turbulent", "CRISIS": "_crisis"}.get(regime, "")
    atom, cluster = settings.atom_short if short else settings.atom, getattr(settings, name)
    raised = min(1.0, settings.slack / n_clusters) if name == "cluster" else 0.0
    if raised <= cluster:
        return PoolCaps(atom, cluster)
    values: dict[str, Scalar] = {"cap": "cluster", "from": cluster, "to": raised, "count": n_clusters}
    what = f"{n_clusters} of the cluster caps could hardly hold the budget"
    return PoolCaps(atom, raised, (Event(code=CAP_RELAXED, what=what, values=values),))


@dataclass(frozen=True)
class Polytope:
    """The weights that are allowed: lower <= w <= upper, cluster sums within their caps, sum w within the budget.

    Examples
    --------
    >>> polytope = Polytope(np.array([0.5, 0.5, 1.0]), np.array([1, 1, 2]), np.array([0.6, 1.0]), 1.0)
    >>> weights, distance, _ = polytope.project(np.array([0.5, 0.3, 0.2]))
    >>> weights.round(9).tolist(), round(distance, 9)
    ([0.4, 0.2, 0.2], 0.141421356)
    """

    upper: Floats
    """(n_atoms,): cap of each atom; 0 for one that must not be held."""
    labels: Ints
    """(n_atoms,): cluster of each atom, any integers."""
    cluster_caps: Floats
    """(n_clusters,): cap of each cluster, in the order of the sorted distinct labels."""
    budget: float
    """What the weights may sum to; the rest of the capital is cash."""
    lower: Floats | None = None
    """(n_atoms,): least weight of each atom; zeros by default."""

    @classmethod
    def build(
        cls,
        n_atoms: int,
        *,
        atom_cap: float | Floats = 1.0,
        cluster_cap: float | Floats = 1.0,
        labels: Sequence[int] | Ints | None = None,
        budget: float = 1.0,
    ) -> Polytope:
        """Build one from scalars; without labels each atom is a cluster of its own."""
        groups = np.arange(n_atoms) if labels is None else np.asarray(labels, dtype=np.int64)
        n_clusters = len(np.unique(groups))
        return cls(
            np.array(np.broadcast_to(np.asarray(atom_cap, dtype=np.float64), (n_atoms,))),
            groups,
            np.array(np.broadcast_to(np.asarray(cluster_cap, dtype=np.float64), (n_clusters,))),
            budget,
        )

    def __post_init__(self) -> None:
        shapes = len(self.labels) == len(self.upper) == len(self.floor) and len(self.cluster_caps) == self.n_clusters
        if not shapes:
            raise UsageError("caps, labels and clusters differ in number", where="Polytope")
        numbers = np.concatenate([self.upper, self.cluster_caps, self.floor, [self.budget]])
        if not (np.isfinite(numbers).all() and (numbers >= 0.0).all() and (self.floor <= self.upper).all()):
            raise UsageError("caps and budget must be finite, not negative, and not below the floors", where="Polytope")
        if self.lower is not None:
            over = bool((self.cluster_sums(self.lower) > self.cluster_caps + ROUNDING).any())
            if over or float(self.lower.sum()) > self.budget + ROUNDING:
                raise UsageError("the floors alone exceed a cluster's cap or the budget", where="Polytope")

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.upper)

    @cached_property
    def floor(self) -> Floats:
        """Least weights, zeros unless given."""
        return np.zeros(len(self.upper)) if self.lower is None else self.lower

    @cached_property
    def groups(self) -> Ints:
        """Position of each atom's cluster in ``cluster_caps``."""
        return np.unique(self.labels, return_inverse=True)[1].astype(np.int64)

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return int(self.groups.max(initial=-1)) + 1

    @cached_property
    def active(self) -> Bools:
        """Atoms that may have weight."""
        return self.upper > 0.0

    def cluster_sums(self, weights: Floats) -> Floats:
        """Sum of the weights in each cluster."""
        sums = np.bincount(self.groups, weights=weights, minlength=self.n_clusters)
        return sums.astype(np.float64, copy=False)

    @cached_property
    def max_budget(self) -> float:
        """Greatest sum of weights that the caps permit: over clusters, the lesser of its cap and its atoms' caps."""
        return float(np.minimum(self.cluster_caps, self.cluster_sums(self.upper)).sum())

    def limited(self) -> Polytope:
        """Return the same with no more budget than the caps permit."""
        return self if self.budget <= self.max_budget else replace(self, budget=self.max_budget)

    def breach(self, weights: Floats) -> float:
        """Greatest violation of any bound, cap or of the budget, 0 if none."""
        return max(
            0.0,
            float(np.max(weights - self.upper, initial=0.0)),
            float(np.max(self.floor - weights, initial=0.0)),
            float(np.max(self.cluster_sums(weights) - self.cluster_caps, initial=0.0)),
            abs(math.fsum(weights) - self.budget),
        )

    def best(self, values: Floats) -> Floats:
        """Return the allowed weights with the greatest ``values'w``.

        Caps of atoms within caps of disjoint clusters form a laminar family, for which filling up in falling order of
        value is exact (Edmonds 1970); equal values are taken in the order of the atoms.
        """
        weights = self.floor.copy()
        room = self.cluster_caps - self.cluster_sums(weights)
        left = self.budget - float(weights.sum())
        for i in np.argsort(-values, kind="stable"):
            share = min(float(self.upper[i] - weights[i]), float(room[self.groups[i]]), left)
            if share > 0.0:
                weights[i] += share
                room[self.groups[i]] -= share
                left -= share
        return weights

    def forced(self) -> Floats | None:
        """Return the only allowed weights where there is no choice, else None.

        Interior-point methods need room on both sides: PIQP calls a single point infeasible.
        """
        if int(self.active.sum()) == 1:
            return np.where(self.active, self.budget, 0.0)
        if self.budget <= float(self.floor.sum()) + ROUNDING:
            return self.floor.copy()
        tops = self.cluster_sums(self.upper)
        crowded = (tops > self.cluster_caps) & (self.cluster_sums(self.active.astype(np.float64)) > 1.0)
        if self.budget < self.max_budget - ROUNDING or crowded.any():
            return None
        return np.minimum(self.upper, self.cluster_caps[self.groups])

    def rows(self, on: Ints) -> tuple[Floats, Floats]:
        """Return membership and caps of the clusters that can bind, for the atoms ``on``."""
        tops = np.bincount(self.groups[on], weights=self.upper[on], minlength=self.n_clusters)
        binding = np.flatnonzero(self.cluster_caps < np.minimum(tops, self.budget))
        return (self.groups[on] == binding[:, None]).astype(np.float64), self.cluster_caps[binding]

    def minimise(self, quadratic: Floats, linear: Floats | None = None) -> tuple[Floats, SolverRecord]:
        """Minimise w'Qw / 2 + c'w over the polytope.

        Parameters
        ----------
        quadratic : (n_atoms, n_atoms) array
            Q, symmetric and positive semidefinite.
        linear : (n_atoms,) array, optional
            c.

        Returns
        -------
        weights : (n_atoms,) array
        report : SolverRecord

        Raises
        ------
        SolverError
            When the fallback chain is exhausted.
        """
        only = self.forced()
        if only is not None:
            return only, CLOSED_FORM
        on = np.flatnonzero(self.active)
        membership, caps = self.rows(on)
        # In shares of the budget, so that tolerances mean the same for a budget of 1 and for what a guard leaves.
        program = Program(
            quadratic=quadratic[np.ix_(on, on)],
            linear=np.zeros(len(on)) if linear is None else linear[on] / self.budget,
            equalities=np.ones((1, len(on))),
            equal_to=np.ones(1),
            inequalities=membership,
            at_most=caps / self.budget,
            lower=self.floor[on] / self.budget,
            upper=self.upper[on] / self.budget,
        )
        shares, report = solve(program)
        weights = np.zeros(self.n_atoms)
        weights[on] = shares * self.budget
        return weights, report

    def project(self, weights: Floats) -> tuple[Floats, float, SolverRecord]:
        """Return the weights that are nearest in least squares among those that keep bounds, caps and budget.

        Without floors the budget is a limit: what a cap cuts goes to nobody. With floors it must be met.

        Parameters
        ----------
        weights : (n_atoms,) array
            Any weights.

        Returns
        -------
        projected : (n_atoms,) array
            ``weights`` themselves where nothing has to change.
        distance : float
            Euclidean distance between the two.
        report : SolverRecord
        """
        projected, report = weights, CLOSED_FORM
        if self.lower is None:
            projected = self._cut(weights)
            met = math.fsum(projected) <= self.budget + ROUNDING
        else:
            met = self.breach(weights) <= ROUNDING
        if not met:
            projected, report = self.minimise(np.eye(self.n_atoms), -weights)
        if np.array_equal(projected, weights):
            return weights, 0.0, report
        distance = float(np.linalg.norm(projected - weights))
        return projected, distance, report.model_copy(update={"projection_distance": distance})

    def _cut(self, weights: Floats) -> Floats:
        """Return the nearest weights within bounds and caps: a cluster above its cap loses the same from each member.

        What each loses is found exactly: the sum of clip(w - x, 0, upper) falls linearly between its corners.
        """
        cut = np.clip(weights, 0.0, self.upper)
        for group in np.flatnonzero(self.cluster_sums(cut) > self.cluster_caps):
            members = np.flatnonzero(self.groups == group)
            own, top = weights[members], self.upper[members]
            corners = np.unique(np.concatenate([np.maximum(own, 0.0), np.maximum(own - top, 0.0), [0.0]]))
            sums = np.clip(own - corners[:, None], 0.0, top).sum(axis=1)
            loss = float(np.interp(self.cluster_caps[group], sums[::-1], corners[::-1]))
            cut[members] = np.clip(own - loss, 0.0, top)
        return cut

    def settle(self, weights: Floats, min_weight: float = 1e-6) -> tuple[Floats, float]:
        """Turn a solver's numbers into weights that keep every cap; what that frees is cash.

        Parameters
        ----------
        weights : (n_atoms,) array
            Allowed weights up to a solver's tolerance.
        min_weight : float
            Weights below it become zero.

        Returns
        -------
        weights : (n_atoms,) array
            Within bounds and cluster caps, at most ``budget`` in sum.
        cash : float
            1 - their sum.
        """
        settled = np.clip(weights, self.floor, self.upper)
        settled[settled < min_weight] = 0.0
        sums = self.cluster_sums(settled)
        over = sums > self.cluster_caps
        if over.any():
            factors = np.ones(self.n_clusters)
            factors[over] = self.cluster_caps[over] / sums[over]
            settled *= factors[self.groups]
        total = math.fsum(settled)
        if total > self.budget:
            settled *= self.budget / total
        return settled, max(0.0, 1.0 - math.fsum(settled))
