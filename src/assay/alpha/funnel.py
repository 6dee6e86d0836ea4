"""The funnel: discovery -> normalization -> deduplication -> selection, in which nobody gets lost.

Every stage satisfies ``out = in + expanded - dropped``, every expansion and every drop has a reason, and every
candidate, expanded ones included, ends with exactly one fate. What the funnel does depends on the set of candidates,
never on their order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
"""Another scanner's sighting of an atom of which one record keeps all names."""
WINNER = "winner"


@dataclass(frozen=True, slots=True)
class Contender:
    """An atom on its way through the funnel, and the record it came from."""

    atom: Atom
    candidate: Candidate
    inverted: bool
    expanded: bool
    """Not scanned by itself: the profile's logics asked for it."""

    @property
    def preference(self) -> tuple[object, ...]:
        """Sort key: by atom; of equal atoms the one scanned on its own side and by itself, then the best ranked."""
        seen, atom = self.candidate, (self.atom.symbol, self.atom.logic, self.atom.direction)
        return (*atom, self.inverted, self.expanded, seen.rank, seen.scan_direction, seen.scanners)


@dataclass(frozen=True, slots=True)
class Contenders:
    """What reaches selection, and what became of the rest."""

    entries: tuple[Contender, ...]
    """One for each atom, sorted by atom."""
    losses: tuple[Fate, ...]
    """Who left on the way."""
    stages: tuple[Stage, ...]
    """Discovery, normalization, deduplication."""

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """Atoms that reach selection, sorted."""
        return tuple(entry.atom for entry in self.entries)


def run_funnel(candidates: Sequence[Candidate], profile: Profile, scanners: Sequence[ScannerCount] = ()) -> Contenders:
    """Turn a profile's candidates into unique atoms.

    *Normalization.* With ``pool = superset`` every candidate is turned to the profile's direction, and with one logic
    keeps the logic it was scanned for; elsewhere one of a logic that the profile does not have leaves. With several
    logics, each scanned symbol is expanded to every logic of the profile whose rating, as the scanner saw it, has the
    sign of the side on which it was scanned (for candidates of the profile's own side that is the profile's sign;
    inverted ones are against it by construction); a record whose own logic the profile does not have gives way to its
    expansions.

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
        If candidates do not name a scanner as often as it kept one: somebody got lost between scan and profile.
    """
    own = [count for count in scanners if profile.pool == "superset" or count.scanner in profile.scanners]
    losses: list[Fate] = list(_consolidated(candidates, own))
    discovery = _discovery(candidates, own, len(losses))
    entries: list[Contender] = []
    refused: list[Fate] = []
    for candidate in candidates:
        direction = profile.direction if profile.pool == "superset" else candidate.direction
        fault = _fault(candidate, direction)
        if fault is not None:
            refused.append(_loss(candidate, direction, *fault))
            continue
        found = list(_expand(candidate, direction, profile))
        entries += found
        if not found or found[0].expanded:  # its own atom comes first
            detail = f"the profile has {', '.join(profile.logics)}; expanded to {len(found)} of them"
            refused.append(_loss(candidate, direction, LOGIC_NOT_IN_PROFILE, detail))
    normalization = _stage(
        "normalization",
        len(candidates),
        Counter(entry.atom.logic for entry in entries if entry.expanded),
        Counter(loss.reason for loss in refused),
    )
    unique, duplicates = _deduplicate(entries)
    deduplication = _stage("deduplication", len(entries), {}, {DUPLICATE: len(duplicates)} if duplicates else {})
    everyone = losses + sorted(refused, key=_order) + sorted(duplicates, key=_order)
    return Contenders(unique, tuple(everyone), (discovery, normalization, deduplication))


def selection_stage(n_atoms: int, reasons: Iterable[str]) -> Stage:
    """Return the last stage's numbers from every atom's reason, :data:`WINNER` for those that stay."""
    return _stage("selection", n_atoms, {}, Counter(reason for reason in reasons if reason != WINNER))


