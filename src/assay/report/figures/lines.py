"""Figures over time: wealth, drawdown, beta, costs, weight on loss makers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from assay.base.constants import Days, Floats
from assay.report.figures.canvas import Canvas, Ticks, colour, dashes, drawing, shortened
from assay.report.figures.figure import Figure, spread, thinned
from assay.report.markdown import finite, percent, ratio
from assay.report.palette import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Lines = Mapping[str, Floats]
"""Name of a series to one value a day, NaN where there is none."""
Show = Callable[[float | None], str]

WIDTH, LEFT = 760.0, 58.0
LINE = 15.0
"""Height of a label."""
ROWS = 40
"""Days in the table of a figure."""
BETA_DAYS = 60
"""Window of the rolling beta."""
LOG_SPAN = 8.0
"""From this ratio of the highest to the lowest value on, growth is drawn on a logarithmic scale."""

TITLES = {"benchmark": "Bitcoin", "universe": "all coins, equal"}


def label_of(name: str) -> str:
    """Return a series' name as people read it; outside names stay as they are."""
    return TITLES.get(name, name)


def equity(days: Days, nav: Lines, yardsticks: Lines | None = None, name: str = "equity") -> Figure:
    """Draw what 1 became, for each risk profile and yardstick.

    Parameters
    ----------
    days : (n_days,) datetime64[D] array
    nav, yardsticks : mapping of str to (n_days,) array
        Account values at the close of each day; an account began with 1 before the first day.
    name : str
        Id of the figure.
    """
    lines = {**nav, **(yardsticks or {})}
    ends = {label: last(values) for label, values in lines.items()}
    told = ", ".join(f"{label_of(label)} {ratio(end)}" for label, end in ends.items())
    title = "Growth of 1 in the walk-forward, after costs"
    return line_figure(
        name, title, f"From {span(days)}. At the end: {told}.", days, lines, ratio, start=1.0, growth=True
    )


def drawdown(days: Days, falls: Lines, name: str = "drawdown") -> Figure:
    """Draw the fall from the highest value so far, at most 0."""
    deepest = {label: low(values) for label, values in falls.items()}
    told = ", ".join(f"{label_of(label)} {percent(value)}" for label, value in deepest.items())
    return line_figure(name, "Drawdown", f"From {span(days)}. Deepest: {told}.", days, falls, percent, start=0.0)


def rolling_beta(days: Days, betas: Lines, window: int = BETA_DAYS, name: str = "rolling-beta") -> Figure:
    """Draw the beta to the benchmark over the last ``window`` days."""
    told = ", ".join(f"{label_of(label)} {ratio(last(values))}" for label, values in betas.items())
    description = f"Of the {window} days up to each day, from {span(days)}. At the end: {told}."
    return line_figure(name, f"Beta to Bitcoin over {window} days", description, days, betas, ratio, start=0.0)


def turnover(days: Days, traded: Lines, paid: Lines, name: str = "turnover") -> Figure:
    """Draw what was traded and what it cost, both summed up from the first day, as shares of the account.

    Parameters
    ----------
    days : (n_days,) datetime64[D] array
    traded, paid : mapping of str to (n_days,) array
        Shares of each day: value traded over NAV; fees, slippage and borrow over NAV.
    """
    panels = {"Value traded, x account": _summed(traded), "Costs and borrow": _summed(paid)}
    told = ", ".join(
        f"{label_of(label)} {ratio(last(values))} x, {percent(last(panels['Costs and borrow'][label]))}"
        for label, values in panels["Value traded, x account"].items()
    )
    description = f"Summed up from {span(days)}. At the end: {told}."
    return panel_figure(name, "Turnover and cost", description, days, panels, (ratio, percent))


