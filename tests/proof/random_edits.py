"""Random edits of a run, of its superset and of the lake that it pinned, each judged by what must find it, and undone.

    python tests/proof/random_edits.py COUNT SEED

makes a home, tries COUNT edits and prints how many were found, by kind, and each that was not.
"""

from __future__ import annotations

import fnmatch
import io
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from live_lakes import few_coins
from typer.testing import CliRunner

from assay.base.errors import AssayError
from assay.base.files import canonical_json, sha256, sha256_file
from assay.cli import app
from assay.lake.head import read_heads
from assay.lake.lake import Lake
from assay.lake.roots import Roots
from assay.lake.snapshot import pinned
from assay.runs.request import Request
from assay.runs.verify import verify

PROFILE = "binance_spot_rating_all_long"
EXEMPT = (
    "runs/*/run_status.json",
    "runs/registry.jsonl.lock",
    "runs/*, files that are no run's",
    "lake/*/.lock",
    "lake/*/superset/.lock",
    "lake/*/source.json",
    "lake/*/roots/*",
    "lake/*/*/_delta_log/*",
    "lake/*/heads.jsonl after its last newline",
    "lake/*, files that no head names",
)
"""Of which an edit may pass, in the words of the table in docs/reliability.md, which says why."""


def make_home(folder: Path) -> Path:
    """Return a home with a sealed run on a small lake with two states."""
    source = few_coins(folder / "bars.parquet")
    home = folder / "home"
    quick = ("--source", source, "--home", str(home))
    assert CliRunner().invoke(app, ["ingest", *quick]).exit_code == 0
    day = Lake(home, source).latest().last_close()
    scan = {"scanner": ["s"] * 3, "as_of": [day] * 3, "scanned_at": [day] * 3, "provider": ["tradingview"] * 3}
    rows = {"rank": [0, 1, 2], "symbol": [None, "A", "B"], "fields": ["{}"] * 3, "request": ["{}", None, None]}
    found = pl.DataFrame({**scan, **rows, "response_sha256": [None] * 3})
    Lake(home, source).record("candidates", found.with_columns(rank=pl.col("rank").cast(pl.Int32)))
    done = CliRunner().invoke(app, ["run", PROFILE, *quick, "--run-id", "one", "--set", "walk_forward.days=60"])
    assert done.exit_code == 0, done.output
    return home


