"""Technical ratings on Binance spot coins, turned into audited portfolios.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.api import FinishedRun as Run
    from assay.api import Sleeve, compare, flow, meta, run, runs, why
    from assay.lake.lake import Lake
    from assay.ratings.frames import rate
    from assay.settings import Profile

    __version__: str

__all__ = [
    "Lake",
    "Profile",
    "Run",
    "Sleeve",
    "__version__",
    "compare",
    "flow",
    "meta",
    "rate",
    "run",
    "runs",
    "why",
]

_HOMES = {
    "Lake": ("assay.lake.lake", "Lake"),
    "Profile": ("assay.settings", "Profile"),
    "Run": ("assay.api", "FinishedRun"),
    "Sleeve": ("assay.api", "Sleeve"),
    "__version__": ("assay.base.environment", "VERSION"),
    "compare": ("assay.api", "compare"),
    "flow": ("assay.api", "flow"),
    "meta": ("assay.api", "meta"),
    "rate": ("assay.ratings.frames", "rate"),
    "run": ("assay.api", "run"),
    "runs": ("assay.api", "runs"),
    "why": ("assay.api", "why"),
}


class _Room(ModuleType):
    """A room whose name is a function's too: ``assay.runs()`` lists runs, and ``assay.runs.home`` is a module."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return getattr(import_module("assay.api"), self.__name__.rpartition(".")[2])(*arguments, **options)


class _House(ModuleType):
    """The package, which makes such rooms callable when they are entered into it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _House


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'assay' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
