"""Commands about the lake and what is in it: ``ingest``, ``scan``, ``ratings``."""

from __future__ import annotations

from typing import Annotated

import typer

from assay.base.errors import UsageError
from assay.cli.apps import app
from assay.cli.options import (
    DEFAULT_HOME,
    AsOfOption,
    HomeOption,
    JsonOption,
    SetOption,
    SourceOption,
    errors,
    home_at,
    read_catalog,
    single_threaded,
)


@app.command()
def ingest(
    source: SourceOption = "sample",
    scan: Annotated[bool, typer.Option("--scan", help="Ask the screener first, and keep what it says.")] = False,
    facts: Annotated[bool, typer.Option("--facts", help="Refresh the facts of instruments only, no bars.")] = False,
    every: Annotated[
        str | None, typer.Option(help="Go on: day, hour, or 15m, 4h; works after each close, until a signal.")
    ] = None,
    settings: SetOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Scan, load a source's bars into the lake, audit and rate them, and consolidate the candidates."""
    single_threaded()
    with errors(as_json):
        catalog = read_catalog(settings)
        if facts and (scan or every):
            raise UsageError(
                "--facts stands alone", hint="leave --scan and --every out: a whole ingestion has the facts"
            )
        if every is not None:
            from assay.cli import do_schedule as schedule

            code = schedule.every(home_at(home), catalog, source, scan, every, as_json)
        else:
            from assay.cli import do_ingestion as ingestion

            if facts:
                code = ingestion.refresh_facts(home_at(home), catalog, source, as_json)
            else:
                code = ingestion.ingest(home_at(home), catalog, source, scan, as_json)
    raise typer.Exit(code)


@app.command()
def scan(
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    settings: SetOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run every scanner as of a date and print the superset: counts, unique atoms, invalid records."""
    from assay.cli import do_foundation as foundation

    single_threaded()
    with errors(as_json):
        foundation.scan(home_at(home), read_catalog(settings), source, as_of, as_json)


@app.command()
def ratings(
    symbol: Annotated[str, typer.Argument(help="TradingView notation, BINANCE:BTCUSDT.")],
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    interval: Annotated[
        str | None, typer.Option(help="Interval of the source's bars; default: what they have.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Print the three ratings of a symbol and the 26 votes behind them."""
    from assay.cli import do_foundation as foundation

    single_threaded()
    with errors(as_json):
        foundation.ratings(home_at(home), symbol, source, as_of, interval, as_json)


@app.command()
def doctor(
    source: Annotated[str | None, typer.Option("--source", help="Lake of this source only; default: all.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say what is wrong with lakes, runs and registry, and what to run; nothing is changed."""
    from assay.cli import do_doctor as body

    single_threaded()
    with errors(as_json):
        code = body.doctor(home_at(home), source, as_json)
    raise typer.Exit(code)
