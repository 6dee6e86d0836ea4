"""Step 5: what trading each winner needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from assay.alpha.features import LIQUID_VALUE, median_value_traded
from assay.base.constants import Floats
from assay.base.domain import format_instant
from assay.market.instruments import InstrumentFact, facts
from assay.market.panel import Market
from assay.market.returns import ReturnsMatrix
from assay.runs.documents import Drop, Enriched, Enrichment, Finding, Winner

FILTERS = ("tick_size", "step_size", "min_qty", "min_notional")
UNKNOWN_FACTS = "INSTRUMENTS_UNKNOWN"
NOT_TRADING = "INSTRUMENT_NOT_TRADING"
NO_MARGIN = "MARGIN_NOT_ALLOWED"
ABSENT_FACTS = "INSTRUMENT_ABSENT"
NO_VALUE_TRADED = "NO_VALUE_TRADED"
NO_BETA = "NO_BETA"


def enrich(
    winners: Sequence[Winner],
    market: Market,
    returns: ReturnsMatrix,
    *,
    feature_bars: int = 120,
    estimation_rows: int = 252,
) -> Enrichment:
    """Give every winner its instrument facts, liquidity and relation to the benchmark, or drop it with a reason.

    Parameters
    ----------
    winners : sequence of Winner
        From natural selection.
    market : Market
        What is known at the decision.
    returns : ReturnsMatrix
        Physical returns, the benchmark's among them.
    feature_bars : int
        Last rows of the market whose median value traded is taken.
    estimation_rows : int
        Last rows, of those that winner and benchmark share, on which beta and correlation are estimated.

    Returns
    -------
    Enrichment
        Drops: ``INSTRUMENT_ABSENT``, ``NO_VALUE_TRADED``, ``NO_BETA``. Findings: ``INSTRUMENTS_UNKNOWN`` (the source
        has no table of instruments; orders will refuse these), ``INSTRUMENT_NOT_TRADING``, ``MARGIN_NOT_ALLOWED`` (a
        short of a pair that cannot be borrowed).
    """
    columns = [market.column(winner.symbol) for winner in winners]
    traded = median_value_traded(market["value_traded"][:, columns], feature_bars, len(winners))
    benchmark = returns[returns.benchmark]
    known = facts(market, [winner.symbol for winner in winners])
    kept: list[Enriched] = []
    dropped: list[Drop] = []
    for winner, value in zip(winners, traded, strict=True):
        beta, correlation = relation(returns[winner.symbol], benchmark, estimation_rows)
        fact = known[winner.symbol]
        drop = _drop(winner, fact, value, beta)
        if drop is not None:
            dropped.append(drop)
        else:
            kept.append(_enriched(winner, fact, float(value), beta, correlation))
    return Enrichment(
        as_of=format_instant(market.as_of), winners=kept, dropped=dropped, findings=_findings(winners, known)
    )


def relation(returns: Floats, benchmark: Floats, rows: int = 252) -> tuple[float, float]:
    """Least-squares beta and Pearson correlation of one stream to the benchmark.

    Parameters
    ----------
    returns, benchmark : (n_days,) array
        Simple returns per day; NaN where there is no observation.
    rows : int
        Last rows that both have.

    Returns
    -------
    beta, correlation : float
        Both NaN where fewer than two rows are shared or the benchmark does not move; a stream that does not move has
        beta and correlation 0.

    Examples
    --------
    >>> relation(np.array([np.nan, 0.02, -0.04, 0.06]), np.array([0.5, 0.01, -0.02, 0.03]))
    (2.0, 1.0)
    """
    both = np.flatnonzero(~np.isnan(returns) & ~np.isnan(benchmark))[-rows:]
    y, x = returns[both], benchmark[both]
    if len(both) < 2 or x.max() == x.min():
        return float("nan"), float("nan")
    if y.max() == y.min():
        return 0.0, 0.0
    y, x = y - y.mean(), x - x.mean()
    beta = float((x * y).sum() / (x * x).sum())
    correlation = float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))
    return beta, min(1.0, max(-1.0, correlation))


def _drop(winner: Winner, fact: InstrumentFact, value: float, beta: float) -> Drop | None:
    faults = (
        (fact.state == "ABSENT", ABSENT_FACTS, "the source's instruments do not have this symbol at the decision"),
        (np.isnan(value), NO_VALUE_TRADED, "no recent bar has a value traded"),
        (np.isnan(beta), NO_BETA, "winner and benchmark share too few rows, or the benchmark does not move on them"),
    )
    return next((Drop(name=winner.atom_id, reason=code, detail=what) for holds, code, what in faults if holds), None)


def _enriched(winner: Winner, fact: InstrumentFact, value: float, beta: float, correlation: float) -> Enriched:
    return Enriched(
        atom_id=winner.atom_id,
        symbol=winner.symbol,
        facts=fact.state,
        filters={name: getattr(fact, name) for name in FILTERS},
        margin_allowed=fact.margin_allowed,
        median_value_traded=value,
        liquidity=min(1.0, value / LIQUID_VALUE),
        beta=beta,
        correlation=correlation,
    )


def _findings(winners: Sequence[Winner], known: Mapping[str, InstrumentFact]) -> list[Finding]:
    unknown = [winner for winner in winners if known[winner.symbol].state == "UNKNOWN"]
    halted = [winner for winner in winners if known[winner.symbol].status not in ("TRADING", None)]
    shorts = [winner for winner in winners if winner.direction == "SHORT"]
    bare = [winner for winner in shorts if known[winner.symbol].margin_allowed is False]
    told = (
        (UNKNOWN_FACTS, "the source has no table of instruments: filters, status and margin are not known", unknown),
        (NOT_TRADING, "the exchange does not let these pairs trade at the decision", halted),
        (NO_MARGIN, "the exchange does not let these pairs be borrowed, so that their shorts cannot be opened", bare),
    )
    return [
        Finding(code=code, what=what, count=len(who), names=sorted(winner.atom_id for winner in who))
        for code, what, who in told
        if who
    ]
