"""What the deflated Sharpe ratio promotes: searches over 1, 5 and 20 trials of three years of daily returns.

A search makes some trials and offers the one with the best Sharpe ratio. It is promoted when its deflated Sharpe ratio,
as step 15 computes it, is at least 95 %. Two shares are measured over 1,000 searches each: of pure noise that is
promoted, which must be at most 5 %, and of searches among which one trial has a true annual Sharpe ratio. What theory
allows for the latter is computed here from the normal distribution, by code that shares nothing with the package.

A share counts as above 5 % only beyond what 1,000 searches at a true 5 % show once in a hundred times (6.6 %), and as
below 90 % only beyond the same. Ends with 1 where a target is missed.

    python -m benchmarks.noise_search [serial | pool | ray:ADDRESS]
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from assay.backtest.statistics import null_sharpe_variance, sharpe_evidence, trial_variance
from assay.executors import Executor, opened

Floats = npt.NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]
Rule = Callable[[int, int, float | None], float | None]

SEED = 20240630
DAYS = 3 * 365
YEAR = 365.0
DAILY = 0.02
LEVEL = 0.95
SEARCHES = 1000
TRIALS = (1, 5, 20)
CHUNK = 250
WITHIN = 0.05
NORMAL = NormalDist()


# --- noise ------------------------------------------------------------------------------------------------------------


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Independent normal days."""
    return rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Student's t with 3 degrees of freedom, scaled to variance 1; its kurtosis is infinite."""
    return rng.standard_t(3, shape) / math.sqrt(3.0)


