"""Ways to know the future, each a small change of one stage, and a ground on which they show.

A leak has to find the future where a careless program would: in the market that was cut, of which the cut keeps hold
here, or one bar further in an array. In another world the same leak reads the other future.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from assay.alpha import selection as selection_module
from assay.backtest import book as book_module
from assay.backtest import decision
from assay.backtest import walk_forward as walk_module
from assay.backtest.book import Target
from assay.backtest.causality import Rehearsal
from assay.backtest.walk_forward import close_of, walk_forward
from assay.base.domain import DAY, UTC
from assay.lake.head import Head
from assay.lake.snapshot import Snapshot
from assay.lake.storage import Folder
from assay.market import instruments as instruments_module
from assay.market.panel import RATING_FIELDS, Market
from assay.market.schema import BARS, CANDIDATES, INSTRUMENTS, ORDER, QUARANTINE
from assay.pipeline import causality as command
from assay.ratings import listings, rate
from assay.risk import allocate as allocate_module
from assay.risk.guard import find_loss_makers
from assay.risk.optimizers import Estimates
from assay.screening import scanner as scanner_module
from assay.settings import load
from assay.sources import open_source

FIRST, LAST = dt.datetime(2023, 1, 1, tzinfo=UTC), dt.datetime(2023, 8, 20, tzinfo=UTC)
"""Opens of the first and of the last bar."""
START = "2023-07-01"
COINS = 48
HOLE = dt.datetime(2023, 7, 20, tzinfo=UTC)
"""Open of a bar that every third coin lacks: the eve of a decision."""
DECISION, EVE, LAST_DECISION = (
    dt.datetime(2023, 7, 12, tzinfo=UTC),
    dt.datetime(2023, 7, 21, tzinfo=UTC),
    dt.datetime(2023, 8, 11, tzinfo=UTC),
)
"""Instants after which everything is replaced."""

SMALL = (
    "data.lookback=150",
    "data.floor=60",
    "data.estimation_rows=80",
    "data.min_rows=40",
    "selection.cluster_windows=[20,40]",
    "selection.feature_bars=60",
    "walk_forward.train=60",
    f"walk_forward.start={START}",
    "walk_forward.tranches=1",
    "scanners.binance_spot_rating_all_long.limit=14",
    "scanners.binance_spot_rating_all_short.limit=14",
    *(
        f"scanners.binance_spot_rating_{kind}.universe.min_bars=1"
        for kind in ("all_long", "all_short", "ma_long", "ma_short")
    ),
)
TWO_PROFILES = ('risk.risk_profiles=["hrp","max_sharpe"]',)


@dataclass(frozen=True)
class Ground:
    """A lake in memory with every table, made of recorded bars."""

    snapshot: command.InMemorySnapshot

    def stage(self, market: Market, seed: int = 0) -> command.PerturbedLake:
        return command.PerturbedLake(self.snapshot, market, self.snapshot.tables, seed)

    def rehearse(
        self,
        settings: tuple[str, ...] = (),
        name: str = "binance_spot_rating_all_long",
        as_of: dt.datetime | None = None,
        seed: int = 0,
    ) -> tuple[command.PerturbedLake, Rehearsal]:
        catalog = load(settings=(*SMALL, *settings))
        profile, scanners = catalog.profile(name), catalog.scanners()
        market = self.snapshot.market(as_of, None)

        def decide(known: Market) -> decision.Decision:
            return decision.decide(known, profile, scanners)

        result = walk_forward(market, profile, decide)
        return self.stage(market, seed), Rehearsal(result, profile, decide)


@cache
def ground() -> Ground:
    bars = open_source("sample").read().bars.filter(pl.col("open_time") <= LAST)
    whole = bars.group_by("symbol").agg(pl.len(), pl.col("quote_volume").sum()).filter(pl.col("len") > 200)
    coins = whole.sort("quote_volume", "symbol", descending=[True, False])["symbol"].head(COINS).to_list()
    bars = bars.filter(pl.col("symbol").is_in(coins))
    holed = sorted(set(coins) - {"BINANCE:BTCUSDT"})[::3]
    bars = bars.filter(~(pl.col("symbol").is_in(holed) & (pl.col("open_time") == HOLE)))
    bars = bars.with_columns(listings(bars)).select(list(BARS)).cast(pl.Schema(BARS)).sort(ORDER["bars"])
    tables = {
        "bars": bars,
        "ratings": rate(bars).select(command.RATED).sort(ORDER["ratings"]),
        "instruments": _instruments(sorted(coins)),
        "quarantine": _quarantine(sorted(coins)),
        "candidates": _candidates(sorted(coins)),
    }
    record = Head(
        head=1,
        tables={},
        rows={},
        source="recorded",
        fingerprint="0" * 64,
        interval="1d",
        first_open=FIRST,
        last_close=LAST + DAY,
        symbols=len(coins),
        findings=[],
        edition="2026",
    )
    return Ground(command.InMemorySnapshot.of(Snapshot(Path("/nowhere"), record, Folder(Path("/nowhere"))), tables))


def _table(schema: dict[str, pl.DataType], **columns: object) -> pl.DataFrame:
    blank = dict.fromkeys(schema)
    return pl.DataFrame(blank | columns).select(list(schema)).cast(pl.Schema(schema))


def _instruments(coins: list[str]) -> pl.DataFrame:
    """Facts of every coin; those of some end, and begin anew, in the weeks that are tested."""
    base = [name.partition(":")[2].removesuffix("USDT") for name in coins]
    common = {"symbol": coins, "base": base, "quote": "USDT", "status": "TRADING", "margin_allowed": True}
    facts = _table(INSTRUMENTS, **common, valid_from=FIRST)
    change = pl.Series("change", [DECISION + dt.timedelta(days=3 + i % 30) for i in range(len(coins))])
    some = pl.Series("some", [i % 4 == 0 for i in range(len(coins))])
    facts = facts.with_columns(change, some)
    ended = facts.with_columns(pl.when("some").then("change").alias("valid_to"))
    begun = facts.filter("some").with_columns(pl.col("change").alias("valid_from"), pl.lit("BREAK").alias("status"))
    columns = list(INSTRUMENTS)
    both = pl.concat([ended.select(columns).cast(pl.Schema(INSTRUMENTS)), begun.select(columns)])
    return both.sort(ORDER["instruments"])


def _quarantine(coins: list[str]) -> pl.DataFrame:
    some = coins[1::6]
    days = [DECISION + dt.timedelta(days=2 + 4 * i) for i in range(len(some))]
    return _table(
        QUARANTINE,
        source="recorded",
        row=list(range(len(some))),
        symbol=some,
        open_time=days,
        reason="NON_POSITIVE",
        raw="{}",
    )


def _candidates(coins: list[str]) -> pl.DataFrame:
    days = [FIRST + dt.timedelta(days=5 * i) for i in range(len(coins))]
    told = {"provider": "tradingview", "request": None, "response_sha256": None, "fields": "{}"}
    rows = _table(CANDIDATES, scanner="s", as_of=days, scanned_at=days, symbol=coins, rank=1, **told)
    return rows.sort(ORDER["candidates"])


# ---- looking ahead ----------------------------------------------------------------------------------------------


LATEST: list[Market] = []
Plant = Callable[[pytest.MonkeyPatch], None]
LEAKS: dict[str, Plant] = {}


def leak(plant: Plant) -> Plant:
    LEAKS[plant.__name__] = plant
    return plant


def remember(patch: pytest.MonkeyPatch) -> None:
    """Let every cut of a market keep hold of the whole."""
    real = Market.until

    def until(self: Market, as_of: dt.datetime, lookback: int | None = None) -> Market:
        cut = real(self, as_of, lookback)
        cut.__dict__["whole"] = whole(self)
        LATEST[:] = [cut]
        return cut

    patch.setattr(Market, "until", until)


def whole(known: Market) -> Market:
    return known.__dict__.get("whole", known)


def today(known: Market) -> int:
    """Row of the last known day in the whole."""
    return int(np.searchsorted(whole(known).days, known.days[-1]))


def ahead(known: Market, days: int) -> Market:
    """What will be known some days later."""
    last = min(today(known) + days, len(whole(known).days) - 1)
    return whole(known).until(close_of(whole(known).days[last]), None)


def with_last_row(known: Market, **rows: np.ndarray) -> Market:
    fields = dict(known.fields)
    for name, row in rows.items():
        fields[name] = np.vstack([fields[name][:-1], row])
    return replace(known, fields=fields)


def tomorrow(known: Market, name: str) -> np.ndarray:
    values = whole(known)[name]
    return values[min(today(known) + 1, len(values) - 1)]


def discovers(patch: pytest.MonkeyPatch, see: Callable[[Market], Market]) -> None:
    real = decision.discover
    patch.setattr(decision, "discover", lambda market, *rest: real(see(market), *rest))


def keeps(patch: pytest.MonkeyPatch, wanted: Callable[[Market, str], bool]) -> None:
    """Drop the candidates that a look ahead advises against."""
    real = decision.discover

    def discover(market: Market, *rest):
        found = real(market, *rest)
        return replace(found, candidates=[one for one in found.candidates if wanted(market, one.symbol)])

    patch.setattr(decision, "discover", discover)


def prepares(patch: pytest.MonkeyPatch, change: Callable[[Market, object], np.ndarray]) -> None:
    """Put other values into the returns matrix."""
    real = decision.prepare

    def prepare(market: Market, *rest):
        matrix = real(market, *rest)
        return replace(matrix, values=np.ascontiguousarray(change(market, matrix)))

    patch.setattr(decision, "prepare", prepare)


def all_returns(market: Market, symbols) -> np.ndarray:
    """Returns of some coins from the first day to the very last."""
    world = whole(market)
    return np.nan_to_num(world.returns()[:, [world.column(name) for name in symbols]])


def analyses(patch: pytest.MonkeyPatch, name: str, change: Callable[..., object]) -> None:
    """Replace one part of risk analysis by one that is handed the winners' returns of all days first."""
    seen: list[np.ndarray] = []
    real_analyse, real_part = decision.analyse, getattr(allocate_module, name)

    def analyse(streams, atoms, *rest):
        seen[:] = [all_returns(LATEST[0], [atom.symbol for atom in atoms])]
        return real_analyse(streams, atoms, *rest)

    patch.setattr(decision, "analyse", analyse)
    patch.setattr(allocate_module, name, lambda *rest, **named: change(real_part, seen[0], *rest, **named))


