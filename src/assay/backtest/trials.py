"""What was tried in a home: the registry's manifests, and the walk-forward returns that their runs left.

The registry says what counts; a run directory is believed only where its ledger is the one that the registry names
and the file is the one that the ledger names. Equal manifests count once. Of runs with equal settings, which differ
in date or data only, the latest stands for all among the alternatives: a strategy that is run every day is one thing
that was tried, not hundreds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.base import files
from assay.base.errors import AssayError, IntegrityError, LedgerError
from assay.runs import artifacts as layout
from assay.runs.ledger import read_ledger
from assay.runs.registry import Begun, Registration, count, entries, until
from assay.runs.registry import begin as enter
from assay.runs.request import MetaRequest, Request
from assay.runs.run import Run, counted_days
from assay.runs.verify import Entry
from assay.settings.resolve import dotted

if TYPE_CHECKING:
    from assay.backtest.overfitting import Alternative, Excluded

CANON = ("default", "canon.toml")
"""Origins of values that nobody changed."""
LEAST_SHARED = 30
"""Days below which a Sharpe ratio says nothing of a spread."""
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


def counted(registry: Path, runs: Path) -> dict[str, Any]:
    """Count the sets of settings that were tried, whatever the date, the run or the state of the lake.

    A month of daily runs of one profile is one trial, of which the latest record stands. A run that was never sealed
    counts once it has begun its walk-forward: who looked has tried.

    Parameters
    ----------
    registry : Path
        The registry of runs.
    runs : Path
        Folder of run directories; a run of format 1 whose manifest is gone or changed counts by itself.

    Returns
    -------
    dict
        ``n``, and as :func:`assay.runs.registry.count` the Sharpe ratios of the sets that have a record.

    Raises
    ------
    LedgerError
        If the registry is broken: a number taken from it would not be evidence.
    """
    sets = _sets(until(registry), runs)
    told = [_finite(record.performance) for record in sets.values() if record is not None]
    return count([known for known in told if known]) | {"n": len(sets)}


def begin(registry: Path, run: Run) -> None:
    """Enter a run, and those that are made together with it, before it looks at its walk-forward.

    Raises
    ------
    LedgerError
        If the registry is broken.
    """
    there = {line.body["run_id"] for line in until(registry) if line.kind == "begun"}
    missing = set(_together(run)) - there  # the first of a flow enters all: the others need not read its manifests
    asked = {name: _asked(run.beside(name).folder) for name in missing - {run.folder.name}}
    manifests = {name: found[0] for name, found in asked.items() if found is not None}
    if run.folder.name in missing:
        manifests[run.folder.name] = run.manifest.manifest()
    begun = [Begun(name, made["profile"]["name"], _set(run.runs, made)) for name, made in sorted(manifests.items())]
    if begun:
        enter(registry, begun)


def tally(registry: Path, run: Run) -> dict[str, Any]:
    """Count what had been tried when a run and those beside it had begun.

    Parameters
    ----------
    registry : Path
        With the lines that :func:`begin` wrote.
    run : Run
        With its walk-forward.

    Returns
    -------
    dict
        ``registry``: hash of the line up to which it counts; ``first`` and ``first_time`` of its first line; ``n``
        distinct sets of settings, the run's own once; ``records``: the latest run of every other set on the same source
        and interval, where it is there; ``sharpes``, ``sharpe_mean``, ``sharpe_variance`` of these over the days that
        they share with this run.

    Raises
    ------
    LedgerError
        If the registry is broken, or never heard of this run.
    """
    together, lines = set(_together(run)), until(registry)
    own = [place for place, line in enumerate(lines, 1) if line.kind == "begun" and line.body["run_id"] in together]
    if not own:
        what = "the registry does not know that this run began"
        raise LedgerError(what, where=run.folder.name, hint="run: assay verify", code="TRIALS")
    lines = lines[: own[-1]]
    mine, sets = _set(run.runs, run.manifest.manifest()), _sets(lines, run.runs)
    ratios = {
        record.run_id: shared
        for tried, record in sets.items()
        if tried != mine and record is not None and (shared := _shared_sharpes(run, record))
    }
    spread = count(list(ratios.values()))
    return {
        "registry": lines[-1].hash,
        "first": lines[0].hash,
        "first_time": lines[0].time,
        "n": len(sets.keys() | {mine}),
        "records": sorted(ratios),
        **{name: spread[name] for name in ("sharpes", "sharpe_mean", "sharpe_variance")},
    }


def denied(registry: Path, run: Run) -> list[str]:
    """Return runs of which a run and they do not say alike that they were made together, or that never began.

    Whoever leaves out the others of his flow has fewer trials.
    """
    mine, own = set(_together(run)), run.folder.name
    others = {str(line.body["run_id"]) for line in until(registry) if line.kind == "begun"} - {own}
    asked = {name: _asked(run.beside(name).folder) for name in sorted(others)}
    theirs = {name: set(found[0]["flow"]) for name, found in asked.items() if found is not None}
    unequal = [name for name, flow in theirs.items() if (own in flow or name in mine) and flow != mine]
    return [*sorted(mine - others - {own}), *unequal]


def _together(run: Run) -> tuple[str, ...]:
    return run.manifest.flow or (run.folder.name,)


def _sets(lines: Sequence[Entry], runs: Path) -> dict[str, Registration | None]:
    """Map each set of settings that was tried to its latest record; None where no run of it was sealed."""
    tried = {str(line.body["run_id"]): str(line.body["tried"]) for line in lines if line.kind == "begun"}
    sets: dict[str, Registration | None] = dict.fromkeys(tried.values())
    for line in lines:
        if line.kind == "run":
            record = Registration.entered(line)
            sets[tried.get(record.run_id) or _keyed_anew(record, runs)] = record
    return sets


def _keyed_anew(record: Registration, runs: Path) -> str:
    """Return the settings of a run that no line says began: by its manifest, where that is still the sealed one."""
    asked = _asked(runs / record.run_id)
    return _set(runs, asked[0]) if asked is not None and asked[1] == record.manifest else record.manifest


def _shared_sharpes(run: Run, record: Registration) -> dict[str, float]:
    """Return a record's annual Sharpe ratios over the days that it shares with a run; none of other bars."""
    from assay.backtest.statistics import sharpe

    other = run.beside(record.run_id)
    try:
        _refuse_another(record, other.folder)
        manifest, mine = other[layout.MANIFEST], run[layout.MANIFEST]
        theirs, own = (counted_days(one[layout.WALK_RETURNS]) for one in (other, run))
    except AssayError:
        return {}
    if any(_bars(manifest)[name] != told for name, told in _bars(mine).items()):
        return {}
    shared = theirs.join(own.select("date", "risk_profile"), on=["date", "risk_profile"]).sort("risk_profile", "date")
    found = {
        str(name): sharpe(part["ret"].to_numpy())
        for (name,), part in shared.group_by("risk_profile", maintain_order=True)
        if part.height >= LEAST_SHARED
    }
    return _finite(found)


