"""Loads what a page needs; a worker imports this module while it waits for its first run."""

from __future__ import annotations

from importlib import import_module

from assay.report import sections

sections.load()
import_module("assay.report.html")
