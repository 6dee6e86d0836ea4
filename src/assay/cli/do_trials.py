"""``assay trials``: everything that was tried in a home, and what choosing the best of it is worth."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from assay.backtest.overfitting import Exclusion, Tried, tried
from assay.backtest.trials import Trial, read_trials
from assay.base import files
from assay.cli import do_output as output
from assay.report.markdown import count, percent, plain, ratio
from assay.runs import registry
from assay.runs.home import Home
from assay.settings.model import RISK_PROFILES


def trials(home: Home, as_json: bool) -> None:
    """List the registry's manifests and print the probability of backtest overfitting over their alternatives."""
    counted = registry.trials(home.registry)
    found = read_trials(home.registry, home.runs)
    result = tried(found.alternatives)
    excluded = [*found.excluded, *result.excluded]
    body = as_plain(counted, found.trials, result, excluded)
    report = home.reports / "trials.json"
    files.write_json(report, body)
    if as_json:
        output.as_json(body)
        return
    output.line(_table(found.trials))
    output.line()
    for line in (*_counts(counted), *verdict(result)):
        output.line(line)
    for exclusion in excluded:
        output.line(f"not among them: {exclusion.name}: {exclusion.reason}")
    output.line(f"trials: {report}")


def as_plain(counted: dict[str, Any], trials: list[Trial], result: Tried, excluded: list[Exclusion]) -> dict[str, Any]:
    """Return all of it as one JSON value."""
    overfitting = asdict(result) | {"alternatives": len(result.sharpes)}
    del overfitting["excluded"]
    return files.as_json(
        {
            "registry": counted,
            "trials": [asdict(trial) for trial in trials],
            "overfitting": overfitting,
            "excluded": [asdict(exclusion) for exclusion in excluded],
        }
    )


def _table(trials: list[Trial]) -> str:
    head = ["run", "profile", "as of", *RISK_PROFILES, "again", "changed settings"]
    rows = [
        [
            trial.run,
            trial.profile,
            plain(trial.as_of),
            *(ratio(trial.sharpe.get(name)) for name in RISK_PROFILES),
            len(trial.runs) - 1,
            "; ".join(f"{name}={plain(value)}" for name, value in trial.changed.items()) or "-",
        ]
        for trial in trials
    ]
    return output.table(head, rows)


def _counts(counted: dict[str, Any]) -> list[str]:
    n = int(counted["n"])
    spread = ratio(counted["sharpe_variance"], 4)
    return [f"{count(n, 'trial')}: manifests with a Sharpe ratio, equal ones once; variance of the ratios {spread}"]


def verdict(result: Tried) -> list[str]:
    """Say in sentences what was found."""
    n = len(result.sharpes)
    if result.probability is None:
        return [f"{count(n, 'alternative')} that could be compared: no probability of backtest overfitting"]
    span = f"{count(n, 'alternative')} on {count(result.days, 'shared day')}, {result.first} to {result.last}"
    best = "" if result.best is None else f"; best: {result.best}, Sharpe {ratio(result.sharpes[result.best])}"
    luck = f"probability of backtest overfitting: {percent(result.probability)} ({result.blocks} blocks)"
    loss = f"the one chosen loses out of sample in {percent(result.loss_probability)} of the combinations"
    return [f"alternatives: {span}{best}", f"{luck}; {loss}"]
