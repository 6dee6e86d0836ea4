"""A comparison of two runs as tables: the same rows for aligned text and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from assay.base.constants import TOLERANCE
from assay.report.attribution import Attribution, Effect
from assay.report.compare import (
    BookChange,
    ChangedValue,
    Comparison,
    Member,
    Membership,
    MetricChange,
    Performance,
    WeightChange,
)
from assay.report.markdown import (
    ABSENT,
    Safe,
    bullets,
    escape,
    fill,
    integer,
    percent,
    plain,
    ratio,
    section,
    table,
)

LISTED = 40
"""Rows of a list that are shown; the JSON holds them all."""
PERCENTS = frozenset({"cagr", "volatility", "max_drawdown", "cvar_95", "hit_rate", "average_gross", "cost", "borrow"})
DAYS = frozenset({"days"})


@dataclass(frozen=True)
class ComparisonTable:
    """One part of a comparison: a heading, sentences, and a table whose right-aligned columns begin with ``>``."""

    title: str
    lines: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)
    left_out: int = 0
    """Rows that are not shown."""


def panels(comparison: Comparison, attribution: Attribution) -> Iterator[ComparisonTable]:
    """Yield the parts of a comparison in the order in which one asks for them."""
    a, b = comparison.a, comparison.b
    yield ComparisonTable("What caused it", attribution.verdict)
    yield from _effects(attribution)
    yield ComparisonTable("Verdicts", [f"{run}: {said}" for run, said in comparison.verdicts.items()])
    yield _changes("Inputs", comparison.inputs, a, b, "inputs besides settings are the same")
    yield _changes("Settings", comparison.settings, a, b, "settings are the same")
    if comparison.sleeves:
        yield _sleeves(comparison.sleeves, a, b)
    if comparison.candidates or not comparison.sleeves:
        yield _members("Candidates", comparison.candidates, a, b)
        yield _members("Winners", comparison.winners, a, b)
    yield _turnovers(comparison.books, a, b)
    for name, book in comparison.books.items():
        yield _book(name, book, a, b)
    for name, performance in comparison.performance.items():
        yield _performance(name, performance, a, b, comparison.shown_together)
    alike = f"{comparison.checks_alike} contracts and gates say the same"
    yield _changes("Contracts and gates", comparison.checks, a, b, alike, [alike])
    yield _changes("Events", comparison.events, a, b, "events are the same")
    if comparison.notes:
        yield ComparisonTable("Not compared", comparison.notes)


def _effects(attribution: Attribution) -> Iterator[ComparisonTable]:
    parts = (
        ("Inputs of the second run put into the first", attribution.effects),
        ("Single settings of the second run put into the first", attribution.settings),
    )
    for title, effects in parts:
        if effects:
            names = list(dict.fromkeys(name for effect in effects for name in effect.turnover))
            columns = ["replaced", ">candidates", ">winners", *(f">turnover {name}" for name in names), ">left to go"]
            yield ComparisonTable(title, [], columns, [_effect(effect, names) for effect in effects])


def _effect(effect: Effect, names: Sequence[str]) -> list[str]:
    name = ", ".join(effect.replaced)
    if effect.impossible is not None:
        return [f"{name}: {effect.impossible}", *[ABSENT] * (len(names) + 3)]
    return [
        name,
        f"+{effect.candidates_gained} -{effect.candidates_lost}",
        f"+{effect.winners_gained} -{effect.winners_lost}",
        *(percent(effect.turnover.get(risk_profile)) for risk_profile in names),
        percent(effect.left),
    ]


def _changes(
    title: str, changes: Sequence[ChangedValue], a: str, b: str, none: str, lines: Sequence[str] = ()
) -> ComparisonTable:
    if not changes:
        return ComparisonTable(title, [none])
    rows = [[change.name, plain(change.a), plain(change.b)] for change in changes]
    return ComparisonTable(title, lines, ["name", a, b], rows)


def _members(title: str, found: Membership | None, a: str, b: str) -> ComparisonTable:
    if found is None:
        return ComparisonTable(title, ["not in both runs"])
    counts = f"{len(found.both)} in both, {len(found.only_a)} only in {a}, {len(found.only_b)} only in {b}"
    sides: list[tuple[str, Member]] = [(a, member) for member in found.only_a] + [(b, m) for m in found.only_b]
    if not sides:
        return ComparisonTable(title, [counts])
    rows = [[member.name, run, member.elsewhere] for run, member in sides]
    return ComparisonTable(
        title, [counts], ["atom", "only in", "in the other"], rows[:LISTED], max(0, len(rows) - LISTED)
    )


def _sleeves(sleeves: Mapping[str, Sequence[WeightChange]], a: str, b: str) -> ComparisonTable:
    rows = [
        [name, one.coin, percent(one.a), percent(one.b), percent(one.difference)]
        for name, changes in sleeves.items()
        for one in changes
    ]
    return ComparisonTable("Sleeves", [], ["risk profile", "sleeve", f">{a}", f">{b}", ">difference"], rows)


def _turnovers(books: Mapping[str, BookChange], a: str, b: str) -> ComparisonTable:
    if not books:
        return ComparisonTable("Weights", ["not in both runs"])
    rows = [[name, percent(book.turnover), percent(book.cash_a), percent(book.cash_b)] for name, book in books.items()]
    about = "turnover is half the sum of the absolute differences of the coins' net weights"
    return ComparisonTable("Weights", [about], ["risk profile", ">turnover", f">cash {a}", f">cash {b}"], rows)


def _book(name: str, book: BookChange, a: str, b: str) -> ComparisonTable:
    moved = [holding for holding in book.holdings if abs(holding.difference) > TOLERANCE]
    if not moved:
        return ComparisonTable(f"Weights of {name}", ["the same"])
    rows = [[h.coin, percent(h.a, 2), percent(h.b, 2), percent(h.difference, 2)] for h in moved]
    columns = ["coin", f">{a}", f">{b}", ">difference"]
    return ComparisonTable(f"Weights of {name}", [], columns, rows[:LISTED], max(0, len(rows) - LISTED))


def _performance(name: str, performance: Performance, a: str, b: str, shown: int) -> ComparisonTable:
    days = integer(performance.shared_days)
    told = f"{days} shared days; correlation of the daily returns {ratio(performance.correlation, 4)}"
    rows = [[metric, *_figure(metric, figure)] for metric, figure in performance.metrics.items()]
    rows += [[f"{metric}, shared days", *_figure(metric, figure)] for metric, figure in performance.shared.items()]
    luck = f"dsr_together is deflated by the {integer(shown)} series that both runs show"
    return ComparisonTable(f"Walk-forward of {name}", [told, luck], ["metric", f">{a}", f">{b}", ">difference"], rows)


def _figure(metric: str, figure: MetricChange) -> list[str]:
    if metric in PERCENTS:
        return [percent(value) for value in (figure.a, figure.b, figure.difference)]
    if metric in DAYS:
        return [integer(value) for value in (figure.a, figure.b, figure.difference)]
    return [ratio(value, 3) for value in (figure.a, figure.b, figure.difference)]


def to_markdown(comparison: Comparison, attribution: Attribution) -> str:
    """Return the comparison as a Markdown document."""
    parts = [
        section(escape(panel.title), bullets(map(escape, panel.lines)) if panel.lines else None, _table(panel))
        for panel in panels(comparison, attribution)
    ]
    head = fill("# {a} and {b} compared", a=comparison.a, b=comparison.b)
    lead = Safe("Differences are those of the second run from the first.")
    return "\n\n".join([head, lead, *parts]) + "\n"


def _table(panel: ComparisonTable) -> Safe | None:
    if not panel.columns:
        return None
    more = fill("\n\n... and {n} more, in the JSON.", n=integer(panel.left_out)) if panel.left_out else ""
    return Safe(table(panel.columns, panel.rows) + more)


def to_text(comparison: Comparison, attribution: Attribution) -> str:
    """Return the comparison as aligned text."""
    return "\n\n".join("\n".join(_lines(panel)) for panel in panels(comparison, attribution))


def _lines(panel: ComparisonTable) -> Iterator[str]:
    yield panel.title.upper()
    yield from panel.lines
    if panel.columns:
        cells = [[column.removeprefix(">") for column in panel.columns], *panel.rows]
        right = [column.startswith(">") for column in panel.columns]
        widths = [max(len(row[i]) for row in cells) for i in range(len(right))]
        for row in cells:
            padded = (
                cell.rjust(width) if is_right else cell.ljust(width)
                for cell, width, is_right in zip(row, widths, right, strict=True)
            )
            yield "  ".join(padded).rstrip()
    if panel.left_out:
        yield f"... and {integer(panel.left_out)} more: --json lists all"
