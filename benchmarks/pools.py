"""Capital preservation on polluted pools of real data, and a search for a better guard.

First the guard as it is: short profiles that read the whole superset through three rises, long ones through a fall,
with the guard on and off. Then other guards on half-years of six books: the four profiles on their own candidates, and
the long and the short one on the whole superset. The decisions are the same for all guards; only what may be held, and
how much of the budget, differs.

The rule, written before a figure of any other guard was seen:

* the score of a guard is the geometric mean, over half-years, books and risk profiles, of final wealth x (1 - deepest
  drawdown); all cash scores 1;
* a guard must hold, over the half-years in which it is chosen, at least nine tenths of the mean gross of the present
  one, or it is no guard but less of a portfolio;
* the challenger is the eligible guard of the highest score in 2021 and 2022;
* it replaces the present guard if its score in 2023 and 2024 is higher, and the 90 % interval of the mean difference
  of the logarithm, drawn over half-years and books (risk profiles are too alike to be drawn), lies above 0.

Beside the rule stands what a guard adds beyond holding less: its score against that of the unguarded books with a
smaller budget, at the same mean gross. One guard (mean 60 and growth 30) and this column were added after the first
result was seen, and take no part in the choice.

Takes minutes; progress goes to the error stream.

    python -m benchmarks.pools
"""

from __future__ import annotations

import datetime as dt
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from assay.backtest.decision import Decision, decide, net_weights
from assay.backtest.preservation import preservation
from assay.backtest.statistics import max_drawdown
from assay.backtest.walk_forward import DatedTargets, anchored, close_of, hold
from assay.base.domain import DAY, UTC
from assay.market.costs import daily_costs
from assay.market.panel import Market
from assay.risk.allocate import RiskState, complete_rows, optimize
from assay.risk.caps import Polytope
from assay.runs.documents import CapitalPreservation
from assay.settings import Catalog, Profile, load
from benchmarks.guards import AFTERWARDS, BLIND, PRESENT, RULES, STEP, Atoms, Bools, Floats, Rule
from benchmarks.recorded import BARS, market

LEAST_GROSS = 0.9
SEED = 20240630
DRAWS = 10_000

POLLUTED = (
    ("binance_spot_rating_all_short", "2020-10-01", "2021-04-30"),
    ("binance_spot_rating_ma_short", "2020-10-01", "2021-04-30"),
    ("binance_spot_rating_all_short", "2023-01-01", "2023-03-31"),
    ("binance_spot_rating_ma_short", "2023-01-01", "2023-03-31"),
    ("binance_spot_rating_all_short", "2023-10-01", "2024-03-31"),
    ("binance_spot_rating_ma_short", "2023-10-01", "2024-03-31"),
    ("binance_spot_rating_all_long", "2022-04-01", "2022-06-30"),
    ("binance_spot_rating_ma_long", "2022-04-01", "2022-06-30"),
)
BOOKS = (
    ("binance_spot_rating_all_long", "own"),
    ("binance_spot_rating_all_short", "own"),
    ("binance_spot_rating_ma_long", "own"),
    ("binance_spot_rating_ma_short", "own"),
    ("binance_spot_rating_all_long", "superset"),
    ("binance_spot_rating_all_short", "superset"),
)
CHOOSE = (
    ("2021-01-01", "2021-06-30"),
    ("2021-07-01", "2021-12-31"),
    ("2022-01-01", "2022-06-30"),
    ("2022-07-01", "2022-12-31"),
)
JUDGE = (("2023-01-01", "2023-06-30"), ("2023-07-01", "2023-12-31"), ("2024-01-01", "2024-06-30"))


# --- books ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """A decision with one guard."""

    net: Mapping[str, Mapping[str, float]]
    unguarded: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    loss_makers: tuple[str, ...] = ()
    summary: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """One profile through some time: everything known, and its decisions every ten days."""

    name: str
    begins: str
    profile: Profile
    market: Market
    decisions: list[tuple[int, Decision]]


def window(bars: Market, catalog: Catalog, name: str, pool: str, begins: str, ends: str) -> Window:
    """Decide on the first day and every tenth from there, to the last day before the end."""
    profile = catalog.profile(name).model_copy(update={"pool": pool})
    known = bars.until(dt.datetime.fromisoformat(ends).replace(tzinfo=UTC) + DAY)
    first = int(np.searchsorted(known.days, np.datetime64(begins)))
    decisions = []
    profile = anchored(profile, known.days[first], 1)
    for row in range(first, len(known.days) - 1, STEP):
        seen = known.until(close_of(known.days[row]), profile.sight_days)
        decisions.append((row, decide(seen, profile, catalog.scanners())))
    return Window(f"{name.removeprefix('binance_spot_rating_')} {pool}", begins, profile, known, decisions)


