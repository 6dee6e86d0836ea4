"""Runs in processes of their own, which tell every file that they opened for writing, moved or removed."""

import datetime as dt
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from assay.base.domain import UTC
from assay.base.files import sha256_file
from assay.lake.ingest import ingest
from assay.lake.lake import Lake
from assay.lake.snapshot import resolve_as_of
from assay.pipeline import flow
from assay.pipeline.flow import Foundation, requests
from assay.pipeline.runner import execute
from assay.runs.home import Home, claim
from assay.settings import load

NOW = dt.datetime(2024, 1, 21, tzinfo=UTC)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir": 1,
    "os.rmdir": 1,
    "os.remove": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
}
"""Audited events that change a folder or file, and how many of their first arguments are paths."""


@dataclass(frozen=True)
class Start:
    """What one worker is to run."""

    home: Path
    source: str
    head: int
    superset: Path
    profile: str
    settings: tuple[str, ...]

    def request(self):
        """Claim a directory; every worker's clock shows the same second."""
        home, catalog, lake = Home(self.home), load(settings=self.settings), Lake(self.home, self.source)
        snapshot = lake.pin(self.head)
        superset = flow_superset(self.superset)
        foundation = Foundation(
            source=self.source,
            lake=lake,
            snapshot=snapshot,
            as_of=resolve_as_of(snapshot, None),
            superset=superset,
            path=self.superset,
        )
        flow.claim = lambda parent, stem, name, _now, **how: claim(parent, stem, name, NOW, **how)
        [made] = requests(home, catalog, foundation, [self.profile])
        return made


def flow_superset(path):
    from assay.runs.documents import Superset
    from assay.runs.documents import load as read

    return read(Superset, path)


def watch_writes(seen):
    """Note every path that this process opens for writing, creates, moves or removes, from Python."""

    def hook(event, arguments):
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, (str, bytes, os.PathLike)) and (flags & WRITING or set(mode or "") & set("wax+")):
                seen.append(os.fsdecode(path))
        elif event in CHANGES:
            seen.extend(os.fsdecode(path) for path in arguments[: CHANGES[event]])

    sys.addaudithook(hook)


def run(start, barrier, pipe):
    """Run, and tell the run's name, its state, and the paths that it changed."""
    seen = []
    watch_writes(seen)
    barrier.wait(60)
    request = start.request()
    outcome = execute(request)
    pipe.send((request.run.name, outcome.state, [str(Path(path).absolute()) for path in seen]))


def ingests(home, source, barrier, pipe):
    """Bring the lake up to its source while others run."""
    barrier.wait(60)
    pipe.send(ingest(Lake(home, source)).head)


LIBRARIES = ("/__pycache__/",)
"""Byte code, which Python keeps for all that comes after."""


def foreign(paths, home, name):
    """What a run changed beside its own directory and the registry; caches of the libraries hold nothing of a run."""
    runs = home / "runs"
    own = (f"{runs / name}/", f"{runs / 'registry.jsonl'}")
    return [
        path
        for path in paths
        if not path.startswith(own)
        and not (Path(path).parent == runs and Path(path).name.startswith(name.split("_2")[0]))  # a name that was tried
        and (path.startswith(str(home)) or not any(cache in path for cache in LIBRARIES))
        and not path.startswith("/dev/")
    ]


def fingerprints(folder):
    """SHA-256 of each file below a folder."""
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
