"""What a profile can say, with the canon's values as defaults, and for each setting its meaning, unit and range.

A setting that is not here does not exist: unknown keys are refused by name. Every model is frozen, so that a run cannot
change what it was asked for. What stands here in words is what ``assay profiles show``, ``assay new profile`` and the
reference of settings say: :mod:`assay.settings.reference` reads it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from assay.base.domain import DEFAULT_EDITION, Edition


class Unit(str):
    """What a number counts or measures; of several that a field carries, the last."""

    __slots__ = ()


DAYS, BARS, SECONDS, PERCENT = Unit("days"), Unit("bars"), Unit("seconds"), Unit("percent")
A_YEAR, TIMES, NUMBER = Unit("share a year"), Unit("times"), Unit("number")
OF_ACCOUNT = Unit("share of the account")

Share = Annotated[float, Field(ge=0.0, le=1.0), Unit("share")]
Cap = Annotated[float, Field(gt=0.0, le=1.0), OF_ACCOUNT]
Positive = Annotated[float, Field(gt=0.0), NUMBER]
NonNegative = Annotated[float, Field(ge=0.0), NUMBER]
Count = Annotated[int, Field(ge=1), NUMBER]


@dataclass(frozen=True)
class Strength:
    """What a setting does to the rules of the canon; every setting that decides something carries one.

    Attributes
    ----------
    weaker : {"less", "more", "other"} or None
        Which values make a rule weaker than the canon's value does; None for a choice, which makes none weaker.
    unit : str
        ``bp`` for shares that people read in basis points.
    """

    weaker: Literal["less", "more", "other"] | None
    unit: str = ""


LESS, MORE, OTHER, CHOICE = Strength("less"), Strength("more"), Strength("other"), Strength(None)

SCAN_DAYS = 500
"""Days that a scanner may look at: the superset is every profile's, and so the same for all of them."""

RiskProfile = Literal["min_variance", "hrp", "max_sharpe", "equal_weight", "barbell"]
RISK_PROFILES: tuple[RiskProfile, ...] = ("min_variance", "hrp", "max_sharpe", "equal_weight", "barbell")
HEADLINE: RiskProfile = "hrp"
DRAWDOWN_LIMIT = -0.5
DirectionName = Literal["LONG", "SHORT"]
LogicName = Literal["rating_all", "rating_ma", "rating_other"]


class Settings(BaseModel):
    """Base of every group of settings: frozen, finite, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Universe(Settings):
    """Which pairs a scanner may look at, and how a base with several quotes is traded once."""

    exchange: Annotated[str, CHOICE] = "BINANCE"
    """Exchange whose pairs are looked at; of a file whose symbols name none, the exchange that they are of."""
    quotes: Annotated[tuple[str, ...], CHOICE] = ("USDT", "USDC", "FDUSD", "TUSD", "DAI", "USD")
    """Allowed quotes in order of rank."""
    quote_advantage: Annotated[Positive, LESS, TIMES] = 3.0
    """A lower quote wins only if its value traded is more than so many times higher."""
    min_bars: Annotated[Count, LESS, BARS] = 1
    """Bars of its present listing that a pair needs: a place of the limit is no use to a coin too young to be held."""
    only: Annotated[tuple[str, ...], CHOICE] = ()
    """Coins that alone may be held, as BTC or BINANCE:BTCUSDT; empty for all."""
    without: Annotated[tuple[str, ...], CHOICE] = ()
    """Coins that are left out, as BTC or BINANCE:BTCUSDT."""

    @model_serializer(mode="wrap")
    def _told(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out empty lists: what is said without them is said as versions said it that did not have them."""
        told: dict[str, Any] = usual(self)
        return {name: value for name, value in told.items() if value or name not in ("only", "without")}


class Scanner(Settings):
    """A declared query over ratings."""

    logic: Annotated[LogicName, CHOICE]
    """Rating that is asked."""
    direction: Annotated[DirectionName, CHOICE]
    """LONG for coins that the rating calls up, SHORT for those that it calls down."""
    min_value_traded: Annotated[NonNegative, LESS, Unit("quote currency a day")] = 1e6
    """Floor on the value traded on the last closed day, in quote currency."""
    min_volatility: Annotated[NonNegative, LESS, PERCENT] = 0.1
    """Floor (exclusive) on ``Volatility.D`` = 100 (high - low) / low of the last day."""
    limit: Annotated[Count, MORE] = 100
    """Most candidates; the best rated are kept."""
    universe: Universe = Universe()


