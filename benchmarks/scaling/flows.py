"""Works that run whole sleeves: one against the market's size, many against their number and the executor."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scaling import worlds
from benchmarks.scaling.measure import Job, MeasureError, apart

CANON = (
    "binance_spot_rating_all_long",
    "binance_spot_rating_all_short",
    "binance_spot_rating_ma_long",
    "binance_spot_rating_ma_short",
)
FAST = ("walk_forward.days=10",)
"""One rebalance instead of those of 250 days: what a sleeve costs besides its walk-forward."""


def variants(folder: Path, sleeves: int) -> list[str]:
    """Write ``assay.toml`` with so many profiles, all different, and return their names.

    The four canonical profiles, then the same with other caps of an atom.
    """
    names, lines = [], []
    for number in range(sleeves):
        parent = CANON[number % len(CANON)]
        kind = parent.removeprefix("binance_spot_rating_")
        signal = '\nselection.dominant_signal = "recommend_ma"' if kind.startswith("ma") else ""
        names.append(f"sleeve_{number:05d}")
        lines.append(
            f'[profiles.{names[-1]}]\ndirection = "{kind.rpartition("_")[2].upper()}"\n'
            f'logics = ["rating_{kind.partition("_")[0]}"]\nscanners = ["{parent}"]{signal}\n'
            f"caps.atom = {0.25 + 0.0005 * (number // len(CANON)):.4f}\n"
        )
    (folder / "assay.toml").write_text("\n".join(lines), encoding="utf-8")
    return names


def digest(run: Path) -> str:
    """Return one hash of the content hashes of a run's steps 2 to 13."""
    from assay.pipeline.replay import recorded_artifacts

    return hashlib.sha256(json.dumps(recorded_artifacts(run), sort_keys=True).encode()).hexdigest()


def valid(outcomes: Sequence[Any]) -> None:
    """Raise where a sleeve did not end valid."""
    bad = [f"{outcome.run_id}: {outcome.verdict}" for outcome in outcomes if outcome.state != "VALID"]
    if bad:
        raise MeasureError("; ".join(bad[:3]))


def sleeve(folder: Path, symbols: int, days: int, walk: int) -> Iterator[Job]:
    """One sleeve of the long profile in this process, on a lake that is there, with its report and seal."""
    from importlib import import_module

    from assay.pipeline.flow import WARM, lay_foundation, requests
    from assay.pipeline.runner import execute
    from assay.runs.home import Home
    from assay.settings import load

    for name in WARM:
        import_module(name)
    apart(_founded, folder, symbols, days)
    home = Home(folder / "home")
    catalog = load(settings=[f"walk_forward.days={walk}"])
    founded = lay_foundation(home, catalog, f"parquet:{folder / 'bars.parquet'}")  # all is there: nothing is read

    def work() -> Any:
        [request] = requests(home, catalog, founded, CANON[:1])
        return execute(request)

    yield Job("sleeve", work, lambda outcome: valid([outcome]), facts=lambda outcome: weight(home, [outcome]))


def _founded(folder: Path, symbols: int, days: int) -> None:
    """Fill a home's lake and scan it."""
    from assay.pipeline.flow import lay_foundation
    from assay.runs.home import Home
    from assay.settings import load

    source = worlds.write(folder / "bars.parquet", symbols, days)
    lay_foundation(Home(folder / "home"), load(), f"parquet:{source}")


def weight(home: Any, outcomes: Sequence[Any]) -> dict[str, Any]:
    """Return how much disk a run takes."""
    files = [path for outcome in outcomes for path in (home.runs / outcome.run_id).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    return {"run_mb": size / len(outcomes), "run_files": len(files) / len(outcomes)}


def executed(folder: Path, sleeves: int, setting: str, workers: int, fast: bool) -> Iterator[Job]:
    """Many sleeves on the embedded sample by an executor: what ``assay flow`` does, without its joint report.

    The processes' start is part of the work; the first ingest is not.
    """
    from assay.pipeline.flow import lay_foundation, requests, run_all, workforce
    from assay.runs.home import Home
    from assay.settings import load

    home = Home(folder / "home")
    names = variants(folder, sleeves)
    catalog = load(folder, settings=FAST if fast else ())
    founded = lay_foundation(home, catalog, "sample")

    def work() -> Any:
        marks = [time.perf_counter()]
        with workforce(setting, workers, home) as executor:
            marks.append(time.perf_counter())
            wanted = requests(home, catalog, founded, names)
            marks.append(time.perf_counter())
            outcomes = run_all(executor, wanted)
            marks.append(time.perf_counter())
        return wanted, outcomes, marks

    def facts(answer: Any) -> Mapping[str, Any]:
        wanted, outcomes, marks = answer
        digests = [digest(request.run) for request in wanted]
        parts = dict(zip(("start_s", "claim_s", "run_s"), map(float.__sub__, marks[1:], marks), strict=True))
        return {"digests": digests, **parts, **weight(home, outcomes)}

    yield Job("executed", work, lambda answer: valid(answer[1]), once=True, tree=True, facts=facts)


def registry(folder: Path, runs: int) -> Iterator[Job]:
    """What the registry costs one run of a home with so many runs: its trials, its line as it begins and as it ends."""
    from assay.backtest.trials import counted
    from assay.runs.ledger import chain_line
    from assay.runs.registry import Begun, Registration, append, begin, head
    from assay.runs.verify import REGISTRY_KINDS, parse_line
    from assay.settings.model import RISK_PROFILES

    def registration(number: int) -> Registration:
        mark = hashlib.sha256(str(number).encode()).hexdigest()
        ratios: dict[str, float | None] = dict.fromkeys(RISK_PROFILES, (number % 41 - 20) / 10)
        time_ = "2024-07-01T00:00:00.000000Z"
        return Registration(f"sleeve-{number}", "sleeve", mark, mark, mark, "VALID", time_, ratios)

    path = folder / "registry.jsonl"
    lines: list[Any] = []
    with path.open("wb") as out:
        for number in range(runs):
            run = registration(number)
            line = chain_line(lines, run.time, "run", run.body)
            lines.append(parse_line(line[:-1], REGISTRY_KINDS))
            out.write(line)
    del lines
    numbers = iter(range(runs, 10 * runs + 1_000))

    def work() -> Any:
        run = registration(next(numbers))
        found = counted(path, folder)
        before = head(path)
        begin(path, [Begun(run.run_id, run.profile, run.manifest)])
        return found, before, append(path, run)

    def check(answer: Any) -> None:
        found, before, after = answer
        if found["n"] != runs or before == after:
            raise MeasureError(f"{found['n']} trials counted, not {runs}")

    yield Job("registry", work, check)
