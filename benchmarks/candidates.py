"""Selection and allocation of many candidates: processor time, memory and exponent of growth of each part.

Every size runs in a process of its own. Before it is timed, the answer is checked: constraints hold, statuses are ok.

    python -m benchmarks.candidates [SIZE ...]     # 50 200 500 1000 2000
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

from assay.alpha.selection import NaturalSelection
from assay.base.domain import Atom
from assay.risk.allocate import RiskState, analyse, optimize
from assay.risk.optimizers import Allocation
from assay.settings.model import RISK_PROFILES, Profile
from benchmarks.selection import streams

SIZES = (50, 200, 500, 1_000, 2_000)
OK = ("SOLVED",)


def peak() -> float:
    """Greatest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Best of three (one, where it takes long) in processor seconds, and the memory that it added, MB."""
    before, best = peak(), float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        taken = time.process_time() - began
        best = min(best, taken)
        if taken > 5.0:
            break
    return best, peak() - before


def check(state: RiskState, allocations: Mapping[str, Allocation]) -> None:
    """Raise where a status is not ok, or weights break a cap or the budget."""
    allowed = state.guarded
    places = np.searchsorted(np.unique(allowed.labels), allowed.labels)
    for name, found in allocations.items():
        weights, sums = found.weights, np.bincount(places, found.weights)
        if found.solver.status not in OK:
            raise SystemExit(f"{name}: {found.solver.status}")
        kept = weights.min() >= 0.0 and (weights <= allowed.upper + 1e-9).all()
        if not (kept and (sums <= allowed.cluster_caps + 1e-9).all() and weights.sum() <= allowed.budget + 1e-9):
            raise SystemExit(f"{name}: weights break a cap or the budget")


def one(size: int) -> dict[str, tuple[float, float]]:
    """Measure every part at one size."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    profile = Profile(name="bench", direction="LONG", logics=("rating_all",), scanners=("s",))
    returns = streams(500, size)
    model = NaturalSelection.from_profile(profile)
    found = {"natural selection": timed(lambda: model.fit(returns))}
    assert 1 <= len(model.winners_) <= profile.selection.max_winners
    atoms = [Atom(f"BINANCE:C{i}USDT", "rating_all", "LONG") for i in range(size)]
    closes = 100 * np.cumprod(1 + np.random.default_rng(0).standard_normal(500) * 0.02)
    antifragility = np.random.default_rng(1).standard_normal(size)
    found["analysis"] = timed(lambda: analyse(returns, atoms, closes, profile, antifragility))
    state = analyse(returns, atoms, closes, profile, antifragility)
    for name in RISK_PROFILES:
        alone = profile.model_copy(update={"risk": profile.risk.model_copy(update={"risk_profiles": (name,)})})
        check(state, optimize(state, alone))
        found[name] = timed(lambda alone=alone: optimize(state, alone))
    return found


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["one"]:
        json.dump({"parts": one(int(arguments[1])), "peak": peak()}, sys.stdout)
        return 0
    sizes = [int(text) for text in arguments] or list(SIZES)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    told = []
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.candidates", "one", str(size)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        told.append(json.loads(done.stdout))
    print("| part, processor ms | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent |")
    print("|---|" + "---:|" * (len(sizes) + 1))
    for part in told[0]["parts"]:
        seconds = [each["parts"][part][0] for each in told]
        # The last doublings tell what the growth is; small sizes are fixed costs.
        exponent = np.polyfit(np.log(sizes[-3:]), np.log(seconds[-3:]), 1)[0] if len(sizes) > 1 else float("nan")
        print(f"| {part} | " + " | ".join(f"{1e3 * taken:,.1f}" for taken in seconds) + f" | {exponent:.2f} |")
    print("| peak of the process, MB | " + " | ".join(f"{each['peak']:,.0f}" for each in told) + " | |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
