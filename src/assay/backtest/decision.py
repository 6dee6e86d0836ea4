"""The one function that takes every decision, live and in the walk-forward.

:func:`decide` takes it at once, :class:`Deciding` stage by stage, for the steps of a run, which keep an artifact after
each. Both see a :class:`~assay.market.panel.Market` that ends at the instant of the decision.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from assay.alpha.selection import Selection, select
from assay.backtest.choice import Choice, named
from assay.backtest.walk_forward import close_of, grid
from assay.base.constants import RATING_TOLERANCE, TOLERANCE, Bools, Floats
from assay.base.domain import Atom, format_instant
from assay.base.errors import ContractError
from assay.gates import rules
from assay.market.borrow import last_rates
from assay.market.health import health_flags, symbol_health
from assay.market.panel import RATING_FIELDS, Market
from assay.market.returns import ReturnsMatrix, returns_matrix
from assay.risk.allocate import RiskState, analyse, optimize
from assay.risk.optimizers import Allocation
from assay.runs.documents import Candidate, Drop, InvalidRecord, MergedQuote, Scalar, ScannerCount
from assay.screening.scanner import healthy, scan
from assay.screening.superset import consolidate, profile_pool
from assay.settings.model import SCAN_DAYS, Profile, Scanner

Allocations = Mapping[str, Allocation]
"""By risk profile."""
UNRATED = "TOXIC: its ratings of the last day break L1"
NO_UNIVERSE = "NO_UNIVERSE"
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
    guarded_on_atoms: Allocations | None = None
    unguarded_on_atoms: Allocations | None = None
    dropped: Sequence[str] = ()
    """What contracts dropped, each with its layer: coins by L0 and L1, atoms by L2."""

    @property
    def reason(self) -> str | None:
        """Why the decision is to stay in cash, or None."""
        if self.selection is None:
            return NO_CANDIDATES if healthy(self.discovery.scanners) else NO_UNIVERSE
        return NO_WINNERS if self.state is None else None

    @cached_property
    def net(self) -> Mapping[str, Mapping[str, float]]:
        """Risk profile to symbol to signed weight."""
        return self._net(self.guarded_on_atoms)

    @cached_property
    def unguarded(self) -> Mapping[str, Mapping[str, float]]:
        """The same with the guard off."""
        return self._net(self.unguarded_on_atoms)

    def _net(self, allocations: Allocations | None) -> dict[str, dict[str, float]]:
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
    def choice(self) -> Choice:
        """What there was to choose from, and what was chosen."""
        symbols = tuple(sorted({candidate.symbol for candidate in self.discovery.candidates}))
        if self.selection is None:
            return Choice(symbols)
        return Choice(symbols, named(self.selection.safe_atoms), named(self.selection.winner_atoms))

    @property
    def summary(self) -> Mapping[str, Scalar]:
        """Counts of the decision."""
        told: dict[str, Scalar] = {"candidates": len(self.discovery.candidates), "reason": self.reason}
        if self.selection is not None:
            told |= {"contract_drops": len(self.dropped), "dropped": "; ".join(self.dropped) or None}
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


def decide(market: Market, profile: Profile, scanners: Mapping[str, Scanner], *, unguarded: bool = True) -> Decision:
    """Take one decision from what is known at ``market.as_of``.

    Parameters
    ----------
    market : Market
        Bars and ratings closed by then; scanners look at :data:`~assay.settings.model.SCAN_DAYS` of them, everything
        else at ``profile.data.lookback``.
    profile : Profile
        What the user asked for.
    scanners : mapping of str to Scanner
        All declared scanners; a profile with ``pool = superset`` reads them all, else its own are.
    unguarded : bool
        Whether the weights without a guard are wanted too.

    Returns
    -------
    Decision
    """
    deciding = Deciding(market, profile, scanners)
    return deciding.decision if unguarded else deciding.guarded_decision


@dataclass(eq=False)
class Deciding:
    """A decision while it is taken: each stage follows from those before it, and is reached once, when asked for.

    A run keeps an artifact after each stage; a walk-forward asks for the end at once. Both are this, so that they
    cannot differ. What a stage gives has passed its contract: what a filter names is gone from all that follows, and
    any other fault is a ContractError.

    Attributes
    ----------
    market : Market
        Ends at the instant of the decision.
    found : Discovery, optional
        What scanners said, where that is on record; else our own ratings answer them.
    """

    market: Market
    profile: Profile
    scanners: Mapping[str, Scanner]
    found: Discovery | None = None

    @cached_property
    def known(self) -> Market:
        """What everything but a scanner may look at."""
        return self.market.until(self.market.as_of, self.profile.data.lookback)

    @cached_property
    def discovery(self) -> Discovery:
        """What the scanners say."""
        if self.found is not None:
            return self.found
        return discover(self.market.until(self.market.as_of, SCAN_DAYS), self.profile, self.scanners)

    @cached_property
    def cut(self) -> ReturnsMatrix:
        """Physical returns of the candidates, as they come to L0."""
        return prepare(self.known, self.discovery.candidates, self.profile)

    @cached_property
    def returns(self) -> ReturnsMatrix:
        """Physical returns of the candidates, without what L0 drops."""
        cut = self.cut
        faults = self._filtered("L0", rules.column_faults(cut.symbols, cut.values, self.profile.data.floor))
        if not faults:
            return cut
        if cut.benchmark in faults:
            what = f"the benchmark is at fault: {faults[cut.benchmark].what}"
            self._filtered("L0", [rules.Violation("L0_BENCHMARK", cut.benchmark, what)])
        kept = [i for i, symbol in enumerate(cut.symbols) if symbol not in faults]
        dropped = [Drop(name=name, reason=fault.code, detail=fault.what) for name, fault in faults.items()]
        symbols = tuple(cut.symbols[i] for i in kept)
        return replace(cut, symbols=symbols, values=cut.values[:, kept], dropped=[*cut.dropped, *dropped])

    @cached_property
    def ill(self) -> Mapping[str, str]:
        """Symbols whose bars or ratings cannot be trusted, with status and cause; L1 drops their rows."""
        return ill_health(self.known, {candidate.symbol for candidate in self.discovery.candidates})

    @cached_property
    def scored(self) -> Selection:
        """Verdict on every candidate, as it comes to L2."""
        return choose(self.known, self.returns, self.discovery, self.profile, self.ill)

    @cached_property
    def unsound(self) -> Mapping[str, str]:
        """Ids of atoms that L2 drops, with status and cause."""
        ids = [atom.id for atom in self.scored.atoms]
        faults = self._filtered("L2", rules.score_faults(ids, self.scored.inference))
        return {atom: f"TOXIC: {fault.code}: {fault.what}" for atom, fault in faults.items()}

    @cached_property
    def selection(self) -> Selection:
        """Verdict on every candidate, without what L2 drops."""
        if not self.unsound:
            return self.scored
        return choose(self.known, self.returns, self.discovery, self.profile, {**self.ill, **self.unsound})

    @cached_property
    def state(self) -> RiskState | None:
        """What is known of the winners' risk; None where there are none."""
        selection, atoms = self.selection, self.selection.winner_atoms
        if not atoms:
            return None
        physical = [self.returns[atom.symbol] for atom in atoms]
        self._filtered("L3", rules.stream_faults(atoms, list(selection.streams.T), physical))
        self._filtered("L3", rules.direction_faults(atoms, self.profile.direction))
        close = benchmark_close(self.known, self.profile)
        rates = last_rates(self.known, [self.known.column(atom.symbol) for atom in atoms])
        return analyse(selection.streams, atoms, close, self.profile, antifragility(selection), rates)

    @cached_property
    def guarded(self) -> Allocations | None:
        """Weights of atoms by risk profile, with the guard as the profile has it."""
        return None if self.state is None else self._weighed(self.state, guarded=True)

    @cached_property
    def unguarded(self) -> Allocations | None:
        """The same without a guard."""
        return None if self.state is None else self._weighed(self.state, guarded=False)

    def _weighed(self, state: RiskState, *, guarded: bool) -> Allocations:
        """Return the weights of atoms by risk profile, once L4 has passed them."""
        found, allowed = optimize(state, self.profile, guarded=guarded), state.guarded if guarded else state.unguarded
        for name, made in found.items():
            self._filtered("L4", rules.weight_faults(name, made.weights, made.cash, allowed))
        return found

    def _filtered(self, layer: str, faults: Iterable[rules.Violation]) -> dict[str, rules.Violation]:
        """Return by name what a layer's rules drop; a fault that no filter names ends the decision."""
        dropped: dict[str, rules.Violation] = {}
        for fault in faults:
            if fault.code not in rules.FILTERS.get(layer, ()):
                what = f"{layer} broken by the decision of {format_instant(self.market.as_of)}: {fault.what}"
                raise ContractError(what, where=fault.where, hint="report this", code=fault.code)
            dropped.setdefault(fault.where, fault)
        return dropped

    @property
    def decision(self) -> Decision:
        """All that was decided, and no more than that: what it was decided from is let go."""
        decision = self.guarded_decision
        return replace(decision, unguarded_on_atoms=self.unguarded) if decision.state is not None else decision

    @property
    def guarded_decision(self) -> Decision:
        """The same without the weights that nobody would hold."""
        as_of, found = self.market.as_of, self.discovery
        if not found.candidates:
            return Decision(as_of, found)
        return Decision(as_of, found, self.selection, self.state, self.guarded, dropped=self.dropped)

    @property
    def dropped(self) -> list[str]:
        """What contracts dropped, each with its layer."""
        gone = sorted(set(self.cut.symbols) - set(self.returns.symbols))
        unrated = [symbol for symbol, why in self.ill.items() if why == UNRATED]
        layers = (("L0", gone), ("L1", unrated), ("L2", self.unsound))
        return [f"{layer} {name}" for layer, names in layers for name in names]


