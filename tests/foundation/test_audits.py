from __future__ import annotations

import datetime as dt
import itertools
import math
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from foundation_markets import NAN, market
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.base.domain import DAY, UTC
from assay.market.health import data_health, health_flags, missing_audit, symbol_health
from assay.market.panel import Market
from assay.market.returns import returns_matrix
from assay.runs.documents import Candidate, Drop, Finding, MergedQuote
from assay.settings.model import DataSettings

BTC = "BINANCE:BTCUSDT"
A = "BINANCE:AUSDT"


def drift(n: int, start: float = 100.0) -> list[float]:
    return [start * 1.001**i for i in range(n)]


def health_of(closes: list[float], quarantined: dict[str, str] | None = None, **more: object) -> tuple[str, str, int]:
    panel = market({A: closes, BTC: drift(len(closes))}, **more)
    (record,) = symbol_health(panel, [A], quarantined or {})
    return record.status, record.cause, record.missing_days


def test_a_whole_series_is_ok() -> None:
    assert health_of(drift(20)) == ("OK", "20 bars from 2023-01-01 to 2023-01-20, none missing", 0)


def test_gaps_are_told_with_their_days() -> None:
    closes = drift(20)
    closes[5] = closes[9] = closes[10] = NAN
    status, cause, missing = health_of(closes)
    assert (status, missing) == ("GAPS", 3)
    assert cause == "3 of 20 days are missing: 2023-01-06 to 2023-01-06, 2023-01-10 to 2023-01-11"


def test_a_gap_of_three_days_makes_two_listings() -> None:
    closes = drift(20)
    closes[5:8] = [NAN] * 3
    status, cause, _ = health_of(closes)
    assert status == "GAPS"
    assert "2 listings" in cause


@pytest.mark.parametrize(
    ("missing", "status"), [(0, "OK"), (1, "STALE"), (2, "STALE"), (3, "DELISTED"), (9, "DELISTED")]
)
def test_what_is_missing_at_the_end_makes_stale_and_then_delisted(missing: int, status: str) -> None:
    found, cause, days = health_of(drift(20 - missing) + [NAN] * missing)
    assert (found, days) == (status, missing)
    if missing:
        assert f"closed {24 * missing} h before 2023-01-21T00:00:00Z" in cause


@pytest.mark.parametrize(
    ("late", "status"),
    [(0, "OK"), (23, "OK"), (24, "STALE"), (47, "STALE"), (71, "STALE"), (72, "DELISTED")],
)
def test_staleness_is_measured_from_as_of(late: int, status: str) -> None:
    # A bar is stale 24 h past its close, whatever the market's last day is.
    assert health_of(drift(20), late=dt.timedelta(hours=late))[0] == status


@pytest.mark.parametrize("symbol", [A, "BINANCE:NONEUSDT"])
def test_a_symbol_without_bars_is_missing(symbol: str) -> None:
    panel = market({A: [NAN] * 20, BTC: drift(20)})
    (record,) = symbol_health(panel, [symbol], {symbol: "20 NULL"})
    assert record.status == "MISSING"
    assert record.cause == "no bar in the 20 days to 2023-01-20; rows in quarantine: 20 NULL"
    assert (record.observations, record.first, record.last, record.missing_days) == (0, None, None, 20)


@pytest.mark.parametrize(("factor", "toxic"), [(6.0, False), (6.001, True), (0.0001, False)])
def test_a_return_above_500_percent_is_toxic(factor: float, toxic: bool) -> None:
    closes = [64.0] * 10 + [64.0 * factor] * 4 + [65.0 * factor]
    status, cause, _ = health_of(closes)
    assert (status == "TOXIC") is toxic
    if toxic:
        assert "return of 500% on 2023-01-11 (64 to 384.064), beyond 500%" in cause


def test_a_jump_from_one_listing_to_the_next_is_no_return() -> None:
    assert health_of([*drift(10), NAN, NAN, NAN, *drift(10, 1e5)])[0] == "GAPS"
    assert health_of([*drift(10), *drift(10, 1e5)])[0] == "TOXIC"


