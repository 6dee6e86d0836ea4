"""Probability of backtest overfitting, by combinatorially symmetric cross-validation.

The record of all alternatives is cut into an even number of blocks. Each half of the blocks, in every combination,
serves once as the sample in which the best alternative is chosen, and the other half as the sample in which it is
judged [1]_.

:func:`tried` does so with everything that was really tried. Alternatives were run over different days, and the
cross-validation needs the same days for all. Every window that begins and ends where some alternative does is a
candidate; taken is the one with the largest number of returns (alternatives x days), so that neither a short record
shortens all others nor a long one stands alone. Who does not cover it is left out by name.

References
----------
.. [1] D. Bailey, J. Borwein, M. Lopez de Prado, Q. J. Zhu (2017), The Probability of Backtest Overfitting, Journal of
   Computational Finance 20(4); section 2 for the algorithm, 3 for what it tells.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.backtest.statistics import sharpe, varies
from assay.base.constants import Bools, Days, Floats

MAX_BLOCKS = 20
"""C(20, 10) = 184,756 combinations; more would take minutes and change nothing."""


PBO_BLOCKS = 16
"""As in the paper; 12,870 combinations."""


@dataclass(frozen=True)
class Overfitting:
    """What the cross-validation found."""

    probability: float
    """Share of combinations in which the alternative chosen ended below the median of the other half. The paper's
    two definitions differ in whether the median itself counts; here it counts by half, so that worthless
    alternatives, and identical ones, give one half whatever their number."""
    loss_probability: float
    """Share of combinations in which it had a negative Sharpe ratio in the other half."""
    slope: float | None
    """Least-squares slope of the chosen one's Sharpe ratio there on the one here; None where the latter does not
    vary."""
    logits: Floats
    """(n_combinations,): logit of the relative rank in the other half, in lexicographic order of the combinations."""
    days_used: int
    """Rows used; the first rows that do not fill a block are left out."""


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


def _halves(blocks: int) -> Bools:
    """Every choice of half the blocks, (n_combinations, blocks)."""
    chosen = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    here = np.zeros((len(chosen), blocks), dtype=np.bool_)
    np.put_along_axis(here, chosen, values=True, axis=1)
    return here


def _sharpe(returns: Floats, chosen: Bools, length: int) -> Floats:
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


def probability_of_overfitting(books: Mapping[str, Floats]) -> float | None:
    """Probability that the best of these books' daily returns by Sharpe ratio is luck; None for one or too few days."""
    returns = [own for _, own in sorted(books.items())]
    if len(returns) < 2 or len(returns[0]) < 2 * PBO_BLOCKS:
        return None
    return overfitting(np.column_stack(returns), PBO_BLOCKS).probability


@dataclass(frozen=True)
class Alternative:
    """Daily returns of one thing that was tried."""

    name: str
    """Unique."""
    days: Days
    """(n_days,): strictly increasing."""
    returns: Floats
    """(n_days,): simple, finite."""


