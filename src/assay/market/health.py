"""Audits of the bars that a decision reads: each symbol's health, who is missing and why, and what a reader must know.

Nothing is mended here and nothing is filled: a day without a bar is no observation.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from assay.base.constants import LARGEST_RETURN, LISTING_ENDS_AFTER, Bools, Floats, Ints
from assay.base.domain import DAY, QUOTES, UTC, Instrument, format_instant, rating_column
from assay.base.errors import UsageError
from assay.market.holes import LONGEST_HOLE, MARKET, REFUSED
from assay.market.instruments import TRADING
from assay.market.panel import Market
from assay.market.returns import ReturnsMatrix
from assay.market.universe import excluded
from assay.runs.documents import Candidate, DataHealth, Drop, Finding, MergedQuote, SymbolHealth

FLAT_CLOSES = 5
"""So many identical closes with volume at the end are no market: a frozen price."""
HealthStatus = Literal["OK", "GAPS", "STALE", "MISSING", "TOXIC", "DELISTED"]
TOXIC_REASONS = ("NON_POSITIVE", "INCONSISTENT_OHLC")
"""Reasons of the quarantine that speak against a symbol, not only against a row."""


@dataclass(frozen=True)
class HealthFlags:
    """Health of every symbol of a market at once, as (n_symbols,) arrays that a rebalance can afford."""

    last: Ints
    """Row of the last bar, -1 where there is none."""
    overdue: Ints
    """Bars that have closed by ``as_of`` and are not there, at the end; all rows where there is no bar."""
    lacking: Ints
    """Of these bars, those that the coin alone lacks."""
    jumps: Bools
    """A day's return above 500 %, up or down."""
    broken: Bools
    """Non-positive or inconsistent prices in the window, or in the quarantine."""
    flat: Bools
    """The last five closes are identical and each has volume."""

    @cached_property
    def toxic(self) -> Bools:
        """A jump, broken prices or a frozen price."""
        return self.jumps | self.broken | self.flat

    @cached_property
    def stale(self) -> Bools:
        """No bar for 24 h past its close; delisted and missing symbols are stale too."""
        return self.overdue >= 1

    @cached_property
    def delisted(self) -> Bools:
        """Three or more days of its own are missing at the end, or more days than a listing outlives."""
        return ((self.lacking >= LISTING_ENDS_AFTER) | (self.overdue > LONGEST_HOLE)) & (self.last >= 0)


def health_flags(market: Market, quarantined: Mapping[str, str] | None = None) -> HealthFlags:
    """Examine every symbol of a market at once.

    Parameters
    ----------
    market : Market
        The window that the decision sees.
    quarantined : mapping of str to str, optional
        Symbol to the reasons of its rows in quarantine.

    Returns
    -------
    HealthFlags
        ``toxic`` and ``stale`` are the vetoes.
    """
    rows = len(market.days)
    signs, begin, end = market.by_day(_signs)
    last = np.maximum(signs.last[end - 1] - begin, -1)
    broken = signs.faults[end] > signs.faults[begin]
    for symbol, reasons in (quarantined or {}).items():
        if symbol in market.index and speaks_against(reasons):
            broken[market.index[symbol]] = True
    overdue = lacking = expected_row(market) - last
    if not market.undisturbed:
        others = (np.arange(rows)[:, None] > last) & ((market.holes == REFUSED) | (market.holes == MARKET))
        lacking = overdue - others.sum(axis=0)
    jumps = signs.jumps[end] > signs.jumps[min(begin + 1, end)]
    return HealthFlags(last, overdue, lacking, jumps, broken, _flat(market, last))


@dataclass(frozen=True)
class Signs:
    """What the days of a market say of its symbols."""

    last: Ints
    """(n_days, n_symbols): row of the last bar by then, -1 before the first."""
    faults: Ints
    jumps: Ints
    """(n_days + 1, n_symbols): how many days before each row had impossible prices, and a return above 500 %."""


def _signs(market: Market) -> Signs:
    bars = market.listing >= 0
    rows = np.arange(len(bars))[:, None]
    with np.errstate(invalid="ignore"):
        jumps = np.abs(market.returns()) > LARGEST_RETURN
    last = np.maximum.accumulate(np.where(bars, rows, -1), axis=0)
    return Signs(last, _before(_inconsistent(market, slice(None))), _before(jumps))