@pytest.mark.parametrize(
    ("opened", "high", "low", "close", "broken"),
    [
        (100.0, 103.0, 98.0, 101.0, False),
        (100.0, 101.0, 100.0, 101.0, False),
        (100.0, 103.0, 0.0, 101.0, True),
        (100.0, 103.0, -1.0, 101.0, True),
        (100.0, 100.5, 98.0, 101.0, True),
        (102.0, 101.5, 98.0, 101.0, True),
        (100.0, 103.0, 100.5, 101.0, True),
        (102.0, 103.0, 101.5, 101.0, True),
    ],
)
def test_inconsistent_prices_are_toxic(opened: float, high: float, low: float, close: float, broken: bool) -> None:
    prices = {"open": opened, "high": high, "low": low}
    usual = {"open": 100.0, "high": 103.0, "low": 98.0}
    fields = {name: {A: [usual[name], value, usual[name]]} for name, value in prices.items()}
    status, cause, _ = health_of([100.0, close, 100.0], **fields)
    assert status == ("TOXIC" if broken else "OK")
    if broken:
        assert cause == "broken prices: 1 bars with non-positive or inconsistent prices, the last on 2023-01-02"


@pytest.mark.parametrize(
    ("reasons", "toxic"),
    [
        ("1 NON_POSITIVE", True),
        ("3 NULL, 1 INCONSISTENT_OHLC", True),
        ("4 FORMING", False),
        ("2 NOT_NON_POSITIVE_X", False),
    ],
)
def test_the_quarantine_speaks_against_a_symbol_by_reason(reasons: str, toxic: bool) -> None:
    status, cause, _ = health_of(drift(20), {A: reasons})
    assert (status == "TOXIC") is toxic
    assert (reasons in cause) is toxic


@pytest.mark.parametrize(
    ("tail", "volume", "toxic"),
    [
        ([7.0] * 5, 1.0, True),
        ([7.0] * 4, 1.0, False),
        ([7.0] * 5, 0.0, False),
        ([7.0, 7.0, NAN, 7.0, 7.0, 7.0], 1.0, True),
        ([7.0, 7.0, NAN, NAN, NAN, 7.0, 7.0, 7.0], 1.0, False),
        ([7.0] * 5 + [8.0], 1.0, False),
        ([7.0] * 5 + [NAN], 1.0, True),
        ([7.0] * 8, 1.0, True),
    ],
)
def test_five_identical_closes_with_volume_at_the_end_are_toxic(tail: list[float], volume: float, toxic: bool) -> None:
    closes = drift(10) + tail
    volumes = [volume if close == 7.0 else 1.0 for close in closes]
    status, cause, _ = health_of(closes, volume={A: volumes})
    assert (status == "TOXIC") is toxic
    if toxic:
        run = sum(close == 7.0 for close in tail)
        assert f"{run} identical closes of 7 with volume, from 2023-01-11 to the end" in cause


def test_a_new_listing_with_fewer_than_five_bars_is_not_frozen() -> None:
    assert health_of([NAN] * 10 + [7.0] * 4)[0] == "OK"
    assert health_of([NAN] * 10 + [7.0] * 5)[0] == "TOXIC"
    assert health_of([7.0] * 4)[0] == "OK"


def test_the_worst_status_wins_and_the_cause_tells_all() -> None:
    closes = [*drift(10), *drift(10, 1e5), *[NAN] * 4]
    closes[3] = NAN
    status, cause, missing = health_of(closes)
    assert (status, missing) == ("TOXIC", 5)
    assert "beyond 500%" in cause
    assert "4 days are missing at the end" in cause
    assert "1 of 20 days are missing" in cause


@st.composite
def panels(draw: st.DrawFn) -> Market:
    days = draw(st.integers(1, 12))
    price = st.sampled_from([NAN, 1.0, 1.0, 1.0, 2.0, 12.0])
    names = ["X:AUSDT", "X:BUSDT", "X:CUSDT"]
    closes = {name: [draw(price) for _ in range(days)] for name in names}
    volumes = {name: [draw(st.sampled_from([0.0, 1.0, 1.0])) for _ in range(days)] for name in names}
    return market(closes, volume=volumes, late=dt.timedelta(hours=draw(st.integers(0, 100))))


