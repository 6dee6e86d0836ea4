"""What the screener would show of a market: closed and forming bars, ratings and votes by the plain-Python rules."""

from __future__ import annotations

from typing import Any

import naive_ratings
from exchange_world import DAY_MS, World

BARS = 600
"""Bars that the slow rules are run on; the seed of EMA 200 is then remembered by 1.8 %."""
BAR = ("open", "high", "low", "close", "volume")
VOTES = {
    "Rec.Ichimoku": "ichimoku",
    "Rec.VWMA": "vwma_20",
    "Rec.HullMA9": "hull_ma_9",
    "Rec.Stoch.RSI": "stoch_rsi",
    "Rec.WR": "williams_r",
    "Rec.BBPower": "bull_bear",
    "Rec.UO": "ultimate",
}


def book_of_world(world: World) -> dict[str, dict[str, Any]]:
    """Every listed pair, by symbol."""
    book = {}
    for pair in world.listed():
        rows = world.klines(pair.name, None, None, 10_000)
        closed = [row for row in rows if row[0] + DAY_MS <= world.now]
        forming = rows[-1] if rows[-1][0] + DAY_MS > world.now else None
        last = bool(closed) and closed[-1][0] == world.today - DAY_MS
        if last:
            book[f"BINANCE:{pair.name}"] = row_of(pair.base, pair.quote, closed[-BARS:], forming)
    return book


def row_of(base: str, quote: str, closed: list[Any], forming: list[Any] | None) -> dict[str, Any]:
    """One pair: columns by the screener's names."""
    before, now = shown(closed), shown([*closed, forming] if forming else closed)
    row: dict[str, Any] = {
        "name": base + quote,
        "exchange": "BINANCE",
        "type": "spot",
        "base_currency": base,
        "currency": quote,
        "update_mode": "streaming",
        **now,
        **{f"{name}[1]|1D": value for name, value in before.items()},
    }
    row["Value.Traded"] = row["close"] * row["volume"]
    row["Volatility.D"] = 100 * (row["high"] - row["low"]) / row["low"]
    return row


def shown(rows: list[Any]) -> dict[str, Any]:
    """The last bar of a list of klines, with its ratings."""
    traded = [row for row in rows if float(row[5]) > 0] or rows
    high, low, close, volume = ([float(row[i]) for row in traded] for i in (2, 3, 4, 5))
    values, cast, both, moving, other = naive_ratings.ratings(high, low, close, volume)
    last = dict(zip(BAR, map(float, rows[-1][1:6]), strict=True))
    ratings = {"Recommend.All": both[-1], "Recommend.MA": moving[-1], "Recommend.Other": other[-1]}
    return {**last, **ratings, "ADX": values["adx"][-1], **{name: cast[ours][-1] for name, ours in VOTES.items()}}
