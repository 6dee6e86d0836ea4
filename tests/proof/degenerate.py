"""Decide in a universe that no one would choose, by the code that ingests, rates and pins, and say how it ended."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from constraints import breaches
from universes import FIRST, Universe, raw_bars

from assay.alpha.synthesis import synthetic_frame
from assay.backtest.decision import Decision, decide, prepare
from assay.base import files
from assay.base.domain import DAY, UTC, format_instant
from assay.base.errors import AssayError, Exit
from assay.gates.contract import Violation
from assay.gates.returns import check_l0, check_l3
from assay.gates.scores import check_l2
from assay.gates.weights import check_l4
from assay.lake.compare import compare
from assay.lake.head import Head
from assay.lake.snapshot import InMemorySnapshot
from assay.lake.storage import Folder
from assay.market.bars import CheckedBars, check
from assay.market.panel import Market
from assay.market.schema import BARS, INSTRUMENTS
from assay.ratings import rate
from assay.risk import allocate as documents
from assay.risk.flatten import flatten
from assay.runs.documents import Flattened, Optimized
from assay.settings import load
from assay.settings.model import Profile, Scanner

SMALL: Mapping[str, Any] = {
    "data": {"lookback": 80, "floor": 20, "estimation_rows": 40, "min_rows": 15, "coverage": 0.5},
    "selection": {"feature_bars": 30, "cluster_windows": (10, 20, 40)},
    "walk_forward": {"train": 25, "hold": 10, "step": 10, "days": 20},
}
"""Settings that let few days carry a decision; each within the ranges of :mod:`assay.settings.model`."""

LENIENT = {"entropy": 10.0, "efficiency": 0.0, "kurtosis": 1e9, "volatility": 1e9}
FREE = {"fee": 0.0, "slippage": 0.0, "borrow": 0.0}


@lru_cache(maxsize=8)
def _canon(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    catalog = load()
    scanners = {key: scanner.model_dump() for key, scanner in catalog.scanners().items()}
    return catalog.profile(name).model_dump(), scanners


def profile_of(universe: Universe) -> Profile:
    """Return the canonical profile of a universe, shrunk where its days are few, with the universe's own settings."""
    plain, _ = _canon(universe.profile)
    chosen = dict(universe.settings)
    small = SMALL if universe.days < plain["data"]["floor"] else {}
    selection = {**plain["selection"], **small.get("selection", {})}
    if chosen.pop("lenient", False):
        selection["vetoes"] = LENIENT
    costs = {**plain["costs"], **(FREE if chosen.pop("free", False) else {})}
    groups = {name: {**plain[name], **values} for name, values in small.items()} | {"selection": selection}
    for name in ("guard", "caps"):
        groups[name] = {**plain[name], **chosen.pop(name, {})}
    return Profile.model_validate({**plain, **groups, "costs": costs, **chosen})


def scanners_of(universe: Universe) -> dict[str, Scanner]:
    """Return the canonical scanners; where days are few, they ask for as many bars as :data:`SMALL` can do with."""
    profile, plain = _canon(universe.profile)
    small = {"min_bars": SMALL["data"]["floor"]} if universe.days < profile["data"]["floor"] else {}
    return {
        name: Scanner.model_validate({**scanner, "universe": {**scanner["universe"], **small}})
        for name, scanner in plain.items()
    }


NOW = dt.datetime(2025, 1, 1, tzinfo=UTC)
"""When the bars are read; all of them have closed by then."""


def market_of(raw: pl.DataFrame, universe: Universe) -> Market:
    """Judge, rate and lay out raw bars, as an ingestion and a pinned snapshot do.

    Raises
    ------
    SourceError
        If no row is usable, or the interval cannot be told.
    """
    checked = check(raw, where=str(universe), source="parquet", now=NOW)
    bars = compare(pl.DataFrame(schema=BARS), checked.bars, checked.rejected, complete=True).bars
    tables = {"bars": bars, "ratings": rate(bars, checked.interval), "quarantine": checked.rejected}
    if "instruments" in universe.traits:
        tables["instruments"] = _instruments(bars["symbol"].unique().sort().to_list())
    nowhere = Path("universe")
    return InMemorySnapshot(nowhere, _head(checked), Folder(nowhere), tables).market()


def _head(checked: CheckedBars) -> Head:
    opened: Any = checked.bars["open_time"]
    return Head(
        head=1,
        tables={},
        rows={},
        source="universe",
        fingerprint="",
        interval=checked.interval,
        first_open=opened.min(),
        last_close=opened.max() + DAY,
        symbols=checked.bars["symbol"].n_unique(),
        findings=[],
    )


def _instruments(symbols: list[str]) -> pl.DataFrame:
    """Return an exchange's table that lacks every third symbol."""
    listed = [symbol for i, symbol in enumerate(symbols) if i % 3 != 1]
    known = {symbol: quote for symbol in listed for quote in ("USDT", "USDC", "USD") if symbol.endswith(quote)}
    rows = {
        "symbol": list(known),
        "base": [symbol.partition(":")[2].removesuffix(quote) for symbol, quote in known.items()],
        "quote": list(known.values()),
        "status": ["TRADING"] * len(known),
        **{name: [0.01] * len(known) for name in ("tick_size", "step_size", "min_qty", "min_notional")},
        "margin_allowed": [True] * len(known),
        "spot_allowed": [True] * len(known),
        "permissions": ["MARGIN SPOT"] * len(known),
        "valid_from": [FIRST] * len(known),
        "valid_to": [None] * len(known),
    }
    return pl.DataFrame(rows, schema=dict(INSTRUMENTS))


