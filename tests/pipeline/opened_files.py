"""Run a sleeve or a portfolio, and tell which files of the run each step opened: by hooks, not by what it says.

Python tells every file that it opens by an audit hook; Polars opens files by itself, and its readers are watched.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from assay.pipeline.context import Step
from assay.pipeline.runner import execute
from assay.pipeline.tables import steps_of
from assay.runs.home import Home, claim
from assay.runs.ledger import read_ledger
from assay.runs.request import Job, MetaRequest, Request

GROWING = ("audit.jsonl", "run_status.json")
"""Ledger and status: they grow as the run goes, and no hash of theirs could be the same twice."""


class Watch:
    """Which step is at work, and what is opened meanwhile."""

    def __init__(self, run: Path) -> None:
        self.run, self.step, self.opened = run, 0, {}
        sys.addaudithook(self.hook)
        for name in ("read_parquet", "scan_parquet", "read_parquet_schema", "read_json", "read_ndjson", "read_csv"):
            setattr(pl, name, self.wrapped(getattr(pl, name)))

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self.step and not self.writes(*arguments[1:]):
            self.note(arguments[0])

    @staticmethod
    def writes(mode: str | None, flags: int) -> bool:
        return bool(flags & (os.O_WRONLY | os.O_RDWR)) if mode is None else any(c in mode for c in "wax+")

    def note(self, path: Any) -> None:
        if isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(self.run) and Path(path).is_file():
            name = Path(path).relative_to(self.run).as_posix()
            if name not in GROWING:
                self.opened.setdefault(self.step, set()).add(name)

    def wrapped(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def watched(source: Any, *rest: Any, **named: Any) -> Any:
            if self.step:
                self.note(source)
            return read(source, *rest, **named)

        return watched

    def steps(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(replace(step, work=self.work(step)) for step in steps)

    def work(self, step: Step) -> Callable[[Any], Iterator[Any]]:
        def watched(given: Any) -> Iterator[Any]:
            inner = step.work(given)
            while True:
                self.step = step.number
                try:
                    said = next(inner)
                except StopIteration:
                    return
                finally:
                    self.step = 0  # while the runner saves and writes, it is not the step that opens
                yield said

        return watched


def main(home: Path, kind: str, run: Path) -> None:
    request: Job = (MetaRequest if kind == "meta" else Request).of(home, run)
    again = claim(Home(home).runs, kind, None, request.as_of)
    request = replace(request, run=again)
    watch = Watch(again)
    outcome = execute(request, steps=watch.steps(steps_of(request)))
    assert outcome.error is None, outcome.error
    ends = [entry.body for entry in read_ledger(again / "audit.jsonl") if entry.kind == "outcome"]
    told = {
        end["name"]: {
            "opened": sorted(watch.opened.get(end["step"], set()) - set(end["outputs"])),
            "inputs": sorted(end["inputs"]),
        }
        for end in ends
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
