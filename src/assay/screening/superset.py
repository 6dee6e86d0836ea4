"""The superset: every scanner's candidates of one instant, consolidated, and a profile's share of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assay.base import files
from assay.base.domain import UTC, Atom, format_instant
from assay.base.errors import DataError, IntegrityError
from assay.lake.storage import LOCK
from assay.market.panel import Market
from assay.runs.documents import Candidate, Scalar, Superset, load, save
from assay.screening.scanner import ScanResult, scan
from assay.settings.model import Profile, Scanner

Provider = Literal["ratings", "tradingview"]


@dataclass(frozen=True)
class ScanProvider:
    """Who answers the scanners, and how."""

    provider: Provider = "ratings"
    scan: Callable[[Market, str, Scanner], ScanResult] = scan
    """Answers one scanner, by name, at a market's instant."""
    asked: Provider = "ratings"
    """Whom the settings name."""
    fallback: str | None = None
    """Why another one answers."""

    @property
    def name(self) -> str:
        """Name in a superset's key: a superset that fell back is another one than one that was asked for.

        >>> ScanProvider().name, ScanProvider(asked="tradingview", fallback="no network").name
        ('ratings', 'ratings for tradingview')
        """
        return self.provider if self.fallback is None else f"{self.provider} for {self.asked}"


@dataclass(frozen=True)
class Pool:
    """A profile's share of a superset; ``len(candidates) = taken - merged``."""

    candidates: list[Candidate]
    """Unique by (symbol, logic, direction), in that order."""
    taken: int
    """Records taken from the superset."""
    merged: int
    """Records that turned into one that was there already."""


def consolidate(
    as_of: dt.datetime,
    head: int,
    provider: Provider,
    results: Iterable[ScanResult],
    key: str,
    *,
    asked: Provider | None = None,
    fallback: str | None = None,
) -> Superset:
    """Merge scans of one instant into the superset.

    The same symbol wanted long by one scanner and short by another is two candidates; the same atom found by two
    scanners is one, with both names, the better rank and every field that either saw.

    Parameters
    ----------
    as_of : datetime
        Instant of the scans.
    head : int
        Head of the lake that the scans read.
    provider : {"ratings", "tradingview"}
        Who answered.
    results : iterable of ScanResult
        One for each scanner, in any order.
    key : str
        What the superset answers for, see :func:`superset_key`.
    asked : {"ratings", "tradingview"}, optional
        Who was asked; who answered where None.
    fallback : str, optional
        Why another one answered.
    """
    ordered = sorted(results, key=lambda result: result.name)
    found = [candidate for result in ordered for candidate in result.candidates]
    merged: dict[Atom, Candidate] = {}
    # Best rank first: a field on which two scanners differ keeps the better ranked one's value under its plain name.
    for candidate in sorted(found, key=lambda one: (one.rank, one.scanners)):
        atom = _atom(candidate)
        merged[atom] = _join(merged[atom], candidate) if atom in merged else candidate
    return Superset(
        as_of=format_instant(as_of),
        head=head,
        key=key,
        provider=provider,
        asked=asked or provider,
        fallback=fallback,
        scanners=[result.count for result in ordered],
        candidates=[merged[atom] for atom in sorted(merged)],
        unique_atoms=len(merged),
        duplicates_merged=len(found) - len(merged),
        merged_quotes=[record for result in ordered for record in result.merged],
        invalid_records=[record for result in ordered for record in result.invalid],
    )


def _atom(candidate: Candidate) -> Atom:
    return Atom(candidate.symbol, candidate.logic, candidate.direction)


def _join(first: Candidate, second: Candidate) -> Candidate:
    """Add a second sighting of the same atom; a field on which they differ keeps both values."""
    fields: dict[str, Scalar] = dict(first.fields)
    for name, value in second.fields.items():
        if name not in fields or fields[name] is None:
            fields[name] = value
        elif value is not None and value != fields[name]:
            fields[f"{name}@{'+'.join(second.scanners)}"] = value
    scanners = sorted({*first.scanners, *second.scanners})
    return first.model_copy(update={"scanners": scanners, "rank": min(first.rank, second.rank), "fields": fields})


