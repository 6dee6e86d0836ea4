"""Bars of one's own: every form that a newcomer has is read, or refused at load with the one cause.

The reference of each case is the made market itself, never what another reading gave.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

from assay.base.errors import AssayError, Exit, FileError, UsageError
from assay.cli import app
from assay.lake import shards
from assay.settings import load
from assay.sources import opened
from assay.sources.files import keep_frame

sys.path.insert(0, str(Path(__file__).parents[1] / "foundation"))
from made_files import BASES, kline_files, made

TABLE = made(days=300, bases=BASES[:6])
VALUES = ["open", "high", "low", "close", "volume", "quote_volume"]
PLAIN = pl.col("symbol").str.replace("BINANCE:", "")
NAMES = {
    "BINANCE:BTCUSDT": pl.col("symbol"),
    "BTCUSDT": PLAIN,
    "BTC/USDT": PLAIN.str.replace("USDT", "/USDT"),
    "BTC_USDT": PLAIN.str.replace("USDT", "_USDT"),
}


def read(source: str, folder: Path | None = None, *settings: str, for_runs: bool = True) -> pl.DataFrame:
    """Return what a run would be given of a source, in the made table's columns."""
    bars = opened(source, load(folder, settings=settings), for_runs=for_runs).read().bars
    return bars.select("symbol", pl.col("open_time").alias("timestamp"), *VALUES).sort("symbol", "timestamp")


def expected(table: pl.DataFrame = TABLE) -> pl.DataFrame:
    stamps = pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    return table.select("symbol", stamps, *VALUES).sort("symbol", "timestamp")


def refused(source: str, *settings: str, folder: Path | None = None) -> FileError:
    with pytest.raises(FileError) as caught:
        read(source, folder, *settings)
    assert caught.value.exit_code is Exit.USAGE  # what the user gave, and no host that cannot be reached
    assert caught.value.where
    assert caught.value.hint
    return caught.value


def write(path: Path, table: pl.DataFrame) -> str:
    """Write a table as its name says, and return it as a source."""
    if path.suffix == ".csv":
        table.write_csv(path)
    else:
        table.write_parquet(path)
    return f"{path.suffix[1:]}:{path}"


@pytest.fixture(params=["bars.csv", "bars.parquet"])
def path(request, tmp_path):
    return tmp_path / request.param


# --- names of coins -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", NAMES)
def test_a_coin_is_the_same_in_each_notation(path, form):
    assert read(write(path, TABLE.with_columns(symbol=NAMES[form]))).equals(expected())


@pytest.mark.parametrize("form", ["BTCUSDT", "BTC/USDT"])
def test_a_bare_name_is_of_the_exchange_that_the_settings_name(path, form):
    source = write(path, TABLE.with_columns(symbol=NAMES[form]))
    ours = expected(TABLE.with_columns(symbol=pl.col("symbol").str.replace("BINANCE", "KRAKEN")))
    assert read(source, None, "universe.exchange=KRAKEN", "benchmark=KRAKEN:BTCUSDT").equals(ours)


def test_a_bare_name_is_nobody_s_where_scanners_name_several_exchanges(path):
    source = write(path, TABLE.with_columns(symbol=PLAIN))
    error = refused(source, "scanners.binance_spot_rating_all_long.universe.exchange=KRAKEN")
    assert "name no exchange, and the scanners name BINANCE, KRAKEN" in str(error)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("BINANCE:", "BYBIT:"), "of BYBIT in USDT, and scanners look at BINANCE in"),
        (("USDT", "EUR"), "of BINANCE in EUR, and scanners look at BINANCE in"),
        (("USDT", "KRW"), "of BINANCE in KRW, and"),
    ],
)
def test_what_no_scanner_looks_at_is_refused_at_load_and_the_hint_mends_it(tmp_path, path, change, says):
    table = TABLE.with_columns(symbol=pl.col("symbol").str.replace(*change))
    source = write(path, table)
    error = refused(source)
    assert error.code == "OUTSIDE_UNIVERSE"
    assert says in str(error)
    first, second = error.hint.removeprefix("in assay.toml: ").split("; and ")
    lines = [
        part
        for one in (second, first)
        for part in one.replace("], ", "]\n").replace(", quotes", "\nquotes").split("\n")
    ]
    (tmp_path / "assay.toml").write_text("\n".join(lines) + "\n")
    assert read(source, tmp_path).equals(expected(table))
    assert load(tmp_path).profile("binance_spot_rating_all_long").benchmark == table["symbol"][0]


