"""What a home folder holds that nobody will come back to, and its removal.

A lake into which nothing came, a run's directory in which no run began or of which nothing was pinned, and temporary
files of processes that are gone. What a state of a lake, a manifest, the registry or a flow names is never touched, nor
what somebody is working on, nor bars that were fetched and wait for the next ingestion.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assay.base import files
from assay.base.errors import IntegrityError, LedgerError
from assay.lake.lake import SPOOL, remove_empty
from assay.lake.storage import HEADS, LOCK, POINTER
from assay.report.doctor import is_orphan, leftover_files, writer_at_work
from assay.runs import registry
from assay.runs.artifacts import LEDGER, MANIFEST, STATUS
from assay.runs.home import Home, Status

Kind = Literal["EMPTY_LAKE", "RUN_ORPHANED", "RUN_NEVER_BEGAN", "FLOW_ORPHANED", "LEFTOVER_FILE"]


@dataclass(frozen=True)
class Abandoned:
    """A folder or file that nobody will come back to."""

    kind: Kind
    path: Path
    size: int
    """Bytes."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": self.kind, "path": str(self.path), "bytes": self.size}


def abandoned(home: Home) -> list[Abandoned]:
    """Look for what is abandoned; nothing is changed.

    Raises
    ------
    IntegrityError
        If the registry, or a manifest, cannot be read: then nobody knows what it names.
    """
    named = _named(home)
    found = [*_lakes(home, named), *_runs(home, named), *_flows(home)]
    inside = tuple(item.path for item in found)
    left = leftover_files(home.lake, home.runs, home.flows, home.reports)
    left = [path for path in left if not any(path.is_relative_to(folder) for folder in inside)]
    return [*found, *(Abandoned("LEFTOVER_FILE", path, path.stat().st_size) for path in left)]


def remove(home: Home) -> list[Abandoned]:
    """Remove what is abandoned; each is looked at once more, under its lock, at the moment of its removal.

    Returns
    -------
    list of Abandoned
        What is gone.
    """
    gone = []
    for item in abandoned(home):
        if item.kind == "LEFTOVER_FILE":
            item.path.unlink(missing_ok=True)
        elif item.kind == "EMPTY_LAKE":
            with files.locked(item.path / LOCK):
                if _is_empty(item.path):
                    remove_empty(item.path)
        elif item.kind == "FLOW_ORPHANED":
            with suppress(OSError):  # a flow began in it meanwhile
                item.path.rmdir()
        elif _never_began(item.path) is not None:
            shutil.rmtree(item.path)
        if not item.path.exists():
            gone.append(item)
    return gone


def _named(home: Home) -> frozenset[str]:
    """Return lakes and runs that the registry, a manifest or a flow names, by the names of their folders."""
    try:
        names = {entry.run_id for entry in registry.entries(home.registry)} if home.registry.is_file() else set()
    except LedgerError as error:
        what = "the registry cannot be read, so that nobody knows which runs it names"
        raise IntegrityError(what, where=str(home.registry), hint="run: assay doctor") from error
    for path in (*home.runs.glob(f"*/{MANIFEST}"), *home.flows.glob("*/*.json")):
        names |= set(_words(files.read_json(path)))
    return frozenset(names)


def _words(value: Any) -> Iterator[str]:
    """Yield the texts of a document, and of paths the parts: a lake or a run is named by either."""
    if isinstance(value, str):
        yield from Path(value).parts
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)


def _lakes(home: Home, named: frozenset[str]) -> Iterator[Abandoned]:
    for folder in sorted(home.lake.iterdir()) if home.lake.is_dir() else ():
        if folder.is_dir() and folder.name not in named and _is_empty(folder) and not writer_at_work(folder):
            yield Abandoned("EMPTY_LAKE", folder, _size(folder))


def _is_empty(folder: Path) -> bool:
    """Tell whether a lake has no state, in its folder or elsewhere, and nothing that waits to come into it."""
    heads, spool = folder / HEADS, folder / SPOOL
    fetched = spool.is_dir() and any(spool.iterdir())
    return not (fetched or (folder / POINTER).exists() or (heads.is_file() and heads.stat().st_size > 0))


def _runs(home: Home, named: frozenset[str]) -> Iterator[Abandoned]:
    for name in home.run_ids():
        folder = home.runs / name
        kind = _never_began(folder)
        if kind is not None and name not in named:
            yield Abandoned(kind, folder, _size(folder))


def _flows(home: Home) -> Iterator[Abandoned]:
    """Yield claimed folders of flows into which nothing came."""
    for folder in sorted(home.flows.iterdir()) if home.flows.is_dir() else ():
        if folder.is_dir() and not any(folder.iterdir()) and is_orphan(folder):
            yield Abandoned("FLOW_ORPHANED", folder, 0)


def _never_began(folder: Path) -> Kind | None:
    """Tell whether a run's directory has nothing pinned and no living process."""
    if (folder / MANIFEST).is_file():
        return None
    if not (folder / STATUS).is_file():
        return "RUN_ORPHANED" if is_orphan(folder) and not (folder / LEDGER).is_file() else None
    try:
        return "RUN_NEVER_BEGAN" if Status.shown(folder).state == "DEAD" else None
    except IntegrityError:
        return None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
