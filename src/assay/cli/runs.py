"""Commands that make runs: ``run``, ``flow``, ``meta run``; and ``profiles``, which says what they would be made by."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.base import files
from assay.base.domain import UTC
from assay.base.errors import UsageError, redacted
from assay.cli import output
from assay.cli.app import (
    DEFAULT_HOME,
    AcceptOption,
    AsOfOption,
    BecauseOption,
    ExecutorOption,
    HomeOption,
    JsonOption,
    SetOption,
    SourceOption,
    WorkersOption,
    accepted,
    command,
    declared,
    executed,
    home_at,
    meta_app,
    new_app,
    profiles_app,
    read_catalog,
)

if TYPE_CHECKING:
    from assay.pipeline.flow import Foundation
    from assay.runs.home import Home, RunResult
    from assay.settings import Catalog
    from assay.settings.model import Execution
    from assay.sources.acceptance import Acceptance


@command()
def run(
    profile: Annotated[list[str], typer.Argument(help="One profile or several.", autocompletion=declared("profiles"))],
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    settings: SetOption = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Name of the run (one profile only).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run named by --run-id.")] = False,
    redo_from: Annotated[
        str | None, typer.Option("--from", help="With --resume: step to begin again from, by number or name.")
    ] = None,
    accept: AcceptOption = None,
    because: BecauseOption = None,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Run one sleeve, or several in parallel, and print the verdicts."""
    from assay.pipeline.flow import worst

    place, catalog, taken = home_at(home), read_catalog(settings), accepted(accept, because)
    if resume:
        if taken.wanted:
            raise UsageError("a resumed run has its state of the lake already", where="--accept", hint="leave it out")
        outcomes = [_resumed(place, catalog, profile, source, as_of, run_id, redo_from)]
    else:
        if run_id is not None and len(profile) > 1:
            raise UsageError("--run-id names one run", hint="give one profile, or let the runs be named")
        outcomes = _made(place, catalog, profile, source, as_of, run_id, executed(catalog, executor, workers), taken)
    _print(outcomes, as_json, place)
    output.told_accepted(taken)
    return worst(outcomes)


