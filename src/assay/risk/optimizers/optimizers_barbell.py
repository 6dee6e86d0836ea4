"""The barbell: a core of risk parity and a few atoms that gain from disorder."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assay.risk.caps import Polytope
from assay.risk.optimizers.base import Estimates, Optimizer, Placement
from assay.risk.optimizers.optimizers_hrp import risk_parity
from assay.risk.risk_events import NO_AGGRESSORS, RiskEvent

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Barbell(Optimizer):
    """Most of the budget in a core of hierarchical risk parity, the rest in aggressors, within the caps.

    Both together are moved as little as the caps demand.

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

    def __init__(
        self,
        atom_cap: float | Floats = 1.0,
        cluster_cap: float | Floats = 1.0,
        clusters: npt.NDArray[np.int64] | None = None,
        budget: float = 1.0,
        min_weight: float = 1e-6,
        aggressor_share: float = 0.10,
        max_aggressors: int = 5,
        antifragility: Floats | None = None,
    ) -> None:
        super().__init__(atom_cap, cluster_cap, clusters, budget, min_weight)
        self.aggressor_share = aggressor_share
        self.max_aggressors = max_aggressors
        self.antifragility = antifragility

    def estimate(self, returns: Floats) -> Estimates:
        """Estimate from returns, with the antifragility that was given or is measured."""
        given = self.antifragility
        if given is None:
            from assay.alpha.features import features  # only a barbell that stands alone measures for itself

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
        event = RiskEvent(NO_AGGRESSORS, "no cluster can spare an aggressor; the whole budget is core")
        return Placement(weights, report, () if len(chosen) else (event,))


def choose_aggressors(antifragility: Floats | None, polytope: Polytope, most: int) -> Integers:
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
