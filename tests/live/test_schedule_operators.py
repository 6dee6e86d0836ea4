"""The operators' page names no command, option, setting or code that does not exist, and leaves no code out."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from assay.cli import app
from assay.settings.model import ScanSettings, Schedule, SourceSettings
from assay.sources.loading import MEANINGS
from assay.sources.troubles import KINDS, PASSING

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operators.md"
SOURCES = [
    *(path for path in (ROOT / "src/assay/sources").glob("*.py") if path.stem not in ("files", "rules")),
    *(ROOT / "src/assay/screening").glob("[prt]*.py"),
    ROOT / "src/assay/lake/loader.py",
    ROOT / "src/assay/report/doctor.py",
]


@pytest.fixture(scope="module")
def text():
    if not PAGE.is_file():
        pytest.skip("the page is not part of this copy")
    return PAGE.read_text(encoding="utf-8")


def commands(text):
    return {line.strip() for line in re.findall(r"(?:^|[`/\s])assay ([a-z][^`\n>|#]*)", text, re.MULTILINE)}


def test_every_command_and_option_exists(text):
    group = get_command(app)
    found = commands(text)
    assert len(found) > 10
    for line in found:
        name, *words = line.split()
        if name not in group.commands:
            assert not line.startswith(("ingest", "doctor", "run", "scan")), line
            pytest.fail(f"no command: assay {line}")
        known = {option for parameter in group.commands[name].params for option in parameter.opts}
        for word in words:
            assert not word.startswith("--") or word.rstrip(".,;)(") in known, line


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


NO_CODES = {
    *("ACTION", "NOTE", "INTEGRITY", "LONG", "SHORT", "TRADING", "BREAK", "HEALTHY", "DAMAGED", "VALID", "DEAD"),
    *("MINUTE", "HOUR", "SECOND", "REQUEST_WEIGHT", "POST"),
}
"""Words in capitals that are no codes of findings or errors."""


def test_every_code_is_explained(text):
    written = {code for path in SOURCES for code in re.findall(r'"([A-Z][A-Z_]{3,})"', path.read_text())}
    plain = {code for code in written if not code.startswith("ASSAY_") and not code.endswith("_URL")}
    retried = {f"RETRY_{trouble}" for trouble in PASSING}
    codes = (plain | set(MEANINGS) | retried) - NO_CODES - set(KINDS) - {"HANDSHAKE_FAILURE", "RAW_REQUESTS"}
    assert len(codes) > 50
    assert sorted(code for code in codes if not re.search(rf"\b{code}\b", text)) == []
