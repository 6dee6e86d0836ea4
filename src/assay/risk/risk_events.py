"""What changed a number on the way, as a light value: the hot path builds no documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = float | int | str | bool | None

CAP_RELAXED = "CAP_RELAXED"
BUDGET_LIMITED_BY_CAPS = "BUDGET_LIMITED_BY_CAPS"
LOSS_MAKERS_GUARDED = "LOSS_MAKERS_GUARDED"
ALL_LOSS_MAKERS = "ALL_LOSS_MAKERS"
NO_POSITIVE_EXPECTED_RETURN = "NO_POSITIVE_EXPECTED_RETURN"
NO_AGGRESSORS = "NO_AGGRESSORS"
SOLVER_FALLBACK = "SOLVER_FALLBACK"
SHRINKAGE_RAISED = "SHRINKAGE_RAISED"
CONDITION_NUMBER_HIGH = "CONDITION_NUMBER_HIGH"
ZERO_VARIANCE = "ZERO_VARIANCE"
REGIME_UNKNOWN = "REGIME_UNKNOWN"


@dataclass(frozen=True, slots=True)
class RiskEvent:
    """A named fact for the ledger: stable code, one sentence, the figures behind it."""

    code: str
    what: str
    values: Mapping[str, Scalar] = field(default_factory=dict)
