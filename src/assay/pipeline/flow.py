"""From a command to finished runs: phase 1 with one writer, phase 2 with many readers on one warm executor.

Imported by spawned workers before their first task, so nothing heavy is imported at the top.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from assay.base.domain import UTC, format_instant
from assay.base.errors import DataError, UsageError
from assay.base.files import read_json, sha256_file, write, write_json
from assay.runs.artifacts import LEDGER, MANIFEST
from assay.runs.home import Home, RunResult, Status, check_free, claim
from assay.settings.model import SCAN_DAYS

if TYPE_CHECKING:
    from assay.executors import Executor
    from assay.lake.ingest import Progress
    from assay.lake.lake import Lake
    from assay.lake.snapshot import Snapshot
    from assay.market.panel import Market
    from assay.runs.documents import Superset
    from assay.runs.request import Job, Request
    from assay.settings import Catalog
    from assay.settings.model import Execution, Profile
    from assay.sources.acceptance import Acceptance

WARM = ("assay.pipeline.runner", "assay.report.ready")
"""Modules that load all that a run needs."""

LOCK_PAUSE = 0.5
"""Seconds between two looks at a run that another worker is still at."""

Watch = Callable[[], None]
J = TypeVar("J", bound="Job")


@dataclass(frozen=True)
class Foundation:
    """What phase 1 leaves for runs: a pinned head, an instant and the superset at that instant.

    Attributes
    ----------
    superset, path : Superset, Path
        All scanners' candidates and where they are written.
    """

    source: str
    lake: Lake
    snapshot: Snapshot
    as_of: dt.datetime
    superset: Superset
    path: Path


def lay_foundation(
    home: Home,
    catalog: Catalog,
    source: str,
    as_of: str | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    accept: Acceptance | None = None,
) -> Foundation:
    """Pin the last state of a source's lake, and make sure that the superset of the instant exists.

    A file is ingested first, if it has changed; shards of a large one by the executor. A live source is not asked: runs
    read what ``assay ingest`` last brought, so that they need no network and do not depend on when they are started.
    Where the settings ask for another edition of the rating rules than the lake was rated by, it is rated anew.

    Raises
    ------
    SourceError
        If the source is missing or unreadable.
    UsageError
        If the date lies outside the data.
    """
    from assay.lake.snapshot import resolve_as_of

    lake, snapshot = brought_up(home, catalog, source, progress, executor)
    return stand_on(catalog, source, lake, snapshot, resolve_as_of(snapshot, as_of), accept)


def brought_up(
    home: Home, catalog: Catalog, source: str, progress: Progress | None = None, executor: Executor | None = None
) -> tuple[Lake, Snapshot]:
    """Return a source's lake and its last state, as :func:`lay_foundation` pins it."""
    from assay.lake.ingest import ingest, rate_anew
    from assay.lake.lake import Lake
    from assay.sources import is_live
    from assay.sources import opened as opened_source

    opened = opened_source(source, catalog, for_runs=True)
    lake = Lake(home.path, opened, home.lake_at)
    edition = catalog.ratings().edition
    if not is_live(opened):
        ingest(lake, opened, progress, executor, edition)
    elif lake.latest_head() is None:
        hint = f"run: assay ingest --source {opened.name}"
        raise DataError(f"nothing was ingested from {opened.name} yet", where=str(lake.folder), hint=hint)
    else:
        rate_anew(lake, edition)
    return lake, lake.latest()


def stand_on(
    catalog: Catalog,
    source: str,
    lake: Lake,
    snapshot: Snapshot,
    instant: dt.datetime,
    accept: Acceptance | None = None,
    panel: Market | None = None,
) -> Foundation:
    """Make sure that the superset of an instant exists; a screener that is asked gives the lake another state.

    A panel that reaches the instant is cut; without one it is read.
    """
    from assay.screening.provider import Scanning
    from assay.screening.superset import ensure_superset
    from assay.sources.acceptance import NOTHING_ACCEPTED

    scanners = catalog.scanners()
    scanning = Scanning(lake, scanners, catalog.scan(), accept=accept or NOTHING_ACCEPTED)
    snapshot, answerer = scanning.answerer(snapshot, instant)
    path, superset = ensure_superset(
        lake.folder,
        lambda: snapshot.market(instant, SCAN_DAYS) if panel is None else panel.until(instant, SCAN_DAYS),
        instant,
        snapshot.head,
        scanners,
        answerer,
        snapshot.edition,
    )
    return Foundation(source, lake, snapshot, instant, superset, path)


