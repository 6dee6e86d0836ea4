"""Printing: JSON for machines, aligned text for people; any name, and for as long as somebody reads."""

from __future__ import annotations

import codecs
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from assay.base.errors import DiskError, Exit

if TYPE_CHECKING:
    from assay.sources.acceptance import Acceptance

COUNTED = ("list", "fetch")
"""Stages that go on answer by answer; all others are over at once, and count bars."""


ESCAPE = "assay.escape"
"""What is done with a character that a terminal does not have."""


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Write what cannot be encoded as JSON escapes it, so that JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(ESCAPE, _escaped)


class StandardStream(io.TextIOWrapper):
    """Standard output or error of the process, which fails neither on a character nor because nobody reads on.

    Where the reader of results has left, as ``head`` does, the process ends without a word; where the reader of
    progress has, the work goes on.
    """

    def write(self, text: str, /) -> int:
        """Write text; what the encoding lacks is escaped."""
        try:
            return super().write(text)
        except BrokenPipeError:
            self._unread()
            return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        try:
            super().flush()
        except BrokenPipeError:
            self._unread()

    def _unread(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # what is left to write, at the end too, goes there
        if self is sys.stdout:
            raise SystemExit(Exit.UNREAD)


def take_streams() -> None:
    """Let this process print through :class:`StandardStream`; a stream that was closed before leads nowhere."""
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        buffer = open(os.devnull, "wb") if old is None else old.buffer  # noqa: SIM115 - for as long as the process lives
        lines = name == "stderr" or buffer.isatty()
        encoding = None if old is None else old.encoding
        setattr(sys, name, StandardStream(buffer, encoding=encoding, errors=ESCAPE, line_buffering=lines))


def line(text: str = "") -> None:
    """Print one line to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def recorded() -> Iterator[None]:
    """Keep a record of a verdict; where it cannot be written, as on a read-only copy, say so: the verdict stands."""
    try:
        yield
    except DiskError as error:
        note(f"no record of this was written: {error.what} [{error.where}]")


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
    """Return rows as aligned text; each as a block of lines where a terminal is too narrow for them side by side.

    >>> print(table(["a", "b"], [["x", 1], ["long", 20]]))
    a     b
    x     1
    long  20
    """
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    room = _width()
    if room is not None and sum(widths) + 2 * (len(widths) - 1) > room and len(cells) > 1:
        names = max(map(len, cells[0]))
        blocks = (
            "\n".join(f"{name.ljust(names)}  {cell}".rstrip() for name, cell in zip(cells[0], row, strict=True))
            for row in cells[1:]
        )
        return "\n\n".join(blocks)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _width() -> int | None:
    """Return how many columns a terminal has; None where the reader is none, and did not say ``COLUMNS``."""
    if not (sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()):
        return None
    return shutil.get_terminal_size().columns


def near(path: str | os.PathLike[str]) -> str:
    """Write a path relative to the working folder where that is shorter."""
    text = os.fspath(path)
    return min(text, os.path.relpath(text), key=len)


def told_accepted(taken: Acceptance) -> None:
    """Say what was taken by acceptance, and what was not refused in this call."""
    for one in taken.used:
        note(f"accepted {one['code']}:{one['digest']}: {one['what']}")
    for left in taken.unused:
        note(f"nothing was refused as {left}: what was accepted for it was not needed")
