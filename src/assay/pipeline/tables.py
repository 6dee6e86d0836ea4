"""The steps of a sleeve and of a portfolio of sleeves, on one screen.

Names and numbers are public: a run is resumed, and a report is read, by either. Each row says which step it is, what
does it, and which files of the run it opens beside the manifest: no others, or the runner refuses it. Its name and what
it writes stand in :mod:`assay.runs.artifacts` under its number. The ledger among the files means that the step judges
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
from assay.runs.artifacts import STEP_NAMES, Artifact, Kind, evidence, of
from assay.runs.request import Job, MetaRequest

Row = tuple[int, Callable[[Any], Iterator[Said]], tuple[Artifact[Any], ...]]
NO_STEPS = (a.LEDGER, a.STATUS, a.LOGS)
"""Files that the runner writes, and no step."""
SIGNED = (a.RETURNS, a.WINNERS, a.ENRICHED, a.SYNTHETIC)
"""What a sign test of a sleeve compares."""
NOT_REPORTED: dict[Kind, tuple[Artifact[Any], ...]] = {
    "run": (a.RETURNS, a.WALK_CANCELLED, a.WALK_PHASE),
    "meta": (a.META_RETURNS, a.WALK_CANCELLED),
}
"""Evidence that validation reads, and no report."""


def _reported(kind: Kind) -> tuple[Artifact[Any], ...]:
    return (*(row for row in evidence(kind) if row not in NOT_REPORTED[kind]), a.VALIDATION)


def _steps(kind: Kind, *rows: Row) -> tuple[Step, ...]:
    return tuple(
        Step(
            number,
            STEP_NAMES[kind][number - 1],
            work,
            reads=tuple(dict.fromkeys((a.MANIFEST, *reads))) if number > 1 else (),
            writes=tuple(row for row in of(kind) if row.step(kind) == number and row not in NO_STEPS),
            seals=number == len(rows),
        )
        for number, work, reads in rows
    )


# fmt: off
STEPS = _steps(
    "run",
    (1, sleeve.preflight, ()),
    (2, sleeve.discovery, ()),
    (3, sleeve.data_prep, (a.RAW,)),
    (4, sleeve.natural_selection, (a.RAW, a.RETURNS)),
    (5, sleeve.enrichment, (a.RAW, a.RETURNS, a.WINNERS)),
    (6, sleeve.strategy_synthesis, (a.RAW, a.RETURNS, a.WINNERS, a.ENRICHED)),
    (7, sleeve.sign_test_pre_opt, SIGNED),
    (8, sleeve.risk_analysis, (a.RAW, a.SYNTHETIC)),
    (9, sleeve.optimization, (a.RAW, a.SYNTHETIC)),
    (10, sleeve.weight_flattening, (a.RETURNS, a.SELECTION, a.RISK, a.OPTIMIZED)),
    (11, sleeve.sign_test_post_opt, (*SIGNED, a.OPTIMIZED, a.FLATTENED)),
    (12, sleeve.walk_forward, (a.FLATTENED,)),
    (13, sleeve.capital_preservation, (a.RISK, a.OPTIMIZED, *sleeve.PRESERVED)),
    (14, sleeve.atomic_validation, evidence("run")),
    (15, sleeve.reporting, _reported("run")),
)

META_STEPS = _steps(
    "meta",
    (1, portfolio.preflight, ()),
    (2, portfolio.check_eligibility, ()),
    (3, portfolio.meta_returns, (a.META_SLEEVES,)),
    (4, portfolio.sign_test_pre_opt, (a.META_SLEEVES, a.META_RETURNS)),
    (5, portfolio.optimization, (a.META_SLEEVES, a.META_RETURNS)),
    (6, portfolio.weight_flattening, (a.META_SLEEVES, a.META_OPTIMIZED)),
    (7, portfolio.sign_test_post_opt, (a.META_SLEEVES, a.META_CONTRIBUTORS, a.FLATTENED)),
    (8, portfolio.walk_forward, (a.META_SLEEVES, a.META_RETURNS, a.FLATTENED)),
    (9, portfolio.analysis, (*portfolio.ANALYSED, a.WALK_RETURNS, a.WALK_TRADES)),
    (10, portfolio.meta_validation, evidence("meta")),
    (11, portfolio.reporting, _reported("meta")),
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
