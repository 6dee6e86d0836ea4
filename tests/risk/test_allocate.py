from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_worlds import factor_returns

from assay.base.domain import Atom
from assay.base.errors import DataError, SolverError
from assay.risk import allocate, solve
from assay.risk import allocate as documents
from assay.risk.allocate import RiskState, analyse, optimize
from assay.settings.model import RISK_PROFILES, Guard, Profile

Floats = npt.NDArray[np.float64]

PROFILE = Profile(name="p", direction="LONG", logics=("rating_all",), scanners=("s",))
UNGUARDED = PROFILE.model_copy(update={"guard": Guard(enabled=False)})


def atoms(n: int, direction: str = "LONG") -> list[Atom]:
    return [Atom(f"BINANCE:C{i:02d}USDT", "rating_all", direction) for i in range(n)]


def benchmark(seed: int = 0) -> Floats:
    return 100 * np.cumprod(1 + np.random.default_rng(seed).standard_normal(500) * 0.02)


def pool(n: int = 12, losers: int = 0, seed: int = 1, rows: int = 252) -> Floats:
    """Streams of which the last 60 days gain, but for the losers'."""
    streams = factor_returns(rows, n, seed)
    streams[-60:] += 0.02 - streams[-60:].mean(axis=0)
    streams[-60:, n - losers :] -= 0.04
    return streams


def state_of(streams: Floats, profile: Profile = PROFILE, direction: str = "LONG") -> RiskState:
    n = streams.shape[1]
    profile = profile.model_copy(update={"direction": direction})
    return analyse(streams, atoms(n, direction), benchmark(), profile, np.sin(np.arange(n)))


