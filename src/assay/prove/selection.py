"""From the returns matrix to the winners: features, score, vetoes, clusters, and who is taken.

The selection is not run again as it was: value traded, ratings and ADX of the other candidates are taken from the
selection audit, all else is measured on the sealed returns matrix, and who is taken is decided here once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assay.alpha import scoring, vetoes
from assay.alpha.clusters import cluster
from assay.alpha.features import FEATURES, Features, features
from assay.alpha.funnel import run_funnel
from assay.alpha.selection import CLUSTER_RANK, MAX_WINNERS, best_of_clusters, restore
from assay.alpha.synthesis import synthetic
from assay.base.constants import Bools, Floats, Ints, Scalar
from assay.base.domain import Atom
from assay.base.errors import IntegrityError
from assay.market.borrow import rates_at
from assay.market.returns import ReturnsMatrix
from assay.prove.links import Link, Pair, paired
from assay.prove.market import MarketLinks
from assay.prove.sealed import Sealed
from assay.runs import artifacts as layout
from assay.runs import documents as artifacts
from assay.settings.model import Profile


@dataclass(frozen=True)
class SelectionLinks:
    """The selection of a sealed run, measured again."""

    sealed: Sealed

    @cached_property
    def profile(self) -> Profile:
        """Settings."""
        return self.sealed.request.profile

    @cached_property
    def returns(self) -> ReturnsMatrix:
        """The sealed returns matrix."""
        return ReturnsMatrix.from_frame(self.sealed[layout.RETURNS], self.profile.benchmark)

    @cached_property
    def winners(self) -> dict[str, artifacts.Winner]:
        """Winners by atom id."""
        return {one.atom_id: one for one in self.sealed[layout.WINNERS].winners}

    @cached_property
    def _fates(self) -> dict[Atom, artifacts.Fate]:
        audit = self.sealed[layout.SELECTION]
        return {one.atom: one for one in audit.fates if one.stage == "selection"}

    @cached_property
    def atoms(self) -> list[Atom]:
        """Atoms that reached selection and have a column of returns, in the order of the selection."""
        raw = self.sealed[layout.RAW]
        passage = run_funnel(raw.candidates, self.profile, raw.scanners)
        return [atom for atom in passage.atoms if atom.symbol in self.returns.symbols]

    @cached_property
    def signs(self) -> Ints:
        """Signs of the atoms."""
        return np.array([atom.sign for atom in self.atoms], dtype=np.int64)

    @cached_property
    def streams(self) -> Floats:
        """Synthetic returns of the atoms, (n_days, n_atoms)."""
        columns = [self.returns.symbols.index(atom.symbol) for atom in self.atoms]
        return synthetic(self.returns.values[:, columns], self.signs)

    @cached_property
    def _measured(self) -> Features:
        """What the streams alone tell of every atom."""
        return features(self.streams, feature_bars=self.profile.selection.feature_bars, signs=self.signs)

    @cached_property
    def _probabilities(self) -> dict[str, Floats]:
        audit = [self._fate(atom).features for atom in self.atoms]
        raw = {name: np.array([_or_nan(one.get(name)) for one in audit]) for name in FEATURES}
        return scoring.probabilities(raw)

    @cached_property
    def _weights(self) -> dict[str, float]:
        chosen = self.profile.selection
        return scoring.weights(chosen.dominant_signal, chosen.dominant_weight, chosen.dominated_momentum)

    @cached_property
    def _alpha(self) -> Floats:
        return scoring.alpha(self._probabilities, self._weights)

    @cached_property
    def _vetoes(self) -> tuple[vetoes.Veto, ...]:
        """Those that streams show; the others are flags of the audit."""
        data, limits, costs = self.profile.data, self.profile.selection.vetoes, self.profile.costs
        hold, as_of = self.profile.walk_forward.hold, self.sealed.request.as_of
        rates = rates_at(self.sealed.snapshot.borrow(), [atom.symbol for atom in self.atoms], as_of)
        return (
            vetoes.coverage_veto(self.streams, rows=data.estimation_rows, share=data.winner_coverage),
            vetoes.friction_veto(self._measured.drift, self.signs, costs, hold=hold, borrow=rates),
            *vetoes.quality_vetoes(
                self._measured,
                max_entropy=limits.entropy,
                min_efficiency=limits.efficiency,
                max_kurtosis=limits.kurtosis,
                max_volatility=limits.volatility,
            ),
        )

    @cached_property
    def _unsafe(self) -> Bools:
        flagged = np.array([self._fate(atom).reason in vetoes.FLAGS for atom in self.atoms], dtype=np.bool_)
        return np.asarray(flagged | vetoes.struck(self._vetoes, len(self.atoms), safety=True))

    @cached_property
    def _clusters(self) -> Ints:
        chosen, labels = self.profile.selection, np.zeros(len(self.atoms), dtype=np.int64)
        labels[~self._unsafe] = cluster(
            self.streams[:, ~self._unsafe], chosen.cluster_windows, chosen.cluster_threshold, chosen.max_clusters
        )
        return labels

    @cached_property
    def _taken(self) -> dict[int, str]:
        """Column of each winner, best first, to how it was admitted."""
        chosen = self.profile.selection
        poor = vetoes.struck(self._vetoes, len(self.atoms), safety=False)
        merit = best_of_clusters(self._alpha, np.where(poor, 0, self._clusters), chosen.top_n)[: chosen.max_winners]
        missing = min(chosen.wanted, chosen.max_winners) - len(merit)
        restored = restore(self._alpha, self._clusters, self._measured.efficiency > 0, merit, missing)
        how = {int(column): "merit" for column in merit} | {int(column): "relaxation" for column in restored}
        return {column: how[column] for column in sorted(how, key=lambda column: (-self._alpha[column], column))}

    def links(self, atom: Atom, market: MarketLinks) -> Iterator[Link]:
        """Features, score, vetoes, selection of one atom."""
        if atom not in self.atoms:
            raise IntegrityError(
                "an atom of the book did not reach selection", where=atom.id, hint="validate the run: assay validate"
            )
        column = self.atoms.index(atom)
        winner = self.winners.get(atom.id)
        if winner is None:
            raise IntegrityError("an atom of the book is no winner", where=atom.id, hint="assay validate")
        yield self._features_link(atom, column, winner, market)
        yield self._score_link(atom, column, winner)
        yield self._vetoes_link(atom, column)
        yield self._selection_link(atom, column, winner)

    def lost_links(self, atom: Atom, market: MarketLinks) -> Iterator[Link]:
        """Features, score, and why it was not chosen, of an atom that is no winner."""
        column = self.atoms.index(atom)
        yield self._features_link(atom, column, None, market)
        yield self._score_link(atom, column, None)
        yield self._loss_link(atom, column)

    def _fate(self, atom: Atom) -> artifacts.Fate:
        fate = self._fates.get(atom)
        if fate is None:
            raise IntegrityError(
                "a candidate has no fate", where=f"{layout.SELECTION} {atom.id}", hint="assay validate"
            )
        return fate

    def _features_link(self, atom: Atom, column: int, winner: artifacts.Winner | None, market: MarketLinks) -> Link:
        bars = self.profile.selection.feature_bars
        rating = {
            name: np.array([_or_nan(market.rating.get(name))]) for name in ("recommend_all", "recommend_ma", "adx")
        }
        made = features(
            np.ascontiguousarray(self.streams[:, [column]]),
            feature_bars=bars,
            value_traded=market.value_traded(bars)[:, None],
            signs=self.signs[[column]],
            **rating,
        ).table()
        values: dict[str, Scalar] = {name: _or_none(made[name][0]) for name in FEATURES}
        audit = self._fate(atom).features
        told = {} if winner is None else {name: winner.features.get(name) for name in FEATURES}
        return self.sealed.link(
            "features",
            "fourteen features, measured on the atom's own stream, its value traded and its rating",
            layout.SELECTION if winner is None else layout.WINNERS,
            (
                *paired(told, values if told else {}),
                *(Pair(f"{name} in the audit", audit.get(name), values[name]) for name in FEATURES),
            ),
            atom,
        )

    def _score_link(self, atom: Atom, column: int, winner: artifacts.Winner | None) -> Link:
        made = {name: float(values[column]) for name, values in self._probabilities.items()}
        inputs: dict[str, Scalar] = dict(self._weights)
        fate = self._fate(atom)
        alpha = float(self._alpha[column])
        own: tuple[Pair, ...] = ()
        if winner is not None:
            own = paired({name: winner.probabilities.get(name) for name in FEATURES}, made)
            own = (*own, Pair("alpha", winner.alpha_score, alpha, inputs=inputs))
        return self.sealed.link(
            "score",
            "probabilities from the features of all measured candidates, and their weighted geometric mean",
            layout.SELECTION if winner is None else layout.WINNERS,
            (*own, Pair("alpha in the audit", fate.alpha_score, alpha, inputs={} if winner else inputs)),
            atom,
            notes={"candidates": len(self.atoms)},
        )

    def _loss_link(self, atom: Atom, column: int) -> Link:
        fate, chosen = self._fate(atom), self.profile.selection
        struck = [veto for veto in self._vetoes if veto.hit[column]]
        label, alpha = int(self._clusters[column]), self._alpha
        free = ~vetoes.struck(self._vetoes, len(self.atoms), safety=False) & (self._clusters == label)
        ahead = [other for other in np.flatnonzero(free).tolist() if (-alpha[other], other) < (-alpha[column], column)]
        made = "winner" if column in self._taken else MAX_WINNERS if len(ahead) < chosen.top_n else CLUSTER_RANK
        if column not in self._taken and (struck or fate.reason in vetoes.FLAGS):
            made = fate.reason if fate.reason in vetoes.FLAGS else struck[0].code
        notes: dict[str, Scalar] = {"winners": len(self._taken), "better in its cluster": len(ahead)}
        for veto in struck:
            if veto.value is not None and veto.limit is not None:
                notes[f"{veto.code} value"] = _or_none(veto.value[column])
                notes[f"{veto.code} limit"] = float(veto.limit[column])
        return self.sealed.link(
            "loss",
            "the veto that strikes the atom, or the better ones that were taken",
            layout.SELECTION,
            (Pair("cluster", fate.cluster_id, label or None), Pair("reason", fate.reason, made)),
            atom,
            notes=notes,
        )

    def _vetoes_link(self, atom: Atom, column: int) -> Link:
        fate = self._fate(atom)
        found = {}
        notes: dict[str, Scalar] = {}
        for veto in self._vetoes:
            found[veto.code] = bool(veto.hit[column])
            if veto.value is not None and veto.limit is not None:
                notes[f"{veto.code} value"] = _or_none(veto.value[column])
                notes[f"{veto.code} limit"] = float(veto.limit[column])
        struck = [code for code, hit in found.items() if hit]
        passed = not set(struck) & set(vetoes.SAFETY)
        relaxed = self._taken.get(column) == "relaxation"
        return self.sealed.link(
            "vetoes",
            "what strikes the atom; a winner by merit has none, one by relaxation no safety veto",
            layout.SELECTION,
            (
                Pair("reason", fate.reason, "winner" if passed and (relaxed or not struck) else struck[0]),
                Pair("struck", bool(fate.detail), bool(struck)),
            ),
            atom,
            notes=notes | {"struck by": ", ".join(struck) or "none"},
        )

    def _selection_link(self, atom: Atom, column: int, winner: artifacts.Winner) -> Link:
        order = list(self._taken)
        place = order.index(column) + 1 if column in order else None
        label = int(self._clusters[column])
        return self.sealed.link(
            "selection",
            "the cluster among all candidates that may be held, and the place among the winners",
            layout.WINNERS,
            (
                Pair("cluster", winner.cluster_id, label),
                Pair("rank", winner.rank, place),
                Pair("admitted", winner.admitted, self._taken.get(column)),
            ),
            atom,
            notes={
                "winners": len(order),
                "clusters": int(self._clusters.max(initial=0)),
                "members": int((self._clusters == label).sum()),
            },
        )


def _or_nan(value: Scalar) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
