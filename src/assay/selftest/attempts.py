"""The register of attempts: what is tried, what must catch it, and what did."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from assay.base.errors import AssayError
from assay.pipeline.replay import replay
from assay.selftest import tampering
from assay.selftest.leaks import probed
from assay.selftest.step_mutants import STEP_MUTANTS, StepMutant, replaced_artifact, told_by
from assay.selftest.workshop import AS_OF, LONG, SHORT, Workshop

if TYPE_CHECKING:
    from assay.selftest.crash import RunJob
    from assay.selftest.faults import Operation

SETTINGS = ("walk_forward.days=40",)
"""Runs of the self-test look back over few days: their gates are the same."""
QUICK_STEPS = frozenset(
    {"flip one short", "swap two columns", "scale an optimizer's weight by 1.1", "move the synthetic dates"}
)
UNIVERSES, QUICK_UNIVERSES = 100, 15
BATCH = 25
CRASHES = 2
"""Places of each kind of fault, of the hundreds that a run has; the tests take all of them."""
CRASH_NAMES = {
    "kill": "kill the process between two writes, resume",
    "tear": "tear a write, resume",
    "power": "cut the power, resume",
    "eio": "fail a sync, resume",
    "full": "fill the disk, resume",
}

Told = Callable[[Workshop, Path], set[str]]
"""Takes the workshop and an empty folder; returns the codes of what was noticed."""


@dataclass(frozen=True)
class Attempt:
    """One attempt.

    Attributes
    ----------
    group, name : str
        ``steps``, ``files``, ``replay``, ``causality``, ``markets`` or ``crash``, and what is done.
    expected : frozenset of str
        Codes of which one must be told.
    told : callable
        Makes the attempt.
    quick : bool
        Belongs to ``assay selftest --quick`` too.
    """

    group: str
    name: str
    expected: frozenset[str]
    told: Told
    quick: bool = True


@dataclass(frozen=True)
class Result:
    """How an attempt ended; ``by`` are all codes that were told."""

    attempt: Attempt
    by: tuple[str, ...]

    @property
    def caught(self) -> bool:
        """Whether it was caught by what must catch it."""
        return not self.attempt.expected.isdisjoint(self.by)

    def as_dict(self) -> dict[str, object]:
        """Return the result as a JSON object."""
        attempt = self.attempt
        return {
            "group": attempt.group,
            "attempt": attempt.name,
            "expected": sorted(attempt.expected),
            "told": list(self.by),
            "caught": self.caught,
        }


def attempts() -> list[Attempt]:
    """Return every attempt, in the order in which they are made."""
    return [*_steps(), *_files(), *_replays(), *_causality(), *_crashes(), *_markets()]


def make(attempt: Attempt, workshop: Workshop) -> Result:
    """Make one attempt in a folder of its own; an error of ours counts as told, by its code."""
    with tempfile.TemporaryDirectory(dir=workshop.home.path) as scratch:
        try:
            told = attempt.told(workshop, Path(scratch))
        except AssayError as error:
            told = {error.code}
    return Result(attempt, tuple(sorted(told)))


def _steps() -> Iterator[Attempt]:
    def told(mutant: StepMutant, workshop: Workshop, _: Path) -> set[str]:
        return told_by(workshop, mutant)

    def replaced(workshop: Workshop, _: Path) -> set[str]:
        return told_by(workshop, replaced_artifact(workshop))

    for name, mutant in STEP_MUTANTS.items():
        yield Attempt("steps", name, mutant.codes, partial(told, mutant), name in QUICK_STEPS)
    expected = frozenset({"ATOMIC_HASH_MISMATCH", "ATOMIC_CROSS_ARTIFACT"})
    yield Attempt("steps", "replace an artifact by another run's", expected, replaced)


def _files() -> Iterator[Attempt]:
    def told(edit: tampering.Edit, note: bool, workshop: Workshop, scratch: Path) -> set[str]:
        runs = workshop.copy(scratch)
        names = {profile: run.name for profile, run in workshop.profiles.items()}
        scene = tampering.Scene(runs, runs / names[SHORT], runs / names[LONG])
        return tampering.told_by(scene, edit, note=note)

    for name, (edit, expected, note) in tampering.EDITS.items():
        yield Attempt("files", name, expected, partial(told, edit, note))


def _replays() -> Iterator[Attempt]:
    def told(workshop: Workshop, _: Path) -> set[str]:
        return {replay(workshop.home, workshop.sealed(SHORT)).verdict}

    yield Attempt("replay", "run again from the manifest", frozenset({"EQUAL"}), told)


def _causality() -> Iterator[Attempt]:
    def told(leaky: bool, workshop: Workshop, _: Path) -> set[str]:
        request = workshop.request(SHORT)
        return {"CAUSAL" if probed(request, leaky=leaky).ok else "CAUSALITY"}

    yield Attempt("causality", "replace the future of a walk-forward", frozenset({"CAUSAL"}), partial(told, False))
    yield Attempt("causality", "decide on tomorrow's bar", frozenset({"CAUSALITY"}), partial(told, True))


def _crashes() -> Iterator[Attempt]:
    from assay.selftest.crash import crash_at, faults_of
    from assay.selftest.faults import KINDS, Kind

    def told(kind: Kind, workshop: Workshop, _: Path) -> set[str]:
        job, operations = _job(workshop.home.path)
        faults = faults_of(operations, [kind], sample=CRASHES, seed=1)
        survivals = [crash_at(job, fault) for fault in faults]
        problems = {problem for survival in survivals for problem in survival.problems}
        return problems if problems or not survivals else {"RESUMED"}

    for kind in KINDS:
        yield Attempt("crash", CRASH_NAMES[kind], frozenset({"RESUMED"}), partial(told, kind), quick=kind == "tear")


@lru_cache(maxsize=1)
def _job(home: Path) -> tuple[RunJob, Sequence[Operation]]:
    """Return a run with what its undisturbed twin gave, and every change that it makes to the disk."""
    from assay.selftest.crash import RunJob, count_writes

    plain = RunJob(home, SHORT, "sample", AS_OF, SETTINGS)
    job = replace(plain, expected=plain.twin())
    return job, count_writes(job)


def _markets() -> Iterator[Attempt]:
    from assay.selftest.degenerate import attempt
    from assay.selftest.universes import draw

    def told(seeds: range, _workshop: Workshop, _scratch: Path) -> set[str]:
        faults = [f"{seed}: {fault}" for seed in seeds for fault in attempt(draw(seed)).faults]
        return set(faults) or {"HOLDS"}

    for first in (0, *range(QUICK_UNIVERSES, UNIVERSES, BATCH)):
        seeds = range(first, min(first + BATCH, UNIVERSES) if first else QUICK_UNIVERSES)
        name = f"degenerate markets {seeds.start} to {seeds.stop - 1}"
        yield Attempt("markets", name, frozenset({"HOLDS"}), partial(told, seeds), quick=first == 0)
