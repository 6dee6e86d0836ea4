"""The JSON documents of a run: one schema each, for writer, validator and reader.

Documents of steps 2 to 13 hold no run id, clock, path or duration, so that equal inputs give equal content hashes.
Field names in capitals are the ones that users of this kind of system already parse.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from assay.base import domain
from assay.base.constants import Scalar as Scalar
from assay.base.errors import IntegrityError
from assay.base.files import read_json, write_json
from assay.settings.model import DirectionName, LogicName


class Document(BaseModel):
    """Base of every document: nothing unknown, nothing infinite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class OfAtom(Document):
    """What is said of one atom."""

    symbol: str
    logic: LogicName
    direction: DirectionName

    @property
    def atom(self) -> domain.Atom:
        """The atom."""
        return domain.Atom(self.symbol, self.logic, self.direction)


class Candidate(OfAtom):
    """One candidate with what the scanner saw."""

    scan_direction: DirectionName
    """Side on which a scanner found it."""
    inverted: bool = False
    """Turned to the profile's direction because the profile reads the whole superset."""
    scanners: list[str]
    rank: int
    """Best rank over the scanners that found it, from 1."""
    fields: dict[str, Scalar]
    """What the scanner saw: ratings, close, value_traded, volatility_d and whatever else came."""


class MergedQuote(Document):
    """A pair that gave way to another quote of the same base."""

    symbol: str
    into: str
    scanner: str
    reason: str


class InvalidRecord(Document):
    """A candidate record that cannot be used, and why."""

    symbol: str
    scanner: str
    reason: str


class ScannerCount(Document):
    """What became of one scanner's universe: bars on the day, then each filter in order, then the limit."""

    scanner: str
    universe: int
    matched: int
    """Before the limit, after merging quotes."""
    kept: int
    dropped: dict[str, int]
    """Reason to count: quote, what is no coin by its kind, not_trading, value_traded, volatility, rating, limit, ..."""
    names: dict[str, list[str]] = Field(default_factory=dict)
    """Reason to the symbols that it took; those of ``invalid`` and ``merged_quote`` have records of their own."""


class Superset(Document):
    """``superset/<as_of>-<key8>/portfolio_candidates.json``: all scanners' candidates, consolidated."""

    as_of: str
    head: int
    key: str
    """SHA-256 of the scanners, the universe, the head, the provider, the ratings' edition and the program's version."""
    provider: Literal["ratings", "tradingview"]
    """Who answered."""
    asked: Literal["ratings", "tradingview"] = "ratings"
    """Who was asked."""
    fallback: str | None = None
    """Why another provider answered than was asked; None where the same did."""
    scanners: list[ScannerCount]
    candidates: list[Candidate]
    unique_atoms: int
    duplicates_merged: int
    merged_quotes: list[MergedQuote]
    invalid_records: list[InvalidRecord]


class RawCandidates(Document):
    """Step 2, ``data/portfolio_candidates_raw.json``: this profile's share of the superset."""

    as_of: str
    pool: Literal["own", "superset"]
    superset_sha256: str
    provider: Literal["ratings", "tradingview"] = "ratings"
    """Who answered the scanners."""
    fallback: str | None = None
    """Why another provider answered than was asked; None where the same did."""
    candidates: list[Candidate]
    scanners: list[ScannerCount]
    merged_quotes: list[MergedQuote]
    invalid_records: list[InvalidRecord]


class SymbolHealth(Document):
    """Audit of one symbol."""

    symbol: str
    status: Literal["OK", "GAPS", "STALE", "MISSING", "TOXIC", "DELISTED"]
    cause: str
    observations: int
    first: str | None
    last: str | None
    missing_days: int


class Finding(Document):
    """Something about the data or the run that a reader must know."""

    code: str
    what: str
    count: int = 1
    names: list[str] = Field(default_factory=list)


class Drop(Document):
    """A candidate or column that left, and why."""

    name: str
    reason: str
    detail: str = ""


