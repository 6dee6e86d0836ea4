"""Accounts of a home as plain values: for their pages and for the JSON answers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from assay.account.ledger import read_account
from assay.base.errors import UsageError
from assay.page.lookup import files_below
from assay.report.account import account_facts, account_rows, days_of
from assay.runs.home import Home


def accounts(home: Home) -> list[dict[str, Any]]:
    """Return a row for each account of a home; one that cannot be read says why."""
    return account_rows(home)


def facts_of_account(folder: Path, day: str | None = None) -> dict[str, Any]:
    """Return what is to be said of an account after one of its days, the last one where None.

    Raises
    ------
    UsageError
        If the account has not closed that day.
    LedgerError
        If its ledger is broken.
    """
    entries = read_account(folder)
    closed = [one.day for one in days_of(entries)]
    chosen = None
    if day is not None:
        try:
            chosen = dt.date.fromisoformat(day)
        except ValueError:
            chosen = None
        if chosen not in closed:
            spanned = f"{closed[0]} to {closed[-1]}" if closed else "none yet"
            raise UsageError(f"the account has no day {day[:20]}", where=folder.name, hint=f"its days: {spanned}")
    listed = [{"path": path, "bytes": size, "what": _what(path)} for path, size in reversed(files_below(folder))]
    shown = closed if chosen is None else [one for one in closed if one <= chosen]
    return account_facts(entries, chosen) | {
        "files": listed,
        "head": entries[-1].hash,
        "entries": len(entries),
        "first_day": closed[0].isoformat() if closed else None,
        "last_day": closed[-1].isoformat() if closed else None,
        "day_before": shown[-2].isoformat() if len(shown) > 1 else None,
        "day_after": next((one.isoformat() for one in closed if chosen is not None and one > chosen), None),
    }


def _what(path: str) -> str:
    folder = path.partition("/")[0]
    return {"orders": "orders of a day", "reports": "report of a day"}.get(folder, "the ledger")
