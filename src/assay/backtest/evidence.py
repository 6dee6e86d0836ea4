"""The walk-forward's statistics: every book, every year, every regime, and whether the best of them was luck."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv

from assay.backtest.bootstrap import intervals
from assay.backtest.overfitting import overfitting
from assay.backtest.records import BookResult, Floats
from assay.backtest.statistics import Summary, null_sharpe_variance, sharpe_evidence, summary, summary_by

if TYPE_CHECKING:
    from assay.backtest.walk_forward import WalkForwardResult

DEFLATED = ("dsr", "expected_max_sharpe")
"""Depend on what else was tried, and so are no property of a walk-forward; see :func:`deflated`."""

SPREAD_TAIL = 0.05
"""One minus the confidence that trials vary less than by chance."""

PBO_BLOCKS = 16
"""As in the paper; 12,870 combinations."""


def statistics(result: WalkForwardResult, seed: int = 0) -> dict[str, dict[str, Summary]]:
    """Metrics of each risk profile, as run and unguarded.

    Parameters
    ----------
    result : WalkForwardResult
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``as_run`` and ``unguarded``: risk profile to the metrics of :func:`assay.backtest.statistics.summary`, the
        ``average_gross``, 95 % intervals (``sharpe_low``, ``sharpe_high`` and so on), and for those as run ``pbo``, the
        probability that choosing the best of the risk profiles is overfitting.
    """
    pbo = probability_of_overfitting(result.books)

    def metrics(book: BookResult) -> Summary:
        figures = summary(
            book.returns,
            result.benchmark,
            turnover=book.turnover,
            cost=book.cost_share,
            borrow=book.borrow_share,
        )
        for name in DEFLATED:
            del figures[name]
        figures["average_gross"] = float(book.gross.mean())
        for name, interval in intervals(book.returns, seed).items():
            figures[f"{name}_low"], figures[f"{name}_high"] = (None, None) if interval is None else interval
        return figures

    return {
        "as_run": {name: metrics(book) | {"pbo": pbo} for name, book in result.books.items()},
        "unguarded": {name: metrics(book) for name, book in result.unguarded.items()},
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


def probability_of_overfitting(books: Mapping[str, BookResult]) -> float | None:
    """Probability that the best of these books by Sharpe ratio is luck; None for one book or too few days."""
    returns = [book.returns for _, book in sorted(books.items())]
    if len(returns) < 2 or len(returns[0]) < 2 * PBO_BLOCKS:
        return None
    return overfitting(np.column_stack(returns), PBO_BLOCKS).probability


def by_year(result: WalkForwardResult) -> dict[str, Mapping[str, Summary]]:
    """Metrics of each risk profile in each calendar year, as run."""
    years = result.days.astype("datetime64[Y]").astype(str).tolist()
    return {name: summary_by(years, book.returns, result.benchmark) for name, book in result.books.items()}


def by_regime(result: WalkForwardResult) -> dict[str, Mapping[str, Summary]]:
    """Metrics of each risk profile in each regime, as the last decision before each day named it, as run."""
    regimes = result.regimes
    return {name: summary_by(regimes, book.returns, result.benchmark) for name, book in result.books.items()}
