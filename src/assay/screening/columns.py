"""Columns that TradingView's crypto screener is asked for, under its names and under ours.

A column without a suffix is of the bar that is still forming; ``[1]|1D`` is the last closed daily bar's. Decisions read
the closed ones; both are kept.
"""

from __future__ import annotations

from types import MappingProxyType

CLOSED = "[1]|1D"
"""Suffix of the last closed daily bar."""

TEXTS = ("name", "exchange", "type", "base_currency", "currency", "update_mode")
"""What a pair is."""

BAR = MappingProxyType({"open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume"})

RATINGS = MappingProxyType(
    {
        "recommend_all": "Recommend.All",
        "recommend_ma": "Recommend.MA",
        "recommend_other": "Recommend.Other",
        "adx": "ADX",
    }
)

VOTES = MappingProxyType(
    {
        "vote_ichimoku": "Rec.Ichimoku",
        "vote_vwma_20": "Rec.VWMA",
        "vote_hull_ma_9": "Rec.HullMA9",
        "vote_stoch_rsi": "Rec.Stoch.RSI",
        "vote_williams_r": "Rec.WR",
        "vote_bull_bear": "Rec.BBPower",
        "vote_ultimate": "Rec.UO",
    }
)
"""The votes that the screener gives; it keeps the others to itself."""

FORMING = ("Value.Traded", "Volatility.D")
"""What is asked of the forming bar alone: the closed bar's follow from its prices and volume."""

OURS = MappingProxyType({**BAR, **RATINGS, **VOTES})
"""Our name of a column to the screener's, without suffix."""

NUMBERS = (*OURS.values(), *FORMING, *(f"{column}{CLOSED}" for column in OURS.values()))

COLUMNS = (*TEXTS, *NUMBERS)
"""Everything that is asked for, in order."""


def closed(name: str) -> str:
    """Return the screener's name of a closed bar's column from ours.

    >>> closed("recommend_all")
    'Recommend.All[1]|1D'
    """
    return OURS[name] + CLOSED
