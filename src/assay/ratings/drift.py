"""Which vote explains that a screener rates otherwise than we do, from ratings alone.

A group's rating times its votes is a whole number, so what the screener's number has beyond ours is the sum of the
votes that it casts otherwise. A vote is under suspicion where its own inputs tell that residual: first by the rule of
another edition that is known, then by any rule, known or not, that can be learned from some coins and holds for others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl

from assay.base.constants import Floats, Ints
from assay.ratings.averages import recursive_averages, whole
from assay.ratings.indicators import chunks, indicators
from assay.ratings.tape import tape
from assay.ratings.votes import EDITIONS, MA_VOTES, NO_VOTE, OTHER_VOTES, Votes, votes

VoteGroup: TypeAlias = Literal["ma", "other"]
GROUPS: Mapping[VoteGroup, tuple[str, ...]] = {"ma": MA_VOTES, "other": OTHER_VOTES}

TOLERATED: Final = 0.02
"""Share of coins that may be rated otherwise: seeds and late bars do that, rules do more."""
LEAST_LEARNED: Final = 100
"""Disagreeing coins from which on a rule that nobody knows is looked for; fewer show only what a known one explains."""
LEAST_SHARE: Final = 0.01
"""Share of the disagreeing coins that a vote has to repair to be named."""
ROUNDS: Final = 3
"""Votes that are looked for; what one of them explains is taken off before the next."""
WHOLE: Final = 0.02
"""Distance from a whole number of votes above which a recorded rating is of another number of votes."""

Comparison: TypeAlias = tuple[str, str | float]
"""A value against another one, or against a threshold."""


def _against(values: Sequence[str], *thresholds: float) -> tuple[Comparison, ...]:
    return tuple((value, threshold) for value in values for threshold in thresholds)


def _stochastic(lines: str) -> tuple[Comparison, ...]:
    k, d = f"{lines}_k", f"{lines}_d"
    return (*_against([k, d], 20, 80), (k, d), (f"{k}_prev", f"{d}_prev"), (k, f"{k}_prev"))


COMPARISONS: Mapping[str, tuple[Comparison, ...]] = {
    "rsi": (*_against(["rsi"], 30, 70), ("rsi", "rsi_prev")),
    "cci": (*_against(["cci"], -100, 100), ("cci", "cci_prev")),
    "stochastic": (*_stochastic("stoch_8"), *_stochastic("stoch")),
    "stoch_rsi": (*_stochastic("stoch_rsi"), ("close", "ema_50")),
    "adx": (("adx", 20), ("adx", "adx_prev"), ("plus_di", "minus_di"), ("plus_di_prev", "minus_di_prev")),
    "awesome": (*_against(["ao", "ao_prev"], 0), ("ao", "ao_prev"), ("ao_prev", "ao_prev2")),
    "momentum": (("momentum", 0), ("momentum", "momentum_prev")),
    "macd": (("macd", 0), ("macd", "macd_signal")),
    "williams_r": (*_against(["williams_r"], -80, -20), ("williams_r", "williams_r_prev")),
    "bull_bear": (
        *_against(["bull_power", "bear_power"], 0),
        ("bull_power", "bull_power_prev"),
        ("bear_power", "bear_power_prev"),
        ("close", "ema_50"),
    ),
    "ultimate": _against(["ultimate"], 30, 70),
    "ichimoku": (
        ("lead_a", "lead_b"),
        *(("close", line) for line in ("lead_a", "lead_b", "base", "conversion")),
        ("close_prev", "conversion"),
    ),
}
"""How the inputs of a vote stand to each other; a mean is compared with the close."""


@dataclass(frozen=True)
class RuleChange:
    """A vote that explains a part of the difference.

    Attributes
    ----------
    edition : str
        Whose rule it is that explains it; empty where no known rule does.
    repaired : int
        Coins that are rated as the screener does with this vote corrected, and were not before.
    """

    vote: str
    edition: str
    repaired: int

    def __str__(self) -> str:
        whose = f" by the rule of edition {self.edition}" if self.edition else " by a rule that is not known"
        return f"{self.vote}{whose}: {self.repaired} coins"


@dataclass(frozen=True)
class Drift:
    """How a screener's ratings of one group differ from ours.

    Attributes
    ----------
    group : {"ma", "other"}
    edition : str
        Of our rules.
    compared, differing : int
        Coins.
    causes : tuple of RuleChange
        The one that explains most first.
    """

    group: VoteGroup
    edition: str
    compared: int
    differing: int
    causes: tuple[RuleChange, ...]

    @property
    def beyond(self) -> bool:
        """Whether more coins differ than seeds and late bars explain; one alone is no rule."""
        return self.differing > max(1, TOLERATED * self.compared)


def measured(bars: pl.DataFrame, interval: str, opened: dt.datetime) -> tuple[list[str], dict[str, Floats]]:
    """Compute the indicator values of all coins on one bar.

    Parameters
    ----------
    bars : DataFrame
        Lake columns of whole listings, none later than the bar.
    interval : str
    opened : datetime
        Opening time of the bar.

    Returns
    -------
    list of str, dict of str to (n_coins,) arrays
        Coins that have the bar, with volume, and their values.
    """
    rated = tape(bars, interval)
    wanted = (rated.keys["open_time"] == opened).to_numpy()
    averages = recursive_averages(rated, whole(rated))
    parts: dict[str, list[Floats]] = {}
    for rows in chunks(rated.keys.height):
        if wanted[rows].any():
            for name, values in indicators(rated, averages, rows).items():
                parts.setdefault(name, []).append(values[wanted[rows]])
    symbols: list[str] = rated.keys.filter(wanted)["symbol"].to_list()
    return symbols, {name: np.concatenate(values) for name, values in parts.items()}


def drift(
    recommended: Floats,
    values: Mapping[str, Floats],
    group: VoteGroup,
    edition: str,
    known: Sequence[str] = tuple(EDITIONS),
) -> Drift:
    """Compare a screener's ratings with ours, and name the votes that explain the difference.

    Parameters
    ----------
    recommended : (n_coins,) array
        ``Recommend.MA`` or ``Recommend.Other`` of the screener, NaN where it gave none.
    values : mapping of str to (n_coins,) arrays
        Indicator values on the same closed bars, see :mod:`assay.ratings.indicators`.
    group : {"ma", "other"}
    edition : {"2026", "2021"}
        Of our rules.
    known : sequence of str
        Editions whose rules may explain it.

    Returns
    -------
    Drift
        Coins for which not every vote of the group is counted, on either side, are left out. Causes are looked for
        only where more than :data:`TOLERATED` of the coins differ.

    Examples
    --------
    >>> from assay.ratings.votes import rules
    >>> rng = np.random.default_rng(1)
    >>> needed = {name for e in EDITIONS for r in rules(e).values() for name in (*r.inputs, *r.counted_by)}
    >>> values = {name: rng.uniform(0, 100, 400) for name in needed}
    >>> theirs = sum(votes(values, "2021")[name] for name in OTHER_VOTES) / 11
    >>> found = drift(theirs, values, "other", "2026")
    >>> found.causes[0].edition, found.causes[0].vote in ("adx", "stochastic", "stoch_rsi")
    ('2021', True)
    """
    names = GROUPS[group]
    cast = votes(values, edition)
    said = recommended * len(names)
    usable = np.abs(said - np.round(said)) < WHOLE  # false where missing
    for name in names:
        usable &= cast[name] != NO_VOTE
    chosen = {name: column[usable] for name, column in values.items()}
    ours = {name: cast[name][usable].astype(np.int64) for name in names}
    left: Ints = np.round(said[usable]).astype(np.int64) - sum(ours.values())
    found = Drift(group, edition, len(left), int((left != 0).sum()), ())
    if not found.beyond:
        return found
    others = {other: votes(chosen, other) for other in known if other != edition}
    causes = []
    for _ in range(ROUNDS):
        best = _best(left, chosen, ours, others)
        if best is None:
            break
        cause, correction = best
        causes.append(cause)
        left = left - correction
        ours[cause.vote] = ours[cause.vote] + correction
    causes.sort(key=lambda cause: -cause.repaired)
    return Drift(group, edition, found.compared, found.differing, tuple(causes))


def _best(
    left: Ints,
    values: Mapping[str, Floats],
    ours: Mapping[str, Ints],
    others: Mapping[str, Mapping[str, Votes]],
) -> tuple[RuleChange, Ints] | None:
    """Return the vote that repairs most, and its correction of every coin; a known rule before any other."""
    for candidates in (_known(ours, others), _learned(left, values, ours)):
        found = [(_repaired(left, correction), name, whose, correction) for name, whose, correction in candidates]
        enough = [one for one in found if one[0] > 0 and one[0] >= LEAST_SHARE * (left != 0).sum()]
        if enough:
            repaired, name, whose, correction = max(enough, key=lambda one: one[0])
            return RuleChange(name, whose, repaired), correction
    return None


def _repaired(left: Ints, correction: Ints) -> int:
    """Count coins that become exact, less those that no longer are."""
    return int(((left != 0) & (left == correction)).sum()) - int(((left == 0) & (correction != 0)).sum())


def _known(ours: Mapping[str, Ints], others: Mapping[str, Mapping[str, Votes]]) -> Iterator[tuple[str, str, Ints]]:
    for whose, cast in others.items():
        for name, mine in ours.items():
            theirs = np.asarray(cast[name], dtype=np.int64)
            yield name, whose, np.where(theirs == NO_VOTE, 0, theirs - mine)


def _learned(left: Ints, values: Mapping[str, Floats], ours: Mapping[str, Ints]) -> Iterator[tuple[str, str, Ints]]:
    """Learn each vote's correction from one half of the coins for the other, both ways."""
    if (left != 0).sum() < LEAST_LEARNED:
        return
    half = np.arange(len(left)) % 2 == 0
    for name, mine in ours.items():
        cells = _cells(name, values, mine)
        correction = np.zeros_like(left)
        for learnt, applied in ((half, ~half), (~half, half)):
            common = _commonest(cells[learnt], left[learnt])
            correction[applied] = [common.get(cell, 0) for cell in cells[applied].tolist()]
        yield name, "", np.where(np.abs(mine + correction) <= 1, correction, 0)


def _cells(name: str, values: Mapping[str, Floats], mine: Ints) -> Ints:
    """Give coins one number where the vote's inputs stand to each other in the same way, and our vote is the same."""
    cells = mine + 1
    for value, other in COMPARISONS.get(name, ((name, "close"),)):
        reference = values[other] if isinstance(other, str) else other
        cells = 3 * cells + np.sign(values[value] - reference).astype(np.int64) + 1
    return cells


def _commonest(cells: Ints, left: Ints) -> dict[int, int]:
    """Return the commonest residual of each cell; of two equally common ones the smaller correction."""
    pairs, counts = np.unique(np.stack([cells, left]), axis=1, return_counts=True)
    order = np.lexsort((-np.abs(pairs[1]), counts, pairs[0]))  # the last of a cell is its best
    return dict(zip(pairs[0][order].tolist(), pairs[1][order].tolist(), strict=True))
