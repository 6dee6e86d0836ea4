"""What became of one coin in a run: its audit, its fates, its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.base.domain import check_symbol
from assay.base.errors import UsageError
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.documents import Drop, Fate, SymbolHealth


@dataclass(frozen=True)
class Why:
    """Everything that a run's artifacts say of one coin.

    Attributes
    ----------
    weights : dict of str to float
        Risk profile to signed share of the budget.
    """

    symbol: str
    fates: list[Fate]
    health: list[SymbolHealth]
    dropped: list[Drop]
    weights: dict[str, float]

    def as_plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "symbol": self.symbol,
            "fates": [artifacts.as_plain(fate) for fate in self.fates],
            "health": [artifacts.as_plain(entry) for entry in self.health],
            "dropped": [artifacts.as_plain(drop) for drop in self.dropped],
            "weights": self.weights,
        }


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
    health = artifacts.load(artifacts.DataHealth, folder / layout.HEALTH)
    audit = artifacts.load(artifacts.SelectionAudit, folder / layout.SELECTION)
    found = Why(
        symbol=symbol,
        fates=[fate for fate in audit.fates if fate.symbol == symbol],
        health=[entry for entry in health.symbols if entry.symbol == symbol],
        dropped=[drop for drop in (*health.missing, *health.dropped) if drop.name == symbol],
        weights=_weights(folder, symbol),
    )
    if not (found.fates or found.health or found.dropped):
        raise UsageError(
            f"{symbol} was not a candidate of this run",
            where=folder.name,
            hint="scanners are listed by: assay profiles list",
        )
    return found


def _weights(folder: Path, symbol: str) -> dict[str, float]:
    path = folder / layout.FLATTENED
    if not path.is_file():
        return {}
    flattened = artifacts.load(artifacts.Flattened, path)
    return {
        name: asset.Net_Weight
        for name, profile in flattened.profiles.items()
        for asset in profile.assets
        if asset.Symbol == symbol
    }
