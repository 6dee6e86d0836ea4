"""What a step has in hand: its run directory, its settings, its ledger and the pinned lake."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from assay.base import files
from assay.base.domain import format_instant, parse_as_of
from assay.base.errors import IntegrityError
from assay.executors import Executor, Serial
from assay.runs import documents as artifacts
from assay.runs.artifacts import MANIFEST
from assay.settings.model import MetaProfile, Profile, Scanner

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from assay.lake.lake import Snapshot
    from assay.market.panel import Market
    from assay.runs.ledger import Ledger

D = TypeVar("D", bound=artifacts.Document)


class Job(Protocol):
    """What the runner needs to know of anything that it executes: a sleeve, or a portfolio of sleeves."""

    @property
    def home(self) -> Path:
        """Home folder."""

    @property
    def run(self) -> Path:
        """The claimed run directory."""

    @property
    def profile(self) -> Profile | MetaProfile:
        """Resolved settings: name and limits."""

    @property
    def resume(self) -> bool:
        """Go on with a run that ended early."""

    @property
    def key(self) -> str:
        """Hash of what is tried."""

    def open(self, ledger: Ledger) -> Workspace:
        """Return what the steps of this job work with."""


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


@dataclass(frozen=True)
class Request:
    """Everything that one run needs to know; it crosses process borders and becomes the manifest.

    Attributes
    ----------
    home, run : Path
        Home folder, and the claimed run directory.
    profile, scanners : Profile, dict of Scanner
        Resolved settings; all scanners, since together they make the superset.
    provenance : dict
        Dotted setting to the place that its value came from.
    source : str
        ``sample`` or ``parquet:PATH``, as the user wrote it.
    lake, head, tables : str, int, dict
        Lake folder relative to the home folder, the head that the run is pinned to, and its table versions.
    superset, superset_sha256 : str, str
        The superset that discovery reads, relative to the lake, and its hash.
    as_of : datetime
        Instant of the decision.
    trials : dict
        Earlier trials and their Sharpe ratios, from the registry when the flow started.
    provider : str
        Who answered the scanners in the superset.
    """

    home: Path
    run: Path
    profile: Profile
    scanners: Mapping[str, Scanner]
    provenance: Mapping[str, str]
    source: str
    lake: str
    head: int
    tables: Mapping[str, int]
    superset: str
    superset_sha256: str
    as_of: dt.datetime
    trials: Mapping[str, Any]
    resume: bool = False
    provider: str = "ratings"

    def open(self, ledger: Ledger) -> Context:
        """Return what the fifteen steps work with."""
        return Context(self.run, ledger, request=self)

    @property
    def lake_folder(self) -> Path:
        """Absolute folder of the lake."""
        return self.home / self.lake

    @property
    def key(self) -> str:
        """Hash of what is tried: settings, data and date, without the run's name or what was tried before."""
        manifest = self.manifest()
        tried = {name: manifest[name] for name in ("profile", "scanners", "lake", "as_of")}
        return files.content_hash_json(tried | {"provider": self.provider})

    def manifest(self) -> dict[str, Any]:
        """Return what ``config/resolved_manifest.json`` says of the request."""
        return {
            "run_id": self.run.name,
            "profile": self.profile.model_dump(mode="json"),
            "scanners": {name: scanner.model_dump(mode="json") for name, scanner in self.scanners.items()},
            "provenance": dict(self.provenance),
            "source": self.source,
            "lake": {"folder": self.lake, "head": self.head, "tables": dict(self.tables)},
            "superset": {"path": self.superset, "sha256": self.superset_sha256, "provider": self.provider},
            "as_of": format_instant(self.as_of),
            "trials": dict(self.trials),
        }

    @classmethod
    def of(cls, home: Path, run: Path) -> Self:
        """Return the request that a run's manifest records.

        Raises
        ------
        IntegrityError
            If the manifest is missing or incomplete.
        """
        manifest = files.read_json(run / MANIFEST)
        try:
            return cls(
                home=home,
                run=run,
                profile=Profile.model_validate(manifest["profile"]),
                scanners={name: Scanner.model_validate(value) for name, value in manifest["scanners"].items()},
                provenance=manifest["provenance"],
                source=manifest["source"],
                lake=manifest["lake"]["folder"],
                head=manifest["lake"]["head"],
                tables=manifest["lake"]["tables"],
                superset=manifest["superset"]["path"],
                superset_sha256=manifest["superset"]["sha256"],
                as_of=parse_as_of(manifest["as_of"]),
                trials=manifest["trials"],
                provider=manifest["superset"]["provider"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"manifest is incomplete: {error}", where=str(run / MANIFEST), hint="run: assay verify"
            ) from error


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
        from assay.lake.lake import pin

        return pin(self.request.lake_folder, self.request.head)

    @property
    def market(self) -> Market:
        """Bars and ratings that the run may look at: the walk-forward's days and a lookback before them."""
        from assay.backtest.decision import history_days

        days = history_days(self.profile, self.as_of)
        return load_market(self.request.lake_folder, self.request.head, self.as_of, days)


@lru_cache(maxsize=2)
def load_market(lake: Path, head: int, as_of: dt.datetime, days: int) -> Market:
    """Read the panel once for all runs that one process executes on one head."""
    from assay.lake.lake import pin

    return pin(lake, head).market(as_of, days)