def profile_pool(superset: Superset, profile: Profile) -> Pool:
    """Return what a profile may choose from.

    ``pool = own`` takes the candidates of the profile's scanners on its side and of its logics. ``pool = superset``
    takes every candidate and turns it to the profile's side, keeping ``scan_direction`` and ``inverted``; where turning
    makes two records of one atom, the record that was not turned stays, with its rank, and the other's scanners join
    it.
    """
    if profile.pool == "own":
        own = [candidate for candidate in superset.candidates if _is_own(candidate, profile)]
        return Pool(own, len(own), 0)
    kept: dict[Atom, Candidate] = {}
    turned = [_turn(candidate, profile) for candidate in superset.candidates]
    for candidate in sorted(turned, key=lambda one: one.inverted):
        atom = _atom(candidate)
        if atom in kept:
            scanners = sorted({*kept[atom].scanners, *candidate.scanners})
            candidate = kept[atom].model_copy(update={"scanners": scanners})
        kept[atom] = candidate
    return Pool([kept[atom] for atom in sorted(kept)], len(turned), len(turned) - len(kept))


def _is_own(candidate: Candidate, profile: Profile) -> bool:
    return (
        candidate.direction == profile.direction
        and candidate.logic in profile.logics
        and not set(profile.scanners).isdisjoint(candidate.scanners)
    )


def _turn(candidate: Candidate, profile: Profile) -> Candidate:
    inverted = candidate.direction != profile.direction
    return candidate.model_copy(update={"direction": profile.direction, "inverted": inverted})


FILE = "portfolio_candidates"


def superset_key(scanners: Mapping[str, Scanner], head: int, provider: str = "ratings") -> str:
    """Return the hash of all that decides what a superset holds, apart from its instant.

    Examples
    --------
    >>> one = superset_key({"a": Scanner(logic="rating_all", direction="LONG")}, 3)
    >>> two = superset_key({"a": Scanner(logic="rating_all", direction="LONG", limit=50)}, 3)
    >>> len(one), one == two
    (64, False)
    """
    settings = {
        "scanners": {name: scanner.model_dump(mode="json") for name, scanner in scanners.items()},
        "head": head,
        "provider": provider,
    }
    return files.content_hash_json(settings)


def ensure_superset(
    folder: Path,
    market_loader: Callable[[], Market],
    as_of: dt.datetime,
    head: int,
    scanners: Mapping[str, Scanner],
    answerer: ScanProvider | None = None,
) -> tuple[Path, Superset]:
    """Return the superset of an instant, scanning once if it is not there.

    The first definition (scanners, head, provider) of an instant gets the plain name ``portfolio_candidates.json``;
    another definition stands beside it as ``portfolio_candidates-<key8>.json``, so that what a run pinned is never
    overwritten.

    Parameters
    ----------
    folder : Path
        The lake's folder.
    market_loader : callable
        Gives the market known at ``as_of``; called, under the lock, only where a scan is needed.
    as_of : datetime
        Instant of the scan.
    head : int
        Head of the lake that ``market_loader`` reads.
    scanners : mapping of str to Scanner
        All scanners: together they make the superset.
    answerer : ScanProvider, optional
        Who answers them; our own ratings where None.

    Returns
    -------
    tuple of Path and Superset
        The file and its content.

    Raises
    ------
    DataError
        If the market is of another instant, or empty.
    IntegrityError
        If a file of that name is damaged or answers for something else.
    """
    who = answerer or ScanProvider()
    key = superset_key(scanners, head, who.name)
    shelf = folder / "superset" / as_of.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    found = _find(shelf, key)
    if found is not None:
        return found
    # Not the lake's own lock: a live source may hold that for minutes, and runs must be able to start meanwhile.
    with files.locked(folder / "superset" / LOCK):
        found = _find(shelf, key)
        if found is not None:
            return found
        market = market_loader()
        if market.as_of != as_of:
            raise DataError(
                f"the market is known at {format_instant(market.as_of)}, not at the instant asked for",
                where=format_instant(as_of),
                hint="this is a fault of the caller: cut the market at the instant first",
            )
        results = [who.scan(market, name, scanner) for name, scanner in scanners.items()]
        superset = consolidate(as_of, head, who.provider, results, key, asked=who.asked, fallback=who.fallback)
        plain = shelf / f"{FILE}.json"
        path = shelf / f"{FILE}-{key[:8]}.json" if plain.exists() else plain
        save(superset, path)
        return path, superset


def _find(shelf: Path, key: str) -> tuple[Path, Superset] | None:
    """Return the file that answers for a key."""
    plain, named = shelf / f"{FILE}.json", shelf / f"{FILE}-{key[:8]}.json"
    if plain.exists():
        superset = load(Superset, plain)
        if superset.key == key:
            return plain, superset
    if named.exists():
        superset = load(Superset, named)
        if superset.key != key:
            raise IntegrityError(
                "superset answers for another definition than its name says", where=str(named), hint="run: assay verify"
            )
        return named, superset
    return None
