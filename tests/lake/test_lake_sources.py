"""Every row of a file becomes a bar or is named in quarantine; a file that is no table of bars is refused."""

import datetime as dt
import json
import random
from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from assay.base.domain import INTERVALS, UTC
from assay.base.errors import Exit, SourceError, UsageError
from assay.market.bars import REASONS, check
from assay.sources import lake_name, open_source
from assay.sources.files import ParquetSource

NOW = dt.datetime(2024, 6, 1, tzinfo=UTC)
DAY = dt.timedelta(days=1)


def day(number):
    return dt.datetime(2024, 1, 1, tzinfo=UTC) + number * DAY


def rows(n=6, symbol="BINANCE:BTCUSDT", first=0):
    return [
        {
            "symbol": symbol,
            "timestamp": day(first + i),
            "open": 10.0,
            "high": 12.0,
            "low": 9.0,
            "close": 11.0 + i % 8 / 10,
            "volume": 5.0,
            "quote_volume": 55.0,
        }
        for i in range(n)
    ]


def judge(table, now=NOW):
    if not isinstance(table, pl.DataFrame):
        table = pl.DataFrame(table, infer_schema_length=None)
    return check(table, where="bars.parquet", source="parquet", now=now)


def codes(checked):
    return [finding.code for finding in checked.findings]


FAULTS = [
    ("NULL", {"symbol": None}),
    ("NULL", {"timestamp": None}),
    ("NULL", {"close": None}),
    ("NULL", {"volume": None}),
    ("SYMBOL", {"symbol": "BINANCE:BTC/US/DT"}),
    ("SYMBOL", {"symbol": "BINANCE:BTC\\USDT"}),
    ("SYMBOL", {"symbol": "BINANCE: BTCUSDT"}),
    ("SYMBOL", {"symbol": "BINANCE:BTC\u00a0USDT"}),
    ("SYMBOL", {"symbol": "BINANCE:BTC\x00USDT"}),
    ("SYMBOL", {"symbol": "BINANCE:BTC\u202eUSDT"}),
    ("SYMBOL", {"symbol": "../../etc/passwd"}),
    ("SYMBOL", {"symbol": ""}),
    ("BAD_TIMESTAMP", {"timestamp": dt.datetime(1970, 1, 1, tzinfo=UTC)}),
    ("BAD_TIMESTAMP", {"timestamp": dt.datetime(2100, 1, 1, tzinfo=UTC)}),
    ("NAN", {"open": float("nan")}),
    ("NAN", {"volume": float("nan")}),
    ("NAN", {"quote_volume": float("nan")}),
    ("INFINITE", {"high": float("inf")}),
    ("INFINITE", {"volume": float("inf")}),
    ("NON_POSITIVE", {"low": 0.0}),
    ("NON_POSITIVE", {"open": -10.0, "high": -1.0, "low": -12.0, "close": -5.0}),
    ("NEGATIVE_VOLUME", {"volume": -1.0}),
    ("NEGATIVE_VOLUME", {"quote_volume": -1.0}),
    ("INCONSISTENT_OHLC", {"high": 10.5}),
    ("INCONSISTENT_OHLC", {"low": 10.5}),
    ("INCONSISTENT_OHLC", {"high": 8.0}),
    ("OFF_GRID", {"timestamp": day(2) + dt.timedelta(hours=1)}),
    ("FUTURE", {"timestamp": NOW + DAY}),
    ("FORMING", {"timestamp": NOW}),
]


@pytest.mark.parametrize(("reason", "fault"), FAULTS)
def test_a_bad_row_goes_to_quarantine_with_its_reason_and_its_values(reason, fault):
    table = rows()
    table[3] |= fault
    checked = judge(table)
    assert checked.bars.height == 5
    assert checked.bars.filter(pl.col("open_time") == day(3)).is_empty()
    (found,) = checked.rejected.iter_rows(named=True)
    assert (found["row"], found["reason"], found["source"]) == (3, reason, "parquet")
    assert f"QUARANTINE_{reason}" in codes(checked)
    raw = json.loads(found["raw"])
    assert set(raw) == set(table[3])
    for name, value in fault.items():
        kept = {"NaN": "NaN", "Infinity": "Infinity"}.get(str(raw[name]), raw[name])
        wanted = {"nan": "NaN", "inf": "Infinity"}.get(str(value), value)
        assert kept == (str(wanted) if isinstance(wanted, dt.datetime) else wanted)