@dataclass
class Edits:
    """Edits one home, over and over."""

    home: Path
    random: random.Random
    found: Counter[str] = field(default_factory=Counter)
    exempt: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run = self.home / "runs" / "one"
        self.request = Request.of(self.home, self.run)
        self.files = {path: path.read_bytes() for path in sorted(self.home.rglob("*")) if path.is_file()}
        self.names = [path for path in self.files if "reports" not in path.relative_to(self.home).parts[:1]]
        assert self.fault_of_run() is None
        assert self.fault_of_lake() is None

    # --- what must find them

    def fault_of_run(self) -> str | None:
        verdict = verify(self.run, registry=self.home / "runs" / "registry.jsonl")
        return str(verdict.problems[0]) if verdict.problems else None

    def fault_of_lake(self) -> str | None:
        """What a run's preflight and discovery, and the doctor, ask of a lake."""
        try:
            snapshot = pinned(self.request)
            read_heads(snapshot.folder)
            changes = [*snapshot.changes(whole=True), *Roots(snapshot.storage).strays()]
        except AssayError as error:
            return str(error)
        shelf = self.home / self.request.superset
        if not shelf.is_file() or sha256_file(shelf) != self.request.superset_sha256:
            return "the superset is not the one that was pinned"
        return str(changes[0]) if changes else None

    # --- what is tried

    def try_one(self) -> None:
        """Make one edit that changes bytes, judge it, and undo it."""
        kind = self.random.choice(KINDS)
        target = self.random.choice(self.names)
        name = target.relative_to(self.home).as_posix()
        if self.random.random() < 0.25:  # the few files that are not artifacts of the run get a share of their own
            target = self.random.choice([one for one in self.names if "/runs/one/" not in str(one)])
            name = target.relative_to(self.home).as_posix()
        touched = kind(self, target)
        if touched is None:
            return
        try:
            fault = self.fault_of_lake() if name.startswith("lake/") else self.fault_of_run()
            what = f"{kind.__name__} {name}"
            allowed = self._allowed(touched)
            if fault is not None:
                self.found[kind.__name__] += 1
            elif allowed is not None:
                self.exempt[allowed] += 1
            else:
                self.missed.append(what)
        finally:
            for path in touched:
                if path in self.files:
                    path.write_bytes(self.files[path])
                else:
                    path.unlink()

    def _allowed(self, touched: list[Path]) -> str | None:
        """Return the row of the table under which every touched file may differ, or None."""
        rows = [self._row(path) for path in touched]
        return rows[0] if rows and None not in rows else None

    def _row(self, path: Path) -> str | None:
        name = path.relative_to(self.home).as_posix()
        if path not in self.files and name.startswith("lake/"):
            return "lake/*, files that no head names"
        if path.parent == self.home / "runs" and path not in self.files:
            return "runs/*, files that are no run's"
        if path.name == "heads.jsonl" and path.exists():
            whole = self.files[path]
            if path.read_bytes().startswith(whole) and b"\n" not in path.read_bytes()[len(whole) :]:
                return "lake/*/heads.jsonl after its last newline"
        return next((row for row in EXEMPT if fnmatch.fnmatch(name, row)), None)

    def put(self, path: Path, data: bytes) -> list[Path] | None:
        """Write other bytes; None where they are the same."""
        if data == self.files.get(path):
            return None
        path.write_bytes(data)
        return [path]


Kind = Callable[[Edits, Path], "list[Path] | None"]


def flip(edits: Edits, path: Path) -> list[Path] | None:
    data = bytearray(edits.files[path])
    if not data:
        return None
    data[edits.random.randrange(len(data))] ^= 1 << edits.random.randrange(8)
    return edits.put(path, bytes(data))


def cut(edits: Edits, path: Path) -> list[Path] | None:
    data = edits.files[path]
    return edits.put(path, data[: edits.random.randrange(len(data) + 1)])


def grow(edits: Edits, path: Path) -> list[Path] | None:
    return edits.put(path, edits.files[path] + edits.random.randbytes(edits.random.randrange(1, 20)))


def lines(edits: Edits, path: Path) -> list[Path] | None:
    """Remove, repeat or exchange whole lines."""
    rows = edits.files[path].splitlines(keepends=True)
    if len(rows) < 2:
        return None
    a, b = edits.random.sample(range(len(rows)), 2)
    how = edits.random.choice("-+x")
    if how == "-":
        del rows[a]
    elif how == "+":
        rows.insert(b, rows[a])
    else:
        rows[a], rows[b] = rows[b], rows[a]
    return edits.put(path, b"".join(rows))


def value(edits: Edits, path: Path) -> list[Path] | None:
    """Change one value of a JSON document, or of one line of a file of lines."""
    if path.suffix not in (".json", ".jsonl"):
        return None
    rows = edits.files[path].splitlines(keepends=True) if path.suffix == ".jsonl" else [edits.files[path]]
    row = edits.random.randrange(len(rows)) if rows else None
    if row is None:
        return None
    try:
        tree = json.loads(rows[row])
    except ValueError:
        return None
    _alter(edits.random, tree)
    made = canonical_json(tree) + b"\n" if path.suffix == ".jsonl" else json.dumps(tree, indent=2).encode() + b"\n"
    rows[row] = made
    return edits.put(path, b"".join(rows))


