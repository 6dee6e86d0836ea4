"""Executes the table of steps for one run: intents and outcomes, time limits, resumption, the seal."""

from __future__ import annotations

import datetime as dt
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from assay.backtest import trials
from assay.base import files
from assay.base.domain import UTC
from assay.base.errors import AssayError, DiskError, Exit, InternalError, StepTimeout
from assay.executors import Executor
from assay.pipeline.context import Content, ContractCheck, Fallback, Gate, Given, Said, Step, given_for
from assay.pipeline.sleeve_steps import performance, verdict_of
from assay.pipeline.tables import steps_of
from assay.runs import artifacts as layout
from assay.runs import documents, registry, signing
from assay.runs.artifacts import Artifact
from assay.runs.documents import Document, Event
from assay.runs.home import Home, RunResult, Status, ruin_in, sweep
from assay.runs.ledger import CHANGED, LOCKED, SEALED, Ledger, read_ledger
from assay.runs.request import Job
from assay.runs.run import Run
from assay.runs.seal import seal
from assay.runs.verify import Entry

Watch = Callable[[], None]


def execute(
    request: Job,
    watch: Watch | None = None,
    steps: Sequence[Step] | None = None,
    redo_from: int | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Execute one run in this process and return how it ended.

    Everything that goes wrong is written to the run's ledger and status before it is returned. Only a run of all steps
    is sealed and registered; a replay stops before. A resumed run does again what changed, and whatever it is told to.

    Parameters
    ----------
    request : Job
        What to execute.
    watch : callable, optional
        Told at each step.
    steps : sequence of Step, optional
        Instead of the table of this kind of run: its beginning.
    redo_from : int, optional
        First step that a resumed run does again even where nothing changed.
    executor : Executor, optional
        Where the parts of a step may be done; in this process where None.
    """
    from threadpoolctl import threadpool_limits

    if request.resume and _is_sealed(request.run):
        return _completed_before(request)
    status = Status.begin(request.run.name, request.profile.name, dt.datetime.now(UTC))
    clock = time.monotonic()
    error: AssayError | None = None
    state, code = "VALID", Exit.OK
    try:
        # BLAS sums in an order that depends on its threads; with one, equal inputs give equal content hashes.
        with threadpool_limits(1):
            _steps(request, status, clock, watch, steps or steps_of(request), redo_from, executor)
    except AssayError as known:
        error, state, code = known, "FAILED", known.exit_code
    except KeyboardInterrupt:
        state, code = "INTERRUPTED", Exit.INTERRUPTED
    except Exception as unknown:  # noqa: BLE001 - the edge of a run: a fault of ours is recorded, and ends as exit code 5
        error, state, code = _internal(request.run, unknown), "FAILED", Exit.INTERNAL
    if not _is_anothers(request.run, status, error):
        status = Status.read(request.run) if (request.run / layout.STATUS).is_file() else status
        body = None if error is None else error.as_dict()
        elapsed = round(time.monotonic() - clock, 3)
        try:
            replace(status, state=state, elapsed=elapsed, error=body).write(request.run)
        except DiskError as full:  # must not hide an error that is being reported
            if error is None:
                error, state, code = full, "FAILED", full.exit_code
    return _outcome(request, state, code, error)


def _is_anothers(run: Path, mine: Status, error: AssayError | None) -> bool:
    """Tell whether another process writes the run, or has ended it, since this one was cut off: it is not touched."""
    if error is None or error.code not in (LOCKED, SEALED, CHANGED):
        return False
    return error.code != CHANGED or not mine.same_process(Status.read(run))


def _outcome(request: Job, state: str, code: Exit, error: AssayError | None) -> RunResult:
    body = None if error is None else error.as_dict()
    report = str(request.run / layout.REPORT) if state == "VALID" else None
    ruin = ruin_in(request.run) if state == "VALID" else ""
    return RunResult(request.run.name, request.profile.name, state, int(code), body, report, request.weakened, ruin)


def _is_sealed(run: Path) -> bool:
    path = run / layout.LEDGER
    entries = read_ledger(path) if path.is_file() else []
    return bool(entries) and entries[-1].kind == "seal"


def _completed_before(request: Job) -> RunResult:
    """Answer for a sealed run: nothing is done again, but a run that died before it was entered is entered now."""
    run = request.run
    try:
        registry.complete(Home(request.home).registry, run / layout.LEDGER)
        status = Status.read(run)
        if status.state != "VALID":
            replace(status, state="VALID", error=None).write(run)
        sweep(run)
    except AssayError as error:
        return _outcome(request, "FAILED", error.exit_code, error)
    return _outcome(request, "VALID", Exit.OK, None)


def _internal(run: Path, fault: Exception) -> InternalError:
    log = run / "logs" / "error.txt"
    with suppress(AssayError):
        files.write(log, "".join(traceback.format_exception(fault)).encode())
    return InternalError(
        f"{type(fault).__name__}: {fault}", where=str(log), hint="report it with that file; no result was made"
    )


def _steps(
    request: Job,
    status: Status,
    clock: float,
    watch: Watch | None,
    steps: Sequence[Step],
    redo_from: int | None,
    executor: Executor | None,
) -> None:
    # Before any work is done: a key that cannot be used ends the run, it does not leave it unsigned.
    signer = signing.from_environment() if steps[-1].seals else None
    with _ledger(request) as ledger:
        status.write(request.run)  # not before the ledger is ours: another process may be at work here
        given = given_for(request, executor)
        done = _completed(ledger.entries) if request.resume else {}
        redone = False
        for step in steps:
            status = replace(status, step=step.number, stage=step.title, elapsed=round(time.monotonic() - clock, 3))
            status.write(request.run)
            if watch is not None:
                watch()
            again = step.number >= redo_from if redo_from is not None else False
            again = again or (redone and layout.LEDGER in step.reads)
            if again or not _is_current(request.run, step, done.get(step.number)):
                if steps[-1].seals:
                    _count_trials(given, ledger, step)
                Attempt(step, given, ledger).perform()
                redone = True
        if steps[-1].seals:
            _seal(request, ledger, signer)


def _count_trials(given: Given[Any], ledger: Ledger, step: Step) -> None:
    """Enter a run before it looks at its walk-forward, and say before the report what had been tried by then.

    Both are of the whole home, and so of no step: a step knows what its ledger says.
    """
    book, looks = Home(given.request.home).registry, layout.WALK_RETURNS.step(given.run.kind)
    if step.number == looks:
        trials.begin(book, given.run)
    given.open_anew()
    if step.seals and looks is not None and layout.TRIED not in given.run.events:
        trials.begin(book, given.run)
        ledger.event(looks, layout.TRIED, "sets of settings that were tried", trials.tally(book, given.run))


def _ledger(request: Job) -> Ledger:
    path = request.run / layout.LEDGER
    if path.exists():
        ledger = Ledger.open(path)
        ledger.resume({"run_id": request.run.name})
        return ledger
    # The registry's head is noted in the first line: a registry that is cut later shows in every run after it.
    head = registry.head(Home(request.home).registry)
    return Ledger.create(path, {"run_id": request.run.name, "profile": request.profile.name, "registry": head})


@dataclass
class Attempt:
    """One attempt at a step: intent, work, outcome."""

    step: Step
    given: Given[Any]
    ledger: Ledger
    written: dict[str, str] = field(default_factory=dict)
    """Relative path to SHA-256 of what was written."""

    def perform(self) -> None:
        """Do the step; what it opens must be what the intent names, for resumption decides by that."""
        step, ledger, given = self.step, self.ledger, self.given
        inputs = hashes(given.request.run, step.reads)
        ledger.intent(step.number, step.name, inputs)
        given.open_anew()
        limits = given.request.profile.limits
        try:
            with time_limit(limits.walk_forward if step.name == "walk_forward" else limits.step, step.title):
                for said in step.work(given):
                    self._enter(said)
            self._refuse_other_files(inputs)
        except BaseException as error:  # also an interrupt is an outcome; it goes on upwards
            known = error if isinstance(error, AssayError) else InternalError(f"{type(error).__name__}: {error}")
            ledger.outcome(step.number, step.name, "failed", inputs, self._outputs(), known.as_dict())
            raise
        ledger.outcome(step.number, step.name, "ok", inputs, self._outputs(), None)

    def _enter(self, said: Said) -> None:
        """Save what was made, write down what was found; a refusal ends the step."""
        ledger, number = self.ledger, self.step.number
        match said:
            case ContractCheck():
                told = said.result.as_event()
                if said.sleeve is not None:
                    told["details"] = told["details"] | {"sleeve": said.sleeve}
                ledger.contract(number, **told)
                if said.refusal is not None:
                    raise said.refusal
            case Gate():
                ledger.gate(number, said.name, ok=said.ok, checked=said.checked, violations=said.violations)
                if not said.ok and said.refusal is not None:
                    raise said.refusal
            case Event():
                ledger.event(number, said.code, said.what, said.values)
            case Fallback():
                ledger.fallback(number, said.code, said.what, said.values)
            case _:
                for name, content in said.items():
                    self.written[str(name)] = save(self.given.request.run / name, content)

    def _refuse_other_files(self, inputs: Mapping[str, str]) -> None:
        opened = self.given.run.read
        strange = sorted(path for path, digest in opened.items() if inputs.get(path, self.written.get(path)) != digest)
        missing = [row for row in self.step.writes if not any(row.covers(path) for path in self.written)]
        for what, paths in (("opened files that its row does not name:", strange), ("wrote nothing to", missing)):
            if paths:
                raise InternalError(f"step {what} {', '.join(paths)}", where=self.step.title, hint="report this")

    def _outputs(self) -> dict[str, dict[str, str]]:
        run = self.given.request.run
        return {
            name: {"sha256": digest, "content": files.content_hash(run / name, layout.TABLE_KEYS.get(name, ()))}
            for name, digest in sorted(self.written.items())
        }


def save(path: Path, content: Content) -> str:
    """Write a document, table, JSON object or text; return the SHA-256 of its bytes."""
    if isinstance(content, Document):
        return documents.save(content, path)
    if isinstance(content, str):
        return files.write(path, content.encode())
    if isinstance(content, Mapping):
        return files.write_json(path, dict(content))
    return files.write_table(path, content)


def hashes(run: Path, rows: Iterable[Artifact[Any]]) -> dict[str, str]:
    """Map each existing file of some rows to its SHA-256; of a folder the documents, which people read in other forms.

    The ledger is left out: it grows, and is never the same twice.
    """
    paths = [run / row for row in rows if row != layout.LEDGER]
    found = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    return {file.relative_to(run).as_posix(): files.sha256_file(file) for file in found if file.is_file()}


def _completed(entries: list[Entry]) -> dict[int, dict[str, Any]]:
    """Return the last outcome of each step, where it was ok."""
    last = {entry.body["step"]: entry.body for entry in entries if entry.kind == "outcome"}
    return {number: body for number, body in last.items() if body["state"] == "ok"}


def _is_current(run: Path, step: Step, outcome: dict[str, Any] | None) -> bool:
    """Return whether a step's recorded inputs and outputs are what lies on disk."""
    if outcome is None or outcome["inputs"] != hashes(run, step.reads):
        return False
    return all(
        (run / name).is_file() and files.sha256_file(run / name) == record["sha256"]
        for name, record in outcome["outputs"].items()
    )


def _seal(request: Job, ledger: Ledger, signer: signing.Signer | None) -> None:
    run = Run(request.run)
    verdict, sharpe_ratios = verdict_of(run), performance(run)
    sealed = seal(request.run, ledger, manifest=request.key, verdict=verdict, performance=sharpe_ratios, signer=signer)
    registry.append(Home(request.home).registry, sealed)


@contextmanager
def time_limit(seconds: float, where: str) -> Iterator[None]:
    """Raise :class:`StepTimeout` in the block when it takes longer than ``seconds``.

    Only a main thread can be interrupted; elsewhere the limit is checked when the block ends.
    """
    error = StepTimeout(
        f"took longer than {seconds:g} s",
        where=where,
        hint="raise limits.step or limits.walk_forward, or use less data",
    )
    begin = time.monotonic()
    if threading.current_thread() is threading.main_thread():
        with _alarm(seconds, error):
            yield
    else:
        yield
    if time.monotonic() - begin > seconds:
        raise error


@contextmanager
def _alarm(seconds: float, error: StepTimeout) -> Iterator[None]:
    """Raise an error in the block after some seconds, and every second from then on.

    An error that is raised while a finalizer or the garbage collector runs is swallowed by the interpreter.
    """

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