def guarded(decision: Decision, profile: Profile, rule: Rule) -> dict[str, dict[str, float]]:
    """Net weights of a decision under another guard."""
    state, selection = decision.state, decision.selection
    if state is None or selection is None:
        return {}
    rows, _ = complete_rows(selection.streams, state.atoms, profile)
    signs = np.array([atom.sign for atom in state.atoms])
    bad = rule.verdict(Atoms(rows, daily_costs(signs, profile.costs, profile.walk_forward.hold)))
    allocations = optimize(_with(state, bad, rule.budget(bad)), profile)
    return {name: net_weights(state.atoms, allocation.weights) for name, allocation in allocations.items()}


def _with(state: RiskState, bad: Bools, budget: float) -> RiskState:
    polytope, events = Polytope.build(
        len(bad),
        atom_cap=np.where(bad, 0.0, state.caps.atom),
        cluster_cap=state.caps.cluster,
        labels=state.labels,
        budget=budget,
    ).limited()
    return replace(state, guarded=polytope, guarded_events=events)


@dataclass(frozen=True)
class Score:
    """One guard in one window, (risk profiles,) each."""

    wealth: Floats
    depth: Floats
    gross: Floats

    @property
    def log(self) -> Floats:
        """Logarithm of final wealth x (1 - deepest drawdown); an account that is gone counts as one hundredth."""
        return np.asarray(np.log(np.maximum(self.wealth * (1.0 - self.depth), 0.01)))


def score(one: Window, rule: Rule) -> Score:
    """Hold a window's decisions under a guard."""
    nets = [guarded(decision, one.profile, rule) for _, decision in one.decisions]
    rebalances = [
        DatedTargets(row, close_of(one.market.days[row]), Held(net, net))
        for (row, _), net in zip(one.decisions, nets, strict=True)
    ]
    books = hold(one.market, one.profile, rebalances).books
    gross = [np.mean([sum(map(abs, net.get(name, {}).values())) for net in nets]) for name in books]
    return Score(
        wealth=np.array([book.nav[-1] for book in books.values()]),
        depth=np.array([min(1.0, -(max_drawdown(book.returns) or 0.0)) for book in books.values()]),
        gross=np.array(gross),
    )


# --- the study --------------------------------------------------------------------------------------------------------


def told(text: str) -> None:
    print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)


