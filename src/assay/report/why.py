"""What became of one coin in a run: its audit, its fates, its weights."""

from __future__ import annotations

from pathlib import Path

from assay.base.domain import check_symbol
from assay.base.errors import UsageError
from assay.runs import artifacts as layout
from assay.runs.documents import Document, Drop, Fate, SymbolHealth
from assay.runs.run import Run


class Why(Document):
    """Everything that a run's artifacts say of one coin."""

    symbol: str
    fates: list[Fate]
    health: list[SymbolHealth]
    dropped: list[Drop]
    weights: dict[str, float]
    """Risk profile to signed share of the account."""


def why(folder: Path, symbol: str) -> Why:
    """Read what became of a coin in a run.

    Raises
    ------
    UsageError
        If the coin was not a candidate of the run.
    IntegrityError
        If the run has no selection, or an artifact is damaged.
    """
    check_symbol(symbol)
    run = Run(folder)
    health, flattened = run[layout.HEALTH], run[layout.FLATTENED] if run.has(layout.FLATTENED) else None
    found = Why(
        symbol=symbol,
        fates=[fate for fate in run[layout.SELECTION].fates if fate.symbol == symbol],
        health=[entry for entry in health.symbols if entry.symbol == symbol],
        dropped=[drop for drop in (*health.missing, *health.dropped) if drop.name == symbol],
        weights={
            name: asset.Net_Weight
            for name, profile in (flattened.profiles.items() if flattened else ())
            for asset in profile.assets
            if asset.Symbol == symbol
        },
    )
    if not (found.fates or found.health or found.dropped):
        raise UsageError(
            f"{symbol} was not a candidate of this run",
            where=folder.name,
            hint="scanners are listed by: assay profiles list",
        )
    return found
