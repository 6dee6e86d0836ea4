"""One object reads a run: by the table, once, with the hash of the very bytes, and with a reason for what it cannot."""

import hashlib
import json
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from pydantic import BaseModel
from tests.audit.audit_house import draft, publish

from assay.base import files
from assay.base.errors import IntegrityError, LedgerError
from assay.runs.artifacts import (
    CLUSTERS,
    FEATURES,
    INDEX,
    LEDGER,
    MANIFEST,
    META_SLEEVES,
    PRESERVATION,
    RETURNS,
    STATUS,
    TABLE,
    TABLE_KEYS,
    VALIDATION,
    WALK_STATISTICS,
    WINNERS,
    Artifact,
    of,
)
from assay.runs.documents import AtomicValidation, Clusters, Winners
from assay.runs.run import Run, schemas


@pytest.fixture
def folder(home: Path) -> Path:
    return publish(home, "r", draft("SHORT"))


def test_an_artifact_opens_as_the_table_says(folder: Path) -> None:
    run = Run(folder)
    assert isinstance(run[WINNERS], Winners)
    assert isinstance(run[RETURNS], pl.DataFrame)
    assert run[WALK_STATISTICS] == {}
    assert run[INDEX] == "# Index\n"
    assert run[MANIFEST]["run_id"] == "r"
    assert run[WINNERS] is run[WINNERS]


def test_what_was_opened_is_remembered_by_the_hash_of_its_bytes(folder: Path) -> None:
    run = Run(folder)
    assert run.read == {}
    assert run.manifest.profile.name == "p_short"
    run.get(WINNERS)
    run.load(CLUSTERS)
    assert (run.ledger[0].kind, run[STATUS]["state"]) == ("genesis", "VALID")
    wanted = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (MANIFEST, WINNERS, CLUSTERS)}
    assert run.read == wanted
    assert all(type(name) is str for name in run.read)


def test_the_hash_is_of_the_bytes_that_were_parsed(folder: Path) -> None:
    run = Run(folder)
    before = run[CLUSTERS]
    files.write_json(folder / CLUSTERS, {"threshold": 0.9, "clusters": {}})
    assert run[CLUSTERS] is before
    assert run.read[CLUSTERS] != files.sha256_file(folder / CLUSTERS)
    assert Run(folder)[CLUSTERS].threshold == 0.9


def test_what_is_not_there_is_none_without_a_fault(folder: Path) -> None:
    (folder / WINNERS).unlink()
    run = Run(folder)
    assert run.get(WINNERS) is None
    assert run.get(META_SLEEVES) is None
    assert (run.faults, run.read) == ({}, {})
    with pytest.raises(IntegrityError, match="file is missing"):
        run[WINNERS]


@pytest.mark.parametrize(
    ("artifact", "damage", "what"),
    [
        (CLUSTERS, b"{", "file is not JSON"),
        (CLUSTERS, b"\xff", "file is not JSON"),
        (CLUSTERS, b"[" * 100_000, "file is not JSON: maximum recursion depth"),
        (CLUSTERS, b'{"a":' * 101 + b"1" + b"}" * 101, "file is not JSON: it has more than 100 levels"),
        (CLUSTERS, b'{"threshold": 1' + b"0" * 5000 + b"}", "file is not JSON: Exceeds the limit"),
        (WALK_STATISTICS, b'{"a": -1' + b"0" * 400 + b"}", "file is not JSON: integer of 402 digits"),
        (
            CLUSTERS,
            b'{"threshold": 0.4, "clusters": {}, "threshold": 0.5}',
            "file is not JSON: duplicate key 'threshold'",
        ),
        (WALK_STATISTICS, b'{"x": {"a": 1, "\\u0061": 1}}', "file is not JSON: duplicate key 'a'"),
        (WALK_STATISTICS, b'{"a": "\\ud800"}', "file is not JSON: 'utf-8' codec can't encode"),
        (CLUSTERS, b'{"threshold": "high", "clusters": {}}', "document breaks its schema at threshold"),
        (CLUSTERS, b"[]", "document breaks its schema"),
        (WALK_STATISTICS, b"[]", "file is not a JSON object"),
        (RETURNS, b"PAR1", "table cannot be read"),
        (RETURNS, b"", "table cannot be read"),
    ],
)
def test_what_cannot_be_read_is_none_with_a_reason(
    folder: Path, artifact: Artifact[object], damage: bytes, what: str
) -> None:
    (folder / artifact).write_bytes(damage)
    run = Run(folder)
    assert run.get(artifact) is None
    assert run.faults[artifact].startswith(what)
    with pytest.raises(IntegrityError) as caught:
        run[artifact]
    assert caught.value.where == str(folder / artifact)


