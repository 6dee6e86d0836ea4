"""What became of one coin in a run: its audit, its fates, its weights, and what the pinned lake says of its data.

Every coin of the lake has an answer, the benchmark and those that no scanner found too; the first line says it all.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from pydantic import Field

from assay.base.domain import check_symbol, symbol_of
from assay.base.errors import AssayError, UsageError
from assay.lake.snapshot import Snapshot, pin
from assay.market.holes import COIN, MARKET, REFUSED
from assay.market.kinds import ListedKinds
from assay.market.panel import Market
from assay.market.universe import excluded, market_metadata
from assay.runs import artifacts as layout
from assay.runs.documents import Contributor, Document, Drop, Fate, SymbolHealth
from assay.runs.request import Request
from assay.runs.run import Run
from assay.screening.nobody import WORDS
from assay.screening.provider import who_answered
from assay.screening.scanner import ScanResult
from assay.settings.model import SCAN_DAYS, Scanner

NOT_IN_LAKE = "NOT_IN_LAKE"
"""The lake that a run read has nothing of a coin, so that there is nothing to ask."""
NO_BAR = "no_bar"
NOT_ANSWERED = "not_answered"
CLOSE = 3
"""Symbols that a refusal offers."""
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


class Condition(Document):
    """A condition of a scanner that has a number, and what the coin has of it."""

    what: str
    value: float | None
    wants: str
    bound: float
    holds: bool


class Scanned(Document):
    """What one scanner made of a coin at the decision."""

    reason: str | None
    """The condition that took it; None where it was found."""
    said: str
    """The same in words, with value and bound."""
    rank: int | None
    """Among those that matched, best first."""
    matched: int
    limit: int
    conditions: list[Condition]
    """All of them, also those after the one that took it."""


class CoinData(Document):
    """What the pinned lake says of a coin at the decision."""

    bars: int
    """In the window."""
    refused: dict[str, int]
    """Rows of the window in quarantine, by reason."""
    missing: list[MissingDays]
    scanned: dict[str, Scanned]
    """What each of the profile's scanners made of it; empty where the run has no candidates."""
    left_out: str | None
    """Why the exchange's metadata leave it out."""


class Why(Document):
    """Everything that a run's artifacts say of one coin."""

    symbol: str
    answer: str
    """In one line."""
    benchmark: bool = False
    """It is what the run is measured by, and is kept in its market whatever scanners say."""
    book: dict[str, float] = Field(default_factory=dict)
    """Risk profile to the signed share of NAV that all tranches hold, of earlier decisions too."""
    fates: list[Fate]
    health: list[SymbolHealth]
    dropped: list[Drop]
    weights: dict[str, float]
    """Risk profile to signed share of the account, as decided."""
    data: CoinData | None = None
    """None where the lake has nothing of the coin, or is not there."""
    contributors: dict[str, list[Contributor]] = Field(default_factory=dict)
    """Of a portfolio: risk profile to what each sleeve's atoms give to the coin, and what is held of it."""
    sleeves: dict[str, Why] = Field(default_factory=dict)
    """Of a portfolio: run id of each sleeve that knows the coin to what became of it there."""


def why(folder: Path, symbol: str) -> Why:
    """Read what became of a coin in a run; of a portfolio, in each of its sleeves.

    Parameters
    ----------
    symbol : str
        ``BINANCE:SOLUSDT``; ``SOLUSDT`` and ``SOL/USDT`` are of the exchange of the run's scanners.

    Raises
    ------
    UsageError
        ``NOT_IN_LAKE`` if the coin was no candidate of the run, and the lake that it read has nothing of it; of a
        portfolio, if that is so in all of its sleeves.
    IntegrityError
        If the run has no selection, or an artifact is damaged.
    """
    run = Run(folder)
    symbol = check_symbol(symbol_of(symbol, exchange_of(run)))
    return _of_portfolio(run, symbol) if run.kind == "meta" else _of_sleeve(run, symbol)


def exchange_of(run: Run) -> str:
    """Return the exchange of a run's pairs: that of its scanners."""
    while run.kind == "meta":
        [first, *_] = [one.run_id for one in run.of_portfolio.pins if one.run_id]
        run = run.beside(first)
    request = run.of_sleeve
    return request.scanners[request.profile.scanners[0]].universe.exchange


