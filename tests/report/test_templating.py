"""Templates are compiled once for all processes, and a report needs no place to keep what was compiled."""

from __future__ import annotations

import pytest

from assay.report import templating


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Return what a fresh process would make of a template of this text, with a folder of its own."""
    monkeypatch.setattr(templating.sys, "dont_write_bytecode", False)
    folder = tmp_path / "compiled"

    def render(text):
        cache = templating._CompiledTemplates()
        cache.directory = str(folder)
        environment = templating._environment(str)
        environment.bytecode_cache = cache
        environment.loader = templating.FunctionLoader(lambda _: text)
        return environment.get_template("x").render(who="you")

    render.folder = folder
    return render


def test_a_template_is_compiled_once(compiled, monkeypatch):
    compiled.folder.mkdir()
    assert compiled("to {{ who }}") == "to you"
    monkeypatch.setattr(templating.Environment, "compile", None)
    assert compiled("to {{ who }}") == "to you"


def test_another_text_is_another_template(compiled):
    compiled.folder.mkdir()
    assert [compiled("to {{ who }}"), compiled("for {{ who }}")] == ["to you", "for you"]


@pytest.mark.parametrize("kept", [b"", b"no code at all"])
def test_a_damaged_file_is_compiled_again(compiled, kept):
    compiled.folder.mkdir()
    compiled("to {{ who }}")
    (path,) = compiled.folder.iterdir()
    path.write_bytes(kept)
    assert compiled("to {{ who }}") == "to you"


def test_no_place_to_keep_it_costs_time_only(compiled):
    assert compiled("to {{ who }}") == "to you"
    assert not compiled.folder.exists()
