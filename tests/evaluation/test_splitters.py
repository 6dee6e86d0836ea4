"""Selection and optimizers under other people's splitters: skfolio's and scikit-learn's.

What comes out of a split is checked against the same estimator on hand-cut rows, or against skfolio's own estimator
where it answers the same question.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from assay.alpha.selection import NaturalSelection
from assay.risk.optimizers import Barbell, EqualWeight, HierarchicalRiskParity, MaxSharpe, MinVariance

pytest.importorskip("skfolio", reason="skfolio is not installed")

from skfolio.model_selection import CombinatorialPurgedCV, WalkForward
from skfolio.model_selection import cross_val_predict as skfolio_cross_val_predict
from skfolio.moments import LedoitWolf
from skfolio.optimization import EqualWeighted, InverseVolatility, MeanRisk
from skfolio.prior import EmpiricalPrior
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_predict, cross_validate
from sklearn.pipeline import Pipeline

ALL = (MinVariance, MaxSharpe, HierarchicalRiskParity, EqualWeight, Barbell)


def returns(days: int = 400, coins: int = 12, seed: int = 0) -> np.ndarray:
    """Coins that share a market and drift upwards."""
    rng = np.random.default_rng(seed)
    market = rng.normal(0.002, 0.02, (days, 1))
    return market * rng.uniform(0.5, 1.5, coins) + rng.normal(0.002, 0.02, (days, coins))


def by_hand(kind: type, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Portfolio returns of winners chosen and weighed on some rows, held over others."""
    winners = NaturalSelection().fit(train).get_support(indices=True)
    return test[:, winners] @ kind().fit(train[:, winners]).weights_


def sleeve(kind: type) -> Pipeline:
    return Pipeline([("selection", NaturalSelection()), ("weights", kind())])


@pytest.mark.parametrize("kind", ALL)
def test_walk_forward_of_a_whole_sleeve(kind: type) -> None:
    table = returns()
    splits = list(WalkForward(train_size=252, test_size=10).split(table))
    assert [(train[0], train[-1], test[0], test[-1]) for train, test in splits] == [
        (10 * i, 10 * i + 251, 10 * i + 252, 10 * i + 261) for i in range(14)
    ]
    for train, test in splits[:3]:
        fitted = clone(sleeve(kind)).fit(table[train])
        held = fitted.predict(table[test])
        np.testing.assert_allclose(
            held, by_hand(kind, table[train[0] : train[-1] + 1], table[test]), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("kind", ALL)
def test_combinatorial_purged_paths_of_a_whole_sleeve(kind: type) -> None:
    table = returns(days=300)
    splitter = CombinatorialPurgedCV(n_folds=5, n_test_folds=2, purged_size=3, embargo_size=2)
    paths = np.full((splitter.n_test_paths, len(table)), np.nan)
    splits = zip(splitter.split(table), splitter.get_path_ids(), strict=True)
    for (train, tests), path_ids in splits:
        assert not set(train) & set(np.concatenate(tests))
        fitted = clone(sleeve(kind)).fit(table[train])
        for test, path in zip(tests, path_ids, strict=True):
            paths[path, test] = fitted.predict(table[test])
            np.testing.assert_allclose(paths[path, test], by_hand(kind, table[train], table[test]), rtol=0, atol=1e-12)
    assert paths.shape[0] == 4
    assert np.isfinite(paths).all()
    for one, other in itertools.combinations(paths, 2):
        assert kind is EqualWeight or not np.array_equal(one, other)


def test_cross_val_predict_holds_every_row_once() -> None:
    table = returns(days=300)
    folds = KFold(3)
    for kind in ALL:
        held = cross_val_predict(sleeve(kind), table, cv=folds)
        assert held.shape == (300,)
        for train, test in folds.split(table):
            np.testing.assert_allclose(held[test], by_hand(kind, table[train], table[test]), rtol=0, atol=1e-12)


def test_cross_validate_scores_by_the_annual_sharpe_ratio() -> None:
    table = returns()
    splitter = WalkForward(train_size=252, test_size=37)
    found = cross_validate(sleeve(MinVariance), table, cv=splitter, error_score="raise", return_estimator=True)
    assert len(found["test_score"]) == 4
    for score, (train, test) in zip(found["test_score"], splitter.split(table), strict=True):
        daily = by_hand(MinVariance, table[train], table[test])
        assert score == pytest.approx(daily.mean() / daily.std() * np.sqrt(365))


def test_equal_weight_is_skfolios_under_its_walk_forward() -> None:
    table = returns()
    splitter = WalkForward(train_size=252, test_size=10)
    theirs = skfolio_cross_val_predict(EqualWeighted(), table, cv=splitter)
    ours = np.concatenate(
        [clone(EqualWeight()).fit(table[train]).predict(table[test]) for train, test in splitter.split(table)]
    )
    np.testing.assert_allclose(ours, theirs.returns, rtol=0, atol=1e-12)


def test_least_variance_is_skfolios_under_its_walk_forward() -> None:
    table = returns()
    splitter = WalkForward(train_size=252, test_size=37)
    prior = EmpiricalPrior(covariance_estimator=LedoitWolf())
    theirs = skfolio_cross_val_predict(MeanRisk(prior_estimator=prior, max_weights=0.25), table, cv=splitter)
    model = MinVariance(atom_cap=0.25)
    ours = np.concatenate(
        [clone(model).fit(table[train]).predict(table[test]) for train, test in splitter.split(table)]
    )
    np.testing.assert_allclose(ours, theirs.returns, rtol=0, atol=2e-5)


def test_selection_feeds_skfolios_optimizer_on_every_combinatorial_path() -> None:
    table = returns(days=300)
    splitter = CombinatorialPurgedCV(n_folds=4, n_test_folds=2)
    model = Pipeline([("selection", NaturalSelection()), ("weights", InverseVolatility())])
    population = skfolio_cross_val_predict(model, table, cv=splitter)
    assert len(population) == splitter.n_test_paths == 3
    train, tests = next(iter(splitter.split(table)))
    winners = NaturalSelection().fit(table[train]).get_support(indices=True)
    weights = 1.0 / table[train][:, winners].std(axis=0, ddof=1)
    expected = table[tests[0]][:, winners] @ (weights / weights.sum())
    path = splitter.get_path_ids()[0][0]
    np.testing.assert_allclose(np.asarray(population[path].returns)[tests[0]], expected, rtol=0, atol=1e-12)
