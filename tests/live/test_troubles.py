"""One table says what each trouble means, and REST, archive, ccxt and screener all do what it says."""

import datetime as dt
import re
import socket
import socketserver
import threading
from contextlib import contextmanager

import ccxt
import httpx
import pytest
from exchange_server import Fault, Response
from live_world import COINS, LocalExchange, archive, codes, small, source, sync

from assay.base.domain import parse_as_of
from assay.base.errors import SourceError
from assay.lake.lake import Lake
from assay.screening.tradingview import ScreenerClient
from assay.settings import load
from assay.settings.model import Screener
from assay.sources.http import Limiter
from assay.sources.loading import frame
from assay.sources.loading import judge as judge_rows
from assay.sources.troubles import KINDS, TROUBLES, Act, judge, met_by_answer, retry_after

ASKED = {"binance": "/api/v3/klines", "archive": "/data/spot", "ccxt": "/api/v3/klines"}
"""Where each transport asks for bars."""
COUNTRY = "Service unavailable from a restricted location according to 'b. Eligibility' in the terms."


def feed(transport, exchange, **changes):
    if transport == "archive":
        return archive(exchange, **changes)
    return source(exchange, "binance" if transport == "binance" else "binanceus", **changes)


def screener(address):
    settings = Screener(address=address, timeout=5.0, per_second=1000.0, attempts=2, backoff=0.01)
    scanners = load().scanners()
    return ScreenerClient(settings).ask({name: scanners[name] for name in sorted(scanners)[:1]})


def asked_for(exchange, status=None):
    """Pairs and files of the archive that were asked for, with this answer."""
    log = [request for request in exchange.log if status in (None, request.status)]
    files = {request.path for request in log if request.path.endswith(".zip")}
    return files | {request.query["symbol"] for request in log if "interval" in request.query}


@contextmanager
def speaking_no_tls():
    """A port that answers whatever comes in plain text."""

    class Plain(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(65536)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            heard.append(1)

    heard = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}", heard
        server.shutdown()


# --- the table --------------------------------------------------------------------------------------------------------


def test_every_row_of_the_table_is_reached_by_what_it_names():
    for row in TROUBLES:
        assert all(judge(status).kind == row.kind for status in row.statuses), row.kind
        assert all(judge(400, f'{{"code": {code}}}').kind == row.kind for code in row.codes), row.kind
        assert row.what
        assert re.fullmatch("SOURCE_[A-Z]+", row.ends)
    assert len(KINDS) == len(TROUBLES)
    assert {judge(status).kind for status in range(300, 600)} <= KINDS.keys()


@pytest.mark.parametrize(
    ("status", "text", "error", "act"),
    [
        (500, "", None, Act.REPEAT),
        (503, "<html>", None, Act.REPEAT),
        (
            400,
            '{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}',
            None,
            Act.REPEAT,
        ),
        (400, '{"code":-1003,"msg":"Too many requests; current limit is 6000."}', None, Act.WAIT),
        (429, "", None, Act.WAIT),
        (418, '{"code":-1003,"msg":"IP banned until 1701914400000."}', None, Act.WAIT),
        (400, '{"code":-1121,"msg":"Invalid symbol."}', None, Act.PAIR),
        (400, '{"code":-1100,"msg":"Illegal characters found in parameter."}', None, Act.PAIR),
        (404, "", None, Act.PAIR),
        (451, "", None, Act.ALL),
        (403, COUNTRY, None, Act.ALL),
        (400, COUNTRY, None, Act.ALL),
        (401, "", None, Act.ALL),
        (0, "", socket.gaierror(-2, "Name or service not known"), Act.ALL),
        (0, "[SSL: WRONG_VERSION_NUMBER] wrong version number", httpx.ConnectError("x"), Act.ALL),
        (0, "", httpx.UnsupportedProtocol("x"), Act.ALL),
        (0, "", httpx.ReadTimeout("x"), Act.REPEAT),
        (0, "", ConnectionResetError(), Act.REPEAT),
        (429, "", ccxt.RateLimitExceeded("x"), Act.WAIT),
        (418, "", ccxt.RateLimitExceeded("x"), Act.WAIT),
        (403, "", ccxt.ExchangeNotAvailable("x"), Act.ALL),
        (200, "", ccxt.RestrictedLocation("x"), Act.ALL),
        (200, "", ccxt.BadSymbol("x"), Act.PAIR),
        (200, "", ccxt.OnMaintenance("x"), Act.REPEAT),
        (200, "", ccxt.BadRequest("x"), Act.PAIR),
        (0, "", ccxt.RequestTimeout("x"), Act.REPEAT),
    ],
)
def test_what_is_done_about_it(status, text, error, act):
    assert judge(status, text, error).act is act


