from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats
from alpha_worlds import random_returns
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.alpha import features as module
from assay.alpha.features import FEATURES, Features, features, hurst, median_value_traded, permutation_entropy

Floats = npt.NDArray[np.float64]


def holed(n_days: int = 301, n: int = 12, seed: int = 3) -> Floats:
    """Streams with holes, late starts and one stream without anything."""
    streams = random_returns(n_days, n, seed)
    rng = np.random.default_rng(seed)
    streams[rng.random(streams.shape) < 0.04] = np.nan
    streams[:40, 1] = np.nan
    streams[:, 4] = random_returns(n_days, 1, seed + 1)[:, 0]  # one without holes
    streams[:, 5] = np.nan
    return streams


def by_hand(column: Floats, bars: int = 120) -> dict[str, float]:
    """Every stream feature of one stream, from pandas and scipy.stats."""
    whole, recent = pd.Series(column), pd.Series(column[-bars:])
    tail = recent.dropna().sort_values()
    worst = tail.iloc[: math.ceil(0.05 * len(tail))]
    upper, lower = whole.quantile(0.95), whole.quantile(0.05)
    return {
        "momentum": 365 * whole.mean(),
        "efficiency": max(0.0, recent.sum() / recent.abs().sum()),
        "survival": whole.loc[whole.first_valid_index() :].notna().mean(),
        "cvar": worst.mean() if len(tail) % 20 == 0 else np.nan,
        "antifragility": (whole[whole >= upper].mean() + whole[whole <= lower].mean()) / whole.std(),
        "skew": abs(scipy.stats.skew(recent, nan_policy="omit")),
        "kurtosis": scipy.stats.kurtosis(recent, nan_policy="omit"),
        "stability": 1 / (recent.std() * 365**0.5),
        "volatility": recent.std() * 365**0.5,
        "drift": recent.mean(),
        "hurst": rescaled_range_by_loops(recent.dropna().tolist()),
        "entropy": entropy_by_counting(column, 3),
    }


def test_against_pandas_and_scipy() -> None:
    streams = holed()
    measured = features(streams)
    for i in (0, 1, 2, 3, 4, 6, 11):
        for name, expected in by_hand(streams[:, i]).items():
            if not np.isnan(expected):
                assert getattr(measured, name)[i] == pytest.approx(expected, rel=1e-11, abs=1e-13), (name, i)


def test_cvar_of_any_number_of_observations_against_skfolio() -> None:
    from skfolio.measures import cvar

    rng = np.random.default_rng(1)
    for n in (2, 7, 19, 20, 21, 57, 100, 119, 120):
        column = rng.standard_normal(n)
        assert features(column[:, None]).cvar[0] == pytest.approx(-cvar(column, beta=0.95), rel=1e-12), n


def test_a_stream_without_observations_has_no_feature() -> None:
    measured = features(holed())
    for name in FEATURES:
        assert np.isnan(getattr(measured, name)[5]), name


@pytest.mark.parametrize("value", [0.0, 0.01, -0.01, 0.1])
def test_a_stream_that_does_not_move_has_no_shape(value: float) -> None:
    measured = features(np.full((200, 1), value))
    for name in ("skew", "kurtosis", "antifragility", "stability", "hurst", "volatility"):
        assert np.isnan(getattr(measured, name)[0]), name
    assert measured.entropy[0] == 0.0
    assert measured.momentum[0] == pytest.approx(365 * value)
    if value:
        assert measured.efficiency[0] == pytest.approx(1.0 if value > 0 else 0.0)
    else:
        assert np.isnan(measured.efficiency[0])


@pytest.mark.parametrize("n_days", [0, 1, 2, 3, 16])
def test_short_tables_have_defined_answers(n_days: int) -> None:
    measured = features(np.linspace(-0.01, 0.02, n_days)[:, None])
    assert np.isnan(measured.momentum[0]) == (n_days == 0)
    assert np.isnan(measured.skew[0]) == (n_days < 2)
    assert np.isnan(measured.entropy[0]) == (n_days < 3)
    assert np.isnan(measured.hurst[0]) == (n_days < 16)


