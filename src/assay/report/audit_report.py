"""The audit report of one run or several, generated from ledger and artifacts, in the order in which an auditor reads.

Neither the clock nor the environment is read: the same run directory gives the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.base.errors import UsageError
from assay.report import joint, sections
from assay.report.findings import verdict
from assay.report.view import RunView, open_run


def render(run_dir: Path) -> str:
    """Return the audit report of one run as Markdown.

    Parameters
    ----------
    run_dir : Path
        Run directory; a run that failed, or whose artifacts are missing or broken, is reported as such.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    return compose(open_run(run_dir))


def compose(view: RunView) -> str:
    """Return the audit report of a run that has been read."""
    return sections.render("audit_report.md.j2", view=view)


def render_joint(run_dirs: Sequence[Path]) -> str:
    """Return one report over several runs, such as a long and a short sleeve side by side.

    Parameters
    ----------
    run_dirs : sequence of Path
        Run directories, in the order of their columns.

    Raises
    ------
    UsageError
        If there is no run, or a folder does not exist.
    """
    return compose_joint(labelled([open_run(folder) for folder in run_dirs]))


def compose_joint(runs: sections.Labelled) -> str:
    """Return the joint report of runs that have been read."""
    if not runs:
        raise UsageError("no run to report on", hint="name at least one run: assay audit-report RUN RUN")
    found = [verdict(view) for _, view in runs]
    verdicts, said = [one.word for one in found], [one.said for one in found]
    return sections.render("joint_report.md.j2", runs=runs, verdicts=verdicts, said=said, joint=joint)


def labelled(views: Sequence[RunView]) -> sections.Labelled:
    """Give runs short names: profiles where they differ, else run ids, else run ids with a number."""
    for names in ([view.name for view in views], [view.run_id for view in views]):
        if len(set(names)) == len(views):
            return list(zip(names, views, strict=True))
    return [(f"{view.run_id} ({i})", view) for i, view in enumerate(views, start=1)]
