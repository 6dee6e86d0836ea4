"""Run again from a manifest and its pinned lake, and compare what came out.

EQUAL: every artifact of steps 2 to 13 has the same content hash. WITHIN 1e-9: some differ, but only in numbers, by less
than 1e-9 absolutely or relatively: other library versions or another processor family. DIFFERENT: anything else.
"""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from assay import executors
from assay.base import files
from assay.base.constants import TOLERANCE
from assay.base.errors import DiskError, IntegrityError
from assay.pipeline.flow import WARM
from assay.pipeline.runner import execute
from assay.pipeline.tables import steps_of
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.ledger import read_ledger
from assay.runs.run import Run

Verdict = Literal["EQUAL", "WITHIN 1e-9", "DIFFERENT"]
FIRST = 2
"""Step from which on artifacts depend on nothing but settings and data."""


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
    """Execute the steps of a run before its validation again and compare.

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
    home, run = Home(task[0]), task[1]
    recorded = recorded_artifacts(run)
    scratch = _scratch(home.reports / "replay")
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".") as folder:
        again = Path(folder) / run.name
        again.mkdir()
        request = replace(Run(run, home.runs).manifest, run=again)
        outcome = execute(request, steps=steps_of(request)[: _last(run)])
        if outcome.error is not None:
            raise IntegrityError(
                f"the replay failed: {outcome.error['what']}", where=run.name, hint=str(outcome.error["hint"])
            )
        names = sorted(set(recorded) | set(recorded_artifacts(again)))
        sizes = {name: _difference(run, again, name, recorded.get(name)) for name in names}
    verdicts = {name: _verdict(size) for name, size in sizes.items()}
    unequal = {name: size for name, size in sizes.items() if size is not None}
    return Replay(run.name, max(verdicts.values(), key=_ORDER.index), verdicts, unequal)


def _scratch(folder: Path) -> Path | None:
    """Return where to execute again: a folder of the home, or, of a read-only home, the system's for such things."""
    with suppress(DiskError):
        files.make_folders(folder)
    return folder if os.access(folder, os.W_OK) else None


def _last(run: Path) -> int:
    """Return the last step before validation: what comes after depends on what else was run, and on the clock."""
    return (layout.VALIDATION.step(Run(run).kind) or 0) - 1


def recorded_artifacts(run: Path) -> dict[str, str]:
    """Map the artifacts of the steps between preflight and validation to the content hashes in the ledger."""
    found: dict[str, str] = {}
    last = _last(run)
    for entry in read_ledger(run / layout.LEDGER):
        if entry.kind == "outcome" and entry.body["state"] == "ok" and FIRST <= entry.body["step"] <= last:
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
    return _distance(_values(old, name), _values(new, name))


def _values(run: Path, name: str) -> Any:
    if name in layout.TABLE_KEYS:
        return pl.read_parquet(run / name).sort(list(layout.TABLE_KEYS[name])).to_dict(as_series=False)
    return files.read_json(run / name)


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
