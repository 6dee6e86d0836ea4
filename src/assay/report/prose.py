"""Markdown of this room as HTML, with what Markdown cannot say: captions, scopes, row headers, words that stand out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from assay.report.markdown import BARS

GOOD = frozenset({"PASS", "ok", "VALID", "yes", "holds", "valid", "sound"})
OPEN = frozenset({"weak", "concentrated", "empty"})
BAD = frozenset({"FAIL", "FAILED", "RUIN", "REFUSED", "BROKEN", "MISSING", "INCOMPLETE", "NOT VALID"})
BAD |= {"not valid", "ruinous"}
ONE_LINE = 44
"""Cells of more characters are wrapped."""
SORTABLE_ROWS = 3
"""A table of fewer rows needs no sorting."""


@dataclass(frozen=True)
class Passage:
    """A heading of the second level and what stands below it."""

    key: str
    """Id on the page."""
    title: str
    body: Markup


def passages(markdown: str) -> tuple[str, Markup, list[Passage]]:
    """Split a report into its title, what stands before the first section, and its sections."""
    parser = _parser()
    tokens = parser.parse(markdown)
    starts = [i for i, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"]
    ends = [*starts[1:], len(tokens)]
    title, lead = _lead(tokens[: starts[0]] if starts else tokens)
    seen: set[str] = set()
    found = []
    for start, end in zip(starts, ends, strict=True):
        name = _plain(tokens[start + 1])
        key = slug(name, seen)
        found.append(Passage(key, name, _html(tokens[start + 3 : end], name)))
    return title, _html(lead, title), found


def slug(name: str, seen: set[str]) -> str:
    """Return an id for a heading that no other heading has.

    >>> slug("Contracts L0 to L4", set()), slug("Gates", {"gates"})
    ('contracts-l0-to-l4', 'gates-2')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "section"
    number = 1
    while (key := stem if number == 1 else f"{stem}-{number}") in seen:
        number += 1
    seen.add(key)
    return key


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _lead(tokens: Sequence[Token]) -> tuple[str, Sequence[Token]]:
    if tokens and tokens[0].type == "heading_open":
        return _plain(tokens[1]), tokens[3:]
    return "", tokens


def _plain(token: Token) -> str:
    return "".join(child.content for child in token.children or [] if child.type in ("text", "code_inline"))


def _html(tokens: Sequence[Token], title: str) -> Markup:
    """Render tokens; the parser has escaped what came from outside, and escapes it again nowhere."""
    parser = _parser()
    ready = list(_dressed(list(tokens), title))
    return Markup(parser.renderer.render(ready, parser.options, {}))  # noqa: S704 - as above


def _dressed(tokens: list[Token], title: str) -> Iterator[Token]:
    at, heading = 0, title
    while at < len(tokens):
        token = tokens[at]
        if token.type == "heading_open":
            heading = _plain(tokens[at + 1])
        if _introduces_table(tokens, at):
            caption = _plain(tokens[at + 1]).removesuffix(":").removesuffix(".")
            end = _end(tokens, at + 3)
            yield from _table(tokens[at + 3 : end], caption, shown=True)
            at = end
        elif token.type == "table_open":
            end = _end(tokens, at)
            yield from _table(tokens[at:end], heading, shown=False)
            at = end
        else:
            yield token
            at += 1


def _introduces_table(tokens: Sequence[Token], at: int) -> bool:
    """Whether a short plain paragraph that ends in a colon stands right before a table: its caption."""
    if tokens[at].type != "paragraph_open" or at + 3 >= len(tokens) or tokens[at + 3].type != "table_open":
        return False
    text = tokens[at + 1]
    return text.content.endswith(":") and all(child.type == "text" for child in text.children or [])


def _end(tokens: Sequence[Token], start: int) -> int:
    return next(i for i in range(start, len(tokens)) if tokens[i].type == "table_close") + 1


def _table(tokens: Sequence[Token], caption: str, *, shown: bool) -> Iterator[Token]:
    rows = sum(token.type == "tr_open" for token in tokens) - 1
    kind = "sortable" if rows >= SORTABLE_ROWS else "plain"
    hidden = "" if shown else Markup(' class="unseen"')
    yield _raw(
        Markup(
            '<div class="scroll" role="group" tabindex="0" aria-label="{}"><table class="{}"><caption{}>{}</caption>'
        ).format(caption, kind, hidden, caption)
    )
    first = False
    for at, token in enumerate(tokens[1:-1], start=1):
        if token.type == "tr_open":
            first = True
            if _is_total(tokens, at):
                token.attrSet("class", "total")
        if token.type in ("th_open", "td_open"):
            _dress_cell(token, tokens[at + 1], first=first)
            first = False
        elif token.type == "td_close":
            token.tag = tokens[at - 2].tag
        yield token
    yield _raw(Markup("</table></div>"))


def _is_total(tokens: Sequence[Token], at: int) -> bool:
    """Whether a row is a sum of the others: this room writes its name in bold."""
    text = tokens[at + 2]
    children = text.children or []
    return tokens[at + 1].type == "td_open" and any(child.type == "strong_open" for child in children)


def _dress_cell(token: Token, text: Token, *, first: bool) -> None:
    right = "right" in str(token.attrs.pop("style", ""))
    kinds = ["n"] if right else []
    words = _plain(text)
    if token.type == "th_open":
        token.attrSet("scope", "col")
    elif first:
        token.tag = "th"
        token.attrSet("scope", "row")
    else:
        kinds += [kind for kind, known in (("good", GOOD), ("open", OPEN), ("bad", BAD)) if words in known]
    if len(words) > ONE_LINE and not set(words) <= set(BARS):
        kinds.append("long")
    if kinds:
        token.attrSet("class", " ".join(kinds))


def _raw(markup: Markup) -> Token:
    return Token("html_block", "", 0, content=str(markup))
