from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest
from foundation_markets import NAN, market
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.base.domain import DAY, UTC, Instrument
from assay.base.errors import DataError, UsageError
from assay.market.panel import Market
from assay.market.schema import INSTRUMENTS
from assay.market.universe import excluded
from assay.screening.scanner import ScanResult, scan
from assay.settings.model import Scanner, Universe

LONG = Scanner(logic="rating_all", direction="LONG")
SHORT = Scanner(logic="rating_all", direction="SHORT")
MA_SHORT = Scanner(logic="rating_ma", direction="SHORT")


def one_day(**columns: Mapping[str, float]) -> Market:
    """Make a market of one day from values by field and symbol."""
    symbols = sorted({symbol for values in columns.values() for symbol in values})
    fields = {name: {symbol: [value] for symbol, value in values.items()} for name, values in columns.items()}
    return market({symbol: [100.0] for symbol in symbols}, **fields)


def found(result: ScanResult) -> list[str]:
    return [candidate.symbol.removeprefix("BINANCE:") for candidate in result.candidates]


def run(panel: Market, scanner: Scanner = LONG) -> ScanResult:
    return scan(panel, "s", scanner)


def with_history(scanner: Scanner, bars: int) -> Scanner:
    return scanner.model_copy(update={"universe": Universe(min_bars=bars)})


def test_order_is_rating_then_value_traded_then_symbol() -> None:
    panel = one_day(
        recommend_all={"BINANCE:CUSDT": 0.5, "BINANCE:BUSDT": 0.5, "BINANCE:AUSDT": 0.2, "BINANCE:DUSDT": 0.5},
        value_traded={"BINANCE:CUSDT": 2e6, "BINANCE:BUSDT": 2e6, "BINANCE:AUSDT": 9e9, "BINANCE:DUSDT": 3e6},
    )
    result = run(panel)
    assert found(result) == ["DUSDT", "BUSDT", "CUSDT", "AUSDT"]
    assert [candidate.rank for candidate in result.candidates] == [1, 2, 3, 4]


def test_a_short_scanner_sorts_the_most_negative_first_and_ties_by_the_larger_value() -> None:
    panel = one_day(
        recommend_ma={"BINANCE:AUSDT": -0.2, "BINANCE:BUSDT": -0.9, "BINANCE:CUSDT": -0.2, "BINANCE:DUSDT": 0.3},
        recommend_all=dict.fromkeys([f"BINANCE:{name}USDT" for name in "ABCD"], 0.9),
        value_traded={"BINANCE:AUSDT": 2e6, "BINANCE:BUSDT": 2e6, "BINANCE:CUSDT": 3e6, "BINANCE:DUSDT": 3e6},
    )
    result = run(panel, MA_SHORT)
    assert found(result) == ["BUSDT", "CUSDT", "AUSDT"]
    assert result.count.dropped["rating"] == 1
    first = result.candidates[0]
    assert (first.logic, first.direction, first.scan_direction, first.inverted) == (
        "rating_ma",
        "SHORT",
        "SHORT",
        False,
    )


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("value_traded", 999_999.99, "value_traded"),
        ("value_traded", 1_000_000.0, None),
        ("recommend_all", 0.0, "rating"),
        ("recommend_all", -0.1, "rating"),
        ("recommend_all", NAN, "unrated"),
        ("recommend_all", 1e-9, None),
        ("low", 102.0, "volatility"),
        ("low", 102.0 / 1.001, "volatility"),
        ("low", 102.0 / 1.00100001, None),
    ],
)
def test_each_filter_counts_what_it_drops(field: str, value: float, reason: str | None) -> None:
    panel = one_day(volume={"BINANCE:BUSDT": 1.0}, **{field: {"BINANCE:AUSDT": value}})
    panel.fields["high"][:] = 102.0
    result = run(panel)
    assert ("AUSDT" in found(result)) is (reason is None)
    assert {name: n for name, n in result.count.dropped.items() if n} == ({reason: 1} if reason else {})
    assert list(result.count.dropped) == [
        *("invalid", "exchange", "quote"),
        *("fiat", "stablecoin", "metal", "leveraged", "wrapped", "tokenized_share"),
        *("unknown_group", "not_spot", "not_trading", "value_traded", "volatility"),
        *("unrated", "history", "rating", "merged_quote", "limit"),
    ]


