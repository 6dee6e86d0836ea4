"""Runs for the tests of the audit room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from audit_house import draft, make_home, publish


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small writes: what fsync does is the disk's business here, that it is called is tested by name."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


@pytest.fixture
def run(home: Path) -> Path:
    """A sealed short run."""
    return publish(home, "p_short_20240401-060000", draft("SHORT"))
