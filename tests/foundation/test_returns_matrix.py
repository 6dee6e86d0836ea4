from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from foundation_markets import NAN, listings, market
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.base.domain import DAY, UTC
from assay.base.errors import DataError
from assay.market.panel import Market
from assay.market.returns import ReturnsMatrix, returns_matrix
from assay.settings.model import DataSettings

BTC = "BINANCE:BTCUSDT"
SETTINGS = DataSettings(lookback=60, floor=20)


def walk(n: int, seed: int = 0) -> list[float]:
    return list(100 * np.cumprod(1 + np.random.default_rng(seed).normal(0, 0.02, n)))


def matrix(closes: dict[str, list[float]], settings: DataSettings = SETTINGS) -> ReturnsMatrix:
    panel = market({BTC: walk(len(next(iter(closes.values())))), **closes})
    return returns_matrix(panel, [symbol for symbol in closes if symbol != BTC], BTC, settings)


def reasons(result: ReturnsMatrix) -> dict[str, str]:
    return {drop.name: drop.reason for drop in result.dropped}


def test_returns_are_simple_close_to_close_returns_between_consecutive_days() -> None:
    closes = walk(40)
    closes[10:13] = [100.0, 110.0, 99.0]
    closes[20] = NAN
    result = matrix({"X:AUSDT": closes})
    assert result.symbols == (BTC, "X:AUSDT")
    assert result.values.shape == (39, 2)
    own = result["X:AUSDT"]
    assert own[10] == pytest.approx(0.10, abs=1e-15)
    assert own[11] == pytest.approx(-0.10, abs=1e-15)
    # The day without a bar has no return, and neither has the day after it: nothing is filled.
    assert np.flatnonzero(np.isnan(own)).tolist() == [19, 20]
    assert result.days[0] == np.datetime64("2023-01-02")
    assert result.days[-1] == np.datetime64("2023-02-09")


def test_three_missing_days_end_a_listing_and_a_redenomination_across_them_is_no_return() -> None:
    closes = walk(56)
    closes[28:31] = [NAN] * 3
    closes[31:] = [price * 1000 for price in closes[31:]]
    result = matrix({"X:AUSDT": closes})
    assert reasons(result) == {}
    own = result["X:AUSDT"]
    assert np.nanmax(np.abs(own)) < 0.2
    assert np.flatnonzero(np.isnan(own)).tolist() == [27, 28, 29, 30]


@pytest.mark.parametrize(
    ("closes", "reason"),
    [
        (walk(40), None),
        ([NAN] * 19 + walk(21), None),
        ([NAN] * 20 + walk(20), "TOO_FEW_OBSERVATIONS"),
        ([NAN] * 40, "MISSING"),
        # 39 possible returns: 35.1 are needed.
        (walk(37) + [NAN] * 3, None),
        (walk(36) + [NAN] * 4, "COVERAGE"),
        ([*walk(20), *[price * 100 for price in walk(20)]], "TOXIC"),
        ([*[6.0**-1 * 600] * 20, *[600.0] * 20], None),
        ([100.0] * 20 + [600.01] * 20, "TOXIC"),
        ([100.0] * 40, "ZERO_VARIANCE"),
        ([2.0**i for i in range(40)], "ZERO_VARIANCE"),
    ],
)
def test_a_column_is_kept_or_dropped_with_its_reason(closes: list[float], reason: str | None) -> None:
    result = matrix({"X:AUSDT": closes})
    assert reasons(result) == ({"X:AUSDT": reason} if reason else {})
    assert ("X:AUSDT" in result.symbols) is (reason is None)
    assert all(drop.detail for drop in result.dropped)


def test_a_symbol_without_a_column_is_missing() -> None:
    result = returns_matrix(market({BTC: walk(40)}), ["X:NONEUSDT", BTC], BTC, SETTINGS)
    assert reasons(result) == {"X:NONEUSDT": "MISSING"}
    assert result.symbols == (BTC,)


@pytest.mark.parametrize("closes", [[100.0] * 40, [NAN] * 30 + walk(10), walk(30) + [NAN] * 10])
def test_a_benchmark_that_cannot_be_kept_is_an_error(closes: list[float]) -> None:
    with pytest.raises(DataError, match="benchmark"):
        returns_matrix(market({BTC: closes, "X:AUSDT": walk(40)}), ["X:AUSDT"], BTC, SETTINGS)


def test_an_absent_benchmark_is_an_error() -> None:
    with pytest.raises(DataError, match="MISSING"):
        returns_matrix(market({"X:AUSDT": walk(40)}), ["X:AUSDT"], BTC, SETTINGS)


def test_one_day_of_bars_is_no_matrix() -> None:
    with pytest.raises(DataError, match="TOO_FEW"):
        returns_matrix(market({BTC: [1.0]}), [], BTC, SETTINGS)


