"""The series: what grows, at which sizes, with what held fixed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks.scaling.measure import MeasureError, Point, child

Parameters = Mapping[str, Any]
Told = Callable[[str], None]

SCALES = ("tiny", "small", "full")
"""For tests; for a look in two minutes; what the documents show."""


@dataclass(frozen=True)
class Series:
    """One quantity that grows.

    Attributes
    ----------
    name, title, axis : str
    work : str
        Of :mod:`benchmarks.scaling.works`.
    sizes : dict of str to sequence of int
        By scale.
    at : callable
        Parameters of the work at a size.
    figure : str
        Figure that it is drawn in.
    why : dict of str to str
        Job to the reason of a growth that is worse than linear.
    """

    name: str
    title: str
    axis: str
    work: str
    sizes: Mapping[str, Sequence[int]]
    at: Callable[[int], Parameters]
    figure: str
    why: Mapping[str, str]
    paid_by_each: bool = False
    """The size is what went before, and each that follows pays: the sum's exponent is greater by one."""

    def measure(self, scale: str, tell: Told) -> dict[str, list[Point]]:
        """Measure every size; return the points of each job."""
        curves: dict[str, list[Point]] = {}
        for size in self.sizes[scale]:
            tell(f"{self.name}: {size:,}")
            for job, point in child(self.work, {"size": size, **self.at(size)}).items():
                curves.setdefault(job, []).append(point)
        self._compare(curves)
        return curves

    def _compare(self, curves: dict[str, list[Point]]) -> None:
        """Raise where the first sleeves of a larger flow have other hashes; then forget the hashes."""
        for points in curves.values():
            digests = [point.facts.pop("digests") for point in points if "digests" in point.facts]
            for few, many in pairwise(digests):
                if many[: len(few)] != few:
                    raise MeasureError(f"{self.name}: a sleeve has other content beside more sleeves")


FULL = (50, 100, 200, 500, 1_000, 2_000)
TINY = (3, 6, 12)

_PAIRS = "n^2: a correlation for each pair and window, and the tree of clusters over all pairs"
_MATRIX = f"{_PAIRS}; a dense covariance; up to 252 atoms also its eigenvalues, n^3"
_PROGRAM = "n^2 to n^3: a dense quadratic program, whose n x n matrix is factorised"
_TREE = "n^2: distances of all pairs and the tree over them"
_SHARDS = "a file above a million rows goes by shards, and those are rated again, where a smaller one rates what is new"
_REGISTRY = "each run reads the whole chained registry, so that a home's sum grows with the square of its runs"


def cores() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


