"""An account kept by hand: coin by coin, tranche by tranche, in decimals, from the words of DESIGN 11 alone.

Orders are quantities fixed at the decision: w x NAV(close) / T / close less what the tranche holds; they fill at the
next open whatever it is; no bar at the fill: cancelled. Order of a day: fills at the open, look within the day, borrow,
delistings, look at the close. Within the day all stand at today's close but the one coin whose high (short) or low
(long) costs most against its close. It shares no code with the package, and knows no array.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext

ZERO, ONE = Decimal(0), Decimal(1)
PRECISION = 40


@dataclass
class Account:
    """``costs`` and ``margin`` are plain mappings of numbers; ``margin`` None is an account without one."""

    n_coins: int
    n_tranches: int
    costs: dict
    margin: dict | None
    cash: Decimal = ONE
    ended: str = ""  # moment of the liquidation
    trades: list = field(default_factory=list)  # (day, coin, quantity, price, reason)
    cancelled: list = field(default_factory=list)  # (day, coin)

    def __post_init__(self) -> None:
        self.parts = [[ZERO] * self.n_coins for _ in range(self.n_tranches)]
        self.mark: list = [None] * self.n_coins
        self.known: list = [None] * self.n_coins  # listing of the last bar
        self.missing = [0] * self.n_coins
        self.costs = {name: Decimal(value) for name, value in self.costs.items()}
        self.usual = (self.costs["slippage"], self.costs["fee"])
        self.gone = (self.costs["delisting_haircut"], ZERO)

    # ---- what it is worth

    def units(self, coin: int) -> Decimal:
        return sum((part[coin] for part in self.parts), ZERO)

    def nav(self) -> Decimal:
        return self.cash + sum((self.units(c) * self.mark[c] for c in range(self.n_coins) if self.units(c)), ZERO)

    def level(self, prices: list) -> Decimal | None:
        assets, liabilities = max(self.cash, ZERO), max(-self.cash, ZERO)
        for coin in range(self.n_coins):
            value = self.units(coin) * prices[coin] if self.units(coin) else ZERO
            if value > 0:
                assets += value
            else:
                liabilities -= value
        return assets / liabilities if liabilities else None

    # ---- what happens to it

    def trade(self, day: int, coin: int, quantity: Decimal, reference: Decimal, rates: tuple, why: str) -> None:
        adverse, fee = rates
        price = reference * (ONE + adverse if quantity > 0 else ONE - adverse)
        self.cash -= quantity * price + abs(quantity) * price * fee
        self.trades.append((day, coin, quantity, price, why))

    def leave(self, day: int, coin: int, reference: Decimal, rates: tuple, why: str) -> None:
        units = self.units(coin)
        for part in self.parts:
            part[coin] = ZERO
        if units:
            self.trade(day, coin, -units, reference, rates, why)

    def liquidate(self, day: int, prices: list, moment: str) -> None:
        liabilities = max(-self.cash, ZERO)
        for coin in range(self.n_coins):
            if self.units(coin) < 0:
                liabilities -= self.units(coin) * prices[coin]
        if not any(self.units(coin) for coin in range(self.n_coins)):
            liabilities = ZERO  # a debt that nothing is left to repay
        for coin in range(self.n_coins):
            self.leave(day, coin, prices[coin], self.usual, "liquidation")
        self.cash -= liabilities * Decimal(self.margin["liquidation_fee"] if self.margin else 0)
        self.ended = moment

    def orders(self, weights: list, tranche: int) -> list:
        """What is ordered at a close: units by coin, None where no price is known."""
        share, wanted = self.nav() / self.n_tranches, []
        for coin, weight in enumerate(weights):
            if self.mark[coin] is None:
                wanted.append(None)
            else:
                wanted.append(Decimal(weight) * share / self.mark[coin] - self.parts[tranche][coin])
        return wanted

    def day(self, day: int, bars: list, rates: list, due: tuple | None) -> None:
        """Live through one day. ``bars``: (open, high, low, close, listing) or None, for each coin; ``rates``: of
        borrowing, a year; ``due``: tranche, orders, weights."""
        new = {c for c, bar in enumerate(bars) if bar and self.known[c] is not None and bar[4] != self.known[c]}
        for coin in new:
            self.leave(day, coin, self.mark[coin], self.gone, "delisting")
        if due is not None and not self.ended:
            self.fill(day, bars, new, due)
        for coin, bar in enumerate(bars):
            self.missing[coin] = self.missing[coin] + 1 if bar is None else 0
            if bar is not None:
                self.mark[coin], self.known[coin] = Decimal(bar[3]), bar[4]
        if self.margin and not self.ended:
            self.look_within(day, bars)
        if not self.ended:
            self.look_at_close(day, rates)

    def fill(self, day: int, bars: list, new: set, due: tuple) -> None:
        tranche, orders, weights = due
        for coin, order in enumerate(orders):
            if bars[coin] is None or coin in new or order is None:
                if weights[coin] or self.parts[tranche][coin]:
                    self.cancelled.append((day, coin))
            elif order:
                self.parts[tranche][coin] += order
                self.trade(day, coin, order, Decimal(bars[coin][0]), self.usual, "rebalance")

    def look_within(self, day: int, bars: list) -> None:
        worst, loss = None, None
        for coin, bar in enumerate(bars):
            if bar is None or not self.units(coin):
                continue
            costs = abs(self.units(coin)) * abs(self.extreme(coin, bar) - self.mark[coin])
            if loss is None or costs > loss:
                worst, loss = coin, costs
        if worst is None:
            return
        low, prices = Decimal(self.margin["maintenance"]), list(self.mark)
        prices[worst] = self.extreme(worst, bars[worst])
        level = self.level(prices)
        if level is not None and level < low:
            prices[worst], moment = self.where_it_meets(worst, low, Decimal(bars[worst][0]))
            self.liquidate(day, prices, moment)

    def extreme(self, coin: int, bar: tuple) -> Decimal:
        return Decimal(bar[1] if self.units(coin) < 0 else bar[2])

    def where_it_meets(self, worst: int, low: Decimal, opened: Decimal) -> tuple[Decimal, str]:
        """Price of one coin at which assets are ``low`` x liabilities, the others at the close; or its open."""
        assets, liabilities = max(self.cash, ZERO), max(-self.cash, ZERO)
        for coin in range(self.n_coins):
            if coin != worst and self.units(coin) > 0:
                assets += self.units(coin) * self.mark[coin]
            elif coin != worst and self.units(coin) < 0:
                liabilities -= self.units(coin) * self.mark[coin]
        units = self.units(worst)
        if units < 0:
            meets = (assets - low * liabilities) / (low * -units)
            beyond = opened >= meets
        else:
            meets = (low * liabilities - assets) / units
            beyond = opened <= meets
        return (opened, "open") if beyond else (meets, "day")

    def look_at_close(self, day: int, rates: list) -> None:
        """Borrow, delistings, then the look."""
        for coin in range(self.n_coins):
            if self.units(coin) < 0:
                self.cash += self.units(coin) * self.mark[coin] * Decimal(rates[coin]) / 365
        for coin in range(self.n_coins):
            if self.missing[coin] == 3 and self.mark[coin] is not None:
                self.leave(day, coin, self.mark[coin], self.gone, "delisting")
        level = self.level(self.mark)
        low = Decimal(self.margin["maintenance"]) if self.margin else ONE
        if level is not None and (level < low or self.nav() <= 0):
            self.liquidate(day, list(self.mark), "close")


def keep(prices: dict, targets: list, costs: dict, n_tranches: int, margin: dict | None) -> tuple[Account, dict]:
    """Live through all days: ``prices`` are lists of rows, ``targets`` (row decided on, tranche, weights)."""
    n_days, n_coins = len(prices["close"]), len(prices["close"][0])
    decided = {row: (tranche, weights) for row, tranche, weights in targets}
    first = targets[0][0] + 1
    told: dict = {"nav": [], "cash": [], "units": []}
    with localcontext() as context:
        context.prec = PRECISION
        account, due = Account(n_coins, n_tranches, costs, margin), None
        for day in range(n_days):
            bars = [
                tuple(prices[name][day][coin] for name in ("open", "high", "low", "close", "listing"))
                if prices["listing"][day][coin] >= 0
                else None
                for coin in range(n_coins)
            ]
            account.day(day, bars, prices["borrow"][day], due)
            due = None
            if day in decided:
                tranche, weights = decided[day]
                due = (tranche, account.orders(weights, tranche), weights)
            if day >= first:
                told["nav"].append(account.nav())
                told["cash"].append(account.cash)
                told["units"].append([account.units(coin) for coin in range(n_coins)])
    return account, told
