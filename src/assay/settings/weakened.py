"""Which settings make a rule weaker than the canon's: named wherever a verdict stands, so that VALID is not read alone.

Each field of :mod:`assay.settings.model` says which values of it are weaker. The canon is what the package ships: a
profile of it by its name, the packaged defaults for every other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from assay.settings.model import CHOICE, MetaProfile, Profile, Scanner, Strength
from assay.settings.resolve import Catalog, load


def weakened(profile: Profile | MetaProfile, scanners: Mapping[str, Scanner] | None = None) -> tuple[str, ...]:
    """Return each rule that settings make weaker than the canon's, with both values.

    Parameters
    ----------
    profile : Profile or MetaProfile
        Resolved settings.
    scanners : mapping of Scanner, optional
        All scanners; those that fill the profile's pool count.

    Examples
    --------
    >>> profile = load(settings=["costs.fee=0", "caps.atom=1"]).profile("binance_spot_rating_all_long")
    >>> weakened(profile)
    ('costs.fee 0 (canon 10 bp)', 'caps.atom 1 (canon 0.25)')
    """
    found = list(_weaker(profile, _canon_of(profile)))
    if isinstance(profile, Profile):
        for name, scanner in (scanners or {}).items():
            if name in profile.scanners or profile.pool == "superset":
                found += _weaker(scanner, _canon_scanner(name, scanner), f"scanners.{name}.")
    return tuple(found)


def rules(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Strength | None]]:
    """Yield each setting of a model by its dotted name with its rule; None where the field carries none."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from rules(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", next((one for one in field.metadata if isinstance(one, Strength)), None)


def _weaker(asked: BaseModel, canon: BaseModel, prefix: str = "") -> Iterator[str]:
    for name, rule in rules(type(asked)):
        if rule is None or rule is CHOICE:
            continue
        value, usual = _value(asked, name), _value(canon, name)
        one, other = (math.inf if number is None else number for number in (value, usual))  # as many as there can be
        weaker = one != other if rule.weaker == "other" else one < other if rule.weaker == "less" else one > other
        if weaker:
            yield f"{prefix}{name} {_text(value, rule)} (canon {_text(usual, rule)})"


def _value(model: BaseModel, name: str) -> Any:
    value: Any = model
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _text(value: Any, rule: Strength) -> str:
    if value is None:
        return "as many as can be"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return "/".join(map(str, value)) or "none"
    if rule.unit and value:
        return f"{value * 1e4:.6g} {rule.unit}"
    return f"{value:,.0f}" if value == round(value) else f"{value:.6g}"


@cache
def _canon() -> Catalog:
    return load()


def _canon_of(profile: Profile | MetaProfile) -> Profile | MetaProfile:
    canon = _canon()
    if isinstance(profile, MetaProfile):
        if profile.name in canon.names("meta"):
            return canon.meta(profile.name)
        return MetaProfile(name=profile.name, sleeves=profile.sleeves)
    if profile.name in canon.names("profiles"):
        return canon.profile(profile.name)
    usual: dict[str, Any] = canon.defaults("profiles")
    own = {name: getattr(profile, name) for name in ("name", "direction", "logics", "scanners")}
    return Profile.model_validate(usual | own)


def _canon_scanner(name: str, scanner: Scanner) -> Scanner:
    canon = _canon()
    if name in canon.names("scanners"):
        return canon.scanners()[name]
    own = {"logic": scanner.logic, "direction": scanner.direction}
    return Scanner.model_validate(canon.defaults("scanners") | own)
