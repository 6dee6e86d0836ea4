"""Reports as one page of HTML: the Markdown report's own text, with plots; no network, no outside part.

The text is written once, as Markdown, by the modules of :mod:`assay.report`; here it becomes HTML and gains pictures.
So a page can say nothing that the audit report does not.
"""

from __future__ import annotations

from pathlib import Path


def render_page(run_dir: Path) -> str:
    """Return the report of a run, of a sleeve or of a portfolio of sleeves, as a page.

    Parameters
    ----------
    run_dir : Path
        Run directory; one that failed is shown as far as it came.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    from assay.runs.request import is_meta

    if is_meta(run_dir):
        from assay.report.html.html_meta_page import render_meta_page

        return render_meta_page(run_dir)
    from assay.report.html.html_run_page import render_run_page

    return render_run_page(run_dir)
