"""Whatever goes wrong at the exchange has a name, loses and fills nothing, and is over once the exchange is well.

What the command says is looked at, its findings and its exit code. Faults that pass are met all at once, one on each
coin; each alone takes longer, and is ``slow``.
"""

import datetime as dt
import shutil
from dataclasses import replace

import polars as pl
import pytest
from exchange_server import Fault, Response
from exchange_world import Pair
from live_world import COINS, LocalExchange, codes, command, quiet_after, small, source, stored, sync

from assay.lake.lake import Lake

KLINES, INFO, TIME = "/api/v3/klines", "/api/v3/exchangeInfo", "/api/v3/time"
ETH = "BINANCE:ETHUSDT"
TWELVE = (*COINS, "BNBUSDT", "TRXUSDT", "LTCUSDT", "DOTUSDT", "LINKUSDT", "ATOMUSDT")
MANY = (*TWELVE, "MATICUSDT", "AVAXUSDT")


def klines(kind, **more):
    return Fault(kind, KLINES, "ETHUSDT", **more)


MENDED = {
    "429 with Retry-After": (klines("429"), "RETRY_RATE_LIMITED"),
    "429 without": (klines("429", retry_after=None), "RETRY_RATE_LIMITED"),
    "418 with a short ban": (klines("418"), "RETRY_BANNED"),
    "5xx": (klines("5xx", times=2), "RETRY_SERVER_ERROR"),
    "reset in mid-body": (klines("reset", times=2), "RETRY_CONNECTION"),
    "truncated JSON": (klines("truncated", times=2), "RETRY_MALFORMED"),
    "HTML": (klines("nonjson"), "RETRY_MALFORMED"),
    "wrong content type": (klines("content_type"), "RETRY_MALFORMED"),
    "an object for an array": (klines("types"), "RETRY_MALFORMED"),
    "duplicated bars": (klines("duplicate"), "DUPLICATE_SAME"),
    "bars out of order": (klines("unordered"), "UNORDERED"),
    "a missing bar, there at the second look": (klines("missing"), "GAP_REPAIRED"),
    "an empty answer, good at the second look": (klines("empty"), "GAP_REPAIRED"),
    "two empty answers": (klines("empty", times=2), "BARS_LATE"),
    "5xx of exchangeInfo": (Fault("5xx", INFO), "RETRY_SERVER_ERROR"),
    "reset of exchangeInfo": (Fault("reset", INFO), "RETRY_CONNECTION"),
    "truncated exchangeInfo": (Fault("truncated", INFO), "RETRY_MALFORMED"),
    "HTML instead of the time": (Fault("nonjson", TIME), "RETRY_MALFORMED"),
    "no answer": (klines("timeout"), "RETRY_TIMEOUT"),
    "too slow a drip": (klines("drip", seconds=20.0), "RETRY_TIMEOUT"),
}
"""Faults after which the lake is whole at once, or, where bars are late, after the next ingestion."""

PUT_ASIDE = {
    "ETHUSDT": ("conflict", "QUARANTINE_DUPLICATE_CONFLICT"),
    "SOLUSDT": ("impossible", "QUARANTINE_INCONSISTENT_OHLC"),
}

ENDS = {
    "a long ban": (Fault("418", KLINES, retry_after=7200), "SOURCE_BANNED"),
    "a ban without an end": (Fault("418", KLINES, retry_after=None), "SOURCE_BANNED"),
    "a column less": (Fault("columns", KLINES, times=None), "SOURCE_SCHEMA"),
    "a column more": (Fault("more_columns", KLINES, times=None), "SOURCE_SCHEMA"),
    "maintenance for ever": (Fault("maintenance", INFO, times=None), "SOURCE_UNREACHABLE"),
    "5xx for ever": (Fault("5xx", times=None), "SOURCE_UNREACHABLE"),
    "klines fail for ever": (Fault("5xx", KLINES, times=None), "SOURCE_UNREACHABLE"),
    "429 for ever": (Fault("429", INFO, times=None, retry_after=0.01), "SOURCE_LIMITED"),
    "resets for ever": (Fault("reset", times=None), "SOURCE_UNREACHABLE"),
    "a login page": (Fault("nonjson", times=None), "SOURCE_UNREACHABLE"),
    "half of exchangeInfo": (Fault("shrunk", INFO), "INSTRUMENTS_SHRUNK"),
    "no bar at all": (Fault("empty", KLINES, times=None), "SYNC_EMPTY"),
}


