"""The archive: whole histories by checksum, in either unit of time, and nothing from a file that is not as it says."""

import datetime as dt
import hashlib
import zipfile

import polars as pl
import pytest
from exchange_server import Fault, Response
from exchange_world import UTC, VALUES, stamp
from live_world import LocalExchange, archive, codes, quiet_after, small, source, stored, sync

from assay.base.errors import SourceError
from assay.lake.lake import Lake
from assay.lake.loader import PersistentDataLoader
from assay.market.instruments import facts
from assay.ratings import rate
from assay.sources.archive import BadFile, rows, verify

ADA = "BINANCE:ADAUSDT"
FILE = "data/spot/monthly/klines/ADAUSDT/1d/ADAUSDT-1d-2023-02.zip"
ROOT = "/data/spot/monthly"


def load(home, exchange, **changes):
    return sync(home, exchange, archive(exchange, **changes))


@pytest.fixture
def exchange():
    world = small("2023-04-03", ("BTCUSDT", "ADAUSDT"))
    world.delete("ADAUSDT", "2023-03-11", "2024-01-21")  # delisted
    with LocalExchange(world) as running:
        yield running


def test_whole_histories_come_from_months_and_then_days(tmp_path, exchange):
    lake, report = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())
    assert report.findings == ()
    asked = [request.path for request in exchange.requests("/data/spot") if request.path.endswith(".zip")]
    assert len([path for path in asked if "/monthly/" in path]) == 3 + 3
    assert len([path for path in asked if "/daily/" in path]) == 3  # days of April, of Bitcoin alone
    held = lake.latest().ratings()
    assert held.equals(rate(lake.latest().bars()).sort("open_time", "symbol").select(held.columns))


@pytest.mark.parametrize("header", [pytest.param(False, marks=pytest.mark.slow), True])
def test_stamps_turn_from_milliseconds_to_microseconds(tmp_path, exchange, header):
    exchange.world.micro_from = dt.date(2023, 3, 1)
    exchange.world.header = header
    lake, _ = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())


def test_a_second_reading_asks_only_for_files_that_can_hold_something_new(tmp_path, exchange):
    load(tmp_path, exchange)
    exchange.forget()
    exchange.world.next_day()
    lake, report = load(tmp_path, exchange)
    asked = {request.path.rpartition("/")[2] for request in exchange.requests("/data/spot")}
    assert {"BTCUSDT-1d-2023-04-04.zip", "BTCUSDT-1d-2023-04-04.zip.CHECKSUM"} <= asked
    assert not any("BTCUSDT-1d-2023-01" in name for name in asked)
    assert (report.added, stored(lake).equals(exchange.world.truth())) == (1, True)


def test_the_exchange_goes_on_where_the_archive_ends(tmp_path, exchange):
    load(tmp_path, exchange)
    exchange.world.next_day()
    exchange.world.hidden.add("ADAUSDT")  # long delisted: only the archive has it
    lake, report = sync(tmp_path, exchange)
    assert (report.added, stored(lake).equals(exchange.world.truth())) == (1, True)
    early = facts(lake.latest().market(dt.datetime(2023, 2, 15, tzinfo=UTC)), [ADA])[ADA]
    late = facts(lake.latest().market(), [ADA])[ADA]
    assert (early.state, early.status, late.state) == ("KNOWN", None, "ABSENT")


def test_the_archive_adds_delisted_pairs_to_a_lake_of_the_exchange(tmp_path, exchange):
    exchange.world.hidden.add("ADAUSDT")
    lake, _ = sync(tmp_path, exchange, source(exchange))
    assert ADA not in lake.latest().bars()["symbol"].unique()
    exchange.world.hidden.clear()
    lake, _ = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())
    assert facts(lake.latest().market(dt.datetime(2023, 2, 15, tzinfo=UTC)), [ADA])[ADA].state == "KNOWN"


def test_the_loader_returns_what_the_archive_brought_and_writes_nothing_beside_the_lake(tmp_path, exchange):
    loader = PersistentDataLoader(tmp_path, archive(exchange))
    first = loader.sync()
    assert first.bars.select("symbol", "open_time", *VALUES).equals(exchange.world.truth())
    exchange.world.next_day()
    second = loader.sync()
    assert second.bars["open_time"].to_list() == [dt.datetime(2023, 4, 4, tzinfo=UTC)]
    assert loader.sync().bars.is_empty()
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]
    assert list((tmp_path / "lake").iterdir()) == [loader.lake.folder]
    assert not list(loader.lake.folder.glob("spool/*"))


