"""What is asked for of a run, sleeve or portfolio of sleeves; it crosses process borders and becomes the manifest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from assay.base import files
from assay.base.domain import format_instant, parse_as_of
from assay.base.errors import IntegrityError, LedgerError
from assay.runs.artifacts import LEDGER, MANIFEST
from assay.runs.documents import Pin as Pin
from assay.runs.ledger import read_ledger
from assay.runs.registry import Registration
from assay.runs.run import Run
from assay.runs.verify import FORMAT
from assay.settings.model import MetaProfile, Profile, Scanner

KIND = "meta"
"""What the manifest of a meta-portfolio calls itself; a sleeve's has no kind."""


@dataclass(frozen=True, kw_only=True)
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
    trials : dict
        Earlier trials and their Sharpe ratios, from the registry when the flow started.
    resume : bool
        Go on with a run that ended early.
    """

    home: Path
    run: Path
    profile: Profile | MetaProfile
    provenance: Mapping[str, str]
    source: str
    lake: str
    as_of: dt.datetime
    trials: Mapping[str, Any]
    resume: bool = False

    @property
    def key(self) -> str:
        """Hash of what is tried: settings, data and date, without the run's name or what was tried before."""
        raise NotImplementedError

    def manifest(self) -> dict[str, Any]:
        """Return what ``config/resolved_manifest.json`` says of the request."""
        return {
            "format": FORMAT,
            "run_id": self.run.name,
            "profile": self.profile.model_dump(mode="json"),
            "provenance": dict(self.provenance),
            "source": self.source,
            "lake": {"folder": self.lake},
            "as_of": format_instant(self.as_of),
            "trials": dict(self.trials),
        }

    @classmethod
    def of(cls, home: Path, run: Path) -> Self:
        """Return the request that a run's manifest records.

        Raises
        ------
        IntegrityError
            If the manifest is missing, incomplete, or of a newer format.
        """
        manifest = Run(run)[MANIFEST]
        try:
            shared = {name: manifest[name] for name in ("provenance", "source", "trials")}
            where = {"home": home, "run": run, "lake": manifest["lake"]["folder"]}
            return cls(**shared, **where, as_of=parse_as_of(manifest["as_of"]), **cls._own(manifest))
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"manifest is incomplete: {error}", where=str(run / MANIFEST), hint="run: assay verify"
            ) from error

    @classmethod
    def _own(cls, manifest: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Request(Job):
    """What is asked for of a sleeve.

    Attributes
    ----------
    scanners : dict of Scanner
        All scanners, since together they make the superset.
    head, tables : int, dict
        The head of the lake that the run is pinned to, and its table versions.
    superset, superset_sha256 : str, str
        The superset that discovery reads, relative to the home folder, and its hash.
    provider : str
        Who answered the scanners in the superset.
    """

    profile: Profile
    scanners: Mapping[str, Scanner]
    head: int
    tables: Mapping[str, int]
    superset: str
    superset_sha256: str
    provider: str = "ratings"

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
        return super().manifest() | {
            "scanners": {name: scanner.model_dump(mode="json") for name, scanner in self.scanners.items()},
            "lake": {"folder": self.lake, "head": self.head, "tables": dict(self.tables)},
            "superset": {"path": self.superset, "sha256": self.superset_sha256, "provider": self.provider},
        }

    @classmethod
    def _own(cls, manifest: Mapping[str, Any]) -> dict[str, Any]:
        lake, superset = manifest["lake"], manifest["superset"]
        return {
            "profile": Profile.model_validate(manifest["profile"]),
            "scanners": {name: Scanner.model_validate(value) for name, value in manifest["scanners"].items()},
            "head": lake["head"],
            "tables": lake["tables"],
            "superset": superset["path"],
            "superset_sha256": superset["sha256"],
            "provider": superset["provider"],
        }


def pin(runs: Path, sleeve: str, run_id: str) -> Pin:
    """Pin a run by what its ledger says now."""
    try:
        sealed = Registration.sealed(read_ledger(runs / run_id / LEDGER))
    except LedgerError:
        return Pin(sleeve, run_id)
    return Pin(sleeve, run_id, sealed.head, sealed.seal, sealed.manifest)


@dataclass(frozen=True, kw_only=True)
class MetaRequest(Job):
    """What is asked for of a portfolio of sleeves.

    Attributes
    ----------
    pins : tuple of Pin
        One for each sleeve of the profile, in its order.
    passed_over : tuple of dict
        Newer runs of these sleeves that were looked at and not taken: ``sleeve``, ``run_id``, ``code``, ``reason``.
    """

    profile: MetaProfile
    pins: tuple[Pin, ...]
    passed_over: tuple[Mapping[str, str], ...]

    @property
    def runs(self) -> Path:
        """Folder of the sleeves."""
        return self.home / "runs"

    @property
    def key(self) -> str:
        """Hash of what is tried: settings, date, and what the sleeves tried; no run's name."""
        tried = [[one.sleeve, one.manifest] for one in self.pins]
        profile = self.profile.model_dump(mode="json")
        return files.content_hash_json({"profile": profile, "sleeves": tried, "as_of": format_instant(self.as_of)})

    def manifest(self) -> dict[str, Any]:
        """Return what ``config/resolved_manifest.json`` says of the request."""
        return super().manifest() | {
            "kind": KIND,
            "sleeves": [asdict(one) for one in self.pins],
            "passed_over": [dict(one) for one in self.passed_over],
        }

    @classmethod
    def _own(cls, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "profile": MetaProfile.model_validate(manifest["profile"]),
            "pins": tuple(Pin(**one) for one in manifest["sleeves"]),
            "passed_over": tuple(manifest["passed_over"]),
        }


def request_of(home: Path, run: Path) -> Request | MetaRequest:
    """Return the request that the manifest of a run of either kind records."""
    return (MetaRequest if files.read_json(run / MANIFEST).get("kind") == KIND else Request).of(home, run)
