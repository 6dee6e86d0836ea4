"""What the doctor says of accounts, and what one thing that the doctor says is."""

from __future__ import annotations

import datetime as dt
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assay.base.domain import DAY
from assay.report.account import account_rows
from assay.runs.home import Home

Severity = Literal["INTEGRITY", "ACTION", "NOTE"]
STILL = ("sample", "parquet", "csv")
"""Kinds of sources that do not go on."""
LATE = dt.timedelta(hours=6)
"""After a close, by when a day should be done."""


@dataclass(frozen=True)
class Issue:
    """One line of a check-up."""

    severity: Severity
    code: str
    """Stable name."""
    where: str
    """Lake, file or run."""
    what: str
    """With its numbers."""
    command: str = ""
    """What to run; empty where nothing is to be done."""
    names: tuple[str, ...] = ()
    """Symbols, files or runs."""


def account_issues(home: Home, now: dt.datetime) -> Iterator[Issue]:
    """Look for accounts that are damaged, alarmed, behind, or open to others' eyes.

    Parameters
    ----------
    home : Home
    now : datetime
        Days are due by this clock: a day has closed at its end, and its step has six hours.
    """
    for row in account_rows(home):
        name = row["account"]
        where = f"accounts/{name}"
        yield from _readable(home.accounts / name, where)
        if row["state"] == "UNREADABLE":
            what = f"its ledger cannot be read: {row['error']}"
            yield Issue("INTEGRITY", "ACCOUNT_DAMAGED", where, what, f"assay account verify {name}")
        elif row["state"] != "CLOSED":
            yield from _of_open(row, where, now)


def _of_open(row: dict[str, Any], where: str, now: dt.datetime) -> Iterator[Issue]:
    name = row["account"]
    if row["alarms"]:
        what = f"it is not what was expected: {', '.join(row['alarms'])}"
        yield Issue("ACTION", "ACCOUNT_ALARM", where, what, f"assay account show {name}")
    if row["state"] == "LIQUIDATED":
        what = "it was liquidated: nothing is decided any more"
        yield Issue("NOTE", "ACCOUNT_LIQUIDATED", where, what, f"assay account close {name}")
    due = (now - DAY - LATE).date()
    kind = str(row["source"]).partition(":")[0]
    if kind not in STILL and row["day"] is not None and dt.date.fromisoformat(row["day"]) < due:
        what = f"its last day is {row['day']}, and {due} has closed"
        yield Issue("ACTION", "ACCOUNT_BEHIND", where, what, f"assay account step {name}")


def _readable(folder: Path, where: str) -> Iterator[Issue]:
    seen = [path.name for path in (folder, *folder.glob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    if seen:
        what = "others than its owner may read it"
        yield Issue("ACTION", "ACCOUNT_OPEN_TO_OTHERS", where, what, f"chmod -R go= {folder}", tuple(seen))
