"""``report.html`` of a run: the audit report with plots."""

from __future__ import annotations

from pathlib import Path

from assay.report.audit_report import compose
from assay.report.figures.of_run import RunFigures
from assay.report.html.pages import Head, Pictures, report_page
from assay.report.markdown import integer
from assay.report.report_summary import sentence, span
from assay.report.report_verdict import verdict
from assay.report.view import RunView, open_run

KINDS = {"VALID": "good", "FAILED": "bad"}


def render_run_page(run_dir: Path) -> str:
    """Return the report of a run as a page.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    view = open_run(run_dir)
    return report_page(compose(view), _pictures(RunFigures(view)), head_of(view))


def _pictures(figures: RunFigures) -> Pictures:
    return {
        "Funnel": [figures.funnel()],
        "Winners": [figures.votes(), figures.correlation()],
        "Optimization and flattening": [figures.weights("coins"), figures.weights("atoms")],
        "Performance": [
            figures.equity(),
            figures.drawdown(),
            figures.rolling_beta(),
            figures.monthly(),
            figures.turnover(),
        ],
        "Capital preservation": [figures.loss_makers()],
        "Run times": [figures.run_times()],
    }


def head_of(view: RunView) -> Head:
    """Return verdict and key facts of a run."""
    judged = verdict(view)
    facts = [("Run", view.run_id), ("As of", view.as_of or "unknown"), ("Direction", view.direction or "unknown")]
    if view.selection is not None:
        raw = f" of {integer(len(view.raw.candidates))} candidates" if view.raw else ""
        facts.append(("Winners", f"{integer(view.selection.n_winners)}{raw}"))
    if view.days is not None:
        facts += [
            ("Walk-forward", f"{integer(view.days)} days"),
            ("Sharpe", span(view, "sharpe")),
            ("Deflated Sharpe", span(view, "dsr")),
            ("Maximum drawdown", span(view, "max_drawdown", in_percent=True)),
            ("Beta to Bitcoin", span(view, "beta")),
        ]
    return Head(judged.word, sentence(judged.why), KINDS.get(judged.word, "open"), facts)