@settings(deadline=None)
@given(panels())
def test_flags_are_what_the_rules_say_bar_by_bar(panel: Market) -> None:
    flags = health_flags(panel)
    records = {record.symbol: record for record in symbol_health(panel, panel.symbols, {})}
    for column, symbol in enumerate(panel.symbols):
        bars = [
            (day.item(), float(panel["close"][row, column]), float(panel["volume"][row, column]))
            for row, day in enumerate(panel.days)
            if not math.isnan(panel["close"][row, column])
        ]
        jump = any(b[0] - a[0] == DAY and b[1] / a[1] - 1 > 5 for a, b in itertools.pairwise(bars))
        tail = bars[-5:]
        joined = all((b[0] - a[0]).days <= 3 for a, b in itertools.pairwise(tail))
        frozen = len(tail) == 5 and joined and len({bar[1] for bar in tail}) == 1 and all(bar[2] > 0 for bar in tail)
        last = dt.datetime.combine(bars[-1][0], dt.time(), UTC) + DAY if bars else None
        stale = last is None or panel.as_of - last >= DAY
        delisted = last is not None and panel.as_of - last >= 3 * DAY
        assert bool(flags.toxic[column]) == (jump or frozen)
        assert bool(flags.stale[column]) == stale
        assert bool(flags.delisted[column]) == delisted
        status = records[symbol].status
        assert (status == "TOXIC") == (jump or frozen)
        if not (jump or frozen):
            assert (status == "MISSING") == (last is None)
            assert (status == "DELISTED") == delisted
            assert (status == "STALE") == (stale and not delisted and last is not None)


def test_flags_are_fast_enough_for_a_walk_forward(recorded: Market) -> None:
    then = recorded.until(dt.datetime(2024, 6, 30, tzinfo=UTC), 500)
    health_flags(then)
    spent = []
    for _ in range(15):
        begin = time.perf_counter()
        health_flags(then)
        spent.append(time.perf_counter() - begin)
    assert min(spent) < 0.002


def test_recorded_bars_know_their_delisted_coins(recorded: Market) -> None:
    then = recorded.until(dt.datetime(2024, 7, 1, tzinfo=UTC), 500)
    status = {record.symbol: record.status for record in symbol_health(then, then.symbols, {})}
    # XMR left Binance on 2024-02-20, ANT on 2024-02-20, BUSD on 2023-12-15; BTC, ETH and SOL trade on.
    assert {status[f"BINANCE:{base}USDT"] for base in ("XMR", "ANT", "BUSD")} == {"DELISTED"}
    assert {status[f"BINANCE:{base}USDT"] for base in ("BTC", "ETH", "SOL")} == {"OK"}
    assert status["BINANCE:QUICKUSDT"] == "GAPS"


def candidate(symbol: str, logic: str = "rating_all") -> Candidate:
    return Candidate.model_validate(
        {
            "symbol": symbol,
            "logic": logic,
            "direction": "LONG",
            "scan_direction": "LONG",
            "scanners": ["s"],
            "rank": 1,
            "fields": {},
        }
    )


def missing(panel: Market, *candidates: Candidate, **more: object) -> dict[str, tuple[str, str]]:
    return {drop.name: (drop.reason, drop.detail) for drop in missing_audit(panel, candidates, **more)}


def test_every_candidate_without_bars_is_named_with_the_cause() -> None:
    panel = market({A: [NAN] * 5, BTC: drift(5), "BINANCE:ETHUSDT": drift(5)})
    merged = [MergedQuote(symbol="BINANCE:ETHUSD", into="BINANCE:ETHUSDT", scanner="s", reason="r")]
    found = missing(
        panel, candidate(A), candidate(BTC), candidate("BINANCE:BTCUSD"), candidate("BINANCE:NEW"), merged=merged
    )
    window = "the 5 days to 2023-01-05"
    assert found == {
        A: ("NO_BARS", f"no bar in {window}"),
        "BINANCE:BTCUSD": ("NO_SUCH_PAIR", f"no such pair at the source in {window}; it has BINANCE:BTCUSDT"),
        "BINANCE:ETHUSD": ("MERGED", "no such pair at the source; merged into BINANCE:ETHUSDT"),
        "BINANCE:NEW": (
            "NO_SUCH_PAIR",
            f"no such pair at the source in {window}: cannot split 'BINANCE:NEW' into base and quote",
        ),
    }


def test_every_candidate_without_its_rating_is_named_with_the_cause() -> None:
    names = [f"BINANCE:{base}USDT" for base in "ABCD"]
    closes = dict.fromkeys(names, drift(5)) | {names[2]: [*drift(3), NAN, NAN]}
    unrated = {name: [0.1] * 4 + [NAN] for name in names[:3]}
    panel = market(closes, recommend_ma=unrated, volume={names[1]: [1.0, 1.0, 1.0, 1.0, 0.0]})
    found = missing(panel, *(candidate(name, "rating_ma") for name in names))
    assert found == {
        names[0]: ("NO_RATING", "5 traded bars of its listing in the window are too few for recommend_ma"),
        names[1]: ("NO_RATING", "the bar of 2023-01-05 has no volume, and only traded bars are rated"),
        names[2]: ("NO_BAR_AT_DECISION", "the last bar is of 2023-01-03, not of 2023-01-05"),
    }
    assert missing(panel, *(candidate(name) for name in names[:2])) == {}


