"""What is asked for of a run, sleeve or portfolio of sleeves; it crosses process borders and becomes the manifest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, field
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AliasPath, ConfigDict, Field
from pydantic.dataclasses import dataclass

from assay.base import files
from assay.base.domain import MIXED_EDITION, format_instant
from assay.base.errors import IntegrityError, LedgerError
from assay.runs.artifacts import LEDGER, MANIFEST
from assay.runs.documents import Pin, validated
from assay.runs.home import weakened_in
from assay.runs.ledger import read_ledger
from assay.runs.registry import Registration
from assay.runs.verify import FORMAT, newer
from assay.settings.model import DRAWDOWN_LIMIT, HEADLINE, Margin, MetaProfile, Profile, Scanner
from assay.settings.weakened import weakened

# A manifest nests some of what is flat here: it is read by these paths, everything else by name.
_READ = ConfigDict(validate_by_name=True, validate_by_alias=True, extra="ignore")


ADDED: dict[str, Any] = {
    "headline": HEADLINE,
    "margin": Margin().model_dump(mode="json"),
    "drawdown_limit": DRAWDOWN_LIMIT,
    "walk_forward.tranches": None,
    "walk_forward.seed": 0,
    "caps.atom_short": 0.10,
    "caps.cluster_short": 0.25,
    "caps.cluster_short_turbulent": 0.20,
    "caps.cluster_short_crisis": 0.15,
}
"""Settings that format 1 did not have, by their dotted names, with their defaults."""


@dataclass(frozen=True, kw_only=True, config=_READ)
class Job:
    """What is asked for of a run of either kind.

    Attributes
    ----------
    home, run : Path
        Home folder, and the claimed run directory.
    profile : Profile or MetaProfile
        Resolved settings.
    provenance : dict
        Dotted setting to the place that its value came from.
    source : str
        ``sample`` or ``parquet:PATH``, as the user wrote it.
    lake : str
        Lake folder relative to the home folder; all sleeves of a portfolio must have read it.
    as_of : datetime
        Instant of the decision.
    flow : tuple of str
        Runs that are made together, this one among them.
    resume : bool
        Go on with a run that ended early.
    """

    home: Path
    run: Path
    profile: Profile | MetaProfile
    provenance: dict[str, str]
    source: str
    lake: Annotated[str, Field(validation_alias=AliasPath("lake", "folder"))]
    as_of: dt.datetime
    flow: tuple[str, ...] = ()
    resume: bool = False

    @property
    def key(self) -> str:
        """Hash of what is tried: settings, data and date, without the run's name or those beside it."""
        raise NotImplementedError

    @property
    def weakened(self) -> tuple[str, ...]:
        """Rules of the canon that settings make weaker, each with both values."""
        return weakened(self.profile)

    def _settings(self) -> dict[str, Any]:
        """Return settings as format 1 hashed them: what it did not have is told where it is not the default."""
        told = self.profile.model_dump(mode="json")
        for name, usual in ADDED.items():
            *groups, last = name.split(".")
            table = reduce(lambda part, group: part.get(group, {}), groups, told)
            if last in table and table[last] == usual:
                del table[last]
        return told

    def manifest(self) -> dict[str, Any]:
        """Return what ``config/resolved_manifest.json`` says of the request."""
        return {
            "format": FORMAT,
            "run_id": self.run.name,
            "profile": self.profile.model_dump(mode="json"),
            "provenance": self.provenance,
            "weakened": list(self.weakened),
            "source": self.source,
            "lake": {"folder": self.lake},
            "as_of": format_instant(self.as_of),
            "flow": list(self.flow or (self.run.name,)),
        }

    @classmethod
    def of(cls, home: Path, run: Path) -> Self:
        """Return the request that a run's manifest records.

        Raises
        ------
        IntegrityError
            If the manifest is missing, incomplete, or of a newer format (``NEWER_FORMAT``).
        """
        return cls.recorded(home, run, files.read_json(run / MANIFEST))

    @classmethod
    def recorded(cls, home: Path, run: Path, manifest: Any) -> Self:
        """Return what a manifest records; IntegrityError if it is incomplete or of a newer format."""
        where, told = run / MANIFEST, manifest if isinstance(manifest, dict) else {}
        if fault := newer(told):
            hint = "install the version that wrote it"
            raise IntegrityError(fault, where=str(where), hint=hint, code="NEWER_FORMAT")
        return validated(cls, {**told, "home": home, "run": run}, where)


