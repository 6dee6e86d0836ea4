"""What natural selection decided, as arrays at once and as documents when they are asked for.

A walk-forward selects dozens of times and needs the winners' streams only; building documents for every candidate each
time would cost more than the selection itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from assay.alpha.features import FEATURES
from assay.alpha.funnel import WINNER, Count, Funnel, selection_count
from assay.base.domain import format_instant
from assay.runs.documents import Fate, SelectionAudit, Stage, Winner, Winners

if TYPE_CHECKING:
    import datetime as dt

    import polars as pl

    from assay.alpha.selection import NaturalSelection
    from assay.base.domain import Atom
    from assay.settings.model import Profile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Admission = Literal["merit", "relaxation"]

RATINGS = ("recommend_all", "recommend_ma", "recommend_other", "adx")
"""Fields of a market's last row that a selection reads and keeps."""

CLUSTER_RANK = "CLUSTER_RANK"
"""Free of vetoes, but its cluster has enough better atoms."""
MAX_WINNERS = "MAX_WINNERS"
"""Free of vetoes and among the best of its cluster, but there are enough better winners."""


@dataclass(frozen=True)
class Selection:
    """Natural selection's verdict on every candidate.

    Attributes
    ----------
    as_of : datetime
        Instant of the decision.
    profile : Profile
        What was asked for.
    passage : Funnel
        The candidates' way to selection.
    model : NaturalSelection
        Fitted on the measured atoms.
    measured : (n_measured,) int64 array
        Place in ``atoms`` of each column of the model.
    days : (n_days,) datetime64[D] array
        Rows of ``streams``.
    streams : (n_days, n_winners) array
        Synthetic returns of the winners, in their order.
    ratings : mapping of str to (n_measured,) array
        :data:`RATINGS` as of the decision, as the market has them, not multiplied by signs.
    unmeasured : mapping of int to (str, str)
        Place in ``atoms`` to reason and detail, for atoms without a column of returns.
    """

    as_of: dt.datetime
    profile: Profile
    passage: Funnel
    model: NaturalSelection
    measured: Ints
    days: npt.NDArray[np.datetime64]
    streams: Floats
    ratings: Mapping[str, Floats]
    unmeasured: Mapping[int, tuple[str, str]]

    @cached_property
    def atoms(self) -> tuple[Atom, ...]:
        """All atoms that reached selection, sorted."""
        return self.passage.atoms

    @cached_property
    def winner_indices(self) -> tuple[int, ...]:
        """Place in ``atoms`` of each winner, best alpha first."""
        return tuple(self.measured[self.model.winners_].tolist())

    @cached_property
    def winner_atoms(self) -> tuple[Atom, ...]:
        """Winners, best alpha first: the columns of ``streams``."""
        return tuple(self.atoms[i] for i in self.winner_indices)

    @property
    def winner_clusters(self) -> Ints:
        """Cluster of each winner."""
        return self.model.clusters_[self.model.winners_]

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
        import polars as pl

        series = [pl.Series("atom_id", [atom.id for atom in self.atoms], dtype=pl.String)]
        series += [pl.Series(name, values, nan_to_null=True) for name, values in self.inference.items()]
        return pl.DataFrame(series)

    @cached_property
    def winners(self) -> list[Winner]:
        """Documents of the winners, best alpha first."""
        return [self._winner(rank, column) for rank, column in enumerate(self.model.winners_.tolist(), 1)]

    @cached_property
    def counts(self) -> tuple[Count, ...]:
        """Numbers of the funnel's four stages."""
        return (*self.passage.counts, selection_count(len(self.atoms), (reason for reason, _ in self._reasons)))

    @cached_property
    def stages(self) -> list[Stage]:
        """Documents of the funnel's four stages."""
        return [count.document() for count in self.counts]

    @cached_property
    def fates(self) -> list[Fate]:
        """Documents of every candidate's end: who left on the way, then every atom."""
        early = [loss.document() for loss in self.passage.losses]
        return early + [self._fate(place) for place in range(len(self.atoms))]

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
        atom = self.atoms[place]
        known: dict[str, Any] = {}
        if place in self._columns:
            column = self._columns[place]
            known = {
                "alpha_score": float(self.model.alpha_[column]),
                "cluster_id": int(self.model.clusters_[column]) or None,
                "features": self._features(column),
            }
        return Fate.model_validate(
            {
                "symbol": atom.symbol,
                "logic": atom.logic,
                "direction": atom.direction,
                "stage": "selection",
                "reason": reason,
                "detail": detail,
                **known,
            }
        )

    def _winner(self, rank: int, column: int) -> Winner:
        entry = self.passage.entries[int(self.measured[column])]
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