def simulates(patch: pytest.MonkeyPatch, change: Callable[..., object]) -> None:
    real = walk_module.simulate
    patch.setattr(walk_module, "simulate", lambda *rest, **named: change(real, *rest, **named))


def opens(patch: pytest.MonkeyPatch, change: Callable[..., object]) -> None:
    simulates(patch, lambda real, bars, *rest, **named: real(replace(bars, open=change(bars)), *rest, **named))


# ---- leaks of discovery -----------------------------------------------------------------------------------------


@leak
def decision_on_tomorrows_bar(patch):
    real = decision.decide
    patch.setattr(decision, "decide", lambda market, *rest, **more: real(ahead(market, 1), *rest, **more))


@leak
def cut_one_bar_too_late(patch):
    real = Market.until

    def until(self, as_of, lookback=None):
        later = min(as_of + DAY, close_of(self.days[-1]))
        return replace(real(self, later, lookback), as_of=as_of)

    patch.setattr(Market, "until", until)


@leak
def universe_of_survivors(patch):
    keeps(patch, lambda market, name: whole(market).listing[-1, whole(market).column(name)] >= 0)


@leak
def superset_of_another_date(patch):
    discovers(patch, lambda market: ahead(market, 10))


@leak
def rating_of_the_forming_bar(patch):
    discovers(
        patch, lambda market: with_last_row(market, **{name: tomorrow(market, name) for name in RATING_FIELDS[:3]})
    )


