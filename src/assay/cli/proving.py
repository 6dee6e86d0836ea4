"""Commands that check a run: ``validate``, ``verify``, ``replay``, ``causality``."""

from __future__ import annotations

from typing import Annotated

import typer

from assay.cli.apps import app
from assay.cli.options import DEFAULT_HOME, HomeOption, JsonOption, RunArgument, errors, home_at, single_threaded


@app.command()
def validate(
    run: Annotated[str | None, typer.Argument(help="Run id, or a path to a run directory.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run of the home folder.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check all artifacts of a run against each other again; exit 0 only if every check is ok."""
    from assay.commands import inspection

    single_threaded()
    with errors(as_json):
        code = inspection.validate(home_at(home), run, every, as_json)
    raise typer.Exit(code)


@app.command()
def verify(
    run: RunArgument,
    head: Annotated[str | None, typer.Option(help="Ledger head that was noted elsewhere.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check ledger, seal, files and registry of a run byte by byte."""
    from assay.commands import inspection

    with errors(as_json):
        code = inspection.verify(home_at(home), run, head, as_json)
    raise typer.Exit(code)


@app.command()
def replay(run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Run again from the manifest and the pinned lake, and compare every artifact: EQUAL, WITHIN 1e-9 or DIFFERENT."""
    from assay.commands import inspection

    single_threaded()
    with errors(as_json):
        code = inspection.replay(home_at(home), run, as_json)
    raise typer.Exit(code)


@app.command()
def causality(
    run: RunArgument,
    dates: Annotated[int, typer.Option(help="Dates inside the walk-forward after which everything is replaced.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the dates and the noise.")] = 0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Replace all data after each of some dates, in every table: no row decided before may change by one byte."""
    from assay.commands import causality as commands

    single_threaded()
    with errors(as_json):
        code = commands.causality(home_at(home), run, dates, seed, as_json)
    raise typer.Exit(code)
