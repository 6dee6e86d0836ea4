"""Figures as static pictures, by lets-plot, which the extra ``plots`` brings."""

from __future__ import annotations

import datetime as dt
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from assay.base.errors import UsageError
from assay.report.figures.figure import CellMark, Figure
from assay.report.figures.lines import shortened
from assay.report.palette import DEEP, LIGHT

WIDTH, PANEL, ROW = 820, 300, 21
"""Pixels of a picture's width, of a panel's height, and of a row of a table."""
SHOWN = 60
"""Rows of a table that are drawn; pages have them all."""
SIGNS = {"up": "▲", "down": "▼", "muted": "·"}
_ID = re.compile(r'\bid="([A-Za-z0-9]+)"')


def svg_of(figure: Figure) -> str:
    """Return a figure as an SVG document; equal figures give equal bytes.

    Raises
    ------
    UsageError
        If the extra is not installed.
    """
    text = str(_plot(figure).to_svg())
    for number, made in enumerate(dict.fromkeys(_ID.findall(text))):  # drawn by chance, anew each time
        text = re.sub(rf"\b{made}\b", f"{figure.name}-{number}", text)
    return text


def png_of(figure: Figure) -> bytes:
    """Return a figure as a PNG image, two pixels for one of the SVG.

    Raises
    ------
    UsageError
        If the extra is not installed.
    """
    out = io.BytesIO()
    _plot(figure).to_png(out, scale=2)
    return out.getvalue()


def _library() -> Any:
    try:
        with warnings.catch_warnings():  # its own, of Python 3.12 and later, where it is not compiled yet
            warnings.simplefilter("ignore")
            return import_module("lets_plot")
    except ImportError:
        raise UsageError(
            "pictures are drawn by lets-plot, which is not installed",
            hint="run: pip install 'assay-portfolio[plots]', or save as .html, which needs nothing",
            code="EXTRA_MISSING",
        ) from None


def _plot(figure: Figure) -> Any:
    plots = _library()
    return _lines(plots, figure, figure.lines) if figure.lines is not None else _table(plots, figure)


def _theme(plots: Any, figure: Figure, height: int) -> Any:
    paper = plots.theme(
        plot_background=plots.element_rect(fill="white", color="white"), plot_title=plots.element_text(size=15)
    )
    return plots.ggtitle(shortened(figure.title, 90)) + plots.ggsize(WIDTH, height) + paper


def _lines(plots: Any, figure: Figure, declared: Mapping[str, Any]) -> Any:
    days = [dt.date(1970, 1, 1) + dt.timedelta(day) for day in declared["days"]]
    panels = declared["panels"]
    data: dict[str, list[Any]] = {"day": [], "value": [], "line": [], "panel": []}
    looks: dict[str, Mapping[str, Any]] = {}
    for panel in panels:
        for line in panel["lines"]:
            looks.setdefault(line["name"], line)
            data["day"] += days
            data["value"] += line["values"]
            data["line"] += [line["name"]] * len(days)
            data["panel"] += [panel["head"]] * len(days)
    log = any(panel["log"] for panel in panels)
    made = plots.geom_step if declared["steps"] else plots.geom_line
    names = list(looks)
    plot = (
        plots.ggplot(data, plots.aes("day", "value", color="line", linetype="line"))
        + plots.geom_hline(yintercept=declared["level"], color=LIGHT["grey"], size=0.4)
        + made(size=0.8)
        + plots.scale_color_manual(values=[LIGHT[looks[name]["colour"]] for name in names], breaks=names)
        + plots.scale_linetype_manual(values=[_dash(looks[name]["dash"]) for name in names], breaks=names)
        + plots.scale_x_datetime()
        + plots.labs(x="", y="", color="", linetype="")
        + plots.theme_minimal()
        + _theme(plots, figure, 60 + PANEL * len(panels))
    )
    scale = {"format": ".0%"} if {panel["show"] for panel in panels} == {"percent"} else {}
    plot += plots.scale_y_log10(**scale) if log else plots.scale_y_continuous(**scale)
    return plot + plots.facet_wrap("panel", ncol=1, order=0, scales="free_y") if len(panels) > 1 else plot


def _dash(lengths: list[float]) -> int:
    """Return lets-plot's number of a line type: whole, long, short, or both by turns."""
    return {0: 1, 4: 4}.get(len(lengths), 5 if lengths[:1] > [3] else 3)


def _table(plots: Any, figure: Figure) -> Any:
    """Draw a table as it stands on a page: bars and colours behind its cells."""
    heads = [head.removeprefix(">") for head in figure.heads or figure.columns]
    rows = figure.rows[:SHOWN]
    boxes: list[tuple[Any, ...]] = []
    texts = [(x, 1.0, head if len(heads) < 12 else head[:6], LIGHT["muted"]) for x, head in enumerate(heads)]
    for at, row in enumerate(rows):
        for x, (cell, mark) in enumerate(zip(row, figure.marks[at], strict=True)):
            texts.append((x, float(-at), SIGNS[mark.tone] if mark and mark.sign else cell, LIGHT[_ink(mark)]))
            if mark is not None and not mark.sign:
                start, end = mark.bar or (0.0, 1.0)
                boxes.append((x + start, x + end, -at - 0.45, -at + 0.45, LIGHT[mark.tone], 0.5 if mark.bar else 1.0))
    plot = plots.ggplot()
    if boxes:
        sides = plots.aes(xmin="left", xmax="right", ymin="low", ymax="high", fill="fill", alpha="alpha")
        plot += plots.geom_rect(sides, data=_columns(("left", "right", "low", "high", "fill", "alpha"), boxes))
    for hjust, part in ((1, [one for one in texts if one[0] == 0]), (0.5, [one for one in texts if one[0] > 0])):
        shown = [(x + 0.5 if x else 0.0, y, shortened(text), ink) for x, y, text, ink in part]
        written = plots.aes("x", "y", label="text", color="ink")
        plot += plots.geom_text(written, data=_columns(("x", "y", "text", "ink"), shown), hjust=hjust, size=4.2)
    return (
        plot
        + plots.scale_fill_identity()
        + plots.scale_color_identity()
        + plots.scale_alpha_identity()
        + plots.xlim(-0.32 * len(heads), len(heads) + 0.2)
        + plots.theme_void()
        + _theme(plots, figure, 90 + ROW * (len(rows) + 1))
    )


def _ink(mark: CellMark | None) -> str:
    """Return the colour of a cell's text."""
    if mark is not None and mark.sign:
        return mark.tone
    return "on_deep" if mark is not None and mark.bar is None and mark.tone in DEEP else "ink"


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}
