"""Weights of sleeves: the risk room's optimizers, within bounds that are constraints of their problems.

One function, :func:`decide`, takes the live decision and every one of the walk-forward, from the same number of days.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from assay.base.constants import Bools, Floats, Scalar
from assay.gates.portfolio import bounds
from assay.meta.alignment import SLEEVE_IN_CASH, varying
from assay.risk.allocate import build_optimizer
from assay.risk.caps import Polytope
from assay.risk.optimizers import Allocation, Estimates
from assay.risk.regime import RegimeName
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
    on : (n_sleeves,) bool array
        Sleeves that vary.
    lower, upper : float
        Bounds of each sleeve that is on.
    allocation : Allocation
        What the optimizer gave for those.
    estimates : Estimates
        Of those.
    events : tuple of Event
        Sleeves in cash, relaxed bounds, then the optimizer's own.
    """

    weights: Floats
    on: Bools
    lower: float
    upper: float
    allocation: Allocation
    estimates: Estimates
    events: tuple[Event, ...]

    @property
    def cash(self) -> float:
        """What is given to no sleeve."""
        return max(0.0, 1.0 - math.fsum(self.weights))


def decide(
    returns: Floats, sleeves: Sequence[str], name: str, profile: MetaProfile, regime: RegimeName = "NORMAL"
) -> SleeveDecision | None:
    """Weigh sleeves by one risk profile.

    Parameters
    ----------
    returns : (n_days, n_sleeves) array
        Simple daily returns that are known; the last ``profile.train`` are read.
    sleeves : sequence of str
        Their names.
    name : str
        Risk profile.
    profile : MetaProfile
    regime : str
        Decides the barbell's shares.

    Returns
    -------
    SleeveDecision or None
        None where no sleeve varies. A single one gets the whole budget: whether that is a portfolio is the caller's to
        say.

    Raises
    ------
    SolverError
        When the fallback chain is exhausted.

    Examples
    --------
    >>> calm, wild = np.tile([0.01, -0.01], 30), np.repeat([0.02, -0.02], 30)
    >>> made = decide(np.column_stack([calm, wild]), "ab", "hrp", MetaProfile(name="m", sleeves=("a", "b")))
    >>> made.weights.round(2).tolist(), made.lower, made.upper
    ([0.79, 0.21], 0.05, 0.95)
    """
    known = returns[-profile.train :]
    on = varying(known)
    idle = [sleeve for sleeve, moves in zip(sleeves, on, strict=True) if not moves]
    events = tuple(
        Event(code=SLEEVE_IN_CASH, what=f"{sleeve} has no variance and is left out", values={"sleeve": sleeve})
        for sleeve in idle
    )
    if not on.any():
        return None
    settings = profile.risk
    estimates = Estimates.of(
        np.ascontiguousarray(known[:, on]),
        _antifragility(known[:, on]) if name == "barbell" else None,
        names=[sleeve for sleeve, moves in zip(sleeves, on, strict=True) if moves],
        max_condition=settings.max_condition,
        step=settings.shrinkage_step,
        most=settings.shrinkage_max,
    )
    n_sleeves = int(on.sum())
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
    return SleeveDecision(weights, on, lower, upper, allocation, estimates, events + allocation.events)


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
        regime=regime,
        solver=decision.allocation.solver,
        events=list(decision.events),
    )
