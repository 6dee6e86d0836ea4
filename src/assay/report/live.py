"""The table of runs as they go: redrawn on a terminal, one line per change elsewhere."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from assay.base.domain import UTC
from assay.base.errors import IntegrityError, UsageError
from assay.runs.home import Home, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

COLUMNS = ("profile", "run id", "state", "step", "elapsed")
STYLES = {"RUNNING": "cyan", "VALID": "green", "FAILED": "red", "DEAD": "red", "INTERRUPTED": "yellow"}
"""Colour of a state on a terminal; a ruined book is red whatever the state."""


def statuses(folders: Sequence[Path]) -> list[Status]:
    """Read the statuses of run directories as an onlooker sees them; a folder without one is left out."""
    found = []
    for folder in folders:
        try:
            found.append(Status.shown(folder))
        except IntegrityError:
            continue  # claimed a moment ago, or not a run of this version
    return found


def newest(
    home: Home, profile: str | None = None, state: str | None = None, since: dt.datetime | None = None
) -> list[Status]:
    """Return the statuses of a home's runs, newest first; only those of a profile, in a state, begun since then.

    Raises
    ------
    UsageError
        If there is no such state.
    """
    wanted = None if state is None else state.upper()
    if wanted not in (None, *STYLES):
        raise UsageError(f"no state {state!r}", hint=f"one of {', '.join(STYLES)}")
    found = [
        one
        for one in statuses([home.runs / name for name in home.run_ids()])
        if profile in (None, one.profile) and wanted in (None, one.state)
    ]
    if since is not None:
        found = [one for one in found if dt.datetime.fromisoformat(one.started) >= since]
    return sorted(found, key=lambda one: (one.started, one.run_id), reverse=True)


def row(status: Status, now: dt.datetime) -> tuple[str, str, str, str, str]:
    """Return one row of the table; a running run's clock goes on between its writes."""
    elapsed = status.elapsed
    if status.state == "RUNNING":
        elapsed = (now - dt.datetime.fromisoformat(status.started)).total_seconds()
    return status.profile, status.run_id, status.verdict, status.stage, f"{max(elapsed, 0.0):.1f} s"


@contextmanager
def watching(folders: Sequence[Path], stream: TextIO | None = None) -> Iterator[Callable[[], None]]:
    """Yield a function that shows the runs' present state; a terminal gets a live table, anything else plain lines."""
    out = stream or sys.stderr
    if out.isatty():
        with _live(folders, out) as refresh:
            yield refresh
    else:
        seen: dict[str, tuple[str, str]] = {}
        yield lambda: _tell_changes(folders, out, seen)


def _tell_changes(folders: Sequence[Path], stream: TextIO, seen: dict[str, tuple[str, str]]) -> None:
    """Print a line for each run whose state or step is not as it was seen last."""
    now = dt.datetime.now(UTC)
    for status in statuses(folders):
        mark = (status.state, status.stage)
        if seen.get(status.run_id) != mark:
            seen[status.run_id] = mark
            stream.write("  ".join(row(status, now)) + "\n")
    stream.flush()


@contextmanager
def _live(folders: Sequence[Path], stream: TextIO) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.live import Live

    with Live(_table(folders), console=Console(file=stream), auto_refresh=False) as live:
        yield lambda: live.update(_table(folders), refresh=True)
        live.update(_table(folders), refresh=True)


def _table(folders: Sequence[Path]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")  # the end of a run id is what tells runs apart
    now = dt.datetime.now(UTC)
    for status in statuses(folders):
        cells = row(status, now)
        # Text, not markup: a run may be named by anyone.
        table.add_row(
            *(
                Text(cell, style=("red" if status.ruin else STYLES.get(status.state, "")) if i == 2 else "")
                for i, cell in enumerate(cells)
            )
        )
    return table
