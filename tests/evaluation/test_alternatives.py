"""Alternatives on shared days: who counts, who is left out, and what choosing among them is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.backtest.overfitting import Alternative, overfitting, tried

START = np.datetime64("2023-01-01")


def alternative(name: str, first: int, last: int, seed: int = 0, drift: float = 0.0) -> Alternative:
    """Noise on the days from first up to last, exclusive; the same noise on the same day for the same seed."""
    noise = np.random.default_rng(seed).normal(drift, 0.02, 2000)
    return Alternative(name, START + np.arange(first, last), noise[first:last])


def test_shared_days_are_cut_before_the_cross_validation() -> None:
    found = tried([alternative("a", 0, 300, 1), alternative("b", 20, 300, 2), alternative("c", 0, 290, 3)])
    shared = np.column_stack([np.random.default_rng(seed).normal(0.0, 0.02, 2000)[20:290] for seed in (1, 2, 3)])
    assert (found.days, found.first, found.last) == (270, "2023-01-21", "2023-10-17")
    expected = overfitting(shared, 16)
    assert found.probability == expected.probability
    assert (found.loss_probability, found.slope) == (expected.loss_probability, expected.slope)
    assert found.excluded == ()
    sharpes = shared.mean(axis=0) / shared.std(axis=0, ddof=1) * np.sqrt(365)
    assert list(found.sharpes.values()) == pytest.approx(sharpes.tolist())
    assert found.best == "abc"[int(sharpes.argmax())]


def test_the_window_holds_the_most_returns_and_the_rest_is_named() -> None:
    many = [alternative(f"year {i}", 0, 365, i) for i in range(4)]
    short = [alternative(f"month {i}", 320, 365, 10 + i) for i in range(4)]
    found = tried([*many, *short])  # 4 x 365 returns against 8 x 45
    assert found.days == 365
    assert [one.name for one in found.excluded] == [f"month {i}" for i in range(4)]
    assert found.excluded[0].reason == "has 45 of the 365 days from 2023-01-01 to 2023-12-31"
    longer = [alternative(f"quarter {i}", 100, 365, 10 + i) for i in range(4)]
    found = tried([*many, *longer])  # 8 x 265 against 4 x 365
    assert (found.days, len(found.sharpes)) == (265, 8)


def test_gaps_are_left_out_for_all() -> None:
    whole = alternative("whole", 0, 100, 1)
    kept = np.r_[0:40, 45:100]
    gap = Alternative("gap", whole.days[kept], alternative("x", 0, 100, 2).returns[kept])
    found = tried([whole, gap])
    assert found.days == 95
    assert (found.first, found.last) == ("2023-01-01", "2023-04-10")
    assert not found.excluded


def test_the_same_book_under_another_name_counts_once() -> None:
    one = alternative("one", 0, 100, 1)
    twin = Alternative("twin", one.days, one.returns.copy())
    cash = [Alternative(name, one.days, np.zeros(100) * sign) for name, sign in (("cash", 1.0), ("idle", -1.0))]
    found = tried([one, twin, *cash, alternative("two", 0, 100, 2)])
    assert [(e.name, e.reason) for e in found.excluded] == [
        ("twin", "has the same returns as one"),
        ("idle", "has the same returns as cash"),
    ]
    assert found.sharpes["cash"] is None
    assert found.probability is not None


@pytest.mark.parametrize("number", [0, 1])
def test_fewer_than_two_have_no_probability(number: int) -> None:
    found = tried([alternative(str(i), 0, 100, i) for i in range(number)])
    assert found.probability is None
    assert found.days == 0
    assert len(found.excluded) == number


def test_too_few_shared_days_have_no_probability() -> None:
    found = tried([alternative("early", 0, 100, 1), alternative("late", 90, 200, 2)])
    assert (found.probability, found.days, found.best) == (None, 0, None)
    assert [one.name for one in found.excluded] == ["early", "late"]


def test_skill_is_told_from_luck() -> None:
    # The halves of noise are independent: the one chosen is below the median every other time.
    pools = [[alternative(str(i), 0, 160, 100 * k + i) for i in range(6)] for k in range(300)]
    luck = [tried(pool, blocks=8).probability for pool in pools]
    assert abs(np.mean(luck) - 0.5) < 4 * np.std(luck) / np.sqrt(len(luck)) < 0.1
    skilled = [alternative(str(i), 0, 320, i) for i in range(5)] + [alternative("skilled", 0, 320, 5, drift=0.006)]
    found = tried(skilled)
    assert found.best == "skilled"
    assert found.probability < 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        [Alternative("a", START + np.arange(3), np.array([0.0, np.nan, 0.0]))],
        [Alternative("a", START + np.arange(3), np.zeros(2))],
        [Alternative("a", START + np.array([0, 0, 1]), np.zeros(3))],
        [Alternative("a", START + np.arange(3), np.zeros(3))] * 2,
    ],
)
def test_what_is_no_record_is_refused(wrong: list[Alternative]) -> None:
    with pytest.raises(ValueError):
        tried(wrong)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(40, 120)), min_size=1, max_size=6))
def test_nobody_is_lost(spans: list[tuple[int, int]]) -> None:
    alternatives = [alternative(str(i), first, first + length, i) for i, (first, length) in enumerate(spans)]
    found = tried(alternatives, blocks=4)
    names = sorted([*found.sharpes, *(one.name for one in found.excluded)])
    assert names == sorted(one.name for one in alternatives)
    for one in alternatives:
        if one.name in found.sharpes:
            assert str(one.days[0]) <= found.first <= found.last <= str(one.days[-1])
