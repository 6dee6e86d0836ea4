"""The operators' page on accounts: its example is typed as it stands, and its tables leave no name out."""

from __future__ import annotations

import ast
import csv
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assay.account.expectation import ALARMS
from assay.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operators.md"


@pytest.fixture(scope="module")
def section() -> str:
    if not PAGE.is_file():
        pytest.skip("the page is not part of this copy")
    text = PAGE.read_text(encoding="utf-8")
    return text[text.index("## An account") : text.index("## What is asked of others")]


def typed(line: str, home: Path) -> str:
    import shlex

    done = CliRunner().invoke(app, [*shlex.split(line)[1:], "--home", str(home)])
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return done.output


def write_fills(home: Path) -> None:
    """Fill all that was ordered, as an exchange would tell it, a little above the close that was decided at."""
    [*_, path] = sorted((home / "accounts" / "paper" / "orders").glob("*.csv"))
    with path.open() as stream:
        rows = [
            [number, row["symbol"], row["side"], row["quantity"], row["decided"], "2024-01-18T00:01:00Z", "0", "USDT"]
            for number, row in enumerate(csv.DictReader(stream))
        ]
    with Path("fills.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["trade_id", "symbol", "side", "amount", "price", "time", "fee", "fee_coin"], *rows])
    assert rows


def write_holdings(home: Path) -> None:
    told = json.loads(CliRunner().invoke(app, ["account", "show", "paper", "--json", "--home", str(home)]).stdout)
    with Path("holdings.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["symbol", "quantity"], ["USDT", told["cash"]],
                                   *([one["symbol"], one["quantity"]] for one in told["holdings"])])  # fmt: skip


def test_the_example_does_what_the_page_says(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    lines, home = block.strip().splitlines(), tmp_path / "home"
    assert len(lines) > 10
    said: dict[str, str] = {}
    for line in lines:
        if "--fills" in line:
            write_fills(home)
        elif "--holdings" in line:
            write_holdings(home)
        said[line] = typed(line, home)
    by = {line.split()[2] if line.startswith("assay account") else line.split()[1]: out for line, out in said.items()}
    assert "OK paper" in by["verify"]
    assert "paper: VERIFIED" in by["audit"]
    assert "account paper: OPEN" in by["status"]
    assert "SAME" in by["reconcile"]


def test_every_refusal_of_fills_and_every_alarm_is_explained(section: str) -> None:
    names = set(ALARMS)
    for path in ("imports.py", "fills.py"):
        for node in ast.walk(ast.parse((ROOT / "src" / "assay" / "account" / path).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names |= set(re.findall(r"^(?:FILL|FEE)_[A-Z_]+$", node.value))
    told_only = {"FEE_IN_COIN", "FEE_IN_OTHER_COIN", "FEE_UNTOLD", "FILL_KNOWN"}  # findings that say it themselves
    assert len(names) > 10
    assert sorted(name for name in names - told_only if name not in section) == []
