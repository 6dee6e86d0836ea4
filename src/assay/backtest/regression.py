"""Alpha and beta with errors that stand days which are alike (Newey and West) [1]_.

References
----------
.. [1] W. K. Newey, K. D. West (1987), A Simple, Positive Semi-Definite, Heteroskedasticity and Autocorrelation
   Consistent Covariance Matrix, Econometrica 55(3).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ENOUGH = 20
"""Fewer days are too few for a line."""


class Fitted(NamedTuple):
    """Intercept and slope, each with its standard error."""

    intercept: float
    intercept_error: float
    slope: float
    slope_error: float
    days: int

    def interval(self, value: float, error: float, level: float = 0.95) -> tuple[float, float]:
        """Return the normal interval of a coefficient."""
        reach = NormalDist().inv_cdf(0.5 + level / 2.0) * error
        return value - reach, value + reach


def line(returns: npt.ArrayLike, benchmark: npt.ArrayLike, lag: int) -> Fitted | None:
    """Fit returns on the benchmark's by least squares, with Newey-West errors.

    Parameters
    ----------
    returns, benchmark : (n_days,) arrays
        Simple returns; days on which either is unknown are left out.
    lag : int
        Days up to which errors may hang together, with Bartlett's weights.

    Returns
    -------
    Fitted or None
        None with fewer than 20 days, or where the benchmark does not move.

    Examples
    --------
    >>> market = np.sin(np.arange(40.0))
    >>> fitted = line(0.5 + 2.0 * market, market, lag=3)
    >>> round(fitted.intercept, 9), round(fitted.slope, 9)
    (0.5, 2.0)
    """
    y, x = np.asarray(returns, dtype=np.float64), np.asarray(benchmark, dtype=np.float64)
    known = np.isfinite(y) & np.isfinite(x)
    y, x = y[known], x[known]
    if len(y) < ENOUGH or np.ptp(x) == 0.0:
        return None
    inputs = np.column_stack([np.ones_like(x), x])
    inverse = np.linalg.inv(inputs.T @ inputs)
    found = inverse @ (inputs.T @ y)
    scores = inputs * (y - inputs @ found)[:, None]
    middle = scores.T @ scores
    for behind in range(1, min(lag, len(y) - 1) + 1):
        crossed = scores[behind:].T @ scores[:-behind]
        middle += (1.0 - behind / (lag + 1.0)) * (crossed + crossed.T)
    errors = np.sqrt(np.maximum(np.diag(inverse @ middle @ inverse), 0.0))
    return Fitted(float(found[0]), float(errors[0]), float(found[1]), float(errors[1]), len(y))
