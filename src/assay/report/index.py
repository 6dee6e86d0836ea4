"""``INDEX.md`` of a run directory: what every file is, with links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from assay.base.errors import UsageError
from assay.report.markdown import ABSENT, Safe, escape, fill, integer, section, table
from assay.runs import artifacts as layout
from assay.runs.artifacts import Kind, describe
from assay.runs.run import Run

GROWING = frozenset({layout.LEDGER, layout.STATUS, layout.INDEX})
"""Files that are still written when the index is: their size would be wrong at once."""


def render_index(run: Run) -> str:
    """Return the index of a run directory, of a sleeve or of a portfolio of sleeves, as Markdown.

    Hidden files are writes in progress and are left out; links lead nowhere beyond the directory.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    run_dir, kind = run.folder, run.kind
    if not run_dir.is_dir():
        raise UsageError("no such run", where=str(run_dir), hint="list the runs with: assay status")
    found = sorted({*_files(run_dir), layout.INDEX})
    absent = [
        (str(artifact), artifact.step(kind), artifact.what)
        for artifact in (*layout.evidence(kind), layout.VALIDATION)
        if artifact != layout.LEDGER and not any(map(artifact.covers, found))
    ]
    blocks = [
        fill("# Index of {name}", name=run_dir.resolve().name),
        fill("Start with {report}.", report=_link(layout.REPORT)) if layout.REPORT in found else None,
        table(["file", ">step", "what", ">bytes"], [_row(run_dir, path, kind) for path in found]),
        section("Not written", table(["file", ">step", "what"], absent)) if absent else None,
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _files(run_dir: Path) -> Iterator[str]:
    """Yield relative paths of all visible files."""
    relative = (path.relative_to(run_dir) for path in run_dir.rglob("*") if path.is_file() and not path.is_symlink())
    return (path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts))


def _row(run_dir: Path, path: str, kind: Kind) -> list[object]:
    artifact = describe(path)
    size = ABSENT if path in GROWING else integer((run_dir / path).stat().st_size)
    if artifact is None:
        return [_link(path), ABSENT, "not an artifact that Assay knows", size]
    return [_link(path), artifact.step(kind), artifact.what, size]


def _link(path: str) -> Safe:
    """Return a relative link; the target is percent-encoded, the text escaped."""
    target = quote(path.encode("utf-8", "surrogateescape"), safe="/")
    return Safe(f"[{escape(path)}]({target})")