def test_every_reason_is_met_above_or_below():
    assert {reason for reason, _ in FAULTS} | {
        "DUPLICATE_UNFINISHED",
        "DUPLICATE_CONFLICT",
        "LOOK_ALIKE",
        "STRAY",
    } == set(REASONS)


def test_the_first_reason_counts():
    table = rows()
    table[2] |= {"close": None, "high": float("nan"), "volume": -1.0}
    assert judge(table).rejected["reason"].to_list() == ["NULL"]


@pytest.mark.parametrize(
    "change", [{"quote_volume": None}, {"volume": 0.0}, {"high": 12.0, "low": 12.0, "open": 12.0, "close": 12.0}]
)
def test_unusual_rows_are_bars(change):
    table = rows()
    table[3] |= change
    assert judge(table).bars.height == 6


def test_a_move_of_600_percent_is_data():
    table = rows()
    table[4] |= {"high": 90.0, "close": 85.0}
    assert judge(table).bars.height == 6


def test_rows_of_one_key_that_differ_are_all_put_aside():
    table = [*rows(), {**rows()[2], "close": 11.5}]
    checked = judge(table)
    assert checked.rejected.select("row", "reason").rows() == [(2, "DUPLICATE_CONFLICT"), (6, "DUPLICATE_CONFLICT")]
    assert checked.bars.height == 5


def copies(*changes, at=2):
    """Judge six bars of which one has copies with other values behind it, and as the first rows of the file."""
    table = rows()
    more = [{**table[at], **change} for change in changes]
    behind, before = judge([*table, *more]), judge([*more, *table])
    assert behind.bars.equals(before.bars)
    held = behind.bars.filter(pl.col("open_time") == day(at)).select("open", "high", "low", "close", "volume").rows()
    return held, sorted(behind.rejected.select("reason", "row").rows())


def test_of_two_copies_the_one_that_had_not_closed_is_put_aside():
    whole = tuple(float(rows()[2][name]) for name in ("open", "high", "low", "close", "volume"))
    open_, high, low, close, volume = whole
    early = {"high": high - (high - max(open_, close)) / 2, "close": open_, "volume": volume / 2}
    assert copies(early) == ([whole], [("DUPLICATE_UNFINISHED", 6)])
    assert copies({"volume": volume * 0.9999}) == ([whole], [("DUPLICATE_UNFINISHED", 6)])  # in volume only
    late = {"high": high + 1, "low": low / 2, "close": high + 1, "volume": volume * 2}
    assert copies(late) == ([(open_, high + 1, low / 2, high + 1, volume * 2)], [("DUPLICATE_UNFINISHED", 2)])
    assert copies({"high": high + 1, "close": high + 1})[1] == [("DUPLICATE_UNFINISHED", 2)]  # of equal volume


def test_of_three_copies_the_whole_one_is_kept_and_its_equals_are_counted():
    whole = rows()[2]
    first, second = {"volume": whole["volume"] / 4}, {"volume": whole["volume"] / 2}
    assert copies(first, second)[1] == [("DUPLICATE_UNFINISHED", 6), ("DUPLICATE_UNFINISHED", 7)]
    assert copies(first, {}, first)[1] == [("DUPLICATE_UNFINISHED", 6), ("DUPLICATE_UNFINISHED", 8)]
    assert "DUPLICATE_SAME" in codes(judge([*rows(), {**whole, **first}, whole]))


@pytest.mark.parametrize(
    "changes",
    [
        [{"open": 10.2}],  # another open
        [{"close": 10.6}],  # the same range and volume: neither is the earlier one
        [{"quote_volume": 1.0}],
        [{"high": 99.0, "volume": 1e-6}],  # more range, less volume
        [{"volume": 1e-6}, {"close": 10.6}],  # two could be whole, though the third is not
        [{"high": 99.0, "volume": 1e-6}, {"volume": 1e-6}],
    ],
)
def test_copies_either_of_which_could_be_the_unfinished_one_are_all_refused(changes):
    held, rejected = copies(*changes)
    assert held == []
    assert {reason for reason, _ in rejected} == {"DUPLICATE_CONFLICT"}
    assert len(rejected) == 1 + len(changes)


