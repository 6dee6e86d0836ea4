"""The three lights: each clause by itself, at its edge; and the first screen of a made run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assay.report.glance import LightFacts, changed, facts_of, glance, glance_lines, lights
from assay.report.view import open_run

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
        ({"psr": 0.8999}, "PSR 0.90, below 0.90"),
        ({"psr": None}, "PSR —, below 0.90"),
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
        ({"dsr": None}, "DSR —, below 0.95"),
        ({"interval": (0.0, 3.0)}, "the 95 % interval of the Sharpe ratio, 0.00 to 3.00, is not above 0"),
        ({"interval": None}, "the 95 % interval of the Sharpe ratio, — to —, is not above 0"),
        ({"pbo": 0.51}, "PBO 0.51, above 0.50"),
        ({"benchmark_end": 1.5}, "ends at 1.50, the benchmark at its gross at 1.50"),
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
