"""Edits of sealed runs, each with what the verifier must call it.

An edit changes a folder that holds copies of runs and their registry; :func:`told_by` then verifies the edited run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
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


Edit = Callable[[Scene], None]


def told_by(scene: Scene, edit: Edit, *, note: bool = False) -> set[str]:
    """Edit, verify, and return the codes of what was found.

    Parameters
    ----------
    scene : Scene
        Verified before, so that only the edit can be found.
    edit : callable
    note : bool
        The head before the edit is noted elsewhere, and asked for.
    """
    before = verify(scene.run, scene.registry)
    if not before.ok:
        return set()
    edit(scene)
    after = verify(scene.run, scene.registry, before.head if note else None)
    return {problem.code for problem in after.problems}


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def change_a_byte(scene: Scene) -> None:
    """Flip the last bit of a byte in the middle of the weights."""
    path = scene.run / layout.FLATTENED
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def remove_a_file(scene: Scene) -> None:
    """Remove the audit report."""
    (scene.run / layout.REPORT).unlink()


def add_a_file(scene: Scene) -> None:
    """Put a file beside the artifacts."""
    (scene.run / "data" / "more.json").write_text("{}")


def link_a_file(scene: Scene) -> None:
    """Replace an artifact by a link to a copy of it outside of the run."""
    path = scene.run / layout.WINNERS
    outside = scene.runs / "outside.json"
    shutil.move(path, outside)
    path.symlink_to(outside)


def swap_artifacts(scene: Scene) -> None:
    """Take the other run's weights."""
    shutil.copy(scene.other / layout.FLATTENED, scene.run / layout.FLATTENED)


def swap_ledgers(scene: Scene) -> None:
    """Take the other run's ledger."""
    shutil.copy(scene.other / layout.LEDGER, scene.ledger)


def tear_the_ledger(scene: Scene) -> None:
    """Cut the last line of the ledger in two."""
    data = scene.ledger.read_bytes()
    scene.ledger.write_bytes(data[: len(data) - len(_lines(scene.ledger)[-1]) // 2])


def cut_the_seal(scene: Scene) -> None:
    """Remove the last line of the ledger."""
    scene.ledger.write_bytes(b"".join(_lines(scene.ledger)[:-1]))


def delete_a_line(scene: Scene) -> None:
    """Remove a line from the middle of the ledger."""
    lines = _lines(scene.ledger)
    del lines[len(lines) // 2]
    scene.ledger.write_bytes(b"".join(lines))


def reorder_lines(scene: Scene) -> None:
    """Exchange two lines of the ledger."""
    lines = _lines(scene.ledger)
    lines[5], lines[6] = lines[6], lines[5]
    scene.ledger.write_bytes(b"".join(lines))


def repeat_a_line(scene: Scene) -> None:
    """Write a line of the ledger twice."""
    lines = _lines(scene.ledger)
    scene.ledger.write_bytes(b"".join([*lines[:6], lines[5], *lines[6:]]))


def edit_a_line(scene: Scene) -> None:
    """Let a gate have checked one value more."""
    place, value = _a_gate(scene.ledger)
    lines = _lines(scene.ledger)
    lines[place] = canonical(value).encode() + b"\n"
    scene.ledger.write_bytes(b"".join(lines))


def rechain_the_ledger(scene: Scene) -> None:
    """Change a line of the ledger and chain all later ones anew."""
    place, value = _a_gate(scene.ledger)
    _rechain(scene.ledger, place, value)


def cut_the_registry(scene: Scene) -> None:
    """Remove the registry's last line, which is the edited run's."""
    scene.registry.write_bytes(b"".join(_lines(scene.registry)[:-1]))


def remove_the_registry(scene: Scene) -> None:
    """Remove the registry."""
    scene.registry.unlink()


def rewrite_everything(scene: Scene) -> None:
    """Change a line of the ledger, chain it anew, and enter the new seal in a registry that is chained anew.

    Nothing inside the folder can tell; a head that was noted elsewhere can, and so can a signature.
    """
    rechain_the_ledger(scene)
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
    path.write_bytes(b"".join(lines))


EDITS: dict[str, tuple[Edit, frozenset[str], bool]] = {
    "change one byte of the weights": (change_a_byte, frozenset({"FILE_CHANGED"}), False),
    "remove a report": (remove_a_file, frozenset({"FILE_MISSING"}), False),
    "add a file": (add_a_file, frozenset({"FILE_EXTRA"}), False),
    "replace an artifact by a link": (link_a_file, frozenset({"FILE_STRANGE"}), False),
    "swap an artifact between runs": (swap_artifacts, frozenset({"FILE_CHANGED"}), False),
    "swap the ledgers of two runs": (swap_ledgers, frozenset({"REGISTRY_RUN"}), False),
    "tear the ledger": (tear_the_ledger, frozenset({"TORN"}), False),
    "cut the seal": (cut_the_seal, frozenset({"LEDGER_CUT"}), False),
    "delete a line of the ledger": (delete_a_line, frozenset({"SEQUENCE"}), False),
    "reorder lines of the ledger": (reorder_lines, frozenset({"SEQUENCE"}), False),
    "repeat a line of the ledger": (repeat_a_line, frozenset({"SEQUENCE"}), False),
    "edit a line of the ledger": (edit_a_line, frozenset({"CHAIN"}), False),
    "edit the ledger and chain it anew": (rechain_the_ledger, frozenset({"REGISTRY_RUN"}), False),
    "cut the registry": (cut_the_registry, frozenset({"REGISTRY_RUN"}), False),
    "remove the registry": (remove_the_registry, frozenset({"REGISTRY_MISSING"}), False),
    "rewrite ledger, seal and registry, head noted": (rewrite_everything, frozenset({"NOTED_HEAD"}), True),
}
"""By what is done: the edit, the codes of which one must be told, and whether the head was noted elsewhere before."""
