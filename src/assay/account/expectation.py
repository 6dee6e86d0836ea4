"""How far an account is from what was expected of it: from the returns before it began, and from the modelled costs.

*Prior*: the tranche book's returns before the account began say what a year may look like. Its mean is known from few
days, and its spread too, so a band made of drawn years alone is left far too often. What is drawn is therefore both: a
record as long as the prior, and a year after it, in blocks of days [1]_. The year's distance from what *that* record
foretells, in units of *its* spread, has a largest value over all days; the 95th percentile of it is the width of the
band [2]_. Blocks know nothing of swings that last longer than they do, and a spread is known to about one part in
``sqrt(2 n / block)``: the band is wider by ``sqrt(block / n)``. Tests hold it to at most one false alarm in twenty
years, for returns that are normal, heavy-tailed, dependent, and of clustered volatility.

*Tracking*: the difference from the tranche book must add up, and what was paid must not be twice what was modelled.

References
----------
.. [1] D. N. Politis, J. P. Romano (1994), The Stationary Bootstrap, Journal of the American Statistical Association
   89(428).
.. [2] M. Wolf, D. Wunderli (2015), Bootstrap Joint Prediction Regions, Journal of Time Series Analysis 36(3).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assay.account.money import EXACT, ZERO, text
from assay.backtest.bootstrap import block_indices
from assay.base.constants import DAYS_PER_YEAR, TOLERANCE, Floats
from assay.settings.model import Costs

LEVEL: Final = 0.95
LEAST_DAYS: Final = 120
"""Fewer days before an account say too little of a year after them."""
SAMPLES: Final = 1000
WINDOW: Final = 60
"""Days over which costs are compared with the modelled ones."""
TIMES: Final = 2.0
"""What was paid may be so many times the modelled cost."""
LEAST_FILLS: Final = 10
SIGMAS: Final = 3.0
"""A cost counts as above the modelled one when it is so by so many standard errors of single fills."""

Alarm = Literal["BELOW_PRIOR", "ABOVE_PRIOR", "TRACKING_UNEXPLAINED", "COST_ABOVE_MODEL"]

ALARMS: Mapping[Alarm, str] = {
    "BELOW_PRIOR": "the account fell below the band that the returns before it began foretold",
    "ABOVE_PRIOR": "the account rose above the band that the returns before it began foretold",
    "TRACKING_UNEXPLAINED": "the difference from the tranche book is not the sum of its named lines",
    "COST_ABOVE_MODEL": "slippage and fees of 60 days are more than twice the modelled ones",
}
"""What each alarm says."""


# --- prior ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PriorBand:
    """What a year may look like, as the log of what 1 becomes, day by day.

    Attributes
    ----------
    centre, half : (days,) arrays
        The middle, and the distance to either edge.
    prior_days : int
        How many days it rests on.
    """

    centre: Floats
    half: Floats
    prior_days: int

    @property
    def low(self) -> Floats:
        """Lower edge, as what 1 becomes."""
        return _grown(self.centre - self.half)

    @property
    def high(self) -> Floats:
        """Upper edge."""
        return _grown(self.centre + self.half)


def _grown(logs: Floats) -> Floats:
    with np.errstate(over="ignore"):
        wealth: Floats = np.exp(logs)
    return wealth


def prior_band(
    returns: npt.ArrayLike,
    *,
    seed: int = 0,
    days: int = DAYS_PER_YEAR,
    block: float = 10.0,
    level: float = LEVEL,
    samples: int = SAMPLES,
) -> PriorBand | None:
    """Return the band that a whole year stays in with the probability of the level.

    Parameters
    ----------
    returns : (n_days,) array
        Simple daily returns of the tranche book before the account began.
    seed : int
        Of the draws.
    days : int
        Length of the band.
    block : float
        Mean length of the drawn blocks; the holding period is a natural choice.
    level : float
        Share of years that never leave it.
    samples : int
        Years to draw.

    Returns
    -------
    PriorBand or None
        None where fewer than 120 days are known, one of them lost everything, or nothing ever moved.
    """
    simple = np.asarray(returns, dtype=np.float64)
    n = len(simple)
    if n < LEAST_DAYS or not np.isfinite(simple).all() or simple.min() <= -1.0 or np.ptp(simple) == 0.0:
        return None
    logs: Floats = np.log1p(simple)
    day = np.arange(1, days + 1)
    shape = np.sqrt(day * (1.0 + day / n))  # a sum of so many days, beside a mean of n of them
    records = logs[block_indices(n, samples, block, seed)]
    years = np.cumsum(logs[block_indices(n, samples, block, seed + 1, days)], axis=1)
    spread = records.std(axis=1, ddof=1)[:, None]
    apart = np.abs(years - records.mean(axis=1)[:, None] * day) / shape
    with np.errstate(divide="ignore", invalid="ignore"):
        furthest = (apart / spread).max(axis=1)
    width = float(np.quantile(furthest[np.isfinite(furthest)], level)) * (1.0 + math.sqrt(block / n))
    return PriorBand(logs.mean() * day, width * logs.std(ddof=1) * shape, n)


class PriorVerdict(NamedTuple):
    """An account's present year beside its band."""

    alarm: Alarm | None
    """Of this year; it stays when the account comes back into the band."""
    since: int | None
    """Day of that year on which the band was left first, from 0."""
    days: int
    """Judged days of the year."""
    wealth: float
    """What 1 became since the year began."""
    low: float
    high: float
    place: float
    """Where it stands between the edges: -1 the lower, 0 the middle, 1 the upper."""