def _of_portfolio(run: Run, symbol: str) -> Why:
    books = run[layout.META_CONTRIBUTORS].profiles if run.has(layout.META_CONTRIBUTORS) else {}
    parts = {name: [one for one in book.contributors if one.Symbol == symbol] for name, book in books.items()}
    sleeves = {}
    refusal: UsageError | None = None
    for one in run.accepted:
        try:
            sleeves[one.run_id] = why(run.beside(one.run_id).folder, symbol)
        except UsageError as error:  # this sleeve's lake has nothing of the coin
            refusal = error
    if refusal is not None and not sleeves:
        raise refusal
    weights = _weights(run, symbol)
    answer = _held(run, weights) or "not held: no sleeve that was accepted holds it"
    if not any(weights.values()) and any(own.weights for own in sleeves.values()):
        answer = "not held: sleeves that hold it have no weight, or their weights of it cancel out"
    book = _book(run, symbol)
    return Why(
        symbol=symbol,
        answer=_with_book(answer, book),
        book=book,
        benchmark=any(own.benchmark for own in sleeves.values()),
        fates=[],
        health=[],
        dropped=[],
        weights=weights,
        contributors={name: found for name, found in parts.items() if found},
        sleeves=sleeves,
    )


def _weights(run: Run, symbol: str) -> dict[str, float]:
    profiles = run[layout.FLATTENED].profiles if run.has(layout.FLATTENED) else {}
    return {
        name: asset.Net_Weight for name, book in profiles.items() for asset in book.assets if asset.Symbol == symbol
    }


def _book(run: Run, symbol: str) -> dict[str, float]:
    profiles = run[layout.HOLDINGS].profiles if run.has(layout.HOLDINGS) else {}
    return {
        name: asset.Net_Weight for name, book in profiles.items() for asset in book.assets if asset.Symbol == symbol
    }


def _held(run: Run, weights: dict[str, float]) -> str:
    """Say by which risk profiles a coin is held; empty where by none."""
    held = {name: weight for name, weight in weights.items() if weight}
    n = len(run[layout.FLATTENED].profiles) if held else 0
    told = ", ".join(f"{name} {weight:+.4f}" for name, weight in held.items())
    return f"wanted by {len(held)} of {n} risk profiles: {told}" if held else ""


def _with_book(answer: str, book: dict[str, float]) -> str:
    """Add what earlier decisions left of a coin that this one does not want."""
    held = {name: weight for name, weight in book.items() if weight}
    if not held or answer.startswith("wanted"):
        return answer
    told = ", ".join(f"{name} {weight:+.4f}" for name, weight in held.items())
    return f"{answer}; the book still holds it by earlier decisions: {told}"


def _of_sleeve(run: Run, symbol: str) -> Why:
    health = run[layout.HEALTH] if run.has(layout.HEALTH) else None
    audit = run[layout.SELECTION] if run.has(layout.SELECTION) else None
    snapshot, market, fault = _market(run)
    found = Why(
        symbol=symbol,
        answer="",
        book=_book(run, symbol),
        benchmark=symbol == run.of_sleeve.profile.benchmark,
        fates=[fate for fate in audit.fates if fate.symbol == symbol] if audit else [],
        health=[entry for entry in health.symbols if entry.symbol == symbol] if health else [],
        dropped=[drop for drop in (*health.missing, *health.dropped) if drop.name == symbol] if health else [],
        weights=_weights(run, symbol),
        data=None if snapshot is None or market is None else _data(run, snapshot, market, symbol),
    )
    if market is not None and not (found.fates or found.health or found.dropped or found.data):
        raise _unknown(run, market, symbol)
    return found.model_copy(update={"answer": _with_book(_answer(run, found, fault), found.book)})