class DataHealth(Document):
    """Step 3, ``data/data_health.json``."""

    as_of: str
    rows: int
    columns: int
    first: str
    last: str
    benchmark: str
    symbols: list[SymbolHealth]
    dropped: list[Drop]
    missing: list[Drop]
    """Candidates without bars or ratings, with causes."""
    findings: list[Finding]


class Winner(OfAtom):
    """A selected atom."""

    atom_id: str
    scan_direction: DirectionName
    inverted: bool
    alpha_score: float
    rank: int
    cluster_id: int
    admitted: Literal["merit", "relaxation"]
    ratings: dict[str, float | None]
    features: dict[str, float | None]
    probabilities: dict[str, float]


class Winners(Document):
    """Step 4, ``data/portfolio_candidates.json``."""

    as_of: str
    winners: list[Winner]


class Stage(Document):
    """One stage of the funnel; ``out = in + expanded - dropped``."""

    stage: Literal["discovery", "normalization", "deduplication", "selection"]
    n_in: int
    expanded: int
    dropped: int
    n_out: int
    expanded_by: dict[str, int]
    dropped_by: dict[str, int]


class Fate(OfAtom):
    """Where one candidate ended, with exactly one reason."""

    stage: Literal["discovery", "normalization", "deduplication", "selection"]
    reason: str
    """``winner`` or the reason of the drop."""
    detail: str
    alpha_score: float | None = None
    cluster_id: int | None = None
    features: dict[str, float | None] = Field(default_factory=dict)


class SelectionAudit(Document):
    """Step 4, ``data/selection_audit.json``."""

    as_of: str
    stages: list[Stage]
    fates: list[Fate]
    n_winners: int
    wanted: int
    relaxed: int
    relaxed_share: float
    n_clusters: int


class Enriched(Document):
    """Step 5, one winner with what trading it needs."""

    atom_id: str
    symbol: str
    facts: Literal["KNOWN", "UNKNOWN", "ABSENT"]
    filters: dict[str, float | None]
    margin_allowed: bool | None
    median_value_traded: float
    liquidity: float
    beta: float
    correlation: float


class Enrichment(Document):
    """Step 5, ``data/portfolio_enriched.json``."""

    as_of: str
    winners: list[Enriched]
    dropped: list[Drop]
    findings: list[Finding]


class SignViolation(Document):
    """One failed sign check."""

    code: str
    where: str
    what: str


class SignTest(Document):
    """Steps 7 and 11."""

    stage: Literal["pre_opt", "post_opt"]
    ok: bool
    atoms: int
    longs: int
    shorts: int
    values_compared: int
    weights_compared: int
    violations: list[SignViolation]


class Clusters(Document):
    """Step 8, ``data/portfolio_clusters.json``: cluster id to atom ids."""

    threshold: float
    clusters: dict[str, list[str]]


class Event(Document):
    """Something that changed a number on the way: a raised cap, a fallback, a guarded atom."""

    code: str
    what: str
    values: dict[str, Scalar] = Field(default_factory=dict)


class RiskAnalysis(Document):
    """Step 8, ``data/risk_analysis.json``."""

    regime: Literal["QUIET", "NORMAL", "TURBULENT", "CRISIS"]
    regime_inputs: dict[str, float | None]
    rows_used: int
    rows_left_out: int
    condition_number: float
    shrinkage: float
    extra_shrinkage: float
    atom_cap: float
    cluster_cap: float
    loss_makers: dict[str, float]
    """Atom id to mean daily net synthetic return of the guard's window."""
    budget: float
    events: list[Event]


class OptimizedAsset(Document):
    """Weight of one atom; ``Weight`` is what the optimizer gave, ``Net_Weight`` carries the sign of the holding."""

    Symbol: str
    Atom: str
    Logic: LogicName
    Direction: DirectionName
    Weight: float
    Net_Weight: float
    Cluster_ID: int

    @property
    def atom(self) -> domain.Atom:
        """The atom."""
        return domain.Atom(self.Symbol, self.Logic, self.Direction)


class SolverRecord(Document):
    """How a weight was found."""

    name: str
    status: str
    iterations: int
    residual: float | None
    gap: float | None
    fallbacks: list[str]
    projection_distance: float


