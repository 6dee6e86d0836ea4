"""``assay compare``: what changed between two runs, and which input caused it; read-only on both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.base import files
from assay.base.errors import AssayError, IntegrityError, UsageError
from assay.cli import do_output as output
from assay.report.attribution import Attribution, Inputs, Portfolio, attribute, portfolio, unattributed
from assay.report.compare import Comparison
from assay.report.compare import compare as compare_runs
from assay.report.comparison import to_markdown, to_text
from assay.report.view import RunView, open_run
from assay.runs.home import Home
from assay.runs.request import Request

if TYPE_CHECKING:
    from assay.lake.snapshot import Snapshot


def compare(home: Home, run: str, other: str, as_json: bool) -> None:
    """Compare two runs, keep the result as Markdown and as a page, and print it."""
    from assay.report.html import render_comparison_page

    folders = home.run(run), home.run(other)
    if folders[0] == folders[1]:
        raise UsageError("both names are of one run", where=run, hint="name two runs")
    views = open_run(folders[0]), open_run(folders[1])
    comparison = compare_runs(*views)
    attribution = attribution_of(home, views)
    report = home.reports / f"compare_{comparison.a}_{comparison.b}.md"
    page = report.with_name(f"compare_{comparison.a}_{comparison.b}.html")
    files.write(report, to_markdown(comparison, attribution).encode())
    files.write(page, render_comparison_page(comparison, attribution, views).encode())
    if as_json:
        output.as_json(as_plain(comparison, attribution) | {"report": str(report), "page": str(page)})
        return
    output.line(to_text(comparison, attribution))
    output.line()
    output.line(f"comparison: {report}")
    output.line(f"page: {page}")


def as_plain(comparison: Comparison, attribution: Attribution) -> dict[str, Any]:
    """Return both as one JSON value."""
    return files.as_json(asdict(comparison) | {"attribution": asdict(attribution)})


def attribution_of(home: Home, views: tuple[RunView, RunView]) -> Attribution:
    """Decide again on the pinned lake, one group of inputs at a time.

    Parameters
    ----------
    home : Home
        Holds the lake that both runs are pinned to.
    views : tuple of RunView
        The two runs.
    """
    from threadpoolctl import threadpool_limits

    try:
        a, b = (Request.of(home.path, view.folder) for view in views)
        if a.lake != b.lake:
            return unattributed(
                f"the runs read different lakes ({a.lake} and {b.lake}), and a head of one means nothing in the other"
            )
        snapshots = {request.head: _snapshot(request) for request in (a, b)}
    except AssayError as error:
        return unattributed(str(error))
    with threadpool_limits(1):  # as in a run: equal inputs give equal weights
        return attribute(_inputs(a), _inputs(b), _decider(snapshots), views)


def _inputs(request: Request) -> Inputs:
    return Inputs(request.profile, request.scanners, request.head, request.as_of)


def _snapshot(request: Request) -> Snapshot:
    """Pin a run's head, and make sure that it still names the versions that the run read."""
    from assay.lake.snapshot import pin

    folder: Path = request.lake_folder
    if not folder.is_dir():
        raise IntegrityError("the lake is not there", where=str(folder), hint="give the --home that holds it")
    snapshot = pin(folder, request.head)
    if snapshot.versions != dict(request.tables):
        raise IntegrityError(
            f"head {request.head} of the lake names other table versions than run {request.run.name}",
            where=str(folder),
            hint="give the --home in which the run was made",
        )
    return snapshot


def _decider(snapshots: dict[int, Snapshot]) -> Callable[[Inputs], Portfolio]:
    from assay.backtest.decision import decide
    from assay.base.domain import format_instant

    market = lru_cache(maxsize=4)(lambda head, as_of, days: snapshots[head].market(as_of, days))

    def again(inputs: Inputs) -> Portfolio:
        last = snapshots[inputs.head].last_close()
        if inputs.as_of > last:
            raise UsageError(f"the data of head {inputs.head} end at {format_instant(last)}")
        known = market(inputs.head, inputs.as_of, inputs.profile.sight_days)
        return portfolio(decide(known, inputs.profile, inputs.scanners), inputs.profile)

    return again
