"""Several runs side by side: verdicts, contracts, gates, holdings, exposure, correlation, then each run shortened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import polars as pl

from assay.backtest.statistics import correlation
from assay.base.errors import UsageError
from assay.report import report_closing as closing
from assay.report import report_funnel as funnel
from assay.report import report_performance as performance
from assay.report import report_summary as summary
from assay.report import sections as checks
from assay.report.findings import notices, verdict
from assay.report.markdown import ABSENT, Safe, bullets, count, fill, integer, percent, ratio, section, table
from assay.report.report_allocation import book_table, by_size, weight_cell
from assay.report.small_book import Holdings, guarded_book
from assay.report.view import RunView, ending, in_order

LEAST_DAYS = 20
"""Shared days without which a correlation is not printed."""

Labelled = list[tuple[str, RunView]]


def joint_report(views: Sequence[RunView]) -> str:
    """Return the joint report as Markdown."""
    if not views:
        raise UsageError("no run to report on", hint="name at least one run: assay audit-report RUN RUN")
    runs = list(zip(labels(views), views, strict=True))
    parts = [
        fill("# Joint audit report: {names}", names=", ".join(label for label, _ in runs)),
        _verdicts(runs),
        _contracts(runs),
        _gates(runs),
        *_exposure(runs),
        _correlation(runs),
        *(_shortened(label, view) for label, view in runs),
    ]
    return "\n\n".join(parts) + "\n"


def labels(views: Sequence[RunView]) -> list[str]:
    """Return short names: profiles where they differ, else run ids, else run ids with a number."""
    for found in ([view.name for view in views], [view.run_id for view in views]):
        if len(set(found)) == len(views):
            return found
    return [f"{view.run_id} ({i})" for i, view in enumerate(views, start=1)]


def _verdicts(runs: Labelled) -> Safe:
    judged = [(label, view, verdict(view)) for label, view in runs]
    valid = sum(found.word == "VALID" for _, _, found in judged)
    rows = [
        (label, found.word, view.run_id, view.direction or ABSENT, view.as_of or ABSENT, _stage(view), _warning(view))
        for label, view, found in judged
    ]
    return section(
        "Verdicts",
        fill("**{valid} of {runs} VALID.**", valid=valid, runs=count(len(runs), "run")),
        table(["sleeve", "verdict", "run", "direction", "as of", "stage", "strongest warning"], rows),
        *_comparable(runs),
    )


def _stage(view: RunView) -> str:
    return "complete" if verdict(view).word == "VALID" else ending(view.ledger)


def _warning(view: RunView) -> str:
    found = notices(view)
    return found[0].code if found else "none"


def _comparable(runs: Labelled) -> Iterator[Safe]:
    """Name what makes the runs hard to compare: other dates, other bars."""
    sources = [(view.manifest.get("source"), view.setting("lake.head")) for _, view in runs]
    for what, values in (("as-of date", [view.as_of for _, view in runs]), ("source and lake head", sources)):
        if len(set(map(str, values))) > 1:
            yield fill("**The runs differ in {what}**: what stands side by side is not of one moment.", what=what)


def _contracts(runs: Labelled) -> Safe:
    columns = [
        "sleeve",
        "contract",
        "schema",
        "status",
        ">step",
        ">rows",
        ">columns",
        ">checked",
        ">violations",
        "action",
    ]
    found = [(layer, number, [label, *row]) for number, (label, view) in enumerate(runs) for layer, row in _rows(view)]
    found.sort(key=lambda item: item[:2])
    return section("Contracts L0 to L4", table(columns, [row for _, _, row in found]))


def _rows(view: RunView) -> list[tuple[str, list[object]]]:
    return checks.contract_rows(view)


def _gates(runs: Labelled) -> Safe:
    rows = [[label, *row] for label, view in runs for row in checks.gate_rows(view)]
    refused = [
        fill("**{label}, {code}:** {what}", label=label, code=check.code, what=check.what)
        for label, view in runs
        for check in (view.atomic.checks if view.atomic else [])
        if not check.ok
    ]
    columns = ["sleeve", "gate", ">step", "ok", ">checked", ">violations"]
    return section("Gates", table(columns, rows), bullets(refused) if refused else None)


def _exposure(runs: Labelled) -> list[Safe]:
    """Return holdings side by side, then what nets when every sleeve has the same capital."""
    profiles = risk_profiles(runs)
    if not profiles:
        nothing = Safe("No run has weights on coins.")
        return [section("Holdings side by side", nothing), section("Netted exposure", nothing)]
    holdings = [
        block
        for name in profiles
        for block in (
            fill("### {name}", name=name),
            _holdings([guarded_book(view, name) for _, view in runs], runs),
        )
    ]
    intro = fill(
        "Each of the {runs} with the same capital. Gross is what the sleeves hold one by one; what one sleeve holds "
        "long and another short is netted.",
        runs=count(len(runs), "sleeve"),
    )
    rows = [_netted(name, [guarded_book(view, name) for _, view in runs]) for name in profiles]
    columns = [
        "risk profile",
        ">gross",
        ">netted away",
        ">gross after netting",
        ">net",
        ">coins",
        ">coins on both sides",
    ]
    note = Safe("Net weights of each sleeve; together is their mean, as if every sleeve had the same capital.")
    return [section("Holdings side by side", note, *holdings), section("Netted exposure", intro, table(columns, rows))]


def risk_profiles(runs: Labelled) -> list[str]:
    """Risk profiles that any run has weights for, the canon's order first."""
    return in_order(name for _, view in runs if view.flattened for name in view.flattened.profiles)


