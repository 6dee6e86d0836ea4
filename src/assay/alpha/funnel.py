"""The funnel: discovery -> normalization -> deduplication -> selection, in which nobody gets lost.

Every stage satisfies ``out = in + expanded - dropped``, every expansion and every drop has a reason, and every
candidate, expanded ones included, ends with exactly one fate. What the funnel does depends on the set of candidates,
never on their order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Literal

from assay.base.domain import Atom, Direction, rating_column, symbol_fault
from assay.base.errors import ContractError
from assay.runs.documents import Candidate, Fate, ScannerCount, Stage
from assay.settings.model import Profile

StageName = Literal["discovery", "normalization", "deduplication", "selection"]

INVALID_SYMBOL = "INVALID_SYMBOL"
INVALID_DIRECTION = "INVALID_DIRECTION"
LOGIC_NOT_IN_PROFILE = "LOGIC_NOT_IN_PROFILE"
DUPLICATE = "DUPLICATE"
CONSOLIDATED = "CONSOLIDATED"
"""Found by several scanners, so that one record keeps all their names, or not of this profile's logics."""
WINNER = "winner"


@dataclass(frozen=True, slots=True)
class Entry:
    """An atom on its way through the funnel, and the record it came from."""

    atom: Atom
    candidate: Candidate
    inverted: bool
    expanded: bool
    """Not scanned by itself: the profile's logics asked for it."""

    @property
    def preference(self) -> tuple[object, ...]:
        """Sort key: by atom; of equal atoms the one scanned on its own side and by itself, then the best ranked."""
        seen = self.candidate
        return (self.atom, self.inverted, self.expanded, seen.rank, seen.scan_direction, seen.scanners)


@dataclass(frozen=True, slots=True)
class Loss:
    """A candidate that left before selection."""

    symbol: str
    logic: str
    direction: str
    stage: StageName
    reason: str
    detail: str

    def document(self) -> Fate:
        """Return the loss as a fate."""
        return Fate.model_validate(
            {
                "symbol": self.symbol,
                "logic": self.logic,
                "direction": self.direction,
                "stage": self.stage,
                "reason": self.reason,
                "detail": self.detail,
            }
        )


@dataclass(frozen=True, slots=True)
class Count:
    """Numbers of one stage.

    Examples
    --------
    >>> Count("normalization", 10, {"rating_ma": 3}, {"INVALID_SYMBOL": 1}).n_out
    12
    """

    stage: StageName
    n_in: int
    expanded_by: Mapping[str, int] = field(default_factory=dict)
    dropped_by: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_out(self) -> int:
        """In + expanded - dropped."""
        return self.n_in + sum(self.expanded_by.values()) - sum(self.dropped_by.values())

    def document(self) -> Stage:
        """Return the numbers as a document."""
        return Stage(
            stage=self.stage,
            n_in=self.n_in,
            expanded=sum(self.expanded_by.values()),
            dropped=sum(self.dropped_by.values()),
            n_out=self.n_out,
            expanded_by=dict(sorted(self.expanded_by.items())),
            dropped_by=dict(sorted(self.dropped_by.items())),
        )


@dataclass(frozen=True, slots=True)
class Funnel:
    """What reaches selection, and what became of the rest."""

    entries: tuple[Entry, ...]
    """One for each atom, sorted by atom."""
    losses: tuple[Loss, ...]
    """Who left on the way."""
    counts: tuple[Count, ...]
    """Discovery, normalization, deduplication."""

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """Atoms that reach selection, sorted."""
        return tuple(entry.atom for entry in self.entries)


