"""Recorded analyses: indicators with previous values, votes and ratings as TradingView gave them."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from recordings import FIELDS

from assay.ratings import VOTES, label
from assay.ratings.averages import recursive_averages, whole
from assay.ratings.indicators import indicators
from assay.ratings.tape import OPEN_TIME, Tape, tape
from assay.ratings.votes import NO_VOTE, ratings, rules, votes

WINDOWS = (10, 20, 30, 50, 100, 200)
AVERAGES = {f"{kind}{n}": f"{kind.lower()}_{n}" for kind in ("SMA", "EMA") for n in WINDOWS}

COMPUTE = {
    **{name.upper().replace("_", ""): name for name in AVERAGES.values()},
    "HullMA": "hull_ma_9",
    "Ichimoku": "ichimoku",
    "VWMA": "vwma_20",
    "ADX": "adx",
    "AO": "awesome",
    "BBP": "bull_bear",
    "CCI": "cci",
    "MACD": "macd",
    "Mom": "momentum",
    "RSI": "rsi",
    "STOCH.K": "stochastic",
    "Stoch.RSI": "stoch_rsi",
    "UO": "ultimate",
    "W%R": "williams_r",
}
WORDS = {"BUY": 1.0, "NEUTRAL": 0.0, "SELL": -1.0}
NEEDED = sorted({source for rule in rules("2021").values() for source in (*rule.inputs, *rule.counted_by)})
UNRECORDED = {"ichimoku", "williams_r", "bull_bear", "stoch_rsi"}
"""Votes that need a value which no record holds; their own vote is recorded."""
MAYBE_UNRECORDED = {"stochastic": "Stoch.K[1]"}
"""A vote that needs a value which one of the two records holds."""


@pytest.fixture(scope="module", params=["tv_bnbusdt_15m_20230110.json", "tv_tsla_5m_20220920.json"])
def analysis(shared, request) -> dict:
    record = json.loads((shared / "tradingview" / request.param).read_text())
    return record["result"]["NASDAQ:TSLA"] if "result" in record else record


def values_of(analysis: dict, **more: float) -> dict[str, np.ndarray]:
    recorded = {FIELDS[field]: value for field, value in analysis["indicators"].items() if field in FIELDS}
    return {name: np.array([{**recorded, **more}.get(name, np.nan)]) for name in NEEDED}


def recorded_votes(analysis: dict) -> dict[str, float]:
    words = {**analysis["moving_averages"]["COMPUTE"], **analysis["oscillators"]["COMPUTE"]}
    return {COMPUTE[name]: WORDS[word] for name, word in words.items()}


def test_record_names_every_vote(analysis):
    assert set(recorded_votes(analysis)) == set(VOTES)
    assert len(VOTES) == 26


def test_votes_equal_the_record(analysis):
    """Both are of the time of edition 2021."""
    cast = {name: vote.item() for name, vote in votes(values_of(analysis), "2021").items()}
    missing = UNRECORDED | {name for name, field in MAYBE_UNRECORDED.items() if field not in analysis["indicators"]}
    assert {name for name in VOTES if cast[name] == NO_VOTE} == missing
    known = {name: vote for name, vote in cast.items() if name not in missing}
    assert known == {name: recorded_votes(analysis)[name] for name in known}


def test_ratings_equal_the_record(analysis):
    """The votes that need an unrecorded value come from the record, all others from the indicators."""
    cast = votes(values_of(analysis), "2021")
    for name, vote in recorded_votes(analysis).items():
        if cast[name].item() == NO_VOTE:
            cast[name] = np.array([int(vote)], dtype=np.int8)
    found = [round(rating.item(), 8) for rating in ratings(cast)]
    assert found == [analysis["indicators"][f"Recommend.{group}"] for group in ("All", "MA", "Other")]


def test_labels_equal_the_record(analysis):
    for group, field in (("summary", "All"), ("moving_averages", "MA"), ("oscillators", "Other")):
        assert label(analysis["indicators"][f"Recommend.{field}"]) == analysis[group]["RECOMMENDATION"]


@pytest.mark.parametrize("unknown", [-1e3, -90.0, -50.0, -10.0, 0.0, 1e3])
def test_two_votes_are_the_recorded_ones_whatever_the_unrecorded_value_was(analysis, unknown):
    """Williams' %R and bull and bear power: BBPower is the sum of the two powers."""
    recorded = analysis["indicators"]
    ema_13 = (recorded["high"] + recorded["low"] - recorded["BBPower"]) / 2
    more = {
        "williams_r_prev": unknown,
        "bull_power": recorded["high"] - ema_13,
        "bear_power": recorded["low"] - ema_13,
        "bull_power_prev": unknown,
        "bear_power_prev": unknown,
    }
    cast = votes(values_of(analysis, **more), "2021")
    for name in ("williams_r", "bull_bear"):
        assert cast[name].item() == recorded_votes(analysis)[name]


# BTCUSDT, three intervals at one moment; the last bar was forming.

CLOSE_ONLY = {**AVERAGES, "RSI": "rsi", "MACD.macd": "macd", "MACD.signal": "macd_signal", "Mom": "momentum"} | {
    "HullMA9": "hull_ma_9"
}
INSIDE_RANGE = {"Ichimoku.BLine": "base", "Stoch.K": "stoch_k", "W.R": "williams_r"}
"""Fields whose windows have their extremes in closed bars."""
HISTORY_TOO_SHORT = {"15m": {"EMA100", "EMA200"}, "1h": {"EMA100", "EMA200"}, "1d": set()}
"""1,200 bars leave a trace of the seed; the days before come from the other file."""


