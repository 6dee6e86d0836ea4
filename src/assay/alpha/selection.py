"""Natural selection: the estimator, and its face for candidates.

:class:`NaturalSelection` knows streams only; :func:`select` knows candidates and markets, and gives a
:class:`Selection` that answers for winners and losers alike.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from assay.alpha import scoring, vetoes
from assay.alpha.clusters import cluster
from assay.alpha.features import FEATURES, features
from assay.alpha.funnel import WINNER, Contenders, fate, run_funnel, selection_stage
from assay.alpha.synthesis import synthetic
from assay.base.constants import Bools, Days, Floats, Ints
from assay.base.domain import Atom, format_instant
from assay.base.errors import DataError
from assay.base.estimator import Estimator
from assay.market.borrow import last_rates
from assay.market.instruments import facts
from assay.market.panel import RATING_FIELDS, Market
from assay.market.returns import ReturnsMatrix
from assay.runs.documents import Candidate, Drop, Fate, ScannerCount, SelectionAudit, Stage, Winner, Winners
from assay.settings.model import Costs, DataSettings, Profile, SelectionSettings, Vetoes, WalkForward

Admission = Literal["merit", "relaxation"]

CLUSTER_RANK = "CLUSTER_RANK"
"""Free of vetoes, but its cluster has enough better atoms."""
MAX_WINNERS = "MAX_WINNERS"
"""Free of vetoes and among the best of its cluster, but there are enough better winners."""


STATUSES = {"TOXIC": vetoes.TOXIC, "STALE": vetoes.STALE, "DELISTED": vetoes.STALE, "MISSING": vetoes.STALE}
"""Health that is a veto; delisted and missing symbols have no bar for 24 h past its close, and are stale too."""

_SELECTION, _LIMITS, _COSTS, _DATA, _WALK = SelectionSettings(), Vetoes(), Costs(), DataSettings(), WalkForward()


@dataclass(frozen=True)
class Selection:
    """Natural selection's verdict on every candidate."""

    as_of: dt.datetime
    """Instant of the decision."""
    profile: Profile
    """What was asked for."""
    funnel: Contenders
    """The candidates' way to selection."""
    model: NaturalSelection
    """Fitted on the measured atoms."""
    measured: Ints
    """(n_measured,): place in ``atoms`` of each column of the model."""
    days: Days
    """(n_days,): rows of ``streams``."""
    streams: Floats
    """(n_days, n_winners): synthetic returns of the winners, in their order."""
    ratings: Mapping[str, Floats]
    """:data:`assay.market.panel.RATING_FIELDS` as of the decision, as the market has them, not multiplied by signs."""
    unmeasured: Mapping[int, tuple[str, str]]
    """Place in ``atoms`` to reason and detail, for atoms without a column of returns."""

    @cached_property
    def atoms(self) -> tuple[Atom, ...]:
        """All atoms that reached selection, sorted."""
        return self.funnel.atoms

    @cached_property
    def winner_indices(self) -> tuple[int, ...]:
        """Place in ``atoms`` of each winner, best alpha first."""
        return tuple(self.measured[self.model.winners_].tolist())

    @cached_property
    def winner_atoms(self) -> tuple[Atom, ...]:
        """Winners, best alpha first: the columns of ``streams``."""
        return tuple(self.atoms[i] for i in self.winner_indices)

    @property
    def safe_atoms(self) -> tuple[Atom, ...]:
        """Atoms that pass every safety veto but friction: what a selection without an eye for returns could take."""
        hits = [veto.hit for veto in self.model.vetoes_ if veto.safety and veto.code != vetoes.FRICTION]
        return tuple(self.atoms[place] for place in self.measured[~np.any(hits, axis=0)].tolist())

    @property
    def n_clusters(self) -> int:
        """Number of clusters among atoms without a safety veto."""
        return int(self.model.clusters_.max(initial=0))

    @property
    def relaxed(self) -> int:
        """Number of winners that came by relaxation."""
        return self.model.admitted_.count("relaxation")

    @property
    def relaxed_share(self) -> float:
        """Share of winners that came by relaxation, 0 where there are no winners."""
        return self.relaxed / max(len(self.model.admitted_), 1)

    @cached_property
    def inference(self) -> dict[str, Floats]:
        """L2 by column, (n_atoms,) each: ``alpha_score``, the features, and ``<feature>_prob`` for each of them.

        An atom without a column of returns was not measured: its features are NaN, its probabilities and score 0.
        """
        columns = {"alpha_score": self._scatter(self.model.alpha_, 0.0)}
        columns |= {name: self._scatter(raw, np.nan) for name, raw in self.model.features_.table().items()}
        columns |= {f"{name}_prob": self._scatter(self.model.probabilities_[name], 0.0) for name in FEATURES}
        return columns

    def inference_frame(self) -> pl.DataFrame:
        """Return L2 as a table: ``atom_id``, then the columns of :attr:`inference`, null where a feature is missing."""
        series = [pl.Series("atom_id", [atom.id for atom in self.atoms], dtype=pl.String)]
        series += [pl.Series(name, values, nan_to_null=True) for name, values in self.inference.items()]
        return pl.DataFrame(series)

    @cached_property
    def winners(self) -> list[Winner]:
        """Documents of the winners, best alpha first."""
        return [self._winner(rank, column) for rank, column in enumerate(self.model.winners_.tolist(), 1)]

    @cached_property
    def stages(self) -> list[Stage]:
        """Documents of the funnel's four stages."""
        last = selection_stage(len(self.atoms), (reason for reason, _ in self._reasons))
        return [*self.funnel.stages, last]

    @cached_property
    def fates(self) -> list[Fate]:
        """Documents of every candidate's end: who left on the way, then every atom."""
        return [*self.funnel.losses, *(self._fate(place) for place in range(len(self.atoms)))]

    def winners_document(self) -> Winners:
        """Return step 4's first document."""
        return Winners(as_of=format_instant(self.as_of), winners=self.winners)

    def audit(self) -> SelectionAudit:
        """Return step 4's second document."""
        return SelectionAudit(
            as_of=format_instant(self.as_of),
            stages=self.stages,
            fates=self.fates,
            n_winners=len(self.winner_indices),
            wanted=self.profile.selection.wanted,
            relaxed=self.relaxed,
            relaxed_share=self.relaxed_share,
            n_clusters=self.n_clusters,
        )

    def _scatter(self, values: Floats, missing: float) -> Floats:
        result = np.full(len(self.atoms), missing)
        result[self.measured] = values
        return result

    @cached_property
    def _columns(self) -> dict[int, int]:
        """Place in ``atoms`` to column of the model."""
        return {place: column for column, place in enumerate(self.measured.tolist())}

    @cached_property
    def _reasons(self) -> list[tuple[str, str]]:
        """Reason and detail of every atom."""
        return [
            self.unmeasured[place] if place in self.unmeasured else self._reason(self._columns[place])
            for place in range(len(self.atoms))
        ]

    def _reason(self, column: int) -> tuple[str, str]:
        struck = [veto for veto in self.model.vetoes_ if veto.hit[column]]
        words = "; ".join(veto.explain(column) for veto in struck)
        if column in self._admitted:
            return WINNER, f"restored to an empty cluster in spite of {words}" if struck else ""
        if struck:
            return struck[0].code, words
        model = self.model
        label = int(model.clusters_[column])
        better = sum(1 for other in self._free if model.clusters_[other] == label and self._before(other, column))
        if better >= model.top_n:
            return CLUSTER_RANK, f"{better} atoms of cluster {label} are better, {model.top_n} are taken"
        return MAX_WINNERS, f"{model.max_winners} winners are better, no more are taken"

    def _before(self, one: int, other: int) -> bool:
        alpha = self.model.alpha_
        return bool((-alpha[one], one) < (-alpha[other], other))

    @cached_property
    def _free(self) -> list[int]:
        """Columns that no veto strikes."""
        hits = np.stack([veto.hit for veto in self.model.vetoes_])
        return np.flatnonzero(~hits.any(axis=0)).tolist()

    @cached_property
    def _admitted(self) -> dict[int, Admission]:
        return dict(zip(self.model.winners_.tolist(), self.model.admitted_, strict=True))

    def _features(self, column: int) -> dict[str, float | None]:
        return {name: _number(raw[column]) for name, raw in self.model.features_.table().items()}

    def _fate(self, place: int) -> Fate:
        reason, detail = self._reasons[place]
        known: dict[str, Any] = {}
        if place in self._columns:
            column = self._columns[place]
            known = {
                "alpha_score": _number(self.model.alpha_[column]),
                "cluster_id": int(self.model.clusters_[column]) or None,
                "features": self._features(column),
            }
        return fate(self.atoms[place], "selection", reason, detail, **known)

    def _winner(self, rank: int, column: int) -> Winner:
        entry = self.funnel.entries[int(self.measured[column])]
        return Winner.model_validate(
            {
                "atom_id": entry.atom.id,
                "symbol": entry.atom.symbol,
                "logic": entry.atom.logic,
                "direction": entry.atom.direction,
                "scan_direction": entry.candidate.scan_direction,
                "inverted": entry.inverted,
                "alpha_score": float(self.model.alpha_[column]),
                "rank": rank,
                "cluster_id": int(self.model.clusters_[column]),
                "admitted": self._admitted[column],
                "ratings": {name: _number(values[column]) for name, values in self.ratings.items()},
                "features": self._features(column),
                "probabilities": {name: float(self.model.probabilities_[name][column]) for name in FEATURES},
            }
        )


