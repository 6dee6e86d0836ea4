"""Two to four runs and an ingest, interleaved at every change of the disk as a seed says: nobody meets anybody.

The steps are four small ones; ledger, registry, seal, verifier, files and lake are the real ones. One case in a hundred
runs the real fifteen steps. In one of three a run dies on the way, and is resumed when the others have ended.
"""

import datetime as dt
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import polars as pl
import pytest
from crash_lake import content
from crash_world import LONG, SMALL, make_bars
from isolation_schedule import PausingDisk, Schedule
from loops import often

from assay.base.domain import UTC
from assay.base.errors import GateError
from assay.lake import delta
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.pipeline import flow
from assay.pipeline.context import Gate, Step, event
from assay.pipeline.flow import Foundation, lay_foundation, requests
from assay.pipeline.replay import recorded_artifacts
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.runs import artifacts as layout
from assay.runs import registry
from assay.runs.artifacts import Artifact
from assay.runs.documents import BookRuin, CapitalPreservation
from assay.runs.home import Home, Status, claim
from assay.runs.ledger import LOCKED, SEALED, check_chain
from assay.runs.verify import verify
from assay.selftest.faults import Died, FaultyDisk, writing_to
from assay.settings import load

PARTS, REAL = 4, 100
NOW = dt.datetime(2024, 1, 21, tzinfo=UTC)


HIGHS: Artifact[pl.DataFrame] = Artifact("data/highs.parquet")
SHARES: Artifact[dict] = Artifact("data/shares.json")
SURVIVED = CapitalPreservation(
    guard_enabled=True,
    guard_days=60,
    rebalances=1,
    rebalances_in_cash=0,
    mean_loss_makers=0.0,
    no_loss_maker_held=True,
    standing={},
    profiles={},
    ruin={"hrp": BookRuin(ruined=False, cause="none", date=None, lowest_nav=1.0)},
)
"""The seal says of every sleeve whether its book was ruined, and reads it here."""


def preflight(given):
    yield {layout.MANIFEST: given.request.manifest()}


def look(given):
    yield {HIGHS: given.snapshot.bars().group_by("symbol").agg(pl.col("close").max(), pl.len()).sort("symbol")}
    yield event("PINNED", "looked at the pinned head", {"head": given.run[layout.MANIFEST]["lake"]["head"]})


def derive(given):
    table = given.run[HIGHS]
    yield {SHARES: dict(zip(table["symbol"], table["close"] / table["len"], strict=True))}
    yield Gate("small", True, table.height, [], GateError("", where="small"))


def report(given):
    assert given.run[SHARES]
    yield {layout.WALK_STATISTICS: {"as_run": {"hrp": {"sharpe": 1.0}}}, layout.PRESERVATION: SURVIVED}
    yield {layout.REPORT: "what was found\n"}


SMALL_STEPS = (
    Step(1, "preflight", preflight, (), (layout.MANIFEST,)),
    Step(2, "look", look, (layout.MANIFEST,), (HIGHS,)),
    Step(3, "derive", derive, (HIGHS,), (SHARES,)),
    Step(4, "report", report, (SHARES,), (layout.WALK_STATISTICS, layout.PRESERVATION, layout.REPORT), seals=True),
)


@dataclass(frozen=True)
class World:
    """A home at its first head, whose source has moved on; and what a run makes of each head."""

    home: Home
    foundation: Foundation
    heads: dict[int, dict[str, str]]
    behind: Home
    """Where twins are made."""
    grounds: dict[int, Foundation]
    twins: dict[tuple[int, bool], dict[str, str]]

    def twin(self, head, real):
        """Content of a run on a head that nobody disturbed."""
        if (head, real) not in self.twins:
            [request] = requests(self.behind, load(settings=SMALL), self.grounds[head], [LONG])
            with writing_to(FaultyDisk()):
                assert execute(request, steps=STEPS if real else SMALL_STEPS).state == "VALID"
            self.twins[head, real] = recorded_artifacts(request.run)
        return self.twins[head, real]

    def copy(self, folder: Path) -> "World":
        home = Home(folder / "home")
        shutil.copytree(self.home.path, home.path)
        lake = Lake(home.path, self.foundation.source)
        path = home.path / self.foundation.path.relative_to(self.home.path)
        snapshot = lake.pin(self.foundation.snapshot.head)
        return replace(self, home=home, foundation=replace(self.foundation, lake=lake, snapshot=snapshot, path=path))

    def request(self, own_ground):
        """Claim a run on the first head, or on whatever the source holds now."""
        catalog = load(settings=SMALL)
        ground = lay_foundation(self.home, catalog, self.foundation.source) if own_ground else self.foundation
        [made] = requests(self.home, catalog, ground, [LONG])
        return made


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    path = folder / "bars.parquet"
    make_bars(days=289).write_parquet(path)
    home, source, catalog = Home(folder / "home"), f"parquet:{path}", load(settings=SMALL)
    foundation = lay_foundation(home, catalog, source)
    shutil.copytree(home.path, folder / "first")
    make_bars().write_parquet(path)
    later = lay_foundation(home, catalog, source)
    assert (foundation.snapshot.head, later.snapshot.head) == (1, 2)
    heads = {head: content(foundation.lake.pin(head)) for head in (1, 2)}
    assert heads[1] != heads[2]
    first = replace(foundation, path=folder / "first" / foundation.path.relative_to(home.path))
    return World(Home(folder / "first"), first, heads, home, {1: foundation, 2: later}, {})


