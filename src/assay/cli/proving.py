"""Commands that check runs: ``validate verify keys prove replay causality``, and ``selftest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.apps import app, keys_app
from assay.cli.options import (
    DEFAULT_HOME,
    ExecutorOption,
    HomeOption,
    JsonOption,
    RunArgument,
    WorkersOption,
    errors,
    executed,
    home_at,
    read_catalog,
    single_threaded,
)


@app.command()
def validate(
    run: Annotated[str | None, typer.Argument(help="Run id, or a path to a run directory.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run of the home folder.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check all artifacts of a run against each other again; exit 0 only if every check is ok."""
    from assay.cli import do_inspection as inspection

    single_threaded()
    with errors(as_json):
        code = inspection.validate(home_at(home), run, every, as_json)
    raise typer.Exit(code)


@app.command()
def verify(
    run: RunArgument,
    head: Annotated[str | None, typer.Option(help="Ledger head that was noted elsewhere.")] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="The seal must be signed with this key: a .pub file.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check ledger, seal, files and registry of a run byte by byte, and its signature."""
    from assay.cli import do_inspection as inspection

    with errors(as_json):
        code = inspection.verify(home_at(home), run, head, public_key, as_json)
    raise typer.Exit(code)


@keys_app.command("new")
def keys_new(
    path: Annotated[Path, typer.Argument(help="File for the private key; the public one is PATH.pub beside it.")],
    as_json: JsonOption = False,
) -> None:
    """Make a pair of keys: ASSAY_SIGNING_KEY=PATH then signs every seal, PATH.pub verifies."""
    from assay.cli import do_keys as keys

    with errors(as_json):
        keys.new(path, as_json)


@keys_app.command("show")
def keys_show(path: Annotated[Path, typer.Argument(help="Public key.")], as_json: JsonOption = False) -> None:
    """Print the fingerprint of a public key, to compare with the one that a seal names."""
    from assay.cli import do_keys as keys

    with errors(as_json):
        keys.show(path, as_json)


@app.command()
def prove(
    run: RunArgument,
    risk_profile: Annotated[str, typer.Argument(help="Which of the run's portfolios, such as hrp.")],
    symbol: Annotated[str, typer.Argument(help="TradingView notation, BINANCE:SOLUSDT.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show how one weight follows from bars and votes: every number recomputed from the link before it."""
    from assay.cli import do_prove as commands

    single_threaded()
    with errors(as_json):
        code = commands.prove(home_at(home), run, risk_profile, symbol, as_json)
    raise typer.Exit(code)


@app.command()
def replay(
    run: RunArgument,
    workers: Annotated[int, typer.Option(min=1, help="Processes that replay it at the same time.")] = 1,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run again from the manifest and the pinned lake, and compare every artifact: EQUAL, WITHIN 1e-9 or DIFFERENT."""
    from assay.cli import do_inspection as inspection

    single_threaded()
    with errors(as_json):
        code = inspection.replay(home_at(home), run, workers, as_json)
    raise typer.Exit(code)


@app.command()
def causality(
    run: RunArgument,
    dates: Annotated[int, typer.Option(help="Dates inside the walk-forward after which everything is replaced.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the dates and the noise.")] = 0,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Replace all data after each of some dates, in every table: no row decided before may change by one byte."""
    from assay.cli import do_causality as commands

    single_threaded()
    with errors(as_json):
        execution = executed(read_catalog(None), executor, workers)
        code = commands.causality(home_at(home), run, dates, seed, execution, as_json)
    raise typer.Exit(code)


@app.command()
def selftest(
    quick: Annotated[bool, typer.Option("--quick", help="Only the attempts that take a second or less.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Try to break runs of the embedded sample in a temporary home; exit 0 only if every attempt is caught."""
    from assay.cli import do_selftest as commands

    single_threaded()
    with errors(as_json):
        code = commands.selftest(quick, as_json)
    raise typer.Exit(code)
