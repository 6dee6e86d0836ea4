"""Lakes as plain values: coverage, staleness, quarantine and audits; and the ratings of one coin.

A state of a lake never changes, so what was computed for one is kept until others are looked at.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.base.domain import DAY, INTERVALS, RATINGS, check_symbol, format_instant
from assay.base.errors import AssayError
from assay.lake.head import Head, read_heads
from assay.lake.snapshot import Snapshot, pin, resolve_as_of
from assay.market.health import symbol_health
from assay.page.lookup import LAKE, lake_folder, not_found
from assay.ratings import explain, label
from assay.report.figures.figure import Figure
from assay.report.figures.grids import votes
from assay.report.figures.lines import lines_over, span
from assay.report.markdown import integer, number, ratio
from assay.runs import documents as artifacts
from assay.runs.home import Home

AUDITED_DAYS = 500
"""Days that the audits look back over: what a decision sees."""
CHART_BARS = 180
"""Bars of a coin's chart."""
REJECTED_ROWS = 200
"""Rows of the quarantine that are listed; all are counted."""
HEADS = 50
"""States of a lake that are listed, the last ones."""

_one_at_a_time = threading.Lock()
"""Health is computed once, however many look at a lake that has just grown."""


def lakes(home: Home) -> list[dict[str, Any]]:
    """Return every lake of a home with its last state, or why that cannot be read."""
    if not home.lake.is_dir():
        return []
    names = sorted(entry.name for entry in home.lake.iterdir() if LAKE.fullmatch(entry.name) and entry.is_dir())
    return [_brief(home, name) for name in names]


def _brief(home: Home, name: str) -> dict[str, Any]:
    try:
        heads = read_heads(lake_folder(home, name))
    except AssayError as error:
        return {"name": name, "fault": str(error), "head": None}
    fault = None if heads else "nothing was ingested"
    return {"name": name, "fault": fault, "head": _head(heads[-1]) if heads else None}


def _head(head: Head) -> dict[str, Any]:
    return {
        "head": head.head,
        "source": head.source,
        "interval": head.interval,
        "edition": head.edition,
        "symbols": head.symbols,
        "rows": head.rows,
        "tables": head.tables,
        "first_open": format_instant(head.first_open),
        "last_close": format_instant(head.last_close),
    }


def lake_facts(home: Home, name: str) -> dict[str, Any]:
    """Return the health of a lake's last state.

    Raises
    ------
    UsageError
        If there is no such lake.
    AssayError
        If it cannot be read.
    """
    folder = lake_folder(home, name)
    heads = read_heads(folder)
    if not heads:
        raise not_found("nothing was ingested into this lake", "run: assay ingest", where=name)
    listed = [_head(head) for head in heads[-HEADS:]][::-1]
    with _one_at_a_time:
        return {"name": name, "heads": listed, "states": len(heads)} | _health(folder, heads[-1].head)


@lru_cache(maxsize=4)
def _health(folder: Path, head: int) -> dict[str, Any]:
    snapshot = pin(folder, head)
    return {
        "as_of": format_instant(snapshot.last_close()),
        "findings": [artifacts.as_plain(finding) for finding in snapshot.record.findings],
        "quarantine": _quarantine(snapshot),
        **(_audits(snapshot) if snapshot.interval == "1d" else _listing(snapshot)),
    }


def _audits(snapshot: Snapshot) -> dict[str, Any]:
    """Audit every symbol of the window that a decision at the last close sees; staleness is measured from there."""
    market = snapshot.market(snapshot.last_close(), AUDITED_DAYS)
    gone = sorted(set(_symbols(snapshot)) - set(market.symbols))
    health = symbol_health(market, [*market.symbols, *gone], market.rejections())
    counts = Counter(record.status for record in health)
    bars = (market.listing >= 0).sum(axis=1)
    return {
        "audited_days": int(market.days.size),
        "counts": dict(sorted(counts.items())),
        "symbols": [artifacts.as_plain(record) for record in health],
        "coverage": [{"day": str(day), "symbols": int(count)} for day, count in zip(market.days, bars, strict=True)],
    }


