"""Figures that are tables: funnel, weights, run times, correlation, months, votes."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from assay.base.constants import Days, Floats
from assay.report.figures.figure import CellMark, Figure
from assay.report.figures.lines import label_of
from assay.report.markdown import ABSENT, count, integer, percent, ratio, seconds
from assay.report.palette import STEPS
from assay.runs.documents import Stage

CORRELATION_EDGES = (-0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7)
MONTH_EDGES = (-0.2, -0.1, -0.05, -0.01, 0.01, 0.05, 0.1, 0.2)
DAY_EDGES = (-0.10, -0.05, -0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03, 0.05, 0.10)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
CONTRIBUTORS = 10
"""Coins that are named at each end of the contributions."""
VOTE_WORDS = {1: "buy", 0: "neutral", -1: "sell"}
VOTE_TONES = {1: "up", 0: "muted", -1: "down"}
_ABBREVIATIONS = frozenset({"sma", "ema", "vwma", "rsi", "cci", "adx", "macd", "ma", "k", "r"})


def funnel(stages: Sequence[Stage], name: str = "funnel") -> Figure:
    """Show how many came into each stage and went on, and the reasons of those that did not.

    Parameters
    ----------
    stages : sequence of Stage
        In their order.
    """
    most = max((stage.n_in + stage.expanded for stage in stages), default=1) or 1
    rows, marks = [], []

    def line(stage: str, what: str, reason: str, n: int, start: int, tone: str) -> None:
        rows.append((stage, what, reason, integer(n)))
        marks.append((None, None, None, CellMark(tone, (start / most, (start + n) / most))))

    for stage in stages:
        line(stage.stage, "in", "", stage.n_in, 0, "soft")
        there = stage.n_in
        for reason, n in stage.expanded_by.items():
            line(stage.stage, "came", reason, n, there, "up")
            there += n
        for reason, n in sorted(stage.dropped_by.items(), key=lambda pair: (-pair[1], pair[0])):
            there -= n
            line(stage.stage, "lost", reason, n, there, "down")
        line(stage.stage, "out", "", stage.n_out, 0, "up")
    told = "; ".join(
        f"{stage.stage} {integer(stage.n_in)} in, {integer(stage.dropped)} lost, {integer(stage.n_out)} out"
        for stage in stages
    )
    columns = ("stage", "what", "reason", ">count")
    return Figure(
        name, "Funnel: from what was listed to the winners", f"{told}.", columns, tuple(rows), (), tuple(marks)
    )


def weights(
    rows: Sequence[str], columns: Mapping[str, Mapping[str, float]], name: str = "weights", title: str = "Weights"
) -> Figure:
    """Show weights side by side: a row for each coin or atom, a column for each risk profile.

    Parameters
    ----------
    rows : sequence of str
        In their order.
    columns : mapping of str to mapping of str to float
        Column to row to weight; what is absent is zero. Negative weights point to the left.
    """
    held = [weight for column in columns.values() for weight in column.values()]
    least, most = min([0.0, *held]), max([0.0, *held])
    told = "; ".join(
        f"{head}: {count(sum(w != 0.0 for w in column.values()), 'position')}, "
        f"largest {percent(max(column.values(), key=abs, default=0.0))}"
        for head, column in columns.items()
    )
    cells = tuple((row, *(percent(column.get(row, 0.0), 2) for column in columns.values())) for row in rows)
    marks = tuple(
        (
            None,
            *(_bar(weight, least, most) if (weight := column.get(row, 0.0)) else None for column in columns.values()),
        )
        for row in rows
    )
    return Figure(name, title, f"{told}.", ("", *(f">{column}" for column in columns)), cells, (), marks)


def _bar(value: float, least: float, most: float) -> CellMark:
    """Return a bar from zero to a value, on a scale from ``least`` <= 0 to ``most`` >= 0."""
    reach = (most - least) or 1.0
    start, end = sorted((-least / reach, (value - least) / reach))
    return CellMark("up" if value >= 0.0 else "down", (start, end))


def run_times(times: Mapping[str, float], name: str = "run-times") -> Figure:
    """Show how long each step took, in seconds."""
    slowest = max(times, key=lambda step: times[step], default="")
    told = f"{seconds(sum(times.values()))} in all; the longest is {slowest} with {seconds(times.get(slowest))}."
    rows = tuple((step, seconds(took)) for step, took in times.items())
    marks = tuple((None, _bar(took, 0.0, max([*times.values(), 1e-9]))) for took in times.values())
    return Figure(name, "Run times of the steps", told, ("step", ">time"), rows, (), marks)


def votes(
    coin: str, ratings: Mapping[str, float | None], cast: Mapping[str, int | None], name: str = "coin-votes"
) -> Figure:
    """Show the three ratings and the 26 votes of one coin.

    Parameters
    ----------
    coin : str
        Symbol.
    ratings : mapping of str to float or None
        ``all``, ``ma``, ``other``, in [-1, 1].
    cast : mapping of str to int or None
        Name of a vote to -1 (sell), 0 (neutral), 1 (buy), or None where it cannot be cast; moving averages first.
    """
    known = [vote for vote in cast.values() if vote is not None]
    told = ", ".join(f"{label} {ratio(value)}" for label, value in ratings.items())
    told += (
        f". {known.count(1)} buy, {known.count(0)} neutral, {known.count(-1)} sell, {len(cast) - len(known)} not cast."
    )
    rows = [(f"rating {label}", ratio(value, 4)) for label, value in ratings.items()]
    marks = [(None, None if value is None else _bar(value, -1.0, 1.0)) for value in ratings.values()]
    rows += [(words(vote), vote_word(value)) for vote, value in cast.items()]
    marks += [
        (None, None if value is None else CellMark(VOTE_TONES[value], ((value + 1) / 3, (value + 2) / 3)))
        for value in cast.values()
    ]
    title = f"Ratings and votes of {coin}"
    return Figure(name, title, told, ("vote", ">value"), tuple(rows), (), tuple(marks))


def correlation(
    names: Sequence[str], clusters: Sequence[str], matrix: Floats, name: str = "correlation", title: str = ""
) -> Figure:
    """Show a correlation matrix, neighbours in a cluster beside each other.

    Parameters
    ----------
    names : sequence of str
        What is correlated.
    clusters : sequence of str
        Cluster of each; equal ones are put together.
    matrix : (n, n) array
        NaN where it is not known.
    """
    order = sorted(range(len(names)), key=lambda i: (list(clusters).index(clusters[i]), i))
    labels, groups = [names[i] for i in order], [clusters[i] for i in order]
    cells = np.asarray(matrix)[np.ix_(order, order)]
    n = len(labels)
    off = cells[~np.eye(n, dtype=bool)]
    known = off[np.isfinite(off)]
    told = f"{n} streams in {len(set(groups))} clusters"
    told += f"; pairs from {ratio(float(known.min()))} to {ratio(float(known.max()))}" if known.size else ""
    told += f", mean {ratio(float(known.mean()))}." if known.size else "."
    title = title or "Correlation of the winners' streams, by cluster"
    rows = tuple(
        (label, group, *map(ratio, row)) for label, group, row in zip(labels, groups, cells.tolist(), strict=True)
    )
    marks = tuple((None, None, *(_heat(value, CORRELATION_EDGES) for value in row)) for row in cells.tolist())
    heads = ("", "cluster", *(str(i) for i in range(1, n + 1)))
    return Figure(name, title, told, ("", "cluster", *(f">{label}" for label in labels)), rows, heads, marks)


def _heat(value: float, edges: Sequence[float]) -> CellMark | None:
    """Return the step of the scale on which a value falls."""
    return CellMark(STEPS[bisect(edges, value)]) if math.isfinite(value) else None


def monthly(months: Sequence[str], returns: Mapping[str, Floats], name: str = "monthly") -> Figure:
    """Show the return of each month, for each risk profile and yardstick.

    Parameters
    ----------
    months : sequence of str
        ``2024-01`` and so on.
    returns : mapping of str to (n_months,) array
        NaN where there is none.
    """
    cells = np.column_stack(list(returns.values()))
    best, worst = np.nanmax(cells), np.nanmin(cells)
    told = f"{len(months)} months, {months[0]} to {months[-1]}; from {percent(float(worst))} to {percent(float(best))}."
    rows = tuple((month, *map(percent, row)) for month, row in zip(months, cells.tolist(), strict=True))
    marks = tuple((None, *(_heat(value, MONTH_EDGES) for value in row)) for row in cells.tolist())
    return Figure(
        name, "Monthly returns", told, ("month", *(f">{label_of(label)}" for label in returns)), rows, (), marks
    )


def year_by_month(days: Days, returns: Floats, of: str, name: str = "months") -> Figure:
    """Show the return of each month and year of one book: a row for each year.

    Parameters
    ----------
    days : (n_days,) datetime64[D] array
        In order.
    returns : (n_days,) array
    of : str
        The book's name.
    """
    growth, months = 1.0 + np.nan_to_num(returns), days.astype("datetime64[M]").astype(int)
    years = months // 12 + 1970
    cells = [
        [
            *(_compound(growth[months == 12 * (year - 1970) + month]) for month in range(12)),
            _compound(growth[years == year]),
        ]
        for year in np.unique(years).tolist()
    ]
    known = [value for row in cells for value in row[:12] if math.isfinite(value)]
    told = f"{count(len(known), 'month')} of {count(len(cells), 'year')}; "
    told += f"from {percent(min(known))} to {percent(max(known))}."
    rows = tuple((str(year), *map(percent, row)) for year, row in zip(np.unique(years).tolist(), cells, strict=True))
    marks = tuple((None, *(_heat(value, MONTH_EDGES) for value in row[:12]), None) for row in cells)
    title = f"Returns of {of}, year by month"
    return Figure(name, title, told, ("year", *(f">{month}" for month in MONTHS), ">whole"), rows, (), marks)


def _compound(growth: Floats) -> float:
    return float(np.prod(growth)) - 1.0 if growth.size else math.nan


def histogram(returns: Mapping[str, Floats], of: str, name: str = "histogram") -> Figure:
    """Show how many days had a return of each size, of a book and of what it is held against.

    Parameters
    ----------
    returns : mapping of str to (n_days,) array
        NaN where there is none.
    of : str
        The book's name, one of ``returns``.
    """
    counts = {
        label: np.histogram(series[np.isfinite(series)], [-np.inf, *DAY_EDGES, np.inf])[0]
        for label, series in returns.items()
    }
    most = max(int(n.max()) for n in counts.values()) or 1
    steps = [f"{percent(low, 0)} to {percent(high, 0)}" for low, high in pairwise(DAY_EDGES)]
    steps = [f"below {percent(DAY_EDGES[0], 0)}", *steps, f"{percent(DAY_EDGES[-1], 0)} and more"]
    own = returns[of][np.isfinite(returns[of])]
    told = f"{count(own.size, 'day')} of {of}: {count(int((own < 0.0).sum()), 'day')} below 0; "
    told += f"worst {percent(float(own.min()))}, best {percent(float(own.max()))}." if own.size else "none."
    rows = tuple((step, *(integer(int(n[at])) for n in counts.values())) for at, step in enumerate(steps))
    marks = tuple((None, *(_bar(float(n[at]), 0.0, most) for n in counts.values())) for at in range(len(steps)))
    columns = ("return of a day", *(f">{label_of(label)}" for label in returns))
    return Figure(name, "Daily returns by size", told, columns, rows, (), marks)


def contributions(
    earned: Sequence[tuple[str, float, int]], of: str, name: str = "contributions", most: int = CONTRIBUTORS
) -> Figure:
    """Show what each coin earned, the best and the worst by name and the others together.

    Parameters
    ----------
    earned : sequence of (str, float, int)
        Coin, what it earned of the first account after costs, and how many decisions wanted it; the best first.
    of : str
        The book's name.
    most : int
        Coins that are named at each end.
    """
    between = earned[most:-most] if len(earned) > 2 * most + 1 else []
    shown = [*earned[:most], *earned[-most:]] if between else list(earned)
    if between:
        rest = math.fsum(value for _, value, _ in between)
        shown.insert(most, (f"{len(between)} others", rest, sum(n for _, _, n in between)))
    whole = math.fsum(value for _, value, _ in earned)
    told = f"{count(len(earned), 'coin')} earned {percent(whole)} of the first account in the book of {of}, after costs"
    told += f"; the best {earned[0][0]}, the worst {earned[-1][0]}."
    least, top = min(0.0, *(value for _, value, _ in shown)), max(0.0, *(value for _, value, _ in shown))
    rows = tuple((coin, percent(value, 2), integer(n)) for coin, value, n in shown)
    marks = tuple((None, _bar(value, least, top), None) for _, value, _ in shown)
    columns = ("coin", ">earned, of the first account", ">decisions that wanted it")
    return Figure(name, "Contribution by coin", told, columns, rows, (), marks)


def votes_of(
    coins: Sequence[str],
    votes: Mapping[str, Sequence[int | None]],
    ratings: Mapping[str, Sequence[float | None]],
    name: str = "votes",
) -> Figure:
    """Show every vote of every coin: up for buy, down for sell, a dot for neither.

    Parameters
    ----------
    coins : sequence of str
    votes : mapping of str to sequence of int or None
        Name of a vote to the vote of each coin, in {-1, 0, 1}; None where it cannot be cast.
    ratings : mapping of str to sequence of float or None
        Written beside the votes.
    """
    cast = [vote for column in votes.values() for vote in column if vote is not None]
    told = f"{len(coins)} coins, {len(cast)} votes: " + ", ".join(
        f"{cast.count(vote)} {word}" for vote, word in VOTE_WORDS.items()
    )
    columns = ("coin", *(f">{rating}" for rating in ratings), *map(words, votes))
    texts, signs = ratings.values(), votes.values()
    rows = tuple(
        (coin, *(ratio(column[i]) for column in texts), *(vote_word(column[i]) for column in signs))
        for i, coin in enumerate(coins)
    )
    blank = (None,) * (1 + len(ratings))
    marks = tuple(
        (*blank, *(None if (vote := column[i]) is None else CellMark(VOTE_TONES[vote], sign=True) for column in signs))
        for i in range(len(coins))
    )
    return Figure(name, "Ratings of the winners, vote by vote", f"{told}.", columns, rows, (), marks)


def words(vote: str) -> str:
    """Return the name of a vote as people read it.

    >>> words("sma_10"), words("hull_ma_9"), words("stoch_rsi")
    ('SMA 10', 'Hull MA 9', 'Stoch RSI')
    """
    parts = [part.upper() if part in _ABBREVIATIONS else part for part in vote.split("_")]
    text = " ".join(parts)
    return text[:1].upper() + text[1:]


def vote_word(vote: int | None) -> str:
    """Return a vote in words."""
    return ABSENT if vote is None else VOTE_WORDS[vote]
