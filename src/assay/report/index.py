"""``INDEX.md`` of a run directory: what every file is, with links."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from assay.base.errors import UsageError
from assay.report.markdown import ABSENT, Safe, escape, fill, integer, section, table
from assay.runs import artifacts as layout
from assay.runs.artifacts import describe

GROWING = frozenset({layout.LEDGER, layout.STATUS, layout.INDEX})
"""Files that are still written when the index is: their size would be wrong at once."""


META_FILES: dict[str, str] = {row: row.what for row in layout.of("meta") if not row.endswith("/")}
"""What each file of a portfolio of sleeves is."""


def render_index(run_dir: Path) -> str:
    """Return the index of a run directory as Markdown.

    Hidden files are writes in progress and are left out; links lead nowhere beyond the directory.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    if not run_dir.is_dir():
        raise UsageError("no such run", where=str(run_dir), hint="list the runs with: assay status")
    found = _files(run_dir)
    if layout.INDEX not in found:
        found = sorted([*found, layout.INDEX])
    rows = [_row(run_dir, path) for path in found]
    present = set(found)
    absent = [
        (str(artifact), artifact.step("run"), artifact.what)
        for artifact in (*layout.evidence("run"), layout.VALIDATION)
        if artifact != layout.LEDGER and not any(artifact.covers(path) for path in present)
    ]
    blocks = [
        fill("# Index of {name}", name=run_dir.resolve().name),
        fill("Start with {report}.", report=_link(layout.REPORT)) if layout.REPORT in present else None,
        table(["file", ">step", "what", ">bytes"], rows),
        section("Not written", table(["file", ">step", "what"], absent)) if absent else None,
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _files(run_dir: Path) -> list[str]:
    """Return relative paths of all visible files, sorted."""
    relative = (path.relative_to(run_dir) for path in run_dir.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts))


def _row(run_dir: Path, path: str) -> list[object]:
    artifact = describe(path)
    size = ABSENT if path in GROWING else integer((run_dir / path).stat().st_size)
    if artifact is None:
        return [_link(path), ABSENT, "not an artifact that Assay knows", size]
    return [_link(path), artifact.step("run"), artifact.what, size]


def _link(path: str) -> Safe:
    """Return a relative link; the target is percent-encoded, the text escaped."""
    target = quote(path.encode("utf-8", "surrogateescape"), safe="/")
    return Safe(f"[{escape(path)}]({target})")


def render_meta_index(run_dir: Path) -> str:
    """Return the index of the directory of a meta-portfolio as Markdown."""
    found = sorted(
        {*META_FILES, *(path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file())}
    )
    rows = [
        [path, META_FILES.get(path, "meta validation of all artifacts" if path.startswith(layout.VALIDATION) else None)]
        for path in found
        if not any(part.startswith(".") for part in path.split("/"))
    ]
    return f"{fill('# Index of {name}', name=run_dir.name)}\n\n{table(['file', 'what'], rows)}\n"