def btc_bars(shared, timeframe: str) -> pl.DataFrame:
    bars = pl.read_parquet(shared / "tradingview" / "btcusdt_bars_before_20251220_scan.parquet")
    bars = bars.filter(pl.col("timeframe") == timeframe).select("timestamp", "high", "low", "close", "volume")
    if timeframe == "1d":
        days = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet").filter(pl.col("symbol") == "BINANCE:BTCUSDT")
        older = days.filter(pl.col("timestamp") < bars["timestamp"].min()).select(bars.columns)
        bars = pl.concat([older, bars])
    return bars.with_columns(pl.col("timestamp").cast(OPEN_TIME)).sort("timestamp")


def btc_case(shared, timeframe: str):
    """Recorded fields, what is known of the forming bar, and the bars before it."""
    folder = shared / "tradingview"
    recorded = json.loads((folder / "tv_btcusdt_20251220_raw.json").read_text())[timeframe]
    context = json.loads((folder / "tv_btcusdt_20251220_context.json").read_text())[timeframe]
    return timeframe, recorded, context, btc_bars(shared, timeframe)


@pytest.fixture(scope="module", params=["15m", "1h", "1d"])
def btc(shared, request):
    return btc_case(shared, request.param)


def tape_of(bars: pl.DataFrame, close: float, high: float, low: float, volume: float) -> Tape:
    """Bars with a forming one behind them; a whole number of days apart, whatever is missing between the files."""
    prices = {"high": max(high, close), "low": min(low, close), "close": close, "volume": volume}
    every = pl.concat([bars.select(*prices), pl.DataFrame([prices])])
    start = np.datetime64("2020-01-01", "us")
    opened = pl.Series(start + np.arange(every.height) * np.timedelta64(1, "D")).dt.replace_time_zone("UTC")
    named = {"symbol": pl.lit("X:A"), "interval": pl.lit("1d"), "open_time": opened}
    return tape(every.with_columns(**named), "1d")


def measured(bars: pl.DataFrame, **last: float) -> dict[str, np.ndarray]:
    """Indicator values of the forming bar, (1,) each."""
    on = tape_of(bars, **last)
    return indicators(on, recursive_averages(on, whole(on)), slice(len(on.bar) - 1, len(on.bar)))


def forming(context: dict) -> dict[str, float]:
    known = context.get("closed_15m_children", context.get("final_bar_for_bounds"))
    return {"close": context["implied_forming_close"], **{name: known[name] for name in ("high", "low", "volume")}}


def test_closes_give_the_recorded_fields(btc):
    timeframe, recorded, context, bars = btc
    found = measured(bars, **forming(context))
    for field in sorted({*CLOSE_ONLY, *INSIDE_RANGE} - HISTORY_TOO_SHORT[timeframe]):
        name = {**CLOSE_ONLY, **INSIDE_RANGE}[field]
        assert found[name][-1] == pytest.approx(recorded[field], rel=1e-12, abs=0), field


def test_middle_of_the_forming_bar_explains_three_recorded_fields(btc):
    """BBPower gives high + low of the forming bar; AO and CCI then follow to rounding."""
    _, recorded, context, bars = btc
    close = context["implied_forming_close"]
    start = measured(bars, **forming(context))
    total = recorded["BBPower"] + 2 * start["ema_13"][-1]
    half = abs(close - total / 2) + 1.0  # any high and low with this sum, the close between them
    found = measured(bars, close=close, high=total / 2 + half, low=total / 2 - half, volume=1.0)
    assert found["ao"][-1] == pytest.approx(recorded["AO"], rel=1e-10)
    assert found["cci"][-1] == pytest.approx(recorded["CCI20"], rel=1e-9)


def test_day_agrees_in_all_but_volume(shared):
    """The closed quarters of the day held its high and low: every field that needs them recomputes too."""
    _, recorded, context, bars = btc_case(shared, "1d")
    assert bars["timestamp"].diff().drop_nulls().n_unique() == 1
    found = {name: values[-1] for name, values in measured(bars, **forming(context)).items()}
    for field, name in {"ADX": "adx", "AO": "ao", "CCI20": "cci", "UO": "ultimate"}.items():
        assert found[name] == pytest.approx(recorded[field], rel=1e-12), field
    assert found["bull_power"] + found["bear_power"] == pytest.approx(recorded["BBPower"], rel=1e-12)


@pytest.mark.parametrize("edition", ["2026", "2021"])
def test_ratings_of_the_forming_bar(btc, edition):
    """Recorded under edition 2026; the other one says the same of these three.

    Any volume from the recorded quarters to ten times as much, and the bounds of high and low, give the ratings.
    """
    _, recorded, context, bars = btc
    bar = forming(context)
    for volume in (bar["volume"], 10 * bar["volume"]):
        cast = votes(measured(bars, **{**bar, "volume": volume}), edition)
        found = [rating.item() for rating in ratings(cast)]
        assert found == pytest.approx([recorded[f"Recommend.{group}"] for group in ("All", "MA", "Other")], rel=1e-15)
