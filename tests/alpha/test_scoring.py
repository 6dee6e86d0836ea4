from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from assay.alpha import scoring
from assay.alpha.features import FEATURES

Floats = npt.NDArray[np.float64]
VALUES = hnp.arrays(
    np.float64, st.integers(1, 30), elements=st.floats(-1e3, 1e3) | st.just(np.nan) | st.sampled_from([0.0, 1.0])
)
MAPS = (scoring.rank, scoring.descending, scoring.as_is, scoring.z)


@given(VALUES)
def test_rank_against_scipy(raw: Floats) -> None:
    exists = ~np.isnan(raw)
    n = int(exists.sum())
    found = scoring.rank(raw)
    if n == 0:
        np.testing.assert_array_equal(found, 0.5)
        return
    ranks = scipy.stats.rankdata(raw[exists], method="average")
    np.testing.assert_allclose(found[exists], 0.01 + 0.99 * (ranks - 0.5) / n, rtol=1e-14)
    np.testing.assert_array_equal(found[~exists], 0.01)


@given(VALUES)
def test_descending_is_the_rank_from_the_other_end(raw: Floats) -> None:
    exists = ~np.isnan(raw)
    if exists.any():
        np.testing.assert_allclose(scoring.rank(raw)[exists] + scoring.descending(raw)[exists], 1.01, rtol=1e-14)


@given(VALUES)
def test_z_against_scipy(raw: Floats) -> None:
    exists = ~np.isnan(raw)
    found = scoring.z(raw)
    if exists.any() and np.ptp(raw[exists]) > 1e-6:
        np.testing.assert_allclose(
            found[exists], scipy.stats.norm.cdf(scipy.stats.zscore(raw[exists])), rtol=1e-9, atol=1e-12
        )
        np.testing.assert_array_equal(found[~exists], 0.001)


def test_z_without_spread_is_one_half() -> None:
    np.testing.assert_array_equal(scoring.z(np.full(7, 0.1)), 0.5)
    np.testing.assert_array_equal(scoring.z(np.array([0.1, np.nan])), [0.5, 0.001])


@given(VALUES)
def test_every_map_stays_in_0_to_1_and_never_loses_the_order(raw: Floats) -> None:
    for apply in MAPS:
        found = apply(raw)
        assert ((found >= 0) & (found <= 1)).all()
        exists = ~np.isnan(raw)
        if exists.any():
            sign = -1 if apply is scoring.descending else 1
            order = np.argsort(sign * raw[exists], kind="stable")
            assert (np.diff(found[exists][order]) >= 0).all()
            assert (found[~exists] <= 0.01).all()


@given(VALUES)
def test_who_is_missing_changes_nothing_for_the_others(raw: Floats) -> None:
    exists = ~np.isnan(raw)
    if exists.any():
        for apply in MAPS:
            np.testing.assert_array_equal(apply(raw)[exists], apply(raw[exists]))


def test_weights_are_the_designs() -> None:
    published = {
        "momentum": 1.7469, "efficiency": 1.5348, "survival": 1.4, "recommend_all": 1.0, "recommend_ma": 1.0,
        "adx": 1.0, "cvar": 1.0, "antifragility": 0.6263, "skew": 0.5, "kurtosis": 0.5, "hurst": 0.3485,
        "liquidity": 0.2946, "stability": 0.0458, "entropy": 0.0322,
    }  # fmt: skip
    assert dict(scoring.WEIGHTS) == published
    assert tuple(scoring.MAPS) == tuple(published) == FEATURES


def test_dominant_signal() -> None:
    changed = scoring.weights("recommend_ma", 3.0, 0.5)
    assert {name: value for name, value in changed.items() if value != scoring.WEIGHTS[name]} == {
        "recommend_ma": 3.0,
        "momentum": 0.5,
    }
    assert scoring.weights("momentum")["momentum"] == 3.0
    assert scoring.weights() == dict(scoring.WEIGHTS)
    with pytest.raises(ValueError):
        scoring.weights("recommend_other")


@given(st.integers(1, 20), st.integers(0, 99))
def test_alpha_is_scipys_weighted_geometric_mean(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability = {name: rng.uniform(0.001, 1.0, n) for name in FEATURES}
    expected = scipy.stats.gmean(
        np.stack([probability[name] for name in FEATURES]), weights=[[scoring.WEIGHTS[name]] * n for name in FEATURES]
    )
    np.testing.assert_allclose(scoring.alpha(probability), expected, rtol=1e-12)


def test_alpha_of_a_zero_probability_is_zero() -> None:
    probability = {name: np.array([0.5, 0.0 if name == "entropy" else 1.0]) for name in FEATURES}
    np.testing.assert_allclose(scoring.alpha(probability), [0.5, 0.0])


def test_a_weight_of_zero_is_no_say() -> None:
    probability = {"a": np.array([0.0]), "b": np.array([0.25])}
    np.testing.assert_allclose(scoring.alpha(probability, {"a": 0.0, "b": 2.0}), [0.25])
