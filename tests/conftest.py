"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs with interrupts ignored, and children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def quick_disk() -> Iterator[None]:
    """Let no test wait for the disk: what fsync does is the disk's business, that it is called is tested by name.

    A run writes some hundred files, and each waits for milliseconds. Processes that tests start do wait.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of recorded data beside the checkout; tests that need it skip where it is absent.

    With ``ASSAY_SHARED=require`` they fail there: who says that a figure holds must not have skipped it.
    """
    folder = Path(os.environ.get("ASSAY_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        missing(f"recorded data is absent: {folder}")
    return folder


def missing(reason: str) -> NoReturn:
    """Skip, or fail where recorded data are required."""
    if os.environ.get("ASSAY_SHARED") == "require":
        pytest.fail(reason)
    pytest.skip(reason)
