"""What a step is given, and what it gives back.

A step is a function of artifacts: it opens them in ``given.run``, and yields what it made and what was found, in order.
The runner saves the one and writes the other into the ledger; a step itself writes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from assay.base.errors import AssayError, ContractError, IntegrityError
from assay.base.files import as_json
from assay.executors import Executor, Serial
from assay.runs.artifacts import LEDGER, RAW, Artifact
from assay.runs.documents import Document, Event
from assay.runs.request import Job, MetaRequest, Request
from assay.runs.run import Run

if TYPE_CHECKING:
    import polars as pl

    from assay.backtest.decision import Deciding
    from assay.gates.contract import ContractResult
    from assay.lake.snapshot import Snapshot
    from assay.market.panel import Market
    from assay.settings.model import MetaProfile, Profile

R = TypeVar("R", bound=Job)
NOT_AS_DECIDED = "NOT_AS_DECIDED"
"""A table of an earlier step is not what the decision, taken again, gives."""


# --- what it gives back -----------------------------------------------------------------------------------------------


def event(code: str, what: str, values: Mapping[str, Any] | None = None) -> Event:
    """Return something that changed a number on the way, or that a reader must know."""
    return Event(code=code, what=what, values=as_json(values or {}))


@dataclass(frozen=True)
class Gate:
    """Verdict of a gate, with how much it checked; one that is not ok ends the run by its refusal, if it has one."""

    name: str
    ok: bool
    checked: int
    violations: Any
    refusal: AssayError | None
    """None where the verdict is on what was held, and not on how the run went."""


@dataclass(frozen=True)
class Fallback:
    """Something else was used than was asked for: a solver, a source."""

    code: str
    what: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ContractCheck:
    """Outcome of a contract; what it finds ends the run."""

    result: ContractResult
    sleeve: str | None = None
    """Sleeve of a portfolio, or its risk profile, whose data were checked."""
    without: Collection[str] = ()
    """Symbols or atoms that the decision leaves out by itself; any other that a filter names ends the run."""

    @property
    def refusal(self) -> ContractError | None:
        """The first fault that nothing excuses."""
        failed = self.result.action == "failed"
        for fault in self.result.violations:
            if failed or fault.where.partition(" ")[0] not in self.without:
                where = f"{self.sleeve} {fault.where}" if self.sleeve else fault.where
                what = f"{self.result.layer} broken: {fault.what}"
                return ContractError(what, where=where, hint=f"see {LEDGER}", code=fault.code)
        return None


Content: TypeAlias = "Document | pl.DataFrame | Mapping[str, Any] | str"
Made: TypeAlias = Mapping[str, Content]
"""Artifacts by their rows of the table."""
Said: TypeAlias = Made | ContractCheck | Gate | Event | Fallback


@dataclass(frozen=True)
class Step:
    """One row of a table of steps.

    It opens the files in ``reads`` and no others; the ledger among them means that it judges what the steps before it
    said. What it writes are the rows of the table of artifacts that have its number.
    """

    number: int
    name: str
    work: Callable[[Any], Iterator[Said]]
    """Takes what is given for this kind of run."""
    reads: tuple[Artifact[Any], ...]
    writes: tuple[Artifact[Any], ...]
    seals: bool = False
    """The run is complete after it."""

    @property
    def title(self) -> str:
        """Return the step as people read it, ``Step 4: Natural Selection``."""
        return f"Step {self.number}: {self.name.replace('_', ' ').title()}"


# --- what it is given -------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Given(Generic[R]):
    """The files of the run, what was asked for, and what was worked out for one step and serves a later one.

    Attributes
    ----------
    run : Run
        Opened anew for each step, so that it remembers what this one opens.
    executor : Executor
        Where parts of a step may be done.
    """

    request: R
    executor: Executor
    run: Run = field(init=False)
    memory: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open_anew()

    def open_anew(self) -> None:
        """Forget which files were opened."""
        self.run = Run(self.request.run, self.request.home / "runs")

    @property
    def profile(self) -> Profile | MetaProfile:
        """Resolved settings."""
        return self.run.manifest.profile

    @property
    def as_of(self) -> dt.datetime:
        """Instant of the decision."""
        return self.run.manifest.as_of


class GivenSleeve(Given[Request]):
    """What a step of a sleeve is given: also the pinned lake, and the decision."""

    @property
    def profile(self) -> Profile:
        """Resolved settings."""
        return self.run.of_sleeve.profile

    @cached_property
    def snapshot(self) -> Snapshot:
        """The pinned lake."""
        from assay.lake.snapshot import pinned

        return pinned(self.request)

    @property
    def market(self) -> Market:
        """Bars and ratings that the run may look at: the walk-forward's days, and what its first decision needs."""
        return market_of(self.request)

    @property
    def decision(self) -> Deciding:
        """The decision of the run: the walk-forward's function on the same cut, with the candidates on record."""
        from assay.backtest.decision import Deciding, Discovery

        raw = self.run[RAW]
        key = "decision", self.run.read[RAW]
        if key not in self.memory:
            found = Discovery(raw.candidates, raw.scanners, raw.merged_quotes, raw.invalid_records)
            known = self.market.until(self.as_of, self.profile.sight_days)
            self.memory[key] = Deciding(known, self.profile, self.run.of_sleeve.scanners, found)
        deciding: Deciding = self.memory[key]
        return deciding

    def recall(self, artifact: Artifact[pl.DataFrame], decided: pl.DataFrame) -> pl.DataFrame:
        """Return a table of an earlier step, once it is certain that it still is what is decided."""
        kept = self.run[artifact]
        if not kept.equals(decided):
            hint = f"do that step again: --resume --from {artifact.step('run')}"
            what = "the table is not what is decided from the pinned lake"
            raise IntegrityError(what, where=artifact, hint=hint, code=NOT_AS_DECIDED)
        return kept