def test_tails_that_come_twice_leave_every_coin_its_last_days():
    names = ("BINANCE:BTCUSDT", "BINANCE:ETHUSDT", "BINANCE:SOLUSDT")
    table = [row for name in names for row in rows(symbol=name)]
    tail = [{**row, "volume": row["volume"] / 2} for row in table if row["timestamp"] >= day(3)]
    clean, checked = judge(table), judge([*table, *tail])
    assert checked.bars.equals(clean.bars)
    assert checked.rejected["reason"].to_list() == ["DUPLICATE_UNFINISHED"] * 9


def test_a_recorded_file_with_its_tail_twice_reaches_its_true_last_day(shared):
    path = shared.parent / "review" / "cases" / "case_overlap_tail3.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    checked = judge(pl.read_parquet(path))
    last = checked.bars.filter(pl.col("open_time") == dt.datetime(2023, 12, 31, tzinfo=UTC))
    assert last.height == 40
    assert set(checked.rejected["reason"]) == {"DUPLICATE_UNFINISHED"}
    assert checked.rejected.height == 120


CAFE = ("BINANCE:CAFE\u0301USDT", "BINANCE:CAF\u00c9USDT")
"""One name to every reader, with a combining accent and without; in order of code points."""


def test_of_two_symbols_that_look_alike_the_second_is_put_aside():
    checked = judge([*rows(symbol=CAFE[1]), *rows(symbol=CAFE[0]), *rows()])
    assert set(checked.bars["symbol"]) == {CAFE[0], "BINANCE:BTCUSDT"}
    assert checked.rejected["reason"].to_list() == ["LOOK_ALIKE"] * 6
    [finding] = checked.findings
    assert (finding.code, finding.count, finding.names) == ("QUARANTINE_LOOK_ALIKE", 6, [CAFE[1]])


def test_a_symbol_that_looks_like_one_of_the_lake_is_put_aside():
    table = pl.DataFrame([*rows(symbol=CAFE[0]), *rows()])
    checked = check(table, where="x", source="binance", now=NOW, held=[CAFE[1], "BINANCE:BTCUSDT"])
    assert set(checked.bars["symbol"]) == {"BINANCE:BTCUSDT"}
    kelvin = judge([*rows(symbol="BINANCE:\u212aUSDT"), *rows(symbol="BINANCE:KUSDT")])  # a sign that is a plain letter
    assert set(kelvin.bars["symbol"]) == {"BINANCE:KUSDT"}


def test_identical_rows_are_stored_once():
    table = rows()
    table[4]["quote_volume"] = None
    checked = judge([*table, *table[3:5], table[4]])
    assert checked.bars.height == 6
    assert checked.rejected.is_empty()
    (finding,) = [finding for finding in checked.findings if finding.code == "DUPLICATE_SAME"]
    assert finding.count == 3


def test_a_broken_row_does_not_take_the_good_one_of_its_key_with_it():
    checked = judge([*rows(), {**rows()[2], "close": -1.0}])
    assert checked.bars.height == 6
    assert checked.rejected["reason"].to_list() == ["NON_POSITIVE"]


def test_rows_are_sorted_by_time_and_symbol_and_disorder_is_told():
    table = [*rows(4, "BINANCE:ETHUSDT"), *rows(4)]
    ordered = judge(table)
    assert "UNORDERED" not in codes(ordered)
    swapped = judge([table[1], table[0], *table[2:]])
    (finding,) = [finding for finding in swapped.findings if finding.code == "UNORDERED"]
    assert finding.names == ["BINANCE:ETHUSDT"]
    keys = swapped.bars.select("open_time", "symbol").rows()
    assert keys == sorted(keys)
    assert swapped.bars.equals(ordered.bars)