def _before(found: Bools) -> Ints:
    counted = np.zeros((len(found) + 1, found.shape[1]), dtype=np.int64)
    np.cumsum(found, axis=0, out=counted[1:])
    return counted


def speaks_against(reasons: str) -> bool:
    """Whether reasons of the quarantine speak against the symbol itself."""
    return not set(re.findall(r"[A-Z_]+", reasons)).isdisjoint(TOXIC_REASONS)


def expected_row(market: Market) -> int:
    """Return the row of the last bar that has closed by ``as_of``; it may lie behind the market's last day."""
    last_open = np.datetime64((market.as_of.astimezone(UTC) - DAY).replace(tzinfo=None), "D")
    return int((last_open - market.days[0]).astype(np.int64))


def closes_of(market: Market, columns: npt.NDArray[np.intp]) -> Market:
    """Return a market of some columns that holds their closes only."""
    return replace(
        market,
        symbols=tuple(market.symbols[i] for i in columns),
        fields={"close": market["close"][:, columns]},
        listing=market.listing[:, columns],
        unsound=None,
    )


def _inconsistent(market: Market, columns: slice) -> Bools:
    """Bars with prices that no market makes, (n_days, n_columns)."""
    open_, high, low, close = (market[field][:, columns] for field in ("open", "high", "low", "close"))
    with np.errstate(invalid="ignore"):
        faults = high < open_
        faults |= high < close
        faults |= low > open_
        faults |= low > close
        faults |= low <= 0
    return faults


def _flat(market: Market, last: Ints) -> Bools:
    """Columns whose last five bars have one listing, one close, and volume each; days without a bar do not count."""
    tail = last - np.arange(FLAT_CLOSES)[:, None]
    inside = (tail >= 0).all(axis=0)
    columns = np.arange(last.size)
    rows = np.maximum(tail, 0)
    whole = inside & (market.listing[rows, columns] >= 0).all(axis=0)
    result = np.zeros(last.size, dtype=np.bool_)
    result[whole] = _frozen(market, rows[:, whole], columns[whole])
    for column in np.flatnonzero(~whole & (last >= 0)):
        bars = np.flatnonzero(market.listing[:, column] >= 0)[-FLAT_CLOSES:]
        if bars.size == FLAT_CLOSES:
            result[column] = bool(_frozen(market, bars[:, None], np.array([column]))[0])
    return result


