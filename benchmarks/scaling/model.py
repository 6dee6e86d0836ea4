"""From what was measured to 100,000 symbols and 10,000 sleeves: fitted growth with its prediction interval."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.scaling.page import Measured
from benchmarks.scaling.tables import megabytes, seconds, table

SYMBOLS, SLEEVES = 100_000, 10_000
MEMORY_MB = 16_000.0
"""Memory of a machine that people have, for which the limits are told."""
BY_SHARDS = "by shards: bounded"

JOBS = (
    ("ratings_symbols", "ratings", f"rate 1,000 daily bars of {SYMBOLS:,} symbols at once", SYMBOLS, ""),
    ("ingest_symbols", "ingest", f"load and rate a file of 1,000 days of {SYMBOLS:,} symbols", SYMBOLS, BY_SHARDS),
    ("update_symbols", "one more day", "the same file with one more day", SYMBOLS, BY_SHARDS),
    ("sleeve_symbols", "sleeve", f"one sleeve with 10 rebalances in a market of {SYMBOLS:,} symbols", SYMBOLS, ""),
    ("sleeves_canonical", "executed", f"{SLEEVES:,} canonical sleeves", SLEEVES, "that of a worker, each"),
    ("sleeves_fast", "executed", f"{SLEEVES:,} sleeves with one rebalance", SLEEVES, "that of a worker, each"),
)
"""Series, job, what it is, size, and what is said of memory where none is continued."""


def _cells(found: tuple[float, float, float], write: Callable[[float], str]) -> str:
    value, low, high = found
    return f"{write(value)} ({write(low)} to {write(high)})"


def extrapolated(measured: Measured) -> str:
    """Return the table of jobs at the model's sizes: processor time and memory."""
    rows = []
    for name, job, what, size, said in JOBS:
        law = measured.law(name, job, "processor")
        if law is None:
            continue
        memory = None if said else measured.law(name, job, "added")
        told = said or ("-" if memory is None else _cells(memory.at(size), megabytes))
        beyond = size / max(point.size for point in measured.curves[name][job])
        rows.append([what, _cells(law.at(size), seconds), law.law, told, f"x {beyond:,.0f}"])
    registry = measured.law("registry_runs", "registry", "processor")
    if registry is not None:
        beyond = SLEEVES / max(point.size for point in measured.curves["registry_runs"]["registry"])
        what = f"besides, the registry of a home that comes to hold {SLEEVES:,} runs"
        rows.append([what, _cells(registry.summed(SLEEVES), seconds), registry.law, "-", f"x {beyond:,.0f}"])
    if not rows:
        return "Not measured yet."
    head = ["job", "processor time (95 %)", "goes on as", "memory added (95 %)", "beyond what is measured"]
    return table(head, rows)


def limits(measured: Measured) -> str:
    """Return what breaks first, and where."""
    rows = []
    for name, job, what in (
        ("sleeve_symbols", "sleeve", "symbols with which a sleeve's panel of the market fills"),
        ("ratings_symbols", "ratings", "symbols of 1,000 days whose ratings, not by shards, fill"),
        ("selection_candidates", "selection", "candidates whose pairs fill"),
        ("allocation_atoms", "analysis", "atoms whose pairs fill"),
    ):
        law = measured.law(name, job, "added")
        if law is not None:
            rows.append([f"{what} {megabytes(MEMORY_MB)}", f"{law.size_at(MEMORY_MB):,.0f}", law.law])
    registry = measured.law("registry_runs", "registry", "processor")
    fast = measured.law("sleeves_fast", "executed", "processor")
    if registry is not None and fast is not None:
        each = fast.at(SLEEVES)[0] / SLEEVES
        what = "runs in a home with which the registry costs a run as much as a sleeve with one rebalance"
        rows.append([what, f"{registry.size_at(each):,.0f}", f"{seconds(each)} of processor a sleeve"])
    points = measured.curves.get("sleeves_canonical", {}).get("executed", [])
    if points:
        disk, files = points[-1].facts["run_mb"], points[-1].facts["run_files"]
        rows.append([f"disk of {SLEEVES:,} runs", megabytes(disk * SLEEVES), f"{files * SLEEVES:,.0f} files"])
    return table(["what breaks", "at", "from"], rows) if rows else "Not measured yet."