class TestAnalysis:
    def test_it_reads_the_last_252_rows_that_are_complete(self) -> None:
        streams = pool(rows=300)
        streams[0] = 99.0  # before the window
        streams[[100, 150], [3, 5]] = np.nan
        state = state_of(streams)
        assert (state.rows_used, state.rows_left_out) == (250, 2)
        clean = np.delete(streams[48:], [100 - 48, 150 - 48], axis=0)
        from sklearn.covariance import ledoit_wolf

        np.testing.assert_allclose(state.estimates.covariance.matrix, 365 * ledoit_wolf(clean)[0], rtol=1e-9)

    def test_too_few_rows_are_an_error(self) -> None:
        streams = pool()
        streams[: 252 - 199, 0] = np.nan
        with pytest.raises(DataError, match="199 complete rows of the last 252, and 200 are needed"):
            state_of(streams)
        streams[252 - 200, 0] = 0.0
        assert state_of(streams).rows_used == 200

    @pytest.mark.parametrize(("columns", "names"), [(0, 0), (3, 2), (2, 3)])
    def test_streams_and_atoms_belong_together(self, columns: int, names: int) -> None:
        with pytest.raises(DataError, match="synthetic streams"):
            analyse(np.zeros((252, columns)), atoms(names), benchmark(), PROFILE)

    def test_caps_are_decided_with_all_atoms(self) -> None:
        with_losers, without = state_of(pool(losers=9)), state_of(pool())
        assert with_losers.guard.loss_makers.sum() == 9
        assert with_losers.caps.atom == without.caps.atom == 0.25
        assert with_losers.guarded.upper.max() == 0.25

    def test_caps_count_atoms_and_clusters_apart(self) -> None:
        # Two families of four copies: 1.5 / 8 is below the atom's cap, 1.5 / 2 above the cluster's.
        rng = np.random.default_rng(3)
        families = np.repeat(rng.standard_normal((252, 2)) * 0.02, 4, axis=1) + rng.standard_normal((252, 8)) * 1e-4
        state = state_of(families)
        assert state.labels.tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
        assert (state.caps.atom, state.caps.cluster) == (0.25, 0.75)
        assert [event.values["cap"] for event in state.caps.events] == ["cluster"]

    def test_loss_makers_have_no_cap_and_their_share_is_cash(self) -> None:
        state = state_of(pool(n=12, losers=3))
        assert state.guard.loss_makers.tolist() == [False] * 9 + [True] * 3
        assert state.budget == 0.75
        assert state.guarded.upper[9:].tolist() == [0.0] * 3
        assert state.unguarded.budget == 1.0
        assert "LOSS_MAKERS_GUARDED" in [event.code for event in state.events]

    def test_borrowing_makes_a_loss_maker_of_a_short(self) -> None:
        streams = pool()
        streams[-60:] += 0.0005 - streams[-60:].mean(axis=0)  # 5 bp a day: more than fees, less than fees and borrow
        assert not state_of(streams).guard.loss_makers.any()
        assert state_of(streams, direction="SHORT").guard.loss_makers.all()

    def test_a_profile_without_guard(self) -> None:
        state = state_of(pool(losers=3), UNGUARDED)
        assert state.guard.loss_makers.sum() == 3
        assert state.guarded is state.unguarded
        assert state.budget == 1.0

    def test_what_is_left_in_one_cluster_is_limited_by_its_cap(self) -> None:
        # Ten copies of one coin gain, ten independent coins lose: the copies' cluster cannot hold half of the budget.
        rng = np.random.default_rng(2)
        twins = np.repeat(rng.standard_normal((252, 1)) * 0.02, 10, axis=1) + rng.standard_normal((252, 10)) * 1e-4
        streams = np.hstack([twins, rng.standard_normal((252, 10)) * 0.03])
        streams[-60:] -= streams[-60:].mean(axis=0)
        streams[-60:, :10] += 0.01
        streams[-60:, 10:] -= 0.01
        state = state_of(streams)
        assert len(set(state.labels[:10])) == 1
        assert state.guard.budget == state.budget == 0.5
        assert state.caps.cluster == 0.25
        found = optimize(state, PROFILE)
        for name, allocation in found.items():
            held = math.fsum(allocation.weights)
            # An equal share of the guard's budget is 0.05 an atom; the others may hold what the cluster may.
            assert held == pytest.approx(0.25, abs=1e-6), name
            assert allocation.budget == 0.5
            told = [event.values for event in allocation.events if event.code == "CAPS_BIND"]
            assert [pytest.approx(values) for values in told] == [{"budget": 0.5, "held": held}]

    def test_shorts_have_caps_of_their_own_that_nothing_raises(self) -> None:
        state = state_of(pool(n=3), direction="SHORT")
        assert (state.caps.atom, state.caps.cluster, state.caps.events) == (0.10, 0.25, ())
        for name, allocation in optimize(state, PROFILE).items():
            assert allocation.weights.max() <= 0.10, name
            assert "CAPS_BIND" in [event.code for event in allocation.events], name

    def test_equal_weight_of_shorts_is_equal_or_cut(self) -> None:
        # Twelve copies of one coin and three others: the copies' cluster is cut, and nobody gains by it.
        rng = np.random.default_rng(5)
        copies = np.repeat(rng.standard_normal((252, 1)) * 0.02, 12, axis=1) + rng.standard_normal((252, 12)) * 1e-4
        streams = np.hstack([copies, rng.standard_normal((252, 3)) * 0.03])
        streams += 0.01 - streams[-60:].mean(axis=0)
        state = state_of(streams, direction="SHORT")
        assert not state.guard.loss_makers.any()
        weights = optimize(state, PROFILE)["equal_weight"].weights
        np.testing.assert_allclose(weights, [0.25 / 12] * 12 + [1 / 15] * 3, atol=1e-12)