def test_other_exchanges_quotes_and_bases_that_are_no_coins_are_counted_apart() -> None:
    names = [
        "BINANCE:BTCUSDT",
        "KRAKEN:BTCUSDT",
        "BINANCE:ETHBTC",
        "BINANCE:EURUSDT",
        "BINANCE:BTCUPUSDT",
        "BINANCE:JUPUSDT",
    ]
    result = run(one_day(recommend_all=dict.fromkeys(names, 0.5)))
    assert sorted(found(result)) == ["BTCUSDT", "JUPUSDT"]
    assert {reason: n for reason, n in result.count.dropped.items() if n} == {
        "exchange": 1,
        "quote": 1,
        "fiat": 1,
        "leveraged": 1,
    }
    assert (result.count.universe, result.count.matched, result.count.kept) == (6, 2, 2)


def test_an_exclusion_holds_on_its_days_only() -> None:
    def bull(day: dt.date) -> ScanResult:
        return run(market({"BINANCE:BULLUSDT": [100.0]}, day))

    assert found(bull(dt.date(2020, 1, 1))) == []
    assert found(bull(dt.date(2030, 1, 1))) == ["BULLUSDT"]


def test_records_that_cannot_be_used_are_named() -> None:
    panel = one_day(
        recommend_all={
            "BINANCE:BTC/USDT": 0.5,
            "BINANCE:X\u202eUSDT": 0.5,
            "BINANCE:XYZ": 0.5,
            "BTCUSDT": 0.5,
            "BINANCE:AUSDT": float("inf"),
            "BINANCE:BUSDT": 0.5,
            "BINANCE:CUSDT": 0.5,
            "BINANCE:DUSDT": 0.5,
        },
        high={"BINANCE:BUSDT": float("inf")},
        low={"BINANCE:CUSDT": 0.0},
    )
    result = run(panel)
    assert found(result) == ["DUSDT"]
    reasons = {record.symbol: record.reason for record in result.invalid}
    assert result.count.dropped["invalid"] == len(reasons) == 7
    assert "a slash" in reasons["BINANCE:BTC/USDT"]
    assert "control character" in reasons["BINANCE:X\u202eUSDT"]
    assert "cannot split" in reasons["BINANCE:XYZ"]
    assert "cannot split" in reasons["BTCUSDT"]
    assert "recommend_all = inf" in reasons["BINANCE:AUSDT"]
    assert "high = inf" in reasons["BINANCE:BUSDT"]
    assert "low = 0.0" in reasons["BINANCE:CUSDT"]
    assert {record.scanner for record in result.invalid} == {"s"}


def test_only_bars_of_the_last_day_are_looked_at() -> None:
    panel = market({"BINANCE:AUSDT": [1.0, NAN], "BINANCE:BUSDT": [1.0, 2.0]})
    result = run(panel)
    assert found(result) == ["BUSDT"]
    assert result.count.universe == 1


def test_the_limit_keeps_the_best_and_counts_the_rest() -> None:
    ratings = {f"BINANCE:A{i}USDT": i / 200 for i in range(1, 151)}
    result = run(one_day(recommend_all=ratings))
    assert (result.count.matched, result.count.kept, result.count.dropped["limit"]) == (150, 100, 50)
    assert found(result)[:2] == ["A150USDT", "A149USDT"]


@pytest.mark.parametrize(
    ("values", "winner"),
    [
        ({"USDT": 2e6, "USDC": 6e6}, "USDT"),
        ({"USDT": 2e6, "USDC": 6.000001e6}, "USDC"),
        ({"USDC": 2e6, "FDUSD": 3e6}, "USDC"),
        ({"USDT": 2e6, "USDC": 7e6, "FDUSD": 8e6}, "USDC"),
        ({"USDT": 2e6, "USDC": 5e6, "FDUSD": 7e6}, "FDUSD"),
        ({"DAI": 2e6, "USD": 3e6}, "DAI"),
    ],
)
def test_a_base_is_traded_once(values: dict[str, float], winner: str) -> None:
    names = {f"BINANCE:ABC{quote}": value for quote, value in values.items()}
    result = run(one_day(value_traded=names, recommend_all=dict.fromkeys(names, 0.5)))
    assert found(result) == [f"ABC{winner}"]
    assert result.count.dropped["merged_quote"] == len(values) - 1
    assert {record.symbol for record in result.merged} == names.keys() - {f"BINANCE:ABC{winner}"}
    assert {record.into for record in result.merged} == {f"BINANCE:ABC{winner}"}
    assert all("value traded" in record.reason for record in result.merged)


