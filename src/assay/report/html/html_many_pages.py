"""Pages over several runs: the joint report of a flow, and the comparison of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assay.report.attribution import Attribution
from assay.report.compare import Book, Comparison
from assay.report.compared import to_markdown
from assay.report.figures import bars, lines, maps
from assay.report.figures.figure import Figure
from assay.report.figures.lines import Floats
from assay.report.figures.of_walk import Drawn, WalkFigures, growth_of
from assay.report.html.pages import Head, Pictures, report_page
from assay.report.joint import Labelled, joint_report, labels, risk_profiles, shared_returns
from assay.report.markdown import NOISE, count, ratio
from assay.report.report_allocation import by_size
from assay.report.report_shortfall import guarded_book
from assay.report.report_verdict import verdict
from assay.report.view import RunView, open_run

SHOWN = "hrp"
"""Risk profile that is drawn where one has to stand for all."""


def render_joint_page(run_dirs: Sequence[Path]) -> str:
    """Return the joint report over several runs as a page.

    Raises
    ------
    UsageError
        If there is no run, or a folder does not exist.
    """
    views = [open_run(folder) for folder in run_dirs]
    text = joint_report(views)
    runs = list(zip(labels(views), views, strict=True))
    words = [verdict(view).word for view in views]
    valid = words.count("VALID")
    kind = "good" if valid == len(words) else "bad" if "FAILED" in words else "open"
    head = Head(f"{valid} of {len(words)} VALID", f"{count(len(words), 'run')} side by side.", kind)
    return report_page(text, _joint_pictures(runs), head)


def _joint_pictures(runs: Labelled) -> Pictures:
    names = risk_profiles(runs)
    if not names:
        return {}
    name = SHOWN if SHOWN in names else names[0]
    found: dict[str, list[Drawn]] = {
        "Verdicts": [growth([(label, view) for label, view in runs], name)],
        "Holdings side by side": [_holdings(runs, name)],
    }
    if len(runs) > 1:
        found["Correlation of the sleeves"] = [_correlation(runs, name)]
    return found


def growth(runs: Labelled, name: str, key: str = "equity") -> Drawn:
    """Draw the growth of 1 of one risk profile in several runs, with what the first of them is held against."""
    walks = [(label, WalkFigures(view.folder, [name])) for label, view in runs]
    known = [(label, walk) for label, walk in walks if not isinstance(walk.walk, str)]
    if not known:
        return f"no run has a walk-forward of {name}"
    days = np.unique(np.concatenate([walk.days for _, walk in known]))
    nav: dict[str, Floats] = {}
    for label, walk in known:
        nav[label] = np.full(len(days), np.nan)
        nav[label][np.searchsorted(days, walk.days)] = walk.column("nav")[name]
    measured: dict[str, Floats] = {}
    first = known[0][1]
    if len(first.days) == len(days):
        measured = {one: growth_of(series) for one, series in first.yardsticks.items()}
    told = ", ".join(f"{label} {ratio(lines.last(values))}" for label, values in nav.items())
    title = f"Growth of 1 in the walk-forward, {name}, after costs"
    description = f"From {lines.span(days)}. At the end: {told}."
    return lines.line_figure(key, title, description, days, {**nav, **measured}, ratio, start=1.0, growth=True)


def _holdings(runs: Labelled, name: str) -> Drawn:
    columns = {label: book.weights for label, view in runs if (book := guarded_book(view, name)) is not None}
    rows = by_size(columns.values())
    return bars.weights(rows, columns, "weights-coins", f"Net weights on coins, {name}") if rows else "nothing is held"


def _correlation(runs: Labelled, name: str) -> Drawn:
    n = len(runs)
    cells = np.full((n, n), np.nan)
    for i, (_, one) in enumerate(runs):
        for j, (_, other) in enumerate(runs):
            shared = shared_returns(one.returns, other.returns, name)
            if shared.height > 1:
                with np.errstate(invalid="ignore", divide="ignore"):
                    cells[i, j] = np.corrcoef(shared["ret"].to_numpy(), shared["ret_other"].to_numpy())[0, 1]
    if not np.isfinite(cells).any():
        return "no two runs have days in common"
    title = f"Correlation of the sleeves, {name}"
    return maps.correlation([label for label, _ in runs], [""] * n, cells, title=title)


def render_comparison_page(comparison: Comparison, attribution: Attribution, views: tuple[RunView, RunView]) -> str:
    """Return the comparison of two runs as a page."""
    runs = [(comparison.a, views[0]), (comparison.b, views[1])]
    pictures: dict[str, list[Drawn]] = {
        f"Weights of {name}": [figure]
        for name, book in comparison.books.items()
        if (figure := _moved(comparison, name, book)) is not None
    }
    for name in comparison.performance:
        pictures[f"Walk-forward of {name}"] = [growth(runs, name, f"equity-{name.replace('_', '-')}")]
    return report_page(to_markdown(comparison, attribution), pictures)


def _moved(comparison: Comparison, name: str, book: Book) -> Figure | None:
    moved = [holding for holding in book.holdings if abs(holding.difference) > NOISE]
    if not moved:
        return None
    columns = {
        comparison.a: {one.coin: one.a for one in moved if one.a},
        comparison.b: {one.coin: one.b for one in moved if one.b},
        "difference": {one.coin: one.difference for one in moved},
    }
    rows = [one.coin for one in moved]
    return bars.weights(rows, columns, f"weights-{name.replace('_', '-')}", f"Net weights on coins, {name}")
