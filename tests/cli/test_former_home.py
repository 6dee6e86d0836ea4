"""A home of the first version goes through every command: what can be shown is shown, what cannot be judged says so."""

import datetime as dt
import json
import shutil
import zipfile
from pathlib import Path

import polars as pl
import pytest
import typer
from page_client import Client
from typer.testing import CliRunner

from assay.cli import app
from assay.gates.eligibility import SLEEVE_INVALID, Terms, examine
from assay.lake.snapshot import pin as pin_lake
from assay.page.app import create_app
from assay.runs.home import Home
from assay.runs.request import pin
from assay.settings import load

TESTS = Path(__file__).parents[1]
LONG = "binance_spot_rating_all_long"
COIN = "BINANCE:BTCUSDT"
MAKER = "assay-portfolio 0.1.0 of commit 883582d"
COMMANDS = {
    ("audit",): [(("former",), 1, "OLDER_FORMAT"), (("--all",), 1, MAKER)],
    ("validate",): [(("former",), 1, "OLDER_FORMAT"), (("--all",), 1, "former: OLDER_FORMAT")],
    ("verify",): [(("former",), 0, "former: INTACT")],
    ("prove",): [(("former", "hrp", COIN), 1, "OLDER_FORMAT")],
    ("replay",): [(("former",), 1, "OLDER_FORMAT")],
    ("causality",): [(("former",), 1, "OLDER_FORMAT")],
    ("orders",): [(("former", "--nav", "1000", "--holdings", "none.csv"), 1, "OLDER_FORMAT")],
    ("why",): [(("former", COIN), 0, "386 observations")],
    ("worth",): [(("former",), 1, "OLDER_FORMAT")],
    ("report",): [(("former", "--out", "report.html"), 0, "report.html")],
    ("audit-report",): [(("former",), 0, "audit_report_former.md")],
    ("compare",): [(("former", "twin/former"), 0, "comparison:")],
    ("trials",): [((), 0, "trials.json")],
    ("status",): [((), 0, "Step 15: Reporting")],
    ("doctor",): [((), 1, "RATINGS_OUTDATED")],
    ("clean",): [((), 0, "0 abandoned")],
    ("ratings",): [((COIN, "--source", "binance"), 0, "sell of 11")],
    ("run",): [
        ((LONG, "--resume", "--run-id", "former"), 1, "OLDER_FORMAT"),
        ((LONG, "--source", "binance"), 1, "NO_UNIVERSE"),
    ],
    ("scan",): [(("--source", "binance"), 0, "superset:")],
    ("ingest",): [(("--source", "parquet:bars.parquet"), 0, "")],
    ("flow",): [(("binance-spot-rating-all-ls", "--source", "binance"), 1, "NO_UNIVERSE")],
    ("meta", "run"): [(("meta_binance_spot_ratings", "--source", "binance"), None, "")],
    ("account", "new"): [(("paper", "--portfolio", LONG, "--nav", "1000"), 0, "1,000.00 in cash")],
    ("account", "flow"): [(("paper", "--deposit", "10"), 0, "")],
    ("account", "step"): [(("paper",), 0, "paper 2024-01-21")],
    ("account", "show"): [(("paper",), 0, "NAV 1,010.00")],
    ("account", "fills"): [(("paper",), 0, "")],
    ("account", "reconcile"): [(("paper", "--holdings", "none.csv"), 0, "")],
    ("account", "verify"): [(("paper",), 0, "")],
    ("account", "close"): [(("paper",), 0, "")],
    ("account", "list"): [((), 0, "paper")],
}
"""Arguments, exit code and words of each command; the home of those that come later is as the ones before left it."""
ELSEWHERE = {
    ("serve",),  # its pages are asked for below, without a port
    ("selftest",),  # makes homes of its own
    ("new",), ("new", "profile"),  # writes settings where it is typed
    ("meta",), ("account",), ("profiles",), ("profiles", "list"), ("profiles", "show"),
    ("keys",), ("keys", "new"), ("keys", "show"),
}  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    with zipfile.ZipFile(TESTS / "audit" / "runs_of_format_1.zip") as packed:
        packed.extractall(tmp_path / "home" / "runs")
    with zipfile.ZipFile(TESTS / "live" / "lake_of_format_1.zip") as packed:
        packed.extractall(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tmp_path / "home/runs/former", "twin/former")
    Path("none.csv").write_text("symbol,quantity\n")
    times = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=day) for day in range(30)]
    price = dict.fromkeys(("open", "high", "low", "close"), 1.0)
    bars = pl.DataFrame({"symbol": COIN, "timestamp": times}).with_columns(volume=pl.lit(1.0))
    bars.with_columns(**{name: pl.lit(value) for name, value in price.items()}).write_parquet("bars.parquet")
    return tmp_path / "home"


def bytes_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def commands(group, before=()):
    for name, one in getattr(group, "commands", {}).items():
        yield (*before, name)
        yield from commands(one, (*before, name))


def test_every_command_takes_a_home_of_the_first_version(home):
    assert {*COMMANDS, *ELSEWHERE} == set(commands(typer.main.get_command(app)))
    sealed, book = bytes_of(home / "runs" / "former"), (home / "runs" / "registry.jsonl").read_bytes()
    [lake] = (home / "lake").glob("binance-*")
    for command, cases in COMMANDS.items():
        for arguments, code, words in cases:
            done = CliRunner().invoke(app, [*command, *arguments, "--home", str(home)])
            told = f"{' '.join(command)}: {done.output}"
            assert "Traceback" not in told, told
            assert done.exit_code in ((1, 2, 3) if code is None else (code,)), told
            assert words in told
            if words == "OLDER_FORMAT":
                assert MAKER in told
    assert bytes_of(home / "runs" / "former") == sealed
    assert (home / "runs" / "registry.jsonl").read_bytes().startswith(book)
    upgraded = pin_lake(lake)
    assert upgraded.record.roots.keys() == upgraded.record.tables.keys()
    assert pin_lake(lake, 1).bars().equals(upgraded.bars())


def test_the_page_shows_a_run_and_a_lake_of_the_first_version(home):
    with Client(create_app(Home(home)), base_url="http://127.0.0.1:8000") as client:
        for path in (
            "/",
            "/runs/former",
            "/runs/former/files/reports/report.html",
            "/runs/former/ledger",
            "/lakes",
            "/api/runs",
        ):
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text[:300])
        assert "former" in client.get("/").text


def test_a_run_of_the_first_version_is_no_sleeve(home):
    manifest = json.loads((home / "runs/former/config/resolved_manifest.json").read_bytes())
    profile = load().meta("meta_binance_spot_ratings")
    terms = Terms(home / "runs", profile, dt.datetime(2024, 1, 22, tzinfo=dt.UTC), manifest["lake"]["folder"])
    refused = examine(terms, pin(home / "runs", LONG, "former"))
    assert (refused.code, "OLDER_FORMAT" in refused.reason) == (SLEEVE_INVALID, True)