def _answer(run: Run, found: Why, fault: str) -> str:
    """Say in one line what became of a coin in a sleeve, by the last thing that happened to it."""
    if held := _held(run, found.weights):
        return held
    fates = "; ".join(
        f"{one.logic} {one.direction}: {one.stage}: {one.reason}{f' ({one.detail})' if one.detail else ''}"
        for one in found.fates
    )
    unweighed = list(dict.fromkeys(_without_weight(run, found.symbol)))
    if any(one.reason == "winner" for one in found.fates):
        return f"chosen, and not held: {'; '.join(unweighed) or 'the run did not weigh it'}"
    if found.fates:
        return f"a candidate, and not chosen: {fates}"
    if found.dropped:
        return f"not in the run, for its data: {'; '.join(_words(one) for one in found.dropped)}"
    if not run.has(layout.RAW):
        return "the run ended before it had candidates"
    scanned = found.data.scanned if found.data is not None else {}
    missed = {name: one.said for name, one in scanned.items() if one.reason is not None}
    if missed:
        return f"no candidate: {'; '.join(f'{name}: {said}' for name, said in missed.items())}"
    if scanned:
        return "a candidate, and the run ended before it chose"
    raw = run[layout.RAW]
    named = [(one.scanner, why) for one in raw.scanners for why, names in one.names.items() if found.symbol in names]
    named += [(one.scanner, one.reason) for one in raw.invalid_records if one.symbol == found.symbol]
    named += [(one.scanner, f"gave way to {one.into}") for one in raw.merged_quotes if one.symbol == found.symbol]
    if named:
        return f"no candidate: {'; '.join(f'{name}: {_reason(said)}' for name, said in named)}"
    if fault:
        return f"no candidate; the lake that the run read cannot be asked why: {fault}"
    return f"no candidate: it is not among the answers of {raw.provider}"


def _words(drop: Drop) -> str:
    return f"{drop.reason}{f' ({drop.detail})' if drop.detail else ''}"


def _reason(code: str) -> str:
    return f"{code}, one of those that {WORDS[code]}" if code in WORDS else code


def _without_weight(run: Run, symbol: str) -> Iterator[str]:
    """Say what happened to a winner that was weighed, or dropped on the way to it."""
    if run.has(layout.ENRICHED):
        own = [one for one in run[layout.ENRICHED].dropped if one.name.startswith(f"{symbol}_")]
        yield from (f"enrichment: {_words(one)}" for one in own)
    if not (run.has(layout.OPTIMIZED) and run.has(layout.RISK)):
        return
    losing = run[layout.RISK].loss_makers
    for name, book in run[layout.OPTIMIZED].profiles.items():
        for asset in book.assets:
            if asset.Symbol == symbol and asset.Atom in losing:
                yield f"guard: it lost money of late (mean net return {losing[asset.Atom]:.6f} a day), its cap is 0"
            elif asset.Symbol == symbol and not asset.Weight:
                yield f"{name}: {book.solver.name} {book.solver.status} gave it no weight"


def _market(run: Run) -> tuple[Snapshot | None, Market | None, str]:
    """Open what the run knew of the lake at its decision; nothing where the lake is gone, with the reason."""
    try:
        request = run.of_sleeve
        snapshot = pin(request.lake_folder, request.head)
        return snapshot, snapshot.market(request.as_of, SCAN_DAYS), ""
    except AssayError as error:
        return None, None, error.what


def _unknown(run: Run, market: Market, symbol: str) -> UsageError:
    """Return the refusal of a symbol that the lake has nothing of."""
    by_base = {base: known for known, base, _ in market_metadata(market)} | {
        known.partition(":")[2]: known for known in market.symbols
    }
    near = get_close_matches(symbol, market.symbols, CLOSE, 0.8)
    near += [by_base[one] for one in get_close_matches(symbol.partition(":")[2], list(by_base), CLOSE, 0.8)]
    listed = list(dict.fromkeys(near))[:CLOSE]
    return UsageError(
        f"{symbol} is not in the lake that the run read: no bar and no refused row of it, among"
        f" {len(market.symbols)} symbols",
        where=run.folder.name,
        hint=f"did you mean {', '.join(listed)}?" if listed else "write it as its source does, such as BINANCE:BTCUSDT",
        code=NOT_IN_LAKE,
    )