@dataclass(frozen=True)
class Excluded:
    """An alternative that is not counted, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Tried:
    """What choosing the best of all alternatives is worth."""

    probability: float | None
    """Of backtest overfitting, see :class:`assay.backtest.overfitting.Overfitting`; None for fewer than two
    alternatives or too few shared days."""
    loss_probability: float | None
    slope: float | None
    """As there."""
    best: str | None
    """The alternative with the highest Sharpe ratio over the shared days."""
    sharpes: dict[str, float | None]
    """Annual Sharpe ratio over the shared days of each alternative that counts, None where nothing varies."""
    days: int
    first: str | None
    last: str | None
    """Shared days, and the first and the last of them."""
    blocks: int
    excluded: tuple[Excluded, ...]


def tried(alternatives: Sequence[Alternative], blocks: int = PBO_BLOCKS) -> Tried:
    """Align alternatives on shared days and say how likely it is that the best of them is best by luck.

    Parameters
    ----------
    alternatives : sequence of Alternative
        What was tried. Of several with the same returns on the shared days, the first counts: the same book under
        another name is no other alternative.
    blocks : int
        Of the cross-validation, even; each needs two days.

    Returns
    -------
    Tried

    Examples
    --------
    >>> days = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
    >>> up = np.tile([0.01, 0.03], 30)
    >>> late = Alternative("late", days[50:], -up[50:])
    >>> found = tried([Alternative("up", days, up), Alternative("down", days, -up), late])
    >>> found.probability, found.best, found.days, [one.name for one in found.excluded]
    (0.0, 'up', 60, ['late'])
    """
    _check_alternatives(alternatives)
    days = _shared_days(alternatives, 2 * blocks)
    kept, excluded = _aligned(alternatives, days)
    sharpes = {name: sharpe(returns) for name, returns in kept.items()}
    best = max(sharpes, key=lambda name: sharpes[name] or 0.0) if sharpes else None
    result = overfitting(np.column_stack(list(kept.values())), blocks) if len(kept) > 1 else None
    return Tried(
        probability=result.probability if result else None,
        loss_probability=result.loss_probability if result else None,
        slope=result.slope if result else None,
        best=best,
        sharpes=sharpes,
        days=len(days),
        first=str(days[0]) if len(days) else None,
        last=str(days[-1]) if len(days) else None,
        blocks=blocks,
        excluded=tuple(excluded),
    )


def _check_alternatives(alternatives: Sequence[Alternative]) -> None:
    names = [alternative.name for alternative in alternatives]
    if len(set(names)) != len(names):
        raise ValueError("alternatives must have different names")
    for one in alternatives:
        if one.days.shape != one.returns.shape or one.returns.ndim != 1 or not np.isfinite(one.returns).all():
            raise ValueError(f"{one.name}: there must be one finite return a day")
        if (np.diff(one.days) <= np.timedelta64(0, "D")).any():
            raise ValueError(f"{one.name}: days must be strictly increasing")


def _shared_days(alternatives: Sequence[Alternative], least: int) -> Days:
    """Days of the window that holds the most returns; none where no two alternatives share enough of them.

    Of windows that hold equally many, the one with more alternatives, then the latest.
    """
    spans = [(one.days[0], one.days[-1]) for one in alternatives if len(one.days)]
    none = np.array([], dtype="datetime64[D]")
    best: tuple[int, int, np.datetime64, Days] = (0, 0, np.datetime64("0001-01-01"), none)
    for first, last in itertools.product(sorted({span[0] for span in spans}), sorted({span[1] for span in spans})):
        covering = [one for one in alternatives if len(one.days) and one.days[0] <= first and one.days[-1] >= last]
        if len(covering) < 2 or (last - first).astype(np.int64) + 1 < least:
            continue
        days = _common(covering, first, last)
        found = (len(days) * len(covering), len(covering), last, days)
        if len(days) >= least and found[:3] > best[:3]:
            best = found
    return best[3]


def _common(alternatives: Sequence[Alternative], first: np.datetime64, last: np.datetime64) -> Days:
    """Days of a window that all of these have."""
    # Most runs end on the same day: each calendar is looked at once.
    calendars = {one.days.tobytes(): one.days for one in alternatives}
    common: Days | None = None
    for days in calendars.values():
        inside = days[(days >= first) & (days <= last)]
        common = inside if common is None else np.intersect1d(common, inside, assume_unique=True)
    return np.array([], dtype="datetime64[D]") if common is None else common


def _aligned(alternatives: Sequence[Alternative], days: Days) -> tuple[dict[str, Floats], list[Excluded]]:
    kept: dict[str, Floats] = {}
    known: dict[bytes, str] = {}
    excluded = []
    for one in alternatives:
        at = np.flatnonzero(np.isin(one.days, days, assume_unique=True))
        if not len(days):
            excluded.append(Excluded(one.name, f"no two alternatives share {2 * PBO_BLOCKS} days"))
        elif len(at) < len(days):
            excluded.append(Excluded(one.name, f"has {len(at)} of the {len(days)} days from {days[0]} to {days[-1]}"))
        elif (twin := known.setdefault((one.returns[at] + 0.0).tobytes(), one.name)) != one.name:
            excluded.append(Excluded(one.name, f"has the same returns as {twin}"))
        else:
            kept[one.name] = one.returns[at]
    return kept, excluded
