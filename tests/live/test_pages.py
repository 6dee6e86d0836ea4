"""A first load is complete in one go, whatever a page of an exchange holds, and ends whatever it answers."""

import datetime as dt

import polars as pl
import pytest
from exchange_server import Response
from exchange_world import DAY_MS, UTC
from live_world import LocalExchange, World, codes, source, stored, sync

from assay.base.errors import SourceError
from assay.sources import clients

BTC, YOUNG = "BTCUSDT", "ETHUSDT"
DAYS = 1299
PATH = "/pages/klines"


def world():
    """1,299 days of Bitcoin and 150 of a young coin; the first load wants 1,000."""
    first = dt.datetime(2020, 1, 1, tzinfo=UTC)
    tables = [
        pl.DataFrame(
            {
                "symbol": f"BINANCE:{name}",
                "timestamp": [first + dt.timedelta(days=n) for n in range(begin, DAYS)],
                **{column: [100.0 + n % 7 for n in range(begin, DAYS)] for column in ("open", "high", "low", "close")},
                "volume": 5.0,
            }
        )
        for name, begin in ((BTC, 0), (YOUNG, DAYS - 150))
    ]
    return World.of(pl.concat(tables))


def exact(own, since, limit):
    """The first bars from an instant on."""
    return [row for at, row in own if at >= since][:limit]


def window(own, since, limit):
    """The bars of so many days, perhaps none."""
    return [row for at, row in own if since <= at < since + limit * DAY_MS]


def newest(own, since, limit, until):
    """The last bars of a span."""
    return [row for at, row in own if since <= at <= until][-limit:]


def serve(exchange, answer, most, deaf=False):
    """Let the exchange of ccxt answer klines by a function of (bars, since, limit, until); deaf, it hears no limit."""

    def klines(request):
        own = sorted(exchange.world.rows[request.query["symbol"]].items())
        own = [(at, row) for at, row in own if at < exchange.world.now]
        since, limit = int(request.query["startTime"]), int(request.query["limit"])
        page = most if deaf else min(most, limit)
        return Response.json(answer(own, since, page, since + limit * DAY_MS - 1))

    exchange._routes.insert(0, ("GET", "/api/v3/klines", klines, 0))


def load(tmp_path, exchange):
    lake, report = sync(tmp_path, exchange, source(exchange, "binanceus"))
    return stored(lake).drop("quote_volume"), report


def truth(exchange, since=299):
    table = (
        exchange.world.truth().drop("quote_volume").with_columns(pl.col("symbol").str.replace("BINANCE", "BINANCEUS"))
    )
    return table.filter(pl.col("open_time") >= dt.datetime(2020, 1, 1, tzinfo=UTC) + dt.timedelta(days=since))


@pytest.fixture
def exchange():
    with LocalExchange(world()) as running:
        yield running