def test_a_file_without_the_benchmark_is_refused_at_load(path):
    source = write(path, TABLE.filter(pl.col("symbol") != "BINANCE:BTCUSDT"))
    error = refused(source)
    assert (error.code, "BINANCE:BTCUSDT" in error.what) == ("BENCHMARK_MISSING", True)
    assert read(source, None, "benchmark=BINANCE:ETHUSDT").height == 5 * 300
    assert read(source, for_runs=False).height == 5 * 300  # the lake may have it all the same


def test_no_name_that_tells_a_pair_is_refused(path):
    assert refused(write(path, TABLE.with_columns(symbol=pl.lit("fruit")))).code == "SYMBOLS_UNREADABLE"


# --- columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["date", "Date", "open_time", "Open Time", "time", "datetime"])
def test_usual_names_of_columns_are_known(path, name):
    table = TABLE.rename({"timestamp": name, "close": "Close", "quote_volume": "quote_asset_volume"})
    assert read(write(path, table)).equals(expected())


def test_other_names_are_mapped_and_a_new_map_is_another_content(tmp_path, path):
    source = write(path, TABLE.rename({"timestamp": "Zeit", "close": "Schluss", "symbol": "Coin"}))
    assert refused(source).code == "SOURCE_COLUMNS"
    text = '[source.columns]\ntimestamp = "Zeit"\nclose = "Schluss"\nsymbol = "Coin"\n'
    (tmp_path / "assay.toml").write_text(text)
    assert read(source, tmp_path).equals(expected())
    before = opened(source, load(tmp_path)).fingerprint()
    (tmp_path / "assay.toml").write_text(text + 'quote_volume = "volume"\n')
    assert opened(source, load(tmp_path)).fingerprint() != before
    error = refused(source, 'source.columns.open="nothing"', folder=tmp_path)
    assert "source.columns names 'nothing', and the columns are Coin, " in error.what
    with pytest.raises(AssayError, match="did you mean columns"):
        load(tmp_path, settings=["source.columns.timestamps=x"]).source()


def test_a_map_goes_before_a_column_that_has_our_name(path):
    table = TABLE.with_columns(mid=pl.col("close"), close=pl.lit(1.0))
    assert read(write(path, table), None, "source.columns.close=mid").equals(expected())


def test_two_columns_that_could_be_one_are_refused_by_name(path):
    error = refused(write(path, TABLE.rename({"timestamp": "date"}).with_columns(time=pl.col("date"))))
    assert "could both be timestamp" in error.what
    assert read(write(path, TABLE.with_columns(time=pl.col("timestamp")))).equals(expected())


def test_missing_columns_are_named(path):
    error = refused(write(path, TABLE.drop("high", "volume")))
    assert error.code == "SOURCE_COLUMNS"
    assert "columns are missing: high, volume" in error.what


# --- times and numbers ----------------------------------------------------------------------------------------------

STAMPS = {
    "datetimes in UTC": pl.col("timestamp"),
    "naive": pl.col("timestamp").dt.replace_time_zone(None),
    "dates": pl.col("timestamp").dt.date(),
    "seconds": pl.col("timestamp").dt.epoch("s"),
    "milliseconds": pl.col("timestamp").dt.epoch("ms"),
    "microseconds": pl.col("timestamp").dt.epoch("us"),
}
TEXTS = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%d %H:%M:%S UTC"]


@pytest.mark.parametrize("form", STAMPS)
def test_times_of_each_form_are_read(path, form):
    assert read(write(path, TABLE.with_columns(timestamp=STAMPS[form]))).equals(expected())


@pytest.mark.parametrize("form", TEXTS)
def test_times_as_text_are_read_from_a_csv(tmp_path, form):
    table = TABLE.with_columns(pl.col("timestamp").dt.strftime(form))
    assert read(write(tmp_path / "x.csv", table)).equals(expected())


