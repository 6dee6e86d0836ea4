"""Templates and the page that they make, with everything from outside escaped, always."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from assay.report.figures.palette import DARK, LIGHT, declarations
from assay.report.markdown import visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "templates"
POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; form-action 'none'"
)


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
    return (files("assay.report") / TEMPLATES / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def stylesheet() -> str:
    """Return the style sheet of a page, with the colours of figures for a light and a dark screen; paper is light."""
    light, dark = declarations(LIGHT), declarations(DARK)
    scheme = f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return scheme + asset("page.css")


@dataclass(frozen=True)
class Banner:
    """What stands above everything: one word, its reason, and a few facts.

    Attributes
    ----------
    word, why : str
        Verdict and reason.
    kind : str
        ``good``, ``bad`` or ``open``: how the word stands out.
    facts : sequence of (str, str)
        Label and value.
    """

    word: str
    why: str
    kind: str
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Block:
    """A section of a page: its figures, the reasons for which others are absent, and its text."""

    key: str
    title: str
    body: str | Markup = ""
    figures: Sequence[object] = ()
    absent: Sequence[str] = ()


def document(title: str, blocks: Sequence[Block], *, head: Banner | None = None, lead: str | Markup = "") -> str:
    """Return a whole page: it loads nothing, and runs no script but its own for sorting."""
    style, script = stylesheet(), asset("sort.js")
    template = environment().get_template("page.html.j2")
    return template.render(
        title=title,
        blocks=blocks,
        head=head,
        lead=lead,
        policy=POLICY.format(style=source_hash(style), script=source_hash(script)),
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
    )


def source_hash(text: str) -> str:
    """Return the hash by which a content security policy allows an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
