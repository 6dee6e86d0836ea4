"""The steps of sleeves and of portfolios of sleeves on one screen.

Names and numbers are public: a run is resumed, and a report is read, by either. A step reads the pinned lake and the
files in its ``reads``, and writes the files in its ``writes``; the runner records both by hash.
"""

from __future__ import annotations

from assay.base.errors import UsageError
from assay.pipeline import meta_steps as meta
from assay.pipeline import steps
from assay.pipeline.context import Step
from assay.runs.artifacts import (
    CLUSTERS,
    ENRICHED,
    FEATURES,
    FLATTENED,
    HEALTH,
    INDEX,
    MANIFEST,
    META_ALIGNMENT,
    META_ANALYSIS,
    META_CONTRIBUTORS,
    META_OPTIMIZED,
    META_RETURNS,
    META_SLEEVES,
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
from assay.runs.request import Job, MetaRequest

SELECTED = (FEATURES, WINNERS, SELECTION)
REPORTED = (TRIALS, REPORT, PAGE, INDEX)

# fmt: off
STEPS = (
    Step(1, "preflight", steps.preflight, (), (MANIFEST,)),
    Step(2, "discovery", steps.discovery, (MANIFEST,), (RAW,)),
    Step(3, "data_prep", steps.data_prep, (MANIFEST, RAW), (RETURNS, HEALTH)),
    Step(4, "natural_selection", steps.natural_selection, (MANIFEST, RAW, RETURNS, HEALTH), SELECTED),
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
    Step(15, "reporting", steps.reporting, (VALIDATION, WALK), REPORTED, seals=True),
)

META_STEPS = (
    Step(1, "preflight", meta.preflight, (), (MANIFEST,)),
    Step(2, "eligibility", meta.check_eligibility, (MANIFEST,), (META_SLEEVES,)),
    Step(3, "meta_returns", meta.meta_returns, (MANIFEST, META_SLEEVES), (META_RETURNS, META_ALIGNMENT)),
    Step(4, "sign_test_pre_opt", meta.sign_test_pre_opt, (MANIFEST, META_SLEEVES, META_RETURNS), (SIGN_PRE,)),
    Step(5, "optimization", meta.optimization, (MANIFEST, META_SLEEVES, META_RETURNS), (META_OPTIMIZED,)),
    Step(6, "weight_flattening", meta.weight_flattening, (META_OPTIMIZED,), (META_CONTRIBUTORS, FLATTENED)),
    Step(7, "sign_test_post_opt", meta.sign_test_post_opt, (META_SLEEVES, META_CONTRIBUTORS, FLATTENED), (SIGN_POST,)),
    Step(8, "walk_forward", meta.walk_forward, (META_SLEEVES, META_RETURNS), (WALK,)),
    Step(9, "analysis", meta.analysis, (META_RETURNS, META_OPTIMIZED, META_CONTRIBUTORS), (META_ANALYSIS,)),
    Step(10, "meta_validation", meta.meta_validation, (FLATTENED, META_CONTRIBUTORS, META_ANALYSIS), (VALIDATION,)),
    Step(11, "reporting", meta.reporting, (VALIDATION, WALK), REPORTED, seals=True),
)
# fmt: on


def steps_of(request: Job) -> tuple[Step, ...]:
    """Return the table of steps of this kind of run."""
    return META_STEPS if isinstance(request, MetaRequest) else STEPS


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
