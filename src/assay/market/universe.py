"""Which bases are not coins: fiat, stablecoins, metal-backed and leveraged tokens, from a dated list in the package.

The list is by name. A suffix says nothing: JUP ends as BTCUP does and is a coin.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

Kind = Literal["fiat", "stablecoin", "metal", "leveraged"]
KINDS: tuple[Kind, ...] = ("fiat", "stablecoin", "metal", "leveraged")


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a base is not traded.

    Attributes
    ----------
    base : str
        Asset as the exchange writes it.
    kind : {"fiat", "stablecoin", "metal", "leveraged"}
        Class of the asset.
    reason : str
        In words.
    since, until : date or None
        First and last day on which the letters stand for this asset; None where they always did.
    """

    base: str
    kind: Kind
    reason: str
    since: dt.date | None = None
    until: dt.date | None = None

    def holds(self, on: dt.date | None) -> bool:
        """Whether the exclusion holds on a day; without a day, whether it ever did."""
        if on is None:
            return True
        return (self.since is None or self.since <= on) and (self.until is None or on <= self.until)


def excluded(base: str, on: dt.date | None = None) -> Exclusion | None:
    """Return why a base is not a coin to trade, or None if it is one.

    Parameters
    ----------
    base : str
        Asset as the exchange writes it.
    on : date, optional
        Day of the question; some letters named something else on other days.

    Examples
    --------
    >>> excluded("BTCUP").kind
    'leveraged'
    >>> excluded("JUP") is None
    True
    >>> excluded("BULL", dt.date(2020, 1, 1)).kind, excluded("BULL", dt.date(2025, 1, 1))
    ('leveraged', None)
    """
    entry = exclusions().get(base)
    return entry if entry is not None and entry.holds(on) else None


@lru_cache(maxsize=1)
def exclusions() -> dict[str, Exclusion]:
    """Return the whole list by base.

    Raises
    ------
    ValueError
        If a base stands in two classes, or a note has no base: the file in the package is wrong.
    """
    table = _document()
    entries: dict[str, Exclusion] = {}
    for kind in KINDS:
        group = table[kind]
        notes: dict[str, dict[str, Any]] = group.get("notes", {})
        for base in group["bases"]:
            if base in entries:
                raise ValueError(f"universe.toml names {base} twice: {entries[base].kind} and {kind}")
            entries[base] = Exclusion(base, kind, **{"reason": group["reason"], **notes.get(base, {})})
        if not notes.keys() <= set(group["bases"]):
            raise ValueError(f"universe.toml has notes without a base: {sorted(notes.keys() - set(group['bases']))}")
    return entries


def compiled_on() -> dt.date:
    """Return the day for which the list was compiled."""
    day: dt.date = _document()["compiled"]
    return day


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    return tomllib.loads(files("assay.market").joinpath("universe.toml").read_text(encoding="utf-8"))
