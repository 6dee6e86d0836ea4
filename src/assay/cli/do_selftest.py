"""``assay selftest``: tries to break runs on the user's own machine, and says what caught each attempt."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from assay.base.errors import Exit
from assay.cli import do_output as output
from assay.selftest.cases import SETTINGS, Result, attempt, cases
from assay.selftest.sandbox import Sandbox

SHOWN = 2
"""Codes that a row of the table spells out."""


def selftest(quick: bool, as_json: bool) -> int:
    """Make every attempt in a temporary home; return exit code 0 only if each was caught.

    Parameters
    ----------
    quick : bool
        Only the attempts that take a second or less.
    as_json : bool
        Print JSON for machines.
    """
    began = time.monotonic()
    chosen = [case for case in cases() if case.quick or not quick]
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="assay-selftest-") as folder:
        output.note("selftest: the embedded sample, one run of each side")
        sandbox = Sandbox.at(Path(folder) / "home", SETTINGS)
        for profile, run in sandbox.profiles.items():
            output.note(f"selftest: {profile} is sealed as {run.name}")
        for number, case in enumerate(chosen, start=1):
            output.note(f"selftest: {number}/{len(chosen)} {case.group}: {case.name}")
            results.append(attempt(case, sandbox))
    missed = [result for result in results if not result.caught]
    if as_json:
        body = {"ok": not missed, "attempts": len(results), "caught": len(results) - len(missed)}
        output.as_json(body | {"results": [result.as_dict() for result in results]})
    else:
        _print(results, time.monotonic() - began)
    return Exit.FAILED if missed or not results else Exit.OK


def _print(results: list[Result], seconds: float) -> None:
    rows = [[result.case.group, result.case.name, _verdict(result)] for result in results]
    output.line(output.table(["group", "attempt", "caught by"], rows))
    caught = sum(result.caught for result in results)
    output.line(f"{caught} of {len(results)} attempts caught, {seconds:.0f} s")


def _verdict(result: Result) -> str:
    told = [code for code in result.by if code in result.case.expected] if result.caught else list(result.by)
    words = ", ".join(told[:SHOWN])
    return words if result.caught else f"NOT CAUGHT{f' ({words})' if words else ''}"
