"""What a meta-portfolio asks for: settings, and sleeves pinned by run id, ledger head and seal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from assay.base import files
from assay.base.domain import format_instant, parse_as_of
from assay.base.errors import IntegrityError, LedgerError
from assay.pipeline.request import Workspace
from assay.runs.artifacts import LEDGER, MANIFEST
from assay.runs.ledger import read_ledger
from assay.runs.registry import Registration
from assay.settings.model import MetaProfile

if TYPE_CHECKING:
    from assay.runs.ledger import Ledger

KIND = "meta"
"""What the manifest of a meta-portfolio calls itself; a sleeve's has no kind."""


@dataclass(frozen=True)
class Pin:
    """One sleeve as it was when the run was claimed; hashes are empty where it was not sealed.

    Attributes
    ----------
    sleeve : str
        Profile that the portfolio asks for.
    run_id : str
        Its run; empty where there is none.
    head, seal, manifest : str
        Of its ledger and registration: hash of the last line, of the seal, and of what was asked for.
    """

    sleeve: str
    run_id: str
    head: str = ""
    seal: str = ""
    manifest: str = ""


def pin(runs: Path, sleeve: str, run_id: str) -> Pin:
    """Pin a run by what its ledger says now."""
    try:
        sealed = Registration.sealed(read_ledger(runs / run_id / LEDGER))
    except LedgerError:
        return Pin(sleeve, run_id)
    return Pin(sleeve, run_id, sealed.head, sealed.seal, sealed.manifest)


@dataclass(frozen=True)
class MetaRequest:
    """Everything that one meta-portfolio needs to know; it becomes the manifest.

    Attributes
    ----------
    home, run : Path
        Home folder, and the claimed run directory.
    profile : MetaProfile
        Resolved settings.
    provenance : dict
        Dotted setting to the place that its value came from.
    pins : tuple of Pin
        One for each sleeve of the profile, in its order.
    passed_over : tuple of dict
        Newer runs of these sleeves that were looked at and not taken: ``sleeve``, ``run_id``, ``code``, ``reason``.
    source, lake : str
        Source as the user wrote it, and the lake folder that all sleeves must have read, relative to the home folder.
    as_of : datetime
        Instant of the decision.
    trials : dict
        Earlier trials and their Sharpe ratios, from the registry.
    """

    home: Path
    run: Path
    profile: MetaProfile
    provenance: Mapping[str, str]
    pins: tuple[Pin, ...]
    passed_over: tuple[Mapping[str, str], ...]
    source: str
    lake: str
    as_of: dt.datetime
    trials: Mapping[str, Any]
    resume: bool = False

    def open(self, ledger: Ledger) -> MetaContext:
        """Return what the steps of a meta-portfolio work with."""
        return MetaContext(self.run, ledger, request=self)

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
        return {
            "kind": KIND,
            "run_id": self.run.name,
            "profile": self.profile.model_dump(mode="json"),
            "provenance": dict(self.provenance),
            "sleeves": [asdict(one) for one in self.pins],
            "passed_over": [dict(one) for one in self.passed_over],
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
            If the manifest is missing or incomplete.
        """
        manifest = files.read_json(run / MANIFEST)
        try:
            return cls(
                home=home,
                run=run,
                profile=MetaProfile.model_validate(manifest["profile"]),
                provenance=manifest["provenance"],
                pins=tuple(Pin(**one) for one in manifest["sleeves"]),
                passed_over=tuple(manifest["passed_over"]),
                source=manifest["source"],
                lake=manifest["lake"]["folder"],
                as_of=parse_as_of(manifest["as_of"]),
                trials=manifest["trials"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"manifest is incomplete: {error}", where=str(run / MANIFEST), hint="run: assay verify"
            ) from error


@dataclass
class MetaContext(Workspace):
    """The directory of a meta-portfolio, with its request."""

    request: MetaRequest
    memory: dict[str, Any] = field(default_factory=dict, kw_only=True)
    """What one step computed and a later one of the same process needs again."""

    @property
    def profile(self) -> MetaProfile:
        """Resolved settings."""
        return self.request.profile

    def sleeve_run(self, sleeve: str) -> Path:
        """Return the directory of a pinned sleeve."""
        [run_id] = [one.run_id for one in self.request.pins if one.sleeve == sleeve]
        return self.request.runs / run_id


def is_meta(run: Path) -> bool:
    """Whether a run is a meta-portfolio, by its manifest."""
    path = run / MANIFEST
    if not path.is_file():
        return False
    manifest = files.read_json(path)
    return isinstance(manifest, dict) and manifest.get("kind") == KIND
