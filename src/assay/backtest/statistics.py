"""Statistics of a track record, by the field's definitions, unclipped.

Returns are simple and daily, a year has 365 days, the risk-free rate is zero (nothing is earned on cash). A figure that
is not defined (no variance, no loss, too few days, an account in debt) is None, never 0, NaN or infinity.

References
----------
.. [1] W. F. Sharpe (1994), The Sharpe Ratio, Journal of Portfolio Management 21(1).
.. [2] F. Sortino, L. Price (1994), Performance Measurement in a Downside Risk Framework, Journal of Investing 3(3).
.. [3] T. W. Young (1991), Calmar Ratio: A Smoother Tool, Futures 20(1).
.. [4] R. T. Rockafellar, S. Uryasev (2002), Conditional Value-at-Risk for General Loss Distributions, Journal of
   Banking and Finance 26(7), proposition 8 for a sample.
.. [5] D. Bailey, M. Lopez de Prado (2012), The Sharpe Ratio Efficient Frontier, Journal of Risk 15(2).
.. [6] D. Bailey, M. Lopez de Prado (2014), The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtr, ndtri

from assay.base.constants import DAYS_PER_YEAR, Floats

Summary = dict[str, float | None]

TAIL = 0.05
DEFLATED = ("dsr", "expected_max_sharpe")
"""Depend on what else was tried, and so are no property of a walk-forward; see :func:`deflated`."""

SPREAD_TAIL = 0.05
"""One minus the confidence that trials vary less than by chance."""


def finite(value: float) -> float | None:
    """Return the value, or None where it is not a finite number."""
    return float(value) if math.isfinite(value) else None


def ratio(numerator: float, denominator: float) -> float | None:
    """Divide, or return None where that is no finite number."""
    return finite(numerator / denominator) if denominator else None


def _shape(series: Floats) -> tuple[Floats, float]:
    """Split what varies into deviations of at most 1 and their unit, so that no product of them underflows."""
    deviation = series - series.mean()
    unit = float(np.abs(deviation).max())
    return deviation / unit, unit


def checked(returns: npt.ArrayLike) -> Floats:
    """Return a series as a float array, or refuse what is no series of returns."""
    series = np.asarray(returns, dtype=np.float64)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise ValueError("returns must be one finite number per day")
    return series


def varies(series: Floats) -> bool:
    """Whether a series has a variance; rounding gives a constant one a tiny false one."""
    return len(series) > 1 and bool(np.ptp(series) > 0.0)


def wealth(returns: npt.ArrayLike) -> float:
    """Return what 1 became; negative when the account ended in debt.

    >>> wealth([0.5, -0.5])
    0.75
    """
    return float(np.prod(1.0 + checked(returns)))


def cagr(returns: npt.ArrayLike) -> float | None:
    """Compound annual growth rate, ``wealth ** (365 / days) - 1``; None when the account ended in debt.

    >>> round(cagr([0.0] * 364 + [0.21]), 12)
    0.21
    """
    series = checked(returns)
    final = wealth(series)
    if not len(series) or final < 0.0:
        return None
    if final == 0.0:
        return -1.0
    power = math.log(final) * DAYS_PER_YEAR / len(series)
    return math.expm1(power) if power < math.log(np.finfo(np.float64).max) else None


def volatility(returns: npt.ArrayLike) -> float | None:
    """Sample standard deviation (n - 1), x sqrt(365)."""
    series = checked(returns)
    return float(series.std(ddof=1)) * math.sqrt(DAYS_PER_YEAR) if len(series) > 1 else None


def sharpe(returns: npt.ArrayLike) -> float | None:
    """Mean over sample standard deviation, x sqrt(365) [1]_; None where nothing varies."""
    series = checked(returns)
    if not varies(series):
        return None
    return ratio(float(series.mean()) * math.sqrt(DAYS_PER_YEAR), float(series.std(ddof=1)))


def sortino(returns: npt.ArrayLike) -> float | None:
    """Mean over downside deviation, x sqrt(365) [2]_; None without a loss.

    The downside deviation is the root mean square of the losses, over all days.
    """
    series = checked(returns)
    if not (series < 0.0).any():
        return None
    downside = math.sqrt(np.mean(np.minimum(series, 0.0) ** 2))
    return ratio(float(series.mean()) * math.sqrt(DAYS_PER_YEAR), downside)


def drawdowns(returns: npt.ArrayLike) -> Floats:
    """Fall of wealth from its highest value so far, the initial 1 included, (n_days,); at most 0, below -1 in debt."""
    path = np.cumprod(1.0 + checked(returns))
    return path / np.maximum(np.maximum.accumulate(path), 1.0) - 1.0


def max_drawdown(returns: npt.ArrayLike) -> float | None:
    """Deepest drawdown, at most 0.

    >>> max_drawdown([0.5, -0.5, 0.1])
    -0.5
    """
    path = drawdowns(returns)
    return float(path.min()) if len(path) else None


def calmar(returns: npt.ArrayLike) -> float | None:
    """CAGR over the depth of the deepest drawdown, over the whole record [3]_; None where there is none."""
    growth, depth = cagr(returns), max_drawdown(returns)
    return None if growth is None or not depth else ratio(growth, -depth)


def cvar(returns: npt.ArrayLike, tail: float = TAIL) -> float | None:
    """Mean return of the worst ``tail`` of the days [4]_; a day that the tail cuts counts by its share.

    >>> cvar([-0.3, -0.1] + [0.0] * 18), round(cvar([-0.3, -0.1] + [0.0] * 28), 12)
    (-0.3, -0.233333333333)
    """
    series = np.sort(checked(returns))
    if not len(series):
        return None
    mass = np.clip(tail * len(series) - np.arange(len(series)), 0.0, 1.0)
    return float((mass * series).sum() / (tail * len(series)))


def hit_rate(returns: npt.ArrayLike) -> float | None:
    """Share of gains among the days on which the account moved; None where it never did."""
    series = checked(returns)
    moved = np.count_nonzero(series)
    return float(np.count_nonzero(series > 0.0) / moved) if moved else None


def skewness(returns: npt.ArrayLike) -> float | None:
    """Third standardised moment of the sample (n in the denominators)."""
    return _standard_moment(checked(returns), 3)


def kurtosis(returns: npt.ArrayLike) -> float | None:
    """Fourth standardised moment of the sample; 3 for a normal one."""
    return _standard_moment(checked(returns), 4)


def _standard_moment(series: Floats, order: int) -> float | None:
    if not varies(series):
        return None
    shape, _ = _shape(series)
    return ratio(float(np.mean(shape**order)), float(np.mean(shape**2)) ** (order / 2))


def beta(returns: npt.ArrayLike, benchmark: npt.ArrayLike) -> float | None:
    """Slope of the least-squares line of returns on the benchmark's; days without a benchmark are left out."""
    own, other = _paired(returns, benchmark)
    if not varies(other):
        return None
    shape, unit = _shape(other)
    return ratio(float(shape @ own) / float(shape @ shape), unit)


