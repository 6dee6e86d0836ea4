"""The optimizers inside scikit-learn and skfolio."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from risk_worlds import factor_returns
from skfolio.model_selection import CombinatorialPurgedCV, WalkForward
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline

from assay.risk.optimizers import Barbell, EqualWeight, HierarchicalRiskParity, MaxSharpe, MinVariance, Optimizer

ALL = (MinVariance, MaxSharpe, HierarchicalRiskParity, EqualWeight, Barbell)


class Clip(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A step before the optimizer."""

    def fit(self, X, y=None):  # type: ignore[no-untyped-def]  # noqa: N803 - scikit-learn's name
        self.fitted_ = True
        return self

    def transform(self, X):  # type: ignore[no-untyped-def]  # noqa: N803 - scikit-learn's name
        return np.clip(X, -0.2, 0.2)


@pytest.mark.parametrize("kind", ALL)
class TestGrammar:
    def test_clones(self, kind: type[Optimizer]) -> None:
        original = kind(atom_cap=0.3, budget=0.8, clusters=np.arange(5))
        copy = clone(original)
        assert copy is not original
        assert copy.get_params().keys() == original.get_params().keys()
        assert (copy.atom_cap, copy.budget, copy.clusters.tolist()) == (0.3, 0.8, [0, 1, 2, 3, 4])
        assert not hasattr(copy, "weights_")

    def test_fitting_leaves_parameters_and_returns_as_they_were(self, kind: type[Optimizer]) -> None:
        returns = factor_returns(100, 5, seed=1)
        before, optimizer = returns.copy(), kind(atom_cap=0.3)
        parameters = dict(optimizer.get_params())
        assert optimizer.fit(returns) is optimizer
        assert optimizer.get_params() == parameters
        np.testing.assert_array_equal(returns, before)
        assert optimizer.n_features_in_ == 5

    def test_frames_are_read(self, kind: type[Optimizer]) -> None:
        returns = factor_returns(100, 4, seed=2)
        names = ["a", "b", "c", "d"]
        expected = kind().fit(returns).weights_
        for frame in (pd.DataFrame(returns, columns=names), pl.DataFrame(returns, schema=names), returns.tolist()):
            np.testing.assert_array_equal(kind().fit(frame).weights_, expected)

    def test_predicts_the_portfolio(self, kind: type[Optimizer]) -> None:
        returns = factor_returns(100, 4, seed=3, drift=0.01)
        optimizer = kind().fit(returns)
        np.testing.assert_allclose(optimizer.predict(returns), returns @ optimizer.weights_)
        daily = returns @ optimizer.weights_
        assert optimizer.score(returns) == pytest.approx(daily.mean() / daily.std() * np.sqrt(365))

    def test_cross_validates_in_a_pipeline(self, kind: type[Optimizer]) -> None:
        returns = factor_returns(160, 5, seed=4, drift=0.01)
        model = make_pipeline(Clip(), kind(atom_cap=0.4))
        for splitter in (TimeSeriesSplit(3), WalkForward(train_size=100, test_size=20)):
            scores = cross_val_score(model, returns, cv=splitter, error_score="raise")
            assert len(scores) == 3
            assert np.isfinite(scores).all()

    def test_splits_by_skfolio(self, kind: type[Optimizer]) -> None:
        returns = factor_returns(160, 4, seed=5)
        for train, tests in CombinatorialPurgedCV(n_folds=4, n_test_folds=2).split(returns):
            fitted = clone(kind()).fit(returns[train])
            assert all(fitted.predict(returns[test]).shape == (len(test),) for test in tests)


def test_grid_search_over_caps() -> None:
    returns = factor_returns(160, 6, seed=6, drift=0.01)
    search = GridSearchCV(MaxSharpe(), {"atom_cap": [0.2, 0.5, 1.0]}, cv=TimeSeriesSplit(3), error_score="raise")
    search.fit(returns)
    assert search.best_params_["atom_cap"] in (0.2, 0.5, 1.0)


def test_unknown_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="no parameter 'caps'"):
        MinVariance().set_params(caps=1.0)


def test_nothing_varies_scores_zero() -> None:
    assert EqualWeight().fit(np.full((5, 2), 0.01)).score(np.zeros((5, 2))) == 0.0