class GivenPortfolio(Given[MetaRequest]):
    """What a step of a portfolio of sleeves is given: also the sleeves' runs."""

    @property
    def profile(self) -> MetaProfile:
        """Resolved settings."""
        return self.run.of_portfolio.profile

    @property
    def sleeves(self) -> dict[str, Run]:
        """The accepted sleeves' runs, which are sealed: they cannot change while this one goes on."""
        return {pin.sleeve: self.memory.setdefault(pin, self.run.beside(pin.run_id)) for pin in self.run.accepted}

    def market(self, leaves: Iterable[Run]) -> Market:
        """Return the bars that the sleeves of coins read: of the newest state of the lake that one of them pinned."""
        from assay.backtest.decision import history_days
        from assay.lake.snapshot import pinned

        asked = [leaf.of_sleeve for leaf in leaves]
        newest = max(asked, key=lambda one: (one.as_of, one.head))
        pinned(newest)
        days = max(history_days(one.profile, newest.as_of) for one in asked)
        return load_market(newest.lake_folder, newest.head, newest.as_of, days)


def given_for(request: Job, executor: Executor | None = None) -> Given[Any]:
    """Return what the steps of a run of this kind are given."""
    executor = executor or Serial()
    if isinstance(request, MetaRequest):
        return GivenPortfolio(request, executor)
    assert isinstance(request, Request)
    return GivenSleeve(request, executor)


def market_of(request: Request) -> Market:
    """Return the panel that a run reads."""
    from assay.backtest.decision import history_days
    from assay.lake.snapshot import pinned

    pinned(request)
    return load_market(request.lake_folder, request.head, request.as_of, history_days(request.profile, request.as_of))


def load_market(lake: Path, head: int, as_of: dt.datetime, days: int) -> Market:
    """Return the panel of an instant: a cut of the one that is served, or else what the lake holds."""
    for folder, number, market in _served:
        if (folder, number) == (lake, head) and market.as_of >= as_of:
            return market.until(as_of, days)
    return _read_market(lake, head, as_of, days)


_served: list[tuple[Path, int, Market]] = []


@contextmanager
def serving(snapshot: Snapshot, market: Market) -> Iterator[None]:
    """Let every decision in the block see a cut of one panel, as those of a walk-forward do."""
    _served.append((snapshot.folder, snapshot.head, market))
    try:
        yield
    finally:
        _served.pop()


@lru_cache(maxsize=2)
def _read_market(lake: Path, head: int, as_of: dt.datetime, days: int) -> Market:
    """Read the panel once for all runs that one process executes on one head."""
    from assay.lake.snapshot import pin

    return pin(lake, head).market(as_of, days)
