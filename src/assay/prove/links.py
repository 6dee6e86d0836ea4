"""What a proof is made of: links, each with values as recorded and as they follow from the link before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.base.constants import TOLERANCE, Scalar


@dataclass(frozen=True, slots=True)
class Pair:
    """One number or word, twice.

    Attributes
    ----------
    name : str
    recorded : scalar
        As the artifact has it; None where it has none.
    recomputed : scalar
        As it follows from the link before.
    tolerance : float
        By how much two floats may differ, absolutely or relatively; another processor family may change as much.
    inputs : mapping of str to scalar
        What it was read from, for whoever wants to do it by hand.

    Examples
    --------
    >>> Pair("weight", 0.1, 0.1 + 1e-12).ok, Pair("vote", 1, 0).ok, Pair("reason", "winner", None).ok
    (True, False, False)
    """

    name: str
    recorded: Scalar
    recomputed: Scalar
    tolerance: float = TOLERANCE
    inputs: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether both are the same."""
        left, right = self.recorded, self.recomputed
        if isinstance(left, float) and isinstance(right, (int, float)) and not isinstance(right, bool):
            return math.isclose(left, right, rel_tol=self.tolerance, abs_tol=self.tolerance)
        return type(left) is type(right) and left == right

    def as_dict(self) -> dict[str, Any]:
        """Return the pair as a JSON object."""
        plain = {"name": self.name, "recorded": self.recorded, "recomputed": self.recomputed, "ok": self.ok}
        return plain | ({"inputs": dict(self.inputs)} if self.inputs else {})


@dataclass(frozen=True, slots=True)
class Link:
    """One step of the chain.

    Attributes
    ----------
    name, what : str
        Short and stable; and what is recomputed from what, in words.
    artifact, sha256 : str
        File of the run (or table of the lake, with its version), and the hash that it was sealed with (or that of the
        rows that were read).
    pairs : tuple of Pair
        What is compared; never empty.
    atom : str
        Atom that the link is about; empty where it is about the symbol or the portfolio.
    notes : mapping of str to scalar
        Numbers that explain and are compared with nothing.
    """

    name: str
    what: str
    artifact: str
    sha256: str
    pairs: tuple[Pair, ...]
    atom: str = ""
    notes: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether something was compared, and all of it holds."""
        return bool(self.pairs) and all(pair.ok for pair in self.pairs)

    def as_dict(self) -> dict[str, Any]:
        """Return the link as a JSON object."""
        return {
            "name": self.name,
            "atom": self.atom or None,
            "what": self.what,
            "artifact": self.artifact,
            "sha256": self.sha256,
            "ok": self.ok,
            "figures": [pair.as_dict() for pair in self.pairs],
            "notes": dict(self.notes),
        }


@dataclass(frozen=True)
class Proof:
    """The chain behind one weight, or its absence; ``sleeves`` are those behind the shares of a meta-portfolio."""

    run_id: str
    risk_profile: str
    symbol: str
    as_of: str
    net_weight: float
    head: str
    signed_by: str | None
    links: tuple[Link, ...]
    sleeves: tuple[Proof, ...] = ()
    absent: str = ""
    """Why the coin is not held; empty where it is."""

    @property
    def ok(self) -> bool:
        """Whether every link holds."""
        return self.broken is None

    @property
    def broken(self) -> str | None:
        """The first link that does not hold, from the bars on: a sleeve's come before its portfolio's."""
        below = filter(None, (sleeve.broken for sleeve in self.sleeves))
        own = (f"{link.name}{f' of {link.atom}' if link.atom else ''}" for link in self.links if not link.ok)
        return next(below, None) or next((f"{self.run_id}: {name}" for name in own), None)

    def compared(self) -> int:
        """Count the pairs of all links."""
        own = sum(len(link.pairs) for link in self.links)
        return own + sum(below.compared() for below in self.sleeves)

    def as_dict(self) -> dict[str, Any]:
        """Return the proof as a JSON object."""
        own = {name: value for name, value in vars(self).items() if name not in ("links", "sleeves")}
        return own | {
            "ok": self.ok,
            "broken": self.broken,
            "compared": self.compared(),
            "links": [link.as_dict() for link in self.links],
            "sleeves": [below.as_dict() for below in self.sleeves],
        }


def paired(recorded: Mapping[str, Any], recomputed: Mapping[str, Any]) -> tuple[Pair, ...]:
    """Pair two maps by name; a name that one of them lacks is a pair that does not hold.

    >>> [pair.ok for pair in paired({"a": 1.0, "b": None}, {"a": 1.0, "b": None, "c": 2})]
    [True, True, False]
    """
    names = list(dict.fromkeys([*recorded, *recomputed]))
    return tuple(Pair(name, recorded.get(name), recomputed.get(name)) for name in names)
