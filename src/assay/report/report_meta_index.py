"""``INDEX.md`` of a meta-portfolio: what every file is."""

from __future__ import annotations

from pathlib import Path

from assay.report.markdown import fill, table
from assay.runs import artifacts as layout

FILES = {
    layout.MANIFEST: "every value that the run used, and its sleeves by run id, ledger head and seal",
    layout.META_SLEEVES: "sleeves that were accepted, and runs that were refused, with code and reason",
    layout.META_RETURNS: "the sleeves' walk-forward returns on shared days, per risk profile (L0)",
    layout.META_ALIGNMENT: "shared days, shortfalls, sleeves in cash",
    layout.SIGN_PRE: "sign test of all sleeves before the optimization",
    layout.META_OPTIMIZED: "weights of sleeves for each risk profile, with bounds and solver records",
    layout.META_CONTRIBUTORS: "every atom behind every coin, netting, and where the capital went",
    layout.FLATTENED: "weights of coins for each risk profile, as a sleeve has them (L4)",
    layout.SIGN_POST: "sign test of all sleeves and coins after flattening",
    layout.WALK_RETURNS: "walk-forward of the portfolio: daily NAV, return, gross, net, cash, turnover, cost",
    layout.WALK_WEIGHTS: "walk-forward: net weights of coins at each decision",
    layout.WALK_DECISIONS: "walk-forward: weights of sleeves at each decision, and the share of each that was kept",
    layout.WALK_STATISTICS: "walk-forward: metrics for each risk profile",
    layout.META_ANALYSIS: "concentration, bets, correlation, contributions, leave one out",
    layout.TRIALS: "deflated Sharpe ratios, given what else was tried before this run",
    layout.REPORT: "the report",
    layout.PAGE: "the report as one page with plots",
    layout.INDEX: "this list",
    layout.LEDGER: "the ledger: a chain of hashes over everything that the run did",
    layout.STATUS: "state, step, times and process of the run",
}


def render_meta_index(run_dir: Path) -> str:
    """Return the index of the directory of a meta-portfolio as Markdown."""
    found = sorted({*FILES, *(path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file())})
    rows = [
        [path, FILES.get(path, "meta validation of all artifacts" if path.startswith(layout.VALIDATION) else None)]
        for path in found
        if not any(part.startswith(".") for part in path.split("/"))
    ]
    return f"{fill('# Index of {name}', name=run_dir.name)}\n\n{table(['file', 'what'], rows)}\n"
