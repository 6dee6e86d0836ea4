"""A profile of one's own as text: ``assay.toml`` with every setting, its meaning, unit, range and value.

What decides who the profile is stands there; every other setting is a comment with the value that holds anyhow, so that
the file says the same with and without the comment signs.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from assay.base.errors import ProfileError, UsageError
from assay.settings.model import Profile, Scanner
from assay.settings.reference import HOUSE, SettingFacts, group_of, settings_of
from assay.settings.resolve import USER_FILE, Catalog

WIDTH = 120
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = f"""\
# {USER_FILE}: settings of your own, read from the folder in which a command is typed.
# A line that begins with "# name = value" is the value that holds anyhow: take the sign away and change it.
# What holds, and where it comes from: assay profiles show {{name}}
"""


def profile_text(catalog: Catalog, name: str, like: str, *, house: bool) -> str:
    """Return the sections of a new profile.

    Parameters
    ----------
    catalog : Catalog
        What is configured already.
    name : str
        Of the profile, and of its scanner.
    like : str
        Profile whose values it begins with; it may have one scanner only.
    house : bool
        Begin the file, with what holds for the whole house.

    Raises
    ------
    UsageError
        If the name cannot be one, or is taken.
    ProfileError
        If there is no such profile to begin with, or it has several scanners.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a name", where="NAME", hint="use letters, digits, - and _")
    if any(name in catalog.names(section) for section in ("profiles", "scanners", "meta")):
        raise UsageError(f"{name} is there already", where=USER_FILE, hint="choose another name")
    profile = catalog.profile(like)
    if len(profile.scanners) != 1:
        what = f"{like} has {len(profile.scanners)} scanners"
        raise ProfileError(what, where="--like", hint=f"choose one of: {', '.join(catalog.names('profiles'))}")
    own = {"scanners": [name], "description": f"Begun as {like}"}
    scanner = catalog.scanner(profile.scanners[0])
    parts = [
        *([_HEAD.format(name=name)] if house else []),
        f"# --- which coins the profile {name} may hold ---",
        *_sections(f"scanners.{name}", Scanner, scanner.model_dump(mode="json"), catalog.defaults("scanners")),
        f"# --- how it chooses, weighs and trades: assay run {name} ---",
        *_sections(f"profiles.{name}", Profile, profile.model_dump(mode="json") | own, catalog.defaults("profiles")),
    ]
    if house:
        parts.append("# --- what holds for every profile ---")
        values: dict[str, Any] = {}
        for key, (value, _) in catalog.house().items():
            _put(values, key.split("."), value)
        for section, model in HOUSE.items():
            parts += _sections(section, model, values[section], values[section])
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _sections(
    section: str, model: type[BaseModel], values: Mapping[str, Any], usual: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a table of TOML for a model, and one for each group below it; what is not as usual is said."""
    facts = {fact.name: fact for fact in settings_of(model)}
    lines = [f"[{section}]"]
    for name in model.model_fields:
        if name in facts and name != "name":
            default = facts[name].default
            default = list(default) if isinstance(default, tuple) else default
            value = values.get(name, default)
            lines += _setting(facts[name], value, value != usual.get(name, default))
    if len(lines) > 1:
        yield "\n".join(lines)
    for name, field in model.model_fields.items():
        group = group_of(field)
        if group is not None:
            yield from _sections(f"{section}.{name}", group, values[name], usual.get(name, {}))


def _setting(fact: SettingFacts, value: Any, said: bool) -> Iterator[str]:
    """Yield the lines of one setting: its meaning, then its value."""
    yield ""
    yield from textwrap.wrap(f"{fact.meaning} {fact.limits}", WIDTH, initial_indent="## ", subsequent_indent="## ")
    if value is None:
        yield f"#  {fact.name} is not set"
    else:
        yield f"{'' if said else '# '}{fact.name} = {_toml(value)}"


def _toml(value: Any) -> str:
    """Write a value as TOML does.

    >>> _toml(1e-06), _toml(True), _toml(["a"]), _toml("b")
    ('1e-06', 'true', '["a"]', '"b"')
    """
    if isinstance(value, dt.date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)