@dataclass(frozen=True, kw_only=True, config=_READ)
class Request(Job):
    """What is asked for of a sleeve.

    Attributes
    ----------
    scanners : dict of Scanner
        All scanners, since together they make the superset.
    head, tables : int, dict
        The head of the lake that the run is pinned to, and its table versions.
    roots, state, fingerprint : dict, str, str
        Content of each table, of the head itself and of the source, as the head names them; empty of a lake of a
        former version.
    superset, superset_sha256 : str, str
        The superset that discovery reads, relative to the home folder, and its hash.
    provider : str
        Who answered the scanners in the superset.
    edition : str
        Of the rules by which the head is rated.
    """

    profile: Profile
    scanners: dict[str, Scanner]
    head: Annotated[int, Field(validation_alias=AliasPath("lake", "head"))]
    tables: Annotated[dict[str, int], Field(validation_alias=AliasPath("lake", "tables"))]
    roots: Annotated[dict[str, str], Field(validation_alias=AliasPath("lake", "roots"))] = field(default_factory=dict)
    state: Annotated[str, Field(validation_alias=AliasPath("lake", "state"))] = ""
    fingerprint: Annotated[str, Field(validation_alias=AliasPath("lake", "fingerprint"))] = ""
    superset: Annotated[str, Field(validation_alias=AliasPath("superset", "path"))]
    superset_sha256: Annotated[str, Field(validation_alias=AliasPath("superset", "sha256"))]
    provider: Annotated[str, Field(validation_alias=AliasPath("superset", "provider"))] = "ratings"
    edition: str = MIXED_EDITION

    @property
    def lake_folder(self) -> Path:
        """Absolute folder of the lake."""
        return self.home / self.lake

    @property
    def weakened(self) -> tuple[str, ...]:
        """Rules of the canon that settings of profile or scanners make weaker, each with both values."""
        return weakened(self.profile, self.scanners)

    @property
    def key(self) -> str:
        """Hash of what is tried: settings, data and date, without the run's name or those beside it."""
        manifest = self.manifest()
        tried = {name: manifest[name] for name in ("scanners", "as_of")} | {"profile": self._settings()}
        tried["lake"] = {name: value for name, value in manifest["lake"].items() if name != "state"}
        # A manifest of the first version names no edition, and its line in the registry has the hash without one.
        edition = {} if self.edition == MIXED_EDITION else {"edition": self.edition}
        return files.content_hash_json(tried | edition | {"provider": self.provider})

    def manifest(self) -> dict[str, Any]:
        """Return what ``config/resolved_manifest.json`` says of the request."""
        return super().manifest() | {
            "scanners": {name: scanner.model_dump(mode="json") for name, scanner in self.scanners.items()},
            "lake": self._lake(),
            "edition": self.edition,
            "superset": {"path": self.superset, "sha256": self.superset_sha256, "provider": self.provider},
        }

    def _lake(self) -> dict[str, Any]:
        content = {"roots": self.roots, "state": self.state, "fingerprint": self.fingerprint} if self.roots else {}
        return {"folder": self.lake, "head": self.head, "tables": self.tables, **content}


@dataclass(frozen=True, kw_only=True, config=_READ)
class MetaRequest(Job):
    """What is asked for of a portfolio of sleeves.

    Attributes
    ----------
    pins : tuple of Pin
        One for each sleeve of the profile, in its order.
    passed_over : tuple of dict
        Newer runs of these sleeves that were looked at and not taken: ``sleeve``, ``run_id``, ``code``, ``reason``.
    weakened_sleeves : tuple of str
        What the sleeves' manifests name as weakened, each with its sleeve.
    accepted : tuple of dict
        What is taken though it would be refused: ``code``, ``digest`` and ``because``.
    """

    profile: MetaProfile
    pins: Annotated[tuple[Pin, ...], Field(validation_alias="sleeves")]
    passed_over: tuple[dict[str, str], ...]
    weakened_sleeves: tuple[str, ...] = ()
    accepted: tuple[dict[str, str], ...] = ()

    @property
    def runs(self) -> Path:
        """Folder of the sleeves."""
        return self.home / "runs"

    @property
    def weakened(self) -> tuple[str, ...]:
        """Rules that settings of the portfolio or of a sleeve make weaker, each with both values."""
        return weakened(self.profile) + self.weakened_sleeves

    @property
    def key(self) -> str:
        """Hash of what is tried: settings, date, and what the sleeves tried; no run's name."""
        tried = {"profile": self._settings(), "sleeves": [[one.sleeve, one.manifest] for one in self.pins]}
        codes = [[one["code"], one["digest"]] for one in self.accepted]
        return files.content_hash_json(
            tried | ({"accepted": codes} if codes else {}) | {"as_of": format_instant(self.as_of)}
        )

    def manifest(self) -> dict[str, Any]:
        """Return what ``config/resolved_manifest.json`` says of the request."""
        return super().manifest() | {
            "kind": "meta",
            "sleeves": [asdict(one) for one in self.pins],
            "passed_over": list(self.passed_over),
            "weakened_sleeves": list(self.weakened_sleeves),
            "accepted": list(self.accepted),
        }


def weakened_by_sleeves(runs: Path, pins: Iterable[Pin]) -> tuple[str, ...]:
    """Return what the manifests of pinned sleeves name as weaker than the canon, each with its sleeve."""
    return tuple(f"{one.sleeve}: {text}" for one in pins if one.run_id for text in weakened_in(runs / one.run_id))


def pin(runs: Path, sleeve: str, run_id: str) -> Pin:
    """Pin a run by what its ledger says now."""
    try:
        sealed = Registration.sealed(read_ledger(runs / run_id / LEDGER))
    except LedgerError:
        return Pin(sleeve, run_id)
    return Pin(sleeve, run_id, sealed.head, sealed.seal, sealed.manifest)
