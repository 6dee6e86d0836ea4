"""Commands that say what runs came to: ``why``, ``report``, ``audit-report``, ``compare``, ``trials``.

They only read the runs; what they write lies in the home's ``reports``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.base import files
from assay.base.constants import TOLERANCE
from assay.base.errors import UsageError
from assay.cli import output
from assay.cli.app import DEFAULT_HOME, HomeOption, JsonOption, RunArgument, command, home_at

if TYPE_CHECKING:
    from assay.backtest.overfitting import Tried
    from assay.backtest.trials import Trial
    from assay.report.why import CoinData, Why
    from assay.runs.documents import Worth
    from assay.runs.home import Home
    from assay.runs.run import Run

LONGEST = 150
"""Characters of a file's name; run ids of many runs are told by a hash."""


@command()
def why(
    run: RunArgument,
    symbol: Annotated[str, typer.Argument(help="TradingView notation, BINANCE:SOLUSDT.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say what became of a coin in a run, winner or loser, and for what reason; of a portfolio, in each sleeve."""
    from assay.report.why import why as tell

    found = tell(home_at(home).run(run), symbol)
    if as_json:
        output.as_json(found.model_dump(mode="json"))
        return
    _print_why(found)


def _print_why(found: Why) -> None:
    symbol = found.symbol
    output.line(f"{symbol}: {found.answer}")
    if found.benchmark:
        output.line(f"{symbol}: the benchmark of this run, kept in its market whatever the scanners say")
    for entry in found.health:
        output.line(f"{symbol}: data {entry.status}, {entry.observations} observations; {entry.cause}")
    for drop in found.dropped:
        output.line(f"{symbol}: {drop.reason}; {drop.detail}")
    _print_data(symbol, found.data)
    for fate in found.fates:
        detail = [fate.detail] if fate.detail else []
        detail += [] if fate.alpha_score is None else [f"alpha {fate.alpha_score:.4f}, cluster {fate.cluster_id}"]
        output.line("; ".join([f"{fate.logic} {fate.direction}: {fate.stage}: {fate.reason}", *detail]))
    for name, weight in found.weights.items():
        output.line(f"weight in {name}: {weight:+.4f}{_parts(found, name)}")
    for run_id, own in found.sleeves.items():
        output.line(f"--- {run_id}")
        _print_why(own)


def _parts(found: Why, name: str) -> str:
    """Say which sleeves of a portfolio give a weight, and what of it the limit per coin cut."""
    parts = found.contributors.get(name, [])
    told = [f"{' > '.join(one.Path)} {one.Direction} {one.Weight:.4f}" for one in parts]
    cut = sum(one.Weight - one.Held for one in parts)
    told += [f"{cut:.4f} to cash by the limit per coin"] if cut > TOLERANCE else []
    return f" = {', '.join(told)}" if told else ""


@command()
def worth(run: RunArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Say what a run's decisions were worth: plain books, lots, costs, capacity; of a portfolio, its sleeves'."""
    from assay.report.worth import sentences
    from assay.runs.run import Run

    opened = Run(home_at(home).run(run))
    found = dict(_judged(opened))
    if as_json:
        plain = {name: judged.model_dump(mode="json") for name, judged in found.items()}
        output.as_json({"sleeves": plain} if opened.kind == "meta" else plain[opened.folder.name])
        return
    for name, judged in found.items():
        output.line(f"{name}:")
        for said in sentences(judged):
            output.line(f"  {said}")


def _judged(run: Run) -> Iterator[tuple[str, Worth]]:
    """Yield the worth of a run by its id; of a portfolio, that of the sleeves below it."""
    from assay.runs import artifacts as layout

    run.check_format()
    if run.kind == "meta":
        for one in run[layout.META_SLEEVES].accepted:
            yield from _judged(run.beside(one.run_id))
    else:
        yield run.folder.name, run[layout.WORTH]


def _print_data(symbol: str, data: CoinData | None) -> None:
    if data is None:
        return
    if data.refused:
        told = ", ".join(f"{number} {reason}" for reason, number in data.refused.items())
        output.line(f"{symbol}: rows refused: {told}")
    for hole in data.missing:
        output.line(f"{symbol}: {hole.days} days missing, {hole.first} to {hole.last}: {hole.owner}")
    if data.left_out:
        output.line(f"{symbol}: left out: {data.left_out}")
    for name, one in data.scanned.items():
        output.line(f"{symbol}: {name}: {one.said}")
        for number in one.conditions:
            value = "none" if number.value is None else f"{number.value:.6g}"
            holds = "holds" if number.holds else "does not hold"
            output.line(f"  {number.what} {value} {number.wants} {number.bound:.6g}: {holds}")


@command("report")
def page_again(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option(help="File to write to; default: reports/report_RUN.html in the home.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write a run's page with plots anew, finished or failed; the run itself stays as it is."""
    from assay.report.html import render_page

    place = home_at(home)
    folder = place.run(run)
    path = place.reports / f"report_{folder.name}.html" if out is None else out.resolve()
    _refuse_runs(place, folder, path)
    files.write(path, render_page(folder).encode())
    if as_json:
        output.as_json({"report": str(path), "run": folder.name})
    else:
        output.line(f"report: {output.near(path)}")


def _refuse_runs(home: Home, folder: Path, path: Path) -> None:
    """Refuse to write into a run directory: what is sealed is read-only, and the rest belongs to its runner."""
    for runs in (home.runs.resolve(), folder.resolve()):
        if path.is_relative_to(runs):
            raise UsageError(
                "reports are not written into run directories", where=str(path), hint="choose another --out"
            )


@command("audit-report")
def audit_report(
    runs: Annotated[list[str], typer.Argument(help="Run ids, or paths to run directories.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write one audit report over one run or several, such as a long and a short sleeve side by side."""
    from assay.report.audit_report import render, render_joint
    from assay.report.html import render_joint_page, render_page
    from assay.report.meta import render_meta
    from assay.runs.run import Run

    place = home_at(home)
    folders = [place.run(run) for run in runs]
    if len(folders) == 1:
        text = render_meta(folders[0]) if Run(folders[0]).kind == "meta" else render(folders[0])
        page = render_page(folders[0])
    else:
        text, page = render_joint(folders), render_joint_page(folders)
    name = "+".join(folder.name for folder in folders)
    if len(name) > LONGEST:
        name = f"{len(folders)}-runs-{files.sha256(name.encode())[:12]}"
    path, shown = (place.reports / f"audit_report_{name}{ending}" for ending in (".md", ".html"))
    files.write(path, text.encode())
    files.write(shown, page.encode())
    if as_json:
        names = [folder.name for folder in folders]
        output.as_json({"report": str(path), "page": str(shown), "runs": names})
    else:
        output.line(f"audit report: {output.near(path)}")
        output.line(f"page: {output.near(shown)}")


@command()
def compare(
    run: RunArgument,
    other: Annotated[str, typer.Argument(help="The run to compare it with: an id, or a path.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Say what changed from one run to another, and which input (settings, data, date) caused it."""
    from assay.report.attribution import attribution_of
    from assay.report.compare import compare as compare_runs
    from assay.report.comparison import to_markdown, to_text
    from assay.report.html import render_comparison_page
    from assay.report.view import open_run

    place = home_at(home)
    folders = place.run(run), place.run(other)
    if folders[0] == folders[1]:
        raise UsageError("both names are of one run", where=run, hint="name two runs")
    views = open_run(folders[0]), open_run(folders[1])
    comparison = compare_runs(*views)
    attribution = attribution_of(place, views)
    path = place.reports / f"compare_{comparison.a}_{comparison.b}.md"
    page = path.with_suffix(".html")
    files.write(path, to_markdown(comparison, attribution).encode())
    files.write(page, render_comparison_page(comparison, attribution, views).encode())
    if as_json:
        body = files.as_json(asdict(comparison) | {"attribution": asdict(attribution)})
        output.as_json(body | {"report": str(path), "page": str(page)})
        return
    output.line(to_text(comparison, attribution))
    output.line()
    output.line(f"comparison: {output.near(path)}")
    output.line(f"page: {output.near(page)}")


@command()
def trials(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List what was tried, with Sharpe ratios, and how likely the best of it is best by luck."""
    from assay.backtest.overfitting import tried
    from assay.backtest.trials import counted, read_trials

    place = home_at(home)
    number = counted(place.registry, place.runs)
    found = read_trials(place.registry, place.runs)
    result = tried(found.alternatives)
    excluded = [*found.excluded, *result.excluded]
    overfitting = asdict(result) | {"alternatives": len(result.sharpes)}
    del overfitting["excluded"]
    body = files.as_json(
        {
            "registry": number,
            "trials": [asdict(trial) for trial in found.trials],
            "overfitting": overfitting,
            "excluded": [asdict(exclusion) for exclusion in excluded],
        }
    )
    path = place.reports / "trials.json"
    if found.trials:
        with output.recorded():
            files.write_json(path, body)
    if as_json:
        output.as_json(body)
        return
    output.line(_trials_table(found.trials))
    output.line()
    for line in _verdict(number, result):
        output.line(line)
    for exclusion in excluded:
        output.line(f"not among them: {exclusion.name}: {exclusion.reason}")
    if path.is_file():
        output.line(f"trials: {output.near(path)}")


def _trials_table(trials: list[Trial]) -> str:
    from assay.report.markdown import plain, ratio
    from assay.settings.model import RISK_PROFILES

    head = ["run", "profile", "as of", *RISK_PROFILES, "again", "changed settings"]
    rows = [
        [
            trial.run,
            trial.profile,
            plain(trial.as_of),
            *(ratio(trial.sharpe.get(name)) for name in RISK_PROFILES),
            len(trial.runs) - 1,
            "; ".join(f"{name}={plain(value)}" for name, value in trial.changed.items()) or "-",
        ]
        for trial in trials
    ]
    return output.table(head, rows)


def _verdict(counted: dict[str, Any], result: Tried) -> list[str]:
    """Say in sentences what was counted and found."""
    from assay.report.markdown import count, percent, ratio

    n, spread = count(int(counted["n"]), "trial"), ratio(counted["sharpe_variance"], 4)
    told = [f"{n}: sets of settings that were looked at, equal ones once; variance of the ratios {spread}"]
    compared = count(len(result.sharpes), "alternative")
    if result.probability is None:
        return [*told, f"{compared} that could be compared: no probability of backtest overfitting"]
    span = f"{compared} on {count(result.days, 'shared day')}, {result.first} to {result.last}"
    best = "" if result.best is None else f"; best: {result.best}, Sharpe {ratio(result.sharpes[result.best])}"
    luck = f"probability of backtest overfitting: {percent(result.probability)} ({result.blocks} blocks)"
    loss = f"the one chosen loses out of sample in {percent(result.loss_probability)} of the combinations"
    return [*told, f"alternatives: {span}{best}", f"{luck}; {loss}"]
