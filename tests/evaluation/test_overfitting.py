"""Probability of backtest overfitting: planted cases, and the paper's algorithm written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, rankdata

from assay.backtest.overfitting import overfitting


def as_written(returns: np.ndarray, blocks: int) -> tuple[list[float], list[float], list[float]]:
    """Section 2 of the paper, step by step: logits, chosen ratios in and out of sample."""
    parts = np.split(returns[len(returns) % blocks :], blocks)
    logits, inside, outside = [], [], []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        training = np.vstack([parts[i] for i in chosen])
        testing = np.vstack([parts[i] for i in range(blocks) if i not in chosen])
        here = training.mean(axis=0) / training.std(axis=0, ddof=1)
        there = testing.mean(axis=0) / testing.std(axis=0, ddof=1)
        best = int(np.argmax(here))
        relative = rankdata(there)[best] / (returns.shape[1] + 1)
        logits.append(math.log(relative / (1 - relative)))
        inside.append(here[best])
        outside.append(there[best])
    return logits, inside, outside


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 6, 8]), st.integers(2, 8))
def test_is_the_algorithm_of_the_paper(seed: int, blocks: int, alternatives: int):
    rng = np.random.default_rng(seed)
    returns = rng.normal(
        rng.normal(0, 0.003, alternatives), 0.02, (int(rng.integers(5, 12)) * blocks + 1, alternatives)
    )
    found = overfitting(returns, blocks)
    logits, inside, outside = as_written(returns, blocks)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-12)
    assert np.mean(np.array(logits) < 0) <= found.probability <= np.mean(np.array(logits) <= 0)
    assert found.probability == pytest.approx(np.mean((1 - np.sign(logits)) / 2))
    assert found.loss_probability == np.mean(np.array(outside) < 0)
    if np.ptp(inside) > 1e-9:
        assert found.slope == pytest.approx(linregress(inside, outside).slope, rel=1e-6, abs=1e-9)
    assert found.days_used == len(returns) - len(returns) % blocks


def test_one_truly_better_alternative_is_no_overfitting():
    returns = np.random.default_rng(1).normal(0.0, 0.01, (640, 10))
    returns[:, 3] += 0.004
    found = overfitting(returns)
    assert found.probability == 0.0
    assert len(found.logits) == math.comb(16, 8)


def test_alternatives_that_must_pay_back_are_all_overfitting():
    """Each alternative's blocks sum to zero: who is best in one half is worst in the other."""
    rng = np.random.default_rng(2)
    returns = rng.normal(0.0, 0.01, (640, 10))
    returns = (returns - returns.mean(axis=0)) / returns.std(axis=0) * 0.01
    found = overfitting(returns)
    assert found.probability > 0.99
    assert found.slope == pytest.approx(-1.0, abs=0.05)


def test_worthless_alternatives_are_a_coin_toss():
    """Over many worlds of pure noise the chosen one ends below the median half of the time."""
    rng = np.random.default_rng(3)
    found = [overfitting(rng.normal(0.0, 0.01, (160, 7)), 8).probability for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_identical_alternatives_are_at_the_median():
    returns = np.tile(np.random.default_rng(4).normal(0, 0.01, (80, 1)), 4)
    found = overfitting(returns, 8)
    assert found.logits.tolist() == [0.0] * 70
    assert found.probability == 0.5


def test_cash_is_an_alternative():
    """A sleeve in cash beats one that always loses, and loses to one that always gains."""
    rng = np.random.default_rng(5)
    losing = rng.uniform(-0.02, -0.01, 96)
    both = overfitting(np.column_stack([np.zeros(96), losing]), 8)
    assert both.probability == both.loss_probability == 0.0
    assert both.slope is None
    assert overfitting(np.column_stack([np.zeros(96), -losing]), 8).probability == 0.0


def test_a_gain_without_risk_is_beyond_every_ratio():
    """A constant gain of 2^-7 has no variance at all; it is chosen over a better mean with risk, and rightly."""
    risky = np.random.default_rng(6).normal(0.01, 0.02, 64)
    found = overfitting(np.column_stack([np.full(64, 2.0**-7), risky]), 4)
    assert found.probability == 0.0
    assert found.slope is None


@pytest.mark.parametrize(
    ("shape", "blocks"), [((100, 1), 4), ((100, 3), 5), ((7, 3), 4), ((100, 3), 22), ((100, 3), 0), ((100,), 4)]
)
def test_nonsense_is_refused(shape, blocks: int):
    with pytest.raises(ValueError):
        overfitting(np.random.default_rng(0).normal(size=shape), blocks)