class OptimizedProfile(Document):
    """One risk profile on atoms."""

    assets: list[OptimizedAsset]
    clusters: dict[str, float]
    cash: float
    budget: float
    atom_cap: float
    cluster_cap: float
    solver: SolverRecord
    events: list[Event]


class Optimized(Document):
    """Step 9, ``data/portfolio_optimized_v2.json``; ``unguarded`` is the same decision with the guard off."""

    as_of: str
    profiles: dict[str, OptimizedProfile]
    unguarded: dict[str, OptimizedProfile]


class Contribution(Document):
    """An atom's share of a physical holding."""

    Atom: str
    Logic: LogicName
    Direction: DirectionName
    Weight: float


class FlattenedAsset(Document):
    """Weight of one coin; ``Weight`` = ``Gross_Weight`` >= 0, ``Net_Weight`` is signed."""

    Symbol: str
    Weight: float
    Net_Weight: float
    Gross_Weight: float
    Direction: Literal["LONG", "SHORT", "FLAT"]
    Cluster_ID: int
    Market: str
    Sector: str
    Atoms: list[Contribution]


class FlattenedProfile(Document):
    """One risk profile on coins."""

    assets: list[FlattenedAsset]
    cash: float
    gross: float
    net: float


class Flattened(Document):
    """Step 10, ``data/portfolio_flattened.json``."""

    as_of: str
    profiles: dict[str, FlattenedProfile]


class HeldPart(Document):
    """What one tranche holds of a coin."""

    tranche: int
    as_of: str
    """Of the decision."""
    age: int
    """Days since."""
    units: float
    weight: float
    """Share of the account's NAV at the last close; of today's decision, as decided."""


class HeldAsset(Document):
    """One coin of a book."""

    Symbol: str
    Net_Weight: float
    """Sum of its parts."""
    Price: float
    """Last close."""
    Held: float
    """Units that the walk-forward's account has, before today's decision is filled."""
    Parts: list[HeldPart]


class HeldBook(Document):
    """The tranche book of one risk profile."""

    assets: list[HeldAsset]
    cash: float
    gross: float
    net: float
    nav: float
    """At the last close, of an account that began with 1."""
    liquidated: bool
    """Closed for good: nothing is held, and nothing will be."""


class HeldBooks(Document):
    """``data/walk_forward/holdings.json``: the book, after today's decision."""

    as_of: str
    tranches: int
    due: int | None
    """Tranche whose turn today's decision is; None where it is nobody's."""
    profiles: dict[str, HeldBook]


class Check(Document):
    """One line of a gate's verdict."""

    code: str
    ok: bool
    checked: int
    what: str


class AtomicValidation(Document):
    """Step 14."""

    run_id: str
    profile: str
    ok: bool
    checks: list[Check]


class WorstPeriod(Document):
    """Period between two rebalances with the lowest return."""

    as_of: str
    ret: float


class LossMakerLosses(Document):
    """What holdings earned until the next rebalance, in units of the initial account; costs and borrow taken off.

    ``from_*`` sums the losing ones only, ``pnl_*`` all: what the guard leaves out may turn and gain. A later loser was
    not a loss maker when it was decided on, and lost over the period.
    """

    from_loss_makers: float
    pnl_loss_makers: float
    from_later_losers: float
    pnl_others: float
    later_losers: int
    holdings: int


class Preserved(Document):
    """One book of the walk-forward: weights as decided, exposure and NAV as they were every day."""

    loss_maker_weight_mean: float
    loss_maker_weight_max: float
    loss_maker_rebalances: int
    """Rebalances at which any loss maker of the guard's window was held."""
    decided_gross_mean: float
    decided_gross_max: float
    average_gross: float
    max_drawdown: float
    final_wealth: float
    liquidated: bool
    """Its margin called the account, or the equity was gone at a close."""
    worst_period: WorstPeriod
    losses: LossMakerLosses


class PreservedProfile(Document):
    """One risk profile, as run and with the guard off."""

    as_run: Preserved
    guard_off: Preserved
    gross_never_above_guard_off: bool


