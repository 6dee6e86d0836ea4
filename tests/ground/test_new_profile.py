"""A profile that ``assay new profile`` writes runs as it is, and says the same with and without its comment signs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.base.errors import Exit
from assay.cli import app
from assay.settings import load
from assay.settings.reference import MODELS, settings_of

CANON = [f"binance_spot_rating_{kind}_{side}" for kind in ("all", "ma") for side in ("long", "short")]


def new(name, *more):
    done = CliRunner().invoke(app, ["new", "profile", name, *more])
    return done, Path("assay.toml").read_text() if Path("assay.toml").exists() else ""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(folder, name):
    """Everything that decides about a profile."""
    catalog = load(folder)
    profile = catalog.profile(name)
    return profile.model_dump(), catalog.scanner(name).model_dump(), catalog.house().items()


@pytest.mark.parametrize("like", CANON)
def test_a_new_profile_is_what_it_was_begun_as(like):
    done, _ = new("mine", "--like", like)
    assert done.exit_code == Exit.OK, done.output
    catalog = load(Path())
    own, other = (catalog.profile(name).model_dump() for name in ("mine", like))
    named = {"name": "mine", "description": f"Begun as {like}", "scanners": ("mine",)}
    assert own == other | named
    assert catalog.scanner("mine") == catalog.scanner(like)


def test_every_line_says_what_holds_anyhow():
    _, text = new("mine")
    before = told(Path(), "mine")
    bare = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)
    said = re.findall(r"^(\w+) = ", text, re.MULTILINE)
    assert said == ["logic", "direction", "description", "direction", "logics", "scanners", "stand_aside"]
    assert not re.findall(r"^# \w+ = ", bare, re.MULTILINE)
    assert len(re.findall(r"^# \w+ = ", text, re.MULTILINE)) >= 80
    Path("assay.toml").write_text(bare)
    after = told(Path(), "mine")
    assert after[:2] == before[:2]
    assert {key: value for key, (value, _) in after[2]} == {key: value for key, (value, _) in before[2]}


def test_every_setting_is_there_with_its_meaning():
    _, text = new("mine")
    words = " ".join(line.removeprefix("## ") for line in text.splitlines())
    for section in ("profiles", "scanners", "ratings", "scan", "source", "schedule", "executor"):
        for fact in settings_of(MODELS[section]):
            if (section, fact.name) != ("profiles", "name"):
                assert f"{fact.meaning} {fact.limits}" in words, fact.name
                assert re.search(rf"^(# |#  )?{fact.name.rpartition('.')[2]} (= |is not set)", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 140


def test_a_second_profile_goes_below_the_first():
    new("mine")
    done, text = new("second", "--like", CANON[1])
    assert done.exit_code == Exit.OK
    assert load(Path()).profile("second").direction == "SHORT"
    assert load(Path()).profile("mine").direction == "LONG"
    assert len(tomllib.loads(text)["profiles"]) == 2
    assert text.count("[executor]") == 1


@pytest.mark.parametrize(
    ("name", "like", "says"),
    [
        ("mine", "nobody", "unknown name 'nobody'"),
        (CANON[0], CANON[0], "is there already"),
        ("meta_binance_spot_ratings", CANON[0], "is there already"),
        ("my own", CANON[0], "cannot be a name"),
        ("x]", CANON[0], "cannot be a name"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(name, like, says):
    done, text = new(name, "--like", like)
    assert (done.exit_code, says in done.output, text) == (Exit.USAGE, True, "")
