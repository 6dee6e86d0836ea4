"""What the gates read: the artifacts of one run directory, each opened once; a fault is an error naming the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ValidationError

from assay.base.errors import IntegrityError
from assay.base.files import read_json
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.ledger import broken, read_ledger
from assay.runs.verify import Entry, Story
from assay.settings.model import Profile

D = TypeVar("D", bound=artifacts.Document)
Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]

DOCUMENTS: Mapping[str, type[artifacts.Document]] = {
    layout.RAW: artifacts.RawCandidates,
    layout.HEALTH: artifacts.DataHealth,
    layout.WINNERS: artifacts.Winners,
    layout.SELECTION: artifacts.SelectionAudit,
    layout.ENRICHED: artifacts.Enrichment,
    layout.SIGN_PRE: artifacts.SignTest,
    layout.CLUSTERS: artifacts.Clusters,
    layout.RISK: artifacts.RiskAnalysis,
    layout.OPTIMIZED: artifacts.Optimized,
    layout.FLATTENED: artifacts.Flattened,
    layout.SIGN_POST: artifacts.SignTest,
}
TABLES = (layout.RETURNS, layout.SYNTHETIC)
WALK_TABLES = (layout.WALK_RETURNS, layout.WALK_WEIGHTS, layout.WALK_DECISIONS, layout.WALK_TRADES)
ARTIFACTS = tuple(sorted({layout.MANIFEST, layout.PRESERVATION, *DOCUMENTS, *TABLES, *WALK_TABLES}))
"""What steps 1 to 13 leave in every run."""

STAND_ASIDE = "STAND_ASIDE"
"""Event of a run whose scan found nobody and whose profile allows that."""


class Pin(BaseModel):
    """Which state of the lake a run reads; the folder is relative to the home folder."""

    folder: str
    head: int
    tables: dict[str, int]


class SupersetPin(BaseModel):
    """Which superset a run reads; the path is relative to the home folder."""

    path: str
    sha256: str


class Manifest(BaseModel):
    """What a replay needs to know; a manifest may say more."""

    run_id: str
    profile: Profile
    scanners: dict[str, Any]
    provenance: dict[str, Any]
    source: str
    lake: Pin
    superset: SupersetPin
    as_of: str
    trials: dict[str, Any]
    environment: dict[str, Any]


@dataclass
class Tally:
    """What one check looked at, and what it found wrong."""

    checked: int = 0
    faults: list[str] = field(default_factory=list)

    def expect(self, good: bool, what: str) -> None:
        """Count one comparison."""
        self.checked += 1
        if not good:
            self.faults.append(what)


@dataclass(frozen=True)
class Panel:
    """A wide table of returns: (n_days,) days, column names, (n_days, n_columns) float64 values, NaN for none."""

    days: Days
    columns: tuple[str, ...]
    values: Floats

    def __getitem__(self, column: str) -> Floats:
        """Return one column, (n_days,)."""
        return self.values[:, self.columns.index(column)]

    @property
    def empty(self) -> bool:
        """Whether there is no observation at all."""
        return not np.isfinite(self.values).any()


@dataclass
class Evidence:
    """One run directory, read lazily."""

    run_dir: Path
    _cache: dict[str, object] = field(default_factory=dict)

    def document(self, kind: type[D], name: str) -> D:
        """Return a document; IntegrityError if it is missing or breaks its schema."""
        if name not in self._cache:
            self._cache[name] = artifacts.load(kind, self.run_dir / name)
        found = self._cache[name]
        assert isinstance(found, kind)
        return found

    def json(self, name: str) -> dict[str, Any]:
        """Return a JSON object; IntegrityError if it is missing or is none."""
        value = read_json(self.run_dir / name)
        if not isinstance(value, dict):
            raise IntegrityError("file is not a JSON object", where=name, hint="run: assay verify")
        return value

    def table(self, name: str) -> pl.DataFrame:
        """Return a table; IntegrityError if it is missing or no Parquet."""
        if name not in self._cache:
            self._cache[name] = read_table(self.run_dir / name)
        found = self._cache[name]
        assert isinstance(found, pl.DataFrame)
        return found

    def panel(self, name: str) -> Panel:
        """Return a wide table of returns; IntegrityError if it is none."""
        key = f"panel of {name}"
        if key not in self._cache:
            self._cache[key] = read_panel(self.table(name), name)
        found = self._cache[key]
        assert isinstance(found, Panel)
        return found

    @property
    def ledger(self) -> list[Entry]:
        """Entries of the ledger; LedgerError if a line is wrong or out of order."""
        if layout.LEDGER not in self._cache:
            entries = read_ledger(self.run_dir / layout.LEDGER)
            problems = Story(entries).problems
            if problems:
                raise broken(self.run_dir / layout.LEDGER, problems[0])
            self._cache[layout.LEDGER] = entries
        found = self._cache[layout.LEDGER]
        assert isinstance(found, list)
        return found

    @property
    def current(self) -> list[Entry]:
        """Entries of each step's last attempt; what an attempt said that was redone does not count."""
        begun = {entry.body["step"]: entry.seq for entry in self.ledger if entry.kind == "intent"}
        steps = [(entry, entry.body.get("step")) for entry in self.ledger]
        return [entry for entry, step in steps if not isinstance(step, int) or entry.seq >= begun.get(step, 0)]

    @property
    def events(self) -> frozenset[str]:
        """Codes of the events in the ledger."""
        return frozenset(str(entry.body.get("code")) for entry in self.current if entry.kind == "event")

    @property
    def manifest(self) -> Manifest:
        """The resolved manifest; IntegrityError if it is missing or incomplete."""
        try:
            return Manifest.model_validate(self.json(layout.MANIFEST))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"manifest is incomplete at {'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise IntegrityError(what, where=layout.MANIFEST, hint="run: assay verify") from error

    @property
    def stands_aside(self) -> bool:
        """Whether the scan found nobody, the profile allows that, and the ledger says so."""
        return STAND_ASIDE in self.events and self.manifest.profile.stand_aside

    @property
    def atoms(self) -> list[artifacts.Winner]:
        """Winners that enrichment kept: the atoms that everything after it is about."""
        winners = self.document(artifacts.Winners, layout.WINNERS).winners
        if not (self.run_dir / layout.ENRICHED).is_file():
            return winners
        kept = {entry.atom_id for entry in self.document(artifacts.Enrichment, layout.ENRICHED).winners}
        return [winner for winner in winners if winner.atom_id in kept]


