"""The optimizers against independent libraries, published figures and closed forms."""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from risk_worlds import factor_returns
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.optimize import minimize
from skfolio import RiskMeasure
from skfolio.cluster import HierarchicalClustering, LinkageMethod
from skfolio.moments import LedoitWolf, ShrunkMu, ShrunkMuMethods
from skfolio.optimization import HierarchicalRiskParity as SkfolioHRP
from skfolio.optimization import MeanRisk, ObjectiveFunction
from skfolio.prior import EmpiricalPrior
from skfolio.seriation import HierarchicalSeriation

from assay.risk.caps import Polytope
from assay.risk.optimizers import (
    Barbell,
    EqualWeight,
    Estimates,
    HierarchicalRiskParity,
    MaxSharpe,
    MinVariance,
    choose_aggressors,
    recursive_bisection,
)

Floats = npt.NDArray[np.float64]

EXACT = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


def prior() -> EmpiricalPrior:
    means = ShrunkMu(method=ShrunkMuMethods.BAYES_STEIN, vol_weighted_target=True, covariance_estimator=LedoitWolf())
    return EmpiricalPrior(mu_estimator=means, covariance_estimator=LedoitWolf())


def skfolio_weights(
    returns: Floats, objective: ObjectiveFunction, atom_cap: float, cluster_cap: float, labels
) -> Floats:
    model = MeanRisk(
        objective_function=objective,
        risk_measure=RiskMeasure.STANDARD_DEVIATION
        if objective is ObjectiveFunction.MAXIMIZE_RATIO
        else RiskMeasure.VARIANCE,
        prior_estimator=prior(),
        max_weights=atom_cap,
        groups=[[f"c{label}" for label in labels]],
        linear_constraints=[f"c{label} <= {cluster_cap}" for label in sorted(set(labels))],
        solver="CLARABEL",
        solver_params=EXACT,
    )
    return np.asarray(model.fit(returns).weights_)


CASES = [(25, 0.25, 0.1875, 8), (25, 0.10, 0.25, 6), (40, 0.08, 0.15, 10), (6, 0.25, 0.5, 3), (3, 0.5, 1.0, 1)]


@pytest.mark.parametrize(("atoms", "atom_cap", "cluster_cap", "clusters"), CASES)
class TestAgainstSkfolio:
    def test_min_variance(self, atoms: int, atom_cap: float, cluster_cap: float, clusters: int) -> None:
        returns, labels = factor_returns(252, atoms, seed=atoms), np.arange(atoms) % clusters
        oracle = skfolio_weights(returns, ObjectiveFunction.MINIMIZE_RISK, atom_cap, cluster_cap, labels)
        ours = MinVariance(atom_cap, cluster_cap, labels).fit(returns)
        np.testing.assert_allclose(ours.weights_, oracle, atol=2e-5)
        assert ours.solver_.status == "SOLVED"
        assert ours.solver_.fallbacks == []

    def test_max_sharpe(self, atoms: int, atom_cap: float, cluster_cap: float, clusters: int) -> None:
        returns, labels = factor_returns(252, atoms, seed=atoms), np.arange(atoms) % clusters
        oracle = skfolio_weights(returns, ObjectiveFunction.MAXIMIZE_RATIO, atom_cap, cluster_cap, labels)
        ours = MaxSharpe(atom_cap, cluster_cap, labels).fit(returns)
        np.testing.assert_allclose(ours.weights_, oracle, atol=2e-5)
        assert ours.events_ == ()


@pytest.mark.parametrize("atoms", [2, 3, 7, 25, 40])
def test_hrp_agrees_with_skfolio_in_the_same_choices(atoms: int) -> None:
    returns = factor_returns(252, atoms, seed=atoms)
    ward = HierarchicalClustering(linkage_method=LinkageMethod.WARD)
    oracle = SkfolioHRP(
        risk_measure=RiskMeasure.VARIANCE,
        prior_estimator=prior(),
        seriation_estimator=HierarchicalSeriation(hierarchical_clustering_estimator=ward, optimal_ordering=False),
    )
    ours = HierarchicalRiskParity().fit(returns)
    np.testing.assert_allclose(ours.weights_, oracle.fit(returns).weights_, atol=1e-12)
    assert ours.solver_.projection_distance == 0.0


def published_example() -> Floats:
    """The simulation of Lopez de Prado (2016), appendix: five independent series and five noisy copies."""
    rng, draws = np.random.RandomState(12345), random.Random(12345)
    base = rng.normal(0, 1, size=(10_000, 5))
    copied = [int(draws.random() * 5) for _ in range(5)]  # how Python 2 drew an integer
    return np.hstack([base, base[:, copied] + rng.normal(0, 0.25, size=(10_000, 5))])


