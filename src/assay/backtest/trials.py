"""What was tried in a home: the registry's manifests, and the walk-forward returns that their runs left.

The registry says what counts; a run directory is believed only where its ledger is the one that the registry names
and the file is the one that the ledger names. Equal manifests count once. Of runs with equal settings, which differ
in date or data only, the latest stands for all among the alternatives: a strategy that is run every day is one thing
that was tried, not hundreds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.base import files
from assay.base.errors import AssayError, IntegrityError
from assay.runs import artifacts as layout
from assay.runs.ledger import read_ledger
from assay.runs.registry import Registration, count, entries
from assay.runs.request import MetaRequest, Request
from assay.runs.run import Run
from assay.settings.resolve import dotted

if TYPE_CHECKING:
    from assay.backtest.overfitting import Alternative, Excluded

CANON = ("default", "canon.toml")
"""Origins of values that nobody changed."""
DEEPEST = 8
"""Portfolios within portfolios that are told apart by their sleeves' settings."""


@dataclass(frozen=True)
class Trial:
    """One manifest of the registry."""

    manifest: str
    """Hash of what was asked for."""
    profile: str
    runs: list[str]
    """Runs of this manifest, in the order in which they were sealed."""
    run: str
    """The one that stands for it: the first whose directory is whole."""
    sharpe: dict[str, float | None]
    """Risk profile to annual Sharpe ratio of the whole walk-forward, as the registry has it."""
    as_of: str | None = None
    source: str | None = None
    """From the manifest; None where the run directory is gone."""
    changed: dict[str, Any] = field(default_factory=dict)
    """Dotted settings that came from elsewhere than the canon."""
    settings: str | None = None
    """Hash of profile and scanners; a portfolio has none of its own."""
    fault: str | None = None
    """Why its returns cannot be used."""


@dataclass(frozen=True)
class Trials:
    """Everything that was tried, and the alternatives among which one chose."""

    trials: list[Trial]
    alternatives: list[Alternative]
    excluded: list[Excluded]


def read_trials(registry: Path, runs: Path) -> Trials:
    """Read what was tried.

    Parameters
    ----------
    registry : Path
        The registry of runs.
    runs : Path
        Folder of run directories.

    Raises
    ------
    LedgerError
        If the registry is broken: a number taken from it would not be evidence.
    """
    from assay.backtest.overfitting import Excluded  # SciPy, which nobody needs who only counts

    groups: dict[str, list[Registration]] = {}
    for registration in entries(registry):
        groups.setdefault(registration.manifest, []).append(registration)
    trials = [_trial(manifest, group, runs) for manifest, group in groups.items()]
    latest = _latest(trials)
    alternatives: list[Alternative] = []
    excluded: list[Excluded] = []
    for trial in trials:
        standing = latest.get(trial.settings or "", trial)
        if trial.fault is not None:
            excluded.append(Excluded(trial.run, trial.fault))
        elif standing is not trial:
            what = f"has the settings of {standing.run}, which is of a later date or of other data"
            excluded.append(Excluded(trial.run, what))
        else:
            alternatives += _alternatives(trial, runs)
    return Trials(trials, alternatives, excluded)


