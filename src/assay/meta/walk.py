"""The walk-forward of a portfolio: a tranche book of coins in the sleeves' engine, out of sample at both levels.

On each day the sleeves' decisions of that day, times weights of the sleeves from the days before, are the target of the
day's tranche. What the sleeves' own books earned decides these weights; it is not what the portfolio earned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from assay.backtest.book import Prices
from assay.backtest.choice import NOTHING, Choice
from assay.backtest.walk_forward import Cash, DatedTargets, Grid, HeldWalk, close_of, hold_book, phases, prices_of
from assay.base.constants import Floats, Scalar
from assay.base.errors import GateError
from assay.gates.eligibility import TOO_FEW_SLEEVES
from assay.market.panel import Market
from assay.meta.alignment import Aligned
from assay.meta.allocate import decide
from assay.risk.regime import RegimeName
from assay.settings.model import Costs, Margin, MetaProfile, Profile

RegimeOf = Callable[[np.datetime64], RegimeName]
"""Regime that was known at an instant."""
GRID = "META_GRID"
"""Sleeves that decide on other days cannot share tranches."""


@dataclass(frozen=True)
class Blend:
    """What one risk profile decided on one day.

    Attributes
    ----------
    weights : (n_sleeves,) array
        Zeros where all is cash.
    coins : dict of str to (n_sleeves,) array
        What each sleeve brings to the net weight of a coin, after the limit.
    to_cash : float
        Gross weight that the limit took.
    reason : str or None
        Why all is cash.
    regime : str
    """

    weights: Floats
    coins: Mapping[str, Floats]
    to_cash: float
    reason: str | None
    regime: str

    @property
    def net(self) -> dict[str, float]:
        """Net weight of each coin."""
        return {symbol: float(parts.sum()) for symbol, parts in self.coins.items()}


@dataclass(frozen=True)
class Blends:
    """What all risk profiles decided on one day, as the engine takes it; a portfolio has no guard of its own."""

    profiles: Mapping[str, Blend]
    net: Mapping[str, Mapping[str, float]]
    loss_makers: Collection[str] = ()
    summary: Mapping[str, Scalar] = field(default_factory=dict)
    choice: Choice = NOTHING

    @property
    def unguarded(self) -> Mapping[str, Mapping[str, float]]:
        """The same: the sleeves' guards were on."""
        return self.net


@dataclass(frozen=True)
class Footing:
    """What the book stands on."""

    market: Market
    """Bars up to the last shared day."""
    account: Profile
    """Costs, margin, tranches and risk profiles of the account, in a sleeve's terms."""

    @cached_property
    def prices(self) -> Prices:
        """What books need to know of the market."""
        return prices_of(self.market, self.account.costs)


@dataclass(frozen=True)
class Walk:
    """The walk-forward of a portfolio."""

    sleeves: tuple[str, ...]
    account: Profile
    market: Market
    held: HeldWalk
    blends: Mapping[int, Blends]
    """By the rows of the market that they were decided after; none where the shared days suffice for one decision."""

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return the tables of a sleeve's tranche book; ``decisions`` has a row per decision and risk profile."""
        made = self.held.frames() | {"decisions": self._decisions()}
        return made if self.blends else {name: frame.clear() for name, frame in made.items()}

    def statistics(self) -> dict[str, Any]:
        """Return what a sleeve's statistics are, without a guard."""
        found = phases(self.market, self.account, self.held) if self.blends else None
        return self.held.statistics(found, self.account.walk_forward.seed)

    def returns(self, name: str) -> Floats:
        """Return daily returns of a risk profile on the counted days."""
        return self.held.books[name].returns[self.held.counted :]

    def earned(self, name: str) -> Floats:
        """Return what each sleeve brought in units of the initial account, (n_sleeves,): its share of every coin."""
        book, total = self.held.books[name], np.zeros(len(self.sleeves))
        places = dict(zip((self.held.symbols[at] for at in book.columns.tolist()), book.holding_pnl.T, strict=True))
        source = self.held.held.of_target
        for index, rebalance in enumerate(self.held.rebalances):
            for symbol, parts in self.blends[rebalance.row].profiles[name].coins.items() if self.blends else ():
                net = float(parts.sum())
                if net and symbol in places:
                    total += parts / net * places[symbol][source == index].sum()
        return total

    def _decisions(self) -> pl.DataFrame:
        tranches = dict(zip(self.held.grid.rows, self.held.grid.tranches, strict=True))
        rows = [
            (
                at := close_of(self.market.days[row]),
                name,
                at.date(),
                tranches[row],
                len(blend.coins),
                blend.to_cash,
                blend.reason,
                blend.regime,
                *blend.weights.tolist(),
            )
            for row, blends in self.blends.items()
            for name, blend in blends.profiles.items()
        ]
        schema = {
            "as_of": pl.Datetime("us", "UTC"),
            "risk_profile": pl.String(),
            "fill_date": pl.Date(),
            "tranche": pl.Int64(),
            "held": pl.Int64(),
            "to_cash": pl.Float64(),
            "reason": pl.String(),
            "regime": pl.String(),
            **{f"weight {sleeve}": pl.Float64() for sleeve in self.sleeves},
        }
        return pl.DataFrame(rows, schema=schema, orient="row").sort("as_of", "risk_profile")


