"""The site builds without a warning and without a network, and says what the code says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PYTHON = Path(os.environ.get("ASSAY_DOCS_PYTHON") or ROOT / ".venv-docs" / "bin" / "python")
OUTSIDE = re.compile(r"<(?:link|script|img|iframe)[^>]*(?:href|src)=\"(?:https?:)?//[^\"]*\"")


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="the environment of the site is not installed: make docs")
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path):
    out = tmp_path / "site"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    call = [str(PYTHON), str(ROOT / "scripts" / "docs.py"), str(out)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(out).as_posix(): path.read_text(encoding="utf-8") for path in out.rglob("*.html")}
    assert {name: found for name, text in pages.items() if (found := OUTSIDE.findall(text))} == {}
    settings = pages["reference/settings.html"]
    for setting in ("caps.atom", "guard.days", "walk_forward.tranches", "universe.quotes"):
        assert setting in settings
    plain = {name: re.sub(r"<[^>]+>", "", text) for name, text in pages.items()}
    assert "assay prove" in plain["reference/commands.html"]
    assert "assay.Run" in plain["reference/python.html"]
    assert "deflated Sharpe ratio" in plain["glossary.html"]
