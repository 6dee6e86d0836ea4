"""Optimizers against skfolio: the answers must agree before anything is timed.

Both see the same returns, choose the same estimators (Ledoit-Wolf, Bayes-Stein) and the same caps, and are timed from
returns to weights in one process with one BLAS thread, as in a worker, by turns: the best of several runs each. Then
one rebalance of a walk-forward is timed: analysis of 25 atoms and five risk profiles, guard on and off.

    python benchmarks/optimizers.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from skfolio import RiskMeasure
from skfolio.cluster import HierarchicalClustering, LinkageMethod
from skfolio.moments import LedoitWolf, ShrunkMu, ShrunkMuMethods
from skfolio.optimization import HierarchicalRiskParity as SkfolioHRP
from skfolio.optimization import MeanRisk, ObjectiveFunction
from skfolio.prior import EmpiricalPrior
from skfolio.seriation import HierarchicalSeriation
from threadpoolctl import threadpool_limits

from assay.base.domain import Atom
from assay.risk.allocate import analyse, optimize
from assay.risk.optimizers import HierarchicalRiskParity, MaxSharpe, MinVariance
from assay.settings.model import Profile

Floats = npt.NDArray[np.float64]

SIZES = (25, 40, 200)
ROWS = 252
ATOM_CAP = 0.25
REBALANCE_LIMIT = 0.012
TOLERANCE = 1e-4  # skfolio stops at Clarabel's 1e-8 of an objective of 1e-4, so its weights are good to about 1e-5


def returns_of(n_atoms: int) -> Floats:
    rng = np.random.default_rng(n_atoms)
    common = rng.standard_normal((ROWS, 3)) @ rng.standard_normal((3, n_atoms)) * 0.02
    return common + rng.standard_normal((ROWS, n_atoms)) * 0.03 + rng.normal(0.001, 0.003, n_atoms)


def prior() -> EmpiricalPrior:
    means = ShrunkMu(method=ShrunkMuMethods.BAYES_STEIN, vol_weighted_target=True, covariance_estimator=LedoitWolf())
    return EmpiricalPrior(mu_estimator=means, covariance_estimator=LedoitWolf())


def theirs(labels: npt.NDArray[np.int64], cluster_cap: float) -> dict[str, Callable[[Floats], Floats]]:
    caps = {
        "prior_estimator": prior(),
        "max_weights": ATOM_CAP,
        "groups": [[f"c{label}" for label in labels]],
        "linear_constraints": [f"c{label} <= {cluster_cap}" for label in np.unique(labels)],
    }
    ward = HierarchicalClustering(linkage_method=LinkageMethod.WARD)
    order = HierarchicalSeriation(hierarchical_clustering_estimator=ward, optimal_ordering=False)
    models = {
        "min_variance": MeanRisk(risk_measure=RiskMeasure.VARIANCE, **caps),
        "max_sharpe": MeanRisk(
            objective_function=ObjectiveFunction.MAXIMIZE_RATIO, risk_measure=RiskMeasure.STANDARD_DEVIATION, **caps
        ),
        "hrp": SkfolioHRP(risk_measure=RiskMeasure.VARIANCE, prior_estimator=prior(), seriation_estimator=order),
    }
    return {name: (lambda x, model=model: np.asarray(model.fit(x).weights_)) for name, model in models.items()}


def ours(labels: npt.NDArray[np.int64], cluster_cap: float) -> dict[str, Callable[[Floats], Floats]]:
    models = {
        "min_variance": MinVariance(ATOM_CAP, cluster_cap, labels),
        "max_sharpe": MaxSharpe(ATOM_CAP, cluster_cap, labels),
        "hrp": HierarchicalRiskParity(),
    }
    return {name: (lambda x, model=model: model.fit(x).weights_) for name, model in models.items()}


def best_of(*works: Callable[[], object], seconds: float = 2.0, least: int = 5) -> list[float]:
    """Return the least time of each, over at least ``least`` turns and about ``seconds``."""
    times: list[list[float]] = [[] for _ in works]
    stop = time.perf_counter() + seconds
    while len(times[0]) < least or time.perf_counter() < stop:
        for work, taken in zip(works, times, strict=True):
            begin = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begin)
    return [min(taken) for taken in times]


def compare(n_atoms: int) -> bool:
    returns, labels = returns_of(n_atoms), np.arange(n_atoms) % 8
    cluster_cap = 1.5 / 8
    mine, other = ours(labels, cluster_cap), theirs(labels, cluster_cap)
    agreed = True
    for name in mine:
        difference = float(np.abs(mine[name](returns) - other[name](returns)).max())
        if difference > TOLERANCE:
            print(f"{name:14} {n_atoms:5}  weights differ by {difference:.1e}: not timed")
            agreed = False
            continue
        fast, slow = best_of(lambda name=name: mine[name](returns), lambda name=name: other[name](returns))
        print(f"{name:14} {n_atoms:5} {1e3 * fast:9.2f} {1e3 * slow:9.1f} {slow / fast:8.0f}x {difference:12.1e}")
    return agreed


def rebalance() -> bool:
    n_atoms = 25
    rng = np.random.default_rng(0)
    streams, closes = returns_of(n_atoms), 100 * np.cumprod(1 + rng.standard_normal(500) * 0.02)
    atoms = [Atom(f"BINANCE:C{i}USDT", "rating_all", "LONG") for i in range(n_atoms)]
    profile = Profile(name="bench", direction="LONG", logics=("rating_all",), scanners=("s",))
    antifragility = rng.standard_normal(n_atoms)
    state = analyse(streams, atoms, closes, profile, antifragility)

    def decide() -> None:
        optimize(state, profile)
        optimize(state, profile, guarded=False)

    first, second = best_of(lambda: analyse(streams, atoms, closes, profile, antifragility), decide)
    total = first + second
    print(
        f"\none rebalance, {n_atoms} atoms x {ROWS} rows: analysis {1e3 * first:.1f} ms, five risk profiles with and"
        f" without guard {1e3 * second:.1f} ms, together {1e3 * total:.1f} ms (limit {1e3 * REBALANCE_LIMIT:.0f})"
    )
    return total <= REBALANCE_LIMIT


def main() -> int:
    threadpool_limits(1)
    print(f"{'':14} {'atoms':>5} {'ours, ms':>9} {'skfolio':>9} {'ratio':>9} {'difference':>12}")
    results = [compare(n_atoms) for n_atoms in SIZES]
    return 0 if all([*results, rebalance()]) else 1


if __name__ == "__main__":
    sys.exit(main())
