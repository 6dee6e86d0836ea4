"""Yardsticks beside the books, exposure after drift, and the figures of daily rows: values by hand."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from assay.backtest.statistics import sharpe
from assay.report.figures import grids
from assay.report.figures.figure import Figure
from assay.report.figures.of_run import RunFigures
from assay.report.figures.of_walk import rolling_sharpe
from assay.report.glance import glance
from assay.report.sections import RESULT, known_columns, metric_cells
from assay.report.track import exposure_rows, yardstick_metrics
from assay.report.view import open_run

NEW_FIGURES = {"months", "histogram", "contributions"}


def test_yardsticks_stand_in_the_full_table_and_agree_with_the_first_screen(run, parts):
    view = open_run(run)
    measured = yardstick_metrics(view)
    columns = known_columns(view, RESULT)
    for name, at in (("benchmark", 2), ("all coins, equal", 3)):
        cells = dict(zip([column.metric for column in columns], metric_cells(measured[name], columns), strict=True))
        first = {row.name: row[at] for row in glance(view).figures}
        assert cells["cagr"] == first["return a year (CAGR)"]
        assert cells["max_drawdown"] == first["maximum drawdown"]
        assert cells["sharpe"] == first["Sharpe"]
        row = next(row for row in parts["Performance"].tables[0] if row[0] == name)
        assert row[2:] == list(cells.values())
    assert "dsr" not in measured["benchmark"]  # nothing was chosen


def test_what_was_held_at_most_with_its_day():
    days = [dt.date(2024, 1, day) for day in (1, 2, 3)]
    told = pl.DataFrame(
        {"date": days, "risk_profile": ["hrp"] * 3, "gross": [0.9, 1.1, 1.1], "largest": [0.2, None, 0.26]}
    )
    view = SimpleNamespace(returns=told, risk_profiles=["hrp", "barbell"])
    assert exposure_rows(view) == [["hrp", "26.0 %", "2024-01-03", "110.0 %", "2024-01-02"]]
    older = SimpleNamespace(returns=told.drop("largest"), risk_profiles=["hrp"])  # a run of a former version
    assert exposure_rows(older) == [["hrp", "—", "—", "110.0 %", "2024-01-02"]]
    assert exposure_rows(SimpleNamespace(returns=None, risk_profiles=[])) == []


def test_rolling_sharpe_is_that_of_each_window():
    returns = np.array([0.01, -0.02, 0.03, 0.0, 0.01, np.nan, 0.02, 0.02, 0.02])
    found = rolling_sharpe(returns, 3)
    for at in range(3):
        assert found[at] == pytest.approx(sharpe(returns[at : at + 3]))
    assert np.isnan(found[3:]).all()  # a day is missing, or nothing varies


def test_a_year_is_its_months_and_nothing_else():
    days = np.array(["2023-12-30", "2023-12-31", "2024-01-01", "2024-03-05"], dtype="datetime64[D]")
    found = grids.year_by_month(days, np.array([0.1, 0.1, -0.5, 1.0]), "hrp")
    first, second = found.rows
    assert first == ("2023", *["—"] * 11, "21.0 %", "21.0 %")
    assert second == ("2024", "-50.0 %", "—", "100.0 %", *["—"] * 9, "0.0 %")
    assert found.description == "3 months of 2 years; from -50.0 % to 100.0 %."


def test_a_histogram_counts_every_day_once():
    own = np.array([-0.2, -0.10, -0.001, 0.0, 0.009, 0.01, 0.10, np.nan])
    found = grids.histogram({"hrp": own, "benchmark": np.zeros(2)}, "hrp")
    assert {row[0]: row[1:] for row in found.rows if row[1:] != ("0", "0")} == {
        "below -10 %": ("1", "0"),
        "-10 % to -5 %": ("1", "0"),
        "-1 % to 0 %": ("1", "0"),
        "0 % to 1 %": ("2", "2"),
        "1 % to 2 %": ("1", "0"),
        "10 % and more": ("1", "0"),
    }
    assert found.description == "7 days of hrp: 3 days below 0; worst -20.0 %, best 10.0 %."


def test_contributions_add_up_though_few_are_named():
    earned = [("A", 0.3, 9), ("B", 0.1, 4), ("C", 0.01, 1), ("D", 0.0, 2), ("E", -0.05, 3), ("F", -0.2, 5)]
    found = grids.contributions(earned, "hrp", most=2)
    assert [row[0] for row in found.rows] == ["A", "B", "2 others", "E", "F"]
    assert [row[1:] for row in found.rows if row[0] == "2 others"] == [("1.00 %", "3")]
    assert "6 coins earned 16.0 % of the first account" in found.description
    assert [row[0] for row in grids.contributions(earned[:5], "hrp", most=2).rows] == ["A", "B", "C", "D", "E"]


def test_a_run_draws_them_all_of_its_headline(run):
    figures = RunFigures(open_run(run)).performance("hrp")
    drawn = {figure.name for figure in figures if isinstance(figure, Figure)}
    assert drawn >= NEW_FIGURES
    assert "no counted day" in str(RunFigures(open_run(run)).months("nobody"))
