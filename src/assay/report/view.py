"""A run as its reports see it: what is missing is None, what cannot be read is None with its reason in ``faults``.

A report is needed most when a run failed, so nothing here raises for what a run directory lacks, and the ledger is
read as far as it goes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from assay.backtest.statistics import max_drawdown
from assay.base import files
from assay.base.domain import UTC
from assay.base.errors import IntegrityError, UsageError
from assay.report.markdown import finite
from assay.runs import artifacts as layout
from assay.runs.artifacts import STEP_NAMES, Artifact, Kind, describe, step_title
from assay.runs.documents import AtomicValidation, Enriched, FlattenedProfile, Ruins, SleeveFacts
from assay.runs.home import ruin_told
from assay.runs.run import STAND_ASIDE, Run
from assay.runs.verify import LEDGER_KINDS, Body, Entry, read_chain
from assay.settings.model import RISK_PROFILES

Metrics = Mapping[str, Mapping[str, float | None]]
"""Risk profile to metric to value."""
Split = Mapping[str, Metrics]
"""Risk profile to label (a year, a regime) to metric to value."""
Columns = Mapping[str, pl.DataType]
"""Columns that are read, as the types that are wanted."""

RETURN_COLUMNS: Columns = {
    "date": pl.Date(),
    "risk_profile": pl.String(),
    "nav": pl.Float64(),
    "ret": pl.Float64(),
}
WEIGHT_COLUMNS: Columns = {"risk_profile": pl.String(), "symbol": pl.String(), "net_weight": pl.Float64()}
DECISION_COLUMNS: dict[Kind, Columns] = {
    "run": {"held": pl.Int64(), "loss_makers": pl.Int64()},
    "meta": {"held": pl.Int64()},
}
SUMMARY_COLUMNS: Columns = {"winners": pl.Int64(), "relaxed": pl.Int64(), "reason": pl.String(), "dropped": pl.String()}
"""Columns of decisions that are there only where any of them tells it."""
_BAD_STATES = frozenset({"failed", "interrupted", "error", "timeout"})


# --- the ledger -------------------------------------------------------------------------------------------------------


class StepRecord(NamedTuple):
    """How the last attempt of a step went."""

    step: int
    name: str
    state: str
    error: Mapping[str, Any] | None
    started: dt.datetime | None
    ended: dt.datetime | None
    attempts: int

    @property
    def title(self) -> str:
        """The step as a report names it, by the name that the ledger gives it."""
        return f"step {self.step} ({self.name})" if self.name else step_title(self.step)

    @property
    def finished(self) -> bool:
        """Whether the attempt ended well."""
        return self.ended is not None and self.error is None

    @property
    def seconds(self) -> float | None:
        """Seconds from intent to outcome."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None


class LedgerView:
    """A ledger read up to its first fault; what is wrong with the rest is for ``assay verify`` to say.

    Attributes
    ----------
    entries : tuple of Entry
        In the order of the file, as far as its chain holds.
    fault : str or None
        Why the file cannot be read to its end.
    """

    def __init__(self, path: Path) -> None:
        self.entries: tuple[Entry, ...] = ()
        self.fault: str | None = None
        try:
            chain = read_chain(files.read(path, files.LARGEST_JSON), path.name, LEDGER_KINDS)
        except IntegrityError as error:
            self.fault = f"the ledger cannot be read: {error.what}"
            return
        self.entries = tuple(chain.entries)
        if chain.fault is not None:
            self.fault = f"the ledger is broken at {chain.fault.where}: {chain.fault.what}"
        elif chain.torn:
            self.fault = f"the last line of the ledger, after {len(chain.entries)} whole ones, is torn"
        elif not chain.entries:
            self.fault = "the ledger is empty"

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
        return next((outcome for outcome in self.outcomes.values() if outcome.error is not None), None)

    @property
    def reached(self) -> int:
        """The furthest step that ended well; 0 where none did."""
        return max((outcome.step for outcome in self.outcomes.values() if outcome.finished), default=0)

    @property
    def ending(self) -> str:
        """Where the run ended, in words."""
        failure = self.failure
        if failure is not None and failure.error is not None:
            return f"the run ended at {failure.title} with {failure.error.get('code') or 'an unnamed error'}"
        if not self.outcomes:
            return "the ledger holds no step"
        last = self.outcomes[max(self.outcomes)]
        return f"the ledger ends with {last.title} {'finished' if last.finished else 'begun'}"


def step_of(entry: Entry) -> int | None:
    """Return the step that an entry belongs to."""
    step = entry.body.get("step")
    return step if type(step) is int else None


