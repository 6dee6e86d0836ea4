"""Commands that look at runs: read-only on the run; what they find goes to ``<home>/reports/``."""

from __future__ import annotations

from pathlib import Path

from assay.base import files
from assay.base.errors import Exit, UsageError
from assay.cli import do_output as output
from assay.report.why import why as tell
from assay.runs import documents as artifacts
from assay.runs.home import Home


def why(home: Home, run: str, symbol: str, as_json: bool) -> None:
    """Print what became of a coin: its audit, its fates, its weights."""
    found = tell(home.run(run), symbol)
    if as_json:
        output.as_json(found.as_plain())
        return
    for entry in found.health:
        output.line(f"{symbol}: data {entry.status}, {entry.observations} observations; {entry.cause}")
    for drop in found.dropped:
        output.line(f"{symbol}: {drop.reason}; {drop.detail}")
    for fate in found.fates:
        alpha = "" if fate.alpha_score is None else f", alpha {fate.alpha_score:.4f}, cluster {fate.cluster_id}"
        output.line(f"{fate.logic} {fate.direction}: {fate.stage}: {fate.reason}; {fate.detail}{alpha}")
    for name, weight in found.weights.items():
        output.line(f"weight in {name}: {weight:+.4f}")


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
    from assay.gates.eligibility import revalidate as check
    from assay.gates.validation import to_markdown

    folder = home.run(run)
    result = check(folder)
    stem = home.reports / "validation" / f"atomic_validation_{result.profile}_{folder.name}"
    artifacts.save(result, stem.with_name(stem.name + ".json"))
    files.write(stem.with_name(stem.name + ".md"), to_markdown(result).encode())
    return result


def verify(home: Home, run: str, head: str | None, public_key: Path | None, as_json: bool) -> int:
    """Verify ledger, seal, files and registry, and with a public key the seal's signature; return the exit code."""
    from assay.runs import signing
    from assay.runs.verify import verify as check

    folder = home.run(run)
    signature = None if public_key is None else signing.checker(signing.public_key(public_key))
    verdict = check(folder, registry=home.registry, head=head, check_signature=signature)
    body = verdict.as_dict()
    files.write_json(home.reports / "verify" / f"{folder.name}.json", body)
    if as_json:
        output.as_json(body)
    else:
        for name, count in verdict.checked.items():
            output.line(f"{name}: {count:,} checked")
        for problem in verdict.problems:
            output.line(f"PROBLEM {problem}")
        if verdict.signed_by is not None:
            checked = "checked" if public_key is not None else "not checked: give --public-key"
            output.line(f"signature: names the key {verdict.signed_by}, {checked}")
        output.line(f"{folder.name}: {'INTACT' if verdict.ok else 'BROKEN'}")
    return Exit.OK if verdict.ok else Exit.INTEGRITY


def replay(home: Home, run: str, workers: int, as_json: bool) -> int:
    """Run again from the manifest and compare every artifact; return the exit code."""
    from assay.pipeline.replay import replay as again

    result = again(home, home.run(run), workers)
    files.write_json(home.reports / "replay" / f"{result.run_id}.json", result.as_dict())
    if as_json:
        output.as_json(result.as_dict())
    else:
        rows = [[name, told, _size(result.differences.get(name))] for name, told in result.artifacts.items()]
        output.line(output.table(["artifact", "verdict", "greatest difference"], rows))
        together = f" in each of {workers} processes at once" if workers > 1 else ""
        output.line(f"{result.run_id}: {result.verdict}{together}")
    return Exit.OK if result.verdict != "DIFFERENT" else Exit.INTEGRITY


def _size(difference: float | None) -> str:
    return "" if difference is None else f"{difference:.1e}"