def _holdings(books: list[Holdings | None], runs: Labelled) -> Safe:
    coins = by_size(book.weights for book in books if book is not None)
    if not any(book.coins for book in books if book is not None):
        return Safe("No sleeve holds a coin.")
    rows: list[list[object]] = []
    for symbol in coins:
        sides = [book.weights.get(symbol, 0.0) if book else 0.0 for book in books]
        total = math.fsum(sides) / len(books)
        rows.append([symbol, *map(weight_cell, sides), percent(total, 2)])
    for label in ("gross", "net", "cash"):
        values = [getattr(book, label) if book else None for book in books]
        known = [value for value in values if value is not None]
        mean = math.fsum(known) / len(books) if len(known) == len(books) else None
        rows.append([Safe(f"**{label}**"), *(percent(value, 2) for value in values), percent(mean, 2)])
    return table(["coin", *(f">{label}" for label, _ in runs), ">together"], rows)


def _netted(name: str, books: list[Holdings | None]) -> list[object]:
    """Return one line of exposure over all sleeves, each with an equal share of the capital."""
    held = [book for book in books if book is not None]
    sides: dict[str, list[float]] = {}
    for book in held:
        for symbol, weight in book.weights.items():
            sides.setdefault(symbol, []).append(weight / len(books))
    gross = math.fsum(abs(weight) for weights in sides.values() for weight in weights)
    totals = [math.fsum(weights) for weights in sides.values()]
    after = math.fsum(abs(total) for total in totals)
    both = sum(min(weights) < 0.0 < max(weights) for weights in sides.values())
    shares = (gross, gross - after, after, math.fsum(totals))
    return [name, *(percent(share, 2) for share in shares), integer(len(sides)), integer(both)]


def _correlation(runs: Labelled) -> Safe:
    title = "Correlation of the sleeves"
    if len(runs) < 2:
        return section(title, Safe("One sleeve has no correlation."))
    rows = [
        [name, one, other, *_pair(name, first, second)]
        for (one, first), (other, second) in combinations(runs, 2)
        for name in in_order([*first.risk_profiles, *second.risk_profiles])
    ]
    if not rows:
        return section(title, Safe("No run has walk-forward returns."))
    return section(
        title,
        fill("Daily walk-forward returns on the days that both have; absent below {least} days.", least=LEAST_DAYS),
        table(["risk profile", "sleeve", "with", ">shared days", ">correlation"], rows),
    )


def _pair(name: str, one: RunView, other: RunView) -> list[str]:
    shared = shared_returns(one.returns, other.returns, name)
    measured = correlation(shared["ret"], shared["ret_other"]) if shared.height >= LEAST_DAYS else None
    return [integer(shared.height), ratio(measured)]


def shared_returns(one: pl.DataFrame | None, other: pl.DataFrame | None, name: str) -> pl.DataFrame:
    """Return ``date``, ``ret`` and ``ret_other`` of a risk profile on the days that both sleeves have."""
    if one is None or other is None:
        return pl.DataFrame(schema={"date": pl.Date, "ret": pl.Float64, "ret_other": pl.Float64})
    first, second = (
        frame.filter(pl.col("risk_profile") == name, pl.col("ret").is_finite()).select("date", "ret")
        for frame in (one, other)
    )
    return first.join(second, on="date", how="inner", suffix="_other").sort("date")


def _shortened(label: str, view: RunView) -> Safe:
    """Return what a reader wants of each run before opening its own report."""
    found = notices(view)
    blocks: list[Safe | None] = [
        summary.verdict_line(view),
        bullets(summary.key_lines(view, found)),
        funnel.stage_table(view.selection) if view.selection else None,
        book_table(view) if view.optimized else None,
        performance.metric_table(view, performance.RESULT) if view.statistics else None,
        performance.metric_table(view, performance.TRADING, guard_off=False) if view.statistics else None,
        performance.nav_table(view) if view.returns is not None else None,
        Safe("Recommendations:"),
        closing.advice(found),
    ]
    return section(fill("Sleeve {label}", label=label), *blocks)
