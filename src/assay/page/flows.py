"""Flows and comparisons as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assay.base import files
from assay.base.errors import AssayError, UsageError
from assay.page.lookup import files_below
from assay.page.run_list import RunList
from assay.report.attribution import unattributed
from assay.report.compare import compare
from assay.report.comparison import panels
from assay.report.view import open_run
from assay.runs.home import RUN_ID, Home

SUMMARY = "flow.json"
FILES = {
    SUMMARY: "the flow's runs with their verdicts",
    "runs.txt": "the table that the flow printed",
    "audit_report.md": "one audit report over all runs",
}


def flows(home: Home) -> list[dict[str, Any]]:
    """Return every flow of a home, the latest name first."""
    if not home.flows.is_dir():
        return []
    names = sorted(entry.name for entry in home.flows.iterdir() if RUN_ID.fullmatch(entry.name) and entry.is_dir())
    return [_flow(home.flows / name) for name in reversed(names)]


def flow_facts(folder: Path, run_list: RunList) -> dict[str, Any]:
    """Return what a flow wrote, and how its runs stand now."""
    facts = _flow(folder)
    for run in facts["runs"]:
        row = run_list.row(run["run_id"])
        run["now"] = row.verdict if row else "GONE"
    return facts | {
        "files": [{"path": path, "bytes": size, "what": FILES.get(path, "")} for path, size in files_below(folder)]
    }


def _flow(folder: Path) -> dict[str, Any]:
    blank: dict[str, Any] = {"name": folder.name, "fault": None, "as_of": None, "source": None, "runs": []}
    path = folder / SUMMARY
    if not path.is_file():
        return blank | {"fault": "it is going, or ended before its table was written"}
    try:
        found = files.read_json(path)
        runs = [_run(run) for run in found["runs"]]
    except (AssayError, OSError, KeyError, TypeError) as error:
        return blank | {"fault": f"{SUMMARY} is damaged: {error}"}
    return blank | {"as_of": str(found.get("as_of") or ""), "source": str(found.get("source") or ""), "runs": runs}


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(run[key]) for key in ("run_id", "profile", "verdict")}


def comparison_facts(a: Path, b: Path) -> dict[str, Any]:
    """Compare two runs by what they wrote.

    Raises
    ------
    UsageError
        If both are one run.
    """
    if a == b:
        raise UsageError("both names are of one run", where=a.name, hint="choose two runs")
    comparison = compare(open_run(a), open_run(b))
    again = unattributed(f"this page only reads; to decide again, run: assay compare {a.name} {b.name}")
    shown = [asdict(panel) for panel in panels(comparison, again)]
    return files.as_json(asdict(comparison)) | {"panels": shown}
