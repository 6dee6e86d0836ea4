"""Each vote's rule at its bounds, written by hand from the table of rules."""

from __future__ import annotations

import numpy as np
import pytest

from assay.base.errors import UsageError
from assay.ratings import VOTES
from assay.ratings.votes import EDITIONS, NO_VOTE, SHARED, ratings, rules, votes

EVERY = [rule for edition in EDITIONS for rule in rules(edition).values()]
NEEDED = sorted({source for rule in EVERY for source in (*rule.inputs, *rule.counted_by)})


def vote(name: str, edition: str = "2026", **values: float) -> int | None:
    """Cast one vote from the values that it reads; what only counts it exists."""
    rule = rules(edition)[name]
    assert set(values) == set(rule.inputs)
    given = {source: np.array([values.get(source, 1.0)]) for source in NEEDED}
    cast = votes(given, edition)[name].item()
    return None if cast == NO_VOTE else cast


def test_the_table_of_editions_is_small_and_whole():
    for edition, own in EDITIONS.items():
        assert set(own) == {"ichimoku", "stochastic", "adx", "stoch_rsi"}
        assert not set(own) & set(SHARED)
        assert tuple(rules(edition)) == VOTES
    assert next(iter(EDITIONS)) == "2026"


def test_another_edition_is_refused():
    with pytest.raises(UsageError, match="unknown edition '2024'"):
        rules("2024")


@pytest.mark.parametrize("name", [n for n in VOTES if n.startswith(("sma", "ema", "vwma", "hull"))])
def test_averages(name):
    assert vote(name, close=10.0, **{name: 9.0}) == 1
    assert vote(name, close=10.0, **{name: 11.0}) == -1
    assert vote(name, close=10.0, **{name: 10.0}) == 0


BUY = {"lead_a": 10.0, "lead_b": 9.0, "close": 11.0, "base": 12.0, "conversion": 8.0, "close_prev": 7.0}
SELL = {"lead_a": 9.0, "lead_b": 10.0, "close": 9.5, "base": 9.2, "conversion": 10.0, "close_prev": 11.0}
"""No mirror of the buy side: the close may lie between the leads."""


def test_ichimoku_of_2021():
    assert vote("ichimoku", "2021", **BUY) == 1
    assert vote("ichimoku", "2021", **SELL) == -1
    for change in ({"lead_b": 10.0}, {"close": 10.0}, {"base": 11.0}, {"conversion": 11.0}, {"close_prev": 8.0}):
        assert vote("ichimoku", "2021", **{**BUY, **change}) == 0, change
    for change in ({"lead_b": 9.0}, {"lead_b": 9.4}, {"base": 9.5}, {"conversion": 9.5}, {"close_prev": 10.0}):
        assert vote("ichimoku", "2021", **{**SELL, **change}) == 0, change


def test_ichimoku_of_2026_is_counted_and_never_cast():
    assert vote("ichimoku", **BUY) == vote("ichimoku", **SELL) == 0


@pytest.mark.parametrize(
    ("name", "field", "low", "high"),
    [("rsi", "rsi", 30, 70), ("cci", "cci", -100, 100), ("williams_r", "williams_r", -80, -20)],
)
def test_reversals(name, field, low, high):
    def of(now: float, prev: float) -> float:
        return vote(name, **{field: now, f"{field}_prev": prev})

    assert of(low - 1, low - 2) == 1
    assert of(low - 1, low - 1) == 0
    assert of(low - 1, low + 5) == 0
    assert of(low, low - 2) == 0
    assert of(high + 1, high + 2) == -1
    assert of(high + 1, high + 1) == 0
    assert of(high + 1, high - 5) == 0
    assert of(high, high + 2) == 0


LINES = [
    (15, 10, 1),
    (10, 15, 0),
    (15, 15, 0),
    (20, 15, 0),
    (15, 21, 0),
    (85, 90, -1),
    (90, 85, 0),
    (80, 90, 0),
    (50, 40, 0),
]


@pytest.mark.parametrize(("k", "d", "expected"), LINES)
def test_stochastics_of_2026_are_states(k, d, expected):
    assert vote("stochastic", stoch_8_k=k, stoch_8_d=d) == expected
    trend = 99.0 if expected == -1 else 101.0
    assert vote("stoch_rsi", stoch_rsi_k=k, stoch_rsi_d=d, close=100.0, ema_50=trend) == expected
    assert vote("stoch_rsi", stoch_rsi_k=k, stoch_rsi_d=d, close=100.0, ema_50=200 - trend) == 0
    assert vote("stoch_rsi", stoch_rsi_k=k, stoch_rsi_d=d, close=100.0, ema_50=100.0) == 0