def test_columns_that_no_bar_has_are_ignored_and_told():
    table = pl.DataFrame(rows()).with_columns(pl.lit(1).alias("trades"), pl.lit("x").alias("note"))
    checked = judge(table)
    (finding,) = checked.findings
    assert (finding.code, finding.names) == ("EXTRA_COLUMNS", ["note", "trades"])
    assert "trades" not in checked.bars.columns


def test_quote_volume_may_be_missing():
    checked = judge(pl.DataFrame(rows()).drop("quote_volume"))
    assert codes(checked) == ["NO_QUOTE_VOLUME"]
    assert checked.bars["quote_volume"].null_count() == 6


@pytest.mark.parametrize(
    "change",
    [
        pl.col("symbol").cast(pl.Categorical),
        pl.col("symbol").cast(pl.Enum(["BINANCE:BTCUSDT"])),
        pl.col("open", "high", "low").cast(pl.Int32),
        pl.col("volume").cast(pl.Float32),
        pl.col("close").cast(pl.Decimal(20, 8)),
        pl.lit(None).alias("quote_volume"),
    ],
)
def test_any_type_of_number_and_text_is_read(change):
    checked = judge(pl.DataFrame(rows()).with_columns(change))
    assert checked.rejected.is_empty()
    assert checked.bars.drop("quote_volume").equals(judge(rows()).bars.drop("quote_volume"))


def test_a_stamp_too_large_for_a_number_is_not_lost():
    stamps = [1_704_067_200_000 + 86_400_000 * i for i in range(5)]
    stamps[1] = 2**64 - 1
    checked = judge(stamped(stamps, pl.UInt64))
    assert checked.rejected.select("row", "reason").rows() == [(1, "BAD_TIMESTAMP")]


def test_symbols_without_exchange_are_told():
    assert codes(judge(rows(symbol="BTCUSDT"))) == ["SYMBOLS_READ"]
    assert "NO_EXCHANGE" in codes(judge(rows(symbol="apples") + rows()))


EPOCHS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def stamped(stamps, dtype=None):
    return pl.DataFrame(rows(len(stamps))).with_columns(pl.Series("timestamp", stamps, dtype=dtype))


@pytest.mark.parametrize("unit", EPOCHS)
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64])
def test_epoch_numbers_of_any_unit_are_read(unit, dtype):
    # 2024-01-01T00:00:00Z is 1704067200 seconds after the epoch.
    table = stamped([(1_704_067_200 + 86_400 * i) * EPOCHS[unit] for i in range(5)], dtype)
    assert judge(table).bars["open_time"].to_list() == [day(i) for i in range(5)]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_datetimes_of_any_unit_and_zone_are_read(unit):
    zoned = pl.DataFrame(rows()).with_columns(pl.col("timestamp").dt.cast_time_unit(unit))
    tokyo = zoned.with_columns(pl.col("timestamp").dt.convert_time_zone("Asia/Tokyo"))
    naive = zoned.with_columns(pl.col("timestamp").dt.replace_time_zone(None))
    wanted = [day(i) for i in range(6)]
    assert judge(zoned).bars["open_time"].to_list() == wanted
    assert judge(tokyo).bars["open_time"].to_list() == wanted
    assert judge(naive).bars["open_time"].to_list() == wanted
    assert codes(judge(naive)) == ["TIMESTAMP_NAIVE"]
    assert codes(judge(tokyo)) == []


def test_dates_are_read_as_midnight():
    table = pl.DataFrame(rows()).with_columns(pl.col("timestamp").dt.date())
    assert judge(table).bars["open_time"].to_list() == [day(i) for i in range(6)]


def test_a_stamp_between_two_microseconds_is_not_rounded():
    stamps = [(1_704_067_200 + 86_400 * i) * 10**9 for i in range(5)]
    stamps[2] += 1
    checked = judge(stamped(stamps))
    assert checked.rejected.select("row", "reason").rows() == [(2, "BAD_TIMESTAMP")]


