"""A run's target weights as a list of orders, with the exchange's rules and prices that the run knew; none is sent."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.base import files
from assay.base.constants import Floats
from assay.base.domain import DAY, INTERVALS, Instrument, format_instant
from assay.base.errors import DataError, GateError, IntegrityError, SourceError, UsageError
from assay.lake.snapshot import Snapshot, pinned
from assay.market.schema import INSTANT
from assay.orders.inputs import canonical, net_asset_value, read_holdings, read_prices
from assay.orders.rebalance import REASONS, rebalance
from assay.orders.records import OrderList, Task, dust_fields, line_fields, order_fields, to_csv
from assay.risk.covariance import estimate_covariance
from assay.runs.artifacts import FLATTENED, HOLDINGS, LEDGER, RETURNS
from assay.runs.documents import (
    Finding,
    FlattenedAsset,
    FlattenedProfile,
    HeldAsset,
    HeldBook,
    as_plain,
)
from assay.runs.home import Home, Status
from assay.runs.run import Run
from assay.runs.verify import verify
from assay.settings.model import Costs, Universe
from assay.sources.acceptance import NOTHING_ACCEPTED, RUIN, Acceptance, offer, ruin_state
from assay.sources.rules import RuleBook, TradingRules, read_exchange_info, rules_from_instruments

STALE_DAYS = 10
"""How far back a last close is looked for; an older one is no price."""
RULES_DAYS = 7
"""Distance in days between exchange rules and decision beyond which a reader is told."""
_COMPARABLE = 90 * DAY
"""Distance up to which rules of one exchange are still much the same."""
_FEWEST_COMPARED = 3
TRADED: dict[str, str] = {HOLDINGS: "the book", FLATTENED: "today's decision alone"}
"""What an account is brought to."""
UNTRADABLE = "UNTRADABLE"
MOST_OF_VALUE_TRADED = 0.10
"""Share of a coin's daily value traded beyond which an order moves its price by more than any model knows."""
TRADED_DAYS = 20


@dataclass(frozen=True)
class OrdersRequest:
    """What is asked for, as it was written."""

    run: str
    nav: str
    holdings: Path | None = None
    """What the account holds; nothing where None."""
    risk_profile: str = "hrp"
    decision: bool = False
    """Today's decision alone, as if the whole account followed it; else the book."""
    order_type: str = "limit"
    instruments: Path | None = None
    prices: Path | None = None
    leave_out: Sequence[str] = ()
    out: Path | None = None
    accept: Acceptance = NOTHING_ACCEPTED


def orders(home: Home, asked: OrdersRequest) -> tuple[dict[str, Any], list[Path]]:
    """Write the orders that bring an account to a run's weights; return them as JSON values, and where they lie."""
    folder = _valid(home, asked.run)
    target = _output_folder(home, folder, asked.out)
    document, result = _prepare(home, folder, asked)
    written = [target / f"orders_{asked.risk_profile}{ending}" for ending in (".json", ".csv")]
    table = to_csv(result.orders)
    files.write_json(written[0], document)
    files.write(written[1], table.encode())
    return document, written


def _prepare(home: Home, folder: Path, asked: OrdersRequest) -> tuple[dict[str, Any], OrderList]:
    nav = net_asset_value(asked.nav)
    if asked.order_type not in ("limit", "market"):
        raise UsageError(f"unknown order type {asked.order_type!r}", where="--type", hint="limit or market")
    origin = Origin.of(home, folder)
    ruined = list(_ruined(origin.run, asked))
    traded: str = FLATTENED if asked.decision or not origin.run.has(HOLDINGS) else HOLDINGS
    weights = _weights(origin.run, asked.risk_profile, traded)
    book, rules_from = _rules(origin, asked.instruments)
    holdings = {} if asked.holdings is None else read_holdings(asked.holdings, book)
    left_out = _left_out(asked.leave_out, book, {*weights, *holdings})
    _check_known({*weights, *holdings} - left_out, book)
    _check_quotes({*weights, *holdings}, book, origin.quotes())
    needed = frozenset({*(weights.keys() - left_out), *holdings})
    prices, prices_from, stale = _prices(origin, asked.prices, book, needed)
    costs, same = origin.costs()
    task = Task(nav, weights, holdings, prices, book.rules, costs, asked.order_type, left_out)  # type: ignore[arg-type]  # checked above
    result = rebalance(task)
    differences = {line.instrument: float(line.difference) for line in result.lines}
    off = {symbol for symbol, difference in differences.items() if difference}
    findings = [*ruined, *result.findings, *_findings(book, origin.as_of, stale, same), *_untradable(origin, result)]
    document = {
        "run": folder.name,
        "risk_profile": asked.risk_profile,
        "as_of": format_instant(origin.as_of),
        "trades": TRADED[traded],
        "order_type": asked.order_type,
        "sources": {
            "weights_sha256": origin.run.read[traded],
            "holdings_sha256": None if asked.holdings is None else files.sha256_file(asked.holdings),
            "prices": prices_from,
            "rules": rules_from | {"valid_from": format_instant(book.valid_from)},
            "costs": costs.model_dump(include={"fee", "slippage", "borrow"}),
        },
        "orders": [order_fields(order) for order in result.orders],
        "positions": [line_fields(line) for line in result.lines],
        "dust": [dust_fields(line, REASONS) for line in result.lines if line.after != line.target],
        "funds": {name: float(value) for name, value in result.funds.items()},
        "costs": {name: float(value) for name, value in result.costs.items()},
        "tracking_error": tracking_error(differences, _returns(origin, off)),
        "findings": [as_plain(finding) for finding in findings],
        "accepted": list(asked.accept.used),
    }
    return document, result