def _data(run: Run, snapshot: Snapshot, market: Market, symbol: str) -> CoinData | None:
    """Look at the coin in the lake that the run read; None where it has nothing of it."""
    request = run.of_sleeve
    refused = market.refused().filter(symbol=symbol)
    if symbol not in market.index and refused.is_empty():
        return None
    out = ListedKinds(market.instruments).at(market.as_of).get(symbol)
    provider = run[layout.RAW].provider if run.has(layout.RAW) else None
    return CoinData(
        bars=int((market.listing[:, market.index[symbol]] >= 0).sum()) if symbol in market.index else 0,
        refused=dict(refused["reason"].value_counts().sort("reason").iter_rows()),
        missing=_missing(market, symbol) if symbol in market.index else [],
        scanned={} if provider is None else scanned(provider, snapshot, market, symbol, request),
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


def scanned(provider: str, snapshot: Snapshot, market: Market, symbol: str, request: Request) -> dict[str, Scanned]:
    """Ask each scanner of a profile again what it made of a coin, from the pinned lake.

    Parameters
    ----------
    provider : str
        Who answered the run.
    snapshot, market : Snapshot, Market
        The lake as it was pinned, and what was known of it at the decision.
    """
    asked = request.scanners if request.profile.pool == "superset" else request.profile.scanners
    ask = who_answered(provider, snapshot, market, request.scanners)
    if ask is None:
        return {}
    found = {}
    for name in sorted(asked):
        scanner = request.scanners[name]
        result = ask(market, name, scanner)
        reason, rank = result.reason(symbol), result.rank(symbol)
        if reason is None and rank is None:
            reason = NO_BAR if provider == "ratings" else NOT_ANSWERED
        found[name] = Scanned(
            reason=reason,
            said=_told(market, symbol, scanner, result, reason),
            rank=rank,
            matched=result.count.matched,
            limit=scanner.limit,
            conditions=_conditions(symbol, result),
        )
    return found


def _conditions(symbol: str, result: ScanResult) -> list[Condition]:
    if symbol not in result.symbols:
        return []
    column = result.symbols.index(symbol)
    return [
        Condition(
            what=floor.what,
            value=None if np.isnan(floor.values[column]) else float(floor.values[column]),
            wants=floor.wants,
            bound=floor.bound,
            holds=not floor.fails()[column],
        )
        for floor in result.floors
    ]


def _told(market: Market, symbol: str, scanner: Scanner, result: ScanResult, reason: str | None) -> str:
    """Say what a scanner made of a coin: the condition, its value and its bound."""
    rank = f"rank {result.rank(symbol)} of {result.count.matched} that matched, limit {scanner.limit}"
    if reason is None:
        return f"found, {rank}"
    if reason == NO_BAR:
        return f"no bar of {market.days[-1]}{_last_bar(market, symbol)}"
    if reason == NOT_ANSWERED:
        return "not among what the screener answered, which names only those that match"
    for condition, floor in zip(_conditions(symbol, result), result.floors, strict=True):
        if floor.reason == reason:
            value = "none" if condition.value is None else f"{condition.value:.6g}"
            return f"{floor.what} is {value}, wanted is {floor.wants} {floor.bound:.6g}"
    column, universe = market.index.get(symbol), scanner.universe
    merged = [f"gave way to {one.into}: {one.reason}" for one in result.merged if one.symbol == symbol]
    invalid = [one.reason for one in result.invalid if one.symbol == symbol]
    bars = 0 if column is None else int((market.listing[:, column] == market.listing[-1, column]).sum())
    out = ListedKinds(market.instruments).at(market.as_of).get(symbol)
    base = next((one for known, one, _ in market_metadata(market) if known == symbol), None)
    listed = excluded(base or _base(symbol, universe.quotes), market.days[-1].astype("datetime64[D]").item())
    said = {
        "limit": rank,
        "exchange": f"of {symbol.partition(':')[0]}, and universe.exchange is {universe.exchange}",
        "quote": f"its quote is none of universe.quotes, {', '.join(universe.quotes)}",
        "only": f"it is none of universe.only, {', '.join(universe.only)}",
        "without": f"universe.without names it: {', '.join(universe.without)}",
        "history": f"{bars} bars of this listing, and universe.min_bars is {universe.min_bars}",
        "unrated": f"no {result.floors[-1].what} after {bars} bars of this listing",
    }
    own = [*merged, *invalid] or [one.reason for one in (out, listed) if one is not None and one.kind == reason]
    return said.get(reason) or "; ".join(own) or _reason(reason)


def _base(symbol: str, quotes: tuple[str, ...]) -> str:
    pair = symbol.partition(":")[2]
    return next((pair.removesuffix(quote) for quote in quotes if pair.endswith(quote)), pair)


def _last_bar(market: Market, symbol: str) -> str:
    column = market.index.get(symbol)
    if column is None:
        return "; all of its rows were refused"
    there = np.flatnonzero(market.listing[:, column] >= 0)
    return f"; its last bar is of {market.days[there[-1]]}" if there.size else ""
