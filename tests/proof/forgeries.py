"""What a forger does who has the whole home and this program: edits a run, and makes everything else agree.

He writes ledger, seal and registry anew, and mostly the validation and the report too, by the program's own code. He
cannot make the pinned lake give other numbers.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from signed_runs import change_json, content, reseal

from assay.base import files
from assay.base.errors import AssayError
from assay.pipeline import replay
from assay.pipeline.tables import steps_of
from assay.prove.audit import SOUND, Audit, Auditor
from assay.runs import artifacts as layout
from assay.runs.home import Home
from assay.runs.run import Run

Change = Callable[[Path], None]
"""Edits the files of a run."""


@dataclass(frozen=True)
class Forged:
    """A forgery, and what was said of it."""

    what: str
    audit: Audit
    same: bool
    """The verdict is SOUND, and every content hash and the report's text are the original's."""

    @property
    def good(self) -> bool:
        """Whether the verdict is one that may be given."""
        return self.audit.verdict != SOUND or self.same


class Forger:
    """Forges copies of one run in a home, one after the other."""

    def __init__(self, home: Path, run: Path) -> None:
        self.home, self.run = Home(home), run
        self.registry = self.home.registry.read_bytes()
        self.original = run.with_name(f".{run.name}")
        shutil.copytree(run, self.original, dirs_exist_ok=True)
        self.hashes = self._hashes()

    def forge(self, what: str, change: Change, redo: bool) -> Forged:
        """Change the run, redo its last two steps if asked to, seal it anew, and audit it; then undo all of it."""
        try:
            change(self.run)
            if redo:
                self._redo()
            reseal(self.home.path, self.run)
            audit = Auditor(self.home).audit(self.run)
            return Forged(what, audit, audit.verdict == SOUND and self._hashes() == self.hashes)
        finally:
            shutil.rmtree(self.run)
            shutil.copytree(self.original, self.run)
            self.home.registry.write_bytes(self.registry)

    def _redo(self) -> None:
        """Let the program judge and describe what is there now, as far as it does."""
        reseal(self.home.path, self.run)
        try:
            run = Run(self.run)
            request = run.manifest
            steps = steps_of(request)[-replay.JUDGING :]
        except (AssayError, ValueError, KeyError, TypeError):
            return
        copy = self.home.path / "forged" / self.run.name
        for step in steps:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(replay, "replace", replay.replace)
                try:
                    made = replay._done_again(Run(self.run), replay.replace(request, run=copy), step)
                except Exception:  # noqa: BLE001 - what he broke he cannot describe
                    made = []
            for name in made:
                shutil.copy(copy / name, self.run / name)
            reseal(self.home.path, self.run)
        shutil.rmtree(copy.parent, ignore_errors=True)

    def _hashes(self) -> dict[str, str]:
        found = {}
        for path in sorted(self.run.rglob("*")):
            name = path.relative_to(self.run).as_posix()
            if path.is_file() and name not in (layout.LEDGER, layout.STATUS):
                try:
                    found[name] = content(self.run, name)
                except (AssayError, ValueError, pl.exceptions.PolarsError):
                    found[name] = "unreadable"
        return found


@contextmanager
def replays_kept():
    """Keep what the steps before the judging ones made of a manifest: nothing but it and the lake decides that."""
    kept: dict[str, Path] = {}
    honest = replay.execute

    def execute(request, steps):
        known = {key: value for key, value in request.manifest().items() if key != "trials"}
        key = files.content_hash_json(known)
        if key not in kept:
            outcome = honest(request, steps=steps)
            if outcome.error is not None:
                return outcome
            kept[key] = request.home / "kept" / key / request.run.name
            shutil.copytree(request.run, kept[key])
        shutil.copytree(kept[key], request.run, dirs_exist_ok=True)
        return SimpleNamespace(error=None)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(replay, "execute", execute)
        yield


# ---- what a forger might want --------------------------------------------------------------------------------------


def table(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Change:
    """Change a table."""
    return lambda run: change(pl.read_parquet(run / name)).write_parquet(run / name)


def document(name: str, change: Callable[[Any], Any]) -> Change:
    """Change a JSON document in place."""
    return lambda run: change_json(run / name, change)


def text(name: str, old: str, new: str) -> Change:
    """Replace words of a text."""

    def change(run: Path) -> None:
        told = (run / name).read_text()
        assert old in told, (name, old)
        (run / name).write_text(told.replace(old, new))

    return change


def ledger(change: Callable[[dict[str, Any]], None]) -> Change:
    """Change the lines of a ledger; sealing it anew chains them again."""

    def edit(run: Path) -> None:
        lines = [json.loads(line) for line in (run / layout.LEDGER).read_bytes().splitlines()]
        for line in lines:
            change(line)
        (run / layout.LEDGER).write_bytes(b"".join(files.canonical_json(line) + b"\n" for line in lines))

    return edit


def all_of(*changes: Change) -> Change:
    """Make several changes."""

    def change(run: Path) -> None:
        for one in changes:
            one(run)

    return change


def grown(frame: pl.DataFrame) -> pl.DataFrame:
    """Add 0.4 % to every day, NAV with it."""
    better = pl.col("ret") + 0.004
    return frame.sort("risk_profile", "date").with_columns(
        ret=better, nav=(better + 1.0).cum_prod().over("risk_profile")
    )


def sharper(value: Any) -> None:
    """Tell a Sharpe ratio of 9.9."""
    for figures in value["as_run"].values():
        figures["sharpe"] = 9.9


def moved(value: Any) -> None:
    """Move a tenth of a percent from one atom to another of the same risk profile."""
    assets = [one for one in value["profiles"]["min_variance"]["assets"] if one["Weight"] > 0.01][:2]
    for one, sign in zip(assets, (1, -1), strict=True):
        one["Weight"] += sign * 0.001
        one["Net_Weight"] += sign * 0.001


def moved_coins(value: Any) -> None:
    """The same among coins."""
    assets = [one for one in value["profiles"]["min_variance"]["assets"] if one["Gross_Weight"] > 0.01][:2]
    for one, sign in zip(assets, (1, -1), strict=True):
        for key in ("Weight", "Net_Weight", "Gross_Weight"):
            one[key] += sign * 0.001
        one["Atoms"][0]["Weight"] += sign * 0.001


def gate_of(name: str, **values: Any) -> Change:
    """Let a gate say something else."""

    def change(line: dict[str, Any]) -> None:
        if line["kind"] == "gate" and line["body"]["gate"] == name:
            line["body"] |= values

    return ledger(change)


def contract_of(layer: str, **values: Any) -> Change:
    """Let a contract say something else."""

    def change(line: dict[str, Any]) -> None:
        if line["kind"] == "contract" and line["body"]["layer"] == layer:
            line["body"] |= values

    return ledger(change)


def deflated(value: Any) -> None:
    """Tell that one thing was tried, and that it is certain."""
    value["trials"] = 1
    for figures in value["as_run"].values():
        figures["dsr"] = 0.999


def events(line: dict[str, Any]) -> None:
    """Let events say that nothing happened."""
    if line["kind"] == "event":
        line["body"]["what"] = "nothing happened"


def untried(line: dict[str, Any]) -> None:
    """Let the ledger count other trials than were begun."""
    if line["kind"] == "event" and line["body"]["code"] == layout.TRIED:
        line["body"]["values"] |= {"n": 3, "records": [], "sharpes": 0, "sharpe_mean": None, "sharpe_variance": None}


FORGERIES: dict[str, Change] = {
    "the report's words": text(layout.REPORT, "No fatal fault", "No fault at all"),
    "the page's words": text(layout.PAGE, "Audit report", "Audit-Report"),
    "the index": text(layout.INDEX, "the audit report", "the Audit report"),
    "other trials": ledger(untried),
    "one trial, certain": document(layout.TRIALS, deflated),
    "another's fee": document(layout.MANIFEST, lambda v: v["provenance"].update({"costs.fee": "auditor"})),
    "a fee that is not the canon's": document(layout.MANIFEST, lambda v: v["profile"]["costs"].update(fee=0.0)),
    "another description": document(layout.MANIFEST, lambda v: v["profile"].update(description="safe")),
    "another limit": document(layout.MANIFEST, lambda v: v["profile"]["limits"].update(step=99.0)),
    "another Python": document(layout.MANIFEST, lambda v: v["environment"].update(python="9.9")),
    "another edition": document(layout.MANIFEST, lambda v: v.update(edition="2021")),
    "another provider": document(layout.MANIFEST, lambda v: v["superset"].update(provider="tradingview")),
    "weakened rules that are none": document(
        layout.MANIFEST, lambda v: v.update(weakened=["caps.atom 1 (canon 0.25)"])
    ),
    "more in the manifest": document(layout.MANIFEST, lambda v: v.update(audited_by="someone")),
    "NAV x 3": table(layout.WALK_RETURNS, lambda f: f.with_columns(pl.col("nav") * 3.0)),
    "0.4 % a day": table(layout.WALK_RETURNS, grown),
    "Sharpe 9.9": document(layout.WALK_STATISTICS, sharper),
    "0.4 % a day and Sharpe 9.9": all_of(table(layout.WALK_RETURNS, grown), document(layout.WALK_STATISTICS, sharper)),
    "a trade less": table(layout.WALK_TRADES, lambda f: f[1:]),
    "cheaper trades": table(layout.WALK_TRADES, lambda f: f.with_columns(pl.col("fee") * 0.5)),
    "a better year": document(
        layout.WALK_BY_YEAR, lambda v: [y.update(cagr=1.0) for p in v.values() for y in p.values()]
    ),
    "no survivors' error": document(layout.WALK_SURVIVORSHIP, lambda v: v.update(dict.fromkeys(list(v)[:1]))),
    "another benchmark": table(layout.WALK_YARDSTICKS, lambda f: f.with_columns(pl.col("benchmark") * 0.9)),
    "weights of atoms and coins moved": all_of(
        document(layout.OPTIMIZED, moved), document(layout.FLATTENED, moved_coins)
    ),
    "a funnel with more candidates": document(
        layout.SELECTION,
        lambda v: v["stages"][0].update({k: n + 1 for k, n in v["stages"][0].items() if type(n) is int}),
    ),
    "a lower alpha": document(layout.WINNERS, lambda v: v["winners"][0].update(alpha_score=0.5)),
    "another regime": document(layout.RISK, lambda v: v.update(regime="QUIET")),
    "a return of the matrix": table(
        layout.RETURNS,
        lambda f: f.with_columns(
            pl.when(pl.int_range(pl.len()) == 5).then(0.01).otherwise(pl.nth(1)).alias(f.columns[1])
        ),
    ),
    "a gate that checked more": gate_of("causality", checked=10**6),
    "a contract over more rows": contract_of("L0", rows=10**4),
    "events that say nothing": ledger(events),
    "healthy data": document(layout.HEALTH, lambda v: v.update(findings=[])),
}
"""Forgeries by what they pretend."""


def random_change(rng: random.Random, run: Path) -> tuple[str, Change]:
    """Draw an edit of a file of a run, and say what it is."""
    names = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    name = rng.choice([one for one in names if one != layout.STATUS])
    seed = rng.randrange(2**32)
    if name.endswith(".parquet"):
        change = table(name, lambda frame: _other_table(random.Random(seed), frame))
    elif name.endswith(".json"):
        change = document(name, lambda value: _other_leaf(random.Random(seed), value, name))
    elif name == layout.LEDGER:
        change = _other_line(random.Random(seed))
    else:

        def change(run: Path) -> None:
            told = (run / name).read_text()
            (run / name).write_text(_other_text(random.Random(seed), told))

    return f"{name} {seed}", change


def _other_text(rng: random.Random, told: str) -> str:
    lines = told.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    kind = rng.randrange(3)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, "All of it is certain.\n")
    else:
        lines[at] = lines[at].replace(rng.choice("0123456789"), rng.choice("0123456789"))
    return "".join(lines)


def _other_value(rng: random.Random, value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + rng.choice([-1, 1, 10])
        case float():
            return value * rng.choice([1.1, 1.0 + 1e-9, -1.0]) + rng.choice([0.0, 1e-3])
        case str():
            return rng.choice([value + "x", value[:-1], "VALID"])
        case None:
            return rng.choice([0, 1.5, "x"])
    return None


def _other_leaf(rng: random.Random, value: Any, name: str) -> None:
    """Change, remove or add one leaf of a document."""
    at = value
    while True:
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            if isinstance(at, dict):
                at["more"] = 1
            else:
                at.append(1)
            return
        key = rng.choice([one for one in keys if not (name == layout.MANIFEST and one in ROOTLESS)] or keys)
        if isinstance(at[key], (dict, list)) and rng.random() < 0.95:
            at = at[key]
            continue
        if rng.random() < 0.1:
            del at[key]
        else:
            at[key] = _other_value(rng, at[key])
        return


ROOTLESS = ("run_id", "source", "home")
"""What of a manifest only names: see docs/reliability.md."""


def _other_table(rng: random.Random, frame: pl.DataFrame) -> pl.DataFrame:
    if not frame.height or rng.random() < 0.1:
        return frame.with_columns(pl.lit(1).alias("more"))
    row, kind = rng.randrange(frame.height), rng.randrange(10)
    if kind == 0:
        return frame.filter(pl.int_range(pl.len()) != row)
    if kind == 1:
        return pl.concat([frame, frame[row]])
    column = rng.choice(frame.columns)
    values = frame[column].to_list()
    old = values[row]
    values[row] = _other_value(rng, old) if isinstance(old, (bool, int, float, str)) or old is None else values[row - 1]
    return frame.with_columns(pl.Series(column, values, dtype=frame.schema[column], strict=False))


def _other_line(rng: random.Random) -> Change:
    """Change what the ledger says that was found, or leave out one such line."""
    told = ("contract", "gate", "event", "fallback")

    def edit(run: Path) -> None:
        lines = [json.loads(line) for line in (run / layout.LEDGER).read_bytes().splitlines()]
        at = rng.choice([place for place, line in enumerate(lines) if line["kind"] in told])
        if rng.random() < 0.2:
            del lines[at]
        else:
            _other_leaf(rng, lines[at]["body"], layout.LEDGER)
        for place, line in enumerate(lines):
            line["seq"] = place
        (run / layout.LEDGER).write_bytes(b"".join(files.canonical_json(line) + b"\n" for line in lines))

    return edit
