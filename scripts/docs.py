"""Build the site of the documentation into build/docs: the pages of docs/, and references made from the code.

Nothing comes from a network. A warning of Sphinx, such as a link that leads nowhere, is an error.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import typer.main

import assay
from assay.cli import app
from assay.settings.reference import MODELS, REQUIRED, settings_of

ROOT = Path(__file__).resolve().parents[1]
NAMED = ("profiles", "scanners", "meta")
"""Sections of ``assay.toml`` that hold one table for each name."""
SETTINGS = """\
Every setting with what it means, its unit and range, and the value that it has where nobody says another. Settings
stand in `assay.toml`, in the folder where a command is typed; then `ASSAY_SET__caps__atom=0.2` from the environment,
then `--set caps.atom=0.2` have the last word. `assay profiles show NAME` prints all of one profile, each with where
its value comes from."""
MODULES = {
    "assay.risk.optimizers": "The five optimizers, as estimators in the manner of scikit-learn.",
    "assay.alpha.selection": "Natural selection, from features to winners.",
    "assay.base.errors": "Every error, and the exit code that it ends a command with.",
}
"""Modules whose public names the API reference has beside those of ``assay``."""


# --- settings ---------------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Return the reference of settings, as the models say them."""
    lines = ["# Settings", "", SETTINGS]
    for section, model in MODELS.items():
        head = f"[{section}.NAME]" if section in NAMED else f"[{section}]"
        lines += ["", f"## `{head}`", "", "| setting | meaning | unit and range | default |", "|---|---|---|---|"]
        for one in settings_of(model):
            cells = (f"`{one.name}`", _cell(one.meaning), _cell(one.limits.strip("()")), _default(one.default))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|") or "—"


def _default(value: Any) -> str:
    if value is REQUIRED:
        return "must be said"
    return "none" if value in (None, "") else f"`{_cell(str(list(value) if isinstance(value, tuple) else value))}`"


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its whole name, groups before what is in them."""
    yield from _below("assay", typer.main.get_command(app))


def _below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    inner = getattr(command, "commands", None)
    if not inner:
        yield name, command
    for key, one in (inner or {}).items():
        if not one.hidden:
            yield from _below(f"{name} {key}", one)


def commands_page() -> str:
    """Return the reference of commands, as ``--help`` says them."""
    lines = ["# Commands", "", "What `--help` says. Every command but `serve` takes `--json`."]
    for name, command in commands():
        lines += ["", f"## `{name}`", "", _cell(str(command.help or "").replace("\x08", "")), ""]
        rows = [_parameter(one) for one in command.params if not getattr(one, "hidden", False) and one.name != "help"]
        if rows:
            lines += ["| argument or option | what |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _parameter(one: click.Parameter) -> str:
    names = one.opts if one.param_type_name == "option" else [str(one.name).upper()]
    return f"| {', '.join(f'`{name}`' for name in names)} | {_cell(str(getattr(one, 'help', '') or ''))} |"


# --- API --------------------------------------------------------------------------------------------------------------


def api_page() -> str:
    """Return the reference of Python names, for autodoc to fill from docstrings."""
    lines = ["Python", "======", "", "``import assay`` gives:", ""]
    for name in sorted(assay.__all__):
        value = getattr(assay, name)
        if isinstance(value, ModuleType):  # a room with the name of a function
            value = getattr(importlib.import_module("assay.api"), name)
        if not callable(value):
            continue
        kind = "autoclass" if isinstance(value, type) else "autofunction"
        module = getattr(value, "__module__", "")
        lines += [f"assay.{name}", "-" * (len(name) + 6), "", f".. {kind}:: {module}.{value.__qualname__}"]
        lines += ["   :members:", ""] if kind == "autoclass" else [""]
    for module, what in MODULES.items():
        importlib.import_module(module)
        lines += [module, "-" * len(module), "", what, "", f".. automodule:: {module}", "   :members:", ""]
    return "\n".join(lines) + "\n"


# --- site -------------------------------------------------------------------------------------------------------------


def lay_out(source: Path) -> None:
    """Copy the pages, and write those that are made from the code beside them."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "docs", source)
    (source / "reference").mkdir()
    pages = {"settings.md": settings_page, "commands.md": commands_page, "python.rst": api_page}
    for name, made in pages.items():
        (source / "reference" / name).write_text(made(), encoding="utf-8")
    shutil.copy(ROOT / "CHANGELOG.md", source / "changes.md")
    text = (source / "changes.md").read_text(encoding="utf-8").replace("](docs/", "](")
    (source / "changes.md").write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Build the site; the folder may be named."""
    out = Path(arguments[0]) if arguments else ROOT / "build" / "docs"
    source = out.with_name(out.name + "-source")
    lay_out(source)
    done = subprocess.run([sys.executable, "-m", "sphinx", "-b", "html", "-W", "-n", "-q", "--keep-going",
                           "-d", str(out) + "-trees", str(source), str(out)], check=False)  # fmt: skip
    if done.returncode == 0:
        print(f"{out / 'index.html'}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
