"""Pairs that look as coins do and are none, and pairs that do not trade, from the exchange's answer to the funnel."""

import datetime as dt
import json

import polars as pl
import pytest
from exchange_world import Pair
from live_world import LocalExchange, command, small, source, sync
from typer.testing import CliRunner

from assay.base.domain import UTC
from assay.cli import app
from assay.lake import lake as lake_module
from assay.lake.lake import TableChange
from assay.market.schema import INSTRUMENTS
from assay.report.doctor import examine
from assay.screening.scanner import scan
from assay.settings.model import Scanner

LONG = "binance_spot_rating_all_long"
COIN = [["SPOT", "MARGIN", "TRD_GRP_004"]]
ANY = [Scanner(logic="rating_all", direction=direction, min_value_traded=0.0) for direction in ("LONG", "SHORT")]


def seen(lake, day):
    """Coins that either side finds at the close of a day, and what was dropped for what it is."""
    market = lake.latest().market(dt.datetime.fromisoformat(day).replace(tzinfo=UTC) + dt.timedelta(days=1), 250)
    results = [scan(market, "s", scanner) for scanner in ANY]
    found = {one.symbol for result in results for one in result.candidates}
    return found, {reason: n for reason, n in results[0].count.dropped.items() if n and reason not in NUMBERS}


NOW = dt.datetime(2024, 1, 1, tzinfo=UTC)
NUMBERS = ("value_traded", "volatility", "unrated", "history", "rating", "limit")


def world(*pairs):
    made = small("2023-12-30")
    for pair in made.pairs.values():
        pair.sets = COIN
    for pair in pairs:
        made.add(pair, "ADAUSDT", "2023-01-01", price=1.5)
    return made


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        ([["SPOT", "TRD_GRP_004", "TRD_GRP_261"]], "tokenized_share"),
        ([["SPOT", "TRD_GRP_004", "TRD_GRP_999"]], "unknown_group"),
        ([["LEVERAGED"]], "leveraged"),
        ([["TRD_GRP_999"]], "unknown_group"),
        ([["TRD_GRP_004"]], "not_spot"),
    ],
)
def test_a_pair_that_is_no_coin_was_none_on_any_day(tmp_path, sets, reason):
    """A name that no list has, in the last scan and in one of a year before the exchange was first asked."""
    with LocalExchange(world(Pair("ZZZB", "USDT", sets=sets), Pair("YYY", "USDT", sets=COIN))) as exchange:
        lake, _ = sync(tmp_path, exchange)
        for day in ("2023-12-30", "2023-09-20"):
            found, dropped = seen(lake, day)
            assert dropped == {reason: 1}
            assert "BINANCE:ZZZBUSDT" not in found
        assert "BINANCE:YYYUSDT" in seen(lake, "2023-12-30")[0]
        told = [issue for issue in examine(lake.folder, NOW).issues if issue.code == "UNKNOWN_GROUP"]
        assert [issue.names for issue in told] == ([("BINANCE:ZZZBUSDT",)] if reason == "unknown_group" else [])


def test_a_status_that_changes_between_two_decisions_holds_for_each(tmp_path):
    made = world(Pair("ZZZ", "USDT", sets=COIN))
    days = []
    with LocalExchange(made) as exchange:
        for status in ("TRADING", "HALT", "TRADING", "CANCEL_ONLY"):
            made.pairs["ZZZUSDT"].status = status
            lake, _ = sync(tmp_path, exchange)
            days.append(lake.latest().last_close() - dt.timedelta(days=1))
            made.next_day()
        dropped = [seen(lake, day.date().isoformat())[1] for day in days]
    assert dropped == [{}, {"not_trading": 1}, {}, {"not_trading": 1}]


