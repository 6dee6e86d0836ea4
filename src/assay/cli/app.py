"""What commands share: their groups, their options, and how an error of any kind becomes a line and an exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from assay.base.errors import AssayError, DiskError, Exit, InternalError, redacted
from assay.cli import output

if TYPE_CHECKING:
    from assay.runs.home import Home
    from assay.settings import Catalog
    from assay.settings.model import Execution
    from assay.sources.acceptance import Acceptance

PANELS = {
    "Make portfolios": ("run", "flow", "meta", "account", "orders"),
    "Look at them": ("status", "why", "worth", "report", "audit-report", "compare", "trials", "serve"),
    "Data": ("ingest", "scan", "ratings", "doctor", "clean"),
    "Settings": ("profiles", "new"),
    "Proofs": ("audit", "validate", "verify", "prove", "replay", "causality", "selftest", "keys"),
}
"""What ``--help`` shows, in this order; a command that is not named comes at the end."""


class Grouped(TyperGroup):
    """Commands by what they are for, each with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as the base class calls it
        """Write the commands in groups; those of a group without panels in one."""
        own = {name: one for name, one in self.commands.items() if not one.hidden}
        known = {name for names in PANELS.values() for name in names}
        rest = tuple(name for name in own if name not in known)
        panels = (
            {**PANELS, "Other": rest} if own.keys() & known and self.name == app.info.name else {"Commands": (*own,)}
        )
        for title, names in panels.items():
            rows = [(name, own[name].get_short_help_str(SENTENCE)) for name in names if name in own]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=COLUMN)


SENTENCE = 1000
"""Characters of a command's first sentence that its group shows: all of them, in as many lines as they need."""
COLUMN = 14
"""Width of the names' column; the longest name but a few fits."""

app = typer.Typer(
    name="assay",
    cls=Grouped,
    help="Turn technical ratings on Binance spot coins into audited portfolios.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
profiles_app = typer.Typer(
    cls=Grouped, help="List profiles and show where each setting comes from.", no_args_is_help=True
)
app.add_typer(profiles_app, name="profiles")
new_app = typer.Typer(cls=Grouped, help="Begin something of your own: a profile.", no_args_is_help=True)
app.add_typer(new_app, name="new")
meta_app = typer.Typer(cls=Grouped, help="Put sleeves into one portfolio of physical coins.", no_args_is_help=True)
app.add_typer(meta_app, name="meta")
account_app = typer.Typer(
    cls=Grouped, help="Keep books that live from day to day; nothing is ever sent.", no_args_is_help=True
)
app.add_typer(account_app, name="account")
keys_app = typer.Typer(
    cls=Grouped, help="Make keys that sign seals, and show their fingerprints.", no_args_is_help=True
)
app.add_typer(keys_app, name="keys")


def _version(asked: bool) -> None:
    if asked:
        from assay.base.environment import VERSION

        output.line(f"assay {VERSION}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def _run_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer run ids to a shell, and ``latest``."""
    home = home_at(Path(ctx.params.get("home") or os.environ.get("ASSAY_HOME") or DEFAULT_HOME))
    return [name for name in ("latest", *reversed(home.run_ids())) if name.startswith(incomplete)]


def declared(section: str) -> Callable[[str], list[str]]:
    """Return what offers the names that a section of the settings declares to a shell."""

    def offer(incomplete: str) -> list[str]:
        try:
            names = read_catalog().names(section)
        except AssayError:
            return []
        return [name for name in names if name.startswith(incomplete)]

    return offer


HomeOption = Annotated[
    Path, typer.Option("--home", envvar="ASSAY_HOME", help="Folder in which lake, runs and reports live.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
SourceOption = Annotated[
    str, typer.Option("--source", help="sample, csv:PATH, parquet:PATH, binance, archive, or ccxt:NAME.")
]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", help="UTC date (its close counts) or instant; default: the last bar's close.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Change one setting, such as caps.atom=0.2.")]
AcceptOption = Annotated[
    list[str] | None, typer.Option("--accept", help="CODE:DIGEST of a refusal that is so, as the refusal prints it.")
]
BecauseOption = Annotated[str | None, typer.Option("--because", help="Why it is so; kept with what is made.")]
RunArgument = Annotated[
    str,
    typer.Argument(
        help="Run id or a beginning of it, latest, latest:PROFILE, or a path to a run directory.",
        autocompletion=_run_names,
    ),
]
WorkersOption = Annotated[int | None, typer.Option(help="Processes; default: one for each core, at most one a run.")]
ExecutorOption = Annotated[
    str | None, typer.Option("--executor", help="serial, pool, or ray[:ADDRESS]; default: pool for several runs.")
]

DEFAULT_HOME = Path("assay-home")

Body = TypeVar("Body", bound=Callable[..., int | None])


def command(name: str | None = None, group: typer.Typer = app, *, threads: bool = False) -> Callable[[Body], Body]:
    """Enter a function as a command: it returns its exit code or None, and its errors are printed as asked for.

    ``threads`` lets Polars and BLAS use all cores: right only where nothing that is computed is kept.
    """

    def enter(body: Body) -> Body:
        @wraps(body)
        def entered(*arguments: Any, **options: Any) -> None:
            if not threads:
                single_threaded()
            with errors(options.get("as_json", False)):
                code = body(*arguments, **options)
            raise typer.Exit(code or 0)

        group.command(name)(entered)
        return body

    return enter


@contextmanager
def errors(as_json: bool) -> Iterator[None]:
    """Print an error of ours once, the way the caller asked for, and exit with its code."""
    try:
        yield
    except typer.Exit:
        raise
    except AssayError as error:
        _fail(error, as_json)
    except KeyboardInterrupt:
        output.note("interrupted")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except OSError as error:
        place = str(error.filename or "")
        _fail(DiskError(error.strerror or str(error), where=place, hint="check the disk and its permissions"), as_json)
    except Exception as error:  # noqa: BLE001 - the edge of the program: a fault of ours still ends as exit code 5
        import traceback

        output.note(redacted(traceback.format_exc()))
        _fail(InternalError(f"{type(error).__name__}: {error}", hint="report it with the traceback above"), as_json)


def _fail(error: AssayError, as_json: bool) -> None:
    if as_json:
        output.as_json({"error": error.as_dict()})
    output.note(f"error: {error.code}: {error}")
    raise typer.Exit(int(error.exit_code)) from None


def home_at(path: Path) -> Home:
    """Return the home folder at a path; ``ASSAY_LAKE=s3://bucket/prefix`` puts its lakes' tables into a bucket."""
    from assay.runs.home import Home

    return Home(path.resolve(), os.environ.get("ASSAY_LAKE") or None)


def read_catalog(settings: list[str] | None = None) -> Catalog:
    """Read profiles from the canon, ``./assay.toml``, the environment and ``--set``."""
    from assay.settings import load

    return load(Path.cwd(), os.environ, settings or ())


def executed(catalog: Catalog, executor: str | None, workers: int | None) -> Execution:
    """Return where work is done: the settings, and the command line over them."""
    asked = {"use": executor, "workers": workers}
    return catalog.execution().model_copy(update={key: value for key, value in asked.items() if value is not None})


def accepted(wanted: list[str] | None, because: str | None) -> Acceptance:
    """Read what is accepted in this call, from its command line alone."""
    from assay.sources import acceptance

    return acceptance.Acceptance.asked(wanted or (), because)


def single_threaded() -> None:
    """Give Polars and BLAS one thread each before they are imported: content must not depend on thread counts."""
    for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
