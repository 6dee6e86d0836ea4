"""Layered settings: canon, ``./assay.toml``, environment, ``--set``; each value knows where it came from.

The environment is read once, by :func:`load`, and nowhere else.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from assay.base.errors import ProfileError
from assay.settings.model import (
    Execution,
    MetaProfile,
    Profile,
    RatingSettings,
    Scanner,
    ScanSettings,
    Schedule,
    SourceSettings,
    Universe,
)
from assay.settings.reference import HOUSE, MODELS, SettingFacts, refusal, settings_of

Tree = dict[str, Any]
M = TypeVar("M", bound=BaseModel)

ENVIRONMENT_PREFIX = "ASSAY_SET__"
SECTIONS = ("defaults", "scanners", "profiles", "meta", "flows", *HOUSE)
USER_FILE = "assay.toml"


@dataclass(frozen=True)
class Layer:
    """Settings from one place."""

    origin: str
    tree: Tree


@dataclass(frozen=True)
class Explained:
    """One setting as it stands: its dotted name, value, where that came from, and what it means."""

    name: str
    value: Any
    origin: str
    fact: SettingFacts


@dataclass(frozen=True)
class Catalog:
    """Everything that is configured: profiles, scanners, meta-portfolios and flows by name.

    Attributes
    ----------
    files : tuple of Layer
        TOML files, the canon first.
    overrides : tuple of Layer
        Settings from the environment and the command line, as trees. A tree below ``scanners`` changes that scanner;
        everything else changes whichever profile is resolved.
    """

    files: tuple[Layer, ...]
    overrides: tuple[Layer, ...] = ()

    def defaults(self, section: str) -> Tree:
        """Return what the files say of every profile, or of every scanner, that says nothing itself."""
        tree: Tree = {}
        for layer in self.files:
            tree = merge(tree, _defaults(layer.tree.get("defaults", {}), section))
        return tree

    def names(self, section: str) -> list[str]:
        """Names that a section declares over all files, sorted."""
        return sorted({name for layer in self.files for name in layer.tree.get(section, {})})

    def profile(self, name: str) -> Profile:
        """Return one profile with every value resolved.

        Raises
        ------
        ProfileError
            If the name or a setting is unknown, a value is out of range, or a scanner does not exist.
        """
        profile = _build(Profile, self._tree("profiles", name), f"profiles.{name}")
        missing = [scanner for scanner in profile.scanners if scanner not in self.names("scanners")]
        for wrong, what in ((missing or not profile.scanners, "scanners"), (not profile.logics, "logics")):
            if wrong:
                raise ProfileError(
                    f"profile needs {what} that exist, and has {', '.join(missing) or 'none'}",
                    where=f"profiles.{name}.{what}",
                    hint=f"declared scanners: {', '.join(self.names('scanners'))}",
                )
        for scanner in self.names("scanners") if profile.pool == "superset" else profile.scanners:
            self.scanner(scanner)
        return profile

    def scanner(self, name: str) -> Scanner:
        """Return one scanner with every value resolved."""
        return _build(Scanner, self._tree("scanners", name), f"scanners.{name}")

    def meta(self, name: str) -> MetaProfile:
        """Return one meta-portfolio's settings."""
        return _build(MetaProfile, self._tree("meta", name), f"meta.{name}")

    def scanners(self) -> dict[str, Scanner]:
        """Return every declared scanner: together they make the superset."""
        return {name: self.scanner(name) for name in self.names("scanners")}

    def universe(self) -> Universe:
        """Return what all scanners together may look at: the pairs whose bars are to be loaded."""
        quotes = [quote for scanner in self.scanners().values() for quote in scanner.universe.quotes]
        return Universe(quotes=tuple(dict.fromkeys(quotes)))

    def benchmarks(self) -> tuple[str, ...]:
        """Return the coins that profiles are measured against."""
        usual = Profile.model_fields["benchmark"].default
        return tuple(
            sorted({str(self._tree("profiles", one).get("benchmark", usual)) for one in self.names("profiles")})
        )

    def ratings(self) -> RatingSettings:
        """Return by which edition of the rules bars are rated."""
        return _build(RatingSettings, self._house("ratings"), "ratings")

    def scan(self) -> ScanSettings:
        """Return who answers the scanners, and how the screener is asked."""
        return _build(ScanSettings, self._house("scan"), "scan")

    def source(self) -> SourceSettings:
        """Return how a live source is asked."""
        return _build(SourceSettings, self._house("source"), "source")

    def schedule(self) -> Schedule:
        """Return when the scheduler works."""
        return _build(Schedule, self._house("schedule"), "schedule")

    def execution(self) -> Execution:
        """Return where work is done."""
        return _build(Execution, self._house("executor"), "executor")

    def explained(self, name: str) -> Iterator[Explained]:
        """Yield every setting that decides about a profile, its scanners among them, or about a portfolio.

        Then what the house holds for all of them.
        """
        section = "meta" if name in self.names("meta") and name not in self.names("profiles") else "profiles"
        parts = [(section, name)]
        if section == "profiles":
            profile = self.profile(name)
            parts += [("scanners", one) for one in profile.scanners]
        for kind, one in parts:
            resolved = {"meta": self.meta, "scanners": self.scanner, "profiles": self.profile}[kind](one)
            values, origins = dotted(resolved.model_dump(mode="json")), self.provenance(one, kind)
            prefix = f"scanners.{one}." if kind == "scanners" else ""
            for fact in settings_of(MODELS[kind]):
                value = values.get(fact.name, fact.default)
                yield Explained(prefix + fact.name, value, origins.get(fact.name, "default"), fact)
        facts = {f"{section}.{fact.name}": fact for section, model in HOUSE.items() for fact in settings_of(model)}
        for key, (value, origin) in self.house().items():
            yield Explained(key, value, origin, facts[key])

    def house(self) -> dict[str, tuple[Any, str]]:
        """Map every dotted setting of the house to its value and the place that it came from."""
        models = {section: _build(model, self._house(section), section) for section, model in HOUSE.items()}
        values = dotted({section: model.model_dump(mode="json") for section, model in models.items()})
        origins = dict.fromkeys(values, "default")
        for layer in (*self.files, *self.overrides):
            said = dotted({section: layer.tree.get(section, {}) for section in models})
            origins.update(dict.fromkeys((key for key in said if key in origins), layer.origin))
        return {key: (value, origins[key]) for key, value in values.items()}

    def _house(self, section: str) -> Tree:
        tree: Tree = {}
        for layer in (*self.files, *self.overrides):
            part = layer.tree.get(section, {})
            if not isinstance(part, dict):
                raise ProfileError(
                    f"{section} is a section, not a value", where=layer.origin, hint=f"set {section}.KEY"
                )
            tree = merge(tree, part)
        return tree

    def flow(self, name: str) -> list[str]:
        """Return the profiles of a flow."""
        found = [layer.tree["flows"][name] for layer in self.files if name in layer.tree.get("flows", {})]
        if not found:
            raise ProfileError(f"unknown flow {name!r}", hint=f"declared flows: {', '.join(self.names('flows'))}")
        return list(found[-1])

    def provenance(self, name: str, section: str = "profiles") -> dict[str, str]:
        """Map every dotted setting of a profile, a scanner or a portfolio to the place that its value came from."""
        named = {"meta": self.meta, "scanners": self.scanner, "profiles": self.profile}
        resolved: BaseModel = named[section](name)
        origins = dict.fromkeys(dotted(resolved.model_dump(mode="json")), "default")
        for origin, tree in self._parts(section, name):
            origins.update(dict.fromkeys((key for key in dotted(tree) if key in origins), origin))
        return origins

    def _parts(self, section: str, name: str) -> Iterator[tuple[str, Tree]]:
        if name not in self.names(section):
            raise ProfileError(
                f"unknown name {name!r}", where=section, hint=f"declared: {', '.join(self.names(section)) or 'none'}"
            )
        for layer in self.files:
            yield layer.origin, _defaults(layer.tree.get("defaults", {}), section)
        for layer in self.files:
            yield layer.origin, layer.tree.get(section, {}).get(name, {})
        for layer in self.overrides:
            yield layer.origin, _override(layer.tree, section, name)

    def _tree(self, section: str, name: str) -> Tree:
        tree: Tree = {}
        for _, part in self._parts(section, name):
            tree = merge(tree, part)
        return tree if section == "scanners" else tree | {"name": name}


