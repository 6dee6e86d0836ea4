"""Ingestion from a live source as a whole: pace, size, readers beside it, exit codes of the command."""

import asyncio
import math
import threading

import pytest
from exchange_server import Fault, Limits
from exchange_world import Pair
from live_world import COINS, LocalExchange, World, codes, small, source, stored, sync

from assay.base.errors import SourceError
from assay.base.files import content_hash, content_hash_json, read_json
from assay.lake.loader import refresh
from assay.pipeline.flow import lay_foundation, requests, run_all, workforce
from assay.ratings import rate
from assay.runs.artifacts import RAW, TABLE_KEYS
from assay.runs.home import Home
from assay.settings import load
from assay.sources.facts import LOOKS
from assay.sources.http import Limiter


class Simulated:
    """A clock that sleeping turns, and an exchange that counts in windows of its own."""

    def __init__(self, weight, window, phase):
        self.now, self.weight, self.window, self.phase = 0.0, weight, window, phase
        self.used = {}

    def serve(self, weight):
        window = math.floor((self.now + self.phase) / self.window)
        self.used[window] = self.used.get(window, 0) + weight
        assert self.used[window] <= self.weight, "the exchange would answer 429"
        return self.used[window]


@pytest.mark.parametrize("phase", [0.0, 1.0, 31.7, 59.9])
def test_nine_tenths_of_the_limit_are_used_and_never_more_than_all(monkeypatch, phase):
    """Binance's limit, 6000 a minute, and 19,950 requests of weight 2 that take 100 ms each, 16 at a time."""
    exchange = Simulated(6000, 60.0, phase)
    limiter = Limiter({60.0: 6000}, 0.95, clock=lambda: exchange.now)

    async def sleep(seconds):
        exchange.now += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def first_load():
        for number in range(19_950):
            await limiter.take(2)
            limiter.told(exchange.serve(2), 60.0)
            exchange.now += 0.1 / 16 if number % 2 else 0.0

    asyncio.run(first_load())
    assert 39_900 / (6000 * (exchange.now / 60 + 1)) >= 0.9


def test_a_window_of_a_day_beside_the_short_one_changes_nothing_for_it(tmp_path):
    limits = Limits(weight=30, window=2.0, header="X-MBX-USED-WEIGHT-2S", day=1_000_000)
    with LocalExchange(small(), limits) as exchange:
        lake, report = sync(tmp_path, exchange)
        assert report.findings == ()  # no 429, though all requests together weigh more than the short window holds
        assert exchange.log[-1].at - exchange.log[0].at >= 1.9
        assert stored(lake).equals(exchange.world.truth())


@pytest.mark.slow
def test_a_first_load_goes_at_nine_tenths_of_the_limit(tmp_path):
    world = small("2023-02-10")
    for number in range(480 - 6):
        world.add(Pair(f"C{number:03}", "USDT"), like="SOLUSDT", since="2023-01-31")
    limits = Limits(weight=240, window=4.0, header="X-MBX-USED-WEIGHT-4S")
    with LocalExchange(world, limits) as exchange:
        lake, report = sync(tmp_path, exchange, history=10)
        assert stored(lake).equals(world.truth(since="2023-02-01"))
        assert "RETRY_RATE_LIMITED" not in codes(report)
        share = exchange.rate(round(0.95 * limits.weight)) / (limits.weight / limits.window)
    assert 0.9 <= share <= 1, share


@pytest.mark.slow
def test_a_first_load_of_400_symbols_with_limits_and_faults_is_the_source_bar_for_bar(tmp_path, shared):
    world = World.recorded(shared, 610, 400)
    world.at("2024-06-20")
    limits = Limits(weight=400, window=5.0, header="X-MBX-USED-WEIGHT-5S")
    with LocalExchange(world, limits) as exchange:
        for kind in ("5xx", "reset", "truncated", "nonjson", "429"):
            exchange.fail(Fault(kind, times=None, rate=0.004))
        lake, report = sync(tmp_path, exchange, history=600, timeout=60.0)
        truth = world.truth(since="2022-10-30")
        assert (report.symbols, stored(lake).equals(truth)) == (400, True)
        assert {code for code in codes(report) if code.startswith("RETRY")}
        world.next_day()
        lake, report = sync(tmp_path, exchange, history=600, timeout=60.0)
        assert stored(lake).equals(world.truth(since="2022-10-30"))
        held = lake.latest().ratings()
        assert held.equals(rate(lake.latest().bars()).sort("open_time", "symbol").select(held.columns))


PROFILES = [f"binance_spot_rating_{logic}_{side}" for logic in ("all", "ma") for side in ("long", "short")]


@pytest.mark.slow
def test_four_runs_beside_an_ingestion_are_those_of_a_quiet_lake(tmp_path, monkeypatch):
    world = World.sample()
    world.at("2024-01-15")
    with LocalExchange(world) as exchange, workforce("pool", 2, Home(tmp_path)) as pool:
        monkeypatch.setenv("ASSAY_BINANCE_URL", exchange.url)
        home = Home(tmp_path)
        sync(tmp_path, exchange)

        def flow():
            foundation = lay_foundation(home, load(settings=["scan.provider=ratings"]), "binance", "2023-10-20")
            outcomes = run_all(pool, requests(home, load(settings=["scan.provider=ratings"]), foundation, PROFILES))
            assert [outcome.state for outcome in outcomes] == ["VALID"] * 4, outcomes
            return [hashes(home.runs / outcome.run_id) for outcome in outcomes]

        quiet = flow()
        stop = threading.Event()

        def ingest_on():
            while not stop.is_set():
                world.next_day()
                sync(tmp_path, exchange)

        exchange.latency = 0.2
        writer = threading.Thread(target=ingest_on)
        writer.start()
        try:
            assert flow() == quiet
        finally:
            stop.set()
            writer.join()
        assert len(sync(tmp_path, exchange)[0].heads()) > 1


