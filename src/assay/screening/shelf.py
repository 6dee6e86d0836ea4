"""The shelf of supersets in a lake's folder: each instant is scanned once, under its lock, and read by every run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path

from assay.base import files
from assay.base.domain import UTC, format_instant
from assay.base.errors import DataError, IntegrityError
from assay.market.panel import Market
from assay.runs.documents import Superset, load, save
from assay.screening.superset import Answerer, consolidate
from assay.settings.model import Scanner

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
    answerer: Answerer | None = None,
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
    answerer : Answerer, optional
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
    from assay.lake.lake import LOCK  # Delta Lake, which whoever only reads a superset does not need

    who = answerer or Answerer()
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