def judge(band: PriorBand, returns: npt.ArrayLike) -> list[PriorVerdict]:
    """Judge each year of an account, the last one as far as it came.

    Parameters
    ----------
    band : PriorBand
    returns : (n_days,) array
        Simple daily returns of the days that were lived, not of those that were stepped through afterwards.

    Returns
    -------
    list of PriorVerdict
        One for each year; empty before the first day.
    """
    simple = np.asarray(returns, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(simple > -1.0, np.log1p(np.maximum(simple, -1.0)), -np.inf)
    length = len(band.centre)
    return [_judged(band, np.cumsum(logs[at : at + length])) for at in range(0, len(logs), length)]


def _judged(band: PriorBand, path: Floats) -> PriorVerdict:
    n = len(path)
    places = (path - band.centre[:n]) / band.half[:n]
    [left] = np.nonzero(np.abs(places) > 1.0)
    since = int(left[0]) if len(left) else None
    alarm: Alarm | None = None if since is None else "BELOW_PRIOR" if places[since] < 0 else "ABOVE_PRIOR"
    low, high = float(band.low[n - 1]), float(band.high[n - 1])
    return PriorVerdict(alarm, since, n, float(np.exp(path[-1])), low, high, float(places[-1]))


# --- tracking ---------------------------------------------------------------------------------------------------------


class PaidFill(NamedTuple):
    """What one fill cost beside what it was modelled to cost, in dollars."""

    paid: Decimal
    modelled: Decimal


@dataclass(frozen=True)
class TrackedDay:
    """One day beside the tranche book.

    Attributes
    ----------
    day : date
    total : float, optional
        Log(account / tranche book) so far; None where nobody compared them.
    lines : mapping of str to float
        By name, what the difference is made of.
    fills : tuple of PaidFill
    """

    day: dt.date
    total: float | None = None
    lines: Mapping[str, float] = field(default_factory=dict)
    fills: tuple[PaidFill, ...] = ()


class Tracking(NamedTuple):
    """What tracking says as of the last day."""

    alarms: dict[Alarm, dt.date]
    """Each with the first day on which it held."""
    paid: Decimal
    """Slippage and fees of the last 60 days, in dollars."""
    modelled: Decimal
    fills: int
    total: float | None
    lines: Mapping[str, float]

    @property
    def times(self) -> float | None:
        """How many times the modelled cost was paid; None where nothing was traded."""
        return float(self.paid / self.modelled) if self.modelled else None


def track(days: Sequence[TrackedDay], window: int = WINDOW) -> Tracking:
    """Judge the difference and the costs of each day and of those before it.

    Costs are above the modelled ones where they are more than twice as high over the window, and are so by three
    standard errors: one fill may be far from its open, and many are not on the same side.

    Parameters
    ----------
    days : sequence of TrackedDay
        In order, without the simulated ones.
    window : int
        Days over which costs are summed.
    """
    alarms: dict[Alarm, dt.date] = {}
    seen: list[PaidFill] = []
    for at, one in enumerate(days):
        if one.total is not None and not abs(math.fsum([*one.lines.values(), -one.total])) <= TOLERANCE:
            alarms.setdefault("TRACKING_UNEXPLAINED", one.day)
        seen = [fill for each in days[max(0, at + 1 - window) : at + 1] for fill in each.fills]
        if one.fills and "COST_ABOVE_MODEL" not in alarms and _dear(seen):
            alarms["COST_ABOVE_MODEL"] = one.day
    paid, modelled, fills = _sum(fill.paid for fill in seen), _sum(fill.modelled for fill in seen), len(seen)
    last = next((one for one in reversed(days) if one.total is not None), None)
    if last is None:
        return Tracking(alarms, paid, modelled, fills, None, {})
    return Tracking(alarms, paid, modelled, fills, last.total, last.lines)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    found = ZERO
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found


def _dear(seen: Sequence[PaidFill]) -> bool:
    paid, modelled = (np.array(amounts, dtype=np.float64) for amounts in zip(*seen, strict=True))
    if len(seen) < LEAST_FILLS or paid.sum() <= TIMES * modelled.sum():
        return False
    apart = paid - modelled * (paid.sum() / modelled.sum()) if modelled.sum() else np.zeros(1)
    return bool(paid.sum() - modelled.sum() > SIGMAS * math.sqrt(float(apart @ apart)))


def paid_fills(bodies: Iterable[Mapping[str, Any]], costs: Costs) -> tuple[PaidFill, ...]:
    """Return what each fill of an account's ledger cost, and was modelled to cost.

    Forced exits have a price of their own, and of a late trade nobody knows the open: they are left out.

    Parameters
    ----------
    bodies : iterable of mapping
        Of ``fill`` entries.
    costs : Costs
        Of the profile.
    """
    rate = Decimal(repr(costs.per_side))
    found = []
    for body in bodies:
        if body["reason"] != "rebalance" or body["cause"] == "FILL_LATE":
            continue
        units, reference, fee, slippage = (Decimal(body[name]) for name in ("quantity", "reference", "fee", "slippage"))
        value = EXACT.multiply(EXACT.abs(units), reference)
        found.append(PaidFill(EXACT.add(fee, slippage), EXACT.multiply(value, rate)))
    return tuple(found)


def told(tracking: Tracking) -> dict[str, Any]:
    """Return tracking as JSON."""
    return {
        "alarms": {name: day.isoformat() for name, day in tracking.alarms.items()},
        "paid": text(tracking.paid),
        "modelled": text(tracking.modelled),
        "fills": tracking.fills,
        "total": tracking.total,
        "lines": dict(tracking.lines),
    }
