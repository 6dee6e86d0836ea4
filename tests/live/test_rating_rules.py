"""A screener that has changed its rules: ingestion and doctor say so, and name the votes."""

from __future__ import annotations

import datetime as dt
import json

import naive_ratings
import polars as pl
import pytest
from ratings_bars import walk
from screener_rows import book, pair
from typer.testing import CliRunner

from assay.base.domain import UTC
from assay.cli import app
from assay.cli import lakes as commands
from assay.lake.ingest import ingest, rate_anew
from assay.lake.lake import Lake
from assay.pipeline.ingestion import Phase
from assay.report.doctor import examine
from assay.screening.reconcile import agreements, reconcile
from assay.screening.recorded_scans import ScanBatch, ScanResponse, question
from assay.screening.recorded_scans import to_frame as rows_of
from assay.settings import load

COINS, DAYS = 70, 260
AS_OF = dt.datetime(2020, 1, 1, tzinfo=UTC) + dt.timedelta(days=DAYS)
NOW = AS_OF + dt.timedelta(minutes=5)


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return walk(21, DAYS, COINS)


@pytest.fixture(scope="module")
def answers(market):
    """What a screener of either edition says of every coin's last closed bar, by the plain rules."""
    said: dict[str, dict[str, dict]] = {"2026": {}, "2021": {}}
    for bars in market.partition_by("symbol"):
        symbol = bars["symbol"][0]
        series = [bars[name].to_list() for name in ("high", "low", "close", "volume")]
        values = naive_ratings.values(*series)
        last = {name: column[-1:] for name, column in values.items()}
        for edition, rows in said.items():
            cast, group = naive_ratings.votes(last, edition)
            ma = sum(cast[name][0] for name in group) / 15
            other = sum(votes[0] for name, votes in cast.items() if name not in group) / 11
            row = pair(symbol.removeprefix("BINANCE:").removesuffix("USDT"), close=series[2][-1], volume=series[3][-1])
            row |= {"Recommend.MA[1]|1D": ma, "Recommend.Other[1]|1D": other, "Recommend.All[1]|1D": (ma + other) / 2}
            theirs = ("Ichimoku", "VWMA", "HullMA9", "Stoch.RSI", "WR", "BBPower", "UO")
            ours = ("ichimoku", "vwma_20", "hull_ma_9", "stoch_rsi", "williams_r", "bull_bear", "ultimate")
            rows[symbol] = row | {f"Rec.{t}[1]|1D": cast[o][0] for t, o in zip(theirs, ours, strict=True)}
    return said


@pytest.fixture
def lake(market, tmp_path):
    path = tmp_path / "bars.parquet"
    market.rename({"open_time": "timestamp"}).drop("interval", "source").write_parquet(path)
    made = Lake(tmp_path / "home", f"parquet:{path}")
    ingest(made)
    return made


def batch(rows) -> ScanBatch:
    found = tuple(book(*rows).items())
    scans = load().scanners().items()
    return ScanBatch(AS_OF, NOW, tuple(ScanResponse(n, question(s), "{}", "00", len(found), found) for n, s in scans))


def changed(rows, **columns) -> list[dict]:
    return [row | columns for row in rows]


def test_a_screener_of_our_edition_differs_in_nothing(lake, answers):
    found = reconcile(batch(answers["2026"].values()), lake.latest())
    assert found.differences == ()
    assert (found.drifts, found.rules()) == ((), [])
    assert found.as_dict()["rating_rules"] == []


def test_a_screener_of_another_edition_is_named_vote_by_vote(lake, answers):
    found = reconcile(batch(answers["2021"].values()), lake.latest())
    [drift] = found.drifts
    assert (drift.group, drift.edition, drift.compared) == ("other", "2026", COINS)
    assert drift.causes[0].vote == "adx"
    assert {cause.edition for cause in drift.causes} == {"2021"}
    [finding] = found.rules()
    assert (finding.code, finding.count) == ("RATING_RULES_DIFFER", drift.differing)
    assert "Recommend.Other" in finding.what
    assert finding.names[0] == f"adx by the rule of edition 2021: {drift.causes[0].repaired} coins"
    assert json.loads(json.dumps(found.as_dict()))["rating_rules"][0]["causes"][0]["vote"] == "adx"