@pytest.mark.parametrize("name", INTERVALS)
def test_the_interval_is_inferred(name):
    start = dt.datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
    length = INTERVALS[name]
    table = [{**row, "timestamp": start + i * length} for i, row in enumerate(rows(12)) if i not in {3, 4, 8}]
    checked = judge(table)
    assert checked.interval == name
    assert checked.bars.height == 9


REFUSED = [
    ("SOURCE_COLUMNS", "close", pl.DataFrame(rows()).drop("close")),
    ("SOURCE_COLUMNS", "not a number", pl.DataFrame(rows()).with_columns(pl.col("close").cast(pl.String))),
    ("SOURCE_COLUMNS", "not text", pl.DataFrame(rows()).with_columns(pl.lit(1).alias("symbol"))),
    ("TIMESTAMP_TYPE", "String", pl.DataFrame(rows()).with_columns(pl.col("timestamp").cast(pl.String))),
    ("TIMESTAMP_TYPE", "Float64", stamped([1.7e12] * 3)),
    ("TIMESTAMP_UNITS_MIXED", "2 in ms, 1 in us", stamped([1704067200000, 1704153600000, 1704240000000000])),
    ("TIMESTAMP_UNIT", "2009", stamped([19723, 19724, 19725])),
    (
        "TIMESTAMP_UNIT",
        "2009",
        stamped([1704067200000, 1704153600000], pl.Int64).with_columns(pl.col("timestamp").cast(pl.Datetime("ns"))),
    ),
    ("INTERVAL_UNKNOWN", "two bars", pl.DataFrame(rows(1))),
    ("INTERVAL_UNKNOWN", "172800 s", pl.DataFrame(rows(12)[::2])),
    ("OFF_GRID", "5:30", pl.DataFrame(rows()).with_columns(pl.col("timestamp") + dt.timedelta(hours=5, minutes=30))),
    ("SOURCE_EMPTY", "no rows", pl.DataFrame(rows()).clear()),
    ("SOURCE_EMPTY", "NON_POSITIVE", pl.DataFrame(rows()).with_columns(pl.lit(0.0).alias("open"))),
    ("SOURCE_EMPTY", "NULL", pl.DataFrame(rows()).with_columns(pl.lit(None).alias("symbol"))),
]


@pytest.mark.parametrize(("code", "words", "table"), REFUSED)
def test_a_table_that_cannot_be_bars_is_refused_by_name(code, words, table):
    with pytest.raises(SourceError, match=words) as caught:
        judge(table)
    assert caught.value.code == code
    assert caught.value.hint
    assert caught.value.where == "bars.parquet"


def hourly(symbol, n=30):
    return [{**row, "timestamp": day(0) + i * dt.timedelta(hours=1)} for i, row in enumerate(rows(n, symbol))]


def test_bars_of_several_intervals_are_refused_by_name():
    with pytest.raises(SourceError, match="BINANCE:ETHUSDT 1h") as caught:
        judge([*rows(60), *hourly("BINANCE:ETHUSDT", 5)])
    assert caught.value.code == "INTERVAL_MIXED"
    with pytest.raises(SourceError, match="BINANCE:ETHUSDT 1d"):
        judge([*hourly("BINANCE:BTCUSDT", 100), *rows(30, "BINANCE:ETHUSDT")])


def test_gaps_are_no_other_interval():
    assert judge([*rows(60), *rows(9, "BINANCE:ETHUSDT")[::4]]).interval == "1d"


def test_nothing_of_a_refused_row_is_readable_as_a_path(parquet, market_bars):
    table = market_bars.with_columns(pl.col("symbol").replace("BINANCE:ETHUSDT", "../../ETHUSDT"))
    read = open_source(parquet(table)).read()
    assert set(read.bars["symbol"]) == {"BINANCE:BTCUSDT", "BINANCE:日本USDT"}
    assert read.rejected.height == 320


@pytest.mark.parametrize("text", ["", "sampel", "parquet", "parquet:", "csv:", "xlsx:x", "sample:1", "parquet:a\0b"])
def test_an_unknown_source_is_a_usage_error(text):
    with pytest.raises(UsageError, match="unknown source") as caught:
        open_source(text)
    assert caught.value.exit_code is Exit.USAGE


