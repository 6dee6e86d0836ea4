from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats
from alpha_worlds import BENCHMARK, candidates, market_of, matrix, names, profile, random_returns

from assay.alpha.enrichment import enrich, relation
from assay.alpha.selection import select
from assay.market.panel import Market
from assay.runs.documents import Winner

FACTS = {"tick_size": 0.01, "step_size": 0.1, "min_qty": 0.1, "min_notional": 5.0}


def winner(symbol: str, direction: str = "LONG") -> Winner:
    return Winner.model_validate(
        {
            "atom_id": f"{symbol}_rating_all_{direction}",
            "symbol": symbol,
            "logic": "rating_all",
            "direction": direction,
            "scan_direction": direction,
            "inverted": False,
            "alpha_score": 0.5,
            "rank": 1,
            "cluster_id": 1,
            "admitted": "merit",
            "ratings": {},
            "features": {},
            "probabilities": {},
        }
    )


def listed(market: Market, **changes: dict[str, Any]) -> Market:
    """The market with a table of instruments: every symbol, but those that a change turns into None."""
    rows = []
    for symbol in market.symbols:
        change = changes.get(symbol.removeprefix("BINANCE:"), {})
        if change is not None:
            base = {
                "symbol": symbol,
                "base": symbol[8:-4],
                "quote": "USDT",
                "status": "TRADING",
                "margin_allowed": True,
            }
            begins = {"valid_from": dt.datetime(2021, 1, 1, tzinfo=dt.UTC), "valid_to": None}
            rows.append(base | FACTS | begins | change)
    time = pl.Datetime("us", "UTC")
    table = pl.DataFrame(rows, schema_overrides={"valid_from": time, "valid_to": time})
    return replace(market, instruments=table)


@pytest.fixture(scope="module")
def market() -> Market:
    returns = random_returns(400, 6, 1)
    missing = np.zeros(returns.shape, dtype=np.bool_)
    missing[-200:-190, 2] = True
    return market_of(returns, missing=missing, seed=1)


def test_beta_and_correlation_are_scipys_over_the_last_252_shared_rows(market: Market) -> None:
    returns = matrix(market, profile())
    found = enrich([winner(symbol) for symbol in names(6)], market, returns)
    for record in found.winners:
        both = pd.DataFrame({"x": returns[BENCHMARK], "y": returns[record.symbol]}).dropna().iloc[-252:]
        line = scipy.stats.linregress(both["x"], both["y"])
        assert record.beta == pytest.approx(line.slope, rel=1e-10)
        assert record.correlation == pytest.approx(line.rvalue, rel=1e-10)
    own = found.winners[0]
    assert (own.symbol, own.beta, own.correlation) == (BENCHMARK, pytest.approx(1.0), pytest.approx(1.0))


def test_only_the_last_rows_count() -> None:
    benchmark = np.concatenate([np.full(50, 0.5), random_returns(252, 1, 2)[:, 0]])
    stream = np.concatenate([np.linspace(-9, 9, 50), -3 * benchmark[50:]])
    assert relation(stream, benchmark) == (pytest.approx(-3.0), pytest.approx(-1.0))


@pytest.mark.parametrize(
    ("stream", "benchmark"),
    [([0.1], [0.1]), ([0.1, np.nan, 0.2], [0.1, 0.1, np.nan]), ([0.1, 0.2], [0.3, 0.3]), ([], [])],
)
def test_no_beta_without_a_line(stream: list[float], benchmark: list[float]) -> None:
    assert np.isnan(relation(np.array(stream), np.array(benchmark))).all()


def test_a_stream_that_does_not_move_has_no_relation() -> None:
    assert relation(np.full(5, 0.1), np.arange(5.0)) == (0.0, 0.0)


def test_liquidity_is_the_median_of_120_bars(market: Market) -> None:
    found = enrich([winner(symbol) for symbol in names(6)], market, matrix(market, profile()))
    median = pd.DataFrame(market["value_traded"][-120:]).median()
    for record, value in zip(found.winners, median, strict=True):
        assert record.median_value_traded == pytest.approx(value)
        assert record.liquidity == pytest.approx(min(1.0, value / 1e7))


def test_without_a_table_of_instruments_facts_are_unknown(market: Market) -> None:
    found = enrich([winner(symbol) for symbol in names(3)], market, matrix(market, profile()))
    assert {record.facts for record in found.winners} == {"UNKNOWN"}
    assert {record.margin_allowed for record in found.winners} == {None}
    (finding,) = found.findings
    assert (finding.code, finding.count) == ("INSTRUMENTS_UNKNOWN", 3)
    assert finding.names == sorted(f"{symbol}_rating_all_LONG" for symbol in names(3))


def test_known_facts_ride_along(market: Market) -> None:
    known = listed(market, C000USDT={"status": "BREAK"}, C001USDT={"margin_allowed": False})
    two = [winner(names(6)[1]), winner(names(6)[2], "SHORT"), winner(names(6)[2]), winner(names(6)[3], "SHORT")]
    found = enrich(two, known, matrix(market, profile()))
    assert [record.facts for record in found.winners] == ["KNOWN"] * 4
    assert found.winners[0].filters == FACTS
    assert {f.code: f.names for f in found.findings} == {
        "INSTRUMENT_NOT_TRADING": ["BINANCE:C000USDT_rating_all_LONG"],
        "MARGIN_NOT_ALLOWED": ["BINANCE:C001USDT_rating_all_SHORT"],
    }


def test_what_cannot_be_enriched_is_dropped_with_a_reason(market: Market) -> None:
    known = listed(market, C000USDT=None)
    silent = dict(known.fields) | {"value_traded": known["value_traded"].copy()}
    silent["value_traded"][-120:, 2] = np.nan
    known = replace(known, fields=silent)
    returns = matrix(market, profile())
    still = replace(returns, values=returns.values.copy(), benchmark=names(6)[3])
    still.values[:, 3] = 0.001
    winners = [winner(symbol) for symbol in names(6)[1:5]]
    found = enrich(winners, known, returns)
    assert {d.name.split("_")[0]: d.reason for d in found.dropped} == {
        names(6)[1]: "INSTRUMENT_ABSENT",
        names(6)[2]: "NO_VALUE_TRADED",
    }
    assert [record.symbol for record in found.winners] == names(6)[3:5]
    assert {d.reason for d in enrich(winners[2:], known, still).dropped} == {"NO_BETA"}


def test_no_winners(market: Market) -> None:
    found = enrich([], market, matrix(market, profile()))
    assert (found.winners, found.dropped, found.findings) == ([], [], [])
    assert found.as_of == "2023-02-06T00:00:00Z"


def test_an_absent_symbol_is_vetoed_and_an_unknown_one_is_not(market: Market) -> None:
    wanted, found = profile(), candidates(market.symbols)
    returns = matrix(market, wanted)
    gone = {"valid_to": dt.datetime(2022, 6, 1, tzinfo=dt.UTC)}
    known = listed(market, C001USDT=None, C002USDT=gone, C003USDT={"status": "BREAK"})
    fates = {f.symbol: f.reason for f in select(found, known, returns, wanted, {}).fates}
    plain = {f.symbol: f.reason for f in select(found, market, returns, wanted, {}).fates}
    assert {symbol for symbol, reason in fates.items() if reason == "VETO_ABSENT"} == {
        "BINANCE:C001USDT",
        "BINANCE:C002USDT",
    }
    assert "VETO_ABSENT" not in plain.values()
