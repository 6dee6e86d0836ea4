"""The book against an account that is kept by hand, on generated books of every kind, and the rules of margin."""

from __future__ import annotations

from collections import Counter

import numpy as np
from account_by_hand import keep
from evaluation_markets import listings

from assay.backtest.book import BookResult, Prices, Target, simulate
from assay.settings.model import Costs, Margin

SIDES = ("long", "short", "mixed", "net-zero")
NAN = float("nan")
FREE = Costs(fee=0.0, slippage=0.0, borrow=0.0, delisting_haircut=0.0)
BARE = Margin(liquidation_fee=0.0)
BOOKS = 200


def generated(seed: int) -> tuple[Prices, list[Target], int, Costs]:
    """Bars with holes and delistings, and targets of one to five tranches."""
    rng = np.random.default_rng([16, seed])
    side, n_tranches = SIDES[seed % 4], (1, 1, 2, 5)[seed // 4 % 4]
    n_days, n_coins = int(rng.integers(20, 45)), int(rng.integers(2, 7))
    calm = seed % 5 == 0  # coins that hardly move, highly leveraged: what ends there ends by a delisting's haircut
    wild = 0.001 if calm else rng.choice([0.03, 0.1, 0.25])
    close = np.exp(np.cumsum(rng.normal(0, wild, (n_days, n_coins)), axis=0))
    before = np.vstack([close[:1], close[:-1]])
    open_ = before * np.exp(rng.normal(0, wild / 4, close.shape) + (rng.random(close.shape) < 0.02 * (not calm)) * 0.5)
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, wild / 2, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, wild / 2, close.shape)))
    gone = rng.random(close.shape) < rng.choice([0.0, 0.05, 0.2])
    for column in np.flatnonzero(rng.random(n_coins) < (0.7 if calm else 0.3)):
        begin = int(rng.integers(3, n_days))
        gone[begin : begin + int(rng.integers(3, 12)), column] = True
    for values in (open_, high, low, close):
        values[gone] = NAN
    targets = []
    step = max(n_tranches, int(rng.integers(2, 6))) if n_tranches == 1 else 1
    for index, row in enumerate(range(int(rng.integers(0, 3)), n_days - 1, step)):
        weights = rng.dirichlet(np.ones(n_coins)) * (7.0 if calm else rng.choice([1.0, 2.0, 5.0, 9.0]))
        if side == "short":
            weights = -weights
        elif side == "mixed":
            weights = weights * rng.choice([-1.0, 1.0], n_coins)
        elif side == "net-zero":
            weights = weights - weights.mean()
        weights[rng.random(n_coins) < 0.2] = 0.0
        if rng.random() < 0.1:
            weights[:] = 0.0
        targets.append(Target(row, index % n_tranches, weights))
    rates = rng.choice([0.05, 0.1, 0.8], close.shape)
    costs = Costs(delisting_haircut=0.3 if calm else 0.1)
    return Prices(open_, high, low, close, listings(close), rates), targets, n_tranches, costs


def by_hand(bars: Prices, targets: list[Target], costs: Costs, n_tranches: int, margin: Margin | None):
    plain = {name: getattr(bars, name).tolist() for name in ("open", "high", "low", "close", "listing", "borrow")}
    told = [(target.row, target.tranche, target.weights.tolist()) for target in targets]
    kept = None if margin is None else margin.model_dump()
    return keep(plain, told, costs.model_dump(), n_tranches, kept)


def compare(seed: int, margin: Margin | None) -> BookResult:
    """Keep one account twice; NAV, cash, quantities and trades agree to 1e-12 of what the account moves."""
    bars, targets, n_tranches, costs = generated(seed)
    book = simulate(bars, targets, costs, n_tranches=n_tranches, margin=margin)
    account, told = by_hand(bars, targets, costs, n_tranches, margin)
    scale = 1.0 + book.gross_value.max()
    np.testing.assert_allclose(book.nav, np.array(told["nav"], dtype=float), rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(book.cash, np.array(told["cash"], dtype=float), rtol=1e-12, atol=1e-12 * scale)
    units = np.array(told["units"], dtype=float)
    np.testing.assert_allclose(book.quantities, units[:, book.columns], rtol=1e-12, atol=1e-12 * scale)
    parts = np.array(account.parts, dtype=float)
    np.testing.assert_allclose(book.by_tranche, parts[:, book.columns], rtol=1e-12, atol=1e-12 * scale)
    assert (book.liquidation_moment or "") == account.ended
    # What is left of a sum of decimals is no trade of the other side.
    mine = [(r, c, q, p, why) for r, c, q, p, why in told_trades(book) if abs(q * p) > 1e-11 * scale]
    theirs = sorted((d, c, float(q), float(p), why) for d, c, q, p, why in account.trades if abs(q * p) > 1e-11 * scale)
    assert [(row, column, why) for row, column, _, _, why in mine] == [(d, c, why) for d, c, _, _, why in theirs]
    for at in (2, 3):
        np.testing.assert_allclose(
            [each[at] for each in mine], [each[at] for each in theirs], rtol=1e-12, atol=1e-12 * scale
        )
    held = set(book.columns.tolist())
    assert sorted(zip(book.cancelled.row.tolist(), book.cancelled.column.tolist(), strict=True)) == sorted(
        (day, coin) for day, coin in account.cancelled if coin in held
    )
    return book


def told_trades(book: BookResult) -> list[tuple]:
    trades = book.trades
    names = ("row", "column", "quantity", "price", "reason")
    return sorted(zip(*(getattr(trades, name).tolist() for name in names), strict=True))


def test_agrees_with_an_account_kept_by_hand_on_200_books():
    moments = Counter(compare(seed, Margin()).liquidation_moment for seed in range(BOOKS))
    assert sum(count for moment, count in moments.items() if moment) >= 50
    assert min(moments[moment] for moment in ("open", "day", "close")) >= 5, moments
    assert moments[None] >= 50


def test_agrees_without_a_margin_too():
    moments = Counter(compare(seed, None).liquidation_moment for seed in range(0, BOOKS, 4))
    assert set(moments) <= {None, "close"}
