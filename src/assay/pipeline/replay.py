"""Run again from a manifest and its pinned lake, and compare what comes out of every step.

The steps before validation are executed anew in a folder of their own. The last two judge and describe what is there,
the ledger among it, and so are done again on a copy of the run as it was when they began. EQUAL: every artifact has the
same content hash, and the ledger tells the same contracts, gates and events. WITHIN 1e-9: some differ, but only in
numbers, by less than 1e-9 absolutely or relatively: other library versions or another processor family. DIFFERENT:
anything else. Nothing is written beside the run or the lake.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl
from threadpoolctl import threadpool_limits

from assay import executors
from assay.base import files
from assay.base.constants import TOLERANCE
from assay.base.errors import AssayError, IntegrityError, LedgerError
from assay.pipeline.context import Step, given_for
from assay.pipeline.flow import WARM
from assay.pipeline.runner import Attempt, execute
from assay.pipeline.tables import steps_of
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.ledger import Ledger, read_ledger
from assay.runs.request import Job
from assay.runs.run import Run
from assay.runs.verify import walk

Verdict = Literal["EQUAL", "WITHIN 1e-9", "DIFFERENT"]
FIRST = 2
"""Step from which on artifacts depend on nothing but settings and data."""
JUDGING = 2
"""Steps at the end of a run that judge and describe what is there."""
SAID = frozenset({"contract", "gate", "event", "fallback"})
"""Lines of a ledger that say what a step found."""
OF_NO_STEP = frozenset({"TEMPORARY_REMOVED", layout.TRIED})
"""Events that the runner enters."""


@dataclass(frozen=True)
class Replay:
    """Verdict for each artifact, and the worst of them.

    Attributes
    ----------
    run_id : str
    verdict : str
    artifacts : dict of str to str
    differences : dict of str to float
        For each artifact that is not EQUAL, the greatest difference of two of its numbers, absolute or relative,
        whichever is less; infinite where something else than a number differs.
    workers : int
        Processes that replayed the run at the same time.
    """

    run_id: str
    verdict: Verdict
    artifacts: dict[str, Verdict]
    differences: dict[str, float]
    workers: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object; None stands for an infinite difference."""
        finite = {name: size if math.isfinite(size) else None for name, size in self.differences.items()}
        return asdict(self) | {"differences": finite}


def replay(home: Home, run: Path, workers: int = 1) -> Replay:
    """Do every step of a run again and compare.

    Parameters
    ----------
    home : Home
        Home folder, with the lake that the run has pinned.
    run : Path
        Directory of the run; only read.
    workers : int
        With more than one, so many processes replay the run at the same time, and the worst verdict counts.

    Raises
    ------
    IntegrityError
        If the run recorded nothing to compare with, or the second execution fails.
    """
    if workers == 1:
        return _once((home.path, run))
    with executors.opened("pool", workers, home.path, WARM[:1]) as pool:
        made = pool.map(_once, [(home.path, run)] * workers)
    worst = max(made, key=lambda one: _ORDER.index(one.verdict))
    return replace(worst, workers=workers)


def _once(task: tuple[Path, Path]) -> Replay:
    home, folder = Home(task[0]), task[1]
    run = Run(folder, home.runs)
    run.check_format()
    recorded = _recorded(folder, 1)
    with tempfile.TemporaryDirectory(prefix="assay-replay-") as scratch:
        again, copy = Path(scratch) / "again" / folder.name, Path(scratch) / "copy" / folder.name
        again.mkdir(parents=True)
        request = replace(run.manifest, run=again)
        steps = steps_of(request)
        outcome = execute(request, steps=steps[:-JUDGING])
        if outcome.error is not None:
            what = f"the replay failed: {outcome.error['what']}"
            raise IntegrityError(what, where=folder.name, hint=str(outcome.error["hint"]), code=outcome.error["code"])
        sizes = {name: _difference(folder, again, name, recorded.get(name)) for name in _recorded(again, 1)}
        said = _said(Run(again), steps[:-JUDGING])
        for step in steps[-JUDGING:]:
            made = _done_again(run, replace(request, run=copy), step)
            sizes |= {name: _difference(folder, copy, name, recorded.get(name)) for name in made}
            said += _said(Run(copy), [step])
    sizes |= dict.fromkeys(recorded.keys() - sizes.keys(), math.inf)
    sizes[layout.LEDGER] = _distance(_said(run, steps), said) or None
    verdicts = {name: _verdict(sizes[name]) for name in sorted(sizes)}
    unequal = {name: size for name, size in sorted(sizes.items()) if size is not None}
    return Replay(folder.name, max(verdicts.values(), key=_ORDER.index), verdicts, unequal)