def load(
    folder: Path | None = None, environment: Mapping[str, str] | None = None, settings: Sequence[str] = ()
) -> Catalog:
    """Read the canon, ``assay.toml`` in ``folder``, the environment's ``ASSAY_SET__a__b`` and ``a.b=value`` settings.

    Examples
    --------
    >>> catalog = load(settings=["caps.atom=0.2"])
    >>> catalog.profile("binance_spot_rating_all_long").caps.atom
    0.2
    >>> catalog.provenance("binance_spot_rating_all_long")["caps.atom"]
    '--set caps.atom=0.2'
    """
    canon = resources.files("assay.settings").joinpath("canon.toml").read_text(encoding="utf-8")
    files = [Layer("canon.toml", _parse(canon, "canon.toml"))]
    if folder is not None and (folder / USER_FILE).is_file():
        files.append(Layer(USER_FILE, _parse((folder / USER_FILE).read_text(encoding="utf-8"), USER_FILE)))
    overrides = [
        Layer(key, _nest(key.removeprefix(ENVIRONMENT_PREFIX).split("__"), value))
        for key, value in sorted((environment or {}).items())
        if key.startswith(ENVIRONMENT_PREFIX)
    ]
    overrides += [_setting(text) for text in settings]
    catalog = Catalog(tuple(files), tuple(overrides))
    for layer in overrides:
        _check_names(catalog, layer)
    return catalog


