"""The loader against the local exchange: what it stores, what it asks for, and what instruments it knows when."""

import asyncio
import datetime as dt
import json
import sys
import zipfile
from collections import deque
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from exchange_api import INFO, KLINES
from exchange_world import UTC, Pair
from hypothesis import given, settings
from hypothesis import strategies as st
from live_world import COINS, LocalExchange, World, archive, codes, small, source, stored, sync

from assay.base.errors import SourceError, UsageError
from assay.lake.lake import Lake
from assay.lake.loader import PersistentDataLoader
from assay.market.instruments import facts
from assay.ratings import rate
from assay.sources import lake_name, open_source
from assay.sources.http import Limiter
from assay.sources.settings import Access

BTC = "BINANCE:BTCUSDT"


def rated_anew(lake):
    """Ratings of the lake's bars, computed from nothing."""
    return rate(lake.latest().bars()).sort("open_time", "symbol")


def check_ratings(lake):
    held = lake.latest().ratings()
    anew = rated_anew(lake).select(held.columns)
    assert held.sort("open_time", "symbol").equals(anew)


# --- bars -------------------------------------------------------------------------------------------------------------


def test_a_first_load_a_day_and_nothing_new(tmp_path):
    with LocalExchange(small()) as exchange:
        lake, report = sync(tmp_path, exchange)
        assert stored(lake).equals(exchange.world.truth())
        assert (report.added, report.symbols, report.findings) == (exchange.world.truth().height, 6, ())
        assert report.cost == {"requests": 8, "weight": 33}
        check_ratings(lake)

        exchange.forget()
        lake, report = sync(tmp_path, exchange)
        assert (report.changed, report.added, len(lake.heads())) == (False, 0, 1)
        assert [request.path for request in exchange.log] == ["/api/v3/time", INFO]

        exchange.forget()
        exchange.world.next_day()
        lake, report = sync(tmp_path, exchange)
        assert (report.added, report.repaired) == (6, 0)
        assert len(exchange.requests(KLINES)) == 6
        lasts = {request.query["startTime"] for request in exchange.requests(KLINES)}
        assert lasts == {str(exchange.world.today - 2 * 86_400_000)}  # the last bar that was there, and the new one
        assert stored(lake).equals(exchange.world.truth())
        check_ratings(lake)


def test_a_revised_bar_takes_the_place_of_the_old_one_and_ratings_follow(tmp_path):
    with LocalExchange(small()) as exchange:
        lake, _ = sync(tmp_path, exchange)
        exchange.world.edit("BTCUSDT", "2024-01-10", 1.01)
        exchange.world.next_day()
        lake, report = sync(tmp_path, exchange)
        assert (report.repaired, codes(report)["REVISED"].count) == (1, 1)
        assert stored(lake).equals(exchange.world.truth())
        check_ratings(lake)


def test_a_gap_of_the_lake_is_asked_for_again_at_no_cost_and_ratings_follow(tmp_path):
    with LocalExchange(small()) as exchange:
        whole = dict(exchange.world.rows["SOLUSDT"])
        exchange.world.delete("SOLUSDT", "2023-11-07", "2023-11-07")
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["GAPS"].names == ["BINANCE:SOLUSDT"]
        exchange.world.rows["SOLUSDT"] = whole
        exchange.world.at("2024-01-11")
        exchange.world.edit("SOLUSDT", "2024-01-11", 1.0)
        exchange.forget()
        lake, report = sync(tmp_path, exchange)
        assert len(exchange.requests(KLINES)) == 6
        assert codes(report)["GAP_REPAIRED"].count == 1
        assert stored(lake).equals(exchange.world.truth())
        check_ratings(lake)


def test_histories_longer_than_a_page_are_paged(tmp_path):
    first = dt.datetime(2020, 1, 1, tzinfo=UTC)
    days = 2300
    prices = [100.0 + day % 7 for day in range(days)]
    times = [first + dt.timedelta(days=day) for day in range(days)]
    columns = {"symbol": "BINANCE:BTCUSDT", "timestamp": times, "open": prices, "high": prices, "low": prices}
    world = World.of(pl.DataFrame({**columns, "close": prices, "volume": 5.0}))
    with LocalExchange(world) as exchange:
        lake, report = sync(tmp_path, exchange, history=2300)
        assert len(exchange.requests(KLINES)) == 3
        assert stored(lake).equals(world.truth())
    with LocalExchange(world) as exchange:
        lake, report = sync(tmp_path / "short", exchange, history=1000)
        assert (len(exchange.requests(KLINES)), report.rows) == (1, 1000)


