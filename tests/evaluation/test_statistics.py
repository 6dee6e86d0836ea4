"""Metrics against skfolio, SciPy, scikit-learn, ffn and the papers' own examples."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from assay.backtest import statistics as own

RNG = np.random.default_rng(7)
RETURNS = RNG.standard_t(4, 500) * 0.02 + 0.001
MARKET = 0.6 * RETURNS + RNG.normal(0, 0.02, 500)
UNDEFINED_FLAT = ("sharpe", "psr", "dsr", "expected_max_sharpe", "sortino", "calmar", "hit_rate", "skewness", "beta")


# ---- published examples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "expected"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_deflated_sharpe_of_the_paper(trials: int, skewness: float, kurtosis: float, expected: float):
    """Bailey and Lopez de Prado (2014): annual 2.5 over 1250 days of 250 a year, variance of the trials 1/2."""
    value = own.deflated_sharpe(2.5 / math.sqrt(250), 1250, skewness, kurtosis, trials, 0.5 / 250)
    assert value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("skewness", "kurtosis", "expected"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)])
def test_probabilistic_sharpe_of_the_paper(skewness: float, kurtosis: float, expected: float):
    """Bailey and Lopez de Prado (2012): 24 months with a monthly ratio of 0.458."""
    assert own.probabilistic_sharpe(0.458, 24, skewness, kurtosis) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("periods", "skewness", "kurtosis", "years"),
    [(250, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_minimum_track_record_of_the_paper(periods: int, skewness: float, kurtosis: float, years: float):
    """Bailey and Lopez de Prado (2012): an annual ratio of 2 believed to be above 1 at 95 %."""
    length = own.minimum_track_record(2 / math.sqrt(periods), skewness, kurtosis, 1 / math.sqrt(periods))
    assert length / periods == pytest.approx(years, abs=0.006)


def test_minimum_track_record_is_where_the_probability_is_reached():
    length = own.minimum_track_record(0.1, -0.5, 5.0, 0.02, confidence=0.9)
    assert own.probabilistic_sharpe(0.1, math.ceil(length), -0.5, 5.0, 0.02) >= 0.9
    assert own.probabilistic_sharpe(0.1, math.floor(length), -0.5, 5.0, 0.02) < 0.9
    assert own.minimum_track_record(0.1, 0.0, 3.0, 0.1) is None


def test_expected_maximum_is_that_of_normal_trials():
    """Mean of the best of 50 standard normal draws, by quadrature of its density; the paper's is an approximation."""
    from scipy.integrate import quad

    exact, _ = quad(lambda x: x * 50 * stats.norm.pdf(x) * stats.norm.cdf(x) ** 49, -10, 10)
    assert own.expected_max_sharpe(50, 1.0) == pytest.approx(exact, rel=0.02)
    assert own.expected_max_sharpe(2, 1.0) == pytest.approx(1 / math.sqrt(math.pi), rel=0.1)
    assert own.expected_max_sharpe(1, 4.0) == 0.0
    with pytest.raises(ValueError):
        own.expected_max_sharpe(0, 1.0)


@pytest.mark.parametrize(
    ("trials", "planted", "theory"), [(1, 1.5, 0.83), (5, 1.5, 0.41), (20, 1.5, 0.17), (20, 3.0, 0.90)]
)
def test_deflation_promotes_what_theory_allows(trials: int, planted: float, theory: float):
    """Searches over three years of days: noise is promoted at most 5 % of the time, the planted one as it can be."""
    rng = np.random.default_rng(trials)
    days, searches = 3 * 365, 250

    def promoted(sharpe: float) -> float:
        count = 0
        for _ in range(searches):
            returns = rng.normal(0.0, 0.02, (trials, days))
            returns[0] += sharpe * 0.02 / math.sqrt(365)
            best = returns[np.argmax(returns.mean(axis=1) / returns.std(axis=1))]
            count += own.summary(best, trials=trials)["dsr"] > 0.95
        return count / searches

    assert promoted(0.0) <= 0.08  # 5 % and two standard errors
    share = promoted(planted)
    assert share > theory if planted > 2 else abs(share - theory) < 0.08


