"""Edits of sealed runs, each with what the verifier must call it.

An edit changes a folder that holds copies of runs and their registry; :func:`told_by` then verifies the edited run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.base.files import sha256
from assay.runs import artifacts as layout
from assay.runs.ledger import read_ledger
from assay.runs.verify import REGISTRY, canonical, registration, verify


@dataclass(frozen=True)
class Scene:
    """Copies of two sealed runs beside their registry; the first is the one that is edited and verified."""

    runs: Path
    run: Path
    other: Path

    @property
    def ledger(self) -> Path:
        """The edited run's ledger."""
        return self.run / layout.LEDGER

    @property
    def registry(self) -> Path:
        """The registry of both."""
        return self.runs / REGISTRY


@dataclass(frozen=True)
class Edit:
    """What is changed, the code that must be told of it, and whether the head was noted elsewhere before."""

    change: Callable[[Scene], None]
    code: str
    noted: bool


EDITS: dict[str, Edit] = {}
"""Every edit by what is done, in the order in which they are tried."""


def _edit(name: str, code: str, *, noted: bool = False) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    def register(change: Callable[[Scene], None]) -> Callable[[Scene], None]:
        EDITS[name] = Edit(change, code, noted)
        return change

    return register


def told_by(scene: Scene, edit: Edit) -> set[str]:
    """Edit, verify, and return the codes of what was found.

    Parameters
    ----------
    scene : Scene
        Verified before, so that only the edit can be found.
    edit : Edit
        What to change, and whether the head before it was noted elsewhere and is asked for.
    """
    before = verify(scene.run, scene.registry)
    if not before.ok:
        return set()
    edit.change(scene)
    after = verify(scene.run, scene.registry, before.head if edit.noted else None)
    return {problem.code for problem in after.problems}


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def _write(path: Path, lines: Sequence[bytes]) -> None:
    path.write_bytes(b"".join(lines))


@_edit("change one byte of the weights", "FILE_CHANGED")
def _change_a_byte(scene: Scene) -> None:
    path = scene.run / layout.FLATTENED
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@_edit("remove a report", "FILE_MISSING")
def _remove_a_file(scene: Scene) -> None:
    (scene.run / layout.REPORT).unlink()


@_edit("add a file", "FILE_EXTRA")
def _add_a_file(scene: Scene) -> None:
    (scene.run / "data" / "more.json").write_text("{}")


@_edit("replace an artifact by a link", "FILE_STRANGE")
def _link_a_file(scene: Scene) -> None:
    path, outside = scene.run / layout.WINNERS, scene.runs / "outside.json"
    shutil.move(path, outside)
    path.symlink_to(outside)


@_edit("swap an artifact between runs", "FILE_CHANGED")
def _swap_artifacts(scene: Scene) -> None:
    shutil.copy(scene.other / layout.FLATTENED, scene.run / layout.FLATTENED)


@_edit("swap the ledgers of two runs", "REGISTRY_RUN")
def _swap_ledgers(scene: Scene) -> None:
    shutil.copy(scene.other / layout.LEDGER, scene.ledger)


@_edit("tear the ledger", "TORN")
def _tear_the_ledger(scene: Scene) -> None:
    data = scene.ledger.read_bytes()
    scene.ledger.write_bytes(data[: len(data) - len(_lines(scene.ledger)[-1]) // 2])


@_edit("cut the seal", "LEDGER_CUT")
def _cut_the_seal(scene: Scene) -> None:
    _write(scene.ledger, _lines(scene.ledger)[:-1])


@_edit("delete a line of the ledger", "SEQUENCE")
def _delete_a_line(scene: Scene) -> None:
    lines = _lines(scene.ledger)
    del lines[len(lines) // 2]
    _write(scene.ledger, lines)


@_edit("reorder lines of the ledger", "SEQUENCE")
def _reorder_lines(scene: Scene) -> None:
    lines = _lines(scene.ledger)
    lines[5], lines[6] = lines[6], lines[5]
    _write(scene.ledger, lines)


@_edit("repeat a line of the ledger", "SEQUENCE")
def _repeat_a_line(scene: Scene) -> None:
    lines = _lines(scene.ledger)
    _write(scene.ledger, [*lines[:6], lines[5], *lines[6:]])


@_edit("edit a line of the ledger", "CHAIN")
def _edit_a_line(scene: Scene) -> None:
    place, value = _a_gate(scene.ledger)
    lines = _lines(scene.ledger)
    lines[place] = canonical(value).encode() + b"\n"
    _write(scene.ledger, lines)


@_edit("edit the ledger and chain it anew", "REGISTRY_RUN")
def _rechain_the_ledger(scene: Scene) -> None:
    place, value = _a_gate(scene.ledger)
    _rechain(scene.ledger, place, value)


@_edit("cut the registry", "REGISTRY_RUN")
def _cut_the_registry(scene: Scene) -> None:
    _write(scene.registry, _lines(scene.registry)[:-1])  # the last line is the edited run's


@_edit("remove the registry", "REGISTRY_MISSING")
def _remove_the_registry(scene: Scene) -> None:
    scene.registry.unlink()


@_edit("rewrite ledger, seal and registry, head noted", "NOTED_HEAD", noted=True)
def _rewrite_everything(scene: Scene) -> None:
    """Nothing inside the folder can tell; a head that was noted elsewhere can, and so can a signature."""
    _rechain_the_ledger(scene)
    entries = read_ledger(scene.ledger)
    body = registration(entries[0], entries[-1])
    lines = [json.loads(line) for line in _lines(scene.registry)]
    place = next(i for i, line in enumerate(lines) if line["body"]["run_id"] == scene.run.name)
    _rechain(scene.registry, place, {**lines[place], "body": body})


def _a_gate(ledger: Path) -> tuple[int, dict[str, Any]]:
    """Return the place of a gate's line, and the line with another count."""
    lines = [json.loads(line) for line in _lines(ledger)]
    place = next(i for i, line in enumerate(lines) if line["kind"] == "gate")
    value = lines[place]
    value["body"]["checked"] += 1
    return place, value


def _rechain(path: Path, place: int, value: dict[str, Any]) -> None:
    lines = _lines(path)
    lines[place] = canonical(value).encode() + b"\n"
    for i in range(place + 1, len(lines)):
        later = json.loads(lines[i])
        later["prev"] = sha256(lines[i - 1].rstrip(b"\n"))
        lines[i] = canonical(later).encode() + b"\n"
    _write(path, lines)
