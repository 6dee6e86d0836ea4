"""Figures of one run, from its directory alone."""

from __future__ import annotations

import numpy as np
import polars as pl

from assay.base.constants import Floats
from assay.base.domain import rating_column
from assay.base.errors import UsageError
from assay.ratings.votes import VOTES
from assay.report.figures import grids, lines
from assay.report.figures.of_walk import Drawn, WalkFigures, weights_by_size
from assay.report.small_book import all_holdings
from assay.report.view import Columns, LedgerView, RunView
from assay.runs import artifacts as layout

RATINGS = {"all": "rating_all", "ma": "rating_ma", "other": "rating_other"}
WEIGHT_COLUMNS: Columns = {
    "as_of": pl.Datetime("us", "UTC"),
    "risk_profile": pl.String(),
    "net_weight": pl.Float64(),
    "loss_maker": pl.Boolean(),
}
FEATURE_COLUMNS: Columns = {
    "symbol": pl.String(),
    **{rating_column(logic): pl.Float64() for logic in RATINGS.values()},
    **{f"vote_{name}": pl.Int8() for name in VOTES},
}


class RunFigures(WalkFigures):
    """Every figure of a run.

    Parameters
    ----------
    view : RunView
        The run as it was read.
    """

    def __init__(self, view: RunView) -> None:
        super().__init__(view.run, view.risk_profiles)
        self.view = view

    def absent(self, path: str) -> str:
        """Say why a file is not there: not reached, or lost."""
        return self.view.absent(path)

    def funnel(self) -> Drawn:
        """Draw the funnel with the reasons behind each loss."""
        audit = self.view.selection
        if audit is None:
            return self.view.absent(layout.SELECTION)
        return grids.funnel(audit.stages)

    def votes(self, symbol: str | None = None) -> Drawn:
        """Draw the votes of all winners, or the ratings and votes of one candidate.

        Raises
        ------
        UsageError
            If the symbol was no candidate of the run.
        """
        frame = self.table(layout.FEATURES, FEATURE_COLUMNS)
        if isinstance(frame, str):
            return frame
        if symbol is not None:
            return _votes_of_one(frame, symbol)
        if self.view.winners is None:
            return self.view.absent(layout.WINNERS)
        coins = list(dict.fromkeys(winner.symbol for winner in self.view.winners.winners))
        rows = {row["symbol"]: row for row in frame.filter(pl.col("symbol").is_in(coins)).to_dicts()}
        coins = [coin for coin in coins if coin in rows]
        if not coins:
            return "the run has no winner"
        cast = {name: [rows[coin][f"vote_{name}"] for coin in coins] for name in VOTES}
        ratings = {label: [rows[coin][rating_column(logic)] for coin in coins] for label, logic in RATINGS.items()}
        return grids.votes_of(coins, cast, ratings)

    def correlation(self) -> Drawn:
        """Draw the correlation of the winners' synthetic streams over the days of the covariance, by cluster."""
        frame = self.table(layout.SYNTHETIC, {})
        if isinstance(frame, str):
            return frame
        if self.view.clusters is None:
            return self.view.absent(layout.CLUSTERS)
        cluster = {atom: name for name, atoms in self.view.clusters.clusters.items() for atom in atoms}
        atoms = [atom for atom in frame.columns if atom in cluster]
        if len(atoms) < 2:
            return f"{len(atoms)} atoms have no correlation" if not atoms else "one atom has no correlation"
        rows = int(self.view.setting("profile.data.estimation_rows") or frame.height)
        streams = frame.select(pl.col(atoms).cast(pl.Float64)).tail(rows).fill_null(float("nan")).to_numpy()
        return grids.correlation(atoms, [cluster[atom] for atom in atoms], correlations(streams))

    def weights(self, of: str = "coins") -> Drawn:
        """Draw the weights of every risk profile.

        Parameters
        ----------
        of : {"coins", "atoms"}
            Net weights on coins, signed; or what the optimizers gave to atoms.

        Raises
        ------
        UsageError
            If ``of`` is something else.
        """
        optimized, flattened = self.view.optimized, self.view.flattened
        if of == "coins":
            if flattened is None:
                return self.view.absent(layout.FLATTENED)
            books = {name: book.weights for name, book in all_holdings(self.view).items()}
            return weights_by_size(books, "weights-coins", "Net weights on coins")
        if of != "atoms":
            raise UsageError(f"no weights of {of!r}", hint="of is coins or atoms")
        if optimized is None:
            return self.view.absent(layout.OPTIMIZED)
        columns = {
            name: {asset.Atom: asset.Weight for asset in optimized.profiles[name].assets if asset.Weight}
            for name in self.names
            if name in optimized.profiles
        }
        return weights_by_size(columns, "weights-atoms", "Weights of atoms, as the optimizers gave them")

    def loss_makers(self) -> Drawn:
        """Draw the weight on loss makers at each decision of the walk-forward, as run and with the guard off."""
        has = self.view.run.has(layout.WALK_PHASE_WEIGHTS)  # runs of the first version had one phase only
        paths = (layout.WALK_PHASE_WEIGHTS if has else layout.WALK_WEIGHTS, layout.WALK_UNGUARDED_WEIGHTS)
        frames = [self.table(path, WEIGHT_COLUMNS) for path in paths]
        tables = [frame for frame in frames if isinstance(frame, pl.DataFrame)]
        if len(tables) < len(frames):
            return next(frame for frame in frames if isinstance(frame, str))
        moments = np.unique(np.concatenate([self._moments(), *(frame["as_of"].to_numpy() for frame in tables)]))
        if not len(moments):
            return "the walk-forward decided nothing"
        guarded, unguarded = (
            {name: _weight_on_loss_makers(frame, name, moments) for name in self.names} for frame in tables
        )
        return lines.loss_makers(moments.astype("datetime64[D]"), guarded, unguarded)

    def _moments(self) -> np.typing.NDArray[np.datetime64]:
        decisions = self.table(layout.WALK_DECISIONS, {"as_of": pl.Datetime("us", "UTC")})
        if isinstance(decisions, str):  # the weights know most of the moments by themselves
            return np.zeros(0, "datetime64[us]")
        own = decisions.filter("phase") if "phase" in decisions.columns else decisions
        found: np.typing.NDArray[np.datetime64] = own["as_of"].drop_nulls().to_numpy()
        return found

    def run_times(self) -> Drawn:
        """Draw how long each step took."""
        return run_times(self.view.ledger)


