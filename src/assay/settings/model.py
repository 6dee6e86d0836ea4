"""What a profile can say, with the canon's values as defaults and a range for each.

A setting that is not here does not exist: unknown keys are refused by name. Every model is frozen, so that a run cannot
change what it was asked for.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from assay.base.domain import DEFAULT_EDITION, Edition

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]

SCAN_DAYS = 500
"""Days that a scanner may look at: the superset is every profile's, and so the same for all of them."""

RiskProfile = Literal["min_variance", "hrp", "max_sharpe", "equal_weight", "barbell"]
RISK_PROFILES: tuple[RiskProfile, ...] = ("min_variance", "hrp", "max_sharpe", "equal_weight", "barbell")
DirectionName = Literal["LONG", "SHORT"]
LogicName = Literal["rating_all", "rating_ma", "rating_other"]


class Settings(BaseModel):
    """Base of every group of settings: frozen, finite, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Universe(Settings):
    """Which pairs a scanner may look at, and how a base with several quotes is traded once."""

    exchange: str = "BINANCE"
    quotes: tuple[str, ...] = ("USDT", "USDC", "FDUSD", "TUSD", "DAI", "USD")
    """Allowed quotes in order of rank."""
    quote_advantage: Positive = 3.0
    """A lower quote wins only if its value traded is more than so many times higher."""
    min_bars: Count = 1
    """Bars of its present listing that a pair needs: a place of the limit is no use to a coin too young to be held."""


class Scanner(Settings):
    """A declared query over ratings."""

    logic: LogicName
    direction: DirectionName
    min_value_traded: NonNegative = 1e6
    """Floor on the value traded on the last closed day, in quote currency."""
    min_volatility: NonNegative = 0.1
    """Floor (exclusive) on ``Volatility.D`` = 100 (high - low) / low, in percent."""
    limit: Count = 100
    universe: Universe = Universe()


class DataSettings(Settings):
    """Returns matrix and the rows that estimates use."""

    lookback: Annotated[int, Field(ge=30)] = 500
    """Days that a decision may see."""
    floor: Annotated[int, Field(ge=20)] = 252
    """Observations that a symbol needs."""
    coverage: Share = 0.90
    """Share of the days since its first bar in the window that a symbol needs."""
    estimation_rows: Annotated[int, Field(ge=20)] = 252
    """Rows that covariance, means, guard and clusters use."""
    winner_coverage: Share = 0.95
    """Share of the estimation rows that a winner needs."""
    min_rows: Annotated[int, Field(ge=10)] = 200
    """Complete rows without which nothing is estimated."""


class Vetoes(Settings):
    """Limits on raw features beyond which an atom is not held."""

    entropy: NonNegative = 0.999
    efficiency: NonNegative = 0.05
    kurtosis: NonNegative = 20.0
    volatility: Positive = 2.5
    """Annual volatility; 2.5 is 250 %."""


class SelectionSettings(Settings):
    """Natural selection."""

    feature_bars: Annotated[int, Field(ge=20)] = 120
    top_n: Count = 15
    wanted: Count = 15
    max_winners: Count = 25
    cluster_threshold: Positive = 0.45
    max_clusters: Count = 25
    cluster_windows: tuple[int, ...] = (60, 120, 200)
    dominant_signal: Literal["recommend_all", "recommend_ma", "momentum"] | None = None
    dominant_weight: Positive = 3.0
    dominated_momentum: NonNegative = 0.5
    vetoes: Vetoes = Vetoes()


class Costs(Settings):
    """What trading costs, as shares of the traded or borrowed value."""

    fee: NonNegative = 0.0010
    slippage: NonNegative = 0.0005
    borrow: NonNegative = 0.10
    """Per year, on the value of shorts."""
    delisting_haircut: Share = 0.10

    @property
    def per_side(self) -> float:
        """Fee and slippage of one purchase or sale."""
        return self.fee + self.slippage


class Caps(Settings):
    """Upper bounds of weights, before they are raised for small pools."""

    atom: Share = 0.25
    cluster: Share = 0.25
    cluster_turbulent: Share = 0.20
    cluster_crisis: Share = 0.15
    slack: Annotated[float, Field(ge=1.0)] = 1.5
    """A cap is never below ``slack / n``, so that n of them can hold the whole budget."""


class RiskSettings(Settings):
    """Estimates and optimizers."""

    risk_profiles: tuple[RiskProfile, ...] = RISK_PROFILES
    max_condition: Positive = 15000.0
    shrinkage_step: Positive = 0.01
    shrinkage_max: Share = 0.10
    min_weight: NonNegative = 1e-6
    barbell_aggressors: Count = 5
    barbell_quiet: Share = 0.15
    barbell_normal: Share = 0.10
    barbell_turbulent: Share = 0.05
    barbell_crisis: Share = 0.03


class Guard(Settings):
    """Capital preservation: loss makers are not held."""

    enabled: bool = True
    days: Annotated[int, Field(ge=2)] = 60


class WalkForward(Settings):
    """Walk-forward of the whole decision."""

    train: Annotated[int, Field(ge=20)] = 252
    hold: Count = 10
    step: Count = 10
    days: Count = 250
    """How far a run looks back, as far as the bars allow."""
    start: dt.date | None = None
    """First decision; overrides ``days``."""


class Limits(Settings):
    """Seconds that a step may take."""

    step: Positive = 120.0
    walk_forward: Positive = 900.0


class Profile(Settings):
    """One sleeve, as the user asked for it."""

    name: str
    description: str = ""
    direction: DirectionName
    logics: tuple[LogicName, ...]
    scanners: tuple[str, ...]
    """Names of the scanners whose candidates are this profile's own."""
    pool: Literal["own", "superset"] = "own"
    stand_aside: bool = False
    """A scan that finds nobody ends a run as a valid, empty sleeve."""
    interval: Literal["1d"] = "1d"
    benchmark: str = "BINANCE:BTCUSDT"
    data: DataSettings = DataSettings()
    selection: SelectionSettings = SelectionSettings()
    costs: Costs = Costs()
    caps: Caps = Caps()
    risk: RiskSettings = RiskSettings()
    guard: Guard = Guard()
    walk_forward: WalkForward = WalkForward()
    limits: Limits = Limits()

    @property
    def sight_days(self) -> int:
        """Days that a decision is handed: its own lookback, and what its scanners look at."""
        return max(self.data.lookback, SCAN_DAYS)


