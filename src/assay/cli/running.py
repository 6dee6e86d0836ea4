"""Commands that make runs: ``run``, ``flow``, ``meta run``."""

from __future__ import annotations

from typing import Annotated

import typer

from assay.cli.apps import app, meta_app
from assay.cli.options import (
    DEFAULT_HOME,
    AsOfOption,
    ExecutorOption,
    HomeOption,
    JsonOption,
    SetOption,
    SourceOption,
    WorkersOption,
    errors,
    executed,
    home_at,
    read_catalog,
    single_threaded,
)


@app.command()
def run(
    profile: Annotated[list[str], typer.Argument(help="One profile or several.")],
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    settings: SetOption = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Name of the run (one profile only).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run named by --run-id.")] = False,
    redo_from: Annotated[
        str | None, typer.Option("--from", help="With --resume: step to begin again from, by number or name.")
    ] = None,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run one sleeve, or several in parallel, and print the verdicts."""
    from assay.cli import do_flows as flows

    single_threaded()
    with errors(as_json):
        settled = read_catalog(settings)
        execution = executed(settled, executor, workers)
        if resume:
            code = flows.resume(home_at(home), settled, profile, source, as_of, run_id, redo_from, as_json)
        else:
            code = flows.run(home_at(home), settled, profile, source, as_of, run_id, execution, as_json)
    raise typer.Exit(code)


@app.command()
def flow(
    name: Annotated[str, typer.Argument(help="Flow, such as binance-spot-ratings.")],
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    settings: SetOption = None,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run the profiles of a flow in parallel and write their joint audit report."""
    from assay.cli import do_flows as flows

    single_threaded()
    with errors(as_json):
        settled = read_catalog(settings)
        execution = executed(settled, executor, workers)
        code = flows.flow(home_at(home), settled, name, source, as_of, execution, as_json)
    raise typer.Exit(code)


@meta_app.command("run")
def meta_run(
    name: Annotated[str, typer.Argument(help="Meta-portfolio, such as meta_binance_spot_ratings.")],
    runs: Annotated[list[str] | None, typer.Argument(help="Runs to take; the other sleeves are found, or run.")] = None,
    source: Annotated[str | None, typer.Option(help="Default: that of the runs, else sample.")] = None,
    as_of: AsOfOption = None,
    settings: SetOption = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Name of the run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run named by --run-id.")] = False,
    missing: Annotated[bool, typer.Option("--run-missing/--no-run-missing", help="Run sleeves without a run.")] = True,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Put the latest valid runs of a meta-portfolio's sleeves into one book of physical coins."""
    from assay.cli import do_meta as meta

    single_threaded()
    with errors(as_json):
        place, settled, pinned = home_at(home), read_catalog(settings), runs or []
        execution = executed(settled, executor, workers)
        if resume and meta.is_resumable(place, run_id):
            code = meta.resume(place, run_id, as_json)
        else:
            code = meta.run(
                place, settled, name, pinned, source, as_of, run_id, execution, missing, as_json, again=resume
            )
    raise typer.Exit(code)
