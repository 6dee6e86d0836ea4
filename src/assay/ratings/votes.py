"""The 26 votes and the three ratings, from indicator values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assay.ratings.indicators import MA_WINDOWS
from assay.ratings.kernels import Floats

Flags = npt.NDArray[np.bool_]
Decision = tuple[Flags, Flags]
"""Where to buy, where to sell."""

EDITION = 1
"""Edition of the rules from bars to ratings. Whoever changes a rule, a kernel or a seed raises it: a lake whose ratings
are of another edition is rated anew by the next ingestion."""

STRONG = 0.5
WEAK = 0.1


@dataclass(frozen=True)
class Rule:
    """One vote: the indicators that it needs, and when they buy or sell."""

    inputs: tuple[str, ...]
    decide: Callable[..., Decision]


def _average(average: Floats, close: Floats) -> Decision:
    return average < close, average > close


def _ichimoku(
    conversion: Floats, base: Floats, lead_a: Floats, lead_b: Floats, close: Floats, close_prev: Floats
) -> Decision:
    # As TradingView's published script has it, the close of the bar before is compared with the line as it is now.
    buy = (lead_a > lead_b) & (close > lead_a) & (close < base) & (close > conversion) & (close_prev < conversion)
    sell = (lead_a < lead_b) & (close < lead_a) & (close > base) & (close < conversion) & (close_prev > conversion)
    return buy, sell


def _reversal(low: float, high: float) -> Callable[[Floats, Floats], Decision]:
    """Buy below ``low`` and rising, sell above ``high`` and falling."""

    def decide(now: Floats, prev: Floats) -> Decision:
        return (now < low) & (now > prev), (now > high) & (now < prev)

    return decide


def _stochastic(k: Floats, d: Floats) -> Decision:
    return (k < 20) & (d < 20) & (k > d), (k > 80) & (d > 80) & (k < d)


def _adx(adx: Floats, plus: Floats, minus: Floats, plus_prev: Floats, minus_prev: Floats) -> Decision:
    trending = adx > 20
    return (
        trending & (plus > minus) & (plus_prev <= minus_prev),
        trending & (plus < minus) & (plus_prev >= minus_prev),
    )


def _awesome(ao: Floats, prev: Floats, prev2: Floats) -> Decision:
    buy = (ao > 0) & ((prev <= 0) | ((ao > prev) & (prev < prev2)))
    sell = (ao < 0) & ((prev >= 0) | ((ao < prev) & (prev > prev2)))
    return buy, sell


def _above(value: Floats, reference: Floats) -> Decision:
    return value > reference, value < reference


def _stochastic_rsi(k: Floats, d: Floats, close: Floats, trend: Floats) -> Decision:
    buy, sell = _stochastic(k, d)
    return buy & (close < trend), sell & (close > trend)


def _bull_bear(
    bull: Floats, bull_prev: Floats, bear: Floats, bear_prev: Floats, close: Floats, trend: Floats
) -> Decision:
    return (close > trend) & (bear < 0) & (bear > bear_prev), (close < trend) & (bull > 0) & (bull < bull_prev)


def _ultimate(ultimate: Floats) -> Decision:
    return ultimate > 70, ultimate < 30


MA_RULES = {
    **{f"sma_{window}": Rule((f"sma_{window}", "close"), _average) for window in MA_WINDOWS},
    **{f"ema_{window}": Rule((f"ema_{window}", "close"), _average) for window in MA_WINDOWS},
    "ichimoku": Rule(("conversion", "base", "lead_a", "lead_b", "close", "close_prev"), _ichimoku),
    "vwma_20": Rule(("vwma_20", "close"), _average),
    "hull_ma_9": Rule(("hull_ma_9", "close"), _average),
}

OTHER_RULES = {
    "rsi": Rule(("rsi", "rsi_prev"), _reversal(30, 70)),
    "stochastic": Rule(("stoch_k", "stoch_d"), _stochastic),
    "cci": Rule(("cci", "cci_prev"), _reversal(-100, 100)),
    "adx": Rule(("adx", "plus_di", "minus_di", "plus_di_prev", "minus_di_prev"), _adx),
    "awesome": Rule(("ao", "ao_prev", "ao_prev2"), _awesome),
    "momentum": Rule(("momentum", "momentum_prev"), _above),
    "macd": Rule(("macd", "macd_signal"), _above),
    "stoch_rsi": Rule(("stoch_rsi_k", "stoch_rsi_d", "close", "ema_50"), _stochastic_rsi),
    "williams_r": Rule(("williams_r", "williams_r_prev"), _reversal(-80, -20)),
    "bull_bear": Rule(
        ("bull_power", "bull_power_prev", "bear_power", "bear_power_prev", "close", "ema_50"), _bull_bear
    ),
    "ultimate": Rule(("ultimate",), _ultimate),
}

RULES = {**MA_RULES, **OTHER_RULES}

VOTES = tuple(RULES)
"""Names of the votes: 15 moving averages, then 11 oscillators."""


def votes(indicators: Mapping[str, Floats]) -> dict[str, Floats]:
    """Turn indicator values into votes.

    Parameters
    ----------
    indicators : mapping of str to arrays of one shape
        Computed or recorded, under the names of :mod:`~assay.ratings.indicators`.

    Returns
    -------
    dict of str to arrays
        For every name of :data:`VOTES`: +1 buy, -1 sell, 0 neither, NaN unless all that the vote needs exists.

    Examples
    --------
    >>> names = {name for rule in RULES.values() for name in rule.inputs}
    >>> recorded = dict.fromkeys(names, np.full(1, np.nan)) | {"ultimate": np.array([71.0])}
    >>> {name: vote.item() for name, vote in votes(recorded).items() if vote == 1}
    {'ultimate': 1.0}
    """
    return {name: _vote(rule, [indicators[source] for source in rule.inputs]) for name, rule in RULES.items()}


def _vote(rule: Rule, inputs: Sequence[Floats]) -> Floats:
    buy, sell = rule.decide(*inputs)
    result = np.subtract(buy.view(np.int8), sell.view(np.int8)).astype(np.float64)
    missing = np.isnan(inputs[0])
    for source in inputs[1:]:
        missing |= np.isnan(source)
    np.copyto(result, np.nan, where=missing)
    return result


def ratings(cast: Mapping[str, Floats]) -> tuple[Floats, Floats, Floats]:
    """Return Recommend.All, Recommend.MA and Recommend.Other of votes.

    A group's rating is the mean over the votes that exist; All is the mean of the two groups.

    Examples
    --------
    >>> cast = {name: np.array([1.0 if name in MA_RULES else 0.0]) for name in VOTES}
    >>> [rating.item() for rating in ratings(cast)]
    [0.5, 1.0, 0.0]
    """
    averages = _mean([cast[name] for name in MA_RULES])
    oscillators = _mean([cast[name] for name in OTHER_RULES])
    return (averages + oscillators) / 2.0, averages, oscillators


def _mean(group: Sequence[Floats]) -> Floats:
    total = np.zeros_like(group[0])
    count = np.zeros_like(group[0])
    for vote in group:
        known = ~np.isnan(vote)
        np.add(total, vote, out=total, where=known)
        count += known
    result = np.full_like(total, np.nan)
    return np.divide(total, count, out=result, where=count > 0)


def label(rating: float | None) -> str:
    """Return the word for a rating: strong beyond 0.5, neutral within 0.1, both bounds included in the weaker word.

    Examples
    --------
    >>> [label(rating) for rating in (0.6, 0.5, 0.1, -0.2, -1.0, None)]
    ['STRONG_BUY', 'BUY', 'NEUTRAL', 'SELL', 'STRONG_SELL', 'UNKNOWN']
    """
    if rating is None or np.isnan(rating):
        return "UNKNOWN"
    if abs(rating) <= WEAK:
        return "NEUTRAL"
    side = "BUY" if rating > 0 else "SELL"
    return f"STRONG_{side}" if abs(rating) > STRONG else side
