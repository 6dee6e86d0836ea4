"""The walk-forward's calendar, its causality, and the tables it leaves."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from evaluation_markets import Decided, make_market, single

from assay.backtest.book import Target, simulate
from assay.backtest.overfitting import probability_of_overfitting
from assay.backtest.preservation import preservation
from assay.backtest.statistics import deflated
from assay.backtest.walk_forward import prices_of, rebalance_rows, walk_forward
from assay.base.domain import UTC
from assay.base.errors import ContractError, DataError, NoCandidates, ProfileError
from assay.base.files import content_hash_table
from assay.market.panel import Market
from assay.settings.model import RISK_PROFILES, Costs, Guard, Profile

SAMPLE = np.arange("2023-01-01", "2024-01-22", dtype="datetime64[D]")


def profile(**settings) -> Profile:
    return Profile(name="p", direction="LONG", logics=("rating_all",), scanners=(), **settings)


def alike(weights: dict[str, float]) -> dict[str, dict[str, float]]:
    """The same weights for every risk profile."""
    return dict.fromkeys(RISK_PROFILES, weights)


def hold_first(known: Market) -> Decided:
    """Half in the first coin, and a whole without the guard."""
    name = known.symbols[0]
    return Decided(alike({name: 0.5}), alike({name: 1.0}), (), {"scanned": len(known.days), "regime": "NORMAL"})


def random_market(n_days: int = 60, n_symbols: int = 4, seed: int = 0) -> Market:
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.03, (n_days, n_symbols)), axis=0))
    return make_market(close, close * np.exp(rng.normal(0, 0.01, close.shape)))


SHORT = single(train=20, hold=10, step=10, days=250)


# ---- the calendar -----------------------------------------------------------------------------------------------


def test_sample_starts_on_2023_09_10_and_trades_133_days():
    rows = rebalance_rows(SAMPLE, single())
    assert str(SAMPLE[rows[0]]) == "2023-09-10"
    assert rows[0] == 252  # returns that exist by then: 385 in all, and 133 are left
    assert len(SAMPLE) - 1 - rows[0] == 133
    assert np.diff(rows).tolist() == [10] * 13


@pytest.mark.parametrize("n_days", [503, 504, 600, 1500])
def test_a_run_looks_back_over_25_rebalances(n_days: int):
    days = np.datetime64("2020-01-01") + np.arange(n_days)
    rows = rebalance_rows(days, single())
    assert len(rows) == 25
    assert n_days - 1 - rows[0] == 250
    assert n_days - 1 - rows[-1] == 10


def test_years_from_a_start():
    days = np.arange("2020-09-01", "2024-07-01", dtype="datetime64[D]")
    rows = rebalance_rows(days, single(start=dt.date(2021, 7, 1)))
    assert str(days[rows[0]]) == "2021-07-01"
    assert len(rows) == 110


def test_later_bars_do_not_move_a_started_grid():
    settings = single(start=dt.date(2023, 9, 20))
    longer = np.arange("2023-01-01", "2024-06-01", dtype="datetime64[D]")
    rows, more = rebalance_rows(SAMPLE, settings), rebalance_rows(longer, settings)
    assert more[: len(rows)].tolist() == rows.tolist()


@pytest.mark.parametrize("start", ["2023-09-09", "2024-01-21", "2025-01-01", "2022-01-01"])
def test_a_start_that_bars_do_not_allow_is_refused_by_name(start: str):
    with pytest.raises(DataError) as error:
        rebalance_rows(SAMPLE, single(start=dt.date.fromisoformat(start)))
    assert "2023-09-10 to 2024-01-20" in error.value.hint


def test_last_decision_has_a_day_to_trade():
    assert rebalance_rows(SAMPLE[:254], single()).tolist() == [252]
    with pytest.raises(DataError):
        rebalance_rows(SAMPLE[:253], single())


def test_overlapping_holdings_are_refused():
    with pytest.raises(ProfileError):
        rebalance_rows(SAMPLE, single(hold=20, step=10))


# ---- what a decision sees, and when it fills ----------------------------------------------------------------------


@pytest.mark.parametrize(("scanned", "lookback"), [(30, 35), (35, 30)])
def test_decisions_see_closed_bars_only_and_no_more_than_they_and_their_scanners_need(monkeypatch, scanned, lookback):
    monkeypatch.setattr("assay.settings.model.SCAN_DAYS", scanned)
    market, seen = random_market(), []

    def decide(known: Market) -> Decided:
        seen.append((known.days[-1], len(known.days), known.as_of))
        return hold_first(known)

    told = []
    settings = profile(walk_forward=SHORT, data={"lookback": lookback})
    result = walk_forward(market, settings, decide, lambda done, total: told.append((done, total)))
    assert [str(day) for day, _, _ in seen] == ["2023-01-21", "2023-01-31", "2023-02-10", "2023-02-20"]
    assert [rows for _, rows, _ in seen] == [21, 31, 35, 35]
    assert seen[0][2] == dt.datetime(2023, 1, 22, tzinfo=UTC)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert str(result.days[0]) == "2023-01-22"
    assert len(result.days) == 60 - 21


def test_orders_fill_at_the_first_open_at_or_after_the_decision():
    """Open of the day that begins at as_of: the first trade is there, at no other price."""
    market = random_market()
    result = walk_forward(market, profile(walk_forward=SHORT), hold_first)
    trades = result.frames()["trades"].filter(pl.col("risk_profile") == "hrp")
    assert trades["date"][0] == result.rebalances[0].as_of.date()
    assert trades["reference"].to_list() == market["open"][[21, 31, 41, 51], 0].tolist()


def test_no_row_before_a_date_depends_on_what_comes_after():
    market = random_market(seed=3)

    def decide(known: Market) -> Decided:
        gain = known["close"][-1] / known["close"][0]
        name = known.symbols[int(np.argmax(gain))]
        return Decided(alike({name: 1.0}), alike({name: 1.0}))

    cut = 35
    fields = {name: values.copy() for name, values in market.fields.items()}
    for values in fields.values():
        values[cut:] = np.random.default_rng(1).lognormal(0, 1, values[cut:].shape)
    noisy = Market(market.days, market.symbols, fields, market.listing, market.as_of)
    before, after = (walk_forward(m, profile(walk_forward=SHORT), decide).frames() for m in (market, noisy))
    day = market.days[cut].item()
    for name in ("returns", "unguarded_returns", "trades"):
        known = pl.col("date") < day
        left, right = before[name].filter(known), after[name].filter(known)
        assert left.height > 0
        assert left.equals(right)
    known = pl.col("as_of") < dt.datetime(day.year, day.month, day.day, tzinfo=UTC)
    left, right = (frames["weights"].filter(known).drop("pnl") for frames in (before, after))
    assert left.height > 0
    assert left.equals(right)


def test_same_bar_leak_would_show():
    """A coin that gaps up between the decision's close and the next open earns nothing for who buys at that open."""
    close = np.ones((40, 2))
    open_ = close.copy()
    open_[21:], close[21:] = 2.0, 2.0
    settings = profile(walk_forward=SHORT, costs=Costs(fee=0, slippage=0, borrow=0))
    result = walk_forward(make_market(close, open_), settings, hold_first)
    assert result.unguarded.books["hrp"].nav.tolist() == [1.0] * 19