@pytest.mark.parametrize("most", [100, 200, 300, 500, 1000])
@pytest.mark.parametrize("way", [exact, window])
def test_a_first_load_is_complete_in_one_go(tmp_path, exchange, most, way):
    serve(exchange, lambda own, since, limit, _: way(own, since, limit), most)
    held, report = load(tmp_path, exchange)
    assert held.equals(truth(exchange))
    assert report.findings == ()
    asked = [request for request in exchange.requests("/api/v3/klines") if request.query["symbol"] == BTC]
    assert len(asked) <= -(-1000 // most) + 1
    exchange.forget()
    assert not load(tmp_path, exchange)[1].changed
    assert not exchange.requests("/api/v3/klines")


@pytest.mark.parametrize("most", [100, 200, 300, 500])
@pytest.mark.parametrize("way", [exact, window])
def test_an_exchange_that_ignores_the_limit_gives_its_own_page_and_all_comes(tmp_path, exchange, most, way):
    """Its page may be longer than what is left to ask for: no bar beyond it, and no bar of today."""
    exchange.world.at("2023-07-20")  # the bar of the 21st is forming, and there is one of the 22nd
    serve(exchange, lambda own, since, limit, _: way(own, since, limit), most, deaf=True)
    held, report = load(tmp_path, exchange)
    assert held.equals(truth(exchange, 297))
    assert report.findings == ()
    exchange.world.at("2023-07-22")
    exchange.forget()
    held, report = load(tmp_path, exchange)
    assert held.equals(truth(exchange, 297))
    assert len(exchange.requests("/api/v3/klines")) <= 4


@pytest.mark.parametrize("most", [100, 300, 1300])
@pytest.mark.parametrize("keep", ["last", "first"])
def test_an_exchange_that_ignores_since_gives_one_end_of_its_history_and_the_load_ends(tmp_path, exchange, most, keep):
    def answer(own, _since, limit, _until):
        rows = [row for _, row in own]
        return rows[-limit:] if keep == "last" else rows[:limit]

    serve(exchange, answer, most, deaf=True)
    if keep == "first" and most < 1000:  # nothing of the last thousand days: nothing is invented
        lake, report = sync(tmp_path, exchange, source(exchange, "binanceus"))
        assert {name for name, finding in codes(report).items() if finding.names} <= {"BARS_LATE", "HISTORY_CUT"}
        held = stored(lake).drop("quote_volume")
        assert held.equals(truth(exchange).join(held, on=["symbol", "open_time"], how="semi"))
    else:
        held, report = load(tmp_path, exchange)
        wanted = truth(exchange, max(299, DAYS - most))
        assert held.equals(wanted)
        assert report.findings == ()
    assert len(exchange.requests("/api/v3/klines")) < 50


@pytest.mark.parametrize("most", [100, 200, 300, 500])
def test_an_exchange_that_answers_with_the_last_bars_of_a_span_is_asked_for_those_before(tmp_path, exchange, most):
    serve(exchange, newest, most)
    held, report = load(tmp_path, exchange)
    assert held.equals(truth(exchange))
    assert report.findings == ()


def test_an_exchange_that_ignores_since_gives_what_it_has(tmp_path, exchange):
    serve(exchange, lambda own, _since, limit, _until: [row for _, row in own][-limit:], 300)
    held, _ = load(tmp_path, exchange)
    assert held.equals(truth(exchange, DAYS - 300))
    assert len(exchange.requests("/api/v3/klines")) <= 8


def test_an_exchange_that_repeats_its_first_page_for_ever_ends(tmp_path, exchange):
    first = 299 + 200
    serve(exchange, lambda own, _since, _limit, _until: [row for _, row in own][first - 100 : first], 100)
    held, report = load(tmp_path, exchange)
    assert held.equals(
        truth(exchange).filter(symbol="BINANCEUS:BTCUSDT", open_time=pl.col("open_time")).slice(100, 100)
    )
    assert "BARS_LATE" in codes(report)
    assert len(exchange.requests("/api/v3/klines")) < 50


@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("way", [exact, window])
def test_an_empty_page_in_the_middle_of_a_listings_life_is_no_end(tmp_path, exchange, times, way):
    empty = []

    def answer(own, since, limit, _until):
        begun = since - own[0][0] if len(own) > 500 else 0
        if 590 * DAY_MS <= begun < 650 * DAY_MS and (times is None or len(empty) < times):
            empty.append(since)
            return []
        return way(own, since, limit)

    serve(exchange, answer, 100)
    held, report = load(tmp_path, exchange)
    assert empty
    lost = truth(exchange).join(held, on=["symbol", "open_time"], how="anti")
    assert lost.height == (0 if times == 1 else 100)
    assert ("GAP_REPAIRED" if times == 1 else "LISTING_RESTARTED") in codes(report)


def test_pages_are_those_that_the_exchange_says(tmp_path, exchange, monkeypatch):
    """OKX gives 300 at most and refuses to be asked for more."""
    made = clients.Unified.__init__

    def init(self, *arguments):
        made(self, *arguments)
        self.client.features["spot"]["fetchOHLCV"]["limit"] = 300

    monkeypatch.setattr(clients.Unified, "__init__", init)
    serve(exchange, lambda own, since, limit, _until: exact(own, since, limit), 300)
    held, _ = load(tmp_path, exchange)
    assert held.equals(truth(exchange))
    assert max(int(request.query["limit"]) for request in exchange.requests("/api/v3/klines")) == 300


def test_days_that_begin_elsewhere_are_said_to(tmp_path, exchange):
    moved = 8 * 3_600_000
    serve(
        exchange, lambda own, since, limit, _: [[at - moved, *row[1:]] for at, row in own if at >= since][:limit], 300
    )
    with pytest.raises(SourceError, match="days begin at 16:00:00 UTC") as caught:
        load(tmp_path, exchange)
    assert (caught.value.code, caught.value.exit_code) == ("SOURCE_DAYS", 4)
    assert "file" not in caught.value.hint
