"""An account that lives through the days of a book, on recorded decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from assay.account.bars import day_bars
from assay.account.day import advance
from assay.account.money import total
from assay.account.orders import orders_for
from assay.account.state import GENESIS, Happened, State, apply, begin
from assay.backtest.book import BookResult, Prices, Target
from assay.settings.model import Costs, Margin
from assay.sources.rules import TradingRules


@dataclass(frozen=True)
class Life:
    """An account's ledger, and its state after each day's entries."""

    entries: list[Happened]
    states: list[State]


def names(prices: Prices) -> tuple[str, ...]:
    return tuple(f"BINANCE:C{at:03}USDT" for at in range(prices.open.shape[1]))


def dates(prices: Prices) -> np.ndarray:
    return np.arange(len(prices.open)).astype("datetime64[D]") + np.timedelta64(19000, "D")


def live(
    prices: Prices,
    targets: Sequence[Target],
    costs: Costs,
    *,
    n_tranches: int,
    margin: Margin | None,
    nav: str = "1",
    symbols: Sequence[str] | None = None,
    days: np.ndarray | None = None,
    band: str = "0",
    rules: Mapping[str, TradingRules] | None = None,
    left_out: frozenset[int] = frozenset(),
    flows: Mapping[int, Decimal] | None = None,
) -> Life:
    """Step once a day from the first decision on; rows in ``left_out`` are decisions that were missed."""
    symbols, days = symbols or names(prices), dates(prices) if days is None else days
    due: dict[int, list[Target]] = {}
    for target in targets:
        due.setdefault(target.row, []).append(target)
    first = targets[0].row
    state = begin(Decimal(nav), n_tranches)
    entries = [Happened(GENESIS, {"nav": nav, "tranches": n_tranches})]
    states = []
    for row in range(first, len(prices.open)):
        decided = [] if row in left_out or state.liquidated else due.get(row, [])
        weights = [
            {symbols[at]: float(target.weights[at]) for at in np.flatnonzero(target.weights)} for target in decided
        ]
        wanted = {*state.held, *(order.symbol for order in state.orders), *(s for each in weights for s in each)}
        bars = day_bars(prices, days, symbols, row, wanted)
        if row > first:
            amounts = (flows or {}).get(row)
            told = () if amounts is None or state.liquidated else (amounts,)
            state, happened = advance(state, bars, state.orders, costs, margin, flows=told)
            entries += happened
            states.append(state)
        sheets = []
        for target, net in zip(decided, weights, strict=True):
            if row < len(prices.open) - 1 and not state.liquidated:
                told_weights = {symbol: repr(weight) for symbol, weight in net.items()}
                decision = {"day": bars.day.isoformat(), "tranche": target.tranche, "weights": told_weights}
                entries.append(Happened("decision", decision))
                sheets.append(
                    orders_for(state, net, target.tranche, bars.closes, costs=costs, band=Decimal(band), rules=rules)
                )
        for sheet in sheets:
            entry = sheet.entry(bars.day)
            entries.append(entry)
            state = apply(state, entry)
    return Life(entries, states)


def agree(life: Life, book: BookResult, symbols: Sequence[str], nav: float = 1.0, tolerance: float = 1e-9) -> float:
    """NAV, cash and quantities of every day are the tranche book's; return the greatest miss as a share of NAV."""
    assert len(life.states) == len(book.nav)
    scale = np.maximum(np.abs(book.nav), 1e-3) + book.gross_value
    worst = 0.0
    held = np.zeros(book.quantities.shape)
    place = {symbols[column]: at for at, column in enumerate(book.columns.tolist())}
    for day, state in enumerate(life.states):
        for symbol in state.held:
            held[day, place[symbol]] = float(state.net(symbol))
    for mine, theirs in (
        (np.array([float(state.nav) for state in life.states]) / nav, book.nav),
        (np.array([float(state.cash) for state in life.states]) / nav, book.cash),
    ):
        worst = max(worst, float((np.abs(mine - theirs) / scale).max()))
    missed = np.abs(held / nav - book.quantities) * book.marks
    worst = max(worst, float((missed / scale[:, None]).max()))
    assert worst <= tolerance, worst
    return worst


def adds_up(life: Life) -> None:
    """Cash is what it began with and every movement since, a quantity all its fills: to the last digit."""
    bodies = [(entry.kind, entry.body) for entry in life.entries]
    cash = [Decimal(life.entries[0].body["nav"])]
    cash += [Decimal(body["cash"]) for kind, body in bodies if kind == "fill"]
    cash += [-Decimal(body["amount"]) for kind, body in bodies if kind == "borrow"]
    cash += [Decimal(body["amount"]) for kind, body in bodies if kind == "flow"]
    last = life.states[-1]
    assert total(cash) == last.cash
    fills: dict[str, list[Decimal]] = {}
    for kind, body in bodies:
        if kind == "fill":
            fills.setdefault(body["symbol"], []).append(Decimal(body["quantity"]))
    assert {symbol: units for symbol, moved in fills.items() if (units := total(moved))} == {
        symbol: net for symbol in last.held if (net := total(last.held[symbol]))
    }