def discover(market: Market, profile: Profile, scanners: Mapping[str, Scanner]) -> Discovery:
    """Ask the ratings what the profile's scanners would have said."""
    asked = sorted(scanners) if profile.pool == "superset" else profile.scanners
    results = [scan(market, name, scanners[name]) for name in asked]
    superset = consolidate(market.as_of, 0, "ratings", results, key="")
    return Discovery(
        candidates=profile_pool(superset, profile).candidates,
        scanners=superset.scanners,
        merged_quotes=superset.merged_quotes,
        invalid_records=superset.invalid_records,
    )


def prepare(market: Market, candidates: Sequence[Candidate], profile: Profile) -> ReturnsMatrix:
    """Cut the returns matrix of the candidates."""
    return returns_matrix(market, [c.symbol for c in candidates], profile.benchmark, profile.data)


def choose(
    market: Market, returns: ReturnsMatrix, found: Discovery, profile: Profile, health: Mapping[str, str]
) -> Selection:
    """Select the winners, with the health of every candidate that is ill."""
    return select(found.candidates, market, returns, profile, health, found.scanners)


def ill_health(market: Market, symbols: set[str]) -> dict[str, str]:
    """Map each symbol whose bars or ratings cannot be trusted to its status and cause."""
    rejected = market.rejections()
    flags = health_flags(market, rejected)
    bad, broken = flags.toxic | flags.stale, broken_ratings(market)
    known = [symbol for symbol in sorted(symbols) if symbol in market.index]
    ill = [symbol for symbol in known if bad[market.index[symbol]]]
    unrated = [symbol for symbol in known if broken[market.index[symbol]]]
    told = dict.fromkeys(unrated, UNRATED)
    audited = symbol_health(market, ill, rejected, flags)
    return told | {entry.symbol: f"{entry.status}: {entry.cause}" for entry in audited}


