"""Mutants of the rules: the plain rules notice each, on random bars or on coarse values full of ties and gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import naive_ratings
import numpy as np
import pytest
from ratings_bars import walk

from assay.ratings import averages as averaging
from assay.ratings import indicators as measuring
from assay.ratings import kernels, rate
from assay.ratings import votes as voting
from assay.ratings.votes import EDITIONS, NO_VOTE, SHARED, VOTES, rules, votes

PERCENTS = (0.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0, 70.0, 75.0, 80.0, 85.0, 100.0)
SETS = {
    "cci": (-150.0, -110.0, -100.0, 0.0, 100.0, 110.0, 150.0),
    "williams_r": (-95.0, -85.0, -80.0, -50.0, -20.0, -15.0, -5.0),
    **dict.fromkeys(("ao", "momentum", "macd", "bull_power", "bear_power"), (-2.0, -1.0, 0.0, 1.0, 2.0)),
    **dict.fromkeys(("rsi", "stoch", "adx", "plus_di", "minus_di", "ultimate"), PERCENTS),
}
PRICES = (98.0, 99.0, 100.0, 101.0, 102.0)
NEEDED = sorted(
    {name for edition in EDITIONS for rule in rules(edition).values() for name in (*rule.inputs, *rule.counted_by)}
)


def coarse(seed: int, n: int = 4_000) -> dict[str, np.ndarray]:
    """Values from few levels, moved by what is and by what is not rounding, one in forty missing."""
    random = np.random.default_rng(seed)
    found = {}
    for name in NEEDED:
        levels = next((values for stem, values in SETS.items() if name.startswith(stem)), PRICES)
        value = random.choice(levels, n)
        if levels in (PERCENTS, SETS["williams_r"], SETS["cci"]):
            value = value + random.choice([0.0, 0.0, 5e-11, -5e-11, 3e-10, -3e-10], n)
        else:
            value = value * (1 + random.choice([0.0, 0.0, 3e-13, -3e-13, 5e-12, -5e-12], n))
        value[random.random(n) < 0.025] = np.nan
        found[name] = value
    return found


def plain(values: dict[str, np.ndarray], edition: str) -> dict[str, np.ndarray]:
    lists = {name: [None if np.isnan(x) else float(x) for x in column] for name, column in values.items()}
    cast, _ = naive_ratings.votes(lists, edition)
    return {name: np.array([NO_VOTE if x is None else x for x in column]) for name, column in cast.items()}


COARSE = [coarse(seed) for seed in range(2)]
EXPECTED = {edition: [plain(values, edition) for values in COARSE] for edition in EDITIONS}
BARS = walk(77, 330)
RATED = {
    edition: naive_ratings.ratings(*[BARS[name].to_list() for name in ("high", "low", "close", "volume")], edition)
    for edition in EDITIONS
}


def differing() -> set[str]:
    """Name what differs from the plain rules."""
    found = set()
    for edition in EDITIONS:
        for values, expected in zip(COARSE, EXPECTED[edition], strict=True):
            cast = votes(values, edition)
            found |= {name for name in VOTES if not np.array_equal(cast[name], expected[name])}
        _, cast, both, moving, other = RATED[edition]
        table = rate(BARS, "1d", edition)
        found |= {name for name in VOTES if table[f"vote_{name}"].to_list() != cast[name]}
        for name, column in (("all", both), ("ma", moving), ("other", other)):
            mine = table[f"recommend_{name}"].to_list()
            same = all(
                (a is None) == (b is None) and (a is None or abs(a - b) < 1e-12)
                for a, b in zip(mine, column, strict=True)
            )
            found |= set() if same else {name}
    return found


def test_the_rules_equal_the_plain_ones_on_coarse_values():
    assert differing() == set()


def test_coarse_values_reach_both_sides_of_every_vote():
    for edition in EDITIONS:
        for name in VOTES:
            cast = set(EXPECTED[edition][0][name].tolist()) | set(EXPECTED[edition][1][name].tolist())
            silent = name == "ichimoku" and edition == "2026"
            assert cast >= ({0, NO_VOTE} if silent else {-1, 0, 1, NO_VOTE}), (edition, name)


def other_rule(edition: str, name: str, source: str) -> Callable:
    """A vote by the rule of another edition."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        own = {**EDITIONS[edition], name: EDITIONS[source][name]}
        monkeypatch.setattr(voting, "EDITIONS", {**EDITIONS, edition: own})

    return mutate


