"""Real runs on the embedded sample, made once for all tests of a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.selftest.sandbox import AS_OF, LONG, SHORT, Sandbox, mutated

__all__ = ["AS_OF", "LONG", "SHORT", "Sandbox", "mutated"]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory) -> Sandbox:
    return Sandbox.at(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def finished(sandbox) -> dict[str, Path]:
    """One sealed run of each side."""
    return dict(sandbox.profiles)
