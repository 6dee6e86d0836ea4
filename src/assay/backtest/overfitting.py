"""Probability of backtest overfitting, by combinatorially symmetric cross-validation.

The record of all alternatives is cut into an even number of blocks. Each half of the blocks, in every combination,
serves once as the sample in which the best alternative is chosen, and the other half as the sample in which it is
judged [1]_.

References
----------
.. [1] D. Bailey, J. Borwein, M. Lopez de Prado, Q. J. Zhu (2017), The Probability of Backtest Overfitting, Journal of
   Computational Finance 20(4); section 2 for the algorithm, 3 for what it tells.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.backtest.statistics import varies

Floats = npt.NDArray[np.float64]

MAX_BLOCKS = 20
"""C(20, 10) = 184,756 combinations; more would take minutes and change nothing."""


@dataclass(frozen=True)
class Overfitting:
    """What the cross-validation found.

    Attributes
    ----------
    probability : float
        Share of combinations in which the alternative chosen ended below the median of the other half. The paper's
        two definitions differ in whether the median itself counts; here it counts by half, so that worthless
        alternatives, and identical ones, give one half whatever their number.
    loss_probability : float
        Share of combinations in which it had a negative Sharpe ratio in the other half.
    slope : float or None
        Least-squares slope of the chosen one's Sharpe ratio there on the one here; None where the latter does not vary.
    logits : (n_combinations,) array
        Logit of the relative rank in the other half, in lexicographic order of the combinations.
    days_used : int
        Rows used; the first rows that do not fill a block are left out.
    """

    probability: float
    loss_probability: float
    slope: float | None
    logits: Floats
    days_used: int


def overfitting(returns: Floats, blocks: int = 16) -> Overfitting:
    """Probability that choosing the best of these alternatives by Sharpe ratio is overfitting.

    Parameters
    ----------
    returns : (n_days, n_alternatives) array
        Simple daily returns of what was really tried, on the same days; at least two alternatives. One that never moves
        (a sleeve in cash) has a Sharpe ratio of 0.
    blocks : int
        Even, at most 20; each needs two days or more.

    Returns
    -------
    Overfitting

    Examples
    --------
    One alternative that always gains and one that always loses: the choice is right in every combination.

    >>> up = np.tile([0.01, 0.03], 20)
    >>> overfitting(np.column_stack([up, -up]), blocks=4).probability
    0.0
    """
    _check(returns, blocks)
    length = len(returns) // blocks
    used = returns[len(returns) - length * blocks :]
    here = _halves(blocks)
    chosen_by = _sharpe(used, here, length)
    judged_by = _sharpe(used, ~here, length)
    best = np.argmax(chosen_by, axis=1)[:, None]
    picked = np.take_along_axis(judged_by, best, axis=1)
    # Rank 1 is the worst; ties share the mean of their ranks, so that identical alternatives are at the median.
    rank = (judged_by < picked).sum(axis=1) + ((judged_by == picked).sum(axis=1) + 1) / 2.0
    relative = rank / (returns.shape[1] + 1)
    logits = np.log(relative / (1.0 - relative))
    return Overfitting(
        probability=float(np.mean(logits < 0.0) + np.mean(logits == 0.0) / 2.0),
        loss_probability=float(np.mean(picked < 0.0)),
        slope=_slope(np.take_along_axis(chosen_by, best, axis=1)[:, 0], picked[:, 0]),
        logits=logits,
        days_used=len(used),
    )


def _check(returns: Floats, blocks: int) -> None:
    if returns.ndim != 2 or returns.shape[1] < 2 or not np.isfinite(returns).all():
        raise ValueError("returns must be finite, days x at least two alternatives")
    if blocks % 2 or not 2 <= blocks <= MAX_BLOCKS or len(returns) < 2 * blocks:
        raise ValueError(f"blocks must be even, at most {MAX_BLOCKS}, with two days each")


def _halves(blocks: int) -> npt.NDArray[np.bool_]:
    """Every choice of half the blocks, (n_combinations, blocks)."""
    chosen = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    here = np.zeros((len(chosen), blocks), dtype=np.bool_)
    np.put_along_axis(here, chosen, values=True, axis=1)
    return here


def _sharpe(returns: Floats, chosen: npt.NDArray[np.bool_], length: int) -> Floats:
    """Sharpe ratios per day of the chosen blocks together, (n_combinations, n_alternatives)."""
    by_block = returns.reshape(chosen.shape[1], length, -1)
    days = length * chosen.shape[1] // 2
    share = chosen.astype(np.float64)
    mean = share @ by_block.sum(axis=1) / days
    # About the overall mean, so that little is lost to cancellation.
    centre = returns.mean(axis=0)
    square = share @ ((by_block - centre) ** 2).sum(axis=1) - days * (mean - centre) ** 2
    deviation = np.sqrt(np.maximum(square, 0.0) / (days - 1))  # rounding can leave a constant one below zero
    ratio: Floats = np.zeros_like(mean)
    with np.errstate(divide="ignore"):  # a constant gain is infinitely good, a constant loss infinitely bad
        np.divide(mean, deviation, out=ratio, where=mean != 0.0)
    return ratio


def _slope(x: Floats, y: Floats) -> float | None:
    if not (np.isfinite(x).all() and np.isfinite(y).all() and varies(x)):
        return None
    deviation = x - x.mean()
    return float(deviation @ y / (deviation @ deviation))
