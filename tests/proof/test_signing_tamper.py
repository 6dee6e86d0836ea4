"""Real runs under attack: signed sleeves and a signed portfolio of sleeves, file by file."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from signed_runs import Signed

from assay.runs import artifacts as layout
from assay.runs import signing
from assay.runs.verify import verify


def attack(signed: Signed, seed: int, count: int) -> Counter[str]:
    rng = random.Random(seed)
    check = signing.checker(signing.public_key(signed.public))
    runs = {name: sorted(path for path in run.rglob("*") if path.is_file()) for name, run in signed.runs.items()}
    done: Counter[str] = Counter()
    for number in range(count):
        name = rng.choice(sorted(runs))
        path = rng.choice([path for path in runs[name] if path.name != layout.STATUS])
        run = signed.runs[name]
        before = path.read_bytes()
        kind = rng.choice(["flip", "cut", "remove", "swap", "add", "link"])
        where = path.relative_to(run).as_posix()
        _edit(rng, kind, path, signed, before)
        verdict = verify(run, check_signature=check)
        place = f"edit {number} of seed {seed}: {kind} {name} {where}"
        assert not verdict.ok, place
        expected = f"{re.escape(where)}( line \\d+)?$" if kind != "add" else f"{re.escape(where)}.added$"
        assert re.match(expected, verdict.problems[0].where), f"{place}: {verdict.problems}"
        path.with_name(path.name + ".added").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(before)
        done[kind] += 1
    for run in signed.runs.values():
        assert verify(run, check_signature=check).ok
    return done


def _edit(rng: random.Random, kind: str, path: Path, signed: Signed, before: bytes) -> None:
    if kind == "flip":
        at = rng.randrange(len(before))
        path.write_bytes(before[:at] + bytes([before[at] ^ (1 << rng.randrange(8))]) + before[at + 1 :])
    elif kind == "cut":
        path.write_bytes(before[: rng.randrange(len(before))])
    elif kind == "remove":
        path.unlink()
    elif kind == "add":
        path.with_name(path.name + ".added").write_bytes(before)
    elif kind == "link":
        twin = signed.home.parent / "twin"
        twin.write_bytes(before)
        path.unlink()
        path.symlink_to(twin)
    else:  # the bytes of some file of another kind or run
        others = [one for run in signed.runs.values() for one in run.rglob("*") if one.is_file()]
        path.write_bytes(rng.choice([one for one in others if one.read_bytes() != before]).read_bytes())


@pytest.mark.parametrize(("seed", "count"), [(1, 40), pytest.param(2, 1_000, marks=pytest.mark.slow)])
def test_edits_of_signed_runs_and_portfolios_are_found_and_named(
    signed: Signed, tmp_path: Path, seed: int, count: int
) -> None:
    done = attack(signed.copy(tmp_path / "home"), seed, count)
    assert len(done) == 6
    sys.stdout.write(f"seed {seed}: {done.total():,} edits of real runs, each found and named\n")