def test_only_what_a_scanner_may_hold_is_loaded_and_what_a_scan_named(tmp_path):
    from assay.market.schema import CANDIDATES

    world = small(coins=(*COINS, "BNBUSDT", "TRXUSDT"))
    for base, quote in (
        ("EUR", "USDT"),
        ("BTCUP", "USDT"),
        ("PAXG", "USDT"),
        ("JUP", "USDT"),
        ("BTC", "FDUSD"),
        ("ETH", "BTC"),
    ):
        world.add(Pair(base, quote), like="BNBUSDT", since="2023-01-01")
    with LocalExchange(world) as exchange:
        lake, report = sync(tmp_path, exchange)
        held = {symbol.removeprefix("BINANCE:") for symbol in stored(lake)["symbol"].unique()}
        assert held == {*COINS, "BNBUSDT", "TRXUSDT", "JUPUSDT", "BTCFDUSD"}
        row = {"scanner": "x", "as_of": dt.datetime(2024, 1, 11, tzinfo=UTC), "symbol": "BINANCE:ETHBTC", "rank": 1}
        lake.record("candidates", pl.DataFrame([row | {"fields": "{}"}], schema=CANDIDATES))
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["NEW_SYMBOL"].names == ["BINANCE:ETHBTC"]


def test_a_delisted_pair_is_loaded_once_and_not_asked_for_again(tmp_path):
    world = small()
    world.delete("ADAUSDT", "2023-10-01", "2024-01-21")
    with LocalExchange(world) as exchange:
        lake, _ = sync(tmp_path, exchange)
        assert stored(lake).equals(world.truth())
        exchange.forget()
        world.next_day()
        sync(tmp_path, exchange)
        assert "ADAUSDT" not in {request.query["symbol"] for request in exchange.requests(KLINES)}


def test_the_loader_returns_what_it_stored_and_writes_nothing_beside_the_lake(tmp_path):
    with LocalExchange(small()) as exchange:
        loader = PersistentDataLoader(tmp_path, source(exchange))
        first = loader.sync()
        assert first.bars.height == first.report.added == exchange.world.truth().height
        exchange.world.next_day()
        told = []
        second = loader.sync(lambda *what: told.append(what))
        assert second.bars["open_time"].unique().to_list() == [dt.datetime(2024, 1, 11, tzinfo=UTC)]
        assert second.bars.height == 6
        assert ("fetch", 6, 6) in told
        assert loader.sync().bars.is_empty()
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]
    assert list((tmp_path / "lake").iterdir()) == [loader.lake.folder]
    assert not list(loader.lake.folder.glob("spool/*"))


def test_a_lake_can_be_filled_from_within_a_running_loop(tmp_path):
    with LocalExchange(small()) as exchange:

        async def notebook():
            return sync(tmp_path, exchange)

        lake, _ = asyncio.run(notebook())
        assert stored(lake).equals(exchange.world.truth())


# --- instruments ------------------------------------------------------------------------------------------------------


def known(lake, as_of, symbol=BTC):
    return facts(lake.latest().market(as_of), [symbol])[symbol]


def test_facts_are_known_at_the_midnight_before_and_not_denied_before_that(tmp_path):
    with LocalExchange(small()) as exchange:
        lake, _ = sync(tmp_path, exchange)
    decision = lake.latest().last_close()
    assert known(lake, decision).state == "KNOWN"
    assert (known(lake, decision).tick_size, known(lake, decision).status) == (0.0001, "TRADING")
    earlier = known(lake, decision - dt.timedelta(days=30))
    assert (earlier.state, earlier.status, earlier.tick_size, earlier.margin_allowed) == ("KNOWN", None, None, None)
    assert known(lake, decision, "BINANCE:NOUSDT").state == "ABSENT"


def test_a_new_fact_closes_the_old_one(tmp_path):
    with LocalExchange(small()) as exchange:
        sync(tmp_path, exchange)
        exchange.world.next_day()
        exchange.world.pairs["BTCUSDT"].margin = False
        lake, report = sync(tmp_path, exchange)
        midnight = dt.datetime(2024, 1, 12, tzinfo=UTC)
        assert known(lake, midnight).margin_allowed is False
        assert known(lake, midnight - dt.timedelta(days=1)).margin_allowed is True
        exchange.world.now += 6 * 3_600_000  # later on the same day, when the midnight was perhaps decided upon
        exchange.world.pairs["BTCUSDT"].status = "BREAK"
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["PAIR_STATUS"].names == [BTC]
        assert known(lake, midnight).status == "TRADING"
        rows = lake.latest().instruments().filter(pl.col("symbol") == BTC)
        assert rows["valid_to"].to_list()[:-1] == rows["valid_from"].to_list()[1:]
        assert rows["valid_from"].to_list()[-1] == midnight + dt.timedelta(hours=6, minutes=5)


