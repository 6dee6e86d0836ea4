"""What users would pick instead: answers are compared first, and nothing is timed that differs.

Everything runs in one process with one thread, in processor seconds, by turns, the best of several.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.scaling.measure import ROOT, MeasureError, environment

Floats = npt.NDArray[np.float64]
Columns = dict[str, Floats]
Weigher = Callable[[Floats], Floats]

RATING_PEERS = {"TA-Lib": "talib", "pandas-ta-classic": "pandas_ta_classic"}
PORTFOLIO_PEERS = {"skfolio": "skfolio", "Riskfolio-Lib": "riskfolio"}

WARM = 600
"""Bars after which other seeds of recursive averages have decayed below the tolerance."""
SERIES_TOLERANCE = 1e-9
"""Of the price, or of percent."""
WEIGHT_TOLERANCE = 1e-4
"""Solvers of the others stop at 1e-8 of an objective of 1e-4, so that their weights are good to about 1e-5."""
OWN = "assay"


def installed(peers: dict[str, str]) -> list[str]:
    return [name for name, module in peers.items() if find_spec(module)]


def skipped() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name, module in (RATING_PEERS | PORTFOLIO_PEERS).items() if not find_spec(module)]


def best_of(works: Mapping[str, Callable[[], object]], seconds: float, least: int = 2) -> dict[str, float]:
    """Return the least processor time of each, over at least so many turns and about so many seconds."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    until = time.perf_counter() + seconds
    while len(next(iter(taken.values()))) < least or time.perf_counter() < until:
        for name, work in works.items():
            began = time.process_time()
            work()
            taken[name].append(time.process_time() - began)
    return {name: min(times) for name, times in taken.items()}


# --- ratings ----------------------------------------------------------------------------------------------------------


def by_pandas_ta(prices: Columns) -> Columns:
    """What pandas-ta-classic has of the 26 indicators by its own code, for one symbol."""
    import pandas as pd
    import pandas_ta_classic as ta

    high, low, close, volume = (pd.Series(prices[name]) for name in ("high", "low", "close", "volume"))
    own = {"talib": False}
    found = {f"sma_{n}": ta.sma(close, n, **own) for n in (10, 20, 30, 50, 100, 200)}
    found |= {f"ema_{n}": ta.ema(close, n, **own) for n in (10, 20, 30, 50, 100, 200)}
    found["vwma_20"], found["hull_ma_9"] = ta.vwma(close, volume, 20), ta.hma(close, 9)
    for name, n in (("conversion", 9), ("base", 26), ("lead_b", 52)):
        found[name] = ta.midprice(high, low, n, **own)
    found["rsi"] = ta.rsi(close, 14, **own)
    found["stoch_k"], found["stoch_d"] = _two(ta.stoch(high, low, close, 14, 3, 3, **own))
    found["cci"] = ta.cci(high, low, close, 20, **own)
    trend = ta.adx(high, low, close, 14, **own)
    for name, column in (("adx", "ADX_"), ("plus_di", "DMP_"), ("minus_di", "DMN_")):
        found[name] = trend[next(each for each in trend.columns if each.startswith(column))]
    found["ao"], found["momentum"] = ta.ao(high, low), ta.mom(close, 10, **own)
    lines = ta.macd(close, 12, 26, 9, **own)
    for name, column in (("macd", "MACD_"), ("macd_signal", "MACDs_")):
        found[name] = lines[next(each for each in lines.columns if each.startswith(column))]
    found["stoch_rsi_k"], found["stoch_rsi_d"] = _two(ta.stochrsi(close, 14, 14, 3, 3, **own))
    found["williams_r"] = ta.willr(high, low, close, 14, **own)
    average = ta.ema(close, 13, **own)
    found["bull_power"], found["bear_power"] = high - average, low - average
    found["ultimate"] = ta.uo(high, low, close, **own)
    return {name: np.asarray(_aligned(series, len(close)), dtype=np.float64) for name, series in found.items()}


def _two(table: Any) -> tuple[Any, Any]:
    return table.iloc[:, 0], table.iloc[:, 1]


def _aligned(series: Any, rows: int) -> Any:
    return series if len(series) == rows else series.reindex(range(rows))


def by_talib(prices: Columns) -> Columns:
    from benchmarks.ratings import by_talib as made

    return made(prices)


BY_PEER: dict[str, Callable[[Columns], Columns]] = {"TA-Lib": by_talib, "pandas-ta-classic": by_pandas_ta}

