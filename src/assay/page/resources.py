"""Addresses and the facts behind them: a page shows them, and the same address below ``/api`` answers them as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.base.errors import AssayError, UsageError
from assay.page import flows, lakes, runs
from assay.page.lookup import flow_folder, run_folder
from assay.page.run_list import Row, RunList
from assay.report.why import why
from assay.runs.home import Home

Facts = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request as far as facts depend on it."""

    home: Home
    run_list: RunList
    path: Mapping[str, str]
    query: Mapping[str, str]

    def row(self) -> Row:
        """Return the status of the run that the address names, as of now."""
        folder = run_folder(self.home, self.path["run"])
        self.run_list.refresh()
        row = self.run_list.row(folder.name)
        if row is None:  # removed between the two looks
            run_folder(self.home, self.path["run"])
            raise UsageError("the run is being removed", where=folder.name, hint="look again")
        return row


@dataclass(frozen=True)
class Resource:
    """One address.

    Attributes
    ----------
    path : str
        Below the root, and below ``/api``.
    template : str
        What shows it.
    """

    path: str
    template: str
    facts: Callable[[Asked], Facts]


def _runs(asked: Asked) -> Facts:
    asked.run_list.refresh()
    mark = asked.run_list.mark
    rows = asked.run_list.rows()
    shown = runs.chosen(rows, asked.query)
    kinds = sorted({row.kind for row in rows} - {""})
    return {
        "mark": mark,
        "runs": [row.as_plain() for row in shown],
        "all": len(rows),
        "kinds": kinds,
        "fault": asked.run_list.fault or None,
    }


def _run(asked: Asked) -> Facts:
    row = asked.row()
    folder = run_folder(asked.home, row.run_id)
    others = [other.run_id for other in asked.run_list.rows() if other.run_id != row.run_id]
    return {"mark": asked.run_list.mark, "others": others} | runs.run_facts(folder, row)


def _ledger(asked: Asked) -> Facts:
    row = asked.row()
    start = asked.query.get("from", "0")
    if not start.isdecimal() or len(start) > 9:
        raise UsageError("from is no number", hint="give the number of an entry, from 0")
    return runs.ledger_facts(run_folder(asked.home, row.run_id), row, int(start))


def _why(asked: Asked) -> Facts:
    row = asked.row()
    symbol = lakes.symbol_of(asked.query.get("symbol"))
    return {"run": row.as_plain()} | why(run_folder(asked.home, row.run_id), symbol).as_plain()


def _compare(asked: Asked) -> Facts:
    asked.run_list.refresh()
    choices = [row.run_id for row in asked.run_list.rows()]
    a, b = asked.query.get("a"), asked.query.get("b")
    if not a or not b:
        return {"choices": choices, "chosen": [a or "", b or ""], "panels": []}
    folders = run_folder(asked.home, a), run_folder(asked.home, b)
    return {"choices": choices, "chosen": [a, b]} | flows.comparison_facts(*folders)


def _lakes(asked: Asked) -> Facts:
    return {"lakes": lakes.lakes(asked.home)}


def _lake(asked: Asked) -> Facts:
    return lakes.lake_facts(asked.home, asked.path["lake"])


def _coin(asked: Asked) -> Facts:
    symbol = lakes.symbol_of(asked.query.get("symbol"))
    return lakes.coin_facts(asked.home, asked.path["lake"], symbol, asked.query.get("as_of") or None)


def _flows(asked: Asked) -> Facts:
    return {"flows": flows.flows(asked.home)}


def _flow(asked: Asked) -> Facts:
    asked.run_list.refresh()
    return flows.flow_facts(flow_folder(asked.home, asked.path["flow"]), asked.run_list)


RESOURCES = (
    Resource("/runs", "runs.html", _runs),
    Resource("/runs/{run}", "run.html", _run),
    Resource("/runs/{run}/ledger", "ledger.html", _ledger),
    Resource("/runs/{run}/why", "why.html", _why),
    Resource("/compare", "compare.html", _compare),
    Resource("/lakes", "lakes.html", _lakes),
    Resource("/lakes/{lake}", "lake.html", _lake),
    Resource("/lakes/{lake}/coin", "coin.html", _coin),
    Resource("/flows", "flows.html", _flows),
    Resource("/flows/{flow}", "flow.html", _flow),
)
"""The list of runs also answers at ``/``."""


def status_of(error: AssayError) -> int:
    """Return the HTTP status of an error.

    >>> status_of(UsageError("no such run", code="NOT_FOUND")), status_of(UsageError("bad date"))
    (404, 400)
    """
    if error.code == "NOT_FOUND":
        return 404
    return 400 if int(error.exit_code) in (1, 2) else 500
