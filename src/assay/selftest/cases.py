"""The register of attempts to break runs: what is tried, what must catch it, and what did."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from assay.base.errors import AssayError
from assay.pipeline.replay import replay
from assay.selftest import tampering
from assay.selftest.crash import RunWorkload, count_writes, crash_at, faults_of
from assay.selftest.faults import KINDS, Kind, Operation
from assay.selftest.leaks import probed
from assay.selftest.sandbox import AS_OF, LONG, SHORT, Sandbox
from assay.selftest.step_mutants import STEP_MUTANTS, StepMutant, replaced_artifact, told_by

SETTINGS = ("walk_forward.days=40",)
"""Runs of the self-test look back over few days: their gates are the same."""
QUICK_STEPS = frozenset(
    {"flip one short", "swap two columns", "scale an optimizer's weight by 1.1", "move the synthetic dates"}
)
CRASHES = 2
"""Places of each kind of fault, of the hundreds that a run has; the tests take all of them."""
CRASH_NAMES = {
    "kill": "kill the process between two writes, resume",
    "tear": "tear a write, resume",
    "power": "cut the power, resume",
    "eio": "fail a sync, resume",
    "full": "fill the disk, resume",
}


@dataclass(frozen=True)
class Case:
    """One attempt: what must be told of it, and what makes it.

    ``told`` takes the sandbox and an empty folder, and returns the codes of what was noticed; one of ``expected`` must
    be among them. A ``quick`` case belongs to ``assay selftest --quick`` too.
    """

    group: str
    """``steps``, ``files``, ``replay``, ``causality`` or ``crash``."""
    name: str
    expected: frozenset[str]
    told: Callable[[Sandbox, Path], set[str]]
    quick: bool = True


@dataclass(frozen=True)
class Result:
    """How an attempt ended; ``by`` are all codes that were told."""

    case: Case
    by: tuple[str, ...]

    @property
    def caught(self) -> bool:
        """Whether it was caught by what must catch it."""
        return not self.case.expected.isdisjoint(self.by)

    def as_dict(self) -> dict[str, object]:
        """Return the result as a JSON object."""
        return {
            "group": self.case.group,
            "attempt": self.case.name,
            "expected": sorted(self.case.expected),
            "told": list(self.by),
            "caught": self.caught,
        }


def cases() -> list[Case]:
    """Return every case, in the order in which they are attempted."""
    return [*_steps(), *_files(), *_replays(), *_causality(), *_crashes()]


def attempt(case: Case, sandbox: Sandbox) -> Result:
    """Make one attempt in a folder of its own; an error of ours counts as told, by its code."""
    with tempfile.TemporaryDirectory(dir=sandbox.home.path) as scratch:
        try:
            told = case.told(sandbox, Path(scratch))
        except AssayError as error:
            told = {error.code}
    return Result(case, tuple(sorted(told)))


def _steps() -> Iterator[Case]:
    def told(mutant: StepMutant, sandbox: Sandbox, _: Path) -> set[str]:
        return told_by(sandbox, mutant)

    def replaced(sandbox: Sandbox, _: Path) -> set[str]:
        return told_by(sandbox, replaced_artifact(sandbox))

    for name, mutant in STEP_MUTANTS.items():
        yield Case("steps", name, mutant.codes, partial(told, mutant), name in QUICK_STEPS)
    expected = frozenset({"ATOMIC_HASH_MISMATCH", "ATOMIC_CROSS_ARTIFACT"})
    yield Case("steps", "replace an artifact by another run's", expected, replaced)


def _files() -> Iterator[Case]:
    def told(edit: tampering.Edit, sandbox: Sandbox, scratch: Path) -> set[str]:
        runs = sandbox.copy(scratch)
        short, long = (runs / sandbox.profiles[profile].name for profile in (SHORT, LONG))
        return tampering.told_by(tampering.Scene(runs, short, long), edit)

    for name, edit in tampering.EDITS.items():
        yield Case("files", name, frozenset({edit.code}), partial(told, edit))


def _replays() -> Iterator[Case]:
    def told(sandbox: Sandbox, _: Path) -> set[str]:
        return {replay(sandbox.home, sandbox.sealed(SHORT)).verdict}

    yield Case("replay", "run again from the manifest", frozenset({"EQUAL"}), told)


def _causality() -> Iterator[Case]:
    def told(leaky: bool, sandbox: Sandbox, _: Path) -> set[str]:
        return {"CAUSAL" if probed(sandbox.request(SHORT), leaky=leaky).ok else "CAUSALITY"}

    yield Case("causality", "replace the future of a walk-forward", frozenset({"CAUSAL"}), partial(told, False))
    yield Case("causality", "decide on tomorrow's bar", frozenset({"CAUSALITY"}), partial(told, True))


def _crashes() -> Iterator[Case]:
    def told(kind: Kind, sandbox: Sandbox, _: Path) -> set[str]:
        workload, operations = _workload(sandbox.home.path)
        faults = faults_of(operations, [kind], sample=CRASHES, seed=1)
        survivals = [crash_at(workload, fault) for fault in faults]
        problems = {problem for survival in survivals for problem in survival.problems}
        return problems if problems or not survivals else {"RESUMED"}

    for kind in KINDS:
        yield Case("crash", CRASH_NAMES[kind], frozenset({"RESUMED"}), partial(told, kind), quick=kind == "tear")


@lru_cache(maxsize=1)
def _workload(home: Path) -> tuple[RunWorkload, Sequence[Operation]]:
    """Return a run with what its undisturbed twin gave, and every change that it makes to the disk."""
    plain = RunWorkload(home, SHORT, "sample", AS_OF, SETTINGS)
    workload = replace(plain, expected=plain.twin())
    return workload, count_writes(workload)
