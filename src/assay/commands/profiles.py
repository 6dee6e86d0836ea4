"""``assay profiles``."""

from __future__ import annotations

import json

from assay.commands import output
from assay.profile import Catalog
from assay.profile.resolve import dotted


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
    """Print every value of a profile and its origin."""
    values = dotted(catalog.profile(name).model_dump(mode="json"))
    origins = catalog.provenance(name)
    if as_json:
        output.as_json({key: {"value": value, "origin": origins[key]} for key, value in values.items()})
        return
    rows = [[key, json.dumps(value, ensure_ascii=False), origins[key]] for key, value in values.items()]
    output.line(output.table(["setting", "value", "origin"], rows))
