"""The ledger: what it writes, what it survives, what it refuses."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from audit_workers import BODY, begin
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.base import files
from assay.base.errors import DiskError, InternalError, LedgerError, UsageError
from assay.runs.ledger import Ledger, check_chain, read_ledger

UTC = dt.UTC


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r" / "audit.jsonl"


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def test_a_line_is_what_the_design_says(path: Path) -> None:
    """Format, hash and order of fields, against json and hashlib alone."""
    now = dt.datetime(2024, 4, 1, 0, 0, 1, 250, UTC)
    with Ledger.create(path, BODY, clock=lambda: now) as ledger:
        head = ledger.event(3, "CAP_RAISED", "a cap", {"to": 0.5, "n": 3})
    first, second = lines(path)
    assert first.decode() == (
        '{"body":{"format":2,"profile":"p","run_id":"r"},"kind":"genesis","prev":"' + "0" * 64 + '","seq":0,'
        '"time":"2024-04-01T00:00:01.000250Z"}'
    )
    assert json.loads(second) == {
        "seq": 1,
        "time": "2024-04-01T00:00:01.000250Z",
        "prev": hashlib.sha256(first).hexdigest(),
        "kind": "event",
        "body": {"step": 3, "code": "CAP_RAISED", "what": "a cap", "values": {"to": 0.5, "n": 3}},
    }
    assert head == hashlib.sha256(second).hexdigest()


def test_bodies_of_the_typed_entries(path: Path) -> None:
    record = {"data/x.json": {"sha256": "a" * 64, "content": "b" * 64}}
    with Ledger.create(path, BODY) as ledger:
        ledger.intent(3, "data_prep", {"in": "c" * 64})
        ledger.contract(3, "L0", "ReturnsMatrixSchema", 10, 2, 20, ["X: zero variance"], "filter", dropped=1)
        ledger.gate(3, "foundation", True, 20, [])
        ledger.fallback(3, "NOTED", "nothing to add")
        ledger.fallback(3, "SOLVER", "Clarabel for PIQP", {"risk_profile": "hrp"})
        ledger.outcome(3, "data_prep", "ok", {"in": "c" * 64}, record)
        ledger.resume({"reason": "killed"})
        assert [entry.kind for entry in read_ledger(path)] == [entry.kind for entry in ledger.entries]
    kinds = {json.loads(line)["kind"]: json.loads(line)["body"] for line in lines(path)}
    assert kinds["intent"] == {"step": 3, "name": "data_prep", "inputs": {"in": "c" * 64}}
    assert kinds["contract"] == {
        "step": 3,
        "layer": "L0",
        "schema": "ReturnsMatrixSchema",
        "rows": 10,
        "columns": 2,
        "checked": 20,
        "violations": ["X: zero variance"],
        "action": "filter",
        "dropped": 1,
    }
    assert kinds["gate"] == {"step": 3, "gate": "foundation", "ok": True, "checked": 20, "violations": []}
    assert kinds["fallback"]["values"] == {"risk_profile": "hrp"}
    assert kinds["outcome"] == {
        "step": 3,
        "name": "data_prep",
        "state": "ok",
        "inputs": {"in": "c" * 64},
        "outputs": record,
        "error": None,
    }


def test_what_cannot_be_said_is_refused(path: Path) -> None:
    with pytest.raises(InternalError, match="run_id"):
        Ledger.create(path, {})
    with Ledger.create(path, BODY) as ledger:
        with pytest.raises(InternalError, match="kind"):
            ledger.append("genesis", BODY)
        with pytest.raises(InternalError, match="kind"):
            ledger.append("party", {})
        with pytest.raises(InternalError, match="error"):
            ledger.outcome(1, "x", "ok", {}, {}, {"code": "X"})
        with pytest.raises(InternalError, match="error"):
            ledger.outcome(1, "x", "failed", {}, {})
        with pytest.raises(ValueError, match="nan"):
            ledger.event(1, "X", "not a number", {"x": float("nan")})
        assert len(ledger.entries) == 1
    with pytest.raises(InternalError, match="closed"):
        ledger.event(1, "X", "late")
    assert check_chain(path) == 1


def test_times_never_decrease_though_the_clock_does(path: Path) -> None:
    moments = iter([5, 9, 2, 11])
    with Ledger.create(path, BODY, clock=lambda: dt.datetime(2024, 1, 1, 0, 0, next(moments), tzinfo=UTC)) as ledger:
        for _ in range(3):
            ledger.event(1, "X", "x")
    assert [entry.time[17:19] for entry in read_ledger(path)] == ["05", "09", "09", "11"]


def test_a_clock_elsewhere_is_written_in_utc(path: Path) -> None:
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    with Ledger.create(path, BODY, clock=lambda: dt.datetime(2024, 1, 1, 5, 30, tzinfo=zone)):
        pass
    assert read_ledger(path)[0].time == "2024-01-01T00:00:00.000000Z"


# One writer


def test_a_second_writer_is_refused(path: Path) -> None:
    with Ledger.create(path, BODY) as ledger:
        with pytest.raises(UsageError, match="written by another process") as refused:
            Ledger.open(path)
        assert refused.value.code == "RUN_LOCKED"
        with pytest.raises(UsageError, match="exists"):
            Ledger.create(path, BODY)
        code = "import pathlib, sys; from assay.runs.ledger import Ledger; Ledger.open(pathlib.Path(sys.argv[1]))"
        other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
        assert "run is being written by another process" in other.stderr
        ledger.event(1, "X", "still mine")
    with Ledger.open(path) as again:
        assert len(again.entries) == 2


def test_the_lock_ends_with_a_killed_process(path: Path) -> None:
    with Ledger.create(path, BODY):
        pass
    code = (
        "import os, sys; from pathlib import Path; from assay.runs.ledger import Ledger\n"
        "ledger = Ledger.open(Path(sys.argv[1])); ledger.event(1, 'X', 'x'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True).returncode == -9
    with Ledger.open(path) as ledger:
        assert [entry.kind for entry in ledger.entries] == ["genesis", "event"]


def test_of_processes_that_begin_a_ledger_together_one_does(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=begin, args=(str(path), barrier, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    outcomes = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert outcomes.count("begun") == 1
    assert check_chain(path) == 2


# Torn writes and faults


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "audit.jsonl"
    with Ledger.create(path, BODY) as ledger:
        ledger.intent(1, "preflight", {})
        ledger.event(1, "ZÜRICH", "ein Wort\nmit Umbruch", {"x": 0.1})
        ledger.outcome(1, "preflight", "ok", {}, {})
    return path.read_bytes()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_cut_anywhere_is_recovered_with_its_hash(whole: bytes, data: st.DataObject) -> None:
    genesis = whole.index(b"\n") + 1
    at = data.draw(st.integers(genesis, len(whole)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        path.write_bytes(whole[:at])
        torn = whole[:at].rpartition(b"\n")[2]
        kept = whole[:at].count(b"\n")
        with Ledger.open(path) as ledger:
            entries = ledger.entries
            ledger.event(1, "X", "on it goes")
        assert path.read_bytes().startswith(whole[: at - len(torn)])
        assert len(entries) == kept + bool(torn)
        if torn:
            assert entries[-1].kind == "resume"
            assert entries[-1].body["cut"] == {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
        assert check_chain(path) == kept + bool(torn) + 1


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_other_damage_is_tampering_and_named(whole: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, whole.rstrip(b"\n").rindex(b"\n")))  # not the last line: nothing vouches for it
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
        line = whole[:at].count(b"\n") + 1
        for act in (Ledger.open, read_ledger, check_chain):
            with pytest.raises(LedgerError, match=rf"tampering: audit.jsonl line ({line}|{line + 1}):"):
                act(path)


def test_a_ledger_without_a_genesis_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"")
    with pytest.raises(LedgerError, match="genesis"):
        Ledger.open(path)
    with pytest.raises(LedgerError, match="line 1"):
        check_chain(path)
    path.unlink()
    with pytest.raises(LedgerError, match="missing"):
        Ledger.open(path)
    with pytest.raises(DiskError, match="cannot open"):
        Ledger.open(path.parent)
    with pytest.raises(LedgerError, match="cannot be read"):
        read_ledger(path)


def test_a_torn_line_after_the_seal_is_tampering(run: Path) -> None:
    with (run / "audit.jsonl").open("ab") as stream:
        stream.write(b"{")
    with pytest.raises(LedgerError, match="after the seal"):
        Ledger.open(run / "audit.jsonl")


def test_a_reader_does_not_mind_a_line_in_the_making(path: Path, whole: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(whole + b'{"body":')
    assert len(read_ledger(path)) == 4
    with pytest.raises(LedgerError, match="line 5"):
        check_chain(path)


@pytest.mark.parametrize("written", [0, 7, 10_000])
def test_a_failed_write_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """The disk fills in the middle of a line, or refuses its fsync: the ledger is what it was, and goes on."""

    def fail(place: Path, line: bytes) -> None:
        with place.open("ab") as stream:
            stream.write(line[:written])
        raise DiskError("cannot write: No space left on device", where=str(place))

    with Ledger.create(path, BODY) as ledger:
        before = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(files, "append", fail)
            with pytest.raises(DiskError, match="No space"):
                ledger.event(1, "X", "lost")
            synced: list[int] = []
            patch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
            with pytest.raises(DiskError, match="No space"):
                ledger.event(1, "X", "lost again")
            assert synced == [len(before)]
        assert path.read_bytes() == before
        ledger.event(1, "Y", "kept")
    assert check_chain(path) == 2


def test_an_interrupt_in_a_write_leaves_no_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = files.append

    def interrupt(place: Path, line: bytes) -> None:
        write(place, line)
        raise KeyboardInterrupt

    with Ledger.create(path, BODY) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(files, "append", interrupt)
            with pytest.raises(KeyboardInterrupt):
                ledger.event(1, "X", "interrupted")
        ledger.event(1, "Y", "after it")
    assert [entry.body.get("code") for entry in read_ledger(path)] == [None, "Y"]


def test_a_ledger_changed_beneath_its_writer_is_refused(path: Path) -> None:
    with Ledger.create(path, BODY) as ledger:
        with path.open("ab") as stream:
            stream.write(b"{}\n")
        with pytest.raises(LedgerError, match="changed by something else"):
            ledger.event(1, "X", "x")
        path.write_bytes(b"")
        with pytest.raises(LedgerError, match="changed by something else"):
            ledger.event(1, "X", "x")
        path.unlink()
        with pytest.raises(LedgerError, match="gone"):
            ledger.event(1, "X", "x")


def test_a_genesis_is_there_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(DiskError):
            Ledger.create(path, BODY)
    assert not path.exists()
    with Ledger.create(path, BODY):
        assert check_chain(path) == 1


def test_every_line_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    with Ledger.create(path, BODY) as ledger:
        for number in range(3):
            before = len(synced)
            ledger.event(number, "X", "x")
            assert synced[before:] == [path.stat().st_size]
