"""The fifteen steps on one screen.

Names and numbers are public: a run is resumed, and a report is read, by either. A step reads the pinned lake and the
files in its ``reads``, and writes the files in its ``writes``; the runner records both by hash.
"""

from __future__ import annotations

from assay.base.errors import UsageError
from assay.pipeline import steps
from assay.pipeline.request import Step
from assay.runs.artifacts import (
    CLUSTERS,
    ENRICHED,
    FEATURES,
    FLATTENED,
    HEALTH,
    INDEX,
    MANIFEST,
    OPTIMIZED,
    PAGE,
    PRESERVATION,
    RAW,
    REPORT,
    RETURNS,
    RISK,
    SELECTION,
    SIGN_POST,
    SIGN_PRE,
    SYNTHETIC,
    TRIALS,
    VALIDATION,
    WALK,
    WINNERS,
)

__all__ = ["STEPS", "Step", "step"]

CHOSEN = (FEATURES, WINNERS, SELECTION)

# fmt: off
STEPS = (
    Step(1, "preflight", steps.preflight, (), (MANIFEST,)),
    Step(2, "discovery", steps.discovery, (MANIFEST,), (RAW,)),
    Step(3, "data_prep", steps.data_prep, (MANIFEST, RAW), (RETURNS, HEALTH)),
    Step(4, "natural_selection", steps.natural_selection, (MANIFEST, RAW, RETURNS, HEALTH), CHOSEN),
    Step(5, "enrichment", steps.enrichment, (MANIFEST, WINNERS, RETURNS), (ENRICHED,)),
    Step(6, "strategy_synthesis", steps.strategy_synthesis, (MANIFEST, ENRICHED, WINNERS, RETURNS), (SYNTHETIC,)),
    Step(7, "sign_test_pre_opt", steps.sign_test_pre_opt, (RETURNS, SYNTHETIC, WINNERS), (SIGN_PRE,)),
    Step(8, "risk_analysis", steps.risk_analysis, (MANIFEST, SYNTHETIC, WINNERS), (CLUSTERS, RISK)),
    Step(9, "optimization", steps.optimization, (MANIFEST, SYNTHETIC, WINNERS, CLUSTERS), (OPTIMIZED,)),
    Step(10, "weight_flattening", steps.weight_flattening, (OPTIMIZED, RETURNS, SELECTION, RISK), (FLATTENED,)),
    Step(11, "sign_test_post_opt", steps.sign_test_post_opt, (RETURNS, SYNTHETIC, OPTIMIZED, FLATTENED), (SIGN_POST,)),
    Step(12, "walk_forward", steps.walk_forward, (MANIFEST,), (WALK,)),
    Step(13, "capital_preservation", steps.capital_preservation, (MANIFEST, OPTIMIZED, WALK), (PRESERVATION,)),
    Step(14, "atomic_validation", steps.atomic_validation, (FLATTENED, SIGN_PRE, SIGN_POST), (VALIDATION,)),
    Step(15, "reporting", steps.reporting, (VALIDATION, WALK), (TRIALS, REPORT, PAGE, INDEX), seals=True),
)
# fmt: on


def step(key: str | int) -> Step:
    """Return a step by number or name.

    Raises
    ------
    UsageError
        If there is none.

    Examples
    --------
    >>> step("4") is step("natural_selection")
    True
    """
    for candidate in STEPS:
        if key in (candidate.number, str(candidate.number), candidate.name):
            return candidate
    raise UsageError(f"no step {key!r}", hint=f"1 to 15, or one of {', '.join(step.name for step in STEPS)}")
