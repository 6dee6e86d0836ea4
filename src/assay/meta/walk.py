"""The walk-forward of a meta-portfolio: out of sample at both levels.

A sleeve's daily return was earned by decisions that knew nothing of that day; the weights of the sleeves on a day come
from earlier days only. What exceeds the limit per coin at a decision is cash until the next one: a sleeve's return
then counts by the share of its holdings that is kept, which is exact where the cut coin is all that it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from assay.backtest.bootstrap import intervals
from assay.backtest.statistics import summary
from assay.base.constants import Days, Floats
from assay.gates.eligibility import TOO_FEW_SLEEVES
from assay.meta.alignment import Aligned
from assay.meta.allocate import decide
from assay.risk.regime import RegimeName
from assay.settings.model import MetaProfile

RegimeOf = Callable[[np.datetime64], RegimeName]
"""Regime that was known at an instant."""

DEFLATED = ("dsr", "expected_max_sharpe")
"""Depend on what else was tried."""


@dataclass(frozen=True)
class Period:
    """One decision and what it held.

    Attributes
    ----------
    row : int
        First day that it holds, among the shared days.
    weights : (n_sleeves,) array
        As decided; zeros for a period in cash.
    kept : (n_sleeves,) array
        Share of each sleeve's holdings that the limit per coin left.
    coins : dict of str to float
        Net weight of each coin, after the limit.
    to_cash : float
        Gross weight that the limit took.
    reason : str or None
        Why it is a period in cash.
    regime : str
    """

    row: int
    weights: Floats
    kept: Floats
    coins: Mapping[str, float]
    to_cash: float
    reason: str | None
    regime: str


@dataclass(frozen=True)
class Walk:
    """The walk-forward of one risk profile.

    Attributes
    ----------
    days : (n_days,) datetime64[D] array
        Out-of-sample days; none where the shared days only suffice for a decision.
    returns, nav, gross, net, turnover, cost : (n_days,) arrays
        As in a sleeve's walk-forward; ``gross`` and ``net`` are exposures at the close.
    earned : (n_sleeves,) array
        Sum over the days of weight x kept x return.
    periods : tuple of Period
    """

    days: Days
    returns: Floats
    nav: Floats
    gross: Floats
    net: Floats
    turnover: Floats
    cost: Floats
    earned: Floats
    periods: tuple[Period, ...]


def walk(aligned: Aligned, name: str, profile: MetaProfile, regime: RegimeOf, *, single: bool = False) -> Walk:
    """Decide every ``hold`` days from the ``train`` days before, and hold.

    Parameters
    ----------
    aligned : Aligned
        Shared days of the sleeves.
    name : str
        Risk profile.
    profile : MetaProfile
    regime : callable
        Takes the instant of a decision.
    single : bool
        A single sleeve that varies is held; else such a period is in cash, unless the profile allows one.
    """
    n_days = len(aligned.days)
    periods = tuple(
        _period(aligned, row, name, profile, regime, single) for row in range(profile.train, n_days, profile.hold)
    )
    first = profile.train
    size = max(0, n_days - first)
    book = _Rows(np.zeros((6, size)), np.zeros(len(aligned.sleeves)))
    wealth, amounts = 1.0, np.zeros(len(aligned.sleeves))
    for period in periods:
        until = min(period.row + profile.hold, n_days)
        wealth, amounts = _hold(aligned, period, until, profile, (wealth, amounts), book)
    returns, nav, gross, net, turnover, cost = book.rows
    return Walk(aligned.days[first:], returns, nav, gross, net, turnover, cost, book.earned, periods)


@dataclass(frozen=True)
class _Rows:
    """Rows returns, nav, gross, net, turnover, cost, filled day by day."""

    rows: Floats
    earned: Floats


def _hold(
    aligned: Aligned, period: Period, until: int, profile: MetaProfile, account: tuple[float, Floats], book: _Rows
) -> tuple[float, Floats]:
    """Move capital at the close before the period's first day, then let it drift; return wealth and amounts."""
    wealth, amounts = account
    wanted = wealth * period.weights * period.kept
    exposure = aligned.gross[period.row - 1]
    traded = float(np.abs(wanted - amounts) @ exposure)
    fee = traded * profile.costs.per_side
    amounts, cash = wanted, wealth - float(wanted.sum()) - fee
    signs = np.array([_sign(record.held(_instant(aligned, period.row))) for record in aligned.records])
    for row in range(period.row, until):
        before = wealth
        change = amounts * aligned.returns[row]
        book.earned[:] += change / before
        amounts = amounts + change
        wealth = cash + float(amounts.sum())
        gross = float(amounts @ aligned.gross[row]) / wealth if wealth else 0.0
        net = float(amounts @ (signs * aligned.gross[row])) / wealth if wealth else 0.0
        began = row == period.row
        book.rows[:, row - profile.train] = (
            wealth / before - 1.0,
            wealth,
            gross,
            net,
            traded / before if began else 0.0,
            fee / before if began else 0.0,
        )
    return wealth, amounts


