"""What the public docstrings of a source tree promise: parameters with their types, errors, results and examples.

``python tests/structure/docstrings.py SRC > FILE`` writes it down for a tree; the test beside it holds the present one
against what the first version promised.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SECTIONS = ("Parameters", "Returns", "Yields", "Raises", "Examples")
HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
Promise = dict[str, list[str]]


def sections(text: str) -> Promise:
    """Return section to entries: ``name : type`` of parameters, names of errors, types of results, number of calls."""
    found: Promise = {}
    marks = [*HEADING.finditer(text)]
    for mark, following in zip(marks, [*marks[1:], None], strict=False):
        if mark[1] not in SECTIONS:
            continue
        body = text[mark.end() : following.start() if following else len(text)]
        lines = [line.strip() for line in body.splitlines() if line.strip()]
        if mark[1] == "Examples":
            found["Examples"] = [str(sum(line.startswith(">>>") for line in lines))]
        else:
            entries = [line for line in body.splitlines() if line.strip() and not line.startswith(" ")]
            found[mark[1]] = [entry.strip() for entry in entries]
    if "Examples" not in found and (calls := text.count(">>>")):
        found["Examples"] = [str(calls)]
    return found


def public(tree: Path) -> Iterator[tuple[str, Promise]]:
    """Yield each public function, class and method with what its docstring promises; names are ``owner.name``."""
    for path in sorted(tree.rglob("*.py")):
        module = ast.parse(path.read_text())
        for node in module.body:
            yield from _of(node, "")


def _of(node: ast.AST, owner: str) -> Iterator[tuple[str, Promise]]:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
        return
    name = f"{owner}{node.name}"
    text = ast.get_docstring(node)
    if text and (promise := sections(text)):
        yield name, promise
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            yield from _of(member, f"{name}.")


if __name__ == "__main__":
    table: dict[str, list[Promise]] = {}
    for name, promise in public(Path(sys.argv[1])):
        table.setdefault(name, []).append(promise)
    rows = (f" {json.dumps(name)}: {json.dumps(table[name], ensure_ascii=False)}" for name in sorted(table))
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")