def test_ratings_take_the_sign_and_adx_does_not() -> None:
    ratings = np.array([0.5, -0.5, 0.2])
    measured = features(
        np.zeros((5, 3)),
        recommend_all=ratings,
        recommend_ma=-ratings,
        adx=np.array([30.0, 10.0, np.nan]),
        signs=[1, -1, -1],
    )
    np.testing.assert_array_equal(measured.recommend_all, [0.5, 0.5, -0.2])
    np.testing.assert_array_equal(measured.recommend_ma, [-0.5, -0.5, 0.2])
    np.testing.assert_array_equal(measured.adx, [0.3, 0.1, np.nan])


def test_recent_is_the_last_calendar_rows() -> None:
    streams = np.full((30, 1), 0.5)
    streams[-10:] = [[0.01], [np.nan], [0.02], [-0.01], [np.nan], [0.04], [0.01], [0.0], [0.02], [0.03]]
    measured = features(streams, feature_bars=10)
    assert measured.drift[0] == pytest.approx(0.12 / 8)
    assert measured.efficiency[0] == pytest.approx(0.12 / 0.14)


def test_liquidity_is_the_median_over_recent_bars_up_to_ten_millions() -> None:
    rng = np.random.default_rng(5)
    value = rng.lognormal(15.5, 1.0, (200, 6))
    value[rng.random(value.shape) < 0.1] = np.nan
    value[:, 5] = np.nan
    median = pd.DataFrame(value[-120:]).median().to_numpy()
    np.testing.assert_allclose(median_value_traded(value, 120, 6), median, rtol=1e-15)
    measured = features(np.zeros((200, 6)), value_traded=value)
    np.testing.assert_allclose(measured.liquidity, np.minimum(median / 1e7, 1.0), rtol=1e-15)


def entropy_by_counting(series: Floats, order: int) -> float:
    """Normalised permutation entropy from argsorts."""
    windows = [series[i : i + order] for i in range(len(series) + 1 - order)]
    patterns = [tuple(np.argsort(w, kind="stable")) for w in windows if not np.isnan(w).any()]
    return float(scipy.stats.entropy(pd.Series(patterns).value_counts()) / math.log(math.factorial(order)))


class TestPermutationEntropy:
    """The example of Bandt and Pompe's paper: 4, 7, 9, 10, 6, 11, 3."""

    SERIES = np.array([[4.0, 7.0, 9.0, 10.0, 6.0, 11.0, 3.0]])

    @pytest.mark.parametrize(("order", "bits"), [(2, 0.918), (3, 1.522)])
    def test_published(self, order: int, bits: float) -> None:
        found = permutation_entropy(self.SERIES, order)[0] * math.log2(math.factorial(order))
        assert found == pytest.approx(bits, abs=5e-4)

    @pytest.mark.parametrize("order", [2, 3, 4])
    def test_against_counting_argsorts(self, order: int) -> None:
        rng = np.random.default_rng(order)
        series = rng.integers(0, 5, 200).astype(float)  # with many ties
        series[[20, 21, 90]] = np.nan
        expected = entropy_by_counting(series, order)
        assert permutation_entropy(series[None], order)[0] == pytest.approx(expected, rel=1e-12)

    def test_extremes(self) -> None:
        rising, noise = np.arange(50.0), np.random.default_rng(0).random(100_000)
        assert permutation_entropy(rising[None])[0] == 0.0
        assert permutation_entropy(-rising[None])[0] == 0.0
        assert 0.9999 < permutation_entropy(noise[None])[0] <= 1.0

    def test_a_pattern_does_not_reach_over_a_hole(self) -> None:
        assert np.isnan(permutation_entropy(np.array([[1.0, 2.0, np.nan, 3.0, 4.0]]))[0])