def loss_makers(days: Days, guarded: Lines, unguarded: Lines, name: str = "loss-makers") -> Figure:
    """Draw the weight on loss makers at each decision, with the guard and without."""
    most = {label: high(values) for label, values in unguarded.items()}
    told = ", ".join(f"{label_of(label)} {percent(value)}" for label, value in most.items())
    kept = ", ".join(f"{label_of(label)} {percent(high(values))}" for label, values in guarded.items())
    description = f"Decisions from {span(days)}. Most with the guard off: {told}; as run: {kept}."
    panels = {"As run": guarded, "Guard off": unguarded}
    return panel_figure(
        name, "Weight on loss makers", description, days, panels, (percent, percent), shared=True, steps=True
    )


def _summed(lines: Lines) -> dict[str, Floats]:
    return {label: np.cumsum(np.nan_to_num(values)) for label, values in lines.items()}


# --- drawing ----------------------------------------------------------------------------------------------------------


def line_figure(
    name: str,
    title: str,
    description: str,
    days: Days,
    lines: Lines,
    show: Show,
    *,
    start: float,
    growth: bool = False,
    height: float = 320.0,
) -> Figure:
    """Draw lines with a label at the end of each; ``start`` is a level that the eye can hold on to."""
    with drawing(WIDTH, height) as canvas:
        axes = canvas.axes(LEFT, 12, WIDTH - LEFT - _right(lines), height - 44)
        _draw(axes, days, lines)
        canvas.ticks(axes, _months(days), _scale(axes, lines, show, growth))
        _level(canvas, axes, start)
        _end_labels(canvas, axes, lines, show, (12, height - 44))
        svg = canvas.svg(name, title, description)
    return Figure(name, title, description, svg, *_table(days, lines, show))


def panel_figure(
    name: str,
    title: str,
    description: str,
    days: Days,
    panels: Mapping[str, Lines],
    shows: Sequence[Show],
    *,
    shared: bool = False,
    steps: bool = False,
    height: float = 210.0,
) -> Figure:
    """Draw panels above each other, over the same days."""
    columns: list[str] = ["date"]
    cells: list[list[str]] = []
    reach = [values for lines in panels.values() for values in lines.values()] if shared else []
    with drawing(WIDTH, height * len(panels)) as canvas:
        for at, ((head, lines), show) in enumerate(zip(panels.items(), shows, strict=True)):
            top = at * height + 26
            axes = canvas.axes(LEFT, top, WIDTH - LEFT - _right(lines), height - 58)
            _draw(axes, days, lines, steps)
            every = {**lines, **{f"{i}": values for i, values in enumerate(reach)}}
            canvas.ticks(axes, _months(days), _scale(axes, every, show, growth=False))
            _level(canvas, axes, 0.0)
            canvas.text(LEFT, top - 14, head, "muted")
            _end_labels(canvas, axes, lines, show, (top, height - 58))
            own, rows = _table(days, lines, show)
            columns += [f"{column}, {head.lower()}" for column in own[1:]]
            before = cells or [[row[0]] for row in rows]
            cells = [[*left, *row[1:]] for left, row in zip(before, rows, strict=True)]
        svg = canvas.svg(name, title, description)
    return Figure(name, title, description, svg, tuple(columns), tuple(map(tuple, cells)))


def _draw(axes: Axes, days: Days, lines: Lines, steps: bool = False) -> None:
    x = _numbers(days)
    for number, (name, values) in enumerate(lines.items()):
        style = style_of(name, number)
        axes.plot(
            x,
            values,
            color=colour(style.colour),
            linewidth=style.width,
            linestyle=dashes(style),
            drawstyle="steps-post" if steps else "default",
            marker="o" if steps or len(x) < 3 else None,
            markersize=2.5,
        )
    first, final = float(x[0]), float(x[-1])
    axes.set_xlim(first, max(final, first + 1.0))


def _numbers(days: Days) -> Floats:
    return days.astype("datetime64[D]").astype(np.int64).astype(np.float64)


