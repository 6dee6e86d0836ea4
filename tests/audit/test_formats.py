"""Manifest, genesis and line of the registry tell their format; former ones are read, newer ones refused by name."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from tests.audit.audit_house import draft, publish

from assay.base import files
from assay.base.errors import IntegrityError, LedgerError
from assay.runs import registry
from assay.runs.artifacts import LEDGER, MANIFEST, WINNERS
from assay.runs.ledger import Ledger, chain_line, check_chain, read_ledger
from assay.runs.request import Request
from assay.runs.run import Run
from assay.runs.verify import verify

FORMER = Path(__file__).with_name("runs_of_format_1.zip")
"""Run of the sample by the first version, sealed, and the registry beside it."""


@pytest.fixture
def former(tmp_path: Path) -> Path:
    with zipfile.ZipFile(FORMER) as archive:
        archive.extractall(tmp_path / "runs")
    return tmp_path / "runs" / "former"


def test_what_this_version_writes_is_of_format_2(home: Path) -> None:
    run = publish(home, "r", draft())
    assert read_ledger(run / LEDGER)[0].body["format"] == 2
    [entered] = [json.loads(line) for line in (home / "runs" / "registry.jsonl").read_text().splitlines()]
    assert entered["body"]["format"] == 2
    assert verify(run).ok


def test_a_run_of_the_first_version_is_verified(former: Path) -> None:
    verdict = verify(former)
    assert (verdict.ok, verdict.sealed, verdict.problems) == (True, True, [])
    assert verdict.checked["files"] == 34  # as unzip lists them, but ledger and status
    assert "format" not in read_ledger(former / LEDGER)[0].body
    [entered] = registry.entries(former.parent / "registry.jsonl")
    assert (entered.run_id, entered.format) == ("former", 1)


def test_a_run_of_the_first_version_can_be_read(former: Path) -> None:
    run = Run(former)
    assert len(run[WINNERS].winners) > 0
    assert run.of_sleeve.profile.name == "binance_spot_rating_all_long"
    assert Request.of(former.parent.parent, former) == run.of_sleeve
    [entered] = registry.entries(former.parent / "registry.jsonl")
    assert run.of_sleeve.key == entered.manifest
    assert Request.of(former.parent.parent, former).head == run.of_sleeve.head == 1


def test_a_changed_file_of_the_first_version_shows(former: Path) -> None:
    with (former / WINNERS).open("ab") as stream:
        stream.write(b" ")
    assert [problem.code for problem in verify(former).problems] == ["FILE_CHANGED"]


def test_a_run_of_the_first_version_is_entered_again_as_it_was(former: Path) -> None:
    book = former.parent / "registry.jsonl"
    line = book.read_bytes()
    assert registry.complete(book, former / LEDGER) == files.sha256(line.strip())
    assert book.read_bytes() == line
    book.unlink()
    registry.complete(book, former / LEDGER)
    assert json.loads(book.read_bytes())["body"] == json.loads(line)["body"]


def test_a_ledger_of_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    run = tmp_path / "r"
    run.mkdir()
    body = {"run_id": "r", "profile": "p", "format": 3, "new": True}
    (run / LEDGER).write_bytes(chain_line([], "2030-01-01T00:00:00.000000Z", "genesis", body))
    [problem] = verify(run).problems
    assert (problem.code, problem.where) == ("NEWER_FORMAT", "audit.jsonl line 1")
    assert "format 3" in problem.what
    assert "up to 2" in problem.what
    for refused in (check_chain, Ledger.open):
        with pytest.raises(LedgerError, match="format 3") as caught:
            refused(run / LEDGER)
        assert caught.value.code == "NEWER_FORMAT"


def test_a_manifest_of_a_newer_format_is_refused_by_name(former: Path) -> None:
    files.write_json(former / MANIFEST, files.read_json(former / MANIFEST) | {"format": 3})
    for read in (lambda: Run(former).manifest, lambda: Request.of(former.parent, former)):
        with pytest.raises(IntegrityError, match="format 3") as caught:
            read()
        assert caught.value.code == "NEWER_FORMAT"


def test_a_registry_of_a_newer_format_is_refused_by_name(former: Path) -> None:
    book = former.parent / "registry.jsonl"
    line = json.loads(book.read_bytes())
    book.write_bytes(chain_line([], line["time"], "run", line["body"] | {"format": 3}))
    for read in (registry.entries, registry.check):
        with pytest.raises(LedgerError, match="format 3") as caught:
            read(book)
        assert caught.value.code == "NEWER_FORMAT"
    shutil.rmtree(former)
