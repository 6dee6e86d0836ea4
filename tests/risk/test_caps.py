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
    ("atoms", "clusters", "regime", "atom_cap", "cluster_cap", "raised"),
    [
        (25, 10, "NORMAL", 0.25, 0.25, []),
        (25, 10, "QUIET", 0.25, 0.25, []),
        (25, 10, "TURBULENT", 0.25, 0.20, []),
        (25, 10, "CRISIS", 0.25, 0.15, []),
        (6, 6, "NORMAL", 0.25, 0.25, []),  # 1.5 / 6 is the cap itself
        (25, 4, "NORMAL", 0.25, 0.375, ["cluster"]),
        (25, 6, "CRISIS", 0.25, 0.25, ["cluster"]),
        (5, 3, "NORMAL", 0.30, 0.5, ["atom", "cluster"]),
        (2, 1, "CRISIS", 0.75, 1.0, ["atom", "cluster"]),
        (1, 1, "NORMAL", 1.0, 1.0, ["atom", "cluster"]),
    ],
)
def test_caps_by_hand(
    atoms: int, clusters: int, regime: str, atom_cap: float, cluster_cap: float, raised: list[str]
) -> None:
    caps = decide_caps(atoms, clusters, regime, SHIPPED)  # type: ignore[arg-type]  # values come from parameters
    assert (caps.atom, caps.cluster) == pytest.approx((atom_cap, cluster_cap))
    assert [event.values["cap"] for event in caps.events] == raised
    assert {event.code for event in caps.events} <= {"CAP_RELAXED"}


@given(st.integers(1, 60), st.data())
def test_shipped_caps_always_hold_the_whole_budget(atoms: int, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, atoms - 1), min_size=atoms, max_size=atoms))
    regime = data.draw(st.sampled_from(["QUIET", "NORMAL", "TURBULENT", "CRISIS"]))
    caps = decide_caps(atoms, len(set(labels)), regime, SHIPPED)
    polytope = Polytope.build(atoms, atom_cap=caps.atom, cluster_cap=caps.cluster, labels=labels)
    limited, events = polytope.limited()
    assert events == ()
    assert limited.budget == pytest.approx(1.0, abs=1e-12)


class TestBudget:
    def test_it_is_lowered_to_what_the_caps_permit(self) -> None:
        polytope = Polytope(np.array([0.3, 0.3, 0.1]), np.array([1, 1, 2]), np.array([0.4, 1.0]), 0.9)
        limited, events = polytope.limited()
        assert polytope.max_budget == pytest.approx(0.5)
        assert limited.budget == pytest.approx(0.5)
        assert [event.code for event in events] == ["BUDGET_LIMITED_BY_CAPS"]
        assert events[0].values == pytest.approx({"wanted": 0.9, "budget": 0.5})

    def test_rounding_is_not_an_event(self) -> None:
        thirds = Polytope(np.full(3, 1 / 3 - 1e-17), np.arange(3), np.ones(3), 1.0 + 1e-15)
        limited, events = thirds.limited()
        assert events == ()
        assert limited.budget <= limited.max_budget

    def test_without_limits_nothing_changes(self) -> None:
        polytope = Polytope.build(4, budget=0.8)
        assert polytope.limited() == (polytope, ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"upper": np.array([0.5])},
        {"cluster_caps": np.array([0.5])},
        {"budget": -0.1},
        {"budget": math.nan},
        {"upper": np.array([0.5, math.inf])},
        {"lower": np.array([0.6, 0.0])},
        {"lower": np.array([0.5, 0.4]), "budget": 0.8},
        {"lower": np.array([0.5, 0.4]), "cluster_caps": np.array([0.4, 1.0])},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    right = {"upper": np.array([0.5, 0.5]), "labels": np.array([1, 2]), "cluster_caps": np.ones(2), "budget": 1.0}
    Polytope(**right)  # type: ignore[arg-type]  # values come from parameters
    with pytest.raises(UsageError):
        Polytope(**(right | wrong))  # type: ignore[arg-type]  # values come from parameters


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
        weights = np.array([0.25, 0.25, 0.5])
        projected, distance, report = Polytope.build(3).project(weights)
        assert projected is weights
        assert (distance, report.name) == (0.0, "closed_form")

    def test_by_hand(self) -> None:
        # The capped atom gives 0.3 to two others, equally: distance sqrt(0.3^2 + 2 x 0.15^2)
        polytope = Polytope.build(3, atom_cap=np.array([0.3, 1.0, 1.0]))
        projected, distance, report = polytope.project(np.array([0.6, 0.2, 0.2]))
        np.testing.assert_allclose(projected, [0.3, 0.35, 0.35], atol=1e-9)
        assert distance == pytest.approx(math.sqrt(0.135))
        assert report.projection_distance == distance

    @settings(max_examples=100, deadline=None)
    @given(pools(), st.integers(0, 2**32 - 1))
    def test_no_allowed_weights_are_nearer(self, pool: Pool, seed: int) -> None:
        # w is the projection of p exactly if (p - w)'(s - w) <= 0 for every allowed s
        point = np.random.default_rng(seed).dirichlet(np.ones(pool.polytope.n_atoms))
        projected, distance, _ = pool.polytope.project(point)
        assert pool.polytope.breach(projected) < 1e-9
        outward = point - projected
        assert greatest(outward, pool.polytope) - float(outward @ projected) < 1e-8
        assert distance == pytest.approx(float(np.linalg.norm(outward)))

    def test_agrees_with_slsqp(self) -> None:
        rng = np.random.default_rng(11)
        labels = np.array([1, 1, 1, 2, 2, 3, 3, 3])
        polytope = Polytope(np.full(8, 0.25), labels, np.array([0.4, 0.4, 0.5]), 0.9)
        point = rng.dirichlet(np.full(8, 0.3))
        sums = [
            {"type": "ineq", "fun": lambda w, c=c: polytope.cluster_caps[c - 1] - w[labels == c].sum()}
            for c in (1, 2, 3)
        ]
        oracle = minimize(
            lambda w: float(((w - point) ** 2).sum()),
            np.full(8, 0.9 / 8),
            jac=lambda w: 2 * (w - point),
            bounds=[(0, 0.25)] * 8,
            constraints=[{"type": "eq", "fun": lambda w: w.sum() - 0.9}, *sums],
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
