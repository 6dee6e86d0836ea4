"""A run directory read once, for every section of a report.

What is missing is None, what cannot be read is None with its reason in ``faults``: a report is needed most when a run
failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from assay.base.errors import IntegrityError, UsageError
from assay.base.files import read_json
from assay.report.markdown import finite
from assay.report.report_trail import Trail, read_trail
from assay.runs import artifacts as layout
from assay.runs.artifacts import LAST_EVIDENCE_STEP, describe, step_title
from assay.runs.documents import (
    AtomicValidation,
    CapitalPreservation,
    Clusters,
    DataHealth,
    Document,
    Enriched,
    Enrichment,
    Flattened,
    FlattenedProfile,
    Optimized,
    RawCandidates,
    RiskAnalysis,
    SelectionAudit,
    SignTest,
    Winners,
    load,
)
from assay.runs.run import STAND_ASIDE
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


@dataclass(frozen=True)
class RunView:
    """Everything that a report says about one run comes from here."""

    folder: Path
    trail: Trail
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
            and (artifact.step("run") or 0) <= self.trail.reached
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
        return any(entry.body.get("code") == STAND_ASIDE for entry in self.trail.current("event"))

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
        if self.trail.reached >= step:
            return f"missing: {path}, although {step_title(step)} was reached"
        return f"not reached: {ending(self.trail)}; {path} is written by {step_title(step)}"


def ending(trail: Trail) -> str:
    """Say where a run ended."""
    failure = trail.failure
    if failure is not None and failure.error is not None:
        return f"the run ended at {step_title(failure.step)} with {failure.error.get('code') or 'an unnamed error'}"
    if not trail.outcomes:
        return "the ledger holds no step"
    last = max(trail.outcomes)
    state = "finished" if trail.outcomes[last].finished else "begun"
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
        trail=read_trail(folder / layout.LEDGER),
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