def _number(value: float) -> float | None:
    """Return a finite float, or None."""
    return float(value) if np.isfinite(value) else None


@dataclass(kw_only=True, eq=False, repr=False)
class NaturalSelection(Estimator):
    """Choose the atoms to hold: score them, veto them, cluster them, take the best of each cluster.

    Follows scikit-learn's grammar: a transformer that keeps the winners' columns. Without metadata it treats every
    column as a long atom and the ratings, ADX and value traded as unknown, which is neutral.

    Parameters
    ----------
    feature_bars : int
        Rows that count as recent.
    top_n : int
        Atoms that a cluster may give.
    wanted : int
        Winners below which the one relaxation is allowed.
    max_winners : int
        Most winners.
    cluster_threshold, max_clusters, cluster_windows : float, int, tuple of int
        See :func:`assay.alpha.clusters.cluster`.
    dominant_signal, dominant_weight, dominated_momentum : str or None, float, float
        See :func:`assay.alpha.scoring.weights`.
    max_entropy, min_efficiency, max_kurtosis, max_volatility : float
        See :func:`assay.alpha.vetoes.quality_vetoes`.
    hold, fee, slippage, borrow : int, float, float, float
        See :func:`assay.alpha.vetoes.friction_veto`.
    estimation_rows, winner_coverage : int, float
        See :func:`assay.alpha.vetoes.coverage_veto`.

    Attributes
    ----------
    features_ : Features
        Raw features, (n_atoms,) each.
    probabilities_ : dict of str to (n_atoms,) array
        Features mapped to [0, 1].
    alpha_ : (n_atoms,) array
        Score in [0, 1].
    vetoes_ : tuple of Veto
        In the order in which they become reasons.
    clusters_ : (n_atoms,) int64 array
        Labels from 1; 0 for atoms under a safety veto, which are not clustered.
    winners_ : (n_winners,) int64 array
        Indices of the winners, best alpha first, ties by index.
    admitted_ : tuple of str
        ``merit`` or ``relaxation`` for each winner.
    n_features_in_ : int
        Number of atoms seen.

    Examples
    --------
    >>> days = np.arange(300)
    >>> trend, wave = 0.004 + 0.01 * np.sin(days * days), 0.02 * np.sin(days)
    >>> chosen = NaturalSelection().fit(np.stack([trend, wave, -trend], axis=1))
    >>> chosen.winners_, [veto.code for veto in chosen.vetoes_ if veto.hit[2]]
    (array([0]), ['VETO_FRICTION', 'VETO_EFFICIENCY'])
    """

    feature_bars: int = _SELECTION.feature_bars
    top_n: int = _SELECTION.top_n
    wanted: int = _SELECTION.wanted
    max_winners: int = _SELECTION.max_winners
    cluster_threshold: float = _SELECTION.cluster_threshold
    max_clusters: int = _SELECTION.max_clusters
    cluster_windows: tuple[int, ...] = _SELECTION.cluster_windows
    dominant_signal: str | None = _SELECTION.dominant_signal
    dominant_weight: float = _SELECTION.dominant_weight
    dominated_momentum: float = _SELECTION.dominated_momentum
    max_entropy: float = _LIMITS.entropy
    min_efficiency: float = _LIMITS.efficiency
    max_kurtosis: float = _LIMITS.kurtosis
    max_volatility: float = _LIMITS.volatility
    hold: int = _WALK.hold
    fee: float = _COSTS.fee
    slippage: float = _COSTS.slippage
    borrow: float = _COSTS.borrow
    estimation_rows: int = _DATA.estimation_rows
    winner_coverage: float = _DATA.winner_coverage

    @classmethod
    def from_profile(cls, profile: Profile) -> Self:
        """Return the selection that a profile asks for."""
        chosen, limits, costs = profile.selection, profile.selection.vetoes, profile.costs
        return cls(
            **chosen.model_dump(exclude={"vetoes"}),
            max_entropy=limits.entropy,
            min_efficiency=limits.efficiency,
            max_kurtosis=limits.kurtosis,
            max_volatility=limits.volatility,
            hold=profile.walk_forward.hold,
            fee=costs.fee,
            slippage=costs.slippage,
            borrow=costs.borrow,
            estimation_rows=profile.data.estimation_rows,
            winner_coverage=profile.data.winner_coverage,
        )

    def fit(
        self,
        X: npt.ArrayLike,  # noqa: N803 - the grammar's name
        y: object = None,  # noqa: ARG002 - the grammar's signature
        *,
        signs: npt.ArrayLike = 1,
        value_traded: Floats | None = None,
        recommend_all: Floats | None = None,
        recommend_ma: Floats | None = None,
        adx: Floats | None = None,
        borrow: Floats | None = None,
        flags: Mapping[str, Mapping[int, str]] | None = None,
    ) -> Self:
        """Learn the winners.

        Parameters
        ----------
        X : (n_days, n_atoms) array
            Synthetic returns per day; NaN where there is no observation.
        y : ignored
        signs, value_traded, recommend_all, recommend_ma, adx
            See :func:`assay.alpha.features.features`.
        borrow : (n_atoms,) array, optional
            Rates a year that shorts owe, NaN where none is known; see :func:`assay.alpha.vetoes.friction_veto`.
        flags : mapping of str to mapping of int to str, optional
            For the codes of :data:`assay.alpha.vetoes.FLAGS`: which atoms, and why.

        Raises
        ------
        ValueError
            If X is not a table, or holds an infinite value.
        """
        streams = np.asarray(X, dtype=np.float64)
        if streams.ndim != 2 or np.isinf(streams).any():
            raise ValueError("X is a (n_days, n_atoms) table of finite returns, NaN where there is none")
        self.n_features_in_ = n_atoms = streams.shape[1]
        self.features_ = features(
            streams,
            feature_bars=self.feature_bars,
            value_traded=value_traded,
            recommend_all=recommend_all,
            recommend_ma=recommend_ma,
            adx=adx,
            signs=signs,
        )
        self.probabilities_ = scoring.probabilities(self.features_.table())
        weights = scoring.weights(self.dominant_signal, self.dominant_weight, self.dominated_momentum)
        self.alpha_ = scoring.alpha(self.probabilities_, weights)
        self.vetoes_ = self._vetoes(streams, signs, flags or {}, borrow)
        unsafe = vetoes.struck(self.vetoes_, n_atoms, safety=True)
        self.clusters_: Ints = np.zeros(n_atoms, dtype=np.int64)
        self.clusters_[~unsafe] = cluster(
            streams[:, ~unsafe], self.cluster_windows, self.cluster_threshold, self.max_clusters
        )
        self._choose(vetoes.struck(self.vetoes_, n_atoms, safety=False))
        return self

    def _vetoes(
        self, streams: Floats, signs: npt.ArrayLike, flags: Mapping[str, Mapping[int, str]], borrow: Floats | None
    ) -> tuple[vetoes.Veto, ...]:
        n_atoms = streams.shape[1]
        found = [vetoes.flag_veto(code, notes, n_atoms) for code, notes in flags.items()]
        found.append(vetoes.coverage_veto(streams, rows=self.estimation_rows, share=self.winner_coverage))
        costs = Costs(fee=self.fee, slippage=self.slippage, borrow=self.borrow)
        found.append(vetoes.friction_veto(self.features_.drift, signs, costs, hold=self.hold, borrow=borrow))
        found += vetoes.quality_vetoes(
            self.features_,
            max_entropy=self.max_entropy,
            min_efficiency=self.min_efficiency,
            max_kurtosis=self.max_kurtosis,
            max_volatility=self.max_volatility,
        )
        order = (*vetoes.SAFETY, *vetoes.QUALITY)
        return tuple(sorted(found, key=lambda veto: order.index(veto.code)))

    def _choose(self, poor: Bools) -> None:
        merit = best_of_clusters(self.alpha_, np.where(poor, 0, self.clusters_), self.top_n)[: self.max_winners]
        target = min(self.wanted, self.max_winners)
        restored = restore(self.alpha_, self.clusters_, self.features_.efficiency > 0, merit, target - len(merit))
        both = np.concatenate([merit, restored])
        order = np.lexsort((both, -self.alpha_[both]))
        self.winners_: Ints = both[order]
        self.admitted_: tuple[Admission, ...] = tuple(
            "merit" if place < len(merit) else "relaxation" for place in order
        )

    def get_support(self, indices: bool = False) -> Bools | Ints:
        """Return which columns are kept: a mask, or ascending indices."""
        mask = np.zeros(self.n_features_in_, dtype=np.bool_)
        mask[self.winners_] = True
        return np.flatnonzero(mask) if indices else mask

    def transform(self, X: Any) -> Any:  # noqa: N803 - the grammar's name
        """Return the winners' columns in their original order; a data frame stays one."""
        support = self.get_support(indices=True)
        if np.shape(X)[1] != self.n_features_in_:
            raise ValueError(f"X has {np.shape(X)[1]} columns, {self.n_features_in_} were seen in fit")
        if hasattr(X, "iloc"):
            return X.iloc[:, support]
        if hasattr(X, "get_columns"):
            return X[:, support.tolist()]
        return np.asarray(X)[:, support]

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> npt.NDArray[np.object_]:
        """Return the names of the winners' columns."""
        names = input_features if input_features is not None else [f"x{i}" for i in range(self.n_features_in_)]
        return np.asarray(names, dtype=object)[self.get_support()]


