"""How far an account is from the tranche book of the same days, in named lines that add up.

On a day the returns of two books differ by what their costs were, as shares of NAV, and by what they held, as shares of
NAV, times the moves of the prices. What an account holds differs from the tranche book's share by what its orders left
out or what did not fill, each of which has a name, and by one thing more: a tranche was sized when the two accounts
stood to each other otherwise than now. That is no cause of its own; it goes to the lines that have moved them apart
since.
Differences of returns become differences of logarithms by the logarithmic mean, so that days can be added.

Nothing is estimated: the lines come from the ledger, what is left of the whole is ``rest``, and a rest is a fault.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from assay.account.orders import LINES as ORDER_LINES
from assay.account.state import BORROW, CANCELLED, FILL, FLOW, GENESIS, LOOK, MARK, ORDERS, Body, Booked
from assay.backtest.book import LIQUIDATION, REBALANCE, BookResult, Target
from assay.base.constants import Days

UNFILLED, LATE, SLIPPAGE, FEES = "unfilled", "late", "slippage", "fees"
LINES = {
    **ORDER_LINES,
    CANCELLED: "orders that met no bar",
    UNFILLED: "orders that were filled otherwise than written",
    LATE: "decisions that were missed, or made late",
    SLIPPAGE: "fills worse than their opens",
    FEES: "fees, those of a liquidation among them",
    BORROW: "borrow of shorts",
    FLOW: "deposits and withdrawals, until all tranches were sized by them",
    LIQUIDATION: "one was liquidated and the other was not",
}
"""What the difference is made of."""

Part = tuple[int, str]
"""Tranche and coin."""
Units = dict[Part, float]
_Amounts = defaultdict[str, float]
_Missing = dict[Part, dict[str, float]]
REST = "rest"
_EQUAL, _DUST = 1e-9, 1e-12


@dataclass(frozen=True)
class Apart:
    """How far the account is from its tranche book after a day: log(account / tranche book) since its first fill."""

    day: dt.date
    total: float
    lines: Mapping[str, float]
    """By name of :data:`LINES`; those that are not 0."""
    rest: float
    """What they do not explain."""


@dataclass
class _Told:
    """What happened to one of the two on a day."""

    nav: float = 0.0
    fees: float = 0.0
    slippage: float = 0.0
    borrow: float = 0.0
    moved: list[tuple[Part, float]] = field(default_factory=list)
    """Units that were traded because they were ordered."""
    opens: dict[str, float] = field(default_factory=dict)
    """What these trades were measured against."""
    left: set[str] = field(default_factory=set)
    """Coins that ended."""
    cancelled: Units = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)
    liquidated: bool = False
    closed_at: dict[str, float] = field(default_factory=dict)
    """Prices of a liquidation, before costs."""
    flow: float = 0.0
    decided: list[tuple[int, Sequence[Body]]] = field(default_factory=list)
    """Tranches that decided after the close, with the rows of their orders."""


def difference(
    entries: Iterable[Booked], book: BookResult, targets: Sequence[Target], symbols: Sequence[str], days: Days
) -> list[Apart]:
    """Return how far an account is from the tranche book, day by day.

    Parameters
    ----------
    entries : iterable of Booked
        The account's ledger from its genesis on.
    book : BookResult
        The tranche book of the same decisions, whose first decision is on the account's first day.
    targets : sequence of Target
        What that book was to hold.
    symbols : sequence of str
        Columns of its prices.
    days : (n_days,) datetime64[D] array
        Rows of its prices.

    Returns
    -------
    list of Apart
        From the first fill on, as far as both have days, and as long as there is anything left of both.
    """
    path = _Pair(_days_of(entries), _TrancheBook(book, targets, symbols, days))
    return list(path.walk())


def _days_of(entries: Iterable[Booked]) -> tuple[float, dict[dt.date, _Told]]:
    """Read a ledger: NAV at the start, and what happened by day."""
    nav = 0.0
    found: dict[dt.date, _Told] = {}
    for entry in entries:
        if entry.kind == GENESIS:
            nav = float(entry.body["nav"])
        elif entry.kind in _READ:
            day = found.setdefault(dt.date.fromisoformat(entry.body["day"]), _Told())
            _READ[entry.kind](day, entry.body)
    return nav, found


def _read_fill(day: _Told, body: Body) -> None:
    day.fees += float(body["fee"])
    day.slippage += float(body["slippage"])
    if body["reason"] == LIQUIDATION:
        day.closed_at[body["symbol"]] = float(body["reference"])
    elif body["reason"] != REBALANCE:
        day.left.add(body["symbol"])
    else:
        day.moved.append(((body["tranche"], body["symbol"]), float(body["quantity"])))
        day.opens[body["symbol"]] = float(body["reference"])


def _read_mark(day: _Told, body: Body) -> None:
    day.nav = float(body["nav"])
    day.marks = {symbol: float(price) for symbol, price in body["marks"].items()}


def _read_cancelled(day: _Told, body: Body) -> None:
    part = body["tranche"], body["symbol"]
    day.cancelled[part] = day.cancelled.get(part, 0.0) + float(body["quantity"])


def _read_look(day: _Told, body: Body) -> None:
    day.liquidated = body["moment"] is not None


def _read_borrow(day: _Told, body: Body) -> None:
    day.borrow += float(body["amount"])


def _read_flow(day: _Told, body: Body) -> None:
    day.flow += float(body["amount"])


def _read_orders(day: _Told, body: Body) -> None:
    day.decided.append((body["tranche"], body["rows"]))


_READ = {
    FILL: _read_fill,
    MARK: _read_mark,
    CANCELLED: _read_cancelled,
    LOOK: _read_look,
    BORROW: _read_borrow,
    FLOW: _read_flow,
    ORDERS: _read_orders,
}


class _TrancheBook:
    """The tranche book, told day by day as a ledger tells an account."""

    def __init__(self, book: BookResult, targets: Sequence[Target], symbols: Sequence[str], days: Days) -> None:
        self.book = book
        self.names = [symbols[column] for column in book.columns.tolist()]
        self.symbols = symbols
        self.days = [days[row].astype("datetime64[D]").item() for row in [int(book.rows[0]) - 1, *book.rows.tolist()]]
        self.due: dict[int, list[Target]] = {}
        for target in targets:
            self.due.setdefault(target.row, []).append(target)
        self.trades: dict[int, list[int]] = {}
        for index, row in enumerate(book.trades.row.tolist()):
            self.trades.setdefault(row, []).append(index)
        self.lost: dict[int, set[str]] = {}
        for row, column in zip(book.cancelled.row.tolist(), book.cancelled.column.tolist(), strict=True):
            self.lost.setdefault(row, set()).add(symbols[column])

    def day(self, index: int, held: Units) -> _Told:
        """Return what happened on a day to what was held."""
        row, trades = int(self.book.rows[index]), self.book.trades
        told = _Told(nav=float(self.book.nav[index]), borrow=float(self.book.borrow[index]))
        told.marks = dict(zip(self.names, self.book.marks[index].tolist(), strict=True))
        told.liquidated = self.book.liquidated == row
        traded: _Amounts = defaultdict(float)
        for at in self.trades.get(row, ()):
            symbol, reason = self.symbols[int(trades.column[at])], str(trades.reason[at])
            told.fees += float(trades.fee[at])
            told.slippage += float(trades.slippage[at])
            if reason == REBALANCE:
                traded[symbol] += float(trades.quantity[at])
                told.opens[symbol] = float(trades.reference[at])
            elif reason == LIQUIDATION:
                told.closed_at[symbol] = float(trades.reference[at])
            else:
                told.left.add(symbol)
        told.moved = list(self._by_tranche(row, held, traded))
        lost = self.lost.get(row, set())
        told.cancelled = {(target.tranche, symbol): 0.0 for target in self.decided(row - 1) for symbol in lost}
        return told

    def decided(self, row: int) -> list[Target]:
        """Return what was decided after a row's close."""
        return self.due.get(row, [])

    def _by_tranche(self, row: int, held: Units, traded: _Amounts) -> Iterator[tuple[Part, float]]:
        lost = self.lost.get(row, set())
        for target in sorted(self.decided(row - 1), key=lambda one: bool(one.weights.any())):
            if target.weights.any():  # one at most: what it does not trade is what emptied tranches have sold
                yield from (((target.tranche, symbol), units) for symbol, units in traded.items())
                continue
            for (tranche, symbol), units in held.items():
                if tranche == target.tranche and symbol not in lost and symbol in traded:
                    traded[symbol] += units
                    yield (tranche, symbol), -units


