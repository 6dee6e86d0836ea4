"""Atomic validation of a run's papers: files, ledger, hashes, and what a replay would need."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from assay.base.errors import AssayError, IntegrityError
from assay.base.files import sha256_file
from assay.lake.storage import HEADS, storage_of
from assay.runs import artifacts as layout
from assay.runs.artifacts import STEP_NAMES
from assay.runs.documents import RawCandidates
from assay.runs.ledger import check_chain
from assay.runs.run import DOCUMENTS, WALK_TABLES, Evidence, Manifest, Tally
from assay.runs.verify import Entry, Story

PinReader = Callable[[Path, int, Mapping[str, int]], None]
"""Takes lake folder, head and table versions; raises an :class:`AssayError` where they cannot be read."""

BEFORE = 13
"""Steps that must have ended well before this gate."""
LAYERS = ("L0", "L1", "L2", "L3", "L4")
"""Contracts that every run checks."""
GATED = (3, 7, 11, 12)
"""Steps before this gate that have a gate of their own."""


def check_artifacts(evidence: Evidence, tally: Tally) -> None:
    """Check that everything is there, and is what its schema says."""
    for row in layout.evidence("run"):
        tally.expect((evidence.run_dir / row).is_file(), f"{row} is missing")
    readers: dict[str, Callable[[], object]] = {name: partial(evidence.table, name) for name in WALK_TABLES}
    readers |= {name: partial(evidence.document, kind, name) for name, kind in DOCUMENTS.items()}
    readers[layout.PRESERVATION] = partial(evidence.json, layout.PRESERVATION)
    for name, read in readers.items():
        try:
            read()
        except IntegrityError as error:
            tally.faults.append(f"{name}: {error.what}")


def check_ledger(evidence: Evidence, tally: Tally) -> None:
    """Check chain and order, that each step ended well, and that every contract and gate checked something."""
    tally.checked += check_chain(evidence.run_dir / layout.LEDGER)
    entries = evidence.ledger
    story = Story(entries)
    tally.expect(entries[0].body.get("run_id") == evidence.run_dir.name, "the ledger is another run's")
    outcomes = {entry.body["step"]: entry.body for entry in entries if entry.kind == "outcome"}
    for number, name in enumerate(STEP_NAMES["run"][:BEFORE], start=1):
        body = outcomes.get(number, {})
        good = body.get("state") == "ok" and body.get("name") == name
        tally.expect(good, f"step {number} {name} has not ended well")
    tally.expect(story.open is None or story.open["step"] > BEFORE, "a step before this one has not ended")
    said = [entry for entry in evidence.current if entry.kind in ("contract", "gate")]
    for entry in said:
        if entry.body.get("step") in range(BEFORE + 1):  # this gate's own verdict is not evidence for it
            _check_teeth(entry, evidence, tally)
    seen = {str(entry.body.get("layer"))[:2] for entry in said if entry.kind == "contract"}
    for layer in LAYERS:
        tally.expect(layer in seen or evidence.stands_aside, f"no contract of {layer} was checked")
    gated = [entry.body.get("step") for entry in said if entry.kind == "gate"]
    for step in GATED:
        tally.expect(step in gated, f"step {step} {STEP_NAMES['run'][step - 1]} passed no gate")


def _check_teeth(entry: Entry, evidence: Evidence, tally: Tally) -> None:
    what = f"{entry.kind} {entry.body.get('schema', entry.body.get('gate'))} of step {entry.body.get('step')}"
    tally.expect(bool(entry.body.get("checked")) or evidence.stands_aside, f"{what} checked nothing")
    tally.expect(entry.body.get("ok", True) is True, f"{what} did not pass")


def check_hashes(evidence: Evidence, tally: Tally) -> None:
    """Check that the files on disk are the ones that the steps recorded."""
    story = Story(evidence.ledger)
    recorded = {
        path: digest for step, written in story.steps.items() if step <= BEFORE for path, digest in written.items()
    }
    for row in layout.evidence("run"):
        tally.expect(row in recorded or row == layout.LEDGER, f"{row} was recorded by no step")
    for name, digest in sorted(recorded.items()):
        path = evidence.run_dir / name
        tally.expect(path.is_file() and sha256_file(path) == digest, f"{name} is not what its step recorded")


def check_replayable(evidence: Evidence, tally: Tally, readable: PinReader) -> None:
    """Check that the manifest is complete, and that what it pins can be read."""
    manifest = evidence.manifest
    profile = manifest.profile
    tally.checked += len(Manifest.model_fields)
    tally.expect(manifest.run_id == evidence.run_dir.name, "the manifest is another run's")
    for scanner in profile.scanners:
        tally.expect(scanner in manifest.scanners, f"scanner {scanner} is not in the manifest")
    raw = evidence.document(RawCandidates, layout.RAW)
    tally.expect(raw.pool == profile.pool, f"the pool is {raw.pool}, the profile's {profile.pool}")
    tally.expect(raw.superset_sha256 == manifest.superset.sha256, "the candidates come from another superset")
    home, pin = evidence.run_dir.parent.parent, manifest.lake
    superset = _inside(home, manifest.superset.path)
    found = superset.is_file() and sha256_file(superset) == manifest.superset.sha256
    tally.expect(found, f"{manifest.superset.path} is missing or changed")
    try:
        readable(_inside(home, pin.folder), pin.head, pin.tables)
    except AssayError as error:
        tally.faults.append(f"head {pin.head} of {pin.folder} cannot be read: {error.what}")
    tally.checked += 1


def _inside(home: Path, name: str) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise IntegrityError(f"{name!r} leaves the home folder", where=layout.MANIFEST, hint="run: assay verify")
    return home / name


def head_is_listed(folder: Path, head: int, tables: Mapping[str, int]) -> None:
    """Look the head up in the list of states; the tables are not opened."""
    place = storage_of(folder)
    path = f"{place.uri}/{HEADS}"
    try:
        lines = [json.loads(line) for line in place.heads()]
    except ValueError as error:
        raise IntegrityError(f"heads cannot be read: {error}", where=path, hint="ingest the source again") from error
    for line in lines:
        if isinstance(line, dict) and line.get("head") == head:
            if line.get("tables") != dict(tables):
                raise IntegrityError("the head names other table versions", where=path, hint="ingest the source again")
            return
    raise IntegrityError("no such head", where=path, hint="ingest the source again")