PRICED = (
    *("sma_", "ema_", "vwma", "hull", "conversion", "base", "lead_b"),
    *("ao", "momentum", "macd", "bull_power", "bear_power"),
)
"""Beginnings of the names of series in units of the price; the others are percent."""


def gaps(ours: Columns, theirs: Columns, close: Floats) -> dict[str, float]:
    """Return the greatest difference of each series after the warm-up, in units of the price or of percent."""
    found = {}
    for name, values in theirs.items():
        unit = np.maximum(close[WARM:], 1.0) if name.startswith(PRICED) else 100.0
        gap = np.abs(ours[name][WARM:] - values[WARM:]) / unit
        found[name] = float(gap.max()) if np.isfinite(gap).all() else float("inf")
    return found


def _each(made: Callable[[Columns], Columns], prices: Sequence[Columns]) -> None:
    for columns in prices:
        made(columns)


def compare_ratings(symbols: int, days: int, checked: int, seconds: float) -> list[dict[str, Any]]:
    """Compare series with each peer on some symbols, then time all symbols; one row for each, ours first.

    A peer's series that differs is named, and counts as work of the peer all the same, for its users get it.
    """
    from assay.ratings import rate
    from assay.ratings.averages import recursive_averages, whole
    from assay.ratings.indicators import chunks, indicators
    from assay.ratings.tape import tape
    from benchmarks.scaling.worlds import lake_bars

    bars = lake_bars(symbols, days)
    rated = tape(bars, "1d")
    cuts = list(pairwise(rated.starts.tolist()))
    prices = [{name: values[begin:end] for name, values in rated.prices.items()} for begin, end in cuts]

    def alone() -> None:
        averages = recursive_averages(rated, whole(rated))
        for rows in chunks(rated.keys.height):
            indicators(rated, averages, rows)

    averages = recursive_averages(rated, whole(rated))
    names = installed(RATING_PEERS)
    verdicts = {}
    for name in names:
        worst: dict[str, float] = {}
        for (begin, end), columns in zip(cuts[:checked], prices[:checked], strict=True):
            ours = indicators(rated, averages, slice(begin, end))
            for key, gap in gaps(ours, BY_PEER[name](columns), columns["close"]).items():
                worst[key] = max(worst.get(key, 0.0), gap)
        verdicts[name] = worst
    works: dict[str, Callable[[], object]] = {f"{OWN}: indicators, 26 votes, ratings, table": lambda: rate(bars)}
    works[f"{OWN}: indicators alone"] = alone
    # Of a slow peer some symbols are enough: each symbol is called by itself.
    few = {name: min(symbols, symbols if name == "TA-Lib" else 50) for name in names}
    for name in names:
        works[name] = partial(_each, BY_PEER[name], prices[: few[name]])
    times = best_of(works, seconds)
    rows = []
    for name, taken in times.items():
        count = few.get(name, symbols)
        row: dict[str, Any] = {"who": name, "symbols": count, "bars": count * days, "seconds": taken}
        if name in verdicts:
            same = [key for key, gap in verdicts[name].items() if gap <= SERIES_TOLERANCE]
            row["series"], row["same"] = len(verdicts[name]), len(same)
            row["worst"] = max((verdicts[name][key] for key in same), default=float("nan"))
            row["different"] = {key: gap for key, gap in sorted(verdicts[name].items()) if key not in same}
        rows.append(row)
    return rows


# --- portfolios -------------------------------------------------------------------------------------------------------

ROWS = 252
ATOM_CAP = 0.25
GROUPS = 8
CLUSTER_CAP = 1.5 / GROUPS