def test_a_pair_that_leaves_is_absent_from_then_on_and_rules_that_cannot_be_read_are_named(tmp_path):
    from exchange_server import Fault

    after = dt.datetime(2024, 1, 12, tzinfo=UTC)
    with LocalExchange(small()) as exchange:
        sync(tmp_path, exchange)
        exchange.world.next_day()
        exchange.world.hidden.add("ADAUSDT")
        exchange.fail(Fault("filters", INFO))
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["PAIR_GONE"].names == ["BINANCE:ADAUSDT"]
        assert known(lake, after, "BINANCE:ADAUSDT").state == "ABSENT"
        assert known(lake, after - dt.timedelta(days=1), "BINANCE:ADAUSDT").state == "KNOWN"
        assert codes(report)["PAIR_UNREADABLE"].count == 1
        [name] = codes(report)["PAIR_UNREADABLE"].names
        assert known(lake, after, name).state == "KNOWN"


# --- other exchanges, settings ----------------------------------------------------------------------------------------


def test_another_exchange_of_ccxt_needs_configuration_only(tmp_path):
    with LocalExchange(small()) as exchange:
        lake, _report = sync(tmp_path, exchange, source(exchange, "binanceus", history=300))
        assert lake.folder.name.startswith("binanceus-")
        held = lake.latest().bars()
    truth = exchange.world.truth(since="2023-03-17").with_columns(pl.col("symbol").str.replace("BINANCE", "BINANCEUS"))
    assert held.select(truth.columns[:-1]).equals(truth.select(truth.columns[:-1]))
    assert held["quote_volume"].null_count() == held.height
    assert (
        lake.latest().instruments().filter(pl.col("symbol") == "BINANCEUS:BTCUSDT")["tick_size"].to_list()[1] == 0.0001
    )


def test_sources_are_read_as_users_write_them(monkeypatch):
    monkeypatch.setenv("ASSAY_BINANCE_URL", "http://mirror.example/")
    monkeypatch.setenv("ASSAY_LIVE__HISTORY", "30")
    binance = open_source("binance")
    assert (binance.name, binance.access.url, binance.access.history) == ("binance", "http://mirror.example", 30)
    assert lake_name(open_source("ccxt:binance")) == lake_name(binance) == lake_name(open_source("archive"))
    assert open_source("ccxt:kraken").name == "ccxt:kraken"
    assert lake_name(open_source("ccxt:kraken")) != lake_name(binance)
    monkeypatch.setenv("ASSAY_LIVE__HISTORY", "-1")
    with pytest.raises(UsageError, match="HISTORY"):
        open_source("binance")
    with pytest.raises(UsageError, match="ccxt knows no exchange"):
        open_source("ccxt:kraken_").read() if monkeypatch.delenv("ASSAY_LIVE__HISTORY") is None else None


def test_the_recorded_answers_have_the_form_of_ours(shared):
    import gzip

    folder = shared / "binance_api"
    recorded = json.loads((folder / "klines_1d_BTCUSDT_raw.json").read_text())
    world = small()
    ours = world.klines("BTCUSDT", None, None, 5)
    assert [type(value) for value in recorded[0]] == [type(value) for value in ours[0]]
    assert recorded[0][6] - recorded[0][0] == ours[0][6] - ours[0][0]
    import exchange_api

    entry = exchange_api._entry(Pair("BTC", "USDT"), "TRADING")
    info = json.loads(gzip.decompress((folder / "exchangeInfo_full.json.gz").read_bytes()))
    theirs = next(item for item in info["symbols"] if item["symbol"] == "BTCUSDT")
    assert {name: type(value) for name, value in entry.items()}.items() <= {
        n: type(v) for n, v in theirs.items()
    }.items()
    ticker = json.loads(gzip.decompress((folder / "ticker_24hr_full.json.gz").read_bytes()))[0]
    told = exchange_api._day(world, "BTCUSDT")
    assert {name: type(value) for name, value in told.items()} == {name: type(value) for name, value in ticker.items()}


def test_the_loader_reads_the_recorded_answers(shared):
    from assay.sources.clients import _klines
    from assay.sources.loading import frame, judge

    for name in ("BTCUSDT", "MATICUSDT", "WIFUSDT"):
        recorded = json.loads((shared / "binance_api" / f"klines_1d_{name}_raw.json").read_text())
        checked = judge(
            frame({f"BINANCE:{name}": _klines(recorded, name)}), "x", "binance", dt.datetime(2026, 1, 1, tzinfo=UTC)
        )
        assert checked.bars["close"].to_list() == [float(row[4]) for row in recorded]
        assert checked.bars["quote_volume"].to_list() == [float(row[7]) for row in recorded]
        assert checked.rejected.is_empty()


