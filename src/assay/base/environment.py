"""What a replay elsewhere would have to match."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

PROGRAM = "assay-portfolio"
PACKAGES = (PROGRAM, "clarabel", "deltalake", "numpy", "pandera", "piqp", "polars", "pydantic", "scipy")
VERSION: str = metadata.version(PROGRAM)
"""Of this program."""


def environment() -> dict[str, Any]:
    """Return interpreter, processor family and package versions."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
