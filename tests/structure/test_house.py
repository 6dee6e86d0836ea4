"""The house as a whole: one word names one thing, few rooms, no circle; ``lint-imports`` holds the floors."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "assay"
ROOMS = sorted(path.parent for path in SRC.glob("*/__init__.py"))
LOOSE = {"__init__", "__main__", "api"}


def test_no_class_name_is_used_twice() -> None:
    places = defaultdict(list)
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(SRC)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_there_are_at_most_26_rooms_and_no_module_stands_loose() -> None:
    assert len(ROOMS) <= 26
    assert {path.stem for path in SRC.glob("*.py")} <= LOOSE


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_room_says_what_it_is(room: Path) -> None:
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


def planted(tmp_path: Path, place: str, line: str) -> str:
    """Copy the package with one import more, and return what lint-imports says."""
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    subprocess.run(["cp", "-r", str(SRC), str(root / "src")], check=True)
    (root / "pyproject.toml").write_text((SRC.parents[1] / "pyproject.toml").read_text())
    if place:
        path = root / "src" / "assay" / place
        path.write_text(path.read_text() + f"\n{line}\n")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    environment = {"PYTHONPATH": str(root / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*command, "--no-cache"], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("place", "line", "broken"),
    [
        ("", "", ""),
        ("base/errors.py", "import assay.runs.ledger", "A room imports only the rooms below it"),
        ("base/errors.py", "import assay.base.files", "No file imports in a circle"),
    ],
    ids=["as it is", "upwards", "in a circle"],
)
def test_lint_imports_holds_the_floors(tmp_path: Path, place: str, line: str, broken: str) -> None:
    said = planted(tmp_path, place, line)
    assert (f"{broken} BROKEN" in said) if broken else "BROKEN" not in said and "KEPT" in said, said