@pytest.mark.parametrize(("k", "d", "expected"), LINES)
@pytest.mark.parametrize(("before", "crossed"), [(-1, 1), (0, 0), (1, -1)])
def test_stochastics_of_2021_cross(k, d, expected, before, crossed):
    """A state votes where the lines stood the other way before, and not where they were equal."""
    expected = expected if expected == crossed else 0
    values = {"k": k, "d": d, "k_prev": 50 + before, "d_prev": 50}
    assert vote("stochastic", "2021", **{f"stoch_{name}": value for name, value in values.items()}) == expected
    lines = {f"stoch_rsi_{name}": value for name, value in values.items()}
    trend = 99.0 if expected == -1 else 101.0
    assert vote("stoch_rsi", "2021", **lines, close=100.0, ema_50=trend) == expected
    assert vote("stoch_rsi", "2021", **lines, close=100.0, ema_50=100.0) == 0


@pytest.mark.parametrize(
    ("adx", "before", "plus", "minus", "expected"),
    [
        (25, 24, 30, 20, 1),
        (25, 24, 20, 30, -1),
        (20, 19, 30, 20, 0),  # no trend
        (25, 25, 30, 20, 0),  # no stronger
        (25, 26, 20, 30, 0),
        (25, 24, 20, 20, 0),
    ],
)
def test_adx_of_2026_votes_for_the_larger_side_of_a_rising_trend(adx, before, plus, minus, expected):
    assert vote("adx", adx=adx, adx_prev=before, plus_di=plus, minus_di=minus) == expected


@pytest.mark.parametrize(
    ("adx", "plus", "minus", "plus_prev", "minus_prev", "expected"),
    [
        (25, 30, 20, 19, 20, 1),
        (25, 20, 30, 20, 19, -1),
        (20, 30, 20, 19, 20, 0),  # no trend
        (25, 30, 20, 21, 20, 0),  # above before
        (25, 20, 30, 19, 20, 0),
        (25, 20, 20, 19, 20, 0),
        (25, 30, 20, 20, 20, 0),  # equal before: both sides of a cross are strict
        (25, 20, 30, 20, 20, 0),
    ],
)
def test_adx_of_2021_votes_on_a_cross(adx, plus, minus, plus_prev, minus_prev, expected):
    assert expected == vote(
        "adx", "2021", adx=adx, plus_di=plus, minus_di=minus, plus_di_prev=plus_prev, minus_di_prev=minus_prev
    )


@pytest.mark.parametrize(
    ("now", "prev", "prev2", "expected"),
    [
        (1, -1, -2, 1),  # crosses above 0
        (1, -1, 3, 1),
        (3, 1, 2, 1),  # saucer
        (3, 2, 1, 0),  # rising all along
        (1, 2, 3, 0),  # falling
        (2, 2, 3, 0),
        (3, 2, 2, 0),
        (-1, 1, 2, -1),
        (-3, -1, -2, -1),
        (-3, -2, -1, 0),
        (0, -1, -2, 0),
        (0, 1, 2, 0),
        (1, 0, -1, 0),  # from 0 itself: a cross is strict
        (-1, 0, 1, 0),
        (1, 0, 2, 0),
    ],
)
def test_awesome(now, prev, prev2, expected):
    assert vote("awesome", ao=now, ao_prev=prev, ao_prev2=prev2) == expected


@pytest.mark.parametrize(("value", "reference", "expected"), [(2, 1, 1), (1, 2, -1), (1, 1, 0)])
def test_momentum_and_macd(value, reference, expected):
    assert vote("momentum", momentum=value, momentum_prev=reference) == expected
    assert vote("macd", macd=value, macd_signal=reference) == expected


@pytest.mark.parametrize(
    ("close", "bull", "bull_prev", "bear", "bear_prev", "expected"),
    [
        (101, 5, 4, -1, -2, 1),
        (101, 5, 4, -2, -1, 0),  # bears gain
        (101, 5, 4, 1, -1, 0),  # no bears
        (99, 4, 5, 1, 1, -1),
        (99, 5, 4, 1, 1, 0),  # bulls gain
        (99, -1, 5, -2, -2, 0),  # no bulls
        (100, 4, 5, -1, -2, 0),  # no trend
        (99, 5, 4, -1, -2, 0),
        (101, 4, 5, 1, 1, 0),
    ],
)
def test_bull_and_bear_power(close, bull, bull_prev, bear, bear_prev, expected):
    powers = {"bull_power": bull, "bull_power_prev": bull_prev, "bear_power": bear, "bear_power_prev": bear_prev}
    assert vote("bull_bear", close=close, ema_50=100, **powers) == expected