# --- the run ----------------------------------------------------------------------------------------------------------


def _valid(home: Home, name: str) -> Path:
    """Return the directory of a run whose weights can be trusted."""
    folder = home.run(name)
    state = Status.shown(folder).state
    if state != "VALID":
        raise UsageError(f"the run is {state}", where=folder.name, hint="orders are made from valid runs only")
    verdict = verify(folder, registry=home.registry)
    if not verdict.ok:
        raise IntegrityError(str(verdict.problems[0]), where=folder.name, hint="see: assay verify")
    return folder


def _ruined(run: Run, asked: OrdersRequest) -> Iterator[Finding]:
    """Refuse a ruined book unless it is accepted by name, and say so where it is."""
    document, headline = run.books, run.manifest.profile.headline
    if asked.risk_profile not in document.barred(headline):
        return
    whose = asked.risk_profile if asked.risk_profile in document.ruined else headline
    what = f"{whose} {document.ruin[whose].told}"
    state = ruin_state(run.folder.name, as_plain(document)["ruin"])
    if not asked.accept.takes(RUIN, state, what):
        hint = offer(f"orders {run.folder.name} ...", RUIN, state)
        raise GateError(f"RUIN: {what}; nothing is ordered by it", where=run.folder.name, hint=hint, code=RUIN)
    yield Finding(code=RUIN, what=f"{what}; accepted: {asked.accept.because}")


def _output_folder(home: Home, folder: Path, out: Path | None) -> Path:
    target = (out if out is not None else home.reports / "orders" / folder.name).resolve()
    for parent in (target, *target.parents):
        if (parent / LEDGER).is_file():
            raise UsageError(
                "a sealed run is not written to", where=str(target), hint="choose another folder for --out"
            )
    if target.exists() and not target.is_dir():
        raise UsageError("not a folder", where=str(target), hint="choose another folder for --out")
    return target


def _weights(run: Run, risk_profile: str, traded: str) -> dict[str, Decimal]:
    book = traded == HOLDINGS
    profiles: Mapping[str, HeldBook | FlattenedProfile] = (run[HOLDINGS] if book else run[FLATTENED]).profiles
    if risk_profile not in profiles:
        raise UsageError(f"the run has no risk profile {risk_profile!r}", hint=f"one of {', '.join(sorted(profiles))}")
    assets: Sequence[HeldAsset | FlattenedAsset] = profiles[risk_profile].assets
    return {asset.Symbol: Decimal(repr(asset.Net_Weight)) for asset in assets if asset.Net_Weight}


