"""A home folder of its own, with the embedded sample in its lake, in which runs are made and broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from assay.base.errors import InternalError
from assay.pipeline.context import GivenSleeve, Made, Said, Step
from assay.pipeline.flow import Foundation, lay_foundation, requests
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.runs.home import Home, RunResult
from assay.runs.request import Request
from assay.runs.run import Run
from assay.settings import load

AS_OF = "2023-10-20"
"""A day of the sample on which both sides hold many coins."""
LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"

Mutation = Callable[[Run], Made]
"""Reads a run directory, and returns what is put in the place of its artifacts."""


def mutated(after: str, mutation: Mutation) -> tuple[Step, ...]:
    """Return the table of steps with a fault in one of them: the step works, then the mutation does."""

    def work(step: Step) -> Callable[[GivenSleeve], Iterator[Said]]:
        def faulty(given: GivenSleeve) -> Iterator[Said]:
            yield from step.work(given)
            yield mutation(Run(given.run.folder))

        return faulty

    return tuple(replace(step, work=work(step)) if step.name == after else step for step in STEPS)


@dataclass(frozen=True)
class Sandbox:
    """A home with the sample in its lake, what phase 1 left there, and settings of every run that names no others."""

    home: Home
    foundation: Foundation
    settings: tuple[str, ...] = ()
    _sealed: dict[str, Path] = field(default_factory=dict, repr=False)

    @classmethod
    def at(cls, folder: Path, settings: tuple[str, ...] = ()) -> Sandbox:
        """Make one in an empty folder."""
        home = Home(folder)
        return cls(home, lay_foundation(home, load(), "sample", AS_OF), settings)

    def request(
        self, profile: str = SHORT, settings: tuple[str, ...] | None = None, run_id: str | None = None
    ) -> Request:
        """Claim a run directory."""
        chosen = self.settings if settings is None else settings
        [made] = requests(self.home, load(settings=chosen), self.foundation, [profile], run_id)
        return made

    def run(
        self,
        profile: str = SHORT,
        settings: tuple[str, ...] | None = None,
        steps: tuple[Step, ...] = STEPS,
    ) -> tuple[Path, RunResult]:
        """Execute a run in this process."""
        request = self.request(profile, settings)
        return request.run, execute(request, steps=steps)

    def sealed(self, profile: str) -> Path:
        """Return a sealed run of a profile, made when first asked for."""
        if profile not in self._sealed:
            folder, outcome = self.run(profile)
            if outcome.error is not None:
                what = f"a run on the embedded sample failed: {outcome.error['what']}"
                raise InternalError(what, where=str(folder), hint="install the package again, or report this")
            self._sealed[profile] = folder
        return self._sealed[profile]

    @cached_property
    def profiles(self) -> Mapping[str, Path]:
        """One sealed run of each side."""
        return {profile: self.sealed(profile) for profile in (LONG, SHORT)}

    def copy(self, folder: Path) -> Path:
        """Copy both sealed runs and the registry into an empty folder, to be broken there; return it."""
        for run in self.profiles.values():
            shutil.copytree(run, folder / run.name)
        shutil.copy(self.home.registry, folder / self.home.registry.name)
        return folder
