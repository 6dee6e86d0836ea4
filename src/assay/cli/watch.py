"""Commands that show runs as they go: ``status``, on a terminal or line by line, and ``serve``, the read-only page."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer

from assay.base.domain import UTC, parse_as_of
from assay.base.errors import AssayError, UsageError
from assay.cli import output
from assay.cli.app import DEFAULT_HOME, HomeOption, JsonOption, command, home_at

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from assay.page.run_list import Row, RunList
    from assay.runs.home import Home

INTERVAL = 0.2
"""Seconds between two looks."""
MARGIN = 4
"""Lines of a terminal that are not rows: the heading, the line about what is left out, the prompt."""
SHORTEST = 16
"""Characters that a token has at least."""
NEEDED = ("sse_starlette", "starlette", "uvicorn")
"""What the page runs on."""


@command()
def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: redraw on a terminal, a line per change elsewhere.")
    ] = False,
    profile: Annotated[str | None, typer.Option(help="Only runs of this profile or portfolio.")] = None,
    state: Annotated[str | None, typer.Option(help="Only RUNNING, VALID, FAILED, DEAD or INTERRUPTED ones.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only runs that began since then: 2024-01-31, an instant, 12h or 7d.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show runs, newest first: profile, run id, state, step, elapsed."""
    from assay.report.live import COLUMNS, newest, row

    place, now = home_at(home), dt.datetime.now(UTC)
    chosen = profile is not None or state is not None or since is not None
    if watch:
        if chosen:
            raise UsageError("--watch shows every run", hint="leave --profile, --state and --since out")
        watch_runs(place, as_json)
    seen = newest(place, profile, state, None if since is None else _since(since, now))
    if as_json:
        output.as_json([asdict(entry) for entry in seen])
        return
    if seen:
        output.line(output.table(COLUMNS, [row(entry, now) for entry in seen]))
    elif chosen:
        output.line("no run is so; all are listed by: assay status")
    else:
        output.line(f"no run in {place.path} yet; make one with: assay flow binance-spot-ratings")
    if place.accounts.is_dir():
        from assay.report.account import account_rows

        for one in account_rows(place):
            output.line(_of_account(one))
    for folder in sorted(place.lake.glob("*/")) if place.lake.is_dir() else ():
        for text in _accepted(folder):
            output.line(f"{folder.name}: {text}")


def _of_account(told: Mapping[str, Any]) -> str:
    """Return an account as one line."""
    if told["nav"] is None:
        return f"account {told['account']}: {told['state']}{told['error'] and ', '}{told['error']}"
    words = [
        told["state"],
        *(f"ALARM {code}" for code in told["alarms"]),
        *(["SIMULATED"] if told["simulated"] else []),
    ]
    return (
        f"account {told['account']}: {', '.join(words)}, NAV {told['nav']:,.2f} on {told['day']}, {told['portfolio']}"
    )


def _since(text: str, now: dt.datetime) -> dt.datetime:
    """Read when to begin: a date (its beginning), an instant, or so many hours or days ago."""
    units = {"h": dt.timedelta(hours=1), "d": dt.timedelta(days=1)}
    if text[:-1].isdecimal() and text[-1] in units:
        try:
            return now - int(text[:-1]) * units[text[-1]]
        except OverflowError:
            raise UsageError(f"{text} is longer ago than time reaches", where="--since", hint="write 7d") from None
    return parse_as_of(text) - (dt.timedelta(days=1) if len(text) == 10 else dt.timedelta(0))


def _accepted(folder: Path) -> list[str]:
    """Return what decisions of a lake's last close rest on though it was refused; a damaged lake is the doctor's."""
    from assay.lake.head import read_heads

    try:
        heads = read_heads(folder)
    except AssayError:
        return []
    return [one.said for one in heads[-1].in_force(heads[-1].last_close)] if heads else []


def watch_runs(home: Home, as_json: bool, stream: TextIO | None = None) -> NoReturn:
    """Show the state of every run until interrupted: redrawn on a terminal, a line for each change elsewhere.

    Raises
    ------
    KeyboardInterrupt
        When the user has seen enough: the only way out.
    """
    from assay.page.run_list import RunList

    runs, out = RunList(home), stream or sys.stdout
    if out.isatty() and not as_json:
        _redraw(runs, out)
    _go_on(runs, Lines(out, as_json).show)


def _go_on(runs: RunList, show: Callable[[RunList], None]) -> NoReturn:
    while True:
        runs.refresh()
        show(runs)
        time.sleep(INTERVAL)


