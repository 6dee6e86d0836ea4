"""Commands that look at runs: read-only on the run; what they find goes to ``<home>/reports/``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from assay import artifacts, files, layout
from assay.commands import output
from assay.domain import UTC, check_symbol
from assay.errors import Exit, UsageError
from assay.report.live import COLUMNS, row, statuses
from assay.runs import Home


def status(home: Home, as_json: bool) -> None:
    """Print the state of every run."""
    seen = statuses([home.runs / name for name in home.run_ids()])
    if as_json:
        output.as_json([asdict(entry) for entry in seen])
        return
    now = dt.datetime.now(UTC)
    output.line(output.table(COLUMNS, [row(entry, now) for entry in seen]))


def why(home: Home, run: str, symbol: str, as_json: bool) -> None:
    """Print what became of a coin: its audit, its fates, its weights."""
    folder = home.run(run)
    check_symbol(symbol)
    health = artifacts.load(artifacts.DataHealth, folder / layout.HEALTH)
    audit = artifacts.load(artifacts.SelectionAudit, folder / layout.SELECTION)
    fates = [fate for fate in audit.fates if fate.symbol == symbol]
    notes = [entry for entry in health.symbols if entry.symbol == symbol]
    lost = [drop for drop in (*health.missing, *health.dropped) if drop.name == symbol]
    weights = _weights(folder, symbol)
    if not (fates or notes or lost):
        raise UsageError(
            f"{symbol} was not a candidate of this run", where=run, hint="scanners are listed by: assay profiles list"
        )
    if as_json:
        output.as_json(
            {
                "symbol": symbol,
                "fates": [artifacts.as_plain(fate) for fate in fates],
                "health": [artifacts.as_plain(entry) for entry in notes],
                "dropped": [artifacts.as_plain(drop) for drop in lost],
                "weights": weights,
            }
        )
        return
    for entry in notes:
        output.line(f"{symbol}: data {entry.status}, {entry.observations} observations; {entry.cause}")
    for drop in lost:
        output.line(f"{symbol}: {drop.reason}; {drop.detail}")
    for fate in fates:
        alpha = "" if fate.alpha_score is None else f", alpha {fate.alpha_score:.4f}, cluster {fate.cluster_id}"
        output.line(f"{fate.logic} {fate.direction}: {fate.stage}: {fate.reason}; {fate.detail}{alpha}")
    for name, weight in weights.items():
        output.line(f"weight in {name}: {weight:+.4f}")


def _weights(folder: Path, symbol: str) -> dict[str, float]:
    path = folder / layout.FLATTENED
    if not path.is_file():
        return {}
    flattened = artifacts.load(artifacts.Flattened, path)
    return {
        name: asset.Net_Weight
        for name, profile in flattened.profiles.items()
        for asset in profile.assets
        if asset.Symbol == symbol
    }


def validate(home: Home, run: str | None, every: bool, as_json: bool) -> int:
    """Validate one run, or every one, again; print each check; return the exit code."""
    if (run is None) != every:
        raise UsageError("which run?", hint="name one run, or say --all")
    names = [run] if run is not None else home.run_ids()
    results = [_validate(home, name) for name in names]
    if as_json:
        plain = [artifacts.as_plain(result) for result in results]
        output.as_json(plain if every else plain[0])
    else:
        for result in results:
            rows = [[c.code, "ok" if c.ok else "FAIL", c.checked, c.what] for c in result.checks]
            output.line(output.table(["check", "ok", "checked", "what"], rows))
            output.line(f"{result.run_id}: {'VALID' if result.ok else 'INVALID'}")
    return Exit.OK if results and all(result.ok for result in results) else Exit.FAILED


def _validate(home: Home, run: str) -> artifacts.AtomicValidation:
    from assay.audit.atomic import to_markdown
    from assay.meta.eligibility import revalidate as check

    folder = home.run(run)
    result = check(folder)
    stem = home.reports / "validation" / f"atomic_validation_{result.profile}_{folder.name}"
    artifacts.save(result, stem.with_name(stem.name + ".json"))
    files.write(stem.with_name(stem.name + ".md"), to_markdown(result).encode())
    return result


def verify(home: Home, run: str, head: str | None, as_json: bool) -> int:
    """Verify ledger, seal, files and registry; return the exit code."""
    from assay.audit.verify import verify as check

    folder = home.run(run)
    verdict = check(folder, registry=home.registry, head=head)
    body = verdict.as_dict()
    files.write_json(home.reports / "verify" / f"{folder.name}.json", body)
    if as_json:
        output.as_json(body)
    else:
        for name, count in verdict.checked.items():
            output.line(f"{name}: {count:,} checked")
        for problem in verdict.problems:
            output.line(f"PROBLEM {problem}")
        output.line(f"{folder.name}: {'INTACT' if verdict.ok else 'BROKEN'}")
    return Exit.OK if verdict.ok else Exit.INTEGRITY


def replay(home: Home, run: str, as_json: bool) -> int:
    """Run again from the manifest and compare every artifact; return the exit code."""
    from assay.replay import replay as again

    result = again(home, home.run(run))
    files.write_json(home.reports / "replay" / f"{result.run_id}.json", result.as_dict())
    if as_json:
        output.as_json(result.as_dict())
    else:
        output.line(output.table(["artifact", "verdict"], result.artifacts.items()))
        output.line(f"{result.run_id}: {result.verdict}")
    return Exit.OK if result.verdict != "DIFFERENT" else Exit.INTEGRITY


def audit_report(home: Home, runs: Sequence[str], as_json: bool) -> None:
    """Write one report over one run or several and print its path."""
    from assay.meta.request import is_meta
    from assay.report.audit_report import render, render_joint
    from assay.report.meta_report import render_meta

    folders = [home.run(run) for run in runs]
    if len(folders) == 1:
        text = render_meta(folders[0]) if is_meta(folders[0]) else render(folders[0])
    else:
        text = render_joint(folders)
    name = "+".join(folder.name for folder in folders)
    if len(name) > 150:
        name = f"{len(folders)}-runs-{files.sha256(name.encode())[:12]}"
    path = home.reports / f"audit_report_{name}.md"
    files.write(path, text.encode())
    if as_json:
        output.as_json({"report": str(path), "runs": [folder.name for folder in folders]})
    else:
        output.line(f"audit report: {path}")