def correlation(returns: npt.ArrayLike, benchmark: npt.ArrayLike) -> float | None:
    """Pearson's correlation with the benchmark; None where either does not vary."""
    own, other = _paired(returns, benchmark)
    if not (varies(own) and varies(other)):
        return None
    (one, _), (another, _) = _shape(own), _shape(other)
    return ratio(float(one @ another), math.sqrt(float(one @ one) * float(another @ another)))


def _paired(returns: npt.ArrayLike, benchmark: npt.ArrayLike) -> tuple[Floats, Floats]:
    own, other = checked(returns), np.asarray(benchmark, dtype=np.float64)
    if own.shape != other.shape:
        raise ValueError("returns and benchmark must cover the same days")
    known = np.isfinite(other)
    return own[known], other[known]


def probabilistic_sharpe(
    sharpe: float, days: int, skewness: float, kurtosis: float, benchmark: float = 0.0
) -> float | None:
    """Probability that the true Sharpe ratio is above a benchmark, [5]_ equation 11.

    None where the estimate of the ratio's variance is not positive.

    Parameters
    ----------
    sharpe, benchmark : float
        Per period, not annual.
    days : int
        Length of the record, at least 2.
    skewness, kurtosis : float
        Of the returns; the kurtosis of a normal sample is 3.

    Examples
    --------
    The paper's hedge fund: 24 months, mean 0.036, standard deviation 0.079, first as if normal, then as it was.

    >>> round(probabilistic_sharpe(0.458, 24, 0.0, 3.0), 3), round(probabilistic_sharpe(0.458, 24, -2.448, 10.164), 3)
    (0.982, 0.913)
    """
    variance = _sharpe_variance(sharpe, skewness, kurtosis)
    if days < 2 or variance <= 0.0:
        return None
    return float(ndtr((sharpe - benchmark) * math.sqrt((days - 1) / variance)))


