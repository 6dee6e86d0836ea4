"""Technical ratings on Binance spot coins, turned into audited portfolios.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.api import FinishedRun as Run
    from assay.api import Sleeve, run
    from assay.lake.lake import Lake
    from assay.ratings.frames import rate
    from assay.settings import Profile

__all__ = ["Lake", "Profile", "Run", "Sleeve", "rate", "run"]

_HOMES = {
    "Lake": ("assay.lake.lake", "Lake"),
    "Profile": ("assay.settings", "Profile"),
    "Run": ("assay.api", "FinishedRun"),
    "Sleeve": ("assay.api", "Sleeve"),
    "rate": ("assay.ratings.frames", "rate"),
    "run": ("assay.api", "run"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'assay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
