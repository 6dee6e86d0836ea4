"""Signed runs on the embedded sample, copies of them, and how a forger would change one and seal it anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assay.base import files
from assay.base.errors import AssayError
from assay.pipeline.sleeve_steps import performance
from assay.runs import artifacts as layout
from assay.runs.run import Run
from assay.runs.verify import LEDGER_KINDS, Story, read_chain, registration

AS_OF = "2024-01-20"
LONG, SHORT, META = "binance_spot_rating_all_long", "binance_spot_rating_all_short", "pair"


@dataclass(frozen=True)
class Signed:
    """A home with a long sleeve, a short one that reads every candidate, and a portfolio of both; and its key pair."""

    home: Path
    private: Path
    public: Path
    runs: dict[str, Path]

    @property
    def registry(self) -> Path:
        return self.home / "runs" / "registry.jsonl"

    def copy(self, to: Path) -> Signed:
        """Return the same in another place."""
        shutil.copytree(self.home, to)
        return Signed(to, self.private, self.public, {name: to / "runs" / run.name for name, run in self.runs.items()})


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    files.write_json(path, value)


def reseal(home: Path, run: Path, signer: Callable[[bytes], Any] | None = None) -> str:
    """Make ledger, seal and registry say that the files on disk were always so; return the new head.

    Runs that were entered later are entered again as they are, so that the registry is a chain again.
    """
    lines = (run / layout.LEDGER).read_bytes().splitlines()
    done: list[bytes] = []
    for line in lines:
        value = json.loads(line)
        body = value["body"]
        value["prev"] = files.sha256(done[-1]) if done else "0" * 64
        if value["kind"] in ("intent", "outcome"):
            body["inputs"] = {path: _now(run, path, known) for path, known in body["inputs"].items()}
        if value["kind"] == "outcome":
            for path, record in body["outputs"].items():
                record["sha256"] = _now(run, path, record["sha256"])
                record["content"] = content(run, path)
        if value["kind"] == "seal":
            with suppress(AssayError, KeyError, TypeError, ValueError, AttributeError):
                body["performance"] = performance(Run(run))
            with suppress(AssayError, ValueError):
                body["manifest"] = Run(run).manifest.key
            for path, record in body["files"].items():
                record |= {"sha256": _now(run, path, ""), "size": (run / path).stat().st_size}
            message = {"prev": value["prev"], "body": {key: body[key] for key in body if key != "signature"}}
            body["signature"] = None if signer is None else dict(signer(files.canonical_json(message)))
        done.append(files.canonical_json(value))
    (run / layout.LEDGER).write_bytes(b"".join(line + b"\n" for line in done))
    _enter_again(home, run)
    return files.sha256(done[-1])


def content(run: Path, path: str) -> str:
    """Return a file's content hash; that of bytes that were hashed before is remembered."""
    keys, name = tuple(layout.TABLE_KEYS.get(path, ())), Path(path).name
    return _content((run / path).read_bytes(), name, keys)


@cache
def _content(data: bytes, name: str, keys: tuple[str, ...]) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return files.content_hash(path, keys)


def _now(run: Path, path: str, known: str) -> str:
    return files.sha256_file(run / path) if (run / path).is_file() else known


def _enter_again(home: Path, run: Path) -> None:
    """Rewrite the registry and the genesis of nothing: later runs still name the old line, and that shows in them."""
    book = home / "runs" / "registry.jsonl"
    story = Story(read_chain((run / layout.LEDGER).read_bytes(), layout.LEDGER, LEDGER_KINDS).entries)
    assert story.genesis is not None
    assert story.seal is not None
    done: list[bytes] = []
    for line in book.read_bytes().splitlines():
        value = json.loads(line)
        if value["kind"] == "run" and value["body"]["run_id"] == run.name:
            value |= {"body": registration(story.genesis, story.seal), "time": story.seal.time}
        value["prev"] = files.sha256(done[-1]) if done else "0" * 64
        done.append(files.canonical_json(value))
    book.write_bytes(b"".join(line + b"\n" for line in done))
