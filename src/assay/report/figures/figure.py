"""What a figure is, and how a notebook shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.base import files
from assay.base.errors import UsageError
from assay.report.palette import DARK, LIGHT, declarations
from assay.report.templating import Block, document, environment

NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'


@dataclass(frozen=True)
class Figure:
    """A picture with its numbers.

    Attributes
    ----------
    name : str
        Short and stable: the figure's id on a page.
    title, description : str
        What it shows, and what is seen in it.
    svg : str
        An ``svg`` element; its colours are variables that a page defines.
    columns : tuple of str
        Headers of the numbers; those that begin with ``>`` are aligned to the right.
    rows : tuple of tuple of str
    """

    name: str
    title: str
    description: str
    svg: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    def _repr_html_(self) -> str:
        return environment().get_template("notebook.html.j2").render(figures=[self], colours=colours("figure.assay"))

    def _repr_svg_(self) -> str:
        return self.standalone()

    def standalone(self) -> str:
        """Return the picture as an SVG document of its own, light or dark as the viewer is."""
        style = f"<style>{colours('svg')}text{{font-family:system-ui,sans-serif}}</style>"
        return self.svg.replace("<svg ", f"<svg {NAMESPACE} ", 1).replace("><title", f">{style}<title", 1)

    def save(self, path: str | Path) -> Path:
        """Write the figure to a file: a picture (``.svg``), or a page with picture and numbers (``.html``).

        Parameters
        ----------
        path : str or Path
            Where to; an existing file is replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        UsageError
            If the name has another ending.
        """
        out = Path(path)
        if out.suffix not in (".svg", ".html"):
            raise UsageError(f"a figure cannot be saved as {out.name!r}", hint="end the name with .svg or .html")
        if out.suffix == ".svg":
            text = self.standalone()
        else:
            text = document(self.title, [Block("figures", self.title, figures=[self])], lead=self.description)
        files.write(out, text.encode())
        return out


def colours(selector: str) -> str:
    """Return a style sheet that defines the colours, for a light and a dark viewer."""
    return (
        f"{selector}{{{declarations(LIGHT)}}}@media (prefers-color-scheme:dark){{{selector}{{{declarations(DARK)}}}}}"
    )


def thinned(n: int, most: int) -> list[int]:
    """Return at most so many positions out of ``n``, evenly spaced, both ends among them.

    >>> thinned(5, 3), thinned(2, 3)
    ([0, 2, 4], [0, 1])
    """
    if n <= most:
        return list(range(n))
    return sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart until no two are closer than ``gap``, in their order, as near to their places as that allows.

    >>> spread([5.0, 5.0, 20.0], 4.0, 0.0, 30.0)
    [3.0, 7.0, 20.0]
    """
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    groups: list[list[float]] = []  # [sum of wanted starts, count, start]
    for rank, i in enumerate(order):
        groups.append([places[i] - gap * rank, 1.0])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            last = groups.pop()
            groups[-1] = [groups[-1][0] + last[0], groups[-1][1] + last[1]]
    starts = [total / count for total, count in groups for _ in range(int(count))]
    top = high - gap * (len(places) - 1)
    found = [0.0] * len(places)
    for rank, (i, start) in enumerate(zip(order, starts, strict=True)):
        found[i] = max(low, min(start, top)) + gap * rank
    return found
