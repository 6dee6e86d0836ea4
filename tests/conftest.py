"""Fixtures that every test may use."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
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


@pytest.fixture(autouse=True)
def no_terminal() -> None:
    """Let no library that a test starts say how wide the reader of the next test is."""
    os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Let the first worker that needs a folder build it; each works on a copy of its own."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def copy(name: str, build: Callable[[Path], None]) -> Path:
        kept, making = root / f"built-{name}", root / f"building-{name}"
        with (root / f"building-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                shutil.rmtree(making, ignore_errors=True)  # of a worker whose building failed
                build(making)
                making.rename(kept)
        return Path(shutil.copytree(kept, tmp_path_factory.mktemp(name) / "copy"))

    return copy


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