class BookRuin(Document):
    """Whether one risk profile's book, as run, was ruined: closed by its margin, or worth less than a quarter."""

    ruined: bool
    cause: Literal["liquidated", "below_quarter", "none"]
    """The graver where both hold."""
    date: str | None
    """Day on which the cause was first met."""
    lowest_nav: float
    """At any close, of an account that began with 1."""
    lowest_level: float | None = None
    """Lowest margin level that was looked at; None where nothing was ever owed, or nobody looked."""
    worst_level: float | None = None
    """The same with every coin at its worst at once."""

    @property
    def told(self) -> str:
        """What happened to a ruined book, in words."""
        how = "was liquidated" if self.cause == "liquidated" else "fell below a quarter of its capital"
        return f"{how} on {self.date}, its lowest NAV {self.lowest_nav:.2f} of 1"


class StandingExposure(Document):
    """The live decision: gross and weight on loss makers, as run and with the guard off."""

    gross: float
    gross_guard_off: float
    loss_maker_weight: float
    loss_maker_weight_guard_off: float


class Baseline(Document):
    """What a plain book earned on the same days, in the same tranches, with costs, at the gross of each decision."""

    final_wealth: float
    sharpe: float | None
    max_drawdown: float | None
    lost: bool
    """Nothing was left."""
    ahead: float | None
    """The sleeve's mean log growth a year less this one's; None where either lost everything."""
    ahead_low: float | None
    ahead_high: float | None
    """95 %, from a paired block bootstrap of days."""
    loses: bool
    """The sleeve ends below it."""
    clearly: bool
    """The interval leaves no doubt on which side."""


class Exposure(Document):
    """The sleeve's daily returns on the benchmark's: intercept a year and slope, 95 % by Newey and West."""

    alpha: float
    alpha_low: float
    alpha_high: float
    beta: float
    beta_low: float
    beta_high: float
    days: int
    lag: int


class Lots(Document):
    """The selection among books that were drawn by lot: equal weights, same days and gross, no cost."""

    draws: int
    seed: int
    decisions: int
    """That chose anybody."""
    without_choice: int
    """Of these, those whose winners were all that could be drawn."""
    percentile: float | None
    """Share of the draws with a lower Sharpe ratio, in percent, ties half; None where there was no choice."""
    sharpe: float | None
    """Of the winners in equal weights."""
    drawn_low: float | None
    drawn_median: float | None
    drawn_high: float | None
    """Lowest, middle and highest Sharpe ratio of the draws."""
    cost: float
    drawn_cost: float
    """What turnover would have cost a year, of the winners and of a draw on average."""


class AtCapital(Document):
    """A book that began with so much money, each order moving its price."""

    capital: float
    final_wealth: float
    """Of 1."""
    growth: float | None
    orders: int
    untradable: dict[str, int]
    """Symbol to the number of its orders that exceed a tenth of a day's value traded."""


class Capacity(Document):
    """A model: slippage = half spread + factor x volatility x sqrt(order / value traded)."""

    half_spread: float
    factor: float
    flat_growth: float | None
    """Mean log growth a year without an impact; None where everything was lost."""
    capacity: float | None
    """Largest of the capitals 1, 2, 5, 10, ... at which more than half of that remains; None where it is not positive,
    0 where not even 1,000 carry it."""
    at: list[AtCapital]


class Legs(Document):
    """Where the result came from, in parts of the NAV before the first counted day; they add up to its change."""

    long: float
    short: float
    cost: float
    carry: float
    total: float


class Worth(Document):
    """Step 12, ``data/walk_forward/worth.json``: what the decisions of the headline's book were worth."""

    risk_profile: str
    first: str
    last: str
    days: int
    final_wealth: float
    sharpe: float | None
    mean_gross: float
    """Of the decisions."""
    baselines: dict[str, Baseline]
    """``benchmark``, ``candidates``, ``winners``, ``inverse_volatility``; none where nothing was ever held."""
    exposure: Exposure | None
    lots: Lots | None
    capacity: Capacity | None
    legs: Legs


