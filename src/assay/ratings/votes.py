"""The 26 votes and the three ratings, from indicator values, by either edition of the screener's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
import numpy.typing as npt

from assay.base.constants import Bools, Floats
from assay.base.domain import DEFAULT_EDITION, MIXED_EDITION, Edition
from assay.base.errors import UsageError
from assay.ratings.averages import MA_WINDOWS

REVISION: Final = 2
"""Raised by whoever changes a rule, a kernel or a seed: a lake whose ratings are of another revision is rated anew by
the next ingestion."""

Votes = npt.NDArray[np.int8]
"""+1 buy, -1 sell, 0 neither, :data:`NO_VOTE` where the vote is not counted."""
NO_VOTE: Final = -128
Decision = tuple[Bools, Bools]
"""Where to buy, where to sell."""

STRONG = 0.5
WEAK = 0.1
TIED = 1e-12
"""Two lines, or a value and its previous one, that differ by less than this share of the value are equal."""
TIED_PERCENT = 1e-10
"""The same of values in percent: their rounding errors do not shrink with them."""


@dataclass(frozen=True)
class Rule:
    """One vote: the indicators that it reads, and when they buy or sell.

    Attributes
    ----------
    counted_by : tuple of str
        The vote is counted where these exist, and is then 0 where another input does not; the inputs where empty.
    """

    inputs: tuple[str, ...]
    decide: Callable[..., Decision]
    counted_by: tuple[str, ...] = ()


def _line(value: Floats, other: Floats) -> Decision:
    """Tell where a price lies above, and where below another one."""
    gap = value - other
    tied = np.abs(other) * TIED
    above = gap > tied
    np.negative(tied, out=tied)
    return above, gap < tied


def _percent(value: Floats, other: Floats) -> Decision:
    """Tell where a value between 0 and 100 lies above, and where below another one."""
    gap = value - other
    return gap > TIED_PERCENT, gap < -TIED_PERCENT


def _unbounded(value: Floats, other: Floats) -> Decision:
    """Tell the same of a value in percent that has no bound."""
    gap = value - other
    tied = np.maximum(np.abs(other) * TIED, TIED_PERCENT)
    return gap > tied, gap < -tied


def _average(average: Floats, close: Floats) -> Decision:
    return _line(close, average)


def _nothing(*inputs: Floats) -> Decision:
    # The screener's conditions contradict each other since 2024-12-26: no bar can meet them.
    never = np.zeros(inputs[0].shape, dtype=np.bool_)
    return never, never


def _ichimoku(
    conversion: Floats, base: Floats, lead_a: Floats, lead_b: Floats, close: Floats, close_prev: Floats
) -> Decision:
    # As TradingView's published script has it, the close of the bar before is compared with the line as it is now, and
    # the sell side asks for a close below the second lead, so that it is no mirror of the buy side.
    up, down = _line(lead_a, lead_b)
    over_base, under_base = _line(close, base)
    over, under = _line(close, conversion)
    was_over, was_under = _line(close_prev, conversion)
    buy = up & _line(close, lead_a)[0] & under_base & over & was_under
    sell = down & _line(close, lead_b)[1] & over_base & under & was_over
    return buy, sell


def _reversal(low: float, high: float, compare: Callable[[Floats, Floats], Decision]) -> Callable[..., Decision]:
    """Buy below ``low`` and rising, sell above ``high`` and falling."""

    def decide(now: Floats, prev: Floats) -> Decision:
        rising, falling = compare(now, prev)
        return (now < low) & rising, (now > high) & falling

    return decide


def _stochastic(k: Floats, d: Floats) -> Decision:
    above, below = _percent(k, d)
    return (k < 20) & (d < 20) & above, (k > 80) & (d > 80) & below


def _stochastic_cross(k: Floats, d: Floats, k_prev: Floats, d_prev: Floats) -> Decision:
    buy, sell = _stochastic(k, d)
    was_above, was_below = _percent(k_prev, d_prev)
    return buy & was_below, sell & was_above


def _trending(
    decide: Callable[..., Decision],
) -> Callable[..., Decision]:
    """Buy below the trend only, and sell above it."""

    def decided(close: Floats, trend: Floats, *lines: Floats) -> Decision:
        buy, sell = decide(*lines)
        above, below = _line(close, trend)
        return buy & below, sell & above

    return decided


def _adx_rising(adx: Floats, adx_prev: Floats, plus: Floats, minus: Floats) -> Decision:
    stronger = (adx > 20) & _percent(adx, adx_prev)[0]
    up, down = _percent(plus, minus)
    return stronger & up, stronger & down


def _adx_cross(adx: Floats, plus: Floats, minus: Floats, plus_prev: Floats, minus_prev: Floats) -> Decision:
    strong = adx > 20
    up, down = _percent(plus, minus)
    was_up, was_down = _percent(plus_prev, minus_prev)
    return strong & up & was_down, strong & down & was_up


def _awesome(ao: Floats, prev: Floats, prev2: Floats) -> Decision:
    rising, falling = _line(ao, prev)
    rose, fell = _line(prev, prev2)
    buy = (ao > 0) & ((prev < 0) | ((prev > 0) & rising & fell))
    sell = (ao < 0) & ((prev > 0) | ((prev < 0) & falling & rose))
    return buy, sell


def _bull_bear(
    bull: Floats, bull_prev: Floats, bear: Floats, bear_prev: Floats, close: Floats, trend: Floats
) -> Decision:
    above, below = _line(close, trend)
    return above & (bear < 0) & _line(bear, bear_prev)[0], below & (bull > 0) & _line(bull, bull_prev)[1]


def _ultimate(ultimate: Floats) -> Decision:
    return ultimate > 70, ultimate < 30


_STOCHASTIC_8 = ("stoch_8_k", "stoch_8_d")
_STOCHASTIC_14 = ("stoch_k", "stoch_d", "stoch_k_prev", "stoch_d_prev")
_STOCHASTIC_RSI = ("stoch_rsi_k", "stoch_rsi_d")
_ICHIMOKU = ("conversion", "base", "lead_a", "lead_b", "close", "close_prev")
_DI_PREVIOUS = ("plus_di_prev", "minus_di_prev")


def _previous(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}_prev" for name in names)


SHARED: Mapping[str, Rule] = {
    **{f"{kind}_{bars}": Rule((f"{kind}_{bars}", "close"), _average) for kind in ("sma", "ema") for bars in MA_WINDOWS},
    "vwma_20": Rule(("vwma_20", "close"), _average),
    "hull_ma_9": Rule(("hull_ma_9", "close"), _average),
    "rsi": Rule(("rsi", "rsi_prev"), _reversal(30, 70, _percent)),
    "cci": Rule(("cci", "cci_prev"), _reversal(-100, 100, _unbounded)),
    "awesome": Rule(("ao", "ao_prev", "ao_prev2"), _awesome, ("ao_prev",)),
    "momentum": Rule(("momentum", "momentum_prev"), _line),
    "macd": Rule(("macd", "macd_signal"), _line),
    "williams_r": Rule(("williams_r", "williams_r_prev"), _reversal(-80, -20, _percent)),
    "bull_bear": Rule(
        ("bull_power", "bull_power_prev", "bear_power", "bear_power_prev", "close", "ema_50"),
        _bull_bear,
        ("bull_power_prev",),
    ),
    "ultimate": Rule(("ultimate",), _ultimate),
}
"""Rules that both editions have."""

EDITIONS: Mapping[Edition, Mapping[str, Rule]] = {
    "2026": {
        "ichimoku": Rule(_ICHIMOKU, _nothing),
        "stochastic": Rule(_STOCHASTIC_8, _stochastic, _previous(_STOCHASTIC_8)),
        "adx": Rule(("adx", "adx_prev", "plus_di", "minus_di"), _adx_rising, ("adx", *_DI_PREVIOUS)),
        "stoch_rsi": Rule(("close", "ema_50", *_STOCHASTIC_RSI), _trending(_stochastic), _previous(_STOCHASTIC_RSI)),
    },
    "2021": {
        "ichimoku": Rule(_ICHIMOKU, _ichimoku),
        "stochastic": Rule(_STOCHASTIC_14, _stochastic_cross, _STOCHASTIC_14[2:]),
        "adx": Rule(("adx", "plus_di", "minus_di", *_DI_PREVIOUS), _adx_cross, ("adx", *_DI_PREVIOUS)),
        "stoch_rsi": Rule(
            ("close", "ema_50", *_STOCHASTIC_RSI, *_previous(_STOCHASTIC_RSI)),
            _trending(_stochastic_cross),
            _previous(_STOCHASTIC_RSI),
        ),
    },
}
"""What each edition rules otherwise; the first is the default."""

MA_VOTES = (*(f"{kind}_{bars}" for kind in ("sma", "ema") for bars in MA_WINDOWS), "ichimoku", "vwma_20", "hull_ma_9")
OTHER_VOTES = (
    *("rsi", "stochastic", "cci", "adx", "awesome", "momentum", "macd", "stoch_rsi", "williams_r", "bull_bear"),
    "ultimate",
)
VOTES = (*MA_VOTES, *OTHER_VOTES)
"""Names of the votes: 15 moving averages, then 11 oscillators."""


def check_edition(edition: str) -> Edition:
    """Return an edition's name.

    Raises
    ------
    UsageError
        If there is no such edition.
    """
    for known in get_args(Edition):
        if edition == known:
            return known  # type: ignore[no-any-return]  # get_args is not typed
    hint = f"one of {', '.join(get_args(Edition))}"
    if edition == MIXED_EDITION:
        hint = "an earlier version rated this state of the lake; run: assay ingest, then run again"
    raise UsageError(f"unknown edition {edition!r} of the rating rules", hint=hint)


def rules(edition: str = DEFAULT_EDITION) -> dict[str, Rule]:
    """Return the rule of every vote, in the order of :data:`VOTES`.

    Parameters
    ----------
    edition : {"2026", "2021"}

    Raises
    ------
    UsageError
        If there is no such edition.

    Examples
    --------
    >>> rules("2021")["adx"].inputs
    ('adx', 'plus_di', 'minus_di', 'plus_di_prev', 'minus_di_prev')
    """
    every = {**SHARED, **EDITIONS[check_edition(edition)]}
    return {name: every[name] for name in VOTES}


def votes(indicators: Mapping[str, Floats], edition: str = DEFAULT_EDITION) -> dict[str, Votes]:
    """Turn indicator values into votes.

    Parameters
    ----------
    indicators : mapping of str to arrays of one shape
        Computed or recorded, under the names of :mod:`~assay.ratings.indicators`.
    edition : {"2026", "2021"}

    Returns
    -------
    dict of str to int8 arrays
        For every name of :data:`VOTES`: +1 buy, -1 sell, 0 neither, -128 where the vote is not counted. A comparison
        with a value that does not exist is false.

    Examples
    --------
    >>> names = {name for rule in rules().values() for name in (*rule.inputs, *rule.counted_by)}
    >>> recorded = dict.fromkeys(names, np.full(1, np.nan)) | {"ultimate": np.array([71.0])}
    >>> {name: vote.item() for name, vote in votes(recorded).items() if vote != NO_VOTE}
    {'ultimate': 1}
    """
    with np.errstate(invalid="ignore"):
        return {name: vote(rule, indicators) for name, rule in rules(edition).items()}


def vote(rule: Rule, indicators: Mapping[str, Floats]) -> Votes:
    """Cast one vote, see :func:`votes`."""
    buy, sell = rule.decide(*(indicators[name] for name in rule.inputs))
    result: Votes = np.subtract(buy.view(np.int8), sell.view(np.int8))
    needed = [indicators[name] for name in rule.counted_by or rule.inputs]
    missing = np.isnan(needed[0])
    for values in needed[1:]:
        missing |= np.isnan(values)
    np.putmask(result, missing, NO_VOTE)
    return result


def ratings(cast: Mapping[str, Votes]) -> tuple[Floats, Floats, Floats]:
    """Return Recommend.All, Recommend.MA and Recommend.Other of votes.

    A group's rating is the mean over the votes that are counted; All is the mean of the groups that exist.

    Examples
    --------
    >>> cast = {name: np.array([1 if name in MA_VOTES else 0], dtype=np.int8) for name in VOTES}
    >>> [rating.item() for rating in ratings(cast)]
    [0.5, 1.0, 0.0]
    """
    averages = _mean([cast[name] for name in MA_VOTES])
    oscillators = _mean([cast[name] for name in OTHER_VOTES])
    both = (averages + oscillators) * 0.5
    for group, other in ((averages, oscillators), (oscillators, averages)):
        np.copyto(both, group, where=np.isnan(other))
    return both, averages, oscillators


def _mean(group: Sequence[Votes]) -> Floats:
    total = np.zeros(group[0].shape, dtype=np.int8)
    count = np.zeros_like(total)
    for cast in group:
        known = cast != NO_VOTE
        np.add(total, cast * known.view(np.int8), out=total)
        count += known.view(np.int8)
    with np.errstate(invalid="ignore"):
        return np.divide(total, count, dtype=np.float64)  # nothing over nothing is missing


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