def test_rows_in_quarantine_are_told_of_missing_candidates() -> None:
    panel = market({A: [NAN] * 5, BTC: drift(5)})
    found = missing(panel, candidate(A), quarantined={A: "5 NULL"})
    assert found[A][1].endswith("; rows in quarantine: 5 NULL")


def test_data_health_tells_what_a_reader_must_know() -> None:
    n = 40
    closes = {BTC: drift(n), A: [*drift(n - 1), NAN], "BINANCE:BUSDT": [2.0**i for i in range(n)]}
    closes[BTC][7] *= 1.1
    closes[A][7] *= 1.1
    panel = market(closes, volume={A: [0.0, *[1.0] * 38, NAN]}, value_traded={A: [price * 1.0 for price in closes[A]]})
    # Rows are counted, of coins that nobody asked for too, and not those of other days.
    symbols, days = [A, A, "BINANCE:CUSDT", A, None], [5, 6, 7, 90, 8]
    opened = [dt.datetime(2023, 1, 1, tzinfo=UTC) + dt.timedelta(days=day) for day in days]
    reasons = ["NULL", "NULL", "NAN", "FUTURE", "SYMBOL"]
    panel = replace(panel, quarantine=pl.DataFrame({"symbol": symbols, "open_time": opened, "reason": reasons}))
    result = returns_matrix(panel, [A, "BINANCE:BUSDT"], BTC, DataSettings(floor=20))
    lost = [Drop(name="BINANCE:XUSD", reason="NO_SUCH_PAIR")]
    told = Finding(code="EXTRA_COLUMNS", what="w")
    health = data_health(panel, result, [A, "BINANCE:BUSDT"], lost, {A: "1 NULL"}, [told])
    assert (health.rows, health.columns, health.first, health.last) == (39, 2, "2023-01-02", "2023-02-09")
    assert [record.symbol for record in health.symbols] == [A, BTC, "BINANCE:BUSDT"]
    assert [drop.reason for drop in health.dropped] == ["ZERO_VARIANCE"]
    assert health.missing == lost
    assert {finding.code: (finding.count, finding.names) for finding in health.findings} == {
        "EXTRA_COLUMNS": (1, []),
        "INSTRUMENTS_UNKNOWN": (1, []),
        "ZERO_VOLUME": (1, [A]),
        "QUOTE_VOLUME_ESTIMATED": (38, [A]),
        "QUARANTINED": (3, [A, "BINANCE:CUSDT"]),
        "STALE": (1, [A]),
    }


def test_known_instruments_are_no_finding() -> None:
    panel = market({BTC: drift(40)})
    panel["close"][3] *= 1.01
    table = pl.DataFrame({"symbol": [BTC], "valid_from": [panel.as_of]})
    known = Market(panel.days, panel.symbols, panel.fields, panel.listing, panel.as_of, table)
    result = returns_matrix(known, [], BTC, DataSettings(floor=20))
    assert data_health(known, result, [], [], {}).findings == []


def test_recorded_quote_volumes_are_told_from_estimates(shared: object, recorded: Market) -> None:
    bars = pl.read_parquet(shared / "spot_daily_to_2024-06.parquet").filter(
        pl.col("timestamp") >= dt.datetime(2023, 2, 17, tzinfo=UTC)
    )
    lacking = bars.filter(pl.col("quote_volume").is_null() & (pl.col("volume") > 0) & (pl.col("high") > pl.col("low")))
    then = recorded.until(dt.datetime(2024, 7, 1, tzinfo=UTC), 500)
    result = returns_matrix(then, [], BTC, DataSettings())
    findings = data_health(then, result, then.symbols, [], {}).findings
    (estimated,) = [finding for finding in findings if finding.code == "QUOTE_VOLUME_ESTIMATED"]
    assert estimated.names == sorted(lacking["symbol"].unique())
    assert estimated.count == lacking.height
    assert np.isfinite(then["value_traded"][then.listing >= 0]).all()