def test_an_answer_that_leaves_permission_sets_out_forgets_no_share(tmp_path):
    made = world(Pair("ZZZB", "USDT", sets=[["SPOT", "TRD_GRP_261"]]))
    with LocalExchange(made) as exchange:
        sync(tmp_path, exchange)
        for pair in made.pairs.values():
            pair.sets = []
        made.next_day()
        lake, _ = sync(tmp_path, exchange)
        assert seen(lake, "2023-12-31")[1] == {"tokenized_share": 1}
        table = lake.latest().instruments()
        assert table.filter(pl.col("symbol") == "BINANCE:ZZZBUSDT").height == 2


def test_wrapped_tokens_and_stablecoins_are_not_even_asked_for(tmp_path):
    made = world(Pair("WBTC", "USDT", sets=COIN), Pair("U", "USDT", sets=COIN), Pair("USDSOLD", "USDT", sets=COIN))
    with LocalExchange(made) as exchange:
        lake, _ = sync(tmp_path, exchange, source(exchange))
        bases = {"WBTC", "U", "USDSOLD"}
        assert bases.isdisjoint(s.removeprefix("BINANCE:").removesuffix("USDT") for s in lake.latest().bars()["symbol"])


def test_a_run_over_the_live_lake_buys_no_share_and_no_halted_pair_and_counts_them(tmp_path):
    """Through the real commands: the funnel of the run tells each kind, and no artifact holds such a pair."""
    pairs = [Pair(f"ZZ{i}B", "USDT", margin=False, sets=[["SPOT", "TRD_GRP_004", "TRD_GRP_261"]]) for i in range(3)]
    halted = Pair("XRP2", "USDT", status="CANCEL_ONLY", sets=COIN)
    with LocalExchange(world(*pairs, halted)) as exchange:
        code, told = command(tmp_path, exchange)
        assert (code, told["symbols"]) == (0, 10)
    asked = ["run", LONG, "--source", "binance", "--home", str(tmp_path), "--run-id", "one", "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "runs" / "one"
    raw = json.loads((folder / "data" / "portfolio_candidates_raw.json").read_text())
    [count] = raw["scanners"]
    assert count["dropped"]["tokenized_share"] == 3
    left_out = ("ZZ0B", "ZZ1B", "ZZ2B", "XRP2")
    assert {name for name in left_out if f"BINANCE:{name}USDT" in count["names"]["tokenized_share"]} == {*left_out[:3]}
    assert not any(name in one["symbol"] for name in left_out for one in raw["candidates"])
    for path in ("data/portfolio_flattened.json", "data/returns_matrix.parquet"):
        content = (folder / path).read_bytes()
        assert not any(name.encode() in content for name in left_out)
    why = json.loads(
        CliRunner().invoke(app, ["why", "one", "BINANCE:ZZ0BUSDT", "--home", str(tmp_path), "--json"]).stdout
    )
    assert "tokenized shares" in why["data"]["left_out"]
    assert why["data"]["scanned"][LONG]["reason"] == "tokenized_share"


def test_a_lake_without_the_new_facts_is_read_and_learns_them_at_the_next_ingestion(tmp_path, monkeypatch):
    """As a former version left it: the table of instruments has neither permission sets nor leave for spot orders."""
    old = {name: dtype for name, dtype in INSTRUMENTS.items() if name not in ("spot_allowed", "permissions")}
    made = world(Pair("ZZZB", "USDT", sets=[["SPOT", "TRD_GRP_261"]]))
    with LocalExchange(made) as exchange:
        lake, _ = sync(tmp_path, exchange)
        table = lake.latest().instruments()
        with monkeypatch.context() as patch:
            patch.setitem(lake_module._SCHEMAS, "instruments", old)
            lake.commit([TableChange("instruments", table.select(list(old)), replace=True)])
        held = lake.latest().instruments()
        assert held.schema == pl.Schema(INSTRUMENTS)
        assert held["permissions"].null_count() == held.height
        assert seen(lake, "2023-12-30")[1] == {}  # nothing is said of it yet
        made.next_day()
        lake, _ = sync(tmp_path, exchange)
        assert lake.latest().instruments().equals(table)
        for day in ("2023-12-31", "2023-12-30"):
            assert seen(lake, day)[1] == {"tokenized_share": 1}