def run_funnel(candidates: Sequence[Candidate], profile: Profile, scanners: Sequence[ScannerCount] = ()) -> Funnel:
    """Turn a profile's candidates into unique atoms.

    *Normalization.* With ``pool = superset`` every candidate is turned to the profile's direction. With one logic,
    candidates keep the logic they were scanned for. With several, each scanned symbol is expanded to every logic of
    the profile whose rating, as the scanner saw it, has the sign of the side on which it was scanned (for candidates
    of the profile's own side that is the profile's sign; inverted ones are against it by construction); a record
    whose own logic the profile does not have gives way to its expansions.

    *Deduplication.* Unique by symbol, logic and direction.

    Parameters
    ----------
    candidates : sequence of Candidate
        This profile's share of the superset.
    profile : Profile
        Its direction, logics and pool are used.
    scanners : sequence of ScannerCount, optional
        Counts of the scans, so that the funnel's first stage tells what the profile's scanners looked at. Without them
        the funnel begins with the candidates.

    Raises
    ------
    ContractError
        If scanners kept fewer candidates than there are.
    """
    own = [count for count in scanners if profile.pool == "superset" or count.scanner in profile.scanners]
    discovery = _discovery(len(candidates), own)
    entries: list[Entry] = []
    losses: list[Loss] = []
    for candidate in candidates:
        direction = profile.direction if profile.pool == "superset" else candidate.direction
        fault = _fault(candidate, direction)
        if fault is not None:
            losses.append(_loss(candidate, direction, *fault))
            continue
        found = list(_expand(candidate, direction, profile))
        entries += found
        if all(entry.expanded for entry in found):
            detail = f"the profile has {', '.join(profile.logics)}; expanded to {len(found)} of them"
            losses.append(_loss(candidate, direction, LOGIC_NOT_IN_PROFILE, detail))
    normalization = Count(
        "normalization",
        len(candidates),
        Counter(entry.atom.logic for entry in entries if entry.expanded),
        Counter(loss.reason for loss in losses),
    )
    unique, duplicates = _deduplicate(entries)
    deduplication = Count("deduplication", len(entries), {}, _counted(DUPLICATE, len(duplicates)))
    everyone = sorted(losses, key=astuple) + sorted(duplicates, key=astuple)
    return Funnel(unique, tuple(everyone), (discovery, normalization, deduplication))


def selection_count(n_atoms: int, reasons: Iterable[str]) -> Count:
    """Return the last stage's numbers from every atom's reason, :data:`WINNER` for those that stay."""
    return Count("selection", n_atoms, {}, Counter(reason for reason in reasons if reason != WINNER))


def _counted(reason: str, number: int) -> dict[str, int]:
    return {reason: number} if number else {}


def _discovery(n_candidates: int, scanners: Sequence[ScannerCount]) -> Count:
    if not scanners:
        return Count("discovery", n_candidates)
    dropped: Counter[str] = Counter()
    for scanner in scanners:
        dropped.update(scanner.dropped)
    looked_at = sum(scanner.universe for scanner in scanners)
    merged = looked_at - dropped.total() - n_candidates
    if merged < 0:
        raise ContractError(
            f"scanners kept {merged + n_candidates} candidates, but {n_candidates} came",
            where="discovery",
            hint="scan again; the superset does not belong to these counts",
        )
    dropped[CONSOLIDATED] += merged
    return Count("discovery", looked_at, {}, {reason: number for reason, number in dropped.items() if number})


def _fault(candidate: Candidate, direction: str) -> tuple[str, str] | None:
    """Return reason and detail where a record cannot be used."""
    fault = symbol_fault(candidate.symbol)
    if fault is not None:
        return INVALID_SYMBOL, f"the symbol has {fault}"
    turned = direction != candidate.scan_direction
    if direction == candidate.direction and candidate.inverted != turned:
        said = "inverted" if candidate.inverted else "not inverted"
        return INVALID_DIRECTION, f"scanned {candidate.scan_direction}, wanted {direction}, and said to be {said}"
    return None


def _expand(candidate: Candidate, direction: str, profile: Profile) -> Iterator[Entry]:
    """Yield the candidate's own atom, if the profile keeps it, and its expansions."""
    inverted = direction != candidate.scan_direction
    several = len(profile.logics) > 1
    if not several or candidate.logic in profile.logics:
        yield Entry(Atom(candidate.symbol, candidate.logic, direction), candidate, inverted, expanded=False)
    if not several:
        return
    sign = Direction[candidate.scan_direction].sign
    for logic in profile.logics:
        if logic != candidate.logic and _rating(candidate, logic) * sign > 0:
            yield Entry(Atom(candidate.symbol, logic, direction), candidate, inverted, expanded=True)


def _rating(candidate: Candidate, logic: str) -> float:
    """Rating that the scanner saw; NaN, which has no sign, where it saw none."""
    value = candidate.fields.get(rating_column(logic))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _deduplicate(entries: Sequence[Entry]) -> tuple[tuple[Entry, ...], list[Loss]]:
    unique: list[Entry] = []
    duplicates: list[Loss] = []
    for entry in sorted(entries, key=lambda entry: entry.preference):
        if unique and unique[-1].atom == entry.atom:
            kept = unique[-1]
            how = "expanded from" if kept.expanded else "scanned by"
            detail = f"the same atom was {how} {', '.join(kept.candidate.scanners)}, rank {kept.candidate.rank}"
            atom = entry.atom
            duplicates.append(Loss(atom.symbol, atom.logic, atom.direction, "deduplication", DUPLICATE, detail))
        else:
            unique.append(entry)
    return tuple(unique), duplicates


def _loss(candidate: Candidate, direction: str, reason: str, detail: str) -> Loss:
    return Loss(candidate.symbol, candidate.logic, direction, "normalization", reason, detail)
