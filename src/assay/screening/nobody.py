"""Why a scan found nobody: one message with the instant, the data's end, and how many coins each condition took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from assay.base.domain import format_instant
from assay.lake.snapshot import Snapshot
from assay.market.kinds import REASONS
from assay.market.panel import Market
from assay.runs.documents import ScannerCount
from assay.screening.scanner import healthy

NO_UNIVERSE = "NO_UNIVERSE"
"""No coin passed all that is asked before its rating: this is no day without candidates, but nothing to ask."""
NO_CANDIDATES = "NO_CANDIDATES"
STRANGERS = ("invalid", "exchange", "quote", *REASONS, "only", "without")
"""Conditions that say who a pair is, and not how it does."""
WORDS = {
    "invalid": "cannot be read",
    "exchange": "are of another exchange",
    "quote": "are in another quote",
    "unknown_group": "are in a trade group that no well-known coin is in",
    "not_spot": "are not open to spot orders",
    "not_trading": "do not trade",
    "only": "are not among universe.only",
    "without": "are left out by universe.without",
    "value_traded": "trade less than the floor of value traded",
    "volatility": "move less than the floor of volatility",
    "unrated": "have no rating",
    "history": "have too few bars",
    "rating": "are not rated to its side",
}
_HINT = "choose another date"
_HINTS = {
    "invalid": "write symbols as BINANCE:BTCUSDT",
    "exchange": "set universe.exchange to the exchange of the symbols",
    "quote": "set universe.quotes to the quotes of the symbols",
    "only": "name coins of the data in universe.only, as BTC or BINANCE:BTCUSDT",
    "without": "name fewer coins in universe.without",
    "value_traded": f"look at the column quote_volume, or lower min_value_traded; else {_HINT}",
    "unrated": f"load earlier bars; else {_HINT}",
    "history": f"load earlier bars, or lower universe.min_bars; else {_HINT}",
}


class Nobody(NamedTuple):
    """Why there is no candidate."""

    code: str
    what: str
    hint: str
    facts: Mapping[str, Any]
    """The same for machines: as_of, last_close, universe, symbols, and what each scanner dropped by condition."""


def nobody(
    scanners: Sequence[ScannerCount], market: Market, snapshot: Snapshot, own: Iterable[ScannerCount] = ()
) -> Nobody:
    """Say why scanners found nobody at a market's instant.

    Parameters
    ----------
    scanners : sequence of ScannerCount
        What became of each scanner's universe.
    market : Market
        What was known at the decision.
    snapshot : Snapshot
        The pinned state of the lake.
    own : iterable of ScannerCount
        What our own ratings say: a screener answers with matches only, and cannot tell a healthy universe from none.
    """
    as_of, last = format_instant(market.as_of), format_instant(snapshot.last_close())
    dropped = {one.scanner: {reason: n for reason, n in one.dropped.items() if n} for one in scanners}
    universe = max((one.universe for one in scanners), default=0)
    facts = {
        "as_of": as_of,
        "last_close": last,
        "universe": universe,
        "symbols": len(market.symbols),
        "dropped": dropped,
    }
    strangers = all(sum(one.dropped.get(reason, 0) for reason in STRANGERS) == one.universe for one in scanners)
    found = f"{universe} of {len(market.symbols)} pairs have a bar that day"
    if last != as_of:
        found += f", the lake's last bar closed at {last}"
    told = "; ".join(f"{name}: {_took(counts)}" for name, counts in dropped.items() if counts)
    what = f"the scan found nobody as of {as_of}: {found}" + (f"; of these, {told}" if told else "")
    worst = max(((n, reason) for counts in dropped.values() for reason, n in counts.items()), default=(0, ""))[1]
    code = NO_CANDIDATES if healthy(scanners) or healthy(own) else NO_UNIVERSE
    hint = _HINTS.get(worst, _HINT)
    if not universe:
        hint = "choose a day on which coins have bars; look at: assay doctor"
    elif strangers and worst not in _HINTS:
        hint = "give a source of spot pairs of coins"
    return Nobody(code, what, hint, facts)


def _took(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {WORDS.get(reason, f'are dropped as {reason}')}" for reason, n in counts.items())
