"""A run directory read once, for every section of a report: its artifacts, and its ledger as the report reads it.

What is missing is None, what cannot be read is None with its reason in ``faults``: a report is needed most when a run
failed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from assay.base.domain import UTC
from assay.base.errors import IntegrityError, UsageError
from assay.base.files import read_json
from assay.report.markdown import finite
from assay.runs import artifacts as layout
from assay.runs.artifacts import LAST_EVIDENCE_STEP, describe, step_title
from assay.runs.documents import (
    Alignment,
    Analysis,
    AtomicValidation,
    CapitalPreservation,
    Clusters,
    Contributors,
    DataHealth,
    Document,
    Enriched,
    Enrichment,
    Flattened,
    FlattenedProfile,
    MetaOptimized,
    Optimized,
    RawCandidates,
    RiskAnalysis,
    SelectionAudit,
    SignTest,
    Sleeves,
    Winners,
    load,
)
from assay.runs.ledger import read_ledger
from assay.runs.run import STAND_ASIDE
from assay.runs.verify import LEDGER_KINDS, Body, Entry, read_chain
from assay.settings.model import RISK_PROFILES

D = TypeVar("D", bound=Document)
Metrics = Mapping[str, Mapping[str, float | None]]
"""Risk profile to metric to value."""
Split = Mapping[str, Metrics]
"""Risk profile to label (a year, a regime) to metric to value."""

RETURN_COLUMNS: Mapping[str, pl.DataType] = {
    "date": pl.Date(),
    "risk_profile": pl.String(),
    "nav": pl.Float64(),
    "ret": pl.Float64(),
}
DECISION_COLUMNS: Mapping[str, pl.DataType] = {"held": pl.Int64(), "loss_makers": pl.Int64()}
SUMMARY_COLUMNS: Mapping[str, pl.DataType] = {"winners": pl.Int64(), "relaxed": pl.Int64(), "reason": pl.String()}
"""Columns that the report reads, as the types that it wants; summaries are there where any decision tells them."""


def step_of(entry: Entry) -> int | None:
    """Return the step that an entry belongs to."""
    step = entry.body.get("step")
    return step if type(step) is int else None


@dataclass(frozen=True)
class StepRecord:
    """How the last attempt of a step went."""

    step: int
    name: str
    state: str
    error: Mapping[str, Any] | None
    started: dt.datetime | None
    ended: dt.datetime | None
    attempts: int

    @property
    def failed(self) -> bool:
        """Whether the attempt ended with an error."""
        return self.error is not None

    @property
    def finished(self) -> bool:
        """Whether the attempt ended well."""
        return self.ended is not None and self.error is None

    @property
    def seconds(self) -> float | None:
        """Seconds from intent to outcome."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()


@dataclass(frozen=True)
class LedgerView:
    """A ledger read once.

    Attributes
    ----------
    entries : tuple of Entry
        In the order of the file, as far as its chain holds.
    fault : str or None
        Why the file cannot be read to its end.
    """

    entries: tuple[Entry, ...]
    fault: str | None

    @property
    def head(self) -> str | None:
        """Hash of the last line that could be read."""
        return self.entries[-1].hash if self.entries else None

    @cached_property
    def outcomes(self) -> dict[int, StepRecord]:
        """Last attempt of each step, by number."""
        return {step: self._outcome(step) for step in sorted(self._intents)}

    @cached_property
    def _intents(self) -> dict[int, list[int]]:
        """Positions of the intents of each step."""
        positions: dict[int, list[int]] = {}
        for position, entry in enumerate(self.entries):
            step = step_of(entry)
            if entry.kind == "intent" and step is not None:
                positions.setdefault(step, []).append(position)
        return positions

    def _outcome(self, step: int) -> StepRecord:
        intents = self._intents[step]
        begin = self.entries[intents[-1]]
        later = self.entries[intents[-1] :]
        end = next((entry for entry in later if entry.kind == "outcome" and step_of(entry) == step), None)
        return StepRecord(
            step=step,
            name=str(begin.body.get("name", "")),
            state=str(end.body.get("state", "")) if end else "unfinished",
            error=_error(end.body) if end else None,
            started=parse_time(begin.time),
            ended=parse_time(end.time) if end else None,
            attempts=len(intents),
        )

    def current(self, *kinds: str) -> Iterator[Entry]:
        """Entries of the given kinds, without those of attempts that a resumed run has redone."""
        for position, entry in enumerate(self.entries):
            step = step_of(entry)
            begun = self._intents.get(step, []) if step is not None else []
            if entry.kind in kinds and (not begun or position >= begun[-1]):
                yield entry

    def last(self, kind: str) -> Entry | None:
        """Return the last entry of a kind."""
        return next((entry for entry in reversed(self.entries) if entry.kind == kind), None)

    @property
    def failure(self) -> StepRecord | None:
        """The step whose last attempt failed."""
        return next((outcome for outcome in self.outcomes.values() if outcome.failed), None)

    @property
    def reached(self) -> int:
        """The furthest step that ended well; 0 where none did."""
        return max((outcome.step for outcome in self.outcomes.values() if outcome.finished), default=0)


