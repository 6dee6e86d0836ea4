"""Figures by themselves: pure, equal for equal tables, safe in any document, quiet in any home."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_reader import read

from assay.base.errors import UsageError
from assay.report.figures import bars, lines, maps
from assay.report.figures.figure import spread
from assay.report.figures.of_walk import on_days, rolling_beta
from assay.report.palette import DARK, LIGHT, PLACEHOLDERS
from assay.runs.documents import Stage

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
        maps.correlation(["A", "B", "C"], ["2", "1", "2"], x),
        maps.monthly(["2024-01", "2024-02"], {"hrp": np.array([0.1, np.nan])}),
        maps.votes_of(["A", "B"], {"rsi": [1, None], "cci": [0, -1]}, {"all": [0.5, None]}),
        bars.funnel([SELECTION]),
        bars.weights(["A", "B"], {"hrp": {"A": 0.75, "B": -0.25}}),
        bars.run_times({"1 preflight": 0.5}),
        bars.votes("BINANCE:BTCUSDT", {"all": 0.5, "ma": None}, VOTES),
    ]


@pytest.mark.parametrize("number", range(11))
def test_equal_tables_give_equal_bytes_and_whole_trees(number):
    one, other = drawn()[number], drawn()[number]
    assert one == other
    root = ET.fromstring(one.svg)
    assert root.get("role") == "img"
    assert not any("style" in element.attrib for element in root.iter())
    assert not any(placeholder in one.svg for placeholder in PLACEHOLDERS.values())
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert all(found.startswith(one.name) for found in ids)
    assert len(ids) == len(set(ids))
    assert "http" not in one.svg
    assert "nan" not in one.svg.lower().replace("binance", "")


def test_what_a_picture_says_stands_in_its_tree():
    root = ET.fromstring(lines.equity(DAYS, NAV).svg)
    texts = ["".join(element.itertext()) for element in root.iter("text")]
    assert "hrp 1.50" in texts
    assert "barbell 0.75" in texts
    assert {"2024-01", "2024-02"} <= set(texts)


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
def test_any_name_is_text_in_svg_and_html(names):
    figure = bars.weights(names, {names[0]: dict.fromkeys(names, 0.25)})
    ET.fromstring(figure.standalone())
    page = read(figure._repr_html_())
    assert {element.tag for element in page.one("svg").walk()} <= {"svg", "title", "desc", "g", "path", "text", "defs"}
    assert len(page.all("figure")) == 1


@given(st.lists(st.floats(0, 200), min_size=1, max_size=9))
def test_labels_never_overlap_and_keep_their_order(places):
    moved = spread(places, 10.0, 0.0, 200.0)
    ordered = [moved[i] for i in sorted(range(len(places)), key=lambda i: (places[i], i))]
    assert all(after - before >= 10.0 - 1e-9 for before, after in pairwise(ordered))
    assert min(moved) >= -1e-9


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
    with pytest.raises(UsageError):
        figure.save(tmp_path / "a.png")


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
        assert contrast(colours[name], colours["on_deep"]) >= 3.0, name
    for name in ("low2", "low1", "mid", "high1", "high2"):
        assert contrast(colours[name], colours["on_pale"]) >= 4.5, name


DRAW = """
import sys, warnings
warnings.simplefilter("error")
from assay.report.figures import bars
assert "matplotlib" not in sys.modules
figure = bars.run_times({"a": 1.0})
assert "matplotlib.pyplot" not in sys.modules
sys.stdout.write(figure.svg)
"""


@pytest.mark.parametrize("home", ["fresh", "missing", "unset"])
def test_any_home_is_quiet_and_left_alone(tmp_path, home):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "MPL", "HOME"))}
    folder = tmp_path / "home"
    if home == "fresh":
        folder.mkdir()
    if home != "unset":
        kept["HOME"] = str(folder) if home == "fresh" else "/proc/no-such-home"
    else:
        kept["HOME"] = ""
    kept["TMPDIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", DRAW], env=kept, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == bars.run_times({"a": 1.0}).svg
    if home == "fresh":
        assert (folder / ".cache" / "assay" / "matplotlib").is_dir()
        assert not (folder / ".cache" / "matplotlib").exists()
    assert not list(tmp_path.glob("assay-fonts-*"))
