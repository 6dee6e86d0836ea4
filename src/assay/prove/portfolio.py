"""A portfolio of sleeves: from the sleeves' returns and books to the net weight of a coin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
import polars as pl

from assay.base import files
from assay.base.constants import TOLERANCE, Scalar
from assay.meta import alignment as returns
from assay.meta import allocate, flatten
from assay.prove.allocation import netted
from assay.prove.links import Link, Pair, paired
from assay.prove.optimality import measure
from assay.prove.sealed import Sealed
from assay.risk.allocate import build_optimizer
from assay.risk.caps import Polytope
from assay.risk.regime import RegimeName
from assay.runs import artifacts as layout
from assay.runs.documents import ContributorBook, MetaProfileWeights
from assay.runs.request import MetaRequest, pin
from assay.runs.run import Run
from assay.settings.model import RiskProfile


@dataclass(frozen=True)
class PortfolioLinks:
    """One risk profile of a sealed meta-portfolio, weighed again."""

    sealed: Sealed
    name: RiskProfile

    @property
    def request(self) -> MetaRequest:
        """What was asked for."""
        return self.sealed.of_portfolio

    @cached_property
    def sleeves(self) -> list[str]:
        """Sleeves that were accepted."""
        return [one.sleeve for one in self.sealed[layout.META_SLEEVES].accepted]

    def contributing(self, symbol: str) -> list[str]:
        """Sleeves that hold a coin."""
        held = {part.Sleeve for part in self._contributors.contributors if part.Symbol == symbol}
        return [sleeve for sleeve in self.sleeves if sleeve in held]

    def run(self, sleeve: str) -> Run:
        """Return the run of a sleeve."""
        return self.sealed.beside(next(one.run_id for one in self.request.pins if one.sleeve == sleeve))

    @cached_property
    def _returns(self) -> pl.DataFrame:
        return self.sealed[layout.META_RETURNS].filter(pl.col("risk_profile") == self.name).sort("date")

    @cached_property
    def _weights(self) -> MetaProfileWeights:
        return self.sealed[layout.META_OPTIMIZED].profiles[self.name]

    @cached_property
    def _contributors(self) -> ContributorBook:
        return self.sealed[layout.META_CONTRIBUTORS].profiles[self.name]

    def links(self, symbol: str) -> Iterator[Link]:
        """Sleeves, their returns, their weights, contributors, netting."""
        yield from self._shared
        yield self._contributors_link(symbol)
        yield self._netting_link(symbol)

    def absent_links(self, symbol: str) -> Iterator[Link]:
        """Sleeves, their returns, their weights, and that nothing of them gives a coin a weight."""
        yield from self._shared
        books = (self._contributors, self._flattened)
        held = [sum(part.Held for part in one.contributors if part.Symbol == symbol) for one in books]
        flattened = self.sealed[layout.FLATTENED].profiles[self.name]
        weight = sum((one.Net_Weight for one in flattened.assets if one.Symbol == symbol), 0.0)
        yield self.sealed.link(
            "no weight",
            "weights of sleeves times weights in sleeves, summed over the coin",
            layout.FLATTENED,
            (Pair("held of its contributors", float(held[0]), float(held[1])), Pair("net weight", weight, 0.0)),
        )

    @cached_property
    def _shared(self) -> tuple[Link, ...]:
        return self._sleeves_link(), self._returns_link(), self._weights_link()

    @cached_property
    def _flattened(self) -> ContributorBook:
        books = {one: flatten.read_books(self.run(one), one, [self.name])[self.name] for one in self.sleeves}
        return flatten.flatten(self._weights, books, self.request.profile.max_coin)

    def _sleeves_link(self) -> Link:
        pins = [one for one in self.request.pins if one.sleeve in self.sleeves]
        now = {one.sleeve: pin(self.request.runs, one.sleeve, one.run_id).head for one in pins}
        return self.sealed.link(
            "sleeves",
            "heads of the sleeves' ledgers as they were pinned, and as they are",
            layout.MANIFEST,
            paired({one.sleeve: one.head for one in pins}, now),
            notes={one.sleeve: one.run_id for one in pins},
        )

    @cached_property
    def _aligned(self) -> returns.Aligned:
        records = {one: returns.read_sleeve(self.run(one), [self.name])[self.name] for one in self.sleeves}
        return returns.align(records, self.request.profile.min_days, self.name)

    def _returns_link(self) -> Link:
        made = returns.returns_frame({self.name: self._aligned}, self.sleeves)
        keys, recorded = layout.META_RETURNS.keys, self._returns
        if set(made.columns) == set(recorded.columns):
            recorded = recorded.select(made.columns)
        return self.sealed.link(
            "sleeve returns",
            "walk-forward returns of the sleeves on the days that all share",
            layout.META_RETURNS,
            (
                Pair("table", files.content_hash_table(recorded, keys), files.content_hash_table(made, keys)),
                Pair("days", recorded.height, made.height),
            ),
        )

    def _weights_link(self) -> Link:
        told, profile = self._weights, self.request.profile
        regime = cast("RegimeName", returns.live_regime([self.run(one) for one in self.sleeves]))
        accepted = self.sealed[layout.META_SLEEVES].accepted
        known = returns.without_ruined(self._returns.select(self.sleeves).to_numpy(), self.sleeves, accepted, self.name)
        rows = np.ascontiguousarray(known)
        made = allocate.decide(rows, self._aligned.gross, self.sleeves, self.name, profile, regime)
        given = {one.Sleeve: one.Weight for one in told.sleeves}
        weighed = (
            *paired(
                {f"weight {sleeve}": given.get(sleeve) for sleeve in self.sleeves},
                {f"weight {one}": float(made.weights[i]) for i, one in enumerate(self.sleeves)},
            ),
            *paired(
                {f"mean gross {sleeve}": told.mean_gross.get(sleeve) for sleeve in self.sleeves},
                {f"mean gross {one}": float(made.gross[i]) for i, one in enumerate(self.sleeves)},
            ),
            Pair("cash", told.cash, made.cash),
        )
        if made.allocation is None or made.estimates is None:
            what = "too few sleeves take part: all is cash"
            return self.sealed.link("sleeve weights", what, layout.META_OPTIMIZED, weighed)
        solver = made.allocation.solver
        optimizer = build_optimizer(self.name, profile.risk, regime, guarded=False)
        n_on = int(made.on.sum())
        polytope = replace(Polytope.build(n_on, atom_cap=made.upper), lower=np.full(n_on, made.lower))
        weights = np.array([given[sleeve] for sleeve, on in zip(self.sleeves, made.on, strict=True) if on])
        best = measure(optimizer, made.estimates, polytope, weights)
        slack = n_on * profile.risk.min_weight + TOLERANCE
        return self.sealed.link(
            "sleeve weights",
            "the same problem solved again, and the greatest gain that any allowed move from the recorded weights has",
            layout.META_OPTIMIZED,
            (
                *weighed,
                Pair("least weight", told.lower, made.lower),
                Pair("greatest weight", told.upper, made.upper),
                Pair("regime", told.regime, regime),
                Pair("solver", told.solver.name, solver.name),
                Pair("status", told.solver.status, solver.status),
                Pair("breach of bounds or budget", polytope.breach(weights), 0.0, slack),
                Pair("gain left to any allowed move", max(0.0, best.gap), 0.0, slack),
            ),
            notes={
                "objective": best.objective,
                "objective value": best.value,
                "KKT residual": told.solver.residual,
                "duality gap": told.solver.gap,
            },
        )

    def _contributors_link(self, symbol: str) -> Link:
        return self.sealed.link(
            "contributors",
            "weights of sleeves times weights in sleeves, and what the limit per coin leaves of them",
            layout.META_CONTRIBUTORS,
            paired(_shares(self._contributors, symbol), _shares(self._flattened, symbol)),
            notes={"limit per coin": self.request.profile.max_coin},
        )

    def _netting_link(self, symbol: str) -> Link:
        recorded = self.sealed[layout.FLATTENED].profiles[self.name]
        return self.sealed.link(
            "netting",
            "shares of the coin's contributors times their signs, summed",
            layout.FLATTENED,
            netted(recorded, flatten.flattened_profile(self._contributors), symbol),
        )


def _shares(book: ContributorBook, symbol: str) -> dict[str, Scalar]:
    """Name what a book says of a coin: contributors, and the coin's own line."""
    found: dict[str, Scalar] = {}
    for part in book.contributors:
        if part.Symbol == symbol:
            stem = f"{' > '.join(part.Path)} {part.Atom}"
            found |= {f"{stem} weight": part.Weight, f"{stem} held": part.Held}
    for coin in book.coins:
        if coin.Symbol == symbol:
            plain = coin.model_dump(exclude={"Symbol", "Long_Sleeves", "Short_Sleeves"})
            found |= {key.replace("_", " ").lower(): value for key, value in plain.items()}
    return found
