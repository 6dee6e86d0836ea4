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


def serve(exchange, answer, most):
    """Let the exchange of ccxt answer klines by a function of (bars, since, limit, until)."""

    def klines(request):
        own = sorted(exchange.world.rows[request.query["symbol"]].items())
        own = [(at, row) for at, row in own if at < exchange.world.now]
        since, limit = int(request.query["startTime"]), int(request.query["limit"])
        return Response.json(answer(own, since, min(most, limit), since + limit * DAY_MS - 1))

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


@pytest.mark.parametrize("most", [100, 300])
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
