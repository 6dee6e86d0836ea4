"""The screener over a real socket: what is asked, what is kept, and what each fault of an answer becomes."""

import datetime as dt
import hashlib
import json
import re
import subprocess
import sys

import pytest
import screener_api
from exchange_server import Fault, Response, Server
from screener_rows import book, pair

from assay.base.domain import UTC
from assay.base.errors import Exit, SourceError
from assay.screening.recorded_scans import COLUMNS
from assay.screening.tradingview import ScreenerClient
from assay.settings import load
from assay.settings.model import Screener as ScreenerSettings

NOW = dt.datetime(2024, 3, 11, 0, 5, tzinfo=UTC)
PAIRS = [pair(base, rating=rating) for base, rating in (("AAA", 0.5), ("BBB", 0.2), ("CCC", -0.3), ("DDD", 0.0))]


@pytest.fixture
def server():
    with Server() as made:
        made.screen = book(*PAIRS, pair("EEE", "EUR", rating=0.9), pair("FFF", rating=0.9, exchange="KRAKEN"))
        screener_api.register(made)
        yield made


def screener(server, slept=None, **changes):
    quick = {"address": server.url, "timeout": 5.0, "per_second": 1000.0, "attempts": 3, "backoff": 0.5}

    async def nap(seconds):
        if slept is not None:
            slept.append(seconds)

    return ScreenerClient(ScreenerSettings(**quick | changes), clock=lambda: NOW, sleep=nap)


def scanners(*names):
    return {name: scanner for name, scanner in load().scanners().items() if not names or name in names}


ALL_LONG = scanners("binance_spot_rating_all_long")


def symbols(answer):
    return [symbol for symbol, _ in answer.rows]


def test_four_scanners_are_asked_for_closed_bars_of_the_universe(server):
    found = screener(server).ask(scanners())
    assert (found.as_of, found.scanned_at) == (dt.datetime(2024, 3, 11, tzinfo=UTC), NOW)
    assert {answer.scanner: symbols(answer) for answer in found.answers} == {
        "binance_spot_rating_all_long": ["BINANCE:AAAUSDT", "BINANCE:BBBUSDT"],
        "binance_spot_rating_all_short": ["BINANCE:CCCUSDT"],
        "binance_spot_rating_ma_long": ["BINANCE:AAAUSDT", "BINANCE:BBBUSDT"],
        "binance_spot_rating_ma_short": ["BINANCE:CCCUSDT"],
    }
    requests = server.requests("/crypto/scan")
    assert len(requests) == 4
    [asked] = [r.json() for r in requests if r.json()["sort"] == {**r.json()["sort"], "sortBy": "Recommend.All[1]|1D"}][
        :1
    ]
    assert asked["columns"] == list(COLUMNS)
    assert {"Recommend.All", "Recommend.All[1]|1D", "Rec.UO[1]|1D", "close", "close[1]|1D"} <= set(asked["columns"])
    assert asked["range"] == [0, 1000]
    assert {part["left"] for part in asked["filter"]} == {"exchange", "type", "currency", "Recommend.All[1]|1D"}


def test_every_column_is_kept_with_request_and_hash(server):
    bodies = []
    honest = screener_api.scan

    def answer(request):
        bodies.append(honest(request, server.screen))
        return bodies[-1]

    server._routes.clear()
    server.route("POST", "/crypto/scan", answer)
    [found] = screener(server).ask(ALL_LONG).answers
    assert found.response_sha256 == hashlib.sha256(bodies[0].body).hexdigest()
    assert json.loads(found.request) == server.log[0].json()
    assert dict(found.rows)["BINANCE:AAAUSDT"] == {name: PAIRS[0][name] for name in COLUMNS}


def test_long_lists_come_in_pages(server):
    server.screen = book(*(pair(f"C{i:03}", rating=i / 100) for i in range(1, 26)))
    [found] = screener(server, page=10).ask(ALL_LONG).answers
    assert [request.json()["range"] for request in server.log] == [[0, 10], [10, 20], [20, 30]]
    assert symbols(found) == [f"BINANCE:C{i:03}USDT" for i in range(25, 0, -1)]


def test_nobody_found_is_an_answer(server):
    server.screen = book(pair("CCC", rating=-0.3))
    [found] = screener(server).ask(ALL_LONG).answers
    assert (found.total, found.rows) == (0, ())


@pytest.mark.parametrize(
    ("kind", "code", "tries"),
    [
        ("429", "SCREENER_LIMITED", 3),
        ("418", "SCREENER_REFUSED", 3),
        ("5xx", "SCREENER_FAILING", 3),
        ("timeout", "SCREENER_UNREACHABLE", 3),
        ("drip", "SCREENER_UNREACHABLE", 3),
        ("reset", "SCREENER_TRUNCATED", 3),
        ("truncated", "SCREENER_MALFORMED", 3),
        ("nonjson", "SCREENER_CONTENT", 3),
        ("content_type", "SCREENER_CONTENT", 3),
        ("columns", "SCREENER_COLUMNS", 1),
        ("renamed", "SCREENER_COLUMNS", 1),
        ("types", "SCREENER_COLUMNS", 1),
        ("short", "SCREENER_TRUNCATED", 3),
        ("twice", "SCREENER_INCONSISTENT", 3),
    ],
)
def test_each_fault_has_its_name_and_exit_code(server, kind, code, tries):
    server.fail(Fault(kind, times=None, seconds=3.0))
    limits = {"timeout": 0.3} if kind in ("timeout", "drip") else {}
    with pytest.raises(SourceError) as caught:
        screener(server, **limits).ask(ALL_LONG)
    assert (caught.value.code, caught.value.exit_code) == (code, Exit.SOURCE)
    assert caught.value.hint
    assert len(server.requests("/crypto/scan")) == tries


