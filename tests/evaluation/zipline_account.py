"""An account that zipline keeps: its orders, its commissions, its ledger; only the bars and the fill prices are given.

Imported by the tests that have found zipline.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sqlalchemy import create_engine
from zipline.algorithm import TradingAlgorithm
from zipline.assets import AssetDBWriter, AssetFinder
from zipline.data.data_portal import DataPortal
from zipline.data.session_bars import SessionBarReader
from zipline.finance.commission import PerDollar
from zipline.finance.metrics.metric import SimpleLedgerField
from zipline.finance.slippage import SlippageModel
from zipline.finance.trading import SimulationParameters
from zipline.utils.calendar_utils import get_calendar

CALENDAR = get_calendar("24/7")


class Bars(SessionBarReader):
    """Daily bars from frames of days x coins; zipline's own reader of frames asks for an attribute that it lacks."""

    def __init__(self, frames):
        self.frames = frames

    @property
    def sessions(self):
        return self.frames["close"].index

    @property
    def first_trading_day(self):
        return self.sessions[0]

    @property
    def last_available_dt(self):
        return self.sessions[-1]

    @property
    def trading_calendar(self):
        return CALENDAR

    def get_value(self, sid, day, field):
        return float(self.frames[field].at[day, int(sid)])

    def get_last_traded_dt(self, asset, day):
        return day

    def load_raw_arrays(self, columns, start, end, assets):
        return [self.frames[name].loc[start:end, [int(sid) for sid in assets]].to_numpy() for name in columns]


class GivenPrices(SlippageModel):
    """Fills every order whole, on the bar after it was placed, at the price that is given for that bar."""

    def __init__(self, prices):
        super().__init__()
        self.prices = prices

    def process_order(self, data, order):
        return self.prices[data.current_session, int(order.asset.sid)], order.amount


def values(open_, close, trades, initial: float, fee: float) -> np.ndarray:
    """Daily values of the account, (n_days,), given fills and their prices; zipline charges the fee.

    Orders are whole numbers of units: the account must be so large that rounding does not matter.
    """
    # One day before the first, on which the first orders are placed.
    days = pd.date_range("2023-01-02", periods=len(close) + 1, freq="D")
    portal, finder = _market(open_, close, days)
    orders: dict = {}
    prices = {}
    for row, column, quantity, price in zip(trades.row, trades.column, trades.quantity, trades.price, strict=True):
        orders.setdefault(days[row], []).append((int(column), round(quantity)))
        prices[days[row + 1], int(column)] = price

    def initialize(context):
        context.set_slippage(us_equities=GivenPrices(prices))
        context.set_commission(us_equities=PerDollar(cost=fee))

    def place(context, data):
        for sid, amount in orders.get(data.current_session, []):
            context.order(finder.retrieve_asset(sid), amount)

    algorithm = TradingAlgorithm(
        SimulationParameters(days[0], days[-1], CALENDAR, capital_base=initial),
        data_portal=portal,
        asset_finder=finder,
        initialize=initialize,
        handle_data=place,
        trading_calendar=CALENDAR,
        benchmark_returns=pd.Series(0.0, index=days),
        metrics_set={SimpleLedgerField("portfolio.portfolio_value", "value")},
    )
    return algorithm.run()["value"].to_numpy()[1:]


def _market(open_, close, days):
    coins = list(range(close.shape[1]))

    def frame(table):
        return pd.DataFrame(np.vstack([table[:1], table]), index=days, columns=coins)

    frames = {
        "open": frame(open_),
        "high": frame(np.maximum(open_, close)),
        "low": frame(np.minimum(open_, close)),
        "close": frame(close),
        "volume": frame(np.full(close.shape, 1e18)),
    }
    engine = create_engine("sqlite:///:memory:")
    equities = pd.DataFrame(
        {
            "symbol": [f"COIN{i}" for i in coins],
            "asset_name": "",
            "start_date": days[0],
            "end_date": days[-1] + pd.Timedelta(days=5),
            "first_traded": days[0],
            "auto_close_date": pd.NaT,
            "exchange": "X",
        },
        index=coins,
    )
    exchanges = pd.DataFrame({"exchange": ["X"], "canonical_name": ["X"], "country_code": ["US"]})
    AssetDBWriter(engine).write(equities=equities, exchanges=exchanges)
    finder = AssetFinder(engine)
    return DataPortal(finder, CALENDAR, days[0], equity_daily_reader=Bars(frames)), finder