def changed(edition: str | None, name: str, **fields: object) -> Callable:
    """A rule with other fields; of the shared ones where the edition is None."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        if edition is None:
            monkeypatch.setattr(voting, "SHARED", {**SHARED, name: replace(SHARED[name], **fields)})
        else:
            own = {**EDITIONS[edition], name: replace(EDITIONS[edition][name], **fields)}
            monkeypatch.setattr(voting, "EDITIONS", {**EDITIONS, edition: own})

    return mutate


def constant(module: object, name: str, value: object) -> Callable:
    return lambda monkeypatch: monkeypatch.setattr(module, name, value)


def without_rising(adx, adx_prev, plus, minus):
    up, down = voting._percent(plus, minus)
    return (adx > 20) & up, (adx > 20) & down


def not_strict(adx, plus, minus, plus_prev, minus_prev):
    up, down = voting._percent(plus, minus)
    was_up, was_down = voting._percent(plus_prev, minus_prev)
    return (adx > 20) & up & ~was_up, (adx > 20) & down & ~was_down


def mirrored_sell(conversion, base, lead_a, lead_b, close, close_prev):
    buy, _ = voting._ichimoku(conversion, base, lead_a, lead_b, close, close_prev)
    down, under = voting._line(lead_a, lead_b)[1], voting._line(close, lead_a)[1]
    over_base, below = voting._line(close, base)[0], voting._line(close, conversion)[1]
    return buy, down & under & over_base & below & voting._line(close_prev, conversion)[0]


def loose_zero(ao, prev, prev2):
    rising, falling = voting._line(ao, prev)
    rose, fell = voting._line(prev, prev2)
    buy = (ao > 0) & ((prev <= 0) | (rising & fell))
    sell = (ao < 0) & ((prev >= 0) | (falling & rose))
    return buy, sell


def only_both(cast):
    averages, oscillators = (
        voting._mean([cast[name] for name in group]) for group in (voting.MA_VOTES, voting.OTHER_VOTES)
    )
    return (averages + oscillators) * 0.5, averages, oscillators


def none_counted_where_an_input_lacks(rule, values):
    return voting_vote(replace(rule, counted_by=(*rule.inputs, *rule.counted_by)), values)


voting_vote = voting.vote

MUTANTS = {
    "2026 index by a cross": (other_rule("2026", "adx", "2021"), {"adx"}),
    "2026 index that need not rise": (changed("2026", "adx", decide=without_rising), {"adx"}),
    "2026 index on the other side": (
        changed("2026", "adx", inputs=("adx", "adx_prev", "minus_di", "plus_di")),
        {"adx"},
    ),
    "2026 stochastic of 14": (changed("2026", "stochastic", inputs=("stoch_k", "stoch_d")), {"stochastic"}),
    "2026 stochastic by a cross": (other_rule("2026", "stochastic", "2021"), {"stochastic"}),
    "2026 stochastic counted from K and D": (changed("2026", "stochastic", counted_by=()), {"stochastic"}),
    "2026 stochastic RSI by a cross": (other_rule("2026", "stoch_rsi", "2021"), {"stoch_rsi"}),
    "2026 Ichimoku by the old rule": (other_rule("2026", "ichimoku", "2021"), {"ichimoku"}),
    "2021 index that rises": (other_rule("2021", "adx", "2026"), {"adx"}),
    "2021 cross that is not strict": (changed("2021", "adx", decide=not_strict), {"adx"}),
    "2021 stochastic by state": (other_rule("2021", "stochastic", "2026"), {"stochastic"}),
    "2021 stochastic RSI by state": (other_rule("2021", "stoch_rsi", "2026"), {"stoch_rsi"}),
    "2021 Ichimoku that is silent": (other_rule("2021", "ichimoku", "2026"), {"ichimoku"}),
    "2021 Ichimoku that mirrors its buy side": (changed("2021", "ichimoku", decide=mirrored_sell), {"ichimoku"}),
    "a zero that is crossed from zero": (changed(None, "awesome", decide=loose_zero), {"awesome"}),
    "oscillator counted from two bars before": (changed(None, "awesome", counted_by=()), {"awesome"}),
    "powers counted from EMA 50": (changed(None, "bull_bear", counted_by=()), {"bull_bear"}),
    "stochastic RSI counted from EMA 50": (changed("2026", "stoch_rsi", counted_by=()), {"stoch_rsi"}),
    "index counted from its own previous value": (changed("2026", "adx", counted_by=()), {"adx"}),
    "no tie between lines": (constant(voting, "TIED", 0.0), {"sma_10", "macd", "momentum", "hull_ma_9"}),
    "a wide tie between lines": (constant(voting, "TIED", 1e-11), {"sma_10", "macd", "momentum"}),
    "no tie in percent": (constant(voting, "TIED_PERCENT", 0.0), {"rsi", "stochastic", "williams_r", "adx"}),
    "a wide tie in percent": (constant(voting, "TIED_PERCENT", 1e-9), {"rsi", "cci", "stochastic", "williams_r"}),
    "all only where both groups are": (constant(voting, "ratings", only_both), set()),
    "counted where all inputs are": (constant(voting, "vote", none_counted_where_an_input_lacks), {"awesome", "adx"}),
    "editions exchanged": (
        constant(voting, "EDITIONS", {"2026": EDITIONS["2021"], "2021": EDITIONS["2026"]}),
        {"adx", "stochastic", "stoch_rsi", "ichimoku"},
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant, monkeypatch):
    mutate, named = MUTANTS[mutant]
    mutate(monkeypatch)
    if mutant == "all only where both groups are":
        from assay.ratings import table

        monkeypatch.setattr(table, "ratings", only_both)
        named = {"all"}
    assert named <= differing()


def shorter(values, windows, pick):
    windows = tuple(windows)
    found = kernels.window_extremes(values, (7, *windows), pick)
    return {window: found[7 if window == 8 else window] for window in windows}


@pytest.mark.parametrize(
    ("module", "name", "value", "named"),
    [
        (measuring, "window_extremes", shorter, {"stochastic"}),
        (averaging, "WILDER_BARS", 13, set()),
        (measuring, "hull_mean", lambda values, window: kernels.hull_mean(values, window + 1), {"hull_ma_9"}),
    ],
)
def test_a_mutant_of_an_indicator_is_noticed(module, name, value, named, monkeypatch):
    monkeypatch.setattr(module, name, value)
    if name == "WILDER_BARS":
        averages = tuple(
            averaging._Average(1 / 13, 1, 13) if abs(one.alpha - 1 / 14) < 1e-9 and one.first == 1 else one
            for one in averaging._AVERAGES
        )
        monkeypatch.setattr(averaging, "_AVERAGES", averages)
        named = {"rsi"}
    assert named <= differing()