@leak
def value_traded_of_tomorrow(patch):
    discovers(patch, lambda market: with_last_row(market, value_traded=tomorrow(market, "value_traded")))


@leak
def ranked_by_liquidity_of_the_whole_period(patch):
    discovers(
        patch,
        lambda market: with_last_row(market, value_traded=np.nan_to_num(whole(market)["value_traded"]).mean(axis=0)),
    )


@leak
def ratings_smoothed_around_the_day(patch):
    def centred(market):
        world, row = whole(market), today(market)
        window = np.nan_to_num(world["recommend_all"][row - 2 : row + 3])
        return with_last_row(market, recommend_all=window.mean(axis=0))

    discovers(patch, centred)


@leak
def coins_that_will_rise(patch):
    def rises(market, name):
        world, row = whole(market), today(market)
        close = world["close"][:, world.column(name)]
        return not close[min(row + 10, len(close) - 1)] < close[row]

    keeps(patch, rises)


@leak
def coins_that_will_be_delisted_left_out(patch):
    def stays(market, name):
        world, row = whole(market), today(market)
        return (world.listing[row + 1 : row + 4, world.column(name)] >= 0).any()

    keeps(patch, stays)


@leak
def distance_from_the_high_of_all_days(patch):
    def near(market, name):
        world = whole(market)
        close = world["close"][:, world.column(name)]
        return close[today(market)] > 0.3 * np.nanmax(close)

    keeps(patch, near)