def test_benchmark_covers_the_same_days():
    """A book of the benchmark alone, filled at the close before by opens that equal it, moves as the benchmark does."""
    rng = np.random.default_rng(5)
    close = np.exp(np.cumsum(rng.normal(0, 0.03, (60, 2)), axis=0))
    open_ = np.vstack([close[:1], close[:-1]])

    def decide(known: Market) -> Decided:
        return Decided(alike({"BINANCE:BTCUSDT": 1.0}), alike({}))

    settings = profile(walk_forward=SHORT, costs=Costs(fee=0, slippage=0, borrow=0))
    result = walk_forward(make_market(close, open_), settings, decide)
    np.testing.assert_allclose(result.books["hrp"].returns, result.benchmark, atol=1e-13)
    assert result.statistics()["as_run"]["hrp"]["beta"] == pytest.approx(1.0)


# ---- periods in cash --------------------------------------------------------------------------------------------


def test_nobody_found_is_a_period_in_cash():
    market, calls = random_market(), []

    def decide(known: Market) -> Decided:
        calls.append(1)
        if len(calls) == 2:
            raise NoCandidates("the scan found nobody")
        if len(calls) == 3:
            return Decided({}, {}, (), {"reason": "NO_CANDIDATES", "scanned": 0})
        return hold_first(known)

    result = walk_forward(market, profile(walk_forward=SHORT), decide)
    frames = result.frames()
    assert frames["decisions"]["reason"].to_list() == [None, "NO_CANDIDATES", "NO_CANDIDATES", None]
    assert frames["decisions"]["held"].to_list() == [1, 0, 0, 1]
    assert frames["decisions"]["scanned"].to_list() == [21, None, 0, 51]
    gross = result.books["barbell"].gross
    assert (gross[:10] > 0).all()
    assert not gross[10:30].any()
    assert (gross[30:] > 0).all()
    assert result.books["barbell"].returns[11:30].tolist() == [0.0] * 19
    assert result.regimes[0] == "NORMAL"
    assert result.regimes[10] == "UNKNOWN"