def check_whole(lake, exchange):
    assert stored(lake).equals(exchange.world.truth())


def on_coins():
    """The faults of klines, but for those of time, each on a coin of its own; then those of other endpoints."""
    faults = [fault for fault, code in MENDED.values() if code != "RETRY_TIMEOUT"]
    own = [fault for fault in faults if fault.path == KLINES]
    return [replace(fault, symbol=coin) for fault, coin in zip(own, MANY, strict=True)] + faults[len(own) :]


def told_counts(told):
    return {finding["code"]: finding["count"] for finding in told["findings"]}


def test_passing_faults_all_at_once_are_told_and_nothing_is_lost(tmp_path):
    with LocalExchange(small(coins=MANY)) as exchange:
        for fault in on_coins():
            exchange.fail(fault)
        code, told = command(tmp_path, exchange)
        found = told_counts(told)
        assert (code, found.keys()) == (0, {code for _, code in MENDED.values()} - {"RETRY_TIMEOUT"} | {"CLOCK_SKEW"})
        assert found["RETRY_RATE_LIMITED"] == 2
        assert found["RETRY_BANNED"] == 1
        assert found["RETRY_SERVER_ERROR"] == 2 + 1
        assert found["RETRY_CONNECTION"] == 2 + 1
        assert found["RETRY_MALFORMED"] == 2 + 1 + 1 + 1 + 1 + 1
        days = exchange.world.truth("BTCUSDT").height
        assert (found["DUPLICATE_SAME"], found["GAP_REPAIRED"]) == (1, 1 + days)
        assert found["UNORDERED"] == days - 1 + 1  # a history backwards; a bar that came at the second look, so last
        [late] = [finding["names"] for finding in told["findings"] if finding["code"] == "BARS_LATE"]
        assert late == ["BINANCE:AVAXUSDT"]
        exchange.world.next_day()
        code, told = command(tmp_path, exchange)
        assert (code, told_counts(told).keys()) == (0, {"NEW_SYMBOL", "CLOCK_SKEW"})
        assert told["quarantined"] == 0
        check_whole(Lake(tmp_path, source(exchange)), exchange)


def test_answers_that_do_not_come_in_time_are_asked_for_again_and_a_slow_drip_within_it_is_no_fault(tmp_path):
    with LocalExchange(small()) as exchange:
        exchange.fail(klines("timeout"))
        exchange.fail(Fault("drip", KLINES, "BTCUSDT", seconds=20.0))
        exchange.fail(Fault("drip", KLINES, "SOLUSDT", seconds=0.2))
        code, told = command(tmp_path, exchange, timeout=2.0)
        assert code == 0
        assert told_counts(told)["RETRY_TIMEOUT"] >= 2
        asked = [request for request in exchange.requests(KLINES) if request.query["symbol"] == "SOLUSDT"]
        assert (len(asked), asked[0].fault.kind) == (1, "drip")
        check_whole(Lake(tmp_path, source(exchange)), exchange)


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize(("status", "code"), [(429, "RETRY_RATE_LIMITED"), (418, "RETRY_BANNED")])
def test_a_refusal_holds_everything_back_until_the_second_or_the_date_that_it_names(tmp_path, status, code, dated):
    with LocalExchange(small(coins=TWELVE)) as exchange:
        exchange.fail(Fault(str(status), KLINES, retry_after=2, dated=dated))
        lake, report = sync(tmp_path, exchange, concurrency=2)
        assert quiet_after(exchange, status) >= 1.9
        assert codes(report)[code].count == 1
        check_whole(lake, exchange)