class Ruins(Document):
    """What became of the books of all risk profiles."""

    ruin: dict[str, BookRuin] = Field(default_factory=dict)
    """By risk profile; a document of format 1 has none."""

    @property
    def ruined(self) -> list[str]:
        """Risk profiles whose books were ruined."""
        return [name for name, found in self.ruin.items() if found.ruined]

    def barred(self, headline: str) -> list[str]:
        """Risk profiles that nobody may hold unless their ruin is accepted: all of them where the headline's is one."""
        return list(self.ruin) if headline in self.ruined else self.ruined


class CapitalPreservation(Ruins):
    """Step 13, ``data/capital_preservation.json``."""

    guard_enabled: bool
    guard_days: int
    rebalances: int
    rebalances_in_cash: int
    """Rebalances after which no risk profile held anything."""
    mean_loss_makers: float
    """Loss makers among a decision's winners, mean over the rebalances."""
    no_loss_maker_held: bool
    """Over every risk profile and rebalance, as run."""
    standing: dict[str, StandingExposure]
    profiles: dict[str, PreservedProfile]


# --- portfolios of sleeves --------------------------------------------------------------------------------------------
# They name sleeves by profile. Run ids stand in the manifest and in meta_sleeves.json only, so that sleeves that were
# run twice with equal results give equal weights and equal content hashes everywhere else.

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
    ruined: list[str] = Field(default_factory=list)
    """Risk profiles in which it is left out, since its own book of that name was ruined; another is its headline."""
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
    """Sleeves that the days which the decision reads leave out: no variance, or too little invested on average."""
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
    """Sleeves that are left out."""
    mean_gross: dict[str, float] = Field(default_factory=dict)
    """Mean gross of each sleeve over the days that the decision reads; its returns are weighed per unit of it."""
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
    """Its share of what the book's coins earned in the walk-forward, in units of the initial account."""


class LeaveOneOut(Document):
    """One phase of the portfolio without one sleeve, or without all short ones."""

    without: list[str]
    figures: dict[str, float | None]
    """Sharpe, CAGR, volatility, maximum drawdown; None where nothing is defined."""
    whole: dict[str, float | None] = Field(default_factory=dict)
    """The same of that phase of the whole portfolio; a document of format 1 has none."""
    added: dict[str, float | None]
    """The whole less this one."""


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
    leave_one_out: list[LeaveOneOut]
    without_shorts: LeaveOneOut | None
    """None where no sleeve is short, or every one is."""


class Analysis(Ruins):
    """Step 9, ``data/meta_analysis.json``."""

    as_of: str
    profiles: dict[str, AnalysedProfile]


@dataclass(frozen=True)
class Pin:
    """One sleeve of a portfolio as it was when the run was claimed; hashes are empty where it was not sealed."""

    sleeve: str
    """Profile that the portfolio asks for."""
    run_id: str
    """Its run; empty where there is none."""
    head: str = ""
    """Hash of the last line of its ledger."""
    seal: str = ""
    """Hash of its seal, by its registration."""
    manifest: str = ""
    """Hash of what was asked for, by its registration."""


# --- files ------------------------------------------------------------------------------------------------------------

D = TypeVar("D")


def load(kind: type[D], path: Path) -> D:
    """Read and validate a document.

    Raises
    ------
    IntegrityError
        If the file is missing, is not JSON or breaks its schema.
    """
    return validated(kind, read_json(path), path)


def validated(kind: type[D], value: Any, path: Path) -> D:
    """Make a document of plain JSON values; IntegrityError, naming the file, if they break its schema."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(
            f"document breaks its schema at {place}: {first['msg']}", where=str(path), hint="run: assay verify"
        ) from error


def save(document: Document, path: Path) -> str:
    """Write a document; return the SHA-256 of its bytes."""
    return write_json(path, document.model_dump(mode="json"))


def as_plain(document: Document) -> dict[str, Any]:
    """Return a document as plain JSON values."""
    return document.model_dump(mode="json")
