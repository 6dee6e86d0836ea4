"""A hole is asked for once more when the next bars are due, and then left alone, whoever owns it."""

import datetime as dt
import json

import pytest
from exchange_server import Fault
from live_world import COINS, LocalExchange, archive, codes, small, source, stored, sync

from assay.lake.lake import Lake
from assay.sources.nowhere import KLINES

PATH = "/api/v3/klines"
DAY_MS = 86_400_000
SOL = "SOLUSDT"


def feed(kind, exchange, **changes):
    return source(exchange, kind, **changes)


def spans(exchange, name=SOL):
    """Days before today from which a pair was asked for, in order; and what was asked is forgotten."""
    asked = [int(r.query["startTime"]) for r in exchange.requests(PATH) if r.query["symbol"] == name]
    exchange.forget()
    return [(exchange.world.today - since) // DAY_MS for since in asked]


def noted(lake):
    path = lake.folder / "nowhere.json"
    return json.loads(path.read_text()) if path.exists() else {}


def coin(world):
    world.delete(SOL, "2024-01-03", "2024-01-04")


def coin_for_long(world):
    world.delete(SOL, "2023-11-03", "2023-11-20")


def market(world):
    for name in COINS:
        world.delete(name, "2024-01-03", "2024-01-04")


HOLES = {"of a coin": (coin, 2, 8), "of a coin, long": (coin_for_long, 18, 69), "of the market": (market, 2, 8)}


@pytest.mark.parametrize("kind", ["binance", "binanceus"])
@pytest.mark.parametrize("name", HOLES)
def test_a_hole_is_asked_for_once_more_and_then_left_alone(tmp_path, kind, name):
    make, days, before = HOLES[name]
    with LocalExchange(small()) as exchange:
        make(exchange.world)
        lake, _ = sync(tmp_path, exchange, feed(kind, exchange))
        assert noted(lake) == {}
        exchange.forget()
        exchange.world.next_day()
        lake, report = sync(tmp_path, exchange, feed(kind, exchange))
        assert max(spans(exchange)) == before + 2
        symbols = {f"{kind.upper()}:{coin_}" for coin_ in (COINS if name == "of the market" else [SOL])}
        assert noted(lake).keys() == symbols
        assert {len(days_) for days_ in noted(lake).values()} == {days}
        assert {tag for days_ in noted(lake).values() for tag in days_.values()} == {KLINES}
        for _ in range(3):
            exchange.world.next_day()
            lake, report = sync(tmp_path, exchange, feed(kind, exchange))
            assert set(spans(exchange)) == {2}  # the last bar, and the new one
            assert codes(report).keys() == set()
        (lake.folder / "nowhere.json").unlink()
        exchange.world.next_day()
        sync(tmp_path, exchange, feed(kind, exchange))
        assert max(spans(exchange)) == before + 6


@pytest.mark.parametrize("kind", ["binance", "binanceus"])
def test_a_row_that_is_refused_again_is_left_alone_and_stays_on_record(tmp_path, kind):
    with LocalExchange(small()) as exchange:
        at = exchange.world.today - 10 * DAY_MS
        exchange.world.rows[SOL][at][2] = "0.00000001"  # high below low
        exchange.world._ordered.clear()
        sync(tmp_path, exchange, feed(kind, exchange))
        exchange.forget()
        for asked in (True, False, False):
            exchange.world.next_day()
            lake, _ = sync(tmp_path, exchange, feed(kind, exchange))
            assert (max(spans(exchange)) > 10) == asked
        assert lake.latest().quarantine().height == 1
        assert list(noted(lake)) == [f"{kind.upper()}:{SOL}"]


def test_a_hole_that_comes_back_in_time_is_filled_and_none_is_noted_where_its_pair_failed(tmp_path):
    with LocalExchange(small()) as exchange:
        whole = dict(exchange.world.rows[SOL])
        coin(exchange.world)
        lake, _ = sync(tmp_path, exchange)
        exchange.world.next_day()
        exchange.fail(Fault("5xx", PATH, SOL, times=None))
        lake, report = sync(tmp_path, exchange)
        assert (codes(report).keys() >= {"SYMBOL_FAILED"}, noted(lake)) == (True, {})
        exchange.heal()
        exchange.world.rows[SOL] = whole
        exchange.world._ordered.clear()
        exchange.world.next_day()
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["GAP_REPAIRED"].count == 2
        assert stored(lake).equals(exchange.world.truth())
        assert noted(lake) == {}


def test_what_the_archive_noted_is_not_asked_of_the_exchange(tmp_path):
    with LocalExchange(small("2023-04-03")) as exchange:
        exchange.world.delete(SOL, "2023-03-20", "2023-03-21")
        lake, _ = sync(tmp_path, exchange, archive(exchange))
        assert list(noted(lake)) == [f"BINANCE:{SOL}"]
        exchange.forget()
        exchange.world.next_day()
        sync(tmp_path, exchange)
        assert spans(exchange) == [2]


def test_what_the_exchange_has_not_is_asked_of_the_archive_once(tmp_path):
    with LocalExchange(small("2023-04-03")) as exchange:
        whole = dict(exchange.world.rows[SOL])
        exchange.world.delete(SOL, "2023-03-20", "2023-03-21")
        sync(tmp_path, exchange)
        exchange.world.next_day()
        lake, _ = sync(tmp_path, exchange)
        assert noted(lake) == {f"BINANCE:{SOL}": {"2023-03-20": KLINES, "2023-03-21": KLINES}}
        lake, _ = sync(tmp_path, exchange, archive(exchange))
        tags = set(noted(lake)[f"BINANCE:{SOL}"].values())
        assert KLINES not in tags
        exchange.forget()
        lake, _ = sync(tmp_path, exchange, archive(exchange))
        assert not exchange.requests("/data") + exchange.requests("/api")
        exchange.world.rows[SOL] = whole  # the archive's files are other ones now
        exchange.world._ordered.clear()
        lake, _ = sync(tmp_path, exchange, archive(exchange))
        assert stored(lake).equals(exchange.world.truth())
        assert noted(lake) == {}


def test_holes_of_a_reading_that_did_not_reach_the_lake_are_not_noted(tmp_path):
    with LocalExchange(small()) as exchange:
        coin(exchange.world)
        feed_ = source(exchange)
        lake, _ = sync(tmp_path, exchange)
        exchange.world.next_day()
        read = feed_.read(_held(lake))
        assert noted(lake) == {}
        read.settle()
        assert noted(lake) == {f"BINANCE:{SOL}": {f"2024-01-0{n}": KLINES for n in (3, 4)}}


def _held(lake):
    from assay.sources.base import Held

    snapshot = Lake(lake.folder.parent.parent, lake.source).latest()
    keys = snapshot.bars(columns=("symbol", "open_time"))
    assert isinstance(snapshot.last_close(), dt.datetime)
    return Held(lake.folder, last_close=snapshot.last_close(), keys=keys, instruments=snapshot.instruments())
