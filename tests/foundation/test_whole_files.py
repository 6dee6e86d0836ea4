"""What a whole file says that no row shows: names, volumes, rows far off, and where the data end."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from made_files import BASES, FIRST, made

from assay.base.domain import DAY, UTC
from assay.base.errors import SourceError
from assay.market.bars import CheckedBars, check
from assay.runs.documents import Finding

NOW = dt.datetime(2026, 1, 1, tzinfo=UTC)
TABLE = made(60)
LAST = FIRST + 59 * DAY


def judge(table: pl.DataFrame) -> CheckedBars:
    return check(table, where="bars.parquet", source="parquet", now=NOW)


def refused(table: pl.DataFrame) -> SourceError:
    with pytest.raises(SourceError) as caught:
        judge(table)
    return caught.value


def told(checked: CheckedBars) -> dict[str, Finding]:
    return {finding.code: finding for finding in checked.findings}


def renamed(change: Any) -> pl.DataFrame:
    return TABLE.with_columns(pl.col("symbol").map_elements(change, return_dtype=pl.String))


def base(symbol: str) -> str:
    return symbol.removeprefix("BINANCE:").removesuffix("USDT")


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["{}USDT", "{}/USDT", "BINANCE:{}/USDT", "{}-USDT", "{}_USDT"])
def test_every_notation_of_a_pair_is_the_same_coin(pattern: str) -> None:
    checked = judge(renamed(lambda symbol: pattern.format(base(symbol))))
    assert checked.bars.equals(judge(TABLE).bars)
    assert told(checked)["SYMBOLS_READ"].count == len(BASES)


def test_a_file_in_the_canons_notation_is_left_alone() -> None:
    assert judge(TABLE).findings == ()


def test_a_coin_under_two_names_is_one_and_both_are_named() -> None:
    half = TABLE["timestamp"].sort()[len(TABLE) // 2]
    late = pl.col("timestamp") >= half
    mixed = TABLE.with_columns(
        pl.when(late & (pl.col("symbol") == "BINANCE:ETHUSDT"))
        .then(pl.lit("ETH/USDT"))
        .otherwise("symbol")
        .alias("symbol")
    )
    checked = judge(mixed)
    assert checked.bars.equals(judge(TABLE).bars)
    assert told(checked)["SYMBOLS_MIXED"].names == ["BINANCE:ETHUSDT and ETH/USDT"]


def test_coins_of_another_exchange_are_named_and_not_renamed() -> None:
    foreign = renamed(lambda symbol: symbol.replace("BINANCE:", "KRAKEN:") if "SOL" in symbol else symbol)
    found = told(judge(foreign))
    assert found["OTHER_EXCHANGE"].names == ["KRAKEN:SOLUSDT"]
    assert "KRAKEN" in found["OTHER_EXCHANGE"].what


def test_a_name_that_tells_no_pair_is_named_and_a_file_of_them_refused() -> None:
    some = judge(renamed(lambda symbol: "apples" if "SOL" in symbol else symbol))
    assert told(some)["NO_EXCHANGE"].names == ["apples"]
    error = refused(renamed(lambda symbol: "fruit " + base(symbol)))
    assert error.code == "SYMBOLS_UNREADABLE"
    assert "BTC/USDT" in error.hint


SMALL = {
    "binance:btcusdt": str.lower,
    "btcusdt": lambda symbol: base(symbol).lower() + "usdt",
    "btc/usdt": lambda symbol: base(symbol).lower() + "/usdt",
    "BINANCE:btcusdt": lambda symbol: f"BINANCE:{base(symbol).lower()}usdt",
    "binance:BTCUSDT": lambda symbol: f"binance:{base(symbol)}USDT",
    "kraken:btc/usdt": lambda symbol: f"kraken:{base(symbol).lower()}/usdt",
}
"""How BTC is written, and every coin like it."""


@pytest.mark.parametrize("name", SMALL)
def test_names_in_small_letters_are_refused_and_of_some_the_unreadable_are_named(name: str) -> None:
    error = refused(renamed(SMALL[name]))
    assert error.code == "SYMBOLS_UNREADABLE"
    for shown in ("ADA", "ATOM", "BTC"):
        assert repr(SMALL[name](f"BINANCE:{shown}USDT")) in error.what
    assert "a pair is written in capitals" in error.what
    assert "BINANCE:BTCUSDT" in error.hint
    some = told(judge(renamed(lambda symbol: SMALL[name](symbol) if "BTC" in symbol else symbol)))
    assert some["NO_EXCHANGE"].names == [name]
    assert "OTHER_EXCHANGE" not in some


def test_a_base_may_have_small_letters() -> None:
    assert judge(TABLE.with_columns(pl.col("symbol").str.replace(":", ":k"))).findings == ()


# --- volumes --------------------------------------------------------------------------------------------------------


def test_a_quote_volume_of_zero_is_refused_where_it_is_everywhere_and_named_where_it_is_not() -> None:
    error = refused(TABLE.with_columns(quote_volume=pl.lit(0.0)))
    assert (error.code, "720 of 720" in error.what) == ("QUOTE_VOLUME_ZERO", True)
    nearly = pl.when(pl.col("symbol") == "BINANCE:BTCUSDT").then("quote_volume").otherwise(0.0)
    assert refused(TABLE.with_columns(quote_volume=nearly)).code == "QUOTE_VOLUME_ZERO"
    one = pl.when(pl.col("symbol") == "BINANCE:BTCUSDT").then(0.0).otherwise("quote_volume")
    found = told(judge(TABLE.with_columns(quote_volume=one)))["QUOTE_VOLUME_ZERO"]
    assert (found.count, found.names) == (60, ["BINANCE:BTCUSDT"])


def test_a_quote_volume_that_is_not_there_is_no_zero() -> None:
    for table in (TABLE.drop("quote_volume"), TABLE.with_columns(quote_volume=pl.lit(None, pl.Float64))):
        assert "QUOTE_VOLUME_ZERO" not in told(judge(table))


def test_a_bar_without_trade_may_have_a_quote_volume_of_zero() -> None:
    quiet = pl.col("timestamp") < FIRST + 40 * DAY
    none = {name: pl.when(quiet).then(0.0).otherwise(name) for name in ("volume", "quote_volume")}
    assert judge(TABLE.with_columns(**none)).findings == ()


def test_a_file_in_which_nothing_was_traded_is_refused() -> None:
    assert refused(TABLE.with_columns(volume=pl.lit(0.0))).code == "VOLUME_ZERO"


def test_names_of_contracts_are_no_pairs() -> None:
    """``BINANCE:BTCUSDT:USDT`` ends in a known quote, and would be a coin of the name ``BTCUSDT:``."""
    contracts = TABLE.with_columns(pl.col("symbol") + ":USDT")
    checked = judge(pl.concat([TABLE, contracts]))
    assert checked.bars.equals(judge(TABLE).bars)
    assert told(checked)["QUARANTINE_SYMBOL"].count == TABLE.height
    assert "TWO COLONS" in refused(contracts).what.upper()


# --- rows far off ---------------------------------------------------------------------------------------------------


def with_row(when: dt.datetime, coins: int = 1) -> pl.DataFrame:
    """The table, and the last bar of some coins once more at another time."""
    last = TABLE.filter(pl.col("timestamp") == LAST).head(coins)
    stamp = pl.lit(when).cast(TABLE.schema["timestamp"])
    return pl.concat([TABLE, last.with_columns(timestamp=stamp)])


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        (LAST + 366 * DAY, "STRAY"),
        (LAST + 20 * DAY, "STRAY"),
        (FIRST - 400 * DAY, "STRAY"),
        (dt.datetime(2009, 1, 3, tzinfo=UTC), "STRAY"),
        (dt.datetime(1970, 1, 1, tzinfo=UTC), "BAD_TIMESTAMP"),
        (dt.datetime(2027, 5, 1, tzinfo=UTC), "FUTURE"),
    ],
)
def test_a_row_far_from_all_others_moves_neither_begin_nor_end(when: dt.datetime, reason: str) -> None:
    checked = judge(with_row(when))
    assert checked.bars.equals(judge(TABLE).bars)
    assert checked.rejected["reason"].to_list() == [reason]
    assert told(checked)[f"QUARANTINE_{reason}"].names == ["BINANCE:BTCUSDT"]


@pytest.mark.parametrize(("coins", "astray"), [(5, 1), (9, 1), (10, 1), (20, 2), (30, 3)])
def test_a_tenth_of_the_coins_and_one_of_few_are_astray_and_one_more_is_not(coins: int, astray: int) -> None:
    """The boundary itself, where 1 - 0.9 is a little less than a tenth."""
    table = made(30, tuple(f"C{number:02}" for number in range(coins)))
    last = table.filter(pl.col("timestamp") == pl.col("timestamp").max())
    for more, refused_rows in ((0, astray), (1, 0)):
        far = last.head(astray + more).with_columns(pl.col("timestamp") + 366 * DAY)
        assert judge(pl.concat([table, far])).rejected.height == refused_rows


def test_what_most_coins_have_after_a_long_hole_is_not_astray() -> None:
    checked = judge(with_row(LAST + 40 * DAY, coins=12))
    assert checked.rejected.is_empty()


def test_a_single_coin_with_a_hole_is_not_astray() -> None:
    alone = with_row(LAST + 40 * DAY).filter(pl.col("symbol") == "BINANCE:BTCUSDT")
    assert judge(alone).rejected.is_empty()


def test_a_coin_that_goes_on_after_the_others_is_not_astray() -> None:
    more = TABLE.filter(pl.col("symbol") == "BINANCE:BTCUSDT").with_columns(pl.col("timestamp") + 80 * DAY)
    assert judge(pl.concat([TABLE, more])).rejected.is_empty()


# --- where the data end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 3])
def test_copies_that_contradict_each_other_at_the_end_say_where_the_data_end_now(days: int) -> None:
    late = TABLE.filter(pl.col("timestamp") > LAST - days * DAY)
    checked = judge(pl.concat([TABLE, late.with_columns(pl.col("high") * 1.01, pl.col("volume") * 0.5)]))
    found = told(checked)["END_REFUSED"]
    assert (found.count, len(found.names)) == (2 * 12 * days, 12)
    assert f"{LAST - days * DAY:%Y-%m-%d}, not of {LAST:%Y-%m-%d}" in found.what


def test_a_bar_that_was_forming_is_no_refused_end() -> None:
    late = TABLE.filter(pl.col("timestamp") == LAST)
    half = pl.concat([TABLE, late.with_columns(pl.col("volume", "quote_volume") / 2)])
    found = told(judge(half))
    assert "END_REFUSED" not in found
    assert found["QUARANTINE_DUPLICATE_UNFINISHED"].count == 12
    forming = with_row(NOW - DAY / 2, coins=12).with_columns(pl.col("timestamp").dt.truncate("1d"))
    assert "END_REFUSED" not in told(judge(forming))
