"""The one function that takes every decision, live and in the walk-forward.

A run's steps 2 to 10 call the stages one by one and keep an artifact after each; :func:`decide` is nothing but their
composition. Both see a :class:`~assay.market.panel.Market` that ends at the instant of the decision.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from assay.alpha.selection import Selection, select
from assay.base.domain import DAY, Atom
from assay.market.health import toxic_or_stale
from assay.market.panel import Market
from assay.market.returns import ReturnsMatrix, returns_matrix
from assay.risk.allocate import RiskState, analyse, optimize
from assay.risk.optimizers import Allocation
from assay.runs.documents import Candidate, InvalidRecord, MergedQuote, Scalar, ScannerCount
from assay.screening.scanner import scan
from assay.screening.superset import consolidate, profile_candidates
from assay.settings.model import Profile, Scanner

Floats = npt.NDArray[np.float64]

NO_CANDIDATES = "NO_CANDIDATES"
NO_WINNERS = "NO_WINNERS"


@dataclass(frozen=True)
class Discovery:
    """What the scanners say for one profile."""

    candidates: Sequence[Candidate]
    scanners: Sequence[ScannerCount] = ()
    merged_quotes: Sequence[MergedQuote] = ()
    invalid_records: Sequence[InvalidRecord] = ()


@dataclass(frozen=True)
class Decision:
    """Everything that was decided at one instant; weights are by risk profile.

    Attributes
    ----------
    selection : Selection or None
        None where the scan found nobody.
    state : RiskState or None
        None where nobody was selected.
    guarded, unguarded : mapping of str to Allocation
        On atoms; empty for a decision to stay in cash.
    """

    as_of: dt.datetime
    discovery: Discovery
    selection: Selection | None = None
    state: RiskState | None = None
    guarded_on_atoms: Mapping[str, Allocation] | None = None
    unguarded_on_atoms: Mapping[str, Allocation] | None = None

    @property
    def reason(self) -> str | None:
        """Why the decision is to stay in cash, or None."""
        if self.selection is None:
            return NO_CANDIDATES
        return NO_WINNERS if self.state is None else None

    @cached_property
    def net(self) -> Mapping[str, Mapping[str, float]]:
        """Risk profile to symbol to signed weight."""
        return self._net(self.guarded_on_atoms)

    @cached_property
    def unguarded(self) -> Mapping[str, Mapping[str, float]]:
        """The same with the guard off."""
        return self._net(self.unguarded_on_atoms)

    def _net(self, allocations: Mapping[str, Allocation] | None) -> dict[str, dict[str, float]]:
        if allocations is None or self.state is None:
            return {}
        atoms = self.state.atoms
        return {name: net_weights(atoms, allocation.weights) for name, allocation in allocations.items()}

    @property
    def loss_makers(self) -> list[str]:
        """Symbols whose atoms lost money of late, whether the guard is on or not."""
        if self.state is None:
            return []
        makers = np.flatnonzero(self.state.guard.loss_makers)
        return sorted({self.state.atoms[i].symbol for i in makers})

    @property
    def summary(self) -> Mapping[str, Scalar]:
        """Counts of the decision."""
        told: dict[str, Scalar] = {"candidates": len(self.discovery.candidates), "reason": self.reason}
        if self.selection is not None:
            told |= {
                "winners": len(self.selection.winner_indices),
                "relaxed": self.selection.relaxed,
                "clusters": self.selection.n_clusters,
            }
        if self.state is not None:
            told |= {"regime": self.state.regime.name, "budget": self.state.budget}
        return told


def net_weights(atoms: Sequence[Atom], weights: Floats) -> dict[str, float]:
    """Net the weights of atoms on their symbols; coins without any weight are left out.

    >>> atoms = [Atom("X:AUSDT", "rating_all", "SHORT"), Atom("X:BUSDT", "rating_all", "LONG")]
    >>> net_weights(atoms, np.array([0.4, 0.0]))
    {'X:AUSDT': -0.4}
    """
    held: dict[str, list[float]] = {}
    for atom, weight in zip(atoms, weights.tolist(), strict=True):
        if weight:
            held.setdefault(atom.symbol, []).append(weight * atom.sign)
    return {symbol: math.fsum(parts) for symbol, parts in held.items()}


def decide(market: Market, profile: Profile, scanners: Mapping[str, Scanner]) -> Decision:
    """Take one decision from what is known at ``market.as_of``.

    Parameters
    ----------
    market : Market
        Bars and ratings closed by then; at most ``profile.data.lookback`` days are looked at.
    profile : Profile
        What the user asked for.
    scanners : mapping of str to Scanner
        All declared scanners; a profile with ``pool = superset`` reads them all, else its own are.

    Returns
    -------
    Decision
    """
    known = market.until(market.as_of, profile.data.lookback)
    found = discover(known, profile, scanners)
    if not found.candidates:
        return Decision(market.as_of, found)
    returns = prepare(known, found.candidates, profile)
    selection = choose(known, returns, found, profile)
    if not selection.winner_atoms:
        return Decision(market.as_of, found, selection)
    state = analyse(
        selection.streams, selection.winner_atoms, benchmark_close(known, profile), profile, antifragility(selection)
    )
    return Decision(
        as_of=market.as_of,
        discovery=found,
        selection=selection,
        state=state,
        guarded_on_atoms=optimize(state, profile, guarded=True),
        unguarded_on_atoms=optimize(state, profile, guarded=False),
    )


def discover(market: Market, profile: Profile, scanners: Mapping[str, Scanner]) -> Discovery:
    """Ask the ratings what the profile's scanners would have said."""
    asked = sorted(scanners) if profile.pool == "superset" else profile.scanners
    results = [scan(market, name, scanners[name]) for name in asked]
    superset = consolidate(market.as_of, 0, "ratings", results, key="")
    return Discovery(
        candidates=profile_candidates(superset, profile),
        scanners=superset.scanners,
        merged_quotes=superset.merged_quotes,
        invalid_records=superset.invalid_records,
    )