def test_a_missing_file_says_what_to_do(tmp_path):
    source = open_source(f"parquet:{tmp_path}/none.parquet")
    for call in (source.fingerprint, source.read):
        with pytest.raises(SourceError, match="check the path") as caught:
            call()
        assert caught.value.exit_code is Exit.USAGE
    with pytest.raises(SourceError, match="directory"):
        open_source(f"parquet:{tmp_path}").read()


@pytest.mark.parametrize("data", [b"", b"symbol,timestamp\n", b"PAR1" + b"\0" * 64 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_a_source_error(tmp_path, data):
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(SourceError, match="Parquet"):
        open_source(f"parquet:{tmp_path}/x.parquet").read()


def test_a_cut_file_is_a_source_error(tmp_path, parquet, market_bars):
    path = Path(parquet(market_bars).removeprefix("parquet:"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SourceError, match="damaged"):
        open_source(f"parquet:{path}").read()


def test_one_file_is_one_source_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "link.parquet").symlink_to(tmp_path / "bars.parquet")
    monkeypatch.chdir(tmp_path)
    texts = ["parquet:bars.parquet", "parquet:./x/../bars.parquet", f"parquet:{tmp_path}/link.parquet"]
    assert len({lake_name(open_source(text)) for text in texts}) == 1
    assert lake_name(open_source("parquet:other.parquet")) != lake_name(open_source(texts[0]))


def test_a_path_is_not_a_pattern(tmp_path, market_bars):
    market_bars.write_parquet(tmp_path / "a1.parquet")
    with pytest.raises(SourceError, match="no such file"):
        open_source(f"parquet:{tmp_path}/a*.parquet").read()
    market_bars.head(320).write_parquet(tmp_path / "a*.parquet")
    assert open_source(f"parquet:{tmp_path}/a*.parquet").read().bars.height == 320


def test_the_clock_decides_what_is_still_forming(parquet):
    path = Path(parquet(pl.DataFrame(rows())).removeprefix("parquet:"))
    read = ParquetSource(path, clock=lambda: day(4) + dt.timedelta(hours=12)).read()
    assert read.rejected.select("row", "reason").rows() == [(4, "FORMING"), (5, "FUTURE")]
    assert ParquetSource(path, clock=lambda: day(6)).read().rejected.is_empty()


numbers = st.one_of(st.none(), st.sampled_from([0.0, -1.0, float("nan"), float("inf"), 1e300]), st.floats(0.5, 20.0))
any_row = st.fixed_dictionaries(
    {
        "symbol": st.one_of(st.none(), st.sampled_from(["BINANCE:A", "BINANCE:B", "a b", "a/b", "é:Ü"])),
        "timestamp": st.one_of(st.none(), st.integers(0, 40).map(lambda h: day(0) + h * dt.timedelta(hours=12))),
        **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), numbers),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(any_row, max_size=30), st.randoms(use_true_random=False))
def test_no_row_is_lost_and_no_bar_is_bad_whatever_comes(bad, order: random.Random):
    table = [*rows(20, "BINANCE:A"), *bad]
    schema = {**dict.fromkeys(rows(1)[0], pl.Float64), "symbol": pl.String, "timestamp": pl.Datetime("ms", "UTC")}
    checked = judge(pl.DataFrame(table, schema=schema))
    collapsed = sum(finding.count for finding in checked.findings if finding.code == "DUPLICATE_SAME")
    assert checked.bars.height + checked.rejected.height + collapsed == len(table)
    assert checked.rejected["row"].is_unique().all()
    for bar in checked.bars.iter_rows(named=True):
        prices = [bar[name] for name in ("open", "high", "low", "close")]
        assert 0 < bar["low"] == min(prices) <= max(prices) == bar["high"] < float("inf")
        assert bar["open_time"].hour == 0
        assert 0 <= bar["volume"] < float("inf")
    assert not checked.bars.select(pl.struct("symbol", "open_time").is_duplicated().any()).item()
    order.shuffle(table)
    again = judge(pl.DataFrame(table, schema=schema))
    assert again.bars.equals(checked.bars)
    assert sorted(again.rejected["reason"]) == sorted(checked.rejected["reason"])
