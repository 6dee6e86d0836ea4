"""Expected returns: Jorion's Bayes-Stein estimator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assay.risk.covariance import DAYS_PER_YEAR

Floats = npt.NDArray[np.float64]


def bayes_stein(returns: Floats, covariance: Floats) -> tuple[Floats, float]:
    """Shrink sample means to the mean of the minimum-variance portfolio.

    Parameters
    ----------
    returns : (n_rows, n_atoms) array
        Complete simple daily returns.
    covariance : (n_atoms, n_atoms) array
        Annualised covariance (daily times 365) of the same returns, positive definite or zero.

    Returns
    -------
    means : (n_atoms,) array
        Expected returns per year: daily times 365.
    shrinkage : float
        Weight of the common mean, in [0, 1].

    Notes
    -----
    Jorion (1986), *Bayes-Stein estimation for portfolio analysis*, equations 14 and 17: with sample means y, T rows,
    N atoms and y0 = 1'S^-1 y / 1'S^-1 1, the shrinkage is (N + 2) / (N + 2 + T (y - y0 1)' S^-1 (y - y0 1)). Jorion
    scales the sample covariance by T / (T - N - 2), which needs more rows than atoms; the shrunk covariance, which has
    an inverse always, takes its place. Without any variance the sample means are exact and nothing is shrunk.

    Examples
    --------
    Equal means carry no information about differences, so the common mean takes all the weight.

    >>> rows = np.array([[0.01, 0.03], [0.03, 0.01], [0.02, 0.02]])
    >>> means, shrinkage = bayes_stein(rows, np.eye(2))
    >>> means.round(9).tolist(), round(shrinkage, 9)
    ([7.3, 7.3], 1.0)
    """
    n_rows, n_atoms = returns.shape
    sample = returns.mean(axis=0)
    if not covariance.any():
        return DAYS_PER_YEAR * sample, 0.0
    daily = covariance / DAYS_PER_YEAR
    inverse = np.linalg.solve(daily, np.column_stack([np.ones(n_atoms), sample]))
    common = float(inverse[:, 1].sum() / inverse[:, 0].sum())
    spread = sample - common
    distance = max(0.0, n_rows * float(spread @ (inverse[:, 1] - common * inverse[:, 0])))
    shrinkage = (n_atoms + 2) / (n_atoms + 2 + distance)
    return DAYS_PER_YEAR * ((1.0 - shrinkage) * sample + shrinkage * common), shrinkage