def test_a_cause_far_below_is_found_and_a_fault_of_ours_is_none_of_the_table():
    failed = httpx.ConnectError("[Errno -3]")
    failed.__cause__ = socket.gaierror(-3, "Temporary failure in name resolution")
    assert judge(error=failed).kind == "DNS"
    assert judge(error=KeyError("x")) is None


AT = "Mon, 01 Jan 2024 12:00:00 GMT"
THIRTY_YEARS = 999_999_999.0


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0),
        ("-5", None),
        ("inf", None),
        ("99999999999", None),
        ("Mon, 01 Jan 2020 12:00:00 GMT", 0.0),
        ("Monday, 01-Jan-24 12:00:30 GMT", 30.0),
        ("Mon, 01 Jan 9999 23:59:59 -1200", THIRTY_YEARS),
        ("Mon, 01 Jan 99999999999999999999 12:00:00 GMT", None),
        ("Mon, 01 Jan 2024 99999999999999999999:00:00 GMT", None),
    ],
)
def test_whatever_retry_after_says_is_a_time_to_come_or_nothing(said, seconds):
    """What is added to a clock stays a date, and a date that cannot be is none."""
    found = retry_after({"Retry-After": said, "Date": AT}, dt.datetime.now(dt.UTC))
    assert found == seconds
    assert dt.datetime.now(dt.UTC) + dt.timedelta(seconds=found or 0)


def test_a_date_of_the_answer_that_cannot_be_is_none():
    headers = {"Retry-After": "Mon, 01 Jan 2024 12:00:30 GMT", "Date": f"Mon, 01 Jan {'9' * 20} 12:00:00 GMT"}
    assert retry_after(headers, NOON) == 30.0


NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Date": AT}, 3600.0), ({"Date": AT, "Retry-After": "60"}, 60.0), ({"Date": AT, "Retry-After": "soon"}, 3600.0)],
)
def test_a_ban_whose_end_only_the_words_name_lasts_until_then(headers, seconds):
    until = round(NOON.timestamp() + 3600) * 1000
    met = met_by_answer(
        418, headers, f'{{"code":-1003,"msg":"Way too much; IP banned until {until}. Use websockets."}}'
    )
    assert (met.kind, met.after) == ("BANNED", seconds)
    assert met_by_answer(418, headers | {"Retry-After": ""}, "banned until tomorrow").after is None


@pytest.mark.parametrize("number", ["1e999", "Infinity", "-Infinity", "NaN", "null", "9" * 5000, "[-1003]", "true"])
def test_a_code_that_is_no_number_is_none_of_the_exchange(number):
    assert judge(400, f'{{"code": {number}, "msg": "x"}}').kind == "DECLINED"


def test_windows_of_requests_hold_beside_those_of_weight():
    now = 0.0
    limiter = Limiter({60.0: 100}, clock=lambda: now)
    limiter.spend(30)
    limiter.allow({60.0: 1000}, {300.0: 3})  # one request was sent before
    limiter.spend(2)
    assert limiter.wait(2) == 0
    limiter.spend(2)
    assert 299 < limiter.wait(2) < 302