def _listing(snapshot: Snapshot) -> dict[str, Any]:
    """List symbols of bars that are not daily; the audits are of daily bars."""
    names = [{"symbol": name, "status": "", "cause": f"bars of {snapshot.interval} are not audited",
              "observations": None, "first": None, "last": None, "missing_days": None}
             for name in _symbols(snapshot)]  # fmt: skip
    return {"audited_days": 0, "counts": {}, "symbols": names, "coverage": []}


def _symbols(snapshot: Snapshot) -> list[str]:
    found: list[str] = snapshot.bars(columns=["symbol"])["symbol"].unique().sort().to_list()
    return found


def _quarantine(snapshot: Snapshot) -> dict[str, Any]:
    rows = snapshot.quarantine()
    reasons = rows["reason"].value_counts(sort=True)
    listed = rows.head(REJECTED_ROWS).select("source", "row", "symbol", "open_time", "reason")
    return {"rows": rows.height, "reasons": dict(reasons.iter_rows()), "listed": _timed(listed)}


def coin_facts(home: Home, name: str, symbol: str, as_of: str | None) -> dict[str, Any]:
    """Return the three ratings, the 26 votes and the bars of one coin at an instant.

    Parameters
    ----------
    home : Home
    name : str
        Of a lake.
    symbol : str
    as_of : str, optional
        Date or instant as :func:`assay.base.domain.parse_as_of` reads it; the close of the last bar where None.

    Raises
    ------
    UsageError
        If the lake has no such symbol, or the instant is outside its data.
    DataError
        If no bar of the coin had closed by then.
    """
    check_symbol(symbol)
    snapshot = pin(lake_folder(home, name))
    instant = resolve_as_of(snapshot, as_of)
    bars = snapshot.bars(symbols=[symbol])
    if bars.is_empty():
        raise not_found(f"the lake has no bars of {symbol}", f"its coins are listed on the page /lakes/{name}")
    explained = explain(bars, snapshot.interval, instant, snapshot.edition)
    length = INTERVALS[snapshot.interval]
    shown = bars.filter(pl.col("open_time") + length <= instant).tail(CHART_BARS)
    rated = snapshot.ratings(shown["open_time"][0], instant, [symbol], ["open_time", *RATINGS])
    series = shown.join(rated, on="open_time", how="left").sort("open_time")
    days = bars["open_time"]
    return explained.as_dict() | {
        "lake": name,
        "head": snapshot.head,
        "edition": snapshot.edition,
        "words": {kind: label(value) for kind, value in explained.ratings.items()},
        "first_as_of": _date(snapshot.first_open()),
        "last_as_of": _date(snapshot.last_close() - DAY),
        "date": _date(instant - DAY) if snapshot.interval == "1d" else format_instant(instant),
        "first_bar": format_instant(days[0]),
        "last_bar": format_instant(days[-1]),
        "bars": _timed(series.select("open_time", "open", "high", "low", "close", "volume", *RATINGS)),
    }


def _date(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).date().isoformat()


def _timed(bars: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON values; a row of the quarantine may have no time."""
    rows = bars.to_dicts()
    return [row | {"open_time": row["open_time"] and format_instant(row["open_time"])} for row in rows]


# --- charts -----------------------------------------------------------------------------------------------------------


def coverage_figures(days: Sequence[dict[str, Any]]) -> list[Figure]:
    """Show how many coins have a bar on each day."""
    if len(days) < 2:
        return []
    dates = np.array([day["day"] for day in days], dtype="datetime64[D]")
    counts = np.array([day["symbols"] for day in days], dtype=np.float64)
    told = f"Coins with a bar, each day from {span(dates)}: {integer(counts.min())} to {integer(counts.max())}"
    return [lines_over("coverage", "Coverage", f"{told}.", dates, {"": {"coins": counts}}, (integer,))]


def coin_figures(facts: dict[str, Any]) -> list[Figure]:
    """Show the votes, and closes and ratings up to the instant; of bars shorter than a day the votes alone."""
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
    return [lines_over("coin-history", title, description, dates, panels, (number, ratio))]


def _values(bars: Sequence[dict[str, Any]], name: str) -> Any:
    return np.array([np.nan if bar[name] is None else bar[name] for bar in bars], dtype=np.float64)