ONE_NAME = "L0_DUPLICATE_COLUMN"
"""Two symbols that are one in Unicode's normal form: a contract refuses them, and with them the run."""


@dataclass(frozen=True)
class Ending:
    """How a decision in a universe ended.

    Attributes
    ----------
    outcome : str
        ``PORTFOLIO``, ``ALL_CASH`` (every atom is a loss maker), the reason of a decision to stay in cash, or the code
        of the error that refused the universe.
    faults : tuple of str
        Constraints that do not hold; contracts that fail; anything that differs when it is done again.
    events : tuple of str
        Codes of what was told, sorted, each once.
    """

    outcome: str
    faults: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


def attempt(universe: Universe) -> Ending:
    """Decide twice, the second time from rows in another order, and check everything.

    An error of ours with exit code 1 or 4 is an ending; any other passes through.
    """
    raw = raw_bars(universe)
    first = _decided(universe, raw)
    second = _decided(universe, raw.reverse())
    if isinstance(first, AssayError) or isinstance(second, AssayError):
        return _refused(first, second)
    market, decision = first
    profile, scanners = profile_of(universe), scanners_of(universe)
    faults = breaches(decision, market, profile, scanners)
    if fingerprint(decision) != fingerprint(second[1]):
        faults.append("rows in another order, another decision")
    broken = _contracts(decision, market, profile)
    refused = {fault.code for fault in broken} == {ONE_NAME}  # a run with such a pair ends here, by name
    faults += [] if refused else [f"{fault.code} {fault.where}: {fault.what}" for fault in broken]
    return Ending(ONE_NAME if refused else _outcome(decision), tuple(faults), tuple(sorted(_events(decision))))


def _decided(universe: Universe, raw: Any) -> tuple[Market, Decision] | AssayError:
    try:
        market = market_of(raw, universe)
        return market, decide(market, profile_of(universe), scanners_of(universe))
    except AssayError as error:
        if error.exit_code not in {Exit.FAILED, Exit.SOURCE}:
            raise
        return error


def _refused(first: object, second: object) -> Ending:
    error = first if isinstance(first, AssayError) else second
    assert isinstance(error, AssayError)
    codes = [one.code if isinstance(one, AssayError) else "decided" for one in (first, second)]
    faults = () if codes[0] == codes[1] else (f"rows in another order, another ending: {codes}",)
    named = error.what and error.hint
    return Ending(error.code, faults if named else (*faults, "the error says not what to do"))


def _outcome(decision: Decision) -> str:
    if decision.reason is not None:
        return decision.reason
    held = any(book.weights.any() for book in (decision.guarded_on_atoms or {}).values())
    return "PORTFOLIO" if held else "ALL_CASH"


def _events(decision: Decision) -> set[str]:
    if decision.state is None:
        return set()
    books = [*(decision.guarded_on_atoms or {}).values(), *(decision.unguarded_on_atoms or {}).values()]
    return {event.code for event in (*decision.state.events, *(e for book in books for e in book.events))}


def fingerprint(decision: Decision) -> str:
    """Return the content hash of everything that a decision says."""
    selection = decision.selection
    said: dict[str, Any] = {
        "candidates": [one.model_dump(mode="json") for one in decision.discovery.candidates],
        "audit": selection.audit().model_dump(mode="json") if selection is not None else None,
    }
    if decision.state is not None:
        said["risk"] = documents.risk_analysis(decision.state).model_dump(mode="json")
        said["weights"] = _optimized(decision).model_dump(mode="json")
    return files.content_hash_json(files.as_json(said))


def _optimized(decision: Decision) -> Optimized:
    state = decision.state
    assert state is not None

    def books(allocations: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: documents.optimized_profile(state, one) for name, one in (allocations or {}).items()}

    return Optimized(
        as_of=format_instant(decision.as_of),
        profiles=books(decision.guarded_on_atoms),
        unguarded=books(decision.unguarded_on_atoms),
    )


def _contracts(decision: Decision, market: Market, profile: Profile) -> list[Violation]:
    """Hand the tables of a decision to the contracts of L0, L2, L3 and L4, as a run's steps do."""
    if decision.selection is None:
        return []
    known = market.until(market.as_of, profile.data.lookback)
    matrix = prepare(known, decision.discovery.candidates, profile)
    results = [check_l0(matrix.to_frame(), benchmark=profile.benchmark, floor=profile.data.floor)]
    if decision.selection.atoms:
        scores = decision.selection.inference_frame()
        results.append(check_l2(scores, [atom.id for atom in decision.selection.atoms]))
    state = decision.state
    if state is not None:
        frame = synthetic_frame(matrix, state.atoms)
        results.append(check_l3(frame, matrix.to_frame(), state.atoms, profile.direction))
        optimized = _optimized(decision)
        flattened = {
            name: flatten(state.atoms, one.weights.tolist(), state.labels.tolist())
            for name, one in (decision.guarded_on_atoms or {}).items()
        }
        document = Flattened(as_of=optimized.as_of, profiles=flattened)
        results.append(check_l4(optimized, document, matrix.symbols, profile.risk.risk_profiles))
    return [violation for result in results for violation in result.violations]