def _scale(axes: Axes, lines: Lines, show: Show, growth: bool) -> Ticks:
    """Set the limits of the vertical axis and return its ticks."""
    known = np.concatenate([values[np.isfinite(values)] for values in lines.values()] or [np.zeros(0)])
    least, most = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if growth and least > 0.0 and most / least >= LOG_SPAN:
        return _log_scale(axes, least, most, show)
    from matplotlib.ticker import MaxNLocator

    room = 0.06 * ((most - least) or abs(most) or 1.0)
    axes.set_ylim(least - room, most + room)
    ticks = [
        t for t in np.asarray(MaxNLocator(5).tick_values(least, most)).tolist() if least - room <= t <= most + room
    ]
    return [(tick, show(tick)) for tick in ticks]


def _log_scale(axes: Axes, least: float, most: float, show: Show) -> Ticks:
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_ylim(least / 1.1, most * 1.1)
    ticks = [m * 10.0**p for p in powers for m in (1.0, 2.0, 5.0) if least / 1.1 <= m * 10.0**p <= most * 1.1]
    return [(tick, show(tick)) for tick in ticks]


def _months(days: Days) -> Ticks:
    """Return the beginnings of months, or of as many of them as find room."""
    months = np.arange(days[0].astype("datetime64[M]"), days[-1].astype("datetime64[M]") + 1)
    starts = [month for month in months if month.astype("datetime64[D]") >= days[0]]
    every = next((step for step in (1, 2, 3, 6, 12, 24) if len(starts) <= 8 * step), 48)
    shown = [month for month in starts if int(month.astype(np.int64)) % every == 0] or [days[0].astype("datetime64[D]")]
    return [(float(month.astype("datetime64[D]").astype(np.int64)), str(month)) for month in shown]


def _right(lines: Lines) -> float:
    """Return the room beside the lines that the longest of their names needs."""
    return min(290.0, max(120.0, 82.0 + 6.2 * max((len(label_of(name)) for name in lines), default=0)))


def _level(canvas: Canvas, axes: Axes, value: float) -> None:
    """Draw a level that the eye can hold on to, where it is in sight."""
    low_end, high_end = axes.get_ylim()
    if low_end <= value <= high_end:
        at = canvas.height - float(axes.transData.transform((axes.get_xlim()[0], value))[1])
        canvas.strokes([[(LEFT, at), (float(axes.get_window_extent().x1), at)]], "muted", 0.9)


def _end_labels(canvas: Canvas, axes: Axes, lines: Lines, show: Show, room: tuple[float, float]) -> None:
    """Write name and last value of each line beside its end, none above another."""
    top, height = room
    ends = {name: end for name, values in lines.items() if (end := last(values)) is not None}
    places = [canvas.height - float(axes.transData.transform((axes.get_xlim()[1], end))[1]) for end in ends.values()]
    moved = spread(places, LINE, top, top + height)
    for (name, end), place, wanted in zip(ends.items(), moved, places, strict=True):
        style = style_of(name, list(lines).index(name))
        edge = float(axes.get_window_extent().x1)
        guide = [(edge + 2, wanted), (edge + 12, place), (edge + 26, place)]
        canvas.strokes([guide], style.colour, 1.2, dashes(style))
        canvas.text(edge + 31, place, f"{shortened(label_of(name))}  {show(end)}", style.colour, size=10.5)


# --- numbers ----------------------------------------------------------------------------------------------------------


def _table(days: Days, lines: Lines, show: Show) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the values of evenly spaced days, the first and the last among them."""
    columns = ("date", *(f">{label_of(name)}" for name in lines))
    kept = thinned(len(days), ROWS)
    rows = tuple((str(days[i]), *(show(finite(float(values[i]))) for values in lines.values())) for i in kept)
    return columns, rows


def last(values: Floats) -> float | None:
    """Return the last finite value."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else None


def low(values: Floats) -> float | None:
    """Return the lowest finite value."""
    known = values[np.isfinite(values)]
    return float(known.min()) if known.size else None


def high(values: Floats) -> float | None:
    """Return the highest finite value."""
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else None


def span(days: Days) -> str:
    """Return the first and the last day in words."""
    return f"{days[0]} to {days[-1]}"