@dataclass(frozen=True)
class Origin:
    """Where a run's numbers come from: the sleeves below it, which are the run itself where it is one."""

    home: Home
    run: Run
    leaves: tuple[Run, ...]

    @classmethod
    def of(cls, home: Home, folder: Path) -> Origin:
        """Open a run and the sleeves below it; IntegrityError if a manifest is incomplete."""
        run = Run(folder)
        for one in (run, *_leaves(home, run)):
            one.check_format()
        return cls(home, run, tuple(_leaves(home, run)))

    @property
    def as_of(self) -> dt.datetime:
        """Instant of the decision."""
        return self.run.manifest.as_of

    def snapshot(self) -> Snapshot:
        """Pin the lake at the latest head that a sleeve read."""
        asked = [leaf.of_sleeve for leaf in self.leaves]
        lakes = {one.lake for one in asked}
        if len(lakes) != 1:
            hint = "give --prices and --instruments"
            raise UsageError(f"the sleeves read {len(lakes)} lakes", where=", ".join(sorted(lakes)), hint=hint)
        return pinned(replace(max(asked, key=lambda one: one.head), home=self.home.path))

    def costs(self) -> tuple[Costs, bool]:
        """Return the profile's costs; of sleeves that differ the dearest, and whether all are the same."""
        each = [leaf.of_sleeve.profile.costs for leaf in self.leaves]
        dearest = {name: max(getattr(costs, name) for costs in each) for name in Costs.model_fields}
        return Costs.model_validate(dearest), all(costs == each[0] for costs in each)

    def quotes(self) -> tuple[str, ...]:
        """Return the quotes in which the run may hold coins: those of its scanners' universes, in order of rank."""
        manifests = [leaf.of_sleeve for leaf in self.leaves]
        scanners = [one.scanners[name] for one in manifests for name in one.profile.scanners]
        return tuple(dict.fromkeys(quote for scanner in scanners for quote in scanner.universe.quotes))


def _leaves(home: Home, run: Run) -> Iterator[Run]:
    """Walk from a meta-portfolio down to its sleeves; a sleeve is its own leaf. The seals exclude a cycle."""
    if run.kind == "run":
        yield run
        return
    for sleeve in run.of_portfolio.pins:
        yield from _leaves(home, Run(home.runs / sleeve.run_id))


def _returns(origin: Origin, wanted: Collection[str]) -> dict[str, Floats]:
    """Return the daily returns that the run, or the sleeves below it, decided by; other coins' from the pinned lake."""
    merged = pl.DataFrame(schema={"date": INSTANT})
    for leaf in origin.leaves:
        merged = _joined(merged, leaf[RETURNS], wanted)
    lacking = set(wanted) - set(merged.columns)
    if lacking:
        merged = _joined(merged, _lake_returns(origin, lacking), wanted)
    return {column.name: column.fill_null(float("nan")).to_numpy() for column in merged.sort("date").drop("date")}


def _joined(merged: pl.DataFrame, frame: pl.DataFrame, wanted: Collection[str]) -> pl.DataFrame:
    names = sorted(name for name in frame.columns if name in wanted and name not in merged.columns)
    return merged.join(frame.select("date", *names), on="date", how="full", coalesce=True)


def _lake_returns(origin: Origin, symbols: Collection[str]) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"date": INSTANT})
    try:
        lookback = max(leaf.of_sleeve.profile.data.lookback for leaf in origin.leaves)
        market = origin.snapshot().market(origin.as_of, lookback)
    except (DataError, UsageError):
        return empty  # the lake is gone: the tracking error names the coins that it has no returns of
    held = sorted(set(symbols) & market.index.keys())
    returns = market.returns()
    days = pl.Series("date", market.days.astype("datetime64[us]")).dt.replace_time_zone("UTC")
    return pl.DataFrame([days, *(pl.Series(name, returns[:, market.column(name)]) for name in held)])


# --- rules and prices -------------------------------------------------------------------------------------------------


def _rules(origin: Origin, path: Path | None) -> tuple[RuleBook, dict[str, str]]:
    if path is not None:
        book = read_exchange_info(path)
        _check_exchange(book, origin, str(path))
        return book, {"from": "file", "sha256": files.sha256_file(path)}
    table = origin.snapshot().instruments()
    if table is None:
        raise UsageError(
            "the exchange's rules are unknown: the run's source has no table of instruments",
            where=origin.leaves[0].of_sleeve.source,
            hint="record https://api.binance.com/api/v3/exchangeInfo and give the file with --instruments",
            code="INSTRUMENTS_UNKNOWN",
        )
    return rules_from_instruments(table, origin.as_of), {"from": "the run's pinned lake"}


def _check_exchange(book: RuleBook, origin: Origin, where: str) -> None:
    """Refuse rules of an exchange that is not the run's: its lake knows other steps of the same names, at that time."""
    try:
        table = origin.snapshot().instruments()
        known = rules_from_instruments(table, origin.as_of).rules if table is not None else {}
    except (DataError, UsageError, SourceError):
        return  # the lake is gone, or knew nothing then: there is nothing to compare with
    both = [s for s in book.rules.keys() & known.keys() if known[s].step_size and known[s].tick_size]
    other = [s for s in sorted(both) if _steps(book.rules[s]) != _steps(known[s])]
    recent = abs(book.valid_from - origin.as_of) < _COMPARABLE
    if recent and len(both) >= _FEWEST_COMPARED and 2 * len(other) > len(both):
        raise UsageError(
            f"these are not the rules of the run's exchange: {len(other)} of {len(both)} pairs have other steps of "
            f"price or quantity than in the run's lake, such as {other[0]}",
            where=where,
            hint="record the spot market's /api/v3/exchangeInfo at the exchange of the run, or leave --instruments out",
            code="RULES_OF_ANOTHER_EXCHANGE",
        )


