"""Templates of pages and of Markdown: what comes from outside is escaped, always, and a missing name is an error."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemBytecodeCache, FunctionLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from assay.report import markdown
from assay.report.markdown import Safe, escape, table, visible
from assay.report.palette import DARK, LIGHT, declarations

POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; form-action 'none'"
)
CELLS = " | "
COMPACT = {"separators": (",", ":")}
"""How templates write JSON."""
FILTERS = ("integer", "names", "number", "percent", "plain", "ratio", "seconds", "yes")
"""Functions of :mod:`assay.report.markdown` that templates know by their own names."""

Kind = Literal["good", "bad", "open"]


@lru_cache(maxsize=48)
def asset(name: str) -> str:
    """Return a file of the templates' folder as text: a template, the style sheet, a script."""
    return (files("assay.report") / "templates" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=4)
def vendored(name: str) -> str:
    """Return a file of another project as it was published; ``THIRD_PARTY_NOTICES`` has its version and hash."""
    return (files("assay.report") / "vendor" / name).read_text(encoding="utf-8")


class _CompiledTemplates(FileSystemBytecodeCache):
    """Keep compiled templates where Python keeps compiled modules, since compiling is half of what a report costs.

    Jinja compares them with the template's text; the name holds this module's, whose settings they depend on.
    """

    def __init__(self) -> None:
        here = Path(__file__)
        folder = here.parent / "__pycache__"
        super().__init__(str(folder), f"templates-{hashlib.sha256(here.read_bytes()).hexdigest()[:12]}-%s.cache")

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write a compiled template, unless Python may not write its own."""
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                super().dump_bytecode(bucket)


def _environment(finalize: Callable[[Any], Any], **settings: Any) -> Environment:
    return Environment(
        loader=FunctionLoader(asset),
        bytecode_cache=_CompiledTemplates(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else finalize(value),
        **settings,
    )


# --- Markdown ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def markdown_environment() -> Environment:
    """Return the environment of Markdown templates, see :func:`tidy` for what they write tables as."""
    made = _environment(lambda value: Markup(escape(value)), lstrip_blocks=True)  # noqa: S704 - escaped as Markdown
    made.filters |= {name: getattr(markdown, name) for name in FILTERS}
    made.filters |= {"counted": markdown.count, "table": lambda *given: Safe(_table(*given) + "\n"), "cells": _cells}
    return made


def tidy(text: str) -> Safe:
    """Return what a template made, with one empty line where it left several, and with its tables drawn.

    Lines below each other with cells between `` | `` are a table: the first is its header, in which ``>`` aligns a
    column to the right. No value can make one, since bars in values are escaped. A longer table stands in
    ``{% filter table(limit, more) %}``.
    """
    blocks = re.split(r"\n{2,}", text.strip("\n"))
    return Safe("\n\n".join(_table(block) if _is_table(block) else block for block in blocks) + "\n")


def _is_table(block: str) -> bool:
    return CELLS in block and not block.startswith("| ")  # a table that is drawn already


def _table(block: str, limit: int | None = None, more: str = "") -> Safe:
    rows = [[Safe(cell.strip()) for cell in line.split(CELLS)] for line in block.split("\n") if line.strip()]
    return table(rows[0], rows[1:], limit, more)


def _cells(row: Sequence[object]) -> Safe:
    return markdown.join(row, CELLS)


# --- pages ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the environment of HTML templates; texts lose their invisible characters."""
    made = _environment(lambda value: visible(value) if isinstance(value, str) else value)
    made.policies["json.dumps_kwargs"] = COMPACT
    return made


@lru_cache(maxsize=1)
def stylesheet() -> str:
    """Return the style sheet of a page, with the colours of figures for a light and a dark screen; paper is light."""
    light, dark = declarations(LIGHT), declarations(DARK)
    scheme = f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root:not(.paper){{{dark}}}}}"
    return scheme + "".join((vendored("uPlot.min.css"), asset("figure.css"), asset("page.css")))


@lru_cache(maxsize=1)
def charts() -> str:
    """Return the script that draws lines over days, below the licence of the library that does it."""
    licence = vendored("LICENSE.uPlot.txt")
    return f"/*\nuPlot 1.6.32\n\n{licence}\n*/\n{vendored('uPlot.iife.min.js')}\n{asset('charts.js')}"


@lru_cache(maxsize=1)
def script() -> str:
    """Return the one script of a report: it draws lines and sorts tables."""
    return charts() + asset("sort.js")


@dataclass(frozen=True)
class Banner:
    """What stands above everything: one word, its reason, and a few facts."""

    word: str
    why: str
    kind: Kind
    """How the word stands out."""
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
    """Return a whole page: it loads nothing, and runs no script but its own for lines and sorting."""
    style, code = stylesheet(), script()
    template = environment().get_template("page.html.j2")
    return template.render(
        title=title,
        blocks=blocks,
        head=head,
        lead=lead,
        policy=POLICY.format(style=source_hash(style), script=source_hash(code)),
        style=Markup(style),  # noqa: S704 - files of this package
        script=Markup(code),  # noqa: S704 - files of this package
    )


def source_hash(text: str) -> str:
    """Return the hash by which a content security policy allows an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
