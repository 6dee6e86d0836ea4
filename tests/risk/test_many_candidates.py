"""Selection and allocation of 2,000 candidates: constraints hold, statuses are ok, answers are optimal."""

import numpy as np
import pytest

from assay.alpha.selection import NaturalSelection
from assay.base.domain import Atom
from assay.risk.allocate import analyse, optimize
from assay.risk.covariance import estimate_covariance
from assay.settings.model import Profile

N = 2_000


@pytest.fixture(scope="module")
def streams():
    """500 days of three common factors and fat tails."""
    random = np.random.default_rng(11)
    factors = 0.02 * random.standard_t(5, (500, 3))
    returns = 0.002 * random.uniform(-1, 3, N) + factors @ random.uniform(0, 1, (3, N))
    return np.clip(returns + random.uniform(0.01, 0.03, N) * random.standard_t(4, (500, N)), -0.6, 0.9)


@pytest.fixture(scope="module")
def world(streams):
    profile = Profile(name="many", direction="LONG", logics=("rating_all",), scanners=("s",))
    atoms = [Atom(f"BINANCE:C{number:04d}USDT", "rating_all", "LONG") for number in range(N)]
    random = np.random.default_rng(12)
    closes = 100 * np.cumprod(1 + 0.02 * random.standard_normal(500))
    state = analyse(streams, atoms, closes, profile, random.standard_normal(N))
    return state, optimize(state, profile)


@pytest.mark.slow
def test_every_candidate_has_one_fate(streams):
    model = NaturalSelection().fit(streams)
    assert model.alpha_.shape == model.clusters_.shape == (N,)
    assert ((model.alpha_ >= 0) & (model.alpha_ <= 1)).all()
    assert 1 <= len(model.winners_) <= 25
    assert len(set(model.winners_.tolist())) == len(model.winners_)
    assert set(np.unique(model.clusters_)) <= set(range(26))
    # A column's features are its own: alone it measures the same.
    few = NaturalSelection().fit(streams[:, :3])
    assert np.array_equal(few.features_.momentum, model.features_.momentum[:3])
    assert np.array_equal(few.features_.hurst, model.features_.hurst[:3])


@pytest.mark.slow
def test_weights_keep_caps_clusters_and_budget(world):
    state, allocations = world
    allowed = state.guarded
    names, place = np.unique(allowed.labels, return_inverse=True)
    assert list(allocations) == ["min_variance", "hrp", "max_sharpe", "equal_weight", "barbell"]
    for name, found in allocations.items():
        assert found.solver.status == "SOLVED", name
        assert found.weights.min() >= 0.0, name
        assert (found.weights <= allowed.upper + 1e-9).all(), name
        assert (np.bincount(place, found.weights, len(names)) <= allowed.cluster_caps + 1e-9).all(), name
        # Weights below 1e-6 are cash, so that the sum may be short by as much for each.
        assert allowed.budget - N * 1e-6 <= found.weights.sum() <= allowed.budget + 1e-9, name
        assert found.cash == pytest.approx(1.0 - found.weights.sum(), abs=1e-12), name


@pytest.mark.slow
def test_the_least_variance_is_least(world):
    """First-order conditions of Karush, Kuhn and Tucker: weight moved from one held atom to another gains nothing."""
    state, allocations = world
    weights, allowed = allocations["min_variance"].weights, state.guarded
    gradient = state.estimates.covariance.risk @ weights
    _, place = np.unique(allowed.labels, return_inverse=True)
    sums = np.bincount(place, weights)
    scale = float(weights @ gradient)
    for cluster in range(len(sums)):
        inside = (place == cluster) & (allowed.upper > 0)
        held, room = inside & (weights > 1e-5), inside & (weights < allowed.upper - 1e-6)
        if held.any() and room.any():
            assert gradient[held].max() <= gradient[room].min() + 1e-3 * scale


@pytest.mark.parametrize("atoms", [40, 60, 61, 90, 300])
def test_the_condition_number_is_that_of_the_whole_matrix(atoms):
    returns = 0.03 * np.random.default_rng(atoms).standard_normal((60, atoms))
    found = estimate_covariance(returns)
    assert found.condition_number == pytest.approx(np.linalg.cond(found.matrix), rel=1e-9)
