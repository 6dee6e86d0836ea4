"""The book as it is held: earlier days' tranches at today's marks, and today's decision in the place of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from assay.backtest.book import BookResult
from assay.runs.documents import HeldBook, HeldCoin, HeldPart


def held_book(
    book: BookResult, symbols: Sequence[str], today: Mapping[str, float], tranche: int | None = None
) -> HeldBook:
    """Return what one risk profile holds once today's orders are filled.

    Parameters
    ----------
    book : BookResult
        Held to the close of the decision's bar.
    symbols : sequence of str
        What its columns are.
    today : mapping of str to float
        Net weights that are decided today, each a share of NAV as if the whole account followed.
    tranche : int, optional
        Whose day it is; None where nobody's is, so that everything stands still.

    Returns
    -------
    HeldBook
        Weights are shares of NAV at the close. An account that was liquidated holds nothing: what is left of it is
        final.
    """
    parts: dict[str, list[HeldPart]] = {}
    nav = float(book.nav[-1])
    if book.liquidated is None and nav > 0.0:
        for symbol, part in _parts(book, symbols, today, tranche, nav):
            parts.setdefault(symbol, []).append(part)
    assets = [
        HeldCoin(
            Symbol=symbol,
            Net_Weight=math.fsum(part.Weight for part in own),
            Parts=sorted(own, key=lambda part: part.Tranche),
        )
        for symbol, own in sorted(parts.items())
    ]
    gross = math.fsum(abs(coin.Net_Weight) for coin in assets)
    return HeldBook(assets=assets, gross=gross, net=math.fsum(coin.Net_Weight for coin in assets), cash=1.0 - gross)


def _parts(
    book: BookResult, symbols: Sequence[str], today: Mapping[str, float], tranche: int | None, nav: float
) -> Iterator[tuple[str, HeldPart]]:
    n_tranches = len(book.by_tranche)
    for which, (units, filled) in enumerate(zip(book.by_tranche, book.filled_rows, strict=True)):
        if which == tranche:
            continue
        age = int(book.rows[-1]) - int(filled) + 1  # decided on the bar before its fill
        for column, unit, mark in zip(book.columns, units, book.marks[-1], strict=True):
            if unit:
                yield symbols[column], HeldPart(Tranche=which, Age=age, Weight=float(unit * mark / nav))
    if tranche is not None:
        for symbol, weight in today.items():
            if weight:
                yield symbol, HeldPart(Tranche=tranche, Age=0, Weight=weight / n_tranches)
