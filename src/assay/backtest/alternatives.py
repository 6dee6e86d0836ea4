"""Probability of backtest overfitting over everything that was really tried.

Alternatives were run over different days, and the cross-validation needs the same days for all. Every window that
begins and ends where some alternative does is a candidate; taken is the one with the largest number of returns
(alternatives x days), so that neither a short record shortens all others nor a long one stands alone. Who does not
cover it is left out by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.backtest.evidence import PBO_BLOCKS
from assay.backtest.overfitting import overfitting
from assay.backtest.statistics import sharpe

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]

LEAST_DAYS = 2 * PBO_BLOCKS


@dataclass(frozen=True)
class Alternative:
    """Daily returns of one thing that was tried.

    Attributes
    ----------
    name : str
        Unique.
    days : (n_days,) datetime64[D] array
        Strictly increasing.
    returns : (n_days,) array
        Simple, finite.
    """

    name: str
    days: Days
    returns: Floats


@dataclass(frozen=True)
class Exclusion:
    """An alternative that is not counted, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Tried:
    """What choosing the best of all alternatives is worth.

    Attributes
    ----------
    probability : float or None
        Of backtest overfitting, see :class:`assay.backtest.overfitting.Overfitting`; None for fewer than two
        alternatives or too few shared days.
    loss_probability, slope : float or None
        As there.
    best : str or None
        The alternative with the highest Sharpe ratio over the shared days.
    sharpes : dict
        Annual Sharpe ratio over the shared days of each alternative that counts, None where nothing varies.
    days, first, last : int, str, str
        Shared days, and the first and the last of them.
    blocks : int
    excluded : tuple of Exclusion
    """

    probability: float | None
    loss_probability: float | None
    slope: float | None
    best: str | None
    sharpes: dict[str, float | None]
    days: int
    first: str | None
    last: str | None
    blocks: int
    excluded: tuple[Exclusion, ...]


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
    _check(alternatives)
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


def _check(alternatives: Sequence[Alternative]) -> None:
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


def _aligned(alternatives: Sequence[Alternative], days: Days) -> tuple[dict[str, Floats], list[Exclusion]]:
    kept: dict[str, Floats] = {}
    known: dict[bytes, str] = {}
    excluded = []
    for one in alternatives:
        at = np.flatnonzero(np.isin(one.days, days, assume_unique=True))
        if not len(days):
            excluded.append(Exclusion(one.name, f"no two alternatives share {LEAST_DAYS} days"))
        elif len(at) < len(days):
            excluded.append(Exclusion(one.name, f"has {len(at)} of the {len(days)} days from {days[0]} to {days[-1]}"))
        elif (twin := known.setdefault((one.returns[at] + 0.0).tobytes(), one.name)) != one.name:
            excluded.append(Exclusion(one.name, f"has the same returns as {twin}"))
        else:
            kept[one.name] = one.returns[at]
    return kept, excluded
