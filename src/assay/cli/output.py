"""Printing: JSON for machines, aligned text for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

COUNTED = ("list", "fetch")
"""Stages that go on answer by answer; all others are over at once, and count bars."""


def line(text: str = "") -> None:
    """Print one line to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print one line to standard error: progress, never results."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def progress(stage: str, done: int, total: int) -> None:
    """Say that a stage of the foundation begins."""
    if done == 0:
        unit = "" if stage in COUNTED else " bars"
        note(f"foundation: {stage}" + (f", {total:,}{unit}" if total else ""))


@contextmanager
def telling(as_json: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield :func:`progress`; on a terminal, and not beside JSON, stages that fetch have a bar on standard error."""
    if as_json or not sys.stderr.isatty():
        yield progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("foundation: {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        tasks = {stage: bars.add_task(stage, total=None, visible=False) for stage in COUNTED}

        def tell(stage: str, done: int, total: int) -> None:
            if stage in tasks and total:
                bars.update(tasks[stage], completed=done, total=total, visible=done < total)
            else:
                progress(stage, done, total)

        yield tell


def names(listed: Sequence[str], most: int = 8) -> str:
    """Return names after a colon, the first of many.

    >>> names(["a", "b"]), names(["a", "b", "c"], 2), names([])
    (': a, b', ': a, b and 1 more', '')
    """
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f": {', '.join(listed[:most])}{more}" if listed else ""


def as_json(value: Any) -> None:
    """Print a JSON value."""
    line(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as aligned text.

    >>> print(table(["a", "b"], [["x", 1], ["long", 20]]))
    a     b
    x     1
    long  20
    """
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
