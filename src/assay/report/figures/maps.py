"""Figures of cells: correlation with clusters, monthly returns, votes of many coins."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.base.constants import Floats
from assay.report.figures.canvas import Canvas, Outline, box, drawing, label_room
from assay.report.figures.canvas import labels as short_labels
from assay.report.figures.figure import Figure
from assay.report.figures.lines import label_of
from assay.report.markdown import ABSENT, percent, ratio
from assay.report.palette import DEEP, STEPS

CORRELATION_EDGES = (-0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7)
MONTH_EDGES = (-0.2, -0.1, -0.05, -0.01, 0.01, 0.05, 0.1, 0.2)
NUMBERED = 14
"""Up to so many coins their correlations are written into the cells."""
MONTHS = 36
"""Months that are drawn; the table has them all."""
VOTE_WORDS = {1: "buy", 0: "neutral", -1: "sell"}


def correlation(
    names: Sequence[str], clusters: Sequence[str], matrix: Floats, name: str = "correlation", title: str = ""
) -> Figure:
    """Draw a correlation matrix, neighbours in a cluster beside each other and framed.

    Parameters
    ----------
    names : sequence of str
        What is correlated.
    clusters : sequence of str
        Cluster of each; equal ones are put together.
    matrix : (n, n) array
        NaN where it is not known.
    """
    order = sorted(range(len(names)), key=lambda i: (_first(clusters, clusters[i]), i))
    labels, groups = [names[i] for i in order], [clusters[i] for i in order]
    cells = np.asarray(matrix)[np.ix_(order, order)]
    n = len(labels)
    size = min(34.0, max(17.0, 520.0 / max(n, 1)))
    texts = [f"{label}  {i}" for i, label in enumerate(short_labels(labels), start=1)]
    left, top = label_room(texts), 30.0
    title = title or "Correlation of the winners' streams, by cluster"
    off = cells[~np.eye(n, dtype=bool)]
    known = off[np.isfinite(off)]
    told = f"{n} streams in {len(set(groups))} clusters"
    told += f"; pairs from {ratio(float(known.min()))} to {ratio(float(known.max()))}" if known.size else ""
    told += f", mean {ratio(float(known.mean()))}." if known.size else "."
    height = top + n * size + 46
    with drawing(max(left + n * size + 20, 460.0), height) as canvas:
        sheet = Sheet(canvas, left, top, size, size)
        sheet.heat(cells, CORRELATION_EDGES)
        sheet.frames(groups)
        if n <= NUMBERED:
            sheet.write(cells, CORRELATION_EDGES, [[ratio(v) for v in row] for row in cells.tolist()])
        for i, text in enumerate(texts):
            canvas.text(left - 8, top + (i + 0.5) * size, text, anchor="end", size=10)
            canvas.text(left + (i + 0.5) * size, top - 10, str(i + 1), "muted", anchor="middle", size=9)
        _key(canvas, left, height - 20, CORRELATION_EDGES, ratio)
        svg = canvas.svg(name, title, told)
    columns = ("", "cluster", *(f">{label}" for label in labels))
    rows = tuple(
        (label, group, *(ratio(value) for value in row))
        for label, group, row in zip(labels, groups, cells.tolist(), strict=True)
    )
    return Figure(name, title, told, svg, columns, rows)


def _first(clusters: Sequence[str], one: str) -> int:
    return list(clusters).index(one)


def monthly(months: Sequence[str], returns: Mapping[str, Floats], name: str = "monthly") -> Figure:
    """Draw the return of each month, for each risk profile and yardstick.

    Parameters
    ----------
    months : sequence of str
        ``2024-01`` and so on.
    returns : mapping of str to (n_months,) array
        NaN where there is none.
    """
    cells = np.column_stack(list(returns.values()))
    shown, tail = cells[-MONTHS:], list(months)[-MONTHS:]
    height, width, left, top = 22.0, 92.0, 70.0, 30.0
    title = "Monthly returns"
    best, worst = np.nanmax(cells), np.nanmin(cells)
    told = f"{len(months)} months, {months[0]} to {months[-1]}; from {percent(float(worst))} to {percent(float(best))}."
    size = (left + width * len(returns) + 10, top + height * len(tail) + 46)
    with drawing(*size) as canvas:
        sheet = Sheet(canvas, left, top, width, height)
        sheet.heat(shown, MONTH_EDGES)
        sheet.write(shown, MONTH_EDGES, [[percent(value) for value in row] for row in shown.tolist()])
        for i, month in enumerate(tail):
            canvas.text(left - 8, top + (i + 0.5) * height, month, "muted", anchor="end", size=10)
        for i, label in enumerate(returns):
            canvas.text(left + (i + 0.5) * width, top - 12, label_of(label), anchor="middle", size=10)
        _key(canvas, left, size[1] - 20, MONTH_EDGES, lambda edge: percent(edge, 0))
        svg = canvas.svg(name, title, told)
    columns = ("month", *(f">{label_of(label)}" for label in returns))
    rows = tuple((month, *map(percent, row)) for month, row in zip(months, cells.tolist(), strict=True))
    return Figure(name, title, told, svg, columns, rows)


def votes_of(
    coins: Sequence[str],
    votes: Mapping[str, Sequence[int | None]],
    ratings: Mapping[str, Sequence[float | None]],
    name: str = "votes",
) -> Figure:
    """Draw every vote of every coin: up for buy, down for sell, a dot for neither.

    Parameters
    ----------
    coins : sequence of str
    votes : mapping of str to sequence of int or None
        Name of a vote to the vote of each coin, in {-1, 0, 1}; None where it cannot be cast.
    ratings : mapping of str to sequence of float or None
        Written beside the votes.
    """
    short = short_labels(coins)
    n, size, left, top = len(coins), 19.0, label_room(short), 96.0
    right = left + size * len(votes)
    title = "Ratings of the winners, vote by vote"
    cast = [vote for column in votes.values() for vote in column if vote is not None]
    told = f"{n} coins, {len(cast)} votes: " + ", ".join(
        f"{cast.count(vote)} {word}" for vote, word in VOTE_WORDS.items()
    )
    with drawing(right + 62.0 * len(ratings) + 12, top + size * n + 34) as canvas:
        rules = [[(left, top + row * size), (right, top + row * size)] for row in range(n + 1)]
        canvas.strokes(rules, "grid")
        for vote, tone in ((1, "up"), (-1, "down"), (0, "muted")):
            places = [(x, y) for x, column in enumerate(votes.values()) for y, v in enumerate(column) if v == vote]
            half = 0.5 * size
            canvas.fill([vote_shape(left + x * size + half, top + y * size + half, vote) for x, y in places], tone)
        for i, coin in enumerate(short):
            canvas.text(left - 8, top + (i + 0.5) * size, coin, anchor="end", size=10)
        for i, vote_name in enumerate(votes):
            place = (left + (i + 0.5) * size, top - 8)
            canvas.text(*place, words(vote_name), "muted", size=9.5, upright=True)
        for i, (rating, column) in enumerate(ratings.items()):
            canvas.text(right + 62.0 * (i + 1) - 6, top - 12, rating, "muted", anchor="end", size=10)
            for j, value in enumerate(column):
                canvas.text(right + 62.0 * (i + 1) - 6, top + (j + 0.5) * size, ratio(value), anchor="end", size=10)
        canvas.text(left, top + size * n + 18, "▲ buy   ▼ sell   · neutral   blank: not cast", "muted")
        svg = canvas.svg(name, title, told + ".")
    columns = ("coin", *(f">{rating}" for rating in ratings), *map(words, votes))
    rows = tuple(
        (
            coin,
            *(ratio(column[i]) for column in ratings.values()),
            *(vote_word(column[i]) for column in votes.values()),
        )
        for i, coin in enumerate(coins)
    )
    return Figure(name, title, told + ".", svg, columns, rows)


_ABBREVIATIONS = frozenset({"sma", "ema", "vwma", "rsi", "cci", "adx", "macd", "ma", "k", "r"})


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


def vote_shape(x: float, y: float, vote: int, size: float = 6.0) -> Outline:
    """Return the outline of a vote: up for buy, down for sell, a dot for neither."""
    if vote == 0:
        dot = size / 3.2
        return [(x - dot, y - dot), (x + dot, y - dot), (x + dot, y + dot), (x - dot, y + dot)]
    return [(x - size, y + vote * size * 0.8), (x + size, y + vote * size * 0.8), (x, y - vote * size)]


# --- drawing ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sheet:
    """Cells of one size on a canvas."""

    canvas: Canvas
    left: float
    top: float
    width: float
    height: float

    def box(self, column: float, row: float, columns: float = 1.0, rows: float = 1.0, inset: float = 0.0) -> Outline:
        """Return the outline of cells."""
        left, top = self.left + column * self.width, self.top + row * self.height
        return box(left, top, columns * self.width - inset, rows * self.height - inset)

    def heat(self, cells: Floats, edges: Sequence[float]) -> None:
        """Fill cells by the step of the scale that they fall on; all cells of a step are one shape."""
        found: dict[int, list[Outline]] = {}
        for y, row in enumerate(cells.tolist()):
            for x, value in enumerate(row):
                if math.isfinite(value):
                    found.setdefault(bisect(edges, value), []).append(self.box(x, y, inset=1.0))
        for step, boxes in sorted(found.items()):
            self.canvas.fill(boxes, STEPS[step])

    def frames(self, groups: Sequence[str]) -> None:
        """Frame every cluster of two and more on the diagonal."""
        frames = []
        for group in dict.fromkeys(groups):
            size, start = list(groups).count(group), list(groups).index(group)
            if size > 1:
                frames.append(self.box(start, start, size, size))
        self.canvas.strokes(frames, "ink", 2.0, closed=True)

    def write(self, cells: Floats, edges: Sequence[float], texts: Sequence[Sequence[str]]) -> None:
        """Write into the cells, in a colour that stands out from theirs."""
        for y, row in enumerate(cells.tolist()):
            for x, value in enumerate(row):
                deep = math.isfinite(value) and STEPS[bisect(edges, value)] in DEEP
                left, top = self.left + (x + 0.5) * self.width, self.top + (y + 0.5) * self.height
                tone = "on_deep" if deep else "on_pale"
                self.canvas.text(left, top, texts[y][x], tone, anchor="middle", size=9.5)


def _key(canvas: Canvas, left: float, top: float, edges: Sequence[float], show: Callable[[float], str]) -> None:
    """Draw the scale with its edges."""
    sheet = Sheet(canvas, left, top - 8, 34.0, 10.0)
    for i, tone in enumerate(STEPS):
        canvas.fill([sheet.box(i, 0)], tone)
    for i, edge in enumerate(edges, start=1):
        canvas.text(left + i * sheet.width, top + 11, show(edge), "muted", anchor="middle", size=8.5)
