"""The book that is held now: the tranche book of the walk-forward, after today's decision."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from assay.backtest.book import BookResult
from assay.backtest.walk_forward import HeldWalk, due
from assay.base.domain import format_instant
from assay.market.panel import Market
from assay.runs.documents import HeldAsset, HeldBook, HeldBooks, HeldPart
from assay.settings.model import Profile

Today = Mapping[str, Mapping[str, float]]
"""Risk profile to symbol to net weight, as decided for the whole account."""


def holdings(market: Market, profile: Profile, result: HeldWalk, today: Today) -> HeldBooks:
    """Return what each tranche holds at the last close, where today's decision has taken its tranche's place.

    Parameters
    ----------
    market : Market
        What the walk-forward was made on; ends at the decision.
    profile : Profile
    result : HeldWalk
    today : mapping of str to mapping of str to float
        Today's decision.
    """
    turn = due(market.days[-1], result.began, profile.walk_forward)
    return HeldBooks(
        as_of=format_instant(market.as_of),
        tranches=profile.walk_forward.parts,
        due=turn,
        profiles={name: _book(market, result, book, turn, today[name]) for name, book in result.books.items()},
    )


def _book(market: Market, result: HeldWalk, book: BookResult, turn: int | None, today: Mapping[str, float]) -> HeldBook:
    nav = float(book.nav[-1])
    if book.liquidated is not None:
        return HeldBook(assets=[], cash=1.0, gross=0.0, net=0.0, nav=nav, liquidated=True)
    n_tranches, last = len(book.by_tranche), dict(zip(result.grid.tranches, result.rebalances, strict=True))
    held = dict(zip((result.symbols[at] for at in book.columns.tolist()), book.quantities[-1].tolist(), strict=True))
    price = dict(zip(held, book.marks[-1].tolist(), strict=True))
    price |= {symbol: float(market["close"][-1, market.column(symbol)]) for symbol in today}
    parts: dict[str, list[HeldPart]] = {symbol: [] for symbol, units in held.items() if units != 0.0}
    for tranche in range(n_tranches):
        if tranche == turn:
            now, age = format_instant(market.as_of), 0
            wanted = {symbol: share / n_tranches for symbol, share in today.items() if share != 0.0}
            found = {symbol: (share * nav / price[symbol], share) for symbol, share in wanted.items()}
        elif tranche in last:
            now, age = format_instant(last[tranche].as_of), (market.as_of - last[tranche].as_of).days
            units = dict(zip(held, book.by_tranche[tranche].tolist(), strict=True))
            found = {symbol: (own, own * price[symbol] / nav) for symbol, own in units.items() if own != 0.0}
        else:
            continue  # its first turn is still to come
        for symbol, (own, share) in found.items():
            part = HeldPart(tranche=tranche, as_of=now, age=age, units=own, weight=share)
            parts.setdefault(symbol, []).append(part)
    assets = [
        HeldAsset(
            Symbol=symbol,
            Net_Weight=math.fsum(part.weight for part in mine),
            Price=price[symbol],
            Held=held.get(symbol, 0.0),
            Parts=mine,
        )
        for symbol, mine in parts.items()
    ]
    assets.sort(key=lambda asset: (-abs(asset.Net_Weight), asset.Symbol))
    weights = np.array([asset.Net_Weight for asset in assets])
    gross, net = math.fsum(np.abs(weights)), math.fsum(weights)
    return HeldBook(assets=assets, cash=1.0 - gross, gross=gross, net=net, nav=nav, liquidated=False)
