"""Days that were asked for in vain, in ``nowhere.json`` beside the lake: nobody is asked for them again.

Each day has a tag. The archive's tag is made of the files that can hold the day, so that it is asked for again once one
of them is new or other than it was; it has asked the exchange too. Days that only the exchange was asked for carry
:data:`KLINES`: the archive asks its own files for them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from assay.base import files
from assay.base.domain import DAY

KLINES = "klines"
Notes = dict[str, dict[str, str]]


class Nowhere:
    """What a lake's folder says of such days.

    Parameters
    ----------
    folder : Path or None
        The lake's; None remembers nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "nowhere.json"
        known = self._path is not None and self._path.exists()
        self.notes: Notes = files.read_json(self._path) if known and self._path is not None else {}

    def days(self, symbol: str, tags: Mapping[str, str] | None = None) -> set[dt.date]:
        """Return the days of a symbol; where tags are given, those of the same tag, '' for a day without one."""
        noted = self.notes.get(symbol, {}).items()
        return {dt.date.fromisoformat(day) for day, tag in noted if tags is None or tags.get(day, "") == tag}

    def asked(self, holes: Iterable[tuple[str, dt.date]]) -> None:
        """Write down days that the exchange was asked for in vain."""
        for symbol, day in holes:
            self.notes.setdefault(symbol, {}).setdefault(day.isoformat(), KLINES)
        self._write()

    def told(self, told: Notes, have: Mapping[str, set[dt.date]]) -> None:
        """Write down what the archive says; of what only the exchange was asked for, what is still missing stays."""
        left = {
            symbol: {day: tag for day, tag in noted.items() if tag == KLINES and dt.date.fromisoformat(day) not in days}
            for symbol, noted in self.notes.items()
            for days in [have.get(symbol, set())]
        }
        self.notes = {symbol: left.get(symbol, {}) | told.get(symbol, {}) for symbol in left | told}
        self._write()

    def _write(self) -> None:
        if self._path is not None:
            files.write_json(self._path, {symbol: days for symbol, days in sorted(self.notes.items()) if days})


def days_between(holes: pl.DataFrame) -> list[tuple[str, dt.date]]:
    """Return every missing day of gaps, as :func:`assay.sources.plan.gaps` tells them."""
    rows = holes.select("symbol", "before", "missing").iter_rows()
    return [(symbol, before.date() + n * DAY) for symbol, before, missing in rows for n in range(1, missing + 1)]