def _frozen(market: Market, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Bools:
    close, listing, volume = (of[rows, columns] for of in (market["close"], market.listing, market["volume"]))
    return np.asarray(((close == close[0]) & (listing == listing[0]) & (volume > 0)).all(axis=0))


def symbol_health(
    market: Market, symbols: Iterable[str], quarantined: Mapping[str, str], flags: HealthFlags | None = None
) -> list[SymbolHealth]:
    """Audit symbols one by one, with the cause in words.

    Where several hold, the status is the first of MISSING, TOXIC, DELISTED, STALE, GAPS; the cause tells all of them.

    Parameters
    ----------
    market : Market
        The window that the decision sees; staleness is measured from its ``as_of``.
    symbols : iterable of str
        What to audit; each once, in order.
    quarantined : mapping of str to str
        Symbol to the reasons of its rows in quarantine, as ``Market.rejections()`` gives them.
    flags : HealthFlags, optional
        Of :func:`health_flags` on the same market and quarantine, where they are at hand.
    """
    known = health_flags(market, quarantined) if flags is None else flags
    return [_symbol_health(market, known, symbol, quarantined.get(symbol)) for symbol in sorted(set(symbols))]


def _symbol_health(market: Market, flags: HealthFlags, symbol: str, quarantine: str | None) -> SymbolHealth:
    column = market.index.get(symbol)
    if column is None or flags.last[column] < 0:
        return _missing_health(market, symbol, quarantine)
    rows = np.flatnonzero(market.listing[:, column] >= 0)
    overdue = max(int(flags.overdue[column]), 0)
    gaps = int(rows[-1] - rows[0]) + 1 - rows.size
    findings: list[tuple[HealthStatus, str]] = []
    if flags.toxic[column]:
        findings.append(("TOXIC", _toxic_cause(market, flags, column, quarantine)))
    if overdue:
        cause = _overdue_cause(market, rows[-1], overdue) + _owned(market, column, slice(rows[-1], None))
        findings.append(("DELISTED" if flags.delisted[column] else "STALE", cause))
    if gaps:
        findings.append(("GAPS", _gaps_cause(market, column, rows, gaps)))
    whole = f"{rows.size} bars from {market.days[rows[0]]} to {market.days[rows[-1]]}, none missing"
    return SymbolHealth(
        symbol=symbol,
        status=findings[0][0] if findings else "OK",
        cause="; ".join(cause for _, cause in findings) or whole,
        observations=rows.size,
        first=str(market.days[rows[0]]),
        last=str(market.days[rows[-1]]),
        missing_days=gaps + overdue,
    )


def _window(market: Market) -> str:
    return f"the {market.days.size} days to {market.days[-1]}"


def _missing_health(market: Market, symbol: str, quarantine: str | None) -> SymbolHealth:
    aside = f"; rows in quarantine: {quarantine}" if quarantine else ""
    return SymbolHealth(
        symbol=symbol,
        status="MISSING",
        cause=f"no bar in {_window(market)}{aside}",
        observations=0,
        first=None,
        last=None,
        missing_days=expected_row(market) + 1,
    )


def _toxic_cause(market: Market, flags: HealthFlags, column: int, quarantine: str | None) -> str:
    causes = []
    if flags.jumps[column]:
        returns = closes_of(market, np.array([column])).returns()[:, 0]
        row = int(np.nanargmax(np.abs(returns)))
        close = market["close"][:, column]
        causes.append(
            f"return of {returns[row]:.0%} on {market.days[row]} ({close[row - 1]:.6g} to {close[row]:.6g}), "
            f"beyond {LARGEST_RETURN:.0%}"
        )
    if flags.broken[column]:
        causes.append(f"broken prices: {_broken_cause(market, column, quarantine)}")
    if flags.flat[column]:
        causes.append(_flat_cause(market, column))
    return "; ".join(causes)


def _broken_cause(market: Market, column: int, quarantine: str | None) -> str:
    days = market.days[_inconsistent(market, slice(column, column + 1))[:, 0]]
    seen = [f"{days.size} bars with non-positive or inconsistent prices, the last on {days[-1]}"] if days.size else []
    if quarantine and speaks_against(quarantine):
        seen.append(f"rows in quarantine: {quarantine}")
    return "; ".join(seen)


def _flat_cause(market: Market, column: int) -> str:
    rows = np.flatnonzero(market.listing[:, column] >= 0)
    close, volume = market["close"][rows, column], market["volume"][rows, column]
    listing = market.listing[rows, column]
    same = (close == close[-1]) & (volume > 0) & (listing == listing[-1])
    run = int(np.argmin(same[::-1])) if not same.all() else same.size
    return f"{run} identical closes of {close[-1]:.6g} with volume, from {market.days[rows[-run]]} to the end"


def _overdue_cause(market: Market, row: np.intp, overdue: int) -> str:
    closed = dt.datetime.combine(market.days[row].astype("datetime64[D]").item(), dt.time(), UTC) + DAY
    hours = (market.as_of - closed) / dt.timedelta(hours=1)
    days = "1 day is" if overdue == 1 else f"{overdue} days are"
    return (
        f"{days} missing at the end: the last bar, of {market.days[row]}, closed {hours:.0f} h before "
        f"{format_instant(market.as_of)}"
    )


def _gaps_cause(market: Market, column: int, rows: npt.NDArray[np.intp], gaps: int) -> str:
    breaks = np.flatnonzero(np.diff(rows) > 1)
    spans = [f"{market.days[rows[i] + 1]} to {market.days[rows[i + 1] - 1]}" for i in breaks[:3]]
    more = f" and {breaks.size - 3} more" if breaks.size > 3 else ""
    listings = np.unique(market.listing[rows, column]).size
    owned = _owned(market, column, slice(rows[0], rows[-1]))
    told = f"{gaps} of {rows[-1] - rows[0] + 1} days are missing: {', '.join(spans)}{more}{owned}"
    return told if listings == 1 else f"{told}; {listings} listings, returns do not cross from one to the next"


def _owned(market: Market, column: int, rows: slice) -> str:
    """Tell which of the missing days are not the coin's own."""
    meaning = {REFUSED: "rows refused on", MARKET: "the whole market lacks"}
    days = {what: int((market.holes[rows, column] == owner).sum()) for owner, what in meaning.items()}
    told = ", ".join(f"{what} {count}" for what, count in days.items() if count)
    return f" ({told})" if told else ""


def missing_audit(
    market: Market,
    candidates: Iterable[Candidate],
    merged: Sequence[MergedQuote] = (),
    quarantined: Mapping[str, str] | None = None,
) -> list[Drop]:
    """Name every candidate without bars or without its rating at the decision, and why.

    Parameters
    ----------
    market : Market
        The window that the decision sees.
    candidates : iterable of Candidate
        What the scanners found, whoever answered.
    merged : sequence of MergedQuote
        Pairs that gave way to another quote; those without bars are named too.
    quarantined : mapping of str to str, optional
        Symbol to the reasons of its rows in quarantine.

    Returns
    -------
    list of Drop
        Reasons ``MERGED``, ``EXCLUDED``, ``DELISTED``, ``NO_SUCH_PAIR``, ``NO_BARS``, ``NO_BAR_AT_DECISION``,
        ``TOO_YOUNG`` and ``NO_RATING``; sorted by name. What the exchange itself says of a pair, where the market has
        its table, is part of the detail.
    """
    wanted = {(candidate.symbol, rating_column(candidate.logic)) for candidate in candidates}
    into = {record.symbol: record.into for record in merged}
    told = _statuses(market)
    drops: dict[str, Drop] = {}
    for symbol, rating in sorted(wanted) + [(symbol, "") for symbol in sorted(into)]:
        said = told.get(symbol)
        drop = _missing(market, symbol, rating, into.get(symbol), (quarantined or {}).get(symbol), said)
        if drop is not None:
            drops.setdefault(symbol, drop)
    return [drops[symbol] for symbol in sorted(drops)]


def _statuses(market: Market) -> dict[str, str]:
    """Map symbols to their trading status in the exchange's words, as last known at the market's instant."""
    if market.instruments is None:
        return {}
    known = market.instruments.sort("valid_from").select("symbol", "status").drop_nulls()
    return dict(known.iter_rows())


def _missing(
    market: Market, symbol: str, rating: str, into: str | None, quarantine: str | None, status: str | None
) -> Drop | None:
    aside = f"; the exchange says {status}" if status not in (None, TRADING) else ""
    aside += f"; rows in quarantine: {quarantine}" if quarantine else ""
    gone = "DELISTED" if status not in (None, TRADING) else None
    column = market.index.get(symbol)
    if column is None:
        if into is not None:
            return Drop(name=symbol, reason="MERGED", detail=f"no such pair at the source; merged into {into}")
        return _absent(market, symbol, gone, aside)
    rows = np.flatnonzero(market.listing[:, column] >= 0)
    if not rows.size:
        return Drop(name=symbol, reason=gone or "NO_BARS", detail=f"no bar in {_window(market)}{aside}")
    if not rating or not np.isnan(market[rating][-1, column]):
        return None
    if rows[-1] != market.days.size - 1:
        detail = f"the last bar is of {market.days[rows[-1]]}, not of {market.days[-1]}{aside}"
        return Drop(name=symbol, reason=gone or "NO_BAR_AT_DECISION", detail=detail)
    return _unrated(market, symbol, column, rows, rating)


def _absent(market: Market, symbol: str, gone: str | None, aside: str) -> Drop:
    """Return why a symbol is none of the market's."""
    detail = _no_such_pair(market, symbol) + aside
    try:
        exclusion = excluded(Instrument.parse(symbol).base, market.days[-1].astype("datetime64[D]").item())
    except UsageError:
        exclusion = None
    if exclusion is not None:
        return Drop(name=symbol, reason="EXCLUDED", detail=f"{exclusion.base} is no coin to trade: {exclusion.reason}")
    return Drop(name=symbol, reason=gone or "NO_SUCH_PAIR", detail=detail)


def _unrated(market: Market, symbol: str, column: int, rows: npt.NDArray[np.intp], rating: str) -> Drop:
    """Return why the last bar of a symbol has no rating."""
    if not market["volume"][-1, column] > 0:
        detail = f"the bar of {market.days[-1]} has no volume, and only traded bars are rated"
        return Drop(name=symbol, reason="NO_RATING", detail=detail)
    own = rows[market.listing[rows, column] == market.listing[-1, column]]
    traded = int((market["volume"][own, column] > 0).sum())
    detail = f"{traded} traded bars of its listing in the window are too few for {rating}"
    begun = own[0] > 0  # a listing that was there before the window is not young
    return Drop(name=symbol, reason="TOO_YOUNG" if begun else "NO_RATING", detail=detail)


def _no_such_pair(market: Market, symbol: str) -> str:
    """Say that the source has no such pair, and which pairs of the same base it has."""
    absent = f"no such pair at the source in {_window(market)}"
    try:
        pair = Instrument.parse(symbol)
    except UsageError as error:
        return f"{absent}: {error.what}"
    others = [other for quote in QUOTES if (other := f"{pair.exchange}:{pair.base}{quote}") in market.index]
    return f"{absent}; it has {', '.join(others)}" if others else absent


def data_health(
    market: Market,
    matrix: ReturnsMatrix,
    symbols: Iterable[str],
    missing: list[Drop],
    quarantined: Mapping[str, str],
    findings: Sequence[Finding] = (),
) -> DataHealth:
    """Put the audits of a decision's data together.

    Parameters
    ----------
    market : Market
        The window that the decision sees.
    matrix : ReturnsMatrix
        Cut from it.
    symbols : iterable of str
        Candidates' symbols; the benchmark is added.
    missing : list of Drop
        From :func:`missing_audit`.
    quarantined : mapping of str to str
        Symbol to the reasons of its rows in quarantine.
    findings : sequence of Finding
        What the source itself had to say; told first.
    """
    wanted = sorted({*symbols, matrix.benchmark})
    health = symbol_health(market, wanted, quarantined)
    return DataHealth(
        as_of=format_instant(market.as_of),
        rows=matrix.values.shape[0],
        columns=matrix.values.shape[1],
        first=str(matrix.days[0]),
        last=str(matrix.days[-1]),
        benchmark=matrix.benchmark,
        symbols=health,
        dropped=matrix.dropped,
        missing=missing,
        findings=[*findings, *_findings(market, health)],
    )


def _findings(market: Market, health: list[SymbolHealth]) -> list[Finding]:
    named = [record.symbol for record in health]
    found = [_instruments_finding(market), *_volume_findings(market, named)]
    found.append(_quarantine_finding(market))
    for status in ("TOXIC", "DELISTED", "STALE", "GAPS", "MISSING"):
        having = [record.symbol for record in health if record.status == status]
        found.append(_named(status, f"symbols with status {status}; the cause of each stands with the symbol", having))
    return [finding for finding in found if finding is not None]


def _quarantine_finding(market: Market) -> Finding | None:
    """Count the refused rows of every coin of the window, not only of those that a scan took."""
    rows = market.refused()
    reasons = rows.group_by("reason").len().sort("len", "reason", descending=[True, False])
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.iter_rows())
    names = rows["symbol"].unique().sort().to_list()
    return _named("QUARANTINED", f"rows of these symbols are in quarantine: {told}", names, rows.height)