def rescaled_range_by_loops(column: list[float]) -> float:
    """Anis, Lloyd and Weron's exponent less 0.5, number by number."""
    n = len(column)
    points = []
    for length in sorted({n // k for k in (1, 2, 3, 4, 5, 6, 8, 10, 12, 15) if n // k >= 8}):
        ratios = []
        for k in range(n // length):
            end = n - k * length
            chunk = column[end - length : end]
            mean = sum(chunk) / length
            deviation = (sum((x - mean) ** 2 for x in chunk) / length) ** 0.5
            path, low, high = 0.0, 0.0, 0.0
            for x in chunk:
                path += x - mean
                low, high = min(low, path), max(high, path)
            ratios.append((high - low) / deviation)
        gammas = math.gamma((length - 1) / 2) / (math.sqrt(math.pi) * math.gamma(length / 2))
        expected = gammas * sum(math.sqrt((length - i) / i) for i in range(1, length))
        points.append((math.log(length), math.log(sum(ratios) / len(ratios) / expected)))
    return float(np.polyfit(*zip(*points, strict=True), 1)[0])


def fractional_noise(exponent: float, n: int, copies: int) -> Floats:
    """Exact fractional Gaussian noise by circulant embedding (Davies and Harte, 1987), (copies, n)."""
    k = np.arange(n + 1.0)
    power = 2 * exponent
    covariance = ((k + 1) ** power - 2 * k**power + np.abs(k - 1) ** power) / 2
    spectrum = np.fft.fft(np.concatenate([covariance, covariance[1:-1][::-1]])).real
    rng = np.random.default_rng(int(100 * exponent))
    noise = rng.standard_normal((copies, 2 * n)) + 1j * rng.standard_normal((copies, 2 * n))
    return np.ascontiguousarray(np.fft.fft(np.sqrt(spectrum / (2 * n)) * noise, axis=1).real[:, :n])


class TestHurst:
    @pytest.mark.parametrize("n", [16, 33, 77, 119, 120])
    def test_against_loops(self, n: int) -> None:
        column = np.random.default_rng(n).standard_t(4, n)
        holed = np.full(140, np.nan)
        holed[np.sort(np.random.default_rng(1).choice(140, n, replace=False))] = column
        expected = rescaled_range_by_loops(column.tolist())
        assert hurst(column[None])[0] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        np.testing.assert_array_equal(hurst(holed[None]), hurst(column[None]))

    def test_expected_range_of_two_values_is_one(self) -> None:
        assert module._expected_rescaled_range(2) == pytest.approx(1.0, rel=1e-14)

    @pytest.mark.parametrize("exponent", [0.3, 0.5, 0.7, 0.9])
    def test_recovers_the_exponent_of_fractional_noise(self, exponent: float) -> None:
        # The estimator leans towards 0.5 far from it, as all rescaled ranges do.
        found = hurst(fractional_noise(exponent, 2048, 300)).mean()
        assert found == pytest.approx(exponent - 0.5, abs=0.09)

    def test_white_noise_of_120_bars_does_not_trend(self) -> None:
        assert abs(hurst(fractional_noise(0.5, 120, 4000)).mean()) < 0.015

    def test_order_by_exponent_at_120_bars(self) -> None:
        means = [hurst(fractional_noise(h, 120, 1000)).mean() for h in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)]
        assert means == sorted(means)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 160), st.floats(0.0, 0.5))
def test_features_keep_their_bounds(seed: int, n_days: int, holes: float) -> None:
    streams = random_returns(n_days, 5, seed)
    streams[np.random.default_rng(seed).random(streams.shape) < holes] = np.nan
    measured = features(streams)
    for name in ("efficiency", "survival", "entropy"):
        values = getattr(measured, name)
        assert (np.isnan(values) | ((values >= 0) & (values <= 1 + 1e-12))).all(), name
    assert not (measured.skew < 0).any()
    assert not (measured.cvar > measured.drift + 1e-15).any()


def test_an_atom_depends_on_its_own_rows_alone_to_the_last_bit() -> None:
    streams = holed()
    together = features(streams)
    for i in range(streams.shape[1]):
        alone = features(np.asfortranarray(streams[:, i : i + 1]))
        for name in Features.__dataclass_fields__:
            a, b = getattr(together, name)[i : i + 1], getattr(alone, name)
            assert a.tobytes() == b.tobytes() or (np.isnan(a) & np.isnan(b)).all(), (name, i)


def test_the_memory_behind_a_table_does_not_matter() -> None:
    streams = holed()
    padded = np.vstack([np.full((7, 12), 9.9), streams, np.full((5, 12), 9.9)])[7:-5]
    a, b = features(streams), features(padded)
    for name in Features.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