class _Pair:
    """Two books that are walked through together; of pairs, the account comes first."""

    def __init__(self, account: tuple[float, dict[dt.date, _Told]], side: _TrancheBook) -> None:
        self.nav, self.entries = account
        self.side = side
        self.other = side.book.initial
        self.held: tuple[Units, Units] = ({}, {})
        self.meant: Units = {}
        """What the account's tranches were to hold; the tranche book's in proportion."""
        self.missing: tuple[_Missing, _Missing] = ({}, {})
        """What each holds more than that, by line."""
        self.sized: dict[int, tuple[float, float, _Amounts]] = {}
        """Of each tranche: both NAVs when it was sized, and ``apart`` then."""
        self.late: set[int] = set()
        """Tranches that do not hold what was decided in time."""
        self.lines: _Amounts = defaultdict(float)
        self.apart: _Amounts = defaultdict(float)
        """Whatever moves the NAVs against each other: the lines, the rest and the logarithms of deposits."""
        self.total = 0.0
        self.over = False

    def walk(self) -> Iterator[Apart]:
        """Go through the days."""
        decided = self.entries.get(self.side.days[0], _Told())
        marks: dict[str, float] = {}
        for index, date in enumerate(self.side.days[1:]):
            mine = self.entries.get(date)
            theirs = self.side.day(index, self.held[1])
            if mine is None or min(mine.nav, theirs.nav) <= 0.0:
                return
            made = self._made(decided, (mine, theirs), int(self.side.book.rows[index]) - 1, marks)
            yield self._add(date, made, (mine, theirs))
            marks = {**marks, **mine.marks, **theirs.marks}
            self.nav, self.other, decided = mine.nav + mine.flow, theirs.nav, mine
            self.apart[FLOW] += math.log(self.nav / mine.nav)

    def _made(self, decided: _Told, both: tuple[_Told, _Told], row: int, before: Mapping[str, float]) -> _Amounts:
        """Return what a day made of the difference of returns, by line."""
        mine, theirs = both
        made: _Amounts = defaultdict(float)
        if self.over:
            made[LIQUIDATION] = mine.nav / self.nav - theirs.nav / self.other
            return made
        opens = {**before, **theirs.opens, **mine.opens}
        marks = {**before, **theirs.marks, **mine.marks}
        self._hold(made, {symbol: price - before.get(symbol, price) for symbol, price in opens.items()})
        self._decide(dict(decided.decided), row, before)
        self._fill(both, mine.left | theirs.left)
        self._hold(made, {symbol: marks.get(symbol, price) - price for symbol, price in opens.items()})
        made[FEES] -= mine.fees / self.nav - theirs.fees / self.other
        made[SLIPPAGE] -= mine.slippage / self.nav - theirs.slippage / self.other
        made[BORROW] -= mine.borrow / self.nav - theirs.borrow / self.other
        self._close(made, both, marks)
        return made

    def _add(self, date: dt.date, made: _Amounts, both: tuple[_Told, _Told]) -> Apart:
        """Turn a difference of returns into one of logarithms, and add it to the days before."""
        grown = both[0].nav / self.nav, both[1].nav / self.other
        whole, apart = math.log(grown[0]) - math.log(grown[1]), grown[0] - grown[1]
        # The logarithmic mean of both growths; its limit where they are equal.
        mean = whole / apart if abs(apart) > _EQUAL else 2.0 / (grown[0] + grown[1])
        told = {line: amount * mean for line, amount in made.items() if line != REST}
        for line, amount in told.items():
            self.lines[line] += amount
            self.apart[line] += amount
        self.apart[REST] += whole - math.fsum(told.values())
        self.total += whole
        rest = self.total - math.fsum(self.lines.values())
        return Apart(date, self.total, {line: amount for line, amount in self.lines.items() if amount}, rest)

    def _hold(self, made: _Amounts, moves: Mapping[str, float]) -> None:
        """Add what different holdings make of moves of the prices."""
        moved: dict[int, float] = {}
        for (tranche, symbol), units in self.meant.items():
            moved[tranche] = moved.get(tranche, 0.0) + units * moves.get(symbol, 0.0)
        for tranche, amount in moved.items():
            nav, other, then = self.sized[tranche]
            since = {line: now - then[line] for line, now in self.apart.items() if now != then[line]}
            gap = -math.fsum(since.values())
            share = amount / nav * other / self.other * (math.expm1(gap) / gap if gap else 1.0)
            for line, change in since.items():
                made[line] -= share * change
        for nav, missing in ((self.nav, self.missing[0]), (-self.other, self.missing[1])):
            for (_, symbol), lines in missing.items():
                for line, units in lines.items():
                    made[line] += units / nav * moves.get(symbol, 0.0)

    def _decide(self, decided: Mapping[int, Sequence[Body]], row: int, marks: Mapping[str, float]) -> None:
        """Size the tranches that decided at the close before: as the account says, or as it would have been."""
        theirs = {target.tranche: target for target in self.side.decided(row)}
        self.late |= decided.keys() ^ theirs.keys()
        self.late -= decided.keys() & theirs.keys()
        for tranche in theirs:
            self.sized[tranche] = self.nav, self.other, defaultdict(float, self.apart)
        for tranche in decided.keys() | theirs.keys():
            for parts in self.missing if tranche not in theirs else (self.meant, *self.missing):
                for part in [part for part in parts if part[0] == tranche]:
                    del parts[part]
        for tranche, target in theirs.items():
            if tranche in decided:
                self._size(tranche, decided[tranche])
            else:
                share = self.nav / len(self.side.book.by_tranche)
                for at in np.flatnonzero(target.weights).tolist():
                    price = marks.get(self.side.symbols[at], 0.0)
                    units = float(target.weights[at]) * share / price if price else 0.0
                    self.meant[tranche, self.side.symbols[at]] = units

    def _size(self, tranche: int, rows: Sequence[Body]) -> None:
        self.meant.update({part: units for part, units in self.held[0].items() if part[0] == tranche})
        for body in rows:
            part = tranche, body["symbol"]
            self.meant[part] = self.held[0].get(part, 0.0) + float(body["wanted"])
            self.missing[0][part] = {line: -float(units) for line, units in body["lines"].items()}

    def _fill(self, both: tuple[_Told, _Told], left: set[str]) -> None:
        """Let coins go and both trade; what the account then holds otherwise than was meant was filled otherwise."""
        for parts in (*self.held, self.meant, *self.missing):
            for part in [part for part in parts if part[1] in left]:
                del parts[part]
        for held, day in zip(self.held, both, strict=True):
            for part, units in day.moved:
                held[part] = held.get(part, 0.0) + units
        mine, theirs = self.missing
        for part, units in both[0].cancelled.items():
            if part[1] not in left:
                mine.setdefault(part, {})[CANCELLED] = -units
        for part in both[1].cancelled:
            nav, other, _ = self.sized[part[0]]
            theirs[part] = {CANCELLED: self.held[1].get(part, 0.0) - self.meant.get(part, 0.0) * other / nav}
        for part in {*self.held[0], *self.meant, *mine}:
            lines, line = mine.setdefault(part, {}), LATE if part[0] in self.late else UNFILLED
            told = math.fsum(units for name, units in lines.items() if name not in (LATE, UNFILLED))
            own, meant = self.held[0].get(part, 0.0), self.meant.get(part, 0.0)
            lines[line] = own - meant - told if abs(own - meant - told) > _DUST * (abs(own) + abs(meant)) else 0.0

    def _close(self, made: _Amounts, both: tuple[_Told, _Told], marks: Mapping[str, float]) -> None:
        """Let a liquidation end one of them, or both."""
        for held, nav, day in zip(self.held, (self.nav, -self.other), both, strict=True):
            if day.liquidated:
                self.over = True
                for (_, symbol), units in held.items():
                    mark = marks.get(symbol, 0.0)
                    made[LIQUIDATION] += units / nav * (day.closed_at.get(symbol, mark) - mark)