class DataSettings(Settings):
    """Returns matrix and the rows that estimates use."""

    lookback: Annotated[int, Field(ge=30), CHOICE, DAYS] = 500
    """Days that a decision may see."""
    floor: Annotated[int, Field(ge=20), LESS, DAYS] = 252
    """Observations that a symbol needs."""
    coverage: Annotated[Share, LESS] = 0.90
    """Share of the days since its first bar in the window that a symbol needs."""
    estimation_rows: Annotated[int, Field(ge=20), LESS, DAYS] = 252
    """Rows that covariance, means, guard and clusters use."""
    winner_coverage: Annotated[Share, LESS] = 0.95
    """Share of the estimation rows that a winner needs."""
    min_rows: Annotated[int, Field(ge=10), LESS, DAYS] = 200
    """Days with a return of every winner without which nothing is estimated."""


class Vetoes(Settings):
    """Limits on raw features beyond which an atom is not held."""

    entropy: Annotated[NonNegative, MORE] = 0.999
    """Most permutation entropy: 1 is noise."""
    efficiency: Annotated[NonNegative, LESS] = 0.05
    """Least efficiency, sum of returns over sum of absolute returns: 1 is a straight line up."""
    kurtosis: Annotated[NonNegative, MORE] = 20.0
    """Most excess kurtosis: a normal distribution has 0."""
    volatility: Annotated[Positive, MORE, A_YEAR] = 2.5
    """Annual volatility; 2.5 is 250 %."""


class SelectionSettings(Settings):
    """Natural selection."""

    feature_bars: Annotated[int, Field(ge=20), LESS, BARS] = 120
    """Days over which features are measured."""
    top_n: Annotated[Count, MORE] = 15
    """Most winners of one cluster."""
    wanted: Annotated[Count, MORE] = 15
    """Winners below which each empty cluster may restore its best atom, past quality vetoes."""
    max_winners: Annotated[Count, MORE] = 25
    """Most winners."""
    cluster_threshold: Annotated[Positive, OTHER, Unit("distance")] = 0.45
    """Distance sqrt((1 - correlation) / 2) at which the tree of atoms is cut into clusters."""
    max_clusters: Annotated[Count, LESS] = 25
    """Most clusters."""
    cluster_windows: Annotated[tuple[int, ...], OTHER, DAYS] = (60, 120, 200)
    """Windows over which the distance is averaged."""
    dominant_signal: Annotated[Literal["recommend_all", "recommend_ma", "momentum"] | None, CHOICE] = None
    """Feature that outweighs the others."""
    dominant_weight: Annotated[Positive, CHOICE] = 3.0
    """Weight of the dominant signal in the score."""
    dominated_momentum: Annotated[NonNegative, CHOICE] = 0.5
    """Weight of momentum where another signal is dominant."""
    vetoes: Vetoes = Vetoes()


class Costs(Settings):
    """What trading costs, as shares of the traded or borrowed value."""

    fee: Annotated[NonNegative, Strength("less", "bp")] = 0.0010
    """The exchange's fee, share of the value traded, each side."""
    slippage: Annotated[NonNegative, Strength("less", "bp")] = 0.0005
    """Difference between price seen and price paid, share of the value traded, each side."""
    borrow: Annotated[NonNegative, LESS, A_YEAR] = 0.10
    """Interest on the value of shorts, where the lake has no rates of its own."""
    delisting_haircut: Annotated[Share, LESS] = 0.10
    """What a position loses when its coin is delisted."""

    @property
    def per_side(self) -> float:
        """Fee and slippage of one purchase or sale."""
        return self.fee + self.slippage


class Margin(Settings):
    """What an account must keep so that it is not liquidated."""

    enabled: Annotated[bool, LESS] = True
    """Liquidate an account whose level falls below ``maintenance``."""
    maintenance: Annotated[float, Field(ge=1.0), LESS, TIMES] = 1.1
    """Least level, assets / liabilities: with 1.1, a short account needs a tenth of its shorts as equity."""
    liquidation_fee: Annotated[Share, LESS] = 0.02
    """Share of the liabilities that a liquidation repays."""