def present_guard(bars: Market, catalog: Catalog) -> list[str]:
    """Print the polluted pools with the guard on and off; return broken promises."""
    broken = []
    print("\n| pool | from | risk profile | on loss makers | gross | drawdown | final wealth | lost to later losers |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for name, begins, ends in POLLUTED:
        told(f"{name} from {begins}")
        one = window(bars, catalog, name, "superset", begins, ends)
        rebalances = [DatedTargets(row, close_of(one.market.days[row]), decision) for row, decision in one.decisions]
        found = preservation(hold(one.market, one.profile, rebalances).frames(), one.profile.guard)
        broken += _print_pool(one, found)
    return broken


def _print_pool(one: Window, found: CapitalPreservation) -> list[str]:
    broken = [] if found.no_loss_maker_held else [f"{one.name} {one.begins}: a loss maker was held"]
    for risk, pair in found.profiles.items():
        on, off = pair.as_run, pair.guard_off
        print(
            f"| {one.name} | {one.begins[:7]} | {risk} "
            f"| {off.loss_maker_weight_mean:.2f} -> {on.loss_maker_weight_mean:.2f} "
            f"| {off.decided_gross_mean:.2f} -> {on.decided_gross_mean:.2f} "
            f"| {off.max_drawdown:.0%} -> {on.max_drawdown:.0%} | {off.final_wealth:.2f} -> {on.final_wealth:.2f} "
            f"| {off.losses.from_later_losers:.2f} -> {on.losses.from_later_losers:.2f} |"
        )
        if not pair.gross_never_above_guard_off:
            broken.append(f"{one.name} {one.begins} {risk}: gross is above the unguarded one")
    return broken


def windows(bars: Market, catalog: Catalog, spans: tuple[tuple[str, str], ...]) -> list[Window]:
    made = []
    for begins, ends in spans:
        for name, pool in BOOKS:
            told(f"deciding: {name} {pool} from {begins}")
            made.append(window(bars, catalog, name, pool, begins, ends))
    return made


def scores(held: list[Window], rules: tuple[Rule, ...]) -> dict[str, list[Score]]:
    found = {}
    for number, rule in enumerate(rules, 1):
        told(f"guard {number} of {len(rules)}: {rule.name}")
        found[rule.name] = [score(one, rule) for one in held]
    return found


def mean_log(found: list[Score]) -> float:
    return float(np.mean([one.log.mean() for one in found]))


def mean_gross(found: list[Score]) -> float:
    return float(np.mean([one.gross.mean() for one in found]))


def interval(challenger: list[Score], present: list[Score]) -> tuple[float, float]:
    """90 % interval of the mean difference of the logarithm, drawn over windows."""
    difference = np.array([a.log.mean() - b.log.mean() for a, b in zip(challenger, present, strict=True)])
    drawn = np.random.default_rng(SEED).integers(0, len(difference), (DRAWS, len(difference)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.05, 0.95])
    return float(low), float(high)


def beyond_cash(found: list[Score], blind: list[list[Score]]) -> float:
    """Logarithm of the score less that of unguarded books of the same mean gross."""
    gross, logs = [0.0, *map(mean_gross, blind)], [0.0, *map(mean_log, blind)]
    return mean_log(found) - float(np.interp(mean_gross(found), gross, logs))


def better_guard(bars: Market, catalog: Catalog) -> Rule:
    """Choose on 2021 and 2022, judge on 2023 and 2024; return the challenger."""
    then = scores(windows(bars, catalog, CHOOSE), RULES + BLIND)
    least = LEAST_GROSS * mean_gross(then[PRESENT])
    barred = {PRESENT, *AFTERWARDS, *(rule.name for rule in BLIND)}
    eligible = {name for name, found in then.items() if mean_gross(found) >= least} - barred
    challenger = max(sorted(eligible), key=lambda name: mean_log(then[name]))
    later = scores(windows(bars, catalog, JUDGE), RULES + BLIND)
    told("")
    print("\n\n| guard | eligible | 2021-22: score | gross | beyond cash | 2023-24: score | gross | beyond cash |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for name in sorted(then, key=lambda name: -mean_log(then[name])):
        mark = "challenger" if name == challenger else "yes" if name in eligible else ""
        cells = [
            f"{math.exp(mean_log(found[name])):.3f} | {mean_gross(found[name]):.2f} | "
            f"{beyond_cash(found[name], [found[rule.name] for rule in BLIND]):+.3f}"
            for found in (then, later)
        ]
        print(f"| {name} | {mark} | {cells[0]} | {cells[1]} |")
    _judge(challenger, later)
    return next(rule for rule in RULES if rule.name == challenger)


def _judge(challenger: str, later: Mapping[str, list[Score]]) -> None:
    ahead, present = later[challenger], later[PRESENT]
    low, high = interval(ahead, present)
    gain = mean_log(ahead) - mean_log(present)
    wins = sum(one.log.mean() > other.log.mean() for one, other in zip(ahead, present, strict=True))
    verdict = "replaces" if low > 0.0 else "does not replace"
    print(f"\n{challenger}: logarithm of the score {gain:+.3f} against the present guard in 2023 and 2024,")
    print(f"90 % interval {low:+.3f} to {high:+.3f}, higher in {wins} of {len(ahead)}: it {verdict} the present guard")


def on_pools(bars: Market, catalog: Catalog, challenger: Rule) -> None:
    """Print the polluted pools under no guard, the present one, the challenger and those added afterwards."""
    rules = (BLIND[-1], *(rule for rule in RULES if rule.name in (PRESENT, challenger.name, *AFTERWARDS)))
    print("\n| pool | from | guard | gross | drawdown | final wealth |\n|---|---|---|---:|---:|---:|")
    for name, begins, ends in POLLUTED:
        one = window(bars, catalog, name, "superset", begins, ends)
        for rule in rules:
            found = score(one, rule)
            print(
                f"| {one.name} | {begins[:7]} | {rule.name} | {found.gross.mean():.2f} | {-found.depth.mean():.0%} "
                f"| {found.wealth.mean():.2f} |"
            )


def main() -> int:
    if not BARS.is_file():
        print(f"this study needs the shared bars: {BARS} is absent", file=sys.stderr)
        return 2
    began = time.perf_counter()
    threadpool_limits(1)
    bars, what = market(2000)
    print(f"On {what}. Each pair: guard off -> on.")
    catalog = load()
    broken = present_guard(bars, catalog)
    on_pools(bars, catalog, better_guard(bars, catalog))
    print(f"\n{time.perf_counter() - began:.0f} s")
    for promise in broken:
        print(f"broken: {promise}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
