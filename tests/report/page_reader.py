"""Reads a page back with the standard library's parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input", "img", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    def all(self, tag: str, **wanted: str) -> list[Element]:
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and all(child.attributes.get(k) == v for k, v in wanted.items()):
                    found.append(child)
                found += child.all(tag, **wanted)
        return found

    def one(self, tag: str, **wanted: str) -> Element:
        [found] = self.all(tag, **wanted)
        return found

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def rows(self) -> list[list[str]]:
        """Rows of a table, the header first."""
        cells = [[c for c in row.children if isinstance(c, Element)] for row in self.all("tr")]
        return [[cell.text.strip() for cell in row] for row in cells]

    def walk(self):
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()


class Reader(HTMLParser):
    """Builds a tree, and refuses tags that are not closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("#root", {})
        self.stack = [self.root]

    def handle_starttag(self, tag, attrs) -> None:
        element = Element(tag, dict(attrs))
        self.stack[-1].children.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag, attrs) -> None:
        self.stack[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.stack.pop().tag == tag, tag

    def handle_data(self, data) -> None:
        self.stack[-1].children.append(data)


def read(page: str) -> Element:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.stack) == 1, reader.stack[-1].tag
    return reader.root


def section(page: Element, title: str) -> Element:
    found = [one for one in page.all("section") if one.all("h2")[0].text == title]
    assert len(found) == 1, [one.all("h2")[0].text for one in page.all("section")]
    return found[0]


def table(part: Element, first: str) -> list[dict[str, str]]:
    """Rows, by header, of the table whose first header is ``first``; those of figures come later."""
    for found in part.all("table"):
        rows = found.rows()
        if rows[0][0] == first:
            return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    raise AssertionError(f"no table headed {first!r}")