def test_a_lower_quote_stands_where_the_better_one_did_not_pass() -> None:
    result = run(one_day(recommend_all={"BINANCE:ABCUSDT": -0.5, "BINANCE:ABCUSDC": 0.5}))
    assert found(result) == ["ABCUSDC"]
    assert result.merged == []


def test_metadata_of_the_exchange_splits_before_the_known_quotes_do() -> None:
    names = ["BINANCE:ABCDAI", "BINANCE:ABUSDT"]
    plain = one_day(recommend_all=dict.fromkeys(names, 0.5))
    since = dt.datetime(2020, 1, 1, tzinfo=UTC)
    rows = {"symbol": names, "base": ["ABC", "AB"], "quote": ["DAI", "USDT"], "valid_from": [since] * 2}
    table = pl.DataFrame({name: rows.get(name, [None] * 2) for name in INSTRUMENTS}, schema=INSTRUMENTS)
    told = Market(plain.days, plain.symbols, plain.fields, plain.listing, plain.as_of, table)
    assert found(run(told)) == found(run(plain)) == ["ABCDAI", "ABUSDT"]
    # The exchange may call a pair what no list of quotes would read from its letters.
    renamed = table.with_columns(pl.Series("base", ["ABCD", "AB"]), pl.Series("quote", ["AI", "USDT"]))
    other = Market(plain.days, plain.symbols, plain.fields, plain.listing, plain.as_of, renamed)
    assert found(run(other)) == ["ABUSDT"]
    assert run(other).count.dropped["quote"] == 1


def test_no_field_is_lost_and_what_is_missing_is_none() -> None:
    panel = one_day(recommend_all={"BINANCE:AUSDT": 0.5}, adx={"BINANCE:AUSDT": NAN})
    fields = run(panel).candidates[0].fields
    assert fields.keys() == panel.fields.keys() | {"volatility_d"}
    assert fields["adx"] is None
    assert fields["close"] == 100.0
    assert fields["volatility_d"] == pytest.approx(100 * (102 - 98) / 98, abs=1e-12)


def test_a_market_without_days_is_refused() -> None:
    empty = market({"BINANCE:AUSDT": [100.0]})
    nothing = Market(
        empty.days[:0], empty.symbols, {k: v[:0] for k, v in empty.fields.items()}, empty.listing[:0], empty.as_of
    )
    with pytest.raises(DataError):
        run(nothing)


SYMBOLS = [
    f"BINANCE:{base}{quote}" for base in ("AAA", "BBB", "JUP", "EUR", "BTCUP") for quote in ("USDT", "USDC", "BTC")
]


@st.composite
def markets(draw: st.DrawFn) -> Market:
    names = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
    days = draw(st.integers(1, 3))
    grid = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, NAN])
    value = st.sampled_from([0.0, 5e5, 1e6, 2e6, 4e6, 7e6])
    closes = {name: [draw(st.sampled_from([NAN, 1.0, 3.0])) for _ in range(days)] for name in names}
    panel = market(
        closes,
        recommend_all={name: [draw(grid) for _ in range(days)] for name in names},
        value_traded={name: [draw(value) for _ in range(days)] for name in names},
    )
    flat = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    panel.fields["high"][:, flat] = panel.fields["low"][:, flat]
    return panel


