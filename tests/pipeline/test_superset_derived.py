"""Discovery believes no superset: it derives it again from the pinned lake and refuses one that differs."""

import json
from dataclasses import replace

import pytest

from assay.base import files
from assay.base.errors import Exit, IntegrityError
from assay.pipeline.flow import lay_foundation, requests
from assay.pipeline.runner import execute
from assay.pipeline.tables import STEPS
from assay.runs.home import Home
from assay.screening import superset as shelf
from assay.screening.superset import SUPERSET_DIFFERS
from assay.selftest.sandbox import AS_OF
from assay.settings import load

from .conftest import LONG

SCANNER = {"LONG": "binance_spot_rating_all_long", "SHORT": "binance_spot_rating_all_short"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("derived"))
    return home, lay_foundation(home, load(), "sample", AS_OF)


@pytest.fixture
def path(place):
    _, foundation = place
    kept = foundation.path.read_bytes()
    yield foundation.path
    files.write(foundation.path, kept)


def forge(path, edit):
    value = json.loads(path.read_bytes())
    edit(value)
    files.write_json(path, value)
    return path.read_bytes()


def run_on(place, steps=STEPS[:2]):
    """Run on the file as it now is, pinned as a flow that trusts its shelf would."""
    home, foundation = place
    [request] = requests(home, load(), foundation, [LONG])
    return execute(request, steps=steps)


def own(value, side):
    return [one for one in value["candidates"] if one["scanners"] == [SCANNER[side]]]


def swap_sides(value):
    """Let the long profile's pool be what the short scanner found; counts are made to agree."""
    longs, shorts = own(value, "LONG"), own(value, "SHORT")
    for one in shorts:
        one |= {"direction": "LONG", "scan_direction": "LONG", "scanners": [SCANNER["LONG"]]}
    taken = {one["symbol"] for one in shorts}
    value["candidates"] = [one for one in value["candidates"] if one not in longs or one["symbol"] in taken]
    settle(value)


def remove_the_largest(value):
    value["candidates"] = [
        one for one in value["candidates"] if one["symbol"] not in ("BINANCE:SOLUSDT", "BINANCE:BTCUSDT")
    ]
    settle(value)


def settle(value):
    """Make every count of the file agree with its records."""
    names = [name for one in value["candidates"] for name in one["scanners"]]
    for count in value["scanners"]:
        count["kept"] = names.count(count["scanner"])
    value["unique_atoms"] = len(value["candidates"])
    value["duplicates_merged"] = len(names) - len(value["candidates"])


def edit_a_field(value):
    value["candidates"][0]["fields"]["recommend_all"] += 0.01


def edit_a_rank(value):
    value["candidates"][3]["rank"] += 1


def edit_a_count(value):
    value["scanners"][0]["universe"] += 1


def edit_a_drop(value):
    value["scanners"][0]["dropped"]["volatility"] += 1


def repeat_a_record(value):
    value["candidates"].insert(0, value["candidates"][0])
    settle(value)


def invent_a_merged_quote(value):
    value["merged_quotes"].append({"symbol": "X:AUSDC", "into": "X:AUSDT", "scanner": SCANNER["LONG"], "reason": "so"})


def answer_by_another(value):
    value["provider"] = value["asked"] = "tradingview"


FORGERIES = {
    "the long profile's candidates are the short scanner's": swap_sides,
    "two coins are removed": remove_the_largest,
    "a field": edit_a_field,
    "a rank": edit_a_rank,
    "a count": edit_a_count,
    "a drop": edit_a_drop,
    "a record twice": repeat_a_record,
    "a merged quote": invent_a_merged_quote,
    "the provider": answer_by_another,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_superset_is_refused_and_left_as_it_is(place, path, name):
    forged = forge(path, FORGERIES[name])
    outcome = run_on(place)
    assert (outcome.error["code"], outcome.exit_code) == (SUPERSET_DIFFERS, Exit.INTEGRITY)
    assert path.read_bytes() == forged


def test_the_honest_one_passes(place, path):
    assert run_on(place).error is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value.update(unique_atoms=value["unique_atoms"] + 4),
        lambda value: value.update(duplicates_merged=value["duplicates_merged"] + 1),
        lambda value: value["scanners"][0].update(kept=value["scanners"][0]["kept"] - 1),
        lambda value: value["candidates"].pop(),
        repeat_a_record,
        answer_by_another,
        lambda value: value.update(fallback="no network"),
        lambda value: value.update(key="0" * 64),
    ],
)
def test_a_superset_that_contradicts_itself_is_refused_before_a_run_begins(place, path, edit):
    home, _ = place
    forged = forge(path, edit)
    with pytest.raises(IntegrityError) as told:
        lay_foundation(home, load(), "sample", AS_OF)
    assert told.value.code == SUPERSET_DIFFERS
    assert path.read_bytes() == forged


def test_what_another_version_or_edition_scanned_is_never_read(place, path, monkeypatch):
    home, foundation = place
    forge(path, remove_the_largest)
    for name, value in (("version", lambda _: "9.9.9"), ("REVISION", 99)):
        with monkeypatch.context() as patch:
            patch.setattr(shelf, name, value)
            other = lay_foundation(home, load(), "sample", AS_OF)
        assert other.path.parent != path.parent
        assert other.superset.candidates == foundation.superset.candidates


def test_a_superset_that_is_not_the_one_that_was_pinned_is_refused(place, path):
    home, foundation = place
    [request] = requests(home, load(), foundation, [LONG])
    files.write(path, path.read_bytes() + b"\n")  # equal content, other bytes
    outcome = execute(request, steps=STEPS[:2])
    assert (outcome.error["code"], outcome.exit_code) == ("INTEGRITY", Exit.INTEGRITY)
    assert "not the one that was pinned" in outcome.error["what"]


def test_a_pinned_head_that_names_other_versions_is_refused(place):
    home, foundation = place
    [request] = requests(home, load(), foundation, [LONG])
    tables = dict(request.tables) | {"ratings": request.tables["ratings"] + 1}
    outcome = execute(replace(request, tables=tables), steps=STEPS[:1])
    assert outcome.exit_code == Exit.INTEGRITY
    assert "other table versions" in outcome.error["what"]