def best_of_clusters(alpha: Floats, clusters: Ints, top_n: int) -> Ints:
    """Return the best atoms of each cluster, all together by descending alpha, ties by index; cluster 0 gives none.

    Examples
    --------
    >>> best_of_clusters(np.array([0.1, 0.9, 0.3, 0.9]), np.array([1, 1, 2, 0]), 1)
    array([1, 2])
    """
    taken: dict[int, int] = {}
    best = []
    for atom in np.argsort(-alpha, kind="stable").tolist():
        label = int(clusters[atom])
        if label and taken.get(label, 0) < top_n:
            taken[label] = taken.get(label, 0) + 1
            best.append(atom)
    return np.array(best, dtype=np.int64)


def restore(alpha: Floats, clusters: Ints, allowed: Bools, winners: Ints, missing: int) -> Ints:
    """Return the best allowed atom of each cluster without winners, by descending alpha, at most ``missing`` of them.

    Atoms under a safety veto are in cluster 0, which is never restored from.

    Examples
    --------
    >>> restore(np.array([0.5, 0.7, 0.6, 0.9]), np.array([1, 2, 2, 0]), np.array([True] * 4), np.array([0]), 5)
    array([1])
    """
    filled = {0, *clusters[winners].tolist()}
    found: list[int] = []
    for atom in np.argsort(-alpha, kind="stable").tolist():
        if len(found) >= missing:
            break
        label = int(clusters[atom])
        if allowed[atom] and label not in filled:
            filled.add(label)
            found.append(atom)
    return np.array(found, dtype=np.int64)


