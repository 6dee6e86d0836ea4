"""``assay run`` and ``assay flow``."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assay.base import files
from assay.base.domain import UTC, format_instant
from assay.base.errors import UsageError
from assay.cli import do_output as output
from assay.pipeline.flow import Foundation, lay_foundation, requests, resumption, run_all, summary, workforce, worst
from assay.report.live import watching
from assay.runs.home import Home, claim

if TYPE_CHECKING:
    from assay.executors import Executor
    from assay.pipeline.runner import Outcome
    from assay.runs.request import Request
    from assay.settings import Catalog
    from assay.settings.model import Execution


def run(
    home: Home,
    catalog: Catalog,
    names: Sequence[str],
    source: str,
    as_of: str | None,
    run_id: str | None,
    execution: Execution,
    as_json: bool,
) -> int:
    """Run one profile in this process, or several by an executor; return the exit code.

    One profile on an executor is run here, and the parts of its walk-forward there.
    """
    if run_id is not None and len(names) > 1:
        raise UsageError("--run-id names one run", hint="give one profile, or let the runs be named")
    _check(catalog, names)
    if len(names) == 1:
        with workforce(execution.use or "serial", execution.workers, home) as executor:
            foundation = lay_foundation(home, catalog, source, as_of, output.progress, executor)
            made = requests(home, catalog, foundation, names, run_id)
            outcomes = [_here(request, executor=executor) for request in made]
    else:
        with workforce(execution.use or "pool", at_once(execution, len(names)), home) as executor:
            _, outcomes = _parallel(home, catalog, names, source, as_of, executor)
    _print(outcomes, as_json)
    return worst(outcomes)


def resume(
    home: Home,
    catalog: Catalog,
    names: Sequence[str],
    source: str,
    as_of: str | None,
    run_id: str | None,
    first: str | None,
    as_json: bool,
) -> int:
    """Go on with a run that ended early, at the latest from the step that is asked for; return the exit code."""
    from assay.pipeline.tables import step

    if run_id is None:
        raise UsageError("which run?", hint="name it with --run-id")
    if len(names) > 1:
        raise UsageError("--resume goes on with one run", hint="give its profile alone")
    redo_from = None if first is None else step(first).number
    request = resumption(home, catalog, names[0], source, as_of, run_id, output.progress)
    outcomes = [_here(request, redo_from)]
    _print(outcomes, as_json)
    return worst(outcomes)


def flow(
    home: Home, catalog: Catalog, name: str, source: str, as_of: str | None, execution: Execution, as_json: bool
) -> int:
    """Run the profiles of a flow, keep its table and its joint report; return the exit code."""
    names = catalog.flow(name)
    _check(catalog, names)
    folder = claim(home.flows, name, None, dt.datetime.now(UTC))
    with workforce(execution.use or "pool", at_once(execution, len(names)), home) as executor:
        foundation, outcomes = _parallel(home, catalog, names, source, as_of, executor)
        report = _keep(folder, home, foundation, outcomes, executor)
    _print(outcomes, as_json, None if report is None else str(report))
    return worst(outcomes)


def _check(catalog: Catalog, names: Sequence[str]) -> None:
    for name in names:
        catalog.profile(name)


def _here(request: Request, redo_from: int | None = None, executor: Executor | None = None) -> Outcome:
    from assay.pipeline.runner import execute

    with watching([request.run]) as refresh:
        outcome = execute(request, refresh, redo_from=redo_from, executor=executor)
        refresh()
    return outcome


def _parallel(
    home: Home, catalog: Catalog, names: Sequence[str], source: str, as_of: str | None, executor: Executor
) -> tuple[Foundation, list[Outcome]]:
    foundation = lay_foundation(home, catalog, source, as_of, output.progress, executor)
    wanted = requests(home, catalog, foundation, names)
    with watching([request.run for request in wanted]) as refresh:
        outcomes = run_all(executor, wanted, refresh)
    return foundation, outcomes


def at_once(execution: Execution, runs: int) -> int | None:
    """Return how many workers are worth starting; None leaves it to a cluster that is there already."""
    if execution.workers is None and (execution.use or "").startswith("ray:"):
        return None
    return max(1, min(execution.workers or os.cpu_count() or 1, runs))


def _keep(
    folder: Path, home: Home, foundation: Foundation, outcomes: Sequence[Outcome], executor: Executor
) -> Path | None:
    """Write the flow's table, and the joint report over the runs that ended valid."""
    body = summary(outcomes) | {"source": foundation.source, "as_of": format_instant(foundation.as_of)}
    files.write_json(folder / "flow.json", body)
    files.write(folder / "runs.txt", (_verdicts(outcomes) + "\n").encode())
    valid = tuple(home.runs / outcome.run_id for outcome in outcomes if outcome.state == "VALID")
    if not valid:
        return None
    # The workers have loaded what both forms need, and write them side by side.
    text, page = executor.map(_rendered, [("md", valid), ("html", valid)])
    report = folder / "audit_report.md"
    files.write(report, text.encode())
    files.write(folder / "report.html", page.encode())
    return report


def _rendered(task: tuple[str, tuple[Path, ...]]) -> str:
    """Return the joint report over runs in one of its forms."""
    form, runs = task
    if form == "html":
        from assay.report.html import render_joint_page

        return render_joint_page(runs)
    from assay.report.audit_report import render_joint

    return render_joint(runs)


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
        output.line(
            f"to look at: {_near(str(Path(report).with_name('report.html')))}, and report.html beside each audit report"
        )
