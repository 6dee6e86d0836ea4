"""``assay run`` and ``assay flow``."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assay import files
from assay.commands import output
from assay.domain import UTC, format_instant
from assay.errors import UsageError
from assay.flow import Foundation, lay_foundation, requests, run_all, summary, warm_pool, worst
from assay.layout import MANIFEST
from assay.report.live import watching
from assay.runs import Home, claim

if TYPE_CHECKING:
    from assay.context import Request
    from assay.profile import Catalog
    from assay.runner import Outcome


def run(
    home: Home,
    catalog: Catalog,
    names: Sequence[str],
    source: str,
    as_of: str | None,
    run_id: str | None,
    workers: int | None,
    as_json: bool,
) -> int:
    """Run one profile in this process, or several in a pool; return the exit code."""
    if run_id is not None and len(names) > 1:
        raise UsageError("--run-id names one run", hint="give one profile, or let the runs be named")
    _check(catalog, names)
    if len(names) == 1:
        foundation = lay_foundation(home, catalog, source, as_of, output.progress)
        outcomes = [_here(request) for request in requests(home, catalog, foundation, names, run_id)]
    else:
        _, outcomes = _parallel(home, catalog, names, source, as_of, workers)
    _print(outcomes, as_json)
    return worst(outcomes)


def resume(home: Home, run_id: str | None, first: str | None, as_json: bool) -> int:
    """Go on with a run that ended early, at the latest from the step that is asked for; return the exit code."""
    from dataclasses import replace

    from assay.context import Request
    from assay.pipeline import step

    if run_id is None:
        raise UsageError("which run?", hint="name it with --run-id")
    folder = home.run(run_id)
    if not (folder / MANIFEST).is_file():
        raise UsageError(
            "the run ended before it wrote its manifest", where=str(folder), hint="start it again under another name"
        )
    redo_from = None if first is None else step(first).number
    outcomes = [_here(replace(Request.of(home.path, folder), resume=True), redo_from)]
    _print(outcomes, as_json)
    return worst(outcomes)


def flow(
    home: Home, catalog: Catalog, name: str, source: str, as_of: str | None, workers: int | None, as_json: bool
) -> int:
    """Run the profiles of a flow, keep its table and its joint report; return the exit code."""
    names = catalog.flow(name)
    _check(catalog, names)
    folder = claim(home.flows, name, None, dt.datetime.now(UTC))
    foundation, outcomes = _parallel(home, catalog, names, source, as_of, workers)
    report = _keep(folder, home, foundation, outcomes)
    _print(outcomes, as_json, None if report is None else str(report))
    return worst(outcomes)


def _check(catalog: Catalog, names: Sequence[str]) -> None:
    for name in names:
        catalog.profile(name)


def _here(request: Request, redo_from: int | None = None) -> Outcome:
    from assay.runner import execute

    with watching([request.run]) as refresh:
        outcome = execute(request, refresh, redo_from=redo_from)
        refresh()
    return outcome


def _parallel(
    home: Home, catalog: Catalog, names: Sequence[str], source: str, as_of: str | None, workers: int | None
) -> tuple[Foundation, list[Outcome]]:
    count = max(1, min(workers or os.cpu_count() or 1, len(names)))
    with warm_pool(count) as pool:
        foundation = lay_foundation(home, catalog, source, as_of, output.progress)
        wanted = requests(home, catalog, foundation, names)
        with watching([request.run for request in wanted]) as refresh:
            outcomes = run_all(pool, wanted, refresh)
    return foundation, outcomes


def _keep(folder: Path, home: Home, foundation: Foundation, outcomes: Sequence[Outcome]) -> Path | None:
    """Write the flow's table, and the joint report over the runs that ended valid."""
    from assay.report.audit_report import render_joint

    body = summary(outcomes) | {"source": foundation.source, "as_of": format_instant(foundation.as_of)}
    files.write_json(folder / "flow.json", body)
    files.write(folder / "runs.txt", (_verdicts(outcomes) + "\n").encode())
    valid = [home.runs / outcome.run_id for outcome in outcomes if outcome.state == "VALID"]
    if not valid:
        return None
    report = folder / "audit_report.md"
    files.write(report, render_joint(valid).encode())
    return report


def _verdicts(outcomes: Sequence[Outcome]) -> str:
    head = ["profile", "run id", "verdict", "audit report"]
    return output.table(head, [[o.profile, o.run_id, o.verdict, _near(o.report)] for o in outcomes])


def _near(path: str | None) -> str:
    """Return a path relative to the working folder where that is shorter."""
    if path is None:
        return "-"
    return min(path, os.path.relpath(path), key=len)


def _print(outcomes: Sequence[Outcome], as_json: bool, report: str | None = None) -> None:
    if as_json:
        output.as_json(summary(outcomes) | ({} if report is None else {"report": report}))
        return
    output.line(_verdicts(outcomes))
    for outcome in outcomes:
        if outcome.error is not None:
            error = outcome.error
            output.line(f"{outcome.run_id}: {error['what']} [{error['where']}]; {error['hint']}")
    if report is not None:
        output.line(f"joint audit report: {_near(report)}")
