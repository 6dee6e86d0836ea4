"""The walk-forward as tables: what step 12 writes, sorted by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from assay.backtest.records import BookResult, Floats, Ints
from assay.runs.documents import Scalar

if TYPE_CHECKING:
    from assay.backtest.walk_forward import WalkForwardResult

INSTANT = pl.Datetime("us", "UTC")
DECISION_COLUMNS = {"as_of": INSTANT, "fill_date": pl.Date(), "held": pl.Int64(), "loss_makers": pl.Int64()}
WEIGHT_COLUMNS = {
    "as_of": INSTANT,
    "risk_profile": pl.String(),
    "symbol": pl.String(),
    "net_weight": pl.Float64(),
    "loss_maker": pl.Boolean(),
    "pnl": pl.Float64(),
}


def frames(result: WalkForwardResult) -> dict[str, pl.DataFrame]:
    """Return the tables of a walk-forward.

    Parameters
    ----------
    result : WalkForwardResult

    Returns
    -------
    dict of str to DataFrame
        ``returns``, ``unguarded_returns``
            date, risk_profile, nav, ret, gross, net, cash, turnover, cost, borrow, one row per day. ``nav`` and
            ``cash`` are amounts of an account that began with 1; ``gross`` and ``net`` are exposures at the close over
            NAV; ``turnover``, ``cost`` and ``borrow`` are the day's amounts over the NAV at the close before.
        ``weights``, ``unguarded_weights``
            as_of, risk_profile, symbol, net_weight, loss_maker, pnl: one row per decided holding, with its profit
            until the next decision in units of the initial account; weight 0 is a coin that could not be left.
        ``decisions``
            as_of, fill_date, held, loss_makers, then the decisions' own summaries, null where one tells nothing.
        ``trades``
            date, risk_profile, symbol, reason, quantity, price, reference, fee, slippage, in units and account money.
        ``cancelled``
            date, risk_profile, symbol, net_weight, quantity: orders that met no bar, and what stayed.
    """
    return {
        "returns": _returns(result, result.books),
        "unguarded_returns": _returns(result, result.unguarded),
        "weights": _weights(result, result.books, guarded=True),
        "unguarded_weights": _weights(result, result.unguarded, guarded=False),
        "decisions": _decisions(result),
        "trades": _trades(result),
        "cancelled": _cancelled(result),
    }


def _returns(result: WalkForwardResult, books: Mapping[str, BookResult]) -> pl.DataFrame:
    parts = [
        pl.DataFrame(
            {
                "date": result.days,
                "risk_profile": [name] * len(result.days),
                "nav": book.nav,
                "ret": book.returns,
                "gross": book.gross,
                "net": book.net,
                "cash": book.cash,
                "turnover": book.turnover,
                "cost": book.cost_share,
                "borrow": book.borrow_share,
            }
        )
        for name, book in books.items()
    ]
    return pl.concat(parts).sort("risk_profile", "date")


def _period_pnl(result: WalkForwardResult, book: BookResult) -> Floats:
    """Profit of each holding until the next decision, (n_rebalances, n_symbols)."""
    pnl = np.zeros((len(result.rebalances), len(result.symbols)))
    pnl[:, book.columns] = np.add.reduceat(book.holding_pnl, result.fill_of, axis=0)
    return pnl


def _weights(result: WalkForwardResult, books: Mapping[str, BookResult], *, guarded: bool) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    for name, book in books.items():
        pnl = _period_pnl(result, book)
        for index, rebalance in enumerate(result.rebalances):
            targets = rebalance.targets
            decided = (targets.net if guarded else targets.unguarded).get(name, {})
            losers = set(targets.loss_makers)
            earned = {result.symbols[at]: float(pnl[index, at]) for at in np.flatnonzero(pnl[index]).tolist()}
            held = {symbol for symbol, weight in decided.items() if weight != 0.0} | earned.keys()
            rows.extend(
                (rebalance.as_of, name, symbol, decided.get(symbol, 0.0), symbol in losers, earned.get(symbol, 0.0))
                for symbol in sorted(held)
            )
    return pl.DataFrame(rows, schema=WEIGHT_COLUMNS, orient="row").sort("as_of", "risk_profile", "symbol")


def _decisions(result: WalkForwardResult) -> pl.DataFrame:
    first = result.rebalances[0].row
    summaries = [rebalance.targets.summary for rebalance in result.rebalances]
    told = {name for summary in summaries for name in summary}
    if told & DECISION_COLUMNS.keys():
        raise ValueError(f"a decision's summary may not use the names {sorted(told & DECISION_COLUMNS.keys())}")
    rows = [
        (
            rebalance.as_of,
            result.days[rebalance.row - first].item(),
            len({symbol for weights in rebalance.targets.net.values() for symbol, w in weights.items() if w != 0.0}),
            len(set(rebalance.targets.loss_makers)),
        )
        for rebalance in result.rebalances
    ]
    own = [_column(name, [summary.get(name) for summary in summaries]) for name in sorted(told)]
    return pl.DataFrame(rows, schema=DECISION_COLUMNS, orient="row").with_columns(own).sort("as_of")


def _column(name: str, values: Sequence[Scalar]) -> pl.Series:
    """Column of mixed scalars: the narrowest of boolean, integer, float and text that holds them all."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {int}:
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds and kinds <= {int, float}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)


def _named(result: WalkForwardResult, book: BookResult, row: Ints, column: Ints, name: str) -> list[pl.Series]:
    return [
        pl.Series("date", result.days[row - book.rows[0]], dtype=pl.Date),
        pl.Series("risk_profile", [name] * len(row), dtype=pl.String),
        pl.Series("symbol", [result.symbols[at] for at in column.tolist()], dtype=pl.String),
    ]


def _trades(result: WalkForwardResult) -> pl.DataFrame:
    parts = []
    for name, book in result.books.items():
        trades = book.trades
        own = [
            pl.Series("reason", trades.reason, dtype=pl.String),
            pl.Series("quantity", trades.quantity),
            pl.Series("price", trades.price),
            pl.Series("reference", trades.reference),
            pl.Series("fee", trades.fee),
            pl.Series("slippage", trades.slippage),
        ]
        parts.append(pl.DataFrame(_named(result, book, trades.row, trades.column, name) + own))
    return pl.concat(parts).sort("date", "risk_profile", "symbol", "reason")


def _cancelled(result: WalkForwardResult) -> pl.DataFrame:
    parts = []
    for name, book in result.books.items():
        orders = book.cancelled
        own = [pl.Series("net_weight", orders.weight), pl.Series("quantity", orders.quantity)]
        parts.append(pl.DataFrame(_named(result, book, orders.row, orders.column, name) + own))
    return pl.concat(parts).sort("date", "risk_profile", "symbol")
