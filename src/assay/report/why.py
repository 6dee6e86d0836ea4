"""What became of one coin in a run: its audit, its fates, its weights, and what the pinned lake says of its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from assay.base.domain import check_symbol
from assay.base.errors import AssayError, UsageError
from assay.lake.snapshot import pin
from assay.market.holes import COIN, MARKET, REFUSED
from assay.market.kinds import ListedKinds
from assay.market.panel import Market
from assay.runs import artifacts as layout
from assay.runs.documents import Contributor, Document, Drop, Fate, SymbolHealth
from assay.runs.request import Request
from assay.runs.run import Run
from assay.screening.nobody import WORDS
from assay.screening.scanner import scan
from assay.settings.model import SCAN_DAYS

_OWNERS = {
    COIN: "the coin alone lacks them",
    MARKET: "the whole market lacks them",
    REFUSED: "rows of them were refused",
}


class MissingDays(Document):
    """Days of the window that a coin lacks, of one owner."""

    owner: str
    days: int
    first: str
    last: str


class CoinData(Document):
    """What the pinned lake says of a coin at the decision."""

    bars: int
    """In the window."""
    refused: dict[str, int]
    """Rows of the window in quarantine, by reason."""
    missing: list[MissingDays]
    scanned: dict[str, str]
    """Why each of the profile's scanners did not find it; empty where others answered than our own ratings."""
    left_out: str | None
    """Why the exchange's metadata leave it out."""


class Why(Document):
    """Everything that a run's artifacts say of one coin."""

    symbol: str
    fates: list[Fate]
    health: list[SymbolHealth]
    dropped: list[Drop]
    weights: dict[str, float]
    """Risk profile to signed share of the account."""
    data: CoinData | None = None
    """None where the lake has nothing of the coin, or is not there."""
    contributors: dict[str, list[Contributor]] = Field(default_factory=dict)
    """Of a portfolio: risk profile to what each sleeve's atoms give to the coin, and what is held of it."""
    sleeves: dict[str, Why] = Field(default_factory=dict)
    """Of a portfolio: run id of each sleeve that knows the coin to what became of it there."""


def why(folder: Path, symbol: str) -> Why:
    """Read what became of a coin in a run; of a portfolio, in each of its sleeves.

    Raises
    ------
    UsageError
        If the coin was not a candidate of the run, and the lake that it read has nothing of it; of a portfolio, if
        that is so in all of its sleeves.
    IntegrityError
        If the run has no selection, or an artifact is damaged.
    """
    check_symbol(symbol)
    run = Run(folder)
    found = _of_portfolio(run, symbol) if run.kind == "meta" else _of_sleeve(run, symbol)
    if not (found.fates or found.health or found.dropped or found.data or found.sleeves):
        raise UsageError(
            f"{symbol} was not a candidate of this run, and its lake has no bar and no refused row of it",
            where=folder.name,
            hint="scanners are listed by: assay profiles list; coins of the lake by: assay ingest",
        )
    return found


def _of_portfolio(run: Run, symbol: str) -> Why:
    books = run[layout.META_CONTRIBUTORS].profiles if run.has(layout.META_CONTRIBUTORS) else {}
    parts = {name: [one for one in book.contributors if one.Symbol == symbol] for name, book in books.items()}
    sleeves = {}
    for one in run.accepted:
        try:
            sleeves[one.run_id] = why(run.beside(one.run_id).folder, symbol)
        except UsageError:
            continue  # this sleeve's lake has nothing of the coin
    return Why(
        symbol=symbol,
        fates=[],
        health=[],
        dropped=[],
        weights=_weights(run, symbol),
        contributors={name: found for name, found in parts.items() if found},
        sleeves=sleeves,
    )


def _weights(run: Run, symbol: str) -> dict[str, float]:
    profiles = run[layout.FLATTENED].profiles if run.has(layout.FLATTENED) else {}
    return {
        name: asset.Net_Weight for name, book in profiles.items() for asset in book.assets if asset.Symbol == symbol
    }


def _of_sleeve(run: Run, symbol: str) -> Why:
    health = run[layout.HEALTH]
    return Why(
        symbol=symbol,
        fates=[fate for fate in run[layout.SELECTION].fates if fate.symbol == symbol],
        health=[entry for entry in health.symbols if entry.symbol == symbol],
        dropped=[drop for drop in (*health.missing, *health.dropped) if drop.name == symbol],
        weights=_weights(run, symbol),
        data=_data(run, symbol),
    )


def _data(run: Run, symbol: str) -> CoinData | None:
    """Look at the coin in the lake that the run read; a lake that is gone says nothing."""
    try:
        request = run.of_sleeve
        market = pin(request.lake_folder, request.head).market(request.as_of, SCAN_DAYS)
    except AssayError:
        return None
    refused = market.refused().filter(symbol=symbol)
    if symbol not in market.index and refused.is_empty():
        return None
    out = ListedKinds(market.instruments).at(market.as_of).get(symbol)
    own = run.has(layout.RAW) and run[layout.RAW].provider == "ratings"
    return CoinData(
        bars=int((market.listing[:, market.index[symbol]] >= 0).sum()) if symbol in market.index else 0,
        refused=dict(refused["reason"].value_counts().sort("reason").iter_rows()),
        missing=_missing(market, symbol) if symbol in market.index else [],
        scanned=_scanned(market, symbol, request) if own else {},
        left_out=None if out is None else out.reason,
    )


def _missing(market: Market, symbol: str) -> list[MissingDays]:
    """Return the days since its first bar that a coin lacks, by owner."""
    column = market.index[symbol]
    begun = np.maximum.accumulate(market.listing[:, column] >= 0)
    found = []
    for owner, words in _OWNERS.items():
        days = market.days[begun & (market.holes[:, column] == owner)]
        if days.size:
            found.append(MissingDays(owner=words, days=int(days.size), first=str(days[0]), last=str(days[-1])))
    return found


def _scanned(market: Market, symbol: str, request: Request) -> dict[str, str]:
    """Return which condition of each scanner of the profile took the coin."""
    found = {}
    for name in sorted(request.profile.scanners):
        result = scan(market, name, request.scanners[name])
        reason = result.reason(symbol)
        if reason is not None:
            found[name] = f"{reason}, one of those that {WORDS[reason]}" if reason in WORDS else reason
        elif symbol not in {candidate.symbol for candidate in result.candidates}:
            found[name] = f"no bar of {market.days[-1]}"
    return found