def test_another_zone_is_turned_into_utc(tmp_path):
    table = TABLE.with_columns((pl.col("timestamp") + pl.duration(hours=8)).dt.strftime("%Y-%m-%dT%H:%M:%S+08:00"))
    assert read(write(tmp_path / "x.csv", table)).equals(expected())


@pytest.mark.parametrize(
    ("column", "value", "code", "says"),
    [
        ("timestamp", "01/02/2023", "SOURCE_MALFORMED", "line 5: timestamp is '01/02/2023', not a time"),
        ("close", "1,5", "SOURCE_MALFORMED", "line 5: close is '1,5', not a number"),
        ("volume", "much", "SOURCE_MALFORMED", "line 5: volume is 'much', not a number"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named_with_its_line(tmp_path, column, value, code, says):
    cell = pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(value)).otherwise(pl.col(column).cast(pl.String))
    error = refused(write(tmp_path / "x.csv", TABLE.with_columns(cell.alias(column))))
    assert (error.code, says in error.what) == (code, True), error


def test_text_in_a_parquet_file_is_refused(tmp_path):
    for column in ("timestamp", "close"):
        refused(write(tmp_path / "x.parquet", TABLE.with_columns(pl.col(column).cast(pl.String))))


def test_a_shift_and_a_unit_that_cannot_be_are_refused(path):
    assert refused(write(path, TABLE.with_columns(pl.col("timestamp") + pl.duration(hours=8)))).code == "OFF_GRID"
    assert refused(write(path, TABLE.with_columns(timestamp=pl.lit(7)))).code == "TIMESTAMP_UNIT"


def test_an_empty_cell_is_a_missing_value(tmp_path):
    gone = pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("close").alias("close")
    found = opened(write(tmp_path / "x.csv", TABLE.with_columns(gone)), load()).read()
    assert found.rejected.select("row", "reason").rows() == [(3, "NULL")]
    assert found.bars.height == TABLE.height - 1


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_a_byte_order_mark_are_read(tmp_path, separator):
    TABLE.write_csv(tmp_path / "x.csv", separator=separator, include_bom=True)
    assert read(f"csv:{tmp_path}/x.csv").equals(expected())


# --- files that exchanges publish -----------------------------------------------------------------------------------


def test_a_folder_of_the_archive_s_files_is_one_table(tmp_path):
    kline_files(tmp_path / "klines" / "deeper", TABLE)
    assert len(list(tmp_path.rglob("*.zip"))) > 20
    assert read(f"csv:{tmp_path}/klines").equals(expected())


def test_one_file_of_the_archive_is_one_coin(tmp_path):
    kline_files(tmp_path, TABLE)
    one = expected(
        TABLE.filter(pl.col("symbol") == "BINANCE:BTCUSDT", pl.col("timestamp").dt.strftime("%Y-%m") == "2022-07")
    )
    assert read(f"csv:{tmp_path}/BTCUSDT-1d-2022-07.csv").equals(one)
    one = expected(
        TABLE.filter(pl.col("symbol") == "BINANCE:BTCUSDT", pl.col("timestamp").dt.strftime("%Y-%m") == "2022-08")
    )
    assert read(f"csv:{tmp_path}/BTCUSDT-1d-2022-08.zip").equals(one)


def test_both_units_in_one_file_of_klines_are_told_apart(tmp_path):
    kline_files(tmp_path / "parts", TABLE.filter(pl.col("symbol") == "BINANCE:BTCUSDT"))
    texts = []
    for path in sorted((tmp_path / "parts").glob("BTC*")):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                texts.append(archive.read(archive.namelist()[0]).decode())
        elif path.suffix == ".csv":
            texts.append(path.read_text())
    (tmp_path / "BTCUSDT.csv").write_text("".join(texts))
    assert read(f"csv:{tmp_path}/BTCUSDT.csv").equals(expected(TABLE.filter(pl.col("symbol") == "BINANCE:BTCUSDT")))


@pytest.mark.parametrize(
    "name", ["BTCUSDT.csv", "BTCUSDT_1d.csv", "BTC-USDT.csv", "BTC_USDT-1d.csv", "BINANCE_BTCUSDT, 1D.csv"]
)
def test_the_name_of_a_file_tells_its_coin(tmp_path, name):
    table = TABLE.filter(pl.col("symbol") == "BINANCE:BTCUSDT")
    assert read(write(tmp_path / name, table.drop("symbol"))).equals(expected(table))


def test_a_name_that_tells_no_coin_is_refused(path):
    error = refused(write(path, TABLE.drop("symbol")))
    assert error.code == "SOURCE_COLUMNS"
    assert f"nor does the file's name, {path.name}" in error.what


def test_a_folder_of_several_intervals_is_refused(tmp_path):
    kline_files(tmp_path, TABLE)
    (tmp_path / "ETHUSDT-1h-2022-07.csv").write_text("")
    assert refused(f"csv:{tmp_path}").code == "INTERVAL_MIXED"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("x.csv", b"", "SOURCE_EMPTY"),
        ("x.csv", b"\x89PNG\r\n\x1a\n\x00\x00", "SOURCE_COLUMNS"),
        ("BTCUSDT.csv", b"1656633600000,1,2,0.5,1,9\n", "SOURCE_COLUMNS"),
        ("BTCUSDT.zip", b"PK\x03\x04 this is no zip", "SOURCE_MALFORMED"),
        ("x.parquet", b"symbol,timestamp\n", "SOURCE_MALFORMED"),
    ],
)
def test_a_file_that_is_no_table_is_the_user_s_and_not_a_host_s(tmp_path, name, data, code):
    (tmp_path / name).write_bytes(data)
    kind = "parquet" if name.endswith("parquet") else "csv"
    assert refused(f"{kind}:{tmp_path}/{name}").code == code