@leak
def hash_of_the_name_modulo_the_coins_of_today(patch):
    def drawn(market, name):
        count = len(market.symbols)
        return zlib.crc32(name.encode()) % count > count // 3

    keeps(patch, drawn)


@leak
def base_and_quote_of_later_facts(patch):
    real = scanner_module.market_metadata
    patch.setattr(scanner_module, "market_metadata", lambda market: real(whole(market)))


# ---- leaks of data ----------------------------------------------------------------------------------------------


@leak
def scaler_fitted_on_all_days(patch):
    prepares(patch, lambda market, matrix: matrix.values / all_returns(market, matrix.symbols).std(axis=0))


@leak
def mean_of_all_days_taken_off(patch):
    prepares(patch, lambda market, matrix: matrix.values - all_returns(market, matrix.symbols).mean(axis=0))


@leak
def outliers_cut_at_quantiles_of_all_days(patch):
    def cut(market, matrix):
        low, high = np.quantile(all_returns(market, matrix.symbols), [0.02, 0.98], axis=0)
        return np.clip(matrix.values, low, high)

    prepares(patch, cut)


@leak
def returns_one_day_early(patch):
    def early(market, matrix):
        following = all_returns(ahead(market, 1), matrix.symbols)[: today(market) + 2]
        return following[-len(matrix.values) :]

    prepares(patch, early)


@leak
def rows_shuffled_with_those_to_come(patch):
    def shuffled(market, matrix):
        rows = all_returns(market, matrix.symbols)
        return np.random.default_rng(0).permutation(rows)[: len(matrix.values)]

    prepares(patch, shuffled)


@leak
def moving_average_around_the_day(patch):
    def centred(market, matrix):
        rows = all_returns(market, matrix.symbols)[: today(market) + 3]
        smooth = np.mean([np.roll(rows, shift, axis=0) for shift in (-2, -1, 0, 1, 2)], axis=0)
        return smooth[today(market) + 1 - len(matrix.values) : today(market) + 1]

    prepares(patch, centred)


@leak
def close_of_the_week_on_every_day_of_it(patch):
    def weekly(market, matrix):
        world, row = whole(market), today(market)
        sunday = min(row + 6 - int(world.days[row].astype(int) + 3) % 7, len(world.days) - 1)
        columns = [world.column(name) for name in matrix.symbols]
        week = world["close"][sunday, columns] / world["close"][row - 1, columns] - 1.0
        return np.vstack([matrix.values[:-1], np.nan_to_num(week)])

    prepares(patch, weekly)


@leak
def health_by_bars_to_come(patch):
    real = decision.ill_health
    patch.setattr(decision, "ill_health", lambda market, symbols: real(whole(market), symbols))


@leak
def quarantine_known_in_advance(patch):
    def rejections(self):
        rows = self.quarantine.drop_nulls(["symbol"])
        return dict(rows.select("symbol", "reason").iter_rows())

    patch.setattr(Market, "rejections", rejections)