class Caps(Settings):
    """Upper bounds of weights, of atoms and of clusters: a short can lose many times its weight, and has its own."""

    atom: Annotated[Cap, MORE] = 0.25
    """Most of one long atom."""
    atom_short: Annotated[Cap, MORE] = 0.10
    """Most of one short atom."""
    cluster: Annotated[Cap, MORE] = 0.25
    """Most of one cluster of longs in quiet and normal markets."""
    cluster_turbulent: Annotated[Cap, MORE] = 0.20
    """Most of one cluster of longs in turbulent markets."""
    cluster_crisis: Annotated[Cap, MORE] = 0.15
    """Most of one cluster of longs in a crisis."""
    cluster_short: Annotated[Cap, MORE] = 0.25
    """Most of one cluster of shorts in quiet and normal markets."""
    cluster_short_turbulent: Annotated[Cap, MORE] = 0.20
    """Most of one cluster of shorts in turbulent markets."""
    cluster_short_crisis: Annotated[Cap, MORE] = 0.15
    """Most of one cluster of shorts in a crisis."""
    slack: Annotated[NonNegative, MORE] = 1.5
    """``cluster`` is never below ``slack`` / clusters; 0 raises nothing, and no other cap is ever raised."""


class RiskSettings(Settings):
    """Estimates and optimizers."""

    risk_profiles: Annotated[tuple[RiskProfile, ...], CHOICE] = RISK_PROFILES
    """Ways of weighing the winners; each makes a book of its own."""
    max_condition: Annotated[Positive, MORE] = 15000.0
    """Condition number of the covariance above which it is shrunk more."""
    shrinkage_step: Annotated[Positive, CHOICE, Unit("share")] = 0.01
    """How much the covariance is shrunk at a time."""
    shrinkage_max: Annotated[Share, LESS] = 0.10
    """How much the covariance is shrunk at most beyond Ledoit and Wolf."""
    min_weight: Annotated[NonNegative, CHOICE, OF_ACCOUNT] = 1e-6
    """Weights below it are zero."""
    barbell_aggressors: Annotated[Count, CHOICE] = 5
    """Most aggressors of the barbell."""
    barbell_quiet: Annotated[Share, MORE] = 0.15
    """Share of the aggressors in quiet markets."""
    barbell_normal: Annotated[Share, MORE] = 0.10
    """Share of the aggressors in normal markets."""
    barbell_turbulent: Annotated[Share, MORE] = 0.05
    """Share of the aggressors in turbulent markets."""
    barbell_crisis: Annotated[Share, MORE] = 0.03
    """Share of the aggressors in a crisis."""


class Guard(Settings):
    """Capital preservation: loss makers are not held."""

    enabled: Annotated[bool, LESS] = True
    """Give loss makers no weight; their share of the budget is cash."""
    days: Annotated[int, Field(ge=2), OTHER, DAYS] = 60
    """Days whose mean return, after costs, tells a loss maker."""


