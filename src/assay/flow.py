"""From a command to finished runs: phase 1 with one writer, phase 2 with many readers in one warm process pool.

Imported by spawned workers before their first task, so nothing heavy is imported at the top.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.domain import UTC
from assay.runs import Home, Status, claim

if TYPE_CHECKING:
    from assay.artifacts import Superset
    from assay.context import Request
    from assay.foundation.ingest import IngestReport, Progress
    from assay.foundation.lake import Lake, Snapshot
    from assay.profile import Catalog
    from assay.runner import Outcome

SCAN_DAYS = 500
"""Days that a scanner may look at."""

Watch = Callable[[], None]


@dataclass(frozen=True)
class Foundation:
    """What phase 1 leaves for runs: a pinned head, an instant and the superset at that instant.

    Attributes
    ----------
    report : IngestReport
        What ingestion added, repaired and refused.
    superset, path : Superset, Path
        All scanners' candidates and where they are written.
    """

    source: str
    lake: Lake
    snapshot: Snapshot
    as_of: dt.datetime
    report: IngestReport
    superset: Superset
    path: Path


def lay_foundation(
    home: Home, catalog: Catalog, source: str, as_of: str | None = None, progress: Progress | None = None
) -> Foundation:
    """Ingest a source, pin the head, and make sure that the superset of the instant exists.

    Raises
    ------
    SourceError
        If the source is missing or unreadable.
    UsageError
        If the date lies outside the data.
    """
    from assay.foundation.ingest import ingest
    from assay.foundation.lake import Lake
    from assay.foundation.shelf import ensure_superset
    from assay.foundation.snapshot import resolve_as_of
    from assay.foundation.sources import open_source

    opened = open_source(source)
    lake = Lake(home.path, opened)
    report = ingest(lake, opened, progress)
    snapshot = lake.pin(report.head)
    instant = resolve_as_of(snapshot, as_of)
    path, superset = ensure_superset(
        lake.folder,
        lambda: snapshot.market(instant, SCAN_DAYS),
        instant,
        snapshot.head,
        catalog.scanners(),
    )
    return Foundation(source, lake, snapshot, instant, report, superset, path)


def requests(
    home: Home, catalog: Catalog, foundation: Foundation, names: Sequence[str], run_id: str | None = None
) -> list[Request]:
    """Claim a run directory for each profile; settings are resolved first, so that a bad one claims nothing."""
    from assay.audit.registry import trials
    from assay.context import Request
    from assay.files import sha256_file

    now = dt.datetime.now(UTC)
    resolved = [catalog.profile(name) for name in names]
    scanners = catalog.scanners()
    made = []
    for profile in resolved:
        request = Request(
            home=home.path,
            run=claim(home.runs, profile.name, run_id, now),
            profile=profile,
            scanners=scanners,
            provenance=catalog.provenance(profile.name),
            source=foundation.source,
            lake=foundation.lake.folder.relative_to(home.path).as_posix(),
            head=foundation.snapshot.head,
            tables=foundation.snapshot.versions,
            superset=foundation.path.relative_to(home.path).as_posix(),
            superset_sha256=sha256_file(foundation.path),
            as_of=foundation.as_of,
            trials={},
        )
        request = replace(request, trials=trials(home.registry, besides=request.key))
        Status.begin(request.run.name, profile.name, now).write(request.run)
        made.append(request)
    return made


@contextmanager
def warm_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Start spawned workers that import what runs need while the caller ingests."""
    import multiprocessing

    # Forking after Polars has started its threads hangs; spawning does not.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_warm)
    try:
        for _ in range(workers):
            pool.submit(os.getpid)
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _warm() -> None:
    """Import what every run needs, with one thread each: the pool is the parallelism."""
    for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from importlib import import_module

    for module in ("assay.runner", "assay.decision", "assay.contracts", "assay.evaluation.walk_forward"):
        import_module(module)


def _execute(request: Request) -> Outcome:
    from assay.runner import execute

    return execute(request)


def run_all(
    pool: ProcessPoolExecutor, wanted: Sequence[Request], watch: Watch | None = None, interval: float = 0.1
) -> list[Outcome]:
    """Execute requests in the pool and return their outcomes in order.

    A worker that dies takes the pool with it; what had not finished is resumed, one run at a time, each in a process of
    its own, so that only the run that kills its worker is lost.
    """
    running = {pool.submit(_execute, request): request for request in wanted}
    finished: dict[str, Outcome] = {}
    pending = set(running)
    while pending:
        done, pending = wait(pending, timeout=interval)
        if watch is not None:
            watch()
        for future in done:
            _collect(future, running[future], finished)
    return [finished[request.run.name] for request in wanted]


def _collect(future: Future[Outcome], request: Request, finished: dict[str, Outcome]) -> None:
    try:
        finished[request.run.name] = future.result()
    except BrokenProcessPool:
        finished[request.run.name] = _alone(request)


def _alone(request: Request) -> Outcome:
    with warm_pool(1) as pool:
        try:
            return pool.submit(_execute, replace(request, resume=True)).result()
        except BrokenProcessPool:
            return _lost(request)


def _lost(request: Request) -> Outcome:
    from assay.errors import Exit, InternalError
    from assay.runner import Outcome

    error = InternalError(
        "the worker process died",
        where=str(request.run),
        hint="look for a lack of memory, then resume",
        code="WORKER_DIED",
    )
    replace(Status.read(request.run), state="FAILED", error=error.as_dict()).write(request.run)
    return Outcome(request.run.name, request.profile.name, "FAILED", int(Exit.INTERNAL), error.as_dict(), None)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return a flow's outcomes as JSON values."""
    return {"runs": [outcome.as_dict() for outcome in outcomes], "exit_code": worst(outcomes)}


def worst(outcomes: Sequence[Outcome]) -> int:
    """Return the exit code of a flow: the largest of its runs'."""
    return max((outcome.exit_code for outcome in outcomes), default=0)