@leak
def facts_without_their_dates(patch):
    def facts(market, symbols):
        latest = whole(market).instruments.sort("valid_from").unique("symbol", keep="last")
        trading = set(latest.filter(pl.col("status") == "TRADING")["symbol"])
        state = instruments_module.InstrumentFact
        return {name: state("KNOWN" if name in trading else "ABSENT") for name in symbols}

    patch.setattr(selection_module, "facts", facts)


@leak
def end_of_trading_known_in_advance(patch):
    def facts(market, symbols):
        ending = set(market.instruments.filter(pl.col("valid_to").is_not_null())["symbol"])
        state = instruments_module.InstrumentFact
        return {name: state("ABSENT" if name in ending else "KNOWN") for name in symbols}

    patch.setattr(selection_module, "facts", facts)


@leak
def listings_counted_from_the_end(patch):
    real = command.InMemorySnapshot.market

    def market(self, until=None, days=None):
        made = real(self, until, days)
        return replace(made, listing=np.where(made.listing < 0, -1, made.listing.max(axis=0) - made.listing))

    patch.setattr(command.InMemorySnapshot, "market", market)


@leak
def prices_adjusted_back_from_the_last_one(patch):
    real = command.InMemorySnapshot.market

    def market(self, until=None, days=None):
        made = real(self, until, days)
        last = np.nan_to_num(made["close"][-1], nan=1.0)
        prices = {name: made[name] / last for name in ("open", "high", "low", "close")}
        return replace(made, fields={**made.fields, **prices})

    patch.setattr(command.InMemorySnapshot, "market", market)


@leak
def ratings_made_of_the_bar_that_forms(patch):
    real = command.rate
    names = RATING_FIELDS
    patch.setattr(
        command, "rate", lambda *rest: real(*rest).with_columns(pl.col(name).shift(-1).over("symbol") for name in names)
    )


@leak
def ratings_made_of_a_centred_average(patch):
    real = command.rate

    def centred(bars, interval, edition):
        smooth = pl.col("close").rolling_mean(5, center=True, min_samples=1).over("symbol")
        return real(bars.sort("symbol", "open_time").with_columns(smooth), interval, edition)

    patch.setattr(command, "rate", centred)


# ---- leaks of risk ----------------------------------------------------------------------------------------------


@leak
def clusters_on_all_days(patch):
    analyses(patch, "cluster", lambda real, every, rows, *rest: real(every, *rest))


@leak
def covariance_of_all_days(patch):
    class Every:
        seen: ClassVar[list[np.ndarray]] = []

        @staticmethod
        def of(rows, *rest, **named):
            return Estimates.of(Every.seen[0], *rest, **named)

    real = decision.analyse

    def analyse(streams, atoms, *rest):
        Every.seen[:] = [all_returns(LATEST[0], [atom.symbol for atom in atoms])]
        return real(streams, atoms, *rest)

    patch.setattr(decision, "analyse", analyse)
    patch.setattr(allocate_module, "Estimates", Every)


@leak
def loss_makers_by_what_they_will_lose(patch):
    def future(real, every, rows, signs, costs, **named):
        row = today(LATEST[0])
        return find_loss_makers(every[row : row + 11], signs, costs, **named)

    analyses(patch, "find_loss_makers", future)


