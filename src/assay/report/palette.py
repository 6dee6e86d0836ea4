"""Colours by name, for a light and a dark page.

A figure names colours, and a style sheet says what they are. The series
are told apart by colour, dash and a label at their end; the colours are those of Okabe and Ito (2008), darkened or
lightened until each stands out from the page by 3:1 or more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LIGHT: Mapping[str, str] = {
    "page": "#ffffff",
    "ink": "#1a2230",
    "muted": "#566072",
    "grid": "#dfe3ea",
    "blue": "#0067a8",
    "orange": "#b94a00",
    "green": "#00745a",
    "purple": "#99417f",
    "brown": "#7a6200",
    "black": "#1a2230",
    "grey": "#6b7484",
    "up": "#0067a8",
    "down": "#b94a00",
    "soft": "#c9d2de",
    "low4": "#8f3a00",
    "low3": "#b6561a",
    "low2": "#e8a877",
    "low1": "#f7dcc8",
    "mid": "#eef0f3",
    "high1": "#d0e3f1",
    "high2": "#8fbede",
    "high3": "#2f77aa",
    "high4": "#00507f",
    "on_pale": "#1a2230",
    "on_deep": "#ffffff",
}
DARK: Mapping[str, str] = {
    "page": "#12161d",
    "ink": "#e6eaf1",
    "muted": "#a3adbd",
    "grid": "#2c3442",
    "blue": "#57b4f0",
    "orange": "#ff9552",
    "green": "#35c9a0",
    "purple": "#e58fca",
    "brown": "#e0c244",
    "black": "#e6eaf1",
    "grey": "#98a2b3",
    "up": "#57b4f0",
    "down": "#ff9552",
    "soft": "#3a4556",
    "low4": "#ffb98c",
    "low3": "#d9733a",
    "low2": "#8c4a22",
    "low1": "#4c3021",
    "mid": "#232a35",
    "high1": "#1e3a50",
    "high2": "#23618c",
    "high3": "#3f93cb",
    "high4": "#9ad4fa",
    "on_pale": "#e6eaf1",
    "on_deep": "#0c1016",
}

STEPS = ("low4", "low3", "low2", "low1", "mid", "high1", "high2", "high3", "high4")
"""A scale from one hue through pale to another."""
DEEP = frozenset({"low4", "low3", "high3", "high4"})
"""Steps on which text is written in the page's colour."""


@dataclass(frozen=True)
class Style:
    """How a line is drawn; ``dash`` as lengths on and off, empty for a whole line."""

    colour: str
    dash: tuple[float, ...] = ()
    width: float = 1.6


STYLES: Mapping[str, Style] = {
    "min_variance": Style("blue"),
    "hrp": Style("orange", width=2.4),
    "max_sharpe": Style("green", (6, 2)),
    "equal_weight": Style("purple", (6, 2, 1.5, 2)),
    "barbell": Style("brown", (2, 1.5)),
    "benchmark": Style("black", width=1.1),
    "universe": Style("grey", (4, 2), 1.1),
}
"""Risk profiles and yardsticks look the same in every figure."""

_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2), (2, 1.5), (6, 2, 1.5, 2))
_COLOURS = ("blue", "orange", "green", "purple", "brown")
_OTHERS = tuple(Style(_COLOURS[i % 5], _DASHES[i % 4]) for i in range(20))


def style_of(name: str, number: int) -> Style:
    """Return the style of a series: its own, or that of its place among others."""
    return STYLES.get(name, _OTHERS[number % len(_OTHERS)])


def declarations(colours: Mapping[str, str]) -> str:
    """Return the declarations of all variables."""
    return "".join(f"--c-{name.replace('_', '-')}:{colour};" for name, colour in colours.items())