def _sign(coins: Mapping[str, float]) -> float:
    """Net over gross of a sleeve's holdings."""
    gross = sum(abs(weight) for weight in coins.values())
    return sum(coins.values()) / gross if gross else 0.0


def _instant(aligned: Aligned, row: int) -> np.datetime64:
    """Close of the day before a row: what is known when the row's weights are decided."""
    return np.datetime64(aligned.days[row], "us")


def _period(aligned: Aligned, row: int, name: str, profile: MetaProfile, regime: RegimeOf, single: bool) -> Period:
    instant = _instant(aligned, row)
    mood = regime(instant)
    known = aligned.returns[:row], aligned.gross[:row]
    made = decide(*known, aligned.sleeves, name, profile, mood, single=single)
    if made.allocation is None:
        return Period(row, made.weights, np.ones(len(made.weights)), {}, 0.0, TOO_FEW_SLEEVES, mood)
    kept, coins, to_cash = limit(made.weights, [record.held(instant) for record in aligned.records], profile.max_coin)
    return Period(row, made.weights, kept, coins, to_cash, None, mood)


def limit(
    weights: Floats, holdings: list[Mapping[str, float]], max_coin: float
) -> tuple[Floats, dict[str, float], float]:
    """Cut what exceeds the limit per coin.

    Parameters
    ----------
    weights : (n_sleeves,) array
    holdings : list of mappings
        Net weight of each coin in each sleeve.
    max_coin : float
        Limit on the gross weight of a coin.

    Returns
    -------
    kept : (n_sleeves,) array
        Share of each sleeve's gross weight that is left; 1 for a sleeve that holds nothing.
    coins : dict of str to float
        Net weight of each coin, after the cut.
    to_cash : float
        Gross weight that was cut.

    Examples
    --------
    >>> kept, coins, to_cash = limit(np.array([0.5, 0.5]), [{"A": -1.0}, {"A": 0.1, "B": 0.1}], 0.11)
    >>> kept.round(9).tolist(), {name: round(net, 9) for name, net in coins.items()}, round(to_cash, 9)
    ([0.2, 0.6], {'A': -0.09, 'B': 0.05}, 0.44)
    """
    pairs = list(zip(weights.tolist(), holdings, strict=True))
    symbols = sorted({symbol for coins in holdings for symbol in coins})
    gross = {symbol: sum(weight * abs(coins.get(symbol, 0.0)) for weight, coins in pairs) for symbol in symbols}
    factor = {symbol: max_coin / size if size > max_coin else 1.0 for symbol, size in gross.items()}
    net = {
        symbol: factor[symbol] * sum(weight * coins.get(symbol, 0.0) for weight, coins in pairs) for symbol in symbols
    }
    return (
        np.array([_share(coins, factor) for coins in holdings]),
        {symbol: weight for symbol, weight in net.items() if gross[symbol] > 0.0},
        float(sum(size * (1.0 - factor[symbol]) for symbol, size in gross.items())),
    )


