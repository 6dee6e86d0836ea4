"""Figures over time: wealth, drawdown, beta, costs, weight on loss makers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from assay.base.constants import Days, Floats
from assay.report.figures.figure import Figure
from assay.report.markdown import finite, integer, number, percent, ratio, visible
from assay.report.palette import style_of

Lines = Mapping[str, Floats]
"""Name of a series to one value a day, NaN where there is none."""
Show = Callable[[float | None], str]

SHOWS: Mapping[Show, str] = {integer: "integer", number: "number", percent: "percent", ratio: "ratio"}
"""How numbers are written, as ``charts.js`` names it."""
ROWS = 40
"""Days in the table of a figure."""
BETA_DAYS = 60
"""Window of the rolling beta."""
SHARPE_DAYS = 60
"""Window of the rolling Sharpe ratio."""
LOG_SPAN = 8.0
"""From this ratio of the highest to the lowest value on, growth is drawn on a logarithmic scale."""
LONGEST = 34
"""Characters of a name in a picture; the table beside it has the whole of it."""

TITLES = {"benchmark": "Bitcoin", "universe": "all coins, equal"}


def label_of(name: str) -> str:
    """Return a series' name as people read it; outside names stay as they are."""
    return TITLES.get(name, name)


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return one visible line of at most so many characters.

    >>> shortened("BINANCE:BTCUSDT"), shortened("x" * 50, 10)
    ('BINANCE:BTCUSDT', 'xxxxxxxxx…')
    """
    line = visible(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def equity(days: Days, nav: Lines, yardsticks: Lines | None = None, name: str = "equity") -> Figure:
    """Show what 1 became, for each risk profile and yardstick.

    Parameters
    ----------
    days : (n_days,) datetime64[D] array
    nav, yardsticks : mapping of str to (n_days,) array
        Account values at the close of each day; an account began with 1 before the first day.
    name : str
        Id of the figure.
    """
    lines = {**nav, **(yardsticks or {})}
    title = "Growth of 1 in the walk-forward, after costs"
    return lines_over(name, title, f"From {span(days)}. At the end: {told(lines, ratio, last)}.", days, {"": lines},
                      (ratio,), level=1.0, growth=True)  # fmt: skip


def drawdown(days: Days, falls: Lines, name: str = "drawdown") -> Figure:
    """Show the fall from the highest value so far, at most 0."""
    description = f"From {span(days)}. Deepest: {told(falls, percent, low)}."
    return lines_over(name, "Drawdown", description, days, {"": falls}, (percent,))


def rolling_beta(days: Days, betas: Lines, window: int = BETA_DAYS, name: str = "rolling-beta") -> Figure:
    """Show the beta to the benchmark over the last ``window`` days."""
    description = f"Of the {window} days up to each day, from {span(days)}. At the end: {told(betas, ratio, last)}."
    return lines_over(name, f"Beta to Bitcoin over {window} days", description, days, {"": betas}, (ratio,))


def rolling_sharpe(days: Days, ratios: Lines, window: int = SHARPE_DAYS, name: str = "rolling-sharpe") -> Figure:
    """Show the annual Sharpe ratio over the last ``window`` days."""
    description = f"Of the {window} days up to each day, from {span(days)}. At the end: {told(ratios, ratio, last)}."
    return lines_over(name, f"Sharpe ratio over {window} days", description, days, {"": ratios}, (ratio,))


def turnover(days: Days, traded: Lines, paid: Lines, name: str = "turnover") -> Figure:
    """Show what was traded and what it cost, both summed up from the first day, as shares of the account.

    Parameters
    ----------
    days : (n_days,) datetime64[D] array
    traded, paid : mapping of str to (n_days,) array
        Shares of each day: value traded over NAV; fees, slippage and borrow over NAV.
    """
    panels = {"Value traded, x account": _summed(traded), "Costs and borrow": _summed(paid)}
    ends = ", ".join(
        f"{label_of(label)} {ratio(last(values))} x, {percent(last(panels['Costs and borrow'][label]))}"
        for label, values in panels["Value traded, x account"].items()
    )
    description = f"Summed up from {span(days)}. At the end: {ends}."
    return lines_over(name, "Turnover and cost", description, days, panels, (ratio, percent))


def loss_makers(days: Days, guarded: Lines, unguarded: Lines, name: str = "loss-makers") -> Figure:
    """Show the weight on loss makers at each decision, with the guard and without."""
    description = (
        f"Decisions from {span(days)}. Most with the guard off: {told(unguarded, percent, high)}; "
        f"as run: {told(guarded, percent, high)}."
    )
    panels = {"As run": guarded, "Guard off": unguarded}
    return lines_over(name, "Weight on loss makers", description, days, panels, (percent, percent), steps=True)


def _summed(lines: Lines) -> dict[str, Floats]:
    return {label: np.cumsum(np.nan_to_num(values)) for label, values in lines.items()}


def lines_over(
    name: str,
    title: str,
    description: str,
    days: Days,
    panels: Mapping[str, Lines],
    shows: Sequence[Show],
    *,
    level: float = 0.0,
    growth: bool = False,
    steps: bool = False,
) -> Figure:
    """Declare lines over days, in panels above each other.

    Parameters
    ----------
    name, title, description : str
        Of the figure.
    days : (n_days,) datetime64[D] array
    panels : mapping of str to mapping of str to (n_days,) array
        Heading of a panel, empty where there is but one, to its lines.
    shows : sequence of callable
        How the numbers of each panel are written, keys of :data:`SHOWS`.
    level : float
        What the eye can hold on to.
    growth : bool
        Draw on a logarithmic scale where the values span much.
    steps : bool
        A value holds until the next day that has one.
    """
    kept = thinned(len(days), ROWS)
    columns, rows = ["date"], [[str(days[i])] for i in kept]
    for (head, lines), show in zip(panels.items(), shows, strict=True):
        for label, values in lines.items():
            columns.append(f">{label_of(label)}{head and ', '}{head.lower()}")
            for row, i in zip(rows, kept, strict=True):
                row.append(show(finite(float(values[i]))))
    drawn = {
        "days": days.astype("datetime64[D]").astype(int).tolist(),
        "level": level,
        "steps": steps,
        "panels": [
            {"head": head, "show": SHOWS[show], "log": growth and _wide(lines), "lines": _declared(lines)}
            for (head, lines), show in zip(panels.items(), shows, strict=True)
        ],
    }
    return Figure(name, title, description, tuple(columns), tuple(map(tuple, rows)), lines=drawn)


def _declared(lines: Lines) -> list[dict[str, Any]]:
    found = []
    for place, (name, values) in enumerate(lines.items()):
        style = style_of(name, place)
        known = [None if (value := finite(v)) is None else float(f"{value:.6g}") for v in values.tolist()]
        look = {"colour": style.colour, "dash": list(style.dash), "width": style.width}
        found.append({"name": shortened(label_of(name)), **look, "values": known})
    return found


def _wide(lines: Lines) -> bool:
    known = np.concatenate([values[np.isfinite(values)] for values in lines.values()] or [np.zeros(0)])
    return bool(known.size and known.min() > 0.0 and known.max() / known.min() >= LOG_SPAN)


# --- numbers ----------------------------------------------------------------------------------------------------------


def thinned(n: int, most: int) -> list[int]:
    """Return at most so many positions out of ``n``, evenly spaced, both ends among them.

    >>> thinned(5, 3), thinned(2, 3)
    ([0, 2, 4], [0, 1])
    """
    if n <= most:
        return list(range(n))
    return sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def told(lines: Lines, show: Show, of: Callable[[Floats], float | None]) -> str:
    """Return one number of each line in words."""
    return ", ".join(f"{label_of(label)} {show(of(values))}" for label, values in lines.items())


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
