"""The operators' page names no command, option, setting or code that does not exist, and leaves no code out."""

import re
import tomllib
from pathlib import Path

import pytest
from reachable_codes import Program, Reach
from typer.main import get_command

from assay.cli import app
from assay.settings.model import ScanSettings, Schedule, SourceSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operators.md"
OWN_DATA = ROOT / "docs" / "own_data.md"
"""What is said of a file of one's own stands there, in one place."""


@pytest.fixture(scope="module")
def text():
    if not PAGE.is_file():
        pytest.skip("the page is not part of this copy")
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(text):
    assert "(own_data.md" in text
    return text + OWN_DATA.read_text(encoding="utf-8")


def commands(text):
    return {line.strip() for line in re.findall(r"(?:^|[`/\s])assay ([a-z][^`\n>|#]*)", text, re.MULTILINE)}


def test_every_command_and_option_exists(text):
    group = get_command(app)
    found = commands(text)
    assert len(found) > 10
    for line in found:
        command, words = group, line.split()
        while hasattr(command, "commands"):  # a group, such as ``meta``: its command is the next word
            assert (words or [""])[0] in command.commands, f"no command: assay {line}"
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            assert not word.startswith("--") or word.rstrip(".,;)(") in known, line


@pytest.mark.parametrize("wrong", ["meta walk NAME", "meta run NAME --accpet X", "meta", "profile show"])
def test_a_command_that_is_not_there_is_noticed(wrong):
    with pytest.raises(AssertionError, match=wrong):
        test_every_command_and_option_exists(f"{PAGE.read_text()}\n    assay {wrong}\n")


def test_every_make_target_exists(text):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+-[a-z-]+)", text))
    assert named == {"data-ingest", "meta-ingest"}
    assert named <= targets


def test_every_setting_exists(text):
    [source, scan] = map(tomllib.loads, re.findall(r"```toml\n(.*?)```", text, re.DOTALL))
    SourceSettings.model_validate(source["source"])
    ScanSettings.model_validate(scan["scan"])
    for name in re.findall(r"`schedule\.(\w+) = ", text):
        assert name in Schedule.model_fields


RUNS = tuple(f"assay.runs.{name}" for name in ("verify", "ledger", "registry", "seal", "run"))
"""What is wrong with a sealed run is the verifier's to say."""


def explained(text):
    """Codes in the first column of the tables about ingestion."""
    part = text[text.index("## What an ingestion says") : text.index("## What is kept where")]
    cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("|")]
    return {code for cell in cells for code in re.findall(r"[A-Z][A-Z0-9_]{3,}", cell)}


@pytest.fixture(scope="module")
def program():
    return Program(ROOT / "src" / "assay")


def test_every_code_of_an_ingestion_is_explained_and_no_other(text, pages, program):
    """Both ways: what the command can reach in the source, and the tables of the pages."""
    found = Reach(program, [("assay.cli.lakes", "ingest")], RUNS).codes()
    assert len(found) > 100
    assert sorted(code for code in found if not re.search(rf"\b{code}\b", pages)) == []
    assert sorted(explained(text) - found) == []


def test_every_code_of_the_doctor_is_explained(pages, program):
    found = Reach(program, [("assay.report.doctor", "examine_home")], RUNS).codes()
    assert {"NO_LAKE", "SPOOL_LEFT", "MARKET_HOLE"} <= found
    assert sorted(code for code in found if not re.search(rf"\b{code}\b", pages)) == []


def test_codes_are_found_through_helpers_tables_and_variables(tmp_path):
    (tmp_path / "errors.py").write_text(
        "class Failed(Exception):\n    default_code = 'BY_CLASS'\n"
        "    def __init__(self, what, code=None):\n        self.code = code\n"
    )
    (tmp_path / "work.py").write_text(
        "from assay.errors import Failed\n"
        "_TABLE = {'a': 'BY_TABLE'}\n"
        "def tell(code, count):\n    return code, count\n"
        "class Reader:\n"
        "    def read(self):\n        tell('BY_METHOD', 1)\n"
        "    def never(self):\n        tell('NOT_REACHED', 1)\n"
        "def unused():\n    raise Failed('x', code='NOT_CALLED')\n"
        "def main(kind: Failed):\n"
        "    Reader().read()\n"
        "    if kind:\n        raise Failed('x')\n"
        "    code = _TABLE.get(kind, 'BY_DEFAULT')\n"
        "    one, two = 'BY_PAIR', 'NO_CODE'\n"
        "    tell(one, two)\n"
        "    raise Failed('SHOUTED', code='BY_IF' if kind else code)\n"
    )
    (tmp_path / "assay").mkdir()
    for path in list(tmp_path.glob("*.py")):
        path.rename(tmp_path / "assay" / path.name)
    found = Reach(Program(tmp_path / "assay"), [("assay.work", "main")]).codes()
    assert found == {"BY_CLASS", "BY_TABLE", "BY_METHOD", "BY_DEFAULT", "BY_PAIR", "BY_IF"}