def test_a_zip_of_several_files_and_a_folder_of_none_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "BTCUSDT.zip", "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")
    assert "holds 2 files" in refused(f"csv:{tmp_path}/BTCUSDT.zip").what
    (tmp_path / "none").mkdir()
    assert refused(f"csv:{tmp_path}/none").code == "SOURCE_EMPTY"
    assert refused(f"csv:{tmp_path}/nowhere").code == "SOURCE_MISSING"
    assert refused(f"parquet:{tmp_path}/nowhere").code == "SOURCE_MISSING"


def test_a_changed_file_of_a_folder_is_another_content(tmp_path):
    kline_files(tmp_path, TABLE)
    source = opened(f"csv:{tmp_path}", load())
    before = source.fingerprint()
    assert source.read().fingerprint == before
    (tmp_path / "note.txt").write_text("x")
    assert source.fingerprint() == before
    (tmp_path / "BTCUSDT-1d-2022-07.csv").rename(tmp_path / "LTCUSDT-1d-2022-07.csv")
    assert source.fingerprint() != before


# --- frames ---------------------------------------------------------------------------------------------------------


def frames():
    panda = pd.DataFrame(TABLE.with_columns(pl.col("timestamp").dt.replace_time_zone(None)).to_dict(as_series=False))
    yield "polars", TABLE
    yield "pandas", panda
    yield "pandas in zones", panda.assign(timestamp=panda["timestamp"].dt.tz_localize("UTC"))
    yield "pandas by index", panda.set_index(["symbol", "timestamp"])
    yield "pandas by date", panda.set_index("timestamp").rename_axis("date")
    yield "bare names", TABLE.with_columns(symbol=PLAIN)


@pytest.mark.parametrize(("name", "frame"), list(frames()), ids=[name for name, _ in frames()])
def test_a_frame_is_kept_and_read_like_a_file(tmp_path, name, frame):
    source = keep_frame(frame, tmp_path)
    assert read(source).equals(expected())
    assert keep_frame(frame, tmp_path) == source
    assert len(list((tmp_path / "frames").iterdir())) == 1


def test_a_frame_that_is_no_table_of_bars_is_refused_and_not_kept(tmp_path):
    with pytest.raises(FileError, match="columns are missing: high"):
        keep_frame(TABLE.drop("high"), tmp_path)
    with pytest.raises(UsageError, match="call"):
        keep_frame(TABLE.lazy(), tmp_path)
    with pytest.raises(UsageError, match="a list is no table"):
        keep_frame([1], tmp_path)
    assert not list(tmp_path.iterdir())