def test_a_lake_of_the_former_format_is_read_and_extended(tmp_path):
    """Made by the version before heads told their format: 60 days of three pairs, the last one from December on."""
    with zipfile.ZipFile(Path(__file__).parent / "lake_of_format_1.zip") as packed:
        packed.extractall(tmp_path)
    world = small("2024-01-12", ("BTCUSDT", "ADAUSDT"))
    world.add(Pair("JUP", "USDT"), like="ADAUSDT", since="2023-12-01")
    with LocalExchange(world) as exchange:
        lake = Lake(tmp_path, source(exchange))
        assert [head.format for head in lake.heads()] == [1]
        assert lake.latest().bars().height == 161
        lake, report = sync(tmp_path, exchange)
        assert [head.format for head in lake.heads()] == [1, 2]
        assert (report.added, report.repaired, report.findings) == (6, 0, ())
        assert stored(lake).equals(world.truth(since="2023-11-12"))
        check_ratings(lake)
        assert lake.pin(1).bars().height == 161


# --- the limiter ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(5, 40),
    window=st.floats(1, 60),
    weights=st.lists(st.tuples(st.integers(1, 5), st.floats(0, 5)), min_size=1, max_size=80),
)
def test_no_window_of_any_phase_holds_more_than_the_limit(limit, window, weights):
    now = 0.0
    limiter = Limiter({window: limit}, clock=lambda: now)
    sent: deque[tuple[float, int]] = deque()
    for weight, idle in weights:
        now += idle
        while (wait := limiter.wait(weight)) > 0:
            now += wait
        limiter.spend(weight)
        sent.append((now, weight))
    for at, _ in sent:
        assert sum(weight for when, weight in sent if at <= when < at + window) <= max(limit, 5)


def test_others_at_the_same_address_are_counted():
    now = 0.0
    limiter = Limiter({60.0: 100}, clock=lambda: now)
    limiter.spend(2)
    limiter.told(99, 60.0)
    assert limiter.wait(1) == 0
    assert limiter.wait(2) > 59


def test_every_window_that_is_announced_holds_and_learns_of_itself_alone():
    now = 0.0
    limiter = Limiter({60.0: 100}, clock=lambda: now)
    limiter.spend(50)
    limiter.allow({60.0: 100, 86_400.0: 400})  # what was sent before counts
    assert limiter.wait(51) > 59
    now = 61.0
    assert limiter.wait(100) == 0
    limiter.told(390, 86_400.0)
    assert (limiter.wait(10), limiter.wait(11) > 86_000) == (0, True)
    limiter.told(99, 1.0)  # a window that nobody announced
    assert limiter.wait(10) == 0
    limiter.told(99, 60.0)
    assert 59 < limiter.wait(10) < 62


def test_a_pause_holds_everything_back():
    now = 0.0
    limiter = Limiter({60.0: 100}, clock=lambda: now)
    limiter.pause(7.0)
    assert limiter.wait(1) == 7.0


def test_settings_have_ranges():
    with pytest.raises(ValueError):
        Access(share=1.5)


@pytest.mark.parametrize(
    ("feed", "package"), [(source, "httpx"), (archive, "httpx"), (partial(source, name="kraken"), "ccxt.async_support")]
)
def test_an_ingestion_without_the_extra_says_what_to_install(monkeypatch, tmp_path, feed, package):
    monkeypatch.setitem(sys.modules, package, None)
    with LocalExchange(small()) as exchange:
        with pytest.raises(UsageError, match=r"assay-portfolio\[live\]") as caught:
            sync(tmp_path, exchange, feed(exchange))
        assert (caught.value.code, exchange.log) == ("EXTRA_MISSING", [])


def test_due_bars_that_do_not_come_are_a_failure(tmp_path):
    with LocalExchange(small()) as exchange:
        lake, _ = sync(tmp_path, exchange)
        exchange.world.delete("BTCUSDT", "2024-01-11", "2024-01-21")
        for coin in COINS[1:]:
            exchange.world.delete(coin, "2024-01-11", "2024-01-21")
        for pair in exchange.world.pairs.values():
            pair.status = "TRADING"
        exchange.world.next_day()
        with pytest.raises(SourceError) as caught:
            sync(tmp_path, exchange)
        assert caught.value.code == "SYNC_EMPTY"
        assert len(lake.heads()) == 1