@pytest.mark.parametrize("dated", [False, True])
def test_a_refusal_is_waited_for_until_the_second_or_the_date_that_it_names(server, dated):
    server.fail(Fault("429", times=2, retry_after=7, dated=dated))
    slept = []
    screener(server, slept).ask(ALL_LONG)
    assert [nap for nap in slept if nap >= 0.5] == [7.0, 7.0]


@pytest.mark.parametrize("kind", ["429", "5xx", "reset", "truncated", "nonjson", "content_type", "short", "twice"])
def test_what_passes_is_tried_again(server, kind):
    server.fail(Fault(kind, times=2, retry_after=7))
    slept = []
    [found] = screener(server, slept).ask(ALL_LONG).answers
    assert symbols(found) == ["BINANCE:AAAUSDT", "BINANCE:BBBUSDT"]
    waited = [nap for nap in slept if nap >= 0.5]
    assert waited == ([7.0, 7.0] if kind == "429" else [0.5, 1.0])


def test_a_retry_after_beyond_patience_is_not_waited_for(server):
    server.fail(Fault("429", times=None, retry_after=3600))
    slept = []
    with pytest.raises(SourceError) as caught:
        screener(server, slept).ask(ALL_LONG)
    assert (caught.value.code, caught.value.retry_after) == ("SCREENER_LIMITED", 3600)
    assert re.match(r"come again at \d{4}-\S+Z or later; or set scan.fallback=true", caught.value.hint)
    assert not [nap for nap in slept if nap >= 0.5]


def test_a_total_that_changes_between_pages_is_an_inconsistent_answer(server):
    server.screen = book(*(pair(f"C{i:03}", rating=i / 100) for i in range(1, 26)))
    server.fail(Fault("moving", times=None))
    with pytest.raises(SourceError) as caught:
        screener(server, page=10).ask(ALL_LONG)
    assert caught.value.code == "SCREENER_INCONSISTENT"


def test_an_unreachable_screener_is_named(server):
    with pytest.raises(SourceError) as caught:
        screener(server, address="http://127.0.0.1:9").ask(ALL_LONG)
    assert caught.value.code == "SCREENER_UNREACHABLE"
    assert "scan.fallback" in caught.value.hint


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"totalCount": true, "data": []}', b'{"totalCount": 1, "data": [3]}'])
def test_json_of_another_form_is_a_changed_column_set(server, body):
    server._routes.clear()
    server.route("POST", "/crypto/scan", lambda _: Response(body))
    with pytest.raises(SourceError) as caught:
        screener(server).ask(ALL_LONG)
    assert caught.value.code == "SCREENER_COLUMNS"


def test_numbers_that_json_does_not_have_are_refused(server):
    server.screen = book(pair("AAA", close=float("nan")))
    with pytest.raises(SourceError) as caught:
        screener(server).ask(ALL_LONG)
    assert caught.value.code == "SCREENER_MALFORMED"


def test_a_clock_of_another_day_is_refused(server):
    server._routes.clear()
    other = {"Date": "Wed, 13 Mar 2024 00:05:00 GMT"}

    def late(request):
        return Response(screener_api.scan(request, server.screen).body, headers=other)

    server.route("POST", "/crypto/scan", late)
    with pytest.raises(SourceError) as caught:
        screener(server).ask(ALL_LONG)
    assert caught.value.code == "CLOCK_SKEW"


def test_a_bar_that_closes_meanwhile_is_no_answer(server):
    ticks = iter([dt.datetime(2024, 3, 10, 23, 59, 59, tzinfo=UTC), NOW, NOW])
    asked = ScreenerClient(ScreenerSettings(address=server.url, per_second=1000.0), clock=lambda: next(ticks))
    with pytest.raises(SourceError) as caught:
        asked.ask(ALL_LONG)
    assert caught.value.code == "SCREENER_MIDNIGHT"


def test_requests_begin_at_the_polite_rate(server):
    slept = []
    screener(server, slept, per_second=0.1).ask(scanners())
    # Four requests ten seconds apart; the first begins at once, the others wait for their turn.
    assert [round(nap, -1) for nap in sorted(slept)] == [10.0, 20.0, 30.0]


@pytest.mark.slow
def test_asking_loads_no_pandas():
    code = (
        "from assay.screening.tradingview import request_body\n"
        "from assay.settings import load\n"
        "import sys\n"
        "request_body(load().scanners()['binance_spot_rating_all_long'], 10)\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
