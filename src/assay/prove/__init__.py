"""Proof of one weight: the chain from bars to a net weight, every number recomputed from the link before it.

The recorded numbers of one artifact are what the next link is recomputed from, so that the first link that does not
hold is the one that was changed. Nothing is trusted for having been sealed: a run whose artifacts were replaced and
sealed anew is found by its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

from assay.base.domain import Atom, format_instant
from assay.base.errors import UsageError
from assay.prove.allocation import AllocationLinks
from assay.prove.links import Link, Pair, Proof
from assay.prove.market import MarketLinks
from assay.prove.portfolio import PortfolioLinks
from assay.prove.sealed import Sealed
from assay.prove.selection import SelectionLinks
from assay.runs import artifacts as layout
from assay.runs.documents import FlattenedProfile
from assay.settings.model import RiskProfile

__all__ = ["Link", "Pair", "Proof", "prove"]


def prove(home: Path, run: Path, registry: Path, risk_profile: str, symbol: str) -> Proof:
    """Prove one weight of a sealed run.

    Parameters
    ----------
    home : Path
        Folder of the lake that the run has pinned.
    run, registry : Path
        Directory of the run, and the registry that it was entered in.
    risk_profile, symbol : str
        Which portfolio, and which coin.

    Raises
    ------
    IntegrityError
        If the run (or a sleeve of it) is not sealed, or its seal is broken, or what it pinned cannot be read.
    UsageError
        ``NOT_IN_BOOK`` if the portfolio does not hold the coin: the message says where it fell out.
    """
    sealed = Sealed(home, run, registry)
    book = _book(sealed, risk_profile)
    held = [coin for coin in book.assets if coin.Symbol == symbol and coin.Gross_Weight > 0.0]
    if not held:
        raise UsageError(
            f"{symbol} is not in {risk_profile} of this run: {_fell_out(sealed, risk_profile, symbol)}",
            where=run.name,
            hint=f"more is told by: assay why {run.name} {symbol}",
            code="NOT_IN_BOOK",
        )
    name = cast("RiskProfile", risk_profile)
    sleeves: tuple[Proof, ...] = ()
    if sealed.kind == "meta":
        portfolio = PortfolioLinks(sealed, name, symbol)
        runs = [portfolio.run(sleeve) for sleeve in portfolio.contributing]
        sleeves = tuple(prove(home, below.folder, registry, risk_profile, symbol) for below in runs)
        links, as_of = tuple(portfolio.links()), portfolio.request.as_of
    else:
        atoms = [Atom(symbol, part.Logic, part.Direction) for part in held[0].Atoms]
        links, as_of = tuple(_sleeve(sealed, name, symbol, atoms, book)), sealed.request.as_of
    return Proof(
        run_id=run.name,
        risk_profile=risk_profile,
        symbol=symbol,
        as_of=format_instant(as_of),
        net_weight=held[0].Net_Weight,
        head=sealed.head,
        signed_by=sealed.signed_by,
        links=links,
        sleeves=sleeves,
    )


def _book(sealed: Sealed, risk_profile: str) -> FlattenedProfile:
    profiles = sealed[layout.FLATTENED].profiles
    if risk_profile not in profiles or risk_profile not in get_args(RiskProfile):
        raise UsageError(
            f"this run has no risk profile {risk_profile!r}",
            where=sealed.folder.name,
            hint=f"one of {', '.join(profiles)}",
        )
    return profiles[risk_profile]


def _sleeve(
    sealed: Sealed, name: RiskProfile, symbol: str, atoms: list[Atom], book: FlattenedProfile
) -> Iterator[Link]:
    selection = SelectionLinks(sealed)
    market = MarketLinks(sealed, symbol, selection.returns.days)
    allocation = AllocationLinks(sealed, selection, market, name)
    yield from market.links()
    yield market.returns_link(selection.returns[symbol])
    for atom in atoms:
        yield from selection.links(atom, market)
    yield from allocation.links(atoms)
    yield allocation.netting_link(book, symbol)


def _fell_out(sealed: Sealed, risk_profile: str, symbol: str) -> str:
    """Say in words why a portfolio does not hold a coin, by the run's own records."""
    if sealed.kind == "meta":
        runs = [pin.run_id for pin in sealed.of_portfolio.pins if pin.run_id]
        return f"none of its sleeves holds it: {', '.join(runs)}"
    health, enriched = sealed[layout.HEALTH], sealed[layout.ENRICHED].dropped
    reasons = [
        *(f"data: {one.reason} ({one.detail})" for one in (*health.missing, *health.dropped) if one.name == symbol),
        *(
            f"{fate.logic} {fate.direction}: {fate.stage}: {fate.reason}{f' ({fate.detail})' if fate.detail else ''}"
            for fate in sealed[layout.SELECTION].fates
            if fate.symbol == symbol
        ),
        *(f"enrichment: {one.reason} ({one.detail})" for one in enriched if one.name == symbol),
        *_without_weight(sealed, risk_profile, symbol),
    ]
    return "; ".join(reasons) or "no scanner of the profile found it"


def _without_weight(sealed: Sealed, risk_profile: str, symbol: str) -> Iterator[str]:
    """Say what happened to a winner that was weighed."""
    book, losing = sealed[layout.OPTIMIZED].profiles[risk_profile], sealed[layout.RISK].loss_makers
    for asset in book.assets:
        if asset.Symbol == symbol and asset.Atom in losing:
            yield f"guard: it lost money of late (mean net return {losing[asset.Atom]:.6f} a day), its cap is 0"
        elif asset.Symbol == symbol:
            yield f"optimization: {book.solver.name} {book.solver.status} gave it no weight"