def prepare(market: Market, candidates: Sequence[Candidate], profile: Profile) -> ReturnsMatrix:
    """Cut the returns matrix of the candidates."""
    return returns_matrix(market, [c.symbol for c in candidates], profile.benchmark, profile.data)


def choose(
    market: Market, returns: ReturnsMatrix, found: Discovery, profile: Profile, broken: Mapping[str, str] | None = None
) -> Selection:
    """Select the winners, with the health of every candidate; ``broken`` adds what contracts found."""
    health = ill_health(market, {candidate.symbol for candidate in found.candidates}) | dict(broken or {})
    return select(found.candidates, market, returns, profile, health, found.scanners)


def ill_health(market: Market, symbols: set[str]) -> dict[str, str]:
    """Map each symbol whose bars cannot be trusted to its status and cause."""
    from assay.market.health import symbol_health

    rejected = market.rejections()
    vitals = toxic_or_stale(market, rejected)
    bad = vitals.toxic | vitals.stale
    ill = [symbol for symbol in sorted(symbols) if symbol in market.index and bad[market.index[symbol]]]
    return {entry.symbol: f"{entry.status}: {entry.cause}" for entry in symbol_health(market, ill, rejected)}


def benchmark_close(market: Market, profile: Profile) -> Floats:
    """Return the closes of the benchmark, (n_days,)."""
    return market["close"][:, market.column(profile.benchmark)]


def antifragility(selection: Selection) -> Floats:
    """Return the antifragility of the winners, (n_winners,), for the barbell."""
    return selection.model.features_.antifragility[selection.model.winners_]


def history_days(profile: Profile, as_of: dt.datetime) -> int:
    """Return the days of bars that a run reads: the walk-forward's, and a full lookback before its first decision."""
    walk = profile.walk_forward
    days = walk.days if walk.start is None else (as_of.date() - walk.start).days + 1
    return profile.data.lookback + max(days, 0) + int(DAY.total_seconds() // 86_400)
