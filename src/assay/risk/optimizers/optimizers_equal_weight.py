"""The portfolio of equal weights."""

from __future__ import annotations

import numpy as np

from assay.risk.caps import Polytope
from assay.risk.optimizers.base import Estimates, Optimizer, Placement


class EqualWeight(Optimizer):
    """1 / n for each of all n atoms, moved as little as the caps demand.

    An atom whose cap is zero gives its share to nobody: the budget is lowered by it, and the rest is cash.

    Examples
    --------
    >>> EqualWeight(atom_cap=np.array([1.0, 1.0, 0.1, 1.0])).fit(np.eye(4)).weights_.round(9).tolist()
    [0.3, 0.3, 0.1, 0.3]
    """

    def place(self, estimates: Estimates, polytope: Polytope) -> Placement:  # noqa: ARG002 - equal weights know nothing
        """Project equal weights on the caps."""
        weights, _, report = polytope.project(np.where(polytope.active, 1.0 / polytope.n_atoms, 0.0))
        return Placement(weights, report)