class WalkForward(Settings):
    """Walk-forward of the whole decision."""

    train: Annotated[int, Field(ge=20), LESS, DAYS] = 252
    """Days of returns without which a past day decides nothing."""
    hold: Annotated[Count, MORE, DAYS] = 10
    """Days for which a decision is held, by which selection judges what trading costs."""
    step: Annotated[Count, MORE, DAYS] = 10
    """Days from one decision of a tranche to its next."""
    days: Annotated[Count, CHOICE, DAYS] = 250
    """How far a run looks back, as far as the bars allow."""
    start: Annotated[dt.date | None, CHOICE] = None
    """First decision; overrides ``days``."""
    seed: Annotated[int, Field(ge=0), CHOICE, NUMBER] = 0
    """Seed of what is drawn by lot to judge a book: days of a bootstrap, books in place of a selection."""
    tranches: Annotated[Count | None, LESS] = None
    """Parts of the account, each with a day of its own; by default ``step`` of them, so that every day decides."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.tranches is not None and self.step % self.tranches:
            raise ValueError(f"{self.tranches} tranches do not divide a step of {self.step} days")
        return self

    @property
    def parts(self) -> int:
        """Number of tranches."""
        return self.tranches or self.step

    @property
    def every(self) -> int:
        """Days from one decision to the next."""
        return self.step // self.parts

    @property
    def settling(self) -> int:
        """Days after the first decision by which every tranche has had one."""
        return self.step - 1 if self.parts > 1 else 0

    @property
    def reach(self) -> int:
        """Days from the first decision to the last bar, where bars allow: all tranches are filled for ``days``."""
        return self.days + self.settling


class Limits(Settings):
    """Seconds that a step may take."""

    step: Annotated[Positive, CHOICE, SECONDS] = 120.0
    """How long any step but the walk-forward may take."""
    walk_forward: Annotated[Positive, CHOICE, SECONDS] = 900.0
    """How long the walk-forward may take."""


class Profile(Settings):
    """One sleeve, as the user asked for it."""

    name: Annotated[str, CHOICE]
    """What the profile is called."""
    description: Annotated[str, CHOICE] = ""
    """One line for reports."""
    direction: Annotated[DirectionName, CHOICE]
    """LONG or SHORT: the side on which every coin is held."""
    logics: Annotated[tuple[LogicName, ...], CHOICE]
    """Ratings for which a coin may be held; each is a candidate of its own."""
    scanners: Annotated[tuple[str, ...], CHOICE]
    """Names of the scanners whose candidates are this profile's own."""
    pool: Annotated[Literal["own", "superset"], CHOICE] = "own"
    """``own``: the candidates of the profile's scanners; ``superset``: those of all, turned to its side."""
    stand_aside: Annotated[bool, CHOICE] = False
    """A scan that finds nobody, or a selection that keeps nobody, is a day in cash; else it ends the run."""
    interval: Annotated[Literal["1d"], CHOICE] = "1d"
    """Length of a bar."""
    benchmark: Annotated[str, CHOICE] = "BINANCE:BTCUSDT"
    """Coin that everything is measured against; the data must have it."""
    data: DataSettings = DataSettings()
    selection: SelectionSettings = SelectionSettings()
    costs: Costs = Costs()
    margin: Margin = Margin()
    caps: Caps = Caps()
    risk: RiskSettings = RiskSettings()
    headline: Annotated[RiskProfile, CHOICE] = HEADLINE
    """The risk profile that one would hold, chosen before its figures were seen."""
    drawdown_limit: Annotated[float, Field(ge=-1.0, le=0.0), LESS, Unit("share")] = DRAWDOWN_LIMIT
    """How deep a walk-forward may fall from its highest value before the report warns; nothing is decided by it."""
    guard: Guard = Guard()
    walk_forward: WalkForward = WalkForward()
    limits: Limits = Limits()

    @property
    def sight_days(self) -> int:
        """Days that a decision is handed: its own lookback, and what its scanners look at."""
        return max(self.data.lookback, SCAN_DAYS)


class Patience(Settings):
    """How often and how long an answer is waited for."""

    timeout: Annotated[Positive, SECONDS] = 10.0
    """How long an answer may take, from the first byte sent to the last one read."""
    attempts: Count = 6
    """How often one request is sent at most."""
    backoff: Annotated[Positive, SECONDS] = 0.5
    """Wait before the second attempt; each further one waits twice as long, and never less than ``Retry-After``."""
    patience: Annotated[Positive, SECONDS] = 300.0
    """Longest ``Retry-After`` that is waited for."""


class Screener(Patience):
    """How TradingView's crypto screener is asked; a ``Retry-After`` beyond patience ends the scan."""

    address: str = "https://scanner.tradingview.com"
    """Base address; ``/crypto/scan`` follows."""
    timeout: Annotated[Positive, SECONDS] = 20.0
    """How long an answer may take."""
    attempts: Count = 4
    """How often one request is sent at most."""
    backoff: Annotated[Positive, SECONDS] = 1.0
    """Wait before the second attempt; each further one waits twice as long."""
    patience: Annotated[Positive, SECONDS] = 120.0
    """Longest ``Retry-After`` that is waited for; a longer one ends the scan."""
    per_second: Positive = 2.0
    """Requests that may begin in a second, all scanners together."""
    page: Annotated[int, Field(ge=1, le=5000), NUMBER] = 1000
    """Records asked for in one request."""


def _text(value: object) -> object:
    """Read a year written without quotes."""
    return str(value) if isinstance(value, int) else value


class RatingSettings(Settings):
    """By which rules bars are rated."""

    edition: Annotated[Edition, BeforeValidator(_text)] = DEFAULT_EDITION
    """What the screener answers since 2024-12-26 (``2026``), or answered from 2021-03-31 to 2024-06-23 (``2021``)."""


class ScanSettings(Settings):
    """Who answers the scanners as of now."""

    provider: Literal["ratings", "tradingview"] = "ratings"
    """Who answers: our own ``ratings``, or the live screener, ``tradingview``."""
    fallback: bool = False
    """Our own ratings answer where the screener cannot be reached; the run's ledger says so."""
    screener: Screener = Screener()