def regimes(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Calm and wild spells, one and four in volatility, of 60 and 20 days on average."""
    switch = rng.random(shape)
    wild = np.zeros(shape, dtype=np.bool_)
    for day in range(1, shape[-1]):
        leave = np.where(wild[..., day - 1], 1.0 / 20.0, 1.0 / 60.0)
        wild[..., day] = wild[..., day - 1] ^ (switch[..., day] < leave)
    return rng.standard_normal(shape) * np.where(wild, 4.0, 1.0)


def heavy_regimes(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Both at once, and losses larger than gains: minus a centred exponential in one day of ten."""
    crash = np.where(rng.random(shape) < 0.1, 1.0 - rng.standard_exponential(shape), 0.0)
    return regimes(rng, shape) * np.abs(rng.standard_t(4, shape)) / math.sqrt(2.0) + 3.0 * crash


# --- searches ---------------------------------------------------------------------------------------------------------


def annual_sharpe(returns: Floats) -> Floats:
    """Along the last axis."""
    return np.asarray(returns.mean(axis=-1) / returns.std(axis=-1, ddof=1) * math.sqrt(YEAR))


def planted(noise: Floats, sharpe: float) -> Floats:
    """Give the first trial of noise (..., trials, days) with deviation 2 % a day a true annual Sharpe ratio."""
    if not sharpe:
        return noise
    returns = noise.copy()
    returns[..., 0, :] += sharpe * DAILY / math.sqrt(YEAR)
    return returns


def as_shipped(days: int, earlier: int, spread: float | None) -> float | None:
    """What step 15 does."""
    return trial_variance(days, earlier, spread)


def by_chance(_days: int, _earlier: int, _spread: float | None) -> float | None:
    """Chance alone, as if the trials were independent."""
    return None


def spread_from_20(_days: int, earlier: int, spread: float | None) -> float | None:
    """The spread of the other trials as measured, from 20 trials on."""
    return spread if earlier + 1 >= 20 else None


def verdicts(trials: list[Floats] | Floats, rules: Sequence[Rule], offered: int | None = None) -> list[bool]:
    """Search once: offer the best trial (or a given one), tell each rule of the others, and judge."""
    sharpes = annual_sharpe(trials) if isinstance(trials, np.ndarray) else np.array([*map(annual_sharpe, trials)])
    best = int(sharpes.argmax()) if offered is None else offered
    others = np.delete(sharpes, best)
    spread = float(others.var(ddof=1)) if len(others) > 1 else None
    found = []
    for rule in rules:
        probability = sharpe_evidence(trials[best], len(trials), rule(len(trials[best]), len(others), spread))["dsr"]
        found.append(probability is not None and probability >= LEVEL)
    return found


def shares(noise: Noise, trials: int, sharpes: Sequence[float]) -> list[float]:
    """Share of searches promoted, one trial in each having a true annual Sharpe ratio; the same noise for each."""
    rng = np.random.default_rng([SEED, trials])
    counts = np.zeros(len(sharpes))
    for _ in range(SEARCHES // CHUNK):
        drawn = noise(rng, (CHUNK, trials, DAYS))
        drawn *= DAILY / drawn.std()
        for k, sharpe in enumerate(sharpes):
            counts[k] += sum(verdicts(search, [as_shipped])[0] for search in planted(drawn, sharpe))
    return [float(count) / SEARCHES for count in counts]


# --- theory -----------------------------------------------------------------------------------------------------------


def theory(trials: int, sharpe: float) -> float:
    """Share that a test of independent normal trials promotes whose bar is the expected best of so many worthless ones.

    Sharpe ratios over T years are normal about the truth with variance 1 / T, so in units of that deviation the bar is
    e + z: e the expected best (Bailey and Lopez de Prado 2014, equation 1), z the 95 % quantile. The planted trial or
    any of the others may pass it.
    """
    gamma = 0.5772156649015329
    expected = 0.0
    if trials > 1:
        expected = (1.0 - gamma) * NORMAL.inv_cdf(1.0 - 1.0 / trials)
        expected += gamma * NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    bar = expected + NORMAL.inv_cdf(LEVEL)
    miss = NORMAL.cdf(bar - sharpe * math.sqrt(DAYS / YEAR))
    return 1.0 - miss * NORMAL.cdf(bar) ** (trials - 1)


def margin(rate: float) -> float:
    """What 1,000 searches add to a true rate once in a hundred times."""
    return NORMAL.inv_cdf(0.99) * math.sqrt(rate * (1.0 - rate) / SEARCHES)


# --- tables -----------------------------------------------------------------------------------------------------------


NOISES: dict[str, Noise] = {
    "normal": normal,
    "Student t, 3 degrees": heavy,
    "volatility regimes": regimes,
    "regimes, heavy tails, crashes": heavy_regimes,
}


def searched(task: tuple[str, int]) -> list[float]:
    """Search one kind of noise with so many trials, in a worker; shares promoted by true Sharpe ratio."""
    label, trials = task
    return shares(NOISES[label], trials, (0.0, 1.5, 3.0))


def targets(executor: Executor, labels: Sequence[str], *, strict: bool) -> list[str]:
    """Print kinds of noise; return what is missed. Only normal noise is held to theory."""
    tasks = [(label, trials) for label in labels for trials in TRIALS]
    missed = []
    for (label, trials), (none, some, much) in zip(tasks, executor.map(searched, tasks), strict=True):
        allowed, allowed_much = theory(trials, 1.5), theory(trials, 3.0)
        print(
            f"| {label} | {trials} | {none:.1%} | {theory(trials, 0.0):.1%} | {some:.1%} | {allowed:.1%} "
            f"| {100 * (some - allowed):+.1f} | {much:.1%} | {allowed_much:.1%} |",
            flush=True,
        )
        if none > 1.0 - LEVEL + margin(1.0 - LEVEL):
            missed.append(f"{label}, {trials} trials: {none:.1%} of pure noise is promoted")
        if strict and abs(some - allowed) > WITHIN:
            missed.append(f"{label}, {trials} trials: 1.5 is promoted in {some:.1%}, theory allows {allowed:.1%}")
        if strict and much < 0.90 - margin(0.90):
            missed.append(f"{label}, {trials} trials: 3 is promoted in {much:.1%}")
    return missed


@dataclass(frozen=True)
class World:
    """Searches whose trials are not alike; ``draw`` gives one, the planted trial (if any) first."""

    name: str
    draw: Callable[[np.random.Generator, float], list[Floats] | Floats]
    sharpe: float
    offered: int | None = None


def alike(correlation: float, groups: int = 1, trials: int = 20) -> Callable[[np.random.Generator, float], Floats]:
    """Trials that share what their group does, as variations of one strategy do."""

    def draw(rng: np.random.Generator, sharpe: float) -> Floats:
        common = rng.standard_normal((groups, DAYS))[np.arange(trials) % groups]
        own = rng.standard_normal((trials, DAYS))
        return planted(DAILY * (math.sqrt(correlation) * common + math.sqrt(1.0 - correlation) * own), sharpe)

    return draw


def uneven(rng: np.random.Generator, sharpe: float) -> Floats:
    """Other trials are hopeless to different degrees: true ratios of at most 0, normal about -0.5 with deviation 1."""
    truth = np.minimum(rng.normal(-0.5, 1.0, 20), 0.0)
    truth[0] = sharpe or truth[0]
    return DAILY * (rng.standard_normal((20, DAYS)) + truth[:, None] / math.sqrt(YEAR))


def short_records(rng: np.random.Generator, sharpe: float) -> list[Floats]:
    """Other trials have 133 days, as on the embedded sample."""
    long = planted(DAILY * rng.standard_normal((1, DAYS)), sharpe)
    return [long[0], *(DAILY * rng.standard_normal((19, 133)))]


def half_short(rng: np.random.Generator, _sharpe: float) -> list[Floats]:
    """Every second trial has 133 days."""
    return [DAILY * rng.standard_normal(133 if i % 2 else DAYS) for i in range(20)]


WORLDS = (
    World("independent", alike(0.0), 0.0),
    World("independent", alike(0.0), 1.5),
    World("independent", alike(0.0), 3.0),
    World("correlated 0.5", alike(0.5), 0.0),
    World("correlated 0.5", alike(0.5), 1.5),
    World("correlated 0.9", alike(0.9), 0.0),
    World("correlated 0.9", alike(0.9), 1.5),
    World("four groups, 0.95", alike(0.95, 4), 0.0),
    World("four groups, 0.95", alike(0.95, 4), 1.5),
    World("others hopeless", uneven, 0.0),
    World("others hopeless", uneven, 1.5),
    World("others hopeless", uneven, 3.0),
    World("half of 133 days", half_short, 0.0),
    World("others of 133 days, the long one", short_records, 0.0, 0),
    World("others of 133 days, the long one", short_records, 1.5, 0),
    World("others of 133 days, the long one", short_records, 3.0, 0),
)
RULES: tuple[Rule, ...] = (by_chance, spread_from_20, as_shipped)


def promoted(number: int) -> list[float]:
    """Search one world, in a worker; shares that each rule promotes."""
    world = WORLDS[number]
    rng = np.random.default_rng([SEED, 20, number])
    counts = np.zeros(len(RULES))
    for _ in range(SEARCHES):
        search = world.draw(rng, world.sharpe)
        counts += verdicts(search, RULES, world.offered)
    return [float(count) / SEARCHES for count in counts]


def rules(executor: Executor) -> list[str]:
    """Print what rules for the spread promote in searches over 20 trials; return where the shipped one fails."""
    missed = []
    found = executor.map(promoted, range(len(WORLDS)))
    for world, (chance, measured, shipped) in zip(WORLDS, found, strict=True):
        print(f"| {world.name} | {world.sharpe:g} | {chance:.1%} | {measured:.1%} | {shipped:.1%} |", flush=True)
        if not world.sharpe and shipped > 1.0 - LEVEL + margin(1.0 - LEVEL):
            missed.append(f"{world.name}: {shipped:.1%} of pure noise is promoted")
        if world.sharpe and shipped < chance - WITHIN:
            missed.append(f"{world.name}: {world.sharpe:g} is promoted in {shipped:.1%}, by chance alone {chance:.1%}")
    return missed


def uncovered() -> None:
    """Print what the number of trials does not count: risk profiles of one run, and verdicts before a search ends."""
    for number, correlation in enumerate((0.99, 0.9, 0.8)):
        rng = np.random.default_rng([SEED, 5, number])
        draw = alike(correlation, trials=5)
        one = sum(_any_of(draw(rng, 0.0)) for _ in range(SEARCHES)) / SEARCHES
        print(f"best of five risk profiles, correlated {correlation:g}, one trial: {one:.1%} of pure noise is promoted")
    for trials in TRIALS[1:]:
        rng = np.random.default_rng([SEED, 6, trials])
        early = 0
        for _ in range(SEARCHES):
            search = DAILY * rng.standard_normal((trials, DAYS))
            early += any(verdicts(search[: k + 1], [as_shipped], k)[0] for k in range(trials))
        print(f"any of {trials} trials, each judged as it is made: {early / SEARCHES:.1%} of searches promote noise")


def _any_of(profiles: Floats) -> bool:
    return any(verdicts(series[None], [as_shipped])[0] for series in profiles)


def main(arguments: list[str]) -> int:
    """Search on an executor: ``serial``, ``pool`` or ``ray[:ADDRESS]``; the figures are the same on each."""
    with tempfile.TemporaryDirectory() as folder:
        setting = arguments[0] if arguments else "pool"
        with opened(setting, None, Path(folder), ["benchmarks.noise_search"]) as executor:
            return tables(executor)


def tables(executor: Executor) -> int:
    """Print every table; return 1 where a target is missed."""
    began = time.perf_counter()
    head = "trials | noise | theory | Sharpe 1.5 | theory | points | Sharpe 3 | theory |"
    rule = "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    print(f"{SEARCHES} searches each, {DAYS} days; share promoted at the 5 % level; seed {SEED}")
    print(f"by chance an annual Sharpe ratio has a deviation of {math.sqrt(null_sharpe_variance(DAYS)):.2f}\n")
    print(f"| returns | {head}\n{rule}")
    missed = targets(executor, ["normal"], strict=True)
    print(f"\n| returns | {head}\n{rule}")
    missed += targets(executor, [label for label in NOISES if label != "normal"], strict=False)
    print("\nSearches over 20 trials: what the spread of the others is taken to be\n")
    print(
        "| trials | planted | chance alone | spread as measured, from 20 on | as shipped |\n|---|---:|---:|---:|---:|"
    )
    missed += rules(executor)
    print("\nWhat the number of trials does not cover (no target)\n")
    uncovered()
    print(f"\n{time.perf_counter() - began:.0f} s")
    for miss in missed:
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
