"""Three years of one profile: the whole decision every ten days, five risk profiles, guard on and off, and their books.

The answers are compared first: on every rebalance at which skfolio can be asked the same question, least variance
within the same caps and hierarchical risk parity (Ward linkage, the same order of leaves, no caps) must have the same
weights. Then the walk-forward is timed, and in the same process, on the same streams, the same optimizations by
skfolio: ten portfolios at each rebalance. A barbell is a second risk parity there, without its aggressors, and nothing
is projected on the caps, which is a little less than what is done here.

    python -m benchmarks.walk_forward
"""

from __future__ import annotations

import os
import sys
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(variable, "1")  # one core, as in a worker

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skfolio import RiskMeasure
from skfolio.cluster import HierarchicalClustering, LinkageMethod
from skfolio.exceptions import ConvexOptimizationError
from skfolio.moments import LedoitWolf, ShrunkMu, ShrunkMuMethods
from skfolio.optimization import EqualWeighted, MeanRisk, ObjectiveFunction
from skfolio.optimization import HierarchicalRiskParity as SkfolioHRP
from skfolio.prior import EmpiricalPrior
from skfolio.seriation import HierarchicalSeriation
from threadpoolctl import threadpool_limits

from assay.backtest.decision import Decision, decide
from assay.backtest.survivorship import survivorship
from assay.backtest.walk_forward import WalkForwardResult, walk_forward
from assay.market.panel import Market
from assay.risk.allocate import RiskState, complete_rows, optimize
from assay.risk.caps import Polytope
from assay.risk.optimizers import HierarchicalRiskParity
from assay.settings import Profile, load
from benchmarks.recorded import BARS, market

Floats = npt.NDArray[np.float64]

PROFILE = "binance_spot_rating_all_long"
START = "2021-07-01"
DAYS = 1600  # three years, and a lookback of 500 days before the first decision
LIMIT = 10.0
REPEATS = 3
TOLERANCE = 1e-4  # skfolio stops at Clarabel's 1e-8 of an objective of 1e-4, so its weights are good to about 1e-5


@dataclass(frozen=True)
class Question:
    """What the optimizers were asked at one rebalance."""

    rows: Floats
    state: RiskState


def prior() -> EmpiricalPrior:
    means = ShrunkMu(method=ShrunkMuMethods.BAYES_STEIN, vol_weighted_target=True, covariance_estimator=LedoitWolf())
    return EmpiricalPrior(mu_estimator=means, covariance_estimator=LedoitWolf())


def limits(polytope: Polytope) -> dict[str, object]:
    """The same caps and budget in skfolio's words."""
    names = [f"c{group}" for group in polytope.groups]
    return {
        "prior_estimator": prior(),
        "budget": polytope.budget,
        "max_weights": np.minimum(polytope.upper, polytope.budget),
        "groups": [names],
        "linear_constraints": [f"c{at} <= {cap}" for at, cap in enumerate(polytope.cluster_caps)],
    }


def parity() -> SkfolioHRP:
    ward = HierarchicalClustering(linkage_method=LinkageMethod.WARD)
    order = HierarchicalSeriation(hierarchical_clustering_estimator=ward, optimal_ordering=False)
    return SkfolioHRP(risk_measure=RiskMeasure.VARIANCE, prior_estimator=prior(), seriation_estimator=order)


def least_variance(question: Question, polytope: Polytope) -> Floats:
    model = MeanRisk(risk_measure=RiskMeasure.VARIANCE, **limits(polytope))
    return np.asarray(model.fit(question.rows).weights_)


def theirs(question: Question, polytope: Polytope) -> int:
    """Make five portfolios by skfolio; return how many it cannot make, which cost what the attempt costs."""
    failed = 0
    if not polytope.active.any() or polytope.budget <= 0.0:
        return failed
    held = question.rows[:, polytope.active]
    least_variance(question, polytope)
    if float(question.state.estimates.means[polytope.active].max()) > 0.0 and polytope.forced() is None:
        model = MeanRisk(
            objective_function=ObjectiveFunction.MAXIMIZE_RATIO,
            risk_measure=RiskMeasure.STANDARD_DEVIATION,
            **limits(polytope),
        )
        try:
            model.fit(question.rows)
        except ConvexOptimizationError:  # its solver ends without an answer
            failed = 1
    EqualWeighted().fit(held)
    if held.shape[1] > 1:
        parity().fit(held)
        parity().fit(held)
    return failed