def _said(run: Run, steps: Sequence[Step]) -> list[Any]:
    """Return what a ledger says that steps found, in their last attempts; of a broken one, how it is broken."""
    numbers = {step.number for step in steps}
    try:
        current = run.current
    except LedgerError as error:  # a step done again opened what the lines before it do not know
        return [error.what]
    found = [entry for entry in current if entry.kind in SAID and entry.body.get("step") in numbers]
    return [[entry.kind, entry.body] for entry in found if entry.body.get("code") not in OF_NO_STEP]


def _done_again(run: Run, request: Job, step: Step) -> list[str]:
    """Do a step on a copy of a run as it was when the step began for the last time; return what it wrote."""
    entries = run.ledger
    begun = [entry.seq for entry in entries if entry.kind == "intent" and entry.body["step"] == step.number]
    shutil.rmtree(request.run, ignore_errors=True)
    for path in walk(run.folder)[0]:
        row = layout.describe(path)
        if ((row.step(run.kind) if row else None) or 0) < step.number:
            files.write(request.run / path, run.load(path))
    lines = files.read(run.folder / layout.LEDGER).splitlines(keepends=True)
    files.write(request.run / layout.LEDGER, b"".join(lines[: begun[-1]] if begun else lines))
    files.write_json(request.run / layout.STATUS, {})  # the index names it
    with threadpool_limits(1), Ledger.open(request.run / layout.LEDGER) as ledger:
        attempt = Attempt(step, given_for(request), ledger)
        with suppress(AssayError):  # what it refuses to write is missed by name
            attempt.perform()
    return sorted(attempt.written)


def recorded_artifacts(run: Path) -> dict[str, str]:
    """Map the artifacts of the steps between preflight and validation to the content hashes in the ledger.

    Raises
    ------
    IntegrityError
        If there are none.
    """
    return _recorded(run, FIRST, (layout.VALIDATION.step(Run(run).kind) or 0) - 1)


def _recorded(run: Path, first: int, last: int | None = None) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in read_ledger(run / layout.LEDGER):
        if (
            entry.kind == "outcome"
            and entry.body["state"] == "ok"
            and first <= entry.body["step"] <= (last or math.inf)
        ):
            found |= {name: record["content"] for name, record in entry.body["outputs"].items()}
    if not found:
        raise IntegrityError("the run recorded no artifacts", where=str(run), hint="run it again")
    return found


_ORDER: tuple[Verdict, ...] = ("EQUAL", "WITHIN 1e-9", "DIFFERENT")


def _verdict(size: float | None) -> Verdict:
    if size is None:
        return "EQUAL"
    return "WITHIN 1e-9" if size <= TOLERANCE else "DIFFERENT"


def _difference(old: Path, new: Path, name: str, recorded: str | None) -> float | None:
    """Return how far an artifact is from what was recorded; None where the content hashes are equal."""
    if recorded is None or not (old / name).is_file() or not (new / name).is_file():
        return math.inf
    if files.content_hash(new / name, layout.TABLE_KEYS.get(name, ())) == recorded:
        return None
    size = _distance(_values(old, name), _values(new, name))
    return size or (None if name == layout.MANIFEST else size)


def _values(run: Path, name: str) -> Any:
    """Return what can be compared number by number; the environment that a manifest names is where it was run."""
    if name in layout.TABLE_KEYS:
        return pl.read_parquet(run / name).sort(list(layout.TABLE_KEYS[name])).to_dict(as_series=False)
    if not name.endswith(".json"):
        return files.read(run / name).decode(errors="replace")
    value = files.read_json(run / name)
    return {key: value[key] for key in value if key != "environment"} if name == layout.MANIFEST else value


def _distance(left: Any, right: Any) -> float:
    """Return the greatest difference of numbers in the same places, infinite where anything else differs.

    >>> _distance({"a": [1.0, "x", None]}, {"a": [1.5, "x", None]}), _distance([1.0], [1.0, 2.0])
    (0.3333333333333333, inf)
    """
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            return math.inf
        return max((_distance(left[key], right[key]) for key in left), default=0.0)
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return math.inf
        return max(map(_distance, left, right), default=0.0)
    if isinstance(left, float) and isinstance(right, (int, float)):
        return _apart(left, float(right))
    return 0.0 if left == right else math.inf


def _apart(left: float, right: float) -> float:
    if left == right or (left != left and right != right):
        return 0.0
    size = abs(left - right)
    if not math.isfinite(size):
        return math.inf
    return min(size, size / max(abs(left), abs(right)))
