"""No edit of a run, its superset or its lake passes unseen, but where the documents say that it may."""

import random
import re
from pathlib import Path

import pytest
from loops import LOOPS, often
from random_edits import EXEMPT, Edits, attempt, make_home, rehashed

DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory.mktemp("edits"))


@pytest.mark.parametrize("seed", [1, 2])
def test_of_a_thousand_random_edits_none_passes(home, seed):
    edits = attempt(home, 1000, seed)
    assert edits.missed == []
    assert edits.found.total() > 700
    assert min(edits.found[name] for name in ("flip", "value", "rehashed", "table", "swap", "remove", "add")) > 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_of_a_hundred_thousand_random_edits_none_passes(home, seed):
    assert attempt(home, often("EDITS") // 10, seed).missed == []


def test_a_registry_whose_first_line_was_changed_and_chained_anew_is_refused(home):
    edits, path = Edits(home, random.Random(7)), home / "runs" / "registry.jsonl"
    first = edits.files[path].splitlines()[0]
    tried = 0
    while tried < 10:
        if rehashed(edits, path) and path.read_bytes().splitlines()[0] != first:
            assert "REGISTRY_CUT" in edits.fault_of_run()
            tried += 1
    path.write_bytes(edits.files[path])


def test_the_documents_say_where_an_edit_may_pass():
    section = DOCS.read_text().split("### Random edits")[1].split("\n### ")[0]
    assert tuple(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == EXEMPT


def test_the_documents_say_how_often_the_longest_loops_go_round():
    section = DOCS.read_text().split("## Long loops")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `ASSAY_(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([^|]+) \|", section, re.MULTILINE)
    told = {name: (int(usual.replace(",", "")), int(full.replace(",", "")), what) for name, usual, full, what in rows}
    assert told == LOOPS
