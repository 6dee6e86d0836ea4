"""Loads what a page needs; a worker imports this module while it waits for its first run."""

from __future__ import annotations

from importlib import import_module

from assay.report import sections
from assay.report.figures import canvas

canvas.load()
sections.load()
for _name in (
    "assay.report.html",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "matplotlib.patches",
    "matplotlib.ticker",
):
    import_module(_name)
