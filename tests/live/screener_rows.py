"""Records of the screener, written by hand."""

from __future__ import annotations

from typing import Any

VOTES = ("Rec.Ichimoku", "Rec.VWMA", "Rec.HullMA9", "Rec.Stoch.RSI", "Rec.WR", "Rec.BBPower", "Rec.UO")
CLOSED = "[1]|1D"


def pair(
    base: str,
    quote: str = "USDT",
    *,
    rating: float | None = 0.4,
    ma: float | None = None,
    close: float = 10.0,
    volume: float = 1e6,
    exchange: str = "BINANCE",
    **changes: Any,
) -> dict[str, Any]:
    """One pair's columns; its closed bar ranges 5 % around its close, its forming bar is 1 % higher."""
    bar = {"open": close, "high": close * 1.02, "low": close * 0.97, "close": close, "volume": volume}
    ratings = {
        "Recommend.All": rating,
        "Recommend.MA": rating if ma is None else ma,
        "Recommend.Other": None if rating is None else 2 * rating - (rating if ma is None else ma),
        "ADX": 25.0,
        **dict.fromkeys(VOTES, 0),
    }
    forming = {name: value * 1.01 for name, value in bar.items()} | ratings
    row: dict[str, Any] = {
        "name": base + quote,
        "exchange": exchange,
        "type": "spot",
        "base_currency": base,
        "currency": quote,
        "update_mode": "streaming",
        **forming,
        **{f"{name}{CLOSED}": value for name, value in {**bar, **ratings}.items()},
        "Value.Traded": close * volume,
        "Volatility.D": 5.0,
    }
    return row | changes


def book(*pairs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Pairs by symbol."""
    return {f"{row['exchange']}:{row['name']}": row for row in pairs}