def test_other_errors_of_a_decision_are_not_swallowed():
    def decide(known: Market) -> Decided:
        raise DataError("fewer than 200 rows")

    with pytest.raises(DataError):
        walk_forward(random_market(), profile(walk_forward=SHORT), decide)


def test_a_forgotten_risk_profile_is_refused():
    def decide(known: Market) -> Decided:
        return Decided({"hrp": {}}, {"hrp": {}})

    with pytest.raises(ContractError):
        walk_forward(random_market(), profile(walk_forward=SHORT), decide)


def test_a_symbol_without_bars_is_refused():
    def decide(known: Market) -> Decided:
        return Decided(alike({"BINANCE:XUSDT": 1.0}), alike({}))

    with pytest.raises(DataError):
        walk_forward(random_market(), profile(walk_forward=SHORT), decide)


def test_a_holding_shorter_than_the_step_ends_in_cash():
    settings = profile(walk_forward=single(train=20, hold=4, step=10))
    result = walk_forward(random_market(), settings, hold_first)
    gross = result.books["hrp"].gross
    held = np.array([(day % 10) < 4 for day in range(len(gross))])
    assert (gross[held] > 0).all()
    assert not gross[~held].any()
    weights = result.frames()["weights"].filter(pl.col("risk_profile") == "hrp")
    assert weights.height == len(result.rebalances) == 4
    assert 1.0 + weights["pnl"].sum() == pytest.approx(result.books["hrp"].nav[-1], abs=1e-12)


# ---- tables -----------------------------------------------------------------------------------------------------


def test_tables_are_sorted_unique_and_whole():
    result = walk_forward(random_market(), profile(walk_forward=SHORT), hold_first)
    frames = result.frames()
    keys = {
        "returns": ["risk_profile", "date"],
        "phase_returns": ["risk_profile", "date"],
        "unguarded_returns": ["risk_profile", "date"],
        "phase_weights": ["as_of", "risk_profile", "symbol"],
        "weights": ["as_of", "risk_profile", "symbol"],
        "unguarded_weights": ["as_of", "risk_profile", "symbol"],
        "decisions": ["as_of"],
        "trades": ["date", "risk_profile", "symbol", "reason"],
        "cancelled": ["date", "risk_profile", "symbol"],
    }
    assert frames.keys() == keys.keys()
    for name, key in keys.items():
        frame = frames[name]
        assert frame.select(key).is_sorted(key) if len(key) == 1 else frame.equals(frame.sort(key))
        assert frame.select(key).is_unique().all()
        assert len(content_hash_table(frame, key)) == 64
        for column in frame.iter_columns():
            assert not column.dtype.is_float() or column.is_finite().all()
    assert frames["returns"].height == 5 * 39
    assert frames["cancelled"].is_empty()
    again = walk_forward(random_market(), profile(walk_forward=SHORT), hold_first).frames()
    assert all(frames[name].equals(again[name]) for name in keys)


def test_returns_table_tells_where_each_day_came_from():
    """Exposure and cash of the table are the account's: NAV x (1 - net) = cash, returns multiply to NAV."""
    result = walk_forward(random_market(), profile(walk_forward=SHORT), hold_first)
    table = result.frames()["returns"].filter(pl.col("risk_profile") == "min_variance")
    nav = table["nav"].to_numpy()
    np.testing.assert_allclose(nav * (1.0 - table["net"].to_numpy()), table["cash"].to_numpy(), atol=1e-12)
    np.testing.assert_allclose(np.cumprod(1.0 + table["ret"].to_numpy()), nav, rtol=1e-12)


