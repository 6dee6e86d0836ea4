"""``assay report`` and ``assay audit-report``: reports made anew beside the runs, which stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.base import files
from assay.base.errors import UsageError
from assay.cli import do_output as output
from assay.runs.home import Home

LONGEST = 150
"""Characters of a file's name; run ids of many runs are told by a hash."""


def report(home: Home, run: str, out: Path | None, as_json: bool) -> None:
    """Write a run's page anew, sealed or failed, and print where it lies; nothing is written into the run.

    Raises
    ------
    UsageError
        If the file would lie in a run directory.
    """
    from assay.report.html import render_page

    folder = home.run(run)
    path = home.reports / f"report_{folder.name}.html" if out is None else out.resolve()
    refuse_runs(home, folder, path)
    files.write(path, render_page(folder).encode())
    if as_json:
        output.as_json({"report": str(path), "run": folder.name})
    else:
        output.line(f"report: {path}")


def refuse_runs(home: Home, folder: Path, path: Path) -> None:
    """Refuse to write into a run directory: what is sealed is read-only, and the rest belongs to its runner."""
    for runs in (home.runs.resolve(), folder.resolve()):
        if path.is_relative_to(runs):
            raise UsageError(
                "reports are not written into run directories", where=str(path), hint="choose another --out"
            )


def audit_report(home: Home, runs: Sequence[str], as_json: bool) -> None:
    """Write one report over one run or several, as Markdown and as a page, and print where they lie."""
    from assay.report.audit_report import render, render_joint
    from assay.report.html import render_joint_page, render_page
    from assay.report.meta import render_meta
    from assay.runs.request import is_meta

    folders = [home.run(run) for run in runs]
    if len(folders) == 1:
        text = render_meta(folders[0]) if is_meta(folders[0]) else render(folders[0])
        page = render_page(folders[0])
    else:
        text, page = render_joint(folders), render_joint_page(folders)
    name = "+".join(folder.name for folder in folders)
    if len(name) > LONGEST:
        name = f"{len(folders)}-runs-{files.sha256(name.encode())[:12]}"
    path, shown = (home.reports / f"audit_report_{name}{ending}" for ending in (".md", ".html"))
    files.write(path, text.encode())
    files.write(shown, page.encode())
    if as_json:
        names = [folder.name for folder in folders]
        output.as_json({"report": str(path), "page": str(shown), "runs": names})
    else:
        output.line(f"audit report: {path}")
        output.line(f"page: {shown}")
