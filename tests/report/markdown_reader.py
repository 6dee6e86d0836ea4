"""Reads a report back with an independent CommonMark parser (markdown-it)."""

from __future__ import annotations

from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
LITERAL = {"text", "softbreak", "strong_open", "strong_close", "link_open", "link_close", "code_inline"}
"""Inline tokens that the reports use themselves."""


@dataclass
class Section:
    """A heading and what stands below it."""

    title: str
    level: int
    paragraphs: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    """Each a list of rows, the header first."""

    def rows(self, first: str) -> list[dict[str, str]]:
        """Rows, by header, of the table whose first header is ``first``."""
        for table in self.tables:
            if table[0][0] == first:
                return [dict(zip(table[0], row, strict=True)) for row in table[1:]]
        raise AssertionError(f"no table headed {first!r} below {self.title!r}: {[table[0] for table in self.tables]}")

    @property
    def text(self) -> str:
        return "\n".join(self.paragraphs)


def plain(token: Token) -> str:
    """Return the text that a reader sees."""
    return "".join("\n" if child.type == "softbreak" else child.content for child in token.children or [])


def tokens(markdown: str) -> list[Token]:
    return PARSER.parse(markdown)


def inline_types(markdown: str) -> set[str]:
    return {child.type for token in tokens(markdown) for child in token.children or []}


def sections(markdown: str) -> list[Section]:
    """Return the document's sections in order."""
    found: list[Section] = []
    stream = iter(tokens(markdown))
    for token in stream:
        if token.type == "heading_open":
            found.append(Section(plain(next(stream)), int(token.tag[1:])))
        elif token.type == "table_open":
            found[-1].tables.append(_table(stream))
        elif token.type == "inline":
            found[-1].paragraphs.append(plain(token))
    return found


def _table(stream) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in stream:
        if token.type == "table_close":
            return rows
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(plain(token))
    raise AssertionError("the table has no end")


def by_title(markdown: str) -> dict[str, Section]:
    return {section.title: section for section in sections(markdown)}