def broken_ratings(market: Market) -> Bools:
    """Columns whose ratings of the last day cannot be: the rules of L1."""
    every, averages, others, adx = (market[name][-1] for name in RATING_FIELDS)
    faults: Bools = (np.abs([every, averages, others]) > 1.0).any(axis=0) | (np.abs(adx - 50.0) > 50.0 + TOLERANCE)
    faults |= np.abs(every - (averages + others) / 2.0) > RATING_TOLERANCE
    faults |= np.isnan(every) != np.isnan(averages + others)
    if market.unsound is not None:  # a vote or an oscillator that no decision reads says that the row is none
        faults |= market.unsound[-1]
    return faults


def benchmark_close(market: Market, profile: Profile) -> Floats:
    """Return the closes of the benchmark, (n_days,)."""
    return market["close"][:, market.column(profile.benchmark)]


def antifragility(selection: Selection) -> Floats:
    """Return the antifragility of the winners, (n_winners,), for the barbell."""
    return selection.model.features_.antifragility[selection.model.winners_]


def history_days(profile: Profile, as_of: dt.datetime) -> int:
    """Return the days of bars that a run reads: the walk-forward's, and all that its first decision needs before."""
    walk = profile.walk_forward
    days = walk.reach if walk.start is None else (as_of.date() - walk.start).days + 1
    return max(profile.sight_days, walk.train) + max(days, 0) + 1


def decider(market: Market, profile: Profile, scanners: Mapping[str, Scanner]) -> Callable[[Market], Decision]:
    """Return what takes the decisions of a walk-forward on a market.

    Weights without a guard are made for the decisions of its one phase, which alone holds them.
    """
    phase = {close_of(market.days[row]) for row in grid(market, profile).phase}

    def decided(known: Market) -> Decision:
        return decide(known, profile, scanners, unguarded=known.as_of in phase)

    return decided
