"""From atoms to physical coins: longs and shorts of one coin are netted, and the netting shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from assay.base.constants import TOLERANCE
from assay.base.domain import Atom
from assay.runs.documents import Contribution, FlattenedAsset, FlattenedProfile

UNCLASSIFIED = "UNCLASSIFIED"
"""No source of Assay knows the sector of a coin."""

FEWEST_COINS = 5
LEAST_SHARE = 0.5
"""A book is small that holds fewer coins, or less of the account."""


def is_small(coins: int, gross: float) -> bool:
    """Tell whether so many coins with so much gross weight, as a share of the account, are a small book.

    >>> is_small(5, 0.5), is_small(4, 1.0), is_small(9, 0.49)
    (False, True, True)
    """
    return coins < FEWEST_COINS or gross < LEAST_SHARE - TOLERANCE


def flatten(atoms: Sequence[Atom], weights: Sequence[float], clusters: Sequence[int]) -> FlattenedProfile:
    """Flatten the weights of one risk profile.

    Parameters
    ----------
    atoms : sequence of Atom
        Every winner; an atom without weight is listed too, so that provenance is complete.
    weights : (n_atoms,) sequence of float
        Shares of capital, >= 0, at most 1 in sum.
    clusters : (n_atoms,) sequence of int
        Cluster of each atom.

    Returns
    -------
    FlattenedProfile
        Assets by falling weight, then symbol. Per asset, net = sum of weight x sign, gross = sum of |weight|, direction
        by the sign of net, cluster of the heaviest atom (the first of equals). ``cash`` = 1 - gross.

    Examples
    --------
    >>> pair = [Atom("BINANCE:BTCUSDT", "rating_all", "LONG"), Atom("BINANCE:BTCUSDT", "rating_ma", "SHORT")]
    >>> coin = flatten(pair, [0.25, 0.5], [1, 2]).assets[0]
    >>> coin.Net_Weight, coin.Gross_Weight, coin.Direction, coin.Cluster_ID, coin.Market
    (-0.25, 0.75, 'SHORT', 2, 'BINANCE_SPOT')
    """
    held: dict[str, list[tuple[Atom, float, int]]] = {}
    for atom, weight, cluster in zip(atoms, weights, clusters, strict=True):
        held.setdefault(atom.symbol, []).append((atom, float(weight), int(cluster)))
    assets = sorted((_asset(symbol, parts) for symbol, parts in held.items()), key=lambda a: (-a.Weight, a.Symbol))
    gross = math.fsum(asset.Gross_Weight for asset in assets)
    net = math.fsum(asset.Net_Weight for asset in assets)
    return FlattenedProfile(assets=assets, cash=max(0.0, 1.0 - gross), gross=gross, net=net)


def _asset(symbol: str, parts: list[tuple[Atom, float, int]]) -> FlattenedAsset:
    # Correctly rounded sums: a long and a short of equal weight are exactly flat.
    gross = math.fsum(abs(weight) for _, weight, _ in parts)
    net = math.fsum(weight * atom.sign for atom, weight, _ in parts)
    heaviest = max(parts, key=lambda part: part[1])
    ordered = sorted(parts, key=lambda part: (-part[1], part[0]))
    return FlattenedAsset(
        Symbol=symbol,
        Weight=gross,
        Net_Weight=net,
        Gross_Weight=gross,
        Direction="LONG" if net > 0.0 else "SHORT" if net < 0.0 else "FLAT",
        Cluster_ID=heaviest[2],
        Market=f"{symbol.partition(':')[0]}_SPOT",
        Sector=UNCLASSIFIED,
        Atoms=[
            Contribution(Atom=atom.id, Logic=atom.logic, Direction=atom.direction, Weight=weight)  # type: ignore[arg-type]  # Atom holds checked strings
            for atom, weight, _ in ordered
        ],
    )
