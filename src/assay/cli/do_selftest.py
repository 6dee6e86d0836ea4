"""``assay selftest``: tries to break runs on the user's own machine, and says what caught each attempt."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from assay.base.errors import Exit
from assay.cli import do_output as output
from assay.selftest.attempts import SETTINGS, Result, attempts, make
from assay.selftest.workshop import Workshop

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
    chosen = [attempt for attempt in attempts() if attempt.quick or not quick]
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="assay-selftest-") as folder:
        output.note("selftest: the embedded sample, one run of each side")
        workshop = Workshop.at(Path(folder) / "home", SETTINGS)
        for profile, run in workshop.profiles.items():
            output.note(f"selftest: {profile} is sealed as {run.name}")
        for number, attempt in enumerate(chosen, start=1):
            output.note(f"selftest: {number}/{len(chosen)} {attempt.group}: {attempt.name}")
            results.append(make(attempt, workshop))
    missed = [result for result in results if not result.caught]
    if as_json:
        body = {"ok": not missed, "attempts": len(results), "caught": len(results) - len(missed)}
        output.as_json(body | {"results": [result.as_dict() for result in results]})
    else:
        _print(results, time.monotonic() - began)
    return Exit.FAILED if missed or not results else Exit.OK


def _print(results: list[Result], seconds: float) -> None:
    rows = [[result.attempt.group, result.attempt.name, _verdict(result)] for result in results]
    output.line(output.table(["group", "attempt", "caught by"], rows))
    caught = sum(result.caught for result in results)
    output.line(f"{caught} of {len(results)} attempts caught, {seconds:.0f} s")


def _verdict(result: Result) -> str:
    told = [code for code in result.by if code in result.attempt.expected] if result.caught else list(result.by)
    words = ", ".join(told[:SHOWN])
    return words if result.caught else f"NOT CAUGHT{f' ({words})' if words else ''}"