class TestOptimization:
    def test_every_risk_profile_answers(self) -> None:
        state = state_of(pool())
        assert list(optimize(state, PROFILE)) == list(RISK_PROFILES)
        chosen = PROFILE.model_copy(update={"risk": PROFILE.risk.model_copy(update={"risk_profiles": ("hrp",)})})
        assert list(optimize(state, chosen)) == ["hrp"]

    def test_the_barbell_knows_the_regime(self) -> None:
        state = state_of(pool())
        assert allocate.build_optimizer("barbell", PROFILE.risk, "CRISIS").get_params()["aggressor_share"] == 0.03
        plain, crisis = (
            allocate.build_optimizer("barbell", PROFILE.risk, name).allocate(state.estimates, state.unguarded)
            for name in ("NORMAL", "CRISIS")
        )
        assert not np.allclose(plain.weights, crisis.weights)

    def test_loss_makers_only_are_all_cash(self) -> None:
        state = state_of(pool(n=5, losers=5))
        assert state.budget == 0.0
        for allocation in optimize(state, PROFILE).values():
            assert allocation.cash == 1.0
            assert allocation.solver.status == "ALL_CASH"
            assert "ALL_LOSS_MAKERS" in [event.code for event in allocation.events]
        unguarded = optimize(state, PROFILE, guarded=False)
        assert all(not any(e.code == "ALL_LOSS_MAKERS" for e in allocation.events) for allocation in unguarded.values())

    def test_no_positive_mean_is_cash_with_the_guard_and_min_variance_without(self) -> None:
        streams = pool() - 0.1
        streams[-60:] += 0.1  # of late all gain, so the guard holds nobody back
        state = state_of(streams)
        assert state.budget == 1.0
        guarded, unguarded = optimize(state, PROFILE), optimize(state, PROFILE, guarded=False)
        assert guarded["max_sharpe"].cash == 1.0
        np.testing.assert_allclose(unguarded["max_sharpe"].weights, unguarded["min_variance"].weights, atol=1e-9)
        for found in (guarded, unguarded):
            assert [event.code for event in found["max_sharpe"].events] == ["NO_POSITIVE_EXPECTED_RETURN"]
        off = optimize(state_of(streams, UNGUARDED), UNGUARDED)
        np.testing.assert_allclose(off["max_sharpe"].weights, off["min_variance"].weights, atol=1e-9)

    def test_a_fallback_is_an_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(program: solve.Program) -> solve.Solution:
            raw = solve.with_piqp(program)
            return solve.Solution("broken", "NUMERICS", 1, raw.x, raw.y, raw.z, raw.z_lower, raw.z_upper)

        state = state_of(pool())
        monkeypatch.setattr(solve, "CHAIN", (broken, solve.with_clarabel))
        found = optimize(state, PROFILE)["min_variance"]
        assert found.solver.name == "clarabel"
        assert found.events[-1].code == "SOLVER_FALLBACK"
        assert str(found.events[-1].values["failed"]).startswith("broken: NUMERICS")
        monkeypatch.setattr(solve, "CHAIN", (broken,))
        with pytest.raises(SolverError):
            optimize(state, PROFILE)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 2**32 - 1))
    def test_the_guard_never_adds(self, n: int, losers: int, seed: int) -> None:
        losers = min(n, losers)
        state = state_of(pool(n, losers, seed))
        guarded, unguarded = optimize(state, PROFILE), optimize(state, PROFILE, guarded=False)
        for name in RISK_PROFILES:
            on, off = guarded[name], unguarded[name]
            assert not on.weights[state.guard.loss_makers].any()
            assert math.fsum(on.weights) <= math.fsum(off.weights) + 1e-5
            assert on.cash >= losers / n - 1e-12
            for allocation in (on, off):
                assert math.fsum(allocation.weights) + allocation.cash == pytest.approx(1.0, abs=1e-12)
                assert (allocation.weights <= state.caps.atom).all()
                assert (np.bincount(state.labels, weights=allocation.weights) <= state.caps.cluster + 1e-12).all()

    def test_same_inputs_same_bits(self) -> None:
        first, second = (optimize(state_of(pool(n=25)), PROFILE) for _ in range(2))
        assert all(first[name].weights.tobytes() == second[name].weights.tobytes() for name in RISK_PROFILES)


class TestDocuments:
    def test_analysis(self) -> None:
        state = state_of(pool(n=12, losers=3))
        document = documents.risk_analysis(state)
        assert sorted(document.loss_makers) == [atom.id for atom in atoms(12)[9:]]
        assert all(mean < 0 for mean in document.loss_makers.values())
        assert (document.budget, document.rows_used, document.rows_left_out) == (0.75, 252, 0)
        assert set(document.regime_inputs) == {"v", "p", "d", "n"}
        assert document.regime_inputs["n"] == 252
        assert document.condition_number < 15000

    def test_clusters_cover_every_atom_once(self) -> None:
        state = state_of(pool(n=12))
        listed = [atom for members in documents.clusters(state, 0.45).clusters.values() for atom in members]
        assert sorted(listed) == [atom.id for atom in atoms(12)]

    def test_optimized_profile(self) -> None:
        state = state_of(pool(n=12, losers=3), direction="SHORT")
        for allocation in optimize(state, PROFILE).values():
            document = documents.optimized_profile(state, allocation)
            assert sorted(asset.Atom for asset in document.assets) == [a.id for a in atoms(12, "SHORT")]
            assert math.fsum(asset.Weight for asset in document.assets) + document.cash == pytest.approx(1, abs=1e-12)
            assert all(asset.Net_Weight == -asset.Weight for asset in document.assets)
            for cluster, weight in document.clusters.items():
                members = [asset.Weight for asset in document.assets if str(asset.Cluster_ID) == cluster]
                assert math.fsum(members) == pytest.approx(weight, abs=1e-12)
            assert document.budget == 0.75
            assert [asset.Weight for asset in document.assets] == sorted(allocation.weights, reverse=True)
