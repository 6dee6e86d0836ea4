"""What a figure is, how a page and a notebook show it, and how it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from assay.base import files
from assay.base.errors import UsageError
from assay.report.palette import DARK, LIGHT, declarations
from assay.report.templating import Block, asset, document, environment

PICTURES = (".svg", ".png")


@dataclass(frozen=True)
class CellMark:
    """How a cell of a table is shown beside its text.

    Attributes
    ----------
    tone : str
        Colour of the palette.
    bar : tuple of float, optional
        Where a bar begins and ends, as shares of its room; without one the tone fills the cell.
    sign : bool
        Show a sign in place of the text.
    """

    tone: str
    bar: tuple[float, float] | None = None
    sign: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture with its numbers.

    Attributes
    ----------
    name : str
        Short and stable: the figure's id on a page.
    title, description : str
        What it shows, and what is seen in it.
    columns : tuple of str
        Headers of the numbers; those that begin with ``>`` are aligned to the right.
    rows : tuple of tuple of str
    heads : tuple of str
        Shorter headers that are shown in place of ``columns``, if any.
    marks : tuple of tuple of CellMark or None
        One for each cell, of a figure that is a table.
    lines : mapping, optional
        What a browser draws, see :func:`assay.report.figures.lines.lines_over`; None: the figure is a table.
    """

    name: str
    title: str
    description: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    heads: tuple[str, ...] = ()
    marks: tuple[tuple[CellMark | None, ...], ...] = ()
    lines: Mapping[str, Any] | None = None

    def _repr_html_(self) -> str:
        picture = "" if self.lines is None else still(self, missing_ok=True)
        style = colours("figure.assay") + asset("figure.css")
        return environment().get_template("notebook.html.j2").render(figure=self, picture=picture, style=style)

    def save(self, path: str | Path) -> Path:
        """Write the figure to a file: a picture (``.svg``, ``.png``), or a page with picture and numbers (``.html``).

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
            If the name has another ending, or a picture needs the extra ``plots``, which is not installed.
        """
        out = Path(path)
        if out.suffix not in (*PICTURES, ".html"):
            raise UsageError(f"a figure cannot be saved as {out.name!r}", hint="end the name with .svg, .png or .html")
        if out.suffix == ".html":
            page = document(self.title, [Block("figures", self.title, figures=[self])], lead=self.description)
            files.write(out, page.encode())
        elif out.suffix == ".svg":
            files.write(out, still(self).encode())
        else:
            files.write(out, _pictures().png_of(self))
        return out


def still(figure: Figure, *, missing_ok: bool = False) -> str:
    """Return a figure as an SVG document; empty where the extra is not installed and need not be.

    Raises
    ------
    UsageError
        If the extra ``plots`` is not installed.
    """
    try:
        return str(_pictures().svg_of(figure))
    except UsageError:
        if missing_ok:
            return ""
        raise


def _pictures() -> ModuleType:
    """Import what draws pictures, and itself knows what a figure is, when one is wanted."""
    return import_module("assay.report.figures.still")


def colours(selector: str) -> str:
    """Return a style sheet that defines the colours, for a light and a dark viewer."""
    return (
        f"{selector}{{{declarations(LIGHT)}}}@media (prefers-color-scheme:dark){{{selector}{{{declarations(DARK)}}}}}"
    )