def run_times(ledger: LedgerView) -> Drawn:
    """Draw how long each step of a ledger took."""
    outcomes = ledger.outcomes.values()
    times = {f"{one.step} {one.name}": one.seconds for one in outcomes if one.seconds is not None}
    return grids.run_times(times) if times else "the ledger holds no finished step"


def correlations(streams: Floats) -> Floats:
    """Return the correlation of columns over the rows that are complete; NaN for a column that does not move."""
    whole = streams[np.isfinite(streams).all(axis=1)]
    if len(whole) < 2:
        return np.full((streams.shape[1], streams.shape[1]), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.atleast_2d(np.corrcoef(whole, rowvar=False))
    return found


def _weight_on_loss_makers(frame: pl.DataFrame, name: str, moments: np.typing.NDArray[np.datetime64]) -> Floats:
    own = frame.filter((pl.col("risk_profile") == name) & pl.col("loss_maker"))
    sums = own.group_by("as_of").agg(pl.col("net_weight").abs().sum()).sort("as_of")
    found = np.zeros(len(moments))
    found[np.searchsorted(moments, sums["as_of"].to_numpy())] = sums["net_weight"].to_numpy()
    return found


def _votes_of_one(frame: pl.DataFrame, symbol: str) -> Drawn:
    rows = frame.filter(pl.col("symbol") == symbol).to_dicts()
    if not rows:
        raise UsageError(f"{symbol} has no row in the run's feature store", hint="name a candidate of the run")
    row = rows[-1]
    ratings = {label: row[rating_column(logic)] for label, logic in RATINGS.items()}
    return grids.votes(symbol, ratings, {name: row[f"vote_{name}"] for name in VOTES})
