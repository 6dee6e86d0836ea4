"""Public docstrings keep what the first version promised: parameters, errors, results and executed examples.

``promised_docstrings.json`` was written from commit 883582d by ``python tests/structure/docstrings.py SRC``. Names that
have gone stand in ``docs/moved.md`` with what took their place.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tests.structure.docstrings import Promise, public

ROOT = Path(__file__).resolve().parents[2]
PROMISED: dict[str, list[Promise]] = json.loads(Path(__file__).with_name("promised_docstrings.json").read_text())
MOVED = (ROOT / "docs" / "moved.md").read_text()


def present() -> dict[str, list[Promise]]:
    table: dict[str, list[Promise]] = {}
    for name, promise in public(ROOT / "src" / "assay"):
        table.setdefault(name, []).append(promise)
    return table


def defined() -> set[str]:
    """Names of all classes and functions, methods with their class, whatever their docstrings say."""
    names: set[str] = set()
    for path in (ROOT / "src" / "assay").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{member.name}" for member in node.body if isinstance(member, ast.FunctionDef)}
    return names


def arguments() -> dict[str, set[str]]:
    """Name to the arguments that any definition of it takes; those of a class are its fields and ``__init__``."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "assay").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, set()).update(_arguments(node))
            elif isinstance(node, ast.ClassDef):
                fields = {
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
                init = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
                found.setdefault(node.name, set()).update(fields, *(_arguments(item) for item in init))
    return found


def _arguments(node: ast.FunctionDef) -> set[str]:
    every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
    return {argument.arg for argument in every if argument is not None}


PRESENT, DEFINED, ARGUMENTS = present(), defined(), arguments()


def names(entry: str) -> list[str]:
    """Names of an entry such as ``open_, close : array``.

    >>> names("open_, close : (n,) array")
    ['open_', 'close']
    """
    return [part.strip(" *`") for part in re.split(r"\s:\s?", entry)[0].split(",")]


def lacking(before: Promise, now: Promise, taken: set[str]) -> list[str]:
    """Say what a docstring has lost; a parameter that is no longer taken needs no word."""
    lost = []
    wanted = {name for entry in before.get("Parameters", []) for name in names(entry)}
    told = {name for entry in now.get("Parameters", []) for name in names(entry)}
    lost += [f"parameter {name}" for name in sorted((wanted & taken) - told)]
    if {"Returns", "Yields"} & before.keys() and not {"Returns", "Yields"} & now.keys():
        lost.append("what it returns")
    lost += [f"error {name}" for name in before.get("Raises", []) if name not in now.get("Raises", [])]
    if "Examples" in before and "Examples" not in now:
        lost.append("examples")
    return lost


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_what_was_promised_is_still_said(name: str) -> None:
    if f"`{name}`" in MOVED:  # gone, or the name is another thing's by now
        return
    assert name in DEFINED, f"{name} has gone: say in docs/moved.md what took its place"
    owner = name.split(".")[-1]
    losses = [
        min(
            (lacking(before, now, ARGUMENTS.get(owner, set())) for now in PRESENT.get(name, [{}])),
            key=len,
        )
        for before in PROMISED[name]
    ]
    # Where one name had several definitions, each present one answers for the promise that it comes nearest to.
    kept = min(losses, key=len) if len(losses) > 1 else losses[0]
    assert not kept, f"the docstring of {name} no longer tells: {', '.join(kept)}"


def test_a_lost_section_is_seen() -> None:
    before = {"Parameters": ["a : int", "b : int"], "Raises": ["DataError"], "Examples": ["1"]}
    assert lacking(before, {"Parameters": ["a : int"]}, {"a", "b"}) == ["parameter b", "error DataError", "examples"]
    assert lacking(before, before, {"a", "b"}) == []