def _alter(chance: random.Random, tree: Any) -> None:
    while isinstance(tree, dict | list) and tree:
        key = chance.choice(list(tree)) if isinstance(tree, dict) else chance.randrange(len(tree))
        if not isinstance(tree[key], dict | list) or not tree[key] or chance.random() < 0.1:
            tree[key] = chance.choice([None, 0, 1.5, "other", True, [], {}, 1e-9])
            return
        tree = tree[key]


def rehashed(edits: Edits, path: Path) -> list[Path] | None:
    """Change one line of a chain and make every line after it follow, as a careful hand would; its seal too."""
    if path.suffix != ".jsonl":
        return None
    rows = [json.loads(row) for row in edits.files[path].splitlines()]
    at = edits.random.randrange(len(rows))
    _alter(edits.random, rows[at].get("body", rows[at]))
    made: list[bytes] = []
    for row in rows:
        if "seal" in row and "roots" in row:  # a head of a lake
            row["prev"] = sha256(made[-1]) if made else row["prev"]
            told = {name: one for name, one in row.items() if name != "seal"}
            row["seal"] = sha256(canonical_json(told))
        elif made:
            row["prev"] = sha256(made[-1])
        made.append(canonical_json(row))
    return edits.put(path, b"".join(row + b"\n" for row in made))


def table(edits: Edits, path: Path) -> list[Path] | None:
    """Write other numbers into a table, as a whole and sound file."""
    if path.suffix != ".parquet":
        return None
    frame = pl.read_parquet(io.BytesIO(edits.files[path]))
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    if not frame.height:
        return None
    row = edits.random.randrange(frame.height)
    if numbers and edits.random.random() < 0.8:
        name, here = edits.random.choice(numbers), pl.int_range(pl.len()) == row
        frame = frame.with_columns(pl.when(here).then(pl.col(name) * 1.001 + 1e-9).otherwise(pl.col(name)).alias(name))
    else:
        frame = frame.filter(pl.int_range(pl.len()) != row)
    made = io.BytesIO()
    frame.write_parquet(made, compression=edits.random.choice(["lz4", "zstd"]))
    return edits.put(path, made.getvalue())


def swap(edits: Edits, path: Path) -> list[Path] | None:
    """Exchange two files; those of a run with each other, those of a lake likewise."""
    top = path.relative_to(edits.home).parts[0]
    other = edits.random.choice([one for one in edits.names if one.relative_to(edits.home).parts[0] == top])
    if edits.files[path] == edits.files[other]:
        return None
    path.write_bytes(edits.files[other])
    other.write_bytes(edits.files[path])
    return [path, other]


def remove(edits: Edits, path: Path) -> list[Path] | None:
    path.unlink()
    return [path]


def add(edits: Edits, path: Path) -> list[Path] | None:
    """Put a file more beside one, with its bytes or others."""
    stem = edits.random.choice(["copy", "z", ".hidden", ".run_status.json.1.tmp", "audit_report"])
    new = path.with_name(f"{stem}{path.suffix}")
    if new.exists() or path.parent == edits.home / "runs":
        return None
    new.write_bytes(edits.random.choice([edits.files[path], b"", b"{}\n"]))
    return [new]


def rename(edits: Edits, path: Path) -> list[Path] | None:
    new = path.with_name(f"{path.name}.old")
    path.rename(new)
    return [path, new]


KINDS: tuple[Kind, ...] = (flip, flip, cut, grow, lines, value, value, rehashed, table, swap, remove, add, rename)


def attempt(home: Path, count: int, seed: int) -> Edits:
    """Try so many edits that change bytes."""
    edits = Edits(home, random.Random(seed))
    while edits.found.total() + edits.exempt.total() + len(edits.missed) < count:
        edits.try_one()
    return edits


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = attempt(make_home(Path(scratch)), int(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(f"found {made.found.total()} {dict(made.found)}\nexempt {dict(made.exempt)}\n")
    sys.stdout.write("".join(f"MISSED {one}\n" for one in made.missed) or "missed none\n")
    sys.exit(bool(made.missed))
