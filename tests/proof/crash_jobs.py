"""What can be crashed beside a run: a portfolio of sleeves, a flow's own folder, the shelf of supersets."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.base.errors import AssayError, Exit
from assay.executors import Serial
from assay.pipeline import meta_flow
from assay.pipeline.flow import Foundation, joint_report, lay_foundation
from assay.pipeline.meta_flow import Ground
from assay.runs.home import Home, RunResult, claim
from assay.selftest.crash import Ended, run_problems
from assay.settings import load
from assay.settings.model import MetaProfile


@dataclass(frozen=True)
class MetaJob:
    """A portfolio of sleeves that are there, as ``assay meta run --no-run-missing`` makes it."""

    home: Home
    profile: MetaProfile
    sleeves: Mapping[str, str]
    ground: Ground
    registry: bytes
    expected: Mapping[str, str] | None = None
    run_id: str = "portfolio"

    @property
    def folder(self) -> Path:
        return self.home.runs / self.run_id

    def begin(self, again: bool = False) -> Ended:
        chosen = {sleeve: self.home.runs / run for sleeve, run in self.sleeves.items()}
        try:
            outcome = meta_flow.make(
                self.home, load(), self.profile, chosen, self.ground, self.run_id, 1, False, again=again
            )
        except AssayError as error:
            return Ended(error.exit_code, error.code)
        return Ended.of(outcome)

    def resume(self) -> Ended:
        if not self.folder.is_dir():
            return self.begin()
        if not meta_flow.is_resumable(self.home, self.run_id):
            return self.begin(again=True)
        return Ended.of(meta_flow.resume(self.home, self.run_id))

    def problems(self) -> list[str]:
        expected = None if self.expected is None else dict(self.expected)
        return run_problems(self.home, self.folder, expected)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.home.registry.write_bytes(self.registry)


@dataclass(frozen=True)
class FlowJob:
    """The folder of a flow whose runs have ended; there is nothing to resume: the command is given again."""

    home: Home
    foundation: Foundation
    outcomes: tuple[RunResult, ...]
    expected: Mapping[str, bytes] | None = None

    def begin(self) -> Ended:
        from assay.base.domain import parse_as_of

        try:
            folder = claim(self.home.flows, "pair", None, parse_as_of("2024-01-20"))
            joint_report(folder, self.home, self.foundation, self.outcomes, Serial(), "the table")
        except AssayError as error:
            return Ended(error.exit_code, error.code)
        return Ended(Exit.OK)

    def resume(self) -> Ended:
        return self.begin()

    def kept(self, folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}

    def problems(self) -> list[str]:
        """The last folder is whole; what the first left is a part of that, each file whole or absent."""
        *cut, last = [self.kept(folder) for folder in sorted(self.home.flows.iterdir())]
        found = [] if "flow.json" in last and self.expected in (None, last) else ["the flow's folder is not whole"]
        found += [f"{name} is torn" for one in cut for name, data in one.items() if data != last[name]]
        return found

    def clear(self) -> None:
        shutil.rmtree(self.home.flows, ignore_errors=True)


@dataclass(frozen=True)
class ShelfJob:
    """The superset of an instant, scanned once, on a shelf that holds another definition's."""

    home: Home
    source: str
    settings: tuple[str, ...]
    shelf: Path
    expected: Mapping[str, bytes]
    """The files of the shelf when it is whole."""
    first: Path
    """The other definition's folder."""

    def begin(self) -> Ended:
        try:
            lay_foundation(self.home, load(settings=self.settings), self.source)
        except AssayError as error:
            return Ended(error.exit_code, error.code)
        return Ended(Exit.OK)

    def resume(self) -> Ended:
        return self.begin()

    def problems(self) -> list[str]:
        there = shelved(self.shelf)
        return [] if there == self.expected else [f"the shelf holds {sorted(there)}"]

    def clear(self) -> None:
        for folder in self.shelf.iterdir():
            if folder.is_dir() and folder != self.first:
                shutil.rmtree(folder)


def shelved(shelf: Path) -> dict[str, bytes]:
    """Name of a superset's folder to the bytes of the superset, of all that a shelf holds."""
    files = shelf.glob("*/*.json")
    return {path.parent.name: path.read_bytes() for path in files if not path.name.startswith(".")}
