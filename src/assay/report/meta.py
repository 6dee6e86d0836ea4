"""The report of a meta-portfolio, generated from its ledger and artifacts; the last step of its run writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.report import sections
from assay.report.view import RunView
from assay.runs import artifacts as layout
from assay.runs.documents import AtomicValidation, Contributors, Netting
from assay.runs.home import told, weakened_by
from assay.runs.run import Run

TITLES = {
    "min_variance": "minimum variance",
    "hrp": "hierarchical risk parity",
    "max_sharpe": "maximum Sharpe ratio",
    "equal_weight": "equal weight",
    "barbell": "barbell",
}


def render_meta(run_dir: Path) -> str:
    """Return the report of a meta-portfolio as Markdown.

    Raises
    ------
    IntegrityError
        If an artifact of its steps is missing or broken.
    """
    return compose_meta(Run(run_dir))


def compose_meta(run: Run) -> str:
    """Return the report of a meta-portfolio that has been opened."""
    return sections.render(
        "meta_report.md.j2",
        run=run,
        view=RunView(run),
        validation=validation_of(run),
        weakened=lambda manifest: told(weakened_by(manifest), most=None),
        title=lambda name: TITLES.get(name, name),
        net_weights=net_weights,
        netted_coins=netted_coins,
    )


def profiles_of(run: Run) -> list[str]:
    """Return the risk profiles in the order of the settings."""
    return list(run[layout.MANIFEST]["profile"]["risk_profiles"])


def validation_of(run: Run) -> AtomicValidation | None:
    """Return the run's own validation, if it came so far."""
    found = sorted((run.folder / layout.VALIDATION).glob("meta_validation_*.json"))
    return run[layout.VALIDATION.below(found[0].name)] if found else None


def net_weights(contributors: Contributors, names: Sequence[str]) -> list[tuple[str, list[float]]]:
    """Return coins with their net weight in each risk profile, those of the largest gross weight in any first."""
    books = [{coin.Symbol: coin for coin in contributors.profiles[name].coins} for name in names]
    gross = {symbol: max(book[symbol].Gross for book in books if symbol in book) for book in books for symbol in book}
    order = sorted(gross, key=lambda symbol: (-gross[symbol], symbol))
    return [(symbol, [book[symbol].Net if symbol in book else 0.0 for book in books]) for symbol in order]


def netted_coins(contributors: Contributors, names: Sequence[str]) -> list[tuple[str, Netting]]:
    """Return coins that are long in one sleeve and short in another, or exceed what one coin may hold."""
    return [
        (name, coin)
        for name in names
        for coin in contributors.profiles[name].coins
        if (coin.Long > 0.0 and coin.Short > 0.0) or coin.To_Cash > 0.0
    ]
