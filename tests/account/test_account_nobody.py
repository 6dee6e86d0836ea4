"""A day on which nobody can be chosen: cash where it is past, as in the walk-forward, and refused where it is today."""

import datetime as dt

import polars as pl
import pytest
from test_account_command import LONG, days_of, opened, told

from assay.base.errors import Exit
from assay.sources import open_source

QUIET = dt.datetime(2024, 1, 18, tzinfo=dt.UTC)


@pytest.fixture
def quiet(tmp_path):
    """Bars of which one day has no volume: no coin passes a floor of value traded."""
    bars = pl.read_parquet(open_source("sample").path)
    volume = pl.when(pl.col("timestamp") == QUIET).then(0.0).otherwise(pl.col("volume"))
    bars.with_columns(volume.alias("volume")).write_parquet(tmp_path / "bars.parquet")
    opened(tmp_path / "home", "quiet", LONG, "2024-01-17", "--source", f"parquet:{tmp_path / 'bars.parquet'}")
    return tmp_path


def test_a_past_day_without_a_universe_is_cash(quiet):
    home = quiet / "home"
    told("account", "step", "quiet", "--backfill", "--as-of", "2024-01-19", "--home", home)
    [before, empty, after] = days_of(home, "quiet")
    [decision] = empty.bodies("decision")
    assert (decision["weights"], decision["aside"]) == ({}, "NO_UNIVERSE")
    assert empty.simulated
    assert all(body["weights"] for day in (before, after) for body in day.bodies("decision"))
    assert told("account", "verify", "quiet", "--home", home)["ok"]


def test_today_without_a_universe_is_refused_and_missed_tomorrow(quiet):
    home, path = quiet / "home", quiet / "bars.parquet"
    bars = pl.read_parquet(path)
    bars.filter(pl.col("timestamp") <= QUIET).write_parquet(path)
    told("account", "step", "quiet", "--as-of", "2024-01-17", "--home", home)
    refused = told("account", "step", "quiet", "--home", home, code=Exit.FAILED)
    assert refused["error"]["code"] == "NO_UNIVERSE"
    bars.filter(pl.col("timestamp") <= QUIET + dt.timedelta(days=1)).write_parquet(path)
    told("account", "step", "quiet", "--home", home)
    days = days_of(home, "quiet")
    assert [[body["why"] for body in day.bodies("missed")] for day in days] == [[], ["MISSED_DECISION"], []]
