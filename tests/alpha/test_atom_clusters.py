from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from alpha_worlds import random_returns
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from assay.alpha.clusters import cluster, correlation, distances

Floats = npt.NDArray[np.float64]


def holed(n_days: int = 250, n: int = 15, seed: int = 0) -> Floats:
    streams = random_returns(n_days, n, seed)
    streams[np.random.default_rng(seed).random(streams.shape) < 0.1] = np.nan
    return streams


def same_partition(a: npt.ArrayLike, b: npt.ArrayLike) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return bool(((a[:, None] == a) == (b[:, None] == b)).all())


def test_correlation_against_pandas() -> None:
    rows = holed()
    np.testing.assert_allclose(correlation(rows), pd.DataFrame(rows).corr(min_periods=125), rtol=0, atol=1e-13)
    whole = random_returns(60, 8)
    np.testing.assert_allclose(correlation(whole), np.corrcoef(whole.T), rtol=0, atol=1e-13)


def test_correlation_survives_a_large_common_mean() -> None:
    rows = random_returns(100, 4)
    np.testing.assert_allclose(correlation(rows + 1e4), correlation(rows), atol=1e-9)


def test_correlation_is_clipped_and_exact_for_copies() -> None:
    one = random_returns(200, 1)[:, 0]
    found = correlation(np.stack([one, one, -one, 3 * one], axis=1))
    assert (np.abs(found) <= 1).all()
    np.testing.assert_allclose(found, [[1, 1, -1, 1], [1, 1, -1, 1], [-1, -1, 1, -1], [1, 1, -1, 1]], atol=1e-15)


@pytest.mark.parametrize("value", [0.0, 0.01, -0.3, 1e-9])
def test_what_does_not_move_is_uncorrelated(value: float) -> None:
    rows = random_returns(60, 3)
    rows[:, 1] = value
    found = correlation(rows)
    np.testing.assert_array_equal(found[1], [0, 1, 0])


def test_what_does_not_move_on_the_shared_rows_is_uncorrelated() -> None:
    rows = random_returns(60, 2)
    rows[30:, 0] = np.nan
    rows[:30, 1] = 0.01
    assert correlation(rows)[0, 1] == 0.0


def test_few_shared_rows_are_unknown() -> None:
    rows = random_returns(60, 2)
    rows[:31, 0] = np.nan
    assert np.isnan(correlation(rows)[0, 1])
    rows[30, 0] = 0.01
    assert not np.isnan(correlation(rows)[0, 1])


def test_distances_are_averaged_over_the_windows_that_know_the_pair() -> None:
    streams = holed(n_days=260)
    streams[-50:, 3] = np.nan  # nothing in the last 60 rows worth a correlation
    streams[:, 4] = np.nan
    expected = np.full((15, 15, 3), np.nan)
    for k, window in enumerate((60, 120, 200)):
        rho = pd.DataFrame(streams[-window:]).corr(min_periods=window // 2).to_numpy()
        expected[..., k] = np.sqrt((1 - np.clip(rho, -1, 1)) / 2)
    mean = pd.DataFrame(expected.reshape(-1, 3)).mean(axis=1).to_numpy(copy=True).reshape(15, 15)
    mean[np.isnan(mean)] = np.sqrt(0.5)
    np.fill_diagonal(mean, 0.0)
    np.testing.assert_allclose(distances(streams), mean, atol=1e-7)  # sqrt near rho = 1


def test_cluster_against_scipy_on_pandas() -> None:
    streams = random_returns(300, 40, seed=2)
    total = np.zeros((40, 40))
    for window in (60, 120, 200):
        total += np.sqrt((1 - pd.DataFrame(streams[-window:]).corr().to_numpy().clip(-1, 1)) / 2)
    tree = linkage(squareform(total / 3, checks=False), "ward")
    for threshold in (0.3, 0.45, 0.6, 0.8):
        labels = cluster(streams, threshold=threshold, max_clusters=40)
        assert same_partition(labels, fcluster(tree, threshold, "distance")), threshold
    capped = cluster(streams, threshold=0.1, max_clusters=7)
    assert same_partition(capped, fcluster(tree, 7, "maxclust"))
    assert capped.max() <= 7


def test_blocks_are_found() -> None:
    rng = np.random.default_rng(4)
    factors = rng.standard_normal((250, 3))
    which = np.array([2, 0, 1, 0, 2, 1, 1])
    streams = factors[:, which] + 0.1 * rng.standard_normal((250, 7))
    assert cluster(streams).tolist() == [1, 2, 3, 2, 1, 3, 3]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(0, 30), st.integers(1, 260), st.integers(1, 30))
def test_every_atom_is_in_one_cluster_and_labels_begin_at_their_first_members(
    seed: int, n: int, n_days: int, most: int
) -> None:
    streams = holed(n_days, n, seed)
    labels = cluster(streams, max_clusters=most)
    assert labels.shape == (n,)
    seen = list(dict.fromkeys(labels.tolist()))
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) <= most


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999))
def test_the_partition_does_not_depend_on_the_order_of_atoms(seed: int) -> None:
    streams = holed(n=20, seed=seed)
    order = np.random.default_rng(seed).permutation(20)
    labels = cluster(streams)
    assert same_partition(labels[order], cluster(streams[:, order]))
