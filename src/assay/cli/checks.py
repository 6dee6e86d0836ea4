"""Commands that check runs: ``audit validate verify keys prove replay causality``, and ``selftest``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.base import files
from assay.base.domain import check_symbol, symbol_of
from assay.base.errors import Exit, RunFailed, UsageError
from assay.cli import output
from assay.cli.app import (
    DEFAULT_HOME,
    ExecutorOption,
    HomeOption,
    JsonOption,
    RunArgument,
    WorkersOption,
    command,
    executed,
    home_at,
    keys_app,
    read_catalog,
)

if TYPE_CHECKING:
    from assay.base.constants import Scalar
    from assay.prove import Link, Proof
    from assay.prove.audit import Audit
    from assay.runs.documents import AtomicValidation
    from assay.runs.home import Home
    from assay.selftest.cases import Result

VIOLATIONS = 20
"""Violations of causality that are printed; the report has all."""
CODES = 2
"""Codes that a row of the self-test's table spells out."""


@command()
def audit(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Run ids, or their beginnings, latest or latest:PROFILE; accounts; default: latest."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every sealed run of the home folder.")] = False,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Made on another machine: numbers may differ by 1e-9.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Check all that can be checked of runs, at once: SOUND, or the first thing that is not."""
    from assay.prove.audit import Auditor, audit_account

    if runs and every:
        raise UsageError("which runs?", hint="name runs, or say --all")
    place = home_at(home)
    asked = list(dict.fromkeys(runs or ["latest"]))
    accounts = [place.accounts / one for one in asked if place.has_account(one)]
    named = [one for one in asked if not place.has_account(one)]
    folders = [place.runs / one for one in place.sealed()] if every else [place.run(one) for one in named]
    if not folders and not accounts:
        raise UsageError("no sealed run", where=str(place.runs), hint="list the runs with: assay status")
    auditor = Auditor(place, elsewhere, None if as_json else lambda run, check: output.note(f"audit: {run}: {check}"))
    found = [auditor.audit(folder) for folder in dict.fromkeys(folders)]
    ledgers = [] if every else [audit_account(folder) for folder in accounts]
    for kept, of in ((found, place.reports / "audit"), (ledgers, place.reports / "audit" / "accounts")):
        for one in kept:
            with output.recorded():
                files.write_json(of / f"{one.run_id}.json", one.as_dict())
    found += ledgers
    if as_json:
        output.as_json([one.as_dict() for one in found])
    else:
        for one in found:
            _print_audit(one)
    return max(one.exit_code for one in found)


def _print_audit(found: Audit) -> None:
    for below in found.sleeves:
        _print_audit(below)
    rows = [[one.state, one.name, f"{one.checked:,}", f"{one.seconds:.1f} s", one.what] for one in found.checks]
    output.line(output.table(["", "check", "compared", "time", "what"], rows))
    if found.error is not None:
        told = found.error
        output.line(f"{told['code']}: {told['what']} [{told['where']}]; {told['hint']}")
    output.line(f"{found.run_id}: {found.verdict}")
    output.line()


@command()
def validate(
    run: Annotated[str | None, typer.Argument(help="Run id, or a path to a run directory.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run of the home folder.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Check all artifacts of a run against each other again; exit 0 only if every check is ok."""
    from assay.runs.documents import as_plain
    from assay.runs.run import Run

    if (run is None) != every:
        raise UsageError("which run?", hint="name one run, or say --all")
    place = home_at(home)
    results, older = [], []
    for name in [run] if run is not None else place.run_ids():
        try:
            Run(place.run(name)).check_format()
        except RunFailed as error:
            if not every:
                raise
            older.append(f"{name}: {error.code}: {error.what}")
            continue
        results.append(_validate(place, name))
    if as_json:
        plain = [as_plain(result) for result in results]
        output.as_json(plain if every else plain[0])
    else:
        for result in results:
            rows = [[c.code, "ok" if c.ok else "FAIL", c.checked, c.what] for c in result.checks]
            output.line(output.table(["check", "ok", "checked", "what"], rows))
            output.line(f"{result.run_id}: {'VALID' if result.ok else 'INVALID'}")
    for told in older:
        output.note(told)
    return Exit.OK if results and not older and all(result.ok for result in results) else Exit.FAILED


def _validate(home: Home, run: str) -> AtomicValidation:
    from assay.gates.validation import to_markdown
    from assay.gates.validation import validate as check
    from assay.runs.documents import save
    from assay.runs.run import Run

    folder = home.run(run)
    result = check(Run(folder))
    stem = home.reports / "validation" / f"atomic_validation_{result.profile}_{folder.name}"
    with output.recorded():
        save(result, stem.with_name(stem.name + ".json"))
        files.write(stem.with_name(stem.name + ".md"), to_markdown(result).encode())
    return result


