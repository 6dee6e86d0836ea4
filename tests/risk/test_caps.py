from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_worlds import Pool, greatest, pools
from scipy.optimize import minimize

from assay.base.errors import UsageError
from assay.risk.caps import Polytope, decide_caps
from assay.settings.model import Caps as CapSettings

SHIPPED = CapSettings()


@pytest.mark.parametrize(
    ("direction", "clusters", "regime", "atom_cap", "cluster_cap", "raised"),
    [
        ("LONG", 10, "NORMAL", 0.25, 0.25, []),
        ("LONG", 10, "QUIET", 0.25, 0.25, []),
        ("LONG", 6, "NORMAL", 0.25, 0.25, []),  # 1.5 / 6 is the cap itself
        ("LONG", 4, "NORMAL", 0.25, 0.375, ["cluster"]),
        ("LONG", 3, "QUIET", 0.25, 0.5, ["cluster"]),
        ("LONG", 1, "NORMAL", 0.25, 1.0, ["cluster"]),
        ("LONG", 10, "TURBULENT", 0.25, 0.20, []),
        ("LONG", 1, "TURBULENT", 0.25, 0.20, []),
        ("LONG", 1, "CRISIS", 0.25, 0.15, []),
        ("SHORT", 10, "NORMAL", 0.10, 0.25, []),
        ("SHORT", 1, "QUIET", 0.10, 0.25, []),
        ("SHORT", 1, "TURBULENT", 0.10, 0.20, []),
        ("SHORT", 1, "CRISIS", 0.10, 0.15, []),
    ],
)
def test_caps_by_hand(
    direction: str, clusters: int, regime: str, atom_cap: float, cluster_cap: float, raised: list[str]
) -> None:
    caps = decide_caps(direction, clusters, regime, SHIPPED)  # type: ignore[arg-type]  # values come from parameters
    assert (caps.atom, caps.cluster) == (atom_cap, cluster_cap)
    assert [event.values["cap"] for event in caps.events] == raised
    assert {event.code for event in caps.events} <= {"CAP_RELAXED"}


def test_each_cap_is_a_setting_of_its_own() -> None:
    names = [name for name in CapSettings.model_fields if name != "slack"]
    settings = CapSettings(**{name: 0.01 * (place + 1) for place, name in enumerate(names)}, slack=0.0)
    read = []
    for direction in ("LONG", "SHORT"):
        for regime in ("NORMAL", "QUIET", "TURBULENT", "CRISIS"):
            caps = decide_caps(direction, 2, regime, settings)  # type: ignore[arg-type]  # values from loops
            read += [caps.atom, caps.cluster]
    assert sorted(set(read)) == pytest.approx([0.01 * (place + 1) for place in range(len(names))])


class TestBudget:
    def test_it_is_lowered_to_what_the_caps_permit(self) -> None:
        polytope = Polytope(np.array([0.3, 0.3, 0.1]), np.array([1, 1, 2]), np.array([0.4, 1.0]), 0.9)
        assert polytope.max_budget == pytest.approx(0.5)
        assert polytope.limited().budget == polytope.max_budget

    def test_without_limits_nothing_changes(self) -> None:
        polytope = Polytope.build(4, budget=0.8)
        assert polytope.limited() is polytope


NUMBER = "caps, labels and clusters differ in number"
FINITE = "caps and budget must be finite, not negative, and not below the floors"
FLOORS = "the floors alone exceed a cluster's cap or the budget"


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"upper": np.array([0.5])}, NUMBER),
        ({"cluster_caps": np.array([0.5])}, NUMBER),
        ({"budget": -0.1}, FINITE),
        ({"budget": math.nan}, FINITE),
        ({"upper": np.array([0.5, math.inf])}, FINITE),
        ({"lower": np.array([0.6, 0.0])}, FINITE),
        ({"lower": np.array([0.5, 0.4]), "budget": 0.8}, FLOORS),
        ({"lower": np.array([0.5, 0.4]), "cluster_caps": np.array([0.4, 1.0])}, FLOORS),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object], what: str) -> None:
    right = {"upper": np.array([0.5, 0.5]), "labels": np.array([1, 2]), "cluster_caps": np.ones(2), "budget": 1.0}
    Polytope(**right)  # type: ignore[arg-type]  # values come from parameters
    with pytest.raises(UsageError) as caught:
        Polytope(**(right | wrong))  # type: ignore[arg-type]  # values come from parameters
    assert (caught.value.what, caught.value.where) == (what, "Polytope")