def read_table(path: Path) -> pl.DataFrame:
    """Read a Parquet file.

    Raises
    ------
    IntegrityError
        If it is missing or is no Parquet.
    """
    try:
        return pl.read_parquet(path.read_bytes())
    except FileNotFoundError:
        raise IntegrityError("file is missing", where=str(path), hint="the run is incomplete; resume it") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IntegrityError(f"table cannot be read: {first}", where=str(path), hint="run: assay verify") from error


def read_panel(table: pl.DataFrame, name: str) -> Panel:
    """Split a wide table into days and float64 columns.

    Raises
    ------
    IntegrityError
        If there is not one column of days and only float64 ones beside it.
    """
    index = [column for column, kind in table.schema.items() if kind.is_temporal()]
    others = [column for column in table.columns if column not in index]
    wrong = [column for column in others if table.schema[column] != pl.Float64]
    if len(index) != 1 or wrong:
        what = f"{len(index)} columns of dates, and {len(wrong)} that are not float64"
        raise IntegrityError(f"table is no panel of returns: {what}", where=name, hint="run: assay verify")
    values = table.select(others).fill_null(float("nan")).to_numpy() if others else np.empty((table.height, 0))
    return Panel(days(table[index[0]], name), tuple(others), np.asarray(values, dtype=np.float64))


def days(column: pl.Series, name: str) -> Days:
    """Return a column of days, (n,) datetime64[D].

    Raises
    ------
    IntegrityError
        If a value is missing, is not in UTC, or is not midnight.
    """
    if column.null_count():
        raise IntegrityError("a date is missing", where=name, hint="run: assay verify")
    if column.dtype == pl.Date:
        return column.to_numpy().astype("datetime64[D]")
    if not isinstance(column.dtype, pl.Datetime) or column.dtype.time_zone != "UTC":
        raise IntegrityError(f"dates are {column.dtype}, not UTC days", where=name, hint="run: assay verify")
    instants = column.dt.replace_time_zone(None).to_numpy()
    whole = instants.astype("datetime64[D]")
    if (whole != instants).any():
        raise IntegrityError("a date is not midnight UTC", where=name, hint="run: assay verify")
    return whole
