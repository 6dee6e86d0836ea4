"""Results kept between runs, and the parts of the page that are written from them."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scaling.fit import Growth, Law, grow, straight
from benchmarks.scaling.measure import ROOT, Point
from benchmarks.scaling.series import cores

PAGE = ROOT / "docs" / "scaling.md"
IMAGES = ROOT / "docs" / "images"
KEPT = Path(__file__).with_name("measured.json")


def machine() -> str:
    """Describe where it is measured, without names or dates."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores()} cores {platform.machine()}, {memory:.0f} GB of memory, {platform.system()}, Python {_python()}"


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


@dataclass
class Measured:
    """All that was measured, by series; a series measured again takes the place of the older one.

    Attributes
    ----------
    curves : dict
        Series to job to points.
    headers : dict of str to str
        Series to scale and machine.
    workers, ratings_peers, portfolio_peers : list of dict
        Rows of tables.
    skipped : list of str
        Peers that are not installed.
    memory : str
        Table of ``benchmarks.memory``, as it printed it.
    """

    curves: dict[str, dict[str, list[Point]]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    workers: list[dict[str, Any]] = field(default_factory=list)
    ratings_peers: list[dict[str, Any]] = field(default_factory=list)
    portfolio_peers: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    memory: str = ""

    @classmethod
    def read(cls, path: Path = KEPT) -> Measured:
        """Return what was measured before; nothing where there is no file."""
        if not path.exists():
            return cls()
        plain = json.loads(path.read_text(encoding="utf-8"))
        curves = {
            name: {job: [Point(**point) for point in points] for job, points in jobs.items()}
            for name, jobs in plain.pop("curves").items()
        }
        return cls(curves=curves, **plain)

    def write(self, path: Path = KEPT) -> None:
        plain = self.__dict__ | {
            "curves": {
                name: {job: [point.as_dict() for point in points] for job, points in jobs.items()}
                for name, jobs in self.curves.items()
            }
        }
        rounded = json.loads(json.dumps(plain), parse_float=lambda text: float(f"{float(text):.6g}"))
        path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")

    def growth(self, name: str, job: str, what: str) -> Growth | None:
        """Fit what a job needs at its largest sizes, for going on from there; None where there is too little to fit."""
        points = self.curves.get(name, {}).get(job, [])
        return fitted(points[-LARGEST:], what)

    def law(self, name: str, job: str, what: str) -> Law | None:
        """Return what a job's need goes on with beyond what is measured; None where there is too little to fit.

        The power of its largest sizes, if that is linear or worse; else fixed costs hide the growth, which cannot stay
        below linear for ever, and a straight line through all sizes tells them apart.
        """
        largest = self.growth(name, job, what)
        if largest is None or largest.exponent >= 1.0:
            return largest
        kept = _kept(self.curves[name][job], what)
        return straight([size for size, _ in kept], [value for _, value in kept])


LARGEST = 4
"""Sizes from which a growth goes on: in smaller ones fixed costs weigh more."""

LEAST_MB = 4.0
"""Memory that a work must add to be told from what the allocator kept."""


def fitted(points: list[Point], what: str) -> Growth | None:
    """Fit an attribute of points; None with fewer than three that are large enough to mean something."""
    kept = _kept(points, what)
    if len(kept) < 3:
        return None
    return grow([size for size, _ in kept], [value for _, value in kept])


def _kept(points: list[Point], what: str) -> list[tuple[float, float]]:
    least = LEAST_MB if what == "added" else 0.0
    return [(point.size, getattr(point, what)) for point in points if getattr(point, what) > least]


def fill(text: str, parts: Mapping[str, str]) -> str:
    """Put parts between their markers, ``<!-- measured: NAME -->`` and ``<!-- end -->``.

    Raises
    ------
    ValueError
        If the text has no place for a part, or a place that no part fills.

    Examples
    --------
    >>> fill("<!-- measured: a -->old<!-- end -->", {"a": "new"})
    '<!-- measured: a -->\\nnew\\n<!-- end -->'
    """
    marker = re.compile(r"(<!-- measured: ([a-z_]+) -->).*?(<!-- end -->)", re.DOTALL)
    places = {match[2] for match in marker.finditer(text)}
    if places != set(parts):
        raise ValueError(f"places and parts differ: {sorted(places ^ set(parts))}")

    def insert(match: re.Match[str]) -> str:
        return f"{match[1]}\n{parts[match[2]].strip()}\n{match[3]}"

    return marker.sub(insert, text)
