"""Weights of sleeves: the risk room's optimizers, within bounds that are constraints of their problems.

A sleeve that is often in cash looks calm, and would get the capital that it does not use. So its returns are weighed
per unit of gross: each series over its mean gross in the days that are read.

One function, :func:`decide`, takes the live decision and every one of the walk-forward, from the same number of days.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from assay.base.constants import Bools, Floats, Scalar
from assay.gates.eligibility import TOO_FEW_SLEEVES, enough
from assay.gates.portfolio import bounds
from assay.meta.alignment import SLEEVE_IN_CASH, in_use
from assay.risk.allocate import build_optimizer
from assay.risk.caps import Polytope
from assay.risk.optimizers import Allocation, Estimates
from assay.risk.regime import RegimeName
from assay.risk.solve import CLOSED_FORM
from assay.runs.documents import Event, MetaProfileWeights, SleeveDirection, SleeveWeight
from assay.settings.model import MetaProfile, RiskProfile

BOUNDS_RELAXED = "META_BOUNDS_RELAXED"


@dataclass(frozen=True)
class SleeveDecision:
    """Weights of sleeves under one risk profile.

    Attributes
    ----------
    weights : (n_sleeves,) array
        0 for a sleeve in cash.
    gross : (n_sleeves,) array
        Mean gross of each sleeve in the days that were read.
    on : (n_sleeves,) bool array
        Sleeves that take part.
    lower, upper : float
        Bounds of each sleeve that is on.
    allocation : Allocation or None
        What the optimizer gave for those; None where too few take part, and all is cash.
    estimates : Estimates or None
        Of those.
    events : tuple of Event
        Sleeves in cash, relaxed bounds, then the optimizer's own.
    """

    weights: Floats
    gross: Floats
    on: Bools
    lower: float
    upper: float
    allocation: Allocation | None
    estimates: Estimates | None
    events: tuple[Event, ...]

    @property
    def cash(self) -> float:
        """What is given to no sleeve."""
        return max(0.0, 1.0 - math.fsum(self.weights))


def decide(
    returns: Floats,
    gross: Floats,
    sleeves: Sequence[str],
    name: str,
    profile: MetaProfile,
    regime: RegimeName = "NORMAL",
    *,
    single: bool = False,
) -> SleeveDecision:
    """Weigh sleeves by one risk profile.

    Parameters
    ----------
    returns, gross : (n_days, n_sleeves) arrays
        Simple daily returns that are known, and exposure over NAV at each close; the last ``profile.train`` are read.
    sleeves : sequence of str
        Their names.
    name : str
        Risk profile.
    profile : MetaProfile
    regime : str
        Decides the barbell's shares.
    single : bool
        A single sleeve that takes part is held; else all is cash then, unless the profile allows one.

    Raises
    ------
    SolverError
        When the fallback chain is exhausted.

    Examples
    --------
    >>> calm, wild = np.tile([0.01, -0.01], 30), np.repeat([0.02, -0.02], 30)
    >>> returns, profile = np.column_stack([calm, wild]), MetaProfile(name="m", sleeves=("a", "b"))
    >>> made = decide(returns, np.ones((60, 2)), "ab", "hrp", profile)
    >>> made.weights.round(2).tolist(), made.lower, made.upper
    ([0.79, 0.21], 0.05, 0.95)

    The same sleeve half in cash is weighed as what it holds:

    >>> decide(returns * [0.5, 1.0], np.tile([0.5, 1.0], (60, 1)), "ab", "hrp", profile).weights.round(2).tolist()
    [0.79, 0.21]
    """
    known, invested = returns[-profile.train :], gross[-profile.train :].mean(axis=0)
    on = in_use(known, gross[-profile.train :], profile.min_gross)
    events = left_out(known, gross[-profile.train :], sleeves, profile.min_gross)
    n_sleeves = int(on.sum())
    if not (enough(profile, n_sleeves) or (single and n_sleeves)):
        what = f"{n_sleeves} of {len(on)} sleeves take part, which is no portfolio: all is cash"
        events += (Event(code=TOO_FEW_SLEEVES, what=what, values={"sleeves": n_sleeves}),)
        return SleeveDecision(0.0 * invested, invested, on & False, *bounds(1, profile), None, None, events)
    known = np.ascontiguousarray(known[:, on] / invested[on])
    settings = profile.risk
    estimates = Estimates.of(
        known,
        _antifragility(known) if name == "barbell" else None,
        names=[sleeve for sleeve, moves in zip(sleeves, on, strict=True) if moves],
        max_condition=settings.max_condition,
        step=settings.shrinkage_step,
        most=settings.shrinkage_max,
    )
    lower, upper = bounds(n_sleeves, profile)
    if lower < profile.min_weight:
        values: dict[str, Scalar] = {"from": profile.min_weight, "to": lower, "sleeves": n_sleeves}
        events += (Event(code=BOUNDS_RELAXED, what="the floors of so many sleeves exceed the budget", values=values),)
    polytope = replace(Polytope.build(n_sleeves, atom_cap=upper), lower=np.full(n_sleeves, lower))
    # Capital is preserved in the sleeves; here, where no mean is positive, the least variance is held, with an event.
    optimizer = build_optimizer(cast("RiskProfile", name), settings, regime, guarded=False)
    allocation = optimizer.allocate(estimates, polytope)
    weights = np.zeros(len(on))
    weights[on] = allocation.weights
    return SleeveDecision(weights, invested, on, lower, upper, allocation, estimates, events + allocation.events)


def left_out(known: Floats, gross: Floats, sleeves: Sequence[str], least: float) -> tuple[Event, ...]:
    """Name the sleeves that days of (n_days, n_sleeves) returns and gross leave out, and why."""
    on, invested = in_use(known, gross, least), gross.mean(axis=0)
    return tuple(
        Event(
            code=SLEEVE_IN_CASH,
            what=f"{sleeve} is left out: "
            + ("its returns do not vary" if mean >= least else f"its mean gross {mean:.1%} is below {least:.1%}"),
            values={"sleeve": sleeve, "mean_gross": float(mean)},
        )
        for sleeve, mean, moves in zip(sleeves, invested, on, strict=True)
        if not moves
    )


def _antifragility(returns: Floats) -> Floats:
    from assay.alpha.features import features  # only the barbell asks

    return features(np.ascontiguousarray(returns)).antifragility


def document(
    decision: SleeveDecision, sleeves: Sequence[str], directions: Sequence[SleeveDirection], regime: str
) -> MetaProfileWeights:
    """Write one risk profile of ``meta_optimized.json``: every sleeve, in the profile's order."""
    return MetaProfileWeights(
        sleeves=[
            SleeveWeight(Sleeve=sleeve, Direction=direction, Weight=float(weight))
            for sleeve, direction, weight in zip(sleeves, directions, decision.weights, strict=True)
        ],
        cash=decision.cash,
        lower=decision.lower,
        upper=decision.upper,
        in_cash=[sleeve for sleeve, on in zip(sleeves, decision.on, strict=True) if not on],
        mean_gross=dict(zip(sleeves, decision.gross.tolist(), strict=True)),
        regime=regime,
        solver=decision.allocation.solver if decision.allocation else CLOSED_FORM,
        events=list(decision.events),
    )