def by_riskfolio(labels: npt.NDArray[np.int64]) -> dict[str, Weigher]:
    """Riskfolio-Lib from returns to weights, with Ledoit's and Wolf's covariance.

    Its own Bayes-Stein means shrink by the sample covariance and not by the shrunk one: other inputs, and weights that
    differ by thousandths. So the greatest ratio is given the means of the others.
    """
    import pandas as pd
    import riskfolio as rp

    from assay.risk.optimizers import MaxSharpe

    members = (labels == np.unique(labels)[:, None]).astype(np.float64)

    def classic(objective: str) -> Weigher:
        def weigh(returns: Floats) -> Floats:
            portfolio = rp.Portfolio(returns=pd.DataFrame(returns), upperlng=ATOM_CAP)
            portfolio.assets_stats(method_mu="hist", method_cov="ledoit")
            if objective == "Sharpe":
                portfolio.mu = pd.DataFrame([MaxSharpe().estimate(returns).means])
            portfolio.ainequality, portfolio.binequality = members, np.full((len(members), 1), CLUSTER_CAP)
            portfolio.solvers = ["CLARABEL"]
            found = portfolio.optimization(model="Classic", rm="MV", obj=objective, rf=0, hist=True)
            return np.full(returns.shape[1], np.nan) if found is None else found["weights"].to_numpy()

        return weigh

    def parity(returns: Floats) -> Floats:
        portfolio = rp.HCPortfolio(returns=pd.DataFrame(returns))
        found = portfolio.optimization(
            model="HRP",
            codependence="pearson",
            method_cov="ledoit",
            rm="MV",
            linkage="ward",
            leaf_order=False,
        )
        return np.asarray(found["weights"].to_numpy(), dtype=np.float64)

    return {"min_variance": classic("MinRisk"), "max_sharpe": classic("Sharpe"), "hrp": parity}


def by_skfolio(labels: npt.NDArray[np.int64]) -> dict[str, Weigher]:
    from benchmarks.optimizers import theirs

    return theirs(labels, CLUSTER_CAP)


def _fitted(model: Any, returns: Floats) -> Floats:
    return np.asarray(model.fit(returns).weights_)


def by_assay(labels: npt.NDArray[np.int64]) -> dict[str, Weigher]:
    from assay.risk.optimizers import HierarchicalRiskParity, MaxSharpe, MinVariance

    models = {
        "min_variance": MinVariance(ATOM_CAP, CLUSTER_CAP, labels),
        "max_sharpe": MaxSharpe(ATOM_CAP, CLUSTER_CAP, labels),
        "hrp": HierarchicalRiskParity(),
    }
    return {name: partial(_fitted, model) for name, model in models.items()}


def returns_of(atoms: int) -> Floats:
    """Three common factors, own noise, and means that differ."""
    random = np.random.default_rng(atoms)
    common = random.standard_normal((ROWS, 3)) @ random.standard_normal((3, atoms)) * 0.02
    return common + random.standard_normal((ROWS, atoms)) * 0.03 + random.normal(0.001, 0.003, atoms)


def compare_portfolios(sizes: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Compare weights with each peer, then time from returns to weights; a peer that differs is not timed."""
    makers = {"skfolio": by_skfolio, "Riskfolio-Lib": by_riskfolio}
    rows = []
    for atoms in sizes:
        returns, labels = returns_of(atoms), np.arange(atoms) % GROUPS
        others = {peer: makers[peer](labels) for peer in installed(PORTFOLIO_PEERS)}
        for portfolio, own in by_assay(labels).items():
            weighers = {peer: made[portfolio] for peer, made in others.items()}
            told = _compared(own, weighers, returns, seconds)
            rows.append({"portfolio": portfolio, "atoms": atoms, **told})
    return rows


def _compared(own: Weigher, others: dict[str, Weigher], returns: Floats, seconds: float) -> dict[str, Any]:
    answer = own(returns)
    apart = {peer: float(np.abs(weigh(returns) - answer).max()) for peer, weigh in others.items()}
    works = {OWN: partial(own, returns)}
    works |= {peer: partial(others[peer], returns) for peer, gap in apart.items() if gap <= WEIGHT_TOLERANCE}
    times = best_of(works, seconds)
    told = {peer: {"apart": gap, "seconds": times.get(peer)} for peer, gap in apart.items()}
    return {"seconds": times[OWN], "peers": told}


SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"ratings": (2, 700, 1, 0.0), "portfolios": ((25,), 0.0)},
    "small": {"ratings": (50, 1_000, 3, 1.0), "portfolios": ((25, 100), 0.5)},
    "full": {"ratings": (400, 2_000, 20, 8.0), "portfolios": ((25, 100, 500), 2.0)},
}
"""By scale: symbols, days, symbols that are compared, seconds; atoms, seconds for each."""


def measure(scale: str) -> dict[str, list[dict[str, Any]]]:
    """Compare and time in a process of its own, with one thread.

    Raises
    ------
    MeasureError
        If that process failed.
    """
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scaling.peers", scale]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise MeasureError(f"the comparison with peers ended with {done.returncode}")
    told: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return told


def main(scale: str) -> int:
    sizes = SIZES[scale]
    told = {
        "ratings": compare_ratings(*sizes["ratings"]),
        "portfolios": compare_portfolios(*sizes["portfolios"]),
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