def select(
    candidates: Sequence[Candidate],
    market: Market,
    returns: ReturnsMatrix,
    profile: Profile,
    health: Mapping[str, str],
    scanners: Sequence[ScannerCount] = (),
) -> Selection:
    """Decide which candidates are held, and why not the others.

    Parameters
    ----------
    candidates : sequence of Candidate
        This profile's share of the superset; their order does not matter.
    market : Market
        What is known at the decision; its last row gives ratings and ADX, its last rows the value traded.
    returns : ReturnsMatrix
        Of the same market; a candidate without a column ends with the reason for which its column was dropped.
    profile : Profile
        What was asked for.
    health : mapping of str to str
        Symbol, or an atom's id, to why it cannot be trusted, beginning with a status of :data:`STATUSES`; what is
        healthy is not in it.
    scanners : sequence of ScannerCount, optional
        Counts of the profile's scanners, for the funnel's first stage.

    Raises
    ------
    DataError
        If returns and market do not end on the same day.
    """
    if market.days[-1] != returns.days[-1]:
        raise DataError(
            f"returns end on {returns.days[-1]}, the market on {market.days[-1]}",
            where="natural selection",
            hint="cut the returns matrix from the market of the same instant",
        )
    funnel = run_funnel(candidates, profile, scanners)
    place = {symbol: i for i, symbol in enumerate(returns.symbols)}
    everyone = funnel.atoms
    measured = [i for i, atom in enumerate(everyone) if atom.symbol in place]
    atoms = [everyone[i] for i in measured]
    signs = np.array([atom.sign for atom in atoms], dtype=np.int64)
    streams = synthetic(returns.values[:, [place[atom.symbol] for atom in atoms]], signs)
    columns = [market.column(atom.symbol) for atom in atoms]
    ratings = {name: market[name][-1, columns] for name in RATING_FIELDS}
    model = NaturalSelection.from_profile(profile).fit(
        streams,
        signs=signs,
        value_traded=market["value_traded"][-profile.selection.feature_bars :, columns],
        recommend_all=ratings["recommend_all"],
        recommend_ma=ratings["recommend_ma"],
        adx=ratings["adx"],
        borrow=last_rates(market, columns),
        flags={
            vetoes.DIRECTION: _turned(atoms, profile.direction),
            vetoes.ABSENT: _absent(atoms, market),
            **_unhealthy(atoms, health),
        },
    )
    return Selection(
        as_of=market.as_of,
        profile=profile,
        funnel=funnel,
        model=model,
        measured=np.array(measured, dtype=np.int64),
        days=returns.days,
        streams=streams[:, model.winners_],
        ratings=ratings,
        unmeasured=_unmeasured(everyone, place, returns.dropped),
    )