def test_a_ban_until_a_distant_date_ends_the_ingestion(tmp_path):
    with LocalExchange(small()) as exchange:
        exchange.fail(Fault("418", KLINES, retry_after=7200, dated=True))
        code, told = command(tmp_path, exchange)
        assert (code, told["error"]["code"]) == (4, "SOURCE_BANNED")
        assert "for 7200 s" in told["error"]["what"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MENDED)
def test_a_passing_fault_is_told_and_nothing_is_lost(tmp_path, name):
    fault, code = MENDED[name]
    with LocalExchange(small()) as exchange:
        exchange.fail(fault)
        lake, report = sync(tmp_path, exchange, timeout=2.0 if "TIMEOUT" in code else 30.0)
        assert code in codes(report), codes(report)
        if code == "BARS_LATE":
            assert codes(report)[code].names == [ETH]
            exchange.world.next_day()
            lake, report = sync(tmp_path, exchange)
            assert codes(report).keys() == {"NEW_SYMBOL"}
        check_whole(lake, exchange)
        assert report.quarantined == 0


def test_bars_that_cannot_be_right_are_put_aside_and_asked_for_again(tmp_path):
    with LocalExchange(small()) as exchange:
        for coin, (kind, _) in PUT_ASIDE.items():
            exchange.fail(Fault(kind, KLINES, coin))
        code, told = command(tmp_path, exchange)
        named = {finding["code"]: finding["names"] for finding in told["findings"]}
        assert code == 0
        assert {coin: named[reason] for coin, (_, reason) in PUT_ASIDE.items()} == {
            coin: [f"BINANCE:{coin}"] for coin in PUT_ASIDE
        }
        assert told["rows"] == exchange.world.truth().height - 2
        aside = Lake(tmp_path, source(exchange)).latest().quarantine()
        assert {f"QUARANTINE_{reason}" for reason in aside["reason"]} == {reason for _, reason in PUT_ASIDE.values()}
        exchange.world.next_day()
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["GAP_REPAIRED"].count == 2
        check_whole(lake, exchange)
        assert lake.latest().quarantine().equals(aside)  # what was wrong once stays on record


