"""Validation: every artifact of a run against every other, from its directory alone, for sleeves and portfolios.

Each check counts what it compared; a check that compared nothing has failed.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from assay.base.errors import AssayError
from assay.gates import portfolio, sleeve
from assay.gates.checks import Family, Tally
from assay.gates.eligibility import Refused
from assay.runs.documents import AtomicValidation, Check
from assay.runs.run import Run

SHOWN = 3
"""Faults that a verdict spells out."""


def validate(run: Run) -> AtomicValidation:
    """Validate a run directory.

    Parameters
    ----------
    run : Run
        ``<home>/runs/<run id>``, with all steps before its validation done; the sleeves of a portfolio lie beside it.

    Returns
    -------
    AtomicValidation
        One check for each family of codes; ``ok`` only if each is ok and compared something. A check that is ok has
        the code of the fault that it did not find, or ``_PASS`` or ``_PRESENT``.
    """
    checks = [_check(run, family) for family in (portfolio.CHECKS if run.kind == "meta" else sleeve.CHECKS)]
    try:
        name = run.manifest.profile.name
    except AssayError:
        name = "unknown"
    return AtomicValidation(run_id=run.folder.name, profile=name, ok=all(one.ok for one in checks), checks=checks)


def _check(run: Run, family: Family) -> Check:
    (bad, good, check), tally, code = family, Tally(), None
    try:
        code = check(run, tally)
    except AssayError as error:
        tally.faults.append(f"cannot be checked: {error.what} [{Path(error.where).name}]")
    except pl.exceptions.PolarsError as error:
        tally.faults.append(f"cannot be checked: a table lacks what is looked for ({type(error).__name__})")
    except Refused as refused:
        tally.faults.append(refused.reason)
        code = refused.code
    if not tally.checked and not tally.faults:
        tally.faults.append("nothing was checked")
    ok = not tally.faults
    return Check(code=good if ok else code or bad, ok=ok, checked=tally.checked, what=_words(tally.faults))


def _words(faults: list[str]) -> str:
    if not faults:
        return "ok"
    rest = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(faults[:SHOWN]) + rest


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