def play(world, folder, seed, monkeypatch, real):
    """Play one case and check it; return the order in which the threads went on."""
    random = Random(seed)
    here = world.copy(folder)
    steps = STEPS if real else SMALL_STEPS
    schedule = Schedule(seed)
    n = random.randint(2, 4)
    dies = {random.randrange(n): random.randint(1, 400 if real else 70)} if random.random() < 1 / 3 else {}
    grounds = [random.random() < 1 / 4 for _ in range(n)]
    made = [None] * n

    def work(number):
        def run():
            made[number] = here.request(grounds[number])
            return execute(made[number], steps=steps)

        return run

    write = delta.write

    def pausing(*arguments, **options):
        schedule.pause()
        version = write(*arguments, **options)
        schedule.pause()
        return version

    with monkeypatch.context() as patch, writing_to(PausingDisk(schedule, dies)):
        patch.setattr(delta, "write", pausing)
        # All start in the same second: the names that they get differ, and the schedule does not.
        patch.setattr(flow, "claim", lambda parent, stem, name, _now, **how: claim(parent, stem, name, NOW, **how))
        *ends, report = schedule.run([*(work(number) for number in range(n)), lambda: ingest(here.foundation.lake)])
    assert report.head == 2
    for number, end in enumerate(ends):
        if isinstance(end, Died):
            ends[number] = again(made[number], steps)
        else:
            assert getattr(end, "state", end) == "VALID", end
    check(here, [request for request, end in zip(made, ends, strict=True) if end is not None], real)
    return schedule.trace


def again(request, steps):
    """Resume a run that died, once it had been claimed."""
    if request is None:
        return None
    end = execute(replace(request, resume=True), steps=steps)
    assert end.state == "VALID", end
    return end


def check(world, wanted, real):
    path = world.home.registry
    ids = [request.run.name for request in wanted]
    assert len(set(ids)) == len(ids)
    assert sorted(run.run_id for run in registry.entries(path)) == sorted(ids)
    assert registry.check(path) >= len(ids)
    for request in wanted:
        assert verify(request.run, registry=path).ok
        assert check_chain(request.run / layout.LEDGER) > 8
        assert recorded_artifacts(request.run) == world.twin(request.head, real)
        assert Status.read(request.run).state == "VALID"
    lake = world.foundation.lake
    assert [head.head for head in lake.heads()] == [1, 2]
    assert {head: content(lake.pin(head)) for head in (1, 2)} == world.heads


def play_many(world, tmp_path, monkeypatch, seeds):
    traces = set()
    for seed in seeds:
        folder = tmp_path / str(seed)
        traces.add(tuple(play(world, folder, seed, monkeypatch, real=seed % REAL == 0)))
        shutil.rmtree(folder)
    return traces


def test_twenty_interleavings_of_runs_and_an_ingest(world, tmp_path, monkeypatch):
    assert len(play_many(world, tmp_path, monkeypatch, range(1, 21))) == 20


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_thousand_interleavings_of_runs_and_an_ingest(world, tmp_path, monkeypatch, part):
    seeds = range(part, often("INTERLEAVINGS"), PARTS)
    assert len(play_many(world, tmp_path, monkeypatch, seeds)) == len(seeds)


def test_a_seed_is_a_schedule(world, tmp_path, monkeypatch):
    traces = [play(world, tmp_path / name, 12, monkeypatch, real=False) for name in "ab"]
    assert traces[0] == traces[1]


@pytest.mark.parametrize("seed", range(2))
def test_two_that_resume_one_run_do_not_disturb_each_other(world, tmp_path, seed):
    here = world.copy(tmp_path)
    request = here.request(False)
    schedule = Schedule(0)
    with writing_to(PausingDisk(schedule, {0: 60})):
        [end] = schedule.run([lambda: execute(request, steps=SMALL_STEPS)])
    assert isinstance(end, Died)
    schedule = Schedule(seed)
    with writing_to(PausingDisk(schedule)):
        ends = schedule.run([lambda: execute(replace(request, resume=True), steps=SMALL_STEPS)] * 2)
    assert {end.state for end in ends} >= {"VALID"}
    assert {end.error["code"] for end in ends if end.error} <= {LOCKED, SEALED}
    ingest(here.foundation.lake)
    check(here, [request], False)
