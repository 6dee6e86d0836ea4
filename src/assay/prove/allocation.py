"""From the winners to the net weight: synthetic streams, risk, the optimizer's answer, netting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assay.alpha.synthesis import synthetic
from assay.base.constants import TOLERANCE, Floats, Scalar
from assay.base.domain import Atom
from assay.base.errors import IntegrityError
from assay.market.borrow import rates_at
from assay.prove.links import Link, Pair, paired
from assay.prove.market import MarketLinks, differing
from assay.prove.optimality import measure
from assay.prove.sealed import Sealed
from assay.prove.selection import SelectionLinks
from assay.risk.allocate import RiskState, analyse, build_optimizer, risk_analysis
from assay.risk.flatten import flatten
from assay.risk.optimizers import Allocation, Optimizer
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.settings.model import RiskProfile

RISK_NUMBERS = ("rows_used", "rows_left_out", "condition_number", "shrinkage", "extra_shrinkage", "atom_cap",
                "cluster_cap")  # fmt: skip


@dataclass(frozen=True)
class AllocationLinks:
    """One risk profile of a sealed run, weighed again."""

    sealed: Sealed
    selection: SelectionLinks
    market: MarketLinks
    name: RiskProfile

    @cached_property
    def atoms(self) -> list[Atom]:
        """Winners that were weighed, best first."""
        return [one.atom for one in self.sealed.atoms]

    @cached_property
    def _streams(self) -> Floats:
        frame = self.sealed[layout.SYNTHETIC].select([atom.id for atom in self.atoms])
        return np.ascontiguousarray(frame.fill_null(float("nan")).to_numpy())

    @cached_property
    def state(self) -> RiskState:
        """Risk of the sealed streams."""
        profile = self.sealed.request.profile
        fragility = np.array([one.features["antifragility"] for one in self.sealed.atoms], dtype=np.float64)
        close = self.market.benchmark_close(profile.data.lookback)
        request = self.sealed.request
        rates = rates_at(self.sealed.snapshot.borrow(), [atom.symbol for atom in self.atoms], request.as_of)
        return analyse(self._streams, self.atoms, close, profile, fragility, rates)

    @cached_property
    def _optimizer(self) -> Optimizer:
        profile = self.sealed.request.profile
        return build_optimizer(self.name, profile.risk, self.state.regime.name, guarded=profile.guard.enabled)

    @cached_property
    def _allocation(self) -> Allocation:
        return self._optimizer.allocate(self.state.estimates, self.state.guarded, self.state.guarded_events)

    @cached_property
    def _optimized(self) -> artifacts.OptimizedProfile:
        return self.sealed[layout.OPTIMIZED].profiles[self.name]

    @cached_property
    def _recorded(self) -> Floats:
        """Weights as recorded, in the order of the atoms."""
        given = {one.Atom: one.Weight for one in self._optimized.assets}
        missing = [atom.id for atom in self.atoms if atom.id not in given]
        if missing or len(given) != len(self.atoms):
            where = f"{layout.OPTIMIZED} {missing[0] if missing else ''}".strip()
            raise IntegrityError("the weighed atoms are not the winners", where=where, hint="assay validate")
        return np.array([given[atom.id] for atom in self.atoms])

    def synthetic_link(self, atom: Atom) -> Link:
        """Compare the atom's stream with the signed returns of its symbol."""
        recorded = self._streams[:, self.atoms.index(atom)]
        physical = self.selection.returns[atom.symbol]
        made = synthetic(physical[:, None], [atom.sign])[:, 0]
        return self.sealed.link(
            "synthetic",
            "the stream that the atom is: r for a long, -min(r, 1) for a short",
            layout.SYNTHETIC,
            (differing(recorded, made), Pair("days", len(recorded), len(made))),
            atom,
            notes={"sign": atom.sign},
        )

    def risk_link(self) -> Link:
        """Compare what is known of the winners' risk: the inputs of every optimizer."""
        return self.sealed.link(
            "risk",
            "covariance, regime, caps and guard, from the synthetic streams and the benchmark's closes",
            layout.RISK,
            paired(_risk(self.sealed[layout.RISK]), _risk(risk_analysis(self.state))),
            notes={"atoms": len(self.atoms), "mean shrinkage": self.state.estimates.mean_shrinkage},
        )

    def cluster_link(self, atom: Atom) -> Link:
        """Compare the atom's cluster, members and guard."""
        told = self.sealed[layout.CLUSTERS].clusters
        place = self.atoms.index(atom)
        label = int(self.state.labels[place])
        members = [other.id for other, one in zip(self.atoms, self.state.labels, strict=True) if one == label]
        own = [(key, names) for key, names in told.items() if atom.id in names]
        risk = self.sealed[layout.RISK]
        means, losing = self.state.guard.net_means, self.state.guard.loss_makers
        return self.sealed.link(
            "cluster",
            "the cluster among the winners, and whether the atom has lost money of late",
            layout.CLUSTERS,
            (
                Pair("cluster", own[0][0] if len(own) == 1 else None, str(label)),
                Pair("members", ", ".join(own[0][1]) if own else None, ", ".join(members)),
                Pair("loss maker", risk.loss_makers.get(atom.id), float(means[place]) if losing[place] else None),
            ),
            atom,
            notes={
                "annual volatility": float(self.state.estimates.covariance.matrix[place, place] ** 0.5),
                "expected return": float(self.state.estimates.means[place]),
                "mean net return of the guard's window": float(means[place]),
            },
        )

    def solver_link(self, held: list[Atom]) -> Link:
        """Compare weights with those of the same problem solved again, and measure how far from the best they are."""
        told, made, weights = self._optimized, self._allocation, self._recorded
        polytope = self.state.guarded
        record, report = told.solver, made.solver
        pairs = [
            Pair(f"weight {atom.id}", float(weights[i]), float(made.weights[i]))
            for i, atom in enumerate(self.atoms)
            if atom in held
        ]
        others = float(np.max(np.abs(weights - made.weights), initial=0.0))
        pairs += [
            Pair("greatest difference of any weight", others, 0.0),
            Pair("cash", told.cash, made.cash),
            Pair("budget", told.budget, made.budget),
            Pair("solver", record.name, report.name),
            Pair("status", record.status, report.status),
            Pair("projection distance", record.projection_distance, report.projection_distance),
        ]
        notes: dict[str, Scalar] = {
            "iterations": record.iterations,
            "KKT residual": record.residual,
            "duality gap": record.gap,
            "fallbacks": ", ".join(record.fallbacks) or "none",
        }
        for atom in held:
            i = self.atoms.index(atom)
            group = polytope.groups[i]
            notes[f"cap {atom.id}"] = float(polytope.upper[i])
            notes[f"cluster {self.state.labels[i]} holds"] = float(polytope.cluster_sums(weights)[group])
            notes[f"cluster {self.state.labels[i]} cap"] = float(polytope.cluster_caps[group])
        if weights.any():
            best = measure(self._optimizer, self.state.estimates, polytope, weights)
            over = max(0.0, float(np.max(weights - polytope.upper)), float(weights.sum()) - polytope.budget)
            over = max(over, float(np.max(polytope.cluster_sums(weights) - polytope.cluster_caps)))
            # What settling turns to cash (weights below the least one) is the only gain that may be left.
            slack = len(weights) * self.sealed.request.profile.risk.min_weight + TOLERANCE
            pairs += [
                Pair("breach of caps or budget", over, 0.0, TOLERANCE),
                Pair("gain left to any allowed move", max(0.0, best.gap), 0.0, slack),
            ]
            notes |= {"objective": best.objective, "objective value": best.value}
        return self.sealed.link(
            "solver",
            "the same problem solved again, and the greatest gain that any allowed move from the recorded weights has",
            layout.OPTIMIZED,
            tuple(pairs),
            notes=notes,
        )

    def netting_link(self, recorded: artifacts.FlattenedProfile, symbol: str) -> Link:
        """Compare the coin's weights with the sum over its atoms."""
        assets = self._optimized.assets
        atoms = [one.atom for one in assets]
        made = flatten(atoms, [one.Weight for one in assets], [one.Cluster_ID for one in assets])
        return self.sealed.link(
            "netting",
            "weights of the coin's atoms times their signs, summed",
            layout.FLATTENED,
            netted(recorded, made, symbol),
        )

    def links(self, held: list[Atom]) -> Iterator[Link]:
        """Streams, risk, clusters, solver."""
        for atom in held:
            yield self.synthetic_link(atom)
        yield self.risk_link()
        for atom in held:
            yield self.cluster_link(atom)
        yield self.solver_link(held)


def _risk(told: artifacts.RiskAnalysis) -> dict[str, Scalar]:
    """Name what a risk analysis says of all atoms together."""
    inputs = {f"regime {name}": value for name, value in told.regime_inputs.items()}
    numbers = {name.replace("_", " "): getattr(told, name) for name in RISK_NUMBERS}
    return {"regime": told.regime, **inputs, **numbers, "loss makers": len(told.loss_makers), "budget": told.budget}


def netted(recorded: artifacts.FlattenedProfile, made: artifacts.FlattenedProfile, symbol: str) -> tuple[Pair, ...]:
    """Compare what two books hold of a coin, and their sums."""
    return paired(_coin(recorded, symbol), _coin(made, symbol))


def _coin(book: artifacts.FlattenedProfile, symbol: str) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {"cash": book.cash, "gross": book.gross, "net": book.net}
    for coin in book.assets:
        if coin.Symbol == symbol:
            found |= {f"share of {part.Atom}": part.Weight for part in coin.Atoms}
            found |= {"direction": coin.Direction, "gross weight": coin.Gross_Weight, "weight": coin.Weight}
            found["net weight"] = coin.Net_Weight
    return found
