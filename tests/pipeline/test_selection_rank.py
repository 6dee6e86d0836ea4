"""The rank of a selection among draws, through everything: files, ratings, scanners, decisions, book, lots."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from scipy.stats import chisquare

import assay

from .conftest import LONG

FIRST = dt.datetime(2022, 1, 1, tzinfo=dt.UTC)
WORLDS = 50


def bars_of_a_world(seed: int, n_days: int = 400, n_coins: int = 40) -> pl.DataFrame:
    """Coins alike: each day's returns are a market in common and an own part, of one law for all and every day."""
    rng = np.random.default_rng(seed)
    change = rng.normal(0.0, 0.04, (n_days, n_coins + 1)) + rng.normal(0.0005, 0.02, (n_days, 1))
    close = 100.0 * np.exp(np.cumsum(change, axis=0))
    open_ = np.vstack([np.full((1, n_coins + 1), 100.0), close[:-1]])
    reach = np.exp(np.abs(rng.normal(0.0, 0.01, (2, *close.shape))))
    names = ["BTC", *(f"C{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(n_coins))]
    shape = close.shape
    return pl.DataFrame(
        {
            "symbol": np.broadcast_to([f"BINANCE:{name}USDT" for name in names], shape).ravel().tolist(),
            "timestamp": np.repeat([FIRST + dt.timedelta(days=i) for i in range(n_days)], shape[1]).tolist(),
            "open": open_.ravel(),
            "high": (np.maximum(open_, close) * reach[0]).ravel(),
            "low": (np.minimum(open_, close) / reach[1]).ravel(),
            "close": close.ravel(),
            "volume": np.full(shape, 1e6).ravel(),
        }
    )


def rank(seed: int, folder) -> float:
    bars_of_a_world(seed).write_parquet(folder / "bars.parquet")
    few = ("selection.wanted=6", "selection.max_winners=6", "selection.top_n=1")
    run = assay.run(LONG, source=f"parquet:{folder / 'bars.parquet'}", home=folder / "home", settings=few)
    found = run.worth.lots
    assert found.percentile is not None, run.path
    return found.percentile


@pytest.mark.slow
def test_without_skill_any_rank_is_as_likely(tmp_path) -> None:
    """50 worlds in which no coin is better than another, size 1 %; expectations of ten bins of 0 to 100."""
    ranks = []
    for seed in range(WORLDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        ranks.append(rank(seed, folder))
    counted = np.bincount(np.minimum(np.array(ranks) // 10, 9).astype(int), minlength=10)
    expected = WORLDS * np.array([10] * 9 + [11]) / 101
    assert chisquare(counted, expected).pvalue > 0.01, ranks
