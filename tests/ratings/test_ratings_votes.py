"""Each vote's rule at its bounds, written by hand from the table of rules."""

from __future__ import annotations

import numpy as np
import pytest

from assay.ratings import VOTES
from assay.ratings.votes import RULES, ratings, votes

NEEDED = sorted({source for rule in RULES.values() for source in rule.inputs})


def vote(name: str, **values: float) -> float:
    assert set(values) == set(RULES[name].inputs)
    given = {source: np.array([values.get(source, np.nan)]) for source in NEEDED}
    cast = {other: found.item() for other, found in votes(given).items()}
    return cast[name]


@pytest.mark.parametrize("name", [n for n in VOTES if n.startswith(("sma", "ema", "vwma", "hull"))])
def test_averages(name):
    assert vote(name, close=10.0, **{name: 9.0}) == 1
    assert vote(name, close=10.0, **{name: 11.0}) == -1
    assert vote(name, close=10.0, **{name: 10.0}) == 0


BUY = {"lead_a": 10.0, "lead_b": 9.0, "close": 11.0, "base": 12.0, "conversion": 8.0, "close_prev": 7.0}


def mirrored(values: dict[str, float]) -> dict[str, float]:
    return {name: -value for name, value in values.items()}


def test_ichimoku():
    assert vote("ichimoku", **BUY) == 1
    assert vote("ichimoku", **mirrored(BUY)) == -1
    for change in ({"lead_b": 10.0}, {"close": 10.0}, {"base": 11.0}, {"conversion": 11.0}, {"close_prev": 8.0}):
        assert vote("ichimoku", **{**BUY, **change}) == 0, change
        assert vote("ichimoku", **mirrored({**BUY, **change})) == 0, change


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


@pytest.mark.parametrize(
    ("k", "d", "expected"),
    [
        (15, 10, 1),
        (10, 15, 0),
        (15, 15, 0),
        (20, 15, 0),
        (15, 21, 0),
        (85, 90, -1),
        (90, 85, 0),
        (80, 90, 0),
        (50, 40, 0),
    ],
)
def test_stochastics_are_states(k, d, expected):
    assert vote("stochastic", stoch_k=k, stoch_d=d) == expected
    trend = 99.0 if expected == -1 else 101.0
    assert vote("stoch_rsi", stoch_rsi_k=k, stoch_rsi_d=d, close=100.0, ema_50=trend) == expected
    assert vote("stoch_rsi", stoch_rsi_k=k, stoch_rsi_d=d, close=100.0, ema_50=200 - trend) == 0
    assert vote("stoch_rsi", stoch_rsi_k=k, stoch_rsi_d=d, close=100.0, ema_50=100.0) == 0


@pytest.mark.parametrize(
    ("adx", "plus", "minus", "plus_prev", "minus_prev", "expected"),
    [
        (25, 30, 20, 19, 20, 1),
        (25, 20, 30, 20, 19, -1),
        (20, 30, 20, 19, 20, 0),  # no trend
        (25, 30, 20, 21, 20, 0),  # above before
        (25, 20, 30, 19, 20, 0),
        (25, 20, 20, 19, 20, 0),
    ],
)
def test_adx_votes_on_a_cross(adx, plus, minus, plus_prev, minus_prev, expected):
    assert expected == vote(
        "adx", adx=adx, plus_di=plus, minus_di=minus, plus_di_prev=plus_prev, minus_di_prev=minus_prev
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


@pytest.mark.parametrize("name", VOTES)
def test_no_vote_without_all_that_it_needs(name):
    for missing in RULES[name].inputs:
        values = {source: np.array([np.nan if source == missing else 1.0]) for source in NEEDED}
        assert np.isnan(votes(values)[name].item()), missing


def test_ratings_count_only_votes_that_exist():
    cast = {name: np.array([np.nan]) for name in VOTES}
    cast |= {"sma_10": np.array([1.0]), "ema_10": np.array([0.0])}
    both, moving, other = (rating.item() for rating in ratings(cast))
    assert moving == 0.5
    assert np.isnan(other)
    assert np.isnan(both)
    cast |= {"rsi": np.array([-1.0]), "macd": np.array([1.0]), "adx": np.array([1.0])}
    both, moving, other = (rating.item() for rating in ratings(cast))
    assert (both, moving, other) == ((0.5 + 1 / 3) / 2, 0.5, 1 / 3)
