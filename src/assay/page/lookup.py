"""From names in an address to folders and files of a home: nothing outside it can be named."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from assay.base.errors import UsageError
from assay.runs.home import RUN_ID, Home

NOT_FOUND = "NOT_FOUND"
"""Code of the error that becomes a 404."""

LAKE = re.compile(r"[a-z]+-[0-9a-f]{8}")


def not_found(what: str, hint: str, where: str = "") -> UsageError:
    """Return the error of an address that leads nowhere."""
    return UsageError(what, where=where, hint=hint, code=NOT_FOUND)


def run_folder(home: Home, name: str) -> Path:
    """Return the directory of a run.

    Raises
    ------
    UsageError
        If the name cannot be a run's, there is no such run, or it is a link.
    """
    return _named(home.runs, name, RUN_ID, "run", "the list of all runs is the page /")


def flow_folder(home: Home, name: str) -> Path:
    """Return the directory of a flow."""
    return _named(home.flows, name, RUN_ID, "flow", "the list of all flows is the page /flows")


def account_folder_of(home: Home, name: str) -> Path:
    """Return the folder of an account."""
    return _named(home.accounts, name, RUN_ID, "account", "the list of all accounts is the page /accounts")


def lake_folder(home: Home, name: str) -> Path:
    """Return the folder of a lake."""
    return _named(home.lake, name, LAKE, "lake", "the list of all lakes is the page /lakes")


def _named(parent: Path, name: str, rule: re.Pattern[str], kind: str, hint: str) -> Path:
    if not rule.fullmatch(name):
        raise UsageError(f"{name[:120]!r} cannot be the name of a {kind}", hint=hint)
    folder = parent / name
    if not folder.is_dir() or folder.resolve() != parent.resolve() / name:
        raise not_found(f"there is no {kind} {name!r}", hint)
    return folder


def file_below(folder: Path, path: str) -> Path:
    """Return a file of a run or flow by its relative path.

    Hidden files are writes in progress; links and everything that is not a plain file are refused.

    Raises
    ------
    UsageError
        If there is no such file.
    """
    parts = path.split("/")
    plain = all(part and not part.startswith(".") for part in parts) and "\x00" not in path
    if not plain or not _is_own(folder, folder / path):
        raise not_found("there is no such file", "its folder's page lists what there is", where=path[:200])
    return folder / path


def _is_own(folder: Path, path: Path) -> bool:
    """Whether a path leads to a plain file below a folder, by no link."""
    try:
        return path.is_file() and path.resolve() == folder.resolve() / path.relative_to(folder)
    except (OSError, RuntimeError):  # a name too long, or links in a circle
        return False


def files_below(folder: Path) -> list[tuple[str, int]]:
    """List relative paths and sizes of the files that :func:`file_below` gives, sorted."""
    found = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or not _is_own(folder, path):
            continue
        with suppress(OSError):  # removed between the two looks
            found.append((relative.as_posix(), path.stat().st_size))
    return sorted(found)
