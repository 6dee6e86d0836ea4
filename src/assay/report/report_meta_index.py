"""``INDEX.md`` of a meta-portfolio: what every file is."""

from __future__ import annotations

from pathlib import Path

from assay.report.markdown import fill, table
from assay.runs import artifacts as layout

FILES: dict[str, str] = {row: row.what for row in layout.of("meta") if not row.endswith("/")}


def render_meta_index(run_dir: Path) -> str:
    """Return the index of the directory of a meta-portfolio as Markdown."""
    found = sorted({*FILES, *(path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file())})
    rows = [
        [path, FILES.get(path, "meta validation of all artifacts" if path.startswith(layout.VALIDATION) else None)]
        for path in found
        if not any(part.startswith(".") for part in path.split("/"))
    ]
    return f"{fill('# Index of {name}', name=run_dir.name)}\n\n{table(['file', 'what'], rows)}\n"