def naive(panel: Market, scanner: Scanner) -> list[str]:
    """Say what the query says, one symbol after the other."""
    sign = 1 if scanner.direction == "LONG" else -1
    best: dict[str, tuple[str, float, float]] = {}
    pairs = [Instrument.parse(symbol) for symbol in panel.symbols]
    for quote in scanner.universe.quotes:
        for pair in (pair for pair in pairs if pair.quote == quote and excluded(pair.base) is None):
            at = {name: values[-1, panel.column(pair.symbol)] for name, values in panel.fields.items()}
            rating, value = at["recommend_all"], at["value_traded"]
            moved = 100 * (at["high"] - at["low"]) / at["low"]
            if np.isnan(at["close"]) or not (value >= 1e6 and moved > 0.1 and sign * rating > 0):
                continue
            if pair.base not in best or value > 3 * best[pair.base][2]:
                best[pair.base] = (pair.symbol, rating, value)
    return [name for name, *_ in sorted(best.values(), key=lambda one: (-sign * one[1], -one[2], one[0]))]


@settings(deadline=None)
@given(markets(), st.sampled_from([LONG, SHORT]))
def test_a_scan_is_what_the_query_says_and_every_symbol_is_counted_once(panel: Market, scanner: Scanner) -> None:
    result = run(panel, scanner)
    assert [candidate.symbol for candidate in result.candidates] == naive(panel, scanner)
    assert result.count.universe == result.count.kept + sum(result.count.dropped.values())
    assert result.count.matched == result.count.kept + result.count.dropped["limit"]
    assert len(result.merged) == result.count.dropped["merged_quote"]
    assert result.invalid == []


def test_history_is_counted_in_bars_of_the_present_listing() -> None:
    old, new = [1.0] * 3, [1.0] * 4
    panel = market(
        {"BINANCE:AUSDT": [*old, *new], "BINANCE:BUSDT": [NAN] * 3 + new, "BINANCE:CUSDT": [1.0, *[NAN] * 3, *old]}
    )
    assert found(run(panel, with_history(LONG, 3))) == ["AUSDT", "BUSDT", "CUSDT"]
    assert found(run(panel, with_history(LONG, 4))) == ["AUSDT", "BUSDT"]
    assert found(run(panel, with_history(LONG, 5))) == ["AUSDT"]
    assert run(panel, with_history(LONG, 5)).count.dropped["history"] == 2


@settings(deadline=None)
@given(markets())
def test_a_scan_reads_the_last_day_alone(panel: Market) -> None:
    today = Market(
        panel.days[-1:], panel.symbols, {k: v[-1:] for k, v in panel.fields.items()}, panel.listing[-1:], panel.as_of
    )
    # But for how long a listing has been there, which is not asked for here.
    assert run(today) == run(panel)


def test_recorded_bars_hold_no_invalid_record_and_every_base_is_split(rated: Market) -> None:
    result = run(rated)
    assert result.invalid == []
    assert result.count.dropped["quote"] == result.count.dropped["exchange"] == 0
    assert result.count.universe == int((rated.listing[-1] >= 0).sum())


@pytest.mark.parametrize(
    ("day", "direction", "known"),
    [
        # Among coins with a year of bars; the ratings of these 908 equal the plain rules of tests/ratings to 1e-9.
        ("2022-06-30", "LONG", 23),
        ("2022-06-30", "SHORT", 172),
        ("2023-06-30", "LONG", 114),
        ("2023-06-30", "SHORT", 69),
        ("2024-06-28", "LONG", 19),
        ("2024-06-28", "SHORT", 246),
    ],
)
def test_recorded_bars_give_the_known_numbers_of_candidates(
    rated: Market, day: str, direction: str, known: int
) -> None:
    then = rated.until(dt.datetime.fromisoformat(day).replace(tzinfo=UTC) + DAY, 500)
    result = run(then, with_history(LONG if direction == "LONG" else SHORT, 252))
    assert result.count.matched == known


def test_a_scan_is_fast_enough_for_a_walk_forward(rated: Market) -> None:
    run(rated)
    spent = []
    for _ in range(15):
        begin = time.perf_counter()
        run(rated, SHORT)
        spent.append(time.perf_counter() - begin)
    assert min(spent) < 0.003


def test_an_unknown_logic_is_refused() -> None:
    broken = LONG.model_construct(**{**dict(LONG), "logic": "rating_xyz"})
    with pytest.raises(UsageError):
        run(one_day(recommend_all={"BINANCE:AUSDT": 0.5}), broken)
