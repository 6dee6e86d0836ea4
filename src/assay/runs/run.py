"""A run directory: every artifact opened once, checked against its row of the table, and remembered by its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ValidationError

from assay.base.errors import IntegrityError
from assay.base.files import read_json, sha256
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.artifacts import Artifact, Kind
from assay.runs.documents import Document, PortfolioManifest, SleeveManifest, Winner
from assay.runs.ledger import broken, read_ledger
from assay.runs.verify import Entry, Story
from assay.settings.model import Profile

T = TypeVar("T")

STAND_ASIDE = "STAND_ASIDE"
"""Event of a run whose scan found nobody and whose profile allows that."""


class Run:
    """The one reader of a run directory, of a sleeve or of a portfolio of sleeves.

    ``run[WINNERS]`` is what the table says: a document, a frame, a JSON object or a text. ``run.get(WINNERS)`` is the
    same, or None with the reason in ``run.faults``. Everything is read once; a new object looks again.

    Attributes
    ----------
    folder : Path
        The run directory.
    faults : dict
        Path to what is wrong with it, in words, for what :meth:`get` could not give.
    read : dict
        Path to SHA-256 of the bytes of everything that was opened (ledger and status excepted, which grow): the inputs
        of the step that opened it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, str] = {}
        self.read: dict[str, str] = {}
        self._held: dict[str, Any] = {}

    def __getitem__(self, artifact: Artifact[T]) -> T:
        """Return an artifact.

        Raises
        ------
        IntegrityError
            If it is missing, is damaged, or breaks its schema.
        """
        if artifact not in self._held:
            self._held[artifact] = _parse(artifact, self.folder / artifact, self.load(artifact))
        found: T = self._held[artifact]
        return found

    def get(self, artifact: Artifact[T]) -> T | None:
        """Return an artifact; None where it is not there, or cannot be read: :attr:`faults` then says why."""
        if not self.has(artifact):
            return None
        try:
            return self[artifact]
        except IntegrityError as error:
            self.faults[artifact] = error.what
            return None

    def has(self, artifact: str) -> bool:
        """Tell whether a file is there, or a folder."""
        path = self.folder / artifact
        return path.is_dir() if artifact.endswith("/") else path.is_file()

    def load(self, path: str) -> bytes:
        """Return the bytes of a file, and remember their hash.

        Raises
        ------
        IntegrityError
            If it is missing or cannot be read.
        """
        try:
            data = (self.folder / path).read_bytes()
        except FileNotFoundError:
            raise IntegrityError(
                "file is missing", where=str(self.folder / path), hint="the run is incomplete; resume it"
            ) from None
        except OSError as error:
            what = f"file cannot be read: {error.strerror}"
            raise IntegrityError(what, where=str(self.folder / path), hint="mend its permissions") from error
        if path not in (layout.LEDGER, layout.STATUS):
            self.read[str(path)] = sha256(data)
        return data

    @cached_property
    def kind(self) -> Kind:
        """``run`` for a sleeve, ``meta`` for a portfolio of sleeves; IntegrityError without a manifest."""
        return "meta" if self[layout.MANIFEST].get("kind") == "meta" else "run"

    @cached_property
    def manifest(self) -> SleeveManifest | PortfolioManifest:
        """Every value that the run used; IntegrityError if one is missing."""
        return self.portfolio if self.kind == "meta" else self.sleeve

    @cached_property
    def sleeve(self) -> SleeveManifest:
        """The manifest, of a sleeve; IntegrityError if it is another's or incomplete."""
        return artifacts.validated(SleeveManifest, self[layout.MANIFEST], self.folder / layout.MANIFEST)

    @cached_property
    def portfolio(self) -> PortfolioManifest:
        """The manifest, of a portfolio; IntegrityError if it is another's or incomplete."""
        return artifacts.validated(PortfolioManifest, self[layout.MANIFEST], self.folder / layout.MANIFEST)

    @cached_property
    def ledger(self) -> list[Entry]:
        """Entries of the ledger; LedgerError if a line is wrong or out of order."""
        entries = read_ledger(self.folder / layout.LEDGER)
        problems = Story(entries).problems
        if problems:
            raise broken(self.folder / layout.LEDGER, problems[0])
        return entries

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
    def stands_aside(self) -> bool:
        """Whether the scan found nobody, the profile allows that, and the ledger says so."""
        return STAND_ASIDE in self.events and self.sleeve.profile.stand_aside

    @property
    def atoms(self) -> list[Winner]:
        """Winners that enrichment kept: the atoms that everything after it is about."""
        winners = self[layout.WINNERS].winners
        if not self.has(layout.ENRICHED):
            return winners
        kept = {entry.atom_id for entry in self[layout.ENRICHED].winners}
        return [winner for winner in winners if winner.atom_id in kept]


@cache
def schemas() -> dict[str, Any]:
    """Return what each row of the table opens as, by path: the argument of its annotation."""
    hints = get_type_hints(layout, localns={"doc": artifacts, "pl": pl})
    rows = {name: row for name, row in vars(layout).items() if isinstance(row, Artifact)}
    return {row: get_args(hints[name])[0] for name, row in rows.items()}


def _parse(artifact: str, path: Path, data: bytes) -> Any:
    """Make of bytes what the table says, by the kind of file; a file below a folder is of the folder's schema."""
    if artifact.endswith(".parquet"):
        return _frame(path, data)
    if not artifact.endswith(".json"):
        return data.decode(errors="replace")
    try:
        value = json.loads(data)
    except ValueError as error:
        raise IntegrityError(f"file is not JSON: {error}", where=str(path), hint="run: assay verify") from error
    row = layout.describe(artifact)
    schema = schemas()[row] if row is not None else dict
    if isinstance(schema, type) and issubclass(schema, Document):
        return artifacts.validated(schema, value, path)
    if not isinstance(value, dict):
        raise IntegrityError("file is not a JSON object", where=str(path), hint="run: assay verify")
    return value


def _frame(path: Path, data: bytes) -> pl.DataFrame:
    try:
        return pl.read_parquet(data)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IntegrityError(f"table cannot be read: {first}", where=str(path), hint="run: assay verify") from error


# --- leaving: what the gates read before there was a Run -------------------------------------------------------------

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
