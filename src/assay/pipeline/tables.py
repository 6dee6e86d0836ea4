"""The steps of a sleeve and of a portfolio of sleeves, on one screen.

Names and numbers are public: a run is resumed, and a report is read, by either. Each row says which step it is, what
does it, and which files of the run it opens beside the manifest: no others, or the runner refuses it. What it writes
are the rows of :mod:`assay.runs.artifacts` that have its number. The ledger among the files means that the step judges
what was said before it, so that a resumed run repeats it after any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from assay.base.errors import UsageError
from assay.pipeline import portfolio_steps as portfolio
from assay.pipeline import sleeve_steps as sleeve
from assay.pipeline.context import Said, Step
from assay.runs import artifacts as a
from assay.runs.artifacts import Artifact, Kind, evidence, of
from assay.runs.request import Job, MetaRequest

Row = tuple[int, str, Callable[[Any], Iterator[Said]], tuple[Artifact[Any], ...]]
NO_STEPS = (a.LEDGER, a.STATUS, a.LOGS)
"""Files that the runner writes, and no step."""
SIGNED = (a.RETURNS, a.WINNERS, a.ENRICHED, a.SYNTHETIC)
"""What a sign test of a sleeve compares."""
NOT_REPORTED: dict[Kind, tuple[Artifact[Any], ...]] = {
    "run": (a.RETURNS, a.WALK_CANCELLED),
    "meta": (a.META_RETURNS, a.SIGN_PRE, a.FLATTENED, a.SIGN_POST, a.WALK_DECISIONS, a.WALK_WEIGHTS),
}
"""Evidence that validation reads, and no report."""


def _reported(kind: Kind) -> tuple[Artifact[Any], ...]:
    return (*(row for row in evidence(kind) if row not in NOT_REPORTED[kind]), a.VALIDATION)


def _steps(kind: Kind, *rows: Row) -> tuple[Step, ...]:
    return tuple(
        Step(
            number,
            name,
            work,
            reads=tuple(dict.fromkeys((a.MANIFEST, *reads))) if number > 1 else (),
            writes=tuple(row for row in of(kind) if row.step(kind) == number and row not in NO_STEPS),
            seals=number == len(rows),
        )
        for number, name, work, reads in rows
    )


# fmt: off
STEPS = _steps(
    "run",
    (1, "preflight", sleeve.preflight, ()),
    (2, "discovery", sleeve.discovery, ()),
    (3, "data_prep", sleeve.data_prep, (a.RAW,)),
    (4, "natural_selection", sleeve.natural_selection, (a.RAW, a.RETURNS)),
    (5, "enrichment", sleeve.enrichment, (a.RAW, a.RETURNS, a.WINNERS)),
    (6, "strategy_synthesis", sleeve.strategy_synthesis, (a.RAW, a.RETURNS, a.WINNERS, a.ENRICHED)),
    (7, "sign_test_pre_opt", sleeve.sign_test_pre_opt, SIGNED),
    (8, "risk_analysis", sleeve.risk_analysis, (a.RAW, a.SYNTHETIC)),
    (9, "optimization", sleeve.optimization, (a.RAW, a.SYNTHETIC)),
    (10, "weight_flattening", sleeve.weight_flattening, (a.RETURNS, a.SELECTION, a.RISK, a.OPTIMIZED)),
    (11, "sign_test_post_opt", sleeve.sign_test_post_opt, (*SIGNED, a.OPTIMIZED, a.FLATTENED)),
    (12, "walk_forward", sleeve.walk_forward, ()),
    (13, "capital_preservation", sleeve.capital_preservation, (a.RISK, a.OPTIMIZED, *sleeve.PRESERVED)),
    (14, "atomic_validation", sleeve.atomic_validation, evidence("run")),
    (15, "reporting", sleeve.reporting, _reported("run")),
)

META_STEPS = _steps(
    "meta",
    (1, "preflight", portfolio.preflight, ()),
    (2, "eligibility", portfolio.check_eligibility, ()),
    (3, "meta_returns", portfolio.meta_returns, (a.META_SLEEVES,)),
    (4, "sign_test_pre_opt", portfolio.sign_test_pre_opt, (a.META_SLEEVES, a.META_RETURNS)),
    (5, "optimization", portfolio.optimization, (a.META_SLEEVES, a.META_RETURNS)),
    (6, "weight_flattening", portfolio.weight_flattening, (a.META_SLEEVES, a.META_OPTIMIZED)),
    (7, "sign_test_post_opt", portfolio.sign_test_post_opt, (a.META_SLEEVES, a.META_CONTRIBUTORS, a.FLATTENED)),
    (8, "walk_forward", portfolio.walk_forward, (a.META_SLEEVES, a.META_RETURNS)),
    (9, "analysis", portfolio.analysis, (a.META_SLEEVES, a.META_RETURNS, a.META_OPTIMIZED, a.META_CONTRIBUTORS)),
    (10, "meta_validation", portfolio.meta_validation, evidence("meta")),
    (11, "reporting", portfolio.reporting, _reported("meta")),
)
# fmt: on


def steps_of(request: Job) -> tuple[Step, ...]:
    """Return the table of steps of this kind of run."""
    return META_STEPS if isinstance(request, MetaRequest) else STEPS


def step(key: str | int) -> Step:
    """Return a step of a sleeve by number or name.

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