def _check_names(catalog: Catalog, layer: Layer) -> None:
    """Refuse a setting that would change nothing, since nothing has the name that it is for."""
    for section in ("profiles", "scanners", "meta"):
        part = layer.tree.get(section, {})
        known = [*catalog.names(section), *(MetaProfile.model_fields if section == "meta" else ())]
        if section == "meta" and not isinstance(part, dict):
            raise ProfileError("meta is a section, not a value", where=layer.origin, hint="set meta.KEY")
        for name in part if isinstance(part, dict) else ():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {section}.{near[0]}?" if near else f"declared: {', '.join(known)}"
                raise ProfileError(f"there is no {section}.{name}", where=layer.origin, hint=hint)
    for section in ("defaults", "flows"):
        if section in layer.tree:
            hint = "leave it out: caps.atom=0.2 holds for all" if section == "defaults" else f"write it in {USER_FILE}"
            raise ProfileError(f"{section} is set in files only", where=layer.origin, hint=hint)


def merge(low: Tree, high: Tree) -> Tree:
    """Return ``low`` with ``high`` over it, table by table.

    >>> merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a tree to dotted keys.

    >>> dotted({"caps": {"atom": 0.25}})
    {'caps.atom': 0.25}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _defaults(tree: Tree, section: str) -> Tree:
    """Return the defaults of one kind: ``universe`` is the scanners', everything else the profiles'."""
    if section == "scanners":
        return {"universe": tree.get("universe", {})}
    return {key: value for key, value in tree.items() if key != "universe"} if section == "profiles" else {}


def _override(tree: Tree, section: str, name: str) -> Tree:
    """Return what a setting changes.

    ``profiles.X.caps.atom=0.2`` changes that profile, ``scanners.X.limit=7`` that scanner, ``universe.*`` all scanners,
    ``meta.*`` meta-portfolios, ``ratings.*``, ``scan.*``, ``source.*`` and ``schedule.*`` the house, the rest profiles.
    """
    if section == "scanners":
        own = tree.get("scanners", {})
        return merge(_defaults(tree, section), own.get(name, {}) if isinstance(own, dict) else {})
    if section == "meta":
        # What is set for profiles is the sleeves' business: meta.max_coin=0.2, or meta.NAME.max_coin=0.2, is not.
        own = tree.get("meta", {})
        plain = {key: value for key, value in own.items() if key in MetaProfile.model_fields}
        return merge(plain, own.get(name, {}))
    plain = {
        key: value
        for key, value in tree.items()
        if key != "universe" and not (key in SECTIONS and isinstance(value, dict))
    }
    own = tree.get("profiles", {})
    return merge(plain, own.get(name, {}) if isinstance(own, dict) else {})


def _setting(text: str) -> Layer:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ProfileError(f"cannot read the setting {text!r}", hint="write --set caps.atom=0.2")
    return Layer(f"--set {text}", _nest(key.strip().split("."), value.strip()))


def _nest(keys: Iterable[str], value: str) -> Tree:
    path = list(keys)
    tree: Tree = {path[-1]: _value(value)}
    for key in reversed(path[:-1]):
        tree = {key: tree}
    return tree


def _value(text: str) -> Any:
    """Read a value as TOML does; what is not TOML is a bare string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _parse(text: str, origin: str) -> Tree:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"not TOML: {error}", where=origin, hint="mend the line that it names") from None
    unknown = sorted(set(tree) - set(SECTIONS))
    if unknown:
        raise ProfileError(f"unknown section {unknown[0]!r}", where=origin, hint=f"sections are {', '.join(SECTIONS)}")
    return tree


def _build(model: type[M], tree: Tree, where: str) -> M:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        what, hint = refusal(model, dict(error.errors()[0]))
        raise ProfileError(what, where=where, hint=hint) from None
