"""Commands that only read: ``status``, ``serve``, ``why``, ``audit-report``, ``compare``, ``trials``, ``orders``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.apps import app, profiles_app
from assay.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    RunArgument,
    SetOption,
    errors,
    home_at,
    read_catalog,
    single_threaded,
)


@app.command()
def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: redraw on a terminal, a line per change elsewhere.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show every run: profile, run id, state, step, elapsed."""
    from assay.cli import do_status as showing

    with errors(as_json):
        if watch:
            showing.watch(home_at(home), as_json)
        else:
            showing.status(home_at(home), as_json)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback only with a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    new_token: Annotated[bool, typer.Option("--new-token", help="Make a token and print it once.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name by which browsers reach this host; may be repeated.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Show runs, lakes, ratings and reports as a read-only page; ASSAY_TOKEN in the environment asks for a token."""
    from assay.cli import do_serve as serving

    with errors(as_json=False):
        serving.serve(
            home_at(home), serving.Options(host, port, os.environ.get("ASSAY_TOKEN"), new_token, allow_host or ())
        )


@app.command()
def why(
    run: RunArgument,
    symbol: Annotated[str, typer.Argument(help="TradingView notation, BINANCE:SOLUSDT.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say what became of a coin in a run, winner or loser, and for what reason."""
    from assay.cli import do_inspection as inspection

    with errors(as_json):
        inspection.why(home_at(home), run, symbol, as_json)


@app.command()
def report(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option(help="File to write to; default: reports/report_RUN.html in the home.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write a run's page with plots anew, finished or failed; the run itself stays as it is."""
    from assay.cli import do_report as reporting

    single_threaded()
    with errors(as_json):
        reporting.report(home_at(home), run, out, as_json)


@app.command("audit-report")
def audit_report(
    runs: Annotated[list[str], typer.Argument(help="Run ids, or paths to run directories.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write one audit report over one run or several, such as a long and a short sleeve side by side."""
    from assay.cli import do_report as reporting

    single_threaded()
    with errors(as_json):
        reporting.audit_report(home_at(home), runs, as_json)


@app.command()
def compare(
    run: RunArgument,
    other: Annotated[str, typer.Argument(help="The run to compare it with: an id, or a path.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say what changed from one run to another, and which input (settings, data, date) caused it."""
    from assay.cli import do_compare as comparing

    single_threaded()
    with errors(as_json):
        comparing.compare(home_at(home), run, other, as_json)


@app.command()
def trials(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List what was tried, with Sharpe ratios, and how likely the best of it is best by luck."""
    from assay.cli import do_trials as trying

    single_threaded()
    with errors(as_json):
        trying.trials(home_at(home), as_json)


@app.command()
def orders(
    run: RunArgument,
    nav: Annotated[str, typer.Option(help="Net asset value of the account, in dollars.")],
    holdings: Annotated[
        Path, typer.Option(help="What the account holds: CSV or JSON of symbol, quantity (negative for a short).")
    ],
    risk_profile: Annotated[str, typer.Option(help="Which of the run's portfolios.")] = "hrp",
    instruments: Annotated[
        Path | None,
        typer.Option(help="Recorded GET /api/v3/exchangeInfo, plain or gzipped; default: the lake's table."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="CSV or JSON of symbol, price; default: the last close that the run knew.")
    ] = None,
    order_type: Annotated[str, typer.Option("--type", help="limit or market.")] = "limit",
    leave_out: Annotated[list[str] | None, typer.Option(help="Symbol to keep as it is; may be repeated.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; default: reports/orders/RUN in the home.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Turn a run's weights into orders that pass the exchange's filters, as JSON and CSV; nothing is sent."""
    from assay.cli import do_orders as commands

    single_threaded()
    with errors(as_json):
        asked = commands.Options(
            run, nav, holdings, risk_profile, order_type, instruments, prices, leave_out or (), out
        )
        commands.orders(home_at(home), asked, as_json)


@profiles_app.command("list")
def profiles_list(as_json: JsonOption = False) -> None:
    """List profiles, scanners, meta-portfolios and flows."""
    from assay.cli import do_profiles as profiles

    with errors(as_json):
        profiles.listing(read_catalog(None), as_json)


@profiles_app.command("show")
def profiles_show(
    name: Annotated[str, typer.Argument(help="Profile.")], settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """Print every value of a profile and where it comes from."""
    from assay.cli import do_profiles as profiles

    with errors(as_json):
        profiles.show(read_catalog(settings), name, as_json)