@pytest.mark.parametrize(("value", "expected"), [(70.1, 1), (70, 0), (50, 0), (30, 0), (29.9, -1)])
def test_ultimate(value, expected):
    assert vote("ultimate", ultimate=value) == expected


EQUAL = {
    "sma_10": ({"sma_10": 100.0, "close": 100.0}, "sma_10", 1e-10),
    "macd": ({"macd": 3.0, "macd_signal": 3.0}, "macd", 3e-12),
    "momentum": ({"momentum": 3.0, "momentum_prev": 3.0}, "momentum", 3e-12),
    "rsi": ({"rsi": 25.0, "rsi_prev": 25.0}, "rsi", 1e-10),
    "cci": ({"cci": -110.0, "cci_prev": -110.0}, "cci", 1.1e-10),
    "williams_r": ({"williams_r": -90.0, "williams_r_prev": -90.0}, "williams_r", 1e-10),
    "stochastic": ({"stoch_8_k": 10.0, "stoch_8_d": 10.0}, "stoch_8_k", 1e-10),
    "stoch_rsi": (
        {"stoch_rsi_k": 0.0, "stoch_rsi_d": 0.0, "close": 99.0, "ema_50": 100.0},
        "stoch_rsi_k",
        1e-10,
    ),
    "adx": ({"adx": 25.0, "adx_prev": 25.0, "plus_di": 30.0, "minus_di": 20.0}, "adx", 1e-10),
}


@pytest.mark.parametrize("name", EQUAL)
def test_what_differs_by_rounding_is_equal(name):
    values, moved, least = EQUAL[name]
    sides = {vote(name, **{**values, moved: values[moved] + side * 0.9 * least}) for side in (-1, 0, 1)}
    assert sides == {0}
    beyond = {vote(name, **{**values, moved: values[moved] + side * 1.2 * least}) for side in (-1, 1)}
    assert beyond - {0}


def test_a_huge_cci_is_compared_by_its_own_size():
    assert vote("cci", cci=-6660.0, cci_prev=-6660.0 - 5e-9) == 0
    assert vote("cci", cci=-6660.0, cci_prev=-6660.0 - 8e-9) == 1


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("name", VOTES)
def test_a_vote_is_counted_by_what_the_screener_asks_for(name, edition):
    """Where that is missing there is no vote; what else is missing makes it 0."""
    rule = rules(edition)[name]
    for missing in {*rule.inputs, *rule.counted_by}:
        values = {source: np.array([np.nan if source == missing else 1.0]) for source in NEEDED}
        counted = missing not in (rule.counted_by or rule.inputs)
        assert votes(values, edition)[name].item() == (0 if counted else NO_VOTE), missing


def test_what_counts_votes_that_are_younger_than_their_inputs():
    asked = {name: rule.counted_by for name, rule in rules("2026").items() if rule.counted_by}
    assert asked == {
        "stochastic": ("stoch_8_k_prev", "stoch_8_d_prev"),
        "adx": ("adx", "plus_di_prev", "minus_di_prev"),
        "awesome": ("ao_prev",),
        "stoch_rsi": ("stoch_rsi_k_prev", "stoch_rsi_d_prev"),
        "bull_bear": ("bull_power_prev",),
    }


def test_ratings_count_only_votes_that_exist():
    def cast(**given: int) -> dict[str, np.ndarray]:
        return {name: np.array([given.get(name, NO_VOTE)], dtype=np.int8) for name in VOTES}

    both, moving, other = (rating.item() for rating in ratings(cast(sma_10=1, ema_10=0)))
    assert (both, moving) == (0.5, 0.5)  # All is the mean of the groups that exist
    assert np.isnan(other)
    both, moving, other = (rating.item() for rating in ratings(cast(rsi=-1)))
    assert (both, other) == (-1.0, -1.0)
    assert np.isnan(moving)
    both, moving, other = (rating.item() for rating in ratings(cast(sma_10=1, ema_10=0, rsi=-1, macd=1, adx=1)))
    assert (both, moving, other) == ((0.5 + 1 / 3) / 2, 0.5, 1 / 3)
    assert all(np.isnan(rating.item()) for rating in ratings(cast()))
