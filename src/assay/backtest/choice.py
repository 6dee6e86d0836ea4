"""What a decision could choose from, and what it chose: the little of a selection that its worth is judged by."""

from __future__ import annotations

from dataclasses import dataclass

from assay.base.domain import Atom

Named = tuple[str, str]
"""Symbol and logic of an atom; its side is the profile's."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Candidates and winners of one decision, by name."""

    candidates: tuple[str, ...] = ()
    """Symbols that the scanners found, each once."""
    safe: tuple[Named, ...] = ()
    """Atoms that pass every safety veto but friction, which looks at past returns and so is part of the selection."""
    winners: tuple[Named, ...] = ()
    """Atoms that were chosen, all of them among the safe ones."""


def named(atoms: tuple[Atom, ...]) -> tuple[Named, ...]:
    """Return atoms by name."""
    return tuple((atom.symbol, atom.logic) for atom in atoms)


NOTHING = Choice()
"""Of a decision for which nobody was found."""
