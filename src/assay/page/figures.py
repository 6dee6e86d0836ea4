"""The charts of a lake and of a coin, drawn as the reports draw theirs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.base.domain import DAY, INTERVALS
from assay.report.figures.bars import votes
from assay.report.figures.canvas import load
from assay.report.figures.figure import Figure
from assay.report.figures.lines import line_figure, panel_figure, span
from assay.report.markdown import integer, number, ratio

_pen = threading.Lock()
"""Matplotlib's settings belong to the process: one drawing at a time."""


def warm() -> None:
    """Import matplotlib, which takes a second, before someone waits for a chart."""
    with _pen:
        load()


def coverage(days: Sequence[dict[str, Any]]) -> list[Figure]:
    """Draw how many coins have a bar on each day."""
    if len(days) < 2:
        return []
    dates = np.array([day["day"] for day in days], dtype="datetime64[D]")
    counts = np.array([day["symbols"] for day in days], dtype=np.float64)
    told = f"Coins with a bar, each day from {span(dates)}: {integer(counts.min())} to {integer(counts.max())}"
    with _pen:
        return [
            line_figure("coverage", "Coverage", f"{told}.", dates, {"coins": counts}, integer, start=0.0, height=240.0)
        ]


def coin(facts: dict[str, Any]) -> list[Figure]:
    """Draw the votes, and closes and ratings up to the instant; of bars shorter than a day the votes alone."""
    with _pen:
        cast = {name: vote["vote"] for name, vote in facts["votes"].items()}
        return [votes(facts["symbol"], facts["ratings"], cast), *_history(facts)]


def _history(facts: dict[str, Any]) -> list[Figure]:
    bars = facts["bars"]
    if INTERVALS[facts["interval"]] < DAY or len(bars) < 2:
        return []
    dates = np.array([bar["open_time"][:10] for bar in bars], dtype="datetime64[D]")
    panels = {
        "Close": {"close": _values(bars, "close")},
        "Ratings": {
            "all": _values(bars, "recommend_all"),
            "moving averages": _values(bars, "recommend_ma"),
            "oscillators": _values(bars, "recommend_other"),
        },
    }
    title = f"Close and ratings of {facts['symbol']}"
    description = f"Bars from {span(dates)}; ratings run from -1, strong sell, to 1, strong buy."
    return [panel_figure("coin-history", title, description, dates, panels, (number, ratio), height=230.0)]


def _values(bars: Sequence[dict[str, Any]], name: str) -> Any:
    return np.array([np.nan if bar[name] is None else bar[name] for bar in bars], dtype=np.float64)
