"""From sleeves to physical coins: contributors named, netting shown, mass conserved, concentration limited.

A sleeve's coins are read from its own run. Where the sleeve is a meta-portfolio, these are its contributors, which it
flattened from its own sleeves in the same way: flattening is recursive through the runs' artifacts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay.base.errors import IntegrityError
from assay.gates.portfolio import CONCENTRATION
from assay.risk.flatten import UNCLASSIFIED
from assay.risk.solve import CLOSED_FORM
from assay.runs import artifacts as layout
from assay.runs import documents as doc
from assay.runs.run import Run

NETTED = "META_NETTED"
SIGNS = {"LONG": 1.0, "SHORT": -1.0}


@dataclass(frozen=True)
class SleeveBook:
    """What a sleeve holds under one risk profile: its atoms, as shares of its own capital."""

    gross: float
    cash: float
    contributors: tuple[doc.Contributor, ...]


def read_books(run: Run, sleeve: str, risk_profiles: Sequence[str]) -> dict[str, SleeveBook]:
    """Read what a sleeve holds, by risk profile, from its run.

    Raises
    ------
    IntegrityError
        If a document is missing, or lacks a risk profile.
    """
    profiles = run[layout.FLATTENED].profiles
    below = run[layout.META_CONTRIBUTORS].profiles if run.kind == "meta" else None
    books = {}
    for name in risk_profiles:
        if name not in profiles:
            raise IntegrityError(
                f"{sleeve} has no {name}", where=str(run.folder), hint="run it again with all risk profiles"
            )
        flat = profiles[name]
        parts = _own(sleeve, flat) if below is None else _nested(sleeve, below[name])
        books[name] = SleeveBook(flat.gross, flat.cash, tuple(parts))
    return books


def _own(sleeve: str, flat: doc.FlattenedProfile) -> list[doc.Contributor]:
    return [
        doc.Contributor(
            Sleeve=sleeve,
            Path=[sleeve],
            Symbol=coin.Symbol,
            Atom=part.Atom,
            Logic=part.Logic,
            Direction=part.Direction,
            Weight=part.Weight,
            Held=part.Weight,
        )
        for coin in flat.assets
        for part in coin.Atoms
        if part.Weight > 0.0
    ]


def _nested(sleeve: str, book: doc.ContributorBook) -> list[doc.Contributor]:
    return [
        part.model_copy(update={"Sleeve": sleeve, "Path": [sleeve, *part.Path], "Weight": part.Held})
        for part in book.contributors
        if part.Held > 0.0
    ]


def flatten(weights: doc.MetaProfileWeights, books: Mapping[str, SleeveBook], max_coin: float) -> doc.ContributorBook:
    """Flatten one risk profile.

    Parameters
    ----------
    weights : MetaProfileWeights
        Of the sleeves.
    books : mapping of str to SleeveBook
        What each sleeve holds.
    max_coin : float
        Limit on the gross weight of a coin. Gross, so that neither side of a contested coin hides behind netting.

    Returns
    -------
    ContributorBook
        Contributors by falling weight, coins by falling gross weight; see the class for its identities.
    """
    given = {one.Sleeve: one.Weight for one in weights.sleeves}
    parts = [
        part.model_copy(update={"Weight": given[sleeve] * part.Weight})
        for sleeve in given
        for part in books[sleeve].contributors
    ]
    parts = [part for part in parts if part.Weight > 0.0]
    before: dict[str, list[float]] = {}
    for part in parts:
        before.setdefault(part.Symbol, []).append(part.Weight)
    sums = {symbol: math.fsum(found) for symbol, found in before.items()}
    factor = {symbol: max_coin / size if size > max_coin else 1.0 for symbol, size in sums.items()}
    held = [part.model_copy(update={"Held": part.Weight * factor[part.Symbol]}) for part in parts]
    coins = sorted((_coin(symbol, sums[symbol], held) for symbol in sums), key=lambda coin: (-coin.Gross, coin.Symbol))
    gross = math.fsum(coin.Gross for coin in coins)
    return doc.ContributorBook(
        sleeve_weight=given,
        sleeve_gross={sleeve: books[sleeve].gross for sleeve in given},
        before_netting=math.fsum(part.Weight for part in parts),
        concentration_cash=math.fsum(coin.To_Cash for coin in coins),
        gross=gross,
        abs_net=math.fsum(abs(coin.Net) for coin in coins),
        netted=math.fsum(coin.Netted for coin in coins),
        net=math.fsum(coin.Net for coin in coins),
        cash=max(0.0, 1.0 - gross),
        sleeve_cash=math.fsum(given[sleeve] * books[sleeve].cash for sleeve in given),
        unallocated=weights.cash,
        contributors=sorted(held, key=lambda part: (-part.Weight, part.Symbol, part.Path, part.Atom)),
        coins=coins,
    )


def _coin(symbol: str, before: float, held: Sequence[doc.Contributor]) -> doc.Netting:
    own = [part for part in held if part.Symbol == symbol]
    gross = math.fsum(part.Held for part in own)
    net = math.fsum(part.Held * SIGNS[part.Direction] for part in own)
    return doc.Netting(
        Symbol=symbol,
        Before=before,
        To_Cash=max(0.0, before - gross),
        Gross=gross,
        Long=math.fsum(part.Held for part in own if part.Direction == "LONG"),
        Short=math.fsum(part.Held for part in own if part.Direction == "SHORT"),
        Net=net,
        Netted=gross - abs(net),
        Long_Sleeves=sorted({part.Sleeve for part in own if part.Direction == "LONG"}),
        Short_Sleeves=sorted({part.Sleeve for part in own if part.Direction == "SHORT"}),
    )


def events(name: str, book: doc.ContributorBook, max_coin: float) -> list[doc.Event]:
    """Name each coin that was cut, and each that was netted."""
    cut = [
        doc.Event(
            code=CONCENTRATION,
            what=f"{name}: {coin.Symbol} would hold {coin.Before:.1%}; what exceeds {max_coin:.1%} is cash",
            values={"risk_profile": name, "symbol": coin.Symbol, "before": coin.Before, "to_cash": coin.To_Cash},
        )
        for coin in book.coins
        if coin.To_Cash > 0.0
    ]
    netted = [
        doc.Event(
            code=NETTED,
            what=f"{name}: {coin.Symbol} is long in one sleeve and short in another; {coin.Netted:.2%} cancels out",
            values={"risk_profile": name, "symbol": coin.Symbol, "netted": coin.Netted, "net": coin.Net},
        )
        for coin in book.coins
        if coin.Long > 0.0 and coin.Short > 0.0
    ]
    return cut + netted


# --- the documents that a sleeve has too ------------------------------------------------------------------------------


def flattened_profile(book: doc.ContributorBook) -> doc.FlattenedProfile:
    """Write one risk profile of ``portfolio_flattened.json``: atoms of equal id are added up over the sleeves.

    ``Cluster_ID`` numbers the coins by falling weight: the limit per coin is a cluster's.
    """
    atoms = _atoms(book)
    return doc.FlattenedProfile(
        assets=[
            doc.FlattenedAsset(
                Symbol=coin.Symbol,
                Weight=coin.Gross,
                Net_Weight=coin.Net,
                Gross_Weight=coin.Gross,
                Direction="LONG" if coin.Net > 0.0 else "SHORT" if coin.Net < 0.0 else "FLAT",
                Cluster_ID=number,
                Market=f"{coin.Symbol.partition(':')[0]}_SPOT",
                Sector=UNCLASSIFIED,
                Atoms=atoms[coin.Symbol],
            )
            for number, coin in enumerate(book.coins, start=1)
        ],
        cash=book.cash,
        gross=book.gross,
        net=book.net,
    )


def _atoms(book: doc.ContributorBook) -> dict[str, list[doc.Contribution]]:
    held: dict[tuple[str, str], list[doc.Contributor]] = {}
    for part in book.contributors:
        held.setdefault((part.Symbol, part.Atom), []).append(part)
    found: dict[str, list[doc.Contribution]] = {coin.Symbol: [] for coin in book.coins}
    for (symbol, atom), parts in sorted(held.items()):
        weight = math.fsum(part.Held for part in parts)
        found[symbol].append(
            doc.Contribution(Atom=atom, Logic=parts[0].Logic, Direction=parts[0].Direction, Weight=weight)
        )
    return found


def as_optimized(as_of: str, books: Mapping[str, doc.FlattenedProfile], max_coin: float) -> doc.Optimized:
    """Write the coins' atoms as if one optimizer had given them, each coin a cluster, for the allocation contract."""
    return doc.Optimized(
        as_of=as_of, profiles={name: _optimized(flat, max_coin) for name, flat in books.items()}, unguarded={}
    )


def _optimized(flat: doc.FlattenedProfile, max_coin: float) -> doc.OptimizedProfile:
    told = doc.Event(code="META_FLATTENED", what="weights of sleeves x weights in sleeves")
    return doc.OptimizedProfile(
        assets=[
            doc.OptimizedAsset(
                Symbol=coin.Symbol,
                Atom=part.Atom,
                Logic=part.Logic,
                Direction=part.Direction,
                Weight=part.Weight,
                Net_Weight=part.Weight * SIGNS[part.Direction],
                Cluster_ID=coin.Cluster_ID,
            )
            for coin in flat.assets
            for part in coin.Atoms
        ],
        clusters={str(coin.Cluster_ID): coin.Gross_Weight for coin in flat.assets},
        cash=flat.cash,
        budget=1.0,
        atom_cap=max_coin,
        cluster_cap=max_coin,
        solver=CLOSED_FORM,
        events=[told],
    )
