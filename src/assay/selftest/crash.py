"""Crash a piece of work at any change of the disk, go on with it, and say what was lost: nothing may be.

:func:`count_writes` does a workload whole and returns its changes of the disk; :func:`crash_at` fails one of them in
this process and resumes.

>>> workload = RunWorkload(home, "binance_spot_rating_all_long", "sample")  # doctest: +SKIP
>>> len(count_writes(workload)) > 400  # doctest: +SKIP
True
>>> crash_at(workload, Fault(100, "power")).problems  # doctest: +SKIP
()
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol, Self

from assay.base.errors import AssayError, Exit
from assay.pipeline.flow import lay_foundation, requests, resumption
from assay.pipeline.replay import recorded_artifacts
from assay.pipeline.runner import execute
from assay.runs import artifacts as layout
from assay.runs import registry
from assay.runs.home import Home, RunResult, Status
from assay.runs.ledger import read_ledger
from assay.runs.verify import verify
from assay.selftest.faults import KINDS, Died, Fault, FaultyDisk, Kind, Operation, writing_to
from assay.settings import load

DISK = "DISK"
"""Code of the error that a failing disk must end in."""


@dataclass(frozen=True)
class Ended:
    """How one attempt ended: exit code, and the code of its error."""

    exit_code: int
    error: str | None = None

    @classmethod
    def of(cls, outcome: RunResult) -> Self:
        """Return how a run ended."""
        return cls(outcome.exit_code, None if outcome.error is None else str(outcome.error["code"]))


class Workload(Protocol):
    """A piece of work that can be crashed; picklable, so that another process can do it."""

    def begin(self) -> Ended:
        """Do it from the start."""

    def resume(self) -> Ended:
        """Go on after a crash, as its user would."""

    def problems(self) -> list[str]:
        """Say what is not as an undisturbed one leaves it; called once it has ended well."""

    def clear(self) -> None:
        """Remove what it left, so that it can begin again."""


@dataclass(frozen=True)
class Survival:
    """What became of a workload that met a fault."""

    fault: Fault
    operation: Operation | None
    """None where the process died for real: its count died with it."""
    first: Ended | None
    """None where the first attempt died."""
    resumed: Ended
    problems: tuple[str, ...]
    """What is wrong; empty if everything held."""


def count_writes(workload: Workload) -> list[Operation]:
    """Do a workload undisturbed and return every change of the disk that it made, in order.

    Raises
    ------
    AssertionError
        If it does not end well even so.
    """
    disk = FaultyDisk()
    with writing_to(disk):
        ended = workload.begin()
    found = workload.problems() if ended.exit_code == Exit.OK else [f"it ended with {ended}"]
    workload.clear()
    if found:
        raise AssertionError(f"undisturbed: {found}")
    return disk.operations


def faults_of(
    operations: Sequence[Operation], kinds: Sequence[Kind] = KINDS, sample: int | None = None, seed: int = 0
) -> Iterator[Fault]:
    """Yield each fault that a workload can meet: every operation and every kind, or a random sample of each kind."""
    random = Random(seed)  # noqa: S311 - repeatable, and no secret
    for kind in kinds:
        possible = [k for k, one in enumerate(operations, start=1) if Fault(k, kind).applies(one)]
        chosen = possible if sample is None else sorted(random.sample(possible, min(sample, len(possible))))
        for k in chosen:
            yield Fault(k, kind, seed=random.randrange(1 << 30))


def crash_at(workload: Workload, fault: Fault) -> Survival:
    """Do a workload up to a fault in this process, resume it on a sound disk, look what is wrong; leave nothing."""
    disk = FaultyDisk(fault)
    first: Ended | None = None
    with writing_to(disk), suppress(Died):
        first = workload.begin()
    if first is not None:
        disk.cut_power()  # whoever was told of an error may still lose what was not synced
    operation = disk.operations[fault.at - 1] if len(disk.operations) >= fault.at else None
    return survive(workload, fault, operation, first)


def survive(workload: Workload, fault: Fault, operation: Operation | None, first: Ended | None) -> Survival:
    """Resume a workload whose first attempt has met a fault, look what is wrong, and clear it away."""
    found = []
    if fault.kind in ("eio", "full"):
        if first != Ended(Exit.INTERNAL, DISK):
            found.append(f"a failing disk ended the first attempt with {first}")
    elif first is not None:
        found.append(f"it did not die but ended with {first}")
    with writing_to(FaultyDisk()):  # sound, and without the wait for real syncs
        resumed = workload.resume()
    found += workload.problems() if resumed.exit_code == Exit.OK else [f"resumed, it ended with {resumed}"]
    workload.clear()
    return Survival(fault, operation, first, resumed, tuple(found))


@dataclass(frozen=True)
class RunWorkload:
    """One run of a profile, as ``assay run`` does it, on a source whose lake is there; only the lake stays."""

    home: Path
    profile: str
    source: str
    as_of: str | None = None
    settings: tuple[str, ...] = ()
    run_id: str = "crashed"
    expected: dict[str, str] | None = None
    """Content hashes of the artifacts of an undisturbed twin."""
    registry: bytes | None = field(init=False)
    """The registry before, to which :meth:`clear` goes back."""

    def __post_init__(self) -> None:
        path = Home(self.home).registry
        object.__setattr__(self, "registry", path.read_bytes() if path.is_file() else None)

    @property
    def folder(self) -> Path:
        """Directory of the run."""
        return Home(self.home).runs / self.run_id

    def begin(self) -> Ended:
        """Lay the foundation, claim the directory, execute."""
        home, catalog = Home(self.home), load(settings=self.settings)
        try:
            foundation = lay_foundation(home, catalog, self.source, self.as_of)
            [request] = requests(home, catalog, foundation, [self.profile], self.run_id)
        except AssayError as error:
            return Ended(error.exit_code, error.code)
        return Ended.of(execute(request))

    def resume(self) -> Ended:
        """Resume the run; where not even its directory was claimed, give the command again."""
        if not self.folder.is_dir():
            return self.begin()
        home, catalog = Home(self.home), load(settings=self.settings)
        return Ended.of(execute(resumption(home, catalog, self.profile, self.source, self.as_of, self.run_id)))

    def twin(self) -> dict[str, str]:
        """Run undisturbed, and return the content hashes of what came out."""
        with writing_to(FaultyDisk()):
            result = self.begin()
        if result.exit_code != Exit.OK:
            raise AssertionError(f"undisturbed, the run ended with {result}")
        made = recorded_artifacts(self.folder)
        self.clear()
        return made

    def problems(self) -> list[str]:
        """Compare with the twin; look for steps that were done again, and at ledger, seal and registry."""
        return run_problems(Home(self.home), self.folder, self.expected)

    def clear(self) -> None:
        """Remove the run, and its line of the registry."""
        path = Home(self.home).registry
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.registry is not None:
            path.write_bytes(self.registry)
        elif path.parent.is_dir() and not Home(self.home).run_ids():
            shutil.rmtree(path.parent)


def run_problems(home: Home, folder: Path, expected: dict[str, str] | None) -> list[str]:
    """Say what is wrong with a run that has ended well after a crash."""
    found = [str(problem) for problem in verify(folder, registry=home.registry).problems]
    made = recorded_artifacts(folder)
    if expected is not None and made != expected:
        names = sorted(name for name in made.keys() | expected.keys() if made.get(name) != expected.get(name))
        found.append(f"content differs from the undisturbed twin's: {', '.join(names)}")
    entries = read_ledger(folder / layout.LEDGER)
    begun = Counter(entry.body["step"] for entry in entries if entry.kind == "intent")
    again = [step for step, times in begun.items() if times > 1]
    if len(again) > 1 or any(times > 2 for times in begun.values()):
        found.append(f"more than the step that was cut was done again: {again}")
    well = Counter(e.body["step"] for e in entries if e.kind == "outcome" and e.body["state"] == "ok")
    if set(well.values()) != {1} or well.keys() != begun.keys():
        found.append(f"a step that had ended well was done again: {dict(well)}")
    if Status.read(folder).state != "VALID":
        found.append(f"its status is {Status.read(folder).state}")
    registry.check(home.registry)
    times = [run.run_id for run in registry.entries(home.registry)].count(folder.name)
    if times != 1:
        found.append(f"the registry holds the run {times} times")
    return found
