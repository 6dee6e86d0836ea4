"""Phase 1 in its order: scan, bars, audits, ratings, superset; with a source missing, and facts alone."""

import datetime as dt
import json

import pytest
from local_exchange import Fault, LocalExchange
from screener_rows import book, pair
from today import world_of_today

from assay.base import files
from assay.base.domain import UTC
from assay.base.errors import DataError, SourceError, UsageError
from assay.cli import lakes
from assay.cli.schedule import _did, _work
from assay.lake.lake import Lake
from assay.lake.loader import refresh
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.ingestion import bring_up
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.report.doctor import examine_home
from assay.runs.artifacts import RAW
from assay.runs.home import Home
from assay.runs.ledger import read_ledger
from assay.runs.request import Request
from assay.settings import load

SCREENER = {
    "5xx": "SCREENER_FAILING",
    "nonjson": "SCREENER_CONTENT",
    "columns": "SCREENER_COLUMNS",
    "truncated": "SCREENER_MALFORMED",
}
PROFILE = "binance_spot_rating_all_long"


@pytest.fixture
def exchange(monkeypatch):
    with LocalExchange(world_of_today(5, days=300)) as made:
        monkeypatch.setenv("ASSAY_BINANCE_URL", made.url)
        monkeypatch.setenv("ASSAY_LIVE__ATTEMPTS", "2")
        monkeypatch.setenv("ASSAY_LIVE__BACKOFF", "0.01")
        yield made


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def catalog(exchange, *settings):
    quick = ("attempts=2", "backoff=0.01", "per_second=200")
    asked = [f"scan.screener.address={exchange.url}", *(f"scan.screener.{setting}" for setting in quick)]
    return load(settings=[*asked, *settings])


def up(home, settings, scan=True):
    return bring_up(home, settings, "binance", scan=scan)


def test_everything_in_order(exchange, home):
    stages = []

    def tell(stage, done, _total):
        if done == 0:
            stages.append(stage)

    phase = bring_up(home, catalog(exchange), "binance", scan=True, progress=tell)
    assert list(dict.fromkeys(stages)) == ["scan", "read", "fetch", "compare", "ratings", "write"]
    assert phase.scan_error is None
    assert {answer.scanner for answer in phase.scan.answers} == set(load().scanners())
    assert phase.reconciliation.differences == ()
    assert phase.reconciliation.compared == phase.reconciliation.equal > 0
    assert (phase.superset.provider, phase.superset.invalid_records, phase.missing) == ("ratings", [], [])
    lake = phase.lake.latest()
    assert lake.head == phase.bars.head == 2  # bars, then the scan: the first state of a lake is one with bars
    assert lake.candidates().filter(lake.candidates()["rank"] == 0).height == 4

    exchange.forget()
    again = up(home, catalog(exchange))
    assert (again.bars.changed, again.bars.added, again.bars.head) == (False, 0, 3)
    assert not exchange.requests("/api/v3/klines")


def test_the_audit_names_candidates_that_the_exchange_does_not_have(exchange, home):
    up(home, catalog(exchange))
    exchange.screen = book(pair("BTC", rating=0.4), pair("GHOST", rating=0.3), pair("OLD", rating=0.2))
    settings = catalog(exchange, "scan.provider=tradingview")
    phase = up(home, settings, scan=True)
    assert phase.superset.provider == "tradingview"
    assert [drop.name for drop in phase.missing] == ["BINANCE:GHOSTUSDT", "BINANCE:OLDUSDT"]
    assert {drop.reason for drop in phase.missing} == {"NO_SUCH_PAIR"}
    assert phase.reconciliation.alone == ("BINANCE:GHOSTUSDT", "BINANCE:OLDUSDT")


@pytest.mark.parametrize(
    "kind", ["columns", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("5xx", "nonjson", "truncated"))]
)
def test_a_screener_that_fails_keeps_no_bar_away(exchange, home, kind, capsys):
    exchange.fail(Fault(kind, path="/crypto", times=None))
    assert lakes.ingest_once(home, catalog(exchange), "binance", True, False) == 4
    told = capsys.readouterr()
    assert f"error: {SCREENER[kind]}" in told.err
    assert "unique atoms" in told.out
    lake = Lake(home.path, "binance").latest()
    assert lake.bars()["symbol"].n_unique() == 5
    assert lake.candidates() is None
    assert lakes.ingest_once(home, catalog(exchange, "scan.fallback=true"), "binance", True, False) == 0


def test_without_the_screener_and_without_leave_there_is_no_superset(exchange, home, capsys):
    exchange.fail(Fault("5xx", path="/crypto", times=None))
    settings = catalog(exchange, "scan.provider=tradingview")
    assert lakes.ingest_once(home, settings, "binance", True, False) == 4
    assert "unique atoms" not in capsys.readouterr().out
    with pytest.raises(SourceError) as caught:
        lay_foundation(home, settings, "binance")
    assert caught.value.code == "SCREENER_FAILING"


def test_a_fallback_is_in_the_superset_and_in_the_ledger_of_the_run(exchange, home):
    up(home, catalog(exchange), scan=False)
    exchange.fail(Fault("5xx", path="/crypto", times=None))
    settings = catalog(
        exchange, "scan.provider=tradingview", "scan.fallback=true", "universe.min_bars=200", "data.floor=200"
    )
    foundation = lay_foundation(home, settings, "binance")
    superset = foundation.superset
    assert (superset.provider, superset.asked) == ("ratings", "tradingview")
    assert "SCREENER_FAILING" in superset.fallback
    [request] = requests(home, settings, foundation, [PROFILE])
    execute(request, steps=STEPS[:2])
    [fallback] = [entry for entry in read_ledger(request.run / "audit.jsonl") if entry.kind == "fallback"]
    assert (fallback.body["step"], fallback.body["code"]) == (2, "SCAN_FALLBACK")
    assert fallback.body["what"] == superset.fallback
    assert f'"fallback": "{superset.fallback}"' in (request.run / RAW).read_text()
    assert Request.of(home.path, request.run).provider == "ratings"


