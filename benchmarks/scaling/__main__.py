"""Measure how cost grows, draw it, and write the tables of ``docs/scaling.md``.

    python -m benchmarks.scaling              # all series, peers and executors; 12 minutes on two idle cores
    python -m benchmarks.scaling --small      # smaller sizes, 2 minutes
    python -m benchmarks.scaling --only NAME  # one of the series, "peers" or "workers"; may be repeated
    python -m benchmarks.scaling --full       # also 88 M hourly bars in 2 GB, see benchmarks/memory.py; 25 GB of disk
    python -m benchmarks.scaling --render     # measure nothing, write page and figures again

Answers are checked before times are told; what is measured wrong, or differs, ends the program with 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.scaling import model, page, peers, plots, tables
from benchmarks.scaling.measure import ROOT, MeasureError
from benchmarks.scaling.page import Measured
from benchmarks.scaling.series import BY_NAME, SERIES, measure_workers

PEERS, WORKERS = "peers", "workers"
LONGEST = ("sleeves_canonical", "sleeves_fast")
ORDER = (*(series.name for series in SERIES if series.name not in LONGEST), PEERS, WORKERS, *LONGEST)


def tell(text: str) -> None:
    print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)


def measure(name: str, scale: str, measured: Measured) -> None:
    """Measure one part and keep it."""
    if name == PEERS:
        told = peers.measure(scale)
        measured.ratings_peers, measured.portfolio_peers = told["ratings"], told["portfolios"]
        measured.skipped = peers.skipped()
    elif name == WORKERS:
        measured.workers = measure_workers(scale, tell)
    else:
        measured.curves[name] = BY_NAME[name].measure(scale, tell)
    measured.headers[name] = f"{'' if scale == 'full' else f'{scale} sizes; '}{page.machine()}"


def parts(measured: Measured) -> dict[str, str]:
    """Return every part of the page that is written from measurements."""
    by_figure = {
        figure: tables.of_series(measured, [series.name for series in SERIES if series.figure == figure], figure)
        for figure in plots.FIGURES
    }
    made: dict[str, Callable[[Measured], str]] = {
        "summary": tables.summary,
        "workers": tables.workers,
        "ratings_peers": tables.ratings_peers,
        "portfolio_peers": tables.portfolio_peers,
        "model": model.extrapolated,
        "limits": model.limits,
    }
    memory = measured.memory or "Not measured here: `make bench-scaling FULL=1`, or `python -m benchmarks.memory`."
    return by_figure | {name: write(measured) for name, write in made.items()} | {"memory": memory}


def render(measured: Measured, target: Path = page.PAGE, images: Path = page.IMAGES) -> None:
    """Draw the figures and write the parts of the page."""
    plots.draw(measured, images)
    target.write_text(page.fill(target.read_text(encoding="utf-8"), parts(measured)), encoding="utf-8")


def bounded_memory() -> str:
    """Run the benchmark of bounded memory and return its table."""
    command = [sys.executable, "-m", "benchmarks.memory"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise MeasureError("benchmarks.memory ended with an error or above its limit")
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith("|"))


def chosen(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("--small", action="store_true", help="smaller sizes, for a look")
    parser.add_argument("--full", action="store_true", help="also 88 M hourly bars in 2 GB")
    parser.add_argument("--only", action="append", choices=ORDER, help="a part to measure; may be repeated")
    parser.add_argument("--render", action="store_true", help="measure nothing, write page and figures again")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    asked = chosen(arguments)
    scale, failed = "small" if asked.small else "full", []
    measured = Measured.read()
    for name in () if asked.render else [name for name in ORDER if not asked.only or name in asked.only]:
        began = time.perf_counter()
        try:
            measure(name, scale, measured)
        except MeasureError as error:
            failed.append(f"{name}: {error}")
            continue
        measured.write()
        tell("")
        print(f"\r{name}: {time.perf_counter() - began:.0f} s", flush=True)
    if asked.full:
        measured.memory = bounded_memory()
        measured.write()
    render(measured)
    print(f"written: {page.PAGE.relative_to(ROOT)} and the figures in {page.IMAGES.relative_to(ROOT)}")
    for name in measured.skipped:
        print(f"skipped, not installed: {name}")
    for what in failed:
        print(f"failed: {what}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
