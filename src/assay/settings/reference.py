"""Every setting with its meaning, unit, range and default, read from the models.

The one place is :mod:`assay.settings.model`: the words below a field, its annotations, its value. ``assay profiles
show``, ``assay new profile`` and the reference of settings are made from what this module returns.
"""

from __future__ import annotations

import ast
import datetime as dt
import difflib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from assay.settings.model import (
    NUMBER,
    Execution,
    MetaProfile,
    Profile,
    RatingSettings,
    Scanner,
    ScanSettings,
    Schedule,
    SourceSettings,
    Unit,
)

HOUSE: Mapping[str, type[BaseModel]] = {
    "ratings": RatingSettings,
    "scan": ScanSettings,
    "source": SourceSettings,
    "schedule": Schedule,
    "executor": Execution,
}
"""Sections without names below them, which hold for the whole house, with what may stand in them."""
MODELS: Mapping[str, type[BaseModel]] = {"profiles": Profile, "scanners": Scanner, "meta": MetaProfile, **HOUSE}
"""What may stand in each section of ``assay.toml``; below a name in the first three."""
REQUIRED = inspect.Parameter.empty
"""Default of a setting that has none."""
SEE = "see every setting with: assay profiles show NAME"

_BOUNDS = (
    (annotated_types.Ge, "ge", "at least"),
    (annotated_types.Gt, "gt", "above"),
    (annotated_types.Le, "le", "at most"),
    (annotated_types.Lt, "lt", "below"),
)
_WORDS = {bool: "true or false", str: "text", dt.date: "a date", int: "whole", float: "any number"}


@dataclass(frozen=True)
class SettingFacts:
    """What one setting is.

    Attributes
    ----------
    name : str
        Dotted, below its section: ``caps.atom``.
    meaning : str
        One sentence or two.
    unit : str
        What its number counts or measures; empty where it is no number.
    range : str
        Which values it takes, in words.
    default : object
        Value where nobody says another, :data:`REQUIRED` where one must be said.
    """

    name: str
    meaning: str
    unit: str
    range: str
    default: Any

    @property
    def limits(self) -> str:
        """Unit and range in brackets."""
        return f"({', '.join(filter(None, (self.unit, self.range)))})"


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[SettingFacts]:
    """Yield every setting of a model, those of its groups below their names.

    Examples
    --------
    >>> from assay.settings.model import Caps
    >>> first = next(settings_of(Caps))
    >>> first.name, first.meaning, first.unit, first.range, first.default
    ('atom', 'Most of one long atom.', 'share of the account', 'above 0, at most 1', 0.25)
    """
    for name, field in model.model_fields.items():
        group = group_of(field)
        if group is not None:
            yield from settings_of(group, f"{prefix}{name}.")
        else:
            default = REQUIRED if field.is_required() else field.get_default()
            yield SettingFacts(prefix + name, _meanings(model).get(name, ""), _unit(field), _range(field), default)


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that holds a group of settings, None for a single setting."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


@cache
def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the words below each field, those of base classes too."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        found |= _module_meanings(kind.__module__).get(kind.__name__, {}) if issubclass(kind, BaseModel) else {}
    return found


@cache
def _module_meanings(module: str) -> dict[str, dict[str, str]]:
    """Return the words below each field of each class of a module; only asked for where somebody reads them."""
    if not module.startswith("assay."):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: dict(_documented(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _documented(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield field.target.id, " ".join(value.value.replace("``", "").split())


def _parts(kind: Any) -> Iterator[Any]:
    """Yield an annotation, and what it consists of: kinds, bounds, units."""
    yield kind
    if get_origin(kind) is not Literal:
        for part in (*get_args(kind), *getattr(kind, "__metadata__", ())):
            yield from _parts(part)


def _flat(field: FieldInfo) -> list[Any]:
    found = [*_parts(field.annotation), *field.metadata]
    return [*found, *(one for part in found if isinstance(part, FieldInfo) for one in part.metadata)]


def _unit(field: FieldInfo) -> str:
    return next((str(one) for one in reversed(_flat(field)) if isinstance(one, Unit)), "")


def _range(field: FieldInfo) -> str:
    kind = field.annotation
    optional = get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)
    several = any(get_origin(one) is tuple for one in _parts(kind))
    return ("a list of " if several else "") + _one(field, several) + (", or not set" if optional else "")


def _one(field: FieldInfo, several: bool) -> str:
    flat = _flat(field)
    choices = [str(value) for one in flat if get_origin(one) is Literal for value in get_args(one)]
    if choices:
        return ("one of " if len(choices) > 1 and not several else "") + ", ".join(choices)
    told = (f"{word} {getattr(one, name):g}" for kind, name, word in _BOUNDS for one in flat if isinstance(one, kind))
    bounds = list(dict.fromkeys(told))
    plain = next(kind for kind in _WORDS if kind in flat)
    if several:
        return {str: "names", int: "whole numbers"}.get(plain, "values")
    return ", ".join([_WORDS[plain], *bounds] if plain is int else bounds or [_WORDS[plain]])


def meant(name: str, model: type[BaseModel]) -> str:
    """Say what somebody meant who wrote a setting that a model does not have.

    Examples
    --------
    >>> meant("caps.atoms", Profile), meant("atom", Profile)
    ('did you mean caps.atom?', 'did you mean caps.atom?')
    >>> meant("limit", Profile)
    'it is a setting of scanners: write scanners.NAME.limit'
    """
    names = [fact.name for fact in settings_of(model)]
    groups = list(dict.fromkeys(one.rpartition(".")[0] for one in names if "." in one))
    last = [one for one in names if one.rpartition(".")[2] == name.rpartition(".")[2]]
    for section, place in (("scanners", "scanners.NAME."), ("meta", "meta.")):
        if model is not MODELS[section] and name in {fact.name for fact in settings_of(MODELS[section])} and not last:
            kind = "portfolios" if section == "meta" else section
            return f"it is a setting of {kind}: write {place}{name}"
    near = difflib.get_close_matches(name, [*names, *groups], 1) or last
    return f"did you mean {near[0]}?" if near else SEE


def refusal(model: type[BaseModel], fault: Mapping[str, Any]) -> tuple[str, str]:
    """Say in our words what pydantic found wrong first: what happened, and what to do next."""
    place = [str(part) for part in fault["loc"]]
    setting = ".".join(place)
    facts = {fact.name: fact for fact in settings_of(model)}
    fact = next((facts[name] for end in range(len(place), 0, -1) if (name := ".".join(place[:end])) in facts), None)
    if fault["type"] == "extra_forbidden":
        return f"unknown setting {setting!r}", meant(setting, model)
    if fault["type"] == "model_type":
        return f"{setting!r} is a group of settings, not a value", f"set {setting}.KEY; {SEE}"
    if fact is None:
        return f"setting {setting!r}: {str(fault['msg']).removeprefix('Value error, ')}", SEE
    if fault["type"] == "missing":
        return f"setting {setting!r} is missing: {fact.meaning}", f"it is {fact.range}"
    what = f"setting {setting!r} cannot be {fault['input']!r}: it is {fact.range}"
    return what + (f", in {fact.unit}" if fact.unit and fact.unit != NUMBER else ""), f"it means: {fact.meaning}"