class Columns(Settings):
    """Names of the columns in files and frames of one's own, where they are not Assay's."""

    symbol: str | None = None
    """Column of the coin, BTCUSDT or BINANCE:BTCUSDT; without one the file's name tells it."""
    timestamp: str | None = None
    """Column of the bar's opening time: a datetime in UTC, or whole epoch seconds, milliseconds or microseconds."""
    open: str | None = None
    """Column of the first price."""
    high: str | None = None
    """Column of the highest price."""
    low: str | None = None
    """Column of the lowest price."""
    close: str | None = None
    """Column of the last price."""
    volume: str | None = None
    """Column of the volume in base currency."""
    quote_volume: str | None = None
    """Column of the value traded in quote currency; without one it is close x volume."""


class SourceSettings(Settings):
    """How a live source is asked for bars, and how files are read."""

    mirror: bool = False
    """Where the exchange refuses this country, ask Binance's public mirror of its market data instead."""
    columns: Columns = Columns()


class Schedule(Settings):
    """When ``assay ingest --every`` works; all in seconds."""

    grace: Annotated[NonNegative, SECONDS] = 300.0
    """Wait after a bar's close: exchange and screener need a moment."""
    retry: Annotated[Positive, SECONDS] = 60.0
    """Wait after a failed round; doubled for each further failure."""
    retry_limit: Annotated[Positive, SECONDS] = 3600.0
    """Longest wait after failed rounds."""


class Execution(Settings):
    """Where work is done; results do not depend on it, and so no manifest names it."""

    use: str | None = None
    """``serial``, ``pool`` or ``ray[:ADDRESS]``; None for a pool where there are several runs, else this process."""
    workers: Count | None = None
    """Tasks at a time; None for one on each core, or for what a cluster offers."""


class MetaProfile(Settings):
    """A portfolio of sleeves (or of other meta-portfolios)."""

    name: Annotated[str, CHOICE]
    """What the portfolio is called."""
    description: Annotated[str, CHOICE] = ""
    """One line for reports."""
    sleeves: Annotated[tuple[str, ...], Field(min_length=1), CHOICE]
    """Profiles, or other meta-portfolios."""
    min_sleeves: Annotated[Count, LESS] = 2
    """Sleeves without which there is no portfolio."""
    max_age_days: Annotated[NonNegative, MORE, DAYS] = 1.0
    """How much older than the portfolio's ``as_of`` a sleeve's may be; the clock is not asked."""
    min_days: Annotated[int, Field(ge=20), LESS, DAYS] = 60
    """Days that all sleeves must share."""
    train: Annotated[int, Field(ge=20), LESS, DAYS] = 60
    """Days that a decision looks back, live and in the walk-forward."""
    hold: Annotated[Count, MORE, DAYS] = 10
    """Days that a tranche of the walk-forward holds: the step of the sleeves, whose tranches it shares."""
    min_weight: Annotated[Share, LESS] = 0.05
    """Least weight of a sleeve that is not left out."""
    max_weight: Annotated[Share, MORE] = 0.5
    """Most weight of a sleeve, unless ``weight_slack`` / sleeves is more."""
    weight_slack: Annotated[float, Field(ge=1.0), MORE, TIMES] = 1.9
    """``max_weight`` is never below ``weight_slack`` / sleeves."""
    min_gross: Annotated[Share, LESS] = 0.20
    """A sleeve whose mean gross over the days of ``train`` is less is in cash, and is left out by name."""
    max_coin: Annotated[Share, MORE] = 0.15
    """Largest gross share of one coin; what exceeds it is cash."""
    allow_single: Annotated[bool, MORE] = False
    """A portfolio of one sleeve is allowed."""
    require_all: Annotated[bool, LESS] = True
    """A sleeve that is refused ends the run; otherwise the others go on without it, if enough are left."""
    risk_profiles: Annotated[tuple[RiskProfile, ...], CHOICE] = RISK_PROFILES
    """Ways of weighing the sleeves; each makes a book of its own."""
    headline: Annotated[RiskProfile, CHOICE] = HEADLINE
    """The risk profile that one would hold, chosen before its figures were seen."""
    risk: RiskSettings = RiskSettings()
    costs: Costs = Costs()
    """What the book of coins pays in the walk-forward; never less than what a sleeve pays."""
    limits: Limits = Limits()