def _error(body: Body) -> Mapping[str, Any] | None:
    """Return the error of an outcome as a mapping with ``code`` and ``what``; None where the step ended well."""
    error = body.get("error")
    if isinstance(error, Mapping):
        return error
    if error:
        return {"code": str(error), "what": str(error)}
    state = str(body.get("state", ""))
    return {"code": state.upper(), "what": f"the step ended {state}"} if state.lower() in _BAD_STATES else None


_BAD_STATES = frozenset({"failed", "interrupted", "error", "timeout"})


def parse_time(text: object) -> dt.datetime | None:
    """Read an instant as the ledger writes it; None for anything else."""
    try:
        instant = dt.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def read_ledger_view(path: Path) -> LedgerView:
    """Read a ledger up to its first fault; what is wrong with the rest is for ``assay verify`` to say."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return LedgerView((), f"the ledger cannot be read: {error.strerror or error}")
    chain = read_chain(data, path.name, LEDGER_KINDS)
    fault = None if chain.entries else "the ledger is empty"
    if chain.torn:
        fault = f"the last line of the ledger, after {len(chain.entries)} whole ones, is torn"
    if chain.fault is not None:
        fault = f"the ledger is broken at {chain.fault.where}: {chain.fault.what}"
    return LedgerView(tuple(chain.entries), fault)


@dataclass(frozen=True)
class RunView:
    """Everything that a report says about one run comes from here."""

    folder: Path
    ledger: LedgerView
    manifest: Mapping[str, Any]
    raw: RawCandidates | None
    health: DataHealth | None
    selection: SelectionAudit | None
    winners: Winners | None
    enrichment: Enrichment | None
    sign_pre: SignTest | None
    clusters: Clusters | None
    risk: RiskAnalysis | None
    optimized: Optimized | None
    flattened: Flattened | None
    sign_post: SignTest | None
    returns: pl.DataFrame | None
    unguarded_returns: pl.DataFrame | None
    decisions: pl.DataFrame | None
    statistics: Metrics
    unguarded_statistics: Metrics
    by_year: Split
    survivorship: Split
    by_regime: Split
    preservation: CapitalPreservation | None
    atomic: AtomicValidation | None
    faults: Mapping[str, str] = field(default_factory=dict)
    """Path to the reason why it cannot be read."""

    @cached_property
    def lost(self) -> tuple[str, ...]:
        """Files of steps that ended well which are not there."""
        return tuple(
            artifact
            for artifact in (*layout.evidence("run"), layout.VALIDATION)
            if artifact != layout.LEDGER
            and (artifact.step("run") or 0) <= self.ledger.reached
            and not (self.folder / artifact).exists()
        )

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return str(self.manifest.get("run_id") or self.folder.name)

    @property
    def name(self) -> str:
        """Name of the profile; of the run, where the manifest is missing."""
        return str(self.setting("profile.name") or self.run_id)

    @property
    def direction(self) -> str:
        """LONG, SHORT, or empty where the manifest is missing."""
        return str(self.setting("profile.direction") or "")

    @property
    def as_of(self) -> str:
        """Instant of the decision."""
        return str(self.manifest.get("as_of") or (self.raw.as_of if self.raw else "") or "")

    def setting(self, key: str) -> Any:
        """Return a value of the manifest by its dotted name; None where there is none."""
        value: Any = self.manifest
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    @property
    def guarded(self) -> bool:
        """Whether the guard is on; it is unless the profile says otherwise."""
        return self.setting("profile.guard.enabled") is not False

    @cached_property
    def stood_aside(self) -> bool:
        """Whether the run went on as an empty sleeve because its profile allows that."""
        return any(entry.body.get("code") == STAND_ASIDE for entry in self.ledger.current("event"))

    @property
    def wanted(self) -> int | None:
        """Winners that the selection wanted."""
        if self.selection is not None:
            return self.selection.wanted
        wanted = finite(self.setting("profile.selection.wanted"))
        return None if wanted is None else int(wanted)

    @cached_property
    def risk_profiles(self) -> tuple[str, ...]:
        """Risk profiles that any artifact speaks of, the canon's order first."""
        found: set[str] = set(self.statistics)
        found |= set(self.optimized.profiles) if self.optimized else set()
        found |= set(self.flattened.profiles) if self.flattened else set()
        return tuple(in_order(found))

    @cached_property
    def enriched(self) -> dict[str, Enriched]:
        """Enriched winners by atom id."""
        return {winner.atom_id: winner for winner in self.enrichment.winners} if self.enrichment else {}

    @cached_property
    def days(self) -> int | None:
        """Days of the walk-forward: the most that any risk profile has."""
        found = [finite(metrics.get("days")) for metrics in self.statistics.values()]
        return max((int(days) for days in found if days is not None), default=None)

    def holding(self, name: str) -> FlattenedProfile | None:
        """Return a risk profile's coins."""
        return self.flattened.profiles.get(name) if self.flattened else None

    def absent(self, path: str) -> str:
        """Say why an artifact is not there: unreadable, not reached, or lost."""
        faulty = next((name for name in self.faults if name.startswith(path)), None)
        if faulty is not None:
            return f"unreadable: {faulty}: {self.faults[faulty]}"
        artifact = describe(path)
        step = (artifact and artifact.step("run")) or LAST_EVIDENCE_STEP
        if self.ledger.reached >= step:
            return f"missing: {path}, although {step_title(step)} was reached"
        return f"not reached: {ending(self.ledger)}; {path} is written by {step_title(step)}"