# --- every transport --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ASKED)
@pytest.mark.parametrize("status", ["429", "418"])
def test_who_wants_to_be_left_alone_for_long_is_and_what_was_fetched_is_kept(tmp_path, transport, status):
    """The error says when to come again and what is kept; then nothing is asked for twice."""
    with LocalExchange(small("2023-02-01")) as exchange:
        exchange.fail(Fault(status, ASKED[transport], "ETHUSDT" if transport != "archive" else None, retry_after=7200))
        if transport == "archive":
            exchange._faults.clear()
            path = "/data/spot/monthly/klines/ETHUSDT/1d/ETHUSDT-1d-2023-01.zip"
            exchange.fail(Fault(status, path, retry_after=7200))
        with pytest.raises(SourceError) as caught:
            sync(tmp_path, exchange, feed(transport, exchange, concurrency=1))
        error = caught.value
        assert (error.code, error.exit_code) == ("SOURCE_LIMITED" if status == "429" else "SOURCE_BANNED", 4)
        assert error.retry_after == 7200
        [until] = re.findall(r"come again at (\S+) or later", error.hint)
        assert parse_as_of(until) > dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        [kept] = re.findall(r"answers of (\d+) of \d+ (?:pairs|files) are kept", error.hint)
        before = asked_for(exchange, 200)
        assert int(kept) == len(before) > 0
        exchange.heal()
        exchange.forget()
        lake, report = sync(tmp_path, exchange, feed(transport, exchange))
        assert "RESUMED" in codes(report)
        assert not asked_for(exchange) & before
        assert lake.latest().bars().height == exchange.world.truth().height


@pytest.mark.parametrize("transport", ASKED)
def test_a_country_that_is_refused_ends_it_at_once(tmp_path, transport):
    with LocalExchange(small("2023-02-01")) as exchange:
        exchange.fail(Fault("451", times=None))
        with pytest.raises(SourceError, match="refuses this country") as caught:
            sync(tmp_path, exchange, feed(transport, exchange, concurrency=1))
        assert (caught.value.code, len(exchange.log)) == ("SOURCE_REFUSED", 1)
        assert ("source.mirror=true" in caught.value.hint) == (transport == "binance")


@pytest.mark.parametrize("transport", [*ASKED, "screener"])
def test_a_name_that_is_unknown_and_a_host_that_cannot_be_trusted_are_asked_once(tmp_path, monkeypatch, transport):
    tried = []

    def unknown(host, *_rest, **_more):
        tried.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with LocalExchange(small("2023-02-01")) as exchange, speaking_no_tls() as (plain, heard):

        def ask(address):
            if transport == "screener":
                return screener(address)
            urls = dict.fromkeys(("url", "archive_url", "listing_url") if transport == "archive" else ("url",), address)
            return sync(tmp_path, exchange, feed(transport, exchange, **urls))

        with pytest.raises(SourceError, match=r"cannot be trusted \(TLS\)") as caught:
            ask(plain)
        assert caught.value.code in ("SOURCE_UNREACHABLE", "SCREENER_UNREACHABLE")
        assert len(heard) == 1
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(SourceError, match=r"unknown \(DNS\)") as caught:
            ask("http://exchange.invalid")
        assert caught.value.code in ("SOURCE_UNREACHABLE", "SCREENER_UNREACHABLE")
        assert len({str(host) for host in tried}) == 1
        assert len(tried) <= 4  # both kinds of addresses, and archives have two listings
        assert exchange.log == []


