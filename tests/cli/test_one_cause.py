"""One message, one cause: what a run, an ingestion and their JSON say where nobody is found or a file is refused."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from assay.backtest.decision import Decision, Discovery
from assay.base.domain import DAY
from assay.base.errors import Exit
from assay.cli import app
from assay.runs.documents import ScannerCount
from assay.screening.scanner import healthy

sys.path.insert(0, str(Path(__file__).parents[1] / "foundation"))
from made_files import BASES, FIRST, made

LONG = "binance_spot_rating_all_long"
TABLE = made()
LAST = FIRST + 399 * DAY


def assay(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def call(tmp_path):
    """Run a command over a table written to a file."""

    def go(table, *arguments):
        path = tmp_path / "bars.parquet"
        table.write_parquet(path)
        done = assay(*arguments, "--source", f"parquet:{path}", "--home", tmp_path / "home", "--json")
        return done, json.loads(done.stdout)

    return go


def run(call, table, *settings):
    done, told = call(table, "run", LONG, *(part for setting in settings for part in ("--set", setting)))
    return done, told["runs"][0]["error"]


def test_the_made_market_runs(call):
    done, error = run(call, TABLE)
    assert (done.exit_code, error) == (Exit.OK, None)


def test_plain_symbols_run_as_the_canons_do(call):
    plain = TABLE.with_columns(pl.col("symbol").str.replace("BINANCE:(.*)USDT", "$1/USDT"))
    assert run(call, plain)[0].exit_code == Exit.OK


@pytest.mark.parametrize(
    ("settings", "code", "condition", "count"),
    [
        (("scanners.binance_spot_rating_all_long.min_value_traded=1e18",), "NO_UNIVERSE", "value_traded", 12),
        (("scanners.binance_spot_rating_all_long.min_volatility=900",), "NO_UNIVERSE", "volatility", 12),
        (("universe.min_bars=401",), "NO_UNIVERSE", "history", 12),
        (('universe.only=["XMR"]',), "NO_UNIVERSE", "only", 12),
    ],
)
def test_the_condition_that_took_the_coins_is_named_in_words_and_numbers(call, settings, code, condition, count):
    done, error = run(call, TABLE, *settings)
    assert (done.exit_code, error["code"]) == (Exit.FAILED, code)
    facts = error["facts"]
    assert facts["as_of"] == facts["last_close"] == f"{LAST + DAY:%Y-%m-%d}T00:00:00Z"
    assert (facts["universe"], facts["symbols"]) == (12, 12)
    assert facts["dropped"] == {LONG: {condition: count}}
    assert facts["as_of"] in error["what"]
    assert "12 of 12 pairs have a bar that day" in error["what"]
    assert f"{LONG}: 12 " in error["what"]


@pytest.mark.parametrize("setting", ["universe.exchange=KRAKEN", 'universe.quotes=["EUR"]'])
def test_data_that_nobody_can_scan_are_no_empty_portfolio(call, setting):
    """``stand_aside`` is for days without candidates, not for a universe that is not in the file."""
    done, told = call(TABLE, "run", LONG, "--set", setting, "--set", "stand_aside=true")
    assert (done.exit_code, told["error"]["code"]) == (Exit.USAGE, "OUTSIDE_UNIVERSE")


def test_bars_that_are_in_the_lake_already_end_a_run_with_the_same_cause(call):
    call(TABLE, "ingest")
    error = run(call, TABLE, 'universe.quotes=["EUR"]', "stand_aside=true")[1]
    assert (error["code"], error["facts"]["dropped"]) == ("NO_UNIVERSE", {LONG: {"quote": 12}})


def test_a_universe_is_healthy_if_a_coin_was_asked_for_its_side():
    def scanned(matched: int = 0, **dropped: int) -> ScannerCount:
        return ScannerCount(scanner="s", universe=3, matched=matched, kept=0, dropped=dropped)

    assert not healthy([])
    assert not healthy([scanned(value_traded=1, volatility=1, unrated=1), scanned(history=3), scanned(not_trading=3)])
    assert healthy([scanned(value_traded=3), scanned(value_traded=2, rating=1)])
    assert healthy([scanned(matched=3)])


@pytest.mark.parametrize(("dropped", "reason"), [({"rating": 1}, "NO_CANDIDATES"), ({"unrated": 1}, "NO_UNIVERSE")])
def test_a_day_of_the_walk_forward_without_a_universe_has_a_name_of_its_own(dropped, reason):
    counts = [ScannerCount(scanner="s", universe=1, matched=0, kept=0, dropped=dropped)]
    assert Decision(LAST, Discovery([], counts)).summary["reason"] == reason


def test_one_coin_that_goes_on_alone_is_seen_in_the_message(call):
    alone = TABLE.filter(pl.col("symbol") == "BINANCE:ADAUSDT").tail(5).with_columns(pl.col("timestamp") + 5 * DAY)
    done, error = run(call, pl.concat([TABLE, alone]))
    assert done.exit_code == Exit.FAILED
    if error["code"] == "NO_CANDIDATES":
        assert "1 of 12 pairs have a bar that day" in error["what"]


def test_an_earlier_day_tells_where_the_data_end(call):
    done, told = call(TABLE, "run", LONG, "--as-of", "2022-07-10")
    error = told["runs"][0]["error"]
    assert (done.exit_code, error["code"]) == (Exit.FAILED, "NO_UNIVERSE")
    assert error["facts"]["as_of"] == "2022-07-11T00:00:00Z"
    assert f"the lake's last bar closed at {LAST + DAY:%Y-%m-%d}" in error["what"]


BASE = pl.col("symbol").str.replace("BINANCE:(.*)USDT", "$1")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"quote_volume": pl.lit(0.0)}, "QUOTE_VOLUME_ZERO"),
        ({"volume": pl.lit(0.0)}, "VOLUME_ZERO"),
        ({"symbol": "fruit " + BASE}, "SYMBOLS_UNREADABLE"),
        ({"symbol": pl.col("symbol").str.to_lowercase()}, "SYMBOLS_UNREADABLE"),
        ({"timestamp": pl.lit(0)}, "TIMESTAMP_UNIT"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_before_anything_is_stored(call, tmp_path, change, code):
    for command in (("ingest",), ("run", LONG)):
        done, told = call(TABLE.with_columns(**change), *command)
        assert done.exit_code == Exit.USAGE
        assert told["error"]["code"] == code
    assert not list((tmp_path / "home").glob("lake/*"))
    assert not list((tmp_path / "home").glob("runs/*"))


@pytest.mark.parametrize("days", [-800, 366, 27000])
def test_one_stray_row_changes_nothing_of_a_run(call, days):
    row = TABLE.filter(pl.col("symbol") == "BINANCE:XRPUSDT").tail(1).with_columns(pl.col("timestamp") + days * DAY)
    spoilt = pl.concat([TABLE, row]).sort("symbol", "timestamp")
    done, _ = call(spoilt, "ingest")
    told = json.loads(done.stdout)
    assert told["last_close"] == f"{LAST + DAY:%Y-%m-%d}T00:00:00Z"
    assert [found["code"] for found in told["findings"]] == [f"QUARANTINE_{'FUTURE' if days == 27000 else 'STRAY'}"]
    done, error = run(call, spoilt)
    assert (done.exit_code, error) == (Exit.OK, None)
    assert len(BASES) == told["symbols"]


def test_a_run_says_in_its_report_where_the_data_end_and_what_was_astray(call, tmp_path):
    late = TABLE.filter(pl.col("timestamp") == LAST).with_columns(pl.col("high") * 1.01, pl.col("volume") * 0.5)
    far = TABLE.filter(pl.col("timestamp") == LAST).head(1).with_columns(pl.col("timestamp") + 90 * DAY)
    done, error = run(call, pl.concat([TABLE, late, far]))
    assert (done.exit_code, error) == (Exit.OK, None)
    assert "finding END_REFUSED" in done.stderr
    assert done.stderr.index("finding QUARANTINE_STRAY") < done.stderr.index("Step 1")
    [health] = (tmp_path / "home" / "runs").glob("*/data/data_health.json")
    codes = {finding["code"]: finding for finding in json.loads(health.read_text())["findings"]}
    assert codes["END_REFUSED"]["count"] == 24
    assert codes["QUARANTINE_STRAY"]["names"] == ["BINANCE:BTCUSDT"]
    [report] = (tmp_path / "home" / "runs").glob("*/reports/audit_report.md")
    assert f"the data end with the bar of {LAST - DAY:%Y-%m-%d}, not of {LAST:%Y-%m-%d}" in report.read_text()


# --- why a coin is not in a run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A run of a file in which coins lack days for each cause."""
    folder = tmp_path_factory.mktemp("spoilt")
    coin = pl.col("symbol").str.contains
    last = pl.col("timestamp") > LAST - 3 * DAY
    hole = pl.col("timestamp").is_between(FIRST + 300 * DAY, FIRST + 301 * DAY)
    kept = TABLE.filter(~hole, ~(coin("SOL") & (pl.col("timestamp") == FIRST + 350 * DAY)))
    copies = TABLE.filter(last, coin("ETH")).with_columns(pl.col("high") * 1.01, pl.col("volume") * 0.5)
    negative = TABLE.filter(coin("ADA"), pl.col("timestamp") == LAST).with_columns(low=pl.lit(-1.0))
    whole = kept.filter(~(coin("ADA") & (pl.col("timestamp") == LAST)))
    pl.concat([whole, copies, negative]).write_parquet(folder / "bars.parquet")
    asked = ("--source", f"parquet:{folder}/bars.parquet", "--home", folder / "home", "--run-id", "one")
    done = assay("run", LONG, *asked)
    assert done.exit_code == Exit.OK, done.output
    return folder / "home"


