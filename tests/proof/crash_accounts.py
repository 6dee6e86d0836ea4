"""The step of an account as a workload that can be crashed: what its user does then is to give the command again."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from assay.account.ledger import read_account
from assay.account.verify import verify_account
from assay.base.errors import AssayError
from assay.pipeline.account_step import StepAsked
from assay.pipeline.accounts import step_account
from assay.runs.home import Home
from assay.selftest.crash import Ended
from assay.settings import load

NAME = "mine"


def told(folder):
    """What a ledger says, whenever it was written, and however often a write was cut."""
    return [(entry.kind, entry.body) for entry in read_account(folder) if entry.kind != "resume"]


def copies(folder):
    """The orders that an account wrote; other copies name lines of the ledger, which tell when they were written."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.*"))}
    return {name: path.read_bytes() if name.endswith(".csv") else b"" for name, path in found.items()}


@dataclass(frozen=True)
class StepWorkload:
    """The last days of an account; a copy of it as it was before lies beside the home."""

    home: Path
    before: Path
    settings: tuple[str, ...]
    expected: tuple = ()
    files: dict = field(default_factory=dict)

    @property
    def folder(self):
        return Home(self.home).accounts / NAME

    def begin(self):
        try:
            done = step_account(Home(self.home), load(settings=self.settings), NAME, StepAsked(backfill=True))
        except AssayError as error:
            return Ended(error.exit_code, error.code)
        assert done.outcome in ("DONE", "ALREADY_DONE")
        return Ended(0)

    resume = begin

    def problems(self):
        found = [str(problem) for problem in verify_account(self.folder).problems]
        if self.expected and told(self.folder) != list(self.expected):
            found.append("the ledger does not say what an undisturbed one says")
        if self.files and copies(self.folder) != self.files:
            found.append("the copies are not those of an undisturbed step")
        before = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        if self.begin() != Ended(0) or before != {
            path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }:
            found.append("the day again changed something")
        return found

    def clear(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.before, self.folder)
