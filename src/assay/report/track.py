"""What the daily rows of a walk-forward say beyond its statistics: falls, yardsticks, exposure."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from assay.backtest.statistics import summary
from assay.report.glance import headline_of, yardsticks
from assay.report.markdown import ABSENT, integer, percent
from assay.report.view import RunView

YARDSTICKS = {"benchmark": "benchmark", "universe": "all coins, equal"}
"""Column of the yardsticks to its name in a table."""


def yardstick_metrics(view: RunView) -> dict[str, Mapping[str, float | None]]:
    """Return the metrics of what the headline's book is held against, on the days that are counted of it."""
    table = yardsticks(view, headline_of(view))
    if table is None:
        return {}
    found: dict[str, Mapping[str, float | None]] = {}
    for column, name in YARDSTICKS.items():
        rows = table.drop_nulls(column)
        if rows.height:
            own = summary(rows[column].to_numpy(), rows["benchmark"].to_numpy())
            # Nothing was chosen, traded or paid here, and so there is nothing to deflate or to sum up.
            found[name] = {key: value for key, value in own.items() if key != "dsr"}
    return found


def exposure_rows(view: RunView) -> list[list[str]]:
    """Return the largest coin and the highest gross that each book had at any close, with their days.

    Caps hold when a decision is taken; afterwards weights drift.
    """
    if view.returns is None:
        return []
    rows = []
    for name in view.risk_profiles:
        own = view.returns.filter(pl.col("risk_profile") == name)
        rows.append([name, *_highest(own, "largest"), *_highest(own, "gross")])
    return [row for row in rows if any(cell != ABSENT for cell in row[1:])]


def _highest(rows: pl.DataFrame, column: str) -> tuple[str, str]:
    """Return the highest value of a column and its first day; dashes where the run does not tell it."""
    known = rows.drop_nulls(column) if column in rows.columns else rows.clear()
    if known.is_empty():
        return ABSENT, ABSENT
    most = known.sort([column, "date"], descending=[True, False]).row(0, named=True)
    return percent(most[column]), str(most["date"])


def worst_falls(view: RunView, most: int = 5) -> list[list[str]]:
    """Return the deepest falls of the headline's book; one ends when NAV is back at its highest so far.

    Place, depth, the day before it began, its lowest day, the day that made it good again, and its days.
    """
    name = headline_of(view)
    own = None if view.returns is None else view.returns.filter(pl.col("risk_profile") == name).sort("date")
    if own is None or own.is_empty():
        return []
    days, nav = own["date"].to_list(), own["nav"].fill_null(strategy="forward").to_list()
    found: list[tuple[float, int, int, int | None]] = []
    top, top_at, low_at = 1.0, -1, -1
    for at, value in enumerate(nav):
        if value < top:
            low_at = at if low_at < 0 or value < nav[low_at] else low_at
            continue
        found += [(nav[low_at] / top - 1.0, top_at, low_at, at)] if low_at >= 0 else []
        top, top_at, low_at = value, at, -1
    found += [(nav[low_at] / top - 1.0, top_at, low_at, None)] if low_at >= 0 else []
    return [
        [
            str(place),
            percent(depth),
            str(days[start]) if start >= 0 else "the beginning",
            str(days[low]),
            "not yet" if end is None else str(days[end]),
            integer((len(days) - 1 if end is None else end) - start),
        ]
        for place, (depth, start, low, end) in enumerate(sorted(found)[:most], start=1)
    ]