def walk(
    aligned: Mapping[str, Aligned],
    profile: MetaProfile,
    footing: Footing,
    regime: RegimeOf,
    *,
    single: bool = False,
    phase: bool = False,
) -> Walk:
    """Decide on every day on which all sleeves did, from the ``train`` days before, and hold it in the day's tranche.

    Parameters
    ----------
    aligned : mapping of str to Aligned
        Shared days of the sleeves by risk profile; the same days for all.
    profile : MetaProfile
    footing : Footing
    regime : callable
        Takes the instant of a decision.
    single : bool
        A single sleeve that varies is held; else such a day is cash, unless the profile allows one.
    phase : bool
        Hold the whole account on the days of the first tranche alone: cheaper, where two books are compared.
    """
    one, market, account = next(iter(aligned.values())), footing.market, footing.account
    turns = _turns(one, profile.train)
    if phase:
        turns = [turn for turn in turns if turn[2] == turns[0][2]]
    risk = account.risk.model_copy(update={"risk_profiles": tuple(aligned)})
    parts = {"tranches": 1} if phase else {}
    grid = account.walk_forward.model_copy(update=parts)
    account = account.model_copy(update={"risk": risk, "walk_forward": grid})
    blends: dict[int, Blends] = {}
    for row, instant, _ in turns:
        mood = regime(instant)
        made = {name: blend(own, row, instant, name, profile, mood, single) for name, own in aligned.items()}
        at = int(np.searchsorted(market.days, one.days[row - 1]))
        blends[at] = Blends(made, {name: blend.net for name, blend in made.items()})
    tranches = tuple(0 if phase else tranche for *_, tranche in turns)
    decided = {row: DatedTargets(row, close_of(market.days[row]), made) for row, made in blends.items()}
    if not decided:  # an account in cash on the last day, of which nothing is told
        row = len(market.days) - 2
        decided, tranches = {row: DatedTargets(row, close_of(market.days[row]), Cash())}, (0,)
    rows = tuple(decided)
    each = dict.fromkeys(tranches)
    same = tuple(tuple(row for row, own in zip(rows, tranches, strict=True) if own == tranche) for tranche in each)
    held = hold_book(market, footing.prices, account, decided, Grid(rows, tranches, same))
    return Walk(one.sleeves, account, market, held, blends)


def _turns(aligned: Aligned, train: int) -> list[tuple[int, np.datetime64, int]]:
    """Return the days on which all sleeves decided: first row that the decision can earn, its instant, its tranche."""
    found = []
    for row in range(train, len(aligned.days)):
        instant = np.datetime64(aligned.days[row], "us")  # the close of the day before
        if all(instant in record.decided for record in aligned.records):
            found.append((row, instant, aligned.records[0].tranches[instant]))
    return found


