"""The steps of a meta-portfolio on one screen; names and numbers are public, as a sleeve's are."""

from __future__ import annotations

from assay.pipeline import meta_steps as steps
from assay.pipeline.request import Step
from assay.runs.artifacts import (
    FLATTENED,
    INDEX,
    MANIFEST,
    META_ALIGNMENT,
    META_ANALYSIS,
    META_CONTRIBUTORS,
    META_OPTIMIZED,
    META_RETURNS,
    META_SLEEVES,
    PAGE,
    REPORT,
    SIGN_POST,
    SIGN_PRE,
    TRIALS,
    VALIDATION,
    WALK,
)

# fmt: off
STEPS = (
    Step(1, "preflight", steps.preflight, (), (MANIFEST,)),
    Step(2, "eligibility", steps.check_eligibility, (MANIFEST,), (META_SLEEVES,)),
    Step(3, "meta_returns", steps.meta_returns, (MANIFEST, META_SLEEVES), (META_RETURNS, META_ALIGNMENT)),
    Step(4, "sign_test_pre_opt", steps.sign_test_pre_opt, (MANIFEST, META_SLEEVES, META_RETURNS), (SIGN_PRE,)),
    Step(5, "optimization", steps.optimization, (MANIFEST, META_SLEEVES, META_RETURNS), (META_OPTIMIZED,)),
    Step(6, "weight_flattening", steps.weight_flattening, (META_OPTIMIZED,), (META_CONTRIBUTORS, FLATTENED)),
    Step(7, "sign_test_post_opt", steps.sign_test_post_opt, (META_SLEEVES, META_CONTRIBUTORS, FLATTENED), (SIGN_POST,)),
    Step(8, "walk_forward", steps.walk_forward, (META_SLEEVES, META_RETURNS), (WALK,)),
    Step(9, "analysis", steps.analysis, (META_RETURNS, META_OPTIMIZED, META_CONTRIBUTORS), (META_ANALYSIS,)),
    Step(10, "meta_validation", steps.meta_validation, (FLATTENED, META_CONTRIBUTORS, META_ANALYSIS), (VALIDATION,)),
)
# fmt: on


def with_report(reporting: steps.Reporting) -> tuple[Step, ...]:
    """Return all steps; the report is handed in by the room above."""
    last = Step(11, "reporting", reporting, (VALIDATION, WALK), (TRIALS, REPORT, PAGE, INDEX), seals=True)
    return (*STEPS, last)
