"""Rules of the contracts on arrays: schemas hold them on tables, and every decision passes them without a table.

A walk-forward takes dozens of decisions, and a table checked by Pandera costs as much as the decision itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.base.constants import LARGEST_RETURN, TOLERANCE, Bools, Floats
from assay.base.domain import Atom, Direction
from assay.risk.caps import Polytope

SCORE_FLOOR = 0.001
"""A feature that is its own score is cut to [0.001, 1]: beyond these bounds it varies without a trace in the score."""
FILTERS: Mapping[str, frozenset[str]] = {
    "L0": frozenset({"L0_NOT_FINITE", "L0_RANGE", "L0_ZERO_VARIANCE", "L0_OBSERVATIONS"}),
    "L1": frozenset({"L1_RATING_RANGE", "L1_VOTE", "L1_OSCILLATOR_RANGE", "L1_MEAN"}),
    "L2": frozenset({"L2_NULL", "L2_RANGE"}),
}
"""Codes of faults that drop what they name, by layer; every other fault is fatal."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule in one place.

    Attributes
    ----------
    code : str
        Stable name of the rule, ``L0_RANGE``; where a column is missing or of another type, Pandera's reason after the
        layer, ``L1_COLUMN_NOT_IN_DATAFRAME``.
    where : str
        Column, row or risk profile; what a filter fault drops.
    what : str
        In words.
    """

    code: str
    where: str
    what: str


def named(code: str, what: str, names: Sequence[str], wrong: Bools) -> Iterator[Violation]:
    """Yield a violation for each name that is wrong, (n_names,)."""
    return (Violation(code, names[i], what) for i in np.flatnonzero(wrong).tolist())


def column_faults(names: Sequence[str], values: Floats, floor: int) -> Iterator[Violation]:
    """Yield L0's faults of returns, (n_days, n_columns), NaN where there is none."""
    seen = ~np.isnan(values)
    constant = np.min(values, axis=0, initial=np.inf, where=seen) == np.max(values, axis=0, initial=-np.inf, where=seen)
    outside = np.any((values <= -1.0) | (values > LARGEST_RETURN), axis=0)
    yield from named("L0_RANGE", f"a return is outside (-1, {LARGEST_RETURN:g}]", names, outside)
    yield from named("L0_ZERO_VARIANCE", "every return is the same", names, constant)
    yield from named("L0_OBSERVATIONS", f"fewer than {floor} observations", names, seen.sum(axis=0) < floor)


def score_faults(atoms: Sequence[str], columns: Mapping[str, Floats]) -> Iterator[Violation]:
    """Yield L2's faults of ``alpha_score`` and ``<feature>_prob``, (n_atoms,) each, NaN where one is missing."""
    scores = [name for name in columns if name.endswith("_prob")]
    for name in scores:
        if _stuck(columns[name], columns[name.removesuffix("_prob")]):
            yield Violation("L2_CONSTANT_SCORE", name, "is constant while its raw feature varies")
    names = ["alpha_score", *scores]
    table = np.stack([columns[name] for name in names], axis=1)
    missing, outside = np.isnan(table), (table < 0.0) | (table > 1.0)
    for code, what, faults in (("L2_NULL", "is missing", missing), ("L2_RANGE", "is outside [0, 1]", outside)):
        for row in np.flatnonzero(faults.any(axis=1)).tolist():
            yield Violation(code, atoms[row], f"{names[int(faults[row].argmax())]} {what}")


def _stuck(scores: Floats, raw: Floats) -> bool:
    known = np.isfinite(raw)
    seen, score = raw[known], scores[known]
    if seen.size < 2 or seen.min() == seen.max() or not (score == score[0]).all():
        return False
    return not (seen.max() <= SCORE_FLOOR == score[0] or (seen.min() >= 1.0 and score[0] == 1.0))


def stream_faults(atoms: Sequence[Atom], streams: Sequence[Floats], physical: Sequence[Floats]) -> Iterator[Violation]:
    """Yield L3's faults of atoms' streams beside their symbols' returns, (n_days,) each, NaN where there is none."""
    for atom, stream, raw in zip(atoms, streams, physical, strict=True):
        long = Direction[atom.direction] is Direction.LONG
        if not np.array_equal(stream, raw if long else -np.minimum(raw, 1.0), equal_nan=True):
            code, formula = ("L3_LONG_MISMATCH", "r") if long else ("L3_SHORT_NOT_INVERTED", "-min(r, 1)")
            yield Violation(code, atom.id, f"is not {formula} of {atom.symbol}")


def direction_faults(atoms: Sequence[Atom], direction: str) -> Iterator[Violation]:
    """Yield a fault of L3 for each atom that points another way than its profile."""
    for atom in atoms:
        if atom.direction != direction:
            yield Violation("L3_DIRECTION", atom.id, f"points another way than its profile, which is {direction}")


def weight_faults(book: str, weights: Floats, cash: float, allowed: Polytope) -> Iterator[Violation]:
    """Yield L4's faults of one risk profile's weights on atoms, (n_atoms,)."""
    total = float(weights.sum())
    for code, what, wrong in (
        ("L4_NOT_FINITE", "a weight is missing or not finite", not np.isfinite(weights).all()),
        ("L4_NEGATIVE", "a weight is negative", (weights < 0.0).any()),
        ("L4_SUM", f"gross + cash is {total + cash!r}, not 1", not abs(total + cash - 1.0) <= TOLERANCE),
        ("L4_BUDGET", f"holds {total!r} of a budget of {allowed.budget!r}", total > allowed.budget + TOLERANCE),
        ("L4_ATOM_CAP", "an atom is above its cap", (weights > allowed.upper + TOLERANCE).any()),
        (
            "L4_CLUSTER_CAP",
            "a cluster is above its cap",
            (allowed.cluster_sums(weights) > allowed.cluster_caps + TOLERANCE).any(),
        ),
    ):
        if wrong:
            yield Violation(code, book, what)
