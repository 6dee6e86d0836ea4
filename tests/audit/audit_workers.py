"""What other processes do in the tests of the audit room: importable by name, and quick to import."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from assay.base.errors import UsageError
from assay.runs import registry
from assay.runs.ledger import Ledger
from assay.runs.registry import Registration

BODY = {"run_id": "r", "profile": "p"}
TIME = "2024-04-01T06:00:00.000000Z"


def made(number: int, manifest: str = "", **performance: float | None) -> Registration:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Registration(f"run-{number}", "p", digest, digest, manifest or digest, "VALID", TIME, performance)


def enter(book: str, first: int, count: int) -> None:
    """Enter runs one after the other."""
    for number in range(first, first + count):
        registry.append(Path(book), made(number))


def begin(path: str, barrier: Any, results: Any) -> None:
    """Begin a ledger when everybody does."""
    barrier.wait()
    try:
        Ledger.create(Path(path), BODY).event(1, "X", "mine")
        results.put("begun")
    except UsageError as error:
        results.put(error.code)
