"""Figures: measured points and fitted growth, time beside memory, on logarithmic axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling.measure import Point
from benchmarks.scaling.page import Measured, fitted
from benchmarks.scaling.series import BY_NAME, SERIES

FIGURES = tuple(dict.fromkeys(series.figure for series in SERIES))
COLOURS = ("#0067a8", "#b94a00", "#00745a", "#99417f", "#7a6200", "#566072")
MARKS = "osD^vP"
PANELS = (("processor", "processor time, s"), ("added", "memory added, MB"))


def draw(measured: Measured, folder: Path) -> list[Path]:
    """Draw every figure that has points; return the files."""
    drawn = []
    for figure in FIGURES:
        names = [name for name in measured.curves if name in BY_NAME and BY_NAME[name].figure == figure]
        names.sort(key=list(BY_NAME).index)
        if names:
            drawn.append(_figure(measured, names, folder / f"scaling-{figure}.svg"))
    if measured.workers:
        drawn.append(_workers(measured.workers, folder / "scaling-workers.svg"))
    return drawn


def _figure(measured: Measured, names: list[str], path: Path) -> Path:
    from matplotlib.figure import Figure

    picture = Figure(figsize=(9.6, 3.6 * len(names)), layout="constrained", facecolor="white")
    axes = picture.subplots(len(names), 2, squeeze=False)
    for row, name in zip(axes, names, strict=True):
        series = BY_NAME[name]
        for axis, (what, label) in zip(row, PANELS, strict=True):
            _panel(axis, measured.curves[name], what)
            axis.set_xlabel(series.axis)
            axis.set_ylabel(
                label if series.work != "executed" or what == "processor" else "memory of all processes, MB"
            )
        row[0].set_title(series.title.replace("`", ""), loc="left", fontsize=9)
    return _save(picture, path)


def _panel(axis: Any, jobs: dict[str, list[Point]], what: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    for number, (job, points) in enumerate(jobs.items()):
        if what == "added" and all("tree_mb" in point.facts for point in points):
            kept = [(point.size, point.facts["tree_mb"]) for point in points]
        else:
            kept = [
                (point.size, getattr(point, what)) for point in points if getattr(point, what) > 0.5 * (what == "added")
            ]
        growth = fitted(points, what) if what == "processor" or "tree_mb" not in points[0].facts else None
        label = job if growth is None else f"{job}: {growth.exponent:.2f} [{growth.low:.2f}, {growth.high:.2f}]"
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        axis.plot(
            [size for size, _ in kept], [value for _, value in kept], mark, color=colour, markersize=4, label=label
        )
        if growth is not None:
            along = np.geomspace(kept[0][0], kept[-1][0], 20)
            axis.plot(along, growth.factor * along**growth.exponent, "-", color=colour, linewidth=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    sizes = [point.size for point in next(iter(jobs.values()))]
    axis.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(which="major", color="#dfe3ea", linewidth=0.6)
    axis.legend(fontsize=7, frameon=False)


def _workers(rows: list[dict[str, Any]], path: Path) -> Path:
    from matplotlib.figure import Figure

    picture = Figure(figsize=(9.6, 0.6 + 0.4 * len(rows)), layout="constrained", facecolor="white")
    left, right = picture.subplots(1, 2, sharey=True)
    names = [f"{row['setting']}, {row['workers']}" for row in rows]
    for axis, values, label in (
        (left, [row["wall"] for row in rows], f"wall time of {rows[0]['sleeves']} sleeves, s"),
        (right, [row["facts"]["tree_mb"] for row in rows], "memory of all processes, MB"),
    ):
        axis.barh(names, values, color=COLOURS[0])
        axis.set_xlabel(label)
    left.invert_yaxis()
    return _save(picture, path)


def _save(picture: Any, path: Path) -> Path:
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "assay", "svg.fonttype": "none"}):
        picture.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path
