"""Commands that the documentation names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:\.venv/bin/)?assay [^`]+)`")
NAMES = re.compile(r"^(?:\$ |\.venv/bin/|.*&& \.venv/bin/)?(assay [a-z].*)$")


def told(page: Path) -> Iterator[str]:
    """Yield every command line of a page that begins with ``assay``, without what stands behind it as a comment."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            found = NAMES.match(line.strip())
            if found:
                yield re.split(r"\s{3,}|\s#\s|\s[|>]\s|\s>>\s", found[1])[0]
    for line in INLINE.findall(FENCE.sub("", text)):
        yield line.removeprefix(".venv/bin/")


def words(line: str) -> list[str]:
    """Split a command line; brackets around what may be left out are taken off."""
    return shlex.split(re.sub(r"(?<!\S)\[|\](?!\S)", " ", line.replace("\n", " ").replace("...", "")))
