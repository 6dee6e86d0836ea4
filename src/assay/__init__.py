"""Technical ratings on Binance spot coins, turned into audited portfolios.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.api import Run, Sleeve, run
    from assay.lake.lake import Lake
    from assay.settings import Profile

__all__ = ["Lake", "Profile", "Run", "Sleeve", "run"]

_HOMES = {
    "Lake": "assay.lake.lake",
    "Profile": "assay.settings",
    "Run": "assay.api",
    "Sleeve": "assay.api",
    "run": "assay.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'assay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