@pytest.mark.parametrize("transport", ["binance", "ccxt"])
@pytest.mark.parametrize(
    "body", [{"code": -1121, "msg": "Invalid symbol."}, {"code": -1100, "msg": "Illegal characters."}]
)
def test_a_pair_that_is_declined_costs_itself(tmp_path, transport, body):
    with LocalExchange(small("2023-02-01")) as exchange:
        [(method, path, handler, weight)] = [route for route in exchange._routes if route[1] == ASKED["binance"]]

        def declined(request):
            return Response.json(body, 400) if request.query["symbol"] == "ETHUSDT" else handler(request)

        exchange._routes.insert(0, (method, path, declined, weight))
        lake, report = sync(tmp_path, exchange, feed(transport, exchange))
        [(code, found)] = [(code, found) for code, found in codes(report).items() if code.startswith("SYMBOL")]
        assert found.names[0].endswith(":ETHUSDT")
        assert code == ("SYMBOL_GONE" if body["code"] == -1121 else "SYMBOL_FAILED")
        assert lake.latest().bars()["symbol"].n_unique() == len(COINS) - 1
        asked = [request for request in exchange.requests(ASKED["binance"]) if request.query["symbol"] == "ETHUSDT"]
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("odd_time", "GAPS"),
        ("odd_number", "QUARANTINE_NULL"),
        ("impossible", "QUARANTINE_INCONSISTENT_OHLC"),
        ("types", "BARS_LATE"),
        ("empty", "BARS_LATE"),
    ],
)
def test_an_odd_answer_costs_its_pair_or_its_row_at_ccxt_too(tmp_path, kind, code):
    with LocalExchange(small("2023-02-01")) as exchange:
        exchange.fail(Fault(kind, ASKED["ccxt"], "ETHUSDT", times=None))
        lake, report = sync(tmp_path, exchange, feed("ccxt", exchange))
        assert codes(report)[code].names == ["BINANCEUS:ETHUSDT"]
        assert all(set(finding.names) <= {"BINANCEUS:ETHUSDT"} for finding in report.findings)
        held, days = lake.latest().bars(), exchange.world.truth("BTCUSDT").height
        others = held.filter(held["symbol"] != "BINANCEUS:ETHUSDT")
        assert others.height == days * (len(COINS) - 1)
        assert held.height - others.height == (0 if code == "BARS_LATE" else days - 1)


@pytest.mark.parametrize("factor", [1000, 10**18])
def test_one_pair_whose_stamps_are_no_milliseconds_costs_that_pair(tmp_path, factor):
    """Beside them the others' would be of several units, or of no number that a table has."""
    with LocalExchange(small("2023-02-01")) as exchange:
        rows = exchange.world.klines

        def klines(name, *span):
            odd = [[row[0] * factor, *row[1:6], row[0] * factor + 1, *row[7:]] for row in rows(name, *span)]
            return odd if name == "ETHUSDT" else rows(name, *span)

        exchange.world.klines = klines
        lake, report = sync(tmp_path, exchange, feed("binance", exchange))
        assert codes(report)["SYMBOL_FAILED"].names == ["BINANCE:ETHUSDT"]
        assert lake.latest().bars()["symbol"].n_unique() == len(COINS) - 1


def test_a_number_that_no_table_holds_costs_its_row():
    rows = [[at * 86_400_000, 1, 2, 0.5, 1.5, 10**400 if at == 19800 else 10, None] for at in (19799, 19800, 19801)]
    checked = judge_rows(frame({"X:ODDUSDT": rows, "X:BTCUSDT": rows[:1]}), "x", "ccxt:x", NOON + dt.timedelta(99))
    assert checked.rejected["reason"].to_list() == ["NAN"]
    assert checked.bars.height == 3


@pytest.mark.parametrize("status", ["451", "403", "401", "404"])
def test_a_screener_that_refuses_is_asked_once(status):
    with LocalExchange(small("2023-02-01")) as exchange:
        exchange.fail(Fault(status, times=None))
        with pytest.raises(SourceError) as caught:
            screener(exchange.url)
        assert (caught.value.code, len(exchange.log)) == ("SCREENER_REFUSED", 1)


def test_a_lake_of_nothing_is_left_behind_by_no_refusal(tmp_path):
    with LocalExchange(small("2023-02-01")) as exchange:
        exchange.fail(Fault("451", times=None))
        feed_ = source(exchange)
        with pytest.raises(SourceError):
            sync(tmp_path, exchange, feed_)
        assert Lake(tmp_path, feed_).heads() == []