def blend(
    aligned: Aligned,
    row: int,
    instant: np.datetime64,
    name: str,
    profile: MetaProfile,
    mood: RegimeName,
    single: bool,
) -> Blend:
    """Weigh the sleeves by the days before a row, and net what they decided at an instant.

    Parameters
    ----------
    aligned : Aligned
    row : int
        First row that the decision can earn.
    instant : datetime64
        Of the decision.
    name : str
        Risk profile.
    profile : MetaProfile
    mood : str
        Regime.
    single : bool
        As of :func:`walk`.
    """
    made = decide(aligned.returns[:row], aligned.gross[:row], aligned.sleeves, name, profile, mood, single=single)
    if made.allocation is None:
        return Blend(made.weights, {}, 0.0, TOO_FEW_SLEEVES, mood)
    coins, to_cash = limit(made.weights, [record.decided[instant] for record in aligned.records], profile.max_coin)
    return Blend(made.weights, coins, to_cash, None, mood)


def limit(weights: Floats, holdings: Sequence[Mapping[str, float]], max_coin: float) -> tuple[dict[str, Floats], float]:
    """Multiply coins by their sleeves' weights, and cut what exceeds the limit per coin, on gross before netting.

    Parameters
    ----------
    weights : (n_sleeves,) array
    holdings : list of mappings
        Net weight of each coin in each sleeve.
    max_coin : float

    Returns
    -------
    coins : dict of str to (n_sleeves,) array
        What each sleeve brings to the coin's net weight, after the cut.
    to_cash : float
        Gross weight that was cut.

    Examples
    --------
    >>> coins, to_cash = limit(np.array([0.5, 0.5]), [{"A": -1.0}, {"A": 0.1, "B": 0.1}], 0.11)
    >>> {name: parts.round(9).tolist() for name, parts in coins.items()}, round(to_cash, 9)
    ({'A': [-0.1, 0.01], 'B': [0.0, 0.05]}, 0.44)
    """
    found: dict[str, Floats] = {}
    to_cash = 0.0
    for symbol in sorted({symbol for coins in holdings for symbol in coins}):
        parts = weights * np.array([coins.get(symbol, 0.0) for coins in holdings])
        gross = float(np.abs(parts).sum())
        if gross > max_coin:
            parts, to_cash = parts * (max_coin / gross), to_cash + gross - max_coin
        if gross > 0.0:
            found[symbol] = parts
    return found, to_cash


def account_of(sleeves: Mapping[str, Profile], profile: MetaProfile) -> Profile:
    """Return the settings of a portfolio's account: the sleeves' tranches, never less costs or margin than theirs.

    Raises
    ------
    GateError
        ``META_GRID``: sleeves in other tranches than the first one's, or than ``hold`` says.
    """
    name, first = next(iter(sleeves.items()))
    grid = first.walk_forward
    for other, one in sleeves.items():
        own = one.walk_forward
        if (own.step, own.parts, own.hold) != (grid.step, grid.parts, grid.hold):
            what = f"{other} decides in {own.parts} tranches of {own.step} days, {name} in {grid.parts} of {grid.step}"
            hint = "run both with the same walk_forward.step, hold and tranches"
            raise GateError(what, where=other, hint=hint, code=GRID)
    if profile.hold != grid.step:
        what = f"the sleeves decide in steps of {grid.step} days, and meta.{profile.name}.hold is {profile.hold}"
        raise GateError(what, where=f"meta.{profile.name}.hold", hint=f"set it to {grid.step}", code=GRID)
    costs = [profile.costs, *(one.costs for one in sleeves.values())]
    margins = [one.margin for one in sleeves.values()]
    return first.model_copy(
        update={
            "costs": Costs(**{key: max(getattr(one, key) for one in costs) for key in Costs.model_fields}),
            "margin": Margin(**{key: max(getattr(one, key) for one in margins) for key in Margin.model_fields}),
            "risk": first.risk.model_copy(update={"risk_profiles": profile.risk_profiles}),
        }
    )
