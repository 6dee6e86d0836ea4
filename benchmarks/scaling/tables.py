"""Tables of the page, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.scaling.fit import Growth
from benchmarks.scaling.measure import Point
from benchmarks.scaling.page import Measured, fitted
from benchmarks.scaling.peers import OWN, SERIES_TOLERANCE, WEIGHT_TOLERANCE
from benchmarks.scaling.series import BY_NAME, Series

WORSE = 1.15
"""Exponent, over all sizes or the four largest, above which growth is named as worse than linear."""


def seconds(value: float) -> str:
    """Write a duration with two or three digits.

    >>> [seconds(value) for value in (0.0042, 0.42, 4.2, 420.0, 42_000.0)]
    ['4.2 ms', '420 ms', '4.2 s', '7.0 min', '12 h']
    """
    if value < 1.0:
        return f"{_short(1e3 * value)} ms"
    if value < 120.0:
        return f"{_short(value)} s"
    if value < 7_200.0:
        return f"{_short(value / 60)} min"
    return f"{_short(value / 3_600)} h"


def megabytes(value: float) -> str:
    """Write an amount of memory or disk.

    >>> [megabytes(value) for value in (0.4, 42, 4_200, 42_000_000)]
    ['0.4 MB', '42 MB', '4.2 GB', '42,000 GB']
    """
    return f"{_short(value)} MB" if value < 1_000 else f"{_short(value / 1_000)} GB"


def _short(value: float) -> str:
    if value == 0.0:
        return "0"
    if value < 9.95:
        return f"{value:.1f}" if value >= 0.095 else f"{value:.2g}"
    return f"{value:,.0f}"


def exponent(growth: Growth | None) -> str:
    return "-" if growth is None else f"{growth.exponent:.2f} [{growth.low:.2f}, {growth.high:.2f}]"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def of_series(measured: Measured, names: Sequence[str], figure: str) -> str:
    """Return header, table and picture of some series."""
    parts = []
    for name in names:
        jobs, series = measured.curves.get(name), BY_NAME[name]
        if jobs is None:
            parts.append(f"{series.title}: not measured yet.")
            continue
        sizes = [point.size for point in next(iter(jobs.values()))]
        head = [series.axis, *(f"{size:,.0f}" for size in sizes), "exponent [95 %]", "last step"]
        rows = []
        for job, points in jobs.items():
            rows += _rows(job, points)
        parts += [f"**{series.title}** ({measured.headers[name]})", table(head, rows)]
    picture = f"![{figure}: time and memory against size](images/scaling-{figure}.svg)"
    return "\n\n".join([*parts, picture])


def _rows(job: str, points: Sequence[Point]) -> list[list[str]]:
    """Return rows of one job: processor time, wall time where others work too, and memory."""
    growth = fitted(list(points), "processor")
    last = "-" if growth is None else f"{growth.last:.2f}"
    rows = [[f"{job}, processor", *(seconds(point.processor) for point in points), exponent(growth), last]]
    if "tree_mb" in points[0].facts:
        wall = fitted(list(points), "wall")
        last = "-" if wall is None else f"{wall.last:.2f}"
        rows.append([f"{job}, wall", *(seconds(point.wall) for point in points), exponent(wall), last])
        rows.append(["all processes", *(megabytes(point.facts["tree_mb"]) for point in points), "", ""])
        rows.append(["largest process", *(megabytes(point.peak) for point in points), "", ""])
        return rows
    if max(point.added for point in points) < 1.0:
        return rows
    memory = fitted(list(points), "added")
    last = "-" if memory is None else f"{memory.last:.2f}"
    rows.append([f"{job}, memory added", *(megabytes(point.added) for point in points), exponent(memory), last])
    return rows


def summary(measured: Measured) -> str:
    """Return each growth of processor time with its verdict; what is worse than linear gets its reason."""
    rows = []
    for name, series in BY_NAME.items():
        for job, points in measured.curves.get(name, {}).items():
            growth = fitted(points, "processor")
            largest = measured.growth(name, job, "processor")
            if growth is None or largest is None:
                continue
            told = [f"{job}, by {series.axis}", exponent(growth), exponent(largest)]
            rows.append([*told, *_verdict(series, job, growth, largest)])
    return table(["processor time of", "exponent [95 %]", "four largest sizes", "verdict", "why"], rows)


def _verdict(series: Series, job: str, growth: Growth, largest: Growth) -> tuple[str, str]:
    steepest = max(growth.exponent, largest.exponent)
    why = series.why.get(job, "no reason is known: to be looked into")
    if steepest > WORSE:
        return "worse than linear", why
    if series.paid_by_each:
        return "linear for each: the square for all", why
    if largest.exponent < 2.0 - WORSE:
        return "less than linear here: fixed costs", ""
    return "near linear", ""


def workers(measured: Measured) -> str:
    """Return what executors and workers cost for the same sleeves."""
    if not measured.workers:
        return "Not measured yet."
    base = measured.workers[0]["wall"]
    rows = [
        [
            row["setting"],
            f"{row['workers']}",
            seconds(row["wall"]),
            f"{base / row['wall']:.2f}",
            seconds(row["processor"]),
            seconds(row["facts"]["start_s"]),
            megabytes(row["facts"]["tree_mb"]),
            megabytes(row["peak"]),
        ]
        for row in measured.workers
    ]
    head = ["executor", "workers", "wall", "speed-up", "processor", "of wall: start", "all processes", "largest"]
    sleeves = measured.workers[0]["sleeves"]
    text = (
        f"{sleeves} canonical sleeves of the embedded sample ({measured.headers['workers']}); all content hashes equal."
    )
    return f"{text}\n\n{table(head, rows)}\n\n![wall time and memory by executor](images/scaling-workers.svg)"


def ratings_peers(measured: Measured) -> str:
    """Return ratings beside other libraries."""
    rows = measured.ratings_peers
    if not rows:
        return "Not measured yet."
    base = next((row["seconds"] / row["bars"] for row in rows if row["who"].startswith(OWN)), math.nan)
    told = [
        [
            row["who"] + ("" if row["who"].startswith(OWN) else ", called per symbol, indicators alone"),
            f"{row['symbols']:,}",
            seconds(row["seconds"]),
            f"{row['bars'] / row['seconds'] / 1e6:.2f}",
            f"{row['seconds'] / row['bars'] / base:.2f}",
            _sameness(row),
        ]
        for row in rows
    ]
    head = ["", "symbols", "processor", "M bars a second", f"{OWN} = 1", "series that agree"]
    days = rows[0]["bars"] // rows[0]["symbols"]
    text = f"{days:,} daily bars a symbol; a series agrees within {SERIES_TOLERANCE:.0e} of price or percent"
    return f"{text} ({measured.headers['peers']}).{_left_out(measured)}\n\n{table(head, told)}"


def _sameness(row: Mapping[str, Any]) -> str:
    if "series" not in row:
        return ""
    others = ", ".join(f"{name} by {gap:.0e}" for name, gap in row["different"].items())
    return f"{row['same']} of {row['series']}, within {row['worst']:.0e}" + (f"; differ: {others}" if others else "")


def portfolio_peers(measured: Measured) -> str:
    """Return portfolios beside other libraries."""
    rows = measured.portfolio_peers
    if not rows:
        return "Not measured yet."
    names = list(rows[0]["peers"])
    told = [
        [
            row["portfolio"],
            f"{row['atoms']}",
            seconds(row["seconds"]),
            *(_portfolio(row, row["peers"][name]) for name in names),
        ]
        for row in rows
    ]
    text = f"From returns to weights; weights agree within {WEIGHT_TOLERANCE:.0e} or nothing is timed"
    head = ["portfolio", "atoms", OWN, *(f"{name} (x {OWN}; weights apart)" for name in names)]
    return f"{text} ({measured.headers['peers']}).{_left_out(measured)}\n\n{table(head, told)}"


def _portfolio(row: Mapping[str, Any], peer: Mapping[str, Any]) -> str:
    if peer["seconds"] is None:
        return f"weights differ by {peer['apart']:.0e}: not timed"
    return f"{seconds(peer['seconds'])} (x {peer['seconds'] / row['seconds']:,.0f}; {peer['apart']:.0e})"


def _left_out(measured: Measured) -> str:
    return f" Not installed, and so left out: {', '.join(measured.skipped)}." if measured.skipped else ""