def test_cancelled_orders_are_in_the_tables():
    close = np.ones((40, 2))
    close[21, 0] = np.nan
    result = walk_forward(make_market(close), profile(walk_forward=SHORT), hold_first)
    cancelled = result.frames()["cancelled"]
    assert cancelled["symbol"].unique().to_list() == ["BINANCE:AAUSDT"]
    assert cancelled.height == len(RISK_PROFILES)
    assert cancelled["net_weight"].unique().to_list() == [0.5]


def test_summary_columns_have_one_type():
    def decide(known: Market) -> Decided:
        first = len(known.days) == 21
        told = {"share": 1 if first else 0.5, "note": None, "flag": first, "mixed": 1 if first else "x"}
        return Decided(alike({}), alike({}), (), told)

    table = walk_forward(random_market(), profile(walk_forward=SHORT), decide).frames()["decisions"]
    assert table.schema["share"] == pl.Float64
    assert table.schema["note"] == pl.String
    assert table.schema["flag"] == pl.Boolean
    assert table["mixed"].to_list() == ["1", "x", "x", "x"]


def test_a_summary_cannot_overwrite_the_key():
    def decide(known: Market) -> Decided:
        return Decided(alike({}), alike({}), (), {"as_of": "x"})

    with pytest.raises(ValueError, match="as_of"):
        walk_forward(random_market(), profile(walk_forward=SHORT), decide).frames()


# ---- evidence ---------------------------------------------------------------------------------------------------


def test_statistics_cover_every_book():
    result = walk_forward(random_market(200), profile(walk_forward=SHORT), hold_first)
    figures = result.statistics()
    assert figures.keys() == {"as_run", "unguarded", "phases"}
    assert set(figures["as_run"]) == set(figures["unguarded"]) == set(RISK_PROFILES)
    mine = figures["as_run"]["hrp"]
    assert mine["days"] == 179
    assert mine["final_wealth"] == pytest.approx(result.books["hrp"].nav[-1])
    assert "dsr" not in mine
    seven = deflated({"hrp": result.books["hrp"].returns}, trials=7, variance=0.4)
    assert seven["hrp"]["dsr"] < mine["psr"]
    alone = deflated({"hrp": result.books["hrp"].returns}, trials=1)
    assert alone["hrp"]["dsr"] == pytest.approx(mine["psr"])
    assert mine["sharpe_low"] < mine["sharpe"] < mine["sharpe_high"]
    assert 0.0 <= mine["pbo"] <= 1.0
    assert mine["average_gross"] == pytest.approx(0.5, abs=0.1)
    assert figures["unguarded"]["hrp"]["average_gross"] == pytest.approx(1.0, abs=0.1)
    assert probability_of_overfitting({"one": result.books["hrp"].returns}) is None


def test_years_and_regimes():
    market = random_market(400)
    result = walk_forward(market, profile(walk_forward=SHORT), hold_first)
    years = result.by_year()["hrp"]
    assert list(years) == ["2023", "2024"]
    assert sum(figures["days"] for figures in years.values()) == len(result.days)
    assert list(result.by_regime()["hrp"]) == ["NORMAL"]


# ---- recorded bars ----------------------------------------------------------------------------------------------


def momentum(known: Market) -> Decided:
    """The 20 strongest coins of the last 60 days, half of them left out by a guard of 20 days."""
    close = known["close"]
    with np.errstate(invalid="ignore"):
        gain, lately = close[-1] / close[-61], close[-1] / close[-21] - 1.0
    known_for_long = np.isfinite(close[-253:]).all(axis=0)
    best = [int(i) for i in np.argsort(np.where(known_for_long, -gain, np.inf), kind="stable")[:20]]
    names = {known.symbols[i]: 0.05 for i in best}
    losers = tuple(known.symbols[i] for i in best if not lately[i] > 0.0)
    kept = {name: weight for name, weight in names.items() if name not in losers}
    return Decided(alike(kept), alike(names), losers)


def test_three_years_of_recorded_bars(recorded: Market):
    """110 rebalances over 2021-07 to 2024-06 with dead coins: NAV holds, the guard keeps out what it calls losers."""
    settings = profile(walk_forward=single(start=dt.date(2021, 7, 1)))
    began = time.process_time()
    result = walk_forward(recorded, settings, momentum)
    spent = time.process_time() - began
    assert len(result.rebalances) == 110
    book = result.books["hrp"]
    np.testing.assert_array_equal(book.nav, book.cash + sum((book.quantities * book.marks).T))
    assert 1.0 + book.holding_pnl.sum() == pytest.approx(book.nav[-1], abs=1e-9)
    assert spent < 3.0
    document = preservation(result.frames(), Guard())
    assert document.no_loss_maker_held
    assert document.profiles["hrp"].guard_off.loss_maker_weight_max > 0.0