def _steps(rule: TradingRules) -> tuple[Decimal, Decimal]:
    return rule.tick_size, rule.step_size


def _left_out(names: Sequence[str], book: RuleBook, known: set[str]) -> frozenset[str]:
    symbols = {canonical(name, book, "--leave-out")[0] for name in names}
    strange = sorted(symbols - known)
    if strange:
        raise UsageError(f"{', '.join(strange)}: neither held nor a target", where="--leave-out", hint="take it out")
    return frozenset(symbols)


def _check_known(symbols: set[str], book: RuleBook) -> None:
    absent = [f"{s} ({book.unreadable[s]})" if s in book.unreadable else s for s in sorted(symbols - book.rules.keys())]
    if absent:
        raise UsageError(
            f"not in the exchange's metadata of {format_instant(book.valid_from)}: {', '.join(absent)}",
            where="holdings or targets",
            hint="give metadata of the day with --instruments, mend the holdings (cash is no row: it is NAV less the "
            "holdings), or keep a symbol as it is with --leave-out",
            code="INSTRUMENT_ABSENT",
        )


def _check_quotes(symbols: set[str], book: RuleBook, wanted: Sequence[str]) -> None:
    quotes = {s: book.rules[s].instrument.quote if s in book.rules else Instrument.parse(s).quote for s in symbols}
    others = [f"{symbol} ({quote})" for symbol, quote in sorted(quotes.items()) if quote not in wanted]
    if others:
        money = "dollars" if set(wanted) <= set(Universe().quotes) else " or ".join(wanted)
        what = f"not quoted in {money}, as NAV is: {', '.join(others)}"
        raise UsageError(what, where="holdings or targets", hint=f"name pairs quoted in {', '.join(wanted)}")


def _prices(
    origin: Origin, path: Path | None, book: RuleBook, needed: frozenset[str]
) -> tuple[dict[str, Decimal], dict[str, str], list[str]]:
    """Return prices, where they are from, and the symbols whose last close is not the latest."""
    stale: list[str] = []
    if path is not None:
        found = read_prices(path, book, needed)
        told = {"from": "file", "sha256": files.sha256_file(path)}
        hint = f"add them to {path}"
    else:
        found, stale = _last_closes(origin, needed)
        told = {"from": f"last close of the run's pinned lake at its as_of, {format_instant(origin.as_of)}"}
        hint = "give prices with --prices"
    lacking = sorted(needed - found.keys())
    if lacking:
        raise UsageError(f"no price of {', '.join(lacking)}", where=str(path or "the run's lake"), hint=hint)
    return found, told, stale


def _last_closes(origin: Origin, needed: frozenset[str]) -> tuple[dict[str, Decimal], list[str]]:
    snapshot = origin.snapshot()
    columns = ("symbol", "open_time", "close")
    bars = snapshot.bars(origin.as_of - STALE_DAYS * DAY, origin.as_of, needed, columns)
    last = bars.sort("symbol", "open_time").unique("symbol", keep="last", maintain_order=True)
    two = 2 * INTERVALS[snapshot.interval]
    stale = [symbol for symbol, opened, _ in last.iter_rows() if opened + two <= origin.as_of]
    return {symbol: Decimal(repr(close)) for symbol, _, close in last.iter_rows()}, stale


# --- what a reader must know ------------------------------------------------------------------------------------------


def _findings(book: RuleBook, as_of: dt.datetime, stale: list[str], same_costs: bool) -> Iterator[Finding]:
    days = (book.valid_from - as_of) / DAY
    if not book.complete:
        what = "the lake's table has no greatest quantities and no rules of market orders: these are not checked"
        yield Finding(code="RULES_PARTIAL", what=what)
    elif abs(days) > RULES_DAYS:
        side = "after" if days > 0 else "before"
        what = f"the exchange's rules were recorded {abs(days):.0f} days {side} the decision: they may have changed"
        yield Finding(code="RULES_DATED", what=what)
    if stale:
        what = "the last close is older than the decision"
        yield Finding(code="PRICE_STALE", what=what, count=len(stale), names=stale)
    if not same_costs:
        yield Finding(code="COSTS_DIFFER", what="the sleeves' costs differ: the dearest are used")


