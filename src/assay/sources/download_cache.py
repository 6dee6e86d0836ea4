"""What was fetched and is not yet in the lake: one line for each answer, so that a killed ingestion goes on from there.

The file lies in the lake's folder and is written under the lake's lock. Its first line says upon which state of the
bars it builds; a file that builds upon another one is of no use and is removed. A line is handed to the system and not
waited for: what a killed process wrote stays, what a lost power supply takes is fetched again.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.base import files
from assay.base.errors import DiskError

_FORMAT = 1


@dataclass
class Kept:
    """What is kept of one symbol, or file of an archive."""

    rows: list[Any] = field(default_factory=list)
    """As they were given to :meth:`DownloadCache.keep`."""
    note: Any = None
    """The last one that was given: where to go on."""

    def add(self, rows: list[Any], note: Any) -> None:
        """Take an answer."""
        self.rows.extend(rows)
        self.note = note


class DownloadCache:
    """Answers on disk.

    Parameters
    ----------
    path : Path or None
        The file; None keeps nothing.
    base : str
        Names what the answers build upon.
    """

    def __init__(self, path: Path | None, base: str) -> None:
        self.path, self._head = path, {"format": _FORMAT, "base": base}
        self.held = self._read()

    def keep(self, key: str, rows: list[Any], note: Any) -> None:
        """Add an answer; a process killed after this returns has not lost it."""
        self.held.setdefault(key, Kept()).add(rows, note)
        if self.path is not None:
            if not self.path.exists():
                files.make_folders(self.path.parent)
                _append(self.path, self._head)
            _append(self.path, [key, rows, note])

    def clear(self) -> None:
        """Remove the file: what it held is in the lake, or was not worth a state."""
        if self.path is not None and self.path.exists():
            files.remove(self.path)
        self.held = {}

    def _read(self) -> dict[str, Kept]:
        lines = self._lines()
        if not lines or lines[0] != self._head:
            self.clear()
            return {}
        held: dict[str, Kept] = {}
        for key, rows, note in lines[1:]:
            held.setdefault(key, Kept()).add(rows, note)
        return held

    def _lines(self) -> list[Any]:
        """Return the lines that are whole, and cut off the rest: a writer was killed in the middle of it."""
        if self.path is None or not self.path.exists():
            return []
        try:
            data = self.path.read_bytes()
        except OSError as error:
            what = f"cannot read: {error.strerror or error}"
            raise DiskError(what, where=str(self.path), hint="mend permissions") from error
        found, good = [], 0
        for line in data.splitlines(keepends=True):
            try:
                value = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                value = None
            if value is None:
                break
            found.append(value)
            good += len(line)
        if good < len(data):
            files.truncate(self.path, good)
        return found


def _append(path: Path, value: Any) -> None:
    line = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    with files.disk_errors(path):
        descriptor = files.disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            files.disk.write(descriptor, line)
        finally:
            os.close(descriptor)