def _sharpe_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Variance of an estimated Sharpe ratio, x (days - 1)."""
    return 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2


def minimum_track_record(
    sharpe: float, skewness: float, kurtosis: float, benchmark: float = 0.0, confidence: float = 0.95
) -> float | None:
    """Periods after which a Sharpe ratio above the benchmark is believed, [5]_ equation 13; None when it is not above.

    The paper's example, an annual Sharpe ratio of 2 against 1 from normal daily returns, in years of 250 days:

    >>> round(minimum_track_record(2 / 250**0.5, 0.0, 3.0, 1 / 250**0.5) / 250, 2)
    2.73
    """
    if sharpe <= benchmark:
        return None
    variance = _sharpe_variance(sharpe, skewness, kurtosis)
    return finite(1.0 + variance * (float(ndtri(confidence)) / (sharpe - benchmark)) ** 2)


def expected_max_sharpe(trials: int, variance: float) -> float:
    """Sharpe ratio that the best of so many worthless trials is expected to show, [6]_ equation 1 with mean 0.

    Parameters
    ----------
    trials : int
        Independent trials; one trial is no search, and 0 is expected of it.
    variance : float
        Variance of the trials' Sharpe ratios, in the unit wanted squared.

    Examples
    --------
    The paper's: 100 trials, variance 1/2 of annual ratios, 250 days a year.

    >>> round(expected_max_sharpe(100, 0.5 / 250), 4)
    0.1132
    """
    if trials < 1 or variance < 0.0:
        raise ValueError("expected maximum needs a trial and a variance that is not negative")
    if trials == 1:
        return 0.0
    rare, rarer = ndtri(1.0 - 1.0 / trials), ndtri(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * float((1.0 - np.euler_gamma) * rare + np.euler_gamma * rarer)


def deflated_sharpe(
    sharpe: float, days: int, skewness: float, kurtosis: float, trials: int, variance: float
) -> float | None:
    """Probability that the true Sharpe ratio is above what the search alone would show [6]_; all per period.

    The paper's example, an annual 2.5 over five years:

    >>> round(deflated_sharpe(2.5 / 250**0.5, 1250, -3.0, 10.0, 100, 0.5 / 250), 4)
    0.9004
    """
    return probabilistic_sharpe(sharpe, days, skewness, kurtosis, expected_max_sharpe(trials, variance))


def null_sharpe_variance(days: int) -> float:
    """Variance that the annual Sharpe ratios of worthless, normal trials have by chance, 365 / (days - 1).

    Where the spread of the trials is not known, this is the least that it can be expected to be. A spread measured over
    few trials, the chosen one among them, is mostly the chosen one itself: over five trials of three years an annual
    Sharpe ratio of 1.5 is recognised in 41 % of all cases by this variance, and in 11 % by the measured one.

    >>> null_sharpe_variance(366)
    1.0
    """
    if days < 2:
        raise ValueError("a Sharpe ratio needs two days")
    return DAYS_PER_YEAR / (days - 1)


def sharpe_evidence(series: Floats, trials: int = 1, variance: float | None = None) -> Summary:
    """Probabilistic and deflated Sharpe ratio of daily returns, with what they were measured against.

    Parameters
    ----------
    series : (n_days,) array
        Simple daily returns.
    trials : int
        Independent trials that were made, this one counted.
    variance : float, optional
        Variance of their annual Sharpe ratios; None takes :func:`null_sharpe_variance`.

    Returns
    -------
    dict
        ``psr, dsr, expected_max_sharpe`` (annual) and ``min_track_record_days``; None where there is no Sharpe ratio.
    """
    names = ("psr", "dsr", "expected_max_sharpe", "min_track_record_days")
    annual, third, fourth = sharpe(series), skewness(series), kurtosis(series)
    if annual is None or third is None or fourth is None:
        return dict.fromkeys(names)
    daily, days = annual / math.sqrt(DAYS_PER_YEAR), len(series)
    spread = null_sharpe_variance(days) if variance is None else variance
    return {
        "psr": probabilistic_sharpe(daily, days, third, fourth),
        "dsr": deflated_sharpe(daily, days, third, fourth, trials, spread / DAYS_PER_YEAR),
        "expected_max_sharpe": expected_max_sharpe(trials, spread),
        "min_track_record_days": minimum_track_record(daily, third, fourth),
    }


def annual_sum(amounts: npt.ArrayLike | None) -> float | None:
    """Sum of daily shares of NAV, per year; None where there are none."""
    series = checked([] if amounts is None else amounts)
    return float(series.mean()) * DAYS_PER_YEAR if len(series) else None


def summary(
    returns: npt.ArrayLike,
    benchmark: npt.ArrayLike | None = None,
    *,
    turnover: npt.ArrayLike | None = None,
    cost: npt.ArrayLike | None = None,
    borrow: npt.ArrayLike | None = None,
    trials: int = 1,
    trial_variance: float | None = None,
) -> Summary:
    """All metrics of one track record.

    Parameters
    ----------
    returns : (n_days,) array
        Simple daily returns of NAV.
    benchmark : (n_days,) array, optional
        Simple daily returns of the benchmark, NaN where there is none.
    turnover, cost, borrow : (n_days,) arrays, optional
        Shares of NAV per day; reported per year.
    trials : int
        Independent trials that were made, this one counted.
    trial_variance : float, optional
        Variance of their annual Sharpe ratios; None takes the one that worthless trials of this length have by chance,
        see :func:`null_sharpe_variance`.

    Returns
    -------
    dict
        ``days, final_wealth, cagr, volatility, sharpe, psr, dsr, expected_max_sharpe`` (annual) and
        ``min_track_record_days, sortino, calmar, max_drawdown, cvar_95, hit_rate, skewness, kurtosis, best_day,
        worst_day, beta, correlation, turnover, cost, borrow``.
    """
    series = checked(returns)
    return {
        "days": float(len(series)),
        "final_wealth": wealth(series),
        "cagr": cagr(series),
        "volatility": volatility(series),
        "sharpe": sharpe(series),
        **sharpe_evidence(series, trials, trial_variance),
        "sortino": sortino(series),
        "calmar": calmar(series),
        "max_drawdown": max_drawdown(series),
        "cvar_95": cvar(series),
        "hit_rate": hit_rate(series),
        "skewness": skewness(series),
        "kurtosis": kurtosis(series),
        "best_day": float(series.max()) if len(series) else None,
        "worst_day": float(series.min()) if len(series) else None,
        "beta": None if benchmark is None else beta(series, benchmark),
        "correlation": None if benchmark is None else correlation(series, benchmark),
        "turnover": annual_sum(turnover),
        "cost": annual_sum(cost),
        "borrow": annual_sum(borrow),
    }


def summary_by(
    labels: Sequence[str | int], returns: npt.ArrayLike, benchmark: npt.ArrayLike | None = None
) -> Mapping[str, Summary]:
    """Metrics of the days under each label, such as the year or the regime of each day, labels sorted.

    The days of a label need not be neighbours; wealth and drawdown are those of the days strung together.

    >>> {year: figures["final_wealth"] for year, figures in summary_by([2023, 2024, 2024], [0.5, 0.0, -0.5]).items()}
    {'2023': 1.5, '2024': 0.5}
    """
    series = checked(returns)
    names = np.asarray([str(label) for label in labels])
    if names.shape != series.shape:
        raise ValueError("there must be one label per day")
    other = None if benchmark is None else np.asarray(benchmark, dtype=np.float64)
    return {
        str(name): summary(series[names == name], None if other is None else other[names == name])
        for name in np.unique(names)
    }


def deflated(returns: Mapping[str, Floats], trials: int, variance: float | None = None) -> dict[str, Summary]:
    """Deflated Sharpe ratio of each risk profile, given how many things were tried.

    Parameters
    ----------
    returns : mapping of str to (n_days,) array
        Simple daily returns by risk profile.
    trials : int
        Independent trials, this one counted.
    variance : float, optional
        Variance of their annual Sharpe ratios; None where it is not known.
    """
    evidence = {name: sharpe_evidence(series, trials, variance) for name, series in sorted(returns.items())}
    return {name: {key: figures[key] for key in DEFLATED} for name, figures in evidence.items()}


def trial_variance(days: int, earlier: int, spread: float | None) -> float:
    """Variance of annual Sharpe ratios to deflate by: what chance gives, or less where the trials surely vary less.

    Worthless trials vary by chance alone, see :func:`~assay.backtest.statistics.null_sharpe_variance`, and by less
    where they resemble each other. What they vary beyond chance comes from bad trials or short records, and makes none
    of them better: it is not held against the chosen one. A spread of few trials says little, so what counts is the
    upper end of its one-sided 95 % interval, ``spread (n - 1) / chi2(5 %, n - 1)``. ``benchmarks/noise_search.py``
    measures what other rules promote.

    Parameters
    ----------
    days : int
        Length of the chosen record, at least 2.
    earlier : int
        Other trials that were made.
    spread : float or None
        Variance of their annual Sharpe ratios; None where it is not known.

    Examples
    --------
    Nineteen trials that hardly differ, and nineteen of which some are hopeless:

    >>> round(trial_variance(1096, 19, 0.05), 4), round(trial_variance(1096, 19, 1.0), 4)
    (0.0958, 0.3333)
    """
    chance = null_sharpe_variance(days)
    if spread is None or earlier < 2:
        return chance
    freedom = earlier - 1
    return min(chance, spread * freedom / (2.0 * float(gammaincinv(freedom / 2.0, SPREAD_TAIL))))