def _bars(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {"folder": manifest["lake"]["folder"], "interval": manifest["profile"].get("interval", "1d")}


def _finite(ratios: Mapping[str, Any]) -> dict[str, float]:
    return {name: ratio for name, ratio in ratios.items() if isinstance(ratio, (int, float)) and isfinite(ratio)}


def _asked(run: Path) -> tuple[dict[str, Any], str] | None:
    """Return what a run was asked for, and the hash by which the registry knows it; None where that cannot be read."""
    manifest = Run(run).get(layout.MANIFEST) or {}
    try:
        request = (MetaRequest if manifest.get("kind") == "meta" else Request).recorded(Path(), Path(), manifest)
    except IntegrityError:
        return None
    return request.manifest(), request.key  # with today's values for settings that it did not know


def _set(runs: Path, manifest: Mapping[str, Any], depth: int = 0) -> str:
    """Return the hash of what can change a decision or a cost: settings, edition, and the family of the source."""
    profile, superset = manifest["profile"], manifest.get("superset")
    tried: dict[str, Any] = {
        "profile": {name: profile[name] for name in profile if name not in ("limits", "drawdown_limit")},
        "scanners": manifest.get("scanners"),
        "edition": manifest.get("edition"),
        "source": str(manifest["lake"].get("folder")).rpartition("-")[0],
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
    _refuse_another(registration, run)
    manifest = files.read_json(run / layout.MANIFEST)
    values, origins = dotted(manifest["profile"]), manifest["provenance"]
    return replace(
        trial,
        as_of=manifest["as_of"],
        source=manifest["source"],
        changed={name: values[name] for name in sorted(values) if origins.get(name, CANON[0]) not in CANON},
        settings=files.content_hash_json({"profile": manifest["profile"], "scanners": manifest.get("scanners")}),
    )


def _refuse_another(registration: Registration, run: Path) -> None:
    """Refuse a directory whose ledger, manifest or returns are not those that were sealed."""
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


def _alternatives(trial: Trial, runs: Path) -> list[Alternative]:
    from assay.backtest.overfitting import Alternative

    table = counted_days(Run(runs / trial.run)[layout.WALK_RETURNS]).sort("risk_profile", "date")
    return [
        Alternative(
            name=f"{trial.run} {name}",
            days=part["date"].to_numpy().astype("datetime64[D]"),
            returns=part["ret"].to_numpy().astype(np.float64),
        )
        for (name,), part in table.group_by("risk_profile", maintain_order=True)
    ]
