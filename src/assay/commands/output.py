"""Printing: JSON for machines, aligned text for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


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
        note(f"foundation: {stage}" + (f", {total:,} bars" if total else ""))


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
