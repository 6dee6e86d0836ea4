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
from assay.runs import documents as artifacts
from assay.runs.request import MetaRequest, is_meta
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
    sealed = Sealed.open(home, run, registry)
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
    if is_meta(run):
        portfolio = PortfolioLinks(sealed, name, symbol)
        runs = [portfolio.request.runs / portfolio.run_id(sleeve) for sleeve in portfolio.contributing]
        sleeves = tuple(prove(home, below, registry, risk_profile, symbol) for below in runs)
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


def _book(sealed: Sealed, risk_profile: str) -> artifacts.FlattenedProfile:
    profiles = sealed.document(artifacts.Flattened, layout.FLATTENED).profiles
    if risk_profile not in profiles or risk_profile not in get_args(RiskProfile):
        raise UsageError(
            f"this run has no risk profile {risk_profile!r}",
            where=sealed.run.name,
            hint=f"one of {', '.join(profiles)}",
        )
    return profiles[risk_profile]


def _sleeve(
    sealed: Sealed, name: RiskProfile, symbol: str, atoms: list[Atom], book: artifacts.FlattenedProfile
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
    if is_meta(sealed.run):
        pins = MetaRequest.of(sealed.home, sealed.run).pins
        return "none of its sleeves holds it: " + ", ".join(one.run_id for one in pins if one.run_id)
    reasons = [
        *_before_selection(sealed, symbol),
        *_in_selection(sealed, symbol),
        *_after(sealed, risk_profile, symbol),
    ]
    return "; ".join(reasons) or "no scanner of the profile found it"


def _before_selection(sealed: Sealed, symbol: str) -> list[str]:
    health = sealed.document(artifacts.DataHealth, layout.HEALTH)
    lost = [drop for drop in (*health.missing, *health.dropped) if drop.name == symbol]
    return [f"data: {drop.reason} ({drop.detail})" for drop in lost]


def _in_selection(sealed: Sealed, symbol: str) -> list[str]:
    audit = sealed.document(artifacts.SelectionAudit, layout.SELECTION)
    return [
        f"{fate.logic} {fate.direction}: {fate.stage}: {fate.reason}{f' ({fate.detail})' if fate.detail else ''}"
        for fate in audit.fates
        if fate.symbol == symbol
    ]


def _after(sealed: Sealed, risk_profile: str, symbol: str) -> list[str]:
    """Say what happened to a winner that has no weight."""
    enriched = sealed.document(artifacts.Enrichment, layout.ENRICHED)
    optimized = sealed.document(artifacts.Optimized, layout.OPTIMIZED).profiles[risk_profile]
    losing = sealed.document(artifacts.RiskAnalysis, layout.RISK).loss_makers
    found = [f"enrichment: {drop.reason} ({drop.detail})" for drop in enriched.dropped if drop.name == symbol]
    for asset in optimized.assets:
        if asset.Symbol == symbol and asset.Atom in losing:
            found.append(f"guard: it lost money of late (mean net return {losing[asset.Atom]:.6f} a day), its cap is 0")
        elif asset.Symbol == symbol:
            found.append(f"optimization: {optimized.solver.name} {optimized.solver.status} gave it no weight")
    return found