SERIES: tuple[Series, ...] = (
    Series(
        "ratings_symbols",
        "Ratings, 1,000 daily bars a symbol",
        "symbols",
        "ratings",
        {"tiny": TINY, "small": (50, 100, 200, 500), "full": FULL},
        lambda size: {"symbols": size, "days": 1_000},
        "ratings",
        {},
    ),
    Series(
        "ratings_days",
        "Ratings, 100 symbols",
        "bars of a symbol",
        "ratings",
        {"tiny": (250, 300, 400), "small": (250, 500, 1_000, 2_000), "full": (250, 500, 1_000, 2_000, 4_000)},
        lambda size: {"symbols": 100, "days": size},
        "ratings",
        {},
    ),
    Series(
        "ingest_symbols",
        "Ingest of a Parquet file, 1,000 daily bars a symbol",
        "symbols",
        "ingest",
        {"tiny": TINY, "small": (50, 100, 200, 500), "full": FULL},
        lambda size: {"symbols": size, "days": 1_000},
        "ingest",
        {},
    ),
    Series(
        "update_symbols",
        "One more day of the same file, 1,000 daily bars a symbol",
        "symbols",
        "update",
        {"tiny": TINY, "small": (50, 100, 200, 500), "full": FULL},
        lambda size: {"symbols": size, "days": 1_000},
        "ingest",
        {"one more day": _SHARDS},
    ),
    Series(
        "ingest_days",
        "Ingest of a Parquet file, 100 symbols",
        "bars of a symbol",
        "ingest",
        {"tiny": (250, 300, 400), "small": (250, 500, 1_000, 2_000), "full": (250, 500, 1_000, 2_000, 4_000)},
        lambda size: {"symbols": 100, "days": size},
        "ingest",
        {},
    ),
    Series(
        "update_days",
        "One more day of the same file, 100 symbols",
        "bars of a symbol",
        "update",
        {"tiny": (250, 300, 400), "small": (250, 500, 1_000, 2_000), "full": (250, 500, 1_000, 2_000, 4_000)},
        lambda size: {"symbols": 100, "days": size},
        "ingest",
        {"one more day": _SHARDS},
    ),
    Series(
        "selection_candidates",
        "Natural selection, 500 days",
        "candidates",
        "selection",
        {"tiny": (10, 20, 40), "small": (50, 100, 200, 500), "full": FULL},
        lambda size: {"candidates": size, "days": 500},
        "selection",
        {"selection": _PAIRS},
    ),
    Series(
        "selection_days",
        "Natural selection, 200 candidates",
        "days",
        "selection",
        {"tiny": (250, 300, 400), "small": (250, 500, 1_000, 2_000), "full": (250, 500, 1_000, 2_000, 4_000)},
        lambda size: {"candidates": 200, "days": size},
        "selection",
        {},
    ),
    Series(
        "allocation_atoms",
        "Risk analysis and the five optimizers, 252 rows",
        "atoms",
        "allocation",
        {"tiny": (10, 20, 40), "small": (50, 100, 200, 500), "full": FULL},
        lambda size: {"atoms": size},
        "allocation",
        {
            "analysis": _MATRIX,
            "min_variance": _PROGRAM,
            "max_sharpe": _PROGRAM,
            "hrp": _TREE,
            "barbell": _TREE,
        },
    ),
    Series(
        "sleeve_symbols",
        "One sleeve with 10 rebalances, against the market it chooses from",
        "symbols",
        "sleeve",
        {"tiny": (20, 30, 40), "small": (50, 100, 200, 500), "full": FULL},
        lambda size: {"symbols": size, "days": 610, "walk": 100},
        "sleeve",
        {},
    ),
    Series(
        "sleeve_days",
        "One sleeve, 100 symbols, against the days of its walk-forward",
        "days",
        "sleeve",
        {"tiny": (10, 20, 30), "small": (50, 100, 200, 400), "full": (50, 100, 200, 400, 800)},
        lambda size: {"symbols": 100, "days": 510 + size, "walk": size},
        "sleeve",
        {},
    ),
    Series(
        "registry_runs",
        "The registry's part of one run, against the runs of the home",
        "runs in the home",
        "registry",
        {"tiny": (5, 10, 20), "small": (100, 300, 1_000, 3_000), "full": (100, 300, 1_000, 3_000, 10_000)},
        lambda size: {"runs": size},
        "sleeves",
        {"registry": _REGISTRY},
        paid_by_each=True,
    ),
    Series(
        "sleeves_canonical",
        "Sleeves of the embedded sample with their whole walk-forward, a pool with a worker on each core",
        "sleeves",
        "executed",
        {"tiny": (), "small": (1, 2, 4), "full": (1, 2, 4, 8, 16, 32)},
        lambda size: {"sleeves": size, "setting": "pool", "workers": min(size, cores()), "fast": False},
        "sleeves",
        {},
    ),
    Series(
        "sleeves_fast",
        "Sleeves with one rebalance (`walk_forward.days=10`), a pool with a worker on each core",
        "sleeves",
        "executed",
        {"tiny": (), "small": (1, 4, 16), "full": (1, 4, 16, 64, 256)},
        lambda size: {"sleeves": size, "setting": "pool", "workers": min(size, cores()), "fast": True},
        "sleeves",
        {},
    ),
)
BY_NAME = {series.name: series for series in SERIES}

WORKER_SLEEVES = {"tiny": 1, "small": 4, "full": 8}


def executors() -> list[tuple[str, int]]:
    """Return the settings to compare: one worker and one on each core; Ray where it is installed."""
    from importlib.util import find_spec

    counts = sorted({1, cores()})
    kinds = ["pool", *(["ray"] if find_spec("ray") else [])]
    return [("serial", 1), *((kind, count) for kind in kinds for count in counts)]


def measure_workers(scale: str, tell: Told) -> list[dict[str, Any]]:
    """Run the same canonical sleeves on every executor; all content must be that of one process.

    Raises
    ------
    MeasureError
        If a sleeve's content differs: then no time is told.
    """
    sleeves, rows = WORKER_SLEEVES[scale], []
    serial: list[str] | None = None
    for setting, workers in executors():
        tell(f"workers: {setting} {workers}")
        parameters = {"size": workers, "sleeves": sleeves, "setting": setting, "workers": workers, "fast": False}
        point = child("executed", parameters)["executed"]
        digests = point.facts.pop("digests")
        serial = serial or digests
        if digests != serial:
            raise MeasureError(f"{setting} with {workers} workers: other content than one process")
        rows.append({"setting": setting, "workers": workers, "sleeves": sleeves, **point.as_dict()})
    return rows
