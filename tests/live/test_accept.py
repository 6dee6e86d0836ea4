"""What was refused by name is taken where the user says that it is so: for one state, in one call, on record."""

import datetime as dt
import re

import pytest
from exchange_world import Pair
from live_world import LocalExchange, codes, small, sync
from local_exchange import LocalExchange as Screened
from today import world_of_today
from typer.testing import CliRunner

from assay.base.domain import UTC
from assay.base.errors import SourceError, UsageError
from assay.cli import app, lakes
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.lake.loader import refresh
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.report.doctor import examine, examine_home
from assay.runs.home import Home
from assay.runs.ledger import read_ledger
from assay.settings import load
from assay.sources.acceptance import ACCEPTABLE, Acceptance

PROFILE = "binance_spot_rating_all_long"
LINE = re.compile(r"assay ingest --source (\S+) --accept ([A-Z_]+:[0-9a-f]{16}) --because TEXT")


def offered(error):
    """What the refusal's line to type accepts."""
    assert error.code in ACCEPTABLE
    told = LINE.search(error.hint)
    assert told is not None, error.hint
    assert told[2].startswith(error.code)
    return told[2]


def refused(work):
    with pytest.raises(SourceError) as caught:
        work()
    return offered(caught.value)


def gone_at_once(world, names):
    for name in names:
        world.add(Pair(name, "USDT"), "ADAUSDT", "2023-06-01")
    return {f"{name}USDT" for name in names}


def test_an_exchange_that_lists_less_is_taken_as_it_is_where_the_user_says_so(tmp_path):
    world = small()
    old = gone_at_once(world, [f"OLD{i}" for i in range(12)])
    with LocalExchange(world) as exchange:
        lake, _ = sync(tmp_path, exchange)
        before = lake.latest_head()
        world.hidden |= old
        world.next_day()
        wanted = refused(lambda: sync(tmp_path, exchange))
        assert lake.latest_head() == before
        assert refused(lambda: refresh(lake)) == wanted  # the same state has the same digest
        world.hidden -= {"OLD0USDT"}
        accept = Acceptance.asked([wanted], "a cleaning, announced")
        other = refused(lambda: ingest(lake, accept=accept))  # another answer, another digest
        assert other != wanted
        assert lake.latest_head() == before
        taken = Acceptance.asked([other], "a cleaning, announced")
        report = ingest(lake, accept=taken)
        assert codes(report)["INSTRUMENTS_SHRUNK"].count == 11
        [note] = lake.latest_head().accepted
        assert (f"{note.code}:{note.digest}", note.because) == (other, "a cleaning, announced")
        assert (taken.unused, accept.unused) == ([], [wanted])
        told = {issue.code: issue for issue in examine(lake.folder, lake.latest().last_close()).issues}
        assert (told["ACCEPTED"].severity, "a cleaning, announced" in told["ACCEPTED"].what) == ("NOTE", True)
        world.next_day()
        sync(tmp_path, exchange)
        assert lake.latest_head().accepted == [note]  # history keeps it, and it is in force no more
        assert "ACCEPTED" not in {issue.code for issue in examine(lake.folder, lake.latest().last_close()).issues}


def test_facts_alone_can_be_accepted_too(tmp_path):
    world = small()
    old = gone_at_once(world, [f"OLD{i}" for i in range(12)])
    with LocalExchange(world) as exchange:
        lake, _ = sync(tmp_path, exchange)
        world.hidden |= old
        wanted = refused(lambda: refresh(lake))
        assert refresh(lake, Acceptance.asked([wanted], "so it is")).changed
        assert [f"{one.code}:{one.digest}" for one in lake.latest_head().accepted] == [wanted]


@pytest.fixture
def screened(monkeypatch, tmp_path):
    with Screened(world_of_today(5, days=300)) as made:
        monkeypatch.setenv("ASSAY_BINANCE_URL", made.url)
        yield made, Home(tmp_path / "home")


def asking(exchange, *more):
    quick = ("attempts=2", "backoff=0.01", "per_second=200")
    settings = [f"scan.screener.address={exchange.url}", *(f"scan.screener.{one}" for one in quick)]
    return load(settings=[*settings, "scan.provider=tradingview", "universe.min_bars=200", "data.floor=200", *more])


