"""Files of a run stand in one table: no other module spells a path of one, and none lists steps a second time."""

import ast
from collections.abc import Iterator
from pathlib import Path

from assay.runs.artifacts import STEP_NAMES, TABLE, WALK

SRC = Path(__file__).resolve().parents[2] / "src" / "assay"
ALLOWED = ("runs/artifacts.py", "runs/verify.py")
"""The table; and the verifier, which can be copied and so stands alone."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield string literals, and the fixed parts of f-strings, but no docstrings."""
    for node in ast.walk(ast.parse(path.read_text())):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                statement.value.value = ""  # a docstring
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def spelled(text: str) -> bool:
    """Tell whether a text spells a path of the table, or begins with a folder of it."""
    return text in TABLE or text.startswith((WALK, *(row for row in TABLE if row.endswith("/"))))


def test_no_second_list_of_artifact_paths() -> None:
    found = [
        f"{path.relative_to(SRC)}:{line} {text}"
        for path in sorted(SRC.rglob("*.py"))
        if path.relative_to(SRC).as_posix() not in ALLOWED
        for line, text in texts(path)
        if spelled(text)
    ]
    assert found == []


def test_the_verifier_spells_what_it_must_and_no_more() -> None:
    found = {text for _, text in texts(SRC / "runs" / "verify.py") if spelled(text)}
    assert found == {"audit.jsonl", "run_status.json", "logs/"}


def test_no_second_list_of_steps() -> None:
    """Four names of steps in a row are a list of steps; what uses one or two by name is none."""
    names = {name for steps in STEP_NAMES.values() for name in steps}
    for path in sorted(SRC.rglob("*.py")):
        if path.relative_to(SRC).as_posix() in ALLOWED:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                inside = [one for one in node.elts if isinstance(one, ast.Constant) and one.value in names]
                assert len(inside) < 4, f"{path.relative_to(SRC)}:{node.lineno}"


def test_a_spelled_path_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""audit.jsonl"""\nA = "data/portfolio_candidates.json"\nB = f"data/walk_forward/{A}.parquet"\n')
    assert [text for _, text in texts(path) if spelled(text)] == [
        "data/portfolio_candidates.json",
        "data/walk_forward/",
    ]
