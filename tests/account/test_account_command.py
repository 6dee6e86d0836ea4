"""Accounts as users type them, on the embedded sample: the equality with the run, idempotence, refusals, life."""

import datetime as dt
import json
import shutil
from decimal import Decimal

import polars as pl
import pytest
from typer.testing import CliRunner

from assay.account.ledger import read_account, split
from assay.base.errors import Exit
from assay.cli import app
from assay.runs.artifacts import HOLDINGS
from assay.sources import open_source

LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"
STARTS = {LONG: "2024-01-02", SHORT: "2024-01-09"}
NAV = 100_000


def assay(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(*arguments, code=Exit.OK):
    done = assay(*arguments, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def error(*arguments, code=Exit.USAGE):
    return told(*arguments, code=code)["error"]["code"]


def opened(home, name, profile, start, *more):
    return told("account", "new", name, "--portfolio", profile, "--nav", NAV, "--start", start, *more, "--home", home)


@pytest.fixture(scope="session")
def stepped(tmp_path_factory):
    """A home with an account of a long and one of a short sleeve, each stepped to the last bar, and their runs."""
    home = tmp_path_factory.mktemp("accounts") / "home"
    for profile, start in STARTS.items():
        opened(home, profile[-5:].strip("_"), profile, start, "--band", 0, "--filters", "off")
        told("account", "step", profile[-5:].strip("_"), "--backfill", "--home", home)
        told("run", profile, "--set", f"walk_forward.start={start}", "--home", home, "--run-id", profile)
    return home


def test_an_account_is_judged_by_the_run_before_it(stepped, tmp_path, monkeypatch):
    """The last sealed run of these settings is its prior; of other tranches or costs none is."""
    shutil.copytree(stepped, tmp_path / "home")
    home = tmp_path / "home"
    for name, more in (("as_run", ()), ("single", ("--tranches", 1))):
        opened(home, name, LONG, "2024-01-30", "--headline", "min_variance", *more)
    monkeypatch.setenv("ASSAY_SET__costs__fee", "0.002")
    opened(home, "dear", LONG, "2024-01-30", "--headline", "min_variance")
    prior = read_account(home / "accounts" / "as_run")[0].body["prior"]
    table = pl.read_parquet(home / "runs" / LONG / "data/walk_forward/returns.parquet")
    counted = table.filter("counted", pl.col("risk_profile") == "min_variance").sort("date")
    assert counted.height > 0
    assert prior["run"] == LONG
    assert prior["days"] == [str(day) for day in counted["date"]]
    assert [float(one) for one in prior["returns"]] == counted["ret"].to_list()
    for name in ("dear", "single"):
        assert read_account(home / "accounts" / name)[0].body["prior"] == {}


PAIR = "meta_binance_spot_ratings"
"""Of two sleeves here; four take twice as long."""
MA_LONG = "binance_spot_rating_ma_long"
TRAINED = 69
"""Days that sleeves live before their portfolio decides: 60 counted ones, and 9 until all tranches are filled."""


def test_an_account_of_a_portfolio_is_the_portfolios_book(stepped, tmp_path, monkeypatch):
    """Its sleeves live in books of their own since 69 days before its first day, as those of the runs do."""
    monkeypatch.setenv(f"ASSAY_SET__meta__{PAIR}__sleeves", json.dumps([LONG, MA_LONG]))
    opened(stepped, "pair", PAIR, "2024-01-16", "--band", 0, "--filters", "off")
    told("account", "step", "pair", "--as-of", "2024-01-20", "--backfill", "--home", stepped)
    told("account", "step", "pair", "--home", stepped)
    assert told("account", "verify", "pair", "--home", stepped)["ok"]
    monkeypatch.setenv("ASSAY_SET__walk_forward__start", str(dt.date(2024, 1, 16) - dt.timedelta(days=TRAINED)))
    told("meta", "run", PAIR, "--home", stepped, "--run-id", PAIR)
    assert_equal_to_run(stepped, "pair", PAIR)


@pytest.fixture
def home(stepped, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(stepped, tmp_path / "home")
    return tmp_path / "home"


def days_of(home, name):
    return split(read_account(home / "accounts" / name))[0]


def assert_equal_to_run(home, name, profile):
    """NAV, cash and quantities of every day are those of the run's tranche book, to 1e-9 of NAV."""
    folder = home / "runs" / profile / "data" / "walk_forward"
    mine = pl.col("risk_profile") == "hrp"
    returns = pl.read_parquet(folder / "returns.parquet").filter(mine).sort("date")
    trades = pl.read_parquet(folder / "trades.parquet").filter(mine)
    days = {day.day: day for day in days_of(home, name)}
    assert returns.height == len(days) - 1
    held: dict[str, Decimal] = {}
    first = min(days)
    assert days[first].bodies("mark")[0]["nav"] == str(NAV)
    for row in returns.iter_rows(named=True):
        day = days[row["date"]]
        mark = day.bodies("mark")[0]
        nav, cash = (float(mark[key]) / NAV for key in ("nav", "cash"))
        assert abs(nav - row["nav"]) < 1e-9 * row["nav"]
        assert abs(cash - row["cash"]) < 1e-9 * row["nav"]
        for body in day.bodies("fill"):
            held[body["symbol"]] = held.get(body["symbol"], Decimal(0)) + Decimal(body["quantity"])
        book = dict(
            trades.filter(pl.col("date") <= row["date"]).group_by("symbol").agg(pl.col("quantity").sum()).iter_rows()
        )
        for symbol in held.keys() | book.keys():
            price = float(mark["marks"].get(symbol, 0)) or 1e-9
            units = float(held.get(symbol, 0)) / NAV
            assert abs(units - book.get(symbol, 0.0)) * price < 1e-9 * row["nav"], symbol
    assert held


@pytest.mark.parametrize("profile", [LONG, SHORT])
def test_with_no_band_and_no_filters_it_is_the_runs_tranche_book(stepped, profile):
    assert_equal_to_run(stepped, profile[-5:].strip("_"), profile)


def test_today_of_the_account_is_today_of_the_run(stepped):
    """Orders of the last day lead to the book that the run says is to be held now."""
    book = json.loads((stepped / "runs" / LONG / HOLDINGS).read_text())["profiles"]["hrp"]
    last = days_of(stepped, "long")[-1]
    shown = told("account", "show", "long", "--home", stepped)
    mine = {row["symbol"]: Decimal(row["quantity"]) for row in shown["holdings"]}
    for body in last.bodies("orders"):
        for row in body["rows"]:
            mine[row["symbol"]] = mine.get(row["symbol"], Decimal(0)) + Decimal(row["quantity"])
    wanted = {asset["Symbol"]: sum(part["units"] for part in asset["Parts"]) for asset in book["assets"]}
    prices = {asset["Symbol"]: asset["Price"] for asset in book["assets"]}
    for symbol, units in mine.items():
        assert abs(float(units) / NAV - wanted.get(symbol, 0.0)) * prices.get(symbol, 0.0) < 1e-9, symbol
    assert wanted.keys() <= mine.keys()


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_day_again_changes_no_byte(home):
    before = files_of(home / "accounts")
    again = told("account", "step", "long", "--home", home)
    assert again["outcome"] == "ALREADY_DONE"
    assert files_of(home / "accounts") == before


def test_an_earlier_day_and_other_fills_are_refused(home, tmp_path):
    fills = tmp_path / "fills.csv"
    fills.write_text("trade_id,symbol,side,amount,price,time\n")
    before = files_of(home / "accounts")
    assert error("account", "step", "long", "--as-of", "2024-01-20", "--home", home) == "EARLIER_DAY"
    assert error("account", "step", "long", "--fills", fills, "--home", home) == "OTHER_FILLS"
    assert files_of(home / "accounts") == before


def test_it_verifies_and_every_edit_shows(home):
    assert told("account", "verify", "long", "--home", home)["ok"]
    path = home / "accounts" / "long" / "account.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    assert told("account", "verify", "long", "--home", home, code=Exit.INTEGRITY)["problems"][0]["code"] == "UNCLOSED"
    end = max(at for at, line in enumerate(lines[:-1]) if b'"kind":"close_day"' in line)
    path.write_bytes(b"".join(lines[: end + 1]))
    found = told("account", "verify", "long", "--home", home, code=Exit.INTEGRITY)["problems"]
    assert [one["code"] for one in found] == ["LEDGER_CUT"]


def test_days_that_were_missed_are_lived_and_write_no_order(home):
    opened(home, "late", LONG, "2024-01-16")
    told("account", "step", "late", "--as-of", "2024-01-16", "--home", home)
    done = told("account", "step", "late", "--as-of", "2024-01-19", "--home", home)
    days = days_of(home, "late")
    assert [day.day.day for day in days] == [16, 17, 18, 19]
    assert [bool(day.bodies("fill")) for day in days] == [False, True, False, False]
    assert [[body["why"] for body in day.bodies("missed")] for day in days[1:3]] == [["MISSED_DECISION"]] * 2
    assert [bool(day.bodies("orders")) for day in days] == [True, False, False, True]
    assert [one["simulated"] for one in done["days"]] == [False, False, True]
    told("account", "step", "late", "--late", "--as-of", "2024-01-20", "--home", home)
    last = days_of(home, "late")[-1]
    late = [body["tranche"] for body in last.bodies("decision") if body.get("late")]
    assert late == sorted(body["tranche"] for day in days[1:3] for body in day.bodies("missed"))
    assert {row["late"] for body in last.bodies("orders") if body["late"] for row in body["rows"]} == {True}


def test_money_comes_and_goes_at_the_close_and_earns_nothing(home):
    opened(home, "flows", LONG, "2024-01-18")
    told("account", "step", "flows", "--as-of", "2024-01-19", "--backfill", "--home", home)
    told("account", "flow", "flows", "--deposit", "5000.01", "--home", home)
    told("account", "flow", "flows", "--withdraw", "1000", "--on", "2024-01-21", "--because", "rent", "--home", home)
    assert error("account", "flow", "flows", "--withdraw", NAV * 2, "--home", home) == "USAGE"
    assert error("account", "flow", "flows", "--deposit", "1", "--on", "2024-01-19", "--home", home) == "USAGE"
    told("account", "step", "flows", "--backfill", "--home", home)
    amounts = [[body["amount"] for body in day.bodies("flow")] for day in days_of(home, "flows")]
    assert amounts == [[], [], ["5000.01"], ["-1000"]]
    assert told("account", "verify", "flows", "--home", home)["ok"]
    before = told("account", "show", "flows", "--home", home)
    told("account", "close", "flows", "--because", "enough", "--home", home)
    assert error("account", "step", "flows", "--home", home) == "ACCOUNT_CLOSED"
    after = told("account", "show", "flows", "--home", home)
    assert (after["status"], after["nav"], after["holdings"]) == ("CLOSED", before["nav"], before["holdings"])


def test_other_settings_begin_a_new_epoch_and_other_tranches_are_refused(home, monkeypatch):
    opened(home, "epochs", LONG, "2024-01-19")
    told("account", "step", "epochs", "--as-of", "2024-01-19", "--home", home)
    monkeypatch.setenv("ASSAY_SET__walk_forward__step", "5")
    monkeypatch.setenv("ASSAY_SET__walk_forward__hold", "5")
    assert error("account", "step", "epochs", "--as-of", "2024-01-20", "--home", home) == "ACCOUNT_GRID"
    monkeypatch.undo()
    monkeypatch.setenv("ASSAY_SET__caps__atom", "0.2")
    done = told("account", "step", "epochs", "--as-of", "2024-01-20", "--home", home)
    assert done["epoch"] == {"profile.caps.atom": [0.25, 0.2]}
    entries = read_account(home / "accounts" / "epochs")
    assert entries[0].body["settings"]["profile"]["caps"]["atom"] == 0.25
    [epoch] = [entry.body for entry in entries if entry.kind == "epoch"]
    assert epoch["settings"]["profile"]["caps"]["atom"] == 0.2


def test_bars_that_changed_under_a_closed_day_are_said_and_what_was_booked_stays(tmp_path):
    bars = pl.read_parquet(open_source("sample").path)
    path, home = tmp_path / "bars.parquet", tmp_path / "home"
    early = bars.filter(pl.col("timestamp") < dt.datetime(2024, 1, 20, tzinfo=dt.UTC))
    early.write_parquet(path)
    opened(home, "mine", LONG, "2024-01-17", "--source", f"parquet:{path}")
    told("account", "step", "mine", "--backfill", "--home", home)
    before = days_of(home, "mine")
    coin = next(iter(before[-1].bodies("mark")[0]["marks"]))
    changed = (pl.col("symbol") == coin) & (pl.col("timestamp") == dt.datetime(2024, 1, 18, tzinfo=dt.UTC))
    bars.with_columns(pl.when(changed).then(pl.col("high") * 1.01).otherwise(pl.col("high")).alias("high")).filter(
        pl.col("timestamp") < dt.datetime(2024, 1, 21, tzinfo=dt.UTC)
    ).write_parquet(path)
    done = told("account", "step", "mine", "--home", home)
    assert [one["history_changed"] for one in done["days"]] == [["2024-01-18"]]
    days = days_of(home, "mine")
    assert days[:-1] == before
    assert list(days[-1].bodies("history_changed")[0]["coins"]) == [coin]
    bars.filter(pl.col("symbol") != "none").with_columns(
        pl.when(changed).then(pl.col("high") * 1.01).otherwise(pl.col("high")).alias("high")
    ).write_parquet(path)
    done = told("account", "step", "mine", "--home", home)
    assert [one["history_changed"] for one in done["days"]] == [[]]


def test_names_and_terms_that_cannot_be_are_refused(home):
    for name in ("../up", "", ".x", "a" * 101):
        assert error("account", "new", name, "--portfolio", LONG, "--nav", NAV, "--home", home) == "USAGE"
    for more in (["--nav", "0"], ["--nav", "nan"], ["--nav", NAV, "--band", "1"], ["--nav", NAV, "--filters", "x"]):
        assert error("account", "new", "bad", "--portfolio", LONG, *more, "--home", home) == "USAGE"
    for more in (["--tranches", "3"], ["--headline", "best"]):
        told_of = ("account", "new", "bad", "--portfolio", LONG, "--nav", NAV, *more, "--home", home)
        assert error(*told_of) in ("USAGE", "PROFILE")
    assert error("account", "new", "long", "--portfolio", LONG, "--nav", NAV, "--home", home) == "USAGE"
    assert error("account", "step", "nobody", "--home", home) == "USAGE"
    assert [row["account"] for row in told("account", "list", "--home", home)["accounts"]][:2] == ["long", "pair"]