def _turned(atoms: Sequence[Atom], direction: str) -> dict[int, str]:
    """Atoms that point another way than the profile."""
    return {
        i: f"the atom is {atom.direction}, the profile {direction}"
        for i, atom in enumerate(atoms)
        if atom.direction != direction
    }


def _absent(atoms: Sequence[Atom], market: Market) -> dict[int, str]:
    """Atoms whose symbol the source's table of instruments does not have."""
    if market.instruments is None:
        return {}
    known = facts(market, [atom.symbol for atom in atoms])
    return {
        i: "the source's instruments do not have this symbol at the decision"
        for i, atom in enumerate(atoms)
        if known[atom.symbol].state == "ABSENT"
    }


def _unhealthy(atoms: Sequence[Atom], health: Mapping[str, str]) -> dict[str, dict[int, str]]:
    """Atoms whose bars cannot be trusted, by code."""
    found: dict[str, dict[int, str]] = {vetoes.TOXIC: {}, vetoes.STALE: {}}
    for i, atom in enumerate(atoms):
        reason = health.get(atom.symbol, health.get(atom.id))
        if reason is not None:
            code = next((code for status, code in STATUSES.items() if reason.startswith(status)), None)
            if code is None:
                raise ValueError(f"health of {atom.symbol} begins with none of {', '.join(STATUSES)}: {reason!r}")
            found[code][i] = reason
    return found


def _unmeasured(atoms: Sequence[Atom], place: Mapping[str, int], dropped: Sequence[Drop]) -> dict[int, tuple[str, str]]:
    """Reason and detail of atoms without a column of returns."""
    reasons = {drop.name: (drop.reason, drop.detail) for drop in dropped}
    nobody_knows = (vetoes.NO_RETURNS, "the returns matrix has no column for this symbol")
    return {i: reasons.get(atom.symbol, nobody_knows) for i, atom in enumerate(atoms) if atom.symbol not in place}
