"""An ingestion killed at any moment loses at most what was in flight, and the next one ends as if nothing was."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from exchange_api import KLINES
from exchange_server import Fault
from live_world import LocalExchange, World, codes, small, source, stored, sync

from assay.lake.lake import Lake
from assay.ratings import rate
from assay.sources.download_cache import DownloadCache

CHILD = "import sys; from assay.lake.loader import PersistentDataLoader as L; L(sys.argv[1]).sync()"


def start(home, exchange):
    settings = {"ASSAY_BINANCE_URL": exchange.url, "ASSAY_LIVE__BACKOFF": "0.02", "ASSAY_LIVE__HISTORY": "600"}
    settings |= {"POLARS_MAX_THREADS": "1", "ASSAY_LIVE__TIMEOUT": "20"}
    return subprocess.Popen([sys.executable, "-c", CHILD, str(home)], env=os.environ | settings, stderr=subprocess.PIPE)


def kill(child, exchange, after, pause):
    """Kill a child once the exchange got so many requests, and some time has passed; return whether it was alive."""
    limit = time.monotonic() + 60
    while len(exchange.log) < after and child.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    time.sleep(pause)
    alive = child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return alive


def finish(child):
    _, told = child.communicate(timeout=600)
    assert child.returncode == 0, told.decode()


def check(lake, exchange, since=None):
    assert stored(lake).equals(exchange.world.truth(since=since))
    held = lake.latest().ratings()
    assert held.equals(rate(lake.latest().bars()).sort("open_time", "symbol").select(held.columns))


def test_what_was_fetched_before_a_kill_is_not_asked_for_again(tmp_path):
    with LocalExchange(small(), latency=0.1) as exchange:
        exchange.fail(Fault("timeout", KLINES, "DOGEUSDT"))
        child = start(tmp_path, exchange)
        spool = Lake(tmp_path, source(exchange)).folder / "spool" / "binance.jsonl"
        while not (spool.exists() and spool.read_bytes().count(b"\n") == 6):  # five answers; one never comes
            assert child.poll() is None
            time.sleep(0.01)
        assert kill(child, exchange, after=8, pause=0)
        before = len(exchange.requests(KLINES))
        exchange.heal()
        exchange.forget()
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["RESUMED"].count == before - 1 == 5
        assert [request.query["symbol"] for request in exchange.requests(KLINES)] == ["DOGEUSDT"]
        check(lake, exchange)


@pytest.mark.slow
def test_an_ingestion_that_is_killed_after_its_last_request_ends_as_if_it_was_not(tmp_path):
    with LocalExchange(small(), latency=0.02) as exchange:
        kill(start(tmp_path, exchange), exchange, after=8, pause=random.Random(11).uniform(0, 0.3))
        lake, _ = sync(tmp_path, exchange)
        check(lake, exchange)


@pytest.mark.slow
def test_ten_ingestions_of_400_symbols_killed_at_random_with_faults(tmp_path, shared):
    dice = random.Random(2024)
    world = World.recorded(shared, 610, 400)
    world.at("2024-06-20")
    alive = 0
    with LocalExchange(world) as exchange:
        for kind in ("5xx", "reset", "truncated", "nonjson", "content_type"):
            exchange.fail(Fault(kind, times=None, rate=0.004))
        for round_ in range(10):
            exchange.forget()
            expected = 402 if round_ == 0 else 378
            alive += kill(start(tmp_path, exchange), exchange, dice.randint(1, expected), dice.uniform(0, 2.0))
            finish(start(tmp_path, exchange))
            lake = Lake(tmp_path, source(exchange))
            assert stored(lake).equals(exchange.world.truth(since="2022-10-30"))
            exchange.world.next_day()
        check(lake, _yesterday(exchange), since="2022-10-30")
    assert alive >= 8


def _yesterday(exchange):
    exchange.world.now -= 86_400_000
    return exchange


def test_a_torn_line_of_the_spool_is_cut_and_a_spool_of_another_state_removed(tmp_path):
    path = tmp_path / "spool" / "binance.jsonl"
    spool = DownloadCache(path, "7")
    spool.keep("A", [[1, "2"]], 5)
    spool.keep("A", [[2, "3"]], 6)
    with path.open("ab") as stream:
        stream.write(b'["B",[[1,"2"]')
    again = DownloadCache(path, "7")
    assert (again.held["A"].rows, again.held["A"].note, set(again.held)) == ([[1, "2"], [2, "3"]], 6, {"A"})
    again.keep("C", [], 1)
    assert set(DownloadCache(path, "7").held) == {"A", "C"}
    assert DownloadCache(path, "8").held == {}
    assert not path.exists()


def test_a_spool_without_a_folder_keeps_nothing(tmp_path):
    spool = DownloadCache(None, "")
    spool.keep("A", [[1]], 2)
    spool.clear()
    assert list(tmp_path.iterdir()) == []
