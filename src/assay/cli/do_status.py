"""``assay status``: the table of runs, once or as they go."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NoReturn, TextIO

from assay.base.domain import UTC
from assay.cli import do_output as output
from assay.page.run_list import Row, RunList
from assay.report.live import COLUMNS, STYLES, row, statuses
from assay.runs.home import Home

if TYPE_CHECKING:
    from rich.table import Table

INTERVAL = 0.2
"""Seconds between two looks."""
MARGIN = 4
"""Lines of a terminal that are not rows: the heading, the line about what is left out, the prompt."""

Show = Callable[[RunList], None]


def status(home: Home, as_json: bool) -> None:
    """Print the state of every run."""
    seen = statuses([home.runs / name for name in home.run_ids()])
    if as_json:
        output.as_json([asdict(entry) for entry in seen])
        return
    now = dt.datetime.now(UTC)
    output.line(output.table(COLUMNS, [row(entry, now) for entry in seen]))


def watch(home: Home, as_json: bool, stream: TextIO | None = None) -> NoReturn:
    """Show the state of every run until interrupted: redrawn on a terminal, a line for each change elsewhere.

    Raises
    ------
    KeyboardInterrupt
        When the user has seen enough: the only way out.
    """
    runs, out = RunList(home), stream or sys.stdout
    if out.isatty() and not as_json:
        _redraw(runs, out)
    _go_on(runs, Lines(out, as_json).show)


def _go_on(runs: RunList, show: Show) -> NoReturn:
    while True:
        runs.refresh()
        show(runs)
        time.sleep(INTERVAL)


class Lines:
    """Prints a line whenever a run's state or step changes; the first look prints the runs that are there.

    Parameters
    ----------
    stream : text stream
    as_json : bool
        Print JSON objects, one on a line.
    """

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self.stream = stream
        self.as_json = as_json
        self._mark = ""
        self._seen: dict[str, Row] = {}

    def show(self, runs: RunList) -> None:
        """Print what changed since the last call."""
        update = runs.since(self._mark)
        self._mark = update.mark
        if update.whole:
            update.gone.extend(set(self._seen) - {entry.run_id for entry in update.rows})
        for name in sorted(update.gone):
            if name in self._seen:
                self._print({"run_id": name, "state": "GONE"}, (self._seen.pop(name).profile, name, "GONE"))
        now = dt.datetime.now(UTC)
        for entry in sorted(update.rows, key=lambda entry: (entry.started, entry.run_id)):
            if self._seen.get(entry.run_id) != entry:
                self._seen[entry.run_id] = entry
                self._print(entry.as_plain(), cells(entry, now))
        self.stream.flush()

    def _print(self, plain: dict[str, object], texts: Sequence[str]) -> None:
        line = json.dumps(plain, ensure_ascii=False) if self.as_json else "  ".join(texts)
        self.stream.write(f"{line}\n")


def cells(entry: Row, now: dt.datetime) -> tuple[str, ...]:
    """Return one row of the table, in the order of :data:`assay.report.live.COLUMNS`."""
    return entry.profile or "-", entry.run_id, entry.verdict, entry.stage, f"{entry.seconds(now):.1f} s"


def _redraw(runs: RunList, stream: TextIO) -> NoReturn:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live(console=console, auto_refresh=False) as live:
        _go_on(runs, lambda seen: live.update(table(seen, console.height - MARGIN), refresh=True))


def table(runs: RunList, height: int) -> Table:
    """Return the runs that fit a terminal: what is going first, then what started last."""
    from rich.table import Table
    from rich.text import Text

    now = dt.datetime.now(UTC)
    rows = sorted(runs.rows(), key=lambda entry: entry.state != "RUNNING")
    left_out = len(rows) - max(height, 1)
    caption = f"and {left_out} more: assay status lists all" if left_out > 0 else None
    shown = Table(box=None, pad_edge=False, caption=runs.fault or caption, caption_justify="left")
    for column in COLUMNS:
        shown.add_column(column, overflow="fold")  # the end of a run id is what tells runs apart
    for entry in rows[: max(height, 1)]:
        # Text, not markup: a run may be named by anyone.
        texts = [Text(text) for text in cells(entry, now)]
        texts[2].stylize(STYLES.get(entry.state, ""))
        shown.add_row(*texts)
    return shown