@leak
def caps_by_the_coins_that_will_be_there(patch):
    def counted(real, every, direction, n_clusters, *rest):
        world = whole(LATEST[0])
        return real(direction, max(1, int((world.listing[-1] >= 0).sum()) // 12), *rest)

    analyses(patch, "decide_caps", counted)


@leak
def regime_percentile_over_all_days(patch):
    def every_day(real, every, closes):
        world = whole(LATEST[0])
        column = world["close"][:, world.column("BINANCE:BTCUSDT")]
        volatility = np.nanstd(np.diff(np.log(column)))
        found = real(closes)
        return replace(found, percentile=float(found.volatility / (found.volatility + volatility)))

    analyses(patch, "read_regime", every_day)


@leak
def volatility_of_the_benchmark_to_come(patch):
    patch.setattr(
        decision,
        "benchmark_close",
        lambda market, profile: ahead(market, 20)["close"][:, whole(market).column(profile.benchmark)],
    )


@leak
def exposure_by_volatility_of_the_whole_period(patch):
    real = decision.net_weights

    def scaled(atoms, weights):
        world = whole(LATEST[0])
        close = world["close"][:, world.column("BINANCE:BTCUSDT")]
        return real(atoms, weights * min(1.0, 0.02 / np.nanstd(np.diff(np.log(close)))))

    patch.setattr(decision, "net_weights", scaled)


# ---- leaks of the walk-forward and the book ----------------------------------------------------------------------


@leak
def grid_counted_from_the_last_bar(patch):
    def rows(days, settings):
        return np.arange(len(days) - 2, settings.train, -settings.step, dtype=np.int64)[::-1][-5:]

    patch.setattr(walk_module, "rebalance_rows", rows)


@leak
def same_bar_trade(patch):
    """The order of a decision fills at the open of the bar that it was decided on."""
    first: list[int] = []

    def early(row, tranche, weights):
        first.append(row)
        return Target(row - int(row > first[0]), tranche, weights)

    patch.setattr(walk_module, "Target", early)


@leak
def fill_at_the_better_of_open_and_close(patch):
    opens(patch, lambda bars: np.fmin(bars.open, bars.close))


@leak
def fill_at_the_mean_of_the_bar(patch):
    opens(patch, lambda bars: (bars.open + bars.close) / 2)


@leak
def no_order_on_a_day_that_falls(patch):
    def timed(real, bars, targets, *rest, **named):
        falls = bars.close < bars.open
        wise = [replace(target, weights=np.where(falls[target.row + 1], 0.0, target.weights)) for target in targets]
        return real(bars, wise, *rest, **named)

    simulates(patch, timed)


@leak
def marked_at_the_close_of_tomorrow(patch):
    def marked(real, bars, *rest, **named):
        following = np.vstack([bars.close[1:], bars.close[-1:]])
        return real(replace(bars, close=np.where(np.isnan(following), bars.close, following)), *rest, **named)

    simulates(patch, marked)


@leak
def hole_filled_from_the_next_bar(patch):
    real = book_module.read_bars

    def filled(prices):
        bars = real(prices)
        mark = bars.mark.copy()
        for row in range(len(mark) - 2, -1, -1):
            mark[row] = np.where(bars.has_bar[row], mark[row], mark[row + 1])
        return replace(bars, mark=mark)

    patch.setattr(book_module, "read_bars", filled)


@leak
def hole_bridged_by_a_line(patch):
    real = book_module.read_bars

    def bridged(prices):
        bars = real(prices)
        mark = bars.mark.copy()
        for row in range(1, len(mark) - 1):
            middle = (bars.mark[row - 1] + bars.mark[row + 1]) / 2
            mark[row] = np.where(bars.has_bar[row], mark[row], middle)
        return replace(bars, mark=mark)

    patch.setattr(book_module, "read_bars", bridged)


@leak
def left_before_the_listing_ends(patch):
    real = book_module.read_bars

    def warned(prices):
        bars = real(prices)
        coming = np.zeros_like(bars.has_bar)
        for day in (1, 2, 3):
            coming[:-day] |= bars.has_bar[day:]
        return replace(bars, ended=bars.has_bar & ~coming)

    patch.setattr(book_module, "read_bars", warned)


@leak
def orders_of_the_next_decision(patch):
    real = walk_module.hold

    def early(market, profile, rebalances):
        following = [*rebalances[1:], rebalances[-1]]
        return real(
            market, profile, [replace(a, targets=b.targets) for a, b in zip(rebalances, following, strict=True)]
        )

    patch.setattr(walk_module, "hold", early)


@leak
def nav_in_units_of_the_last_day(patch):
    def rescaled(real, *rest, **named):
        book = real(*rest, **named)
        return replace(book, nav=book.nav / book.nav[-1])

    simulates(patch, rescaled)


@leak
def costs_by_the_turnover_of_the_whole_period(patch):
    def shared(real, *rest, **named):
        book = real(*rest, **named)
        mean = float(book.cost.mean())
        return replace(book, nav=book.nav + np.cumsum(book.cost) - mean * np.arange(1, len(book.nav) + 1))

    simulates(patch, shared)
