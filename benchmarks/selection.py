"""Natural selection: answers first, then times.

Run with ``python benchmarks/selection.py`` in an environment that has SciPy's statistics and pandas; the answers are
compared with theirs, and nothing is timed unless they agree.
"""

from __future__ import annotations

import datetime as dt
import os
import statistics
import sys
import time
from collections.abc import Callable

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # as in a worker: the pool of processes is the parallelism

import numpy as np
import numpy.typing as npt

STARTED = time.perf_counter()
from assay.alpha.selection import NaturalSelection, select

IMPORTED = time.perf_counter() - STARTED

from assay.alpha.features import FEATURES
from assay.alpha.scoring import WEIGHTS
from assay.market.panel import Market
from assay.market.returns import returns_matrix
from assay.runs.documents import Candidate
from assay.settings.model import Profile

Floats = npt.NDArray[np.float64]
BENCHMARK = "BINANCE:BTCUSDT"


def streams(n_days: int, n: int, holes: float = 0.0) -> Floats:
    """Returns with three common factors and fat tails."""
    rng = np.random.default_rng(7)
    factors = 0.02 * rng.standard_t(5, (n_days, 3))
    returns = 0.003 * rng.uniform(-1, 3, n) + factors @ rng.uniform(0, 1, (3, n))
    returns += rng.uniform(0.01, 0.03, n) * rng.standard_t(4, (n_days, n))
    returns = np.clip(returns, -0.6, 0.9)
    returns[rng.random(returns.shape) < holes] = np.nan
    return returns


def market(n_days: int, n: int) -> Market:
    """Return a market without holes whose returns these are."""
    rng = np.random.default_rng(8)
    close = np.cumprod(np.vstack([np.ones(n), 1 + streams(n_days - 1, n)]), axis=0)
    ratings = {name: rng.uniform(-1, 1, close.shape) for name in ("recommend_all", "recommend_ma", "recommend_other")}
    bars = {"open": close, "high": 1.1 * close, "low": 0.9 * close, "close": close, "volume": np.ones_like(close)}
    fields = (
        bars | ratings | {"value_traded": rng.lognormal(16, 1, close.shape), "adx": rng.uniform(5, 60, close.shape)}
    )
    days = np.datetime64("2023-01-01") + np.arange(n_days)
    symbols = (BENCHMARK, *(f"BINANCE:C{i:04d}USDT" for i in range(n - 1)))
    as_of = dt.datetime.combine(days[-1].item(), dt.time(), dt.UTC) + dt.timedelta(days=1)
    return Market(days, symbols, fields, np.zeros(close.shape, dtype=np.int32), as_of)


def check(table: Floats) -> None:
    """Compare features, clusters and scores with pandas and SciPy."""
    import pandas as pd
    import scipy.stats
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    model = NaturalSelection().fit(table)
    whole, recent = pd.DataFrame(table), pd.DataFrame(table[-120:])
    skew = scipy.stats.skew(recent, nan_policy="omit")
    kurtosis = scipy.stats.kurtosis(recent, nan_policy="omit")
    expected = {
        "momentum": 365 * whole.mean(),
        "efficiency": (recent.sum() / recent.abs().sum()).clip(lower=0),
        "skew": np.abs(np.asarray(skew, dtype=np.float64)),
        "kurtosis": np.asarray(kurtosis, dtype=np.float64),
        "stability": 1 / (recent.std() * np.sqrt(365)),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(model.features_, name), values, rtol=1e-9, atol=1e-12, err_msg=name)
    score = scipy.stats.gmean(
        np.stack([model.probabilities_[name] for name in FEATURES]),
        weights=np.tile(np.array([[WEIGHTS[name]] for name in FEATURES]), table.shape[1]),
    )
    np.testing.assert_allclose(model.alpha_, score, rtol=1e-12)
    kept = np.flatnonzero(model.clusters_)
    distance = np.zeros((len(kept), len(kept)))
    for window in (60, 120, 200):
        distance += np.sqrt((1 - pd.DataFrame(table[-window:, kept]).corr().to_numpy().clip(-1, 1)) / 2) / 3
    tree = linkage(squareform(distance, checks=False), "ward")
    labels = fcluster(tree, 0.45, "distance")
    labels = fcluster(tree, 25, "maxclust") if labels.max() > 25 else labels
    mine = model.clusters_[kept]
    if not np.array_equal(mine[:, None] == mine, labels[:, None] == labels):
        sys.exit("clusters differ from SciPy's on pandas' correlations")


def timed(work: Callable[[], object], repeats: int = 15) -> tuple[float, float]:
    """Median and greatest milliseconds."""
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(taken), max(taken)


def main() -> None:
    """Check, then time."""
    table = streams(500, 200)
    begin = time.perf_counter()
    NaturalSelection().fit(table)
    first = 1e3 * (time.perf_counter() - begin)
    for holes in (0.0, 0.03):
        check(streams(500, 200, holes))
    print("answers agree with pandas and SciPy\n")
    holed = streams(500, 200, 0.03)
    world = market(500, 442)
    profile = Profile(name="bench", direction="LONG", logics=("rating_all",), scanners=("scan",))
    found = [
        Candidate.model_validate(
            {
                "symbol": symbol,
                "logic": "rating_all",
                "direction": "LONG",
                "scan_direction": "LONG",
                "scanners": ["scan"],
                "rank": rank,
                "fields": {"recommend_all": 0.5},
            }
        )
        for rank, symbol in enumerate(world.symbols[1:101], 1)
    ]
    returns = returns_matrix(world, [c.symbol for c in found], BENCHMARK, profile.data)
    rows = [
        ("import", (1e3 * IMPORTED, 1e3 * IMPORTED)),
        ("fit, 200 atoms x 500 days, first call", (first, first)),
        ("fit, 200 atoms x 500 days", timed(lambda: NaturalSelection().fit(table))),
        ("fit, 200 atoms x 500 days, 3 % holes", timed(lambda: NaturalSelection().fit(holed))),
        ("select, 100 candidates", timed(lambda: select(found, world, returns, profile, {}))),
        ("select, with audit", timed(lambda: select(found, world, returns, profile, {}).audit())),
        ("select, with L2 table", timed(lambda: select(found, world, returns, profile, {}).inference_frame())),
    ]
    print(f"{'':40}{'median ms':>10}{'worst ms':>10}")
    for name, (median, worst) in rows:
        print(f"{name:40}{median:10.1f}{worst:10.1f}")


if __name__ == "__main__":
    main()
