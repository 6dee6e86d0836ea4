"""The command line: parses, calls, prints. What a command does lives in the rooms below."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.errors import AssayError, Exit

if TYPE_CHECKING:
    from assay.profile import Catalog
    from assay.runs import Home

app = typer.Typer(
    name="assay",
    help="Turn technical ratings on Binance spot coins into audited portfolios.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
profiles_app = typer.Typer(help="List profiles and show where each setting comes from.", no_args_is_help=True)
app.add_typer(profiles_app, name="profiles")
meta_app = typer.Typer(help="Put sleeves into one portfolio of physical coins.", no_args_is_help=True)
app.add_typer(meta_app, name="meta")

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="ASSAY_HOME", help="Folder in which lake, runs and reports live.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
SourceOption = Annotated[str, typer.Option("--source", help="sample, or parquet:PATH.")]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", help="UTC date (its close counts) or instant; default: the last bar's close.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Change one setting, such as caps.atom=0.2.")]
RunArgument = Annotated[str, typer.Argument(help="Run id, or a path to a run directory.")]
WorkersOption = Annotated[int | None, typer.Option(help="Processes; default: one for each core, at most one a run.")]

DEFAULT_HOME = Path("assay-home")


def main() -> None:
    """Run the command line and exit with the code of what happened."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    """Print an error of ours once, the way the caller asked for, and exit with its code."""
    try:
        yield
    except typer.Exit:
        raise
    except AssayError as error:
        _fail(error, as_json)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None
    except OSError as error:
        from assay.errors import DiskError

        place = str(error.filename or "")
        _fail(DiskError(error.strerror or str(error), where=place, hint="check the disk and its permissions"), as_json)
    except Exception as error:  # noqa: BLE001 - the edge of the program: a fault of ours still ends as exit code 5
        import traceback

        from assay.errors import InternalError

        traceback.print_exc()
        _fail(InternalError(f"{type(error).__name__}: {error}", hint="report it with the traceback above"), as_json)


def _fail(error: AssayError, as_json: bool) -> None:
    if as_json:
        _print_json({"error": error.as_dict()})
    typer.echo(f"error: {error.code}: {error}", err=True)
    raise typer.Exit(int(error.exit_code)) from None


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _home(path: Path) -> Home:
    from assay.runs import Home

    return Home(path.resolve())


def _catalog(settings: list[str] | None) -> Catalog:
    from assay.profile import load

    return load(Path.cwd(), os.environ, settings or ())


def _single_threaded() -> None:
    """Give Polars and BLAS one thread each before they are imported: content must not depend on thread counts."""
    for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


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
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run one sleeve, or several in parallel, and print the verdicts."""
    from assay.commands import flows

    _single_threaded()
    with _errors(as_json):
        if resume:
            code = flows.resume(_home(home), run_id, redo_from, as_json)
        else:
            code = flows.run(_home(home), _catalog(settings), profile, source, as_of, run_id, workers, as_json)
    raise typer.Exit(code)


@app.command()
def flow(
    name: Annotated[str, typer.Argument(help="Flow, such as binance-spot-ratings.")],
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run the profiles of a flow in parallel and write their joint audit report."""
    from assay.commands import flows

    _single_threaded()
    with _errors(as_json):
        code = flows.flow(_home(home), _catalog(settings), name, source, as_of, workers, as_json)
    raise typer.Exit(code)


@app.command()
def ingest(source: SourceOption = "sample", home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Load a source's bars into the lake, audit them and rate them."""
    from assay.commands import foundation

    _single_threaded()
    with _errors(as_json):
        foundation.ingest(_home(home), source, as_json)


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

    _single_threaded()
    with _errors(as_json):
        foundation.scan(_home(home), _catalog(settings), source, as_of, as_json)


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

    _single_threaded()
    with _errors(as_json):
        foundation.ratings(symbol, source, as_of, interval, as_json)


@app.command()
def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show every run: profile, run id, state, step, elapsed."""
    from assay.commands import inspection

    with _errors(as_json):
        inspection.status(_home(home), as_json)


@app.command()
def why(
    run: RunArgument,
    symbol: Annotated[str, typer.Argument(help="TradingView notation, BINANCE:SOLUSDT.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say what became of a coin in a run, winner or loser, and for what reason."""
    from assay.commands import inspection

    with _errors(as_json):
        inspection.why(_home(home), run, symbol, as_json)


@app.command()
def validate(
    run: Annotated[str | None, typer.Argument(help="Run id, or a path to a run directory.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run of the home folder.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Check all artifacts of a run against each other again; exit 0 only if every check is ok."""
    from assay.commands import inspection

    _single_threaded()
    with _errors(as_json):
        code = inspection.validate(_home(home), run, every, as_json)
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

    with _errors(as_json):
        code = inspection.verify(_home(home), run, head, as_json)
    raise typer.Exit(code)


@app.command()
def replay(run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Run again from the manifest and the pinned lake, and compare every artifact: EQUAL, WITHIN 1e-9 or DIFFERENT."""
    from assay.commands import inspection

    _single_threaded()
    with _errors(as_json):
        code = inspection.replay(_home(home), run, as_json)
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

    _single_threaded()
    with _errors(as_json):
        code = commands.causality(_home(home), run, dates, seed, as_json)
    raise typer.Exit(code)


@app.command("audit-report")
def audit_report(
    runs: Annotated[list[str], typer.Argument(help="Run ids, or paths to run directories.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write one audit report over one run or several, such as a long and a short sleeve side by side."""
    from assay.commands import inspection

    _single_threaded()
    with _errors(as_json):
        inspection.audit_report(_home(home), runs, as_json)


@app.command()
def compare(
    run: RunArgument,
    other: Annotated[str, typer.Argument(help="The run to compare it with: an id, or a path.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say what changed from one run to another, and which input (settings, data, date) caused it."""
    from assay.commands import compare as comparing

    _single_threaded()
    with _errors(as_json):
        comparing.compare(_home(home), run, other, as_json)


@app.command()
def trials(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List what was tried, with Sharpe ratios, and how likely the best of it is best by luck."""
    from assay.commands import trials as trying

    _single_threaded()
    with _errors(as_json):
        trying.trials(_home(home), as_json)


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
    from assay.commands import orders as commands

    _single_threaded()
    with _errors(as_json):
        asked = commands.Options(
            run, nav, holdings, risk_profile, order_type, instruments, prices, leave_out or (), out
        )
        commands.orders(_home(home), asked, as_json)


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
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Put the latest valid runs of a meta-portfolio's sleeves into one book of physical coins."""
    from assay.commands import meta

    _single_threaded()
    with _errors(as_json):
        if resume:
            code = meta.resume(_home(home), run_id, as_json)
        else:
            catalog = _catalog(settings)
            code = meta.run(_home(home), catalog, name, runs or [], source, as_of, run_id, workers, missing, as_json)
    raise typer.Exit(code)


@profiles_app.command("list")
def profiles_list(as_json: JsonOption = False) -> None:
    """List profiles, scanners, meta-portfolios and flows."""
    from assay.commands import profiles

    with _errors(as_json):
        profiles.listing(_catalog(None), as_json)


@profiles_app.command("show")
def profiles_show(
    name: Annotated[str, typer.Argument(help="Profile.")], settings: SetOption = None, as_json: JsonOption = False
) -> None:
    """Print every value of a profile and where it comes from."""
    from assay.commands import profiles

    with _errors(as_json):
        profiles.show(_catalog(settings), name, as_json)
