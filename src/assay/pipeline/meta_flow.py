"""From a meta-portfolio's name to its run: settings checked, sleeves found or run, all executed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from assay.base import files
from assay.base.domain import UTC, format_instant, parse_as_of
from assay.base.errors import GateError, ProfileError, UsageError
from assay.gates import eligibility
from assay.gates.eligibility import Terms
from assay.pipeline.flow import at_once, execute_watched, lay_foundation, recorded, requests, run_watched, workforce
from assay.runs import artifacts as layout
from assay.runs.documents import Pin, Refusal
from assay.runs.home import Home, Status, claim
from assay.runs.request import MetaRequest, pin, weakened_by_sleeves
from assay.sources.acceptance import NOTHING_ACCEPTED, Acceptance

if TYPE_CHECKING:
    from pathlib import Path

    from assay.runs.home import RunResult
    from assay.settings import Catalog
    from assay.settings.model import Execution, MetaProfile


@dataclass(frozen=True)
class Ground:
    """What all sleeves of a meta-portfolio stand on."""

    source: str
    lake: str
    as_of: dt.datetime


def run(
    home: Home,
    catalog: Catalog,
    name: str,
    pinned: Sequence[str],
    source: str | None,
    as_of: str | None,
    run_id: str | None,
    execution: Execution,
    missing: bool,
    *,
    again: bool = False,
    accept: Acceptance = NOTHING_ACCEPTED,
) -> RunResult:
    """Make a meta-portfolio.

    Parameters
    ----------
    pinned : sequence of str
        Run ids, or paths to runs of this home, of some or all sleeves; the others are found, or run.
    source, as_of : str or None
        By default those of the pinned runs; without any, the sample as of its last bar.
    missing : bool
        Run sleeves that have no run on that date; else they are refused.
    again : bool
        Take over the directory ``run_id`` of a run that died before it had written its manifest.
    accept : Acceptance
        Ruined sleeves that are taken all the same.
    """
    profile = check(catalog, name)
    chosen = _pinned(home, profile, pinned)
    ground = _ground(home, catalog, list(chosen.values()), source, as_of)
    return make(home, catalog, profile, chosen, ground, run_id, execution, missing, again=again, accept=accept)


def is_resumable(home: Home, run_id: str) -> bool:
    """Whether a run recorded what it was asked for; one that did not begins again in its directory.

    Raises
    ------
    UsageError
        If there is no such run.
    """
    return (home.run(run_id) / layout.MANIFEST).is_file()


def resume(home: Home, run_id: str) -> RunResult:
    """Go on with a meta-portfolio that ended early."""
    return execute_watched(replace(MetaRequest.of(home.path, home.run(run_id)), resume=True))


def check(catalog: Catalog, name: str, above: tuple[str, ...] = ()) -> MetaProfile:
    """Return the settings of a meta-portfolio whose sleeves exist and do not contain it.

    Raises
    ------
    GateError
        ``META_CYCLE``.
    ProfileError
        If a sleeve is neither a profile nor a meta-portfolio, or stands twice.
    """
    if name in above:
        way = " holds ".join((*above, name))
        raise GateError(
            f"{way}: a portfolio cannot hold itself", where=f"meta.{name}", hint="mend sleeves", code=eligibility.CYCLE
        )
    profile = catalog.meta(name)
    if len(set(profile.sleeves)) != len(profile.sleeves):
        raise ProfileError("a sleeve stands twice", where=f"meta.{name}.sleeves", hint="name each sleeve once")
    for sleeve in profile.sleeves:
        if sleeve in catalog.names("meta"):
            check(catalog, sleeve, (*above, name))
        else:
            catalog.profile(sleeve)
    return profile


def _pinned(home: Home, profile: MetaProfile, names: Sequence[str]) -> dict[str, Path]:
    """Map sleeves to the runs that were named for them."""
    chosen: dict[str, Path] = {}
    for name in names:
        folder = home.run(name)
        if folder.parent.resolve() != home.runs.resolve():
            raise UsageError(f"{name} is not a run of this home", where=str(home.runs), hint="choose --home")
        path = folder / layout.MANIFEST
        sleeve = str(files.read_json(path)["profile"]["name"]) if path.is_file() else Status.read(folder).profile
        if sleeve not in profile.sleeves:
            hint = f"its sleeves are {', '.join(profile.sleeves)}"
            raise UsageError(f"{name} is of {sleeve}, no sleeve of {profile.name}", where=name, hint=hint)
        if sleeve in chosen:
            raise UsageError(f"two runs of {sleeve}", where=name, hint="pin one run for each sleeve")
        chosen[sleeve] = folder
    return chosen


def _ground(home: Home, catalog: Catalog, chosen: list[Path], source: str | None, as_of: str | None) -> Ground:
    """Take source, lake and date from the newest pinned run, or lay the foundation of a source."""
    manifests = [files.read_json(run / layout.MANIFEST) for run in chosen if (run / layout.MANIFEST).is_file()]
    if manifests and source is None:
        newest = max(manifests, key=lambda manifest: parse_as_of(manifest["as_of"]))
        instant = parse_as_of(as_of if as_of is not None else newest["as_of"])
        return Ground(newest["source"], newest["lake"]["folder"], instant)
    found = lay_foundation(home, catalog, source or "sample", as_of)
    return Ground(found.source, found.lake.folder.relative_to(home.path).as_posix(), found.as_of)


def make(
    home: Home,
    catalog: Catalog,
    profile: MetaProfile,
    chosen: dict[str, Path],
    ground: Ground,
    run_id: str | None,
    execution: Execution,
    missing: bool,
    *,
    again: bool = False,
    accept: Acceptance = NOTHING_ACCEPTED,
) -> RunResult:
    """Find or run the sleeves, claim a directory, and execute the meta-portfolio."""
    found, passed = _find(home, catalog, profile, chosen, ground)
    lacking = [sleeve for sleeve in profile.sleeves if sleeve not in found]
    if lacking and missing:
        found |= _run_missing(home, catalog, lacking, ground, execution)
    now = dt.datetime.now(UTC)
    pins = tuple(found.get(sleeve, Pin(sleeve, "")) for sleeve in profile.sleeves)
    request = MetaRequest(
        home=home.path,
        run=claim(home.runs, profile.name, run_id, now, again=again),
        profile=profile,
        provenance=catalog.provenance(profile.name, "meta"),
        pins=pins,
        passed_over=tuple(refusal.model_dump() for refusal in passed),
        weakened_sleeves=weakened_by_sleeves(home.runs, pins),
        accepted=accept.notes,
        source=ground.source,
        lake=ground.lake,
        as_of=ground.as_of,
        resume=again,
    )
    return execute_watched(recorded(request, now))


def _find(
    home: Home, catalog: Catalog, profile: MetaProfile, chosen: dict[str, Path], ground: Ground
) -> tuple[dict[str, Pin], list[Refusal]]:
    terms = Terms(home.runs, profile, ground.as_of, ground.lake)
    latest = _latest_first(home)
    found, passed = {}, []
    for sleeve in profile.sleeves:
        if sleeve in chosen:
            found[sleeve] = pin(home.runs, sleeve, chosen[sleeve].name)
            continue
        one, over = eligibility.choose(terms, sleeve, _settings(catalog, sleeve), latest)
        passed += over
        if one is not None:
            found[sleeve] = one
    return found, passed


def _settings(catalog: Catalog, sleeve: str) -> dict[str, Any]:
    one = catalog.meta(sleeve) if sleeve in catalog.names("meta") else catalog.profile(sleeve)
    return one.model_dump(mode="json")


def _latest_first(home: Home) -> list[str]:
    """Run ids by when they started, the latest first; directories without a status last."""

    def started(name: str) -> str:
        path = home.runs / name / layout.STATUS
        return str(files.read_json(path).get("started", "")) if path.is_file() else ""

    return sorted(home.run_ids(), key=lambda name: (started(name), name), reverse=True)


def _run_missing(
    home: Home, catalog: Catalog, lacking: Sequence[str], ground: Ground, execution: Execution
) -> dict[str, Pin]:
    """Run sleeves that have no run on the date; those that fail are pinned as they ended, for the gate to name."""
    nested = [sleeve for sleeve in lacking if sleeve in catalog.names("meta")]
    plain = [sleeve for sleeve in lacking if sleeve not in nested]
    outcomes: list[RunResult] = []
    if plain:
        with workforce(execution.use or "pool", at_once(execution, len(plain)), home) as executor:
            foundation = lay_foundation(home, catalog, ground.source, format_instant(ground.as_of))
            outcomes += run_watched(executor, requests(home, catalog, foundation, plain))
    for sleeve in nested:
        outcomes.append(make(home, catalog, check(catalog, sleeve), {}, ground, None, execution, True))
    return {outcome.profile: pin(home.runs, outcome.profile, outcome.run_id) for outcome in outcomes}
