"""The draw engine is the book without costs, and its ranks are those of chance where there is nothing but chance."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_markets import prices
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from assay.backtest.book import Target, simulate
from assay.backtest.draws import Lot, Renaming, draw_books, hold_many
from assay.settings.model import Costs

FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.0)


def made_bars(rng, n_days, n_coins, volatility=0.05, holes=0.0):
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, volatility, (n_days, n_coins)), axis=0))
    open_ = close * np.exp(rng.normal(0.0, 0.01, close.shape))
    if holes:
        gone = rng.random(close.shape) < holes
        for column in rng.choice(n_coins, n_coins // 3, replace=False):  # some leave for days, some for good
            begin = int(rng.integers(n_days))
            gone[begin : begin + int(rng.choice([3, 5, n_days])), column] = True
        close[gone] = open_[gone] = np.nan
    return prices(close, open_, borrow=0.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 5]), st.sampled_from([-1.0, 0.0, 1.0]), st.booleans())
def test_many_books_at_once_are_the_book_without_costs(seed, n_tranches, side, holes) -> None:
    """Long, short and mixed, with holes, delistings, new listings, cash, and accounts that end in debt."""
    rng = np.random.default_rng(seed)
    n_days, n_coins, n_books = 40, 7, 5
    bars = made_bars(rng, n_days, n_coins, volatility=0.25 if side < 0 else 0.05, holes=0.04 * holes)
    rows = np.arange(int(rng.integers(0, 5)), n_days - 1, int(rng.integers(1, 4)))
    told = []
    for index, row in enumerate(rows.tolist()):
        signs = np.where(rng.random((n_books, n_coins)) < 0.5, 1.0, -1.0) if side == 0.0 else side
        weights = signs * rng.dirichlet(np.ones(n_coins), n_books) * rng.choice([0.0, 0.5, 1.0])
        told.append((row, index % n_tranches, weights))
    many = hold_many(bars, np.arange(n_coins), iter(told), n_tranches)
    for book in range(n_books):
        targets = [Target(row, tranche, weights[book]) for row, tranche, weights in told]
        if not any(target.weights.any() for target in targets):
            continue
        one = simulate(bars, targets, FREE, n_tranches=n_tranches)
        np.testing.assert_allclose(many.nav[book], one.nav, rtol=0.0, atol=1e-11)
        np.testing.assert_allclose(many.returns[book], one.returns, rtol=1e-9, atol=1e-9)
        if one.liquidated is None and not (one.trades.reason == "delisting").any():
            np.testing.assert_allclose(many.traded[book], one.traded, rtol=0.0, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_a_renaming_is_drawn_without_replacement_and_lasts(seed) -> None:
    rng = np.random.default_rng(seed)
    n_atoms = 12
    renaming = Renaming(n_atoms, 20, seed)
    before: dict[int, np.ndarray] = {}
    for _ in range(15):
        safe = np.sort(rng.choice(n_atoms, int(rng.integers(1, n_atoms + 1)), replace=False))
        winners = rng.permutation(rng.choice(safe, int(rng.integers(0, len(safe) + 1)), replace=False))
        drawn = renaming.of(winners, safe)
        assert drawn.shape == (20, len(winners))
        assert np.isin(drawn, safe).all()
        assert all(len(set(row)) == len(row) for row in drawn.tolist())
        for place, winner in enumerate(winners.tolist()):
            kept = before.get(winner)
            if kept is not None:
                there = np.isin(kept, safe)
                np.testing.assert_array_equal(drawn[there, place], kept[there])
        before = {winner: drawn[:, place] for place, winner in enumerate(winners.tolist())}


def test_each_candidate_is_drawn_as_often() -> None:
    """Whoever is chosen: 4 of 10 that are a part of 30, 20,000 draws, each within 4 standard deviations."""
    renaming, safe = Renaming(30, 20_000, 1), np.arange(5, 15)
    for winners in (safe[:4], safe[2:6], safe[6:]):
        counted = np.bincount(renaming.of(winners, safe).ravel(), minlength=30)[safe] / 20_000
        assert np.abs(counted - 0.4).max() < 4 * np.sqrt(0.24 / 20_000)


def rank(returns: np.ndarray) -> float:
    sharpe = returns.mean(axis=1) / returns.std(axis=1)
    return float((sharpe[1:] < sharpe[0]).sum() + 0.5 * (sharpe[1:] == sharpe[0]).sum())


def ranked(seed: int, *, keep: float, drift: float = 0.0, n_days: int = 260, n: int = 24, m: int = 8, step: int = 10):
    """Rank of a selection in a world of coins alike, with a market in common; ``keep`` of the winners stay each day.

    ``drift`` is what winners gain a day, in parts of their volatility.
    """
    rng = np.random.default_rng(seed)
    change = rng.normal(0.0, 0.04, (n_days, n)) + rng.normal(0.0, 0.02, (n_days, 1))
    winners, lots = rng.permutation(n)[:m], []
    for row in range(n_days - 1):
        stay = winners[rng.random(m) < keep]
        others = rng.permutation(np.delete(np.arange(n), stay))
        winners = np.concatenate([stay, others[: m - len(stay)]])
        lots.append(Lot(row, row % step, 1.0, np.arange(n), winners))
        change[row + 1, winners] += drift * np.hypot(0.04, 0.02)
    close = np.cumprod(1.0 + np.maximum(change, -0.9), axis=0)
    bars = prices(close, np.vstack([close[:1], close[:-1]]), listing=np.zeros(close.shape, dtype=np.int32), borrow=0.0)
    drawn = draw_books(bars, lots, np.arange(n), 1, n_tranches=step, n_draws=100, seed=seed + 10**6)
    return rank(drawn.returns[:, step - 1 :])


def uniform(ranks) -> float:
    """p-value that ranks of 0 to 100 in ten bins come from 101 equally likely ones."""
    counted = np.bincount(np.minimum(np.asarray(ranks) // 10, 9).astype(int), minlength=10)
    return float(chisquare(counted, len(ranks) * np.array([10] * 9 + [11]) / 101).pvalue)


@pytest.mark.parametrize("keep", [0.0, 0.97])
def test_a_selection_without_skill_has_any_rank(keep) -> None:
    """Whether it changes its coins every day or keeps them for a month: 200 worlds each, size 1 %."""
    assert uniform([ranked(seed, keep=keep, n_days=120, step=5) for seed in range(200)]) > 0.01


@pytest.mark.slow
def test_a_selection_without_skill_has_any_rank_in_a_thousand_worlds() -> None:
    assert uniform([ranked(seed, keep=0.95) for seed in range(1000)]) > 0.01


def test_a_selection_with_skill_ranks_high() -> None:
    """A tenth of their volatility a day over 250 days: above 95 in at least 90 % of worlds."""
    assert np.mean([ranked(seed, keep=0.95, drift=0.1) > 95 for seed in range(40)]) >= 0.9