def _error(body: Body) -> Mapping[str, Any] | None:
    """Return the error of an outcome as a mapping with ``code`` and ``what``; None where the step ended well."""
    error = body.get("error")
    if isinstance(error, Mapping):
        return error
    if error:
        return {"code": str(error), "what": str(error)}
    state = str(body.get("state", ""))
    return {"code": state.upper(), "what": f"the step ended {state}"} if state.lower() in _BAD_STATES else None


def parse_time(text: object) -> dt.datetime | None:
    """Read an instant as the ledger writes it; None for anything else."""
    try:
        instant = dt.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


# --- the run ----------------------------------------------------------------------------------------------------------


class RunView:
    """Everything that a report says about one run comes from here; all of it is read at once.

    Of a portfolio of sleeves what only a sleeve has (candidates, winners, clusters) is None.

    Attributes
    ----------
    run : Run
        The reader of the directory.
    kind : str
        ``run`` for a sleeve, ``meta`` for a portfolio.
    ledger : LedgerView
    faults : dict of str to str
        Path to the reason why it cannot be read.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.folder, self.faults = run, run.folder, run.faults
        self.kind = run.kind
        self.ledger = LedgerView(run.folder / layout.LEDGER)
        self.manifest: Mapping[str, Any] = run.get(layout.MANIFEST) or {}
        self.raw = run.get(layout.RAW)
        self.health = run.get(layout.HEALTH)
        self.selection = run.get(layout.SELECTION)
        self.winners = run.get(layout.WINNERS)
        self.enrichment = run.get(layout.ENRICHED)
        self.sign_pre = run.get(layout.SIGN_PRE)
        self.clusters = run.get(layout.CLUSTERS)
        self.risk = run.get(layout.RISK)
        self.optimized = run.get(layout.OPTIMIZED)
        self.flattened = run.get(layout.FLATTENED)
        self.sign_post = run.get(layout.SIGN_POST)
        self.returns = table_of(run, layout.WALK_RETURNS, RETURN_COLUMNS)
        self.unguarded_returns = table_of(run, layout.WALK_UNGUARDED, RETURN_COLUMNS)
        self.decisions = table_of(run, layout.WALK_DECISIONS, DECISION_COLUMNS[run.kind])
        self.weights = table_of(run, layout.WALK_WEIGHTS, WEIGHT_COLUMNS) if run.kind == "run" else None
        self.trades = run.get(layout.WALK_TRADES)
        self.book = run.get(layout.HOLDINGS)
        statistics = run.get(layout.WALK_STATISTICS) or {}
        self.trials: Mapping[str, Any] = run.get(layout.TRIALS) or {}
        self.statistics = _deflated(_metrics(statistics.get("as_run")), self.trials)
        phases = statistics.get("phases")
        self.phases: Mapping[str, Mapping[str, Any]] = phases if isinstance(phases, Mapping) else {}
        self.unguarded_statistics = _metrics(statistics.get("unguarded"))
        self.by_year = _split(run.get(layout.WALK_BY_YEAR))
        self.survivorship = _split((run.get(layout.WALK_SURVIVORSHIP) or {}).get("profiles"))
        self.by_regime = _split(run.get(layout.WALK_BY_REGIME))
        self.worth = run.get(layout.WORTH)
        self.preservation = run.get(layout.PRESERVATION)
        self.books: Ruins | None = self.preservation if run.kind == "run" else run.get(layout.META_ANALYSIS)
        self.atomic = self._validation()

    def _validation(self) -> AtomicValidation | None:
        """Read the run's own validation; the first one found, where that is missing."""
        gate = STEP_NAMES[self.kind][-2]
        own = f"{gate}_{self.setting('profile.name')}_{self.manifest.get('run_id')}.json"
        found = sorted(path.name for path in (self.folder / layout.VALIDATION).glob(f"{gate}_*.json"))
        name = own if own in found else next(iter(found), None)
        return None if name is None else self.run.get(layout.VALIDATION.below(name))

    @cached_property
    def lost(self) -> tuple[str, ...]:
        """Files of steps that ended well which are not there."""
        return tuple(
            artifact
            for artifact in (*layout.evidence(self.kind), layout.VALIDATION)
            if artifact != layout.LEDGER
            and not (artifact in layout.SINCE_FORMAT_2 and self.manifest.get("format", 1) == 1)
            and (artifact.step(self.kind) or 0) <= self.ledger.reached
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
        """LONG, SHORT, MIXED for a portfolio, or empty where the manifest is missing."""
        return "MIXED" if self.kind == "meta" else str(self.setting("profile.direction") or "")

    @cached_property
    def sleeves(self) -> list[SleeveFacts]:
        """Sleeves that a portfolio accepted."""
        found = self.run.get(layout.META_SLEEVES) if self.kind == "meta" else None
        return found.accepted if found else []

    @property
    def lake_heads(self) -> list[int]:
        """Heads of the lake that the run read; a portfolio's are those of its sleeves."""
        if self.kind == "meta":
            return sorted({one.lake_head for one in self.sleeves})
        head = finite(self.setting("lake.head"))
        return [] if head is None else [int(head)]

    @property
    def validates(self) -> int:
        """The step that validates: the last whose outcome is known when the report is written."""
        return len(STEP_NAMES[self.kind]) - 1

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
    def benchmark_drawdown(self) -> float | None:
        """Deepest fall of the benchmark on the days of the walk-forward; None where nothing tells it."""
        table = table_of(self.run, layout.WALK_YARDSTICKS, {"benchmark": pl.Float64()})
        return None if table is None else max_drawdown(table["benchmark"].drop_nulls().to_numpy())

    @cached_property
    def ruin(self) -> str:
        """What stands behind a verdict for ruined books; empty where there is none."""
        ruined = self.books.ruined if self.books else []
        return ruin_told(ruined, str(self.setting("profile.headline")))

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
    def risk_profiles(self) -> list[str]:
        """Risk profiles that any artifact speaks of, the canon's order first."""
        documents = (self.optimized, self.flattened)
        return in_order({*self.statistics, *(name for one in documents if one is not None for name in one.profiles)})

    @cached_property
    def enriched(self) -> dict[str, Enriched]:
        """Enriched winners by atom id."""
        return {winner.atom_id: winner for winner in self.enrichment.winners} if self.enrichment else {}

    @property
    def atoms(self) -> int:
        """Atoms that the optimizers saw."""
        if self.clusters is not None:
            return sum(map(len, self.clusters.clusters.values()))
        return len(self.winners.winners) if self.winners else 0

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
        if self.kind == "meta" and artifact is not None and artifact.step("meta") is None:
            return f"a portfolio has no {path} of its own: its sleeves have"
        step = (artifact and artifact.step(self.kind)) or self.validates
        title = step_title(step, self.kind)
        if self.ledger.reached >= step:
            return f"missing: {path}, although {title} was reached"
        return f"not reached: {self.ledger.ending}; {path} is written by {title}"


def open_run(folder: Path) -> RunView:
    """Read the directory of a run, of a sleeve or of a portfolio: complete, failed, half-written or damaged.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError("no such run", where=str(folder), hint="list the runs with: assay status")
    return RunView(Run(folder.resolve()))


def table_of(run: Run, artifact: Artifact[pl.DataFrame], columns: Columns) -> pl.DataFrame | None:
    """Return a table with these columns; None where it is missing or unlike that, with the reason in ``run.faults``."""
    frame = run.get(artifact)
    if frame is None:
        return None
    missing = sorted(set(columns) - set(frame.columns))
    if missing:
        run.faults[artifact] = f"the table lacks {', '.join(missing)}"
        return None
    known = {name: kind for name, kind in SUMMARY_COLUMNS.items() if name in frame.columns}
    try:
        return frame.with_columns(pl.col(name).cast(kind) for name, kind in {**columns, **known}.items())
    except pl.exceptions.PolarsError as error:
        run.faults[artifact] = f"not a table of this kind ({type(error).__name__})"
        return None


def shared_returns(one: pl.DataFrame | None, other: pl.DataFrame | None, name: str) -> pl.DataFrame:
    """Return ``date``, ``ret`` and ``ret_other`` of a risk profile on the days that both runs count."""
    if one is None or other is None:
        return pl.DataFrame(schema={"date": pl.Date, "ret": pl.Float64, "ret_other": pl.Float64})
    first, second = (
        frame.filter(pl.col("risk_profile") == name, pl.col("ret").is_finite(), *_counted(frame)).select("date", "ret")
        for frame in (one, other)
    )
    return first.join(second, on="date", how="inner", suffix="_other").sort("date")


def _counted(frame: pl.DataFrame) -> list[pl.Expr]:
    """Return what keeps the days of which statistics are made, where a table tells them: all tranches are filled."""
    return [pl.col("counted")] if frame.schema.get("counted") == pl.Boolean() else []


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