def _stage(
    name: StageName,
    n_in: int,
    expanded_by: Mapping[str, int] | None = None,
    dropped_by: Mapping[str, int] | None = None,
) -> Stage:
    expanded, dropped = (dict(sorted((by or {}).items())) for by in (expanded_by, dropped_by))
    n_out = n_in + sum(expanded.values()) - sum(dropped.values())
    return Stage(
        stage=name,
        n_in=n_in,
        expanded=sum(expanded.values()),
        dropped=sum(dropped.values()),
        n_out=n_out,
        expanded_by=expanded,
        dropped_by=dropped,
    )


def _order(loss: Fate) -> tuple[str, ...]:
    return (loss.symbol, loss.logic, loss.direction, loss.stage, loss.reason, loss.detail)


def _consolidated(candidates: Sequence[Candidate], scanners: Sequence[ScannerCount]) -> Iterator[Fate]:
    """Yield the sightings that became one record with another's: each counts where it happened, by name."""
    own = {scanner.scanner for scanner in scanners}
    for candidate in sorted(candidates, key=lambda one: (one.symbol, one.logic, one.direction)):
        first, *others = [name for name in candidate.scanners if name in own] or [""]
        for name in others:
            detail = f"{name} found it too; the record that {first} began keeps all names"
            yield fate(candidate.atom, "discovery", CONSOLIDATED, detail)


def _discovery(candidates: Sequence[Candidate], scanners: Sequence[ScannerCount], consolidated: int) -> Stage:
    if not scanners:
        return _stage("discovery", len(candidates))
    named = Counter(name for candidate in candidates for name in candidate.scanners)
    dropped = Counter({CONSOLIDATED: consolidated})
    for scanner in scanners:
        if named[scanner.scanner] != scanner.kept:
            raise ContractError(
                f"{scanner.scanner} kept {scanner.kept} candidates, and {named[scanner.scanner]} came",
                where="discovery",
                hint="scan again; the superset does not belong to these counts",
            )
        dropped.update(scanner.dropped)
    looked_at = sum(scanner.universe for scanner in scanners)
    return _stage("discovery", looked_at, {}, {reason: number for reason, number in dropped.items() if number})


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


def _expand(candidate: Candidate, direction: str, profile: Profile) -> Iterator[Contender]:
    """Yield the candidate's own atom, if the profile keeps it, and its expansions."""
    inverted = direction != candidate.scan_direction
    several = len(profile.logics) > 1
    if candidate.logic in profile.logics or (profile.pool == "superset" and not several):
        yield Contender(Atom(candidate.symbol, candidate.logic, direction), candidate, inverted, expanded=False)
    if not several:
        return
    sign = Direction[candidate.scan_direction].sign
    for logic in profile.logics:
        if logic != candidate.logic and _rating(candidate, logic) * sign > 0:
            yield Contender(Atom(candidate.symbol, logic, direction), candidate, inverted, expanded=True)


def _rating(candidate: Candidate, logic: str) -> float:
    """Rating that the scanner saw; NaN, which has no sign, where it saw none."""
    value = candidate.fields.get(rating_column(logic))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _deduplicate(entries: Sequence[Contender]) -> tuple[tuple[Contender, ...], list[Fate]]:
    unique: list[Contender] = []
    duplicates: list[Fate] = []
    for entry in sorted(entries, key=lambda entry: entry.preference):
        if unique and unique[-1].atom == entry.atom:
            kept = unique[-1]
            how = "expanded from" if kept.expanded else "scanned by"
            detail = f"the same atom was {how} {', '.join(kept.candidate.scanners)}, rank {kept.candidate.rank}"
            duplicates.append(fate(entry.atom, "deduplication", DUPLICATE, detail))
        else:
            unique.append(entry)
    return tuple(unique), duplicates


def _loss(candidate: Candidate, direction: str, reason: str, detail: str) -> Fate:
    return fate(Atom(candidate.symbol, candidate.logic, direction), "normalization", reason, detail)


def fate(atom: Atom, stage: StageName, reason: str, detail: str, **measured: Any) -> Fate:
    """Return a candidate's end; ``measured`` is what selection knows of it."""
    said = {"symbol": atom.symbol, "logic": atom.logic, "direction": atom.direction, "stage": stage}
    return Fate.model_validate({**said, "reason": reason, "detail": detail, **measured})