def test_hrp_gives_the_published_weights() -> None:
    # Exhibit 6 of Lopez de Prado (2016), in percent. His order of leaves comes from a single linkage of distances
    # between distances, so it is made here, and the bisection is what is tested.
    returns = published_example()
    distance = np.sqrt((1 - np.corrcoef(returns.T)) / 2)
    between = np.linalg.norm(distance[:, None, :] - distance[None, :, :], axis=2)
    order = leaves_list(linkage(between[np.triu_indices(10, 1)], method="single"))
    weights = recursive_bisection(np.cov(returns.T), order)
    published = [7.00, 7.59, 10.84, 19.03, 9.72, 10.19, 6.62, 9.10, 7.12, 12.79]
    np.testing.assert_allclose(100 * weights, published, atol=0.00501)


class TestMinVariance:
    def test_inverse_variances_when_nothing_correlates(self) -> None:
        # Orthogonal streams of equal noise: Ledoit and Wolf's shrinkage is read from the fit, the rest is by hand.
        returns = np.vstack([np.diag([0.01, 0.02, 0.04]), -np.diag([0.01, 0.02, 0.04])])
        variances = np.diagonal(Estimates.of(returns).covariance.matrix)
        weights = MinVariance().fit(returns).weights_
        np.testing.assert_allclose(weights, (1 / variances) / (1 / variances).sum(), atol=1e-9)

    def test_agrees_with_slsqp_under_caps_and_a_budget(self) -> None:
        returns, labels = factor_returns(252, 12, seed=5), np.arange(12) % 4
        covariance = Estimates.of(returns).covariance.matrix
        oracle = minimize(
            lambda w: float(w @ covariance @ w),
            np.full(12, 0.6 / 12),
            jac=lambda w: 2 * covariance @ w,
            bounds=[(0, 0.1)] * 12,
            constraints=[
                {"type": "eq", "fun": lambda w: w.sum() - 0.6},
                {"type": "ineq", "fun": lambda w: 0.18 - np.bincount(labels, weights=w)},
            ],
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        ours = MinVariance(0.1, 0.18, labels, budget=0.6).fit(returns)
        np.testing.assert_allclose(ours.weights_, oracle.x, atol=2e-5)
        assert ours.cash_ == pytest.approx(0.4)


class TestMaxSharpe:
    def test_the_tangency_portfolio(self) -> None:
        # Without binding bounds: S^-1 m / 1'S^-1 m.
        returns = factor_returns(252, 3, seed=2, drift=0.02)
        estimates = Estimates.of(returns)
        direction = np.linalg.solve(estimates.covariance.matrix, estimates.means)
        tangency = direction / direction.sum()
        assert tangency.min() > 0
        np.testing.assert_allclose(MaxSharpe().fit(returns).weights_, tangency, atol=1e-8)

    def test_agrees_with_slsqp_under_caps_and_a_budget(self) -> None:
        returns, labels = factor_returns(252, 12, seed=5), np.arange(12) % 4
        estimates = Estimates.of(returns)
        covariance, means = estimates.covariance.matrix, estimates.means
        oracle = minimize(
            lambda w: -float(means @ w) / math.sqrt(float(w @ covariance @ w)),
            np.full(12, 0.6 / 12),
            bounds=[(0, 0.1)] * 12,
            constraints=[
                {"type": "eq", "fun": lambda w: w.sum() - 0.6},
                {"type": "ineq", "fun": lambda w: 0.18 - np.bincount(labels, weights=w)},
            ],
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        ours = MaxSharpe(0.1, 0.18, labels, budget=0.6).fit(returns)
        np.testing.assert_allclose(ours.weights_, oracle.x, atol=2e-4)

    def falling(self) -> Floats:
        return factor_returns(252, 5, seed=3) * 0.1 - 0.02

    def test_no_positive_mean_is_cash(self) -> None:
        ours = MaxSharpe().fit(self.falling())
        assert not ours.weights_.any()
        assert ours.cash_ == 1.0
        assert (ours.solver_.name, ours.solver_.status) == ("none", "ALL_CASH")
        assert [event.code for event in ours.events_] == ["NO_POSITIVE_EXPECTED_RETURN"]

    def test_or_min_variance_where_the_guard_is_off(self) -> None:
        ours = MaxSharpe(atom_cap=0.3, otherwise="min_variance").fit(self.falling())
        np.testing.assert_allclose(ours.weights_, MinVariance(atom_cap=0.3).fit(self.falling()).weights_, atol=1e-12)
        assert [event.code for event in ours.events_] == ["NO_POSITIVE_EXPECTED_RETURN"]

    def test_one_good_atom_does_not_help_when_its_cap_is_small(self) -> None:
        # mean 0.1 x good - 0.9 x bad < 0, though one atom has a positive mean
        polytope = Polytope.build(3, atom_cap=np.array([0.1, 1.0, 1.0]))
        estimates = Estimates.of(factor_returns(252, 3, seed=1))
        means = np.array([1.0, -0.5, -0.5])
        changed = Estimates(estimates.covariance, estimates.correlation, means, 0.0)
        assert MaxSharpe().allocate(changed, polytope).cash == 1.0
        assert MaxSharpe().allocate(changed, Polytope.build(3)).cash < 1e-9


class TestEqualWeight:
    def test_one_over_n(self) -> None:
        ours = EqualWeight().fit(factor_returns(10, 8, seed=1))
        np.testing.assert_array_equal(ours.weights_, np.full(8, 0.125))
        assert (ours.cash_, ours.solver_.name) == (0.0, "closed_form")

    def test_a_forbidden_atom_gives_its_share_to_nobody(self) -> None:
        ours = EqualWeight(atom_cap=np.array([0.5, 0.0, 0.5, 0.5]), budget=0.75).fit(factor_returns(10, 4, seed=1))
        np.testing.assert_allclose(ours.weights_, [0.25, 0.0, 0.25, 0.25])
        assert ours.solver_.projection_distance == 0.0
        assert ours.cash_ == pytest.approx(0.25)

    def test_a_crowded_cluster_gives_to_nobody(self) -> None:
        # Cluster 1 holds four of six atoms and at most 0.5: its atoms get 0.125 each, the others keep a sixth.
        ours = EqualWeight(cluster_cap=0.5, clusters=np.array([1, 1, 1, 1, 2, 3])).fit(factor_returns(10, 6, seed=1))
        np.testing.assert_allclose(ours.weights_, [0.125] * 4 + [1 / 6] * 2, atol=1e-9)
        assert ours.solver_.projection_distance == pytest.approx(1 / 12)
        assert [event.code for event in ours.events_] == ["CAPS_BIND"]
        assert ours.events_[0].values == pytest.approx({"budget": 1.0, "held": 5 / 6})


class TestBarbell:
    labels = np.array([1, 1, 2, 2, 3, 3, 4, 4])
    antifragility = np.array([0.1, 0.2, 0.9, 0.5, 0.3, 0.4, 0.0, 0.6])  # means 0.15, 0.7, 0.35, 0.3

    def test_aggressors_are_the_best_of_the_best_half_of_the_clusters(self) -> None:
        clusters = Polytope.build(8, labels=self.labels)
        assert choose_aggressors(self.antifragility, clusters, 5).tolist() == [2, 5]
        assert choose_aggressors(self.antifragility, clusters, 1).tolist() == [2]

    def test_where_nothing_is_known_all_is_core(self) -> None:
        returns = factor_returns(60, 8, seed=3)
        polytope = Polytope.build(8, labels=self.labels)
        placed = Barbell().place(Estimates.of(returns), polytope)
        assert [event.code for event in placed.events] == ["NO_AGGRESSORS"]
        np.testing.assert_allclose(placed.weights, HierarchicalRiskParity().fit(returns).weights_)

    def test_never_more_than_five(self) -> None:
        assert len(choose_aggressors(np.arange(24.0), Polytope.build(24), 5)) == 5

    def test_what_must_not_be_held_neither_leads_nor_counts(self) -> None:
        upper = np.ones(8)
        upper[[2, 6, 7]] = 0.0
        clusters = Polytope.build(8, atom_cap=upper, labels=self.labels)
        # three clusters remain, so one aggressor; cluster 2 has the mean 0.5 of its only member
        assert choose_aggressors(self.antifragility, clusters, 5).tolist() == [3]

    def test_unknown_antifragility_is_never_chosen(self) -> None:
        unknown = np.where(self.labels == 2, np.nan, self.antifragility)
        assert choose_aggressors(unknown, Polytope.build(8, labels=self.labels), 5).tolist() == [5, 7]
        assert choose_aggressors(np.full(8, np.nan), Polytope.build(8), 5).tolist() == []

    def test_core_and_aggressors(self) -> None:
        returns = factor_returns(252, 8, seed=8)
        ours = Barbell(clusters=self.labels, antifragility=self.antifragility).fit(returns)
        core = [0, 1, 3, 4, 6, 7]
        np.testing.assert_allclose(ours.weights_[[2, 5]], [0.05, 0.05])
        ward = HierarchicalClustering(linkage_method=LinkageMethod.WARD)
        oracle = SkfolioHRP(
            risk_measure=RiskMeasure.VARIANCE,
            prior_estimator=EmpiricalPrior(covariance_estimator=_Fixed(Estimates.of(returns).covariance.matrix, core)),
            seriation_estimator=HierarchicalSeriation(hierarchical_clustering_estimator=ward, optimal_ordering=False),
        )
        np.testing.assert_allclose(ours.weights_[core], 0.9 * oracle.fit(returns[:, core]).weights_, atol=1e-12)

    @pytest.mark.parametrize("share", [0.15, 0.05, 0.03])
    def test_the_share_of_the_aggressors(self, share: float) -> None:
        returns = factor_returns(252, 8, seed=8)
        ours = Barbell(clusters=self.labels, antifragility=self.antifragility, aggressor_share=share, budget=0.5)
        assert ours.fit(returns).weights_[[2, 5]] == pytest.approx(share / 4)
        assert ours.cash_ == pytest.approx(0.5)

    def test_the_whole_is_projected(self) -> None:
        returns = factor_returns(252, 8, seed=8)
        ours = Barbell(0.2, 0.3, self.labels, antifragility=self.antifragility).fit(returns)
        assert ours.weights_.max() <= 0.2
        assert np.bincount(self.labels, weights=ours.weights_).max() <= 0.3 + 1e-12
        free = Barbell(clusters=self.labels, antifragility=self.antifragility).fit(returns)
        assert ours.solver_.projection_distance == pytest.approx(np.linalg.norm(ours.weights_ - free.weights_))
        assert ours.solver_.projection_distance > 0.01

    def test_one_cluster_is_all_core(self) -> None:
        returns = factor_returns(252, 4, seed=8)
        ours = Barbell(clusters=np.ones(4, dtype=int), antifragility=np.arange(4.0)).fit(returns)
        np.testing.assert_allclose(ours.weights_, HierarchicalRiskParity().fit(returns).weights_)
        assert [event.code for event in ours.events_] == ["NO_AGGRESSORS"]

    def test_alone_it_measures_antifragility_on_the_returns(self) -> None:
        # One atom with rare gains, three with rare losses; four clusters, so two aggressors at most.
        returns = factor_returns(252, 4, seed=9)
        returns[::50, 2] += 0.3
        returns[::50, [0, 1, 3]] -= 0.3
        returns[::60, 0] += 0.2
        ours = Barbell().fit(returns)
        assert ours.weights_[[0, 2]] == pytest.approx([0.05, 0.05])


class _Fixed(LedoitWolf):  # type: ignore[misc]  # skfolio ships no types
    """A covariance that is given: part of the whole pool's, as the core has no covariance of its own."""

    def __init__(self, matrix: Floats | None = None, chosen: list[int] | None = None) -> None:
        super().__init__()
        self.matrix = matrix
        self.chosen = chosen

    def fit(self, X, y=None):  # noqa: N803 - scikit-learn's name
        super().fit(X)
        self.covariance_ = self.matrix[np.ix_(self.chosen, self.chosen)] / 365
        return self


def test_hrp_of_a_frame_does_not_depend_on_the_order_of_its_columns() -> None:
    # Three streams in a row of correlations: a linkage draws the children of a branch as they come, and the bisection
    # of five leaves cuts in the middle of that drawing.
    returns = factor_returns(300, 7, seed=4)
    frame = pl.DataFrame({f"coin_{i}": returns[:, i] for i in range(7)})
    orders = (
        frame.columns,
        frame.columns[::-1],
        sorted(frame.columns, key=lambda name: name[::-1]),
        ["coin_3", *[f"coin_{i}" for i in (6, 0, 5, 1, 4, 2)]],
    )
    books = [
        dict(zip(columns, HierarchicalRiskParity().fit(frame.select(columns)).weights_, strict=True))
        for columns in orders
    ]
    for book in books[1:]:
        assert book == pytest.approx(books[0], abs=1e-9)
    plain = [HierarchicalRiskParity().fit(frame.select(columns).to_numpy()).weights_ for columns in orders]
    assert any(
        dict(zip(columns, found, strict=True)) != pytest.approx(books[0], abs=1e-3)
        for columns, found in zip(orders, plain, strict=True)
    )
