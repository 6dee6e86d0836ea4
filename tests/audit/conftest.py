"""Runs for the tests of the audit room."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit_house import draft, make_home, publish


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


@pytest.fixture
def run(home: Path) -> Path:
    """A sealed short run."""
    return publish(home, "p_short_20240401-060000", draft("SHORT"))