def test_the_same_wrong_bar_goes_to_quarantine_once(tmp_path):
    with LocalExchange(small()) as exchange:
        exchange.fail(klines("impossible", times=None))
        lake, _ = sync(tmp_path, exchange)
        first = lake.latest().quarantine()
        exchange.heal()
        bar = first["open_time"][0].date().isoformat()
        exchange.world.next_day()
        exchange.world.rows["ETHUSDT"][int(first["open_time"][0].timestamp() * 1000)][2] = "0.00000001"
        for asked in (True, False):  # the hole is asked for once more, and then left alone
            lake, report = sync(tmp_path, exchange)
            exchange.world.next_day()
            assert ("QUARANTINE_INCONSISTENT_OHLC" in codes(report)) == asked, bar
        aside = lake.latest().quarantine()
        assert aside.height == 2
        assert aside["row"].to_list() == [first["row"][0], first["row"][0] + 1]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A home whose lake was filled on the day before; the address of the exchange is no part of a lake."""
    home = tmp_path_factory.mktemp("filled")
    with LocalExchange(small("2024-01-10", TWELVE)) as exchange:
        sync(home, exchange)
    return home


@pytest.mark.parametrize("name", ENDS)
def test_what_does_not_pass_ends_with_a_name_and_exit_code_4_and_the_lake_as_it_was(tmp_path, filled, name):
    fault, reason = ENDS[name]
    home = shutil.copytree(filled, tmp_path / "home")
    with LocalExchange(small("2024-01-11", TWELVE)) as exchange:
        lake = Lake(home, source(exchange))
        before = lake.heads()
        exchange.fail(fault)
        code, told = command(home, exchange, attempts=2)
        assert (code, told["error"]["code"], told["error"]["exit_code"]) == (4, reason, 4)
        assert told["error"]["hint"]
        assert lake.heads() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
def test_what_ended_badly_goes_on_once_the_exchange_is_well(tmp_path, filled, name):
    home = shutil.copytree(filled, tmp_path / "home")
    with LocalExchange(small("2024-01-11", TWELVE)) as exchange:
        exchange.fail(ENDS[name][0])
        assert command(home, exchange, attempts=2)[0] == 4
        exchange.heal()
        assert command(home, exchange, attempts=2)[0] == 0
        check_whole(Lake(home, source(exchange)), exchange)


def test_a_forming_bar_is_never_stored(tmp_path):
    with LocalExchange(small()) as exchange:
        exchange.fail(Fault("forming", KLINES, times=None))
        code, told = command(tmp_path, exchange)
        assert (code, told_counts(told)["QUARANTINE_FORMING"]) == (0, 6)
        lake = Lake(tmp_path, source(exchange))
        check_whole(lake, exchange)
        assert lake.latest().last_close() == dt.datetime(2024, 1, 11, tzinfo=dt.UTC)
        exchange.heal()
        exchange.world.next_day()
        lake, _ = sync(tmp_path, exchange)
        check_whole(lake, exchange)


@pytest.mark.parametrize("seconds", [-7200, 86_400])
def test_a_wrong_clock_is_told_and_lets_no_forming_bar_in(tmp_path, seconds):
    with LocalExchange(small()) as exchange:
        exchange.world.skew = seconds * 1000
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["CLOCK_SKEW"].count == abs(seconds)
        known = exchange.world.truth().filter(
            pl.col("open_time") < dt.datetime(2024, 1, 10 if seconds < 0 else 11, tzinfo=dt.UTC)
        )
        assert stored(lake).equals(known)


def test_a_clock_before_the_lakes_last_bar_is_refused(tmp_path):
    with LocalExchange(small()) as exchange:
        lake, _ = sync(tmp_path, exchange)
        exchange.world.skew = -2 * 86_400_000
        code, told = command(tmp_path, exchange)
        assert (code, told["error"]["code"]) == (4, "SOURCE_CLOCK")
        assert "before the lake's last bar" in told["error"]["what"]
        assert len(lake.heads()) == 1


def test_pairs_that_disappear_appear_and_are_used_again_are_named_and_the_others_go_on(tmp_path):
    """Ether is listed and unknown when asked for, Jupiter is new, and Ripple's name is another coin's now."""
    with LocalExchange(small("2023-12-25")) as exchange:
        exchange.world.delete("XRPUSDT", "2023-12-20", "2024-01-21")
        assert command(tmp_path, exchange)[0] == 0
        exchange.world.at("2024-01-12")
        exchange.world.add(exchange.world.pairs["XRPUSDT"], like="SOLUSDT", since="2024-01-05")
        exchange.world.add(Pair("JUP", "USDT"), like="SOLUSDT", since="2024-01-11", price=0.01)
        exchange.fail(klines("gone", times=None))
        code, told = command(tmp_path, exchange)
        named = {finding["code"]: finding["names"] for finding in told["findings"]}
        assert code == 0
        assert named["SYMBOL_GONE"] == [ETH]
        assert named["NEW_SYMBOL"] == ["BINANCE:JUPUSDT"]
        assert named["LISTING_RESTARTED"] == ["BINANCE:XRPUSDT"]
        lake = Lake(tmp_path, source(exchange))
        kept = (pl.col("symbol") != ETH) | (pl.col("open_time") < dt.datetime(2023, 12, 26, tzinfo=dt.UTC))
        assert stored(lake).equals(exchange.world.truth().filter(kept))
        listings = lake.latest().bars(symbols=["BINANCE:XRPUSDT"]).group_by("listing").len().sort("listing")
        assert listings["len"].to_list()[1] == 8
        exchange.heal()
        exchange.world.next_day()
        assert command(tmp_path, exchange)[0] == 0
        check_whole(lake, exchange)


def test_a_pair_that_was_listed_today_has_no_bar_yet_and_is_no_failure(tmp_path):
    with LocalExchange(small()) as exchange:
        exchange.world.add(Pair("JUP", "USDT"), like="SOLUSDT", since="2024-01-11")
        sync(tmp_path, exchange)
        lake, report = sync(tmp_path, exchange)  # the same day again: nothing else is due
        assert (report.changed, codes(report)["BARS_LATE"].names) == (False, ["BINANCE:JUPUSDT"])
        check_whole(lake, exchange)


def test_one_symbol_that_fails_for_ever_and_missing_days_do_not_keep_the_others_out(tmp_path):
    with LocalExchange(small()) as exchange:
        exchange.world.delete("ADAUSDT", "2023-06-01", "2023-06-02")
        exchange.fail(klines("5xx", times=None))
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["SYMBOL_FAILED"].names == [ETH]
        gap = codes(report)["GAPS"]
        assert (gap.count, gap.names) == (2, ["BINANCE:ADAUSDT"])  # the exchange has none: they stay missing
        assert stored(lake).equals(exchange.world.truth().filter(pl.col("symbol") != ETH))
        exchange.heal()
        lake, report = sync(tmp_path, exchange)
        check_whole(lake, exchange)


def test_a_bar_that_the_exchange_takes_away_stays_and_is_told(tmp_path):
    with LocalExchange(small()) as exchange:
        lake, _ = sync(tmp_path, exchange)
        before = stored(lake)
        exchange.world.delete("ETHUSDT", "2023-01-01", "2024-01-10")
        exchange.world.next_day()
        lake, report = sync(tmp_path, exchange)
        assert codes(report)["HISTORY_CUT"].names == [ETH]
        assert stored(lake).join(before, on=["symbol", "open_time"], how="semi").equals(before)


def test_a_dead_network_is_exit_code_4(tmp_path):
    with LocalExchange(small()) as exchange:
        lake = Lake(tmp_path, source(exchange))
    code, told = command(tmp_path, exchange, attempts=2)
    assert (code, told["error"]["code"]) == (4, "SOURCE_UNREACHABLE")
    assert lake.heads() == []
    assert not lake.folder.exists()


@pytest.mark.parametrize("kind", ["columns", "more_columns", "odd_time", "odd_number"])
def test_one_odd_row_costs_its_pair_or_itself(tmp_path, kind):
    with LocalExchange(small()) as exchange:
        exchange.fail(klines(kind, times=None))
        code, told = command(tmp_path, exchange)
        named = {finding["code"]: finding["names"] for finding in told["findings"]}
        assert code == 0
        assert named["QUARANTINE_NAN" if kind == "odd_number" else "SYMBOL_FAILED"] == [ETH]
        lake = Lake(tmp_path, source(exchange))
        assert stored(lake).filter(pl.col("symbol") != ETH).equals(exchange.world.truth(*(set(COINS) - {"ETHUSDT"})))
        exchange.heal()
        exchange.world.next_day()
        assert command(tmp_path, exchange)[0] == 0
        check_whole(lake, exchange)


@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize("path", [KLINES, INFO, TIME])
@pytest.mark.parametrize(
    "body",
    [
        {"code": -1000, "msg": "An unknown error occurred while processing the request."},
        {"code": -99, "msg": "Internal fault; please try again later."},
        {"status": 1, "msg": "system maintenance"},
    ],
)
def test_an_answer_that_will_be_another_one_soon_costs_the_moment(tmp_path, status, path, body):
    with LocalExchange(small(coins=("BTCUSDT", "ETHUSDT"))) as exchange:
        [(method, _, handler, weight)] = [route for route in exchange._routes if route[1] == path]
        passing = [Response.json(body, status)]
        exchange._routes.insert(0, (method, path, lambda asked: passing.pop() if passing else handler(asked), weight))
        code, told = command(tmp_path, exchange)
        assert (code, told.get("error")) == (0, None)
        assert told_counts(told).keys() & {"RETRY_SERVER_ERROR", "RETRY_MALFORMED"}
        check_whole(Lake(tmp_path, source(exchange)), exchange)
