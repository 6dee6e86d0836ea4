"""On a copy that cannot be written every verdict is given, and that no record of it was kept is said."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.base import files
from assay.cli import app

PROFILE = "binance_spot_rating_all_long"


class ReadOnly(files.Disk):
    """A disk below whose folder nothing changes, as a mount that was made read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _refuse(self, path: Path) -> None:
        if path.is_relative_to(self.folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def make_folder(self, path: Path) -> None:
        self._refuse(path)
        super().make_folder(path)

    def open(self, path: Path, flags: int) -> int:
        self._refuse(path)
        return super().open(path, flags)

    def rename(self, old: Path, new: Path) -> None:
        self._refuse(new)
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        self._refuse(path)
        super().remove(path)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("read_only") / "home"
    quick = ("--set", "walk_forward.days=60")
    done = CliRunner().invoke(app, ["run", PROFILE, "--home", str(home), "--run-id", "one", *quick])
    assert done.exit_code == 0, done.output
    return home


@pytest.fixture
def home(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(written, copy)
    access = os.access
    monkeypatch.setattr(files, "disk", ReadOnly(copy))
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and not (mode & os.W_OK and Path(path).is_relative_to(copy))
    )
    return copy


@pytest.mark.parametrize(
    ("call", "verdict"),
    [
        (["verify", "one"], "one: INTACT"),
        (["validate", "one"], "one: VALID"),
        (["validate", "--all"], "one: VALID"),
        (["replay", "one"], "one: EQUAL"),
        (["audit", "one"], "one: SOUND"),
        (["audit", "--all"], "one: SOUND"),
        (["trials"], "1 trial"),
    ],
)
def test_a_verdict_needs_no_place_to_write(home: Path, call: list[str], verdict: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    done = CliRunner().invoke(app, [*call, "--home", str(home)])
    assert done.exit_code == 0, done.output
    assert verdict in done.stdout
    assert "no record of this was written: " in done.stderr
    assert "Read-only file system" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize(
    ("call", "code", "verdict"),
    [("verify", 3, "one: BROKEN"), ("validate", 1, "one: INVALID"), ("audit", 3, "one: FILE_CHANGED")],
)
def test_what_is_wrong_on_a_read_only_copy_is_still_wrong(home: Path, call: str, code: int, verdict: str) -> None:
    (home / "runs" / "one" / "data" / "portfolio_clusters.json").write_bytes(b"[" * 100_000)
    done = CliRunner().invoke(app, [call, "one", "--home", str(home)])
    assert (done.exit_code, verdict in done.stdout) == (code, True), done.output
    assert "no record of this was written: " in done.stderr