@command()
def flow(
    name: Annotated[str, typer.Argument(help="Flow, such as binance-spot-ratings.", autocompletion=declared("flows"))],
    source: SourceOption = "sample",
    as_of: AsOfOption = None,
    settings: SetOption = None,
    run_ids: Annotated[
        str | None, typer.Option("--run-ids", help="Names of the runs, with commas, in the order of the profiles.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the flow's last runs, or those named by --run-ids.")
    ] = False,
    accept: AcceptOption = None,
    because: BecauseOption = None,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Run the profiles of a flow in parallel and write their joint audit report."""
    from assay.pipeline.flow import (
        at_once,
        begun,
        go_on,
        joint_report,
        lay_foundation,
        requests,
        run_watched,
        workforce,
        worst,
    )
    from assay.runs.home import check_free, claim

    place, catalog, taken = home_at(home), read_catalog(settings), accepted(accept, because)
    execution = executed(catalog, executor, workers)
    names = catalog.flow(name)
    _check(catalog, names)
    ids = None if run_ids is None else [one.strip() for one in run_ids.split(",")]
    if ids is not None and (len(ids) != len(names) or len(set(ids)) != len(ids)):
        raise UsageError(
            f"--run-ids has {len(set(ids))} names, and {name} {len(names)} profiles",
            hint=f"one name for each of {', '.join(names)}",
        )
    if resume and taken.wanted:
        raise UsageError("a resumed flow has its state of the lake already", where="--accept", hint="leave it out")
    earlier = begun(place, names, ids) if resume else []
    for one in () if resume else ids or ():
        check_free(place.runs, one)
    folder = claim(place.flows, name, None, dt.datetime.now(UTC))
    with workforce(execution.use or "pool", at_once(execution, len(names)), place) as pool:
        if resume:
            outcomes = go_on(pool, earlier)
            report = joint_report(folder, place, earlier[0], outcomes, pool, _verdicts(outcomes))
        else:
            foundation = lay_foundation(place, catalog, source, as_of, output.progress, pool, taken)
            _note_findings(foundation)
            outcomes = run_watched(pool, requests(place, catalog, foundation, names, ids))
            report = joint_report(folder, place, foundation, outcomes, pool, _verdicts(outcomes))
    _print(outcomes, as_json, place, None if report is None else str(report))
    output.told_accepted(taken)
    return worst(outcomes)


def _note_findings(foundation: Foundation) -> None:
    """Say before anything is run what the reading of the source found that decides what a run sees."""
    from assay.market.whole import TOLD_IN_RUNS

    for found in foundation.snapshot.record.findings:
        if found.code in TOLD_IN_RUNS:
            output.note(f"finding {found.code}: {found.what} ({found.count}){output.names(found.names)}")


def _check(catalog: Catalog, names: Sequence[str]) -> None:
    """Refuse a profile that is unknown before anything is begun."""
    for name in names:
        catalog.profile(name)


def _made(
    home: Home,
    catalog: Catalog,
    names: Sequence[str],
    source: str,
    as_of: str | None,
    run_id: str | None,
    execution: Execution,
    taken: Acceptance,
) -> list[RunResult]:
    """Run several profiles by an executor, or one in this process and the parts of its walk-forward by an executor."""
    from assay.pipeline.flow import at_once, execute_watched, lay_foundation, requests, run_watched, workforce

    _check(catalog, names)
    one = len(names) == 1
    workers = execution.workers if one else at_once(execution, len(names))
    with workforce(execution.use or ("serial" if one else "pool"), workers, home) as pool:
        foundation = lay_foundation(home, catalog, source, as_of, output.progress, pool, taken)
        _note_findings(foundation)
        wanted = requests(home, catalog, foundation, names, run_id)
        return [execute_watched(wanted[0], executor=pool)] if one else run_watched(pool, wanted)


def _resumed(
    home: Home,
    catalog: Catalog,
    names: Sequence[str],
    source: str,
    as_of: str | None,
    run_id: str | None,
    first: str | None,
) -> RunResult:
    """Go on with a run that ended early, at the latest from the step that is asked for."""
    from assay.pipeline.flow import execute_watched, resumption
    from assay.pipeline.tables import step

    if run_id is None:
        raise UsageError("which run?", hint="name it with --run-id")
    if len(names) > 1:
        raise UsageError("--resume goes on with one run", hint="give its profile alone")
    redo_from = None if first is None else step(first).number
    request = resumption(home, catalog, names[0], source, as_of, run_id, output.progress)
    return execute_watched(request, redo_from)


def _verdicts(outcomes: Sequence[RunResult]) -> str:
    head = ["profile", "run id", "verdict", "audit report"]
    return output.table(
        head, [[o.profile, o.run_id, o.verdict, "-" if o.report is None else output.near(o.report)] for o in outcomes]
    )


def _print(outcomes: Sequence[RunResult], as_json: bool, home: Home, report: str | None = None) -> None:
    from assay.pipeline.flow import summary

    if as_json:
        output.as_json(summary(outcomes) | ({} if report is None else {"report": report}))
        return
    output.line(_verdicts(outcomes))
    for outcome in outcomes:
        if outcome.error is not None:
            error = outcome.error
            output.line(f"{outcome.run_id}: {error['what']} [{error['where']}]; {error['hint']}")
        else:
            _print_glance(home.runs / outcome.run_id)
    if report is not None:
        page = output.near(str(Path(report).with_name("report.html")))
        output.line(f"joint audit report: {output.near(report)}")
        output.line(f"to look at: {page}, and report.html beside each audit report")


def _print_glance(folder: Path) -> None:
    """Print the first screen of a run."""
    from assay.report.glance import glance_lines, run_before
    from assay.report.view import open_run

    view = open_run(folder)
    output.line(f"\n{view.name}, as of {view.as_of}")
    for text in glance_lines(view, run_before(view)):
        output.line(text)


@command("run", meta_app)
def meta_run(
    name: Annotated[str, typer.Argument(help="Meta-portfolio, such as meta_binance_spot_ratings.")],
    runs: Annotated[list[str] | None, typer.Argument(help="Runs to take; the other sleeves are found, or run.")] = None,
    source: Annotated[str | None, typer.Option(help="Default: that of the runs, else sample.")] = None,
    as_of: AsOfOption = None,
    settings: SetOption = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Name of the run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run named by --run-id.")] = False,
    missing: Annotated[bool, typer.Option("--run-missing/--no-run-missing", help="Run sleeves without a run.")] = True,
    accept: AcceptOption = None,
    because: BecauseOption = None,
    executor: ExecutorOption = None,
    workers: WorkersOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> int:
    """Put the latest valid runs of a meta-portfolio's sleeves into one book of physical coins."""
    from assay.pipeline import meta_flow

    place, catalog, taken = home_at(home), read_catalog(settings), accepted(accept, because)
    execution = executed(catalog, executor, workers)
    if resume and run_id is None:
        raise UsageError("which run?", hint="name it with --run-id")
    if run_id is not None and resume and meta_flow.is_resumable(place, run_id):
        outcome = meta_flow.resume(place, run_id)
    else:
        outcome = meta_flow.run(
            place, catalog, name, runs or [], source, as_of, run_id, execution, missing, again=resume, accept=taken
        )
    folder = place.runs / outcome.run_id
    _print_meta(outcome, folder, _books(folder) if outcome.state == "VALID" else {}, as_json)
    return outcome.exit_code


def _print_meta(outcome: RunResult, folder: Path, books: dict[str, dict[str, Any]], as_json: bool) -> None:
    if as_json:
        output.as_json(outcome.as_dict() | {"profiles": books})
        return
    if outcome.error is not None:
        error = outcome.error
        output.line(f"{outcome.run_id}: {error['code']}: {error['what']} [{error['where']}]; {error['hint']}")
    else:
        sleeves = list(next(iter(books.values()))["sleeves"])
        rows = [
            [
                name,
                *(f"{book['sleeves'][sleeve]:.3f}" for sleeve in sleeves),
                *(f"{book[key]:.3f}" for key in ("gross", "net", "cash")),
                book["coins"],
            ]
            for name, book in books.items()
        ]
        output.line(output.table(["risk profile", *sleeves, "gross", "net", "cash", "coins"], rows))
        _print_glance(folder)
    output.line(f"{outcome.run_id}: {outcome.verdict}" + (f"  {output.near(outcome.report)}" if outcome.report else ""))


def _books(folder: Path) -> dict[str, dict[str, Any]]:
    """Return weights of sleeves, totals and the number of coins for each risk profile of a portfolio."""
    from assay.runs.artifacts import META_CONTRIBUTORS

    contributors = files.read_json(folder / META_CONTRIBUTORS)["profiles"]
    return {
        name: {
            "sleeves": book["sleeve_weight"],
            **{key: book[key] for key in ("gross", "net", "cash")},
            "coins": len(book["coins"]),
        }
        for name, book in contributors.items()
    }


@command("profile", new_app)
def new_profile(
    name: Annotated[str, typer.Argument(help="Name of the profile.")],
    like: Annotated[str, typer.Option(help="Profile whose values it begins with.")] = "binance_spot_rating_all_long",
    as_json: JsonOption = False,
) -> None:
    """Write a profile into ./assay.toml, with every setting, its meaning, unit, range and value."""
    from assay.settings.resolve import USER_FILE
    from assay.settings.template import profile_text

    path = Path.cwd() / USER_FILE
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    text = profile_text(read_catalog(), name, like, house=not before.strip())
    files.write(path, (before.rstrip() + "\n\n" + text if before.strip() else text).encode())
    if as_json:
        output.as_json({"profile": name, "like": like, "file": str(path)})
    else:
        output.line(f"{USER_FILE}: profile {name}, begun as {like}; run it by: assay run {name} --source csv:PATH")


@command("list", profiles_app)
def profiles_list(as_json: JsonOption = False) -> None:
    """List profiles, scanners, meta-portfolios and flows."""
    catalog = read_catalog()
    names = {section: catalog.names(section) for section in ("profiles", "scanners", "meta", "flows")}
    if as_json:
        output.as_json(names)
        return
    for section, listed in names.items():
        output.line(f"{section}:")
        for name in listed:
            output.line(f"  {name}")


@command("show", profiles_app)
def profiles_show(
    name: Annotated[str, typer.Argument(help="Profile or meta-portfolio.")],
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print every setting: value, where it comes from, meaning; of the profile, its scanners, and the house."""
    told = list(read_catalog(settings).explained(name))
    # An address is shown without its login.
    values = [redacted(one.value) if isinstance(one.value, str) else one.value for one in told]
    if as_json:
        output.as_json(
            {
                one.name: {"value": value, "origin": redacted(one.origin), "meaning": one.fact.meaning}
                | {"unit": one.fact.unit, "range": one.fact.range}
                for one, value in zip(told, values, strict=True)
            }
        )
        return
    rows = [
        [one.name, json.dumps(value, ensure_ascii=False), redacted(one.origin), f"{one.fact.meaning} {one.fact.limits}"]
        for one, value in zip(told, values, strict=True)
    ]
    output.line(output.table(["setting", "value", "origin", "meaning"], rows))