def _share(coins: Mapping[str, float], factor: Mapping[str, float]) -> float:
    gross = sum(abs(weight) for weight in coins.values())
    return sum(abs(weight) * factor[symbol] for symbol, weight in coins.items()) / gross if gross else 1.0


# --- tables -----------------------------------------------------------------------------------------------------------


def frames(walks: Mapping[str, Walk], sleeves: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    """Return ``returns``, ``weights`` (coins) and ``decisions`` of all risk profiles, as a sleeve's walk-forward does.

    ``decisions`` has a row per decision and risk profile, with the weight of each sleeve and the share kept of it.
    """
    return {
        "returns": pl.concat([_returns(name, one) for name, one in walks.items()]).sort("risk_profile", "date"),
        "weights": _weights(walks),
        "decisions": _decisions(walks, sleeves),
    }


def _returns(name: str, one: Walk) -> pl.DataFrame:
    zeros = np.zeros(len(one.days))
    return pl.DataFrame(
        {
            "date": one.days,
            "risk_profile": [name] * len(one.days),
            "nav": one.nav,
            "ret": one.returns,
            "gross": one.gross,
            "net": one.net,
            "cash": one.nav * (1.0 - one.gross),
            "turnover": one.turnover,
            "cost": one.cost,
            "borrow": zeros,  # the sleeves' own returns hold it
        },
        schema_overrides={"risk_profile": pl.String()},
    )


def _moment(one: Walk, period: Period) -> Any:
    return one.days[period.row - one.periods[0].row].astype("datetime64[us]").item()


def _weights(walks: Mapping[str, Walk]) -> pl.DataFrame:
    rows = [
        (_moment(one, period), name, symbol, weight)
        for name, one in walks.items()
        for period in one.periods
        for symbol, weight in sorted(period.coins.items())
    ]
    schema = {
        "as_of": pl.Datetime("us"),
        "risk_profile": pl.String(),
        "symbol": pl.String(),
        "net_weight": pl.Float64(),
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(pl.col("as_of").dt.replace_time_zone("UTC")).sort("as_of", "risk_profile", "symbol")


def _decisions(walks: Mapping[str, Walk], sleeves: tuple[str, ...]) -> pl.DataFrame:
    rows = [
        (
            _moment(one, period),
            name,
            _moment(one, period).date(),
            len(period.coins),
            period.to_cash,
            period.reason,
            period.regime,
            *period.weights.tolist(),
            *period.kept.tolist(),
        )
        for name, one in walks.items()
        for period in one.periods
    ]
    schema = {
        "as_of": pl.Datetime("us"),
        "risk_profile": pl.String(),
        "fill_date": pl.Date(),
        "held": pl.Int64(),
        "to_cash": pl.Float64(),
        "reason": pl.String(),
        "regime": pl.String(),
        **{f"weight {sleeve}": pl.Float64() for sleeve in sleeves},
        **{f"kept {sleeve}": pl.Float64() for sleeve in sleeves},
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(pl.col("as_of").dt.replace_time_zone("UTC")).sort("as_of", "risk_profile")


def statistics(walks: Mapping[str, Walk], seed: int = 0) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return ``as_run``: risk profile to the metrics that a sleeve's walk-forward has."""
    made = {}
    for name, one in walks.items():
        figures = summary(one.returns, turnover=one.turnover, cost=one.cost)
        for key in DEFLATED:
            del figures[key]
        figures["average_gross"] = float(one.gross.mean()) if len(one.gross) else None
        for key, interval in (intervals(one.returns, seed) if len(one.returns) else {}).items():
            figures[f"{key}_low"], figures[f"{key}_high"] = (None, None) if interval is None else interval
        made[name] = figures
    return {"as_run": made}