def requests(
    home: Home,
    catalog: Catalog,
    foundation: Foundation,
    names: Sequence[str],
    run_id: str | Sequence[str] | None = None,
    *,
    again: bool = False,
) -> list[Request]:
    """Claim a run directory for each profile; settings are resolved first, so that a bad one claims nothing.

    What is asked for is written into the directory at once, so that a run that dies can be resumed. ``again`` takes
    over the directory of a run that died before that. ``run_id`` is the name of the run, or one of each.
    """
    now = dt.datetime.now(UTC)
    resolved = [catalog.profile(name) for name in names]
    named = [run_id] * len(names) if run_id is None or isinstance(run_id, str) else run_id
    if not again:
        for one in filter(None, named):
            check_free(home.runs, one)
    claimed = [
        claim(home.runs, profile.name, one, now, again=again) for profile, one in zip(resolved, named, strict=True)
    ]
    flow = tuple(one.name for one in claimed)
    return [
        recorded(replace(asked(home, catalog, foundation, profile, folder, flow), resume=again), now)
        for folder, profile in zip(claimed, resolved, strict=True)
    ]


def asked(
    home: Home, catalog: Catalog, foundation: Foundation, profile: Profile, folder: Path, flow: tuple[str, ...]
) -> Request:
    """Return what is asked for of one sleeve in a claimed directory."""
    from assay.runs.request import Request

    return Request(
        home=home.path,
        run=folder,
        profile=profile,
        scanners=catalog.scanners(),
        provenance=catalog.provenance(profile.name),
        source=foundation.source,
        lake=_below(home, foundation.snapshot.folder),
        head=foundation.snapshot.head,
        tables=foundation.snapshot.versions,
        **foundation.snapshot.record.content(),
        edition=foundation.snapshot.edition,
        superset=_below(home, foundation.path),
        superset_sha256=sha256_file(foundation.path),
        provider=foundation.superset.provider,
        as_of=foundation.as_of,
        flow=flow,
    )


def _below(home: Home, path: Path) -> str:
    """Return a path relative to the home folder, or as it is where it lies elsewhere."""
    return (path.relative_to(home.path) if path.is_relative_to(home.path) else path).as_posix()


def recorded(request: J, now: dt.datetime) -> J:
    """Write a request into its claimed directory, and say that it waits."""
    write_json(request.run / MANIFEST, request.manifest())
    Status.begin(request.run.name, request.profile.name, now).write(request.run)
    return request


def resumption(
    home: Home,
    catalog: Catalog,
    profile: str,
    source: str,
    as_of: str | None,
    run_id: str,
    progress: Progress | None = None,
) -> Request:
    """Return the request of a run that ended early: what its manifest records.

    A run that died before it had a manifest begins again in its directory, with what is asked for now.

    Raises
    ------
    UsageError
        If there is no such run.
    """
    from assay.runs.request import Request
    from assay.runs.run import Run

    folder = home.run(run_id)
    if (folder / MANIFEST).is_file():
        Run(folder).check_format()
        return replace(Request.of(home.path, folder), resume=True)
    foundation = lay_foundation(home, catalog, source, as_of, progress)
    [request] = requests(home, catalog, foundation, [profile], run_id, again=True)
    return request


@contextmanager
def workforce(setting: str, workers: int | None, home: Home) -> Iterator[Executor]:
    """Start an executor whose workers import what runs need while the caller ingests.

    Parameters
    ----------
    setting : str
        ``serial``, ``pool`` or ``ray[:ADDRESS]``.
    workers : int or None
        Tasks at a time.
    home : Home
        Every worker must see it.
    """
    from assay import executors

    with executors.opened(setting, workers, home.path, WARM) as executor:
        yield executor


Task = tuple[Path, Path, bool]
"""Home, run directory, and whether it is resumed: all that goes to another process, for the manifest says the rest."""


def _execute(task: Task) -> RunResult:
    """Execute a run, or go on with it where an earlier attempt of the same flow left it.

    A worker or a node that dies makes another begin the same task; what the first wrote is there, and its ledger is
    locked for as long as it lives. So an attempt that was only cut off ends the run itself, and this one waits for it.
    """
    from assay.pipeline.runner import execute
    from assay.runs.ledger import LOCKED
    from assay.runs.request import Request

    home, run, resume = task
    request = Request.of(home, run)
    until = time.monotonic() + request.profile.limits.walk_forward
    while True:
        begun = resume or (run / LEDGER).is_file()
        outcome = execute(replace(request, resume=begun))
        if outcome.error is None or outcome.error["code"] != LOCKED or time.monotonic() > until:
            return outcome
        time.sleep(LOCK_PAUSE)


def run_all(executor: Executor, wanted: Sequence[Request], watch: Watch | None = None) -> list[RunResult]:
    """Execute requests by an executor and return their outcomes in order.

    Only a run that kills its worker each time is lost; whatever is begun a second time goes on where it was.
    """
    tasks = [(request.home, request.run, request.resume) for request in wanted]
    return executor.map(_execute, tasks, lost=_lost, watch=watch)


def run_watched(executor: Executor, wanted: Sequence[Request]) -> list[RunResult]:
    """Execute requests as :func:`run_all` does, and show on standard error how they go."""
    from assay.report.live import watching

    with watching([request.run for request in wanted]) as refresh:
        return run_all(executor, wanted, refresh)


