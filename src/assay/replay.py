"""Run again from a manifest and its pinned lake, and compare what came out.

EQUAL: every artifact of steps 2 to 13 has the same content hash. WITHIN 1e-9: some differ, but only in numbers, by less
than 1e-9 absolutely or relatively: other library versions or another processor family. DIFFERENT: anything else.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assay import files, layout
from assay.context import Request
from assay.errors import IntegrityError
from assay.meta.gates import BEFORE
from assay.meta.pipeline import STEPS as META_STEPS
from assay.meta.request import MetaRequest, is_meta
from assay.pipeline import STEPS
from assay.runner import execute

if TYPE_CHECKING:
    from assay.runs import Home

Verdict = Literal["EQUAL", "WITHIN 1e-9", "DIFFERENT"]
TOLERANCE = 1e-9
FIRST, LAST = 2, 13
"""Steps whose artifacts depend on nothing but settings and data."""


@dataclass(frozen=True)
class Replay:
    """Verdict for each artifact, and the worst of them."""

    run_id: str
    verdict: Verdict
    artifacts: dict[str, Verdict]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return asdict(self)


def replay(home: Home, run: Path) -> Replay:
    """Execute the steps of a run that make artifacts (1 to 13; 1 to 9 of a meta-portfolio) again and compare.

    Raises
    ------
    IntegrityError
        If the run recorded nothing to compare with, or the second execution fails.
    """
    recorded = recorded_artifacts(run)
    scratch = home.reports / "replay"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".") as folder:
        again = Path(folder) / run.name
        again.mkdir()
        if is_meta(run):
            outcome = execute(replace(MetaRequest.of(home.path, run), run=again), steps=META_STEPS[:BEFORE])
        else:
            outcome = execute(replace(Request.of(home.path, run), run=again), steps=STEPS[:LAST])
        if outcome.error is not None:
            raise IntegrityError(
                f"the replay failed: {outcome.error['what']}", where=run.name, hint=str(outcome.error["hint"])
            )
        names = sorted(set(recorded) | set(recorded_artifacts(again)))
        verdicts = {name: _compare(run / name, again / name, recorded.get(name)) for name in names}
    return Replay(run.name, _worst(verdicts.values()), verdicts)


def recorded_artifacts(run: Path) -> dict[str, str]:
    """Map the artifacts of steps 2 to 13 (9 of a meta-portfolio) to the content hashes that the ledger records."""
    from assay.audit.ledger import read_ledger

    found: dict[str, str] = {}
    last = BEFORE if is_meta(run) else LAST
    for entry in read_ledger(run / layout.LEDGER):
        if entry.kind == "outcome" and entry.body["state"] == "ok" and FIRST <= entry.body["step"] <= last:
            found |= {name: record["content"] for name, record in entry.body["outputs"].items()}
    if not found:
        raise IntegrityError("the run recorded no artifacts", where=str(run), hint="run it again")
    return found


def _worst(verdicts: Any) -> Verdict:
    order: tuple[Verdict, ...] = ("EQUAL", "WITHIN 1e-9", "DIFFERENT")
    return max(verdicts, key=order.index)


def _compare(old: Path, new: Path, recorded: str | None) -> Verdict:
    if recorded is None or not old.is_file() or not new.is_file():
        return "DIFFERENT"
    if files.content_hash(new, _keys(new)) == recorded:
        return "EQUAL"
    return "WITHIN 1e-9" if _near(_values(old), _values(new)) else "DIFFERENT"


def _keys(path: Path) -> tuple[str, ...]:
    return next((keys for name, keys in layout.TABLE_KEYS.items() if path.as_posix().endswith(name)), ())


def _values(path: Path) -> Any:
    if path.suffix == ".parquet":
        import polars as pl

        return pl.read_parquet(path).sort(list(_keys(path))).to_dict(as_series=False)
    return files.read_json(path)


def _near(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_near(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_near, left, right))
    if isinstance(left, float) and isinstance(right, (int, float)):
        return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE) or (left != left and right != right)
    return bool(left == right)
