"""What a meta-portfolio is made of: concentration, bets, correlation, and what each sleeve adds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from assay.backtest.statistics import cagr, correlation, max_drawdown, sharpe, volatility
from assay.base.constants import DAYS_PER_YEAR, Floats
from assay.meta.alignment import Aligned
from assay.meta.allocate import SleeveDecision
from assay.meta.walk import Footing, RegimeOf, Walk, walk
from assay.runs.documents import AnalysedProfile, ContributorBook, LeaveOneOut, SleeveShare
from assay.settings.model import MetaProfile

FIGURES = ("sharpe", "cagr", "volatility", "max_drawdown")


def herfindahl(weights: Sequence[float]) -> float | None:
    """Sum of squared shares of |weights|; None where nothing is held.

    >>> herfindahl([0.5, -0.5]), herfindahl([0.0])
    (0.5, None)
    """
    total = math.fsum(abs(weight) for weight in weights)
    return math.fsum((weight / total) ** 2 for weight in weights) if total else None


def effective_bets(weights: Floats, covariance: Floats) -> float | None:
    """Effective number of bets: exp of the entropy of the principal portfolios' shares of variance.

    Parameters
    ----------
    weights : (n_sleeves,) array
    covariance : (n_sleeves, n_sleeves) array

    Returns
    -------
    float or None
        From 1 (one source of risk) to n; None where the portfolio has no variance.

    Notes
    -----
    Meucci (2009), *Managing diversification*, Risk 22(5): with eigenvectors e_i and eigenvalues l_i of the covariance,
    p_i = (e_i'w)^2 l_i / w'Sw, and N = exp(-sum p_i ln p_i).

    Examples
    --------
    >>> effective_bets(np.array([0.5, 0.5]), np.diag([0.04, 0.04])), effective_bets(np.array([1.0, 0.0]), np.eye(2))
    (2.0, 1.0)
    """
    values, vectors = np.linalg.eigh(covariance)
    shares = (vectors.T @ weights) ** 2 * np.maximum(values, 0.0)
    if not shares.sum() > 0.0:
        return None
    shares = shares[shares > 0.0] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def risk_shares(weights: Floats, covariance: Floats) -> Floats | None:
    """Shares of the portfolio's variance, w_i (Sw)_i / w'Sw, (n_sleeves,); None where it has none.

    >>> risk_shares(np.array([0.5, 0.5]), np.diag([0.03, 0.01])).tolist()
    [0.75, 0.25]
    """
    parts = weights * (covariance @ weights)
    total = float(parts.sum())
    return np.asarray(parts / total) if total > 0.0 else None


def analyse(
    aligned: Aligned,
    name: str,
    profile: MetaProfile,
    decided: tuple[SleeveDecision, ContributorBook],
    whole: Walk,
    footing: Footing,
    regime: RegimeOf,
    shorts: Sequence[str],
) -> AnalysedProfile:
    """Analyse one risk profile.

    Parameters
    ----------
    aligned : Aligned
    name : str
        Risk profile.
    profile : MetaProfile
    decided : pair of SleeveDecision and ContributorBook
        The live decision, on sleeves and on coins.
    whole : Walk
        Walk-forward of the portfolio.
    footing : Footing
        For the walk-forwards without a sleeve: one phase of each, set against the same phase of the whole.
    regime : callable
    shorts : sequence of str
        Sleeves that are short.
    """
    decision, book = decided
    nets = [coin.Net for coin in book.coins]
    hhi = herfindahl(nets)
    figures = track(whole.returns(name))
    several = len(aligned.sleeves) > 1

    def one_phase(own: Aligned) -> dict[str, float | None]:
        return track(walk({name: own}, profile, footing, regime, single=True, phase=True).returns(name))

    all_of_it = one_phase(aligned) if several else {}

    def without(names: Sequence[str]) -> LeaveOneOut:
        left = one_phase(aligned.without(names))
        return LeaveOneOut(without=list(names), figures=left, whole=all_of_it, added=_added(all_of_it, left))

    some_shorts = 0 < len(shorts) < len(aligned.sleeves)
    return AnalysedProfile(
        coins=sum(net != 0.0 for net in nets),
        hhi=hhi,
        effective_coins=1.0 / hhi if hhi else None,
        largest_coin=max((coin.Gross for coin in book.coins), default=0.0),
        sleeve_hhi=herfindahl(decision.weights.tolist()),
        effective_bets=effective_bets(decision.weights, covariance(aligned, profile)),
        correlation=correlations(aligned),
        sleeves=_sleeves(aligned, profile, decision, whole.earned(name) if whole.blends else None),
        whole=figures,
        leave_one_out=[without([sleeve]) for sleeve in aligned.sleeves] if several else [],
        without_shorts=without(shorts) if some_shorts else None,
    )


def track(returns: Floats) -> dict[str, float | None]:
    """Sharpe ratio, CAGR, volatility and maximum drawdown of daily returns; None for what is not defined."""
    functions = (sharpe, cagr, volatility, max_drawdown)
    return {key: function(returns) for key, function in zip(FIGURES, functions, strict=True)}


def covariance(aligned: Aligned, profile: MetaProfile) -> Floats:
    """Covariance of what the sleeves earned in the days that the decision reads, (n_sleeves, n_sleeves), per year."""
    known = aligned.returns[-profile.train :]
    return np.atleast_2d(np.cov(known, rowvar=False)) * DAYS_PER_YEAR


def _added(whole: Mapping[str, float | None], rest: Mapping[str, float | None]) -> dict[str, float | None]:
    return {key: _less(whole[key], rest[key]) for key in FIGURES}


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def correlations(aligned: Aligned) -> dict[str, dict[str, float | None]]:
    """Pearson's correlation of each pair of sleeves on the shared days; None where one does not vary."""
    columns = dict(zip(aligned.sleeves, aligned.returns.T, strict=True))
    return {one: {other: correlation(a, b) for other, b in columns.items()} for one, a in columns.items()}


def _sleeves(
    aligned: Aligned, profile: MetaProfile, decision: SleeveDecision, earned: Floats | None
) -> dict[str, SleeveShare]:
    known = aligned.returns[-profile.train :]
    shares = risk_shares(decision.weights, covariance(aligned, profile))
    means = DAYS_PER_YEAR * known.mean(axis=0)
    return {
        sleeve: SleeveShare(
            weight=float(decision.weights[i]),
            volatility=volatility(known[:, i]) or 0.0,
            risk_share=None if shares is None else float(shares[i]),
            return_share=float(decision.weights[i] * means[i]),
            realised=None if earned is None else float(earned[i]),
        )
        for i, sleeve in enumerate(aligned.sleeves)
    }