# --- through commands -----------------------------------------------------------------------------------------------


def assay(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.parametrize("name", ["typo.csv", "typo.parquet", "foreign.csv"])
def test_a_load_that_fails_leaves_nothing_behind(tmp_path, name):
    kind, home = name.rpartition(".")[2], tmp_path / "home"
    TABLE.with_columns(symbol=pl.col("symbol").str.replace("BINANCE", "BYBIT")).write_csv(tmp_path / "foreign.csv")
    asked = ("--source", f"{kind}:{tmp_path}/{name}", "--home", home)
    for command in ("run", "binance_spot_rating_all_long"), ("scan",):
        done = assay(*command, *asked)
        assert done.exit_code == Exit.USAGE, done.output
    assert not list(home.glob("lake/*"))
    assert not list(home.glob("runs/*"))
    done = assay("doctor", "--home", home, "--json")
    assert "EMPTY_LAKE" not in done.stdout


def test_a_large_file_is_refused_by_its_coins_before_any_of_it_is_rated(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "WHOLE_ROWS", 1_000)
    monkeypatch.setattr(shards, "load", lambda *_: pytest.fail("it was read"))
    foreign = TABLE.with_columns(symbol=pl.col("symbol").str.replace("BINANCE", "BYBIT"))
    for name, table in ("foreign", foreign), ("lacks", TABLE.filter(pl.col("symbol") != "BINANCE:BTCUSDT")):
        source = write(tmp_path / f"{name}.parquet", table)
        assert shards.plan(tmp_path / f"{name}.parquet")
        done = assay("scan", "--source", source, "--home", tmp_path / "home", "--json")
        assert done.exit_code == Exit.USAGE, done.output
        code = {"foreign": "OUTSIDE_UNIVERSE", "lacks": "BENCHMARK_MISSING"}[name]
        assert json.loads(done.stdout)["error"]["code"] == code


def test_the_doctor_does_not_wait_for_news_of_a_file(tmp_path):
    source, home = write(tmp_path / "bars.csv", TABLE), tmp_path / "home"
    assert assay("scan", "--source", source, "--home", home).exit_code == Exit.OK
    told = assay("doctor", "--home", home, "--json").stdout
    assert "csv-" in told
    assert "LAKE_BEHIND" not in told
    assert "NEVER_SCANNED" not in told


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """Scan the made market under settings, each with its home."""
    folder = tmp_path_factory.mktemp("scanned")
    source = write(folder / "bars.csv", TABLE)

    def go(*settings):
        sets = [part for setting in settings for part in ("--set", setting)]
        done = assay("scan", "--source", source, "--home", folder / "home", "--json", *sets)
        assert done.exit_code == Exit.OK, done.output
        [path] = [Path(json.loads(done.stdout)["path"])]
        told = json.loads(path.read_text())
        [count] = [one for one in told["scanners"] if one["scanner"] == "binance_spot_rating_all_long"]
        return {one["symbol"] for one in told["candidates"]}, count

    return go


def test_coins_are_held_or_left_out_by_name_and_counted(scanned):
    everybody, count = scanned()
    assert not {"only", "without"} & set(count["dropped"])
    one, other = sorted(everybody)[:2]
    base = one.removeprefix("BINANCE:").removesuffix("USDT")
    for form in (base, f"{base}USDT", f"{base}/USDT", one):
        found, count = scanned(f'universe.only=["{form}"]')
        assert found == {one}
        assert count["dropped"]["only"] == 5
        found, count = scanned(f'universe.without=["{form}"]')
        assert found == everybody - {one}
        assert count["dropped"]["without"] == 1
    found, count = scanned(f'universe.only=["{one}", "{other}"]', f'universe.without=["{other}"]')
    assert (found, count["dropped"]["only"], count["dropped"]["without"]) == ({one}, 4, 1)
    assert count["universe"] == count["kept"] + sum(count["dropped"].values())
