"""Alarms of an account: seldom on a true prior, and soon when trading costs three times what was modelled."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from assay.account.expectation import (
    ALARMS,
    LEAST_DAYS,
    PaidFill,
    TrackedDay,
    judge,
    paid_fills,
    prior_band,
    told,
    track,
)
from assay.settings.model import Costs

YEAR = 365
FALSE = 0.05
"""Most account-years with a false alarm."""
Series = npt.NDArray[np.float64]


def normal(rng: np.random.Generator, days: int) -> Series:
    return rng.normal(0.001, 0.02, days)


def heavy(rng: np.random.Generator, days: int) -> Series:
    return 0.001 + 0.02 / math.sqrt(2.0) * np.clip(rng.standard_t(4, days), -20, 20)


def dependent(rng: np.random.Generator, days: int) -> Series:
    made = rng.normal(0.0, 0.02, days)
    for day in range(1, days):
        made[day] += 0.15 * made[day - 1]
    return made + 0.001


def clustered(rng: np.random.Generator, days: int) -> Series:
    """Volatility that remembers for weeks: GARCH(1, 1) of 0.10 and 0.85."""
    noise, variance, made = rng.standard_normal(days + 200), 4e-4, np.zeros(days + 200)
    for day in range(days + 200):
        variance = 4e-4 * 0.05 + 0.10 * made[day - 1] ** 2 + 0.85 * variance
        made[day] = math.sqrt(variance) * noise[day]
    return np.clip(made[200:] + 0.001, -0.9, 5.0)


WORLDS = (normal, heavy, dependent, clustered)


def false_alarms(years: int, world: Callable[[np.random.Generator, int], Series], prior: int = 250) -> int:
    """Count simulated account-years whose prior is true, and which alarmed all the same."""
    count = 0
    for number in range(years):
        made = world(np.random.default_rng([17, number, WORLDS.index(world)]), prior + YEAR)
        band = prior_band(made[:prior], seed=2 * number, samples=400)
        assert band is not None
        [year] = judge(band, made[prior:])
        count += year.alarm is not None
    return count


@pytest.mark.parametrize("world", WORLDS)
def test_a_true_prior_seldom_alarms(world: Callable[[np.random.Generator, int], Series]) -> None:
    """Of 40 years: more than this many would be seen once in a thousand times if one in twenty were true."""
    most = int(binom.ppf(0.999, 40, FALSE))
    assert false_alarms(40, world) <= most


@pytest.mark.slow
def test_at_most_one_in_twenty_of_two_thousand_account_years_alarms_falsely() -> None:
    counts = {world.__name__: false_alarms(500, world) for world in WORLDS}
    assert sum(counts.values()) <= FALSE * 2000, counts
    for name, count in counts.items():
        assert count <= int(binom.ppf(0.999, 500, FALSE)), name


def test_a_band_that_took_the_mean_for_known_would_alarm_too_often() -> None:
    """Why the band is as wide as it is: the mean of 250 days is off by more than a year of them is wide."""
    made, day = np.random.default_rng(17).normal(0.0, 0.02, (2000, 250 + YEAR)), np.arange(1, YEAR + 1)
    years, means = np.cumsum(made[:, 250:], axis=1), made[:, :250].mean(axis=1)[:, None]
    known = np.quantile((np.abs(years) / np.sqrt(day)).max(axis=1), 1.0 - FALSE)
    left = ((np.abs(years - means * day) / np.sqrt(day)).max(axis=1) > known).mean()
    assert left > 2 * FALSE


def test_an_account_that_loses_what_its_prior_gained_is_found() -> None:
    rng = np.random.default_rng(3)
    band = prior_band(rng.normal(0.002, 0.01, 500))
    assert band is not None
    [year] = judge(band, rng.normal(-0.004, 0.01, YEAR))
    assert year.alarm == "BELOW_PRIOR"
    assert year.since is not None
    assert year.since < 200
    assert year.place < -1.0
    [rise] = judge(band, rng.normal(0.01, 0.01, YEAR))
    assert rise.alarm == "ABOVE_PRIOR"


def test_an_alarm_of_a_year_stays_and_the_next_year_begins_anew() -> None:
    band = prior_band(np.random.default_rng(4).normal(0.0, 0.01, 400))
    assert band is not None
    fell = np.zeros(YEAR)
    fell[10], fell[20] = -0.5, 1.0
    first, second = judge(band, np.concatenate([fell, np.zeros(5)]))
    assert (first.alarm, first.since, first.days) == ("BELOW_PRIOR", 10, YEAR)
    assert first.wealth == pytest.approx(1.0)
    assert (second.alarm, second.days, second.wealth) == (None, 5, 1.0)
    assert second.low < 1.0 < second.high
    assert judge(band, []) == []
    assert judge(band, [-1.0])[0].alarm == "BELOW_PRIOR", "a total loss is no hole in the arithmetic"


@pytest.mark.parametrize("returns", [np.zeros(LEAST_DAYS), np.full(LEAST_DAYS - 1, 0.01), [-1.0, *[0.01] * 300]])
def test_too_little_is_no_prior(returns: list[float]) -> None:
    assert prior_band(returns) is None


def test_a_band_is_the_same_again() -> None:
    returns = np.random.default_rng(5).normal(0.0, 0.02, 200)
    one, two, other = (prior_band(returns, seed=seed) for seed in (0, 0, 9))
    assert one is not None
    assert two is not None
    assert other is not None
    assert (one.half == two.half).all()
    assert (one.half != other.half).any()


# --- tracking ---------------------------------------------------------------------------------------------------------

START = dt.date(2024, 1, 1)
COSTS = Costs()


def an_account(seed: int, days: int, times: Callable[[int], float], noise: float = 0.004) -> list[TrackedDay]:
    """Six orders a day of 1,000 dollars each or so; a price is 40 bp from the open either way, beside what it costs."""
    rng = np.random.default_rng(seed)
    made = []
    for day in range(days):
        fills = []
        for value in rng.lognormal(6.9, 0.8, rng.poisson(6)):
            modelled = COSTS.per_side * value
            paid = times(day) * modelled + noise * value * rng.standard_normal()
            fills.append(PaidFill(Decimal(repr(float(paid))), Decimal(repr(float(modelled)))))
        made.append(TrackedDay(START + dt.timedelta(days=day), fills=tuple(fills)))
    return made


def test_a_cost_three_times_the_modelled_is_found_within_sixty_days() -> None:
    for seed in range(15):
        alarms = track(an_account(seed, 60, lambda _: 3.0)).alarms
        assert alarms["COST_ABOVE_MODEL"] <= START + dt.timedelta(days=59), seed


def test_it_is_found_within_sixty_days_of_its_beginning_in_an_account_that_lives() -> None:
    for seed in range(10):
        alarms = track(an_account(seed, 160, lambda day: 3.0 if day >= 100 else 1.0)).alarms
        assert START + dt.timedelta(days=100) < alarms["COST_ABOVE_MODEL"] <= START + dt.timedelta(days=159), seed


def test_the_modelled_cost_never_alarms_in_ordinary_noise() -> None:
    for seed in range(6):
        assert track(an_account(seed, YEAR, lambda _: 1.0)).alarms == {}, seed


def test_few_fills_far_from_their_open_are_no_alarm() -> None:
    days = [TrackedDay(START, fills=(PaidFill(Decimal(50), Decimal(1)),) * 9)]
    assert track(days).alarms == {}
    one_of_many = [PaidFill(Decimal(1), Decimal(1))] * 20 + [PaidFill(Decimal(60), Decimal(1))]
    assert track([TrackedDay(START, fills=tuple(one_of_many))]).alarms == {}
    found = track([TrackedDay(START, fills=(PaidFill(Decimal("2.1"), Decimal(1)),) * 10)])
    assert found.alarms == {"COST_ABOVE_MODEL": START}
    assert found.times == pytest.approx(2.1)


def test_a_difference_that_does_not_add_up_alarms() -> None:
    lines = {"fees": -0.002, "rounding": 0.0005}
    right = [TrackedDay(START + dt.timedelta(days=day), -0.0015, lines) for day in range(3)]
    assert track(right).alarms == {}
    wrong = [*right, TrackedDay(START + dt.timedelta(days=3), -0.0015 + 3e-9, lines), *right]
    assert track(wrong).alarms == {"TRACKING_UNEXPLAINED": START + dt.timedelta(days=3)}
    assert track([TrackedDay(START, math.nan, lines)]).alarms == {"TRACKING_UNEXPLAINED": START}
    assert told(track(right))["lines"] == lines


def test_fills_of_a_ledger_are_read_with_what_they_were_modelled_to_cost() -> None:
    """100 units at an open of 10 are 1,000 dollars: 1.50 modelled at 15 bp."""
    body = {"reason": "rebalance", "cause": "", "quantity": "-100", "reference": "10", "fee": "1", "slippage": "0.75"}
    forced, late = body | {"reason": "delisting"}, body | {"cause": "FILL_LATE"}
    assert paid_fills([body, forced, late], COSTS) == (PaidFill(Decimal("1.75"), Decimal("1.5000")),)


def test_every_alarm_says_what_it_means() -> None:
    assert all(len(said) > 30 for said in ALARMS.values())
