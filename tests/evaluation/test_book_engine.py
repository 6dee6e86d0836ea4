"""The book against engines that others wrote, on the same fills: fees in, borrow and delisting off."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
from evaluation_markets import prices

from assay.backtest.book import Target, simulate
from assay.settings.model import Costs

pd = pytest.importorskip("pandas", reason="bt needs pandas")

INITIAL = 1e6
WHOLE_UNITS = 1e12
"""Zipline trades whole units only: an account in which half a unit is nothing."""
SIDES = ("long", "short", "mixed", "net-zero")


def generated(seed: int, side: str, n_days: int = 80, n_symbols: int = 5):
    """Prices and targets of a book that is rebalanced every tenth day."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.04, (n_days, n_symbols)), axis=0))
    open_ = close * np.exp(rng.normal(0.0, 0.01, close.shape))
    targets = []
    for row in range(0, n_days - 1, 10):
        weights = rng.dirichlet(np.ones(n_symbols))
        if side == "short":
            weights = -0.5 * weights
        elif side == "mixed":
            weights = 0.7 * weights * rng.choice([-1.0, 1.0], n_symbols)
        elif side == "net-zero":
            weights = weights - weights.mean()
        targets.append(Target(row, 0, weights))
    return open_, close, targets


def values_of_bt(bt, close, trades) -> np.ndarray:
    """Daily values of an account that bt keeps, given our fills and their prices; bt charges the fee."""
    days = pd.date_range("2023-01-02", periods=len(close), freq="D")
    names = [f"coin{i}" for i in range(close.shape[1])]
    prices = pd.DataFrame(close, index=days, columns=names)
    fills = pd.DataFrame({"price": trades.price, "quantity": trades.quantity})
    fills.index = pd.MultiIndex.from_arrays(
        [days[trades.row], [names[c] for c in trades.column]], names=["Date", "Security"]
    )
    strategy = bt.Strategy("book", [bt.algos.ReplayTransactions("fills")], children=names)
    test = bt.Backtest(
        strategy,
        prices,
        initial_capital=INITIAL,
        commissions=lambda quantity, price: abs(quantity) * price * 0.001,
        integer_positions=False,
        progress_bar=False,
        additional_data={"bidoffer": pd.DataFrame(0.0, index=days, columns=names), "fills": fills},
    )
    test.run()
    return test.strategy.values.to_numpy()[-len(close) :]  # bt puts a day before the first


def compare(bt, seed: int, side: str) -> float:
    """Largest difference between the two accounts in basis points a year."""
    open_, close, targets = generated(seed, side)
    costs = Costs(fee=0.001, slippage=0.0005, delisting_haircut=0.0)
    book = simulate(prices(close, open_, borrow=0.0), targets, costs, initial=INITIAL)
    assert book.liquidated is None
    other = values_of_bt(bt, close, book.trades)
    return float(np.abs(book.nav / other[1:] - 1.0).max() * 365 / len(close) * 1e4)


@pytest.fixture(scope="module")
def bt():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports warn
        return pytest.importorskip("bt", reason="bt is not installed")


@pytest.mark.parametrize("side", SIDES)
def test_agrees_with_bt_within_a_basis_point_a_year(bt, side: str):
    assert max(compare(bt, seed, side) for seed in range(3)) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_agrees_with_bt_on_200_books(bt, side: str):
    assert max(compare(bt, seed, side) for seed in range(50)) < 1.0


@pytest.fixture(scope="module")
def zipline_account():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports warn
        pytest.importorskip("zipline", reason="zipline-reloaded is not installed")
        return importlib.import_module("zipline_account")


def compare_with_zipline(account, seed: int, side: str) -> float:
    """Largest difference between the two accounts in basis points a year."""
    open_, close, targets = generated(seed, side)
    costs = Costs(fee=0.001, slippage=0.0005, delisting_haircut=0.0)
    book = simulate(prices(close, open_, borrow=0.0), targets, costs, initial=WHOLE_UNITS)
    assert book.liquidated is None
    assert len(book.trades.row) > 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it and its parts use what pandas and SQLAlchemy have deprecated
        other = account.values(open_, close, book.trades, WHOLE_UNITS, fee=0.001)
    return float(np.abs(book.nav / other[1:] - 1.0).max() * 365 / len(close) * 1e4)


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_agrees_with_zipline_on_200_books(zipline_account, side: str):
    assert max(compare_with_zipline(zipline_account, seed, side) for seed in range(50)) < 1.0


@pytest.mark.slow
def test_zipline_would_tell_a_wrong_fee_apart(zipline_account):
    open_, close, targets = generated(0, "mixed")
    free = Costs(fee=0.0, slippage=0.0005, delisting_haircut=0.0)
    book = simulate(prices(close, open_, borrow=0.0), targets, free, initial=WHOLE_UNITS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = zipline_account.values(open_, close, book.trades, WHOLE_UNITS, fee=0.001)
    assert np.abs(book.nav / other[1:] - 1.0).max() * 365 / len(close) * 1e4 > 100.0
