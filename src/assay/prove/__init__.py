"""Proof of one weight: the chain from bars to a net weight, every number recomputed from the link before it.

The recorded numbers of one artifact are what the next link is recomputed from, so that the first link that does not
hold is the one that was changed. Nothing is trusted for having been sealed: a run whose artifacts were replaced and
sealed anew is found by its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from assay.base.domain import Atom, format_instant
from assay.base.errors import UsageError
from assay.prove.allocation import AllocationLinks
from assay.prove.links import Link, Pair, Proof
from assay.prove.market import MarketLinks
from assay.prove.portfolio import PortfolioLinks
from assay.prove.sealed import Sealed
from assay.prove.selection import SelectionLinks
from assay.report.why import Why, why
from assay.runs import artifacts as layout
from assay.runs.documents import FlattenedProfile
from assay.settings.model import RiskProfile

__all__ = ["Link", "Pair", "Proof", "Prover", "prove"]

T = TypeVar("T")


def prove(home: Path, run: Path, registry: Path, risk_profile: str, symbol: str) -> Proof:
    """Prove one weight of a sealed run, or why a coin has none.

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
        If the run has no such risk profile, or (``NOT_IN_LAKE``) its lake nothing of the coin.
    """
    return Prover(Sealed(home, run, registry)).prove(risk_profile, symbol)


class Prover:
    """Proves the weights of one sealed run; what several weights follow from is worked out once.

    Parameters
    ----------
    sealed : Sealed
    below : bool
        A portfolio's weights are proved down to the bars of its sleeves, not only from the sleeves' books.
    """

    def __init__(self, sealed: Sealed, below: bool = True) -> None:
        self.sealed = sealed
        self.below = below
        self._known: dict[Hashable, Any] = {}

    def prove(self, risk_profile: str, symbol: str) -> Proof:
        """Prove one weight, as :func:`prove` does."""
        sealed, book = self.sealed, self._book(risk_profile)
        held = [coin for coin in book.assets if coin.Symbol == symbol and coin.Gross_Weight > 0.0]
        if not held:
            return self._absence(cast("RiskProfile", risk_profile), symbol, book)
        name = cast("RiskProfile", risk_profile)
        sleeves: tuple[Proof, ...] = ()
        if sealed.kind == "meta":
            portfolio = self._once(name, lambda: PortfolioLinks(sealed, name))
            if self.below:
                runs = [portfolio.run(sleeve).folder for sleeve in portfolio.contributing(symbol)]
                sleeves = tuple(self._sleeve(run).prove(name, symbol) for run in runs)
            links = tuple(portfolio.links(symbol))
        else:
            atoms = [Atom(symbol, part.Logic, part.Direction) for part in held[0].Atoms]
            links = tuple(self._links(name, symbol, atoms, book))
        return self._proof(name, symbol, held[0].Net_Weight, links, sleeves)

    def _proof(
        self, name: RiskProfile, symbol: str, weight: float, links: tuple[Link, ...], sleeves: tuple[Proof, ...]
    ) -> Proof:
        sealed = self.sealed
        return Proof(
            run_id=sealed.folder.name,
            risk_profile=name,
            symbol=symbol,
            as_of=format_instant(sealed.manifest.as_of),
            net_weight=weight,
            head=sealed.head,
            signed_by=sealed.signed_by,
            links=links,
            sleeves=sleeves,
        )

    def _absence(self, name: RiskProfile, symbol: str, book: FlattenedProfile) -> Proof:
        """Prove that a portfolio does not hold a coin: each link up to the one at which it fell out."""
        sealed = self.sealed
        told = self._once((symbol, "why"), lambda: why(sealed.folder, symbol))
        sleeves: tuple[Proof, ...] = ()
        if sealed.kind == "meta":
            portfolio = self._once(name, lambda: PortfolioLinks(sealed, name))
            if self.below:
                sleeves = tuple(self._sleeve(sealed.beside(one).folder).prove(name, symbol) for one in told.sleeves)
            links = tuple(portfolio.absent_links(symbol))
        else:
            atoms = [one.atom for one in sealed.atoms if one.symbol == symbol]
            links = tuple(self._links(name, symbol, atoms, book) if atoms else self._lost(symbol, told))
            links = (*links, self._no_weight(name, symbol))
        others = told.answer.startswith("wanted")
        absent = f"{name} gave it no weight; {told.answer}" if others else told.answer
        return replace(self._proof(name, symbol, 0.0, links, sleeves), absent=absent)

    def _lost(self, symbol: str, told: Why) -> Iterator[Link]:
        """Yield the links of a coin that was not weighed."""
        selection = self._selection
        market = self._once(symbol, lambda: MarketLinks(self.sealed, symbol, selection.returns.days))
        if all(one.symbol != symbol for one in self.sealed[layout.RAW].candidates):
            yield from market.unfound_links(told.data.scanned if told.data is not None else {})
            return
        yield from market.links()
        if symbol in selection.returns.symbols:
            yield market.returns_link(selection.returns[symbol])
        else:
            yield market.no_returns_link()
        for atom in selection.atoms:
            if atom.symbol == symbol:
                yield from selection.lost_links(atom, market)

    def _no_weight(self, name: RiskProfile, symbol: str) -> Link:
        book = self.sealed[layout.FLATTENED].profiles[name]
        recorded = sum((one.Net_Weight for one in book.assets if one.Symbol == symbol), 0.0)
        assets = self.sealed[layout.OPTIMIZED].profiles[name].assets
        weighed = sum((one.Net_Weight for one in assets if one.Symbol == symbol), 0.0)
        what = "the coin's net weight, and the sum of what its atoms were given"
        return self.sealed.link("no weight", what, layout.FLATTENED, (Pair("net weight", recorded, weighed),))

    def every(self) -> Iterator[Proof]:
        """Prove every weight of every risk profile."""
        for name, book in self.sealed[layout.FLATTENED].profiles.items():
            for coin in book.assets:
                if coin.Gross_Weight > 0.0:
                    yield self.prove(name, coin.Symbol)

    def _sleeve(self, run: Path) -> Prover:
        return self._once(run, lambda: Prover(Sealed(self.sealed.home, run, self.sealed.registry)))

    def _book(self, risk_profile: str) -> FlattenedProfile:
        profiles = self.sealed[layout.FLATTENED].profiles
        if risk_profile not in profiles or risk_profile not in get_args(RiskProfile):
            raise UsageError(
                f"this run has no risk profile {risk_profile!r}",
                where=self.sealed.folder.name,
                hint=f"one of {', '.join(profiles)}",
            )
        return profiles[risk_profile]

    @cached_property
    def _selection(self) -> SelectionLinks:
        return SelectionLinks(self.sealed)

    def _links(self, name: RiskProfile, symbol: str, atoms: list[Atom], book: FlattenedProfile) -> Iterator[Link]:
        selection = self._selection
        market = self._once(symbol, lambda: MarketLinks(self.sealed, symbol, selection.returns.days))
        yield from self._once((symbol, "market"), lambda: tuple(market.links()))
        yield self._once((symbol, "returns"), lambda: market.returns_link(selection.returns[symbol]))
        for atom in atoms:
            yield from self._once((atom, "selection"), partial(_selected, selection, atom, market))
        allocation = self._once(name, lambda: AllocationLinks(self.sealed, selection, market, name))
        yield from allocation.links(atoms)
        yield allocation.netting_link(book, symbol)

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._known:
            self._known[key] = make()
        found: T = self._known[key]
        return found


def _selected(selection: SelectionLinks, atom: Atom, market: MarketLinks) -> tuple[Link, ...]:
    return tuple(selection.links(atom, market))
