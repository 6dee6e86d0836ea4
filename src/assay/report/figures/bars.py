"""Figures of bars: the funnel, weights, run times; and the votes of one coin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.report.figures.canvas import Canvas, box, drawing, label_room, labels
from assay.report.figures.figure import Figure
from assay.report.figures.maps import vote_shape, vote_word, words
from assay.report.markdown import ABSENT, count, integer, percent, ratio, seconds, visible
from assay.runs.documents import Stage

WIDTH = 760.0
ROW = 17.0
BAR = 0.64 * ROW
SHOWN = 40
"""Rows of weights that are drawn; the table has them all."""
REASONS = 8
"""Reasons that are drawn beside a stage."""
MOVING_AVERAGES = 15
"""Votes that belong to the first group; the rest are oscillators."""


def funnel(stages: Sequence[Stage], name: str = "funnel") -> Figure:
    """Draw how many came into each stage and went on, and the reasons of those that did not.

    Parameters
    ----------
    stages : sequence of Stage
        In their order.
    """
    tall = [max(58.0, 20.0 + 15.0 * min(len(_gone(stage)), REASONS + 1)) for stage in stages]
    most = max((stage.n_in + stage.expanded for stage in stages), default=1) or 1
    left, reach = 120.0, 330.0
    title = "Funnel: from what was listed to the winners"
    told = "; ".join(
        f"{stage.stage} {integer(stage.n_in)} in, {integer(stage.dropped)} lost, {integer(stage.n_out)} out"
        for stage in stages
    )
    with drawing(WIDTH, sum(tall) + 8) as canvas:
        top = 4.0
        for stage, height in zip(stages, tall, strict=True):
            _stage(canvas, stage, (left, top, reach, height), most)
            top += height
        svg = canvas.svg(name, title, told + ".")
    rows = [
        (stage.stage, what, reason, integer(n))
        for stage in stages
        for what, reasons in (("came", stage.expanded_by), ("lost", stage.dropped_by))
        for reason, n in reasons.items()
    ]
    return Figure(name, title, told + ".", svg, ("stage", "what", "reason", ">count"), tuple(rows))


def _gone(stage: Stage) -> list[str]:
    came = [f"+ {integer(n)}  {reason}" for reason, n in stage.expanded_by.items()]
    lost = sorted(stage.dropped_by.items(), key=lambda pair: (-pair[1], pair[0]))
    return [*came, *(f"− {integer(n)}  {reason}" for reason, n in lost if n)]


def _stage(canvas: Canvas, stage: Stage, room: tuple[float, float, float, float], most: int) -> None:
    left, top, reach, height = room
    whole = stage.n_in + stage.expanded
    middle = left + reach / 2.0
    bar = height - 12.0
    for n, tone in ((whole, "soft"), (stage.n_out, "blue")):
        width = max(2.0, reach * n / most) if n else 0.0
        canvas.fill([box(middle - width / 2.0, top, width, bar)] if n else [], tone)
    line = top + bar / 2.0
    canvas.text(left - 10, line - 8, stage.stage, anchor="end", bold=True)
    canvas.text(left - 10, line + 8, f"{integer(whole)} → {integer(stage.n_out)}", "muted", anchor="end")
    narrow = reach * stage.n_out / most < 40.0
    place = middle + reach * stage.n_out / most / 2.0 + 6.0 if narrow else middle
    tone = "ink" if narrow else "page"
    canvas.text(place, line, integer(stage.n_out), tone, anchor="start" if narrow else "middle", bold=True)
    reasons = _gone(stage)
    if len(reasons) > REASONS:
        reasons = [*reasons[:REASONS], f"and {count(len(reasons) - REASONS, 'more reason')}"]
    first = line - 7.5 * (len(reasons) - 1)
    for i, reason in enumerate(reasons or ["nobody lost"]):
        canvas.text(left + reach + 16, first + 15.0 * i, reason, "ink" if reasons else "muted", size=10.5)


def weights(
    rows: Sequence[str], columns: Mapping[str, Mapping[str, float]], name: str = "weights", title: str = "Weights"
) -> Figure:
    """Draw weights side by side: a row for each coin or atom, a column for each risk profile.

    Parameters
    ----------
    rows : sequence of str
        In their order.
    columns : mapping of str to mapping of str to float
        Column to row to weight; what is absent is zero. Negative weights point to the left.
    """
    shown = list(rows)[:SHOWN]
    held = [weight for column in columns.values() for weight in column.values()]
    least, most = min([0.0, *held]), max([0.0, *held])
    reach = (most - least) or 1.0
    texts = labels(shown)
    left, top = label_room(texts), 30.0
    wide = (WIDTH - left) / max(len(columns), 1)
    told = "; ".join(
        f"{head}: {count(sum(w != 0.0 for w in column.values()), 'position')}, "
        f"largest {percent(max(column.values(), key=abs, default=0.0))}"
        for head, column in columns.items()
    )
    more = f"{len(rows) - len(shown)} more in the table" if len(rows) > len(shown) else ""
    with drawing(WIDTH, top + ROW * len(shown) + (26 if more else 10)) as canvas:
        for i, (head, column) in enumerate(columns.items()):
            start, room = left + i * wide, wide - 52.0
            zero = start + room * -least / reach
            unit = room / reach
            for sign, tone in ((1.0, "up"), (-1.0, "down")):
                bars = [(j, w * unit) for j, row in enumerate(shown) if (w := column.get(row, 0.0)) * sign > 0.0]
                canvas.fill([box(zero + min(0.0, w), top + (j + 0.18) * ROW, abs(w), BAR) for j, w in bars], tone)
            canvas.strokes([[(zero, top), (zero, top + ROW * len(shown))]], "muted")
            canvas.text(start, top - 14, ending(head, int(wide / 7.2)), bold=True)
            for j, row in enumerate(shown):
                weight = column.get(row, 0.0)
                if weight:
                    end = zero + room * max(weight, 0.0) / reach + 4
                    canvas.text(end, top + (j + 0.5) * ROW, percent(weight), "muted", size=9.5)
        for j, text in enumerate(texts):
            canvas.text(left - 10, top + (j + 0.5) * ROW, text, anchor="end", size=10)
        if more:
            canvas.text(left - 10, top + ROW * len(shown) + 12, more, "muted", anchor="end", size=10)
        svg = canvas.svg(name, title, told + ".")
    heads = ("", *(f">{column}" for column in columns))
    cells = tuple((row, *(percent(column.get(row, 0.0), 2) for column in columns.values())) for row in rows)
    return Figure(name, title, told + ".", svg, heads, cells)


def ending(text: str, longest: int) -> str:
    """Return the last characters of a name: what tells run ids apart stands at their end.

    >>> ending("binance_spot_rating_all_long", 10), ending("hrp", 10)
    ('…_all_long', 'hrp')
    """
    line = visible(text)
    return line if len(line) <= longest else "…" + line[1 - longest :]


def run_times(times: Mapping[str, float], name: str = "run-times") -> Figure:
    """Draw how long each step took, in seconds."""
    longest = max([*times.values(), 1e-9])
    left, reach = 180.0, WIDTH - 270.0
    title = "Run times of the steps"
    slowest = max(times, key=lambda step: times[step], default="")
    told = f"{seconds(sum(times.values()))} in all; the longest is {slowest} with {seconds(times.get(slowest))}."
    with drawing(WIDTH, ROW * len(times) + 12) as canvas:
        bars = [(j, took * reach / longest) for j, took in enumerate(times.values()) if took]
        canvas.fill([box(left, 6 + (j + 0.18) * ROW, width, BAR) for j, width in bars], "up")
        for j, (step, took) in enumerate(times.items()):
            canvas.text(left - 10, 6 + (j + 0.5) * ROW, step, anchor="end", size=10)
            end = left + reach * took / longest + 6
            canvas.text(end, 6 + (j + 0.5) * ROW, seconds(took), "muted", size=9.5)
        svg = canvas.svg(name, title, told)
    rows = tuple((step, seconds(took)) for step, took in times.items())
    return Figure(name, title, told, svg, ("step", ">time"), rows)


def votes(
    coin: str,
    ratings: Mapping[str, float | None],
    cast: Mapping[str, int | None],
    name: str = "coin-votes",
) -> Figure:
    """Draw the three ratings and the 26 votes of one coin.

    Parameters
    ----------
    coin : str
        Symbol.
    ratings : mapping of str to float or None
        ``all``, ``ma``, ``other``, in [-1, 1].
    cast : mapping of str to int or None
        Name of a vote to -1 (sell), 0 (neutral), 1 (buy), or None where it cannot be cast; moving averages first.
    """
    groups = (list(cast.items())[:MOVING_AVERAGES], list(cast.items())[MOVING_AVERAGES:])
    head = 46.0 + 24.0 * len(ratings)
    height = head + 34.0 + 20.0 * max(len(group) for group in groups) + 8
    title = f"Ratings and votes of {coin}"
    known = [vote for vote in cast.values() if vote is not None]
    told = ", ".join(f"{label} {ratio(value)}" for label, value in ratings.items())
    told += (
        f". {known.count(1)} buy, {known.count(0)} neutral, {known.count(-1)} sell, {len(cast) - len(known)} not cast."
    )
    with drawing(WIDTH, height) as canvas:
        _gauges(canvas, ratings)
        for i, (label, group) in enumerate(zip(("Moving averages", "Oscillators"), groups, strict=True)):
            _ballot(canvas, label, group, i * WIDTH / 2.0, head)
        svg = canvas.svg(name, title, told)
    rows = [(f"rating {label}", ratio(value, 4)) for label, value in ratings.items()]
    rows += [(words(vote), vote_word(value)) for vote, value in cast.items()]
    return Figure(name, title, told, svg, ("vote", "value"), tuple(rows))


def _gauges(canvas: Canvas, ratings: Mapping[str, float | None]) -> None:
    """Draw each rating on a line from -1 to 1, with the ranges that have a name."""
    left, reach = 110.0, WIDTH - 200.0
    edges = ((-1.0, "strong sell"), (-0.5, "sell"), (-0.1, "neutral"), (0.1, "buy"), (0.5, "strong buy"))
    tones = ("low2", "low1", "mid", "high1", "high2")
    half = reach / 2.0
    ends = [edge for edge, _ in edges[1:]] + [1.0]
    for (start, word), end, tone in zip(edges, ends, tones, strict=True):
        span = (left + (start + 1.0) * half, (end - start) * half)
        canvas.fill([box(span[0], 34 + 24.0 * i + 5, span[1], 14.0) for i in range(len(ratings))], tone)
        canvas.text(span[0] + span[1] / 2.0, 20, word, "muted", anchor="middle", size=9.5)
    for i, (label, value) in enumerate(ratings.items()):
        line = 34 + (i + 0.5) * 24.0
        canvas.text(left - 12, line, label, anchor="end", bold=True)
        canvas.text(left + reach + 12, line, ABSENT if value is None else f"{value:+.2f}", bold=True)
        if value is not None:
            canvas.fill([box(left + (value + 1.0) * half - 1.5, line - 10, 3.0, 20.0)], "ink")


def _ballot(canvas: Canvas, label: str, group: Sequence[tuple[str, int | None]], left: float, top: float) -> None:
    names, slot = 168.0, 56.0
    canvas.text(left + names - 14, top + 12, label, anchor="end", bold=True)
    for place, word in enumerate(("sell", "neutral", "buy")):
        canvas.text(left + names + (place + 0.5) * slot, top + 12, word, "muted", anchor="middle", size=10)
    places = [top + 38 + 20.0 * i for i in range(len(group))]
    canvas.strokes([[(left + names, at), (left + names + 3 * slot, at)] for at in places], "grid")
    for at, (vote, value) in zip(places, group, strict=True):
        canvas.text(left + names - 14, at, words(vote), anchor="end", size=10.5)
        if value is not None:
            shape = vote_shape(left + names + (value + 1.5) * slot, at, value, 8.0 if value else 12.0)
            canvas.fill([shape], {1: "up", -1: "down", 0: "muted"}[value])
