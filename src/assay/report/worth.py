"""What a decision was worth, in sentences: one for each question, the answer first."""

from __future__ import annotations

from collections.abc import Iterator

from assay.report.markdown import count, integer, names, percent, ratio
from assay.runs.documents import AtCapital, Baseline, Capacity, Lots, Worth

BOOKS = {
    "benchmark": "the benchmark on the sleeve's side",
    "candidates": "equal weight of the scanner's candidates",
    "winners": "equal weight of the winners",
    "inverse_volatility": "inverse volatility of the winners",
}
"""Baseline to its words."""


def sentences(worth: Worth) -> list[str]:
    """Say what the headline's decisions were worth.

    Parameters
    ----------
    worth : Worth
        A run's document.

    Returns
    -------
    list of str
        Whole sentences.
    """
    if not worth.baselines:
        return [f"{worth.risk_profile} held nothing on {count(worth.days, 'day')}: there is nothing to judge."]
    span = f"{count(worth.days, 'day')}, {worth.first} to {worth.last}"
    made = f"{worth.risk_profile} made {ratio(worth.final_wealth)} of 1 on {span}"
    return [
        f"{made}, Sharpe {ratio(worth.sharpe)}, at a mean gross of {percent(worth.mean_gross)}.",
        *(_against(words, worth.final_wealth, found) for words, found in _books(worth)),
        *_exposure(worth),
        *_lots(worth.lots),
        *_legs(worth),
        *_capacity(worth.capacity),
    ]


def losses(worth: Worth) -> list[str]:
    """Name the baselines that the book loses to."""
    return [
        f"{words} ({ratio(found.final_wealth)}{', clearly' if found.clearly else ''})"
        for words, found in _books(worth)
        if found.loses
    ]


def _books(worth: Worth) -> Iterator[tuple[str, Baseline]]:
    """Yield the baselines in the order of their words: a file has them by name."""
    return ((words, worth.baselines[name]) for name, words in BOOKS.items() if name in worth.baselines)


def _against(words: str, wealth: float, found: Baseline) -> str:
    if found.ahead is not None and abs(found.ahead) < 1e-9:
        return f"It ends where {words} ends, at {ratio(found.final_wealth)}."
    verb = "loses to" if found.loses else "ends above"
    said = f"It {'clearly ' if found.clearly else ''}{verb} {words} at the same gross: {ratio(wealth)} against "
    said += f"{ratio(found.final_wealth)}, Sharpe {ratio(found.sharpe)}"
    if found.ahead is None:
        return f"{said}; one of the two lost everything."
    said += f", {_signed(found.ahead)} a year in log growth"
    if found.ahead_low is None:
        return f"{said}; too few days for an interval."
    return f"{said} (95 % from {_signed(found.ahead_low)} to {_signed(found.ahead_high)})."


def _signed(value: float | None) -> str:
    return f"{'+' if value is not None and value > 0.0 else ''}{percent(value)}"


def _exposure(worth: Worth) -> Iterator[str]:
    found = worth.exposure
    if found is None:
        yield "Alpha and beta cannot be told: too few days, or a benchmark that does not move."
        return
    yield (
        f"Alpha to the benchmark is {_signed(found.alpha)} a year (95 % from {_signed(found.alpha_low)} to "
        f"{_signed(found.alpha_high)}), beta {ratio(found.beta)} ({ratio(found.beta_low)} to {ratio(found.beta_high)})."
    )


def _lots(lots: Lots | None) -> Iterator[str]:
    if lots is None:
        return
    if 2 * lots.without_choice > lots.decisions:
        forced = f"in {integer(lots.without_choice)} of {count(lots.decisions, 'decision')}"
        yield f"There was no choice: {forced} the winners were all candidates that could be held."
    elif lots.percentile is None:
        yield "The selection cannot be ranked: its winners in equal weights have no Sharpe ratio."
    else:
        yield (
            f"The selection is at percentile {ratio(lots.percentile, 1)} of {integer(lots.draws)} draws of as many of "
            f"the same candidates: Sharpe {ratio(lots.sharpe)} in equal weights without costs, the draws "
            f"{ratio(lots.drawn_low)} to {ratio(lots.drawn_high)} with {ratio(lots.drawn_median)} in the middle."
        )
    cost, drawn = percent(lots.cost), percent(lots.drawn_cost)
    yield f"Turnover would have cost these winners {cost} a year, and a draw {drawn}."


def _legs(worth: Worth) -> Iterator[str]:
    legs = worth.legs
    yield (
        f"Of the change of {_signed(legs.total)}, longs made {_signed(legs.long)}, shorts {_signed(legs.short)}; costs "
        f"took {percent(legs.cost)}, borrowing {percent(legs.carry)}."
    )


def _capacity(capacity: Capacity | None) -> Iterator[str]:
    if capacity is None:
        return
    model = "By a model of what orders do to prices, not a measurement"
    if capacity.capacity is None:
        yield f"{model}, it has no capacity: without any impact it does not grow."
    elif capacity.capacity == 0.0:
        yield f"{model}, it has no capacity: already with 1,000 it loses half of its growth."
    else:
        yield f"{model}, it keeps half of its growth with up to {integer(capacity.capacity)}."
    ends = "; ".join(f"{ratio(one.final_wealth)} with {integer(one.capital)}" for one in capacity.at)
    yield f"In that model 1 becomes {ends}."
    yield from (_untradable(one) for one in capacity.at if one.untradable)


def _untradable(one: AtCapital) -> str:
    each = names([f"{symbol} ({integer(n)})" for symbol, n in one.untradable.items()])
    of = f"{integer(sum(one.untradable.values()))} of {count(one.orders, 'order')}"
    return f"UNTRADABLE with {integer(one.capital)}: {of} exceed a tenth of a day's value traded, {each}."
