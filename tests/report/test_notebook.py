"""The example notebook runs from its first cell to its last, and is committed clean."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "bars_to_sleeve.ipynb"


def test_committed_without_outputs_or_traces_of_a_machine():
    body = json.loads(NOTEBOOK.read_text())
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in _code(body))
    assert set(body["metadata"]) == {"kernelspec", "language_info"}
    assert body["metadata"]["kernelspec"]["name"] == "python3"
    assert 8 <= len(_code(body)) <= 14
    nbformat.validate(nbformat.from_dict(body))


def _code(body):
    return [cell for cell in body["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow  # a kernel of its own and a whole run
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's client
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of a kernel that has ended
def test_runs_and_shows(tmp_path, monkeypatch):
    specification = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps(specification | {"display_name": "here", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [out["data"] for cell in _code(notebook) for out in cell["outputs"] if "data" in out]
    assert sum("<svg" in data.get("text/html", "") for data in shown) >= 5
    assert any("VALID" in data.get("text/html", "") for data in shown)
    assert "('equity.svg', True)" in shown[-1]["text/plain"]
