"""Templates, with everything from outside escaped, always."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from assay.report.markdown import visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "templates"


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates' environment.

    Everything that is not markup of this package is escaped, and loses its invisible characters, in every template; a
    name that is missing is an error.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_seen,
    )


def _seen(value: Any) -> Any:
    """Return text from outside as one visible line."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@lru_cache(maxsize=16)
def asset(name: str) -> str:
    """Return a file of the templates' folder as text: a template, the style sheet, a script."""
    return (files("assay.report.html") / TEMPLATES / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def stylesheet() -> str:
    """Return the style sheet of a page, with the colours of figures for a light and a dark screen; paper is light."""
    from assay.report.figures.palette import DARK, LIGHT, declarations

    light, dark = declarations(LIGHT), declarations(DARK)
    scheme = f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return scheme + asset("page.css")
