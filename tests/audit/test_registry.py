"""The registry of runs: chained, shared, counted."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from audit_house import Clock, draft, publish
from audit_workers import TIME, enter, made

from assay.base import files
from assay.base.errors import DiskError, IntegrityError, LedgerError
from assay.runs import registry
from assay.runs.ledger import read_ledger
from assay.runs.registry import Registration
from assay.runs.verify import ZERO


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "registry.jsonl"


def test_a_home_without_runs_has_an_empty_registry(book: Path) -> None:
    assert registry.entries(book) == []
    assert registry.head(book) == ZERO
    assert registry.check(book) == 0
    assert registry.until(book) == []


def test_runs_are_entered_in_a_chain(book: Path) -> None:
    heads = [registry.append(book, made(number, hrp=1.0)) for number in range(3)]
    assert registry.entries(book) == [made(number, hrp=1.0) for number in range(3)]
    assert registry.check(book) == 3
    lines = book.read_bytes().splitlines()
    assert heads == [hashlib.sha256(line).hexdigest() for line in lines]
    assert registry.head(book) == heads[-1]
    assert [json.loads(line)["prev"] for line in lines] == [ZERO, *heads[:-1]]
    assert json.loads(lines[1])["time"] == TIME


def test_to_enter_a_run_again_changes_nothing(book: Path) -> None:
    head = registry.append(book, made(1))
    before = book.read_bytes()
    assert registry.append(book, made(1)) == head
    assert book.read_bytes() == before


def test_another_seal_of_a_known_run_is_refused(book: Path) -> None:
    registry.append(book, made(1))
    with pytest.raises(IntegrityError, match="line 1 holds another seal"):
        registry.append(book, replace(made(1), verdict="BETTER"))


def test_a_sealed_ledger_can_be_entered_after_a_crash(home: Path) -> None:
    """Killed between seal and registry: what the registry needs is in the ledger."""
    run = publish(home, "r", draft())
    book = home / "runs" / "registry.jsonl"
    (entered,) = registry.entries(book)
    book.unlink()
    assert Registration.sealed(read_ledger(run / "audit.jsonl")) == entered
    head = registry.complete(book, run / "audit.jsonl")
    assert registry.entries(book) == [entered]
    assert registry.complete(book, run / "audit.jsonl") == head
    with pytest.raises(LedgerError, match="not sealed"):
        Registration.sealed(read_ledger(run / "audit.jsonl")[:-1])
    with pytest.raises(LedgerError, match="not sealed"):
        Registration.sealed([])


def test_a_torn_last_line_is_cut_and_recorded(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", sync)
    registry.append(book, made(1))
    whole = book.stat().st_size
    torn = b'{"body":{"head":"12'
    with book.open("ab") as stream:
        stream.write(torn)
    assert registry.entries(book) == [made(1)]
    with pytest.raises(LedgerError, match="line 2"):
        registry.check(book)
    synced.clear()
    registry.append(book, made(2), clock=Clock())
    assert synced[0] == whole  # cut, then the resume line, then the run
    assert len(synced) == 3
    assert registry.entries(book) == [made(1), made(2)]
    assert registry.check(book) == 3
    middle = json.loads(book.read_bytes().splitlines()[1])
    assert middle["kind"] == "resume"
    assert middle["body"]["cut"] == {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}


def test_damage_is_named_and_nothing_is_built_on_it(book: Path) -> None:
    for number in range(4):
        registry.append(book, made(number))
    book.write_bytes(book.read_bytes().replace(b"run-1", b"run-9"))
    for act in (registry.entries, registry.check, registry.head, registry.until):
        with pytest.raises(LedgerError, match=r"registry\.jsonl line 2"):
            act(book)
    with pytest.raises(LedgerError, match=r"registry\.jsonl line 2"):
        registry.append(book, made(5))


def test_a_run_that_stands_twice_is_named(book: Path) -> None:
    registry.append(book, made(1))
    line = json.loads(book.read_bytes())
    line |= {"seq": 1, "prev": registry.head(book)}
    with book.open("ab") as stream:
        stream.write(files.canonical_json(line) + b"\n")
    with pytest.raises(LedgerError, match="stands in line 1 too"):
        registry.check(book)


def test_a_line_with_unknown_fields_is_named(book: Path) -> None:
    registry.append(book, made(1))
    line = json.loads(book.read_bytes())
    line["body"]["more"] = 1
    book.write_bytes(files.canonical_json(line) + b"\n")
    with pytest.raises(LedgerError, match="unknown fields"):
        registry.entries(book)


def test_a_failed_write_is_taken_back(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.append(book, made(1))
    before = book.read_bytes()

    def fail(place: Path, line: bytes) -> None:
        with place.open("ab") as stream:
            stream.write(line[:9])
        raise DiskError("cannot write", where=str(place))

    with monkeypatch.context() as patch:
        patch.setattr(files, "append", fail)
        with pytest.raises(DiskError):
            registry.append(book, made(2))
    assert book.read_bytes() == before


def test_processes_that_enter_runs_at_the_same_time_lose_none(book: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=enter, args=(str(book), 15 * number, 15)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert registry.check(book) == 45
    assert {run.run_id for run in registry.entries(book)} == {f"run-{number}" for number in range(45)}


def test_ratios_are_counted_with_their_spread() -> None:
    """Ratios 1, 2 and 3, 4: mean 2.5, sample variance 5/3; hrp alone 1, 3: mean 2, variance 2."""
    counted = registry.count([{"hrp": 1.0, "barbell": 2.0}, {"hrp": 3.0, "barbell": 4.0}])
    assert (counted["n"], counted["sharpes"]) == (2, 4)
    assert counted["sharpe_mean"] == pytest.approx(2.5)
    assert counted["sharpe_variance"] == pytest.approx(5 / 3)
    assert counted["risk_profiles"]["hrp"] == {"sharpes": 2, "sharpe_mean": 2.0, "sharpe_variance": 2.0}
    assert json.loads(json.dumps(counted)) == counted
    assert registry.count([{"hrp": 1.5}])["sharpe_variance"] is None


def test_runs_that_begin_together_are_entered_once(book: Path) -> None:
    both = [registry.Begun("a", "p", "1" * 64), registry.Begun("b", "p", "2" * 64)]
    line = registry.begin(book, both)
    registry.append(book, made(1))
    assert registry.begin(book, both) == registry.begin(book, both[::-1]) == line
    assert [entry.kind for entry in registry.until(book)] == ["begun", "begun", "run"]
    assert [entry.body["run_id"] for entry in registry.until(book, line)] == ["a", "b"]
    assert registry.check(book) == 3
    assert [run.run_id for run in registry.entries(book)] == ["run-1"]
    with book.open("ab") as stream:
        stream.write(b'{"torn')
    registry.begin(book, [registry.Begun("c", "p", "1" * 64)])
    assert [entry.kind for entry in registry.until(book)] == ["begun", "begun", "run", "resume", "begun"]
    with pytest.raises(LedgerError, match="no line"):
        registry.until(book, "f" * 64)
