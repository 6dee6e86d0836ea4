"""Addresses and the facts behind them: a page shows them, and the same address below ``/api`` answers them as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay.base import files
from assay.base.errors import AssayError, UsageError
from assay.page import accounts, lakes, runs
from assay.page.lookup import account_folder_of, files_below, flow_folder, run_folder
from assay.page.run_list import Row, RunList
from assay.report.attribution import unattributed
from assay.report.compare import compare
from assay.report.comparison import panels
from assay.report.view import open_run
from assay.report.why import why
from assay.runs.home import RUN_ID, Home

Facts = dict[str, Any]

SUMMARY = "flow.json"
FILES = {
    SUMMARY: "the flow's runs with their verdicts",
    "runs.txt": "the table that the flow printed",
    "audit_report.md": "one audit report over all runs",
    "report.html": "the same with figures, one file",
}


@dataclass(frozen=True)
class Asked:
    """A request as far as facts depend on it."""

    home: Home
    run_list: RunList
    path: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Directory of the run that the address names."""
        return run_folder(self.home, self.path["run"])

    @property
    def symbol(self) -> str:
        """The coin that the query names."""
        if not self.query.get("symbol"):
            raise UsageError("which coin?", hint="add ?symbol=BINANCE:BTCUSDT to the address")
        return self.query["symbol"]

    def row(self) -> Row:
        """Return the status of the run that the address names, as of now."""
        folder = self.folder
        self.run_list.refresh()
        row = self.run_list.row(folder.name)
        if row is None:  # removed between the two looks
            raise UsageError("the run is being removed", where=self.folder.name, hint="look again")
        return row


@dataclass(frozen=True)
class Resource:
    """One address below the root and below ``/api``, the template that shows it, and what is told there."""

    path: str
    template: str
    facts: Callable[[Asked], Facts]


def _runs(asked: Asked) -> Facts:
    asked.run_list.refresh()
    asked.run_list.judge()
    mark, rows = asked.run_list.mark, asked.run_list.rows()
    return {
        "mark": mark,
        "runs": [asdict(row) for row in runs.chosen(rows, asked.query)],
        "all": len(rows),
        "kinds": sorted({row.kind for row in rows} - {""}),
        "fault": asked.run_list.fault or None,
    }


def _run(asked: Asked) -> Facts:
    row = asked.row()
    others = [other.run_id for other in asked.run_list.rows() if other.run_id != row.run_id]
    return {"mark": asked.run_list.mark, "others": others} | runs.run_facts(asked.folder, row)


def _ledger(asked: Asked) -> Facts:
    row, start = asked.row(), asked.query.get("from", "0")
    if not start.isdecimal() or len(start) > 9:
        raise UsageError("from is no number", hint="give the number of an entry, from 0")
    return runs.ledger_facts(asked.folder, row, int(start))


def _why(asked: Asked) -> Facts:
    return {"run": asdict(asked.row())} | why(asked.folder, asked.symbol).model_dump(mode="json")


def _compare(asked: Asked) -> Facts:
    asked.run_list.refresh()
    choices = [row.run_id for row in asked.run_list.rows()]
    a, b = asked.query.get("a"), asked.query.get("b")
    if not a or not b:
        return {"choices": choices, "chosen": [a or "", b or ""], "panels": []}
    folders = run_folder(asked.home, a), run_folder(asked.home, b)
    if a == b:
        raise UsageError("both names are of one run", where=a, hint="choose two runs")
    comparison = compare(*map(open_run, folders))
    again = unattributed(f"this page only reads; to decide again, run: assay compare {a} {b}")
    shown = [asdict(panel) for panel in panels(comparison, again)]
    return {"choices": choices, "chosen": [a, b]} | files.as_json(asdict(comparison)) | {"panels": shown}


def _lakes(asked: Asked) -> Facts:
    return {"lakes": lakes.lakes(asked.home)}


def _lake(asked: Asked) -> Facts:
    return lakes.lake_facts(asked.home, asked.path["lake"])


def _coin(asked: Asked) -> Facts:
    return lakes.coin_facts(asked.home, asked.path["lake"], asked.symbol, asked.query.get("as_of") or None)


def _flows(asked: Asked) -> Facts:
    folders = asked.home.flows.iterdir() if asked.home.flows.is_dir() else ()
    named = sorted(entry for entry in folders if RUN_ID.fullmatch(entry.name) and entry.is_dir())
    return {"flows": [_summary(folder) for folder in reversed(named)]}


def _flow(asked: Asked) -> Facts:
    asked.run_list.refresh()
    folder = flow_folder(asked.home, asked.path["flow"])
    facts = _summary(folder)
    for run in facts["runs"]:
        row = asked.run_list.row(run["run_id"])
        run["now"] = row.verdict if row else "GONE"
    listed = [{"path": path, "bytes": size, "what": FILES.get(path, "")} for path, size in files_below(folder)]
    return facts | {"files": listed}


def _accounts(asked: Asked) -> Facts:
    return {"accounts": accounts.accounts(asked.home)}


def _account(asked: Asked) -> Facts:
    folder = account_folder_of(asked.home, asked.path["account"])
    return accounts.facts_of_account(folder, asked.query.get("day") or None)


def _summary(folder: Path) -> Facts:
    """Return what a flow wrote of its runs."""
    blank: Facts = {"name": folder.name, "fault": None, "as_of": None, "source": None, "runs": []}
    path = folder / SUMMARY
    if not path.is_file():
        return blank | {"fault": "it is going, or ended before its table was written"}
    try:
        found = files.read_json(path)
        told = [{key: str(run[key]) for key in ("run_id", "profile", "verdict")} for run in found["runs"]]
    except (AssayError, OSError, KeyError, TypeError) as error:
        return blank | {"fault": f"{SUMMARY} is damaged: {error}"}
    return blank | {"as_of": str(found.get("as_of") or ""), "source": str(found.get("source") or ""), "runs": told}


RESOURCES = (
    Resource("/runs", "runs.html", _runs),
    Resource("/runs/{run}", "run.html", _run),
    Resource("/runs/{run}/ledger", "ledger.html", _ledger),
    Resource("/runs/{run}/why", "why.html", _why),
    Resource("/compare", "compare.html", _compare),
    Resource("/lakes", "lakes.html", _lakes),
    Resource("/lakes/{lake}", "lake.html", _lake),
    Resource("/lakes/{lake}/coin", "coin.html", _coin),
    Resource("/accounts", "accounts.html", _accounts),
    Resource("/accounts/{account}", "account.html", _account),
    Resource("/flows", "flows.html", _flows),
    Resource("/flows/{flow}", "flow.html", _flow),
)
"""The list of runs also answers at ``/``."""


def status_of(error: AssayError) -> int:
    """Return the HTTP status of an error.

    >>> status_of(UsageError("no such run", code="NOT_FOUND")), status_of(UsageError("bad date"))
    (404, 400)
    """
    return 404 if error.code == "NOT_FOUND" else 400 if int(error.exit_code) in (1, 2) else 500
