"""The files that were made of users' reports, through the real commands: each does what its report wants."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.conftest import missing
from typer.testing import CliRunner

from assay.cli import app

LONG = "binance_spot_rating_all_long"


@pytest.fixture
def case(shared: Path, tmp_path):
    """Run a command over one of the files; return its exit code and its JSON."""

    def go(name, *arguments):
        path = shared.parent / "review" / "cases" / f"{name}.parquet"
        if not path.is_file():
            missing(f"the reported file is absent: {path.name}")
        asked = [*arguments, "--source", f"parquet:{path}", "--home", str(tmp_path / "home"), "--json"]
        done = CliRunner().invoke(app, asked)
        return done.exit_code, json.loads(done.stdout)

    return go


def run(case, name):
    code, told = case(name, "run", LONG, "--run-id", "one")
    return code, told.get("error") or told["runs"][0]["error"]


def artifact(tmp_path, path):
    return json.loads((tmp_path / "home" / "runs" / "one" / path).read_text())


def findings(tmp_path):
    return {found["code"]: found for found in artifact(tmp_path, "data/data_health.json")["findings"]}


def forced(tmp_path):
    trades = pl.read_parquet(tmp_path / "home" / "runs" / "one" / "data" / "walk_forward" / "trades.parquet")
    return set(trades["reason"].unique()) - {"rebalance"}


def test_three_rows_that_come_twice_sell_no_coin_and_are_counted(case, tmp_path):
    assert run(case, "case_one_coin_conflict") == (0, None)
    assert forced(tmp_path) == set()
    assert findings(tmp_path)["QUARANTINED"]["names"] == ["BINANCE:RUNEUSDT"]


def test_copies_at_the_end_move_no_decision(case, tmp_path):
    assert run(case, "case_overlap_tail3") == (0, None)
    assert artifact(tmp_path, "data/data_health.json")["as_of"] == "2024-01-01T00:00:00Z"
    assert findings(tmp_path)["QUARANTINED"]["count"] == 120


def test_a_row_a_year_ahead_is_named_and_moves_nothing(case, tmp_path):
    assert run(case, "case_stray_future_row") == (0, None)
    assert artifact(tmp_path, "data/data_health.json")["as_of"] == "2024-01-01T00:00:00Z"
    assert findings(tmp_path)["QUARANTINE_STRAY"]["count"] == 1


def test_a_hole_of_the_market_ends_no_listing(case, tmp_path):
    assert run(case, "market_hole3") == (0, None)
    assert forced(tmp_path) == set()
    code, told = case("market_hole3", "doctor")
    assert (code, told["verdict"]) == (1, "TO DO")
    assert "MARKET_HOLE" in {issue["code"] for issue in told["findings"]}


def test_plain_symbols_are_those_of_the_exchange_that_the_profile_names(case, tmp_path):
    assert run(case, "plain_symbols") == (0, None)
    raw = artifact(tmp_path, "data/portfolio_candidates_raw.json")
    assert all(one["symbol"].startswith("BINANCE:") for one in raw["candidates"])


def test_a_quote_volume_of_zero_everywhere_is_refused_before_anything_is_stored(case, tmp_path):
    code, error = run(case, "quotevol_zero")
    assert (code, error["code"]) == (2, "QUOTE_VOLUME_ZERO")
    assert not list((tmp_path / "home").glob("lake/*"))
