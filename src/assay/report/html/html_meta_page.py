"""``report.html`` of a meta-portfolio: its report with plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assay.report.figures import bars, maps
from assay.report.figures.of_run import run_times
from assay.report.figures.of_walk import Drawn, WalkFigures
from assay.report.html.pages import Head, Pictures, report_page
from assay.report.markdown import count, integer, percent
from assay.report.meta_report import compose_meta, validation_of
from assay.report.report_allocation import by_size
from assay.report.report_meta_view import MetaView
from assay.report.report_trail import read_trail
from assay.runs import artifacts as layout


def render_meta_page(run_dir: Path) -> str:
    """Return the report of a meta-portfolio as a page.

    Raises
    ------
    IntegrityError
        If an artifact of its steps is missing or broken.
    """
    view = MetaView(run_dir)
    return report_page(compose_meta(view), _pictures(view), _head(view))


def _head(view: MetaView) -> Head:
    found = validation_of(view)
    ok = found is not None and found.ok
    checks = count(0 if found is None else len(found.checks), "check")
    days = [profile.days for profile in view.alignment.profiles.values()]
    coins = [profile.coins for profile in view.analysis.profiles.values()]
    cash = [book.cash for book in view.contributors.profiles.values()]
    facts = [
        ("Run", str(view.manifest["run_id"])),
        ("As of", str(view.manifest["as_of"])),
        ("Sleeves", integer(len(view.sleeves.accepted))),
        ("Shared days", f"{integer(min(days))} to {integer(max(days))}"),
        ("Coins", f"{integer(min(coins))} to {integer(max(coins))}"),
        ("Cash", f"{percent(min(cash))} to {percent(max(cash))}"),
    ]
    why = f"{checks} of meta validation, {'all ok' if ok else 'not all ok'}."
    return Head("VALID" if ok else "NOT VALID", why, "good" if ok else "bad", facts)


def _pictures(view: MetaView) -> Pictures:
    figures = WalkFigures(view.folder, view.names, _measured(view))
    return {
        "Allocation by sleeve": [_sleeve_weights(view)],
        "Allocation by coin": [_coin_weights(view)],
        "Correlation of sleeves": [_correlation(view)],
        "Performance": [
            figures.equity(),
            figures.drawdown(),
            figures.rolling_beta(),
            figures.monthly(),
            figures.turnover(),
        ],
        "Events": [run_times(read_trail(view.folder / layout.LEDGER))],
    }


def _measured(view: MetaView) -> Path | None:
    """Return a sleeve that knows Bitcoin and all coins on these days; a portfolio has no such table of its own."""
    runs = (view.folder.parent / sleeve.run_id for sleeve in view.sleeves.accepted)
    return next((run for run in runs if (run / layout.WALK_YARDSTICKS).is_file()), None)


def _sleeve_weights(view: MetaView) -> Drawn:
    columns = {name: {one.Sleeve: one.Weight for one in view.optimized.profiles[name].sleeves} for name in view.names}
    rows = [sleeve.sleeve for sleeve in view.sleeves.accepted]
    return bars.weights(rows, columns, "weights-sleeves", "Weights of sleeves")


def _coin_weights(view: MetaView) -> Drawn:
    columns = {
        name: {coin.Symbol: coin.Net for coin in view.contributors.profiles[name].coins if coin.Net}
        for name in view.names
    }
    rows = by_size(columns.values())
    if not rows:
        return "every risk profile is all cash"
    return bars.weights(rows, columns, "weights-coins", "Net weights on coins")


def _correlation(view: MetaView) -> Drawn:
    """Draw the first risk profile's; the tables have all."""
    name = "hrp" if "hrp" in view.names else view.names[0]
    found = view.analysis.profiles[name].correlation
    if len(found) < 2:
        return "one sleeve has no correlation"
    cells = np.array([[np.nan if row[other] is None else row[other] for other in found] for row in found.values()])
    title = f"Correlation of the sleeves, {name}"
    return maps.correlation(list(found), [""] * len(found), cells.astype(np.float64), title=title)
