"""What a step has in hand: its run directory, its settings, its ledger and the pinned lake."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from assay.base import files
from assay.executors import Executor, Serial
from assay.runs import documents as artifacts
from assay.runs.request import Job, MetaRequest, Request
from assay.settings.model import MetaProfile, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from assay.lake.snapshot import Snapshot
    from assay.market.panel import Market
    from assay.runs.ledger import Ledger

D = TypeVar("D", bound=artifacts.Document)


@dataclass(frozen=True)
class Step:
    """One row of a table of steps; a path that ends in ``/`` is a folder."""

    number: int
    name: str
    work: Callable[[Any], None]
    """Takes what the job opens."""
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    seals: bool = False
    """The run is complete after it."""

    @property
    def title(self) -> str:
        """Return the step as people read it, ``Step 4: Natural Selection``."""
        return f"Step {self.number}: {self.name.replace('_', ' ').title()}"


@dataclass
class Workspace:
    """A run directory opened for writing by the one process that executes it."""

    folder: Path
    ledger: Ledger
    number: int = field(default=0, kw_only=True)
    """Step in progress."""
    written: dict[str, str] = field(default_factory=dict, kw_only=True)
    """Relative path to SHA-256 of what the step in progress wrote."""
    executor: Executor = field(default_factory=Serial, kw_only=True)
    """Where parts of a step may be done."""

    def path(self, name: str) -> Path:
        """Absolute path of a file of the run."""
        return self.folder / name

    def load(self, kind: type[D], name: str) -> D:
        """Read a document of the run."""
        return artifacts.load(kind, self.path(name))

    def table(self, name: str) -> pl.DataFrame:
        """Read a table of the run."""
        import polars as pl

        return pl.read_parquet(self.path(name))

    def save(self, name: str, content: artifacts.Document | pl.DataFrame | Mapping[str, Any] | str) -> None:
        """Write a document, table, JSON object or text of the step in progress."""
        path = self.path(name)
        if isinstance(content, artifacts.Document):
            self.written[name] = artifacts.save(content, path)
        elif isinstance(content, str):
            self.written[name] = files.write(path, content.encode())
        elif isinstance(content, Mapping):
            self.written[name] = files.write_json(path, dict(content))
        else:
            self.written[name] = files.write_table(path, content)

    def event(self, code: str, what: str, values: Mapping[str, Any] | None = None) -> None:
        """Record one event of the step in progress."""
        self.ledger.event(self.number, code, what, files.as_json(values or {}))

    def events(self, events: Iterable[artifacts.Event]) -> None:
        """Record events of the step in progress."""
        for event in events:
            self.event(event.code, event.what, event.values)


@dataclass
class Context(Workspace):
    """The directory of a sleeve, with its request and the pinned lake."""

    request: Request

    @property
    def profile(self) -> Profile:
        """Resolved settings."""
        return self.request.profile

    @property
    def as_of(self) -> dt.datetime:
        """Instant of the decision."""
        return self.request.as_of

    @cached_property
    def snapshot(self) -> Snapshot:
        """The pinned lake."""
        from assay.lake.snapshot import pin

        return pin(self.request.lake_folder, self.request.head)

    @property
    def market(self) -> Market:
        """Bars and ratings that the run may look at: the walk-forward's days and a lookback before them."""
        from assay.backtest.decision import history_days

        days = history_days(self.profile, self.as_of)
        return load_market(self.request.lake_folder, self.request.head, self.as_of, days)


@dataclass
class MetaContext(Workspace):
    """The directory of a meta-portfolio, with its request."""

    request: MetaRequest
    memory: dict[str, Any] = field(default_factory=dict, kw_only=True)
    """What one step computed and a later one of the same process needs again."""

    @property
    def profile(self) -> MetaProfile:
        """Resolved settings."""
        return self.request.profile

    def sleeve_run(self, sleeve: str) -> Path:
        """Return the directory of a pinned sleeve."""
        [run_id] = [one.run_id for one in self.request.pins if one.sleeve == sleeve]
        return self.request.runs / run_id


def open_context(request: Job, ledger: Ledger) -> Workspace:
    """Return what the steps of a run of this kind work with."""
    if isinstance(request, MetaRequest):
        return MetaContext(request.run, ledger, request=request)
    assert isinstance(request, Request)
    return Context(request.run, ledger, request=request)


@lru_cache(maxsize=2)
def load_market(lake: Path, head: int, as_of: dt.datetime, days: int) -> Market:
    """Read the panel once for all runs that one process executes on one head."""
    from assay.lake.snapshot import pin

    return pin(lake, head).market(as_of, days)
