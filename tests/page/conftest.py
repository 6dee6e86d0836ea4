"""A home with two finished runs, made once for all tests of a worker."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from account_ledger import a_ledger, write_account
from page_house import CHROMIUM_ARGUMENTS, LONG, SHORT, Served, chromium, lay_lake, run_one, serving


@pytest.fixture(scope="session")
def finished_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake, the runs ``long`` and ``short``, and the account ``paper``; tests do not change it."""
    home = tmp_path_factory.mktemp("page") / "home"
    lay_lake(home)
    run_one(home, LONG, "long")
    run_one(home, SHORT, "short")
    write_account(home, a_ledger())
    return home


@pytest.fixture(scope="session")
def finished(finished_home: Path) -> Iterator[Served]:
    """A server of that home."""
    with serving(finished_home) as served:
        yield served


@pytest.fixture(scope="session")
def stage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Served]]:
    """A server of a home in which tests put up what they need."""
    home = tmp_path_factory.mktemp("stage") / "home"
    with serving(home) as served:
        yield home, served


@pytest.fixture
def stage(stage_server: tuple[Path, Served]) -> Iterator[tuple[Path, Served]]:
    """The same, empty."""
    yield stage_server
    shutil.rmtree(stage_server[0], ignore_errors=True)


# Of a module: while it is open an event loop runs in this thread, and other tests start loops of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; nothing is ever downloaded."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Playwright gives each launch an empty user-data-dir of its own.
        opened = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield opened
        opened.close()