@pytest.mark.parametrize(
    ("weights", "breach"),
    [
        ([0.3, 0.2, 0.4], 0.0),
        ([0.55, 0.05, 0.3], 0.05),  # above its own cap by 0.05; its cluster holds 0.6 and may
        ([0.45, 0.25, 0.2], 0.1),  # cluster 1 holds 0.7 and may hold 0.6
        ([0.3, 0.3, 0.25], 0.05),  # cash
        ([0.38, 0.02, 0.5], 0.03),  # below its floor
    ],
)
def test_the_greatest_violation_is_that_of_the_bound_that_is_broken(weights: list[float], breach: float) -> None:
    polytope = Polytope(np.full(3, 0.5), np.array([1, 1, 2]), np.array([0.6, 1.0]), 0.9, np.array([0.0, 0.05, 0.0]))
    assert polytope.breach(np.array(weights)) == pytest.approx(breach, abs=1e-15)


class TestBest:
    @settings(max_examples=100, deadline=None)
    @given(pools())
    def test_filling_up_agrees_with_linear_programming(self, pool: Pool) -> None:
        weights = pool.polytope.best(pool.means)
        assert pool.polytope.breach(weights) < 1e-12
        assert float(pool.means @ weights) == pytest.approx(greatest(pool.means, pool.polytope), abs=1e-9)

    def test_floors_are_kept(self) -> None:
        polytope = Polytope(np.full(3, 0.6), np.array([1, 1, 2]), np.array([0.7, 1.0]), 1.0, np.full(3, 0.1))
        weights = polytope.best(np.array([3.0, 2.0, 1.0]))
        np.testing.assert_allclose(weights, [0.6, 0.1, 0.3])
        assert float(np.array([3.0, 2.0, 1.0]) @ weights) == pytest.approx(
            greatest(np.array([3.0, 2.0, 1.0]), polytope)
        )


