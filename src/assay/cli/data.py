"""Commands about the lake and what is in it: ``ingest``, ``scan``, ``ratings``."""

from __future__ import annotations

from typing import Annotated

import typer

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
def ingest(source: SourceOption = "sample", home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Load a source's bars into the lake, audit them and rate them."""
    from assay.commands import foundation

    single_threaded()
    with errors(as_json):
        foundation.ingest(home_at(home), source, as_json)


@app.command()
def scan(
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    settings: SetOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run every scanner as of a date and print the superset: counts, unique atoms, invalid records."""
    from assay.commands import foundation

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
    as_json: JsonOption = False,
) -> None:
    """Print the three ratings of a symbol and the 26 votes behind them."""
    from assay.commands import foundation

    single_threaded()
    with errors(as_json):
        foundation.ratings(symbol, source, as_of, interval, as_json)