def test_longer_history_changes_nothing() -> None:
    closes = {BTC: walk(90), "X:AUSDT": walk(90, 1), "X:BUSDT": [NAN] * 50 + walk(40, 2)}
    whole = market(closes)
    short = whole.until(whole.as_of, SETTINGS.lookback)
    one, other = (returns_matrix(panel, closes, BTC, SETTINGS) for panel in (whole, short))
    assert one.values.shape == (59, 3)
    assert one.to_frame().equals(other.to_frame())
    assert one.dropped == other.dropped


@st.composite
def panels(draw: st.DrawFn) -> tuple[Market, DataSettings]:
    days, symbols = draw(st.integers(30, 50)), ["X:AUSDT", "X:BUSDT", "X:CUSDT"]
    price = st.sampled_from([NAN, 1.0, 1.0, 2.0, 3.0, 20.0])
    closes = {symbol: [draw(price) for _ in range(days)] for symbol in symbols}
    limits = DataSettings(lookback=draw(st.integers(30, 50)), floor=20, coverage=draw(st.sampled_from([0.0, 0.5, 0.9])))
    return market({BTC: walk(days), **closes}), limits


@settings(deadline=None)
@given(panels())
def test_the_matrix_is_what_the_rules_say_day_by_day(drawn: tuple[Market, DataSettings]) -> None:
    panel, limits = drawn
    result = returns_matrix(panel, panel.symbols, BTC, limits)
    first = max(0, panel.days.size - limits.lookback)
    for symbol in panel.symbols:
        column = panel.column(symbol)
        price = {day: float(panel["close"][row, column]) for row, day in enumerate(panel.days) if row >= first}
        kept = {day: value for day, value in price.items() if not math.isnan(value)}
        found = {day: value / kept[day - 1] - 1 for day, value in kept.items() if day - 1 in kept}
        possible = (panel.days[-1] - min(kept)).astype(int) if kept else 0
        good = (
            len(found) >= 20
            and len(found) >= limits.coverage * possible - 1e-9
            and max(found.values()) <= 5
            and min(found.values()) < max(found.values())
        )
        assert (symbol in result.symbols) == good
        if good:
            got = dict(zip(result.days, result[symbol], strict=True))
            assert {day: value for day, value in got.items() if not math.isnan(value)} == found


def test_a_frame_is_what_the_next_layer_reads_and_comes_back_whole() -> None:
    closes = walk(40)
    closes[20] = NAN
    result = matrix({"X:ÄUSDT": closes, "X:AUSDT": walk(40, 5)})
    frame = result.to_frame()
    assert frame.columns == ["date", BTC, "X:AUSDT", "X:ÄUSDT"]
    assert frame.schema["date"] == pl.Datetime("us", "UTC")
    assert set(frame.dtypes[1:]) == {pl.Float64}
    assert frame["date"][0] == dt.datetime(2023, 1, 2, tzinfo=UTC)
    assert frame["date"].diff().drop_nulls().unique().to_list() == [DAY]
    assert frame["X:ÄUSDT"].null_count() == 2
    assert frame["X:ÄUSDT"].is_nan().sum() == 0
    back = ReturnsMatrix.from_frame(frame, BTC)
    assert back.symbols == result.symbols
    assert np.array_equal(back.values, result.values, equal_nan=True)
    assert np.array_equal(back.days, result.days)


def test_a_symbol_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DataError):
        _ = matrix({"X:AUSDT": walk(40)})["X:BUSDT"]


def test_recorded_redenominations_never_enter_the_matrix(recorded: Market) -> None:
    # QUICK was split 1:1000 on 2023-07-21 and BNX 1:100 in 2023-02; both paused trading for days.
    then = recorded.until(dt.datetime(2023, 12, 1, tzinfo=UTC), 500)
    result = returns_matrix(then, ["BINANCE:QUICKUSDT", "BINANCE:BNXUSDT"], BTC, DataSettings())
    assert {"BINANCE:QUICKUSDT", "BINANCE:BNXUSDT"} <= set(result.symbols)
    assert np.nanmin(result.values) > -0.6
    assert np.nanmax(result.values) < 1.5


def test_recorded_collapse_of_luna_is_a_real_loss(recorded: Market) -> None:
    then = recorded.until(dt.datetime(2022, 5, 14, tzinfo=UTC), 500)
    result = returns_matrix(then, ["BINANCE:LUNAUSDT"], BTC, DataSettings())
    assert -1 < np.nanmin(result["BINANCE:LUNAUSDT"]) < -0.99


def test_listings_of_the_helper_follow_the_rule() -> None:
    bars = np.array([[1, 1, 1, 0, 0, 1, 0, 0, 0, 1]], dtype=bool).T
    assert listings(bars)[:, 0].tolist() == [0, 0, 0, -1, -1, 0, -1, -1, -1, 1]