def test_a_coin_that_died_costs_its_haircut(recorded: Market):
    """FTTUSDT's last bar before its pause: the holder sells three days later, 10 % below the last close."""
    column = recorded.column("BINANCE:FTTUSDT")
    listing = recorded.listing[:, column]
    ends = [
        row
        for row in np.flatnonzero(listing >= 0)[:-1].tolist()
        if (listing[row + 1 : row + 4] == -1).all() and row + 3 < len(listing)
    ]
    if not ends:
        pytest.skip("the recorded bars of FTT have no end")
    weights = np.zeros(len(recorded.symbols))
    weights[column] = 1.0
    book = simulate(prices_of(recorded, Costs()), [Target(ends[0] - 5, 0, weights)], Costs())
    assert book.trades.reason[1] == "delisting"
    assert book.trades.row[1] == ends[0] + 3
    assert book.trades.price[1] == pytest.approx(0.9 * recorded["close"][ends[0], column])


# ---- holes ----------------------------------------------------------------------------------------------------------


def whole(known: Market) -> Decided:
    """All of the money in the first coin, so that nothing is traded twice."""
    return Decided(alike({known.symbols[0]: 1.0}), alike({known.symbols[0]: 1.0}))


def holed(market: Market, begin: int, end: int) -> Market:
    """The market without bars on some days, listings as the lake cuts them."""
    gone = (np.arange(len(market.days)) >= begin) & (np.arange(len(market.days)) < end)
    fields = {name: np.where(gone[:, None], np.nan, values) for name, values in market.fields.items()}
    return replace(market, fields=fields, listing=np.where(gone[:, None], np.int32(-1), market.listing))


def seamless(market: Market) -> Market:
    """The market whose days open where the day before closed: orders fill at the price that they were sized at."""
    open_ = np.vstack([market["open"][:1], market["close"][:-1]])
    high, low = np.fmax(open_, market["close"]), np.fmin(open_, market["close"])
    return replace(market, fields={**market.fields, "open": open_, "high": high, "low": low})


def walked(market: Market):
    result = walk_forward(market, profile(walk_forward=SHORT, costs=Costs(fee=0.0, slippage=0.0)), whole)
    return result, result.frames()


@pytest.mark.parametrize("length", [1, 3, 6])
def test_a_hole_of_the_market_changes_no_other_day(length):
    market = random_market(80, 7)
    base, base_frames = walked(market)
    found, frames = walked(holed(market, 43, 43 + length))
    assert frames["trades"].equals(base_frames["trades"])
    assert [each.as_of for each in found.rebalances] == [each.as_of for each in base.rebalances]
    for name, book in found.books.items():
        inside = np.isin(book.rows, np.arange(43, 43 + length))
        np.testing.assert_allclose(book.nav[~inside], base.books[name].nav[~inside], rtol=1e-12)
        assert (book.nav[inside] == base.books[name].nav[book.rows == 42]).all()


def test_a_decision_that_falls_into_a_hole_waits_for_bars_and_what_is_held_stays():
    market = seamless(random_market(80, 7))
    base, base_frames = walked(market)
    found, frames = walked(holed(market, 49, 52))
    rows = [each.row for each in base.rebalances]
    assert [each.row for each in found.rebalances] == [52 if row == 50 else row for row in rows]
    assert frames["trades"].equals(base_frames["trades"])
    assert frames["cancelled"].is_empty()
    short = profile(walk_forward=single(train=20, hold=3, step=4, days=250), costs=Costs())
    assert walk_forward(holed(market, 48, 56), short, whole).rebalances[0].row == 20  # holdings do not overlap


def test_a_hole_of_one_coin_sells_it_on_the_third_day():
    market = random_market(80, 7)
    gone = holed(market, 43, 46)
    fields = {name: values.copy() for name, values in market.fields.items()}
    listing = market.listing.copy()
    listing[:, 0] = np.where(gone.listing[:, 0] < 0, -1, np.arange(80) > 45)
    for name, values in fields.items():
        values[:, 0] = gone.fields[name][:, 0]
    _, frames = walked(replace(market, fields=fields, listing=listing))
    told = frames["trades"].filter(pl.col("reason") == "delisting")
    assert set(told["date"]) == {market.days[45].item()}