def execute_watched(request: Job, redo_from: int | None = None, executor: Executor | None = None) -> RunResult:
    """Execute one request in this process, and show on standard error how it goes."""
    from assay.pipeline.runner import execute
    from assay.report.live import watching

    with watching([request.run]) as refresh:
        outcome = execute(request, refresh, redo_from=redo_from, executor=executor)
        refresh()
    return outcome


def at_once(execution: Execution, runs: int) -> int | None:
    """Return how many workers are worth starting; None leaves it to a cluster that is there already."""
    if execution.workers is None and (execution.use or "").startswith("ray:"):
        return None
    return max(1, min(execution.workers or os.cpu_count() or 1, runs))


def joint_report(
    folder: Path,
    home: Home,
    foundation: Foundation | Request,
    outcomes: Sequence[RunResult],
    executor: Executor,
    table: str,
) -> Path | None:
    """Write a flow's outcomes as JSON and as the table shown, and the joint report over the valid runs, if any."""
    body = summary(outcomes) | {"source": foundation.source, "as_of": format_instant(foundation.as_of)}
    write_json(folder / "flow.json", body)
    write(folder / "runs.txt", f"{table}\n".encode())
    valid = tuple(home.runs / outcome.run_id for outcome in outcomes if outcome.state == "VALID")
    if not valid:
        return None
    # The workers have loaded what both forms need, and write them side by side.
    text, page = executor.map(_rendered, [("md", valid), ("html", valid)])
    write(folder / "audit_report.md", text.encode())
    write(folder / "report.html", page.encode())
    return folder / "audit_report.md"


def begun(home: Home, names: Sequence[str], ids: Sequence[str] | None = None) -> list[Request]:
    """Return what was asked for of a flow's runs: of those that are named, or of the last that began together.

    Raises
    ------
    UsageError
        If there are no such runs, or one has no manifest: it died before it began.
    """
    from assay.runs.request import Request
    from assay.runs.run import Run

    chosen = ids if ids is not None else _last_together(home, names)
    if chosen is None:
        raise UsageError("no run of this flow was begun here", where=str(home.runs), hint="leave --resume out")
    found = []
    for name, run_id in zip(names, chosen, strict=True):
        folder = home.run(run_id)
        Run(folder).check_format()
        request = Request.of(home.path, folder)
        if request.profile.name != name:
            what = f"{run_id} is a run of {request.profile.name}, not of {name}"
            raise UsageError(what, where=str(folder), hint="give --run-ids in the order of the flow's profiles")
        found.append(replace(request, resume=True))
    return found


def _last_together(home: Home, names: Sequence[str]) -> list[str] | None:
    """Return the runs of the profiles that one flow began last."""
    from assay.report.live import newest

    for status in newest(home, profile=names[0]):
        path = home.runs / status.run_id / MANIFEST
        together = [str(one) for one in read_json(path).get("flow", [])] if path.is_file() else []
        paths = {one: home.runs / one / MANIFEST for one in together}
        if all(one.is_file() for one in paths.values()):
            profiles = {str(read_json(one)["profile"]["name"]): run_id for run_id, one in paths.items()}
            if set(profiles) == set(names):
                return [profiles[name] for name in names]
    return None


def go_on(executor: Executor, wanted: Sequence[Request]) -> list[RunResult]:
    """Go on with runs of a flow; those that are sealed are taken as they are."""
    known = {one.run: Status.shown(one.run) for one in wanted}
    left = [one for one in wanted if known[one.run].state != "VALID"]
    made = dict(zip((one.run for one in left), run_watched(executor, left), strict=True)) if left else {}
    return [made.get(one.run) or _sealed(one.run, known[one.run]) for one in wanted]


def _sealed(run: Path, told: Status) -> RunResult:
    from assay.runs.artifacts import REPORT

    report = str(run / REPORT)
    return RunResult(run.name, told.profile, told.state, 0, None, report, told.weakened, told.ruin)


def _rendered(task: tuple[str, tuple[Path, ...]]) -> str:
    """Return the joint report over runs in one of its forms."""
    form, runs = task
    if form == "html":
        from assay.report.html import render_joint_page

        return render_joint_page(runs)
    from assay.report.audit_report import render_joint

    return render_joint(runs)


def _lost(task: Task) -> RunResult:
    from assay.base.errors import Exit
    from assay.executors.base import worker_died

    _, run, _ = task
    error = worker_died(run).as_dict()
    status = Status.read(run)
    replace(status, state="FAILED", error=error).write(run)
    return RunResult(run.name, status.profile, "FAILED", int(Exit.INTERNAL), error, None)


def summary(outcomes: Sequence[RunResult]) -> dict[str, Any]:
    """Return a flow's outcomes as JSON values."""
    return {"runs": [outcome.as_dict() for outcome in outcomes], "exit_code": worst(outcomes)}


def worst(outcomes: Sequence[RunResult]) -> int:
    """Return the exit code of a flow: the largest of its runs'."""
    return max((outcome.exit_code for outcome in outcomes), default=0)
