"""Real runs on the embedded sample, made once for all tests of a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.selftest.workshop import AS_OF, LONG, SHORT, Workshop, mutated

__all__ = ["AS_OF", "LONG", "SHORT", "Workshop", "mutated"]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop.at(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def finished(workshop) -> dict[str, Path]:
    """One sealed run of each side."""
    return dict(workshop.profiles)
