"""The causality test: it must stay silent on what is causal, and find every planted look ahead."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from evaluation_markets import prices
from planted_leaks import (
    DECISION,
    EVE,
    LAST_DECISION,
    LEAKS,
    TWO_PROFILES,
    ground,
    remember,
)
from typer.testing import CliRunner

from assay.backtest.book import Target, simulate
from assay.backtest.causality import VOID, Probes, World, choose_dates, probe
from assay.backtest.equality import difference, leaves, panel_difference
from assay.backtest.perturbations import KINDS, changed_bytes, perturb, perturb_market
from assay.base import files
from assay.base.domain import DAY
from assay.base.errors import ContractError, GateError
from assay.cli import app
from assay.pipeline.causality import read_tables, trials
from assay.settings.model import Costs

DATES = (DECISION, EVE, LAST_DECISION)
LONG, SHORT = "binance_spot_rating_all_long", "binance_spot_rating_all_short"


def first_violation(dates=DATES, **named) -> tuple[str, str] | None:
    stage, rehearsal = ground().rehearse(**named)
    for trial in trials(stage, rehearsal, dates):
        if trial.violations:
            return trial.kind, trial.violations[0]
    return None


# ---- leaks ------------------------------------------------------------------------------------------------------


def test_there_are_leaks_enough():
    assert len(LEAKS) >= 25


@pytest.mark.parametrize("name", LEAKS)
def test_planted_leak_is_caught(name: str, monkeypatch: pytest.MonkeyPatch):
    remember(monkeypatch)
    LEAKS[name](monkeypatch)
    try:
        found: object = first_violation(settings=TWO_PROFILES)
    except ContractError as error:  # a contract that every decision passes may meet it first
        found = error.code
    assert found is not None


# ---- clean runs -------------------------------------------------------------------------------------------------

CLEAN = {
    "long": {"name": LONG},
    "short": {"name": SHORT, "settings": TWO_PROFILES},
    "moving averages, long": {"name": "binance_spot_rating_ma_long", "settings": TWO_PROFILES},
    "moving averages, short": {"name": "binance_spot_rating_ma_short", "settings": TWO_PROFILES},
    "superset": {"name": SHORT, "settings": (*TWO_PROFILES, "pool=superset")},
    "guard off": {"name": LONG, "settings": (*TWO_PROFILES, "guard.enabled=false")},
    "cash between holdings": {"name": LONG, "settings": (*TWO_PROFILES, "walk_forward.hold=4")},
    "daily decisions for a while": {
        "name": SHORT,
        "settings": (*TWO_PROFILES, "walk_forward.step=3", "walk_forward.hold=3", "walk_forward.start=2023-07-25"),
    },
    "an earlier decision than the lake's end": {
        "name": LONG,
        "settings": TWO_PROFILES,
        "as_of": dt.datetime(2023, 8, 15, tzinfo=dt.UTC),
        "seed": 7,
    },
    "nobody found": {
        "name": LONG,
        "settings": (*TWO_PROFILES, "scanners.binance_spot_rating_all_long.min_value_traded=1e15"),
    },
    "few coins, other costs": {
        "name": LONG,
        "settings": (*TWO_PROFILES, "selection.wanted=3", "selection.max_winners=3", "costs.fee=0.01"),
        "seed": 3,
    },
}


QUICK = ("long", "short", "moving averages, long", "superset", "guard off", "nobody found")


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CLEAN]
)
def test_clean_run_raises_no_alarm(case: str):
    stage, rehearsal = ground().rehearse(**CLEAN[case])
    seed = CLEAN[case].get("seed", 0)
    dates = choose_dates(rehearsal.result, 2, seed)
    verdict = Probes(tuple(trials(stage, rehearsal, dates)))
    assert verdict.violations == []
    assert len(verdict.trials) == len(dates) * len(KINDS)
    for trial in verdict.trials:
        assert trial.coins > 0
        assert sum(trial.changed.values()) > 0
        assert trial.rows["returns"] > 0
    assert sum(trial.decisions for trial in verdict.trials) >= 3 * len(rehearsal.result.rebalances)


def test_every_table_is_changed():
    stage, rehearsal = ground().rehearse(settings=TWO_PROFILES)
    verdict = Probes(tuple(trials(stage, rehearsal, [DECISION])))
    report = verdict.as_dict()
    assert report["ok"]
    assert report["tables"] == ["bars", "candidates", "instruments", "quarantine", "ratings"]
    assert report["first_violation"] is None
    assert json.loads(json.dumps(report)) == report


# ---- the gate ---------------------------------------------------------------------------------------------------


def probed(settings: tuple[str, ...] = TWO_PROFILES) -> Probes:
    _, rehearsal = ground().rehearse(settings=settings)
    market = ground().snapshot.market()
    return probe(rehearsal.result, market, rehearsal.profile, rehearsal.decide)


def test_probe_lets_a_clean_run_pass():
    verdict = probed()
    assert verdict.ok
    assert [(trial.kind, trial.decisions) for trial in verdict.trials] == [("open", 0), ("noise", 1)]
    assert all(sum(trial.changed.values()) and trial.coins for trial in verdict.trials)


def test_probe_of_a_single_decision():
    verdict = probed((*TWO_PROFILES, "walk_forward.step=100", "walk_forward.hold=100"))
    assert verdict.ok
    assert [trial.kind for trial in verdict.trials] == ["noise"]


@pytest.mark.parametrize(
    "name",
    ["decision_on_tomorrows_bar", "same_bar_trade", "covariance_of_all_days", "quarantine_known_in_advance"],
)
def test_probe_catches(name: str, monkeypatch: pytest.MonkeyPatch):
    remember(monkeypatch)
    LEAKS[name](monkeypatch)
    assert not probed().ok


# ---- a test that tests nothing is refused -------------------------------------------------------------------------


def test_unchanged_world_is_refused():
    stage, rehearsal = ground().rehearse(settings=TWO_PROFILES)
    for world in (World(stage.market, {"bars": 0}, 5), World(stage.market, {"bars": 8}, 0)):
        with pytest.raises(GateError, match="tests nothing") as caught:
            rehearsal.trial(DECISION, "noise", world)
        assert caught.value.code == VOID


def test_date_after_the_last_bar_is_refused():
    stage, rehearsal = ground().rehearse(settings=TWO_PROFILES)
    with pytest.raises(GateError) as caught:
        list(trials(stage, rehearsal, [stage.market.as_of]))
    assert caught.value.code == VOID


def test_violation_names_the_row():
    """A world that differs before the date: one close of one held coin on one day."""
    stage, rehearsal = ground().rehearse(settings=TWO_PROFILES)
    world = stage.world(EVE, "noise")
    market = world.market
    held = {symbol for weights in rehearsal.result.rebalances[0].targets.net.values() for symbol in weights}
    day = int(np.searchsorted(market.days, np.datetime64("2023-07-05")))
    close = market["close"].copy()
    close[day, market.column(min(held))] *= 1.01
    other = replace(market, fields={**market.fields, "close": close})
    trial = rehearsal.trial(EVE, "noise", replace(world, market=other))
    assert any("date=2023-07-05" in what and what.startswith("returns: row ") for what in trial.violations)


# ---- dates ------------------------------------------------------------------------------------------------------


def test_dates_are_inside_and_end_with_the_last_decision():
    _, rehearsal = ground().rehearse(settings=TWO_PROFILES)
    result = rehearsal.result
    for count in (1, 2, 3, 6, 12):
        for seed in range(5):
            dates = choose_dates(result, count, seed)
            assert dates == sorted(set(dates))
            assert 1 <= len(dates) <= count
            assert dates[-1] == result.rebalances[-1].as_of
            assert dates[0] > result.rebalances[0].as_of
    chosen = set(choose_dates(result, 12, 1))
    decided = {rebalance.as_of for rebalance in result.rebalances}
    assert chosen & decided
    assert chosen & {instant - DAY for instant in decided}
    assert choose_dates(result, 6, 1) == choose_dates(result, 6, 1)


# ---- perturbations ------------------------------------------------------------------------------------------------

KNOWN_AT = {"bars": "open_time", "ratings": "open_time", "quarantine": "open_time"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_known_stays_and_the_rest_changes(kind):
    tables = dict(ground().snapshot.tables)
    made = perturb(tables, DECISION, kind, np.random.default_rng(1))
    for name, column in KNOWN_AT.items():
        before = tables[name].filter(pl.col(column) + DAY <= DECISION)
        assert before.equals(made.tables[name].filter(pl.col(column) + DAY <= DECISION)), name
    columns = ["symbol", "base", "status", "valid_from"]
    facts = (
        table.filter(pl.col("valid_from") <= DECISION).select(columns)
        for table in (tables["instruments"], made.tables["instruments"])
    )
    assert next(facts).equals(next(facts))
    assert all(made.changed.values())
    assert made.tables["bars"].schema == tables["bars"].schema
    later = made.tables["bars"].filter(pl.col("open_time") >= DECISION)
    if kind == "deletion":
        assert later.is_empty()
        return
    assert (later.select((pl.col("low") > 0) & (pl.col("low") <= pl.min_horizontal("open", "close")))).to_series().all()
    assert later.select(pl.col("high") >= pl.max_horizontal("open", "close")).to_series().all()
    same = tables["bars"].join(later, on=["symbol", "open_time"])
    opening = same.filter(pl.col("open_time") == DECISION)
    kept = (opening["open"] == opening["open_right"]).all()
    assert kept == (kind in ("open", "listings"))
    if kind == "open":
        assert (opening["close"] != opening["close_right"]).all()
        assert opening.height == tables["bars"].filter(pl.col("open_time") == DECISION).height


def test_listings_bring_new_coins_and_new_quotes():
    tables = ground().snapshot.tables
    made = perturb(tables, DECISION, "listings", np.random.default_rng(1)).tables
    new = set(made["bars"]["symbol"]) - set(tables["bars"]["symbol"])
    assert {"BINANCE:0NEW0USDT", "BINANCE:ZZNEW0USDT"} < new
    assert any(name.endswith("FDUSD") for name in new)
    assert min(made["bars"]["symbol"]) in new
    assert max(made["bars"]["symbol"]) in new
    for name in ("ratings", "instruments", "candidates", "quarantine"):
        assert new & set(made[name]["symbol"]), name


@pytest.mark.parametrize("keep_open", [False, True])
def test_market_in_memory_keeps_its_past(keep_open: bool):
    market = ground().snapshot.market()
    other, changed, coins = perturb_market(market, DECISION, np.random.default_rng(2), keep_open=keep_open)
    assert changed > 0
    assert coins == len(other.symbols) > len(market.symbols)
    assert list(other.symbols) == sorted(other.symbols)
    rows, fault = panel_difference(market, other, DECISION)
    assert (rows, fault) == (192, None)  # 2023-01-01 to 2023-07-11
    columns = [other.column(name) for name in market.symbols]
    opening = other["open"][192, columns] == market["open"][192]
    assert opening.all() == keep_open
    assert (other["close"][192, columns] != market["close"][192]).all()
    assert panel_difference(market, other, DECISION + DAY)[1] is not None


def test_changed_bytes_of_texts_nulls_and_booleans():
    before = pl.DataFrame({"s": ["ab", None], "b": [True, None], "f": [1.0, None]})
    assert changed_bytes(before, before) == 0
    assert changed_bytes(before, before.with_columns(pl.lit("ab").alias("s"))) == 2
    assert changed_bytes(before, before.with_columns(pl.lit(value=True).alias("b"))) == 1
    assert changed_bytes(before, before.clear()) == 3 + 2 + 16


# ---- sameness -----------------------------------------------------------------------------------------------------


def test_difference_sees_a_bit_and_a_row():
    table = pl.DataFrame({"k": [1, 2], "v": [0.0, 0.1 + 0.2], "s": ["a", None]})
    assert difference(table, table, ["k"]) is None
    assert "v: 0.0 -> -0.0" in difference(table, table.with_columns(-pl.col("v")), ["k"])
    assert "k=2: v" in difference(table, table.with_columns(pl.Series("v", [0.0, 0.3])), ["k"])
    assert difference(table, table.head(1), ["k"]) == "row k=2: is gone"
    assert difference(table.head(1), table, ["k"]) == "row k=2: was not there"
    assert "s: None -> 'b'" in difference(table, table.with_columns(pl.Series("s", ["a", "b"])), ["k"])
    blank = table.with_columns(pl.Series("n", [None, None], dtype=pl.Int64))
    assert difference(blank, table, ["k"]) is None
    assert difference(table, table[[1, 0]], ["k"]) == "rows are in another order, or twice"


def test_leaves_refuse_what_they_cannot_compare():
    with pytest.raises(TypeError, match="cannot be compared"):
        list(leaves({"a": [SimpleNamespace()]}))
    assert dict(leaves(np.array([1.0])))[""] != dict(leaves(np.array([[1.0]])))[""]


def test_decision_is_walked_to_its_last_value():
    _, rehearsal = ground().rehearse(settings=TWO_PROFILES)
    found = dict(leaves(rehearsal.result.rebalances[0].targets))
    for path in (".selection.model.features_.hurst", ".state.estimates.covariance.matrix", ".state.regime.percentile"):
        assert path in found, sorted(found)[:50]


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    from assay.pipeline.flow import lay_foundation, requests
    from assay.pipeline.runner import execute
    from assay.runs.home import Home
    from assay.settings import load

    home = Home(tmp_path_factory.mktemp("home"))
    catalog = load(settings=("walk_forward.days=40",))
    [request] = requests(home, catalog, lay_foundation(home, catalog, "sample", "2023-12-20"), [LONG], "r")
    outcome = execute(request)
    assert outcome.state == "VALID", outcome.error
    return home


def hashes(folder) -> dict[str, str]:
    return {path.as_posix(): files.sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_command_is_read_only_and_reports(finished):
    before = hashes(finished.runs) | hashes(finished.lake)
    done = CliRunner().invoke(app, ["causality", "r", "--dates", "2", "--json", "--home", str(finished.path)])
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    assert body["ok"]
    assert body["recorded"] == "EQUAL"
    assert body["violations"] == 0
    assert body["dates"] == 2
    assert body["rows_compared"] > 1000
    assert files.read_json(finished.reports / "causality" / "r.json") == {
        k: v for k, v in body.items() if k != "report"
    }
    assert hashes(finished.runs) | hashes(finished.lake) == before
    gates = [json.loads(line)["body"] for line in (finished.runs / "r" / "audit.jsonl").read_text().splitlines()]
    assert [(gate["ok"], gate["step"]) for gate in gates if gate.get("gate") == "causality"] == [(True, 12)]


@pytest.mark.slow
def test_command_names_a_leak(finished, monkeypatch: pytest.MonkeyPatch):
    remember(monkeypatch)
    LEAKS["covariance_of_all_days"](monkeypatch)
    done = CliRunner().invoke(app, ["causality", "r", "--dates", "1", "--home", str(finished.path)])
    assert done.exit_code == 1
    assert "VIOLATION" in done.stdout
    assert "NOT CAUSAL" in done.stdout


@pytest.mark.slow
def test_run_with_a_leak_is_refused(finished, monkeypatch: pytest.MonkeyPatch):
    from assay.pipeline.runner import execute
    from assay.runs.request import Request

    remember(monkeypatch)
    LEAKS["decision_on_tomorrows_bar"](monkeypatch)
    request = replace(Request.of(finished.path, finished.runs / "r"), run=finished.runs / "leaky")
    request.run.mkdir()
    outcome = execute(request)
    assert outcome.exit_code == 1
    assert outcome.error is not None
    assert outcome.error["code"] == "CAUSALITY"


def test_usage(tmp_path):
    done = CliRunner().invoke(app, ["causality", "nothing", "--home", str(tmp_path)])
    assert done.exit_code == 2


def test_tables_of_a_lake_are_those_that_it_has():
    tables = read_tables(ground().snapshot)
    assert set(tables) == {"bars", "ratings", "quarantine", "instruments", "candidates"}
    for name, frame in ground().snapshot.tables.items():
        assert tables[name].equals(frame), name


# ---- the book's last bit ------------------------------------------------------------------------------------------


def test_book_does_not_tell_in_its_last_bit_what_is_held_later():
    """Which coins are held after day 40, and where their listings break before, must not reorder earlier sums."""
    rng = np.random.default_rng(5)
    n_days, n_coins = 60, 30
    close = np.exp(np.cumsum(rng.normal(0, 0.05, (n_days, n_coins)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.02, close.shape))
    listing = np.zeros(close.shape, dtype=np.int32)
    close[20:24, 1], open_[20:24, 1], listing[20:24, 1], listing[24:, 1] = np.nan, np.nan, -1, 1
    bars = prices(close, open_, listing=listing)
    first = np.where(np.arange(n_coins) % 3 == 0, rng.normal(0, 0.2, n_coins), 0.0)
    second = np.roll(first, 6)
    for later in (np.zeros(n_coins), np.where(first == 0.0, 0.01, 0.0), rng.normal(0, 0.1, n_coins)):
        books = [
            simulate(bars, [Target(0, 0, first), Target(15, 0, second), Target(39, 0, orders)], Costs())
            for orders in (first, later)
        ]
        for name in ("nav", "cash", "gross_value", "net_value", "traded", "cost", "borrow"):
            one, other = (getattr(book, name)[:39] for book in books)
            np.testing.assert_array_equal(one, other, err_msg=name)
        one, other = (dict(zip(book.columns.tolist(), book.holding_pnl[0], strict=True)) for book in books)
        assert all(other.get(coin, 0.0) == earned for coin, earned in one.items())
