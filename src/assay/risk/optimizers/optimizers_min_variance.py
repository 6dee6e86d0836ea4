"""The portfolio of least variance."""

from __future__ import annotations

from assay.risk.caps import Polytope
from assay.risk.optimizers.base import Estimates, Optimizer, Placement


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
        return Placement(*polytope.minimise(estimates.covariance.risk))