def test_a_lake_of_that_edition_agrees_with_it(lake, answers):
    rate_anew(lake, "2021")
    found = reconcile(batch(answers["2021"].values()), lake.latest())
    assert (found.differences, found.drifts) == ((), ())
    [drift] = reconcile(batch(answers["2026"].values()), lake.latest()).drifts
    assert {cause.edition for cause in drift.causes} == {"2026"}


def test_coins_whose_bars_differ_say_nothing_of_rules(lake, answers):
    found = reconcile(batch(changed(answers["2021"].values(), **{"close[1]|1D": 1.0})), lake.latest())
    assert found.differences
    assert found.drifts == ()


def test_one_coin_that_differs_is_no_rule(lake, answers):
    first, *others = answers["2026"].values()
    found = reconcile(batch([first | {"Recommend.Other[1]|1D": -1.0}, *others]), lake.latest())
    assert {one.symbol for one in found.differences} == {"BINANCE:C000USDT"}
    assert found.drifts == ()


def test_a_rule_that_nobody_knows_is_said_though_no_vote_is_found(lake, answers):
    rows = [row | {"Recommend.MA[1]|1D": row["Recommend.MA[1]|1D"] - 2 / 15} for row in answers["2026"].values()]
    [finding] = reconcile(batch(rows), lake.latest()).rules()
    assert (finding.code, finding.names) == ("RATING_RULES_DIFFER", ["no single vote explains it"])
    assert "Recommend.MA" in finding.what


def test_doctor_says_it_and_what_to_run(lake, answers, tmp_path):
    lake.record("candidates", rows_of(batch(answers["2021"].values())))
    told = {entry.code: entry for entry in examine(lake.folder, NOW).issues}["RATING_RULES_DIFFER"]
    assert told.severity == "ACTION"
    assert told.names[0].startswith("adx by the rule of edition 2021: ")
    assert told.command.endswith("--set ratings.edition=2021")
    shown = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path / "home")])
    assert shown.exit_code == 1
    assert "RATING_RULES_DIFFER" in shown.stdout
    assert "adx by the rule of edition 2021" in shown.stdout
    # What it says to run mends it.
    asked = told.command.removeprefix("assay ").split()
    assert CliRunner().invoke(app, [*asked, "--home", str(tmp_path / "home")]).exit_code == 0
    assert "RATING_RULES_DIFFER" not in {entry.code for entry in examine(lake.folder, NOW).issues}


def test_ingestion_says_it(lake, answers, capsys):
    compared = reconcile(batch(answers["2021"].values()), lake.latest())
    phase = Phase(lake, ingest(lake), None, None, None, [], compared)
    assert [found["code"] for found in phase.as_dict()["findings"]][-1] == "RATING_RULES_DIFFER"
    assert json.loads(json.dumps(phase.as_dict()["findings"]))[-1]["names"] == compared.rules()[0].names
    commands._print_phase(phase)
    told = capsys.readouterr().out
    assert "finding RATING_RULES_DIFFER: of 70 coins have another Recommend.Other" in told
    assert ": adx by the rule of edition 2021: " in told


def test_older_scans_are_compared_and_not_explained(lake, answers):
    """Indicators of all coins are computed for the newest scan alone."""
    for at, rows in ((NOW, answers["2021"]), (NOW + dt.timedelta(hours=1), answers["2026"])):
        found = batch(rows.values())
        lake.record("candidates", rows_of(ScanBatch(AS_OF, at, found.answers)))
    [entry] = agreements(lake.latest())
    assert entry.drifts == ()
    assert reconcile(batch(answers["2021"].values()), lake.latest(), explained=False).drifts == ()