@command()
def verify(
    run: RunArgument,
    head: Annotated[str | None, typer.Option(help="Ledger head that was noted elsewhere.")] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="The seal must be signed with this key: a .pub file.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Check ledger, seal, files and registry of a run byte by byte, and its signature."""
    from assay.runs import signing
    from assay.runs.verify import verify as check

    place = home_at(home)
    folder = place.run(run)
    signature = None if public_key is None else signing.checker(signing.public_key(public_key))
    verdict = check(folder, registry=place.registry, head=head, check_signature=signature)
    body = verdict.as_dict()
    with output.recorded():
        files.write_json(place.reports / "verify" / f"{folder.name}.json", body)
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


@command("new", keys_app)
def keys_new(
    path: Annotated[Path, typer.Argument(help="File for the private key; the public one is PATH.pub beside it.")],
    as_json: JsonOption = False,
) -> None:
    """Make a pair of keys: ASSAY_SIGNING_KEY=PATH then signs every seal, PATH.pub verifies."""
    from assay.runs import signing

    public, known = signing.new_pair(path)
    if as_json:
        output.as_json({"private": str(path), "public": str(public), "fingerprint": known})
        return
    output.line(f"private key: {path} (keep it; {signing.VARIABLE}={path} signs every seal)")
    output.line(f"public key:  {public} (give it away; assay verify RUN --public-key {public})")
    output.line(f"fingerprint: {known}")


@command("show", keys_app)
def keys_show(path: Annotated[Path, typer.Argument(help="Public key.")], as_json: JsonOption = False) -> None:
    """Print the fingerprint of a public key, to compare with the one that a seal names."""
    from assay.runs import signing

    known = signing.fingerprint(signing.public_key(path))
    if as_json:
        output.as_json({"public": str(path), "fingerprint": known})
    else:
        output.line(known)


@command()
def prove(
    run: RunArgument,
    risk_profile: Annotated[str, typer.Argument(help="Which of the run's portfolios, such as hrp.")],
    symbol: Annotated[str, typer.Argument(help="TradingView notation, BINANCE:SOLUSDT.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Show how one weight, or its absence, follows from bars and votes: every number recomputed from the one before."""
    from assay.prove import prove as chain
    from assay.report.why import exchange_of
    from assay.runs.run import Run

    place = home_at(home)
    folder = place.run(run)
    symbol = check_symbol(symbol_of(symbol, exchange_of(Run(folder))))
    proof = chain(place.path, folder, place.registry, risk_profile, symbol)
    if as_json:
        output.as_json(proof.as_dict())
    else:
        for line in _chain(proof):
            output.line(line)
        verdict = "ok" if proof.ok else f"MISMATCH, first in {proof.broken}"
        output.line(f"{proof.compared():,} figures compared: {verdict}")
    return Exit.OK if proof.ok else Exit.FAILED


def _chain(proof: Proof) -> Iterator[str]:
    for below in proof.sleeves:
        yield from _chain(below)
    signed = f", signed by {proof.signed_by}" if proof.signed_by else ""
    yield f"{proof.run_id}, {proof.risk_profile}, {proof.symbol}, as of {proof.as_of}"
    yield f"sealed: head {proof.head}{signed}"
    for link in proof.links:
        yield ""
        yield f"{'ok' if link.ok else 'MISMATCH':8} {link.name}{f' of {link.atom}' if link.atom else ''}: {link.what}"
        yield f"         {link.artifact} {link.sha256}"
        yield from _figures(link)
    yield ""
    if proof.absent:
        yield f"{proof.symbol} in {proof.risk_profile}: {proof.absent}"
    yield f"net weight of {proof.symbol} in {proof.risk_profile}: {proof.net_weight:+.10f}"
    yield ""


def _figures(link: Link) -> Iterator[str]:
    rows = [
        [
            "ok" if one.ok else "MISMATCH",
            one.name,
            _text(one.recorded),
            _text(one.recomputed),
            ", ".join(f"{name} {_text(value)}" for name, value in one.inputs.items()),
        ]
        for one in link.pairs
    ]
    for line in output.table(["", "figure", "recorded", "recomputed", "read from"], rows).splitlines():
        yield f"         {line.rstrip()}"
    for name, value in link.notes.items():
        yield f"         {name}: {_text(value)}"


def _text(value: Scalar) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:16]}..."
    return "-" if value is None else str(value)


@command()
def replay(
    run: RunArgument,
    workers: Annotated[int, typer.Option(min=1, help="Processes that replay it at the same time.")] = 1,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Run again from the manifest and the pinned lake, and compare every artifact: EQUAL, WITHIN 1e-9 or DIFFERENT."""
    from assay.pipeline.replay import replay as again

    place = home_at(home)
    result = again(place, place.run(run), workers)
    with output.recorded():
        files.write_json(place.reports / "replay" / f"{result.run_id}.json", result.as_dict())
    if as_json:
        output.as_json(result.as_dict())
    else:
        sizes = {name: f"{size:.1e}" for name, size in result.differences.items()}
        rows = [[name, told, sizes.get(name, "")] for name, told in result.artifacts.items()]
        output.line(output.table(["artifact", "verdict", "greatest difference"], rows))
        together = f" in each of {workers} processes at once" if workers > 1 else ""
        output.line(f"{result.run_id}: {result.verdict}{together}")
    return Exit.OK if result.verdict != "DIFFERENT" else Exit.INTEGRITY


@command()
def causality(
    run: RunArgument,
    dates: Annotated[int, typer.Option(help="Dates inside the walk-forward after which everything is replaced.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the dates and the noise.")] = 0,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Replace all data after each of some dates, in every table: no row decided before may change by one byte."""
    from assay.pipeline.causality import causality as test

    execution = executed(read_catalog(), executor, workers)
    body, path = test(home_at(home), run, dates, seed, execution)
    if as_json:
        output.as_json(body | {"report": str(path)})
    else:
        _print_causality(body)
        output.line(f"report: {path}")
    return Exit.OK if body["ok"] else Exit.FAILED


def _print_causality(body: dict[str, Any]) -> None:
    if "sleeves" in body:
        for sleeve in body["sleeves"].values():
            _print_causality(sleeve)
        n = len(body["sleeves"])
        output.line(f"{body['run_id']}: {'CAUSAL' if body['ok'] else 'NOT CAUSAL'} in {n} sleeves")
        return
    head = ["known by", "change", "bytes changed", "coins", "decisions", "rows compared", "violations"]
    rows = [
        [
            trial["as_of"],
            trial["kind"],
            f"{sum(trial['bytes_changed'].values()):,}",
            trial["coins_changed"],
            trial["decisions"],
            f"{sum(trial['rows_compared'].values()):,}",
            len(trial["violations"]),
        ]
        for trial in body["detail"]
    ]
    output.line(output.table(head, rows))
    violations = [
        f"{trial['as_of']} {trial['kind']}: {what}" for trial in body["detail"] for what in trial["violations"]
    ]
    for violation in violations[:VIOLATIONS]:
        output.line(f"VIOLATION {violation}")
    output.line(f"rows that the run recorded: {body['recorded']}")
    output.line(f"tables changed: {', '.join(body['tables'])}")
    output.line(f"{body['run_id']}: {'CAUSAL' if body['ok'] else 'NOT CAUSAL'}")


@command("selftest")
def break_runs(
    quick: Annotated[bool, typer.Option("--quick", help="Only the attempts that take a second or less.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Try to break runs of the embedded sample in a temporary home; exit 0 only if every attempt is caught."""
    from assay.selftest.cases import SETTINGS, attempt, cases
    from assay.selftest.sandbox import Sandbox

    began = time.monotonic()
    chosen = [case for case in cases() if case.quick or not quick]
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="assay-selftest-") as folder:
        output.note("selftest: the embedded sample, one run of each side")
        sandbox = Sandbox.at(Path(folder) / "home", SETTINGS)
        for profile, run in sandbox.profiles.items():
            output.note(f"selftest: {profile} is sealed as {run.name}")
        for number, case in enumerate(chosen, start=1):
            output.note(f"selftest: {number}/{len(chosen)} {case.group}: {case.name}")
            results.append(attempt(case, sandbox))
    caught = sum(result.caught for result in results)
    if as_json:
        body = {"ok": caught == len(results), "attempts": len(results), "caught": caught}
        output.as_json(body | {"results": [result.as_dict() for result in results]})
    else:
        rows = [[result.case.group, result.case.name, caught_by(result)] for result in results]
        output.line(output.table(["group", "attempt", "caught by"], rows))
        output.line(f"{caught} of {len(results)} attempts caught, {time.monotonic() - began:.0f} s")
    return Exit.OK if results and caught == len(results) else Exit.FAILED


def caught_by(result: Result) -> str:
    """Return the first codes that caught an attempt, or that nothing did."""
    told = [code for code in result.by if code in result.case.expected] if result.caught else list(result.by)
    words = ", ".join(told[:CODES])
    return words if result.caught else f"NOT CAUGHT{f' ({words})' if words else ''}"