def check(questions: list[Question], profile: Profile) -> bool:
    """Compare weights at every fifth rebalance, where both take the same covariance and the caps leave a choice."""
    gaps: list[float] = []
    for question in questions[::5]:
        state = question.state
        if state.estimates.covariance.events or len(state.atoms) < 2:
            continue  # shrunk further than Ledoit's and Wolf's, which skfolio does not do
        mine = HierarchicalRiskParity().fit(question.rows).weights_
        gaps.append(float(np.abs(mine - np.asarray(parity().fit(question.rows).weights_)).max()))
        for guarded, polytope in ((True, state.guarded), (False, state.unguarded)):
            if polytope.budget > 0.0 and polytope.forced() is None:
                weights = optimize(state, profile, guarded=guarded)["min_variance"].weights
                gaps.append(float(np.abs(weights - least_variance(question, polytope)).max()))
    worst = max(gaps, default=float("inf"))
    print(f"checked: {len(gaps)} portfolios, weights differ from skfolio's by at most {worst:.1e}")
    return worst <= TOLERANCE


def asked(result: WalkForwardResult, profile: Profile) -> list[Question]:
    """Collect the questions of a walk-forward; a period in cash has none."""
    questions = []
    for rebalance in result.rebalances:
        decision = rebalance.targets
        if isinstance(decision, Decision) and decision.state is not None and decision.selection is not None:
            rows, _ = complete_rows(decision.selection.streams, decision.state.atoms, profile)
            questions.append(Question(rows, decision.state))
    return questions


def optimized(questions: list[Question], profile: Profile) -> float:
    """Return the processor time of our own optimizations."""
    began = time.process_time()
    for question in questions:
        optimize(question.state, profile)
        optimize(question.state, profile, guarded=False)
    return time.process_time() - began


def optimized_by_skfolio(questions: list[Question]) -> tuple[float, int]:
    """Return the processor time of the same by skfolio, and how many of them it did not solve."""
    began = time.process_time()
    failed = sum(theirs(one, one.state.guarded) + theirs(one, one.state.unguarded) for one in questions)
    return time.process_time() - began, failed


def describe(bars: Market, result: WalkForwardResult) -> None:
    listed = [int((bars.listing[rebalance.row] >= 0).sum()) for rebalance in result.rebalances]
    print(
        f"{len(result.rebalances)} rebalances from {bars.days[result.rebalances[0].row]} to {bars.days[-1]}, "
        f"{min(listed)} to {max(listed)} symbols with a bar, {np.median(listed):.0f} in the median"
    )


def main() -> int:
    threadpool_limits(1)
    bars, what = market(DAYS)
    print(f"On {what}")
    single = ["walk_forward.tranches=1"]  # a decision every ten days
    catalog = load(settings=[*single, f"walk_forward.start={START}"] if BARS.is_file() else single)
    profile, scanners = catalog.profile(PROFILE), catalog.scanners()

    def decided(known: Market) -> Decision:
        return decide(known, profile, scanners)

    result = walk_forward(bars, profile, decided)
    describe(bars, result)
    questions = asked(result, profile)
    if not check(questions, profile):
        print("the answers differ: not timed", file=sys.stderr)
        return 1
    times: dict[str, list[float]] = {"walk-forward": [], "tables and statistics": [], "survivors beside it": []}
    for _ in range(REPEATS):
        marks = [time.process_time()]
        result = walk_forward(bars, profile, decided)
        marks.append(time.process_time())
        result.frames()
        result.statistics()
        marks.append(time.process_time())
        survivorship(bars, profile, decided, result)
        marks.append(time.process_time())
        for taken, begin, end in zip(times.values(), marks, marks[1:], strict=False):
            taken.append(end - begin)
    own = min(optimized(questions, profile) for _ in range(REPEATS))
    peer, failed = optimized_by_skfolio(questions)
    print(f"\n| part | processor time on one core, best of {REPEATS} |\n|---|---:|")
    for name, taken in times.items():
        print(f"| {name} | {min(taken):.2f} s |")
    print(f"| of it, {10 * len(questions)} optimizations | {own:.2f} s |")
    print(f"| the same optimizations by skfolio, once | {peer:.1f} s, {peer / own:.0f} times as long |")
    print(f"\nskfolio's solver ended without an answer in {failed} of them")
    total = min(times["walk-forward"]) + min(times["tables and statistics"])
    print(f"\nwalk-forward with tables and statistics: {total:.2f} s, limit {LIMIT:.0f} s")
    return 0 if total <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
