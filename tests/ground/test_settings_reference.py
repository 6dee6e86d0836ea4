"""What the models say of each setting in words is there, and is what they do."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from assay.cli import app
from assay.settings.reference import MODELS, REQUIRED, settings_of

LONG, META = "binance_spot_rating_all_long", "meta_binance_spot_ratings"
SIDE = {"logic": "rating_all", "direction": "LONG"}
NEEDED = {
    "profiles": {"name": "x", "direction": "LONG", "logics": ["rating_all"], "scanners": ["x"]},
    "scanners": SIDE,
    "meta": {"name": "x", "sleeves": ["x"]},
}
FACTS = [(section, fact) for section, model in MODELS.items() for fact in settings_of(model)]
WORDS = {"at least": (0.0, -1e-3), "above": (1e-3, 0.0), "at most": (0.0, 1e-3), "below": (-1e-3, 0.0)}
"""How far from a bound a value lies that is taken, and one that is refused."""


@pytest.mark.parametrize(("section", "fact"), FACTS, ids=[f"{section}.{fact.name}" for section, fact in FACTS])
def test_every_setting_has_a_meaning_and_every_number_a_unit(section, fact):
    assert re.fullmatch(r"\S.*[.!]", fact.meaning), "write one sentence below the field"
    assert not re.search(r"\bthe same\b", fact.meaning.lower()), "it stands alone in a list"
    number = isinstance(fact.default, int | float) and not isinstance(fact.default, bool)
    assert bool(fact.unit) or not number, "give the field a Unit"
    assert fact.range
    if fact.name in NEEDED.get(section, {}):
        assert fact.default is REQUIRED


def taken(section, name, value):
    """Whether a model takes a value, all else as it is."""
    *groups, last = name.split(".")
    tree = part = dict(NEEDED.get(section, {}))
    for group in groups:
        part[group] = part = {}
    part[last] = value
    try:
        MODELS[section].model_validate(tree)
    except ValidationError as error:
        return [one["loc"] for one in error.errors()] != [tuple(name.split("."))]
    return True


def test_every_range_is_held():
    bounds = 0
    for section, fact in FACTS:
        whole = fact.range.startswith("whole")
        for word, number in re.findall(r"(at least|above|at most|below) (\S+?)(?:,|$)", fact.range):
            inside, outside = (shift * 1000 if whole else shift for shift in WORDS[word])
            kind = int if whole else float
            at = float(number)
            if fact.name != "walk_forward.tranches":  # which must divide the step besides
                assert taken(section, fact.name, kind(at + inside)), (fact.name, fact.range)
            assert not taken(section, fact.name, kind(at + outside)), (fact.name, fact.range)
            bounds += 1
        if fact.range in ("true or false", "text", "any number"):
            assert not taken(section, fact.name, [1])
        if fact.range.startswith("one of"):
            assert not taken(section, fact.name, "nothing of the kind")
    assert bounds > 80


def test_profiles_show_tells_meaning_scanner_and_universe():
    told = json.loads(CliRunner().invoke(app, ["profiles", "show", LONG, "--json"]).stdout)
    assert told["caps.atom"] == {
        "value": 0.25,
        "origin": "default",
        "meaning": "Most of one long atom.",
        "unit": "share of the account",
        "range": "above 0, at most 1",
    }
    assert told[f"scanners.{LONG}.min_value_traded"]["value"] == 1e6
    assert told[f"scanners.{LONG}.universe.quotes"]["origin"] == "canon.toml"
    assert told["scan.provider"]["meaning"]
    text = CliRunner().invoke(app, ["profiles", "show", LONG]).stdout
    [line] = [line for line in text.splitlines() if line.startswith(f"scanners.{LONG}.universe.min_bars ")]
    assert re.search(r" 252 +canon.toml +Bars of its present listing .*\(bars, whole, at least 1\)", line)


def test_profiles_show_tells_of_a_portfolio():
    told = json.loads(
        CliRunner().invoke(app, ["profiles", "show", META, "--json", "--set", "meta.max_coin=0.1"]).stdout
    )
    assert told["max_coin"]["value"] == 0.1
    assert told["max_coin"]["origin"] == "--set meta.max_coin=0.1"
    assert "scan.provider" in told
