"""The three lights: each clause by itself, at its edge; and the first screen of a made run."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

from assay.report.glance import LightFacts, changed, facts_of, glance, glance_lines, lights
from assay.report.sections import survival
from assay.report.track import worst_falls
from assay.report.view import open_run
from assay.runs.artifacts import HOLDINGS

HOLDS = LightFacts(
    valid=True,
    why="no fault",
    days=120,
    decisions=12,
    psr=0.90,
    dsr=0.95,
    pbo=0.5,
    interval=(0.01, 3.0),
    end=1.5,
    benchmark_end=1.4,
    candidates_end=1.49,
    weights={f"C{i}": 0.15 for i in range(6)},
)


def words(**changes):
    return {light.name: (light.word, light.why) for light in lights(replace(HOLDS, **changes))}


def test_what_holds_at_every_edge_holds():
    found = lights(HOLDS)
    assert [(light.name, light.word, light.tone) for light in found] == [
        ("PROCESS", "valid", "good"),
        ("EVIDENCE", "holds", "good"),
        ("BOOK", "sound", "good"),
    ]
    assert words(pbo=None)["EVIDENCE"][0] == "holds"  # nothing was chosen


def test_process():
    assert words(valid=False, why="gate x refused")["PROCESS"] == ("not valid", "gate x refused")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"psr": 0.7}, "PSR 0.70, below 0.90"),
        ({"psr": 0.8999}, "PSR 0.8999, below 0.90"),
        ({"psr": 0.8999999999999}, "PSR 0.8999999999999, below 0.90"),
        ({"psr": None}, "no PSR can be told from 120 counted days"),
        ({"days": 119}, "119 counted days, fewer than 120"),
        ({"decisions": 11}, "11 decisions with holdings, fewer than 12"),
    ],
)
def test_no_evidence(changes, why):
    assert words(**changes)["EVIDENCE"] == ("none", why)
    assert words(**changes, dsr=0.1)["EVIDENCE"][0] == "none"  # graver than a doubt


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dsr": 0.94}, "DSR 0.94, below 0.95"),
        ({"dsr": 0.9496}, "DSR 0.9496, below 0.95"),
        ({"dsr": None}, "no DSR can be told"),
        ({"interval": (0.0, 3.0)}, "the 95 % interval of the Sharpe ratio, 0.00 to 3.00, is not above 0"),
        ({"interval": None}, "no 95 % interval of the Sharpe ratio can be told"),
        ({"pbo": 0.51}, "PBO 0.51, above 0.50"),
        ({"pbo": 0.5004}, "PBO 0.5004, above 0.50"),
        ({"benchmark_end": 1.5}, "ends at 1.50, the benchmark at its gross at 1.50"),
        ({"benchmark_end": 1.5001}, "ends at 1.5000, the benchmark at its gross at 1.5001"),
        ({"candidates_end": 1.6}, "ends at 1.50, equal weight of the candidates at 1.60"),
        ({"benchmark_end": None}, "what the benchmark at its gross became is not known"),
        ({"candidates_end": None}, "what equal weight of the candidates became is not known"),
    ],
)
def test_weak_evidence(changes, why):
    assert words(**changes)["EVIDENCE"] == ("weak", why)


@pytest.mark.parametrize(
    ("changes", "word", "why"),
    [
        ({"ruin": "was liquidated", "weights": {}}, "ruinous", "was liquidated"),
        ({"weights": {}}, "empty", "gross 0.0 %, below 1 %"),
        ({"weights": {"A": 0.005, "B": -0.004}}, "empty", "gross 0.9 %, below 1 %"),
        ({"weights": {"A": 0.1, "B": -0.16}}, "concentrated", "B -16.0 %, above 15 % of NAV"),
        (
            {"weights": dict.fromkeys("ABCD", 0.13)},
            "concentrated",
            "4.0 effective coins, fewer than 5, at gross 52.0 %",
        ),
        ({"weights": dict.fromkeys("ABCD", 0.125)}, "sound", "4 coins, 4.0 effective, the largest 12.5 %"),
    ],
)
def test_book_gravest_first(changes, word, why):
    assert words(**changes)["BOOK"] == (word, why)


def test_the_plain_books_are_those_of_worth(run):
    view = open_run(run)
    facts = facts_of(view, "hrp", None)
    assert (facts.benchmark_end, facts.candidates_end) == (1.125, 1.0)
    other = facts_of(view, "barbell", None)  # nobody judged it
    assert (other.benchmark_end, other.candidates_end) == (None, None)


def test_first_screen_of_a_run(run):
    view = open_run(run)
    seen = glance(view)
    assert seen.headline == "hrp"
    by_name = {row.name: row for row in seen.figures}
    assert len(seen.figures) == 6
    assert by_name["Sharpe"].own == f"{view.statistics['hrp']['sharpe']:.2f}"
    assert by_name["what 1 became"].own == "—"  # not among the made statistics
    assert by_name["what 1 became"].benchmark == f"{1.01**15:.2f}"
    assert by_name["what 1 became"].universe == f"{0.995**15:.2f}"
    assert len(seen.held) <= 10
    assert [abs(weight) for _, weight in seen.held] == sorted((abs(w) for _, w in seen.held), reverse=True)
    text = "\n".join(glance_lines(view))
    assert all(light.word in text for light in seen.lights)
    assert "no earlier run of this profile" in text
    assert changed(view, view)[0].endswith("0.0 % of NAV changed hands")
    assert len(changed(view, view)) == 1


def test_what_is_held_is_the_book_and_not_the_decision_of_the_day(run):
    view = open_run(run)
    asset = SimpleNamespace(Symbol="BINANCE:AAAUSDT", Net_Weight=-0.4)
    book = SimpleNamespace(assets=[asset], gross=0.4, net=-0.4, cash=0.6)
    read = view.run.get
    view.run.get = lambda one: SimpleNamespace(profiles={"hrp": book}) if one == HOLDINGS else read(one)
    assert glance(view).held == [("BINANCE:AAAUSDT", -0.4)]
    assert glance(view).lights[2].word == "concentrated"


def test_falls_by_depth_with_their_days():
    nav = [0.9, 0.8, 1.0, 1.2, 1.08, 1.2, 1.3, 1.29]
    days = pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 1, 8), eager=True)
    frame = pl.DataFrame({"date": days, "risk_profile": "hrp", "nav": nav})
    view = SimpleNamespace(returns=frame, setting=lambda _key: "hrp")
    assert worst_falls(view) == [
        ["1", "-20.0 %", "the beginning", "2024-01-02", "2024-01-03", "3"],
        ["2", "-10.0 %", "2024-01-04", "2024-01-05", "2024-01-06", "2"],
        ["3", "-0.8 %", "2024-01-07", "2024-01-08", "not yet", "1"],
    ]
    assert worst_falls(SimpleNamespace(returns=None, setting=lambda _key: "hrp")) == []


def test_the_difference_of_survivorship_is_named_so_and_comes_last():
    parts = {"error": {"cagr": 0.1}, "honest": {"cagr": 0.2}, "survivors": {"cagr": 0.3}}
    found = survival(SimpleNamespace(survivorship={"hrp": parts}))
    assert list(found["hrp"].items())[-1] == ("difference", {"cagr": 0.1})
    assert list(found["hrp"]) == ["all, as run", "survivors alone", "difference"]
