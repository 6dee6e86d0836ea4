"""``assay profiles``."""

from __future__ import annotations

import json
from typing import Any

from assay.base.errors import redacted
from assay.cli import do_output as output
from assay.settings import Catalog
from assay.settings.resolve import dotted


def listing(catalog: Catalog, as_json: bool) -> None:
    """Print the names of everything that is configured."""
    names = {section: catalog.names(section) for section in ("profiles", "scanners", "meta", "flows")}
    if as_json:
        output.as_json(names)
        return
    for section, declared in names.items():
        output.line(f"{section}:")
        for name in declared:
            output.line(f"  {name}")


def show(catalog: Catalog, name: str, as_json: bool) -> None:
    """Print every value of a profile, then those of the house that hold for all of them, each with its origin."""
    values = dotted(catalog.profile(name).model_dump(mode="json"))
    origins = catalog.provenance(name)
    told = {key: (value, origins[key]) for key, value in values.items()} | catalog.house()
    shown = {key: (_shown(value), redacted(origin)) for key, (value, origin) in told.items()}
    if as_json:
        output.as_json({key: {"value": value, "origin": origin} for key, (value, origin) in shown.items()})
        return
    rows = [[key, json.dumps(value, ensure_ascii=False), origin] for key, (value, origin) in shown.items()]
    output.line(output.table(["setting", "value", "origin"], rows))


def _shown(value: Any) -> Any:
    """Return a value as it may be shown: an address without its login."""
    return redacted(value) if isinstance(value, str) else value
