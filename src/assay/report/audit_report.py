"""The audit report of one run or several, generated from ledger and artifacts, in the order in which an auditor reads.

Neither the clock nor the environment is read: the same run directory gives the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from assay.report import report_allocation as allocation
from assay.report import report_closing as closing
from assay.report import report_funnel as funnel
from assay.report import report_performance as performance
from assay.report import report_preserved as preserved
from assay.report import report_quality as quality
from assay.report import report_summary as summary
from assay.report import sections as checks
from assay.report.joint import joint_report
from assay.report.markdown import Safe
from assay.report.view import RunView, open_run

Section = Callable[[RunView], Safe]

SECTIONS: tuple[Section, ...] = (
    summary.title,
    summary.executive_summary,
    checks.contracts,
    checks.gates,
    funnel.funnel,
    funnel.winners,
    allocation.allocation,
    performance.performance,
    preserved.preservation,
    quality.quality,
    closing.recommendations,
    closing.run_times,
    closing.ledger,
)
"""Sections in the order of the report."""


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
    return "\n\n".join(section(view) for section in SECTIONS) + "\n"


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
    return joint_report([open_run(folder) for folder in run_dirs])