# ---- libraries --------------------------------------------------------------------------------------------------


def test_against_skfolio():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measures = pytest.importorskip("skfolio.measures", reason="skfolio, the oracle, is not installed")
    assert own.cvar(RETURNS) == pytest.approx(-measures.cvar(RETURNS, beta=0.95), rel=1e-12)
    assert own.cvar(RETURNS[:133]) == pytest.approx(-measures.cvar(RETURNS[:133], beta=0.95), rel=1e-12)
    depth = measures.max_drawdown(measures.get_drawdowns(RETURNS, compounded=True))
    assert own.max_drawdown(RETURNS) == pytest.approx(-depth, rel=1e-12)
    deviation = measures.standard_deviation(RETURNS)
    assert own.volatility(RETURNS) == pytest.approx(deviation * math.sqrt(365), rel=1e-12)
    assert own.sharpe(RETURNS) == pytest.approx(measures.mean(RETURNS) / deviation * math.sqrt(365), rel=1e-12)


def test_against_scipy():
    assert own.skewness(RETURNS) == pytest.approx(stats.skew(RETURNS), rel=1e-12)
    assert own.kurtosis(RETURNS) == pytest.approx(stats.kurtosis(RETURNS, fisher=False), rel=1e-12)
    line = stats.linregress(MARKET, RETURNS)
    assert own.beta(RETURNS, MARKET) == pytest.approx(line.slope, rel=1e-12)
    assert own.correlation(RETURNS, MARKET) == pytest.approx(line.rvalue, rel=1e-12)


