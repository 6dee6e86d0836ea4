"""The JSON documents of a meta-portfolio: one schema each, for writer, gates and report.

They name sleeves by profile. Run ids stand in the manifest and in ``meta_sleeves.json`` only, so that sleeves that were
run twice with equal results give equal weights and equal content hashes everywhere else.
"""

from __future__ import annotations

from typing import Literal

from assay.runs.documents import Document, Event, SolverRecord
from assay.settings.model import DirectionName, LogicName

SleeveDirection = Literal["LONG", "SHORT", "MIXED"]


class SleeveFacts(Document):
    """A sleeve that was accepted."""

    sleeve: str
    """Profile of the sleeve."""
    run_id: str
    head: str
    """Hash of the last line of its ledger."""
    seal: str
    as_of: str
    age_days: float
    """From its ``as_of`` to the portfolio's."""
    direction: SleeveDirection
    is_meta: bool
    lake: str
    lake_head: int
    checked: int
    """Comparisons that accepting it took."""


class Refusal(Document):
    """A run that was looked at and not taken."""

    sleeve: str
    run_id: str
    """Empty where there is no run."""
    code: str
    reason: str


class Sleeves(Document):
    """Step 2, ``data/meta_sleeves.json``."""

    as_of: str
    accepted: list[SleeveFacts]
    refused: list[Refusal]


class SleeveDays(Document):
    """What alignment did to one sleeve."""

    first: str
    last: str
    days: int
    left_out: int
    """Its days that not all sleeves have."""


class AlignedProfile(Document):
    """Shared days of one risk profile."""

    first: str
    last: str
    days: int
    sleeves: dict[str, SleeveDays]
    in_cash: list[str]
    """Sleeves without variance in the days that the decision reads: left out."""
    zero_days: dict[str, int]
    """Shared days on which a sleeve's return is exactly 0."""


class Alignment(Document):
    """Step 3, ``data/meta_alignment.json``."""

    as_of: str
    profiles: dict[str, AlignedProfile]
    shortfalls: list[Event]


class SleeveWeight(Document):
    """Weight of one sleeve."""

    Sleeve: str
    Direction: SleeveDirection
    Weight: float


class MetaProfileWeights(Document):
    """One risk profile on sleeves; a sleeve in cash stands with weight 0."""

    sleeves: list[SleeveWeight]
    cash: float
    lower: float
    upper: float
    in_cash: list[str]
    regime: str
    solver: SolverRecord
    events: list[Event]


class MetaOptimized(Document):
    """Step 5, ``data/meta_optimized.json``."""

    as_of: str
    profiles: dict[str, MetaProfileWeights]


class Contributor(Document):
    """One atom of one sleeve, as a share of the portfolio's capital."""

    Sleeve: str
    Path: list[str]
    """Profiles from the portfolio's own sleeve down to the one that holds the atom."""
    Symbol: str
    Atom: str
    Logic: LogicName
    Direction: DirectionName
    Weight: float
    """Sleeve weight x weight in the sleeve."""
    Held: float
    """What concentration left of it."""


class Netting(Document):
    """One coin: gross = long + short, net = long - short, netted = gross - abs(net), all after concentration."""

    Symbol: str
    Before: float
    """Gross before concentration."""
    To_Cash: float
    """What exceeded the limit per coin."""
    Gross: float
    Long: float
    Short: float
    Net: float
    Netted: float
    Long_Sleeves: list[str]
    Short_Sleeves: list[str]


class ContributorBook(Document):
    """One risk profile: where every share of capital came from and went.

    ``before_netting`` = sum of ``sleeve_weight`` x ``sleeve_gross``; ``gross`` = ``before_netting`` -
    ``concentration_cash``; ``abs_net + netted`` = ``gross``; ``gross`` + ``cash`` = 1.
    """

    sleeve_weight: dict[str, float]
    sleeve_gross: dict[str, float]
    before_netting: float
    concentration_cash: float
    gross: float
    abs_net: float
    netted: float
    net: float
    cash: float
    sleeve_cash: float
    """Cash of the sleeves, by their weights."""
    unallocated: float
    """1 - sum of the sleeves' weights."""
    contributors: list[Contributor]
    coins: list[Netting]


class Contributors(Document):
    """Step 6, ``data/meta_contributors.json``."""

    as_of: str
    max_coin: float
    profiles: dict[str, ContributorBook]


class SleeveShare(Document):
    """What one sleeve is to the portfolio."""

    weight: float
    volatility: float
    """Annual, of the days that the decision read."""
    risk_share: float | None
    """Share of the portfolio's variance; the shares sum to 1."""
    return_share: float | None
    """Weight x mean return per year, of the days that the decision read."""
    realised: float | None
    """Sum over the walk-forward of weight x return."""


class LeftOut(Document):
    """The walk-forward of the same portfolio without one sleeve, or without all short ones."""

    without: list[str]
    figures: dict[str, float | None]
    """Sharpe, CAGR, volatility, maximum drawdown; None where nothing is defined."""
    added: dict[str, float | None]
    """The whole portfolio's figure less this one."""


class AnalysedProfile(Document):
    """One risk profile."""

    coins: int
    hhi: float | None
    """Sum of squared shares of the coins in what is held net; None where nothing is."""
    effective_coins: float | None
    """1 / HHI."""
    largest_coin: float
    sleeve_hhi: float | None
    effective_bets: float | None
    """Exponential of the entropy of the principal portfolios' shares of variance (Meucci 2009)."""
    correlation: dict[str, dict[str, float | None]]
    """Pearson's, of the sleeves' shared days."""
    sleeves: dict[str, SleeveShare]
    whole: dict[str, float | None]
    leave_one_out: list[LeftOut]
    without_shorts: LeftOut | None
    """None where no sleeve is short, or every one is."""


class Analysis(Document):
    """Step 9, ``data/meta_analysis.json``."""

    as_of: str
    profiles: dict[str, AnalysedProfile]