def ending(ledger: LedgerView) -> str:
    """Say where a run ended."""
    failure = ledger.failure
    if failure is not None and failure.error is not None:
        return f"the run ended at {step_title(failure.step)} with {failure.error.get('code') or 'an unnamed error'}"
    if not ledger.outcomes:
        return "the ledger holds no step"
    last = max(ledger.outcomes)
    state = "finished" if ledger.outcomes[last].finished else "begun"
    return f"the ledger ends with {step_title(last)} {state}"


def open_run(folder: Path) -> RunView:
    """Read a run directory.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError("no such run", where=str(folder), hint="list the runs with: assay status")
    reader = _Reader(folder.resolve())
    manifest = reader.mapping(layout.MANIFEST) or {}
    statistics = reader.mapping(layout.WALK_STATISTICS) or {}
    return RunView(
        folder=reader.folder,
        ledger=read_ledger_view(folder / layout.LEDGER),
        manifest=manifest,
        raw=reader.document(RawCandidates, layout.RAW),
        health=reader.document(DataHealth, layout.HEALTH),
        selection=reader.document(SelectionAudit, layout.SELECTION),
        winners=reader.document(Winners, layout.WINNERS),
        enrichment=reader.document(Enrichment, layout.ENRICHED),
        sign_pre=reader.document(SignTest, layout.SIGN_PRE),
        clusters=reader.document(Clusters, layout.CLUSTERS),
        risk=reader.document(RiskAnalysis, layout.RISK),
        optimized=reader.document(Optimized, layout.OPTIMIZED),
        flattened=reader.document(Flattened, layout.FLATTENED),
        sign_post=reader.document(SignTest, layout.SIGN_POST),
        returns=reader.table(layout.WALK_RETURNS, RETURN_COLUMNS),
        unguarded_returns=reader.table(layout.WALK_UNGUARDED, RETURN_COLUMNS),
        decisions=reader.table(layout.WALK_DECISIONS, DECISION_COLUMNS),
        statistics=_deflated(_metrics(statistics.get("as_run")), reader.mapping(layout.TRIALS) or {}),
        unguarded_statistics=_metrics(statistics.get("unguarded")),
        by_year=_split(reader.mapping(layout.WALK_BY_YEAR)),
        survivorship=_split((reader.mapping(layout.WALK_SURVIVORSHIP) or {}).get("profiles")),
        by_regime=_split(reader.mapping(layout.WALK_BY_REGIME)),
        preservation=reader.document(CapitalPreservation, layout.PRESERVATION),
        atomic=reader.document(AtomicValidation, reader.validation(manifest)),
        faults=reader.faults,
    )


def _deflated(statistics: Metrics, trials: Mapping[str, Any]) -> Metrics:
    """Put the deflated Sharpe ratios beside the others; they lie apart since they depend on what else was tried."""
    added = _metrics(trials.get("as_run"))
    return {name: {**metrics, **added.get(name, {})} for name, metrics in statistics.items()}


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of risk profiles in the canon's order, strangers after them by name.

    >>> in_order(["barbell", "x", "hrp"])
    ['hrp', 'barbell', 'x']
    """
    found = set(names)
    return [*(name for name in RISK_PROFILES if name in found), *sorted(found - set(RISK_PROFILES))]