def test_against_ffn():
    """Another library's figures of the same price path; it annualises by what it is told."""
    pandas = pytest.importorskip("pandas", reason="the oracles need pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ffn = pytest.importorskip("ffn", reason="ffn is not installed")
    days = pandas.date_range("2023-01-01", periods=len(RETURNS) + 1)
    prices = pandas.Series(np.concatenate([[1.0], np.cumprod(1.0 + RETURNS)]), index=days)
    returns = pandas.Series(RETURNS, index=days[1:])
    assert own.sharpe(RETURNS) == pytest.approx(ffn.calc_sharpe(returns, nperiods=365), rel=1e-10)
    assert own.max_drawdown(RETURNS) == pytest.approx(ffn.calc_max_drawdown(prices), rel=1e-10)
    # Its year has 365.25 days.
    assert own.cagr(RETURNS) == pytest.approx((1 + ffn.calc_cagr(prices)) ** (365 / 365.25) - 1, rel=1e-10)


def test_against_empyrical():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        empyrical = pytest.importorskip("empyrical", reason="empyrical is not installed")
        sortino = empyrical.sortino_ratio(RETURNS, annualization=365)
        calmar = empyrical.calmar_ratio(RETURNS, annualization=365)
        beta = empyrical.beta(RETURNS, MARKET)
    assert own.sortino(RETURNS) == pytest.approx(sortino, rel=1e-10)
    assert own.calmar(RETURNS) == pytest.approx(calmar, rel=1e-10)
    assert own.beta(RETURNS, MARKET) == pytest.approx(beta, rel=1e-10)


# ---- by hand ----------------------------------------------------------------------------------------------------


def test_sortino_by_hand():
    """Losses 0.03 and 0.04 in four days: downside deviation sqrt(0.0025 / 4) = 0.025; mean 0.01."""
    assert own.sortino([0.06, -0.03, 0.05, -0.04]) == pytest.approx(0.01 / 0.025 * math.sqrt(365))


def test_hit_rate_leaves_out_days_in_cash():
    assert own.hit_rate([0.0, 0.01, 0.0, -0.01, 0.02, 0.03]) == 0.75
    assert own.hit_rate([0.0, 0.0]) is None


def test_drawdown_counts_a_fall_from_the_start():
    np.testing.assert_allclose(own.drawdowns([-0.2, 0.25, 0.1]), [-0.2, 0.0, 0.0], atol=1e-15)


def test_benchmark_days_that_are_missing_are_left_out():
    with_hole = np.where(np.arange(500) % 7 == 0, np.nan, MARKET)
    known = np.isfinite(with_hole)
    assert own.beta(RETURNS, with_hole) == pytest.approx(
        stats.linregress(MARKET[known], RETURNS[known]).slope, rel=1e-12
    )
    with pytest.raises(ValueError):
        own.beta(RETURNS, MARKET[1:])


# ---- what is not defined, and what is not clipped ------------------------------------------------------------------


def test_flat_account():
    figures = own.summary(np.zeros(50), np.zeros(50))
    assert all(figures[name] is None for name in UNDEFINED_FLAT)
    assert figures["cagr"] == figures["volatility"] == figures["max_drawdown"] == 0.0


def test_constant_gain_has_no_sharpe_ratio():
    """Rounding gives 0.1 a tiny variance; the ratio would be 1e16."""
    assert own.sharpe(np.full(30, 0.1)) is None


def test_account_in_debt():
    """A loss of 105 % stays one: wealth is negative, the drawdown below -100 %, growth is undefined."""
    figures = own.summary([0.1, -1.05, 0.0, 0.0])
    assert figures["final_wealth"] == pytest.approx(1.1 * -0.05)
    assert figures["max_drawdown"] == pytest.approx(-1.05)
    assert figures["worst_day"] == -1.05
    assert figures["cagr"] is None
    assert figures["calmar"] is None


def test_account_at_zero():
    assert own.cagr([0.1, -1.0]) == -1.0


def test_no_days():
    figures = own.summary([])
    assert figures["days"] == 0.0
    assert figures["final_wealth"] == 1.0
    assert all(value is None for name, value in figures.items() if name not in {"days", "final_wealth"})


def test_growth_beyond_floating_point_is_undefined():
    assert own.cagr([1e9]) is None


@pytest.mark.parametrize("bad", [[0.1, math.nan], [math.inf], [[0.1]]])
def test_what_is_no_series_is_refused(bad):
    with pytest.raises(ValueError):
        own.summary(bad)


@given(st.lists(st.floats(-1.5, 5.0), max_size=40), st.integers(1, 1000), st.none() | st.floats(0.0, 10.0))
def test_every_figure_is_a_finite_number_or_none(returns, trials, variance):
    figures = own.summary(returns, returns[::-1], turnover=np.abs(returns), trials=trials, trial_variance=variance)
    assert all(value is None or math.isfinite(value) for value in figures.values())


def test_costs_and_turnover_are_annual_sums():
    figures = own.summary([0.0] * 73, turnover=[0.1] * 73, cost=[0.001] * 73)
    assert figures["turnover"] == pytest.approx(36.5)
    assert figures["cost"] == pytest.approx(0.365)
    assert figures["borrow"] is None


def test_labels_part_the_days():
    labels = ["CRISIS" if day % 3 else "QUIET" for day in range(500)]
    parts = own.summary_by(labels, RETURNS, MARKET)
    assert list(parts) == ["CRISIS", "QUIET"]
    product = parts["CRISIS"]["final_wealth"] * parts["QUIET"]["final_wealth"]
    assert product == pytest.approx(own.wealth(RETURNS))
    assert parts["QUIET"]["beta"] == pytest.approx(stats.linregress(MARKET[::3], RETURNS[::3]).slope)
    with pytest.raises(ValueError):
        own.summary_by(labels[1:], RETURNS)


def test_a_summary_names_every_metric() -> None:
    risk = {
        "volatility",
        "sharpe",
        "sortino",
        "calmar",
        "max_drawdown",
        "cvar_95",
        "skewness",
        "kurtosis",
        "psr",
        "dsr",
    }
    gain = {"days", "final_wealth", "cagr", "hit_rate", "best_day", "worst_day", "beta", "correlation"}
    assert set(own.summary(RETURNS, MARKET)) >= risk | gain | {"turnover", "cost", "borrow"}