class Patience(Settings):
    """How often and how long an answer is waited for."""

    timeout: Positive = 10.0
    """Seconds that an answer may take, from the first byte sent to the last one read."""
    attempts: Count = 6
    """How often one request is sent at most."""
    backoff: Positive = 0.5
    """Seconds before the second attempt; each further one waits twice as long, and never less than ``Retry-After``."""
    patience: Positive = 300.0
    """Longest ``Retry-After``, in seconds, that is waited for."""


class Screener(Patience):
    """How TradingView's crypto screener is asked; a ``Retry-After`` beyond patience ends the scan."""

    address: str = "https://scanner.tradingview.com"
    """Base address; ``/crypto/scan`` follows."""
    timeout: Positive = 20.0
    attempts: Count = 4
    backoff: Positive = 1.0
    patience: Positive = 120.0
    per_second: Positive = 2.0
    """Requests that may begin in a second, all scanners together."""
    page: Annotated[int, Field(ge=1, le=5000)] = 1000
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
    fallback: bool = False
    """Our own ratings answer where the screener cannot be reached; the run's ledger says so."""
    screener: Screener = Screener()


class Schedule(Settings):
    """When ``assay ingest --every`` works; all in seconds."""

    grace: NonNegative = 300.0
    """After a bar's close: exchange and screener need a moment."""
    retry: Positive = 60.0
    """After a failed round; doubled for each further failure."""
    retry_limit: Positive = 3600.0


class Execution(Settings):
    """Where work is done; results do not depend on it, and so no manifest names it."""

    use: str | None = None
    """``serial``, ``pool`` or ``ray[:ADDRESS]``; None for a pool where there are several runs, else this process."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Tasks at a time; None for one on each core, or for what a cluster offers."""


class MetaProfile(Settings):
    """A portfolio of sleeves (or of other meta-portfolios)."""

    name: str
    description: str = ""
    sleeves: Annotated[tuple[str, ...], Field(min_length=1)]
    """Profiles, or other meta-portfolios."""
    min_sleeves: Count = 2
    max_age_days: NonNegative = 1.0
    """How much older than the portfolio's ``as_of`` a sleeve's may be; the clock is not asked."""
    min_days: Annotated[int, Field(ge=20)] = 60
    """Days that all sleeves must share."""
    train: Annotated[int, Field(ge=20)] = 60
    """Days that a decision looks back, live and in the walk-forward."""
    hold: Count = 10
    min_weight: Share = 0.05
    max_weight: Share = 0.5
    weight_slack: Annotated[float, Field(ge=1.0)] = 1.9
    max_coin: Share = 0.15
    """Largest gross share of one coin; what exceeds it is cash."""
    allow_single: bool = False
    """A portfolio of one sleeve is allowed."""
    require_all: bool = True
    """A sleeve that is refused ends the run; otherwise the others go on without it, if enough are left."""
    risk_profiles: tuple[RiskProfile, ...] = RISK_PROFILES
    risk: RiskSettings = RiskSettings()
    costs: Costs = Costs()
    """What moving capital between sleeves costs in the walk-forward; the sleeves' own trading is in their returns."""
    limits: Limits = Limits()