def test_passing_faults_are_told(tmp_path, exchange):
    for kind in ("5xx", "reset", "429"):
        exchange.fail(Fault(kind, ROOT))
    exchange.fail(Fault("checksum", f"/{FILE}"))  # damaged on the way
    lake, report = load(tmp_path, exchange)
    assert {"RETRY_SERVER_ERROR", "RETRY_CONNECTION", "RETRY_RATE_LIMITED"} <= codes(report).keys()
    assert stored(lake).equals(exchange.world.truth())


@pytest.mark.parametrize("dated", [False, True])
def test_a_refusal_holds_all_workers_back_until_the_second_or_the_date_that_it_names(tmp_path, exchange, dated):
    exchange.fail(Fault("429", ROOT, retry_after=2, dated=dated))
    lake, report = load(tmp_path, exchange, concurrency=2)
    assert quiet_after(exchange, 429) >= 1.9
    assert codes(report)["RETRY_RATE_LIMITED"].count == 1
    assert stored(lake).equals(exchange.world.truth())


def test_an_archive_that_bans_this_address_for_long_is_left_alone(tmp_path, exchange):
    exchange.fail(Fault("418", ROOT, retry_after=7200))
    with pytest.raises(SourceError, match="banned this address for 7200 s") as caught:
        load(tmp_path, exchange)
    assert (caught.value.code, caught.value.exit_code) == ("SOURCE_BANNED", 4)


@pytest.mark.slow
def test_an_archive_that_does_not_answer_in_time_is_asked_again(tmp_path, exchange):
    exchange.fail(Fault("timeout", ROOT))
    lake, report = load(tmp_path, exchange, timeout=2.0)
    assert "RETRY_TIMEOUT" in codes(report)
    assert stored(lake).equals(exchange.world.truth())


def days_of(month):
    first = dt.date.fromisoformat(f"{month}-01")
    return [day.isoformat() for n in range(31) if (day := first + dt.timedelta(n)).month == first.month]


def check_asks_nothing(home, exchange):
    """A second reading lists, and fetches nothing."""
    exchange.forget()
    lake, report = load(home, exchange)
    assert {request.path for request in exchange.log} == {"/"}
    assert not report.changed
    return lake


def asked_files(exchange, text=""):
    return [
        request.path for request in exchange.requests("/data") if text in request.path and "CHECK" not in request.path
    ]


def test_days_that_a_month_lacks_are_asked_of_their_own_files(tmp_path, exchange):
    exchange.world.unfiled = {("monthly", day) for day in days_of("2023-02")[7:]}
    lake, report = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())
    assert codes(report).keys() == {"GAP_REPAIRED"}
    assert codes(report)["GAP_REPAIRED"].count == 2 * 21
    assert len(asked_files(exchange, "1d-2023-02-")) == 2 * 21
    assert not exchange.requests("/api")
    assert lake.latest().bars()["listing"].n_unique() == 1
    check_asks_nothing(tmp_path, exchange)


@pytest.mark.parametrize("from_day", [1, 20])
def test_days_of_a_month_that_is_no_file_are_taken_one_by_one(tmp_path, exchange, from_day):
    """And the days that have no file either are asked of the exchange, in one request for each pair."""
    exchange.world.unfiled = {("monthly", day) for day in days_of("2023-02")}
    exchange.world.unfiled |= {("daily", day) for day in days_of("2023-02")[: from_day - 1]}
    lake, report = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())
    assert len(asked_files(exchange, "1d-2023-02-")) == 2 * (29 - from_day)
    assert len(exchange.requests("/api/v3/klines")) == (0 if from_day == 1 else 2)
    assert report.cost["weight"] == 2 * len(exchange.requests("/api"))
    check_asks_nothing(tmp_path, exchange)


def test_a_day_that_no_file_has_comes_from_the_exchange(tmp_path, exchange):
    lost = {"2023-01-17", "2023-02-09", "2023-02-10"}
    exchange.world.unfiled = {(kind, day) for kind in ("monthly", "daily") for day in lost}
    lake, report = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())
    assert codes(report)["GAP_REPAIRED"].count == 2 * 3
    assert [request.query["symbol"] for request in exchange.requests("/api")] == ["ADAUSDT", "BTCUSDT"]
    check_asks_nothing(tmp_path, exchange)


