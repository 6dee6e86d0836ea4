"""Four real sleeves on the embedded sample, made once for all tests, and portfolios of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from assay.pipeline.context import GivenPortfolio, Made, Said, Step
from assay.pipeline.flow import Foundation, lay_foundation, requests
from assay.pipeline.runner import execute
from assay.pipeline.tables import META_STEPS as STEPS
from assay.runs.documents import Pin
from assay.runs.home import Home, RunResult, claim
from assay.runs.request import MetaRequest, pin
from assay.runs.run import Run
from assay.settings import load
from assay.settings.model import MetaProfile

META = "meta_binance_spot_ratings"
SHORTS = tuple(
    f"caps.{name}=1.0" for name in ("atom_short", "cluster_short", "cluster_short_turbulent", "cluster_short_crisis")
)
"""With the canon's caps the sample's short sleeves are nearly in cash, and a portfolio leaves them out."""
SLEEVES = tuple(f"binance_spot_rating_{logic}_{side}" for logic in ("all", "ma") for side in ("long", "short"))


@dataclass(frozen=True)
class Assembly:
    """A home with four sealed sleeves, in which portfolios are made."""

    home: Home
    foundation: Foundation
    pins: dict[str, Pin]

    def request(
        self,
        profile: MetaProfile | None = None,
        pins: dict[str, Pin] | None = None,
        as_of: dt.datetime | None = None,
        run_id: str | None = None,
    ) -> MetaRequest:
        settings = profile or load().meta(META)
        known = self.pins | (pins or {})
        return MetaRequest(
            home=self.home.path,
            run=claim(self.home.runs, settings.name, run_id, dt.datetime.now(dt.UTC)),
            profile=settings,
            provenance={},
            pins=tuple(known[sleeve] for sleeve in settings.sleeves),
            passed_over=(),
            source=self.foundation.source,
            lake=self.foundation.lake.folder.relative_to(self.home.path).as_posix(),
            as_of=as_of or self.foundation.as_of,
        )

    def run(self, request: MetaRequest, steps: tuple[Step, ...] = STEPS) -> tuple[Path, RunResult]:
        return request.run, execute(request, steps=steps)

    def pin_of(self, folder: Path, sleeve: str) -> Pin:
        return pin(self.home.runs, sleeve, folder.name)


def mutated(after: str, mutation: Callable[[Run], Made]) -> tuple[Step, ...]:
    """The table of steps with a fault in one of them: the step works, then the mutation does."""

    def work(step: Step) -> Callable[[GivenPortfolio], Iterator[Said]]:
        def faulty(given: GivenPortfolio) -> Iterator[Said]:
            yield from step.work(given)
            yield mutation(Run(given.run.folder))

        return faulty

    return tuple(replace(step, work=work(step)) if step.name == after else step for step in STEPS)


@pytest.fixture(scope="session")
def assembly(built_once) -> Assembly:
    def build(folder: Path) -> None:
        home = Home(folder)
        foundation = lay_foundation(home, load(), "sample")
        for request in requests(home, load(settings=SHORTS), foundation, SLEEVES):
            outcome = execute(request)
            assert outcome.state == "VALID", outcome.error

    home = Home(built_once("meta", build))
    runs = sorted(path.name for path in home.runs.iterdir() if path.is_dir())
    pins = {name: pin(home.runs, name, run) for name in SLEEVES for run in runs if run.startswith(f"{name}_")}
    assert len(pins) == len(runs) == len(SLEEVES)
    return Assembly(home, lay_foundation(home, load(), "sample"), pins)


@pytest.fixture(scope="session")
def portfolio(assembly) -> Path:
    """The canonical portfolio of the four sleeves, sealed."""
    folder, outcome = assembly.run(assembly.request())
    assert outcome.state == "VALID", outcome.error
    return folder