class TestProjection:
    def test_allowed_weights_stay(self) -> None:
        weights = np.array([0.25, 0.25, 0.4])
        projected, distance, report = Polytope.build(3).project(weights)
        assert projected is weights
        assert (distance, report.name, report.projection_distance) == (0.0, "closed_form", 0.0)

    def test_what_a_cap_cuts_goes_to_nobody(self) -> None:
        polytope = Polytope.build(3, atom_cap=np.array([0.3, 1.0, 1.0]))
        projected, distance, report = polytope.project(np.array([0.6, 0.2, 0.2]))
        assert projected.tolist() == [0.3, 0.2, 0.2]
        assert distance == pytest.approx(0.3)
        assert report.projection_distance == distance

    def test_a_cluster_loses_the_same_from_each_that_can_lose_it(self) -> None:
        # 0.5 + 0.3 + 0.02 above a cap of 0.4: the smallest ends at zero, the others lose 0.2 each.
        polytope = Polytope.build(4, cluster_cap=np.array([0.4, 1.0]), labels=[1, 1, 1, 2])
        projected, _, _ = polytope.project(np.array([0.5, 0.3, 0.02, 0.18]))
        np.testing.assert_allclose(projected, [0.3, 0.1, 0.0, 0.18], atol=1e-15)

    def test_an_atom_at_its_own_cap_counts_from_there(self) -> None:
        # min(0.9, 0.25) + 0.15 + 0.1 is 0.5 and may be 0.35; the great one stays at its cap, being 0.65 above it.
        polytope = Polytope.build(3, atom_cap=0.25, cluster_cap=0.35, labels=[1, 1, 1], budget=2.0)
        projected, _, _ = polytope.project(np.array([0.9, 0.15, 0.1]))
        np.testing.assert_allclose(projected, [0.25, 0.075, 0.025], atol=1e-15)

    def test_a_budget_below_the_sum_is_kept(self) -> None:
        projected, _, _ = Polytope.build(2, budget=0.5).project(np.array([0.5, 0.3]))
        np.testing.assert_allclose(projected, [0.35, 0.15], atol=1e-9)

    @settings(max_examples=200, deadline=None)
    @given(pools(), st.integers(0, 2**32 - 1), st.floats(0.0, 1.5))
    def test_no_allowed_weights_are_nearer_and_none_gains(self, pool: Pool, seed: int, scale: float) -> None:
        # w is the projection of p exactly if (p - w)'(s - w) <= 0 for every allowed s
        capped = pool.polytope
        point = np.random.default_rng(seed).dirichlet(np.ones(capped.n_atoms))
        if capped.lower is None:
            point = point * capped.budget * scale
        projected, distance, _ = capped.project(point)
        outward = point - projected
        assert distance == pytest.approx(float(np.linalg.norm(outward)))
        if capped.lower is not None:
            assert capped.breach(projected) < 1e-9
            assert greatest(outward, capped) - float(outward @ projected) < 1e-8
            return
        assert max(capped.breach(projected), 0.0) - max(0.0, capped.budget - projected.sum()) < 1e-9
        slack = Polytope.build(1, budget=capped.budget)  # room that nobody needs: the budget is a limit
        wide = Polytope(
            np.append(capped.upper, capped.budget),
            np.append(capped.groups, capped.n_clusters),
            np.append(capped.cluster_caps, slack.budget),
            capped.budget,
        )
        assert greatest(np.append(outward, 0.0), wide) - float(outward @ projected) < 1e-8
        if scale <= 1.0:
            assert (projected <= point + 1e-15).all()

    @pytest.mark.parametrize("seed", range(5))
    def test_agrees_with_slsqp(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        labels = np.array([1, 1, 1, 2, 2, 3, 3, 3])
        polytope = Polytope(np.full(8, 0.25), labels, np.array([0.3, 0.2, 0.35]), 0.9)
        point = 0.9 * rng.dirichlet(np.full(8, 0.3))
        sums = [
            {"type": "ineq", "fun": lambda w, c=c: polytope.cluster_caps[c - 1] - w[labels == c].sum()}
            for c in (1, 2, 3)
        ]
        oracle = minimize(
            lambda w: float(((w - point) ** 2).sum()),
            np.full(8, 0.05),
            jac=lambda w: 2 * (w - point),
            bounds=[(0, 0.25)] * 8,
            constraints=[{"type": "ineq", "fun": lambda w: 0.9 - w.sum()}, *sums],
            options={"ftol": 1e-15, "maxiter": 500},
        )
        projected, _, _ = polytope.project(point)
        np.testing.assert_allclose(projected, oracle.x, atol=1e-6)


class TestForced:
    """Sets of one point, which interior-point methods cannot enter."""

    def test_one_atom(self) -> None:
        assert Polytope.build(3, atom_cap=np.array([0.0, 1.0, 0.0]), budget=1.0).minimise(np.eye(3))[0].tolist() == [
            0,
            1,
            0,
        ]

    def test_every_cap_is_full(self) -> None:
        polytope = Polytope(np.array([0.4, 0.3, 0.9]), np.array([1, 1, 2]), np.array([0.7, 0.3]), 1.0)
        assert polytope.minimise(np.eye(3))[0].tolist() == [0.4, 0.3, 0.3]

    def test_every_floor_is_the_budget(self) -> None:
        polytope = Polytope(np.full(4, 0.5), np.arange(4), np.ones(4), 1.0, np.full(4, 0.25))
        assert polytope.minimise(np.eye(4))[0].tolist() == [0.25] * 4

    def test_full_clusters_still_leave_a_choice_within(self) -> None:
        polytope = Polytope(np.array([0.5, 0.5, 0.4]), np.array([1, 1, 2]), np.array([0.6, 1.0]), 1.0)
        assert polytope.forced() is None
        weights, _ = polytope.minimise(np.diag([1.0, 2.0, 1.0]))
        np.testing.assert_allclose(weights, [0.4, 0.2, 0.4], atol=1e-9)


class TestSettling:
    @settings(max_examples=100, deadline=None)
    @given(pools(), st.floats(0, 1e-7), st.integers(0, 2**32 - 1))
    def test_noise_never_breaks_a_cap(self, pool: Pool, size: float, seed: int) -> None:
        noise = np.random.default_rng(seed).normal(0, size, pool.polytope.n_atoms)
        exact = pool.polytope.best(pool.means)
        weights, cash = pool.polytope.settle(exact + noise)
        assert (weights >= 0).all()
        assert (weights <= pool.polytope.upper).all()
        assert ((weights == 0) | (weights >= 1e-6 * (1 - 1e-9))).all()
        assert (pool.polytope.cluster_sums(weights) <= pool.polytope.cluster_caps + 1e-15).all()
        assert math.fsum(weights) <= pool.polytope.budget + 1e-15
        assert math.fsum(weights) + cash == pytest.approx(1.0, abs=1e-15)
        assert math.fsum(weights) == pytest.approx(pool.polytope.budget, abs=20 * (1e-6 + size))

    def test_dust_becomes_cash(self) -> None:
        weights, cash = Polytope.build(3).settle(np.array([0.5, 0.5 - 9e-7, 9e-7]))
        assert weights.tolist() == [0.5, 0.5 - 9e-7, 0.0]
        assert cash == pytest.approx(9e-7, abs=1e-15)
