"""A run directory: every artifact opened once, checked against its row of the table, and remembered by its hash."""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import polars as pl

from assay.base.errors import IntegrityError, RunFailed
from assay.base.files import LARGEST_JSON, parse_json, read, sha256
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.runs.artifacts import Artifact, Kind
from assay.runs.documents import Document, Pin, Ruins, Winner
from assay.runs.ledger import broken, read_ledger
from assay.runs.request import MetaRequest, Request
from assay.runs.verify import FORMAT, Entry, Story

T = TypeVar("T")

STAND_ASIDE = "STAND_ASIDE"
"""Event of a run whose scan found nobody and whose profile allows that."""


OLDER_FORMAT = "OLDER_FORMAT"
MAKERS = {1: "assay-portfolio 0.1.0 of commit 883582d"}
"""Who makes and judges runs of a former format."""


class Run:
    """The one reader of a run directory, of a sleeve or of a portfolio of sleeves.

    ``run[WINNERS]`` is what the table says: a document, a frame, a JSON object or a text. ``run.get(WINNERS)`` is the
    same, or None with the reason in ``run.faults``. Everything is read once; a new object looks again.

    Attributes
    ----------
    folder : Path
        The run directory.
    runs : Path
        Where the sleeves of a portfolio lie; beside it unless told otherwise.
    faults : dict
        Path to what is wrong with it, in words, for what :meth:`get` could not give.
    read : dict
        Path to SHA-256 of the bytes of everything that was opened (ledger and status excepted, which grow): the inputs
        of the step that opened it.
    """

    def __init__(self, folder: Path, runs: Path | None = None) -> None:
        self.folder = folder
        self.runs = runs or folder.parent
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
            If it is missing, cannot be read, or lies in a folder that is a link.
        """
        linked = [folder for folder in Path(path).parents if (self.folder / folder).is_symlink() and folder.name]
        if linked:
            where = str(self.folder / linked[0])
            raise IntegrityError("folder cannot be read: it is a symbolic link", where=where, hint="run: assay verify")
        data = read(self.folder / path, None if path.endswith(".parquet") else LARGEST_JSON)
        if path not in (layout.LEDGER, layout.STATUS):
            self.read[str(path)] = sha256(data)
        return data

    @cached_property
    def kind(self) -> Kind:
        """``run`` for a sleeve, ``meta`` for a portfolio of sleeves: by its manifest, else by its files."""
        manifest = self.get(layout.MANIFEST)
        meta = self.has(layout.META_SLEEVES) if manifest is None else manifest.get("kind") == "meta"
        return "meta" if meta else "run"

    @cached_property
    def manifest(self) -> Request | MetaRequest:
        """What was asked for, as step 1 wrote it; IntegrityError if a value is missing, or its format is newer."""
        return self.of_portfolio if self.kind == "meta" else self.of_sleeve

    @cached_property
    def of_sleeve(self) -> Request:
        """The manifest of a sleeve."""
        return Request.recorded(self.runs.parent, self.folder, self[layout.MANIFEST])

    @cached_property
    def of_portfolio(self) -> MetaRequest:
        """The manifest of a portfolio."""
        return MetaRequest.recorded(self.runs.parent, self.folder, self[layout.MANIFEST])

    def check_format(self) -> None:
        """Refuse a run of a former version, which was made by other rules, where these rules would judge it.

        Raises
        ------
        RunFailed
            ``OLDER_FORMAT``: the run may be sound, and this version cannot tell.
        """
        manifest = self.get(layout.MANIFEST)
        told = FORMAT if manifest is None else manifest.get("format", 1)
        if told in MAKERS:
            what = f"the run is of format {told}, made by former rules; this version judges format {FORMAT}"
            hint = f"{MAKERS[told]} can judge it; here verify, status, report and compare take it; or run it again"
            raise RunFailed(what, where=self.folder.name, hint=hint, code=OLDER_FORMAT)

    @property
    def accepted(self) -> list[Pin]:
        """Sleeves that a portfolio accepted, as its manifest pins them."""
        accepted = {facts.sleeve for facts in self[layout.META_SLEEVES].accepted}
        return [one for one in self.of_portfolio.pins if one.sleeve in accepted]

    def beside(self, run_id: str) -> Run:
        """Return another run of the same home."""
        return Run(self.runs / run_id, self.runs)

    @property
    def leaf(self) -> Run:
        """The run itself, or the first sleeve of coins behind a portfolio."""
        return self.beside(self.accepted[0].run_id).leaf if self.kind == "meta" else self

    @property
    def books(self) -> Ruins:
        """What became of the books."""
        return self[layout.META_ANALYSIS] if self.kind == "meta" else self[layout.PRESERVATION]

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
        """Whether the scan found nobody, the profile allows that, and the ledger says so; never a portfolio."""
        return self.kind == "run" and STAND_ASIDE in self.events and self.of_sleeve.profile.stand_aside

    @cached_property
    def atoms(self) -> list[Winner]:
        """Winners that enrichment kept: the atoms that everything after it is about."""
        winners = self[layout.WINNERS].winners
        if not self.has(layout.ENRICHED):
            return winners
        kept = {entry.atom_id for entry in self[layout.ENRICHED].winners}
        return [winner for winner in winners if winner.atom_id in kept]


def counted_days(returns: pl.DataFrame) -> pl.DataFrame:
    """Return the days of a walk-forward on which statistics and portfolios stand: all its tranches are filled.

    >>> counted_days(pl.DataFrame({"ret": [0.1, 0.2], "counted": [False, True]}))["ret"].to_list()
    [0.2]
    """
    return returns.filter("counted") if "counted" in returns.columns else returns


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
    value = parse_json(data, path)
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