class Lines:
    """Prints a line whenever a run's state or step changes; the first look prints the runs that are there.

    Parameters
    ----------
    stream : text stream
    as_json : bool
        Print JSON objects, one on a line.
    """

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self.stream = stream
        self.as_json = as_json
        self._mark = ""
        self._seen: dict[str, Row] = {}

    def show(self, runs: RunList) -> None:
        """Print what changed since the last call."""
        update = runs.since(self._mark)
        self._mark = update.mark
        if update.whole:
            update.gone.extend(set(self._seen) - {entry.run_id for entry in update.rows})
        for name in sorted(update.gone):
            if name in self._seen:
                self._print({"run_id": name, "state": "GONE"}, (self._seen.pop(name).profile, name, "GONE"))
        now = dt.datetime.now(UTC)
        for entry in sorted(update.rows, key=lambda entry: (entry.started, entry.run_id)):
            if self._seen.get(entry.run_id) != entry:
                self._seen[entry.run_id] = entry
                self._print(asdict(entry), _cells(entry, now))
        self.stream.flush()

    def _print(self, plain: dict[str, object], texts: Sequence[str]) -> None:
        line = json.dumps(plain, ensure_ascii=False) if self.as_json else "  ".join(texts)
        self.stream.write(f"{line}\n")


def _cells(entry: Row, now: dt.datetime) -> tuple[str, ...]:
    """Return one row of the table, in the order of :data:`assay.report.live.COLUMNS`."""
    return entry.profile or "-", entry.run_id, entry.verdict, entry.stage, f"{entry.seconds(now):.1f} s"


def _redraw(runs: RunList, stream: TextIO) -> NoReturn:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live(console=console, auto_refresh=False) as live:
        _go_on(runs, lambda seen: live.update(table(seen, console.height - MARGIN), refresh=True))


def table(runs: RunList, height: int) -> Table:
    """Return the runs that fit a terminal: what is going first, then what started last."""
    from rich.table import Table
    from rich.text import Text

    from assay.report.live import COLUMNS, STYLES

    now = dt.datetime.now(UTC)
    rows = sorted(runs.rows(), key=lambda entry: entry.state != "RUNNING")
    left_out = len(rows) - max(height, 1)
    caption = f"and {left_out} more: assay status lists all" if left_out > 0 else None
    shown = Table(box=None, pad_edge=False, caption=runs.fault or caption, caption_justify="left")
    for column in COLUMNS:
        shown.add_column(column, overflow="fold")  # the end of a run id is what tells runs apart
    for entry in rows[: max(height, 1)]:
        # Text, not markup: a run may be named by anyone.
        texts = [Text(text) for text in _cells(entry, now)]
        texts[2].stylize("red" if entry.ruin else STYLES.get(entry.state, ""))
        shown.add_row(*texts)
    return shown


@command(threads=True)
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback only with a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    new_token: Annotated[bool, typer.Option("--new-token", help="Make a token and print it once.")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name by which browsers reach this host; may be repeated.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show runs, lakes, ratings and reports as a read-only page; ASSAY_TOKEN in the environment asks for a token."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} is not installed", hint="pip install 'assay-portfolio[page]'")
    from assay.page.server import is_loopback
    from assay.page.server import serve as run

    place, loopback = home_at(home), is_loopback(host)
    token = secrets.token_urlsafe(24) if new_token else _token(host, loopback)
    names = [*(allow_host or ()), *([] if loopback else [socket.gethostname()])]

    def ready(address: str) -> None:
        if as_json:
            shown = {"token": token} if new_token else {}
            output.as_json({"home": str(place.path), "address": address, "asks_for_token": token is not None} | shown)
            return
        output.line(f"serving {place.path} at {address} (read-only; Ctrl-C ends it)")
        if new_token:
            output.line(f"token, shown this once: {token}")
        if token is not None:
            output.line("a browser asks for it as the password; any user name will do")

    run(place, host, port, token, names, ready)


def _token(host: str, loopback: bool) -> str | None:
    """Return the token of the environment; without one others may not be let in."""
    token = os.environ.get("ASSAY_TOKEN")
    if token is not None:
        if len(token) < SHORTEST or not token.isascii() or not token.isprintable():
            raise UsageError(
                f"ASSAY_TOKEN is not {SHORTEST} or more printable ASCII characters",
                hint="take a long random one, or let --new-token make one",
            )
    elif not loopback:
        raise UsageError(
            "others could read everything in the home folder",
            where=host,
            hint="set ASSAY_TOKEN, or add --new-token; or stay on 127.0.0.1",
        )
    return token