def _untradable(origin: Origin, result: OrderList) -> Iterator[Finding]:
    """Name coins of which more is to be traded than a market bears: a tenth of their 20-day median value traded."""
    ordered: dict[str, float] = {}
    for order in result.orders:
        ordered[order.instrument] = ordered.get(order.instrument, 0.0) + float(order.value)
    usual = _value_traded(origin, ordered)
    over = [f"{s} {v / usual[s]:.0%}" for s, v in sorted(ordered.items()) if v > MOST_OF_VALUE_TRADED * usual.get(s, v)]
    if over:
        limit = f"{MOST_OF_VALUE_TRADED:.0%} of the coin's median value traded a day ({TRADED_DAYS} days)"
        yield Finding(code=UNTRADABLE, what=f"orders above {limit}: spread them", count=len(over), names=over)
    unknown = sorted(ordered.keys() - usual.keys())
    if unknown:
        what = "the run's lake does not know what is traded of these coins: their orders are not held against it"
        yield Finding(code="VALUE_TRADED_UNKNOWN", what=what, count=len(unknown), names=unknown)


def _value_traded(origin: Origin, symbols: Collection[str]) -> dict[str, float]:
    """Return the median value traded a day that the run knew; coins of which it knew nothing are left out."""
    try:
        snapshot = origin.snapshot()
        columns = ("symbol", "open_time", "close", "volume", "quote_volume")
        bars = snapshot.bars(origin.as_of - TRADED_DAYS * DAY, origin.as_of, set(symbols), columns)
    except (DataError, UsageError):
        return {}
    value = pl.coalesce("quote_volume", pl.col("close") * pl.col("volume"))
    return dict(bars.group_by("symbol").agg(value.median()).iter_rows())


ROWS = 252
"""Last days that the covariance reads, as everywhere."""


def tracking_error(
    differences: Mapping[str, float], returns: Mapping[str, Floats], min_rows: int = 200
) -> dict[str, Any]:
    """Measure how far what will be held is from what is wanted.

    Parameters
    ----------
    differences : mapping of str to float
        Symbol to d: weight held afterwards less target weight, signed shares of NAV.
    returns : mapping of str to (n_days,) array
        Simple daily returns of coins on the same days, NaN where there is none.
    min_rows : int
        Complete rows below which nothing is estimated.

    Returns
    -------
    dict
        ``absolute`` = sum of abs(d), a share of NAV. ``annual`` = sqrt(d' S d), a share of NAV a year, where S is the
        covariance of the coins that differ (Ledoit and Wolf's on their last 252 complete daily rows, x 365); None where
        a coin has no returns or too few are complete. ``value`` is the second, or the first where there is no second;
        ``method`` and ``explanation`` say which.

    Examples
    --------
    >>> tracking_error({}, {})["value"]
    0.0
    """
    off = {symbol: value for symbol, value in differences.items() if value}
    absolute = math.fsum(abs(value) for value in off.values())
    lacking = sorted(symbol for symbol in off if symbol not in returns)
    annual, rows = None, 0
    if not lacking:
        annual, rows = _annual(off, returns, min_rows)
    why = f"no returns of {', '.join(lacking)}" if lacking else f"{rows} complete rows"
    by_covariance = (
        "sqrt(d'Sd) a year: d = weights held afterwards less target weights, S = covariance of these coins' daily"
        f" returns (Ledoit-Wolf, {rows} rows, x 365)"
    )
    by_weights = f"sum of absolute differences of weight, for want of a covariance ({why})"
    return {
        "value": absolute if annual is None else annual,
        "method": "absolute" if annual is None else "covariance",
        "explanation": by_weights if annual is None else by_covariance,
        "annual": annual,
        "absolute": absolute,
    }


def _annual(off: Mapping[str, float], returns: Mapping[str, Floats], min_rows: int) -> tuple[float | None, int]:
    if not off:
        return 0.0, 0
    stacked = np.column_stack([returns[symbol] for symbol in off])[-ROWS:]
    complete = stacked[~np.isnan(stacked).any(axis=1)]
    if len(complete) < min_rows:
        return None, len(complete)
    d = np.array(list(off.values()))
    return math.sqrt(max(0.0, float(d @ estimate_covariance(complete).matrix @ d))), len(complete)
