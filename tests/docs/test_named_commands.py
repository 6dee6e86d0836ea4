"""Every command and option that README and docs name exists; the tutorial's are executed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import resources

import polars as pl
import pytest
import typer.main

from assay.cli import app
from tests.docs.pages import PAGES, ROOT, told, words


def resolved(line: str):
    """Return the command that a line names, and the words behind it."""
    command, rest = typer.main.get_command(app), words(line)[1:]
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no command {rest[0]!r}: {line}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_names_exists(page):
    for line in told(page):
        command, rest = resolved(line)
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        named = {re.split(r"[=,;.)]", word)[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert named <= known | {"--help", "--version", "-h"}, f"{page.name}: {line}"


def test_pages_do_name_commands():
    found = {line.split()[1] for page in PAGES for line in told(page)}
    assert {"run", "status", "audit", "verify", "compare", "ingest", "doctor", "prove", "why"} <= found


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tmp_path):
    """In the order of the page, in a folder of its own, with a file of the sample's bars as one's own."""
    sample = next(resources.files("assay.sources").joinpath("sample").glob("*.parquet"))
    own = pl.read_parquet(sample).select("symbol", "timestamp", "open", "high", "low", "close", "volume")
    own.write_parquet(tmp_path / "bars.parquet")
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ assay (.*)$", text, re.MULTILINE)
    assert len(commands) >= 7
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    said = {}
    for line in commands:
        call = [sys.executable, "-m", "assay", *line.split()]
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        said[line.split()[0]] = done.stdout
    assert "SOUND" in said["audit"]
    assert "EVIDENCE" in said["run"]
    assert len(list((tmp_path / "my-home" / "runs").glob("*/reports/report.html"))) == 7


def test_the_profile_that_the_page_shows_can_be_written_so(tmp_path):
    [written] = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs" / "howto.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "assay.toml").write_text(written)
    call = [sys.executable, "-m", "assay", "profiles", "show", "mine", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "liquid_long" in done.stdout


def test_the_site_has_every_page():
    listed = re.findall(r"^([a-z/_]+)$", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= set(listed)