def counted(registry: Path, runs: Path, besides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Count the sets of settings that were tried, whatever the date, the run or the state of the lake.

    A month of daily runs of one profile is one trial, of which the latest record stands. A run that was never sealed
    counts once the statistics of its walk-forward could be read: who looked has tried.

    Parameters
    ----------
    registry : Path
        The registry of runs.
    runs : Path
        Folder of run directories; a sealed run whose manifest is gone or changed counts by itself.
    besides : mapping, optional
        Manifest of what is about to be tried, whose set is not counted.

    Returns
    -------
    dict
        As :func:`assay.runs.registry.trials`.

    Raises
    ------
    LedgerError
        If the registry is broken: a number taken from it would not be evidence.
    """
    sealed = entries(registry)
    records: list[tuple[str, Mapping[str, Any]]] = []
    for one in sealed:
        asked = _asked(runs / one.run_id)
        known = asked is not None and asked[1] == one.manifest
        records.append((_set(runs, asked[0]) if asked is not None and known else one.manifest, one.performance))
    entered = {one.run_id for one in sealed}
    for name in sorted(path.name for path in runs.glob("*") if path.is_dir() and path.name not in entered):
        as_run = (Run(runs / name).get(layout.WALK_STATISTICS) or {}).get("as_run")
        if isinstance(as_run, dict) and (asked := _asked(runs / name)) is not None:
            looks = {
                risk_profile: each.get("sharpe") for risk_profile, each in as_run.items() if isinstance(each, dict)
            }
            records.append((_set(runs, asked[0]), looks))
    latest: dict[str, dict[str, float]] = {}
    for settings, performance in records:
        sharpes = {
            name: ratio for name, ratio in performance.items() if isinstance(ratio, (int, float)) and isfinite(ratio)
        }
        if sharpes:
            latest[settings] = sharpes
    if besides is not None:
        latest.pop(_set(runs, besides), None)
    return count(list(latest.values()))


def _asked(run: Path) -> tuple[dict[str, Any], str] | None:
    """Return a run's manifest, and the hash by which the registry knows it; None where it is no request's."""
    manifest = Run(run).get(layout.MANIFEST) or {}
    try:
        request = (MetaRequest if manifest.get("kind") == "meta" else Request).recorded(Path(), Path(), manifest)
    except IntegrityError:
        return None
    return manifest, request.key


def _set(runs: Path, manifest: Mapping[str, Any], depth: int = 0) -> str:
    """Return the hash of the settings that can change a decision or a cost, and of the family of the source."""
    profile, superset = manifest["profile"], manifest.get("superset")
    tried: dict[str, Any] = {
        "profile": {name: profile[name] for name in profile if name != "limits"},
        "scanners": manifest.get("scanners"),
        "source": manifest["lake"].get("folder"),
        "provider": superset.get("provider") if isinstance(superset, Mapping) else None,
    }
    if manifest.get("kind") == "meta":
        below = {one["sleeve"]: (one, _asked(runs / one["run_id"])) for one in manifest["sleeves"]}
        deeper = depth < DEEPEST
        tried["sleeves"] = {
            name: _set(runs, found[0], depth + 1) if found is not None and deeper else one["manifest"]
            for name, (one, found) in below.items()
        }
    return files.content_hash_json(tried)


def _latest(trials: list[Trial]) -> dict[str, Trial]:
    """Map settings to the trial of the latest date that has them; of several, the one that was made first."""
    latest: dict[str, Trial] = {}
    for trial in trials:
        if trial.settings is not None:
            rival = latest.get(trial.settings, trial)
            latest[trial.settings] = trial if (trial.as_of or "") > (rival.as_of or "") else rival
    return latest


def _trial(manifest: str, group: list[Registration], runs: Path) -> Trial:
    names = [registration.run_id for registration in group]
    faults = []
    for registration in group:
        known = Trial(manifest, registration.profile, names, registration.run_id, dict(registration.performance))
        try:
            return _described(known, registration, runs / registration.run_id)
        except AssayError as error:
            faults.append((known, error.what))
    first, fault = faults[0]
    return replace(first, fault=fault)


def _described(trial: Trial, registration: Registration, run: Path) -> Trial:
    """Add what the run directory says, once it is known to be the one that was sealed."""
    if not run.is_dir():
        raise IntegrityError("its run directory is gone", where=str(run))
    ledger = read_ledger(run / layout.LEDGER)
    if not ledger or ledger[-1].hash != registration.head:
        raise IntegrityError("its ledger is not the one that the registry names", where=str(run))
    recorded = {
        name: record["sha256"]
        for entry in ledger
        if entry.kind == "outcome" and entry.body["state"] == "ok"
        for name, record in entry.body["outputs"].items()
    }
    for name in (layout.MANIFEST, layout.WALK_RETURNS):
        path = run / name
        if not path.is_file() or files.sha256_file(path) != recorded.get(name):
            raise IntegrityError(f"{name} is not what its ledger records", where=str(path))
    manifest = files.read_json(run / layout.MANIFEST)
    values, origins = dotted(manifest["profile"]), manifest["provenance"]
    return replace(
        trial,
        as_of=manifest["as_of"],
        source=manifest["source"],
        changed={name: values[name] for name in sorted(values) if origins.get(name, CANON[0]) not in CANON},
        settings=files.content_hash_json({"profile": manifest["profile"], "scanners": manifest.get("scanners")}),
    )


def _alternatives(trial: Trial, runs: Path) -> list[Alternative]:
    from assay.backtest.overfitting import Alternative

    table = Run(runs / trial.run)[layout.WALK_RETURNS].sort("risk_profile", "date")
    return [
        Alternative(
            name=f"{trial.run} {name}",
            days=part["date"].to_numpy().astype("datetime64[D]"),
            returns=part["ret"].to_numpy().astype(np.float64),
        )
        for (name,), part in table.group_by("risk_profile", maintain_order=True)
    ]