def test_nobody_at_all_is_no_answer_and_the_earlier_one_stays_in_force(exchange, home, capsys):
    settings = catalog(exchange, "scan.provider=tradingview")
    first = up(home, settings)
    exchange.screen = {}
    assert lakes.ingest_once(home, settings, "binance", True, False) == 4
    told = capsys.readouterr()
    assert "error: SCREENER_IMPLAUSIBLE" in told.err
    assert f"unique atoms: {first.superset.unique_atoms}" in told.out
    assert lay_foundation(home, settings, "binance").superset.candidates == first.superset.candidates
    [lake] = examine_home(home, "binance", dt.datetime.now(UTC)).lakes
    [issue] = [issue for issue in lake.issues if issue.code.startswith("SCREENER")]
    assert (issue.severity, issue.code) == ("ACTION", "SCREENER_IMPLAUSIBLE")
    assert "stays in force" in issue.what
    assert lake.agreements[-1].scanned_at == first.scan.scanned_at


def test_nobody_at_all_in_the_first_scan_of_a_lake_is_refused_beside_its_first_bars(exchange, home, capsys):
    exchange.screen = {}
    assert lakes.ingest_once(home, catalog(exchange, "scan.provider=tradingview"), "binance", True, False) == 4
    assert "unique atoms" not in capsys.readouterr().out
    settings = catalog(exchange, "scan.provider=tradingview", "scan.fallback=true")
    assert lakes.ingest_once(home, settings, "binance", True, False) == 0
    assert "fallback: the screener gave no answer, our own ratings did: SCREENER_IMPLAUSIBLE" in capsys.readouterr().out


def test_the_screeners_superset_is_derived_again_from_its_recorded_scan(exchange, home):
    up(home, catalog(exchange), scan=False)
    settings = catalog(exchange, "scan.provider=tradingview", "universe.min_bars=200", "data.floor=200")
    foundation = lay_foundation(home, settings, "binance")
    assert foundation.superset.provider == "tradingview"
    honest = foundation.path.read_bytes()

    def told():
        [request] = requests(home, settings, foundation, [PROFILE])
        return execute(request, steps=STEPS[:2]).error

    assert told() is None
    value = json.loads(honest)
    value["candidates"][0]["fields"]["close"] *= 2
    files.write_json(foundation.path, value)
    assert told()["code"] == "SUPERSET_DIFFERS"
    value["provider"] = value["asked"] = "ratings"
    files.write_json(foundation.path, value)
    assert told()["code"] == "SUPERSET_DIFFERS"


def test_without_a_network_nothing_is_touched(exchange, home, monkeypatch):
    up(home, catalog(exchange))
    heads = (home.lake / Lake(home.path, "binance").folder.name / "heads.jsonl").read_bytes()
    monkeypatch.setenv("ASSAY_BINANCE_URL", "http://127.0.0.1:9")
    away = load(settings=["scan.screener.address=http://127.0.0.1:9", "scan.screener.attempts=1"])
    for work in (lambda: up(home, away), lambda: lakes.refresh_facts(home, away, "binance", False)):
        with pytest.raises(SourceError) as caught:
            work()
        assert caught.value.code == "SOURCE_UNREACHABLE"
    assert (Lake(home.path, "binance").folder / "heads.jsonl").read_bytes() == heads


def test_facts_alone(exchange, home, capsys):
    with pytest.raises(DataError, match="empty"):
        refresh(Lake(home.path, "binance"))
    up(home, catalog(exchange), scan=False)
    lake = Lake(home.path, "binance")
    assert not refresh(lake).changed
    exchange.world.pairs["ETHUSDT"].status = "HALT"
    exchange.forget()
    assert lakes.refresh_facts(home, catalog(exchange), "binance", False) == 0
    told = capsys.readouterr().out
    assert "finding PAIR_STATUS" in told
    assert "BINANCE:ETHUSDT" in told
    assert "unique atoms: " in told
    assert "invalid records: 0" in told
    assert not exchange.requests("/api/v3/klines")
    table = lake.latest().instruments()
    eth = table.filter(table["symbol"] == "BINANCE:ETHUSDT").sort("valid_from")
    assert eth["status"].to_list()[-2:] == ["TRADING", "HALT"]
    with pytest.raises(UsageError, match="instruments"):
        refresh(Lake(home.path, "sample"))


def test_runs_do_not_ask_the_exchange_and_say_when_nothing_was_ingested(exchange, home):
    with pytest.raises(DataError, match="assay ingest --source binance"):
        lay_foundation(home, load(), "binance")
    up(home, catalog(exchange), scan=False)
    exchange.forget()
    lay_foundation(home, load(), "binance")
    assert exchange.log == []


def test_a_scan_of_a_file_is_refused(home):
    with pytest.raises(UsageError, match="no live source"):
        bring_up(home, load(), "sample", scan=True)


def test_a_round_of_the_schedule_tells_what_it_did(exchange, home):
    settings = catalog(exchange)
    first = _work(home, settings, "binance", True, lambda: None)
    assert first["added"] > 1000
    assert first["invalid"] == 0
    assert first["compared"] == first["agree"]
    exchange.fail(Fault("5xx", path="/crypto", times=None))
    second = _work(home, settings, "binance", True, lambda: None)
    assert (second["outcome"], second["code"], second["added"]) == ("failed", "SCREENER_FAILING", 0)
    assert "outcome" not in _did(up(home, settings), True)