def test_a_screener_that_finds_nobody_is_believed_where_the_user_says_so(screened, capsys):
    exchange, home = screened
    settings = asking(exchange)
    assert lakes.ingest_once(home, settings, "binance", True, False) == 0
    first = lay_foundation(home, settings, "binance")
    exchange.screen = {}
    assert lakes.ingest_once(home, settings, "binance", True, False) == 4
    wanted = LINE.search(capsys.readouterr().err)[2]
    lake = Lake(home.path, "binance")
    assert lay_foundation(home, settings, "binance").superset.candidates == first.superset.candidates

    wrong = Acceptance.asked([f"SCREENER_IMPLAUSIBLE:{'0' * 16}"], "so it is")
    assert lakes.ingest_once(home, settings, "binance", False, False, wrong) == 4
    assert lake.latest_head().accepted == []
    taken = Acceptance.asked([wanted], "the market is flat")
    assert lakes.ingest_once(home, settings, "binance", False, False, taken) == 0
    assert f"accepted {wanted}: it has none of the" in capsys.readouterr().err
    foundation = lay_foundation(home, settings, "binance")
    assert (foundation.superset.provider, foundation.superset.candidates) == ("tradingview", [])
    [request] = requests(home, settings, foundation, [PROFILE])
    execute(request, steps=STEPS[:2])
    [event] = [e.body for e in read_ledger(request.run / "audit.jsonl") if e.body.get("code") == "ACCEPTED"]
    assert (event["step"], event["values"]["because"]) == (1, "the market is flat")
    [found] = examine_home(home, "binance", dt.datetime.now(UTC)).lakes
    said = {issue.code for issue in found.issues}
    assert "ACCEPTED" in said
    assert "SCREENER_IMPLAUSIBLE" not in said
    shown = CliRunner().invoke(app, ["status", "--home", str(home.path)]).stdout
    assert "SCREENER_IMPLAUSIBLE of" in shown
    assert "is accepted (the market is flat)" in shown


def test_a_run_accepts_it_as_well_and_one_by_our_own_ratings_does_not_rest_on_it(screened):
    exchange, home = screened
    settings = asking(exchange)
    exchange.screen = {}
    assert lakes.ingest_once(home, settings, "binance", True, False) == 4
    wanted = refused(lambda: lay_foundation(home, settings, "binance"))
    taken = Acceptance.asked([wanted], "the market is flat")
    foundation = lay_foundation(home, settings, "binance", accept=taken)
    assert foundation.superset.candidates == []
    assert foundation.snapshot.record.accepted[0].because == "the market is flat"
    ours = asking(exchange, "scan.provider=ratings")
    [request] = requests(home, ours, lay_foundation(home, ours, "binance"), [PROFILE])
    execute(request, steps=STEPS[:1])
    assert "ACCEPTED" not in {entry.body.get("code") for entry in read_ledger(request.run / "audit.jsonl")}


@pytest.mark.parametrize(
    ("wanted", "because", "says"),
    [
        (["SCREENER_IMPLAUSIBLE:0123456789abcdef"], None, "needs a reason"),
        (["SCREENER_IMPLAUSIBLE:0123456789abcdef"], "  ", "needs a reason"),
        ([], "so it is", "says why"),
        (["SCREENER_IMPLAUSIBLE"], "so it is", "no digest"),
        (["SCREENER_IMPLAUSIBLE:xyz"], "so it is", "no digest"),
        (["SYNC_EMPTY:0123456789abcdef"], "so it is", "cannot be accepted"),
        (["RULES_NOT_SPOT:0123456789abcdef"], "so it is", "never accepted"),
    ],
)
def test_what_cannot_be_accepted_is_a_fault_of_usage(wanted, because, says):
    with pytest.raises(UsageError, match=says):
        Acceptance.asked(wanted, because)


def test_a_schedule_and_a_resumed_run_accept_nothing_and_the_environment_says_nothing(tmp_path, monkeypatch):
    line = ["--accept", "INSTRUMENTS_SHRUNK:0123456789abcdef", "--because", "so it is", "--home", str(tmp_path)]
    done = CliRunner().invoke(app, ["ingest", "--source", "binance", "--every", "day", *line])
    assert (done.exit_code, "--every makes many" in done.stderr) == (2, True)
    done = CliRunner().invoke(app, ["run", PROFILE, "--resume", "--run-id", "x", *line])
    assert (done.exit_code, "resumed run" in done.stderr) == (2, True)
    for name in ("ASSAY_ACCEPT", "ASSAY_SET__accept", "ACCEPT"):
        monkeypatch.setenv(name, line[1])
    assert Acceptance.asked([], None) == Acceptance()
