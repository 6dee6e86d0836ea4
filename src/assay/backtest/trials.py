"""What was tried in a home: the registry's manifests, and the walk-forward returns that their runs left.

The registry says what counts; a run directory is believed only where its ledger is the one that the registry names
and the file is the one that the ledger names. Equal manifests count once. Of runs with equal settings, which differ
in date or data only, the latest stands for all among the alternatives: a strategy that is run every day is one thing
that was tried, not hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay.backtest.overfitting import Alternative, Excluded
from assay.base import files
from assay.base.errors import AssayError, IntegrityError
from assay.runs import artifacts as layout
from assay.runs.ledger import read_ledger
from assay.runs.registry import Registration, entries
from assay.runs.run import Run
from assay.settings.resolve import dotted

CANON = ("default", "canon.toml")
"""Origins of values that nobody changed."""


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
    table = Run(runs / trial.run)[layout.WALK_RETURNS].sort("risk_profile", "date")
    return [
        Alternative(
            name=f"{trial.run} {name}",
            days=part["date"].to_numpy().astype("datetime64[D]"),
            returns=part["ret"].to_numpy().astype(np.float64),
        )
        for (name,), part in table.group_by("risk_profile", maintain_order=True)
    ]
