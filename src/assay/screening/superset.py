"""The superset: every scanner's candidates of one instant, consolidated, and a profile's share of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Literal

from assay.base import files
from assay.base.domain import DEFAULT_EDITION, UTC, Atom, format_instant
from assay.base.environment import PROGRAM
from assay.base.errors import DataError, IntegrityError
from assay.lake.storage import LOCK
from assay.market.panel import Market
from assay.ratings import REVISION
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
        scanners=[result.count.model_copy(update={"names": result.names()}) for result in ordered],
        candidates=[merged[atom] for atom in sorted(merged, key=_NAMES)],
        unique_atoms=len(merged),
        duplicates_merged=len(found) - len(merged),
        merged_quotes=[record for result in ordered for record in result.merged],
        invalid_records=[record for result in ordered for record in result.invalid],
    )


_NAMES = attrgetter("symbol", "logic", "direction")


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

    ``pool = own`` takes the candidates of the profile's scanners; one of another logic or side leaves later, with a
    reason, not here without a word. ``pool = superset``
    takes every candidate and turns it to the profile's side, keeping ``scan_direction`` and ``inverted``; where turning
    makes two records of one atom, the record that was not turned stays, with its rank, and the other's scanners join
    it.
    """
    if profile.pool == "own":
        own = [one for one in superset.candidates if not set(profile.scanners).isdisjoint(one.scanners)]
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


def _turn(candidate: Candidate, profile: Profile) -> Candidate:
    inverted = candidate.direction != profile.direction
    return candidate.model_copy(update={"direction": profile.direction, "inverted": inverted})


FILE = "portfolio_candidates.json"
FORM = 2
"""Of what a superset says: since 2 it names whom each condition took."""
SUPERSET_DIFFERS = "SUPERSET_DIFFERS"
"""A superset is not what the scanners say of the pinned lake, or its counts are not those of its records."""


def superset_key(
    scanners: Mapping[str, Scanner], head: int, provider: str = "ratings", edition: str = DEFAULT_EDITION
) -> str:
    """Return the hash of all that decides what a superset holds, apart from its instant.

    The edition of the ratings and the version of this program are part of it: what another one scanned is never read.

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
        "edition": [edition, REVISION],
        "form": FORM,
        "program": version(PROGRAM),
    }
    return files.content_hash_json(settings)


def superset_path(folder: Path, as_of: dt.datetime, key: str) -> Path:
    """Return where the superset of an instant lies in a lake's folder, see :func:`superset_key`."""
    instant = as_of.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    return folder / "superset" / f"{instant}-{key[:8]}" / FILE


def ensure_superset(
    folder: Path,
    market_loader: Callable[[], Market],
    as_of: dt.datetime,
    head: int,
    scanners: Mapping[str, Scanner],
    answerer: ScanProvider | None = None,
    edition: str = DEFAULT_EDITION,
) -> tuple[Path, Superset]:
    """Return the superset of an instant, scanning once if it is not there.

    It lies in ``superset/<as_of>-<key8>/``, see :func:`superset_key`: another definition has another folder, and what a
    run pinned is never overwritten.

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
    edition : {"2026", "2021"}
        Rules by which the head is rated.

    Returns
    -------
    tuple of Path and Superset
        The file and its content.

    Raises
    ------
    DataError
        If the market is of another instant, or empty.
    IntegrityError
        If the file is damaged, answers for something else, or contradicts itself (``SUPERSET_DIFFERS``).
    """
    who = answerer or ScanProvider()
    key = superset_key(scanners, head, who.name, edition)
    path = superset_path(folder, as_of, key)
    if path.exists():
        return path, _read(path, key, who)
    # Not the lake's own lock: a live source may hold that for minutes, and runs must be able to start meanwhile.
    with files.locked(folder / "superset" / LOCK):
        if path.exists():
            return path, _read(path, key, who)
        market = market_loader()
        if market.as_of != as_of:
            raise DataError(
                f"the market is known at {format_instant(market.as_of)}, not at the instant asked for",
                where=format_instant(as_of),
                hint="this is a fault of the caller: cut the market at the instant first",
            )
        results = [who.scan(market, name, scanner) for name, scanner in scanners.items()]
        superset = consolidate(as_of, head, who.provider, results, key, asked=who.asked, fallback=who.fallback)
        save(superset, path)
        return path, superset


def _read(path: Path, key: str, who: ScanProvider) -> Superset:
    """Return a superset that was written before, once it answers for this key and its counts are its records'."""
    superset = load(Superset, path)
    answered = ScanProvider(superset.provider, asked=superset.asked, fallback=superset.fallback)
    if (superset.key, answered.name, superset.asked) != (key, who.name, who.asked):
        raise differs(path, "it answers for another definition than its name says")
    atoms = [_atom(candidate) for candidate in superset.candidates]
    found = sum(count.kept for count in superset.scanners)
    told = {count.scanner: count.kept for count in superset.scanners}
    names = [name for candidate in superset.candidates for name in candidate.scanners]
    for what, said, counted in (
        ("unique atoms", superset.unique_atoms, len(atoms)),
        ("records", len(atoms), len(set(atoms))),
        ("merged duplicates", superset.duplicates_merged, found - len(atoms)),
        ("scanners' candidates", told, {name: names.count(name) for name in told}),
        ("names of scanners", len(names), found),
    ):
        if said != counted:
            raise differs(path, f"it tells of {said} {what}, and there are {counted}")
    return superset


def differs(where: Path | str, what: str) -> IntegrityError:
    """Return the refusal of a superset; the file is left as it is."""
    hint = "somebody changed that file; look at it, move its folder away, and run again: it is scanned anew"
    return IntegrityError(
        f"the superset is not to be trusted: {what}", where=str(where), hint=hint, code=SUPERSET_DIFFERS
    )