def data(home, base):
    return json.loads(assay("why", "one", f"BINANCE:{base}USDT", "--home", home, "--json").stdout)["data"]


def owners(told):
    return {hole["owner"]: (hole["days"], hole["first"]) for hole in told["missing"]}


MARKET = {"the whole market lacks them": (2, f"{FIRST + 300 * DAY:%Y-%m-%d}")}


def test_why_tells_of_a_coin_whose_last_rows_were_refused(spoilt):
    told = data(spoilt, "ETH")
    assert told["refused"] == {"DUPLICATE_CONFLICT": 6}
    assert owners(told) == MARKET | {"rows of them were refused": (3, f"{LAST - 2 * DAY:%Y-%m-%d}")}
    assert told["scanned"][LONG]["reason"] == "no_bar"
    assert told["scanned"][LONG]["said"] == f"no bar of {LAST:%Y-%m-%d}; its last bar is of {LAST - 3 * DAY:%Y-%m-%d}"
    text = assay("why", "one", "BINANCE:ETHUSDT", "--home", spoilt).stdout
    assert "rows refused: 6 DUPLICATE_CONFLICT" in text
    assert f"3 days missing, {LAST - 2 * DAY:%Y-%m-%d} to {LAST:%Y-%m-%d}: rows of them were refused" in text