def _named(code: str, what: str, names: list[str], count: int | None = None) -> Finding | None:
    return Finding(code=code, what=what, count=len(names) if count is None else count, names=names) if names else None


def _instruments_finding(market: Market) -> Finding | None:
    if market.instruments is not None:
        return None
    what = "the source has no table of instruments: exchange filters, margin permission and status are unknown"
    return Finding(code="INSTRUMENTS_UNKNOWN", what=what)


def _volume_findings(market: Market, symbols: list[str]) -> list[Finding | None]:
    columns = [market.index[symbol] for symbol in symbols if symbol in market.index]
    fields: dict[str, Floats] = {name: market[name][:, columns] for name in ("high", "low", "close", "volume")}
    with np.errstate(invalid="ignore"):
        idle = fields["volume"] == 0
        # A recorded quote volume is close x volume only where the bar has one price: equality tells an estimate.
        estimate = (market["value_traded"][:, columns] == fields["close"] * fields["volume"]) & (
            fields["high"] > fields["low"]
        )
    names = [market.symbols[column] for column in columns]
    return [
        _named("ZERO_VOLUME", "bars without volume", _where(idle, names), int(idle.sum())),
        _named(
            "QUOTE_VOLUME_ESTIMATED",
            "bars without quote volume: value traded is close x volume",
            _where(estimate & ~idle, names),
            int((estimate & ~idle).sum()),
        ),
    ]


def _where(mask: Bools, names: list[str]) -> list[str]:
    return [names[i] for i in np.flatnonzero(mask.any(axis=0))]