def test_documents_of_the_depth_that_is_taken_are_taken(folder: Path) -> None:
    text = '{"a":' * 99 + "[" + str(2**63) + ', "\\ud83d\\ude00"' + "]" + "}" * 99
    (folder / WALK_STATISTICS).write_text(text)
    assert Run(folder)[WALK_STATISTICS] == json.loads(text)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    os.chdir(path.parent)  # the name of a socket may have a hundred characters
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def _link(path: Path) -> None:
    other = path.parents[2] / "elsewhere.json"
    other.write_text('{"threshold": 0.4, "clusters": {}}')
    path.symlink_to(other)


def _large(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(2**30)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_pipe, "no regular file"),
        (_socket, "no regular file"),
        (Path.mkdir, "no regular file"),
        (_link, "a symbolic link"),
        (_large, "larger than"),
    ],
)
@pytest.mark.parametrize("name", [CLUSTERS, STATUS, LEDGER])
def test_what_is_no_plain_file_is_refused_and_not_opened(
    folder: Path, name: str, make: Callable[[Path], None], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(IntegrityError, match=what):
        Run(folder).load(name)
    with pytest.raises(IntegrityError, match=what):
        Run(folder).ledger if name == LEDGER else files.read_json(folder / name)


def test_a_folder_that_leads_out_of_the_run_is_refused(folder: Path) -> None:
    (folder / "data").rename(folder.parent / "elsewhere")
    (folder / "data").symlink_to(folder.parent / "elsewhere")
    run = Run(folder)
    assert run.get(CLUSTERS) is None
    assert run.faults[CLUSTERS] == "folder cannot be read: it is a symbolic link"


def test_a_file_below_a_folder_is_of_the_folders_schema(folder: Path) -> None:
    validation = AtomicValidation(run_id="r", profile="p", ok=True, checks=[])
    files.write_json(folder / VALIDATION / "verdict.json", validation.model_dump())
    (folder / VALIDATION / "verdict.md").write_text("# Fine\n")
    run = Run(folder)
    assert run[VALIDATION.below("verdict.json")] == validation
    assert run.load(VALIDATION.below("verdict.md")) == b"# Fine\n"
    assert run.has(VALIDATION)
    assert not run.has(VALIDATION.below("other.json"))


def test_the_kind_is_told_by_the_manifest_else_by_the_files(folder: Path) -> None:
    assert Run(folder).kind == "run"
    manifest = files.read_json(folder / MANIFEST)
    files.write_json(folder / MANIFEST, manifest | {"kind": "meta"})
    assert Run(folder).kind == "meta"
    (folder / MANIFEST).unlink()
    assert Run(folder).kind == "run"
    files.write_json(folder / META_SLEEVES, {})
    assert Run(folder).kind == "meta"


def test_a_ledger_out_of_order_is_named(folder: Path) -> None:
    lines = (folder / LEDGER).read_bytes().splitlines(keepends=True)
    (folder / LEDGER).write_bytes(b"".join(lines[:3] + lines[4:]))
    with pytest.raises(LedgerError, match="line 4"):
        assert Run(folder).ledger


def test_every_row_has_a_schema_and_says_what_it_is() -> None:
    assert schemas().keys() == set(TABLE)
    for row in TABLE:
        suffix = row.rpartition(".")[2]
        kind = {"json": (dict, BaseModel), "parquet": (pl.DataFrame,), "jsonl": (str,), "md": (str,), "html": (str,)}
        told = schemas()[row]
        assert issubclass(getattr(told, "__origin__", told), kind.get(suffix, (str, BaseModel))), row
        assert row.what
        assert row.step("run") or row.step("meta")
        assert (suffix == "parquet") == (row in TABLE_KEYS)


def test_rows_stand_in_the_order_of_steps() -> None:
    for kind in ("run", "meta"):
        steps = [row.step(kind) for row in of(kind) if row not in (LEDGER, STATUS, "logs/")]
        assert steps == sorted(steps)


def test_a_row_crosses_to_another_process() -> None:
    for row in (WINNERS, FEATURES, VALIDATION):
        again = pickle.loads(pickle.dumps(row))
        assert (again, again.what, again.keys, again.required) == (row, row.what, row.keys, row.required)
        assert [again.step(kind) for kind in ("run", "meta")] == [row.step(kind) for kind in ("run", "meta")]


def test_a_document_of_another_kind_is_refused(folder: Path) -> None:
    (folder / PRESERVATION).write_bytes((folder / CLUSTERS).read_bytes())
    assert isinstance(Run(folder)[CLUSTERS], Clusters)
    with pytest.raises(IntegrityError, match="breaks its schema"):
        Run(folder)[PRESERVATION]
