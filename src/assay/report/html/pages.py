"""One page: a head with the verdict, a list of its sections, and the sections with their figures."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from assay.report.figures.figure import Figure
from assay.report.html.html_environment import asset, environment, stylesheet
from assay.report.html.prose import passages
from assay.report.markdown import visible

Picture = Figure | str
"""A figure, or the reason why there is none."""
Pictures = Mapping[str, Sequence[Picture]]
"""Title of a section to its figures."""

POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Head:
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
    """A section of a page."""

    key: str
    title: str
    body: str | Markup = ""
    pictures: Sequence[Picture] = ()

    @classmethod
    def of_figures(cls, title: str, figures: Sequence[Picture]) -> Block:
        """Return a section of figures alone."""
        return cls("figures", title, pictures=figures)

    @property
    def figures(self) -> list[Figure]:
        """Figures that are there."""
        return [picture for picture in self.pictures if isinstance(picture, Figure)]

    @property
    def absent(self) -> list[str]:
        """Why others are not, each reason once."""
        return list(dict.fromkeys(picture for picture in self.pictures if isinstance(picture, str)))


def report_page(markdown: str, pictures: Pictures, head: Head | None = None) -> str:
    """Return a report that is written in Markdown as a page with figures.

    Parameters
    ----------
    markdown : str
        Text of this package; one title, sections of the second level.
    pictures : mapping of str to sequence of Figure or str
        Title of a section to what is shown at its beginning.
    head : Head, optional

    Raises
    ------
    ValueError
        If a section that pictures name is not in the text.
    """
    title, lead, found = passages(markdown)
    shown = {visible(name): figures for name, figures in pictures.items()}
    strangers = set(shown) - {passage.title for passage in found}
    if strangers:
        raise ValueError(f"figures for sections that the report does not have: {sorted(strangers)}")
    blocks = [Block(passage.key, passage.title, passage.body, shown.get(passage.title, ())) for passage in found]
    return document(title, blocks, head=head, lead=lead)


def document(title: str, blocks: Sequence[Block], *, head: Head | None = None, lead: str | Markup = "") -> str:
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
