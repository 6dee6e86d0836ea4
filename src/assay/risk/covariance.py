"""Covariance of synthetic returns: Ledoit and Wolf's shrinkage, and more of it until the matrix is well conditioned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.base.constants import DAYS_PER_YEAR, Floats, Scalar
from assay.base.errors import DataError
from assay.risk.solve import CONDITION_NUMBER_HIGH, SHRINKAGE_RAISED, ZERO_VARIANCE
from assay.runs.documents import Event

UNRESOLVED = 1.0 / float(np.finfo(np.float64).eps)
"""The greatest condition number that float64 can tell from a singular matrix."""


@dataclass(frozen=True)
class Covariance:
    """A covariance matrix with the story of its shrinkage."""

    matrix: Floats
    """(n_atoms, n_atoms): covariance of simple daily returns, times 365."""
    shrinkage: float
    """Ledoit and Wolf's intensity, in [0, 1]."""
    extra_shrinkage: float
    """What was added to the intensity to reach the condition number, in [0, 1]."""
    condition_number: float
    """Greatest over least eigenvalue of ``matrix``; 1 for a matrix of zeros, at most :data:`UNRESOLVED`."""
    events: tuple[Event, ...] = ()
    """``SHRINKAGE_RAISED``, ``CONDITION_NUMBER_HIGH``, ``ZERO_VARIANCE``."""

    @property
    def degenerate(self) -> bool:
        """No atom varied at all."""
        return not self.matrix.any()

    @property
    def risk(self) -> Floats:
        """The matrix that optimizers use: ``matrix``, or the identity where nothing varied.

        The identity is the target of the shrinkage up to a scale that no risk profile sees, so weights stay defined,
        do not depend on the order of atoms, and are the limit of those for ever smaller equal variances.
        """
        return np.eye(len(self.matrix)) if self.degenerate else self.matrix


def ledoit_wolf(returns: Floats) -> tuple[Floats, float, float]:
    """Measure the sample covariance and how far to shrink it to a multiple of the identity.

    Parameters
    ----------
    returns : (n_rows, n_atoms) array
        Complete simple daily returns; at least two rows. Fewer rows than atoms are fine.

    Returns
    -------
    sample : (n_atoms, n_atoms) array
        Covariance with divisor ``n_rows``, per day.
    shrinkage : float
        Weight of the target in [0, 1]; 0 for one atom, which is its own target.
    target : float
        The mean variance: the target is ``target * I``.

    Notes
    -----
    Ledoit and Wolf (2004), *A well-conditioned estimator for large-dimensional covariance matrices*, lemma 3.2 and
    section 3.3: shrinkage = min(b2, d2) / d2, where d2 is the squared distance of the sample from the target and b2 the
    mean squared distance of each row's outer product from the sample, over the number of rows.

    Examples
    --------
    >>> sample, shrinkage, target = ledoit_wolf(np.array([[0.01, 0.0], [-0.01, 0.0]]))
    >>> sample.tolist(), float(shrinkage), float(target)
    ([[0.0001, 0.0], [0.0, 0.0]], 0.0, 5e-05)
    """
    n_rows, n_atoms = returns.shape
    if n_rows < 2 or n_atoms < 1:
        raise DataError(
            f"a covariance needs two rows and an atom, and has {n_rows} and {n_atoms}",
            where="ledoit_wolf",
            hint="look at data_health.json for what was left out",
        )
    centred = returns - returns.mean(axis=0)
    centred[:, np.ptp(returns, axis=0) == 0.0] = 0.0  # the mean of equal values may differ from them by rounding
    sample = centred.T @ centred / n_rows
    target = float(np.trace(sample)) / n_atoms
    squared = float(np.sum(sample * sample))
    distance = squared - n_atoms * target**2
    if n_atoms == 1 or distance <= 0.0:
        return sample, 0.0, target
    lengths = np.einsum("ij,ij->i", centred, centred)
    noise = (float(lengths @ lengths) / n_rows - squared) / n_rows
    return sample, min(max(noise, 0.0), distance) / distance, target


def estimate_covariance(
    returns: Floats, *, max_condition: float = 15000.0, step: float = 0.01, most: float = 0.10
) -> Covariance:
    """Shrink as Ledoit and Wolf say, then by ``step`` more, up to ``most``, until the condition number is low enough.

    Parameters
    ----------
    returns : (n_rows, n_atoms) array
        Complete simple daily returns.
    max_condition : float
        The condition number must be below it.
    step, most : float
        Increment and limit of the additional intensity; the total never exceeds 1.

    Returns
    -------
    Covariance
        Annualised. With ``most`` used up and the number still too high, the last matrix with the event
        ``CONDITION_NUMBER_HIGH``.

    Examples
    --------
    >>> twins = np.repeat(np.linspace(-0.02, 0.02, 9)[:, None], 2, axis=1)
    >>> estimate_covariance(twins).condition_number < 15000
    True
    """
    sample, shrinkage, target = ledoit_wolf(returns)
    n_atoms = len(sample)
    if target == 0.0:
        event = Event(code=ZERO_VARIANCE, what="no atom's return varied; every atom counts as equally risky")
        return Covariance(np.zeros_like(sample), shrinkage, 0.0, 1.0, (event,))
    least, greatest = _extremes(returns, sample)
    extras = [step * i for i in range(round(most / step) + 1)]
    extra, total, condition = 0.0, shrinkage, UNRESOLVED
    for extra in extras:
        total = min(1.0, shrinkage + extra)
        condition = _condition(least, greatest, total, target)
        if condition < max_condition:
            break
    matrix = (1.0 - total) * sample
    matrix.flat[:: n_atoms + 1] += total * target
    added = total - shrinkage
    return Covariance(
        DAYS_PER_YEAR * matrix, shrinkage, added, condition, _story(extra, added, condition, max_condition)
    )


def _extremes(returns: Floats, sample: Floats) -> tuple[float, float]:
    """Return the least and the greatest eigenvalue of the sample covariance.

    With more atoms than rows its eigenvalues are those of the rows' products with each other, and zeros: n_rows cubed
    operations instead of n_atoms cubed.
    """
    n_rows, n_atoms = returns.shape
    if n_atoms <= n_rows:
        spectrum = np.linalg.eigvalsh(sample)
        return float(spectrum[0]), float(spectrum[-1])
    centred = returns - returns.mean(axis=0)
    return 0.0, float(np.linalg.eigvalsh(centred @ centred.T / n_rows)[-1])


def _condition(least: float, greatest: float, shrinkage: float, target: float) -> float:
    # Shrinking to a multiple of the identity moves every eigenvalue alike: one decomposition serves all steps.
    low = (1.0 - shrinkage) * max(least, 0.0) + shrinkage * target
    high = (1.0 - shrinkage) * greatest + shrinkage * target
    return min(high / low, UNRESOLVED) if low > 0.0 else UNRESOLVED


def _story(extra: float, added: float, condition: float, max_condition: float) -> tuple[Event, ...]:
    values: dict[str, Scalar] = {
        "extra_shrinkage": added,
        "condition_number": condition,
        "max_condition": max_condition,
    }
    events = []
    if extra > 0.0:
        events.append(
            Event(code=SHRINKAGE_RAISED, what="the covariance was ill-conditioned and shrunk further", values=values)
        )
    if not condition < max_condition:
        events.append(
            Event(code=CONDITION_NUMBER_HIGH, what="the covariance stays ill-conditioned at the limit", values=values)
        )
    return tuple(events)


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
