"""Canonical profiles and scanners, shrunk so that a universe of few days can carry a decision."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from assay.selftest.universes import Universe
from assay.settings import load
from assay.settings.model import Profile, Scanner

SMALL: Mapping[str, Any] = {
    "data": {"lookback": 80, "floor": 20, "estimation_rows": 40, "min_rows": 15, "coverage": 0.5},
    "selection": {"feature_bars": 30, "cluster_windows": (10, 20, 40)},
    "walk_forward": {"train": 25, "hold": 10, "step": 10, "days": 20},
}
"""Settings that let few days carry a decision; each within the ranges of :mod:`assay.settings.model`."""

LENIENT = {"entropy": 10.0, "efficiency": 0.0, "kurtosis": 1e9, "volatility": 1e9}
FREE = {"fee": 0.0, "slippage": 0.0, "borrow": 0.0}


@lru_cache(maxsize=8)
def _canon(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    catalog = load()
    scanners = {key: scanner.model_dump() for key, scanner in catalog.scanners().items()}
    return catalog.profile(name).model_dump(), scanners


def profile_of(universe: Universe) -> Profile:
    """Return the canonical profile of a universe, shrunk where its days are few, with the universe's own settings."""
    plain, _ = _canon(universe.profile)
    chosen = dict(universe.settings)
    small = SMALL if universe.days < plain["data"]["floor"] else {}
    selection = {**plain["selection"], **small.get("selection", {})}
    if chosen.pop("lenient", False):
        selection["vetoes"] = LENIENT
    costs = {**plain["costs"], **(FREE if chosen.pop("free", False) else {})}
    groups = {name: {**plain[name], **values} for name, values in small.items()} | {"selection": selection}
    for name in ("guard", "caps"):
        groups[name] = {**plain[name], **chosen.pop(name, {})}
    return Profile.model_validate({**plain, **groups, "costs": costs, **chosen})


def scanners_of(universe: Universe) -> dict[str, Scanner]:
    """Return the canonical scanners; where days are few, they ask for as many bars as :data:`SMALL` can do with."""
    profile, plain = _canon(universe.profile)
    small = {"min_bars": SMALL["data"]["floor"]} if universe.days < profile["data"]["floor"] else {}
    return {
        name: Scanner.model_validate({**scanner, "universe": {**scanner["universe"], **small}})
        for name, scanner in plain.items()
    }
