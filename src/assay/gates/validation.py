"""Atomic validation: every artifact of a run against every other, from the run directory alone.

Each check counts what it compared; a check that compared nothing has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from assay.base.errors import AssayError, IntegrityError
from assay.gates import consistency, papers
from assay.gates import weights_check as allocation
from assay.gates.papers import PinReader
from assay.gates.sign_test import StageName, run_sign_test
from assay.runs import artifacts as layout
from assay.runs.documents import AtomicValidation, Check, SignTest
from assay.runs.run import Evidence, Tally

SHOWN = 3
"""Faults that a verdict spells out."""

CheckFunction = Callable[[Evidence, Tally], str | None]
"""Fills a tally; may return the code of the fault where a family has several."""


def validate(run_dir: Path, readable: PinReader | None = None) -> AtomicValidation:
    """Validate a run directory.

    Parameters
    ----------
    run_dir : Path
        ``<home>/runs/<run id>``, with steps 1 to 13 done.
    readable : callable, optional
        Tries the pinned head of the lake; by default ``heads.jsonl`` must name it with the manifest's table versions.

    Returns
    -------
    AtomicValidation
        One check for each family of codes; ``ok`` only if each is ok and compared something. A check that is ok has
        the code of the fault that it did not find, or ``_PASS`` or ``_PRESENT``.
    """
    evidence = Evidence(run_dir)
    checks = [_run(evidence, *family) for family in _families(readable or papers.head_is_listed)]
    try:
        name = evidence.manifest.profile.name
    except AssayError:
        name = "unknown"
    return AtomicValidation(run_id=run_dir.name, profile=name, ok=all(check.ok for check in checks), checks=checks)


def _families(readable: PinReader) -> Iterator[tuple[str, str, CheckFunction]]:
    """Yield the code of failure, the code of success and the function of each check, in order."""

    def same(code: str, check: Callable[[Evidence, Tally], None]) -> tuple[str, str, CheckFunction]:
        return code, code, check

    yield same("ATOMIC_MISSING_ARTIFACTS", papers.check_artifacts)
    yield same("ATOMIC_LEDGER_BROKEN", papers.check_ledger)
    yield same("ATOMIC_HASH_MISMATCH", papers.check_hashes)
    yield same("ATOMIC_NOT_REPLAYABLE", partial(papers.check_replayable, readable=readable))
    yield same("ATOMIC_RETURNS_PARSE", consistency.check_returns_parse)
    yield same("ATOMIC_EMPTY_RETURNS", consistency.check_returns_hold)
    yield same("ATOMIC_CALENDAR", consistency.check_calendar)
    yield same("ATOMIC_FUNNEL", consistency.check_funnel)
    yield "ATOMIC_SIGN_TEST_PRE_FAIL", "ATOMIC_SIGN_TEST_PRE_PASS", _check_sign_pre
    yield "ATOMIC_SIGN_TEST_POST_FAIL", "ATOMIC_SIGN_TEST_POST_PASS", _check_sign_post
    yield same("ATOMIC_OPT_PARSE", allocation.check_optimized)
    yield same("ATOMIC_PROFILE_MISSING", allocation.check_profiles)
    yield "ATOMIC_EMPTY_HRP", "ATOMIC_HRP_PRESENT", allocation.check_hrp
    yield same("ATOMIC_FLATTEN_PARSE", allocation.check_flattened)
    yield "ATOMIC_EMPTY_FLATTENED", "ATOMIC_FLATTENED_PRESENT", allocation.check_holdings
    yield same("ATOMIC_WEIGHT_SUM", allocation.check_sums)
    yield same("ATOMIC_CAP_BREACH", allocation.check_caps)
    yield same("ATOMIC_DIRECTION_MISMATCH", allocation.check_directions)
    yield same("ATOMIC_CROSS_ARTIFACT", allocation.check_identity)


def _run(evidence: Evidence, bad: str, good: str, check: CheckFunction) -> Check:
    tally, code = Tally(), None
    try:
        code = check(evidence, tally)
    except AssayError as error:
        tally.faults.append(f"cannot be checked: {error.what} [{Path(error.where).name}]")
    if not tally.checked and not tally.faults:
        tally.faults.append("nothing was checked")
    ok = not tally.faults
    return Check(code=good if ok else code or bad, ok=ok, checked=tally.checked, what=_words(tally.faults))


def _words(faults: list[str]) -> str:
    if not faults:
        return "ok"
    rest = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(faults[:SHOWN]) + rest


def _check_sign_pre(evidence: Evidence, tally: Tally) -> str | None:
    return _sign(evidence, tally, "pre_opt", layout.SIGN_PRE, "ATOMIC_SIGN_TEST_PRE")


def _check_sign_post(evidence: Evidence, tally: Tally) -> str | None:
    return _sign(evidence, tally, "post_opt", layout.SIGN_POST, "ATOMIC_SIGN_TEST_POST")


def _sign(evidence: Evidence, tally: Tally, stage: StageName, name: str, code: str) -> str | None:
    """Check the recorded test, and that the same test says the same now."""
    if not (evidence.run_dir / name).is_file():
        tally.faults.append(f"{name} is missing")
        return f"{code}_MISSING"
    try:
        recorded = evidence.document(SignTest, name)
    except IntegrityError as error:
        tally.faults.append(error.what)
        return f"{code}_PARSE"
    tally.checked += recorded.values_compared + recorded.weights_compared
    tally.expect(recorded.ok and recorded.stage == stage and not recorded.violations, "the test did not pass")
    tally.expect(recorded.values_compared > 0 or evidence.stands_aside, "the test compared nothing")
    again = run_sign_test(evidence.run_dir, stage, evidence.manifest.profile.direction, evidence.stands_aside)
    tally.expect(again == recorded, "the same test gives another result now")
    return None


def to_markdown(validation: AtomicValidation) -> str:
    r"""Write a validation for people.

    >>> check = Check(code="ATOMIC_FUNNEL", ok=False, checked=3, what="a | b")
    >>> print(to_markdown(AtomicValidation(run_id="r", profile="p", ok=False, checks=[check])))
    # Atomic validation of r
    <BLANKLINE>
    Profile `p`: **INVALID**, 0 of 1 checks ok, 3 comparisons.
    <BLANKLINE>
    | check | verdict | checked | what |
    |---|---|---:|---|
    | `ATOMIC_FUNNEL` | **FAIL** | 3 | a \| b |
    <BLANKLINE>
    """
    good = sum(check.ok for check in validation.checks)
    compared = sum(check.checked for check in validation.checks)
    rows = [
        f"| `{check.code}` | {'ok' if check.ok else '**FAIL**'} | {check.checked:,} | {_cell(check.what)} |"
        for check in validation.checks
    ]
    verdict = "VALID" if validation.ok else "INVALID"
    lines = [
        f"# Atomic validation of {_cell(validation.run_id)}",
        "",
        f"Profile `{validation.profile}`: **{verdict}**, {good} of {len(rows)} checks ok, {compared:,} comparisons.",
        "",
        "| check | verdict | checked | what |",
        "|---|---|---:|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Escape what would break a table or become markup."""
    text = text.replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