def test_a_day_that_is_nowhere_is_remembered_until_a_file_of_it_changes(tmp_path, exchange):
    whole = dict(exchange.world.rows["ADAUSDT"])
    exchange.world.delete("ADAUSDT", "2023-02-09", "2023-02-10")
    lake, report = load(tmp_path, exchange)
    assert (codes(report)["GAPS"].count, codes(report)["GAPS"].names) == (2, [ADA])
    assert len(exchange.requests("/api")) == 1
    check_asks_nothing(tmp_path, exchange)
    exchange.world.rows["ADAUSDT"] = whole
    exchange.world.delete("ADAUSDT", "2023-02-10", "2023-02-10")
    exchange.forget()
    lake, report = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())
    assert asked_files(exchange) == [f"/{FILE}"]
    check_asks_nothing(tmp_path, exchange)


def test_a_pair_that_begins_or_ends_within_a_month_is_whole(tmp_path, exchange):
    exchange.world.delete("BTCUSDT", "2023-01-01", "2023-01-19")
    load(tmp_path, exchange)
    assert not exchange.requests("/api")
    check_asks_nothing(tmp_path, exchange)


def test_a_row_that_cannot_be_right_is_asked_of_the_days_own_file_and_of_the_exchange(tmp_path, exchange):
    wrong = exchange.world.rows["ADAUSDT"][stamp("2023-02-09")]
    right = list(wrong)
    wrong[2] = "0.00000001"  # the high
    exchange.world.unfiled = {("daily", "2023-02-09")}
    load(tmp_path / "refused", exchange)
    assert len(exchange.requests("/api")) == 1
    check_asks_nothing(tmp_path / "refused", exchange)
    (api,) = [route for route in exchange._routes if route[1] == "/api/v3/klines"]
    exchange._routes.insert(0, (*api[:2], lambda _: Response.json([right]), 2))
    lake, report = load(tmp_path / "mended", exchange)
    assert codes(report).keys() == {"GAP_REPAIRED", "QUARANTINE_INCONSISTENT_OHLC"}
    assert stored(lake).filter(symbol=ADA)["high"][39] == float(right[2])


@pytest.mark.parametrize("status", ["451", "403", "418", "5xx"])
def test_an_exchange_that_cannot_be_asked_for_holes_ends_nothing_and_is_asked_the_next_time(tmp_path, exchange, status):
    exchange.world.unfiled = {(kind, "2023-02-09") for kind in ("monthly", "daily")}
    exchange.fail(Fault(status, "/api", times=None, retry_after=7200))
    lake, report = load(tmp_path, exchange)
    assert codes(report)["HOLES_UNASKED"].count == 2
    assert stored(lake).height == exchange.world.truth().height - 2
    exchange.heal()
    lake, report = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())
    check_asks_nothing(tmp_path, exchange)


@pytest.mark.parametrize("status", ["400", "403"])
def test_a_file_that_is_refused_costs_itself_and_several_in_a_row_end_it(tmp_path, exchange, status):
    exchange.fail(Fault(status, f"/{FILE}", times=None))
    lake, report = load(tmp_path / "one", exchange)
    assert codes(report)["FILE_FAILED"].names == [FILE]
    assert stored(lake).equals(exchange.world.truth())
    exchange.fail(Fault(status, "/data/spot", times=None))
    with pytest.raises(SourceError) as caught:
        load(tmp_path / "all", exchange)
    assert caught.value.code == "SOURCE_REFUSED"


def test_a_listing_that_is_not_there_costs_its_pair(tmp_path, exchange):
    [(method, path, handler, weight)] = [route for route in exchange._routes if route[1] == "/"]

    def listing(request):
        lost = "ADAUSDT" in request.query["prefix"]
        return Response(b"<Error/>", 404, content_type="application/xml") if lost else handler(request)

    exchange._routes.insert(0, (method, path, listing, weight))
    lake, report = load(tmp_path, exchange)
    assert codes(report)["SYMBOL_FAILED"].names == [ADA]
    assert stored(lake).equals(exchange.world.truth("BTCUSDT"))
    exchange._routes.insert(0, (method, path, lambda _: Response(b"<Error/>", 404), weight))
    with pytest.raises(SourceError, match="cannot be listed") as caught:
        load(tmp_path, exchange)
    assert (caught.value.code, caught.value.exit_code) == ("SOURCE_UNREACHABLE", 4)


def test_files_that_are_listed_and_not_there_cost_themselves(tmp_path, exchange):
    for month in ("01", "02", "03"):
        exchange.fail(Fault("lost_zip", f"/{FILE.replace('2023-02', f'2023-{month}')}", times=None))
    lake, report = load(tmp_path, exchange)
    assert len(codes(report)["FILE_FAILED"].names) == 3
    assert stored(lake).equals(exchange.world.truth())