def test_why_tells_of_holes_by_owner(spoilt):
    assert owners(data(spoilt, "SOL")) == MARKET | {"the coin alone lacks them": (1, f"{FIRST + 350 * DAY:%Y-%m-%d}")}
    assert owners(data(spoilt, "BTC")) == MARKET
    assert data(spoilt, "BTC")["bars"] == 398
    assert data(spoilt, "ADA")["refused"] == {"NON_POSITIVE": 1}


def test_why_says_which_condition_of_the_scan_took_a_coin(spoilt):
    raw = json.loads((spoilt / "runs" / "one" / "data" / "portfolio_candidates_raw.json").read_text())
    found = {one["symbol"] for one in raw["candidates"]}
    [missed] = sorted({"BINANCE:BTCUSDT", "BINANCE:DOGEUSDT", "BINANCE:LTCUSDT", "BINANCE:UNIUSDT"} - found)[:1]
    told = data(spoilt, missed.removeprefix("BINANCE:").removesuffix("USDT"))
    assert told["scanned"][LONG]["reason"] == "rating"
    assert told["scanned"][LONG]["conditions"][-1]["value"] <= 0


def test_why_refuses_a_coin_of_which_the_lake_has_nothing(spoilt):
    done = assay("why", "one", "BINANCE:NOBODYUSDT", "--home", spoilt)
    assert done.exit_code == Exit.USAGE
    assert "no bar and no refused row" in done.output


def newest(days: int) -> pl.DataFrame:
    """Return the last days of the embedded sample."""
    bars = pl.read_parquet(next(resources.files("assay.sources").joinpath("sample").glob("*.parquet")))
    return bars.filter(pl.col("timestamp") > pl.col("timestamp").max() - pl.duration(days=days))


def test_the_least_bars_that_the_readme_names_are_enough_and_one_less_is_refused_by_number(call):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert "263 daily bars of Bitcoin, and 253 of a coin, are the least" in readme
    done, told = call(newest(262), "run", LONG)
    assert (done.exit_code, told["runs"][0]["error"]["code"]) == (Exit.FAILED, "DATA")
    assert "needs 263 days of bars, and there are 262" in told["runs"][0]["error"]["what"]
    done, told = call(newest(263), "run", LONG)
    assert (done.exit_code, told["runs"][0]["verdict"]) == (0, "VALID"), told
