"""What else writes: portfolios of sleeves, a flow's folder, the shelf of supersets; each survives what runs survive."""

from dataclasses import replace

import pytest
from crash_jobs import FlowJob, Ground, MetaJob, ShelfJob, shelved
from crash_kills import kill_at
from crash_world import LONG, MA_LONG, WIDE, make_home
from loops import often

from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.replay import recorded_artifacts
from assay.pipeline.runner import execute
from assay.selftest.crash import count_writes, crash_at, faults_of
from assay.selftest.faults import KINDS, FaultyDisk, writing_to
from assay.settings import load

META = "meta_binance_spot_ratings"


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A home with two sealed sleeves; the source; the foundation; how the sleeves ended."""
    home, source = make_home(tmp_path_factory.mktemp("others"), WIDE)
    foundation = lay_foundation(home, load(settings=WIDE), source)
    outcomes = []
    for profile in (LONG, MA_LONG):
        [request] = requests(home, load(settings=WIDE), foundation, [profile], profile)
        with writing_to(FaultyDisk()):
            outcomes.append(execute(request))
        assert outcomes[-1].state == "VALID", outcomes[-1]
    return home, source, foundation, tuple(outcomes)


@pytest.fixture(scope="session")
def portfolio(place):
    home, _, foundation, outcomes = place
    changes = {"sleeves": (LONG, MA_LONG), "min_days": 20, "train": 20}
    ground = Ground(foundation.source, foundation.lake.folder.relative_to(home.path).as_posix(), foundation.as_of)
    made = MetaJob(
        home,
        load().meta(META).model_copy(update=changes),
        {outcome.profile: outcome.run_id for outcome in outcomes},
        ground,
        home.registry.read_bytes(),
    )
    assert made.begin().exit_code == 0
    expected = recorded_artifacts(made.folder)
    made.clear()
    return replace(made, expected=expected)


@pytest.fixture(scope="session")
def flow(place):
    home, _, foundation, outcomes = place
    made = FlowJob(home, foundation, outcomes)
    assert made.begin().exit_code == 0
    [folder] = home.flows.iterdir()
    expected = made.kept(folder)
    made.clear()
    return replace(made, expected=expected)


@pytest.fixture(scope="session")
def shelf(place):
    home, source, foundation, _ = place
    folder = foundation.path.parent.parent
    settings = (*WIDE, "scanners.binance_spot_rating_all_long.limit=3")
    assert list(shelved(folder)) == [foundation.path.parent.name]
    lay_foundation(home, load(settings=settings), source)
    made = ShelfJob(home, source, settings, folder, shelved(folder), foundation.path.parent)
    assert len(made.expected) == 2
    made.clear()
    return made


def broken(job, kinds, sample=None):
    faults = list(faults_of(count_writes(job), kinds, sample=sample, seed=5))
    assert len(faults) >= len(kinds)
    return [survival for fault in faults if (survival := crash_at(job, fault)).problems]


def test_a_flows_folder_survives_sampled_faults(flow):
    assert not broken(flow, KINDS, sample=5)


def test_the_shelf_survives_sampled_faults(shelf):
    assert not broken(shelf, KINDS, sample=4)


def test_a_portfolio_survives_sampled_faults(portfolio):
    assert not broken(portfolio, ["power", "full"], sample=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_portfolio_survives_every_fault(portfolio, kind):
    assert not broken(portfolio, [kind], sample=often("FAULTS"))


@pytest.mark.slow
def test_a_flows_folder_survives_every_fault(flow):
    assert not broken(flow, KINDS, sample=often("FAULTS"))


@pytest.mark.slow
def test_the_shelf_survives_every_fault_and_real_deaths(shelf):
    assert not broken(shelf, KINDS, sample=often("FAULTS"))
    faults = faults_of(count_writes(shelf), ["kill", "tear"], sample=often("FAULTS"))
    deaths = [kill_at(shelf, fault) for fault in faults]
    assert all(survival.first is None and not survival.problems for survival in deaths), deaths
