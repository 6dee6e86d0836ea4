"""Figures by themselves: pure, equal for equal tables, safe in any document."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_reader import read

from assay.base.errors import UsageError
from assay.report.figures import grids, lines
from assay.report.figures.of_walk import on_days, rolling_beta
from assay.report.figures.still import svg_of
from assay.report.palette import DARK, LIGHT
from assay.report.templating import asset, environment, script, vendored
from assay.runs.documents import Stage

ROOT = Path(__file__).parents[2]
SHOW = "{% from 'figure.html.j2' import show %}{{ show(figure) }}"
DAYS = np.arange("2023-12-20", "2024-03-01", dtype="datetime64[D]")
NAV = {name: np.linspace(1.0, end, len(DAYS)) for name, end in (("hrp", 1.5), ("barbell", 0.75))}
SELECTION = Stage(
    stage="selection", n_in=9, expanded=1, dropped=4, n_out=6, expanded_by={"more": 1}, dropped_by={"VETO": 4}
)
VOTES = {f"vote_{i}": (1, 0, -1, None)[i % 4] for i in range(26)}


def drawn():
    x = np.array([[1.0, 0.5, np.nan], [0.5, 1.0, -1.0], [np.nan, -1.0, 1.0]])
    return [
        lines.equity(DAYS, NAV),
        lines.drawdown(DAYS, {name: values - 1.5 for name, values in NAV.items()}),
        lines.turnover(DAYS, NAV, NAV),
        lines.loss_makers(DAYS[::10], {"hrp": np.zeros(8)}, {"hrp": np.linspace(0, 1, 8)}),
        grids.correlation(["A", "B", "C"], ["2", "1", "2"], x),
        grids.monthly(["2024-01", "2024-02"], {"hrp": np.array([0.1, np.nan])}),
        grids.votes_of(["A", "B"], {"rsi": [1, None], "cci": [0, -1]}, {"all": [0.5, None]}),
        grids.funnel([SELECTION]),
        grids.weights(["A", "B"], {"hrp": {"A": 0.75, "B": -0.25}}),
        grids.run_times({"1 preflight": 0.5}),
        grids.votes("BINANCE:BTCUSDT", {"all": 0.5, "ma": None}, VOTES),
    ]


@pytest.mark.parametrize("number", range(11))
def test_equal_tables_give_equal_figures_and_pictures(number):
    one, other = drawn()[number], drawn()[number]
    assert one == other
    assert one._repr_html_() == other._repr_html_()
    assert all(len(row) == len(one.columns) for row in (*one.rows, *one.marks))
    picture = svg_of(one)
    assert picture == svg_of(other)
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert one.title in "".join(root.itertext())


def test_lines_are_declared_to_the_browser_as_they_are():
    declared = lines.equity(DAYS, NAV | {"hrp": np.where(np.arange(len(DAYS)) == 3, np.nan, NAV["hrp"])}).lines
    assert declared["days"][:2] == [19711, 19712]  # days since 1970
    [panel] = declared["panels"]
    assert [line["name"] for line in panel["lines"]] == ["hrp", "barbell"]
    assert panel["lines"][0]["values"][3] is None
    assert panel["lines"][0]["values"][-1] == 1.5
    assert (panel["show"], panel["log"]) == ("ratio", False)
    json.dumps(declared, allow_nan=False)
    assert lines.equity(DAYS, {"hrp": np.geomspace(1.0, 9.0, len(DAYS))}).lines["panels"][0]["log"]


def test_every_way_to_write_numbers_is_known_to_the_script():
    known = set(re.findall(r"^    (\w+): \(value\) =>", asset("charts.js"), re.MULTILINE))
    assert known == set(lines.SHOWS.values())


def test_bars_begin_at_zero_and_end_at_the_value():
    marks = {row[0]: row_marks[1] for row, row_marks in zip(drawn()[8].rows, drawn()[8].marks, strict=True)}
    assert (marks["A"].tone, marks["A"].bar) == ("up", (0.25, 1.0))
    assert (marks["B"].tone, marks["B"].bar) == ("down", (0.0, 0.25))
    funnel = [(row[1:], mark[3].bar) for row, mark in zip(drawn()[7].rows, drawn()[7].marks, strict=True)]
    assert funnel == [
        (("in", "", "9"), (0.0, 0.9)),
        (("came", "more", "1"), (0.9, 1.0)),
        (("lost", "VETO", "4"), (0.6, 1.0)),
        (("out", "", "6"), (0.0, 0.6)),
    ]


def test_clusters_stand_together():
    names = [row[0] for row in drawn()[4].rows]
    assert names == ["A", "C", "B"]


def test_votes_of_one_coin():
    figure = drawn()[10]
    assert ("rating all", "0.5000") in figure.rows
    assert ("rating ma", "—") in figure.rows
    assert [value for _, value in figure.rows[2:6]] == ["buy", "neutral", "sell", "—"]


NAMES = st.text(st.characters(exclude_categories=["Cc"]), min_size=1, max_size=60)


@settings(max_examples=30, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=4, unique=True))
def test_any_name_is_text_in_html_and_in_what_a_browser_draws(names):
    figure = grids.weights(names, {names[0]: dict.fromkeys(names, 0.25)})
    page = read(figure._repr_html_())
    assert len(page.all("figure")) == 1
    assert len(page.one("table").rows()) == 1 + len(names)
    drawn = lines.equity(DAYS, dict.fromkeys(names, NAV["hrp"]))
    [place] = read(environment().from_string(SHOW).render(figure=drawn)).all("div", **{"class": "chart"})
    assert set(place.attributes) == {"class", "data-title", "data-chart"}
    shown = json.loads(place.attributes["data-chart"])["panels"][0]["lines"]
    assert [line["name"] for line in shown] == [lines.shortened(name) for name in names]


def test_rolling_beta_is_the_slope_of_a_regression():
    rng = np.random.default_rng(7)
    benchmark, returns = rng.normal(0, 0.02, 40), rng.normal(0, 0.03, 40)
    found = rolling_beta(returns, benchmark, 15)
    assert len(found) == 26
    for i in (0, 11, 25):
        assert found[i] == pytest.approx(np.polyfit(benchmark[i : i + 15], returns[i : i + 15], 1)[0])
    assert np.isnan(rolling_beta(returns, np.zeros(40), 15)).all()


def test_days_that_a_series_lacks_are_no_numbers():
    import polars as pl

    frame = pl.DataFrame({"date": DAYS[[1, 3]], "x": [1.0, None]})
    found = on_days(frame, "x", DAYS[:5])
    assert np.isnan(found[[0, 2, 3, 4]]).all()
    assert found[1] == 1.0


def test_saved_as_picture_and_as_page(tmp_path):
    figure = drawn()[0]
    root = ET.parse(figure.save(tmp_path / "a.svg")).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert read(figure.save(tmp_path / "a.html").read_text()).one("figure")
    assert figure.save(tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"end the name with \.svg, \.png or \.html"):
        figure.save(tmp_path / "a.gif")


def test_without_the_extra_a_picture_names_the_command_and_the_rest_works(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lets_plot", None)
    figure = drawn()[0]
    for name in ("a.svg", "a.png"):
        with pytest.raises(UsageError, match=r"pip install 'assay-portfolio\[plots\]'") as refusal:
            figure.save(tmp_path / name)
        assert refusal.value.code == "EXTRA_MISSING"
    assert list(tmp_path.iterdir()) == []
    assert figure.save(tmp_path / "a.html").exists()
    assert "assay-portfolio[plots]" in figure._repr_html_()
    assert len(read(figure._repr_html_()).one("table").rows()) == 41


def contrast(one: str, other: str) -> float:
    """Return the ratio of WCAG 2.2, 1.4.3."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(colours):
    for name in ("ink", "muted", "blue", "orange", "green", "purple", "brown", "black", "grey", "up", "down"):
        assert contrast(colours[name], colours["page"]) >= 4.5, name  # they are written with, too
    for name in ("low4", "low3", "high3", "high4"):
        assert contrast(colours[name], colours["on_deep"]) >= 4.5, name
    for name in ("low2", "low1", "mid", "high1", "high2"):
        assert contrast(colours[name], colours["on_pale"]) >= 4.5, name


def test_what_other_projects_made_is_as_they_published_it():
    notices = (ROOT / "THIRD_PARTY_NOTICES").read_text()
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert f"{name}  sha256 {hashlib.sha256(vendored(name).encode()).hexdigest()}" in notices
    licence = vendored("LICENSE.uPlot.txt").strip()
    assert licence in notices
    assert licence in script()
    [version] = re.findall(r"v([\d.]+)\)", vendored("uPlot.iife.min.js")[:80])
    assert f"uPlot {version}" in notices
    assert f"uPlot {version}" in script()[:20]
    assert 'license-files = ["LICENSE", "THIRD_PARTY_NOTICES"]' in (ROOT / "pyproject.toml").read_text()
