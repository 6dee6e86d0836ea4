"""The tranche book that an account is held against: made of the decisions that the ledger itself keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from assay.account.difference import Apart, difference
from assay.account.state import GENESIS, MARK, Booked
from assay.backtest.book import Prices, Target, simulate
from assay.base.constants import Days
from assay.settings.model import Costs, Margin

DECISION = "decision"


def apart(
    entries: Sequence[Booked], prices: Prices, symbols: Sequence[str], days: Days, costs: Costs, margin: Margin
) -> Apart | None:
    """Return how far an account is from the tranche book of its decisions after its last marked day.

    A decision that was made late counts on the day on which the account made it, for both. None where nothing was
    decided before the last bar, or the bars do not reach back to the first decision.

    Parameters
    ----------
    entries : sequence of Booked
        The ledger.
    prices : Prices
        Of :func:`assay.backtest.walk_forward.prices_of`; what comes after the last marked day is not looked at.
    symbols : sequence of str
        Columns of the prices.
    days : (n_days,) datetime64[D] array
    costs : Costs
        Modelled.
    margin : Margin
    """
    genesis = next(entry for entry in entries if entry.kind == GENESIS)
    marked = [entry.body["day"] for entry in entries if entry.kind == MARK]
    days = days[: _row(marked[-1], days) + 1] if marked else days[:0]
    prices = Prices(*(getattr(prices, one.name)[: len(days)] for one in fields(Prices)))
    targets = sorted(_targets(entries, symbols, days), key=lambda target: target.row)
    if not targets or targets[0].row < 0 or not any(target.weights.any() for target in targets):
        return None
    book = simulate(prices, targets, costs, n_tranches=genesis.body["tranches"], margin=margin)
    told = difference(entries, book, targets, symbols, days)
    return told[-1] if told else None


def tracked(found: Apart) -> dict[str, Any]:
    """Return the comparison as the ledger keeps it, floats by their shortest digits."""
    return {"total": repr(found.total), "lines": {line: repr(amount) for line, amount in sorted(found.lines.items())}}


def _targets(entries: Iterable[Booked], symbols: Sequence[str], days: Days) -> Iterable[Target]:
    index = {symbol: at for at, symbol in enumerate(symbols)}
    for entry in entries:
        if entry.kind == DECISION:
            row = _row(entry.body["day"], days)
            if row < len(days) - 1:
                weights = np.zeros(len(symbols))
                for symbol, weight in entry.body["weights"].items():
                    weights[index[symbol]] = float(weight)
                yield Target(row, entry.body["tranche"], weights)


def _row(day: str, days: Days) -> int:
    return int((np.datetime64(day) - days[0]).astype(np.int64)) if len(days) else 0
