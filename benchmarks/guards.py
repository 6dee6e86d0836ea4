"""Guards to choose among: which atoms are not held, and what the others may sum to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STEP = 10
PRESENT = "mean 60 (present)"
AFTERWARDS = ("mean 60 and growth 30 positive",)
"""Added when the first result had been seen; no part of the choice."""
BUDGETS = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0)


@dataclass(frozen=True)
class Atoms:
    """What a guard may look at: complete synthetic returns (rows, atoms), and costs per day of each atom."""

    rows: Floats
    costs: Floats

    def mean(self, days: int) -> Floats:
        """Mean return of the last days, net of costs."""
        return np.asarray(self.rows[-days:].mean(axis=0) - self.costs)

    def growth(self, days: int) -> Floats:
        """Mean logarithmic growth of the last days, net of costs; a loss of everything is very bad."""
        return np.asarray(np.log1p(np.maximum(self.rows[-days:], -0.999)).mean(axis=0) - self.costs)

    def t(self, days: int) -> Floats:
        """Net mean over its standard error."""
        window = self.rows[-days:]
        error = window.std(axis=0, ddof=1) / math.sqrt(len(window))
        return np.asarray(np.divide(self.mean(days), error, out=np.zeros(len(error)), where=error > 0.0))

    def weighted(self, half_life: float) -> Floats:
        """Exponentially weighted mean, net of costs."""
        weights = 0.5 ** (np.arange(len(self.rows))[::-1] / half_life)
        return np.asarray(weights @ self.rows / weights.sum() - self.costs)

    def fall(self, days: int) -> Floats:
        """Fall from the highest wealth of the last days, at most 0."""
        wealth = np.cumprod(1.0 + np.maximum(self.rows[-days:], -0.999), axis=0)
        return np.asarray(wealth[-1] / np.maximum(wealth.max(axis=0), 1.0) - 1.0)

    def before(self, days: int) -> Atoms:
        """The same some days earlier."""
        return Atoms(self.rows[: len(self.rows) - days], self.costs)


Verdict = Callable[[Atoms], Bools]
Budget = Callable[[Bools], float]


def keep_cash(bad: Bools) -> float:
    """The loss makers' share is cash, as now."""
    return 1.0 - float(bad.mean())


def share_all(bad: Bools) -> float:
    """The others get it."""
    return 0.0 if bad.all() else 1.0


def share_half(bad: Bools) -> float:
    """The others get half of it."""
    return 0.0 if bad.all() else 1.0 - float(bad.mean()) / 2.0


def squared(bad: Bools) -> float:
    """A pool of losers is held even less."""
    return (1.0 - float(bad.mean())) ** 2


def no_majority(bad: Bools) -> float:
    """All cash where most atoms lose."""
    return 0.0 if bad.mean() > 0.5 else 1.0 - float(bad.mean())


@dataclass(frozen=True)
class Rule:
    """A guard: which atoms are not held, and what the others may sum to."""

    name: str
    verdict: Verdict
    budget: Budget = keep_cash


def not_positive(values: Floats) -> Bools:
    return ~(values > 0.0)


def of_means(days: int) -> Verdict:
    return lambda atoms: not_positive(atoms.mean(days))


def of_growth(days: int) -> Verdict:
    return lambda atoms: not_positive(atoms.growth(days))


def votes(needed: int, *windows: int) -> Verdict:
    """Bad where at least so many windows have no positive mean."""
    return lambda atoms: np.sum([not_positive(atoms.mean(days)) for days in windows], axis=0) >= needed


def unsure(days: int, least: float) -> Verdict:
    return lambda atoms: ~(atoms.t(days) > least)


def weighted(half_life: float) -> Verdict:
    return lambda atoms: not_positive(atoms.weighted(half_life))


def fallen(days: int, depth: float) -> Verdict:
    return lambda atoms: atoms.fall(days) < -depth


def either(*verdicts: Verdict) -> Verdict:
    return lambda atoms: np.any([verdict(atoms) for verdict in verdicts], axis=0)


def both(*verdicts: Verdict) -> Verdict:
    return lambda atoms: np.all([verdict(atoms) for verdict in verdicts], axis=0)


def sticky(days: int, leave: float) -> Verdict:
    """Bad from a mean that is not positive until one above ``leave`` a day, looked at every ten rows."""

    def verdict(atoms: Atoms) -> Bools:
        bad = np.zeros(atoms.rows.shape[1], dtype=np.bool_)
        for ago in range((len(atoms.rows) - days) // STEP * STEP, -1, -STEP):
            mean = atoms.before(ago).mean(days)
            bad = ~(mean > np.where(bad, leave, 0.0))
        return bad

    return verdict


RULES = (
    Rule(PRESENT, of_means(60)),
    *(Rule(f"mean {days}", of_means(days)) for days in (10, 20, 30, 45, 90, 120, 180, 252)),
    *(Rule(f"growth {days}", of_growth(days)) for days in (20, 30, 45, 60, 90, 120)),
    Rule("means 20 and 60 positive", votes(1, 20, 60)),
    Rule("means 60 and 120 positive", votes(1, 60, 120)),
    Rule("means 30, 60 and 120 positive", votes(1, 30, 60, 120)),
    Rule("two of means 20, 60, 120 positive", votes(2, 20, 60, 120)),
    Rule("two of means 30, 60, 90 positive", votes(2, 30, 60, 90)),
    Rule("one of means 20, 60 positive", votes(2, 20, 60)),
    *(Rule(f"t of {days} above {least:g}", unsure(days, least)) for days in (60, 120) for least in (0.5, 1.0)),
    Rule("t of 60 above -0.5", unsure(60, -0.5)),
    *(Rule(f"weighted, half-life {days}", weighted(days)) for days in (10, 20, 30, 60)),
    *(Rule(f"fall of 60 days within {depth:.0%}", fallen(60, depth)) for depth in (0.15, 0.25, 0.35)),
    *(
        Rule(f"mean 60, fall within {depth:.0%}", either(of_means(60), fallen(60, depth)))
        for depth in (0.15, 0.25, 0.35)
    ),
    Rule("mean 60 or fall within 10%", both(of_means(60), fallen(60, 0.10))),
    Rule("sticky mean 60, back above 0.1 %", sticky(60, 0.001)),
    Rule("sticky mean 60, back above 0.2 %", sticky(60, 0.002)),
    Rule("mean 60, budget shared", of_means(60), share_all),
    Rule("mean 60, budget half shared", of_means(60), share_half),
    Rule("mean 60, budget squared", of_means(60), squared),
    Rule("mean 60, cash if most lose", of_means(60), no_majority),
    Rule("growth 60, budget half shared", of_growth(60), share_half),
    Rule("mean 20, budget half shared", of_means(20), share_half),
    Rule("growth 30, budget half shared", of_growth(30), share_half),
    Rule("mean 60 and growth 30 positive", either(of_means(60), of_growth(30))),
)


def nobody(atoms: Atoms) -> Bools:
    return np.zeros(atoms.rows.shape[1], dtype=np.bool_)


def of_budget(share: float) -> Budget:
    return lambda _bad: share


BLIND = tuple(Rule(f"off, budget {share:g}", nobody, of_budget(share)) for share in BUDGETS)
"""The unguarded books, with a part of the capital."""
