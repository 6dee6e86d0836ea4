"""Real runs on the embedded sample, made once for all tests of a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from assay.context import Context, Request
from assay.flow import Foundation, lay_foundation, requests
from assay.pipeline import STEPS, Step
from assay.profile import load
from assay.runner import Outcome, execute
from assay.runs import Home

AS_OF = "2023-10-20"
"""A day of the sample on which both sides hold many coins."""
LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"


@dataclass(frozen=True)
class Workshop:
    """A home with the sample in its lake, in which runs are made."""

    home: Home
    foundation: Foundation

    def request(self, profile: str = SHORT, settings: tuple[str, ...] = (), run_id: str | None = None) -> Request:
        [made] = requests(self.home, load(settings=settings), self.foundation, [profile], run_id)
        return made

    def run(
        self, profile: str = SHORT, settings: tuple[str, ...] = (), steps: tuple[Step, ...] = STEPS
    ) -> tuple[Path, Outcome]:
        request = self.request(profile, settings)
        return request.run, execute(request, steps=steps)


Mutation = Callable[[Context], None]


def mutated(after: str, mutation: Mutation) -> tuple[Step, ...]:
    """The table of steps with a fault in one of them: the step works, then the mutation does."""

    def work(step: Step) -> Callable[[Context], None]:
        def faulty(context: Context) -> None:
            step.work(context)
            mutation(context)

        return faulty

    return tuple(replace(step, work=work(step)) if step.name == after else step for step in STEPS)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory) -> Workshop:
    home = Home(tmp_path_factory.mktemp("home"))
    return Workshop(home, lay_foundation(home, load(), "sample", AS_OF))


@pytest.fixture(scope="session")
def finished(workshop) -> dict[str, Path]:
    """One sealed run of each side."""
    made = {}
    for profile in (LONG, SHORT):
        folder, outcome = workshop.run(profile)
        assert outcome.state == "VALID", outcome.error
        made[profile] = folder
    return made