def _metrics(value: Any) -> Metrics:
    """Keep what is a table of numbers; everything that is not a finite number is None."""
    if not isinstance(value, Mapping):
        return {}
    tables = {str(profile): metrics for profile, metrics in value.items() if isinstance(metrics, Mapping)}
    return {
        profile: {str(metric): finite(number) for metric, number in tables[profile].items()}
        for profile in in_order(tables)
    }


def _split(value: Any) -> Split:
    """Keep what is a table of numbers for each label."""
    tables = value if isinstance(value, Mapping) else {}
    return {name: _metrics(tables[name]) for name in in_order(str(name) for name in tables)}


def read_table(folder: Path, path: str, columns: Mapping[str, pl.DataType]) -> pl.DataFrame | str | None:
    """Return a table of a run with these columns; None where it is missing, a text where something is wrong with it."""
    if not (folder / path).is_file():
        return None
    try:
        frame = pl.read_parquet(folder / path)
        missing = sorted(set(columns) - set(frame.columns))
        if missing:
            return f"the table lacks {', '.join(missing)}"
        known = {name: kind for name, kind in SUMMARY_COLUMNS.items() if name in frame.columns}
        return frame.with_columns(pl.col(name).cast(kind) for name, kind in {**columns, **known}.items())
    except (pl.exceptions.PolarsError, OSError) as error:
        return f"not a table of this kind ({type(error).__name__})"


class _Reader:
    """Reads files of a run and remembers which could not be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, str] = {}

    def document(self, kind: type[D], path: str) -> D | None:
        if not (self.folder / path).is_file():
            return None
        try:
            return load(kind, self.folder / path)
        except IntegrityError as error:
            self.faults[path] = error.what
        except OSError as error:
            self.faults[path] = error.strerror or type(error).__name__
        return None

    def mapping(self, path: str) -> Mapping[str, Any] | None:
        if not (self.folder / path).is_file():
            return None
        try:
            value = read_json(self.folder / path)
        except IntegrityError as error:
            self.faults[path] = error.what
        except OSError as error:
            self.faults[path] = error.strerror or type(error).__name__
        else:
            if isinstance(value, Mapping):
                return value
            self.faults[path] = "not a JSON object"
        return None

    def table(self, path: str, columns: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
        found = read_table(self.folder, path, columns)
        if isinstance(found, str):
            self.faults[path] = found
            return None
        return found

    def validation(self, manifest: Mapping[str, Any]) -> str:
        """Path of the run's own atomic validation; the first one found, where that is missing."""
        profile = manifest.get("profile")
        name = profile.get("name") if isinstance(profile, Mapping) else ""
        own = f"{layout.VALIDATION}atomic_validation_{name}_{manifest.get('run_id')}.json"
        found = sorted((self.folder / layout.VALIDATION).glob("atomic_validation_*.json"))
        relative = [path.relative_to(self.folder).as_posix() for path in found]
        if own in relative:
            return own
        return relative[0] if relative else layout.VALIDATION


@dataclass(frozen=True)
class MetaView:
    """The directory of a meta-portfolio, each artifact read once."""

    folder: Path

    def read(self, kind: type[D], name: str) -> D:
        """Read a document; IntegrityError if it is missing or breaks its schema."""
        return load(kind, self.folder / name)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Every value that the run used."""
        found: Mapping[str, Any] = read_json(self.folder / layout.MANIFEST)
        return found

    @cached_property
    def sleeves(self) -> Sleeves:
        """Sleeves that were accepted, and runs that were refused."""
        return self.read(Sleeves, layout.META_SLEEVES)

    @cached_property
    def alignment(self) -> Alignment:
        """Shared days."""
        return self.read(Alignment, layout.META_ALIGNMENT)

    @cached_property
    def optimized(self) -> MetaOptimized:
        """Weights of sleeves."""
        return self.read(MetaOptimized, layout.META_OPTIMIZED)

    @cached_property
    def contributors(self) -> Contributors:
        """Contributors and netting."""
        return self.read(Contributors, layout.META_CONTRIBUTORS)

    @cached_property
    def analysis(self) -> Analysis:
        """Concentration, correlation, leave one out."""
        return self.read(Analysis, layout.META_ANALYSIS)

    @cached_property
    def statistics(self) -> Mapping[str, Mapping[str, float | None]]:
        """Walk-forward metrics by risk profile."""
        found: Mapping[str, Mapping[str, float | None]] = read_json(self.folder / layout.WALK_STATISTICS)["as_run"]
        return found

    @cached_property
    def entries(self) -> list[Entry]:
        """What the ledger holds of the steps before this report."""
        return read_ledger(self.folder / layout.LEDGER)

    @cached_property
    def names(self) -> list[str]:
        """Risk profiles in the order of the settings."""
        return list(self.manifest["profile"]["risk_profiles"])