def hashes(run):
    """Content hashes of all artifacts of steps 2 to 13."""
    files = [path for path in sorted((run / "data").rglob("*")) if path.is_file()]
    names = [path.relative_to(run).as_posix() for path in files]
    found = {name: content_hash(path, TABLE_KEYS.get(name, ())) for name, path in zip(names, files, strict=True)}
    # A superset names the head that it was scanned from, and so does its hash; what was scanned must be the same.
    raw = read_json(run / RAW)
    assert raw.pop("superset_sha256")
    return found | {RAW: content_hash_json(raw)}


def test_progress_counts_what_is_fetched(tmp_path):
    told = []
    with LocalExchange(small()) as exchange:
        from assay.lake.ingest import ingest
        from assay.lake.lake import Lake

        feed = source(exchange)
        ingest(Lake(tmp_path, feed), feed, lambda *what: told.append(what))
    assert [what for what in told if what[0] == "fetch"] == [("fetch", done, 6) for done in range(7)]


# --- pairs that leave exchangeInfo -----------------------------------------------------------------------------------


def listed(status, number=12):
    """Six coins, and some more pairs of one status."""
    world = small()
    for i in range(number):
        world.add(Pair(f"OLD{i}", "USDT", status=status), "ADAUSDT", "2023-06-01")
    return world, {f"OLD{i}USDT" for i in range(number)}


@pytest.mark.parametrize("status", ["BREAK", "HALT", "CANCEL_ONLY"])
def test_pairs_that_were_not_trading_may_go_all_at_once(tmp_path, status):
    world, old = listed(status)
    with LocalExchange(world) as exchange:
        sync(tmp_path, exchange)
        world.hidden |= old
        world.next_day()
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["PAIR_GONE"].count == 12
        assert "INSTRUMENTS_SHRUNK" not in codes(report)
        assert lake.latest().last_close().date().isoformat() == "2024-01-12"


def shrunk(home, exchange):
    """Ingest in vain; return what the refusal hints at."""
    with pytest.raises(SourceError) as caught:
        sync(home, exchange)
    assert caught.value.code == "INSTRUMENTS_SHRUNK"
    return caught.value.hint


def test_trading_pairs_that_are_gone_on_three_days_alike_are_so(tmp_path):
    world, old = listed("TRADING")
    with LocalExchange(world) as exchange:
        lake, _ = sync(tmp_path, exchange)
        before = lake.latest_head()
        world.hidden |= old
        assert "day 1" in shrunk(tmp_path, exchange)
        assert "day 1" in shrunk(tmp_path, exchange)  # the same day says nothing more
        world.next_day()
        assert "day 2" in shrunk(tmp_path, exchange)
        with pytest.raises(SourceError):
            refresh(lake)
        assert lake.latest_head() == before
        world.next_day()
        _, report = sync(tmp_path, exchange)
        taken = codes(report)["INSTRUMENTS_SHRUNK"]
        assert (taken.count, taken.names[0]) == (12, "BINANCE:OLD0USDT")
        assert "INSTRUMENTS_SHRUNK" in {found.code for found in lake.latest_head().findings}
        world.next_day()
        _, report = sync(tmp_path, exchange)
        assert "INSTRUMENTS_SHRUNK" not in codes(report)
        assert not (lake.folder / LOOKS).exists()


@pytest.mark.parametrize(("coins", "gone", "refused"), [(6, 3, True), (6, 2, False), (5, 3, True), (2, 1, False)])
def test_half_of_few_pairs_is_no_accident(tmp_path, coins, gone, refused):
    world = small(coins=COINS[:coins])
    with LocalExchange(world) as exchange:
        sync(tmp_path, exchange)
        world.hidden |= set(COINS[coins - gone : coins])
        world.next_day()
        if refused:
            assert "day 1" in shrunk(tmp_path, exchange)
        else:
            assert codes(sync(tmp_path, exchange)[1])["PAIR_GONE"].count == gone


def test_answers_that_lack_other_pairs_each_day_are_never_taken(tmp_path):
    world, old = listed("TRADING")
    with LocalExchange(world) as exchange:
        lake, _ = sync(tmp_path, exchange)
        for left in sorted(old)[:4]:
            world.hidden = old - {left}
            world.next_day()
            assert "day 1" in shrunk(tmp_path, exchange)
        (lake.folder / LOOKS).write_bytes(b"[1, 2")  # a note that cannot be read is none
        assert "day 1" in shrunk(tmp_path, exchange)


def test_a_whole_answer_between_two_parts_begins_the_count_anew(tmp_path):
    world, old = listed("TRADING")
    with LocalExchange(world) as exchange:
        sync(tmp_path, exchange)
        for _ in range(2):
            for day in ("day 1", "day 2"):
                world.hidden = set(old)
                assert day in shrunk(tmp_path, exchange)
                world.next_day()
            world.hidden = set()
            sync(tmp_path, exchange)
