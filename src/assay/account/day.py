"""One day of an account: what the tranche book does (:mod:`assay.backtest.book`), coin by coin and in decimals.

The order of the day is the book's: fills at the open, a look within the day, borrow, delistings, a look at the close;
then the account is marked, and deposits and withdrawals move it. What ends a listing and at which price an account is
liquidated are the book's own definitions. Every change of the state is an entry, and the state is what entries make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext

from assay.account.bars import CoinDay, DayBars
from assay.account.money import EXACT, ZERO, exact, text
from assay.account.state import (
    BORROW,
    CANCELLED,
    FILL,
    FLOW,
    LOOK,
    MARK,
    Happened,
    State,
    TrancheOrder,
    apply,
    exactly,
    grown,
    price_digits,
    values,
)
from assay.backtest.book import CLOSE, DELISTING, HOLE_TOO_LONG, LIQUIDATION, REBALANCE, Moment, price_of_margin
from assay.base.errors import IntegrityError
from assay.market.costs import borrow_per_day, fill_price
from assay.orders.records import plain
from assay.settings.model import Costs, Margin

NO_BAR = "the coin has no bar on this day"
OTHER_LISTING = "the coin's first bar of another listing"
CLOSED = "the account was liquidated"
_EACH_LEVEL = 12
"""Digits of a margin level that are told."""


def advance(
    state: State,
    bars: DayBars,
    orders: Sequence[TrancheOrder],
    costs: Costs,
    margin: Margin | None,
    *,
    fills: Sequence[Happened] | None = None,
    flows: Sequence[Decimal] = (),
) -> tuple[State, list[Happened]]:
    """Live through one day whose bar has closed.

    Parameters
    ----------
    state : State
        After the day before.
    bars : DayBars
        Of every coin that is held or ordered.
    orders : sequence of TrancheOrder
        Written for this day's open.
    costs : Costs
        Fee, slippage and haircut; borrow is told by the bars.
    margin : Margin or None
        What the account must keep; without one it is closed when nothing is left at a close.
    fills : sequence of Happened, optional
        What became of the orders at a venue: fills, and what was not filled. The paper fills of the open where None.
    flows : sequence of Decimal
        Deposits, and withdrawals below zero, at this day's close. One that leaves an account that could not be held is
        refused in its entry, and moves nothing.

    Returns
    -------
    state : State
        After the day, before its decision.
    entries : list of Happened
        All that moved it, in order of time.

    Raises
    ------
    IntegrityError
        If an imported fill's cash is not what its quantity, price and fee make.
    """
    with localcontext(EXACT):
        day = _Day(state, bars, costs, margin if margin is not None and margin.enabled else None)
        day.open(orders, fills)
        day.look_and_close()
        day.mark()
        for amount in flows:
            day.flow(exact(amount))
        return day.state, day.told


class _Day:
    """A day while it passes."""

    def __init__(self, state: State, bars: DayBars, costs: Costs, margin: Margin | None) -> None:
        self.state = state
        self.bars = bars
        self.told: list[Happened] = []
        self.fee, self.slippage, self.haircut = map(exactly, (costs.fee, costs.slippage, costs.delisting_haircut))
        self.maintenance = ZERO if margin is None else exactly(margin.maintenance)
        self.repayment = ZERO if margin is None else exactly(margin.liquidation_fee)
        self.levels: list[Decimal] = []
        self.worst: list[Decimal] = []

    def tell(self, kind: str, **body: object) -> None:
        """Write an entry down, and let it happen."""
        entry = Happened(kind, {"day": self.bars.day.isoformat(), **body})
        self.state = apply(self.state, entry)
        self.told.append(entry)

    def coins(self) -> list[tuple[str, CoinDay]]:
        """Return what is held, in the market's order."""
        return [(symbol, coin) for symbol, coin in self.bars.coins.items() if symbol in self.state.held]

    def marks(self) -> dict[str, Decimal]:
        """Return today's marks of what is held."""
        return {symbol: coin.mark for symbol, coin in self.coins()}

    # ---- the open

    def open(self, orders: Sequence[TrancheOrder], fills: Sequence[Happened] | None) -> None:
        """Let listings go that others have followed, then fill what was ordered."""
        for symbol, coin in self.coins():
            if coin.relisted:
                self.leave(symbol, self.state.marks[symbol], self.haircut, ZERO, DELISTING, _why_ended(coin))
        if fills is None:
            for order in orders:
                self.fill(order, self.bars.coins[order.symbol])
            return
        for entry in fills:
            if entry.kind == FILL:
                _check_cash(entry.body)
            self.tell(entry.kind, **{name: value for name, value in entry.body.items() if name != "day"})

    def fill(self, order: TrancheOrder, coin: CoinDay) -> None:
        """Fill one order at the open, or cancel it."""
        if self.state.liquidated or not coin.has_bar or coin.relisted:
            why = CLOSED if self.state.liquidated else NO_BAR if not coin.has_bar else OTHER_LISTING
            self.tell(CANCELLED, symbol=order.symbol, tranche=order.tranche, quantity=text(order.quantity), why=why)
        elif order.quantity:
            self.trade(order.symbol, order.quantity, coin.open, self.slippage, self.fee, tranche=order.tranche)

    def trade(
        self,
        symbol: str,
        quantity: Decimal,
        reference: Decimal,
        slippage: Decimal,
        fee: Decimal,
        reason: str = REBALANCE,
        cause: str = "",
        owed: Decimal = ZERO,
        **whose: object,
    ) -> None:
        """Trade at a price that is worse than its reference, and pay for it."""
        price = fill_price(reference, slippage if quantity > 0 else -slippage)
        fees = exact(abs(quantity) * price * fee + owed)
        self.tell(
            FILL,
            symbol=symbol,
            **({"tranche": None} | whose),
            quantity=text(quantity),
            price=plain(price),
            reference=plain(reference),
            fee=text(fees),
            slippage=text(exact(abs(quantity) * reference * slippage)),
            cash=text(-exact(quantity * price) - fees),
            reason=reason,
            cause=cause,
        )

    def leave(
        self,
        symbol: str,
        reference: Decimal,
        slippage: Decimal,
        fee: Decimal,
        reason: str,
        cause: str,
        owed: Decimal = ZERO,
    ) -> None:
        """Close a coin in all tranches, as nobody decided."""
        parts = {str(tranche): text(-units) for tranche, units in enumerate(self.state.held[symbol]) if units}
        self.trade(symbol, -self.state.net(symbol), reference, slippage, fee, reason, cause, owed, parts=parts)

    # ---- the day and its close

    def look_and_close(self) -> None:
        """Look within the day, charge borrow, let delisted coins go, look at the close."""
        moment: Moment | None = None
        if not self.state.liquidated:
            moment = self.look_within()
            if moment is None:
                self.borrow()
                for symbol, coin in self.coins():
                    if coin.ended:
                        self.leave(symbol, coin.mark, self.haircut, ZERO, DELISTING, _why_ended(coin))
                moment = self.look_at_close()
        if self.levels or self.worst or moment is not None:
            told = [None if not seen else plain(_short(min(seen))) for seen in (self.levels, self.worst)]
            self.tell(LOOK, level=told[0], worst_level=told[1], moment=moment)

    def look_within(self) -> Moment | None:
        """Put the coin that costs most at its worst, and liquidate where that is too much."""
        marked = values(self.state, self.marks())
        at_worst = {
            symbol: self.state.net(symbol) * (coin.high if self.state.net(symbol) < 0 else coin.low)
            for symbol, coin in self.coins()
        }
        _see(self.worst, *_sides(self.state.cash, at_worst))
        seen = [symbol for symbol, coin in self.coins() if coin.has_bar and self.state.net(symbol)]
        if not seen:
            return None
        most = max(seen, key=lambda symbol: marked[symbol] - at_worst[symbol])
        level = _see(self.levels, *_sides(self.state.cash, marked | {most: at_worst[most]}))
        if level is None or level >= self.maintenance:
            return None
        others = _sides(self.state.cash, {symbol: value for symbol, value in marked.items() if symbol != most})
        moment, price = price_of_margin(self.state.net(most), self.bars.coins[most].open, *others, self.maintenance)
        self.liquidate(self.marks() | {most: price_digits(price)}, moment)
        return moment

    def borrow(self) -> None:
        """Charge shorts for the day, on their value at the close."""
        shorts = [(symbol, coin, self.state.net(symbol)) for symbol, coin in self.coins()]
        by = {
            symbol: exact(borrow_per_day(-units * coin.mark * coin.rate)) for symbol, coin, units in shorts if units < 0
        }
        if any(by.values()):
            owed = {symbol: text(amount) for symbol, amount in by.items()}
            self.tell(BORROW, amount=text(sum(by.values(), ZERO)), by=owed)

    def look_at_close(self) -> Moment | None:
        """Look at everything at its mark, and liquidate where that is too little."""
        marked = values(self.state, self.marks())
        sides = _sides(self.state.cash, marked)
        level = _see(self.levels, *sides)
        _see(self.worst, *sides)
        nothing = self.state.cash + sum(marked.values(), ZERO) <= 0
        if not nothing and (level is None or level >= self.maintenance):
            return None
        self.liquidate(self.marks(), CLOSE)
        return CLOSE

    def liquidate(self, prices: Mapping[str, Decimal], moment: Moment) -> None:
        """Close everything; the fee on what is repaid is shared by value."""
        worth = {symbol: self.state.net(symbol) * price for symbol, price in prices.items()}
        gross = sum(map(abs, worth.values()), ZERO)
        owed = self.repayment * _sides(self.state.cash, worth)[1]
        for symbol, price in prices.items():
            share = owed * abs(worth[symbol]) / gross if gross else ZERO
            self.leave(symbol, price, self.slippage, self.fee, LIQUIDATION, moment, share)

    def mark(self) -> None:
        """Write down what the account is worth at the close."""
        marks = self.marks()
        marked = values(self.state, marks).values()
        net = sum(marked, ZERO)
        nav = self.state.cash + net
        self.tell(
            MARK,
            nav=text(nav),
            cash=text(self.state.cash),
            gross=text(sum(map(abs, marked), ZERO)),
            net=text(net),
            wealth=plain(grown(self.state, nav)),
            marks={symbol: plain(price) for symbol, price in marks.items()},
        )

    def flow(self, amount: Decimal) -> None:
        """Take a deposit, or pay a withdrawal that leaves an account that can be held; else say why not."""
        cash = self.state.cash + amount
        assets, liabilities = _sides(cash, values(self.state, self.state.marks))
        over, left = self.state.liquidated is not None, self.state.nav + amount
        if over and amount > 0:
            self.tell(FLOW, amount="0", asked=text(amount), refused=f"{CLOSED}: nothing is deposited in it")
        elif amount < 0 and (left < 0 or (left == 0 and not over) or assets < self.maintenance * liabilities):
            self.tell(
                FLOW, amount="0", asked=text(amount), refused=f"so much cannot leave a NAV of {text(self.state.nav)}"
            )
        else:
            self.tell(FLOW, amount=text(amount))


def _why_ended(coin: CoinDay) -> str:
    return HOLE_TOO_LONG if coin.overlong else DELISTING


def _sides(cash: Decimal, worth: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
    """Assets and liabilities."""
    assets = max(cash, ZERO) + sum((value for value in worth.values() if value > 0), ZERO)
    return assets, max(-cash, ZERO) - sum((value for value in worth.values() if value < 0), ZERO)


def _see(levels: list[Decimal], assets: Decimal, liabilities: Decimal) -> Decimal | None:
    """Keep a level, None without liabilities."""
    if not liabilities:
        return None
    levels.append(assets / liabilities)
    return levels[-1]


def _short(level: Decimal) -> Decimal:
    return level.quantize(Decimal(1).scaleb(level.adjusted() - _EACH_LEVEL)) if level else level


def _check_cash(body: Mapping[str, object]) -> None:
    """Refuse a fill that does not add up."""
    quantity, price, fee, cash = (Decimal(str(body[name])) for name in ("quantity", "price", "fee", "cash"))
    if exact(-quantity * price) - fee != cash:
        raise IntegrityError(
            f"the cash of a fill of {body['symbol']} is not -quantity x price - fee",
            where=str(body.get("trade_id") or body["symbol"]),
            hint="import the file again",
        )
