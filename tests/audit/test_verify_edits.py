"""The promise under attack: every edit shows, by the name of the line or file that was touched."""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from audit_edits import BOOK, CHECK, EDITS, LEDGER, NAMES, RUNS, Editor, Files, apply, forge_artifact, make_world, undo

from assay.base import files
from assay.runs.verify import verify

World = tuple[Path, Files, dict[str, bytes]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    runs = tmp_path / "runs"
    return (runs, *make_world(runs))


def attack(world: World, seed: int, count: int) -> Counter[str]:
    runs, contents, old = world
    for run in RUNS:
        assert verify(runs / run, check_signature=CHECK).ok
    editor = Editor(contents, old, random.Random(seed))
    done: Counter[str] = Counter()
    for number in range(count):
        name, edit = editor.draw()
        apply(runs, contents, edit.change)
        verdict = verify(runs / edit.run, check_signature=CHECK)
        place = f"edit {number} of seed {seed}: {name}"
        assert not verdict.ok, place
        assert not verdict.intact, place
        assert re.match(edit.where, verdict.problems[0].where), f"{place}: {edit.where}: {verdict.problems}"
        undo(runs, contents, edit.change)
        done[name] += 1
    for run in RUNS:
        assert verify(runs / run, check_signature=CHECK).ok
    return done


def test_two_thousand_edits_are_found_and_named(world: World) -> None:
    done = attack(world, seed=1, count=2_000)
    assert set(done) == {edit.__name__ for edit in EDITS}
    sys.stdout.write(f"{done.total():,} edits of {len(done)} kinds, each found and named\n")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_twenty_thousand_edits_are_found_and_named(world: World, seed: int) -> None:
    done = attack(world, seed, 2_000)
    assert done.total() == 2_000
    sys.stdout.write(f"seed {seed}: {done.total():,} edits of {len(done)} kinds, each found and named\n")


def rewrite_everything(runs: Path, contents: Files) -> str:
    """Rewrite the last run, its seal and the registry, so that all of them agree; return the new head."""
    run, name = RUNS[-1], NAMES[2]
    data = b"better weights\n"
    ledger = forge_artifact(run, contents, name, data)
    head = files.sha256(ledger.splitlines()[-1])
    (runs / run / name).write_bytes(data)
    (runs / run / LEDGER).write_bytes(ledger)
    *before, last = contents[BOOK].splitlines(keepends=True)
    value = json.loads(last)
    sealed = json.loads(ledger.splitlines()[-1])
    body = {key: item for key, item in sealed["body"].items() if key != "signature"}
    value["body"]["head"] = head
    value["body"]["seal"] = files.content_hash_json({"prev": sealed["prev"], "body": body})
    (runs / BOOK).write_bytes(b"".join([*before, files.canonical_json(value) + b"\n"]))
    return head


def test_a_full_rewrite_shows_only_against_a_noted_head_or_a_signature(world: World) -> None:
    runs, contents, _ = world
    run = runs / RUNS[-1]
    noted = verify(run).head
    head = rewrite_everything(runs, contents)
    assert head != noted
    assert verify(run).ok  # the limit of what can be known from inside
    assert verify(run, head=head).ok
    verdict = verify(run, head=noted)
    assert [problem.code for problem in verdict.problems] == ["NOTED_HEAD"]
    assert [problem.code for problem in verify(run, check_signature=CHECK).problems] == ["SIGNATURE"]


def test_a_rewritten_run_shows_in_the_runs_that_began_later(world: World) -> None:
    """The registry's head in a genesis ties a run to everything that was registered before it."""
    runs, contents, _ = world
    first, later = RUNS[0], RUNS[1]
    lines = contents[BOOK].splitlines(keepends=True)
    done: list[bytes] = []
    for line in lines:
        value = json.loads(line)
        if value["body"]["run_id"] == first:
            value["body"]["verdict"] = "BETTER"
        value["prev"] = files.sha256(done[-1][:-1]) if done else "0" * 64
        done.append(files.canonical_json(value) + b"\n")
    (runs / BOOK).write_bytes(b"".join(done))
    assert [problem.code for problem in verify(runs / later).problems] == ["REGISTRY_CUT"]


def test_a_folder_that_became_a_link_is_named(world: World, tmp_path: Path) -> None:
    """The very same files, reached through a link: they could be changed from elsewhere."""
    runs, _, _ = world
    run = runs / RUNS[0]
    (run / "data").rename(tmp_path / "elsewhere")
    (run / "data").symlink_to(tmp_path / "elsewhere")
    verdict = verify(run, check_signature=CHECK)
    assert verdict.problems[0].where == "data"
    assert verdict.problems[0].code == "FILE_STRANGE"