def test_a_month_whose_checksum_never_fits_is_a_finding_and_its_days_come_from_elsewhere(tmp_path, exchange):
    exchange.world.unfiled = {("daily", "2023-02-09")}
    exchange.fail(Fault("checksum", f"/{FILE}", times=None))
    lake, report = load(tmp_path, exchange)
    assert codes(report)["CHECKSUM"].names == [FILE]
    assert stored(lake).equals(exchange.world.truth())
    assert len(exchange.requests("/api")) == 1
    check_asks_nothing(tmp_path, exchange)


def test_nothing_of_a_file_whose_checksum_never_fits_is_stored(tmp_path, exchange):
    exchange.world.unfiled = {("daily", day) for day in days_of("2023-02")}
    exchange.fail(Fault("checksum", f"/{FILE}", times=None))
    exchange.fail(Fault("451", "/api", times=None))
    lake, _ = load(tmp_path, exchange)
    may = (pl.col("symbol") == ADA) & (pl.col("open_time").dt.strftime("%Y-%m") == "2023-02")
    assert stored(lake).equals(exchange.world.truth().filter(~may))
    exchange.heal()
    lake, _ = load(tmp_path, exchange)
    assert stored(lake).equals(exchange.world.truth())


@pytest.mark.parametrize("kind", [pytest.param("bomb", marks=pytest.mark.slow), "member", "two", "not_zip"])
def test_what_is_no_such_zip_is_a_finding_and_nothing_is_stored(tmp_path, exchange, kind):
    exchange.world.spoilt[FILE.rpartition("/")[2]] = kind
    _lake, report = load(tmp_path, exchange)
    assert codes(report)["ARCHIVE_FILE"].names == [FILE]


def test_a_file_without_a_checksum_is_not_stored(tmp_path, exchange):
    exchange.fail(Fault("lost", f"/{FILE}.CHECKSUM", times=None))
    _lake, report = load(tmp_path, exchange)
    assert codes(report)["CHECKSUM_MISSING"].names == [FILE]


def test_an_archive_that_cannot_be_reached_is_exit_code_4(tmp_path, exchange):
    exchange.fail(Fault("5xx", times=None))
    with pytest.raises(SourceError) as caught:
        load(tmp_path, exchange)
    assert (caught.value.code, caught.value.exit_code) == ("SOURCE_UNREACHABLE", 4)
    exchange.heal()
    exchange.fail(Fault("5xx", "/data/spot", times=None))
    with pytest.raises(SourceError, match="cannot be reached"):
        load(tmp_path, exchange)
    exchange.heal()
    exchange.fail(Fault("lost", "/data/spot", times=None))
    with pytest.raises(SourceError) as caught:
        load(tmp_path, exchange)
    assert caught.value.code == "ARCHIVE_EMPTY"
    assert Lake(tmp_path, archive(exchange)).heads() == []


def test_rows_of_a_real_line():
    """A line of BTCUSDT-1d-2025-01.zip as the exchange documents it: microseconds."""
    import io

    line = (
        "1735689600000000,93576.00000000,95151.15000000,92888.00000000,94591.79000000,10373.32613000,1735775999999999,"
        "975444950.86250980,1862253,5184.20501000,487551166.77510170,0\n"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("BTCUSDT-1d-2025-01.csv", line)
    [row] = rows(buffer.getvalue(), "BTCUSDT-1d-2025-01.zip")
    assert row == [
        1735689600000,
        "93576.00000000",
        "95151.15000000",
        "92888.00000000",
        "94591.79000000",
        "10373.32613000",
        "975444950.86250980",
    ]
    with pytest.raises(BadFile, match="is no kline"):
        rows(_zipped("a,b,c\n1,2,3\n"), "x.zip")
    with pytest.raises(BadFile, match="no number"):
        rows(_zipped(line.replace("93576.00000000", "x")), "x.zip")


def _zipped(text):
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("x.csv", text)
    return buffer.getvalue()


def test_a_checksum_file_must_name_its_file():
    digest = hashlib.sha256(b"x").hexdigest().encode()
    verify(b"x", digest + b"  a.zip\n", "a.zip")
    for wrong in (digest + b"  b.zip\n", b"", b"<html>", b"0" * 64 + b"  a.zip"):
        with pytest.raises(BadFile):
            verify(b"x", wrong, "a.zip")
